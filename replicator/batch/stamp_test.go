package batch

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// An independent decoder (kmsg's generated one) must read what Stamp wrote, and
// the patched CRC must equal a full recompute.
func TestStampAgainstGeneratedDecoder(t *testing.T) {
	for i := range uint64(2000) {
		raw := build(int(i*13%4097), i)
		in := bytes.Clone(raw)
		v := view(t, raw)
		if !v.Intact() {
			t.Fatal("built wrong")
		}
		v.Stamp(123456789, 11, int32(i))
		checkStamped(t, in, v, 123456789, 11, int32(i))
		v.Stamp(math.MaxInt64, math.MaxInt16, math.MaxInt32) // claimed anew
		checkStamped(t, in, v, math.MaxInt64, math.MaxInt16, math.MaxInt32)
	}
}

// checkStamped compares v with in, the same batch before, field by field.
func checkStamped(t *testing.T, in []byte, v View, pid int64, epoch int16, seq int32) {
	t.Helper()
	if got, want := v.CRC(), crc32.Checksum(v[posAttrs:], castagnoli); got != want {
		t.Fatalf("patched %08x, recomputed %08x", got, want)
	}
	var got, want kmsg.RecordBatch
	if err := want.ReadFrom(in); err != nil {
		t.Fatal(err)
	} else if err := got.ReadFrom(v); err != nil {
		t.Fatal(err)
	}
	want.FirstOffset, want.PartitionLeaderEpoch, want.CRC = 0, -1, got.CRC
	want.Attributes &^= 1<<4 | 1<<6
	want.ProducerID, want.ProducerEpoch, want.FirstSequence = pid, epoch, seq
	if !bytes.Equal(got.Records, want.Records) {
		t.Fatal("payload touched")
	}
	got.Records, want.Records = nil, nil
	if fmt.Sprintf("%+v", got) != fmt.Sprintf("%+v", want) {
		t.Fatalf("\n got %+v\nwant %+v", got, want)
	}
}

// A bit flipped between fetch and produce, in the payload or in a header field
// that Stamp leaves alone, must still be caught afterwards.
func TestStampKeepsCorruptionVisible(t *testing.T) {
	for i := range uint64(500) {
		raw := build(512, i)
		at := HeaderSize + int(i)
		if i%5 == 0 {
			at = posLastDelta + int(i/5)%(posPID-posLastDelta)
		}
		raw[at] ^= 1 << (i % 8)
		v := View(raw)
		v.Stamp(1, 0, 0)
		if v.Intact() {
			t.Fatalf("flipped bit at %d blessed", at)
		}
	}
}

func TestStampPanicsOnEntry(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("an entry was stamped")
		}
	}()
	view(t, entry1(1, 0, 2, nil, nil)).Stamp(1, 2, 3)
}

func TestInitAgainstGeneratedDecoder(t *testing.T) {
	v := View(bytes.Repeat([]byte{0xab}, HeaderSize+40))
	v.Init(Header{Codec: LZ4, Count: 7, FirstTimestamp: -1, MaxTimestamp: 1 << 41})
	var b kmsg.RecordBatch
	if err := b.ReadFrom(v); err != nil {
		t.Fatal(err)
	}
	want := kmsg.RecordBatch{
		Length: HeaderSize + 40 - framing, PartitionLeaderEpoch: -1, Magic: 2, CRC: b.CRC, Attributes: 3, LastOffsetDelta: 6,
		FirstTimestamp: -1, MaxTimestamp: 1 << 41, ProducerID: -1, ProducerEpoch: -1, FirstSequence: -1, NumRecords: 7,
		Records: bytes.Repeat([]byte{0xab}, 40),
	}
	if fmt.Sprintf("%+v", b) != fmt.Sprintf("%+v", want) {
		t.Errorf("\n got %+v\nwant %+v", b, want)
	}
	if !view(t, v).Intact() {
		t.Error("not sealed")
	}
}

func TestSeal(t *testing.T) {
	v := View(build(100, 1))
	v[HeaderSize] ^= 1
	if v.Intact() {
		t.Fatal("damage not seen")
	}
	if seal(v); !v.Intact() {
		t.Error("not sealed")
	}
}

// seal is what InitSummed does in parts, in one.
func seal(v View) {
	binary.BigEndian.PutUint32(v[posCRC:], crc32.Checksum(v[posAttrs:], castagnoli))
}

// A sum of parts is that of the whole, however they are cut.
func TestInitSummed(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 5))
	for size := range 300 {
		v := make(View, HeaderSize+size)
		for i := range v {
			v[i] = byte(r.Uint32())
		}
		var sum Sum
		for rest := v[HeaderSize:]; len(rest) > 0; {
			n := 1 + r.IntN(len(rest))
			sum, rest = sum.Add(rest[:n]), rest[n:]
		}
		v.InitSummed(Header{Codec: LZ4, Count: 7, MaxTimestamp: 1 << 41}, sum)
		if !v.Intact() {
			t.Fatalf("%d bytes of records: the sum of the parts is not that of the whole", size)
		}
	}
}

// FuzzStamp compares the patched CRC with a full sum on any batch, whole or damaged:
// a stamped batch is intact exactly if it was before.
func FuzzStamp(f *testing.F) {
	f.Add(build(30, 1), int64(1), int16(2), int32(3))
	f.Add(build(0, 2), int64(-1), int16(-1), int32(-1))
	f.Add(build(5000, 3), int64(math.MaxInt64), int16(math.MinInt16), int32(math.MinInt32))
	f.Fuzz(func(t *testing.T, p []byte, pid int64, epoch int16, seq int32) {
		v, _, err := Next(p)
		if err != nil || v.Magic() < 2 {
			return
		}
		before := v.Intact()
		payload := bytes.Clone(v.Records())
		v.Stamp(pid, epoch, seq)
		if v.Intact() != before || !bytes.Equal(v.Records(), payload) {
			t.Fatalf("intact %v, was %v", v.Intact(), before)
		}
		if v.ProducerID() != pid || v.ProducerEpoch() != epoch || v.BaseSequence() != seq || v.BaseOffset() != 0 || v.Transactional() || v.DeleteHorizon() {
			t.Fatal("not stamped")
		}
		seal(v)
		v.Stamp(^pid, ^epoch, ^seq)
		if !v.Intact() {
			t.Fatal("patched sum differs from a full one")
		}
	})
}

func BenchmarkStamp(b *testing.B) {
	for _, size := range []int{1 << 10, 16 << 10, 1 << 20} {
		b.Run(fmt.Sprintf("size=%d", size), func(b *testing.B) {
			v := View(build(size, 1))
			b.SetBytes(int64(size))
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				v.Stamp(int64(i), 1, int32(i))
			}
		})
	}
}

func BenchmarkIntact(b *testing.B) {
	for _, size := range []int{1 << 10, 16 << 10, 1 << 20} {
		b.Run(fmt.Sprintf("size=%d", size), func(b *testing.B) {
			v := View(build(size, 1))
			b.SetBytes(int64(size))
			b.ReportAllocs()
			for b.Loop() {
				v.Intact()
			}
		})
	}
}

func BenchmarkNext(b *testing.B) {
	p := build(1<<10, 1)
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := Next(p); err != nil {
			b.Fatal(err)
		}
	}
}
