package recode

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"math/rand/v2"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kferry/kferry/replicator/batch"
)

// fuzzMax is what a fuzzed batch may decompress to: a bomb must not slow the rest.
const fuzzMax = 1 << 20

// reseal gives v a right checksum, so that a fuzzed payload is opened. If v is an
// uncompressed batch and codec is one, it is compressed first: the fuzzer does
// not find its way through a compressor.
func reseal(t testing.TB, v batch.View, codec batch.Codec) batch.View {
	if v.Magic() < 2 {
		binary.BigEndian.PutUint32(v[12:], crc32.ChecksumIEEE(v[16:]))
		return v
	}
	if v.Codec() == batch.None && codec > batch.None && codec <= batch.Zstd && v.Count() > 0 {
		v = append(bytes.Clone(v[:batch.HeaderSize]), compressed(t, codec, v.Records())...)
		v[22] |= byte(codec)
		binary.BigEndian.PutUint32(v[8:], uint32(len(v)-12))
	}
	seal(v)
	return v
}

// franz reads v with franz-go; ok is false if that finds an error, or fewer
// records than there should be, where it says nothing.
//
// Bit 7 of the attributes means nothing in Kafka, and to Java's reader neither.
// franz-go uses it for records that have no time of their own, and would take the
// batch's latest for all of them, so it is shown the batch without.
func franz(v batch.View) (rs []rec, ok bool) {
	if v.Magic() == 2 && v[22]&(1<<7) != 0 {
		v = bytes.Clone(v)
		v[22] &^= 1 << 7
		seal(v)
	}
	fp, next := kgo.ProcessFetchPartition(kgo.ProcessFetchPartitionOpts{}, &kmsg.FetchResponseTopicPartition{RecordBatches: v}, decompressor, nil)
	for _, r := range fp.Records {
		rs = append(rs, rec{r.Offset, r.Timestamp.UnixMilli(), r.Key, r.Value, r.Headers})
	}
	return rs, fp.Err == nil && next == v.LastOffset()+1
}

// allowed fails if err is not one of those the documentation names.
func allowed(t *testing.T, err error) {
	var bad *batch.BadError
	var big *TooLargeError
	if err != nil && !errors.Is(err, ErrCorrupt) && !errors.As(err, &bad) && !errors.As(err, &big) {
		t.Fatalf("unnamed error: %v", err)
	}
}

func seeds(t testing.TB) (vs []batch.View) {
	rnd := rand.New(rand.NewPCG(1, 2))
	for _, codec := range allCodecs {
		rs := randomRecords(rnd, 4, 10, true)
		vs = append(vs, newBatch(t, rs, spec{codec: codec, base: 9}), newBatch(t, rs, spec{codec: codec, base: 9, attrs: 1 << 3}))
		if codec < batch.Zstd {
			old := oldRecords(rnd, 3, 10, true)
			vs = append(vs, wrapper(t, 0, codec, 0, old[2].off, 0, old), wrapper(t, 1, codec, 8, old[2].off, 5, old))
		}
	}
	return append(vs, newBatch(t, nil, spec{last: 5}), only(t, message(1, 0, 9, 5, nil, []byte("v"))))
}

func FuzzRecode(f *testing.F) {
	for i, v := range seeds(f) {
		f.Add([]byte(v), int8(i%5), int64(i%3)*11, uint8(i%3), uint16(i%2)*300)
	}
	r := New()
	r.MaxDecompressed = fuzzMax
	f.Fuzz(func(t *testing.T, p []byte, codec int8, from int64, skip uint8, limit uint16) {
		v, _, err := batch.Next(p)
		if err != nil {
			return
		}
		v = reseal(t, v, batch.Codec(codec))
		o := Options{From: from, Skip: int(skip), Limit: int(limit)}
		outs, err := r.Recode(v, o)
		if allowed(t, err); err != nil && !errors.As(err, new(*TooLargeError)) {
			return
		}
		var got []rec
		for _, out := range outs {
			if o.Limit > 0 && len(out.Batch) > o.Limit || !out.Batch.Intact() || !out.Batch.Dense() || out.Batch.Codec() != v.Codec() {
				t.Fatal("built wrong")
			}
			rs, ok := franz(out.Batch)
			if !ok || len(rs) != int(out.Count) {
				t.Fatalf("franz-go reads %d of %d records", len(rs), out.Count)
			}
			got = append(got, rs...)
		}
		original, ok := franz(v)
		if err != nil || !ok { // franz-go checks lz4 header checksums where Kafka may not
			return
		}
		if v.Magic() < 2 {
			for i := range original { // franz-go takes an inner message's time where Java takes the wrapper's
				original[i].time = v.MaxTimestamp()
			}
			for i := range got {
				got[i].time = v.MaxTimestamp()
			}
		}
		want, skipped := model(original, o, false, 0)
		if r.Skipped() != skipped {
			t.Fatalf("skipped %d, want %d", r.Skipped(), skipped)
		}
		checkSame(t, got, want)
	})
}

func FuzzMerge(f *testing.F) {
	for i, v := range seeds(f) {
		f.Add(bytes.Join([][]byte{v, v, newBatch(f, []rec{{off: 100, key: []byte("k")}}, spec{codec: v.Codec(), base: 100})}, nil), int8(i%5), uint16(i*100))
	}
	r := New()
	r.MaxDecompressed = fuzzMax
	f.Fuzz(func(t *testing.T, p []byte, codec int8, limit uint16) {
		var vs []batch.View
		for len(vs) < 20 {
			v, rest, err := batch.Next(p)
			if err != nil {
				break
			}
			vs, p = append(vs, reseal(t, v, batch.Codec(codec))), rest
		}
		if len(vs) == 0 {
			return
		}
		out, used, err := r.Merge(vs, int(limit))
		if err != nil || used < 1 || used > len(vs) {
			t.Fatalf("used %d of %d: %v", used, len(vs), err)
		} else if used == 1 {
			if &out[0] != &vs[0][0] {
				t.Fatal("not the first batch itself")
			}
			return
		}
		if limit > 0 && len(out) > int(limit) || !out.Intact() || !out.Dense() || out.Codec() != vs[0].Codec() {
			t.Fatal("built wrong")
		}
		got, ok := franz(out)
		if !ok || len(got) != int(out.Count()) {
			t.Fatalf("franz-go reads %d of %d records", len(got), out.Count())
		}
		var want []rec
		for _, v := range vs[:used] {
			rs, ok := franz(v)
			if !ok {
				return
			}
			want = append(want, rs...)
		}
		checkSame(t, got, want)
	})
}

// seal makes damage look intact.
func seal(v batch.View) {
	binary.BigEndian.PutUint32(v[17:], crc32.Checksum(v[21:], crc32.MakeTable(crc32.Castagnoli)))
}
