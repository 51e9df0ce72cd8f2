package check

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

const (
	// quiet is how long a poll may bring nothing before the stream asks whether anything is left at all.
	quiet = 500 * time.Millisecond
	// patience bounds the wait for records that the broker has but does not hand out.
	patience = 60 * time.Second
	// fetchBytes is the size of one fetch; kgo holds one such fetch and its decoded records.
	fetchBytes = 4 << 20
)

// Conn is how to reach a cluster: kgo options with at least the seed brokers. FromConfig and Plain make one.
type Conn []kgo.Opt

// Plain is a Conn without TLS and SASL.
func Plain(bootstrap ...string) Conn { return Conn{kgo.SeedBrokers(bootstrap...)} }

// stream reads the data records of one partition in offset order, up to a fixed end.
type stream struct {
	cl        *kgo.Client // nil for an empty span
	topic     string
	partition int32
	committed bool
	end       int64
	pos       int64 // no record below it is still to come
	buf       []*kgo.Record
	skip      func(*kgo.Record) bool // records to leave out, may be nil
	skipped   int64
	patience  time.Duration
}

func openStream(c Conn, topic string, partition int32, sp span, committed bool) (*stream, error) {
	s := &stream{topic: topic, partition: partition, committed: committed, pos: sp.start, end: sp.end, patience: patience}
	if sp.start >= sp.end {
		return s, nil
	}
	// Control records are kept because they are often the last ones below the end, and only records tell the position.
	opts := append(Conn{
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: {partition: kgo.NewOffset().At(sp.start)}}),
		kgo.KeepControlRecords(), kgo.FetchMaxBytes(fetchBytes), kgo.FetchMaxPartitionBytes(fetchBytes),
	}, c...)
	if committed {
		opts = append(opts, kgo.FetchIsolationLevel(kgo.ReadCommitted()))
	}
	cl, err := kgo.NewClient(opts...)
	s.cl = cl
	return s, err
}

func (s *stream) close() {
	if s.cl != nil {
		s.cl.Close()
	}
}

// next returns the next data record, or nil at the end.
func (s *stream) next(ctx context.Context) (*kgo.Record, error) {
	for {
		for len(s.buf) > 0 {
			r := s.buf[0]
			s.buf = s.buf[1:]
			if r.Offset >= s.end {
				s.buf, s.pos = nil, s.end
				break
			}
			s.pos = r.Offset + 1
			if r.Attrs.IsControl() {
				continue
			}
			if s.skip != nil && s.skip(r) {
				s.skipped++
				continue
			}
			return r, nil
		}
		if s.pos >= s.end {
			return nil, nil
		}
		if err := s.fill(ctx); err != nil {
			return nil, fmt.Errorf("%s/%d at offset %d of %d: %w", s.topic, s.partition, s.pos, s.end, err)
		}
	}
}

// fill polls until there are records, or nothing is left below the end: the last offsets may be gaps.
func (s *stream) fill(ctx context.Context) error {
	for begin := time.Now(); ; {
		poll, cancel := context.WithTimeout(ctx, quiet)
		fetches := s.cl.PollFetches(poll)
		cancel()
		if s.buf = fetches.Records(); len(s.buf) > 0 {
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		for _, e := range fetches.Errors() {
			if !errors.Is(e.Err, context.DeadlineExceeded) && !kerr.IsRetriable(e.Err) {
				return e.Err
			}
		}
		left, err := s.left(ctx)
		if err == nil && !left {
			s.pos = s.end
			return nil
		}
		if time.Since(begin) > s.patience {
			return fmt.Errorf("no record for %v although the partition has more: %w", s.patience, cmp.Or(err, error(kerr.RequestTimedOut)))
		}
	}
}

// left reports whether a record exists in [pos, end). The consumer tells no position but that of the last record, so
// this reads ahead by itself.
func (s *stream) left(ctx context.Context) (bool, error) {
	topics, err := kadm.NewClient(s.cl).ListTopics(ctx, s.topic)
	if err != nil {
		return true, err
	}
	d := topics[s.topic]
	p, ok := d.Partitions[s.partition]
	if err := errors.Join(d.Err, p.Err); err != nil || !ok {
		return true, err
	}
	for at := s.pos; at < s.end; {
		f, next, err := s.probe(ctx, p.Leader, d.ID, at)
		if err != nil {
			return true, err
		}
		if len(f.Records) > 0 && f.Records[0].Offset < s.end {
			return true, nil
		}
		if next <= at {
			return true, fmt.Errorf("the broker sent nothing from offset %d on", at)
		}
		at = next
	}
	return false, nil
}

// probe fetches once from the leader and returns what it decodes to, with the offset to ask for next.
func (s *stream) probe(ctx context.Context, leader int32, id kadm.TopicID, at int64) (kgo.FetchPartition, int64, error) {
	req := kmsg.NewPtrFetchRequest()
	req.MaxWaitMillis, req.MinBytes, req.MaxBytes, req.SessionEpoch = 100, 1, fetchBytes, -1
	iso := kgo.ReadUncommitted()
	if s.committed {
		req.IsolationLevel, iso = 1, kgo.ReadCommitted()
	}
	rt := kmsg.NewFetchRequestTopic()
	rt.Topic, rt.TopicID = s.topic, id
	rp := kmsg.NewFetchRequestTopicPartition()
	rp.Partition, rp.FetchOffset, rp.PartitionMaxBytes, rp.CurrentLeaderEpoch = s.partition, at, fetchBytes, -1
	rt.Partitions = append(rt.Partitions, rp)
	req.Topics = append(req.Topics, rt)
	resp, err := s.cl.Broker(int(leader)).RetriableRequest(ctx, req)
	if err != nil {
		return kgo.FetchPartition{}, at, err
	}
	fr := resp.(*kmsg.FetchResponse)
	if err := kerr.ErrorForCode(fr.ErrorCode); err != nil || len(fr.Topics) != 1 || len(fr.Topics[0].Partitions) != 1 {
		return kgo.FetchPartition{}, at, errors.Join(err, errors.New("a fetch of one partition was not answered with one"))
	}
	f, next := kgo.ProcessFetchPartition(kgo.ProcessFetchPartitionOpts{
		Offset: at, IsolationLevel: iso, Topic: s.topic, Partition: s.partition,
	}, &fr.Topics[0].Partitions[0], kgo.DefaultDecompressor(), nil)
	return f, next, f.Err
}
