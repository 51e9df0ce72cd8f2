package groups

import (
	"context"
	"sync"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kferry/kferry/internal/kafka"
	"github.com/kferry/kferry/offsets"
)

// Timestamps of ListOffsets that stand for a place.
const (
	theEnd   = -1
	theStart = -2
)

// bound is one end of a log, or why it is not known.
type bound struct {
	at  offsets.Target
	err error
}

// logs are where partitions of the target begin and end now. A map can be older than
// the log: what is committed must be inside.
type logs struct {
	starts, ends map[lane]bound
	topics       map[string][16]byte
}

// logs asks about the partitions of asks.
func (s *side) logs(ctx context.Context, asks []ask) (l logs) {
	parts := map[lane]bool{}
	for _, a := range asks {
		for _, t := range a.topics {
			for _, p := range t.Partitions {
				parts[lane{t.Topic, p}] = true
			}
		}
	}
	if len(parts) == 0 {
		return l
	}
	ctx, cancel := context.WithTimeout(ctx, askLimit)
	defer cancel()
	var wait sync.WaitGroup
	wait.Go(func() { l.starts = s.bounds(ctx, parts, theStart) })
	wait.Go(func() { l.ends = s.bounds(ctx, parts, theEnd) })
	wait.Go(func() { l.topics = s.ids(ctx, parts) })
	wait.Wait()
	return l
}

// bounds has an answer for each of parts that a broker said anything about.
func (s *side) bounds(ctx context.Context, parts map[lane]bool, what int64) map[lane]bound {
	out := make(map[lane]bound, len(parts))
	for _, shard := range s.cl.Client().RequestSharded(ctx, listRequest(parts, what)) {
		if req, ok := shard.Req.(*kmsg.ListOffsetsRequest); ok && shard.Err != nil {
			for _, t := range req.Topics {
				for _, p := range t.Partitions {
					out[lane{t.Topic, p.Partition}] = bound{err: kafka.Explain(s.cl.Alias(), shard.Err)}
				}
			}
		}
		if resp, ok := shard.Resp.(*kmsg.ListOffsetsResponse); ok && shard.Err == nil {
			for _, t := range resp.Topics {
				for _, p := range t.Partitions {
					out[lane{t.Topic, p.Partition}] = bound{offsets.Target(p.Offset), kerr.ErrorForCode(p.ErrorCode)}
				}
			}
		}
	}
	return out
}

// ids are those of the topics, as far as a broker tells.
func (s *side) ids(ctx context.Context, parts map[lane]bool) map[string][16]byte {
	out := map[string][16]byte{}
	req := kmsg.NewPtrMetadataRequest()
	for l := range parts {
		if _, ok := out[l.topic]; !ok {
			t := kmsg.NewMetadataRequestTopic()
			t.Topic = kmsg.StringPtr(l.topic)
			req.Topics, out[l.topic] = append(req.Topics, t), [16]byte{}
		}
	}
	if resp, err := req.RequestWith(ctx, s.cl.Client()); err == nil {
		for _, t := range resp.Topics {
			if t.Topic != nil {
				out[*t.Topic] = t.TopicID
			}
		}
	}
	return out
}

func listRequest(parts map[lane]bool, what int64) *kmsg.ListOffsetsRequest {
	byTopic := map[string][]kmsg.ListOffsetsRequestTopicPartition{}
	for l := range parts {
		p := kmsg.NewListOffsetsRequestTopicPartition()
		p.Partition, p.Timestamp = l.partition, what
		byTopic[l.topic] = append(byTopic[l.topic], p)
	}
	req := kmsg.NewPtrListOffsetsRequest()
	req.ReplicaID = -1
	for topic, ps := range byTopic {
		t := kmsg.NewListOffsetsRequestTopic()
		t.Topic, t.Partitions = topic, ps
		req.Topics = append(req.Topics, t)
	}
	return req
}

// of is the extent of one log.
func (l logs) of(at lane) (extent, error) {
	start, ok := l.starts[at]
	end, both := l.ends[at]
	for _, err := range []error{start.err, end.err, answered(ok && both, 0)} {
		if err != nil {
			return extent{}, err
		}
	}
	return extent{start.at, end.at, l.topics[at.topic], true}, nil
}
