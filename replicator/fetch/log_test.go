package fetch

import (
	"bytes"
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kferry/kferry/replicator/batch"
)

const (
	logAppendTime = 1 << 3
	transactional = 1 << 4
	control       = 1 << 5
	deleteHorizon = 1 << 6
)

// entry is one batch of a partition's log. A record at offset o has the value
// "v<o>", so that a reader can tell which ones it got.
type entry struct {
	base    int64
	last    int64   // offset; at or above the last record
	records []int64 // offsets; fewer than last-base+1 after compaction
	pid     int64   // -1: none
	attrs   int16
	codec   batch.Codec
	marker  string // of a control batch: "abort" or "commit"
}

// data is an ordinary batch of n records.
func data(base int64, n int) entry {
	e := entry{base: base, last: base + int64(n) - 1, pid: -1}
	for i := range n {
		e.records = append(e.records, base+int64(i))
	}
	return e
}

func (e entry) by(pid int64, attrs int16) entry {
	e.pid, e.attrs = pid, e.attrs|attrs
	return e
}

func (e entry) without(offs ...int64) entry {
	e.records = slices.DeleteFunc(slices.Clone(e.records), func(o int64) bool { return slices.Contains(offs, o) })
	return e
}

func marker(at, pid int64, kind string) entry {
	return entry{base: at, last: at, pid: pid, attrs: transactional | control, marker: kind}
}

var compressors = func() (cs [5]kgo.Compressor) {
	for i, c := range []kgo.CompressionCodec{kgo.NoCompression(), kgo.GzipCompression(), kgo.SnappyCompression(), kgo.Lz4Compression(), kgo.ZstdCompression()} {
		var err error
		if cs[i], err = kgo.DefaultCompressor(c); err != nil {
			panic(err)
		}
	}
	return cs
}()

var decompressor = kgo.DefaultDecompressor()

// bytes encodes e by kmsg and kgo.
func (e entry) bytes() []byte {
	var plain []byte
	count := int32(len(e.records))
	add := func(r kmsg.Record) {
		r.Length = int32(len(r.AppendTo(nil)) - 1) // length 0 takes one byte
		plain = r.AppendTo(plain)
	}
	for _, o := range e.records {
		add(kmsg.Record{OffsetDelta: int32(o - e.base), Key: []byte("k"), Value: fmt.Append(nil, "v", o)})
	}
	if e.marker != "" {
		count = 1
		key := []byte{0, 0, 0, 0}
		if e.marker == "commit" {
			key[3] = 1
		}
		add(kmsg.Record{Key: key, Value: make([]byte, 6)})
	}
	if c := compressors[e.codec]; c != nil && len(plain) > 0 {
		out, _ := c.Compress(new(bytes.Buffer), plain)
		plain = bytes.Clone(out)
	}
	b := kmsg.RecordBatch{
		FirstOffset: e.base, PartitionLeaderEpoch: 1, Magic: 2, Attributes: e.attrs | int16(e.codec), LastOffsetDelta: int32(e.last - e.base),
		FirstTimestamp: 1000 + e.base, MaxTimestamp: 1000 + e.base, ProducerID: e.pid, NumRecords: count, Records: plain,
	}
	b.Length = int32(len(b.AppendTo(nil)) - 12)
	b.CRC = int32(crc32.Checksum(b.AppendTo(nil)[21:], crc32.MakeTable(crc32.Castagnoli)))
	return b.AppendTo(nil)
}

// transaction is what the broker knows of an aborted one.
type transaction struct{ pid, first, marker int64 }

// dumbLog is a partition, all of whose transactions have ended, and what its
// read-committed readers see.
type dumbLog struct {
	entries []entry
	aborted []transaction
	visible map[int64]bool
}

func (l *dumbLog) end() int64 { return l.entries[len(l.entries)-1].last + 1 }

