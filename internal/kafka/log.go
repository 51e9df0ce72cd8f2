package kafka

import (
	"context"
	"fmt"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Log is one partition and where it is read, for looking at it outside the data
// path: nothing follows it when its leader moves.
type Log struct {
	Link      *Link
	Leader    int32
	Topic     string
	TopicID   [16]byte
	Partition int32
	Committed bool // leave out what follows the first open transaction, and name aborted ones
}

// Fetch reads from offset at on, size bytes or one batch. It waits 100 ms where
// nothing is there.
func (l Log) Fetch(ctx context.Context, at int64, size int32) (got kmsg.FetchResponseTopicPartition, err error) {
	req := kmsg.NewPtrFetchRequest()
	req.MaxBytes, req.MaxWaitMillis, req.SessionEpoch = 2*size, 100, -1
	if l.Committed {
		req.IsolationLevel = 1
	}
	t := kmsg.NewFetchRequestTopic()
	t.Topic, t.TopicID = l.Topic, l.TopicID
	p := kmsg.NewFetchRequestTopicPartition()
	p.Partition, p.FetchOffset, p.PartitionMaxBytes, p.CurrentLeaderEpoch = l.Partition, at, size, -1
	t.Partitions = append(t.Partitions, p)
	req.Topics = append(req.Topics, t)
	resp, err := l.Link.Fetch(ctx, l.Leader, req)
	if err != nil {
		return got, err
	}
	if err := kerr.ErrorForCode(resp.ErrorCode); err != nil {
		return got, err
	}
	if len(resp.Topics) != 1 || len(resp.Topics[0].Partitions) != 1 {
		return got, fmt.Errorf("the answer leaves out topic %q partition %d", l.Topic, l.Partition)
	}
	got = resp.Topics[0].Partitions[0]
	return got, kerr.ErrorForCode(got.ErrorCode)
}
