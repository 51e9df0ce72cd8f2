// Package produce writes the batches of lanes to the target: one Producer per
// target broker and link.
package produce

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kferry/kferry/internal/kafka"
	"github.com/kferry/kferry/offsets"
	"github.com/kferry/kferry/replicator/lane"
)

const (
	// Requests on one connection at a time. A broker works on one and queues
	// the others, so more hide only the way there and back.
	mostRequests = 5
	// Bytes of records in one request; a larger batch travels alone. A broker
	// reads no further request from a connection while it stores one, so large
	// ones leave it idle between the two: 8 MiB was slower by a tenth.
	mostBytes = 2 << 20
	// How long the broker may wait for its followers.
	ackTimeout = 30 * time.Second
)

// Options are what a Producer shares with the rest of the flow.
type Options struct {
	Link   *kafka.Link
	Broker int32
	Trip   time.Duration // to the broker and back
	// Owns is asked directly before anything is sent: false keeps it back, until Poke is
	// called. Nil: always.
	Owns func() bool
	// Failed is told that l has left the producer and is settled, and why.
	// Retry and Rehome: rewind it, if it may be (lane.Rewindable), later, there or at
	// the new leader. Resume: ask the target what it has. Refuse: the broker will never
	// take the batch at the lane's position as it is. Stop: a person must act.
	Failed func(l *lane.Lane, v kafka.Verdict, cause error)
	// Produced observes one request: how long it took, error or nil.
	Produced func(took time.Duration, err error)
}

// Target is a lane and what the producer must know about its target.
type Target struct {
	Lane    *lane.Lane
	TopicID [16]byte
	Limit   int            // the largest batch in bytes that is made by joining
	Cut     offsets.Source // no joined batch holds records from both sides of it; 0: anywhere
}

// Producer sends to one broker. A lane belongs to one Producer at a time: it
// comes by Add and leaves by Release or by an error.
type Producer struct {
	o     Options
	merge merger
	wake  chan struct{} // one token: something may be sent

	mu    sync.Mutex
	lanes map[*lane.Lane]*member
	ready []*member // with something to send, in the order they will be served
	sent  []*request
}

// member is a lane as the producer knows it.
type member struct {
	Target
	queued  bool          // in ready
	verdict kafka.Verdict // of the first batch that failed since it was whole
	cause   error
	leaving func() // Release was called: call this once settled
}

// request is one produce request on the wire.
type request struct {
	at    time.Time
	wire  *kafka.Sent
	parts []*member // one batch of each
	index map[part]int
	done  bool
	resp  *kmsg.ProduceResponse
	err   error
}

type part struct {
	topic string
	id    [16]byte
	n     int32
}

// New makes a Producer; Run makes it work.
func New(o Options) *Producer {
	return &Producer{o: o, merge: newMerger(o.Trip), wake: make(chan struct{}, 1), lanes: map[*lane.Lane]*member{}}
}

// Add makes the producer send for t.Lane.
func (p *Producer) Add(t Target) {
	m := &member{Target: t}
	p.mu.Lock()
	p.lanes[t.Lane] = m
	p.mu.Unlock()
	t.Lane.OnReady(p.mark)
	p.mark(t.Lane)
}

// Release lets go of l: nothing more is sent, and then is called, on some
// goroutine, once every batch on the wire was answered. It reports false if the
// producer does not have l (any more): then Failed was or will be called.
func (p *Producer) Release(l *lane.Lane, then func()) bool {
	p.mu.Lock()
	m := p.lanes[l]
	if m == nil || m.leaving != nil {
		p.mu.Unlock()
		return false
	}
	m.leaving = then
	if !l.Shut() {
		p.mu.Unlock()
		return true
	}
	leave := p.leaveLocked(m)
	p.mu.Unlock()
	leave()
	return true
}

// leaveLocked forgets m and returns what to call without the lock.
func (p *Producer) leaveLocked(m *member) func() {
	delete(p.lanes, m.Lane)
	m.Lane.OnReady(nil)
	if m.leaving != nil {
		return m.leaving
	}
	return func() { p.o.Failed(m.Lane, m.verdict, m.cause) }
}

// mark queues l: it may have something to send.
func (p *Producer) mark(l *lane.Lane) {
	p.mu.Lock()
	if m := p.lanes[l]; m != nil && !m.queued {
		m.queued = true
		p.ready = append(p.ready, m)
	}
	p.mu.Unlock()
	p.poke()
}

// Poke has the producer look again whether it may send.
func (p *Producer) Poke() { p.poke() }

