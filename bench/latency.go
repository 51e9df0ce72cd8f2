package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// Latency is how long records took from their producer to a consumer of the target, in one run.
type Latency struct {
	Contestant string     `json:"contestant"`
	Rate       int        `json:"rate"` // records a second that were asked for
	Number     int        `json:"number"`
	Records    int        `json:"records"` // that were measured
	Quantiles  [4]float64 `json:"quantiles_ms"`
	Behind     int64      `json:"behind"` // records that were still on their way when the measurement ended
}

// quantiles are the columns of Latency.Quantiles.
var quantiles = [...]struct {
	name  string
	share float64
}{{"p50 ms", 0.5}, {"p99 ms", 0.99}, {"p99.9 ms", 0.999}, {"max ms", 1}}

// direct is the name of a run without contestant: the consumer reads the source. It is the least that is possible.
const direct = "source itself"

const (
	latencyTopic = "ticks"
	latencySize  = 100 // bytes of a value
	// settle is how long the records flow before they are measured, as a share of the window.
	settle = 0.2
	// warmRate is the rate of a first run, which does not count.
	warmRate = 20_000
	// drain is how long the last records may take.
	drain = 2 * time.Minute
)

// latency measures each rate, the contestants in turns.
func (h *harness) latency(ctx context.Context, cs []Contestant, r *Results) error {
	var errs []error
	if h.o.warm > 0 && len(cs) > 0 {
		if _, err := h.latencyOf(ctx, cs[0], warmRate, 0); err != nil {
			return fmt.Errorf("latency, warming up: %w", err)
		}
	}
	all := append([]Contestant{nil}, cs...)
	for text := range strings.SplitSeq(h.o.rates, ",") {
		rate, err := strconv.Atoi(text)
		if err != nil || rate < 1 {
			return fmt.Errorf("-rates: %q is no rate", text)
		}
		for n := 1; n <= h.o.runs; n++ {
			for _, c := range inTurn(all, n) {
				l, err := h.latencyOf(ctx, c, rate, n)
				if err != nil {
					errs = append(errs, fmt.Errorf("latency at %d a second, %s, run %d: %w", rate, l.Contestant, n, err))
					r.Failures = append(r.Failures, errs[len(errs)-1].Error())
					continue
				}
				fmt.Println(l)
				r.Latencies = append(r.Latencies, l)
			}
		}
	}
	return errors.Join(errs...)
}

func (l Latency) String() string {
	s := fmt.Sprintf("latency at %d records/s, %s run %d: %d records", l.Rate, l.Contestant, l.Number, l.Records)
	for i, q := range quantiles {
		s += fmt.Sprintf(", %s %.2f", q.name, l.Quantiles[i])
	}
	return s + fmt.Sprintf(", %d behind", l.Behind)
}

// latencyOf is one run; c is nil for none.
func (h *harness) latencyOf(ctx context.Context, c Contestant, rate, n int) (out Latency, err error) {
	ctx, cancel := context.WithTimeout(ctx, h.o.runTimeout)
	defer cancel()
	out = Latency{Contestant: direct, Rate: rate, Number: n}
	if c != nil {
		out.Contestant = c.Name()
	}
	j, err := h.job(fmt.Sprintf("latency-%s-%d-%d", strings.ReplaceAll(out.Contestant, " ", "-"), rate, n), latencyTopic, "none", link{})
	if err != nil {
		return out, err
	}
	j.Topic = j.Name + "-" + latencyTopic // so that it is swept
	j.TargetTopic = j.Name + "." + j.Topic
	defer func() { err = errors.Join(err, h.sweep(context.WithoutCancel(ctx), j.Name)) }()
	err = errors.Join(h.source.create(ctx, j.Topic, h.o.partitions, nil), h.target.create(ctx, j.TargetTopic, h.o.partitions, nil))
	if err != nil {
		return out, err
	}
	addr, topic := j.Target, j.TargetTopic
	if c == nil {
		addr, topic = j.Source, j.Topic
	} else {
		run, err := launch(ctx, c, j)
		if err != nil {
			return out, err
		}
		defer func() {
			if e := run.stop(); e != nil {
				err = errors.Join(err, fmt.Errorf("%w; the end of its log:\n%s", e, lastLines(run.log.Name())))
			}
		}()
	}
	return out, h.ticks(ctx, j, addr, topic, &out)
}

// ticks has records flow, and measures.
func (h *harness) ticks(ctx context.Context, j Job, addr, topic string, out *Latency) error {
	k, err := startClock(ctx, addr, topic, h.o.partitions)
	if err != nil {
		return err
	}
	defer k.stop()
	p, err := newTicker(j.Source, j.Topic, h.o.partitions)
	if err != nil {
		return err
	}
	defer p.cl.Close()
	const few = 10 // a second, until the first is through
	if err := p.run(ctx, few, func() bool { return k.count() > 0 }); err != nil {
		return err
	}
	window := h.o.window
	for _, phase := range []time.Duration{time.Duration(settle * float64(window)), window} {
		k.measure(phase == window)
		end := time.Now().Add(phase)
		if err := p.run(ctx, out.Rate, func() bool { return time.Now().After(end) }); err != nil {
			return err
		}
	}
	out.Behind = p.sent - k.count()
	ctx, cancel := context.WithTimeout(ctx, drain)
	defer cancel()
	if err := k.wait(ctx, p.sent); err != nil {
		return err
	}
	samples := k.samples()
	out.Records = len(samples)
	for i, q := range quantiles {
		out.Quantiles[i] = samples[min(int(q.share*float64(len(samples))), len(samples)-1)].Seconds() * 1000
	}
	return nil
}