// makeLog lets a few producers write at random, some in transactions; compacted
// removes records and batches afterwards.
func makeLog(r *rand.Rand, compacted bool) *dumbLog {
	l := &dumbLog{visible: map[int64]bool{}}
	type open struct {
		first   int64
		records []int64
	}
	txns := map[int64]*open{}
	at := r.Int64N(5) * 100
	finish := func(pid int64) {
		kind := "commit"
		if r.IntN(2) == 0 {
			kind = "abort"
			l.aborted = append(l.aborted, transaction{pid, txns[pid].first, at})
		}
		for _, o := range txns[pid].records {
			l.visible[o] = kind == "commit"
		}
		l.entries = append(l.entries, marker(at, pid, kind))
		delete(txns, pid)
		at++
	}
	for range 6 + r.IntN(20) {
		pid := r.Int64N(5) - 1 // -1: without an id; 0: idempotent; others in transactions
		if pid > 0 && txns[pid] != nil && r.IntN(3) == 0 {
			finish(pid)
			continue
		}
		e := data(at, 1+r.IntN(4)).by(pid, 0)
		e.codec = batch.Codec(r.IntN(5) * (r.IntN(8) / 7)) // opening them is slow
		if r.IntN(8) == 0 {
			e.attrs |= logAppendTime
		}
		at = e.last + 1
		if pid > 0 {
			e.attrs |= transactional
			if txns[pid] == nil {
				txns[pid] = &open{first: e.base}
			}
			txns[pid].records = append(txns[pid].records, e.records...)
		} else {
			for _, o := range e.records {
				l.visible[o] = true
			}
		}
		l.entries = append(l.entries, e)
	}
	for pid := range int64(4) {
		if txns[pid] != nil {
			finish(pid)
		}
	}
	if compacted {
		l.compact(r)
	}
	return l
}

func (l *dumbLog) compact(r *rand.Rand) {
	var kept []entry
	for i, e := range l.entries {
		for _, o := range slices.Clone(e.records) {
			if r.IntN(3) == 0 {
				delete(l.visible, o)
				e = e.without(o)
			}
		}
		if r.IntN(4) == 0 {
			e.attrs |= deleteHorizon
		}
		if len(e.records) == 0 {
			e.codec = batch.None
		}
		// An emptied batch is kept for its producer's sake, or goes.
		if len(e.records) > 0 || e.marker != "" || i == len(l.entries)-1 || r.IntN(2) == 0 {
			kept = append(kept, e)
		}
	}
	l.entries = kept
}

// read answers a fetch from offset from: whole batches, the first of which holds
// from or comes early batches before it, and a cut one at the end.
func (l *dumbLog) read(r *rand.Rand, from int64, early int) (raw []byte, aborts []kmsg.FetchResponseTopicPartitionAbortedTransaction, upTo int64) {
	i := slices.IndexFunc(l.entries, func(e entry) bool { return e.last >= from })
	i = max(0, i-early)
	start := l.entries[i].base
	upTo = start
	n := 1 + r.IntN(len(l.entries)-i)
	for _, e := range l.entries[i : i+n] {
		raw = append(raw, e.bytes()...)
		upTo = e.last + 1
	}
	if i+n < len(l.entries) && r.IntN(2) == 0 {
		tail := l.entries[i+n].bytes()
		raw = append(raw, tail[:r.IntN(len(tail))]...)
	}
	for _, t := range l.aborted {
		// A broker names also some that begin after the answer.
		if t.marker >= start && (t.first < upTo || r.IntN(2) == 0) {
			aborts = append(aborts, kmsg.FetchResponseTopicPartitionAbortedTransaction{ProducerID: t.pid, FirstOffset: t.first})
		}
	}
	r.Shuffle(len(aborts), func(i, j int) { aborts[i], aborts[j] = aborts[j], aborts[i] })
	return raw, aborts, upTo
}

// committed lists the records that a reader of [from, upTo) sees.
func (l *dumbLog) committed(from, upTo int64) (offs []int64) {
	for _, e := range l.entries {
		for _, o := range e.records {
			if o >= from && o < upTo && l.visible[o] {
				offs = append(offs, o)
			}
		}
	}
	return offs
}

// decode reads the records' values by kgo's decoder, which also checks the sum.
func decode(t testing.TB, p []byte) (values []string) {
	t.Helper()
	fp, _ := kgo.ProcessFetchPartition(kgo.ProcessFetchPartitionOpts{}, &kmsg.FetchResponseTopicPartition{RecordBatches: p}, decompressor, nil)
	if fp.Err != nil {
		t.Fatalf("kgo: %v", fp.Err)
	}
	for _, r := range fp.Records {
		values = append(values, string(r.Value))
	}
	return values
}

func values(offs []int64) (vs []string) {
	for _, o := range offs {
		vs = append(vs, fmt.Sprint("v", o))
	}
	return vs
}
