package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"golang.org/x/sync/errgroup"

	"github.com/kferry/kferry/replicator/batch"
)

// overhead is about what a record takes beside its value: key, lengths and deltas.
const overhead = 26

func (w *workload) options(addr string) ([]kgo.Opt, error) {
	codec, err := kgoCodec(w.codec)
	limit := 1 << 20 // what a topic takes
	if w.batch > 0 {
		// One more record does not fit. The least that kgo accepts is 512.
		limit = max(batch.HeaderSize+(2*w.batch+1)*(w.size+overhead)/2, 512)
	}
	opts := []kgo.Opt{
		freshMetadata, kgo.SeedBrokers(addr), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerBatchCompression(codec),
		kgo.ProducerBatchMaxBytes(int32(limit)), kgo.ProducerLinger(50 * time.Millisecond), kgo.MaxBufferedRecords(w.ahead()),
	}
	if w.batch == 1 {
		opts = append(opts, kgo.ProducerLinger(0))
	}
	if w.transactional {
		opts = append(opts, kgo.TransactionalID("bench-"+w.name))
	}
	return opts, err
}

// ahead is how many records wait at most: enough to fill the batches of all partitions, and some 200 MB.
func (w *workload) ahead() int {
	return min(max(200e6/(w.size+overhead), 50), max(20_000, 200*w.partitions))
}

// load creates the topic and fills it. It produces with two clients, because each compresses on one core only.
func (w *workload) load(ctx context.Context, source *broker) error {
	var configs map[string]string
	if w.compacted {
		configs = compacting
	}
	if err := source.create(ctx, w.topic(), w.partitions, configs); err != nil {
		return err
	}
	opts, err := w.options(source.addr())
	if err != nil {
		return err
	}
	loaders := int64(2)
	if w.transactional {
		loaders = 1
	}
	g, gctx := errgroup.WithContext(ctx)
	for n := range loaders {
		g.Go(func() error { return w.produce(gctx, opts, n, loaders) })
	}
	if err := g.Wait(); err != nil || !w.compacted {
		return err
	}
	return w.compact(ctx, source)
}

// partition is where record i goes.
func (w *workload) partition(i int64) int32 {
	n := int64(w.partitions)
	if hot := max(n/20, 1); w.hot && i%10 != 0 {
		return int32(i % hot)
	} else if w.hot {
		return int32(i / 10 % n)
	}
	return int32(i % n)
}

// key of record i.
func (w *workload) key(i int64) []byte {
	if w.compacted {
		// In strides, for every tenth key must not be of one partition.
		i %= max(w.count/10/int64(w.partitions), 1) * int64(w.partitions)
	}
	return fmt.Appendf(nil, "order-%09d", i)
}

// produce writes the records of each partition p with p % step == first, in order.
func (w *workload) produce(ctx context.Context, opts []kgo.Opt, first, step int64) error {
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
	const transaction = 100 // records of each partition
	g := generator{rng: rand.New(rand.NewPCG(uint64(first), 1))}
	for i := range w.count {
		p := w.partition(i)
		if int64(p)%step != first {
			continue
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if w.transactional && i%int64(transaction*w.partitions) == 0 {
			if err := commit(ctx, cl, i > 0); err != nil {
				return err
			}
		}
		r := &kgo.Record{Topic: w.topic(), Partition: p, Key: w.key(i), Value: g.value(w.size, i)}
		if w.age > 0 {
			r.Timestamp = time.Now().Add(-w.age)
		}
		cl.Produce(ctx, r, promise)
	}
	if err := cl.Flush(ctx); err != nil {
		return err
	}
	if w.transactional {
		return errors.Join(cl.EndTransaction(ctx, kgo.TryCommit), context.Cause(ctx))
	}
	return context.Cause(ctx)
}

// commit ends a transaction, if there is one, and begins the next.
func commit(ctx context.Context, cl *kgo.Client, open bool) error {
	if open {
		if err := errors.Join(cl.Flush(ctx), cl.EndTransaction(ctx, kgo.TryCommit)); err != nil {
			return err
		}
	}
	return cl.BeginTransaction()
}

// segmentBytes is little: what is in the last segment of a partition is never compacted.
const segmentBytes = 2 << 20

// compacting has the broker compact a topic as soon as it can; settled has it never do so again.
var (
	compacting = map[string]string{"cleanup.policy": "compact", "min.cleanable.dirty.ratio": "0.01", "segment.bytes": fmt.Sprint(segmentBytes), "max.compaction.lag.ms": "1000"}
	settled    = map[string]string{"min.compaction.lag.ms": "86400000000", "max.compaction.lag.ms": "9223372036854775807"}
)

// compact waits until the broker has removed what it will, and has it leave the rest alone.
func (w *workload) compact(ctx context.Context, source *broker) error {
	const quiet = 5 * time.Second // the broker looks for work every second
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	full, err := source.stored(ctx, w.topic())
	if err != nil {
		return err
	}
	last, since := full, time.Now()
	for last == full && full > int64(3*segmentBytes*w.partitions) || time.Since(since) < quiet {
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s is not compacted: %w", w.topic(), ctx.Err())
		case <-time.After(time.Second):
		}
		now, err := source.stored(ctx, w.topic())
		if err != nil {
			return err
		}
		if now != last {
			last, since = now, time.Now()
		}
	}
	return source.configure(ctx, w.topic(), settled)
}
