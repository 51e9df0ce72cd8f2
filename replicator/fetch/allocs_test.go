package fetch

import (
	"fmt"
	"math"
	"testing"

	"github.com/kferry/kferry/replicator/budget"
	"github.com/kferry/kferry/replicator/recode"
)

// splitting returns what splits a reply of so many batches of one record.
func splitting(t testing.TB, batches int) func() {
	var raw []byte
	for i := range batches {
		raw = append(raw, data(int64(i), 1).bytes()...)
	}
	rec := recode.New()
	b := budget.New(1 << 30)
	return func() {
		b.Adjust(int64(len(raw)))
		s := splitter{end: math.MaxInt64, limit: 1 << 20, rec: rec, hold: b.Hold(int64(len(raw)))}
		if err := s.run(raw, nil); err != nil || len(s.items) != batches {
			t.Fatal(len(s.items), err)
		}
		for _, it := range s.items {
			it.Hold.Release()
		}
		s.hold.Release()
	}
}

// What a reply allocates may fall, and then the number here with it; it may not rise. It is for the list of items, which grows
// by doubling, and the hold: not for each batch.
func TestAllocs(t *testing.T) {
	for batches, most := range map[int]float64{1: 6, 1000: 17} {
		if n := testing.AllocsPerRun(100, splitting(t, batches)); n > most {
			t.Errorf("%v allocations for %d batches, at most %v are recorded", n, batches, most)
		}
	}
}

func BenchmarkSplit(b *testing.B) {
	for _, batches := range []int{1, 1000} {
		b.Run(fmt.Sprintf("batches=%d", batches), func(b *testing.B) {
			run := splitting(b, batches)
			b.ReportAllocs()
			for b.Loop() {
				run()
			}
		})
	}
}
