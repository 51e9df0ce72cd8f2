// Package beat keeps MirrorMaker 2's topics for a flow, so that its clients, and
// it itself, find there what they look for: heartbeats, offset syncs and
// checkpoints. Nobody in kferry depends on them.
package beat

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/kferry/kferry/internal/kafka"
	"github.com/kferry/kferry/offsets/mm2"
)

// writeTimeout bounds a write, so that a cluster that is away does not hold up
// what else the caller does.
const writeTimeout = 10 * time.Second

// topic is one of MirrorMaker 2's: compacted, one partition, made when it is
// first written to. Safe for concurrent use.
type topic struct {
	cl          *kafka.Cluster
	name        string
	replication int16 // 0: the cluster's default
	ours        bool  // read by us, from its start

	mu   sync.Mutex
	made bool
}

// ensure makes the topic if it is missing. One that our user may not make may be
// there all the same: the write tells.
func (t *topic) ensure(ctx context.Context) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.made {
		return nil
	}
	made, err := t.cl.MakeCompacted(ctx, t.name, 1, t.replication)
	if err != nil && !kafka.Denied(err) {
		return kafka.Unmade(t.cl.Alias(), fmt.Sprintf("make topic %q", t.name), "with cleanup.policy=compact and 1 partition", err)
	}
	t.made = true
	if !made && t.ours {
		_ = t.cl.KeepCompacted(ctx, t.name) // refused: it is slower to read
	}
	if made {
		_, _ = t.cl.Ends(ctx, t.name) // once it has a leader; the write tells of what is wrong
	}
	return ctx.Err()
}

// lost has the topic made again: it was deleted, or only now our user may make it.
func (t *topic) lost() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.made = false
	t.cl.Client().PurgeTopicsFromProducing(t.name) // kgo would go on with the id of the one that is gone
}

// write returns once all of records are there, or with the first error.
func (t *topic) write(ctx context.Context, records []*kgo.Record) error {
	if len(records) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	if err := t.ensure(ctx); err != nil {
		return err
	}
	for _, r := range records {
		r.Topic, r.Partition = t.name, 0
	}
	if err := t.cl.Client().ProduceSync(ctx, records...).FirstErr(); err != nil {
		if errors.Is(err, kerr.UnknownTopicOrPartition) || errors.Is(err, kerr.UnknownTopicID) || errors.Is(err, context.DeadlineExceeded) {
			t.lost()
		}
		return fmt.Errorf("cannot write to topic %q: %w: our user needs Write on it, and Create if it is not there", t.name, kafka.Explain(t.cl.Alias(), err))
	}
	return nil
}

// Options say whose topics, and on which clusters.
type Options struct {
	Source, Target *kafka.Cluster
	Names          mm2.Names
	Replication    int16 // of topics that are made; 0: the cluster's default
}

func (o Options) topic(cl *kafka.Cluster, name string) topic {
	return topic{cl: cl, name: name, replication: o.Replication}
}

// Heart writes heartbeats.
type Heart struct {
	names         mm2.Names
	own, mirrored topic
}

// NewHeart connects to nothing yet.
func NewHeart(o Options) *Heart {
	return &Heart{o.Names, o.topic(o.Target, o.Names.Heartbeats()), o.topic(o.Target, o.Names.RemoteHeartbeats())}
}

// Beat writes one heartbeat of the flow. With mirrored it also writes it to where
// heartbeats of the source would be mirrored to: clients tell by that topic which
// clusters are upstream, and on a source that is only read nobody writes any.
func (h *Heart) Beat(ctx context.Context, at time.Time, mirrored bool) error {
	key, value, err := mm2.Heartbeat{Source: h.names.Source, Target: h.names.Target, Millis: at.UnixMilli()}.Encode()
	if err != nil {
		return err
	}
	err = h.own.write(ctx, []*kgo.Record{{Key: key, Value: value, Timestamp: at}})
	if mirrored && err == nil {
		err = h.mirrored.write(ctx, []*kgo.Record{{Key: key, Value: value, Timestamp: at}})
	}
	return err
}

// Syncs writes offset syncs.
type Syncs struct{ topic topic }

// NewSyncs connects to nothing yet.
func NewSyncs(o Options, at mm2.Location) *Syncs {
	cl := o.Target
	if at == mm2.OnSource {
		cl = o.Source
	}
	return &Syncs{o.topic(cl, o.Names.OffsetSyncs(at))}
}

// Write writes syncs, in this order.
func (s *Syncs) Write(ctx context.Context, syncs []mm2.OffsetSync) error {
	records := make([]*kgo.Record, 0, len(syncs))
	for _, x := range syncs {
		key, value, err := x.Encode()
		if err != nil {
			return err
		}
		records = append(records, &kgo.Record{Key: key, Value: value})
	}
	return s.topic.write(ctx, records)
}

// Checkpoints writes checkpoints and reads them back.
type Checkpoints struct{ topic topic }

// NewCheckpoints connects to nothing yet.
func NewCheckpoints(o Options) *Checkpoints {
	c := &Checkpoints{o.topic(o.Target, o.Names.Checkpoints())}
	c.topic.ours = true
	return c
}

// Load reads the last checkpoint of each group and partition; one that was deleted
// is none. Records of any other kind are left out: others may write to the topic,
// and nothing depends on them.
func (c *Checkpoints) Load(ctx context.Context) ([]mm2.Checkpoint, error) {
	last := map[string]mm2.Checkpoint{} // by key
	err := c.topic.cl.ReadTopic(ctx, c.topic.name, func(r *kgo.Record) error {
		if r.Value == nil {
			delete(last, string(r.Key))
		} else if x, err := mm2.DecodeCheckpoint(r.Key, r.Value); err == nil {
			last[string(r.Key)] = x
		}
		return nil
	})
	if err != nil && !errors.Is(err, kerr.UnknownTopicOrPartition) {
		return nil, fmt.Errorf("cannot read topic %q: %w", c.topic.name, err)
	}
	out := make([]mm2.Checkpoint, 0, len(last))
	for _, x := range last {
		out = append(out, x)
	}
	return out, nil
}

// Write writes checkpoints, in this order.
func (c *Checkpoints) Write(ctx context.Context, cs []mm2.Checkpoint) error {
	records := make([]*kgo.Record, 0, len(cs))
	for _, x := range cs {
		key, value, err := x.Encode()
		if err != nil {
			return err
		}
		records = append(records, &kgo.Record{Key: key, Value: value})
	}
	return c.topic.write(ctx, records)
}
