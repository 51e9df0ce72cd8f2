package acceptance

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/kferry/kferry/internal/ferrytest"
	"github.com/kferry/kferry/internal/kafkatest"
)

// mixture is all that producers write to one topic: batches of 1 to 300 records with each codec, in turn; null, empty and other
// keys, values and headers; transactions, one in three aborted. No two records are alike.
type mixture struct {
	topic      string
	partitions int32
	old        bool // as a log in the format of Kafka 0.10 takes it: no zstd, no headers, no transactions
}

// mixer writes a mixture.
type mixer struct {
	mixture
	rng     *rand.Rand
	plain   []*kgo.Client // one for each codec
	inTurns *kgo.Client   // writes transactions
	made    int64
}

// mix writes a mixture to the source beside the test; what is counted is what is committed.
func (p *pair) mix(m mixture, rng *rand.Rand) *ferrytest.Live {
	p.t.Helper()
	w := &mixer{mixture: m, rng: rand.New(rand.NewPCG(rng.Uint64(), 0))}
	client := func(opts ...kgo.Opt) *kgo.Client {
		return p.source.Client(p.t, kafkatest.AdminUser,
			append(opts, kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.DefaultProduceTopic(m.topic))...)
	}
	kinds := []kgo.CompressionCodec{kgo.NoCompression(), kgo.GzipCompression(), kgo.SnappyCompression(), kgo.Lz4Compression()}
	var opts []kgo.Opt
	if m.old {
		opts = append(opts, kgo.DisableIdempotentWrite())
	} else {
		kinds = append(kinds, kgo.ZstdCompression())
		w.inTurns = client(kgo.TransactionalID(m.topic), kgo.ProducerBatchCompression(kgo.Lz4Compression()))
	}
	for _, codec := range kinds {
		w.plain = append(w.plain, client(append(opts, kgo.ProducerBatchCompression(codec))...))
	}
	return ferrytest.InBackground(p.t, w.run)
}

func (w *mixer) run(ctx context.Context) (n int64, err error) {
	const pace, plenty = 20 * time.Millisecond, 30_000 // the slower the machine, the longer it is written to
	for tick := time.NewTicker(pace); ctx.Err() == nil && err == nil; <-tick.C {
		if n > plenty {
			tick.Reset(10 * pace)
		}
		var more int64
		more, err = w.step(context.WithoutCancel(ctx))
		n += more
	}
	return n, err
}

// step writes a batch or a transaction and tells how many of its records are committed.
func (w *mixer) step(ctx context.Context) (int64, error) {
	if w.inTurns == nil || w.rng.IntN(5) > 0 {
		batch := w.batch()
		return int64(len(batch)), w.plain[w.rng.IntN(len(w.plain))].ProduceSync(ctx, batch...).FirstErr()
	}
	if err := w.inTurns.BeginTransaction(); err != nil {
		return 0, err
	}
	var n int64
	var err error
	for range 1 + w.rng.IntN(3) {
		batch := w.batch()
		n += int64(len(batch))
		err = errors.Join(err, w.inTurns.ProduceSync(ctx, batch...).FirstErr())
	}
	commit := kgo.TransactionEndTry(w.rng.IntN(3) > 0)
	if !commit {
		n = 0
	}
	return n, errors.Join(err, w.inTurns.EndTransaction(ctx, commit))
}

// batch makes the records of one batch; every other one is small.
func (w *mixer) batch() []*kgo.Record {
	most := []int{10, 300}[w.rng.IntN(2)]
	partition := w.rng.Int32N(w.partitions)
	rs := make([]*kgo.Record, 1+w.rng.IntN(most))
	for i := range rs {
		rs[i] = w.record()
		rs[i].Partition = partition
	}
	return rs
}

func (w *mixer) record() *kgo.Record {
	w.made++
	r := &kgo.Record{
		Key:   fmt.Appendf(nil, "Grüße 🍕 %d", w.made),
		Value: append(fmt.Appendf(nil, "%d ", w.made), bytes.Repeat([]byte("pizza "), w.rng.IntN(60))...),
	}
	switch w.made % 7 {
	case 1:
		r.Key = nil
	case 2:
		r.Key = []byte{}
	case 3:
		r.Value = nil
	case 4:
		r.Value = []byte{}
	case 5:
		if !w.old {
			r.Headers = []kgo.RecordHeader{{Key: "a", Value: []byte{0, 0xff}}, {Key: "b"}, {Key: "a", Value: []byte{}}, {Key: ""}}
		}
	}
	return r
}
