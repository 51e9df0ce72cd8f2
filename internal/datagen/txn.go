package datagen

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/kferry/kferry/internal/kafka"
)

// txnWriter writes in transactions, with kgo's own producer. For batches of an exact number of records it gathers
// them per partition and flushes each batch by itself; that costs a round trip per batch.
type txnWriter struct {
	cl         *kgo.Client
	alias      string
	topic      string
	batch      int
	records    int // in a transaction
	abortRatio float64
	rng        *rand.Rand

	waiting [][]*kgo.Record // by partition
	open    bool            // a transaction has begun
	added   int             // records of the open transaction, waiting ones included
	in      Stats           // of the open transaction, without waiting ones
	st      Stats           // of those that ended
}

func newTxnWriter(ctx context.Context, c *kafka.Cluster, o Options) (*txnWriter, error) {
	codec, err := o.Codec.kgo()
	if err != nil {
		return nil, err
	}
	// Two runs at the same time must not fence each other, so the id is of this run alone.
	id := "kferry-datagen-" + strconv.FormatUint(rand.Uint64(), 36)
	opts := []kgo.Opt{kgo.TransactionalID(id), kgo.ProducerBatchCompression(codec), kgo.RecordPartitioner(kgo.ManualPartitioner())}
	if o.Batch > 0 {
		opts = append(opts, kgo.ManualFlushing(), kgo.MaxBufferedRecords(max(o.Batch, o.TxnRecords))) // flush alone cuts batches
	}
	cl, err := c.NewClient(opts...)
	if err != nil {
		return nil, err
	}
	w := &txnWriter{
		cl: cl, alias: c.Alias(), topic: o.Topic, batch: o.Batch, records: o.TxnRecords, abortRatio: o.AbortRatio,
		rng: rand.New(rand.NewPCG(o.Seed, 0xab0)),
	}
	if _, _, err := cl.ProducerID(ctx); err != nil {
		cl.Close()
		return nil, fmt.Errorf("get a transactional producer id: %w", kafka.Explain(c.Alias(), err))
	}
	return w, nil
}

func (w *txnWriter) stats() Stats { return w.st }

func (w *txnWriter) close() { w.cl.Close() }

func (w *txnWriter) add(ctx context.Context, partition int32, r Record, now int64) error {
	if !w.open {
		if err := w.cl.BeginTransaction(); err != nil {
			return fmt.Errorf("begin a transaction: %w", err)
		}
		w.open = true
	}
	for len(w.waiting) <= int(partition) {
		w.waiting = append(w.waiting, nil)
	}
	kr := &kgo.Record{
		Topic: w.topic, Partition: partition, Timestamp: time.UnixMilli(now),
		Key: append([]byte(nil), r.Key...), Value: append([]byte(nil), r.Value...),
	}
	for _, h := range r.Headers {
		kr.Headers = append(kr.Headers, kgo.RecordHeader{Key: h.Key, Value: append([]byte(nil), h.Value...)})
	}
	w.waiting[partition] = append(w.waiting[partition], kr)
	w.added++
	if len(w.waiting[partition]) == w.batch {
		w.put(ctx, partition)
		if err := w.cl.Flush(ctx); err != nil {
			return err
		}
	}
	if w.added == w.records {
		return w.end(ctx)
	}
	return nil
}

// put hands what waits for a partition to kgo: one batch.
func (w *txnWriter) put(ctx context.Context, partition int32) {
	for _, r := range w.waiting[partition] {
		w.in.Records++
		w.in.Bytes += int64(len(r.Key) + len(r.Value))
		// A record that fails fails the commit, which says why. The context of a record that is under way must not end.
		w.cl.Produce(context.WithoutCancel(ctx), r, nil)
	}
	w.in.Batches++
	w.waiting[partition] = w.waiting[partition][:0]
}

func (w *txnWriter) flush(ctx context.Context, all bool) error {
	if !all || !w.open {
		return nil
	}
	return w.end(ctx)
}

// end commits or aborts the open transaction.
func (w *txnWriter) end(ctx context.Context) error {
	for i := range w.waiting {
		if len(w.waiting[i]) > 0 {
			w.put(ctx, int32(i))
		}
	}
	if err := w.cl.Flush(ctx); err != nil {
		return err
	}
	abort := w.rng.Float64() < w.abortRatio
	if err := w.cl.EndTransaction(ctx, kgo.TransactionEndTry(!abort)); err != nil {
		return fmt.Errorf("end a transaction: %w", kafka.Explain(w.alias, err))
	}
	w.st.Batches += w.in.Batches
	w.st.Bytes += w.in.Bytes
	if abort {
		w.st.Aborted += w.in.Records
	} else {
		w.st.Records += w.in.Records
	}
	w.in, w.added, w.open = Stats{}, 0, false
	return nil
}
