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
	Target      offsets.Target // next to be read there; UnknownTarget = a lane that does not know yet
	Found       Found
	Again       int64          // at most so many records before at are read again
	End         offsets.Target // of what is mirrored
	Mirrored    offsets.Source // all below it is
	TakenOver   bool           // somebody else mirrored before the lane began: its beginning stands for nothing
}

// Found says how exact a translation is.
type Found uint8

const (
	FoundExact  Found = iota
	FoundGap          // floored, and nothing is read again
	FoundFloor        // floored: at most Again records are read again
	FoundBefore       // below where the lane began
	FoundBeyond       // not mirrored yet: Target is the end of what is mirrored
)

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

// goal is where the group is to stand on the target; none if nothing is to be
// committed. last bounds the record it stands for: a goal is floored, so a group
// on the target between goal and last is not ahead.
func (in input) goal() (v Verdict, goal, last offsets.Target) {
	p := in.place
	switch {
	case in.at < 0:
		return NoOffset, none, none
	case !in.mine && in.carried:
		return elsewhere, none, none
	case !in.mine:
		return NotInFlow, none, none
	case p.Target < 0 || p.End < 0:
		return NotMirrored, none, none
	case p.Found == FoundBefore && p.TakenOver:
		return Before, none, none
	}
	goal = min(p.Target, p.End)
	last = goal + offsets.Target(max(p.Again, 0))
	switch p.Found {
	case FoundExact:
		return Exact, goal, last
	case FoundGap:
		return Gap, goal, last
	case FoundFloor:
		return Floor, goal, last
	case FoundBefore:
		return Before, goal, goal
	}
	return NotMirrored, goal, goal
}

// decide says how it is, and what to commit; none for no commit.
func decide(in input) (Verdict, offsets.Target) {
	v, goal, last := in.goal()
	switch {
	case goal == none:
		return v, none
	case in.target > last:
		return Ahead, none
	case in.target >= goal:
		return v, none
	case in.active:
		return Active, none
	}
	return v, goal
}

// again is how many records at most a group has read on the source and reads
// again if it switches now; -1 where it begins by its own auto.offset.reset.
func (in input) again() int64 {
	_, goal, last := in.goal()
	switch {
	case goal == none:
		return 0
	case in.target < 0:
		return -1
	case in.place.Found == FoundBeyond: // what is not mirrored comes behind the end
		last += offsets.Target(max(0, in.at-in.place.Mirrored))
	}
	return max(0, int64(last-in.target))
}

// lag is how many records a group that switches now finds on the target; -1
// where it begins by its own auto.offset.reset.
func (in input) lag() int64 {
	if !in.mine || in.at < 0 || in.place.End < 0 {
		return 0
	}
	if in.target < 0 {
		return -1
	}
	return max(0, int64(in.place.End-in.target))
}
