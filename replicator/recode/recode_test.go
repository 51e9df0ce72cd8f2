package recode

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/kferry/kferry/offsets"
	"github.com/kferry/kferry/replicator/batch"
)

func views(outs []Out) (vs []batch.View) {
	for _, o := range outs {
		vs = append(vs, o.Batch)
	}
	return vs
}

// checkOuts compares outs with the records that should be in them.
func checkOuts(t testing.TB, outs []Out, want []rec, codec batch.Codec, limit int, next int64) {
	t.Helper()
	i := 0
	for n, o := range outs {
		checkBuilt(t, o.Batch, codec, limit)
		end := i + int(o.Batch.Count())
		if o.Count != o.Batch.Count() || end > len(want) || o.First != want[i].off {
			t.Fatalf("out %d: %d records from %d", n, o.Count, o.First)
		}
		var runs []offsets.Run
		for _, r := range want[i:end] {
			runs = offsets.AppendRun(runs, offsets.Run{First: offsets.Source(r.off), N: 1})
		}
		if len(runs) == 1 {
			runs = nil
		}
		if !slices.Equal(o.Runs, runs) {
			t.Fatalf("out %d: offsets %v, want %v", n, o.Runs, runs)
		}
		if i = end; n < len(outs)-1 && o.Next != want[i-1].off+1 || n == len(outs)-1 && o.Next != next {
			t.Fatalf("out %d of %d: next %d", n, len(outs), o.Next)
		}
	}
	checkSame(t, decode(t, views(outs)...), want)
}

// model is what Recode should keep, done the obvious way.
func model(rs []rec, o Options, logAppend bool, time int64) (want []rec, skipped int) {
	for _, r := range rs {
		if logAppend {
			r.time = time
		}
		if r.off < o.From || o.To > 0 && r.off >= o.To {
			continue
		}
		if skipped < o.Skip {
			skipped++
			continue
		}
		want = append(want, r)
	}
	return want, skipped
}

// rounds is n, and a quarter with -short, which goes with the race detector: a Recoder has one goroutine.
func rounds(n uint64) uint64 {
	if testing.Short() {
		return n / 4
	}
	return n
}

func TestRecodeAgainstModel(t *testing.T) {
	eachCodec(t, func(t *testing.T, codec batch.Codec) {
		r := New()
		for seed := range rounds(300) {
			rnd := rand.New(rand.NewPCG(seed, uint64(codec)))
			base := rnd.Int64N(1 << 40)
			rs := randomRecords(rnd, 1+rnd.IntN(60), base+rnd.Int64N(3), rnd.IntN(2) == 0)
			s := spec{codec: codec, base: base, last: rs[len(rs)-1].off + rnd.Int64N(5)}
			s.attrs = []int16{0, 1 << 4, 1 << 3, 1 << 6}[rnd.IntN(4)] // ordinary, transactional, LogAppendTime, delete horizon
			switch s.attrs {
			case 1 << 3:
				s.maxTime = 1712345678901
			case 1 << 6:
				s.first = 1799999999999
			}
			o := Options{}
			if rnd.IntN(2) == 0 {
				o.From = base + rnd.Int64N(s.last-base+3)
			}
			if rnd.IntN(3) == 0 {
				o.Skip = rnd.IntN(len(rs) + 2)
			}
			if rnd.IntN(2) == 0 {
				o.Limit = 1500 + rnd.IntN(6000) // no record comes near 1500
			}
			next := s.last + 1
			if rnd.IntN(3) == 0 {
				o.To = max(1, base+rnd.Int64N(s.last-base+3))
				next = min(next, o.To)
			}
			v := newBatch(t, rs, s)
			in := bytes.Clone(v)
			want, skipped := model(rs, o, s.attrs == 1<<3, s.maxTime)
			outs, err := r.Recode(v, o)
			if err != nil || (len(outs) > 0) != (len(want) > 0) {
				t.Fatalf("seed %d: %d outs, %v", seed, len(outs), err)
			}
			checkOuts(t, outs, want, codec, o.Limit, next)
			if r.Skipped() != skipped || !bytes.Equal(v, in) {
				t.Fatalf("seed %d: skipped %d, want %d; or the input was written to", seed, r.Skipped(), skipped)
			}
		}
	})
}

func TestRecodeSplitsSensibly(t *testing.T) {
	eachCodec(t, func(t *testing.T, codec batch.Codec) {
		rs := randomRecords(rand.New(rand.NewPCG(1, 2)), 2000, 0, false)
		v := newBatch(t, rs, spec{codec: codec})
		limit := len(v) / 5
		outs, err := New().Recode(v, Options{Limit: limit})
		if err != nil {
			t.Fatal(err)
		}
		checkOuts(t, outs, rs, codec, limit, 2000)
		if len(outs) > 14 {
			t.Errorf("%d pieces where 6 could do", len(outs))
		}
	})
}

