package check

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"
)

// entries makes n distinct records.
func entries(n int) []entry {
	out := make([]entry, n)
	for i := range out {
		out[i] = entry{offset: int64(i), key: uint64(i + 1), value: uint64(i+1) << 20, stamp: 7}
	}
	return out
}

// Random losses, copies and damages, counted while they are made, must be counted alike by classify.
func TestClassifyCountsWhatWasDone(t *testing.T) {
	for n := range uint64(500) {
		rng := rand.New(rand.NewPCG(1, n))
		src := entries(1 + rng.IntN(300))
		var dst []entry
		var want Partition
		for i, e := range src {
			switch rng.IntN(10) {
			case 0:
				want.Lost++
				continue
			case 1:
				want.Damaged++
				e.value++
			case 2:
				want.Damaged++
				e.stamp++
			case 3:
				want.Twice++
				dst = append(dst, e)
			case 4: // a batch that is sent again after others
				for _, again := range dst[max(0, len(dst)-rng.IntN(20)):] {
					if again == src[again.offset] {
						want.Twice++
						dst = append(dst, again)
					}
				}
			}
			e.offset = int64(i)
			dst = append(dst, e)
		}
		o := Options{Codec: AnyCodec}
		f := findings{}
		f.classify(&o, src, dst, nil)
		got := f.settled()
		if differences(got) != differences(want) {
			t.Fatalf("seed %d: got %+v, want %+v", n, got, want)
		}
	}
}

// The count of records out of order is the distance to the nearest sorted arrangement, here by trying all subsets.
func TestClassifyOrder(t *testing.T) {
	for n := range uint64(300) {
		rng := rand.New(rand.NewPCG(2, n))
		src := entries(1 + rng.IntN(9))
		dst := slices.Clone(src)
		rng.Shuffle(len(dst), func(i, j int) { dst[i], dst[j] = dst[j], dst[i] })
		longest := 0
		for set := range 1 << len(dst) {
			last, size, ok := int64(-1), 0, true
			for i, e := range dst {
				if set>>i&1 == 0 {
					continue
				}
				ok = ok && e.offset > last
				last, size = e.offset, size+1
			}
			if ok {
				longest = max(longest, size)
			}
		}
		f := findings{}
		f.classify(&Options{Codec: AnyCodec}, src, dst, nil)
		if got, want := f.OutOfOrder, int64(len(dst)-longest); got != want || f.Lost+f.Twice+f.Damaged+f.Extra != 0 {
			t.Fatalf("seed %d: got %+v, want %d out of order", n, f.Partition, want)
		}
	}
}

func TestClassifyKnowsThePast(t *testing.T) {
	all := entries(20)
	past := make([]uint64, 10)
	for i := range past {
		past[i] = all[i].id()
	}
	dst := append(slices.Clone(all[3:5]), all[10:]...) // 3 and 4 come again
	f := findings{}
	f.classify(&Options{Codec: AnyCodec}, all[10:], dst, past)
	if want := (Partition{Twice: 2}); differences(f.Partition) != differences(want) {
		t.Errorf("got %+v", f.Partition)
	}
}

// Equal records are told apart by their number only.
func TestClassifyEqualRecords(t *testing.T) {
	one := entries(1)[0]
	src := slices.Repeat([]entry{one}, 5)
	for n, want := range map[int]Partition{3: {Lost: 2}, 5: {}, 6: {Twice: 1}} {
		f := findings{}
		f.classify(&Options{Codec: AnyCodec}, src, slices.Repeat([]entry{one}, n), nil)
		if differences(f.Partition) != differences(want) {
			t.Errorf("%d copies of 5: got %+v, want %+v", n, f.Partition, want)
		}
	}
}

// When all timestamps are wrong, keys and values still tell which record is lost.
func TestClassifyPairsByKeyAndValue(t *testing.T) {
	src := entries(10)
	dst := slices.Delete(slices.Clone(src), 4, 5)
	for j := range dst {
		dst[j].stamp++
	}
	f := findings{}
	f.classify(&Options{Codec: AnyCodec}, src, dst, nil)
	if want := (Partition{Lost: 1, Damaged: 9}); differences(f.Partition) != differences(want) || f.lost[0] != src[4] {
		t.Errorf("got %+v, lost %+v", f.Partition, f.lost)
	}
}

func TestAttributes(t *testing.T) {
	zstd := kgo.RecordAttrsOpts{Codec: kgo.CodecZstd}
	appended := zstd
	appended.TimestampType = 1
	for _, c := range []struct {
		source, target kgo.RecordAttrsOpts
		damaged        int64
	}{
		{zstd, zstd, 0},
		{appended, zstd, 0},
		{kgo.RecordAttrsOpts{Codec: kgo.CodecZstd, Transactional: true}, zstd, 0},
		{zstd, appended, 1},
		{zstd, kgo.RecordAttrsOpts{}, 1},
	} {
		f := findings{}
		o := Options{Codec: func(s, t uint8) bool { return s == t }}
		f.attributes(&o, 0, 0, kgo.NewRecordAttrs(c.source), kgo.NewRecordAttrs(c.target))
		if f.Damaged != c.damaged {
			t.Errorf("%+v to %+v: %d damaged, want %d", c.source, c.target, f.Damaged, c.damaged)
		}
	}
}
