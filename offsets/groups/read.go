package groups

import (
	"cmp"
	"context"
	"errors"
	"slices"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kferry/kferry/offsets"
)

// readSource reads what every group has committed, and translates it.
func (f *Follower) readSource(ctx context.Context) {
	f.each(func(g *group) {
		if !g.gone.IsZero() {
			g.set(Gone, "")
			return
		}
		g.set(Refused, "another group of the source has this name on the target; give one another with group_names")
	})
	gs := f.living()
	asks := make([]ask, len(gs))
	for i, g := range gs {
		asks[i].group = g.name
	}
	alias := f.opts.Source.Alias()
	f.source.fetch(ctx, asks, func(i int, topics []kmsg.OffsetFetchResponseGroupTopic, err error) {
		if g := gs[i]; err != nil && !errors.Is(err, kerr.GroupIDNotFound) {
			g.set(sourceFailed(alias, g.name, err))
		} else {
			g.update(topics, f.opts.Lanes)
		}
	})
}

func (f *Follower) each(do func(*group)) {
	for _, g := range f.groups {
		do(g)
	}
}

// set is for what holds for all of a group.
func (g *group) set(v Verdict, detail string) {
	g.whole, g.verdict, g.detail, g.commits = true, v, detail, 0
}

// update takes over what is committed on the source. What was known of the
// target stays known for as long as this replica has the lane.
func (g *group) update(topics []kmsg.OffsetFetchResponseGroupTopic, lanes Lanes) {
	n := 0
	for _, t := range topics {
		n += len(t.Partitions)
	}
	if n == 0 && len(g.parts) > 0 && !g.listed {
		g.set(Gone, "")
		return
	}
	g.whole, g.commits = false, 0
	parts := make([]part, 0, n)
	for _, t := range topics {
		carried := lanes.Carries(t.Topic)
		for _, p := range t.Partitions {
			if p.ErrorCode != 0 {
				continue // unknown to the source, or not ours to see
			}
			x := part{topic: t.Topic, partition: p.Partition, metadata: p.Metadata, read: none}
			x.input = input{at: max(offsets.Source(p.Offset), -1), carried: carried, active: g.active, target: none}
			if x.at >= 0 && carried {
				x.place, x.mine = lanes.Place(t.Topic, p.Partition, x.at)
			}
			if old := g.find(t.Topic, p.Partition); old != nil && old.mine && x.mine {
				x.keep(old)
			}
			parts = append(parts, x)
		}
	}
	slices.SortFunc(parts, func(a, b part) int { return byPart(a, b.topic, b.partition) })
	g.parts = parts
}

// keep has what was known of the target. Where the lane does not tell its place, the
// target is not asked for it, and what it said once may be about a topic that is gone.
func (p *part) keep(old *part) {
	p.verdict, p.detail, p.rest = old.verdict, old.detail, old.rest
	if v, _ := p.goal(); v != Unknown {
		p.target, p.log, p.read = old.target, old.log, old.read
	}
}

func byPart(a part, topic string, partition int32) int {
	return cmp.Or(cmp.Compare(a.topic, topic), cmp.Compare(a.partition, partition))
}

func (g *group) find(topic string, partition int32) *part {
	i, ok := slices.BinarySearchFunc(g.parts, topic, func(p part, _ string) int { return byPart(p, topic, partition) })
	if !ok {
		return nil
	}
	return &g.parts[i]
}
