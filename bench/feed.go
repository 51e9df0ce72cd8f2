package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kferry/kferry/internal/kafka"
	"github.com/kferry/kferry/replicator/batch"
)

// feedCommand makes this binary be what writes to the source while a run goes on.
const feedCommand = "feed"

// feeding is a process that writes to a topic while a run goes on. It sends batches that were made beforehand, many partitions
// at a time: a producer that makes, batches and compresses each record takes as much of the cores as a contestant does, and
// with thousands of partitions did not reach its rate.
type feeding struct {
	cmd     *exec.Cmd
	in      io.Closer // it writes until this is closed
	out     bytes.Buffer
	stopped bool
}

// fed is what it has written, as it says itself.
type fed struct {
	Records int64   `json:"records"` // acknowledged
	Seconds float64 `json:"seconds"` // until it was told to stop
}

// batchOf is how many records a batch of the feed has: what comes for a partition in a second, within bounds.
func (w *workload) batchOf() int { return min(max(w.feed/w.partitions, 1), 50) }

// feedTo begins to write w.feed records a second.
func (w *workload) feedTo(ctx context.Context, addr string) (*feeding, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	f := &feeding{cmd: exec.CommandContext(ctx, self, feedCommand, "-source", addr, "-topic", w.topic(), "-rate", fmt.Sprint(w.feed),
		"-batch", fmt.Sprint(w.batchOf()), "-size", fmt.Sprint(w.size), "-codec", w.codec)}
	f.cmd.Stdout, f.cmd.Stderr, f.cmd.SysProcAttr = &f.out, os.Stderr, childAttr()
	if f.in, err = f.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	return f, f.cmd.Start()
}

// stop returns when all that was written is acked, and the records that were written a second; more calls do nothing. It may
// be called on nil.
func (f *feeding) stop() (rate float64, err error) {
	if f == nil || f.stopped {
		return 0, nil
	}
	f.stopped = true
	if err := errors.Join(f.in.Close(), f.cmd.Wait()); err != nil {
		return 0, fmt.Errorf("writing meanwhile: %w", err)
	}
	var got fed
	if err := json.Unmarshal(f.out.Bytes(), &got); err != nil {
		return 0, fmt.Errorf("writing meanwhile: %q: %w", f.out.Bytes(), err)
	}
	return float64(got.Records) / got.Seconds, nil
}

func runFeed(ctx context.Context, args []string, in io.Reader, out io.Writer) error {
	fs := flag.NewFlagSet(feedCommand, flag.ContinueOnError)
	source, topic := fs.String("source", "", "address"), fs.String("topic", "", "name")
	rate, records := fs.Int("rate", 0, "records a second"), fs.Int("batch", 1, "records in a batch")
	size, codec := fs.Int("size", leastOrder, "bytes of a value"), fs.String("codec", "none", "of the batches")
	if err := fs.Parse(args); err != nil {
		return err
	}
	c, err := open(*source)
	if err != nil {
		return err
	}
	defer c.Close()
	to, err := find(ctx, c, *topic)
	if err != nil {
		return err
	}
	f := &feed{to: to, perSecond: float64(*rate) / float64(*records)}
	if f.codec, f.made, err = readyMade(*codec, *records, *size); err != nil {
		return err
	}
	f.records = int32(*records)
	ctx, cancel := context.WithCancel(ctx)
	go func() {
		_, _ = io.Copy(io.Discard, in) // until it is closed
		cancel()
	}()
	got, err := f.run(ctx, c)
	return errors.Join(err, json.NewEncoder(out).Encode(got))
}

// readyMade are the records of some batches, compressed.
func readyMade(codec string, records, size int) (c batch.Codec, made [][]byte, err error) {
	kgoOne, err := kgoCodec(codec)
	if err != nil {
		return 0, nil, err
	}
	press, err := kgo.DefaultCompressor(kgoOne)
	if err != nil {
		return 0, nil, err
	}
	g := generator{rng: rand.New(rand.NewPCG(7, 7))}
	for id := range int64(64) {
		var raw []byte
		for i := range records {
			r := kmsg.Record{OffsetDelta: int32(i), Key: fmt.Appendf(nil, "order-%09d", id), Value: g.value(size, id)}
			r.Length = int32(len(r.AppendTo(nil)) - 1) // less its own byte, that of a 0
			raw = r.AppendTo(raw)
		}
		var b bytes.Buffer
		packed, how := raw, kgo.CodecNone
		if press != nil {
			packed, how = press.Compress(&b, raw)
		}
		made, c = append(made, bytes.Clone(packed)), batch.Codec(how)
	}
	return c, made, nil
}

