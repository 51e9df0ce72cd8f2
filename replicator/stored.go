package replicator

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/kferry/kferry/config"
	"github.com/kferry/kferry/internal/kafka"
	"github.com/kferry/kferry/offsets"
	"github.com/kferry/kferry/offsets/mm2"
	"github.com/kferry/kferry/replicator/lane"
	"github.com/kferry/kferry/replicator/progress"
)

// What can be told, and handed over, from what is stored on the target, without a
// running kferry.

// StoredTranslate looks q up in what flow has stored on the target: one answer
// for each lane that has the partition. It is as of the last time that kferry
// stored its maps, at most ten seconds before it ended or now.
func StoredTranslate(ctx context.Context, target *kafka.Cluster, flow config.Flow, q Lookup) (out []Translation, err error) {
	s, err := progress.Find(ctx, target, flow.Name)
	if err != nil {
		return nil, err
	}
	records, err := s.Load(ctx, s.All())
	if err != nil {
		return nil, err
	}
	var unread error // of a lane that may be the one
	maps.DeleteFunc(records, func(id lane.ID, r progress.Record) bool {
		if r.Err != nil && id.Partition == q.Partition && (q.Reverse || id.Topic == q.Topic) {
			unread = r.Err
		}
		return r.Err != nil || !q.asks(id, r.TargetTopic)
	})
	if err := sameTopics(ctx, target, records); err != nil {
		return nil, err
	}
	for id, r := range records {
		out = append(out, translation(q, flow.Name, storedMap(r, r.Position), id, r.TargetTopic))
	}
	if len(out) == 0 {
		return nil, unread
	}
	return out, nil
}

// sameTopics checks that the target's topics are those that records are about.
func sameTopics(ctx context.Context, target *kafka.Cluster, records map[lane.ID]progress.Record) error {
	names := kadm.TopicsSet{}
	for _, r := range records {
		names.Add(r.TargetTopic)
	}
	if len(names) == 0 {
		return nil
	}
	ts, err := target.Admin().ListTopics(ctx, names.Topics()...)
	if err != nil {
		return kafka.Explain(target.Alias(), err)
	}
	zero := kadm.TopicID{}
	for _, r := range records {
		t := ts[r.TargetTopic]
		switch was := kadm.TopicID(r.TargetID); {
		case t.Err != nil:
			return fmt.Errorf("target topic %q: %w", r.TargetTopic, kafka.Explain(target.Alias(), t.Err))
		case was != zero && t.ID != zero && was != t.ID:
			return fmt.Errorf("target topic %q was deleted and made anew: what is stored is about the one before", r.TargetTopic)
		}
	}
	return nil
}

// Exported is what ExportMM2 has written, or would write.
type Exported struct {
	Topic     string // of MirrorMaker 2's positions
	Connector string
	Lanes     []ExportedLane // by topic and partition
	Empty     []lane.ID      // carried up to offset 0: there is no last record to name
	Later     []lane.ID      // MirrorMaker 2 is further: it has carried since, and keeps its own position
}

// ExportedLane is one position.
type ExportedLane struct {
	lane.ID
	Next int64 // source offset that MirrorMaker 2 goes on with
}

// mm2OffsetsPartitions is what Connect gives a new topic of positions.
const mm2OffsetsPartitions = 25

// ExportMM2 writes how far flow is in MirrorMaker 2's form, so that it goes on
// there. It refuses while one of the two runs, and where kferry was killed and not
// started since: what is stored is then behind what the target has, and records
// would be twice. Where the target has forgotten who wrote, its end is read. With dry
// nothing is written.
func ExportMM2(ctx context.Context, target *kafka.Cluster, flow config.Flow, dry bool) (Exported, error) {
	e := Exported{Topic: mm2Offsets(flow), Connector: mm2Connector(flow)}
	s, err := progress.Find(ctx, target, flow.Name)
	if err == nil {
		err = kferryGone(ctx, s, target, flow.Name)
	}
	if err == nil {
		err = mm2Gone(ctx, target, mm2Workers(flow))
	}
	if err != nil {
		return e, err
	}
	err = e.export(ctx, s, target, flow, nil, dry)
	return e, err
}

