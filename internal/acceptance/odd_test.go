package acceptance

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/kferry/kferry/internal/check"
	"github.com/kferry/kferry/internal/datagen"
	"github.com/kferry/kferry/internal/ferrytest"
	"github.com/kferry/kferry/internal/kafkatest"
)

// Three producers write transactions to the same partitions, and abort three of ten; another writes without. kferry is
// killed twice meanwhile. The target gets what was committed, and nothing of what was not, not even hidden.
func TestTransactions(t *testing.T) {
	p, rng := newPair(t, kafkatest.V4), ferrytest.Random(t)
	topic, records := p.topic("orders"), size(8_000, 100_000)
	p.source.CreateTopic(t, topic, 3, nil)
	total := make([]datagen.Stats, 4)
	write := func(i int, o datagen.Options) func() {
		return func() {
			o.Topic, o.Records, o.Seed, o.Codec = topic, records, uint64(i), datagen.LZ4
			var err error
			if total[i], err = p.written(t.Context(), o); err != nil {
				t.Error(err)
			}
		}
	}
	kills := func() {
		for range 2 {
			f := p.run(p.settings())
			f.Carries()
			time.Sleep(time.Duration(rng.Int64N(int64(time.Second))))
			f.Kill()
		}
	}
	together(
		write(0, datagen.Options{Transactional: true, AbortRatio: 0.3, TxnRecords: 60}),
		write(1, datagen.Options{Transactional: true, AbortRatio: 0.3, TxnRecords: 90}),
		write(2, datagen.Options{Transactional: true, AbortRatio: 0.3, TxnRecords: 150}),
		write(3, datagen.Options{Rate: 2_000}),
		kills,
	)
	var committed, aborted int64
	for _, st := range total {
		committed, aborted = committed+st.Records, aborted+st.Aborted
	}
	switches := turns(t, p, topic)
	t.Logf("%d records committed, %d aborted; the writer changes %d times in the log", committed, aborted, switches)
	if aborted < records/2 || switches < 50 {
		t.Fatalf("%d records aborted, %d changes of the writer: not the load that was asked for", aborted, switches)
	}

	f := p.run(p.settings())
	p.arrived(f, topic, committed)
	f.Stop()
	// Reading the target uncommitted would show aborted records as extra ones, so both views must agree.
	p.same(check.Options{Topic: topic, IsolationReadCommitted: true})
	if n := offsetsHeld(t, p.target, topic); n != committed {
		t.Errorf("the target holds %d offsets for %d committed records", n, committed)
	}
}

// turns counts how often the producer changes from one record to the next in a source partition, aborted ones included.
func turns(t *testing.T, p *pair, topic string) (n int) {
	t.Helper()
	last := map[int32]int64{}
	readAll(t, p.source, topic, func(r *kgo.Record) {
		if before, ok := last[r.Partition]; ok && before != r.ProducerID {
			n++
		}
		last[r.Partition] = r.ProducerID
	})
	return n
}

// A topic whose brokers set the timestamps: the target has those, as if the producers had set them.
func TestLogAppendTime(t *testing.T) {
	p := newPair(t, kafkatest.V4)
	var topics []string
	for _, c := range codecs {
		topic := p.topic(string(c.codec))
		topics = append(topics, topic)
		p.source.CreateTopic(t, topic, 3, map[string]string{"message.timestamp.type": "LogAppendTime"})
		p.generate(t.Context(), datagen.Options{Topic: topic, Records: size(10_000, 100_000), Codec: c.codec})
	}
	f := p.run(p.settings())
	for _, topic := range topics {
		p.arrived(f, topic, size(10_000, 100_000))
	}
	t.Logf("%.0f batches were built anew", f.Metric("kferry_batches_total", `path="recoded"`))
	f.Stop()
	for _, topic := range topics {
		p.same(check.Options{Topic: topic})
		readAll(t, p.source, topic, func(r *kgo.Record) {
			if r.Attrs.TimestampType() != 1 {
				t.Fatalf("the source has a record with timestamp type %d", r.Attrs.TimestampType())
			}
		})
	}
}

// Batches of one record each, the hardest load: kferry joins them.
func TestOneRecordBatches(t *testing.T) {
	p := newPair(t, kafkatest.V4)
	plain, packed := p.topic("plain"), p.topic("packed")
	amounts := map[string]int64{plain: size(40_000, 300_000), packed: size(10_000, 100_000)}
	for topic, codec := range map[string]datagen.Codec{plain: datagen.None, packed: datagen.Zstd} {
		p.source.CreateTopic(t, topic, 6, nil)
		p.generate(t.Context(), datagen.Options{Topic: topic, Records: amounts[topic], Batch: 1, Codec: codec})
	}
	f := p.run(p.settings())
	p.arrived(f, plain, amounts[plain])
	p.arrived(f, packed, amounts[packed])
	t.Logf("%d records in %v, start of the process included", amounts[plain]+amounts[packed], time.Since(f.Began).Round(time.Millisecond))
	for _, path := range []string{"whole", "merged", "recoded"} {
		n := f.Metric("kferry_batches_total", fmt.Sprintf("path=%q", path))
		t.Logf("%.0f batches %s", n, path)
		if path == "merged" && n == 0 {
			t.Error("no batches were joined")
		}
	}
	f.Stop()
	p.same(check.Options{Topic: plain})
	p.same(check.Options{Topic: packed})
}

// readAll calls each with every record that a topic holds now, in order within a partition, aborted ones included.
func readAll(t testing.TB, c *kafkatest.Cluster, topic string, each func(*kgo.Record), opts ...kgo.Opt) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), ferrytest.Patience)
	defer cancel()
	ends, err := c.Admin(t).ListEndOffsets(ctx, topic)
	if err != nil || ends.Error() != nil {
		t.Fatal(err, ends.Error())
	}
	left, from := map[int32]int64{}, map[int32]kgo.Offset{}
	for n, end := range ends[topic] {
		if end.Offset > 0 {
			left[n], from[n] = end.Offset, kgo.NewOffset().AtStart()
		}
	}
	cl, err := c.NewClient(kafkatest.AdminUser, append(opts, kgo.KeepControlRecords(), // one may be the last record
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: from}))...)
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	for len(left) > 0 {
		fetches := cl.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			t.Fatalf("reading %s: %v", topic, err)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			if r.Offset < left[r.Partition] && !r.Attrs.IsControl() {
				each(r)
			}
			if r.Offset+1 >= left[r.Partition] {
				delete(left, r.Partition)
			}
		})
	}
}

// offsetsHeld is how many offsets the partitions of a topic have between start and end.
func offsetsHeld(t testing.TB, c *kafkatest.Cluster, topic string) (n int64) {
	t.Helper()
	starts, err := c.Admin(t).ListStartOffsets(t.Context(), topic)
	if err != nil {
		t.Fatal(err)
	}
	ends, err := c.Admin(t).ListEndOffsets(t.Context(), topic)
	if err != nil {
		t.Fatal(err)
	}
	for p, end := range ends[topic] {
		n += end.Offset - starts[topic][p].Offset
	}
	return n
}