// ticker produces records that tell when they were made, and their number within their partition.
type ticker struct {
	cl     *kgo.Client
	topic  string
	parts  int
	sent   int64
	mu     sync.Mutex
	failed error
}

func newTicker(addr, topic string, parts int) (*ticker, error) {
	cl, err := kgo.NewClient(kgo.SeedBrokers(addr), kgo.RecordPartitioner(kgo.ManualPartitioner()), freshMetadata,
		kgo.ProducerLinger(0), kgo.ProducerBatchCompression(kgo.NoCompression()), kgo.MaxBufferedRecords(200_000))
	return &ticker{cl: cl, topic: topic, parts: parts}, err
}

// run produces rate records a second until done says so.
func (p *ticker) run(ctx context.Context, rate int, done func() bool) error {
	t := time.NewTicker(time.Millisecond)
	defer t.Stop()
	begin := time.Now()
	for n := int64(0); !done(); {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-t.C:
		}
		for ; n < int64(time.Since(begin).Seconds()*float64(rate)); n++ {
			p.one(ctx)
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.failed
}

func (p *ticker) one(ctx context.Context) {
	v := make([]byte, 0, latencySize)
	now := time.Now()
	v = binary.BigEndian.AppendUint64(v, uint64(now.UnixNano()))
	v = binary.BigEndian.AppendUint64(v, uint64(p.sent/int64(p.parts)))
	r := &kgo.Record{Topic: p.topic, Partition: int32(p.sent % int64(p.parts)), Value: v[:latencySize], Timestamp: now}
	p.sent++
	p.cl.Produce(ctx, r, func(_ *kgo.Record, err error) {
		if err != nil {
			p.mu.Lock()
			p.failed = err
			p.mu.Unlock()
		}
	})
}

// clock consumes those records.
type clock struct {
	cl      *kgo.Client
	stopped chan struct{}

	mu     sync.Mutex
	next   []uint64 // number that is due, by partition
	seen   int64
	on     bool
	since  time.Time // records made before do not count
	took   []time.Duration
	failed error
}

func startClock(ctx context.Context, addr, topic string, parts int) (*clock, error) {
	from := map[int32]kgo.Offset{}
	for p := range parts {
		from[int32(p)] = kgo.NewOffset().AtStart()
	}
	cl, err := kgo.NewClient(kgo.SeedBrokers(addr), kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: from}), freshMetadata)
	if err != nil {
		return nil, err
	}
	k := &clock{cl: cl, stopped: make(chan struct{}), next: make([]uint64, parts)}
	go func() {
		defer close(k.stopped)
		for {
			fetches := cl.PollFetches(ctx)
			if fetches.IsClientClosed() || ctx.Err() != nil {
				return
			}
			k.take(fetches, time.Now())
		}
	}()
	return k, nil
}

func (k *clock) take(fetches kgo.Fetches, now time.Time) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.failed = errors.Join(k.failed, fetches.Err())
	fetches.EachRecord(func(r *kgo.Record) {
		made := time.Unix(0, int64(binary.BigEndian.Uint64(r.Value)))
		if n := binary.BigEndian.Uint64(r.Value[8:]); n != k.next[r.Partition] && k.failed == nil {
			k.failed = fmt.Errorf("partition %d: record %d came when %d was due", r.Partition, n, k.next[r.Partition])
		}
		k.next[r.Partition]++
		k.seen++
		if k.on && !made.Before(k.since) {
			k.took = append(k.took, now.Sub(made))
		}
	})
}

func (k *clock) count() int64 {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.seen
}

func (k *clock) measure(on bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.on, k.since = on, time.Now()
}

// wait returns when all records are there, each once and in order.
func (k *clock) wait(ctx context.Context, all int64) error {
	t := time.NewTicker(tick)
	defer t.Stop()
	for {
		k.mu.Lock()
		seen, err := k.seen, k.failed
		k.mu.Unlock()
		if err != nil || seen == all {
			return err
		}
		if seen > all {
			return fmt.Errorf("%d records came, only %d were made", seen, all)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%d of %d records came: %w", seen, all, ctx.Err())
		case <-t.C:
		}
	}
}

// samples are sorted.
func (k *clock) samples() []time.Duration {
	k.mu.Lock()
	defer k.mu.Unlock()
	slices.Sort(k.took)
	return k.took
}

func (k *clock) stop() {
	k.cl.Close()
	<-k.stopped
}

// latencyTable has a row for each rate and contestant.
func (r Results) latencyTable() table {
	t := table{title: "from the producer to a consumer of the target; min / median / max of the runs", rows: [][]string{{"records/s", "contestant", "runs"}}}
	for _, q := range quantiles {
		t.rows[0] = append(t.rows[0], q.name)
	}
	t.rows[0] = append(t.rows[0], "behind at the end")
	type key struct {
		rate int
		name string
	}
	for _, v := range grouped(r.Latencies, func(l Latency) key { return key{l.Rate, l.Contestant} }) {
		row := []string{fmt.Sprint(v[0].Rate), v[0].Contestant, fmt.Sprint(len(v))}
		for i := range quantiles {
			row = append(row, spreadOf(each(v, func(l Latency) float64 { return l.Quantiles[i] })).cell("%.1f"))
		}
		t.rows = append(t.rows, append(row, spreadOf(each(v, func(l Latency) float64 { return float64(l.Behind) })).cell("%.0f")))
	}
	return t
}
