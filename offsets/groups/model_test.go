package groups

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kferry/kferry/offsets"
	"github.com/kferry/kferry/offsets/mm2"
)

// mirrored is a topic t0 of four partitions: the maps of its lanes, and, for the
// model, every record's two offsets.
type mirrored struct {
	mu      sync.Mutex
	maps    [4]*offsets.Map
	records [4][][2]int64
	away    [4]bool // another replica has the lane
}

func (m *mirrored) Carries(topic string) bool { return topic == "t0" }

func (m *mirrored) Place(topic string, n int32, at offsets.Source) (Place, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if topic != "t0" || m.away[n] {
		return Place{}, false
	}
	p := Place{TargetTopic: "x.t0"}
	p.Target, p.Found, p.Again = m.maps[n].Translate(at)
	_, p.End = m.maps[n].End()
	return p, true
}

// grow mirrors some more records, with a gap before them now and then.
func (m *mirrored) grow(r *rand.Rand) {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := r.IntN(len(m.maps))
	s, t := m.maps[n].End()
	if r.IntN(2) == 0 {
		s, t = s+offsets.Source(r.IntN(4)), t+offsets.Target(r.IntN(3))
	}
	k, known := 1+r.Int64N(20), t
	if r.IntN(6) == 0 {
		known = offsets.UnknownTarget
	}
	m.maps[n].Append(s, known, k)
	for i := range k {
		m.records[n] = append(m.records[n], [2]int64{int64(s) + i, int64(t) + i})
	}
	if known < 0 && r.IntN(2) == 0 {
		m.maps[n].Reach(t + offsets.Target(k))
	}
}

// skipped is a record that a group which has read all below at on the source has
// not read, and will not when it goes on at to on the target.
func (m *mirrored) skipped(n int32, at, to int64) string {
	for _, r := range m.records[n] {
		if r[0] >= at && r[1] < to {
			return fmt.Sprintf("record %d at %d", r[0], r[1])
		}
	}
	return ""
}

// TestModel follows groups while everything happens that may: a position on the
// target never goes back, never skips a record, never passes what is mirrored,
// and reaches its goal when nothing is in the way.
func TestModel(t *testing.T) {
	for seed := range uint64(40) {
		paired(t, nil, func(p *pair) { modelled(p, rand.New(rand.NewPCG(seed, 1)), seed) })
	}
}

func modelled(p *pair, r *rand.Rand, seed uint64) {
	m := &mirrored{}
	for n := range m.maps {
		m.maps[n] = offsets.NewMap(offsets.Source(r.IntN(5)), offsets.Target(r.IntN(5)))
	}
	book := &book{rand: r}
	f := p.follower(m, func(o *Options) { o.Checkpoints = book })
	names := []string{"a", "b", "c"}
	var free []func()
	var member *kgo.Client
	for step := range 60 {
		g, n := names[r.IntN(len(names))], r.Int32N(4)
		switch r.IntN(9) {
		case 0, 1, 2:
			m.grow(r)
		case 3, 4:
			_, end := m.maps[n].End()
			put(p, src, g, n, r.Int64N(int64(end)+20)-1)
		case 5:
			put(p, dst, g, n, r.Int64N(40)-1)
			if known := f.groups[g]; known != nil {
				known.seen = time.Time{} // it would take a minute
			}
		case 6:
			m.away[n] = !m.away[n]
		case 7:
			free = append(free, p.fault(r.IntN(2), someFault(r, g, n)))
		case 8:
			for _, f := range free {
				f()
			}
			free = nil
		}
		if r.IntN(8) == 0 {
			if member == nil {
				member = consumer(p, p.cl[dst], "a", "x.t0")
			} else {
				member.Close()
				member = nil
			}
		}
		check(p, f, m, names, fmt.Sprintf("seed %d step %d", seed, step))
	}
	if member != nil {
		member.Close()
	}
	for _, f := range free {
		f()
	}
	time.Sleep(rereadEvery) // of the bubble's clock
	for range 2 {
		check(p, f, m, names, fmt.Sprintf("seed %d, end", seed))
	}
	for _, w := range f.Report().Rows {
		place, mine := m.Place(w.Topic, w.Partition, w.Source)
		if mine && w.Source >= 0 && w.Target < min(place.Target, place.End) {
			p.Errorf("seed %d: %+v is not at its goal %+v", seed, w, place)
		}
	}
}

// check does a round and compares before and after.
func check(p *pair, f *Follower, m *mirrored, names []string, when string) {
	before := map[string]map[int32]int64{}
	for _, g := range names {
		before[g] = positions(p, dst, g)
	}
	rep, err := f.Round(p.Context())
	if err != nil && strings.Contains(err.Error(), "BOOK") {
		p.Errorf("%s: %v", when, err)
	}
	for _, g := range names {
		after, source := positions(p, dst, g), positions(p, src, g)
		for n := range int32(4) {
			was, is := at(before[g], n), at(after, n)
			if was == is {
				continue
			}
			_, end := m.maps[n].End()
			switch s := m.skipped(n, at(source, n), is); {
			case is < was:
				p.Errorf("%s: %s/%d went back from %d to %d", when, g, n, was, is)
			case m.away[n]:
				p.Errorf("%s: %s/%d is another replica's", when, g, n)
			case is > int64(end):
				p.Errorf("%s: %s/%d went to %d, mirrored is %d", when, g, n, is, end)
			case s != "":
				p.Errorf("%s: %s/%d at %d on the source went to %d and skips %s", when, g, n, at(source, n), is, s)
			}
		}
		for _, w := range rep.Rows {
			if w.Group == g && w.Partition >= 0 && w.Verdict.Synced() && int64(w.Target) != at(after, w.Partition) {
				p.Errorf("%s: row %+v, but it is at %d", when, w, at(after, w.Partition))
			}
		}
	}
}

