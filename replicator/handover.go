package replicator

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/kferry/kferry/config"
	"github.com/kferry/kferry/internal/kafka"
	"github.com/kferry/kferry/offsets"
	"github.com/kferry/kferry/replicator/catalog"
	"github.com/kferry/kferry/replicator/lane"
	"github.com/kferry/kferry/replicator/progress"
)

// What a handover from Aiven's MirrorMaker 2 needs to know of both clusters: whether
// it stands still, and whether what it has stored is all that the target has.

// Left is what MirrorMaker 2 has left behind for a flow, at one moment.
type Left struct {
	Connector string     // whose positions those are; "": it has never run
	Lanes     []LeftLane // by topic and partition
	Working   int        // its tasks that may write records; -1: cannot be read
	Why       error      // why not
	Open      int        // target partitions that a transaction is open in
}

// LeftLane is one partition.
type LeftLane struct {
	lane.ID
	TargetTopic string
	Next        int64 // source offset that it goes on with; -1: it has no position
	Own         int64 // where kferry's own progress is; -1: it has none
	End         int64 // of the target; -1: the partition is not there

	place catalog.Place
	start int64 // of the target
	from  int64 // a target offset that a record of it is at, near the end; -1: not known
}

// Same tells whether nothing has moved between two looks.
func (l *Left) Same(o *Left) bool {
	return o != nil && l.Connector == o.Connector && l.Working == o.Working && slices.EqualFunc(l.Lanes, o.Lanes, func(a, b LeftLane) bool {
		return a.ID == b.ID && a.Next == b.Next && a.End == b.End
	})
}

// ReadLeft looks at what MirrorMaker 2 has left behind. flow is as kferry is to carry
// it, with takeover aiven.
func ReadLeft(ctx context.Context, source, target *kafka.Cluster, flow config.Flow) (*Left, error) {
	f, err := bareFlow(flow, source, target, slog.New(slog.DiscardHandler))
	if err != nil {
		return nil, err
	}
	view, err := f.catalog.Look(ctx)
	if err != nil {
		return nil, err
	}
	t, err := readTaken(ctx, flow, target)
	if err != nil && !errors.Is(err, errNeverRan) {
		return nil, err
	}
	if err := t.readAllSyncs(ctx, f); err != nil {
		return nil, err
	}
	own, err := storedPositions(ctx, target, flow.Name)
	if err != nil {
		return nil, err
	}
	out := &Left{Connector: t.connector, Working: -1}
	for id, place := range view {
		l := LeftLane{ID: id, TargetTopic: place.TargetTopic, Next: -1, Own: -1, End: -1, place: place, from: -1}
		if next, ok := t.next[id]; ok {
			l.Next = int64(next)
		}
		if at, ok := own[id]; ok {
			l.Own = int64(at)
		}
		if s := t.syncs[id]; len(s) > 0 {
			l.from = int64(s[len(s)-1].Downstream)
		}
		out.Lanes = append(out.Lanes, l)
	}
	slices.SortFunc(out.Lanes, func(a, b LeftLane) int {
		return cmp.Or(strings.Compare(a.Topic, b.Topic), cmp.Compare(a.Partition, b.Partition))
	})
	ts, err := readTasks(ctx, target, flow, t.connector)
	switch out.Why = err; {
	case err != nil:
	case len(ts) == 0 && t.connector != "":
		out.Why = fmt.Errorf("topic %q has nothing about the tasks of %s", mm2Names(flow).ConnectStatus(), t.connector)
	default:
		out.Working = ts.working()
	}
	return out, out.readEnds(ctx, target)
}

// storedPositions are where kferry's own progress is; none if it has none.
func storedPositions(ctx context.Context, target *kafka.Cluster, flow string) (map[lane.ID]offsets.Source, error) {
	out := map[lane.ID]offsets.Source{}
	s, err := progress.Find(ctx, target, flow)
	if errors.Is(err, progress.ErrNone) {
		return out, nil
	}
	if err != nil {
		return nil, err
	}
	records, err := s.Load(ctx, s.All())
	for id, r := range records {
		err = cmp.Or(err, r.Err)
		out[id] = r.Position.Source
	}
	return out, err
}

