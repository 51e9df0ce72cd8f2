package groups

import (
	"cmp"
	"context"
	"slices"

	"github.com/kferry/kferry/offsets"
	"github.com/kferry/kferry/offsets/mm2"
)

// Checkpointer keeps the checkpoints topic.
type Checkpointer interface {
	// Load reads the newest checkpoint of each group and partition.
	Load(ctx context.Context) ([]mm2.Checkpoint, error)
	// Write appends, in this order. An error means that some may not be there;
	// they are written again.
	Write(ctx context.Context, cs []mm2.Checkpoint) error
}

// mark is what a checkpoint says.
type mark struct {
	upstream   offsets.Source
	downstream offsets.Target
}

// due tells whether next is to be written after last. As MirrorMaker 2 does:
// readers take the newest for the best, so a group that did not go back on the
// source must not go back on the target because the same offset is translated
// worse than before.
func due(last, next mark) bool {
	return next.upstream < last.upstream || next.downstream > last.downstream
}

// notebook remembers what was written.
type notebook struct {
	keeper Checkpointer
	last   map[spot]mark // of every group and partition; nil = to be loaded
	lanes  map[lane]bool // of the last round
}

type (
	spot struct {
		group string // on the source
		lane
	}
	lane struct {
		topic     string // on the target
		partition int32
	}
)

// write writes what is due. A lane that has just come was another replica's, which
// may have written since we loaded: all is loaded again.
func (n *notebook) write(ctx context.Context, groups map[string]*group) error {
	if n.keeper == nil {
		return nil
	}
	lanes := map[lane]bool{}
	translated(groups, func(_ *group, p *part, _ offsets.Target) {
		l := lane{p.place.TargetTopic, p.partition}
		if lanes[l] = true; !n.lanes[l] {
			n.last = nil
		}
	})
	if err := n.load(ctx); err != nil {
		return err
	}
	n.lanes = lanes
	var all []mm2.Checkpoint
	translated(groups, func(g *group, p *part, goal offsets.Target) {
		last, ok := n.last[spot{g.name, lane{p.place.TargetTopic, p.partition}}]
		if !ok || due(last, mark{p.at, goal}) {
			c := mm2.Checkpoint{Group: g.name, Topic: p.place.TargetTopic, Partition: p.partition, Upstream: p.at, Downstream: goal}
			if p.metadata != nil {
				c.Metadata = *p.metadata
			}
			all = append(all, c)
		}
	})
	if len(all) == 0 {
		return nil
	}
	slices.SortFunc(all, func(a, b mm2.Checkpoint) int {
		return cmp.Or(cmp.Compare(a.Group, b.Group), cmp.Compare(a.Topic, b.Topic), cmp.Compare(a.Partition, b.Partition))
	})
	if err := n.keeper.Write(ctx, all); err != nil {
		n.last = nil // some may be there
		return err
	}
	for _, c := range all {
		n.last[spotOf(c)] = mark{c.Upstream, c.Downstream}
	}
	return nil
}

// translated calls do for every part that has a goal.
func translated(groups map[string]*group, do func(*group, *part, offsets.Target)) {
	for _, g := range groups {
		if g.whole {
			continue
		}
		for i := range g.parts {
			if _, goal := g.parts[i].goal(); goal != none && !g.parts[i].foreign() {
				do(g, &g.parts[i], goal)
			}
		}
	}
}

func (n *notebook) load(ctx context.Context) error {
	if n.last != nil {
		return nil
	}
	cs, err := n.keeper.Load(ctx)
	if err != nil {
		return err
	}
	n.last = make(map[spot]mark, len(cs))
	for _, c := range cs {
		n.last[spotOf(c)] = mark{c.Upstream, c.Downstream}
	}
	return nil
}

func spotOf(c mm2.Checkpoint) spot { return spot{c.Group, lane{c.Topic, c.Partition}} }
