package lane

import (
	"fmt"
	"math"

	"github.com/kferry/kferry/offsets"
)

// Seen is what both clusters say about a lane that is about to go on.
type Seen struct {
	LogStart, LogEnd offsets.Source // of the source partition
	// Same tells up to where the source's log is the one that was read, by its
	// leader epochs; below LogEnd only after a truncation. 0: not known.
	Same       offsets.Source
	Start, End offsets.Target // of the target partition
	// Known tells that the target remembers the stored producer id, and then
	// Last is the last sequence it stored. Brokers forget an id that wrote
	// nothing for producer.id.expiration.ms (a day), and when an unclean
	// election lost it.
	Known bool
	Last  int32
}

// Plan is how a lane goes on.
type Plan struct {
	Position
	Skip int64 // data records from Position.Source on that the target has already
	Lost int64 // source offsets below the log start, never carried, as far as can be told
	// Twice is how many records may be stored a second time because counting
	// them was not sound. 0 in all but the cases named in Resume.
	Twice int64
}

// LostTargetError means the target lacks records that it had acknowledged: the
// topic was made anew or a broker lost its log. Going on would hide a hole.
type LostTargetError struct {
	Stored Position
	Seen   Seen
}

func (e *LostTargetError) Error() string {
	if e.Seen.Known && e.Seen.End >= e.Stored.Target {
		return fmt.Sprintf("the target's last sequence of our producer is %d, before the stored %d: it has lost records that it acknowledged",
			e.Seen.Last, e.Stored.Sequence)
	}
	return fmt.Sprintf("the target ends at offset %d, below the stored %d: its topic was made anew or it has lost records that it acknowledged",
		e.Seen.End, e.Stored.Target)
}

// TruncatedError means the source's log is, from End on, not the one that was
// carried up to Stored.
type TruncatedError struct{ Stored, End offsets.Source }

func (e *TruncatedError) Error() string {
	return fmt.Sprintf("the source's log was truncated to offset %d, below the %d that was carried already: an unclean leader election, or its topic was made anew; "+
		"the target keeps %d offsets that the source has lost", e.End, e.Stored, e.Stored-e.End)
}

// common is where the log that was carried ends.
func (s Seen) common() offsets.Source {
	if s.Same > 0 {
		return min(s.Same, s.LogEnd)
	}
	return s.LogEnd
}

// Restart is the plan for a source that is no longer the one that was carried,
// given the one of Resume: nothing is skipped, for what was written after the
// stored position is not what the source has there now. The caller begins a new
// epoch for it.
func (p Plan) Restart(seen Seen) Plan {
	p.Skip, p.Lost, p.Twice = 0, 0, 0
	p.Target = seen.End
	return p
}

// Mapped brings a stored offset map, taken when the lane was at position at, to
// the lane's stored position p, which may be of a while later. What the map
// missed is a hole whose records are counted by their sequences. nil, a map that
// was lost, makes one that says the least.
func Mapped(m *offsets.Map, at, p Position) *offsets.Map {
	n := int64(-1)
	switch {
	case m == nil:
		m = offsets.NewMap(0, 0)
	case at.Producer == p.Producer && at.Epoch == p.Epoch:
		n = written(at.Sequence, p.Sequence-1)
	}
	m.Hole(p.Source, n)
	return m
}

// ErrForgotten means that the target forgot the producer id while its log has
// grown since: read its log from Position.Target on, find the last sequence of
// our producer there, and call Resume again with Known set (or with End set to
// Position.Target when none is found).
var ErrForgotten = fmt.Errorf("the target forgot the producer id and has grown since")

// Resume derives where to go on from stored progress and from what both sides
// say. The number of records written after the progress was stored is
// n = Last + 1 - Sequence, whatever crashed in between; the n data records that
// follow on the source are the ones, since a lane sends them in source order
// and each has one sequence for ever.
//
// Where that count cannot be mapped to the source (records below the log start
// are gone) it goes on at the log start; up to n records may then be on the
// target twice, and Plan.Twice says so.
func Resume(stored Position, seen Seen) (Plan, error) {
	p := Plan{Position: stored}
	if end := seen.common(); stored.Source > end {
		return p, &TruncatedError{stored.Source, end}
	}
	if seen.End < stored.Target {
		return p, &LostTargetError{stored, seen}
	}
	switch {
	case seen.Known:
		p.Skip = written(stored.Sequence, seen.Last)
		if p.Skip < 0 {
			return p, &LostTargetError{stored, seen}
		}
	case seen.End > stored.Target:
		return p, ErrForgotten
	}
	if gone := int64(seen.LogStart - stored.Source); gone > 0 {
		p.Lost = max(0, gone-p.Skip)
		p = p.AtLeastOnce()
		p.Source, p.Leader = seen.LogStart, 0
	}
	return p, nil
}

// AtLeastOnce is the plan for a source where the records to skip cannot be
// counted: go on at the same offset with the next sequence, skip nothing.
func (p Plan) AtLeastOnce() Plan {
	p.Sequence, p.Twice, p.Skip = Advance(p.Sequence, p.Skip), p.Skip, 0
	return p
}

// written is how many records were stored after sequence seq was the next one
// to send, given the last stored. Sequences live on a circle of 2^31, so more
// than half of it ahead means behind.
func written(seq, last int32) int64 {
	n := (int64(last) + 1 - int64(seq)) & math.MaxInt32
	if n > math.MaxInt32/2 {
		n -= math.MaxInt32 + 1
	}
	return n
}
