package datagen

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kferry/kferry/internal/kafka"
)

const (
	maxBatchRecords = 1000      // of a batch whose size nobody set
	maxBatchBytes   = 512 << 10 // of its records before compression; below the usual max.message.bytes of 1 MiB
	maxRequest      = 8 << 20   // bytes of batches in a request; one batch goes whatever its size
	maxQueued       = 8 << 20   // bytes of built batches that wait; above it, add blocks
	depth           = 5         // requests in flight per connection: what a broker remembers of an idempotent producer
	produceTimeout  = 10_000    // milliseconds that the broker waits for its replicas
	resendFor       = time.Minute
	resendFirst     = 10 * time.Millisecond // pause before the first try again; it doubles
	resendLast      = time.Second           // up to this
)

// rawWriter builds batches and sends them as an idempotent producer, one batch per partition in a request, as the protocol
// wants it. One goroutine owns all of it; answers come back over a channel.
type rawWriter struct {
	c     *kafka.Cluster
	topic topicInfo
	who   producer
	txn   *string        // the transactional id; nil = no transactions
	batch int            // records in a batch; 0 = by size
	z     kgo.Compressor // nil = none
	zbuf  bytes.Buffer

	parts   []part
	next    int           // partition where the next request begins, so that all get their turn
	queued  int           // built batches that wait
	qbytes  int           // and their bytes
	flights map[route]int // requests in flight
	answers chan answer
	gone    chan struct{} // closed when nobody reads answers any more
	failed  error         // why some batch in flight was not acked; nil = all is well
	st      Stats
}

// route is one connection: a link and a broker.
type route struct {
	link   int
	broker int32
}

// part is one partition.
type part struct {
	builder
	bytes  int64   // of keys and values in builder
	seq    int32   // of the next batch; counts records, wraps to 0 after MaxInt32
	queue  []*made // built, not sent, oldest first
	flight []*made // sent, not acked, oldest first
	known  bool    // the broker has acked a batch. Invariant: !known => len(flight) <= 1, for any sequence is welcome then
}

// made is a built batch. It is sent again byte for byte, for the broker knows a duplicate by its sequence numbers.
type made struct {
	p       []byte
	records int32
	bytes   int64 // of keys and values
}

// answer is what became of a request. Answers of one connection may arrive here in any order.
type answer struct {
	to   route
	sent map[int32]*made // by partition
	resp *kmsg.ProduceResponse
	err  error
}

func newRawWriter(ctx context.Context, c *kafka.Cluster, topic topicInfo, o Options, txn *string) (*rawWriter, error) {
	codec, err := o.Codec.kgo()
	if err != nil {
		return nil, err
	}
	z, err := kgo.DefaultCompressor(codec)
	if err != nil {
		return nil, err
	}
	req := kmsg.NewPtrInitProducerIDRequest()
	req.ProducerID, req.ProducerEpoch = -1, -1
	req.TransactionalID, req.TransactionTimeoutMillis = txn, txnTimeout
	resp, err := req.RequestWith(ctx, c.Client())
	if err == nil {
		err = kerr.ErrorForCode(resp.ErrorCode)
	}
	if err != nil {
		return nil, fmt.Errorf("get a producer id: %w", kafka.Explain(c.Alias(), err))
	}
	return &rawWriter{
		c: c, topic: topic, txn: txn, batch: o.Batch, z: z,
		who:     producer{resp.ProducerID, resp.ProducerEpoch, txn != nil},
		parts:   make([]part, len(topic.leaders)),
		flights: map[route]int{},
		answers: make(chan answer),
		gone:    make(chan struct{}),
	}, nil
}

func (w *rawWriter) stats() Stats { return w.st }

func (w *rawWriter) close() { close(w.gone) }

func (w *rawWriter) add(ctx context.Context, partition int32, r Record, now int64) error {
	p := &w.parts[partition]
	p.add(r, now)
	p.bytes += int64(len(r.Key) + len(r.Value))
	full := p.count >= maxBatchRecords || len(p.records) >= maxBatchBytes
	if w.batch > 0 {
		full = int(p.count) == w.batch
	}
	if !full {
		return nil
	}
	if err := w.build(p); err != nil {
		return err
	}
	// Most partitions must have a batch waiting for a request to be well filled: keys fall unevenly.
	for w.queued >= 4*len(w.parts) || w.qbytes >= maxQueued {
		if err := w.step(ctx); err != nil {
			return err
		}
	}
	return nil
}

