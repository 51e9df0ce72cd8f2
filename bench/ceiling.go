package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os/exec"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kferry/kferry/config"
	"github.com/kferry/kferry/internal/kafka"
	"github.com/kferry/kferry/replicator/batch"
)

// ceilingCommand makes this binary be the process of contestant ceiling.
const ceilingCommand = "ceiling"

// ceiling is what the target takes at most: the source's batches, fetched beforehand, produced from memory as they are. It is
// no program that one could use, so its CPU and memory are not reported.
type ceiling struct{}

func (ceiling) Name() string { return "ceiling" }

func (ceiling) Prepare(context.Context, string) error { return nil }

// Takes: batches with gaps would be refused, and what is written meanwhile is not there beforehand.
func (ceiling) Takes(w *workload) bool { return !w.compacted && w.feed == 0 && w.links == nil }

// Holds: it says ready when it has fetched all, and begins when its input ends.
func (ceiling) Holds() bool { return true }

func (ceiling) Commands(ctx context.Context, j Job) ([]*exec.Cmd, error) {
	return itself(ctx, ceilingCommand, j)
}

func runCeiling(ctx context.Context, args []string, in io.Reader, out io.Writer) error {
	fs := flag.NewFlagSet(ceilingCommand, flag.ContinueOnError)
	source, target := fs.String("source", "", "address"), fs.String("target", "", "address")
	topic, to := fs.String("topic", "", "name"), fs.String("target-topic", "", "name")
	if err := fs.Parse(args); err != nil {
		return err
	}
	src, err := open(*source)
	if err != nil {
		return err
	}
	defer src.Close()
	parts, err := fetchAll(ctx, src, *topic)
	if err != nil {
		return err
	}
	dst, err := open(*target)
	if err != nil {
		return err
	}
	defer dst.Close()
	p, err := newPusher(ctx, dst, *to, parts)
	if err != nil {
		return err
	}
	if _, err := fmt.Fprintln(out, "ready"); err != nil {
		return err
	}
	_, _ = bufio.NewReader(in).ReadByte() // until it ends
	if err := p.run(ctx); err != nil {
		return err
	}
	<-ctx.Done()
	return nil
}

// open is a cluster with two links, as kferry has beside a broker.
func open(addr string) (*kafka.Cluster, error) {
	return kafka.Open(config.Cluster{Alias: "bench", BootstrapServers: []string{addr}, ClientID: "bench", Connections: 2}, kafka.Options{})
}

// place is a topic with the one broker that has it.
type place struct {
	name   string
	id     [16]byte
	broker int32
	parts  int
}

func find(ctx context.Context, c *kafka.Cluster, topic string) (place, error) {
	meta, err := c.Admin().Metadata(ctx, topic)
	if err != nil {
		return place{}, err
	}
	t := meta.Topics[topic]
	if t.Err != nil || len(t.Partitions) == 0 {
		return place{}, fmt.Errorf("topic %s: %w", topic, errors.Join(t.Err, errors.New("no partitions")))
	}
	return place{topic, t.ID, t.Partitions[0].Leader, len(t.Partitions)}, nil
}

// fetchAll returns the data batches of each partition, ready to be produced.
func fetchAll(ctx context.Context, c *kafka.Cluster, topic string) ([][]batch.View, error) {
	at, err := find(ctx, c, topic)
	if err != nil {
		return nil, err
	}
	ends, err := c.Admin().ListEndOffsets(ctx, topic)
	if err != nil {
		return nil, err
	}
	out := make([][]batch.View, at.parts)
	for p := range at.parts {
		for next := int64(0); next < ends[topic][int32(p)].Offset; {
			records, err := fetchOnce(ctx, c, at, int32(p), next)
			if err != nil {
				return nil, err
			}
			for {
				v, rest, err := batch.Next(records)
				if errors.Is(err, batch.ErrShort) {
					break
				}
				if err != nil {
					return nil, err
				}
				next, records = v.LastOffset()+1, rest
				if !v.Control() && v.Count() > 0 {
					v = slices.Clone(v)
					v.Stamp(-1, -1, -1)
					out[p] = append(out[p], v)
				}
			}
		}
	}
	return out, nil
}