func TestRecodeTooLargeRecord(t *testing.T) {
	rnd := rand.New(rand.NewPCG(3, 4))
	rs := randomRecords(rnd, 20, 100, false)
	rs[13].value = make([]byte, 5000)
	for i := range rs[13].value {
		rs[13].value[i] = byte(rnd.Uint32())
	}
	eachCodec(t, func(t *testing.T, codec batch.Codec) {
		outs, err := New().Recode(newBatch(t, rs, spec{codec: codec, base: 100}), Options{Limit: 4000})
		var big *TooLargeError
		if !errors.As(err, &big) || big.Offset != 113 || big.Size < 5000 || big.Limit != 4000 || big.Unpacked || !strings.Contains(err.Error(), "max.message.bytes") {
			t.Fatal(err)
		}
		checkOuts(t, outs, rs[:13], codec, 4000, 113) // what comes before is still delivered

		// Limit may be what somebody tried rather than what the target takes.
		outs, err = New().Recode(newBatch(t, rs, spec{codec: codec, base: 100}), Options{Limit: 4000, Alone: 6000})
		if err != nil {
			t.Fatal(err)
		}
		checkOuts(t, outs, rs, codec, 6000, 120)
		for _, o := range outs {
			if len(o.Batch) > 4000 && o.Count > 1 {
				t.Errorf("%d records in %d bytes", o.Count, len(o.Batch))
			}
		}
	})
}

func TestRecodeHeadersKept(t *testing.T) {
	h := func(k string, v []byte) kgo.RecordHeader { return kgo.RecordHeader{Key: k, Value: v} }
	rs := []rec{
		{time: 5, key: nil, value: nil},
		{off: 1, time: 4, key: []byte{}, value: []byte{}},
		{off: 7, time: 6, key: []byte("k"), headers: []kgo.RecordHeader{h("a", nil), h("a", []byte{}), h("", []byte("x")), h("a", []byte("y"))}},
	}
	v := newBatch(t, rs, spec{})
	checkSame(t, decode(t, v), rs) // the test's own encoder tells null from empty
	outs, err := New().Recode(v, Options{})
	if err != nil {
		t.Fatal(err)
	}
	checkOuts(t, outs, rs, batch.None, 0, 8)
}

// Record attributes mean nothing yet. Who gives them a meaning must not lose them here.
func TestRecordAttributesKept(t *testing.T) {
	v := newBatch(t, []rec{{}}, spec{plain: []byte{12, 0x5a, 0, 0, 1, 1, 0}})
	outs, err := New().Recode(v, Options{})
	if err != nil || outs[0].Batch.Records()[1] != 0x5a {
		t.Error("Recode", err)
	}
	out, used, err := New().Merge([]batch.View{v, v}, 0)
	if err != nil || used != 2 || bytes.Count(out.Records(), []byte{0x5a}) != 2 {
		t.Error("Merge", err)
	}
}

func TestRecodeEmptyBatch(t *testing.T) {
	for _, codec := range allCodecs {
		v := newBatch(t, nil, spec{codec: codec, base: 10, last: 20, maxTime: 3})
		if !Odd(v, 10, 0) {
			t.Error("a batch without records is not to be produced")
		}
		if outs, err := New().Recode(v, Options{}); err != nil || len(outs) != 0 {
			t.Errorf("%s: %v %v", codec, outs, err)
		}
	}
}

func TestOdd(t *testing.T) {
	rs := randomRecords(rand.New(rand.NewPCG(1, 1)), 5, 100, false)
	v := newBatch(t, rs, spec{base: 100})
	for _, c := range []struct {
		name  string
		v     batch.View
		from  int64
		limit int
		want  bool
	}{
		{"ordinary", v, 100, len(v), false},
		{"no limit", v, 0, 0, false},
		{"fetch began inside", v, 101, 0, true},
		{"too long", v, 100, len(v) - 1, true},
		{"last record gone", newBatch(t, rs, spec{base: 100, last: 105}), 0, 0, true},
		{"first record gone", newBatch(t, rs, spec{base: 99}), 0, 0, true},
		{"LogAppendTime", newBatch(t, rs, spec{base: 100, attrs: 1 << 3}), 0, 0, true},
		{"delete horizon", newBatch(t, rs, spec{base: 100, attrs: 1 << 6}), 0, 0, false},
		{"transactional", newBatch(t, rs, spec{base: 100, attrs: 1 << 4}), 0, 0, false},
		{"magic 0", only(t, message(0, 0, 1, 0, nil, nil)), 0, 0, true},
		{"magic 1", only(t, message(1, 0, 1, 0, nil, nil)), 0, 0, true},
	} {
		if got := Odd(c.v, c.from, c.limit); got != c.want {
			t.Errorf("%s: %v", c.name, got)
		}
	}
}

