// Package deadletter keeps what a target refuses for good: one record for each
// refused record, in a topic on the target named kferry.<flow>.dead_letter.
// docs/dead-letter.md is its format for people who want the records back.
package deadletter

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kferry/kferry/internal/kafka"
	"github.com/kferry/kferry/offsets"
	"github.com/kferry/kferry/replicator/lane"
)

const (
	// Room for our headers, and for what a batch adds to a record, in bytes.
	extra = 4 << 10
	// A record above this travels through a client of its own, a batch for each:
	// kgo's default for a batch is a megabyte, and the topic's may be as well.
	plainBytes = 900 << 10
	// What that client takes, in bytes; below kgo's bound on a request.
	mostBytes = 96 << 20
	// How long a write may take before the caller should see to other lanes.
	patience = 15 * time.Second
)

// The headers of a dead letter, after the record's own.
const (
	HeaderTopic       = "kferry.topic"
	HeaderPartition   = "kferry.partition"
	HeaderOffset      = "kferry.offset"
	HeaderTargetTopic = "kferry.target_topic"
	HeaderTimestamp   = "kferry.timestamp" // of the record, ms since 1970
	HeaderReason      = "kferry.reason"
)

// ErrSettled means that waiting does not help: a person must act.
var ErrSettled = errors.New("the dead letter topic does not take it")

// Topic is the name of a flow's dead letter topic.
func Topic(flow string) string { return "kferry." + flow + ".dead_letter" }

// Store writes the dead letters of one flow. Safe for concurrent use.
type Store struct {
	cl          *kafka.Cluster
	topic       string
	replication int16

	mu           sync.Mutex
	ready        bool        // the topic is there and forgets nothing by itself
	plain, large *kgo.Client // nil until they are needed
}

// New makes a Store; it does nothing before the first Write. replication 0
// leaves the factor of the topic to the target.
func New(cl *kafka.Cluster, flow string, replication int16) *Store {
	if replication == 0 {
		replication = -1
	}
	return &Store{cl: cl, topic: Topic(flow), replication: replication}
}

// Close ends the connections. Nothing may be written any more.
func (s *Store) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, cl := range []*kgo.Client{s.plain, s.large} {
		if cl != nil {
			cl.Close()
		}
	}
}

// Origin tells where the records of a batch are from.
type Origin struct {
	Lane        lane.ID
	TargetTopic string
	First       offsets.Source // of the first record; the others follow without gaps
	Reason      string
}

// Letters makes dead letters of the first n records of a batch. They keep key,
// value and headers. Their time is that of the writing: the original one may be
// what the target refuses, so it is a header.
func Letters(b []byte, n int, from Origin) ([]*kgo.Record, error) {
	rp := kmsg.NewFetchResponseTopicPartition()
	rp.RecordBatches = b
	got, _ := kgo.ProcessFetchPartition(kgo.ProcessFetchPartitionOpts{}, &rp, kgo.DefaultDecompressor(), nil)
	if got.Err != nil {
		return nil, got.Err
	}
	if len(got.Records) < n {
		return nil, fmt.Errorf("%d records in a batch of at least %d", len(got.Records), n)
	}
	out := make([]*kgo.Record, n)
	for i, r := range got.Records[:n] {
		text := func(key, value string) kgo.RecordHeader { return kgo.RecordHeader{Key: key, Value: []byte(value)} }
		out[i] = &kgo.Record{
			Key: r.Key, Value: r.Value,
			Headers: append(r.Headers[:len(r.Headers):len(r.Headers)],
				text(HeaderTopic, from.Lane.Topic),
				text(HeaderPartition, strconv.Itoa(int(from.Lane.Partition))),
				text(HeaderOffset, strconv.FormatInt(int64(from.First)+int64(i), 10)),
				text(HeaderTargetTopic, from.TargetTopic),
				text(HeaderTimestamp, strconv.FormatInt(r.Timestamp.UnixMilli(), 10)),
				text(HeaderReason, from.Reason)),
		}
	}
	return out, nil
}

// size is about what r takes in a batch, in bytes.
func size(r *kgo.Record) int {
	n := len(r.Key) + len(r.Value) + extra
	for _, h := range r.Headers {
		n += len(h.Key) + len(h.Value)
	}
	return n
}

