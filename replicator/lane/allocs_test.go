package lane

import (
	"testing"

	"github.com/kferry/kferry/offsets"
)

// through returns what takes so many batches through a lane: fetched together, sent and acknowledged one by one.
func through(batches int) func() {
	l := New(ID{"t", 0}, "t")
	l.Start(Plan{}, 0, nil)
	items, one := make([]Item, batches), []byte("0")
	target := offsets.Target(0)
	return func() {
		gen, from, _, _, _ := l.Fetch()
		next := from
		for i := range items {
			items[i] = Item{Bytes: one, First: next, Next: next + 10, Records: 10}
			next += 10
		}
		if !l.Put(gen, items, next, 0, 0, 0) {
			panic("not taken")
		}
		for range batches {
			if !send(l) {
				panic("not sent")
			}
			l.Ack(target, 0)
			target += 10
		}
	}
}

// What a batch allocates on its way through a lane may fall, and then the number here with it; it may not rise.
func TestAllocs(t *testing.T) {
	const batches, most = 100, 0.
	if n := testing.AllocsPerRun(100, through(batches)) / batches; n > most {
		t.Errorf("%v allocations for a batch, at most %v are recorded", n, most)
	}
}

func BenchmarkPutSendAck(b *testing.B) {
	const batches = 100
	run := through(batches)
	b.ReportAllocs()
	for b.Loop() {
		run()
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/batches, "ns/batch")
}
