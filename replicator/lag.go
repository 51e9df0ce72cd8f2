package replicator

import (
	"time"

	"github.com/kferry/kferry/replicator/lane"
)

const (
	// A lane whose end on the source was not confirmed for so long is stale: what
	// is told of its lag was true once.
	staleAfter = 15 * time.Second
	// That there is no lag is believed for less: it is what people wait for before
	// they switch.
	noneFor = 5 * time.Second
	// While a lane gets on, it may hold nothing for a moment. The record that is
	// fetched next is then about as old as the last one that arrived.
	steadyFor = 2 * time.Second
)

// lag is what a lane lacks on the target, as far as that is known.
type lag struct {
	records int64   // -1: not known
	seconds float64 // age of the oldest of them; -1: not known
	stale   bool    // records and seconds are of before
}

// lagOf never takes what was true once for what is: where no lag was and nobody
// confirms it, the lag is unknown.
func lagOf(s *lane.Snapshot, now time.Time) lag {
	ago := now.Sub(time.UnixMilli(s.Confirmed))
	l := lag{records: s.Lag, seconds: -1, stale: ago >= staleAfter}
	if ago >= noneFor && l.records == 0 {
		l.records = -1
	}
	at := s.Oldest
	if at == 0 && s.State == lane.Running && now.Sub(time.UnixMilli(s.Acked)) < steadyFor {
		at = s.Last
	}
	switch {
	case l.records == 0:
		l.seconds = 0
	case l.records > 0 && at > 0:
		l.seconds = max(0, now.Sub(time.UnixMilli(at)).Seconds())
	}
	return l
}

// add takes in the lag of another lane: the largest age counts.
func (l *lag) add(o lag) {
	if o.records >= 0 {
		l.records = max(0, l.records) + o.records
	}
	l.seconds = max(l.seconds, o.seconds)
	l.stale = l.stale || o.stale
}
