package datagen

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"

	"github.com/kferry/kferry/internal/kafka"
)

// txnTimeout is how long, in milliseconds, the coordinator leaves a transaction open that nobody ends.
const txnTimeout = 60_000

// txnWriter writes in transactions: what a rawWriter writes, between what the coordinator must be told. kgo's own producer
// cannot be used, because it may close a batch early: what drains it goes on for a moment behind a flush.
type txnWriter struct {
	raw         *rawWriter
	coordinator *kgo.Client
	records     int // in a transaction
	abortRatio  float64
	rng         *rand.Rand

	joined map[int32]bool // partitions of the open transaction
	added  int            // its records
	st     Stats          // of those that ended
}

func newTxnWriter(ctx context.Context, c *kafka.Cluster, topic topicInfo, o Options) (*txnWriter, error) {
	// From version 5 on the end of a transaction changes the producer's epoch, and partitions join by themselves; older
	// brokers know neither. These versions do the same on all.
	versions := kversion.Stable()
	versions.SetMaxKeyVersion(int16(kmsg.AddPartitionsToTxn), 3)
	versions.SetMaxKeyVersion(int16(kmsg.EndTxn), 4)
	cl, err := c.NewClient(kgo.MaxVersions(versions))
	if err != nil {
		return nil, err
	}
	// Two runs at the same time must not fence each other, so the id is of this run alone.
	id := "kferry-datagen-" + strconv.FormatUint(rand.Uint64(), 36)
	raw, err := newRawWriter(ctx, c, topic, o, &id)
	if err != nil {
		cl.Close()
		return nil, err
	}
	return &txnWriter{
		raw: raw, coordinator: cl, records: o.TxnRecords, abortRatio: o.AbortRatio,
		rng: rand.New(rand.NewPCG(o.Seed, 0xab0)), joined: map[int32]bool{},
	}, nil
}

func (w *txnWriter) stats() Stats { return w.st }

func (w *txnWriter) close() {
	w.raw.close()
	w.coordinator.Close()
}

func (w *txnWriter) add(ctx context.Context, partition int32, r Record, now int64) error {
	if !w.joined[partition] {
		if err := w.join(ctx, partition); err != nil {
			return err
		}
		w.joined[partition] = true
	}
	w.added++
	if err := w.raw.add(ctx, partition, r, now); err != nil {
		return err
	}
	if w.added == w.records {
		return w.end(ctx)
	}
	return nil
}

func (w *txnWriter) flush(ctx context.Context, all bool) error {
	if !all {
		return w.raw.flush(ctx, false)
	}
	if len(w.joined) == 0 {
		return nil
	}
	return w.end(ctx)
}

// end commits or aborts the open transaction.
func (w *txnWriter) end(ctx context.Context) error {
	if err := w.raw.flush(ctx, true); err != nil {
		return err
	}
	abort := w.rng.Float64() < w.abortRatio
	err := w.ask(ctx, "end a transaction", func(ctx context.Context) error {
		req := kmsg.NewPtrEndTxnRequest()
		req.TransactionalID, req.ProducerID, req.ProducerEpoch = *w.raw.txn, w.raw.who.id, w.raw.who.epoch
		req.Commit = !abort
		resp, err := req.RequestWith(ctx, w.coordinator)
		if err != nil {
			return err
		}
		return kerr.ErrorForCode(resp.ErrorCode)
	})
	if err != nil {
		return err
	}
	acked := w.raw.stats()
	if n := acked.Records - w.st.Records - w.st.Aborted; abort {
		w.st.Aborted += n
	} else {
		w.st.Records += n
	}
	w.st.Batches, w.st.Bytes = acked.Batches, acked.Bytes
	clear(w.joined)
	w.added = 0
	return nil
}

// join makes a partition part of the open transaction, or of a new one.
func (w *txnWriter) join(ctx context.Context, partition int32) error {
	return w.ask(ctx, "begin a transaction", func(ctx context.Context) error {
		req := kmsg.NewPtrAddPartitionsToTxnRequest()
		req.TransactionalID, req.ProducerID, req.ProducerEpoch = *w.raw.txn, w.raw.who.id, w.raw.who.epoch
		t := kmsg.NewAddPartitionsToTxnRequestTopic()
		t.Topic, t.Partitions = w.raw.topic.name, []int32{partition}
		req.Topics = append(req.Topics, t)
		resp, err := req.RequestWith(ctx, w.coordinator)
		switch {
		case err != nil:
			return err
		case len(resp.Topics) != 1 || len(resp.Topics[0].Partitions) != 1:
			return fmt.Errorf("%s: the broker's answer leaves out partition %d", w.raw.topic.name, partition)
		}
		return kerr.ErrorForCode(resp.Topics[0].Partitions[0].ErrorCode)
	})
}

// ask calls request until it is more than "not yet", which a coordinator says while it still writes the marks of the last
// transaction. An end of ctx does not reach it: nobody would know what became of the transaction.
func (w *txnWriter) ask(ctx context.Context, what string, request func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), resendFor)
	defer cancel()
	for {
		err := request(ctx)
		if err == nil {
			return nil
		}
		if !errors.Is(err, kerr.ConcurrentTransactions) && !kerr.IsRetriable(err) || ctx.Err() != nil {
			return fmt.Errorf("%s: %w", what, kafka.Explain(w.raw.c.Alias(), err))
		}
		sleep(ctx, resendFirst)
	}
}
