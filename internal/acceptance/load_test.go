package acceptance

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/kferry/kferry/internal/check"
	"github.com/kferry/kferry/internal/datagen"
	"github.com/kferry/kferry/internal/ferrytest"
	"github.com/kferry/kferry/internal/kafka"
	"github.com/kferry/kferry/internal/kafkatest"
)

// generate writes records to the source, as its administrator, and returns what it wrote.
func (p *pair) generate(ctx context.Context, o datagen.Options) datagen.Stats {
	p.t.Helper()
	st, err := p.written(ctx, o)
	if err != nil {
		p.t.Fatal(err)
	}
	return st
}

func (p *pair) written(ctx context.Context, o datagen.Options) (datagen.Stats, error) {
	cl, err := kafka.Open(p.source.Config("source", kafkatest.AdminUser), kafka.Options{})
	if err != nil {
		return datagen.Stats{}, err
	}
	defer cl.Close()
	return datagen.Run(ctx, cl, o)
}

// keepWriting writes to the source beside the test.
func (p *pair) keepWriting(o datagen.Options) *ferrytest.Live {
	o.Finish = ferrytest.Patience // what is written must be counted
	return ferrytest.InBackground(p.t, func(ctx context.Context) (int64, error) {
		st, err := p.written(ctx, o)
		return st.Records, err
	})
}

// foreignMark is the header of records that somebody else writes to a target topic.
const foreignMark = "foreign-writer"

func foreign(r *kgo.Record) bool {
	for _, h := range r.Headers {
		if h.Key == foreignMark {
			return true
		}
	}
	return false
}

// intrude writes to a topic of the target beside the test, as somebody who is not kferry: a few records at a time, to
// any of the partitions.
func (p *pair) intrude(topic string, partitions int32) *ferrytest.Live {
	p.t.Helper()
	cl := p.target.Client(p.t, kafkatest.AdminUser, kgo.RecordPartitioner(kgo.ManualPartitioner()))
	return ferrytest.InBackground(p.t, func(ctx context.Context) (n int64, err error) {
		for tick := time.NewTicker(5 * time.Millisecond); ; n++ {
			select {
			case <-ctx.Done():
				return n, nil
			case <-tick.C:
			}
			r := &kgo.Record{
				Topic: topic, Partition: rand.Int32N(partitions), Value: []byte("not kferry's"),
				Headers: []kgo.RecordHeader{{Key: foreignMark}},
			}
			if err := cl.ProduceSync(context.WithoutCancel(ctx), r).FirstErr(); err != nil {
				return n, err
			}
		}
	})
}

// arrived waits until a topic of the target holds so many records. f must live as long.
func (p *pair) arrived(f *ferrytest.Ferry, topic string, records int64) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.t.Context(), longer())
	defer cancel()
	go func() {
		select {
		case <-f.Done:
			cancel()
		case <-ctx.Done():
		}
	}()
	if _, err := check.WaitCaughtUp(ctx, p.conn(p.target), topic, check.WaitOptions{Records: records}); err != nil {
		p.t.Fatalf("kferry running: %v; %v", f.Running(), err)
	}
}

// same wants a topic of the target to hold every record of the source once, in order and unchanged, and says so.
func (p *pair) same(o check.Options) check.Report {
	p.t.Helper()
	r, err := check.Compare(p.t.Context(), p.conn(p.source), p.conn(p.target), o)
	if err != nil {
		p.t.Fatal(err)
	}
	if err := r.Err(); err != nil {
		p.t.Fatal(err)
	}
	if r.Total().Source == 0 {
		p.t.Fatalf("nothing was compared in %s", o.Topic)
	}
	p.t.Logf("%s", r)
	return r
}

// rate is n per second since begin, for messages.
func rate(n int64, begin time.Time) int64 { return int64(float64(n) / time.Since(begin).Seconds()) }

// together runs all fs at once and waits for them.
func together(fs ...func()) {
	var wg sync.WaitGroup
	for _, f := range fs {
		wg.Go(f)
	}
	wg.Wait()
}
