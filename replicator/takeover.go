package replicator

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/kferry/kferry/config"
	"github.com/kferry/kferry/internal/kafka"
	"github.com/kferry/kferry/offsets"
	"github.com/kferry/kferry/offsets/mm2"
	"github.com/kferry/kferry/replicator/lane"
)

// takeoverIfAny is the takeover of a flow that begins at its start where
// MirrorMaker 2 has never run.
const takeoverIfAny = "mm2_if_any"

// takeoverAiven is the takeover of a flow that Aiven's MirrorMaker 2 carried. Its
// workers always run, so whether it has stopped Aiven is asked, and its tasks.
const takeoverAiven = "aiven"

// taken is what MirrorMaker 2 left behind for a flow.
type taken struct {
	next      map[lane.ID]offsets.Source   // where it would go on
	syncs     map[lane.ID][]mm2.OffsetSync // in the order they were written
	connector string                       // whose positions those are
}

// mm2Names are what MirrorMaker 2 calls things of the same direction.
func mm2Names(f config.Flow) mm2.Names {
	return mm2.Names{
		Source: f.Source, Target: f.Target, Separator: cmp.Or(f.MM2.Separator, f.Separator),
		DotInternal: f.MM2.InternalDot, Identity: f.Policy == "identity",
	}
}

// mm2Workers is the group of MirrorMaker 2's workers, on the target.
func mm2Workers(f config.Flow) string { return cmp.Or(f.MM2.Group, f.Source+"-mm2") }

// mm2Connector is the name of its source connector.
func mm2Connector(f config.Flow) string { return cmp.Or(f.MM2.Connector, mm2.SourceConnector) }

// mm2Offsets is the topic of its positions, on the target.
func mm2Offsets(f config.Flow) string {
	return cmp.Or(f.MM2.OffsetsTopic, mm2Names(f).ConnectOffsets())
}

// mm2Position reads a record of Connect's offsets: how far a connector has mirrored
// a partition of source. ok is false for records about anything else; stored, for a
// position that was taken back.
func mm2Position(r *kgo.Record, source string) (key mm2.SourceKey, next offsets.Source, stored, ok bool, err error) {
	key, err = mm2.DecodeSourceKey(r.Key)
	if err != nil || key.Cluster != source {
		return key, 0, false, false, nil //nolint:nilerr // of another connector
	}
	next, stored, err = mm2.DecodePosition(r.Value)
	if err != nil {
		err = fmt.Errorf("position of topic %q partition %d at offset %d: %w", key.Topic, key.Partition, r.Offset, err)
	}
	return key, next, stored, true, err
}

// takeOver reads, once, what MirrorMaker 2 left behind.
func (s *starter) takeOver(ctx context.Context) (*taken, error) {
	if s.f.taken != nil {
		return s.f.taken, nil
	}
	if s.f.cfg.Takeover != takeoverAiven {
		if err := mm2Gone(ctx, s.f.target, mm2Workers(s.f.cfg)); err != nil {
			return nil, err
		}
	} else if err := s.f.stands(ctx); err != nil {
		return nil, err
	}
	t, err := readTaken(ctx, s.f.cfg, s.f.target)
	switch {
	case errors.Is(err, errNeverRan) && (s.f.cfg.Takeover == takeoverIfAny || s.f.cfg.Takeover == takeoverAiven):
		s.f.log.Info("MirrorMaker 2 has never run here: partitions begin at start", "mm2_topic", mm2Offsets(s.f.cfg))
	case err != nil:
		return nil, err
	}
	if s.f.cfg.Takeover == takeoverAiven {
		if err := s.f.ended(ctx, t.connector); err != nil {
			return nil, err
		}
	}
	if err := t.readAllSyncs(ctx, s.f); err != nil {
		s.f.log.Info("offset syncs of MirrorMaker 2 cannot be read; groups that stand before the takeover would read from the start of the target topic", "err", err)
	}
	s.f.log.Info("taking over from MirrorMaker 2", "partitions", len(t.next), "mm2_topic", mm2Offsets(s.f.cfg))
	s.f.taken = t
	return t, nil
}

// ended is nil if no task of Aiven's MirrorMaker 2 is at work any more. Where that
// cannot be read, what Aiven says must do.
func (f *flow) ended(ctx context.Context, connector string) error {
	ts, err := readTasks(ctx, f.target, f.cfg, connector)
	if err != nil {
		f.log.Info("whether the tasks of MirrorMaker 2 have ended cannot be read; Aiven says that the flow is disabled", "err", err)
		return nil
	}
	if n := ts.working(); n > 0 {
		return &awayError{fmt.Errorf("MirrorMaker 2 is about to stop: %s at work", many(n, "of its tasks is", "of its tasks are"))}
	}
	return nil
}

// mm2Gone is nil if no worker of MirrorMaker 2 is in the group: two would write
// the same records.
func mm2Gone(ctx context.Context, target *kafka.Cluster, group string) error {
	described, err := target.Admin().DescribeGroups(ctx, group)
	if err != nil {
		return &awayError{kafka.Explain(target.Alias(), err)}
	}
	switch g := described[group]; {
	case errors.Is(g.Err, kerr.GroupAuthorizationFailed):
		return fmt.Errorf("cannot tell whether MirrorMaker 2 has stopped: allow our user to Describe the group %q on %s", group, target.Alias())
	case g.Err != nil && !errors.Is(g.Err, kerr.GroupIDNotFound):
		return &awayError{kafka.Explain(target.Alias(), g.Err)}
	case len(g.Members) > 0:
		return fmt.Errorf("MirrorMaker 2 still runs: its worker group %q on %s has %d members. Stop it, and kferry goes on where it got to", group, target.Alias(), len(g.Members))
	}
	return nil
}

