package recode

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/kferry/kferry/replicator/batch"
)

func TestMergeAgainstModel(t *testing.T) {
	eachCodec(t, func(t *testing.T, codec batch.Codec) {
		r := New()
		for seed := range rounds(200) {
			rnd := rand.New(rand.NewPCG(seed, uint64(codec)))
			var vs []batch.View
			var rs []rec
			var ends []int // records up to each batch
			for next := rnd.Int64N(1 << 40); len(vs) < 2+rnd.IntN(20); next += rnd.Int64N(3) {
				part := randomRecords(rnd, 1+rnd.IntN(4)*rnd.IntN(4), next, false)
				s := spec{codec: codec, base: next, attrs: []int16{0, 1 << 4, 1 << 6}[rnd.IntN(3)]}
				if s.attrs == 1<<6 {
					s.first = 1799999999999
				}
				vs = append(vs, newBatch(t, part, s))
				rs = append(rs, part...)
				ends = append(ends, len(rs))
				next += int64(len(part))
			}
			in := bytes.Join(toBytes(vs), nil)
			limit := rnd.IntN(2) * (len(vs[0]) + rnd.IntN(20000))
			out, used, err := r.Merge(vs, limit)
			if err != nil || used < 1 || used > len(vs) {
				t.Fatal(used, err)
			}
			if limit == 0 && used != len(vs) {
				t.Fatalf("seed %d: took %d of %d", seed, used, len(vs))
			}
			if used == 1 {
				if &out[0] != &vs[0][0] {
					t.Fatal("a batch alone is not itself")
				}
				continue
			}
			checkBuilt(t, out, codec, limit)
			checkSame(t, decode(t, out), rs[:ends[used-1]])
			together := batch.HeaderSize
			for _, v := range vs[:used] {
				together += len(v.Records())
			}
			if limit > 0 && together > limit {
				t.Fatalf("took %d bytes, limit %d", together, limit)
			}
			if !bytes.Equal(in, bytes.Join(toBytes(vs), nil)) {
				t.Fatal("the input was written to")
			}
		}
	})
}

func toBytes(vs []batch.View) (ps [][]byte) {
	for _, v := range vs {
		ps = append(ps, v)
	}
	return ps
}

// series makes n batches of one record.
func series(t testing.TB, rs []rec, codec batch.Codec) (vs []batch.View) {
	for _, r := range rs {
		vs = append(vs, newBatch(t, []rec{r}, spec{codec: codec, base: r.off}))
	}
	return vs
}

// Uncompressed, the longest prefix that fits is taken: one more would be too much.
func TestMergeFillsLimit(t *testing.T) {
	rs := randomRecords(rand.New(rand.NewPCG(5, 5)), 200, 0, false)
	vs := series(t, rs, batch.None)
	for limit := len(vs[0]); limit < 50000; limit += 997 {
		out, used, err := New().Merge(vs, limit)
		if err != nil || len(out) > limit {
			t.Fatal(len(out), limit, err)
		}
		if free := limit - len(out); free > len(vs[used]) {
			t.Errorf("limit %d: %d bytes free, the next needs less than %d", limit, free, len(vs[used]))
		}
	}
}

func TestMergeStopsAt(t *testing.T) {
	rs := randomRecords(rand.New(rand.NewPCG(1, 1)), 9, 100, false)
	gap := []rec{rs[0], rs[2]}
	eachCodec(t, func(t *testing.T, codec batch.Codec) {
		good := series(t, rs, codec)
		other := batch.Gzip
		if codec == other {
			other = batch.LZ4
		}
		plain := encodeRecords(rs[:1], 100, rs[0].time)
		for name, v := range map[string]batch.View{
			"another codec": newBatch(t, rs[:1], spec{codec: other, base: 100}),
			"control":       newBatch(t, rs[:1], spec{codec: codec, base: 100, attrs: 1<<5 | 1<<4}),
			"LogAppendTime": newBatch(t, rs[:1], spec{codec: codec, base: 100, attrs: 1 << 3}),
			"gaps":          newBatch(t, gap, spec{codec: codec, base: 100}),
			"emptied":       newBatch(t, nil, spec{codec: codec, base: 100, last: 100}),
			"magic 0":       only(t, message(0, 0, 100, 0, nil, nil)),
			"magic 1":       only(t, message(1, 0, 100, 0, nil, nil)),
			"record cut":    newBatch(t, rs[:1], spec{codec: codec, base: 100, plain: plain[:len(plain)-1]}),
			"too many":      newBatch(t, rs[:2], spec{codec: codec, base: 100, last: 100, count: -1}),
			"too few":       newBatch(t, rs[:1], spec{codec: codec, base: 100, last: 101, count: 1}),
			"wrong offset":  newBatch(t, []rec{{off: 107}}, spec{codec: codec, base: 100, last: 100}),
		} {
			for at := range 4 {
				vs := append(append(append([]batch.View{}, good[:at]...), v), good[at:]...)
				out, used, err := New().Merge(vs, 1<<20)
				if want := max(at, 1); err != nil || used != want {
					t.Errorf("%s at %d: used %d, %v", name, at, used, err)
				} else if used > 1 {
					checkBuilt(t, out, codec, 1<<20)
					checkSame(t, decode(t, out), rs[:at])
				} else if !bytes.Equal(out, vs[0]) {
					t.Errorf("%s at %d: not the first batch itself", name, at)
				}
			}
		}
	})
}

