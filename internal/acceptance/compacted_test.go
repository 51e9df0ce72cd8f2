package acceptance

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/kferry/kferry/internal/ferrytest"
	"github.com/kferry/kferry/internal/kafkatest"
)

// A compacted topic loses records while it is carried, and what was carried last before a kill can then not be counted:
// some records may be on the target twice. What must hold is what compaction promises: the last value of every key, and
// per key no going back but where kferry was killed.
func TestCompacted(t *testing.T) {
	const partitions, kills = 2, 3
	p, rng := newPair(t, kafkatest.V4), ferrytest.Random(t)
	topic := p.topic("states")
	p.source.CreateTopic(t, topic, partitions, map[string]string{
		"cleanup.policy": "compact", "segment.ms": "200", "min.cleanable.dirty.ratio": "0.01", "min.compaction.lag.ms": "0",
	})
	// A target that is cleaned as eagerly would hide what came twice.
	p.target.CreateTopic(t, topic, partitions, map[string]string{"cleanup.policy": "compact", "min.compaction.lag.ms": "3600000"})
	w := newChanges(p, topic, partitions)
	for range size(50, 500) {
		w.write(t.Context())
	}
	w.untilCleaned(p)
	changes := w.goOn(p)
	for range kills {
		f := p.run(p.settings())
		f.Carries()
		time.Sleep(time.Duration(rng.Int64N(int64(1500 * time.Millisecond))))
		f.Kill()
	}
	f := p.run(p.settings())
	f.Carries()
	t.Logf("%d changes in all", changes.Stop(t))
	var want, got map[string]int64
	ferrytest.Eventually(t, ferrytest.Patience, "the last value of each key on the target", func() (bool, string) {
		want, _ = lastValues(t, p.source, topic)
		got, _ = lastValues(t, p.target, topic)
		return maps.Equal(want, got), fmt.Sprintf("%d keys on the source, %d on the target", len(want), len(got))
	})
	again := f.Metric("kferry_possible_duplicates_total")
	f.Stop()
	_, back := lastValues(t, p.target, topic)
	t.Logf("%d keys agree; %v steps back by partition after %d kills; the last kferry may have sent %.0f records twice", len(want), back, kills, again)
	for n, steps := range back {
		if steps > kills {
			t.Errorf("partition %d goes back %d times, after %d kills", n, steps, kills)
		}
	}
}

// changes writes new values of keys. A value begins with its number, which counts up in each partition.
type changes struct {
	topic string
	cl    *kgo.Client
	next  []int64 // number of the next change, by partition
	err   error   // of the last write
}

func newChanges(p *pair, topic string, partitions int, opts ...kgo.Opt) *changes {
	cl := p.source.Client(p.t, kafkatest.AdminUser, append([]kgo.Opt{kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.ProducerBatchCompression(kgo.ZstdCompression())}, opts...)...)
	return &changes{topic: topic, cl: cl, next: make([]int64, partitions)}
}

// write writes a few hundred changes to each partition: most to keys that change often, so that most of a batch goes
// when it is cleaned; some to keys of their own, which stay.
func (c *changes) write(ctx context.Context) {
	const often, many = 50, 200
	var rs []*kgo.Record
	for p := range c.next {
		for range many {
			n := c.next[p]
			c.next[p]++
			key := fmt.Sprint("often-", rand.IntN(often))
			if n%25 == 0 {
				key = fmt.Sprint("once-", n)
			}
			value := strconv.FormatInt(n, 10) + " " + strings.Repeat("x", 100)
			rs = append(rs, &kgo.Record{Topic: c.topic, Partition: int32(p), Key: []byte(key), Value: []byte(value)})
		}
	}
	c.err = c.cl.ProduceSync(ctx, rs...).FirstErr()
}

// untilCleaned writes until the cleaner has taken part of the topic.
func (c *changes) untilCleaned(p *pair) {
	p.t.Helper()
	records, offsets := 0, int64(0)
	ferrytest.Eventually(p.t, ferrytest.Patience, "gaps in the source", func() (bool, string) {
		c.write(p.t.Context()) // only a segment that is closed can be cleaned, and only a write closes it
		records, offsets = 0, offsetsHeld(p.t, p.source, c.topic)
		readAll(p.t, p.source, c.topic, func(*kgo.Record) { records++ })
		return int64(records) < offsets*9/10, fmt.Sprintf("%d records in %d offsets", records, offsets)
	})
	p.t.Logf("the cleaner has left %d records in %d offsets", records, offsets)
}

// goOn writes beside the test.
func (c *changes) goOn(p *pair) *ferrytest.Live {
	return ferrytest.InBackground(p.t, func(ctx context.Context) (int64, error) {
		for tick := time.NewTicker(50 * time.Millisecond); ctx.Err() == nil && c.err == nil; <-tick.C {
			c.write(context.WithoutCancel(ctx))
		}
		return c.written(), c.err
	})
}

func (c *changes) written() (n int64) {
	for _, k := range c.next {
		n += k
	}
	return n
}

// lastValues reads a topic: the number of the last change of each key of each partition, and how often the numbers of a
// partition go back.
func lastValues(t testing.TB, c *kafkatest.Cluster, topic string) (last map[string]int64, back map[int32]int) {
	t.Helper()
	last, back = map[string]int64{}, map[int32]int{}
	before := map[int32]int64{}
	readAll(t, c, topic, func(r *kgo.Record) {
		number, _, _ := strings.Cut(string(r.Value), " ")
		n, err := strconv.ParseInt(number, 10, 64)
		if err != nil {
			t.Fatalf("%s: %v", topic, err)
		}
		if n <= before[r.Partition] && before[r.Partition] > 0 {
			back[r.Partition]++
		}
		before[r.Partition] = n
		last[fmt.Sprint(r.Partition, "/", string(r.Key))] = n
	})
	return last, back
}
