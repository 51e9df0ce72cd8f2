package kafka

import (
	"context"
	"errors"
	"fmt"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

const (
	readBytes     = 1 << 20
	mostReadBytes = 1 << 28 // no batch is larger
)

// Walk hands what l has in [from, to) to take, one answer after the other, each
// fetched from offset at on; take returns where the log goes on after it, at if
// the answer holds no whole batch.
func (l Log) Walk(ctx context.Context, from, to int64, take func(got kmsg.FetchResponseTopicPartition, at int64) (next int64, err error)) error {
	size := int32(readBytes)
	for at := from; at < to; {
		got, err := l.Fetch(ctx, at, size)
		if err != nil {
			return err
		}
		next, err := take(got, at)
		switch {
		case err != nil:
			return err
		case next > at:
			at = next
		case len(got.RecordBatches) == 0 && l.end(got) >= to:
			return nil // what was there was compacted away
		case len(got.RecordBatches) == 0:
			return fmt.Errorf("topic %q partition %d: nothing comes from offset %d on", l.Topic, l.Partition, at)
		case size >= mostReadBytes:
			return fmt.Errorf("topic %q partition %d: nothing that begins at offset %d is whole", l.Topic, l.Partition, at)
		default:
			size *= 2 // a batch larger than we asked for
		}
	}
	return nil
}

// end is up to where the partition could have been read.
func (l Log) end(got kmsg.FetchResponseTopicPartition) int64 {
	if l.Committed {
		return got.LastStableOffset
	}
	return got.HighWatermark
}

// Records decodes an answer of Fetch that was asked for from offset at on; next is
// where the log goes on after it.
func (l Log) Records(got kmsg.FetchResponseTopicPartition, at int64) (rs []*kgo.Record, next int64, err error) {
	isolation := kgo.ReadUncommitted()
	if l.Committed {
		isolation = kgo.ReadCommitted()
	}
	fp, next := kgo.ProcessFetchPartition(kgo.ProcessFetchPartitionOpts{
		Topic: l.Topic, Partition: l.Partition, Offset: at, IsolationLevel: isolation,
	}, &got, kgo.DefaultDecompressor(), nil)
	return fp.Records, next, fp.Err
}

// Each calls do with each record of [from, to), in order.
func (l Log) Each(ctx context.Context, from, to int64, do func(*kgo.Record) error) error {
	return l.Walk(ctx, from, to, func(got kmsg.FetchResponseTopicPartition, at int64) (int64, error) {
		rs, next, err := l.Records(got, at)
		for _, r := range rs {
			if r.Offset < to && err == nil {
				err = do(r)
			}
		}
		return next, err
	})
}

// ReadTopic calls do with each committed record that the topic has now, partition
// by partition. A topic that is not there is kerr.UnknownTopicOrPartition.
func (c *Cluster) ReadTopic(ctx context.Context, topic string, do func(*kgo.Record) error) error {
	return c.Tail(topic).Read(ctx, func() {}, do)
}

// Tail reads a topic again and again, each time what is new. It is for one goroutine.
type Tail struct {
	c     *Cluster
	topic string
	id    [16]byte
	next  map[int32]int64 // by partition: where to read on
}

// Tail begins at the first record.
func (c *Cluster) Tail(topic string) *Tail { return &Tail{c: c, topic: topic} }

// Read calls do as ReadTopic does, with what came since the last Read. anew is
// called before records from the start of the topic: at first, and where it was
// made anew or cut. After an error the next Read begins where do was last called.
func (t *Tail) Read(ctx context.Context, anew func(), do func(*kgo.Record) error) error {
	c := t.c
	ts, err := c.admin.ListTopics(ctx, t.topic)
	if err != nil {
		return Explain(c.Alias(), err)
	}
	found := ts[t.topic]
	if found.Err != nil {
		return fmt.Errorf("topic %q: %w", t.topic, Explain(c.Alias(), found.Err))
	}
	starts, err := c.admin.ListStartOffsets(ctx, t.topic)
	if err != nil {
		return Explain(c.Alias(), err)
	}
	ends, err := c.admin.ListCommittedOffsets(ctx, t.topic)
	if err != nil {
		return Explain(c.Alias(), err)
	}
	if t.next == nil || t.id != found.ID || t.cut(ends) {
		anew()
		t.id, t.next = found.ID, map[int32]int64{}
	}
	for _, p := range found.Partitions.Sorted() {
		start, known := starts.Lookup(t.topic, p.Partition)
		end, ok := ends.Lookup(t.topic, p.Partition)
		switch err := errors.Join(start.Err, end.Err); {
		case err != nil:
			return fmt.Errorf("topic %q partition %d: %w", t.topic, p.Partition, Explain(c.Alias(), err))
		case !known || !ok:
			return fmt.Errorf("cluster %q does not say where topic %q partition %d begins and ends", c.Alias(), t.topic, p.Partition)
		}
		l := Log{Link: c.Aside(), Leader: p.Leader, Topic: t.topic, TopicID: found.ID, Partition: p.Partition, Committed: true}
		err := l.Each(ctx, max(start.Offset, t.next[p.Partition]), end.Offset, func(r *kgo.Record) error {
			t.next[p.Partition] = r.Offset
			return do(r)
		})
		if err != nil {
			return Explain(c.Alias(), err)
		}
		t.next[p.Partition] = max(t.next[p.Partition], end.Offset)
	}
	return nil
}

// cut tells that a partition ends before what was read of it.
func (t *Tail) cut(ends kadm.ListedOffsets) bool {
	for partition, next := range t.next {
		if end, ok := ends.Lookup(t.topic, partition); ok && end.Err == nil && end.Offset < next {
			return true
		}
	}
	return false
}
