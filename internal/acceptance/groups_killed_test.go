package acceptance

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/kferry/kferry/internal/datagen"
	"github.com/kferry/kferry/internal/ferrytest"
	"github.com/kferry/kferry/internal/kafkatest"
)

// chase is a group that is always about as far as the source goes, and what was seen of it on the target.
type chase struct {
	t            testing.TB
	from, to     *kadm.Client // hands on both clusters
	group, topic string
	rng          *rand.Rand

	mu    sync.Mutex
	asked map[int32]int64 // the furthest that a commit on the source was tried for
	seen  map[int32][]sight
}

// sight is one look at a partition of the target.
type sight struct {
	committed, end int64 // of the target
	asked          int64 // of the source, when committed had been read
}

// kferry is killed again and again while a group commits at the end of the source, beyond what is mirrored and beyond what is
// there: its offset on the target never goes back, never passes what the target holds, and never stands for more than it has
// read on the source. In the end all groups are where they should be.
func TestGroupsWhileKilled(t *testing.T) {
	const partitions = 2
	p, rng := newPair(t, kafkatest.V4), ferrytest.Random(t)
	c := &chase{
		t: t, from: p.source.Admin(t), to: p.target.Admin(t), group: p.name + ".ahead", topic: p.topic("orders"), rng: rand.New(rand.NewPCG(rng.Uint64(), 0)),
		asked: map[int32]int64{}, seen: map[int32][]sight{},
	}
	p.source.CreateTopic(t, c.topic, partitions, nil)
	p.target.CreateTopic(t, c.topic, partitions, nil)
	// Each transaction is a piece of the offset map: fewer than a map has room for, or it would be made coarser.
	load := datagen.Options{Topic: c.topic, Records: size(2_000, 20_000), Transactional: true, AbortRatio: 0.2, TxnRecords: 50, Seed: 1}
	p.generate(t.Context(), load)
	load.Records, load.Rate = 200, 300
	writing, committing, looking := c.beside(func(ctx context.Context) error {
		load.Seed++
		_, _ = p.written(ctx, load) // on a busy machine the broker may have to end a transaction, which is as good
		return nil
	}), c.beside(c.commit), c.beside(c.look)

	s := p.settings()
	p.follow(s)
	// So kferry knows that the source is not compacted: what it does not know after a kill can be read back.
	p.source.Allow(t, reader, p.acls(p.name+".", kadm.OpDescribeConfigs))
	flowOf(s)["groups_interval"] = "100ms"
	for i := range size(6, 50) {
		f := p.run(s)
		moment := time.Duration(rng.Int64N(int64(1500 * time.Millisecond)))
		if i%4 != 3 { // at times while it starts
			f.Carries()
		}
		time.Sleep(moment) // the moment is the point, nothing is waited for
		f.Kill()
	}
	writing.Stop(t)
	committing.Stop(t)
	ferrytest.Eventually(t, ferrytest.Patience, "the marker of the last transaction", func() (bool, string) {
		ends, err1 := c.from.ListEndOffsets(t.Context(), c.topic)
		stable, err2 := c.from.ListCommittedOffsets(t.Context(), c.topic)
		if err := errors.Join(err1, err2, ends.Error(), stable.Error()); err != nil {
			t.Fatal(err)
		}
		open := int64(0)
		ends.Each(func(o kadm.ListedOffset) { open += o.Offset - stable[o.Topic][o.Partition].Offset })
		return open == 0, fmt.Sprint(open, " offsets in open transactions")
	})

	src := readLog(t, p.source, c.topic)
	committed := placesIn(src, 10)
	committed["ahead"] = maps.Clone(committed["g-09"]) // the end
	records := int64(0)
	for partition, es := range src {
		records += int64(len(es))
		committed["ahead"][partition] = es[len(es)-1].offset + 1
		c.ask(partition, committed["ahead"][partition])
	}
	for group, at := range committed {
		p.commit(p.source, p.name+"."+group, c.topic, at)
	}
	f := p.run(s)
	p.arrived(f, c.topic, records)
	p.settled(c.topic, committed)
	_, shown, err := f.Get("/api/v1/offsets")
	f.Stop()
	looking.Stop(t)

	dst := readLog(t, p.target, c.topic)
	o := compare(src, dst, committed, func(group string) map[int32]int64 { return p.committed(p.target, p.name+"."+group, c.topic) })
	t.Logf("%s", o)
	if o.skipped > 0 || o.again > 0 || o.unknown > 0 {
		t.Errorf("groups do not go on where they were: %s\n%s %v", o, shown, err)
	}
	c.judge(src, dst)
}

