package lane

import "github.com/kferry/kferry/offsets"

// State is what a lane does.
//
//	Starting -> Running <-> Waiting
//	    ^          |           |
//	    '----------+-----------'   (Starting again: to ask the target what it has)
//	  any -> Stopped -> Starting   (a person, or the cause, changed something)
//	  Running, Waiting -> Paused -> Starting   (a person wishes so)
type State int8

// The states of a lane.
const (
	Starting State = iota // asking both sides where to go on
	Running               // carrying, or idle at the end of the source
	Waiting               // for a leader, or for a broker that refuses for now; goes on by itself
	Paused                // by a person's wish; Reason says whose
	Stopped               // cannot go on safely; Reason says where, why and what to do
	States                // how many there are
)

func (s State) String() string {
	return [...]string{"starting", "running", "waiting", "paused", "stopped", "?"}[min(s, States)]
}

// Stats counts since the lane was made. Bytes are those of the batches as the
// target got them.
type Stats struct {
	Records, Bytes int64
	Batches        [Paths]int64
	Last           int64 // time of the newest batch acknowledged, ms since 1970; 0: none was
	Skipped        int64 // records found on the target already, not sent again
	Lost           int64 // source offsets that were gone before they could be read
	Twice          int64 // records that may be on the target twice, at most
	Aside          int64 // records that the target refused and that are kept elsewhere
}

func (s *Stats) ack(it Item) {
	s.Records += int64(it.Records)
	s.Bytes += int64(len(it.Bytes))
	s.Batches[it.Path]++
	s.Last = it.Time
}

// Snapshot is a lane seen at one moment.
type Snapshot struct {
	State  State
	Reason string
	Position
	LogStart, End offsets.Source // of the source; End < 0: never seen
	Lag           int64          // offsets the target lacks; -1: the end was never seen
	Oldest        int64          // time of the oldest batch held, ms since 1970; 0: none is held
	Held          int64          // bytes waiting and in flight
	Stats
}

// Snapshot returns the lane as it is now.
func (l *Lane) Snapshot() Snapshot {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := Snapshot{State: l.state, Reason: l.reason, Position: l.pos, LogStart: l.logStart, End: l.end, Lag: -1, Held: l.bytes, Stats: l.stats}
	if l.end >= 0 {
		s.Lag = max(0, int64(l.end-l.pos.Source))
	}
	if len(l.flight) > 0 {
		s.Oldest = l.flight[0].Time
	} else if len(l.waiting) > 0 {
		s.Oldest = l.waiting[0].Time
	}
	return s
}

// Set changes the state and its reason (empty when running).
func (l *Lane) Set(s State, reason string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.setLocked(s, reason)
}

func (l *Lane) setLocked(s State, reason string) { l.state, l.reason = s, reason }

// Note changes the reason alone: why a lane that runs cannot fetch at the moment.
func (l *Lane) Note(reason string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.reason = reason
}

// Oldest is the oldest batch in flight; if there is none, an empty one at the
// lane's position. Its bytes stay the lane's.
func (l *Lane) Oldest() Item {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.flight) == 0 {
		return Item{First: l.pos.Source, Next: l.pos.Source}
	}
	return l.flight[0]
}

// State is what the lane does now.
func (l *Lane) State() State {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.state
}

// Seen takes note of where the source's log begins and ends.
func (l *Lane) Seen(start, end offsets.Source) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.logStart, l.end = start, end
}

// Share bounds how many bytes the lane holds before it fetches no more.
func (l *Lane) Share(bytes int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.share = bytes
}

// OnReady names who is told that there is something to send; nil: nobody.
func (l *Lane) OnReady(f func(*Lane)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ready = f
}

// OnRoom names who is told that there is room to fetch; nil: nobody.
func (l *Lane) OnRoom(f func(*Lane)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.room = f
}

// Offsets returns a copy of the lane's offset map and where the lane is, at one
// moment; nil before the lane's first start.
func (l *Lane) Offsets() (Position, *offsets.Map) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.offsets == nil {
		return l.pos, nil
	}
	return l.pos, l.offsets.Clone()
}

// OffsetsVersion changes with the lane's offset map, but not while it only grows
// at its end.
func (l *Lane) OffsetsVersion() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.offsets == nil {
		return 0
	}
	return l.offsets.Version()
}

// Translate tells where a source offset is on the target, and where what is
// there ends; false before the lane's first start. See offsets.Map.
func (l *Lane) Translate(s offsets.Source) (t offsets.Target, found offsets.Found, again int64, end offsets.Target, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.offsets == nil {
		return 0, 0, 0, 0, false
	}
	t, found, again = l.offsets.Translate(s)
	_, end = l.offsets.End()
	return t, found, again, end, true
}

// Last is the newest record that the target has, on both sides; false if that is
// not known exactly.
func (l *Lane) Last() (s offsets.Source, t offsets.Target, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.offsets == nil {
		return 0, 0, false
	}
	return l.offsets.Last()
}

// Count adds to the counters of what could not be carried exactly.
func (l *Lane) Count(lost, twice, aside int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.stats.Lost += lost
	l.stats.Twice += twice
	l.stats.Aside += aside
}

// Drop frees everything the lane holds. The lane must be settled; it does
// nothing more until Start.
func (l *Lane) Drop() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.dropLocked()
	l.out, l.back = 0, 0
	l.sent, l.fetched, l.leader = l.pos.Source, l.pos.Source, l.pos.Leader
}
