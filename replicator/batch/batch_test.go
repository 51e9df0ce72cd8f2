package batch

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// encode is an independent encoder: kmsg's generated one, with length and CRC set.
func encode(b kmsg.RecordBatch) []byte {
	b.Length = int32(len(b.AppendTo(nil)) - framing)
	b.CRC = int32(crc32.Checksum(b.AppendTo(nil)[posAttrs:], castagnoli))
	return b.AppendTo(nil)
}

// build makes a batch with n payload bytes and every header field set.
func build(n int, seed uint64) []byte {
	r := rand.New(rand.NewPCG(seed, 7))
	b := kmsg.RecordBatch{
		FirstOffset: int64(r.Uint32()), PartitionLeaderEpoch: 3, Magic: 2, Attributes: int16(1 + r.Uint32()&0x7e),
		LastOffsetDelta: 9, FirstTimestamp: 5, MaxTimestamp: 9,
		ProducerID: int64(r.Uint64()), ProducerEpoch: 4, FirstSequence: 77, NumRecords: 10,
	}
	if n == 0 {
		b.NumRecords = 0
	}
	for range n {
		b.Records = append(b.Records, byte(r.Uint32()))
	}
	return encode(b)
}

func entry0(offset int64, attrs int8, key, value []byte) []byte {
	m := kmsg.MessageV0{Offset: offset, Magic: 0, Attributes: attrs, Key: key, Value: value}
	m.MessageSize = int32(len(m.AppendTo(nil)) - framing)
	m.CRC = int32(crc32.ChecksumIEEE(m.AppendTo(nil)[posMagic:]))
	return m.AppendTo(nil)
}

func entry1(offset int64, attrs int8, time int64, key, value []byte) []byte {
	m := kmsg.MessageV1{Offset: offset, Magic: 1, Attributes: attrs, Timestamp: time, Key: key, Value: value}
	m.MessageSize = int32(len(m.AppendTo(nil)) - framing)
	m.CRC = int32(crc32.ChecksumIEEE(m.AppendTo(nil)[posMagic:]))
	return m.AppendTo(nil)
}

func view(t testing.TB, p []byte) View {
	t.Helper()
	v, rest, err := Next(p)
	if err != nil || len(rest) != 0 {
		t.Fatalf("Next: %v, %d bytes left", err, len(rest))
	}
	return v
}

func TestAccessorsAgainstGeneratedEncoder(t *testing.T) {
	b := kmsg.RecordBatch{
		FirstOffset: 1 << 40, PartitionLeaderEpoch: 6, Magic: 2, Attributes: 4 | 1<<3 | 1<<4 | 1<<6, LastOffsetDelta: 11,
		FirstTimestamp: 1700000000001, MaxTimestamp: 1700000000999, ProducerID: 1 << 33, ProducerEpoch: 12, FirstSequence: 13, NumRecords: 10,
		Records: bytes.Repeat([]byte{7}, 70),
	}
	v := view(t, encode(b))
	type fields struct {
		base, last, first, max, pid int64
		delta, leader, seq, count   int32
		magic                       int8
		attrs, epoch                int16
		codec                       Codec
		control, txn, lat, horizon  bool
		dense, intact               bool
		payload                     int
	}
	read := func(v View) fields {
		return fields{
			v.BaseOffset(), v.LastOffset(), v.FirstTimestamp(), v.MaxTimestamp(), v.ProducerID(),
			v.LastDelta(), v.LeaderEpoch(), v.BaseSequence(), v.Count(), v.Magic(), v.Attributes(), v.ProducerEpoch(), v.Codec(),
			v.Control(), v.Transactional(), v.LogAppendTime(), v.DeleteHorizon(), v.Dense(), v.Intact(), len(v.Records()),
		}
	}
	for _, c := range []struct {
		name string
		v    View
		want fields
	}{
		{"batch", v, fields{
			1 << 40, 1<<40 + 11, 1700000000001, 1700000000999, 1 << 33, 11, 6, 13, 10, 2, 4 | 1<<3 | 1<<4 | 1<<6, 12, Zstd,
			false, true, true, true, false, true, 70,
		}},
		{"magic 0", view(t, entry0(5, 0, nil, []byte("v"))), fields{5, 5, -1, -1, -1, 0, -1, -1, 1, 0, 0, -1, None, false, false, false, false, true, true, 9}},
		// Bits that only later formats define must not be read as flags.
		{"magic 0 wrapper", view(t, entry0(5, 0x78|2, nil, []byte("v"))), fields{5, 5, -1, -1, -1, 0, -1, -1, -1, 0, 0x7a, -1, Snappy, false, false, false, false, false, true, 9}},
		{"magic 1", view(t, entry1(5, 8, 99, []byte("k"), nil)), fields{5, 5, 99, 99, -1, 0, -1, -1, 1, 1, 8, -1, None, false, false, true, false, true, true, 9}},
	} {
		if got := read(c.v); got != c.want {
			t.Errorf("%s:\n got %+v\nwant %+v", c.name, got, c.want)
		}
	}
	if v.CRC() != crc32.Checksum(v[posAttrs:], castagnoli) {
		t.Error("crc")
	}
	if v := view(t, entry1(5, 0, 99, nil, nil)); v.CRC() != crc32.ChecksumIEEE(v[16:]) {
		t.Error("entry's crc")
	}
	if c := view(t, encode(kmsg.RecordBatch{Magic: 2, Attributes: 1 << 5, Records: make([]byte, 9), NumRecords: 1})); !c.Control() {
		t.Error("control bit")
	}
}