func fetchOnce(ctx context.Context, c *kafka.Cluster, at place, partition int32, offset int64) ([]byte, error) {
	req := kmsg.NewPtrFetchRequest()
	req.MaxBytes, req.MinBytes, req.MaxWaitMillis = 32<<20, 1, 1000
	t := kmsg.NewFetchRequestTopic()
	t.Topic, t.TopicID = at.name, at.id
	p := kmsg.NewFetchRequestTopicPartition()
	p.Partition, p.FetchOffset, p.PartitionMaxBytes = partition, offset, 16<<20
	t.Partitions = append(t.Partitions, p)
	req.Topics = append(req.Topics, t)
	resp, err := c.Links()[0].Fetch(ctx, at.broker, req)
	if err != nil {
		return nil, err
	}
	for _, t := range resp.Topics {
		for _, p := range t.Partitions {
			return p.RecordBatches, kerr.ErrorForCode(p.ErrorCode)
		}
	}
	return nil, fmt.Errorf("topic %s, partition %d: not in the broker's answer", at.name, partition)
}

// pusher produces batches, as many at a time as kferry does.
type pusher struct {
	c    *kafka.Cluster
	to   place
	left [][]batch.View // by partition
}

func newPusher(ctx context.Context, c *kafka.Cluster, topic string, parts [][]batch.View) (*pusher, error) {
	to, err := find(ctx, c, topic)
	if err == nil && to.parts != len(parts) {
		err = fmt.Errorf("topic %s has %d partitions, want %d", topic, to.parts, len(parts))
	}
	return &pusher{c: c, to: to, left: parts}, err
}

// run sends all. Each link has the partitions that are its own, so their order holds.
func (p *pusher) run(ctx context.Context) error {
	failed := make(chan error, len(p.c.Links()))
	for n, l := range p.c.Links() {
		go func() { failed <- p.push(ctx, l, n) }()
	}
	var err error
	for range p.c.Links() {
		err = errors.Join(err, <-failed)
	}
	return err
}

func (p *pusher) push(ctx context.Context, l *kafka.Link, n int) error {
	const flights = 5
	answers := make(chan error, flights)
	out, at := 0, n
	var err error
	for err == nil {
		req := p.next(n, &at)
		if req == nil {
			break
		}
		if out == flights {
			err, out = <-answers, out-1
		}
		out++
		l.Produce(context.WithoutCancel(ctx), p.to.broker, req, nil, func(r *kmsg.ProduceResponse, err error) { answers <- answered(r, err) })
	}
	for range out {
		err = errors.Join(err, <-answers)
	}
	return err
}

// next is a request with a batch of each partition that has one, from at on, of about 2 MB; nil: all is sent.
func (p *pusher) next(link int, at *int) *kmsg.ProduceRequest {
	const most = 2 << 20
	t := kmsg.NewProduceRequestTopic()
	t.Topic, t.TopicID = p.to.name, p.to.id
	step, size := len(p.c.Links()), 0
	for range (len(p.left) + step - 1) / step {
		n := *at
		if *at += step; *at >= len(p.left) {
			*at = link
		}
		if n >= len(p.left) || len(p.left[n]) == 0 {
			continue
		}
		rp := kmsg.NewProduceRequestTopicPartition()
		rp.Partition, rp.Records = int32(n), p.left[n][0]
		p.left[n] = p.left[n][1:]
		t.Partitions = append(t.Partitions, rp)
		if size += len(rp.Records); size >= most {
			break
		}
	}
	if size == 0 {
		return nil
	}
	req := kmsg.NewPtrProduceRequest()
	req.TimeoutMillis = int32(time.Minute.Milliseconds())
	req.Topics = append(req.Topics, t)
	return req
}

func answered(r *kmsg.ProduceResponse, err error) error {
	if err != nil {
		return err
	}
	for _, t := range r.Topics {
		for _, p := range t.Partitions {
			if err := kerr.ErrorForCode(p.ErrorCode); err != nil {
				return fmt.Errorf("partition %d: %w", p.Partition, err)
			}
		}
	}
	return nil
}
