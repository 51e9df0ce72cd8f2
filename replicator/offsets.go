package replicator

import (
	"fmt"
	"slices"
	"time"

	"github.com/kferry/kferry/offsets"
	"github.com/kferry/kferry/offsets/groups"
	"github.com/kferry/kferry/replicator/lane"
)

// Verdicts are all that OffsetRow.Verdict can be; docs/offsets.md has what they
// mean. Scripts and alerts read the names: they never change their meaning.
var Verdicts = func() (names []string) {
	for _, v := range groups.Verdicts() {
		names = append(names, v.String())
	}
	return names
}()

// unsynced are the verdicts of a group that is somewhere on the source and that
// would not go on there if it switched now. That leaves out those that begin
// where they should, and those that have nothing to bring.
var unsynced = []string{"not_mirrored_yet", "before_first", "removed_on_target", "not_known", "ahead_on_target",
	"not_authorised", "not_listed", "target_refuses", "failed", "not_committed"}

// OffsetRow is where a consumer group is in one partition, on both sides.
type OffsetRow struct {
	Flow               string
	Group, TargetGroup string
	Topic, TargetTopic string    // "" where the verdict is about the whole group
	Partition          int32     // -1 where the topic is ""
	SourceOffset       int64     // where the group is on the source; -1: nowhere
	TargetOffset       int64     // where a consumer of the group would begin on the target; -1: by its auto.offset.reset
	Verdict            string    // one of Verdicts
	Reason             string    // the verdict in a sentence: cause and remedy
	RecordsAgain       int64     // at most so many are read again after switching; -1: not known
	Lag                int64     // from TargetOffset to the end of what is mirrored; -1: not known
	At                 time.Time // when both sides were asked
}

// Offsets is where the groups of all flows are, as of the last round of each,
// sorted by group, topic and partition. A replica has the rows of its own lanes.
func (d *Daemon) Offsets() []OffsetRow {
	var rows []OffsetRow
	for _, f := range d.flows {
		rows = append(rows, f.offsetRows()...)
	}
	return rows
}

// offsetRows are those of the last round. The caller must not change them.
func (f *flow) offsetRows() []OffsetRow {
	if p := f.groupRows.Load(); p != nil {
		return *p
	}
	return nil
}

// Lookup asks what one offset is on the other side.
type Lookup struct {
	Flow      string // "": any flow that carries the topic
	Topic     string // on the source; with Reverse on the target
	Partition int32
	Offset    int64 // on the source; with Reverse on the target
	Reverse   bool
}

// Translation is the answer to a Lookup.
type Translation struct {
	Flow, Topic, TargetTopic   string
	Partition                  int32
	SourceOffset, TargetOffset int64
	Found                      string // exact, gap, floor, before or beyond: docs/offsets.md
	RecordsAgain               int64  // at most so many records lie between the answer and the exact place; 0: none
	Text                       string // the same in a sentence
}

// Translate looks q up in the lanes of this process: one answer for each lane
// that has the partition, sorted by flow as configured, so none where another
// replica has it.
func (d *Daemon) Translate(q Lookup) (out []Translation) {
	for _, f := range d.flows {
		if q.Flow != "" && q.Flow != f.cfg.Name {
			continue
		}
		for _, m := range f.members() {
			if !q.asks(m.lane.ID, m.lane.TargetTopic) {
				continue
			}
			if om := m.lane.Map(); om != nil { // else it is not known what its logs are
				out = append(out, translation(q, f.cfg.Name, om, m.lane.ID, m.lane.TargetTopic))
			}
		}
	}
	return out
}

// translation looks q up in a lane's offset map.
func translation(q Lookup, flow string, om *offsets.Map, id lane.ID, targetTopic string) Translation {
	t := Translation{Flow: flow, Topic: id.Topic, TargetTopic: targetTopic, Partition: id.Partition}
	var found offsets.Found
	if q.Reverse {
		var to offsets.Source
		to, found, t.RecordsAgain = om.Reverse(offsets.Target(q.Offset))
		t.SourceOffset, t.TargetOffset = int64(to), q.Offset
		t.Text = translated("target", "source", q.Offset, int64(to), found, t.RecordsAgain)
	} else {
		var to offsets.Target
		to, found, t.RecordsAgain = om.Translate(offsets.Source(q.Offset))
		t.SourceOffset, t.TargetOffset = q.Offset, int64(to)
		t.Text = translated("source", "target", q.Offset, int64(to), found, t.RecordsAgain)
	}
	t.Found = found.String()
	return t
}

// asks tells whether q is about the lane.
func (q Lookup) asks(id lane.ID, targetTopic string) bool {
	topic := id.Topic
	if q.Reverse {
		topic = targetTopic
	}
	return topic == q.Topic && id.Partition == q.Partition
}

// translated is the sentence for a person: at is the offset on the one side, to
// on the other.
func translated(one, other string, at, to int64, found offsets.Found, again int64) string {
	switch found {
	case offsets.Exact:
		return fmt.Sprintf("what comes next at %s offset %d comes next at %s offset %d, too: nothing is read again or left out", one, at, other, to)
	case offsets.Gap:
		return fmt.Sprintf("no record of the lane is known at %s offset %d; the next one is at %s offset %d or behind: nothing is read again or left out",
			one, at, other, to)
	case offsets.Floor:
		return fmt.Sprintf("%s offset %d is somewhere behind %s offset %d: from there at most %d records are read again, and none is left out",
			one, at, other, to, again)
	case offsets.Before:
		return fmt.Sprintf("%s offset %d is before the first record of the lane, which is at %s offset %d or behind", one, at, other, to)
	}
	return fmt.Sprintf("%s offset %d is beyond the end of what is mirrored, which is %s offset %d: at most %d records are missing", one, at, other, to, again)
}

// groupSums is what metrics tell of the groups of a flow: sums over partitions,
// since a series for each partition of each group would be too many.
type groupSums struct {
	verdicts map[string]int      // partitions by verdict; all of Verdicts are there
	groups   map[string]groupSum // by the group's name on the source
}

type groupSum struct {
	lag      int64 // records to be read on the target after switching, where that is known
	known    bool  // lag is known of a partition at least
	unsynced int   // partitions with a verdict of unsynced
}

// sumGroups adds up the rows of one flow.
func sumGroups(rows []OffsetRow) groupSums {
	s := groupSums{verdicts: map[string]int{}, groups: map[string]groupSum{}}
	for _, v := range Verdicts {
		s.verdicts[v] = 0
	}
	for i := range rows {
		r := &rows[i]
		s.verdicts[r.Verdict]++
		g := s.groups[r.Group]
		if r.Lag >= 0 {
			g.lag, g.known = g.lag+r.Lag, true
		}
		if slices.Contains(unsynced, r.Verdict) {
			g.unsynced++
		}
		s.groups[r.Group] = g
	}
	return s
}
