package groups

import (
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/kferry/kferry/offsets"
	"github.com/kferry/kferry/offsets/mm2"
)

// The scenarios of MirrorMaker 2's MirrorCheckpointTaskTest that TestRound, TestDue and TestCheckpoints do not have.

// known is a lane of t0/0 that knows these translations; others it does not know yet.
type known map[offsets.Source]offsets.Target

func (known) Carries(topic string) bool { return topic == "t0" }

func (k known) Place(topic string, partition int32, at offsets.Source) (Place, bool) {
	p := Place{TargetTopic: "x.t0", Target: offsets.UnknownTarget, End: 1000}
	if to, ok := k[at]; ok {
		p.Target = to
	}
	return p, topic == "t0" && partition == 0
}

// A process that begins anew and knows the offsets worse than the one before keeps to what that one wrote.
func TestMM2CheckpointsTaskRestartUsesExistingCheckpoints(t *testing.T) {
	paired(t, nil, func(p *pair) {
		b := &book{log: []mm2.Checkpoint{{Group: "a", Topic: "x.t0", Upstream: 250, Downstream: 201}}}
		f := p.follower(known{250: 176, 370: 176, 400: 376}, func(o *Options) { o.Checkpoints = b })
		for _, at := range []int64{250, 370} {
			commit(p, p.cl[src], "a", "t0", at)
			if round(p, f); len(b.log) != 1 {
				p.Errorf("at %d it wrote %q", at, b.take()[1:])
			}
		}
		commit(p, p.cl[src], "a", "t0", 400)
		round(p, f)
		if got := b.take(); !slices.Equal(got[1:], []string{"a x.t0/0 400->376 m400"}) {
			p.Errorf("wrote %q", got[1:])
		}
	})
}

// A translation that gets worse is not written unless the group itself has gone back.
func TestMM2CheckpointRecordsMonotonicIfStoreRewinds(t *testing.T) {
	paired(t, nil, func(p *pair) {
		b, lanes := &book{}, known{11: 111, 20: 120}
		f := p.follower(lanes, func(o *Options) { o.Checkpoints = b })
		wrote := func(want ...string) {
			p.Helper()
			round(p, f)
			if got := b.take(); !slices.Equal(got, want) {
				p.Errorf("wrote %q, want %q", got, want)
			}
		}
		commit(p, p.cl[src], "a", "t0", 11)
		wrote("a x.t0/0 11->111 m11")
		lanes[11], lanes[12], lanes[5] = 101, 102, 95
		wrote()
		commit(p, p.cl[src], "a", "t0", 12)
		wrote()
		commit(p, p.cl[src], "a", "t0", 20)
		wrote("a x.t0/0 20->120 m20")
		commit(p, p.cl[src], "a", "t0", 5)
		wrote("a x.t0/0 5->95 m5")
		expect(p, committed(p, p.cl[dst], "a"), "x.t0/0=120 m20") // it never goes back
	})
}

// Also testNoCheckpointForTopicWithNullOffsetAndMetadata: nothing is written for what has no translation or no offset.
func TestMM2NoCheckpointForTopicWithoutOffsetSyncs(t *testing.T) {
	paired(t, nil, func(p *pair) {
		b := &book{}
		f := p.follower(known{}, func(o *Options) { o.Checkpoints = b })
		commit(p, p.cl[src], "a", "t0", 10) // the lane does not know
		commit(p, p.cl[src], "a", "t1", 10) // not in the flow
		commit(p, p.cl[src], "b", "t0", -1) // no offset
		round(p, f)
		if got := b.take(); len(got) > 0 || committed(p, p.cl[dst], "a")+committed(p, p.cl[dst], "b") != "" {
			p.Errorf("wrote %q", got)
		}
	})
}

// unread is a topic of checkpoints that cannot be read at first.
type unread struct {
	book
	fails bool
}

func (u *unread) Load(ctx context.Context) ([]mm2.Checkpoint, error) {
	if u.fails {
		return nil, errors.New("not to be read")
	}
	return u.book.Load(ctx)
}

// Before the checkpoints are read none is written; groups are committed all the same.
func TestMM2CheckpointStoreInitialized(t *testing.T) {
	paired(t, nil, func(p *pair) {
		u := &unread{fails: true}
		f := p.follower(known{10: 20}, func(o *Options) { o.Checkpoints = u })
		commit(p, p.cl[src], "a", "t0", 10)
		if _, err := f.Round(p.Context()); err == nil || len(u.log) > 0 {
			p.Errorf("wrote %q, error %v", u.take(), err)
		}
		expect(p, committed(p, p.cl[dst], "a"), "x.t0/0=20 m10")
		u.fails = false
		round(p, f)
		if got := u.take(); !slices.Equal(got, []string{"a x.t0/0 10->20 m10"}) {
			p.Errorf("wrote %q", got)
		}
	})
}
