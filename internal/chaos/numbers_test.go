package chaos

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/kferry/kferry/internal/ferrytest"
	"github.com/kferry/kferry/internal/kafkatest"
)

// place is where a record is on the source.
type place struct {
	topic     string
	partition int32
	offset    int64
}

func (p place) String() string { return fmt.Sprintf("%s/%d at %d", p.topic, p.partition, p.offset) }

// numbers writes records to the source whose values begin with their offset there, so that a copy tells what it is a
// copy of, also when the source has removed it. Nobody else may write to these topics.
type numbers struct {
	w  *world
	cl *kgo.Client

	mu   sync.Mutex         // held while a record is handed over, so that it gets its number
	next map[string][]int64 // offsets by topic and partition

	failing sync.Mutex // not mu: who holds that may wait for a promise
	err     error
}

func newNumbers(w *world, opts ...kgo.Opt) *numbers {
	opts = append([]kgo.Opt{
		kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerBatchCompression(kgo.NoCompression()),
		kgo.MaxBufferedRecords(50_000),
	}, opts...)
	return &numbers{w: w, cl: w.source.Client(w.t, kafkatest.AdminUser, opts...), next: map[string][]int64{}}
}

// topic makes a topic of the source, which is named in full then.
func (n *numbers) topic(short string, partitions int32, configs map[string]string) string {
	n.w.t.Helper()
	name := n.w.name + "." + short
	n.w.source.CreateTopic(n.w.t, name, partitions, configs)
	n.w.topics = append(n.w.topics, name)
	n.mu.Lock()
	defer n.mu.Unlock()
	n.next[name] = make([]int64, partitions)
	return name
}

// put writes r, to whose value its number is added in front, and returns where it will be.
func (n *numbers) put(ctx context.Context, r *kgo.Record) place {
	n.mu.Lock()
	defer n.mu.Unlock()
	at := place{r.Topic, r.Partition, n.next[r.Topic][r.Partition]}
	n.next[r.Topic][r.Partition]++
	r.Value = fmt.Append(nil, at.offset, " ", string(r.Value))
	n.cl.Produce(ctx, r, func(r *kgo.Record, err error) {
		if err == nil && r.Offset == at.offset {
			return
		}
		n.failing.Lock()
		defer n.failing.Unlock()
		n.err = cmp.Or(n.err, fmt.Errorf("%v was written as %d: %w", at, r.Offset, err))
	})
	return at
}

// written waits until all is, and returns where the partitions of a topic end.
func (n *numbers) written(topic string) []int64 {
	n.w.t.Helper()
	err := n.cl.Flush(n.w.t.Context())
	n.failing.Lock()
	if err = errors.Join(err, n.err); err != nil {
		n.w.t.Fatal(err)
	}
	n.failing.Unlock()
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Clone(n.next[topic])
}

// each calls write with one number after the other, so many a second, until the test has it stop.
func each(w *world, perSecond int64, write func(ctx context.Context, n int64)) *ferrytest.Live {
	return ferrytest.InBackground(w.t, func(ctx context.Context) (n int64, err error) {
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for begin := time.Now(); ; {
			select {
			case <-tick.C:
			case <-ctx.Done():
				return n, nil
			}
			for due := time.Since(begin).Milliseconds() * perSecond / 1000; n < due; n++ {
				write(context.WithoutCancel(ctx), n)
			}
		}
	})
}

// copies reads what the target has of a topic: numbers by partition, in the order of the target's offsets.
func (w *world) copies(topic string) map[int32][]int64 {
	w.t.Helper()
	out := map[int32][]int64{}
	w.read(topic, func(r *kgo.Record) {
		text, _, _ := strings.Cut(string(r.Value), " ")
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			w.t.Fatalf("%s/%d offset %d has no number: %v", topic, r.Partition, r.Offset, err)
		}
		out[r.Partition] = append(out[r.Partition], n)
	})
	return out
}

// read calls see with all records of a topic of the target.
func (w *world) read(topic string, see func(*kgo.Record)) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), patience())
	defer cancel()
	starts, err1 := w.target.admin.ListStartOffsets(ctx, topic)
	ends, err2 := w.target.admin.ListEndOffsets(ctx, topic)
	if err := errors.Join(err1, err2, starts.Error(), ends.Error()); err != nil {
		w.t.Fatal(err)
	}
	from, left := map[int32]kgo.Offset{}, map[int32]int64{}
	ends.Each(func(o kadm.ListedOffset) {
		if start, _ := starts.Lookup(topic, o.Partition); start.Offset < o.Offset {
			from[o.Partition], left[o.Partition] = kgo.NewOffset().At(start.Offset), o.Offset
		}
	})
	if len(from) == 0 {
		return
	}
	cl := w.target.Client(w.t, kafkatest.AdminUser, kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: from}))
	defer cl.Close()
	for len(left) > 0 {
		fs := cl.PollFetches(ctx)
		if ctx.Err() != nil {
			w.t.Fatalf("%s is not read to its end: %v left; %v", topic, left, fs.Err())
		}
		fs.EachRecord(func(r *kgo.Record) {
			if r.Offset < ends[topic][r.Partition].Offset {
				see(r)
			}
			if r.Offset+1 >= left[r.Partition] {
				delete(left, r.Partition)
			}
		})
	}
}

// judged compares numbers of the target with those that it should have, all below ends, and tells of each partition
// what is twice or out of order, and which are missing.
func (w *world) judged(topic string, ends []int64) (missing []place) {
	w.t.Helper()
	w.compared = true
	all := w.copies(topic)
	for _, p := range slices.Sorted(maps.Keys(all)) {
		seen, last := map[int64]bool{}, int64(-1)
		var twice, disorder []int64
		for _, n := range all[p] {
			switch {
			case seen[n]:
				twice = append(twice, n)
			case n < last:
				disorder = append(disorder, n)
			}
			seen[n], last = true, max(last, n)
		}
		if len(twice)+len(disorder) > 0 {
			w.t.Errorf("%s/%d: %d records twice (source offsets %s), %d out of order (%s)",
				topic, p, len(twice), few(twice), len(disorder), few(disorder))
		}
		for n := range ends[p] {
			if !seen[n] {
				missing = append(missing, place{topic, p, n})
			}
		}
	}
	for p := range ends {
		if all[int32(p)] == nil && ends[p] > 0 {
			w.t.Errorf("%s/%d: nothing of %d records is on the target", topic, p, ends[p])
		}
	}
	return missing
}

// few are the first of many.
func few[T any](all []T) string {
	const most = 10
	if len(all) <= most {
		return fmt.Sprint(all)
	}
	return fmt.Sprintf("%v and %d more", all[:most], len(all)-most)
}