func TestCodecNames(t *testing.T) {
	var names []string
	for c := None; c <= Zstd+1; c++ {
		names = append(names, c.String())
	}
	if got := strings.Join(names, " "); got != "none gzip snappy lz4 zstd codec(5)" {
		t.Error(got)
	}
}

func TestNextSplits(t *testing.T) {
	parts := [][]byte{build(30, 1), entry0(3, 0, nil, nil), build(0, 2), entry1(4, 0, 9, []byte("k"), []byte("v")), build(3000, 3)}
	all := bytes.Join(parts, nil)
	rest := append(bytes.Clone(all), parts[0][:HeaderSize+5]...)
	for i, want := range parts {
		v, r, err := Next(rest)
		if err != nil || !bytes.Equal(v, want) || cap(v) != len(v) {
			t.Fatalf("part %d: %v", i, err)
		}
		rest = r
	}
	for n := range rest { // the tail, cut anywhere
		if v, r, err := Next(rest[:n]); !errors.Is(err, ErrShort) || v != nil || len(r) != n {
			t.Fatalf("tail of %d bytes: %v", n, err)
		}
	}
}

func TestNeeds(t *testing.T) {
	p := build(100, 1)
	for n, want := range map[int]int{0: 0, 11: 0, 12: len(p), 40: len(p), len(p): len(p)} {
		if got := Needs(p[:n]); got != want {
			t.Errorf("%d bytes: %d, want %d", n, got, want)
		}
	}
	binary.BigEndian.PutUint32(p[posLength:], 1<<31)
	if got := Needs(p); got != 0 {
		t.Errorf("negative length: %d", got)
	}
}

func TestNextRefusesNonsense(t *testing.T) {
	set32 := func(at int, x int32) func([]byte) {
		return func(p []byte) { binary.BigEndian.PutUint32(p[at:], uint32(x)) }
	}
	for _, c := range []struct {
		name string
		in   []byte
		edit func([]byte)
		want string // in the error; "" is good, "short" is ErrShort
	}{
		{"untouched", build(30, 1), func([]byte) {}, ""},
		{"emptied by cleaning", build(0, 1), func([]byte) {}, ""},
		{"gaps", build(30, 1), set32(posLastDelta, 1000), ""},
		{"one record at the largest delta", build(30, 1), func(p []byte) { set32(posLastDelta, math.MaxInt32)(p); set32(posCount, 1)(p) }, ""},
		{"unknown codec stays closed", build(30, 1), func(p []byte) { p[posAttrs+1] = 7 }, ""},
		{"magic 3", build(30, 1), func(p []byte) { p[posMagic] = 3 }, "magic 3"},
		{"negative length", build(30, 1), set32(posLength, -13), "-1 bytes long"},
		{"least length", build(30, 1), set32(posLength, math.MinInt32), "bytes long"},
		{"length below the header", build(30, 1), set32(posLength, HeaderSize-framing-1), "60 bytes long"},
		{"largest length", build(30, 1), set32(posLength, math.MaxInt32), "short"},
		{"magic 0 too short", entry0(1, 0, nil, nil), set32(posLength, minEntry0-framing-1), "25 bytes long"},
		{"magic 1 too short", entry1(1, 0, 0, nil, nil), set32(posLength, minEntry1-framing-1), "33 bytes long"},
		{"negative base offset", build(30, 1), func(p []byte) { p[0] = 0x80 }, "negative base offset"},
		{"negative offset of an entry", entry0(-1, 0, nil, nil), func([]byte) {}, "negative base offset"},
		{"offset overflow", build(30, 1), func(p []byte) { binary.BigEndian.PutUint64(p, math.MaxInt64-9) }, "overflows"},
		{"last offset without a next", build(30, 1), func(p []byte) { binary.BigEndian.PutUint64(p, math.MaxInt64-10) }, ""},
		{"negative last delta", build(30, 1), set32(posLastDelta, -1), "last offset delta -1"},
		{"negative count", build(30, 1), set32(posCount, -1), "count -1"},
		{"more records than offsets", build(30, 1), set32(posCount, 11), "count 11"},
		{"count wraps", build(30, 1), func(p []byte) { set32(posLastDelta, math.MaxInt32)(p); set32(posCount, math.MinInt32)(p) }, "negative"},
		{"no records in a payload", build(30, 1), set32(posCount, 0), "no records"},
		{"records in no payload", build(0, 1), set32(posCount, 1), "no payload"},
		{"more records than bytes", build(30, 1), func(p []byte) { p[posAttrs+1] = 0 }, "cannot be in"},
	} {
		c.edit(c.in)
		v, rest, err := Next(c.in)
		var bad *BadError
		switch {
		case c.want == "" && (err != nil || len(v) != len(c.in)):
			t.Errorf("%s: %v", c.name, err)
		case c.want == "short" && !errors.Is(err, ErrShort):
			t.Errorf("%s: %v", c.name, err)
		case c.want != "" && c.want != "short" && (!errors.As(err, &bad) || !strings.Contains(bad.Error(), c.want)):
			t.Errorf("%s: got %v, want %q", c.name, err, c.want)
		case err != nil && (v != nil || len(rest) != len(c.in)):
			t.Errorf("%s: bytes lost", c.name)
		}
	}
}

