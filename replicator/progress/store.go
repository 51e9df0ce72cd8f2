package progress

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/kferry/kferry/internal/kafka"
	"github.com/kferry/kferry/replicator/lane"
)

// Slots is how many partitions a new progress topic gets. Lanes hash to slots
// by their key (murmur2, as Java's producer does), and replicas of the daemon
// share the slots, so there can be as many replicas. More would cost hosts that
// count partitions, and make the first start slower.
const Slots = 8

// Store is the progress topic of one flow. Safe for concurrent use.
type Store struct {
	cl    *kafka.Cluster
	topic string
	empty bool // we made the topic just now: there is nothing to load
}

// Topic is the name of the progress topic of a flow.
func Topic(flow string) string { return "kferry." + flow + ".progress" }

// Open makes the progress topic of flow on the target cl if it is missing;
// replication 0 leaves the factor to the target.
func Open(ctx context.Context, cl *kafka.Cluster, flow string, replication int16) (*Store, error) {
	s := &Store{cl: cl, topic: Topic(flow)}
	ts, err := cl.Admin().ListTopics(ctx, s.topic)
	if err != nil {
		return nil, kafka.Explain(cl.Alias(), err)
	}
	if ts.Has(s.topic) && ts[s.topic].Err == nil {
		return s, s.compacted(ctx)
	}
	if replication == 0 {
		replication = -1
	}
	_, err = cl.Admin().CreateTopic(ctx, Slots, replication, map[string]*string{"cleanup.policy": kadm.StringPtr("compact")}, s.topic)
	if err != nil && !errors.Is(err, kerr.TopicAlreadyExists) {
		return nil, fmt.Errorf("cannot make the progress topic %q on the target %q: %w: allow our user to, or make it by hand with cleanup.policy=compact and %d partitions",
			s.topic, cl.Alias(), err, Slots)
	}
	s.empty = err == nil
	return s, nil
}

// compacted refuses a topic that forgets: progress older than its retention
// would be lost without a word. Where settings cannot be read it has to trust.
func (s *Store) compacted(ctx context.Context) error {
	rcs, err := s.cl.Admin().DescribeTopicConfigs(ctx, s.topic)
	if err != nil {
		return nil //nolint:nilerr // not allowed to look; the topic may well be right
	}
	for _, rc := range rcs {
		for _, c := range rc.Configs {
			if v := c.MaybeValue(); c.Key == "cleanup.policy" && v != "compact" {
				return fmt.Errorf("the progress topic %q on the target %q has cleanup.policy=%s and would forget positions: set it to compact", s.topic, s.cl.Alias(), v)
			}
		}
	}
	return nil
}

// Load reads the whole topic: the last record of every lane.
func (s *Store) Load(ctx context.Context) (map[lane.ID]Record, error) {
	if s.empty {
		return map[lane.ID]Record{}, nil
	}
	ends, err := s.ends(ctx)
	if err != nil {
		return nil, fmt.Errorf("progress topic %q: %w", s.topic, kafka.Explain(s.cl.Alias(), err))
	}
	todo := map[int32]int64{}
	from := map[int32]kgo.Offset{}
	ends.Each(func(o kadm.ListedOffset) {
		if o.Offset > 0 {
			todo[o.Partition] = o.Offset
			from[o.Partition] = kgo.NewOffset().AtStart()
		}
	})
	records := map[lane.ID]Record{}
	if len(todo) == 0 {
		return records, nil
	}
	cl, err := s.cl.NewClient(kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{s.topic: from}),
		kgo.KeepControlRecords(), kgo.FetchMaxWait(100*time.Millisecond))
	if err != nil {
		return nil, err
	}
	defer cl.Close()
	return records, s.read(ctx, cl, todo, records)
}

// ends waits for a topic that was made a moment ago to have leaders.
func (s *Store) ends(ctx context.Context) (kadm.ListedOffsets, error) {
	for try := 0; ; try++ {
		ends, err := s.cl.Admin().ListEndOffsets(ctx, s.topic)
		if err == nil {
			err = ends.Error()
		}
		if err == nil || try == 50 || !kerr.IsRetriable(err) {
			return ends, err
		}
		select {
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// read consumes until every partition in todo has reached its offset.
func (s *Store) read(ctx context.Context, cl *kgo.Client, todo map[int32]int64, into map[lane.ID]Record) error {
	var starts kadm.ListedOffsets
	for len(todo) > 0 {
		poll, cancel := context.WithTimeout(ctx, time.Second)
		fs := cl.PollFetches(poll)
		cancel()
		if ctx.Err() != nil {
			return ctx.Err()
		}
		var bad error
		fs.EachError(func(_ string, _ int32, err error) {
			if !errors.Is(err, context.DeadlineExceeded) {
				bad = err
			}
		})
		if bad != nil {
			return fmt.Errorf("progress topic %q: %w", s.topic, kafka.Explain(s.cl.Alias(), bad))
		}
		fs.EachRecord(func(r *kgo.Record) {
			if err := keep(r, into); err != nil {
				bad = err
			}
			if end, ok := todo[r.Partition]; ok && r.Offset+1 >= end {
				delete(todo, r.Partition)
			}
		})
		if bad != nil {
			return fmt.Errorf("progress topic %q: %w", s.topic, bad)
		}
		if fs.NumRecords() > 0 {
			continue
		}
		// A partition whose last offsets hold no record (all compacted away)
		// never shows its end.
		var err error
		if starts, err = s.cl.Admin().ListStartOffsets(ctx, s.topic); err != nil {
			return err
		}
		starts.Each(func(o kadm.ListedOffset) {
			if end, ok := todo[o.Partition]; ok && o.Offset >= end {
				delete(todo, o.Partition)
			}
		})
	}
	return nil
}

// keep takes one record of the topic.
func keep(r *kgo.Record, into map[lane.ID]Record) error {
	if r.Attrs.IsControl() {
		return nil
	}
	if r.Value == nil {
		if id, ok := parseKey(string(r.Key)); ok {
			delete(into, id)
		}
		return nil
	}
	rec, err := decode(string(r.Key), r.Value)
	if err != nil {
		return err
	}
	into[rec.Lane] = rec
	return nil
}

// Save writes records and returns once the target has them all, or the first error.
func (s *Store) Save(ctx context.Context, records []Record) error {
	if len(records) == 0 {
		return nil
	}
	out := make([]*kgo.Record, 0, len(records))
	for _, r := range records {
		v, err := r.encode()
		if err != nil {
			return err
		}
		out = append(out, &kgo.Record{Topic: s.topic, Key: []byte(Key(r.Lane)), Value: v})
	}
	if err := s.cl.Client().ProduceSync(ctx, out...).FirstErr(); err != nil {
		return fmt.Errorf("cannot store progress in topic %q: %w", s.topic, kafka.Explain(s.cl.Alias(), err))
	}
	return nil
}
