package groups

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
	"golang.org/x/sync/errgroup"

	"github.com/kferry/kferry/offsets"
)

// commitBytes bounds one commit: the coordinator writes it as one batch, at most
// as large as a batch of its topic may be (1 MB by default).
const commitBytes = 500_000

// commit brings the target to where the source is, if the flow wishes that.
func (f *Follower) commit(ctx context.Context, now time.Time) {
	var (
		gs   []*group
		asks []ask
	)
	for _, g := range f.groups {
		if g.whole {
			continue
		}
		if a := g.ask(now); len(a.topics) > 0 && g.stale(now) {
			gs, asks = append(gs, g), append(asks, a)
		} else {
			g.settle(now)
		}
	}
	alias := f.opts.Target.Alias()
	logs := f.target.logs(ctx, asks)
	var commits errgroup.Group
	commits.SetLimit(commitsInFlight)
	f.target.fetch(ctx, asks, func(i int, topics []kmsg.OffsetFetchResponseGroupTopic, err error) {
		g := gs[i]
		if err == nil {
			g.seen = now
		}
		g.take(topics, err, logs, alias, now)
		todo := g.settle(now)
		if !f.opts.Flow.SyncGroupOffsets {
			for _, p := range todo {
				p.verdict = NotCommitted
			}
			return
		}
		if len(todo) > 0 {
			commits.Go(func() error {
				g.commit(ctx, f.target, todo, now)
				return nil
			})
		}
	})
	_ = commits.Wait() // nobody fails: rows say what did
}

// wants is the goal of a part that may be committed now.
func (p *part) wants(now time.Time) offsets.Target {
	if now.Before(p.rest) {
		return none
	}
	_, goal := p.goal()
	return goal
}

// ask names the partitions on the target that may be committed.
func (g *group) ask(now time.Time) ask {
	a := ask{group: g.target}
	for i := range g.parts {
		p := &g.parts[i]
		if p.wants(now) == none {
			continue
		}
		if n := len(a.topics); n == 0 || a.topics[n-1].Topic != p.place.TargetTopic {
			t := kmsg.NewOffsetFetchRequestGroupTopic()
			t.Topic = p.place.TargetTopic
			a.topics = append(a.topics, t)
		}
		t := &a.topics[len(a.topics)-1]
		t.Partitions = append(t.Partitions, p.partition)
	}
	return a
}

// stale tells whether the group's offsets on the target must be read before
// anything can be said or done.
func (g *group) stale(now time.Time) bool {
	if g.active || now.Sub(g.seen) >= rereadEvery {
		return true
	}
	for i := range g.parts {
		p := &g.parts[i]
		if goal := p.wants(now); goal == none {
			continue
		} else if _, to := decide(p.input); goal != p.read || to != none {
			return true
		}
	}
	return false
}

// take notes the offsets on the target, which are the answer to ask, or err.
// A partition whose offset there is not known for certain is not committed.
func (g *group) take(topics []kmsg.OffsetFetchResponseGroupTopic, err error, logs logs, alias string, now time.Time) {
	got := make(map[lane]kmsg.OffsetFetchResponseGroupTopicPartition, len(g.parts))
	for _, t := range topics {
		for _, p := range t.Partitions {
			got[lane{t.Topic, p.Partition}] = p
		}
	}
	for i := range g.parts {
		p := &g.parts[i]
		goal := p.wants(now)
		if goal == none {
			continue
		}
		e := err
		at := lane{p.place.TargetTopic, p.partition}
		o, ok := got[at]
		switch {
		case errors.Is(e, kerr.GroupIDNotFound):
			o.Offset, e = int64(none), nil
		case e == nil:
			e = answered(ok, o.ErrorCode)
		}
		if e != nil {
			p.read = none
			p.refused(alias, g.target, e, now)
			continue
		}
		x, e := logs.of(at)
		if e != nil {
			p.read = none
			p.refused(alias, g.target, fmt.Errorf("where its log begins and ends: %w", e), now)
			continue
		}
		p.target, p.log, p.read = max(offsets.Target(o.Offset), none), x, goal
	}
}

// refused notes why a part stays as it is. What only a person can change is not
// tried in each round: brokers log every denial.
func (p *part) refused(alias, group string, err error, now time.Time) {
	p.verdict, p.detail = refusal(alias, group, p.place.TargetTopic, err)
	if p.verdict == Denied || p.verdict == Refused {
		p.rest = now.Add(rereadEvery)
	}
}

// settle gives every part its verdict, and returns those that are to be committed.
func (g *group) settle(now time.Time) (todo []*part) {
	for i := range g.parts {
		p := &g.parts[i]
		_, goal := p.goal()
		if goal != none && (now.Before(p.rest) || p.read != goal) {
			continue // it rests, or was not read: it has its verdict
		}
		v, to := decide(p.input)
		p.verdict, p.detail = v, p.why()
		if to != none {
			todo = append(todo, p)
		}
	}
	return todo
}

// why says more about a part of which it is not known where it is on the target.
func (p *part) why() string {
	switch {
	case p.place.Why != "":
		return p.place.Why
	case p.anew():
		return fmt.Sprintf("target topic %q was deleted and made anew", p.place.TargetTopic)
	case p.foreign():
		return fmt.Sprintf("the target's log ends at offset %d, before the place that was carried: it was made anew, or has lost records", p.log.end)
	}
	return ""
}

// commit commits parts at their goals.
func (g *group) commit(ctx context.Context, s *side, parts []*part, now time.Time) {
	for len(parts) > 0 {
		n := fits(g.target, parts)
		topics := make([]kmsg.OffsetCommitRequestTopic, 0, 1)
		for _, p := range parts[:n] {
			if i := len(topics); i == 0 || topics[i-1].Topic != p.place.TargetTopic {
				t := kmsg.NewOffsetCommitRequestTopic()
				t.Topic = p.place.TargetTopic
				topics = append(topics, t)
			}
			o := kmsg.NewOffsetCommitRequestTopicPartition() // no leader epoch: it is the source's
			o.Partition, o.Offset, o.Metadata = p.partition, int64(p.read), p.metadata
			t := &topics[len(topics)-1]
			t.Partitions = append(t.Partitions, o)
		}
		k := 0
		s.commit(ctx, g.target, topics, func(err error) {
			p := parts[k]
			k++
			if err != nil {
				p.refused(s.cl.Alias(), g.target, err, now)
				return
			}
			p.target = p.read
			g.commits++
		})
		parts = parts[n:]
	}
}

// fits is how many of parts, one at least, go into one commit.
func fits(group string, parts []*part) int {
	size := 0
	for i, p := range parts {
		size += 64 + len(group) + len(p.place.TargetTopic)
		if p.metadata != nil {
			size += len(*p.metadata)
		}
		if size > commitBytes && i > 0 {
			return i
		}
	}
	return len(parts)
}
