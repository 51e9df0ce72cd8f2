package catalog

import (
	"github.com/twmb/franz-go/pkg/kadm"
)

// todo is what the target lacks.
type todo struct {
	create []*pair // topics
	grow   []*pair // topics with fewer partitions than the source's
	// leaderless: some partition that a lane needs has no leader yet.
	leaderless bool
}

// diff compares the flow's source topics with what the target has.
func diff(pairs []*pair, targets kadm.TopicDetails) (d todo) {
	for _, p := range pairs {
		if p.problem != nil || p.delay != nil {
			continue
		}
		t, ok := targets[p.target]
		switch {
		case !ok:
			d.create = append(d.create, p)
		case t.Err != nil:
			// It is there but we may not see it: nothing can be said about it.
		case p.stuck == nil && len(t.Partitions) < len(p.source.Partitions):
			d.grow = append(d.grow, p)
		}
		for _, tp := range t.Partitions {
			d.leaderless = d.leaderless || tp.Leader < 0
		}
	}
	return d
}
