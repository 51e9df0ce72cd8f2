package datagen

import (
	"math"
	"testing"
	"time"
)

func TestPaceIsEven(t *testing.T) {
	start := time.Unix(1000, 0)
	for _, rate := range []float64{0.5, 1, 3, 100, 999.5, 50_000} {
		p := pace{rate: rate, start: start}
		var sent int64
		for ms := range 4001 {
			now := start.Add(time.Duration(ms) * time.Millisecond)
			due := p.due(now, sent)
			if due < sent {
				t.Fatalf("rate %g: due went back from %d to %d", rate, sent, due)
			}
			if due > sent && p.wait(now, sent) > time.Microsecond {
				t.Fatalf("rate %g: record %d is due, and %v away", rate, sent, p.wait(now, sent))
			}
			sent = due
			if want := float64(ms)/1000*rate + 1; math.Abs(float64(sent)-want) > 1.01 {
				t.Fatalf("rate %g: %d records after %d ms, want %.1f", rate, sent, ms, want)
			}
		}
	}
}

// TestPaceAfterStall: ten seconds without the processor bring one second's worth at once, and then the rate again.
func TestPaceAfterStall(t *testing.T) {
	start := time.Unix(1000, 0)
	p := pace{rate: 100, start: start}
	sent := p.due(start, 0)
	late := start.Add(10 * time.Second)
	if got := p.due(late, sent) - sent; got != 100 {
		t.Errorf("burst of %d, want 100", got)
	}
	sent = p.due(late, sent)
	if got := p.due(late.Add(time.Second), sent) - sent; got < 99 || got > 101 {
		t.Errorf("%d in the second after, want 100", got)
	}
}

func TestPaceExtremes(t *testing.T) {
	start := time.Unix(1000, 0)
	all := pace{start: start}
	if all.due(start, 5) != math.MaxInt64 || all.wait(start, 5) > 0 {
		t.Error("no rate must mean no waiting")
	}
	slow := pace{rate: 1e-9, start: start}
	if n := slow.due(start, 0); n != 1 {
		t.Errorf("first record: %d due, want 1", n)
	}
	if w := slow.wait(start, 1); w < 24*time.Hour {
		t.Errorf("next record in %v", w)
	}
	if n := slow.due(start.Add(-time.Hour), 0); n != 0 {
		t.Errorf("%d due before the start", n)
	}
}
