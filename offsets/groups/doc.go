// Package groups keeps consumer groups of the source where they are on the
// target too: it translates what a group has committed and commits that on the
// target, for groups that nobody uses there.
//
// Words: to follow a group is to do that round after round; the goal is the
// offset on the target that stands for what a group committed on the source; a
// verdict says how it is with one partition of one group.
//
// A position on the target never goes back, and never beyond what is mirrored.
// One thing can not be had from Kafka: a commit that depends on what is there. A
// consumer that joins, commits and leaves within the milliseconds between our
// reading and our commit would be overtaken by ours; one that is still a member
// makes the coordinator refuse us.
package groups