func TestRecodeRefuses(t *testing.T) {
	rs := randomRecords(rand.New(rand.NewPCG(1, 1)), 3, 0, false)
	plain := encodeRecords(rs, 0, rs[0].time)
	at := func(offs ...int64) []rec {
		rs := make([]rec, len(offs))
		for i := range offs {
			rs[i].off = offs[i]
		}
		return rs
	}
	for _, c := range []struct {
		name string
		v    batch.View
		want string
	}{
		{"payload cut", newBatch(t, rs, spec{plain: plain[:len(plain)-1]}), "record 2 of 3: length does not fit"},
		{"more than counted", newBatch(t, rs, spec{count: -1}), "3 records in the payload, 2 in the header"},
		{"fewer than counted", newBatch(t, rs[:2], spec{codec: batch.Gzip, last: 5, count: 1}), "2 records in the payload, 3 in the header"},
		{"trailing byte", newBatch(t, rs, spec{plain: append(bytes.Clone(plain), 0)}), "length does not fit"},
		{"offset twice", newBatch(t, at(0, 1, 1), spec{last: 5}), "out of order"},
		{"offset back", newBatch(t, at(0, 3, 2), spec{last: 5}), "out of order"},
		{"offset below base", newBatch(t, at(4), spec{base: 5, last: 9}), "out of order"},
		{"offset above last", newBatch(t, at(0, 6), spec{last: 5}), "out of order"},
		{"negative header count", newBatch(t, rs[:1], spec{plain: []byte{12, 0, 0, 0, 1, 1, 1}}), "do not fit the length"},
		{"header with a null key", newBatch(t, rs[:1], spec{plain: []byte{16, 0, 0, 0, 1, 1, 2, 1, 1}}), "do not fit the length"},
		{"not gzip", newBatch(t, rs, spec{codec: batch.Gzip, payload: plain}), "gzip payload"},
		{"not snappy", newBatch(t, rs, spec{codec: batch.Snappy, payload: []byte("\x82SNAPPY\x00\x00\x00\x00\x01\x00\x00\x00\x01\x7f\xff\xff\xff")}), "snappy payload"},
		{"not lz4", newBatch(t, rs, spec{codec: batch.LZ4, payload: plain}), "lz4 payload"},
		{"not zstd", newBatch(t, rs, spec{codec: batch.Zstd, payload: plain}), "zstd payload"},
		{"unknown codec", newBatch(t, rs, spec{attrs: 5, payload: plain}), "unknown codec"},
		{"control", newBatch(t, rs, spec{attrs: 1 << 5}), "control batch"},
	} {
		outs, err := New().Recode(c.v, Options{})
		var bad *batch.BadError
		if !errors.As(err, &bad) || !strings.Contains(err.Error(), c.want) || outs != nil {
			t.Errorf("%s: got %v, want %q", c.name, err, c.want)
		}
	}
}

// Every byte of a record is damaged in turn, under a right checksum: the result is
// refused, or franz-go reads from it what it reads from the damaged original.
func TestRecodeDamagedRecords(t *testing.T) {
	rs := []rec{{time: 9, key: []byte("key"), value: []byte("value"), headers: []kgo.RecordHeader{{Key: "h", Value: []byte("v")}, {Key: "n"}}}, {off: 1, time: 10}}
	plain := encodeRecords(rs, 0, 9)
	r, refused := New(), 0
	for at := range plain {
		for x := range 256 {
			p := bytes.Clone(plain)
			p[at] = byte(x)
			v := newBatch(t, rs, spec{plain: p, last: 100})
			outs, err := r.Recode(v, Options{})
			if err != nil {
				refused++
				continue
			}
			checkSame(t, decode(t, views(outs)...), decode(t, v))
		}
	}
	if refused < len(plain)*256/4 {
		t.Errorf("only %d refused", refused)
	}
}