func TestAbortMarker(t *testing.T) {
	marker := func(attrs int16, key []byte, count int32) View {
		r := kmsg.Record{Key: key, Value: []byte{0, 0, 0, 0, 0, 1}}
		r.Length = int32(len(r.AppendTo(nil)) - 1)
		return view(t, encode(kmsg.RecordBatch{Magic: 2, Attributes: attrs, NumRecords: count, Records: r.AppendTo(nil)}))
	}
	const control = 1<<5 | 1<<4
	for _, c := range []struct {
		name      string
		v         View
		abort, ok bool
	}{
		{"abort", marker(control, []byte{0, 0, 0, 0}, 1), true, true},
		{"commit", marker(control, []byte{0, 0, 0, 1}, 1), false, true},
		{"longer key of a later version", marker(control, []byte{0, 5, 0, 1, 9, 9}, 1), false, true},
		{"another type", marker(control, []byte{0, 0, 0, 2}, 1), false, false},
		{"type in the high byte", marker(control, []byte{0, 0, 1, 0}, 1), false, false},
		{"short key", marker(control, []byte{0, 0, 0}, 1), false, false},
		{"null key", marker(control, nil, 1), false, false},
		{"data", marker(1<<4, []byte{0, 0, 0, 0}, 1), false, false},
		{"compressed", marker(control|4, []byte{0, 0, 0, 0}, 1), false, false},
		{"entry", view(t, entry0(1, 0, nil, nil)), false, false},
		{"emptied", view(t, encode(kmsg.RecordBatch{Magic: 2, Attributes: control})), false, false},
	} {
		if abort, ok := AbortMarker(c.v); abort != c.abort || ok != c.ok {
			t.Errorf("%s: abort %v ok %v", c.name, abort, ok)
		}
	}
	// Any payload, cut or damaged, is answered, not fatal.
	whole := marker(control, []byte{0, 0, 0, 0}, 1)
	for i := HeaderSize; i < len(whole); i++ {
		for bit := range 256 {
			v := bytes.Clone(whole)
			v[i] = byte(bit)
			AbortMarker(v)
		}
		if _, ok := AbortMarker(whole[:i]); ok && i < HeaderSize+9 {
			t.Errorf("read a marker from %d bytes", i-HeaderSize)
		}
	}
}

func FuzzNext(f *testing.F) {
	f.Add(build(30, 1))
	f.Add(append(build(30, 1), build(3, 2)...))
	f.Add(build(30, 1)[:40])
	f.Add(append(entry0(3, 0, nil, []byte("v")), entry1(4, 9, 5, []byte("k"), nil)...))
	f.Add(build(0, 4))
	f.Fuzz(func(t *testing.T, p []byte) {
		used := 0
		for rest := p; ; {
			v, r, err := Next(rest)
			if err != nil {
				var bad *BadError
				if len(r) != len(rest) || !errors.Is(err, ErrShort) && !errors.As(err, &bad) {
					t.Fatalf("%v with %d of %d bytes left", err, len(r), len(rest))
				}
				return
			}
			if used += len(v); used+len(r) != len(p) {
				t.Fatalf("%d + %d of %d", used, len(r), len(p))
			}
			if v.LastOffset() < v.BaseOffset() || v.Count() < -1 || int64(v.Count()) > int64(v.LastDelta())+1 || len(v.Records()) > len(v) {
				t.Fatalf("%d..%d count %d", v.BaseOffset(), v.LastOffset(), v.Count())
			}
			v.Intact()
			AbortMarker(v)
			rest = r
		}
	})
}