// judge holds what was seen against the logs.
func (c *chase) judge(src, dst map[int32][]entry) {
	t := c.t
	t.Helper()
	places := 0
	for partition, seen := range c.seen {
		last := int64(-1)
		for _, s := range seen {
			read, there := below(src[partition], s.asked), below(dst[partition], s.committed)
			switch {
			case s.committed < last:
				t.Errorf("partition %d: the group went back from %d to %d", partition, last, s.committed)
			case s.committed > s.end:
				t.Errorf("partition %d: the group is at %d, and the target ends at %d", partition, s.committed, s.end)
			case there > read:
				t.Errorf("partition %d: at %d the group has %d records behind it, and only %d on the source, where it was at %d at most",
					partition, s.committed, there, read, s.asked)
			}
			last = s.committed
		}
		places += len(seen)
	}
	if t.Logf("the group was seen at %d places", places); places < 2 {
		t.Error("the group has hardly moved: the test has tested nothing")
	}
}

// below counts the records below an offset.
func below(log []entry, offset int64) int {
	n, _ := slices.BinarySearchFunc(log, offset, func(e entry, at int64) int { return int(e.offset - at) })
	return n
}

// beside does something again and again until it is stopped.
func (c *chase) beside(do func(context.Context) error) *ferrytest.Live {
	return ferrytest.InBackground(c.t, func(ctx context.Context) (n int64, err error) {
		for tick := time.NewTicker(50 * time.Millisecond); ; n++ {
			select {
			case <-ctx.Done():
				return n, nil
			case <-tick.C:
			}
			if err := do(context.WithoutCancel(ctx)); err != nil {
				return n, err
			}
		}
	})
}

// commit commits near the end of the source.
func (c *chase) commit(ctx context.Context) error {
	ends, err := c.from.ListEndOffsets(ctx, c.topic)
	if err = errors.Join(err, ends.Error()); err != nil {
		return err
	}
	os := kadm.Offsets{}
	for partition, end := range ends[c.topic] {
		at := max(0, end.Offset-40+c.rng.Int64N(60))
		c.ask(partition, at)
		os.AddOffset(c.topic, partition, at, -1)
	}
	return c.from.CommitAllOffsets(ctx, c.group, os)
}

// ask notes a commit on the source before it is tried.
func (c *chase) ask(partition int32, at int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.asked[partition] = max(c.asked[partition], at)
}

// look notes where the group is on the target, if it has moved. First the group, then the end and what was tried: those only grow.
func (c *chase) look(ctx context.Context) error {

	os, err := c.to.FetchOffsets(ctx, c.group)
	if errors.Is(err, kerr.GroupIDNotFound) || errors.Is(err, kerr.CoordinatorNotAvailable) {
		return nil // the group is not there yet, or no group is
	} else if err != nil {
		return fmt.Errorf("offsets of %s: %w", c.group, err)
	}
	ends, err := c.to.ListEndOffsets(ctx, c.topic)
	if err = errors.Join(err, ends.Error()); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for partition, o := range os[c.topic] {
		s := sight{committed: o.At, end: ends[c.topic][partition].Offset, asked: c.asked[partition]}
		seen := c.seen[partition]
		if o.Err == nil && o.At >= 0 && (len(seen) == 0 || seen[len(seen)-1].committed != o.At || o.At > s.end) {
			c.seen[partition] = append(seen, s)
		}
	}
	return nil
}
