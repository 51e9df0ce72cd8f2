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
	TargetID    [16]byte       // of TargetTopic when it was carried to; zero = not known
	Target      offsets.Target // next to be read there; UnknownTarget = the lane does not know
	Why         string         // it does not; a sentence without a full stop
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
	log     extent         // of the target's partition, when target was read
}

// extent is where a log begins and ends, once somebody has looked.
type extent struct {
	start, end offsets.Target
	topic      [16]byte // its id; zero = not known
	seen       bool
}

// foreign tells that the target's log is not the one that the lane's map is about: it
// was made anew, or ends before the goal, so that it has lost what it had.
func (in input) foreign() bool {
	_, goal := in.goal()
	return in.log.seen && (goal > in.log.end || in.anew())
}

func (in input) anew() bool {
	was, is, unknown := in.place.TargetID, in.log.topic, [16]byte{}
	return was != unknown && is != unknown && was != is
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
		return Unknown, none
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
	if goal != none && goal < in.log.start {
		v = Removed
	}
	switch {
	case goal == none:
		return v, none
	case in.foreign():
		return Unknown, none
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
// again if it switches now; -1 where it begins by its own auto.offset.reset, or nobody
// knows.
func (in input) again() int64 {
	v, goal := in.goal()
	switch {
	case v == Unknown:
		return -1
	case goal == none:
		return 0
	case in.byReset():
		return -1
	}
	return max(0, int64(goal-in.target)+in.place.Again)
}

// lag is how many records a group that switches now finds on the target, at most;
// -1 where it begins by its own auto.offset.reset, or nobody knows.
func (in input) lag() int64 {
	v, _ := in.goal()
	switch {
	case !in.mine || in.at < 0:
		return 0
	case v == Unknown, in.byReset():
		return -1
	}
	return max(0, int64(in.place.End-in.target))
}

// byReset tells that a consumer would begin by its auto.offset.reset: nothing is
// committed, or what its log no longer has.
func (in input) byReset() bool { return in.target < 0 || in.target < in.log.start }