// ExportAiven is ExportMM2 for Aiven's MirrorMaker 2, which the caller knows to stand
// still, having left what left says. Where that is further than kferry, it has
// carried since, and its position stays. A flow that kferry never carried has nothing
// to write.
func ExportAiven(ctx context.Context, target *kafka.Cluster, flow config.Flow, left *Left, dry bool) (Exported, error) {
	e := Exported{Topic: mm2Offsets(flow), Connector: cmp.Or(left.Connector, mm2Connector(flow))}
	s, err := progress.Find(ctx, target, flow.Name)
	if errors.Is(err, progress.ErrNone) {
		return e, nil
	}
	if err == nil {
		err = kferryGone(ctx, s, target, flow.Name)
	}
	if err != nil {
		return e, err
	}
	next := map[lane.ID]int64{}
	for _, l := range left.Lanes {
		next[l.ID] = l.Next
	}
	err = e.export(ctx, s, target, flow, next, dry)
	return e, err
}

// kferryGone is nil if no kferry carries the flow.
func kferryGone(ctx context.Context, s *progress.Store, target *kafka.Cluster, flow string) error {
	switch n := s.Members(ctx, flow); {
	case n > 0:
		return fmt.Errorf("%w: flow %q is being carried: group %q has %s. Stop kferry first, by SIGTERM; with an instance_id it stays a member for a session after that (45 s with Kafka 4)", ErrCarried, flow, progress.GroupName(flow), many(n, "member", "members"))
	case n < 0:
		return fmt.Errorf("cannot tell whether kferry has stopped: allow our user to Describe the group %q on %s", progress.GroupName(flow), target.Alias())
	}
	return nil
}

// ErrCarried means that a kferry carries the flow.
var ErrCarried = errors.New("kferry runs")

// export finds what there is to write, and writes it; next is where MirrorMaker 2 is.
func (e *Exported) export(ctx context.Context, s *progress.Store, target *kafka.Cluster, flow config.Flow, next map[lane.ID]int64, dry bool) error {
	records, err := s.Load(ctx, s.All())
	if err == nil {
		err = sameTopics(ctx, target, records)
	}
	if err == nil {
		err = clean(ctx, target, records)
	}
	if err != nil {
		return err
	}
	for id, r := range records {
		switch at := int64(r.Position.Source); {
		case next[id] > at:
			e.Later = append(e.Later, id)
		case at == 0:
			e.Empty = append(e.Empty, id)
		default:
			e.Lanes = append(e.Lanes, ExportedLane{id, at})
		}
	}
	byName := func(a, b lane.ID) int {
		return cmp.Or(strings.Compare(a.Topic, b.Topic), cmp.Compare(a.Partition, b.Partition))
	}
	slices.SortFunc(e.Empty, byName)
	slices.SortFunc(e.Later, byName)
	slices.SortFunc(e.Lanes, func(a, b ExportedLane) int { return byName(a.ID, b.ID) })
	if dry || len(e.Lanes) == 0 {
		return nil
	}
	return e.write(ctx, target, flow)
}

// clean checks that what is stored is all that the target has.
func clean(ctx context.Context, target *kafka.Cluster, records map[lane.ID]progress.Record) error {
	set := kadm.TopicsSet{}
	for id, r := range records {
		if r.Err != nil {
			return r.Err
		}
		set.Add(r.TargetTopic, id.Partition)
	}
	if len(set) == 0 {
		return nil
	}
	described, err := target.Admin().DescribeProducers(ctx, set)
	if err != nil {
		return kafka.Explain(target.Alias(), err)
	}
	forgotten := map[lane.ID]progress.Record{}
	for id, r := range records {
		p, ok := described[r.TargetTopic].Partitions[id.Partition]
		switch {
		case !ok:
			return fmt.Errorf("%s does not say who has written to topic %q partition %d: try again", target.Alias(), r.TargetTopic, id.Partition)
		case p.Err != nil:
			return fmt.Errorf("who has written to topic %q partition %d: %w", r.TargetTopic, id.Partition, kafka.Explain(target.Alias(), p.Err))
		}
		switch more, known := unstored(p.ActiveProducers, r.Position); {
		case !known:
			forgotten[id] = r
		case more:
			return unclean(id, "the target has records that are not in stored progress")
		}
	}
	return readEnds(ctx, target, forgotten)
}

func unclean(id lane.ID, what string) error {
	return fmt.Errorf("topic %q partition %d: %s, for kferry did not end by itself: start it, and stop it by SIGTERM", id.Topic, id.Partition, what)
}

// unstored tells whether the target has records of our producer beyond p, if it
// knows. It forgets a producer by the time of its records: minutes after it wrote, if
// they are more than a day old.
func unstored(active map[int64]kadm.DescribedProducer, p lane.Position) (more, known bool) {
	ours, ok := active[p.Producer]
	switch {
	case !ok || ours.LastSequence < 0 || ours.ProducerEpoch < p.Epoch && p.Sequence > 0:
		return false, false
	case ours.ProducerEpoch != p.Epoch:
		return ours.ProducerEpoch > p.Epoch, true
	}
	return lane.Advance(ours.LastSequence, 1) != p.Sequence, true
}

