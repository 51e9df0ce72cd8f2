package kafka

import (
	"context"
	"errors"
	"fmt"

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

// read calls do with each record of [from, to), in order.
func (l Log) read(ctx context.Context, from, to int64, do func(*kgo.Record) error) error {
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
	ts, err := c.admin.ListTopics(ctx, topic)
	if err != nil {
		return Explain(c.Alias(), err)
	}
	t := ts[topic]
	if t.Err != nil {
		return fmt.Errorf("topic %q: %w", topic, Explain(c.Alias(), t.Err))
	}
	starts, err := c.admin.ListStartOffsets(ctx, topic)
	if err != nil {
		return Explain(c.Alias(), err)
	}
	ends, err := c.admin.ListCommittedOffsets(ctx, topic)
	if err != nil {
		return Explain(c.Alias(), err)
	}
	for _, p := range t.Partitions.Sorted() {
		start, known := starts.Lookup(topic, p.Partition)
		end, ok := ends.Lookup(topic, p.Partition)
		switch err := errors.Join(start.Err, end.Err); {
		case err != nil:
			return fmt.Errorf("topic %q partition %d: %w", topic, p.Partition, Explain(c.Alias(), err))
		case !known || !ok:
			return fmt.Errorf("cluster %q does not say where topic %q partition %d begins and ends", c.Alias(), topic, p.Partition)
		}
		l := Log{Link: c.Aside(), Leader: p.Leader, Topic: topic, TopicID: t.ID, Partition: p.Partition, Committed: true}
		if err := l.read(ctx, start.Offset, end.Offset, do); err != nil {
			return Explain(c.Alias(), err)
		}
	}
	return nil
}
