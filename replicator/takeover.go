package replicator

import (
	"cmp"
	"context"
	"errors"
	"fmt"

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

// taken is what MirrorMaker 2 left behind for a flow.
type taken struct {
	next  map[lane.ID]offsets.Source   // where it would go on
	syncs map[lane.ID][]mm2.OffsetSync // in the order they were written
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

// takeOver reads, once, what MirrorMaker 2 left behind.
func (s *starter) takeOver(ctx context.Context) (*taken, error) {
	if s.f.taken != nil {
		return s.f.taken, nil
	}
	if err := mm2Gone(ctx, s.f.target, mm2Workers(s.f.cfg)); err != nil {
		return nil, err
	}
	t := &taken{map[lane.ID]offsets.Source{}, map[lane.ID][]mm2.OffsetSync{}}
	if err := t.readPositions(ctx, s.f); err != nil {
		return nil, err
	}
	names := mm2Names(s.f.cfg)
	for _, at := range []struct {
		cl *kafka.Cluster
		mm2.Location
	}{{s.f.source, mm2.OnSource}, {s.f.target, mm2.OnTarget}} {
		if err := t.readSyncs(ctx, at.cl, names.OffsetSyncs(at.Location)); err != nil {
			s.f.log.Info("offset syncs of MirrorMaker 2 cannot be read; groups that stand before the takeover would read from the start of the target topic", "err", err)
		}
	}
	s.f.log.Info("taking over from MirrorMaker 2", "partitions", len(t.next), "mm2_topic", mm2Offsets(s.f.cfg))
	s.f.taken = t
	return t, nil
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

func (t *taken) readPositions(ctx context.Context, f *flow) error {
	topic := mm2Offsets(f.cfg)
	connector, found := mm2Connector(f.cfg), 0
	err := f.target.ReadTopic(ctx, topic, func(r *kgo.Record) error {
		key, err := mm2.DecodeSourceKey(r.Key)
		if err != nil || key.Connector != connector || key.Cluster != f.cfg.Source {
			return nil //nolint:nilerr // of another connector
		}
		id := lane.ID{Topic: key.Topic, Partition: key.Partition}
		next, stored, err := mm2.DecodePosition(r.Value)
		if err != nil {
			return fmt.Errorf("position of topic %q partition %d at offset %d: %w", id.Topic, id.Partition, r.Offset, err)
		}
		delete(t.next, id)
		if found++; stored {
			t.next[id] = next
		}
		return nil
	})
	switch {
	case errors.Is(err, kerr.UnknownTopicOrPartition) && f.cfg.Takeover == takeoverIfAny:
		f.log.Info("MirrorMaker 2 has never run here: partitions begin at start", "mm2_topic", topic)
		return nil
	case err != nil && !errors.Is(err, kerr.UnknownTopicOrPartition):
		return &awayError{fmt.Errorf("cannot read MirrorMaker 2's positions in topic %q: %w", topic, err)}
	case found == 0:
		return fmt.Errorf("topic %q on %s has no position of MirrorMaker 2's connector %q for source %q: set mm2.offsets_topic and mm2.connector to what it uses, or leave takeover out",
			topic, f.target.Alias(), connector, f.cfg.Source)
	}
	return nil
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