// readEnds reads what the target has behind stored progress, where it has forgotten
// who wrote it.
func readEnds(ctx context.Context, target *kafka.Cluster, records map[lane.ID]progress.Record) error {
	if len(records) == 0 {
		return nil
	}
	topics := kadm.TopicsSet{}
	for id, r := range records {
		topics.Add(r.TargetTopic, id.Partition)
	}
	ts, err1 := target.Admin().ListTopics(ctx, topics.Topics()...)
	starts, err2 := target.Admin().ListStartOffsets(ctx, topics.Topics()...)
	ends, err3 := target.Admin().ListEndOffsets(ctx, topics.Topics()...)
	if err := errors.Join(err1, err2, err3); err != nil {
		return kafka.Explain(target.Alias(), err)
	}
	for id, r := range records {
		start, ok1 := starts.Lookup(r.TargetTopic, id.Partition)
		end, ok2 := ends.Lookup(r.TargetTopic, id.Partition)
		if err := errors.Join(start.Err, end.Err); err != nil || !ok1 || !ok2 {
			return fmt.Errorf("where topic %q partition %d of the target ends: %w", r.TargetTopic, id.Partition,
				cmp.Or(kafka.Explain(target.Alias(), err), errors.New("it does not say: try again")))
		}
		log := kafka.Log{
			Link: target.Aside(), Leader: ts[r.TargetTopic].Partitions[id.Partition].Leader, Topic: r.TargetTopic, TopicID: ts[r.TargetTopic].ID,
			Partition: id.Partition,
		}
		if err := readEnd(ctx, log, id, r.Position, offsets.Target(start.Offset), offsets.Target(end.Offset)); err != nil {
			return err
		}
	}
	return nil
}

// readEnd is readEnds for one lane, whose target partition is [start, end).
func readEnd(ctx context.Context, log kafka.Log, id lane.ID, p lane.Position, start, end offsets.Target) error {
	switch {
	case end < p.Target:
		return fmt.Errorf("topic %q partition %d: the target ends at offset %d, below %d, where its records ended: it has lost some; start kferry, which tells what to do", id.Topic, id.Partition, end, p.Target)
	case start > p.Target:
		return unclean(id, "the target has removed records since progress was stored, and forgotten who wrote them")
	}
	found, err := progress.Scan{Log: log, From: p.Target, To: end, Producer: p.Producer, Epoch: p.Epoch, Sequence: p.Sequence}.Read(ctx)
	switch {
	case err != nil:
		return fmt.Errorf("reading the end of target topic %q partition %d: %w", log.Topic, log.Partition, err)
	case found.Any:
		return unclean(id, "the target has records that are not in stored progress")
	}
	return nil
}

func (e Exported) write(ctx context.Context, target *kafka.Cluster, flow config.Flow) error {
	n, err := e.partitions(ctx, target, flow.ReplicationFactor)
	if err != nil {
		return err
	}
	out := make([]*kgo.Record, 0, len(e.Lanes))
	for _, l := range e.Lanes {
		key, err := mm2.SourceKey{Connector: e.Connector, Cluster: flow.Source, Topic: l.Topic, Partition: l.Partition}.Encode()
		if err != nil {
			return err
		}
		value, err := mm2.EncodePosition(offsets.Source(l.Next))
		if err != nil {
			return err
		}
		out = append(out, &kgo.Record{Topic: e.Topic, Partition: mm2.Partition(key, n), Key: key, Value: value})
	}
	if err := target.Client().ProduceSync(ctx, out...).FirstErr(); err != nil {
		return fmt.Errorf("cannot write to topic %q: %w", e.Topic, kafka.Explain(target.Alias(), err))
	}
	return nil
}

// partitions is how many the topic of positions has; it is made if it is missing.
func (e Exported) partitions(ctx context.Context, target *kafka.Cluster, replication int16) (int32, error) {
	if _, err := target.MakeCompacted(ctx, e.Topic, mm2OffsetsPartitions, replication); err != nil && !kafka.Denied(err) {
		return 0, kafka.Unmade(target.Alias(), fmt.Sprintf("make topic %q", e.Topic), fmt.Sprintf("with cleanup.policy=compact and %d partitions", mm2OffsetsPartitions), err)
	}
	ts, err := target.Admin().ListTopics(ctx, e.Topic)
	if err == nil {
		err = ts[e.Topic].Err
	}
	if err != nil {
		return 0, fmt.Errorf("topic %q: %w", e.Topic, kafka.Explain(target.Alias(), err))
	}
	return int32(len(ts[e.Topic].Partitions)), nil
}