// readEnds asks where the target begins and ends, and where its open transactions begin.
func (l *Left) readEnds(ctx context.Context, target *kafka.Cluster) error {
	topics := kadm.TopicsSet{}
	for _, x := range l.Lanes {
		if x.place.TargetLeader >= 0 {
			topics.Add(x.TargetTopic, x.Partition)
		}
	}
	if len(topics) == 0 {
		return nil
	}
	names := topics.Topics()
	starts, err1 := target.Admin().ListStartOffsets(ctx, names...)
	ends, err2 := target.Admin().ListEndOffsets(ctx, names...)
	committed, err3 := target.Admin().ListCommittedOffsets(ctx, names...)
	if err := errors.Join(err1, err2, err3); err != nil {
		return kafka.Explain(target.Alias(), err)
	}
	for i := range l.Lanes {
		x := &l.Lanes[i]
		if x.place.TargetLeader < 0 {
			continue
		}
		start, _ := starts.Lookup(x.TargetTopic, x.Partition)
		end, ok := ends.Lookup(x.TargetTopic, x.Partition)
		stable, _ := committed.Lookup(x.TargetTopic, x.Partition)
		if err := errors.Join(start.Err, end.Err, stable.Err); err != nil || !ok {
			return fmt.Errorf("where topic %q partition %d of the target ends: %w", x.TargetTopic, x.Partition, kafka.Explain(target.Alias(), err))
		}
		x.start, x.End = start.Offset, end.Offset
		if stable.Offset < end.Offset {
			l.Open++
		}
	}
	return nil
}

// Doubt is a partition of which what MirrorMaker 2 has stored is not seen to be all
// that the target has.
type Doubt struct {
	lane.ID
	Twice int64 // records on the target behind its position; -1: cannot be told
	Text  string
}

const (
	// Where no offset sync tells of a record, so many offsets are read at the end
	// of the target.
	tailLeast = 1000
	// What the target has and no position tells of is looked for among so many
	// records of the source.
	tailMost = 100_000
)

// Doubts compares, in each partition, the last record on the target with the one
// before MirrorMaker 2's position on the source: those are the same record if its
// position tells of all that it has written. Only one who stands still can be checked.
func (l *Left) Doubts(ctx context.Context, source, target *kafka.Cluster) (out []Doubt, err error) {
	names := map[string]bool{}
	for _, x := range l.Lanes {
		names[x.Topic] = true
	}
	if len(names) == 0 {
		return nil, nil
	}
	topics := slices.Collect(maps.Keys(names))
	starts, err1 := source.Admin().ListStartOffsets(ctx, topics...)
	ends, err2 := source.Admin().ListEndOffsets(ctx, topics...)
	if err := errors.Join(err1, err2); err != nil {
		return nil, kafka.Explain(source.Alias(), err)
	}
	for i := range l.Lanes {
		x := &l.Lanes[i]
		start, _ := starts.Lookup(x.Topic, x.Partition)
		end, ok := ends.Lookup(x.Topic, x.Partition)
		if err := errors.Join(start.Err, end.Err); err != nil || !ok {
			return nil, fmt.Errorf("where topic %q partition %d of the source ends: %w", x.Topic, x.Partition, kafka.Explain(source.Alias(), err))
		}
		twice, text, err := x.doubt(ctx, source, target, start.Offset, end.Offset)
		if err != nil {
			return nil, err
		}
		if text != "" {
			out = append(out, Doubt{x.ID, twice, text})
		}
	}
	return out, nil
}