// feed writes ready-made batches at a steady rate.
type feed struct {
	to        place
	codec     batch.Codec
	made      [][]byte
	records   int32 // in each
	perSecond float64
}

// run writes until ctx ends, and returns when all is answered. Each link has the partitions that are its own.
func (f *feed) run(ctx context.Context, c *kafka.Cluster) (fed, error) {
	type result struct {
		batches int64
		err     error
	}
	links := c.Links()
	done := make(chan result, len(links))
	begin := time.Now()
	for n, l := range links {
		go func() {
			batches, err := f.link(ctx, l, n, len(links))
			done <- result{batches, err}
		}()
	}
	<-ctx.Done()
	got := fed{Seconds: time.Since(begin).Seconds()}
	var err error
	for range links {
		r := <-done
		got.Records += r.batches * int64(f.records)
		err = errors.Join(err, r.err)
	}
	return got, err
}

// link writes to the partitions of link n, which follow each other in turns, and returns how many batches are stored.
func (f *feed) link(ctx context.Context, l *kafka.Link, n, links int) (stored int64, err error) {
	const (
		flights   = 5
		perSecond = 20 // requests
	)
	own := (f.to.parts - n + links - 1) / links
	rate := f.perSecond * float64(own) / float64(f.to.parts)
	some := min(max(int(rate/perSecond), 1), own) // batches in a request, each of another partition
	answers := make(chan receipt, flights)
	take := func() {
		r := <-answers
		stored, err = stored+r.stored, errors.Join(err, r.err)
	}
	out, at := 0, 0
	begin, due := time.Now(), 0
	for own > 0 && err == nil && ctx.Err() == nil {
		wait := time.Duration(float64(due)/rate*float64(time.Second)) - time.Since(begin)
		if wait < -time.Second { // what was missed is not made up for: it would come all at once
			begin = begin.Add(-wait)
		}
		if wait > 0 && pause(ctx, wait) != nil {
			break
		}
		if out == flights {
			take()
			out--
		}
		out++
		l.Produce(context.WithoutCancel(ctx), f.to.broker, f.request(n, links, own, some, &at), nil, func(r *kmsg.ProduceResponse, err error) { answers <- receiptOf(r, err) })
		due += some
	}
	for range out {
		take()
	}
	return stored, err
}

// receipt tells what became of a request.
type receipt struct {
	stored int64 // batches
	err    error // that time does not mend
}

// receiptOf: a broker that has more to do than it can may not answer, or lose its leadership for a while. What is not stored
// then was not written: the source is read back after the run.
func receiptOf(resp *kmsg.ProduceResponse, err error) (r receipt) {
	if err != nil {
		return r
	}
	for _, t := range resp.Topics {
		for _, p := range t.Partitions {
			switch err := kerr.ErrorForCode(p.ErrorCode); {
			case err == nil:
				r.stored++
			case !kerr.IsRetriable(err):
				r.err = fmt.Errorf("partition %d: %w", p.Partition, err)
			}
		}
	}
	return r
}

// request has a batch of now for each of some partitions, from the at-th of the link on.
func (f *feed) request(n, links, own, some int, at *int) *kmsg.ProduceRequest {
	t := kmsg.NewProduceRequestTopic()
	t.Topic, t.TopicID = f.to.name, f.to.id
	now := time.Now().UnixMilli()
	for range some {
		made := f.made[*at%len(f.made)]
		v := append(make(batch.View, batch.HeaderSize, batch.HeaderSize+len(made)), made...)
		v.Init(batch.Header{Codec: f.codec, Count: f.records, FirstTimestamp: now, MaxTimestamp: now})
		p := kmsg.NewProduceRequestTopicPartition()
		p.Partition, p.Records = int32(n+*at%own*links), v
		t.Partitions = append(t.Partitions, p)
		*at++
	}
	req := kmsg.NewPtrProduceRequest()
	req.TimeoutMillis = int32(time.Minute.Milliseconds())
	req.Topics = append(req.Topics, t)
	return req
}