// Write returns nil once all replicas in sync have the letters. After an error
// some may be there; to write them all again is safe but for the duplicates.
// ErrSettled: to try again is no use until somebody changed something.
func (s *Store) Write(ctx context.Context, letters []*kgo.Record) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	largest := 0
	for _, r := range letters {
		r.Topic, r.Partition = s.topic, 0
		largest = max(largest, size(r))
	}
	err := s.open(ctx, largest)
	if err == nil {
		err = s.send(ctx, letters, largest)
	}
	if errors.Is(err, kerr.MessageTooLarge) && s.raise(ctx, largest) {
		err = s.send(ctx, letters, largest)
	}
	if err == nil || errors.Is(err, ErrSettled) {
		return err
	}
	// The topic may have been deleted: make it again, next time.
	s.mu.Lock()
	s.ready = false
	s.mu.Unlock()
	explained := fmt.Errorf("dead letter topic %q: %w", s.topic, kafka.Explain(s.cl.Alias(), err))
	var code *kerr.Error
	if errors.As(err, &code) && !code.Retriable {
		return fmt.Errorf("%w: %w", ErrSettled, explained)
	}
	return explained
}

func (s *Store) send(ctx context.Context, letters []*kgo.Record, largest int) error {
	if largest <= plainBytes {
		cl, err := s.client(&s.plain)
		if err != nil {
			return err
		}
		return cl.ProduceSync(ctx, letters...).FirstErr()
	}
	cl, err := s.client(&s.large, kgo.ProducerBatchMaxBytes(mostBytes))
	if err != nil {
		return err
	}
	for _, r := range letters {
		if err := cl.ProduceSync(ctx, r).FirstErr(); err != nil {
			return err
		}
	}
	return nil
}

// client returns the client at, made on first use. It does not write
// idempotently: kgo would not give up a record that it cannot tell the fate of,
// and the caller, who may write it twice, must not wait for ever.
func (s *Store) client(at **kgo.Client, more ...kgo.Opt) (*kgo.Client, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if *at != nil {
		return *at, nil
	}
	var err error
	*at, err = s.cl.NewClient(append(more, kgo.DisableIdempotentWrite(), kgo.MaxProduceRequestsInflightPerBroker(1))...)
	return *at, err
}

// open makes sure that the topic is there, that it takes records of bytes if we
// make it, and that it keeps every one of them.
func (s *Store) open(ctx context.Context, bytes int) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ready {
		return nil
	}
	ts, err := s.cl.Admin().ListTopics(ctx, s.topic)
	if err != nil {
		return err
	}
	if ts.Has(s.topic) && ts[s.topic].Err == nil {
		err = s.keeps(ctx)
	} else {
		err = s.create(ctx, bytes)
	}
	s.ready = err == nil
	return err
}

// create makes the topic: one partition, so that it has the order in which
// records were set aside.
func (s *Store) create(ctx context.Context, bytes int) error {
	settings := map[string]*string{"cleanup.policy": kadm.StringPtr("delete"), "retention.ms": kadm.StringPtr("-1"), "retention.bytes": kadm.StringPtr("-1")}
	if bytes > plainBytes {
		settings["max.message.bytes"] = kadm.StringPtr(strconv.Itoa(bytes))
	}
	_, err := s.cl.Admin().CreateTopic(ctx, 1, s.replication, settings, s.topic)
	if err == nil || errors.Is(err, kerr.TopicAlreadyExists) {
		return nil
	}
	return kafka.Unmade(s.cl.Alias(), "make it", "with cleanup.policy=delete and retention.ms=-1", err)
}

// keeps refuses a topic that compaction takes records from. Where settings
// cannot be read it has to trust.
func (s *Store) keeps(ctx context.Context) error {
	rcs, err := s.cl.Admin().DescribeTopicConfigs(ctx, s.topic)
	if err != nil {
		return nil //nolint:nilerr // not allowed to look; the topic may well be right
	}
	for _, rc := range rcs {
		for _, c := range rc.Configs {
			if v := c.MaybeValue(); c.Key == "cleanup.policy" && strings.Contains(v, "compact") {
				return fmt.Errorf("%w: dead letter topic %q on the target %q has cleanup.policy=%s and would lose records: set it to delete", ErrSettled, s.topic, s.cl.Alias(), v)
			}
		}
	}
	return nil
}

// raise lets the topic take records of so many bytes; false if that may not be.
func (s *Store) raise(ctx context.Context, bytes int) bool {
	rs, err := s.cl.Admin().AlterTopicConfigs(ctx, []kadm.AlterConfig{{Name: "max.message.bytes", Value: kadm.StringPtr(strconv.Itoa(bytes))}}, s.topic)
	if err != nil || len(rs) != 1 || rs[0].Err != nil {
		return false
	}
	return true
}
