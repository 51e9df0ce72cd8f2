package lane

import (
	"sync/atomic"

	"github.com/kferry/kferry/offsets"
)

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
	Acked          int64 // when that was, ms since 1970
	Skipped        int64 // records found on the target already, not sent again
	Lost           int64 // source offsets that were gone before they could be read
	Twice          int64 // records that may be on the target twice, at most
	Aside          int64 // records that the target refused and that are kept elsewhere
}

// ackedLocked counts a batch that the target has.
func (l *Lane) ackedLocked(it Item, now int64) {
	n, bytes := int64(it.Records), int64(len(it.Bytes))
	s, r := &l.stats, l.recent.At(now)
	s.Records += n
	s.Bytes += bytes
	s.Batches[it.Path]++
	s.Last, s.Acked = it.Time, now
	r.Records += n
	r.Bytes += bytes
	r.Latency.Add(now - it.Time)
}

// Add takes in what another lane has counted.
func (s *Stats) Add(o *Stats) {
	s.Records += o.Records
	s.Bytes += o.Bytes
	for p, n := range o.Batches {
		s.Batches[p] += n
	}
	s.Skipped += o.Skipped
	s.Lost += o.Lost
	s.Twice += o.Twice
	s.Aside += o.Aside
}

// Beat is when the owner of a fetch session last heard from the source, ms since
// 1970. A session leaves out the lanes without news, so the answer says of each of
// them that its end is where it was.
type Beat struct{ atomic.Int64 }

// clockStep is longer than any answer takes, ms: what seems to be older than that
// comes from a clock that was set back.
const clockStep = 60_000

// front is when the first record that the target lacks was written, if somebody
// has looked: ms since 1970, and of a lane that is at that offset.
type front struct {
	at   offsets.Source
	time int64
}

// Snapshot is a lane seen at one moment.
type Snapshot struct {
	State  State
	Reason string
	Position
	LogStart, End offsets.Source // of the source; End < 0: never seen
	Lag           int64          // offsets the target lacks; -1: not known where the source ends or where the lane is
	Confirmed     int64          // when End was last known to be the source's end, ms since 1970; 0: never
	Oldest        int64          // time of the oldest record that the target lacks, ms since 1970; 0: not known
	Held          int64          // bytes waiting and in flight
	Undecided     Undecided      // the transaction that it has come to
	Stats
}

// Snapshot returns the lane as it is now.
func (l *Lane) Snapshot() Snapshot {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.snapshotLocked()
}

func (l *Lane) snapshotLocked() Snapshot {
	s := Snapshot{State: l.state, Reason: l.reason, Position: l.pos, LogStart: l.logStart, End: l.end, Lag: -1, Confirmed: l.confirmedLocked(), Held: l.bytes, Stats: l.stats}
	if l.end >= 0 && l.placed {
		s.Lag = max(0, int64(l.end-l.pos.Source))
	}
	s.Oldest, s.Undecided = l.oldestLocked(), l.undecidedLocked()
	return s
}

// Known tells, cheaply, when the source's end was last confirmed, and whether it
// is known how old the lag is, if there is one.
func (l *Lane) Known() (confirmed int64, dated bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.confirmedLocked(), l.end <= l.pos.Source || l.oldestLocked() > 0
}

// oldestLocked is the time of the oldest record that the target lacks; 0: not known.
func (l *Lane) oldestLocked() int64 {
	if at := l.heldLocked(); at > 0 || l.front.at != l.pos.Source {
		return at
	}
	return l.front.time
}

// heldLocked is the time of the oldest batch that the lane holds; 0: none.
func (l *Lane) heldLocked() int64 {
	switch {
	case len(l.flight) > 0:
		return max(0, l.flight[0].Time)
	case len(l.waiting) > 0:
		return max(0, l.waiting[0].Time)
	}
	return 0
}

// dateLocked remembers how old the oldest batch is that is about to be let go.
func (l *Lane) dateLocked() {
	if at := l.heldLocked(); at > 0 {
		l.front = front{l.pos.Source, at}
	}
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

// Seen takes note of where the source's log begins and ends, as a fetcher was told
// at now; from then on the end holds for as long as beat moves.
func (l *Lane) Seen(start, end offsets.Source, now int64, beat *Beat) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.logStart, l.end, l.seen, l.beat = start, end, now, beat
}

