package groups

import "github.com/kferry/kferry/offsets"

// Lanes tells what this replica carries. It is asked from several goroutines.
type Lanes interface {
	// Place translates. ok is false if no lane of this replica has the partition.
	Place(topic string, partition int32, at offsets.Source) (p Place, ok bool)
	// Carries tells whether the topic is in the flow; another replica may have the lane.
	Carries(topic string) bool
}

// Place is where a source offset is on the target.
type Place struct {
	TargetTopic string
	Target      offsets.Target // next to be read there; UnknownTarget = the lane does not know yet
	Found       offsets.Found
	Again       int64          // at most so many records before the source offset are read again
	End         offsets.Target // of what is mirrored
}

const none offsets.Target = -1

// input is all that counts for one partition of a group.
type input struct {
	at      offsets.Source // committed on the source; negative = nothing is
	place   Place
	mine    bool           // this replica has the lane, so place holds
	carried bool           // the flow carries the topic
	active  bool           // the group has members on the target
	target  offsets.Target // committed on the target; none = nothing is
}

// goal is where the group is to stand on the target, and the verdict when it does;
// none if nothing is to be committed.
func (in input) goal() (Verdict, offsets.Target) {
	p := in.place
	switch {
	case in.at < 0:
		return NoOffset, none
	case !in.mine && in.carried:
		return elsewhere, none
	case !in.mine:
		return NotInFlow, none
	case p.Target < 0 || p.End < 0:
		return NotMirrored, none
	}
	return found[p.Found], min(p.Target, p.End)
}

var found = [...]Verdict{
	offsets.Exact: Exact, offsets.Gap: Gap, offsets.Floor: Floor, offsets.Before: Before, offsets.Beyond: NotMirrored,
}

// decide says how it is, and what to commit; none for no commit.
func decide(in input) (Verdict, offsets.Target) {
	v, goal := in.goal()
	limit := goal
	if v == Floor { // so the record itself is at most here
		limit += offsets.Target(in.place.Again)
	}
	switch {
	case goal == none:
		return v, none
	case in.active:
		return Active, none // where it is there is its own matter now
	case in.target > limit:
		return Ahead, none
	case in.target >= goal:
		return v, none
	}
	return v, goal
}

// again is how many records at most a group has read on the source and reads
// again if it switches now; -1 where it begins by its own auto.offset.reset.
func (in input) again() int64 {
	_, goal := in.goal()
	switch {
	case goal == none:
		return 0
	case in.target < 0:
		return -1
	}
	return max(0, int64(goal-in.target)+in.place.Again)
}

// lag is how many records a group that switches now finds on the target, at most;
// -1 where it begins by its own auto.offset.reset.
func (in input) lag() int64 {
	switch {
	case !in.mine || in.at < 0 || in.place.End < 0:
		return 0
	case in.target < 0:
		return -1
	}
	return max(0, int64(in.place.End-in.target))
}
