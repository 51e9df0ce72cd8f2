package recode

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kferry/kferry/replicator/batch"
)

// rec is one record as a reader sees it.
type rec struct {
	off, time  int64
	key, value []byte // nil is null
	headers    []kgo.RecordHeader
}

func (r rec) String() string {
	s := fmt.Sprintf("@%d t%d %#v=%#v", r.off, r.time, r.key, r.value)
	for _, h := range r.headers {
		s += fmt.Sprintf(" %q:%#v", h.Key, h.Value)
	}
	return s
}

// same compares all but offsets; null is not empty.
func (r rec) same(o rec) bool {
	blob := func(a, b []byte) bool { return (a == nil) == (b == nil) && bytes.Equal(a, b) }
	return r.time == o.time && blob(r.key, o.key) && blob(r.value, o.value) &&
		slices.EqualFunc(r.headers, o.headers, func(a, b kgo.RecordHeader) bool { return a.Key == b.Key && blob(a.Value, b.Value) })
}

// franz-go's own compression, by codec; nil is none.
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

// compressed is what franz-go's client makes of plain records.
func compressed(t testing.TB, codec batch.Codec, plain []byte) []byte {
	c := compressors[codec]
	if c == nil {
		return plain
	}
	out, got := c.Compress(new(bytes.Buffer), plain)
	if got != kgo.CompressionCodecType(codec) {
		t.Fatal("not compressed")
	}
	return bytes.Clone(out)
}

// spec is a batch to be built by kmsg and kgo. Zero values are an ordinary one.
type spec struct {
	codec   batch.Codec
	base    int64  // base offset
	last    int64  // last offset; 0 is that of the last record
	attrs   int16  // besides the codec
	first   int64  // first timestamp; 0 is that of the first record
	maxTime int64  // max timestamp; 0 is the real one
	count   int32  // added to the real one
	plain   []byte // instead of the records
	payload []byte // instead of the compressed records
}

func encodeRecords(rs []rec, base, first int64) (plain []byte) {
	for _, r := range rs {
		k := kmsg.Record{TimestampDelta64: r.time - first, OffsetDelta: int32(r.off - base), Key: r.key, Value: r.value}
		for _, h := range r.headers {
			k.Headers = append(k.Headers, kmsg.Header{Key: h.Key, Value: h.Value})
		}
		k.Length = int32(len(k.AppendTo(nil)) - 1) // length 0 takes one byte
		plain = k.AppendTo(plain)
	}
	return plain
}

// newBatch builds a magic 2 batch.
func newBatch(t testing.TB, rs []rec, s spec) batch.View {
	t.Helper()
	b := kmsg.RecordBatch{
		FirstOffset: s.base, PartitionLeaderEpoch: 5, Magic: 2, Attributes: int16(s.codec) | s.attrs, NumRecords: int32(len(rs)) + s.count,
		ProducerID: 99, ProducerEpoch: 9, FirstSequence: 9, FirstTimestamp: s.first, MaxTimestamp: s.maxTime,
	}
	if len(rs) > 0 {
		b.LastOffsetDelta = int32(rs[len(rs)-1].off - s.base)
		if s.first == 0 {
			b.FirstTimestamp = rs[0].time
		}
	}
	if s.last != 0 {
		b.LastOffsetDelta = int32(s.last - s.base)
	}
	if s.maxTime == 0 {
		b.MaxTimestamp = -1 << 63
		for _, r := range rs {
			b.MaxTimestamp = max(b.MaxTimestamp, r.time)
		}
	}
	if s.plain == nil {
		s.plain = encodeRecords(rs, s.base, b.FirstTimestamp)
	}
	if b.Records = s.payload; s.payload == nil && len(s.plain) > 0 {
		b.Records = compressed(t, s.codec, s.plain)
	}
	b.Length = int32(len(b.AppendTo(nil)) - 12)
	b.CRC = int32(crc32.Checksum(b.AppendTo(nil)[21:], crc32.MakeTable(crc32.Castagnoli)))
	return only(t, b.AppendTo(nil))
}

func only(t testing.TB, p []byte) batch.View {
	t.Helper()
	v, rest, err := batch.Next(p)
	if err != nil || len(rest) > 0 {
		t.Fatalf("Next: %v, %d bytes left", err, len(rest))
	}
	return v
}

// message builds one entry of magic 0 or 1.
func message(magic, attrs int8, offset, time int64, key, value []byte) []byte {
	var appendTo func([]byte) []byte
	m0 := kmsg.MessageV0{Offset: offset, Attributes: attrs, Key: key, Value: value}
	m1 := kmsg.MessageV1{Offset: offset, Magic: 1, Attributes: attrs, Timestamp: time, Key: key, Value: value}
	if appendTo = m0.AppendTo; magic == 1 {
		appendTo = m1.AppendTo
	}
	p := appendTo(nil)
	binary.BigEndian.PutUint32(p[8:], uint32(len(p)-12))
	binary.BigEndian.PutUint32(p[12:], crc32.ChecksumIEEE(p[16:]))
	return p
}