func (p *Producer) poke() {
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// Run sends until ctx ends. Requests use io, which must outlive ctx (see
// kafka.Link), so that what is on the wire is answered after Run returned.
func (p *Producer) Run(ctx, io context.Context) {
	for {
		select {
		case <-p.wake:
		case <-ctx.Done():
			return
		}
		for ctx.Err() == nil && p.sendOne(io) {
		}
	}
}

// sendOne builds and sends one request; false if there is nothing to send or no
// room on the connection.
func (p *Producer) sendOne(io context.Context) bool {
	p.mu.Lock()
	if len(p.sent) >= mostRequests || len(p.ready) == 0 {
		p.mu.Unlock()
		return false
	}
	serve := p.ready
	p.ready = nil
	var behind *kafka.Sent // whatever the lanes have on the wire is not after that
	if n := len(p.sent); n > 0 {
		behind = p.sent[n-1].wire
	}
	p.mu.Unlock()

	if p.o.Owns != nil && !p.o.Owns() {
		p.putBack(serve)
		return false
	}
	req, r := p.build(serve)
	if r == nil {
		return true // look again: what was ready could not send
	}
	r.at = time.Now()
	r.wire = p.o.Link.Behind(behind)
	p.mu.Lock()
	p.sent = append(p.sent, r)
	p.mu.Unlock()
	p.o.Link.Produce(io, p.o.Broker, req, r.wire, func(resp *kmsg.ProduceResponse, err error) {
		p.answered(r, resp, err)
	})
	return true
}

// build takes one batch of each lane in serve, as far as they fit one request.
// The others, and those that have more, go to the end of the queue.
func (p *Producer) build(serve []*member) (*kmsg.ProduceRequest, *request) {
	req := kmsg.NewPtrProduceRequest()
	req.TimeoutMillis = int32(ackTimeout.Milliseconds())
	r := &request{index: map[part]int{}}
	topics := map[string]int{}
	var served []*member
	for i, room := 0, mostBytes; i < len(serve); i++ {
		m := serve[i]
		if room <= 0 {
			p.putBack(serve[i:])
			break
		}
		p.mu.Lock()
		m.queued = false // before looking: what comes after the look queues anew
		left := p.lanes[m.Lane] != m
		p.mu.Unlock()
		if left {
			continue // it may be back already, as another member
		}
		bytes := p.take(m)
		if bytes == nil {
			continue
		}
		room -= len(bytes)
		l := m.Lane
		t, ok := topics[l.TargetTopic]
		if !ok {
			t = len(req.Topics)
			topics[l.TargetTopic] = t
			rt := kmsg.NewProduceRequestTopic()
			rt.Topic, rt.TopicID = l.TargetTopic, m.TopicID
			req.Topics = append(req.Topics, rt)
		}
		rp := kmsg.NewProduceRequestTopicPartition()
		rp.Partition, rp.Records = l.Partition, bytes
		req.Topics[t].Partitions = append(req.Topics[t].Partitions, rp)
		r.index[part{topic: l.TargetTopic, n: l.Partition}] = len(r.parts)
		r.index[part{id: m.TopicID, n: l.Partition}] = len(r.parts)
		r.parts = append(r.parts, m)
		served = append(served, m)
	}
	p.requeue(served)
	if len(r.parts) == 0 {
		return nil, nil
	}
	return req, r
}

// putBack queues members that were not looked at: they still count as queued.
func (p *Producer) putBack(ms []*member) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ready = append(p.ready, ms...)
}

// requeue queues the members that have more to send.
func (p *Producer) requeue(ms []*member) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, m := range ms {
		p.queueLocked(m)
	}
}

// queueLocked queues m if its lane may send now and is not queued yet.
func (p *Producer) queueLocked(m *member) {
	if m.queued || p.lanes[m.Lane] != m {
		return
	}
	if _, more := m.Lane.Next(time.Now().UnixMilli()); more {
		m.queued = true
		p.ready = append(p.ready, m)
	}
}

// take books the next batch of m's lane and returns its bytes, stamped; nil if
// the lane may not send now.
func (p *Producer) take(m *member) []byte {
	l := m.Lane
	w, ok := l.Next(time.Now().UnixMilli())
	if !ok {
		return nil
	}
	if w.Stale {
		p.giveUp(m, errStale)
		return nil
	}
	if w.Again {
		if !l.Again(w.Gen) {
			return nil
		}
		return w.Items[0].Bytes
	}
	it, used, err := p.merge.join(w.Items, m.Limit, m.Cut)
	if err != nil {
		p.giveUp(m, err)
		return nil
	}
	claim, ok := l.Send(w.Gen, it, used)
	if !ok {
		if used > 1 {
			it.Hold.Release()
		}
		return nil
	}
	stamp(it, claim)
	return it.Bytes
}

var errStale = errors.New("a batch that may be stored was to be sent again, and has become too old for the target to know it again")

