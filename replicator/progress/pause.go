package progress

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/kferry/kferry/internal/kafka"
)

// pausePrefix begins the keys of pause records: "pause/" for the whole flow,
// "pause/<topic>" for one source topic. All of them are in partition 0, so that
// one partition tells every replica what is paused, whatever slots it has.
const pausePrefix = "pause/"

// pauseSlot is the partition of pause records.
const pauseSlot = 0

// Pause is a wish, stored on the target, that nothing be fetched for a flow or
// one of its topics.
type Pause struct {
	At time.Time
	By string
}

type pauseWire struct {
	Version int       `json:"version"`
	At      time.Time `json:"at"`
	By      string    `json:"by"`
}

func parsePauseKey(key string) (topic string, ok bool) { return strings.CutPrefix(key, pausePrefix) }

// decodePause never fails: a record that says pause must not carry on for a
// field that is for people only.
func decodePause(value []byte) Pause {
	var w pauseWire
	if json.Unmarshal(value, &w) != nil || w.By == "" {
		w.By = "an unreadable record"
	}
	return Pause{At: w.At, By: w.By}
}

func (p Pause) String() string {
	if p.At.IsZero() {
		return "paused by " + p.By
	}
	return fmt.Sprintf("paused by %s at %s", p.By, p.At.UTC().Format(time.RFC3339))
}

// Pause stores the wish to pause topic, or with "" the whole flow.
func (s *Store) Pause(ctx context.Context, topic string, p Pause) error {
	v, err := json.Marshal(pauseWire{Version: Version, At: p.At.UTC().Truncate(time.Millisecond), By: p.By})
	if err != nil {
		return err
	}
	return s.wish(ctx, topic, v)
}

// Resume takes the wish to pause topic back, or with "" that for the whole flow.
func (s *Store) Resume(ctx context.Context, topic string) error { return s.wish(ctx, topic, nil) }

func (s *Store) wish(ctx context.Context, topic string, value []byte) error {
	cl, err := s.cl.NewClient(kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		return err
	}
	defer cl.Close()
	r := &kgo.Record{Topic: s.topic, Partition: pauseSlot, Key: []byte(pausePrefix + topic), Value: value}
	if err := cl.ProduceSync(ctx, r).FirstErr(); err != nil {
		return fmt.Errorf("cannot write to the progress topic %q: %w", s.topic, kafka.Explain(s.cl.Alias(), err))
	}
	return nil
}

// Pauses reads what is paused, as it changes. Not safe for concurrent use.
type Pauses struct {
	s      *Store
	leader int32 // of the partition; below 0: to be asked for
	id     [16]byte
	next   int64 // offset to read on from
	remade bool  // the topic is not the one that was read before
	paused map[string]Pause
	flow   identity
}

// Pauses makes a reader that has read nothing yet.
func (s *Store) Pauses() *Pauses {
	return &Pauses{s: s, leader: -1, paused: map[string]Pause{}, flow: identity{settings: map[string]time.Time{}}}
}

// Read takes in what was written since the last call, and returns the pauses by
// topic ("" is the whole flow). A failed call is to be repeated.
func (p *Pauses) Read(ctx context.Context) (map[string]Pause, error) {
	for {
		end, err := p.more(ctx)
		if err != nil {
			p.leader = -1
			return nil, fmt.Errorf("progress topic %q: %w", p.s.topic, kafka.Explain(p.s.cl.Alias(), err))
		}
		if end {
			return maps.Clone(p.paused), nil
		}
	}
}

// Remade tells, once, that the topic was deleted and made anew. Brokers that give topics no ids
// do not tell.
func (p *Pauses) Remade() bool {
	defer func() { p.remade = false }()
	return p.remade
}

// more reads one response; end tells that nothing follows it.
func (p *Pauses) more(ctx context.Context) (end bool, err error) {
	if p.leader < 0 {
		if err := p.find(ctx); err != nil {
			return false, err
		}
	}
	at := kafka.Log{Link: p.s.cl.Links()[0], Leader: p.leader, Topic: p.s.topic, TopicID: p.id, Partition: pauseSlot}
	got, err := at.Fetch(ctx, p.next, 1<<20)
	if errors.Is(err, kerr.OffsetOutOfRange) {
		return false, p.restart(ctx)
	}
	if err != nil {
		return false, err
	}
	// Not a consumer: it would not tell where the log ends when the last
	// records were compacted away.
	rs, next, err := at.Records(got, p.next)
	if err != nil {
		return false, err
	}
	for _, r := range rs {
		p.take(r)
	}
	if len(got.RecordBatches) > 0 && next <= p.next {
		return false, fmt.Errorf("partition %d: nothing that begins at offset %d is whole", pauseSlot, p.next)
	}
	p.next = next
	return len(got.RecordBatches) == 0 || next >= got.HighWatermark, nil
}

func (p *Pauses) take(r *kgo.Record) {
	if p.flow.take(r) {
		return
	}
	topic, ok := parsePauseKey(string(r.Key))
	switch {
	case !ok:
	case r.Value == nil:
		delete(p.paused, topic)
	default:
		p.paused[topic] = decodePause(r.Value)
	}
}

// find asks where the partition is. A topic that was made anew is read anew.
func (p *Pauses) find(ctx context.Context) error {
	t, err := p.s.place(ctx)
	if err != nil {
		return err
	}
	if t.TopicID != p.id {
		p.remade = p.remade || p.id != [16]byte{}
		p.id, p.next = t.TopicID, 0
		clear(p.paused)
		p.flow = identity{settings: map[string]time.Time{}}
	}
	for _, d := range t.Partitions {
		if d.Partition == pauseSlot {
			p.leader = d.Leader
			return kerr.ErrorForCode(d.ErrorCode) // says so where there is none
		}
	}
	return kerr.UnknownTopicOrPartition
}

// restart reads from where the log begins now.
func (p *Pauses) restart(ctx context.Context) error {
	starts, err := p.s.cl.Admin().ListStartOffsets(ctx, p.s.topic)
	if err == nil {
		err = starts.Error()
	}
	if err != nil {
		return err
	}
	start, _ := starts.Lookup(p.s.topic, pauseSlot)
	p.next = start.Offset
	clear(p.paused)
	return nil
}