// build closes the batch of p and queues it.
func (w *rawWriter) build(p *part) error {
	m := &made{records: p.count, bytes: p.bytes}
	var err error
	if m.p, err = p.close(w.who, p.seq, w.z, &w.zbuf); err != nil {
		return err
	}
	p.bytes = 0
	p.seq = (p.seq + m.records) & 0x7fffffff
	p.queue = append(p.queue, m)
	w.queued++
	w.qbytes += len(m.p)
	return nil
}

func (w *rawWriter) flush(ctx context.Context, all bool) error {
	for i := range w.parts {
		if p := &w.parts[i]; p.count > 0 && (all || w.batch == 0) {
			if err := w.build(p); err != nil {
				return err
			}
		}
	}
	for w.queued > 0 || all && w.inFlight() > 0 {
		if err := w.step(ctx); err != nil {
			return err
		}
	}
	// Without a wait here, a slow run would learn of its acks only with its next records.
	return w.poll(ctx)
}

func (w *rawWriter) inFlight() int {
	n := 0
	for _, k := range w.flights {
		n += k
	}
	return n
}

// step sends one request on each free connection, or else waits for one answer.
func (w *rawWriter) step(ctx context.Context) error {
	sent := false
	for link := range w.c.Links() {
		for _, broker := range w.brokers() {
			sent = w.send(ctx, route{link, broker}) || sent
		}
	}
	if sent {
		return w.poll(ctx)
	}
	if w.inFlight() == 0 {
		panic("datagen: batches wait but nothing can be sent and nothing is in flight")
	}
	select {
	case a := <-w.answers:
		return w.take(ctx, a)
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// poll takes the answers that are there.
func (w *rawWriter) poll(ctx context.Context) error {
	for {
		select {
		case a := <-w.answers:
			if err := w.take(ctx, a); err != nil {
				return err
			}
		default:
			return nil
		}
	}
}

// brokers lists the leaders of the topic, each once.
func (w *rawWriter) brokers() []int32 {
	var out []int32
	for _, b := range w.topic.leaders {
		if !slices.Contains(out, b) {
			out = append(out, b)
		}
	}
	return out
}

// route of a partition: pinned to a link, for order holds within one connection only.
func (w *rawWriter) route(partition int) route {
	return route{partition % len(w.c.Links()), w.topic.leaders[partition]}
}

// send packs the oldest waiting batch of each partition of r into a request. It reports whether there was any.
func (w *rawWriter) send(ctx context.Context, r route) bool {
	if w.flights[r] >= depth {
		return false
	}
	picked := map[int32]*made{}
	size := 0
	for i := range w.parts {
		n := (w.next + i) % len(w.parts)
		p := &w.parts[n]
		if len(p.queue) == 0 || w.route(n) != r || !p.known && len(p.flight) > 0 {
			continue
		}
		if size > 0 && size+len(p.queue[0].p) > maxRequest {
			w.next = n
			break
		}
		m := p.queue[0]
		p.queue, p.flight = p.queue[1:], append(p.flight, m)
		size += len(m.p)
		w.queued--
		w.qbytes -= len(m.p)
		picked[int32(n)] = m
	}
	if len(picked) == 0 {
		return false
	}
	w.produce(ctx, r, picked)
	return true
}

// produce sends a request. A cancelled one would break the connection for those behind it, so ctx does not reach it.
func (w *rawWriter) produce(ctx context.Context, r route, batches map[int32]*made) {
	req := kmsg.NewPtrProduceRequest()
	req.TransactionID, req.TimeoutMillis = w.txn, produceTimeout
	t := kmsg.NewProduceRequestTopic()
	t.Topic, t.TopicID = w.topic.name, w.topic.id
	for n, m := range batches {
		p := kmsg.NewProduceRequestTopicPartition()
		p.Partition, p.Records = n, m.p
		t.Partitions = append(t.Partitions, p)
	}
	req.Topics = append(req.Topics, t)
	w.flights[r]++
	w.c.Links()[r.link].Produce(context.WithoutCancel(ctx), r.broker, req, nil, func(resp *kmsg.ProduceResponse, err error) {
		select {
		case w.answers <- answer{r, batches, resp, err}:
		case <-w.gone:
		}
	})
}

// take books an answer. When a batch was not acked it waits for all others and then sends what is left again.
func (w *rawWriter) take(ctx context.Context, a answer) error {
	w.book(a)
	if w.failed == nil {
		return nil
	}
	if err := w.drain(ctx); err != nil {
		return err
	}
	return w.resend(ctx)
}

func (w *rawWriter) drain(ctx context.Context) error {
	for w.inFlight() > 0 {
		select {
		case a := <-w.answers:
			w.book(a)
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}

// errGiveUp marks what sending again cannot heal.
var errGiveUp = errors.New("the broker will not take it")

// book counts the acked batches of an answer and puts the reason for the others into failed.
func (w *rawWriter) book(a answer) {
	w.flights[a.to]--
	if a.err != nil {
		w.failed = kafka.Explain(w.c.Alias(), a.err)
		return
	}
	left := len(a.sent)
	for _, t := range a.resp.Topics {
		for _, p := range t.Partitions {
			if m := a.sent[p.Partition]; m != nil {
				left--
				w.bookBatch(&w.parts[p.Partition], m, p)
			}
		}
	}
	if left > 0 && w.failed == nil {
		w.failed = fmt.Errorf("%s: the broker's answer leaves out %d partitions", w.topic.name, left)
	}
}

func (w *rawWriter) bookBatch(p *part, m *made, got kmsg.ProduceResponseTopicPartition) {
	at := slices.Index(p.flight, m)
	if at < 0 {
		return // acked by an earlier answer
	}
	verdict, why := kafka.ProduceVerdict(got.ErrorCode)
	if verdict == kafka.Keep {
		p.flight = slices.Delete(p.flight, at, at+1)
		p.known = true
		w.st.Records += int64(m.records)
		w.st.Bytes += m.bytes
		w.st.Batches++
		return
	}
	err := fmt.Errorf("%s partition %d: %w (%s)", w.topic.name, got.Partition, kerr.ErrorForCode(got.ErrorCode), why)
	// Behind a batch that failed all others are out of order. That is a consequence, and no reason of its own.
	if verdict == kafka.Refuse || verdict == kafka.Stop || verdict == kafka.Resume && at == 0 {
		err = fmt.Errorf("%w: %w", errGiveUp, err)
	}
	if !errors.Is(w.failed, errGiveUp) {
		w.failed = err
	}
}

// resend sends the batches in flight again, to whoever leads now, one at a time per partition, until all are acked.
func (w *rawWriter) resend(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, resendFor)
	defer cancel()
	for pause := resendFirst; ; {
		if errors.Is(w.failed, errGiveUp) {
			return w.failed
		}
		if w.failed != nil {
			sleep(ctx, pause)
			pause = min(2*pause, resendLast)
			if t, err := describe(ctx, w.c, w.topic.name); err == nil && len(t.leaders) >= len(w.parts) {
				t.leaders = t.leaders[:len(w.parts)] // partitions that came later stay empty
				w.topic = t
			}
		}
		if ctx.Err() != nil {
			return fmt.Errorf("gave up after %v of trying again: %w", resendFor, w.failed)
		}
		w.failed = nil
		byRoute := map[route]map[int32]*made{}
		for i := range w.parts {
			if len(w.parts[i].flight) == 0 {
				continue
			}
			r := w.route(i)
			if byRoute[r] == nil {
				byRoute[r] = map[int32]*made{}
			}
			byRoute[r][int32(i)] = w.parts[i].flight[0]
		}
		if len(byRoute) == 0 {
			return nil
		}
		for r, batches := range byRoute {
			w.produce(ctx, r, batches)
		}
		if err := w.drain(ctx); err != nil {
			return fmt.Errorf("no answer in %v: %w", resendFor, err)
		}
	}
}
