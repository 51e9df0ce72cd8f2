package lane

import "github.com/kferry/kferry/offsets"

// Stage is how far a source offset has come.
type Stage int8

// The stages. Only a Carried offset may have no record: what else is known of an
// offset before it is read is its number.
const (
	Unplaced Stage = iota // it is not known where the lane is
	Before                // below where the lane began: it is not the lane's business
	Carried               // below the position: the target has it, if there was a record
	InFlight              // sent, and not acknowledged
	Held                  // fetched, waits to be sent
	Removed               // the source's log begins behind it: it is gone and was not carried
	Ahead                 // on the source, not fetched
	Beyond                // behind the source's end, as far as that is known
)

// Sight is where one source offset is.
type Sight struct {
	Stage
	Snapshot
	Began       offsets.Source // where the lane began; of a lane that has started
	First, Last offsets.Target // of a Carried one: see offsets.Map.Record
	Found       offsets.Found
	Mapped      bool // the lane's map holds, so Began is known, and First, Last and Found of a Carried one
}

// Find tells where a source offset is.
func (l *Lane) Find(at offsets.Source) Sight {
	l.mu.Lock()
	defer l.mu.Unlock()
	m := l.mapLocked()
	s := Sight{Snapshot: l.snapshotLocked(), Mapped: m != nil}
	if s.Mapped {
		s.Began, _ = m.Origin()
	}
	switch {
	case !l.placed, l.state == Stopped && !l.holds: // the position may be about another log
		s.Stage = Unplaced
	case s.Mapped && at < s.Began:
		s.Stage = Before
	case at < l.pos.Source:
		s.Stage = Carried
		if s.Mapped {
			s.First, s.Last, s.Found = m.Record(at)
		}
	case at < l.sent:
		s.Stage = InFlight
	case at < l.fetched:
		s.Stage = Held
	case at < l.logStart:
		s.Stage = Removed
	case l.end >= 0 && at >= l.end:
		s.Stage = Beyond
	default:
		s.Stage = Ahead
	}
	return s
}