// wrapper builds a compressed entry of records with absolute offsets, the way a
// broker of its time stored it. attrs is for wrapper and inner messages, besides
// the codec.
func wrapper(t testing.TB, magic int8, codec batch.Codec, attrs int8, offset, time int64, rs []rec) batch.View {
	t.Helper()
	var inner []byte
	for _, r := range rs {
		at := r.off
		if magic == 1 {
			at -= rs[0].off
		}
		inner = append(inner, message(magic, attrs, at, r.time, r.key, r.value)...)
	}
	return only(t, message(magic, attrs|int8(codec), offset, time, nil, compressed(t, codec, inner)))
}

// decode reads batches with franz-go's consumer code, which shares none with ours.
func decode(t testing.TB, vs ...batch.View) (rs []rec) {
	t.Helper()
	for _, v := range vs {
		fp, next := kgo.ProcessFetchPartition(kgo.ProcessFetchPartitionOpts{}, &kmsg.FetchResponseTopicPartition{RecordBatches: v}, decompressor, nil)
		if fp.Err != nil {
			t.Fatalf("decode: %v", fp.Err)
		}
		if want := v.LastOffset() + 1; next != want {
			t.Fatalf("decode: stopped at %d, want %d", next, want)
		}
		for _, r := range fp.Records {
			rs = append(rs, rec{r.Offset, r.Timestamp.UnixMilli(), r.Key, r.Value, r.Headers})
		}
	}
	return rs
}

// checkSame compares all but offsets.
func checkSame(t testing.TB, got, want []rec) {
	t.Helper()
	for i := range max(len(got), len(want)) {
		if i >= len(got) || i >= len(want) {
			t.Fatalf("%d records, want %d", len(got), len(want))
		}
		g, w := got[i], want[i]
		if !g.same(w) {
			t.Fatalf("record %d:\n got %v\nwant %v", i, g, w)
		}
	}
}

// checkBuilt checks what every batch made here must be.
func checkBuilt(t testing.TB, v batch.View, codec batch.Codec, limit int) {
	t.Helper()
	if limit > 0 && len(v) > limit {
		t.Fatalf("%d bytes, limit %d", len(v), limit)
	}
	var b kmsg.RecordBatch
	if err := b.ReadFrom(only(t, v)); err != nil {
		t.Fatal(err)
	}
	b.Records = nil
	want := kmsg.RecordBatch{
		Length: int32(len(v) - 12), PartitionLeaderEpoch: -1, Magic: 2, CRC: b.CRC, Attributes: int16(codec), LastOffsetDelta: b.NumRecords - 1,
		FirstTimestamp: b.FirstTimestamp, MaxTimestamp: b.MaxTimestamp, ProducerID: -1, ProducerEpoch: -1, FirstSequence: -1, NumRecords: b.NumRecords,
	}
	if b.NumRecords < 1 || fmt.Sprintf("%+v", b) != fmt.Sprintf("%+v", want) {
		t.Fatalf("\n got %+v\nwant %+v", b, want)
	}
	if !v.Intact() {
		t.Fatal("checksum")
	}
	latest := int64(-1 << 63)
	for i, r := range decode(t, v) {
		if latest = max(latest, r.time); r.off != int64(i) || i == 0 && r.time != b.FirstTimestamp {
			t.Fatalf("record %d: %v", i, r)
		}
	}
	if latest != b.MaxTimestamp {
		t.Fatalf("max timestamp %d, want %d", b.MaxTimestamp, latest)
	}
}

// randomRecords makes n records from offset base up, with gaps if asked for.
func randomRecords(r *rand.Rand, n int, base int64, gaps bool) (rs []rec) {
	blob := func(most int) []byte {
		switch r.IntN(8) {
		case 0:
			return nil
		case 1:
			return []byte{}
		}
		b := make([]byte, r.IntN(most))
		for i := range b {
			b[i] = byte(r.IntN(4)) << uint(r.IntN(8)) // compressible, but not to nothing
		}
		return b
	}
	for off := base; len(rs) < n; off++ {
		if gaps && r.IntN(3) == 0 {
			off += int64(r.IntN(100))
		}
		x := rec{off: off, time: 1700000000000 + r.Int64N(20000) - 10000, key: blob(40), value: blob(900)}
		if r.IntN(50) == 0 {
			x.time = -1
		}
		for range max(0, r.IntN(6)-2) {
			x.headers = append(x.headers, kgo.RecordHeader{Key: []string{"", "a", "trace", "a"}[r.IntN(4)], Value: blob(30)})
		}
		rs = append(rs, x)
	}
	return rs
}

var allCodecs = []batch.Codec{batch.None, batch.Gzip, batch.Snappy, batch.LZ4, batch.Zstd}

func eachCodec(t *testing.T, f func(*testing.T, batch.Codec)) {
	for _, c := range allCodecs {
		t.Run(c.String(), func(t *testing.T) { f(t, c) })
	}
}