// Unwatched tells that beat says nothing about the lane any more.
func (l *Lane) Unwatched(beat *Beat) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.beat == beat {
		l.seen, l.beat = max(l.seen, beat.Load()), nil
	}
}

// Ends takes note of where the source's log ends, as somebody was told who asked
// at that time. What was heard later holds.
func (l *Lane) Ends(end offsets.Source, at int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if late := l.confirmedLocked() - at; late > 0 && late < clockStep {
		return
	}
	l.end, l.seen = end, at
}

// Begins takes note of where the source's log begins.
func (l *Lane) Begins(start offsets.Source) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.logStart = start
}

// confirmedLocked is when end was last known to be the source's end.
func (l *Lane) confirmedLocked() int64 {
	if l.beat == nil {
		return l.seen
	}
	return max(l.seen, l.beat.Load())
}

// Dated takes note that the first record at or behind a position was written at
// that time, ms since 1970.
func (l *Lane) Dated(position offsets.Source, time int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.front = front{position, time}
}

// Left takes note of where an earlier process left the lane, for whoever looks at
// it before its first start.
func (l *Lane) Left(at Position) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.placed {
		l.pos, l.placed = at, true
	}
}

// Reached takes note of how far somebody else has carried the lane, for one that
// is only watched.
func (l *Lane) Reached(source offsets.Source, target offsets.Target) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.pos, l.placed = Position{Source: source, Target: target}, true
	l.sent, l.fetched = source, source
}

// Unplace takes back where the lane is: nobody knows.
func (l *Lane) Unplace() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.pos, l.placed = Position{}, false
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

// Unmap tells that one of the lane's logs may be another than the one that its map
// and its position are about: until the next Start nothing is translated. A map of a
// topic that was made anew would put consumers behind records they have not read.
func (l *Lane) Unmap() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.holds = false
}

// mapLocked is the offset map for whoever asks where something is; nil: nobody knows.
// A lane that starts or is stopped has yet to find out what its logs are.
func (l *Lane) mapLocked() *offsets.Map {
	switch l.state {
	case Running, Waiting, Paused:
		if l.holds {
			return l.offsets
		}
	}
	return nil
}

// Map returns a copy of the offset map for translations; nil while it is not known
// whether it holds. All that translates goes this way or by Translate, Last and Find.
func (l *Lane) Map() *offsets.Map {
	l.mu.Lock()
	defer l.mu.Unlock()
	if m := l.mapLocked(); m != nil {
		return m.Clone()
	}
	return nil
}

// Offsets returns a copy of the lane's offset map and where the lane is, at one
// moment, to be stored or to go on with; nil before the lane's first start. It may be
// about logs that are gone: Map is for translations.
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
// there ends; false while that is not known. See offsets.Map.
func (l *Lane) Translate(s offsets.Source) (t offsets.Target, found offsets.Found, again int64, end offsets.Target, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	m := l.mapLocked()
	if m == nil {
		return 0, 0, 0, 0, false
	}
	t, found, again = m.Translate(s)
	_, end = m.End()
	return t, found, again, end, true
}

// Last is the newest record that the target has, on both sides; false if that is
// not known exactly.
func (l *Lane) Last() (s offsets.Source, t offsets.Target, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	m := l.mapLocked()
	if m == nil {
		return 0, 0, false
	}
	return m.Last()
}

// Count adds to the counters of what could not be carried exactly.
func (l *Lane) Count(lost, twice, aside int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.stats.Lost += lost
	l.stats.Twice += twice
	l.stats.Aside += aside
}

// Drop frees everything the lane holds; Stand still tells what was in flight. The lane
// must be settled; it does nothing more until Start.
func (l *Lane) Drop() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.dropLocked()
	l.out, l.back = 0, 0
	l.sent, l.fetched, l.leader = l.pos.Source, l.pos.Source, l.pos.Leader
}