func TestRecodeCorrupt(t *testing.T) {
	rs := randomRecords(rand.New(rand.NewPCG(1, 1)), 3, 70, false)
	for _, v := range []batch.View{newBatch(t, rs, spec{base: 70, codec: batch.Zstd}), only(t, message(1, 0, 70, 5, nil, []byte("value"))), only(t, message(0, 0, 70, 5, nil, []byte("value")))} {
		v[len(v)-1] ^= 1
		outs, err := New().Recode(v, Options{})
		var at *CorruptError
		if outs != nil || !errors.Is(err, ErrCorrupt) || !errors.As(err, &at) || at.Offset != 70 {
			t.Errorf("magic %d: %v", v.Magic(), err)
		}
	}
}

func TestRecodeBoundsDecompression(t *testing.T) {
	rs := []rec{{value: make([]byte, 3<<20)}}
	for _, codec := range allCodecs[1:] {
		r := New()
		r.MaxDecompressed = 1 << 20
		for _, v := range []batch.View{newBatch(t, rs, spec{codec: codec}), wrapper(t, 1, min(codec, batch.LZ4), 0, 0, 0, rs)} {
			var big *TooLargeError
			if _, err := r.Recode(v, Options{}); !errors.As(err, &big) || !big.Unpacked || big.Limit != 1<<20 {
				t.Errorf("%s: %v", codec, err)
			}
		}
		r.MaxDecompressed = 4 << 20
		outs, err := r.Recode(newBatch(t, rs, spec{codec: codec}), Options{})
		if err != nil {
			t.Fatal(err)
		}
		checkOuts(t, outs, rs, codec, 0, 1)
	}
}

// A Recoder does not keep the memory a huge batch took, and huge batches survive
// the next call.
func TestRecodeGivesMemoryBack(t *testing.T) {
	huge := []rec{{value: make([]byte, keepScratch+1)}}
	small := randomRecords(rand.New(rand.NewPCG(1, 1)), 3, 0, true)
	for _, codec := range allCodecs {
		r := New()
		first, err := r.Recode(newBatch(t, huge, spec{codec: codec}), Options{})
		if err != nil {
			t.Fatal(err)
		}
		if n := cap(r.plain) + cap(r.flat) + cap(r.packed) + cap(r.joint.body); n > 4*keepScratch {
			t.Errorf("%s: %d bytes kept", codec, n)
		}
		if _, used, err := r.Merge([]batch.View{newBatch(t, huge, spec{codec: codec}), newBatch(t, huge, spec{codec: codec})}, 0); used != 2 || err != nil {
			t.Fatal(used, err)
		}
		for _, m := range r.marks[:cap(r.marks)] {
			if m.body != nil {
				t.Errorf("%s: a mark keeps %d bytes", codec, cap(m.body))
			}
		}
		second, err := r.Recode(newBatch(t, small, spec{codec: codec}), Options{})
		if err != nil {
			t.Fatal(err)
		}
		checkOuts(t, first, huge, codec, 0, 1)
		checkOuts(t, second, small, codec, 0, small[2].off+1)
	}
}

func TestVarintSize(t *testing.T) {
	for shift := range 64 {
		for _, x := range []int64{1 << shift, -1 << shift, 1<<shift - 1, -1<<shift - 1, math.MaxInt64, math.MinInt64, 0} {
			p := binary.AppendVarint(nil, x)
			if got := varintSize(x); got != len(p) {
				t.Errorf("%d: %d bytes, want %d", x, got, len(p))
			}
			y, n := varint32(p)
			if fits := x == int64(int32(x)); fits != (n > 0) || fits && (y != int32(x) || n != len(p)) {
				t.Errorf("%d read as %d with %d bytes", x, y, n)
			}
		}
	}
}

func BenchmarkRecode(b *testing.B) {
	rs := benchRecords(1000)
	for _, codec := range allCodecs {
		b.Run(fmt.Sprintf("codec=%s/records=1000", codec), func(b *testing.B) {
			v := newBatch(b, rs, spec{codec: codec, last: 2000})
			r := New()
			b.SetBytes(int64(len(encodeRecords(rs, 0, 0))))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := r.Recode(v, Options{}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// benchRecords are n records of about 1 KB like a JSON order.
func benchRecords(n int) (rs []rec) {
	rnd := rand.New(rand.NewPCG(1, 2))
	for i := range n {
		var v bytes.Buffer
		for v.Len() < 950 {
			fmt.Fprintf(&v, `{"order":%d,"shop":"shop-%d","pizza":"margherita","price":%d,"note":"%016x"},`, rnd.Uint32(), rnd.IntN(50), rnd.IntN(3000), rnd.Uint64())
		}
		rs = append(rs, rec{off: int64(i), time: 1700000000000 + int64(i), key: fmt.Appendf(nil, "order-%08d", i), value: v.Bytes()})
	}
	return rs
}
