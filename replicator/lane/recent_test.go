package lane

import (
	"math/rand/v2"
	"slices"
	"testing"
)

// Recent is what a list of all that happened says of the last 30 to 60 seconds.
func TestLately(t *testing.T) {
	type event struct{ at, age int64 }
	r := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		var w Lately
		var all []event
		now := int64(1_700_000_000_000)
		for range 300 {
			now += r.Int64N([]int64{10, 1_000, 40_000}[r.IntN(3)])
			age := r.Int64N(1000) - 10
			half := w.At(now)
			half.Records++
			half.Age.Add(age)
			all = append(all, event{now, max(age, 0)})
			got := w.Recent(now)
			if got.Since < now-2*recentHalf || got.Since > now {
				t.Fatalf("at %d it counts what was %d ms ago", now, now-got.Since)
			}
			if must := slices.IndexFunc(all, func(e event) bool { return e.at > now-recentHalf }); got.Since > all[must].at {
				t.Fatalf("at %d what was %d ms ago is forgotten", now, now-all[must].at)
			}
			i := slices.IndexFunc(all, func(e event) bool { return e.at >= got.Since })
			var want Spread
			for _, e := range all[i:] {
				want.Add(e.age)
			}
			if got.Age != want || got.Records != int64(len(all)-i) {
				t.Fatalf("at %d: %+v, want %d records, %+v", now, got, len(all)-i, want)
			}
		}
		last := all[len(all)-1]
		if got := w.Recent(now + 10*recentHalf); got.Records != 0 || got.Age != (Spread{Last: last.age, Seen: true}) {
			t.Fatalf("much later: %+v", got)
		}
	}
	if got := new(Lately).Recent(5); got != (Recent{}) {
		t.Errorf("of nothing: %+v", got)
	}
}

func TestRates(t *testing.T) {
	for _, c := range []struct {
		r              Recent
		now            int64
		records, bytes float64
	}{
		{Recent{}, 1_000_000, 0, 0},
		{Recent{Since: 1_000_000, Records: 30, Bytes: 300}, 1_000_001, 1, 10}, // less than half a minute counts as that
		{Recent{Since: 1_000_000, Records: 100, Bytes: 50}, 1_050_000, 2, 1},
	} {
		if records, bytes := c.r.Rates(c.now); records != c.records || bytes != c.bytes {
			t.Errorf("%+v: %v, %v", c, records, bytes)
		}
	}
}

// What Put and Ack count, at the times that they are told.
func TestLaneCountsLately(t *testing.T) {
	l := New(ID{"t", 0}, "t")
	l.Start(Plan{}, 0, nil)
	const now = 1_700_000_000_000
	gen, _, _, _, _ := l.Fetch()
	l.Put(gen, []Item{{Bytes: make([]byte, 7), Next: 3, Records: 3, Time: now - 50}}, 3, 0, 0, now)
	w, _ := l.Next(0)
	l.Send(w.Gen, w.Items[0], 1)
	l.Ack(0, now+20)
	got := l.Recent(now + 30)
	want := Recent{
		Since: now, Records: 3, Bytes: 7,
		Age: Spread{Last: 50, Seen: true, Min: 50, Max: 50, Sum: 50, N: 1}, Latency: Spread{Last: 70, Seen: true, Min: 70, Max: 70, Sum: 70, N: 1},
	}
	if got != want {
		t.Errorf("got %+v\nwant %+v", got, want)
	}
	if s := l.Snapshot(); s.Acked != now+20 || s.Last != now-50 {
		t.Errorf("%+v", s.Stats)
	}
}
