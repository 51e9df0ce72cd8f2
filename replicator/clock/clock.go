// Package clock tells how much time has passed by two clocks: the monotonic one stands still while a
// machine is suspended, and the wall clock can be set.
package clock

import "time"

// Moment is a point of time by both clocks.
type Moment struct {
	Mono, Wall time.Duration // since some time in the past
}

var began = time.Now()

// At is t, which time.Now returned, as a Moment.
func At(t time.Time) Moment { return Moment{t.Sub(began), time.Duration(t.UnixNano())} }

// Now is the present.
func Now() Moment { return At(time.Now()) }

// Since is how much time has passed from m to now, by the clock that saw more of it.
// A wall clock that was set back or forward counts as if all of that had passed.
func (now Moment) Since(m Moment) time.Duration {
	return max(now.Mono-m.Mono, (now.Wall - m.Wall).Abs())
}
