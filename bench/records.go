package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"golang.org/x/sync/errgroup"
)

// records is a workload of JSON orders, spread evenly over the partitions.
type records struct {
	name, codec string
	count       int64
	partitions  int
	size        int  // bytes of a value
	single      bool // each batch holds one record; else as many as a producer puts into 1 MB
}

// newZstd has big compressed batches, as a busy topic with a well-tuned producer has.
func newZstd(o options) Workload {
	return &records{name: "zstd", codec: "zstd", count: o.records, partitions: o.partitions, size: o.size}
}

// newOne has one record in each batch, as producers without linger make them.
func newOne(o options) Workload {
	return &records{name: "one", codec: "none", count: o.records * 3 / 20, partitions: o.partitions, size: o.size, single: true}
}

func (r *records) Name() string   { return r.name }
func (r *records) Topic() string  { return "orders-" + r.name }
func (r *records) Codec() string  { return r.codec }
func (r *records) Records() int64 { return r.count }

func (r *records) Describe() string {
	batches := "big batches"
	if r.single {
		batches = "batches of one record"
	}
	return fmt.Sprintf("values of %d bytes, %d partitions, codec %s, %s", r.size, r.partitions, r.codec, batches)
}

func (r *records) options(addr string) ([]kgo.Opt, error) {
	codec, err := kgoCodec(r.codec)
	opts := []kgo.Opt{
		kgo.SeedBrokers(addr), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerBatchCompression(codec),
		kgo.ProducerLinger(50 * time.Millisecond), kgo.MaxBufferedRecords(20_000),
	}
	if r.single {
		// A second record does not fit: key, headers and overhead are less than the half of a value. The least that kgo
		// accepts is 512.
		opts = append(opts, kgo.ProducerBatchMaxBytes(int32(r.size+r.size/2)), kgo.ProducerLinger(0))
	}
	return opts, err
}

// Load produces with two clients, because each compresses on one core only.
func (r *records) Load(ctx context.Context, source *broker) error {
	if err := source.create(ctx, r.Topic(), r.partitions); err != nil {
		return err
	}
	opts, err := r.options(source.addr())
	if err != nil {
		return err
	}
	const loaders = 2
	g, ctx := errgroup.WithContext(ctx)
	for n := range loaders {
		g.Go(func() error { return r.load(ctx, opts, int64(n), loaders) })
	}
	return g.Wait()
}

// load produces the records of each partition p with p % step == first, in order.
func (r *records) load(ctx context.Context, opts []kgo.Opt, first, step int64) error {
	cl, err := kgo.NewClient(opts...)
	if err != nil {
		return err
	}
	defer cl.Close()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	promise := func(_ *kgo.Record, err error) {
		if err != nil {
			cancel(err)
		}
	}
	g := generator{rng: rand.New(rand.NewPCG(uint64(first), 1))}
	for i := range r.count {
		p := i % int64(r.partitions)
		if p%step != first {
			continue
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		cl.Produce(ctx, &kgo.Record{
			Topic: r.Topic(), Partition: int32(p), Key: fmt.Appendf(nil, "order-%09d", i), Value: g.order(r.size, i),
		}, promise)
	}
	if err := cl.Flush(ctx); err != nil {
		return err
	}
	return context.Cause(ctx)
}
