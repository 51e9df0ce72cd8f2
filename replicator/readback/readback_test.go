package readback

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/kferry/kferry/offsets"
	"github.com/kferry/kferry/replicator/lane"
)

func exact(source offsets.Source, target offsets.Target, n int64) offsets.Piece {
	return offsets.Piece{Source: source, SourceLen: n, Target: target, TargetLen: n, Records: n}
}

func TestMatch(t *testing.T) {
	at := func(offset int64, seq int32, sum uint64) seen { return seen{offset: offset, seq: seq, sum: sum} }
	theirs := []seen{at(10, 0, 1), at(11, 0, 2), at(13, 0, 3), at(14, 0, 4)}
	for name, c := range map[string]struct {
		ours []seen
		next int32
		want []offsets.Piece
	}{
		"all":                       {[]seen{at(5, 96, 1), at(6, 97, 2), at(7, 98, 3), at(8, 99, 4)}, 100, []offsets.Piece{exact(10, 5, 2), exact(13, 7, 2)}},
		"foreign records between":   {[]seen{at(5, 96, 1), at(6, 97, 2), at(9, 98, 3), at(20, 99, 4)}, 100, []offsets.Piece{exact(10, 5, 2), exact(13, 9, 1), exact(14, 20, 1)}},
		"the target lost the first": {[]seen{at(7, 98, 3), at(8, 99, 4)}, 100, []offsets.Piece{exact(13, 7, 2)}},
		"later ones are there":      {[]seen{at(7, 98, 3), at(8, 99, 4), at(9, 100, 9)}, 100, []offsets.Piece{exact(13, 7, 2)}},
		"the last are not there":    {[]seen{at(5, 96, 1), at(6, 97, 2), at(7, 98, 3)}, 100, nil},
		"over the wrap":             {[]seen{at(7, 1<<31-1, 3), at(8, 0, 4)}, 1, []offsets.Piece{exact(13, 7, 2)}},
		"another record":            {[]seen{at(5, 96, 1), at(6, 97, 7), at(7, 98, 3), at(8, 99, 4)}, 100, []offsets.Piece{exact(13, 7, 2)}},
		"compaction took one":       {[]seen{at(5, 96, 1), at(6, 97, 2), at(8, 99, 4)}, 100, []offsets.Piece{exact(14, 8, 1)}},
		"none":                      {nil, 100, nil},
	} {
		if got := match(theirs, c.ours, c.next); !slices.Equal(got, c.want) {
			t.Errorf("%s: got %v, want %v", name, got, c.want)
		}
	}
}

// Records that look alike must not be taken for each other, wherever the source
// or the target lost some.
func TestMatchNeverPairsDifferentRecords(t *testing.T) {
	for seed := range uint64(2000) {
		r := rand.New(rand.NewPCG(seed, 1))
		var theirs, ours []seen
		truth := map[int64]int64{}
		source, target, seq := int64(100), int64(1000), int32(1<<31-1-r.IntN(60))
		for range 1 + r.IntN(60) {
			source += 1 + int64(r.IntN(8)/7)
			target += 1 + int64(r.IntN(8)/7)
			look := uint64(r.IntN(2))
			truth[source] = target
			theirs = append(theirs, seen{offset: source, sum: look})
			ours = append(ours, seen{offset: target, seq: seq, sum: look})
			seq = lane.Advance(seq, 1)
		}
		if r.IntN(2) == 0 {
			ours = ours[r.IntN(len(ours)):]
		}
		if r.IntN(2) == 0 {
			theirs = theirs[r.IntN(len(theirs)):]
		}
		found := match(theirs, ours, seq)
		n := int64(0)
		for _, f := range found {
			for i := range f.Records {
				if truth[int64(f.Source)+i] != int64(f.Target)+i {
					t.Fatalf("seed %d: source %d is not at %d", seed, int64(f.Source)+i, int64(f.Target)+i)
				}
			}
			n += f.Records
		}
		if n != int64(min(len(theirs), len(ours))) {
			t.Fatalf("seed %d: %d records of %d found", seed, n, min(len(theirs), len(ours)))
		}
	}
}

// Where an offset may have lost its record, what is before it is not matched.
func TestDense(t *testing.T) {
	at := func(offsets ...int64) (rs []seen) {
		for _, o := range offsets {
			rs = append(rs, seen{offset: o})
		}
		return rs
	}
	for _, c := range []struct {
		rs   []seen
		to   int64
		want int
	}{{at(), 9, 0}, {at(7, 8), 9, 2}, {at(5, 7, 8), 9, 2}, {at(5, 6, 7), 9, 0}, {at(1, 2, 4), 5, 1}} {
		if got := dense(c.rs, c.to); len(got) != c.want {
			t.Errorf("%v up to %d: %v", c.rs, c.to, got)
		}
	}
}