// errNeverRan means that there is no topic of MirrorMaker 2's positions.
var errNeverRan = errors.New("MirrorMaker 2 has never run here")

// tasks are the states of the tasks of MirrorMaker 2's source connector.
type tasks map[int]mm2.TaskStatus

// readTasks reads them; Connect writes one whenever it changes.
func readTasks(ctx context.Context, target *kafka.Cluster, cfg config.Flow, connector string) (tasks, error) {
	out := tasks{}
	err := target.ReadTopic(ctx, mm2Names(cfg).ConnectStatus(), func(r *kgo.Record) error {
		if s, ok := mm2.DecodeTaskStatus(r.Key, r.Value); ok && s.Connector == connector {
			out[s.Task] = s
		}
		return nil
	})
	return out, err
}

// working is how many may write records.
func (t tasks) working() (n int) {
	for _, s := range t {
		if s.Working() {
			n++
		}
	}
	return n
}

// readTaken reads how far MirrorMaker 2 got.
func readTaken(ctx context.Context, cfg config.Flow, target *kafka.Cluster) (*taken, error) {
	t := &taken{next: map[lane.ID]offsets.Source{}, syncs: map[lane.ID][]mm2.OffsetSync{}}
	topic := mm2Offsets(cfg)
	by := map[string]map[lane.ID]offsets.Source{} // by connector
	err := target.ReadTopic(ctx, topic, func(r *kgo.Record) error {
		key, next, stored, ok, err := mm2Position(r, cfg.Source)
		if err != nil || !ok {
			return err
		}
		if by[key.Connector] == nil {
			by[key.Connector] = map[lane.ID]offsets.Source{}
		}
		id := lane.ID{Topic: key.Topic, Partition: key.Partition}
		delete(by[key.Connector], id)
		if stored {
			by[key.Connector][id] = next
		}
		return nil
	})
	switch {
	case errors.Is(err, kerr.UnknownTopicOrPartition):
		return t, fmt.Errorf("%w: %s has no topic %q of its positions; set mm2.offsets_topic to what it uses, or leave takeover out", errNeverRan, target.Alias(), topic)
	case err != nil:
		return nil, &awayError{fmt.Errorf("cannot read MirrorMaker 2's positions in topic %q: %w", topic, err)}
	}
	connector := mm2Connector(cfg)
	if len(by) == 0 && cfg.Takeover == takeoverAiven {
		return t, fmt.Errorf("%w: topic %q on %s has no position for source %q", errNeverRan, topic, target.Alias(), cfg.Source)
	}
	if names := slices.Collect(maps.Keys(by)); len(names) == 1 && cfg.Takeover == takeoverAiven {
		connector = names[0] // there is no doubt, and what Aiven calls it is nobody's promise
	}
	t.connector = connector
	if t.next = by[connector]; t.next == nil {
		return nil, fmt.Errorf("topic %q on %s has no position of MirrorMaker 2's connector %q for source %q (it has those of %s): set mm2.offsets_topic and mm2.connector to what it uses, or leave takeover out",
			topic, target.Alias(), connector, cfg.Source, cmp.Or(strings.Join(slices.Sorted(maps.Keys(by)), ", "), "none"))
	}
	return t, nil
}

// readAllSyncs reads them on both sides: MirrorMaker 2 keeps them on either.
func (t *taken) readAllSyncs(ctx context.Context, f *flow) error {
	names := mm2Names(f.cfg)
	return errors.Join(t.readSyncs(ctx, f.source, names.OffsetSyncs(mm2.OnSource)), t.readSyncs(ctx, f.target, names.OffsetSyncs(mm2.OnTarget)))
}

func (t *taken) readSyncs(ctx context.Context, cl *kafka.Cluster, topic string) error {
	err := cl.ReadTopic(ctx, topic, func(r *kgo.Record) error {
		if x, err := mm2.DecodeOffsetSync(r.Key, r.Value); err == nil {
			id := lane.ID{Topic: x.Topic, Partition: x.Partition}
			t.syncs[id] = append(t.syncs[id], x)
		}
		return nil
	})
	if errors.Is(err, kerr.UnknownTopicOrPartition) {
		return nil // they are on the other side, or nowhere
	}
	return err
}

// offsetMap is what the syncs tell of what MirrorMaker 2 has mirrored, up to
// where kferry goes on: (next, end).
func (t *taken) offsetMap(id lane.ID, seen lane.Seen, next offsets.Source) *offsets.Map {
	m := offsets.NewMap(seen.LogStart, seen.Start)
	for _, x := range t.syncs[id] {
		s, e := m.End()
		if x.Upstream < s || x.Downstream < e || x.Upstream >= next || x.Downstream >= seen.End {
			continue // it began anew, or the logs did
		}
		m.Hole(x.Upstream, -1)
		m.Append(x.Upstream, x.Downstream, 1)
	}
	m.Hole(next, -1)
	m.Reach(seen.End)
	return m
}
