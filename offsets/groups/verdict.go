package groups

import "fmt"

// Verdict says how it is with one partition of a followed group. The names that
// String gives are stable: they are labels of metrics.
type Verdict uint8

// The first six say where the goal is and that the target is there, or will be
// when this round's commit is done; the others why it is not.
const (
	Exact        Verdict = iota // the same record is next on both sides
	Gap                         // committed where there is no record to carry; the next one is next
	Floor                       // only an earlier place is known: some records are read again
	NotMirrored                 // the group is ahead of what is mirrored, and grows with it
	Before                      // committed before the first mirrored record: begins there
	Removed                     // the target has removed records that the group has not read
	Unknown                     // the lane does not tell where it is on the target
	Active                      // the group has members on the target
	Ahead                       // further on the target than on the source; never rewound
	NotInFlow                   // the flow does not carry the topic
	NoOffset                    // nothing is committed on the source
	Denied                      // a right is missing, on either side
	NotListed                   // the source shows no group that a pattern matches
	Refused                     // the target does not take the commit
	Gone                        // the source has the group no more
	Failed                      // no answer; the next round tries again
	NotCommitted                // the flow commits nothing, and the group is not there
	elsewhere                   // another replica has the lane; not reported
	verdicts     = int(elsewhere)
)

var verdictNames = [...]string{
	"exact", "gap", "floor", "not_mirrored_yet", "before_first", "removed_on_target", "not_known", "target_active", "ahead_on_target", "not_in_flow", "no_commit",
	"not_authorised", "not_listed", "target_refuses", "gone", "failed", "not_committed", "elsewhere",
}

// Verdicts are all that a report can have, in their order.
func Verdicts() []Verdict {
	all := make([]Verdict, verdicts)
	for i := range all {
		all[i] = Verdict(i)
	}
	return all
}

func (v Verdict) String() string {
	if int(v) >= len(verdictNames) {
		return fmt.Sprintf("verdict_%d", int(v))
	}
	return verdictNames[v]
}

// Synced tells that the target stands as well as it can.
func (v Verdict) Synced() bool { return v <= Floor }

// sentences are what a person reads; Row.Reason adds numbers and details.
var sentences = [...]string{
	Exact:        "synced: the same record is next on both clusters",
	Gap:          "synced: the committed offset lies in a gap, and the next record is next on both clusters",
	Floor:        "synced to the nearest earlier place that is known",
	NotMirrored:  "not mirrored yet: committed at the end of what is mirrored, and grows as it does",
	Before:       "committed before the first mirrored record",
	Removed:      "the target has removed records that the group has not read: a consumer would begin by its auto.offset.reset",
	Unknown:      "where it is on the target is not known",
	Active:       "the group has members on the target, so its offsets there are its own",
	Ahead:        "the group is further on the target than on the source; it is never rewound",
	NotInFlow:    "the flow does not carry the topic",
	NoOffset:     "nothing is committed on the source",
	Denied:       "our user is not allowed to",
	NotListed:    "the source shows no group that the pattern matches: there is none, or our user may not see it",
	Refused:      "the target does not take the commit",
	Gone:         "the source has the group no more; on the target it stays where it is",
	Failed:       "no answer; the next round tries again",
	NotCommitted: "not committed: sync_group_offsets of the flow is false",
	elsewhere:    "another replica has the lane",
}
