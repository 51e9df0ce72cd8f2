package progress

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/kferry/kferry/replicator/clock"
)

// clocks are a machine's two clocks, which a test sets.
type clocks struct{ clock.Moment }

func (c *clocks) now() clock.Moment { return c.Moment }

// pass has time go by, as both clocks see it.
func (c *clocks) pass(d time.Duration) { c.Mono, c.Wall = c.Mono+d, c.Wall+d }

func TestLease(t *testing.T) {
	const term = 10 * time.Second
	type step func(*clocks, *Lease)
	pass := func(d time.Duration) step { return func(c *clocks, _ *Lease) { c.pass(d) } }
	suspend := func(d time.Duration) step { return func(c *clocks, _ *Lease) { c.Wall += d } } // or the clock is set
	answered := func(took time.Duration) step {
		return func(c *clocks, l *Lease) {
			sent := c.Moment
			c.pass(took)
			l.Renew(sent, term)
		}
	}
	late := func(ago time.Duration) step { // an answer to what was sent so long ago
		return func(c *clocks, l *Lease) { l.Renew(clock.Moment{Mono: c.Mono - ago, Wall: c.Wall - ago}, term) }
	}
	lost := func(_ *clocks, l *Lease) { l.End() }
	yield := func(_ *clocks, l *Lease) { l.Yield() }
	for name, tt := range map[string]struct {
		steps []step
		want  bool
	}{
		"nothing was answered yet":             {nil, false},
		"a heartbeat was":                      {[]step{answered(time.Second)}, true},
		"long ago":                             {[]step{answered(0), pass(term)}, false},
		"it counts from when it was sent":      {[]step{answered(6 * time.Second), pass(4 * time.Second)}, false},
		"the answer took longer than it lasts": {[]step{answered(term)}, false},
		"the next one":                         {[]step{answered(0), pass(9 * time.Second), answered(0), pass(9 * time.Second)}, true},
		"an older one comes late":              {[]step{answered(0), late(9 * time.Second), pass(5 * time.Second)}, true},
		"suspended":                            {[]step{answered(0), suspend(time.Hour)}, false},
		"suspended for a moment":               {[]step{answered(0), suspend(time.Second)}, true},
		"the clock was set back":               {[]step{answered(0), suspend(-time.Hour)}, false},
		"set back, and heard since":            {[]step{answered(0), suspend(-time.Hour), answered(0)}, true},
		"suspended, and heard since":           {[]step{answered(0), suspend(time.Hour), answered(0)}, true},
		"counted out":                          {[]step{answered(0), pass(time.Second), lost}, false},
		"counted out, and of before":           {[]step{answered(0), pass(time.Second), lost, late(time.Millisecond)}, false},
		"counted out, and in again":            {[]step{answered(0), pass(time.Second), lost, pass(time.Second), answered(0)}, true},
		"lets slots go":                        {[]step{answered(0), yield, pass(9 * time.Second)}, true},
		"lets slots go for long":               {[]step{answered(0), yield, pass(yieldFor), answered(0)}, false},
	} {
		t.Run(name, func(t *testing.T) {
			c := &clocks{clock.Moment{Mono: time.Hour, Wall: 1000 * time.Hour}}
			l := NewLease(c.now)
			for _, s := range tt.steps {
				s(c, l)
			}
			if got := l.Held(); got != tt.want {
				t.Errorf("held: %v, want %v", got, tt.want)
			}
		})
	}
}

func TestLeaseReturnsOnce(t *testing.T) {
	c := &clocks{}
	l := NewLease(c.now)
	if l.Held() || l.Returned() {
		t.Error("it holds before anything was answered")
	}
	l.Renew(c.Moment, time.Second)
	if !l.Returned() || l.Returned() {
		t.Error("it does not return once")
	}
	if l.Held(); l.Returned() {
		t.Error("it returns without having been refused")
	}
}

// Whatever happens to the process and its machine, the lease never holds when the group has
// counted the replica out.
func TestLeaseModel(t *testing.T) {
	const session = 10 * time.Second
	held, refused := 0, 0
	for seed := range uint64(500) {
		rnd := rand.New(rand.NewPCG(seed, 1))
		some := func(most time.Duration) time.Duration { return time.Duration(rnd.Int64N(int64(most))) }
		truth := time.Duration(0)    // the time as it is
		c := &clocks{clock.Moment{}} // as the machine sees it
		l := NewLease(c.now)
		out := time.Duration(-1) // when the group counts the replica out; below 0: it is not a member
		pass := func(d time.Duration) { truth += d; c.pass(d) }
		for range 200 {
			switch rnd.IntN(8) {
			case 0: // the machine is suspended
				d := some(40 * time.Second)
				truth, c.Wall = truth+d, c.Wall+d
			case 1: // the process is frozen
				pass(some(40 * time.Second))
			case 2, 3, 4, 5: // a heartbeat
				sent := c.Moment
				pass(some(2 * time.Second)) // on its way
				member := truth < out
				if member {
					out = truth + session
				}
				pass(some(2 * time.Second)) // and back
				if rnd.IntN(10) == 0 {
					pass(some(30 * time.Second)) // it was frozen before it could look
				}
				if member {
					l.Renew(sent, session)
				} else { // it is told so, and joins
					l.End()
					sent = c.Moment
					pass(some(time.Second))
					out = truth + session
					l.Renew(sent, session)
				}
			default:
				pass(some(3 * time.Second))
			}
			if !l.Held() {
				refused++
			} else if held++; truth >= out {
				t.Fatalf("seed %d: the lease holds at %v, and the group counted the replica out at %v", seed, truth, out)
			}
		}
	}
	if held < 1000 || refused < 1000 {
		t.Errorf("held %d times, refused %d times", held, refused)
	}
}