// doubt compares one partition, whose log on the source is [start, end); no text:
// there is no doubt.
func (x *LeftLane) doubt(ctx context.Context, source, target *kafka.Cluster, start, end int64) (twice int64, text string, err error) {
	if x.Own >= x.Next && x.Own >= 0 || x.End <= x.start {
		return 0, "", nil // kferry carried it last, and has its own ways; or there is nothing to be twice
	}
	last, err := x.lastOnTarget(ctx, target)
	switch {
	case err != nil || last == nil:
		return 0, "", err
	case x.Next < 0:
		return -1, "the target has records, and MirrorMaker 2 has no position: all that it has carried would be twice", nil
	case x.Next > end:
		return -1, fmt.Sprintf("MirrorMaker 2 is at source offset %d, and the source ends at %d: its topic was made anew or truncated", x.Next, end), nil
	}
	before, twice, err := x.look(ctx, source, start, min(end, x.Next+tailMost), last)
	switch {
	case err != nil:
		return 0, "", err
	case before != nil && same(before, last):
		return 0, "", nil
	case twice > 0:
		return twice, fmt.Sprintf("the target has %s that MirrorMaker 2 has not stored its position for: it did not end by itself", many(twice, "record", "records")), nil
	case before == nil:
		return -1, "the source does not have the record any more that MirrorMaker 2 carried last: it cannot be compared", nil
	}
	return -1, "the last record on the target is not the one that MirrorMaker 2 says it carried last: somebody else writes there, or it carried more than it says", nil
}

var errFound = errors.New("found")

// look reads the record before MirrorMaker 2's position, and counts the records from
// there to the one that is the same as last; 0: there is none before to.
func (x *LeftLane) look(ctx context.Context, source *kafka.Cluster, start, to int64, last *kgo.Record) (before *kgo.Record, beyond int64, err error) {
	log := kafka.Log{Link: source.Aside(), Leader: x.place.SourceLeader, Topic: x.Topic, TopicID: x.place.SourceID, Partition: x.Partition}
	n := int64(0)
	err = log.Each(ctx, max(start, x.Next-1), to, func(r *kgo.Record) error {
		if r.Offset < x.Next {
			before = r
		} else {
			n++
		}
		if !same(r, last) {
			return nil
		}
		beyond = n
		return errFound
	})
	if err != nil && !errors.Is(err, errFound) {
		return nil, 0, kafka.Explain(source.Alias(), err)
	}
	return before, beyond, nil
}

// lastOnTarget is the last committed record there; nil if there is none near the end.
func (x *LeftLane) lastOnTarget(ctx context.Context, target *kafka.Cluster) (last *kgo.Record, err error) {
	from := x.from
	if from < x.start || from >= x.End {
		from = max(x.start, x.End-tailLeast)
	}
	log := kafka.Log{Link: target.Aside(), Leader: x.place.TargetLeader, Topic: x.TargetTopic, TopicID: x.place.TargetID, Partition: x.Partition, Committed: true}
	err = log.Each(ctx, from, x.End, func(r *kgo.Record) error {
		last = r
		return nil
	})
	if err != nil {
		err = kafka.Explain(target.Alias(), err)
	}
	return last, err
}

// same compares two records as MirrorMaker 2 copies them.
func same(a, b *kgo.Record) bool {
	return bytes.Equal(a.Key, b.Key) && bytes.Equal(a.Value, b.Value) &&
		(a.Attrs.TimestampType() != 0 || b.Attrs.TimestampType() != 0 || a.Timestamp.Equal(b.Timestamp)) &&
		slices.EqualFunc(a.Headers, b.Headers, func(x, y kgo.RecordHeader) bool { return x.Key == y.Key && bytes.Equal(x.Value, y.Value) })
}

// Behind are the partitions that MirrorMaker 2 has carried on since kferry did: what
// kferry has stored of them is old.
func (l *Left) Behind() (out []lane.ID) {
	for _, x := range l.Lanes {
		if x.Own >= 0 && x.Next > x.Own {
			out = append(out, x.ID)
		}
	}
	return out
}

// Ours tells that kferry carried last, wherever anything was carried.
func (l *Left) Ours() bool {
	return !slices.ContainsFunc(l.Lanes, func(x LeftLane) bool { return x.Next > x.Own })
}

// Forget takes away what kferry has stored of lanes, so that they begin anew. It
// refuses while kferry runs.
func Forget(ctx context.Context, target *kafka.Cluster, flow config.Flow, lanes []lane.ID) error {
	if len(lanes) == 0 {
		return nil
	}
	s, err := progress.Find(ctx, target, flow.Name)
	if err == nil {
		err = kferryGone(ctx, s, target, flow.Name)
	}
	if err != nil {
		return err
	}
	return s.Forget(ctx, lanes...)
}