func at(of map[int32]int64, n int32) int64 {
	if o, ok := of[n]; ok {
		return o
	}
	return -1
}

// positions are read beside the faults.
func positions(p *pair, i int, group string) map[int32]int64 {
	out := map[int32]int64{}
	if g := p.fake[i].GroupInfo(group); g != nil {
		for n, c := range g.Commits[[]string{"t0", "x.t0"}[i]] {
			out[n] = c.Offset
		}
	}
	return out
}

// put commits beside the faults and the members.
func put(p *pair, i int, group string, n int32, to int64) {
	os := kadm.Offsets{}
	os.Add(kadm.Offset{Topic: []string{"t0", "x.t0"}[i], Partition: n, At: to})
	_, _ = p.cl[i].Admin().CommitOffsets(p.Context(), group, os) // a fault or a member may be in the way
}

func someFault(r *rand.Rand, group string, n int32) kfake.Fault {
	f := kfake.Fault{Group: group, Keys: [][]kmsg.Key{{kmsg.OffsetCommit}, {kmsg.OffsetFetch}, {kmsg.OffsetCommit, kmsg.OffsetFetch}}[r.IntN(3)]}
	f.Err = []*kerr.Error{kerr.GroupAuthorizationFailed, kerr.NotCoordinator, kerr.UnknownMemberID, kerr.UnknownServerError}[r.IntN(4)]
	if r.IntN(2) == 0 {
		f.Partitions, f.Err = []int32{n}, []*kerr.Error{kerr.TopicAuthorizationFailed, kerr.UnstableOffsetCommit, kerr.RequestTimedOut}[r.IntN(3)]
	}
	return f
}

// book is a checkpoints topic whose reader must never be told worse.
type book struct {
	rand *rand.Rand // nil = it never fails
	log  []mm2.Checkpoint
	load int
}

func (b *book) Load(context.Context) ([]mm2.Checkpoint, error) {
	if b.load++; b.rand != nil && b.rand.IntN(8) == 0 {
		return nil, errors.New("no load")
	}
	newest := map[spot]mm2.Checkpoint{}
	for _, c := range b.log {
		newest[spotOf(c)] = c
	}
	var out []mm2.Checkpoint
	for _, c := range newest {
		out = append(out, c)
	}
	return out, nil
}

func (b *book) Write(_ context.Context, cs []mm2.Checkpoint) error {
	fails := b.rand != nil && b.rand.IntN(8) == 0
	if fails {
		cs = cs[:b.rand.IntN(len(cs)+1)]
	}
	for _, c := range cs {
		for _, last := range slices.Backward(b.log) {
			if spotOf(last) != spotOf(c) {
				continue
			}
			if c.Upstream >= last.Upstream && c.Downstream <= last.Downstream {
				return fmt.Errorf("BOOK: %+v after %+v", c, last)
			}
			break
		}
		b.log = append(b.log, c)
	}
	if fails {
		return errors.New("no write")
	}
	return nil
}

func (b *book) take() (out []string) {
	for _, c := range b.log {
		out = append(out, fmt.Sprintf("%s %s/%d %d->%d %s", c.Group, c.Topic, c.Partition, c.Upstream, c.Downstream, c.Metadata))
	}
	b.log = nil
	return out
}

func TestCheckpoints(t *testing.T) {
	paired(t, nil, func(p *pair) {
		commit(p, p.cl[src], "a", "t0", 10, 130)
		b := &book{log: []mm2.Checkpoint{{Group: "a", Topic: "x.t0", Partition: 1, Upstream: 125, Downstream: 130}}}
		lanes := &mirrored{}
		for n := range lanes.maps {
			lanes.maps[n] = offsets.NewMap(0, 5)
			lanes.maps[n].Append(0, 5, 120)
		}
		lanes.away = [4]bool{1: true}
		f := p.follower(lanes, func(o *Options) { o.Checkpoints, o.Flow.GroupNames = b, []string{"a=z"} })
		want := func(lines ...string) {
			p.Helper()
			if got := b.take(); !slices.Equal(got, lines) {
				p.Errorf("got %q, want %q", got, lines)
			}
		}
		b.log = nil
		round(p, f)
		want("a x.t0/0 10->15 m10")
		round(p, f)
		want()
		commit(p, p.cl[src], "a", "t0", 9)
		round(p, f)
		want("a x.t0/0 9->14 m9") // though the target's group does not go back
		if b.load != 1 {
			p.Errorf("loaded %d times", b.load)
		}
		// The lane comes; another replica had written better than ours now translates.
		b.log = []mm2.Checkpoint{{Group: "a", Topic: "x.t0", Partition: 1, Upstream: 130, Downstream: 135}, {Group: "a", Topic: "x.t0", Partition: 0, Upstream: 9, Downstream: 14}}
		lanes.away[1] = false
		round(p, f)
		if b.load != 2 || len(b.log) != 2 {
			p.Errorf("loaded %d times, wrote %+v", b.load, b.log[2:])
		}
		// A write that fails is done again, for what is not there.
		b.rand = rand.New(rand.NewPCG(1, 1))
		for i := range 30 {
			commit(p, p.cl[src], "a", "t0", int64(10+i), -2, int64(i))
			_, err := f.Round(p.Context())
			if err != nil && strings.Contains(err.Error(), "BOOK") {
				p.Fatal(err)
			}
		}
		b.rand = nil
		round(p, f)
		if cs, _ := b.Load(p.Context()); !slices.ContainsFunc(cs, func(c mm2.Checkpoint) bool { return c.Partition == 0 && c.Upstream == 39 && c.Downstream == 44 }) {
			p.Errorf("%+v", cs)
		}
	})
}