func TestMergeNamesCorruptBatch(t *testing.T) {
	rs := randomRecords(rand.New(rand.NewPCG(1, 1)), 5, 100, false)
	for _, codec := range allCodecs {
		vs := series(t, rs, codec)
		vs[3][len(vs[3])-1] ^= 4
		out, used, err := New().Merge(vs, 1<<20)
		var at *CorruptError
		if out != nil || used != 0 || !errors.Is(err, ErrCorrupt) || !errors.As(err, &at) || at.Index != 3 || at.Offset != 103 {
			t.Errorf("%s: %d %v", codec, used, err)
		}
	}
}

// A batch that decompresses far beyond the limit ends the prefix instead of
// filling the memory.
func TestMergeBoundsDecompression(t *testing.T) {
	rs := randomRecords(rand.New(rand.NewPCG(1, 1)), 3, 0, false)
	bomb := []rec{{off: 3, value: make([]byte, 30<<20)}}
	for _, codec := range allCodecs[1:] {
		r := New()
		vs := append(series(t, rs, codec), newBatch(t, bomb, spec{codec: codec, base: 3}))
		limit := len(vs[3]) + 10000 // its compressed size is welcome
		limit = min(limit, 5<<20)
		_, used, err := r.Merge(vs, limit)
		if err != nil || used != 3 {
			t.Errorf("%s: used %d, %v", codec, used, err)
		}
	}
}

// Batches that compress better apart than together do not come out too large.
func TestMergeNeverAboveLimit(t *testing.T) {
	eachCodec(t, func(t *testing.T, codec batch.Codec) {
		for seed := range rounds(60) {
			rnd := rand.New(rand.NewPCG(seed, 9))
			var rs []rec
			for i := range 2 + rnd.IntN(6) {
				b := make([]byte, 1+rnd.IntN(3000))
				for j := range b {
					b[j] = byte(rnd.Uint32())
				}
				rs = append(rs, rec{off: int64(i), value: b})
			}
			vs := series(t, rs, codec)
			exact := batch.HeaderSize
			for _, v := range vs {
				exact += len(v) - batch.HeaderSize
			}
			for _, limit := range []int{exact, exact - 1, exact - 40} {
				out, used, err := New().Merge(vs, limit)
				if err != nil || len(out) > limit && used > 1 {
					t.Fatalf("%d bytes, limit %d, used %d, %v", len(out), limit, used, err)
				}
			}
		}
	})
}

// The garbage of a merge does not grow with the records.
func TestMergeAllocations(t *testing.T) {
	if raceDetector {
		t.Skip("under the race detector a sync.Pool drops what it is given, so zstd allocates")
	}
	eachCodec(t, func(t *testing.T, codec batch.Codec) {
		vs := series(t, benchRecords(500), codec)
		r := New()
		n := testing.AllocsPerRun(5, func() {
			if _, used, err := r.Merge(vs, 1<<20); err != nil || used != len(vs) {
				t.Fatal(used, err)
			}
		})
		if n > 20 {
			t.Errorf("%v allocations for %d records", n, len(vs))
		}
	})
}

func BenchmarkMerge(b *testing.B) {
	rs := benchRecords(1000)
	for _, codec := range allCodecs {
		b.Run(fmt.Sprintf("codec=%s/batches=1000", codec), func(b *testing.B) {
			vs := series(b, rs, codec)
			r := New()
			b.SetBytes(int64(len(encodeRecords(rs, 0, 0))))
			b.ReportAllocs()
			for b.Loop() {
				for at := 0; at < len(vs); {
					_, used, err := r.Merge(vs[at:], 1<<20)
					if err != nil {
						b.Fatal(err)
					}
					at += used
				}
			}
		})
	}
}

// BenchmarkClient is what a normal client does instead of BenchmarkMerge, without
// its bookkeeping: decode each batch, encode the records as one.
func BenchmarkClient(b *testing.B) {
	rs := benchRecords(1000)
	for _, codec := range allCodecs {
		b.Run(fmt.Sprintf("codec=%s/batches=1000", codec), func(b *testing.B) {
			vs := series(b, rs, codec)
			b.SetBytes(int64(len(encodeRecords(rs, 0, 0))))
			b.ReportAllocs()
			c, buf := compressors[codec], new(bytes.Buffer)
			for b.Loop() {
				plain := encodeRecords(decode(b, vs...), 0, 0)
				if buf.Reset(); c != nil {
					c.Compress(buf, plain)
				}
			}
		})
	}
}
