package readback

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/kferry/kferry/offsets"
	"github.com/kferry/kferry/replicator/lane"
)

func TestFind(t *testing.T) {
	at := func(offset int64, sum uint64) seen { return seen{offset: offset, sum: sum} }
	as := func(seq int32, sum uint64) seen { return seen{seq: seq, sum: sum} }
	tail := func(n int64, start offsets.Source) Tail { return Tail{From: 100, LogStart: start, Last: 9, N: n} }
	five := []seen{as(5, 5), as(6, 6), as(7, 7), as(8, 8), as(9, 9)}
	for _, c := range []struct {
		name         string
		theirs, ours []seen
		dense        bool
		tail         Tail
		want         Place
	}{
		{"the last is there", []seen{at(103, 8), at(104, 9), at(105, 10)}, []seen{as(8, 8), as(9, 9)}, true, tail(5, 103), Place{At: 105, Found: 2}},
		{"all are gone", []seen{at(105, 10)}, []seen{as(8, 8), as(9, 9)}, true, tail(2, 105), Place{At: 105}},
		{"the last is compacted away", []seen{at(103, 8), at(107, 10)}, []seen{as(8, 8), as(9, 9)}, false, tail(2, 0), Place{At: 104, Found: 1}},
		{"markers between", []seen{at(104, 8), at(108, 9), at(111, 10)}, five, false, tail(5, 104), Place{At: 109, Found: 2}},
		{"something else before it", []seen{at(104, 6), at(105, 3), at(108, 9), at(111, 10)}, five, false, tail(5, 104), Place{At: 105, Found: 1, Twice: 2}},
		{"alike and dense", []seen{at(103, 7), at(104, 7), at(105, 8)}, []seen{as(8, 7), as(9, 7)}, true, tail(5, 103), Place{At: 105, Found: 2}},
		{"dense, but for what is gone", []seen{at(106, 8), at(107, 9), at(108, 10)}, []seen{as(8, 8), as(9, 9)}, true, tail(5, 106), Place{At: 106, Twice: 2}},
		{"alike, with markers", []seen{at(106, 7), at(107, 7), at(108, 7)}, []seen{as(8, 7), as(9, 7)}, false, tail(5, 106), Place{At: 106, Twice: 3}},
		{"the target has none left", []seen{at(103, 8), at(104, 9), at(105, 10)}, nil, false, tail(5, 103), Place{At: 105, Found: 2, Twice: 1}},
		{"the target has none left, but counting is sound", []seen{at(103, 8), at(104, 9), at(105, 10)}, nil, true, tail(5, 103), Place{At: 105, Found: 2}},
		{"others carried on", []seen{at(103, 8), at(104, 9), at(105, 10)}, []seen{as(9, 9), as(10, 10)}, true, tail(5, 103), Place{At: 105, Found: 2}},
	} {
		if got := find(c.theirs, c.ours, c.dense, c.tail); got != c.want {
			t.Errorf("%s: got %+v, want %+v", c.name, got, c.want)
		}
	}
}

// Whatever either side has removed and however much records look alike: no record is
// passed over that the target lacks, and those that come twice are said. (But for the twin
// of a record that was carried, where offsets are not all of records.)
func TestFindAgainstModel(t *testing.T) {
	exact, doubtful := 0, 0
	for seed := range uint64(5000) {
		r := rand.New(rand.NewPCG(seed, 1))
		looks := []int{2, 20, 1 << 40}[r.IntN(3)]
		markers := r.IntN(2) == 0
		n, more := 1+r.IntN(40), r.IntN(40)
		var source, target []seen
		offset, seq := int64(100), int32(1<<31-1-r.IntN(60))
		for i := range n + more {
			s := seen{offset: offset, sum: uint64(r.IntN(looks))}
			source = append(source, s)
			if i < n {
				target = append(target, seen{seq: seq, sum: s.sum})
				seq = lane.Advance(seq, 1)
			}
			offset++
			if markers {
				offset += int64(r.IntN(6) / 5)
			}
		}
		tail := Tail{From: 100, Last: lane.Advance(seq, -1), N: int64(n)}
		carried := source[:n]
		// Retention, or compaction, or both.
		left := source
		if r.IntN(2) == 0 {
			left = left[r.IntN(len(left)):]
			tail.LogStart = offsets.Source(left[0].offset)
		}
		compacted := r.IntN(3) == 0
		if compacted {
			left = slices.DeleteFunc(slices.Clone(left), func(seen) bool { return r.IntN(3) == 0 })
		}
		whole := r.IntN(4) > 0
		if !whole {
			target = target[r.IntN(len(target)+1):]
		}
		theirs := left[:min(len(left), n)]
		from := int64(max(tail.From, tail.LogStart))
		dense := !markers && (len(theirs) == 0 || theirs[len(theirs)-1].offset == from+int64(len(theirs))-1)
		got := find(theirs, target, dense, tail)
		twice := int64(0)
		for _, s := range left {
			has := slices.ContainsFunc(carried, func(c seen) bool { return c.offset == s.offset })
			switch before := s.offset < int64(got.At); {
			case before && !has && !(!dense && slices.ContainsFunc(carried, s.same)):
				t.Fatalf("seed %d: %+v passes over source %d, which the target lacks", seed, got, s.offset)
			case !before && has:
				twice++
			}
		}
		if twice > got.Twice {
			t.Fatalf("seed %d: %+v, but %d would be twice", seed, got, twice)
		}
		plain := !markers && !compacted
		if whole && (looks > 100 && !compacted || plain) && twice > 0 || whole && plain && looks > 100 && got.Twice > 0 {
			t.Fatalf("seed %d: %+v of a whole log, %d would be twice", seed, got, twice)
		}
		if got.Twice == 0 {
			exact++
		} else {
			doubtful++
		}
	}
	if exact == 0 || doubtful == 0 {
		t.Errorf("%d exact, %d doubtful", exact, doubtful)
	}
}