// giveUp has the lane ask the target what it has, and fetch the rest again: bytes went
// bad between the source's disk and our memory, or may not be sent again.
func (p *Producer) giveUp(m *member, err error) {
	p.mu.Lock()
	if m.cause == nil {
		m.verdict, m.cause = kafka.Resume, err
	}
	var leave func()
	if m.Lane.Shut() && p.lanes[m.Lane] == m {
		leave = p.leaveLocked(m)
	}
	p.mu.Unlock()
	if leave != nil {
		leave()
	}
}

// answered takes a reply. Replies come on goroutines of their own and may pass
// each other; acks must not, so they are worked off in the order of the requests.
func (p *Producer) answered(r *request, resp *kmsg.ProduceResponse, err error) {
	p.o.Produced(time.Since(r.at), err)
	p.mu.Lock()
	r.done, r.resp, r.err = true, resp, err
	var calls []func()
	for len(p.sent) > 0 && p.sent[0].done {
		calls = append(calls, p.settleLocked(p.sent[0])...)
		p.sent = slices.Delete(p.sent, 0, 1) // in its place, as a lane does
	}
	p.mu.Unlock()
	for _, c := range calls {
		c()
	}
	p.poke()
}

// settleLocked gives each lane in r its result and returns what to call without
// the lock.
func (p *Producer) settleLocked(r *request) (calls []func()) {
	results := make([]result, len(r.parts))
	for i := range results {
		results[i] = result{verdict: kafka.Rehome, cause: r.err}
		if r.err == nil {
			results[i] = result{verdict: kafka.Resume, cause: errors.New("the target's answer leaves out the partition")}
		}
	}
	if r.resp != nil {
		read(r, results)
	}
	for i, m := range r.parts {
		if p.resultLocked(m, results[i]) {
			calls = append(calls, p.leaveLocked(m))
			continue
		}
		p.queueLocked(m)
	}
	return calls
}

// resultLocked applies res to the oldest batch of m's lane; true if the lane
// leaves, settled.
func (p *Producer) resultLocked(m *member, res result) (leaves bool) {
	if res.verdict == kafka.Keep {
		settled, lost := m.Lane.Ack(res.base, time.Now().UnixMilli())
		if lost != nil && m.cause == nil {
			m.verdict, m.cause = kafka.Stop, lost
		}
		return settled
	}
	if m.cause == nil {
		m.verdict, m.cause = res.verdict, res.cause
	}
	return m.Lane.Fail()
}

// result is what the broker said about one batch.
type result struct {
	verdict kafka.Verdict
	base    offsets.Target
	cause   error
}

// sinceZstd is the version of produce requests from which on brokers know zstd.
const sinceZstd = 7

// read sorts the partitions of the answer to the batches they are about.
func read(r *request, results []result) {
	for i := range r.resp.Topics {
		t := &r.resp.Topics[i]
		for j := range t.Partitions {
			rp := &t.Partitions[j]
			at, ok := r.index[part{topic: t.Topic, n: rp.Partition}]
			if t.Topic == "" { // version 13 on
				at, ok = r.index[part{id: t.TopicID, n: rp.Partition}]
			}
			if !ok {
				continue
			}
			v, why := kafka.ProduceVerdict(rp.ErrorCode)
			res := result{verdict: v, base: offsets.Target(rp.BaseOffset)}
			if rp.ErrorCode != 0 {
				res.base, res.cause = offsets.UnknownTarget, fmt.Errorf("%w: %s", kerr.ErrorForCode(rp.ErrorCode), why)
				if rp.ErrorCode == kerr.UnknownServerError.Code && r.resp.Version < sinceZstd {
					res.cause = fmt.Errorf("%w; so a broker answers to a batch that is compressed with zstd, which needs Kafka 2.1: "+
						"upgrade it, or have the source's producers use another codec", res.cause)
				}
			}
			if rp.ErrorMessage != nil && res.cause != nil {
				res.cause = fmt.Errorf("%w (%s)", res.cause, *rp.ErrorMessage)
			}
			if v == kafka.Refuse && len(rp.ErrorRecords) > 0 {
				res.cause = named(res.cause, rp.ErrorRecords)
			}
			results[at] = res
		}
	}
}

// RefusedError is a refusal that names records of the batch.
type RefusedError struct {
	Err     error
	Records []int32 // their places in the batch, ascending, at least one
}

func (e *RefusedError) Error() string { return e.Err.Error() }
func (e *RefusedError) Unwrap() error { return e.Err }

func named(cause error, records []kmsg.ProduceResponseTopicPartitionErrorRecord) error {
	e := &RefusedError{Err: cause}
	for _, r := range records {
		e.Records = append(e.Records, r.RelativeOffset)
	}
	slices.Sort(e.Records)
	e.Records = slices.Compact(e.Records)
	return e
}
