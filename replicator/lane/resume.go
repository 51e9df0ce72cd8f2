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
	// Known tells that the last sequence of our producer on the target is known, and is
	// Last: the broker remembers it, or it was found in the log.
	Known bool
	Last  int32
	// Read tells that the target's log was read from the stored position, or from Start
	// if that is later, up to End. Without Known nothing of ours was found there.
	Read bool
}

// Plan is how a lane goes on.
type Plan struct {
	Position
	// Carried is how many data records before Position the target has of those that
	// followed where the lane stood.
	Carried int64
	Skip    int64 // data records from Position.Source on that the target has already
	Lost    int64 // source offsets below the log start, never carried, as far as can be told
	// Twice is how many records may be stored a second time, at most, because nothing
	// is left that tells. 0 in all but the cases named in Resume and Placed.
	Twice int64
	// Search tells that the Skip records cannot be counted from Position.Source on, for
	// the source has removed some of them: find their end by comparing, see Placed.
	Search bool
	// Blind tells that the target did not remember the producer, so that up to its next
	// batch nothing keeps an earlier one that comes late from being stored again.
	Blind bool
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
	p.Target = seen.End
	return Plan{Position: p.Position}
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

// ErrForgotten means that the target does not remember the producer id while its log
// has grown since: read its log from Position.Target on, and call Resume again with
// Read set, and Known if something of ours was found there.
var ErrForgotten = fmt.Errorf("the target forgot the producer id and has grown since")

// Resume derives where to go on from where the lane stood and from what both sides
// say. The number of records written since is n = Last + 1 - Sequence, whatever
// crashed in between: a lane sends records in source order, and each has one sequence
// for ever. Of what this process sent it knows where it ends on the source; what is
// left of n are the data records that follow there.
//
// Where the source has removed some of those, their end is to be searched for
// (Plan.Search). Where the target has removed part of what it wrote since, and
// nothing of ours is left of it, nobody can tell whether there was any: it goes on
// where it stood, and Plan.Twice says how many records may be there already.
func Resume(stood Stand, seen Seen) (Plan, error) {
	p := Plan{Position: stood.Position, Blind: seen.Read || !seen.Known}
	if end := seen.common(); stood.Source > end {
		return p, &TruncatedError{stood.Source, end}
	}
	if seen.End < stood.Target {
		return p, &LostTargetError{stood.Position, seen}
	}
	switch {
	case seen.Known:
		n := written(stood.Sequence, seen.Last)
		if n < 0 {
			return p, &LostTargetError{stood.Position, seen}
		}
		p.Position, p.Carried = stood.upTo(stood.Sent, seen.Last)
		if end := seen.common(); p.Source > end {
			return p, &TruncatedError{p.Source, end}
		}
		p.Skip = n - p.Carried
	case seen.Read:
		p.Twice = unseen(stood, seen)
		p.Target = seen.End
	case seen.End > stood.Target:
		return p, ErrForgotten
	}
	if gone := int64(seen.LogStart - p.Source); gone > 0 && p.Skip > 0 {
		p.Search = true
	} else if gone > 0 {
		p.Lost, p.Source, p.Leader = gone, seen.LogStart, 0
	}
	return p, nil
}

// unseen is how many records may be on the target though nothing of ours was found:
// no more than offsets were removed there, than the source has, and than were sent.
func unseen(stood Stand, seen Seen) int64 {
	n := min(int64(seen.Start-stood.Target), int64(seen.LogEnd-max(stood.Source, seen.LogStart)))
	if stood.Whole {
		sent := int64(0)
		for _, s := range stood.Sent {
			sent += int64(s.Records)
		}
		n = min(n, sent)
	}
	return max(0, n)
}

// Placed is the plan once the end of the records to skip was found on the source:
// they end before offset at, and there still were found records between the plan's
// position, or the source's log start, and that. twice of them are no certain find.
func (p Plan) Placed(seen Seen, at offsets.Source, found, twice int64) Plan {
	gone := max(0, int64(seen.LogStart-p.Source))
	p.Lost = max(0, gone-(p.Skip-found))
	p.Source, p.Leader, p.Sequence = at, 0, Advance(p.Sequence, p.Skip)
	p.Carried, p.Skip, p.Search, p.Twice = p.Carried+p.Skip, 0, false, twice
	return p
}

// written is how many records were stored after sequence seq was the next one
// to send, given the last stored.
func written(seq, last int32) int64 { return Distance(seq, Advance(last, 1)) }

// Distance is how many records after sequence from the sequence to is; negative where
// it is before. Sequences live on a circle of 2^31, so more than half of it ahead
// means behind.
func Distance(from, to int32) int64 {
	n := (int64(to) - int64(from)) & math.MaxInt32
	if n > math.MaxInt32/2 {
		n -= math.MaxInt32 + 1
	}
	return n
}
