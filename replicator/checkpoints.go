package replicator

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/kferry/kferry/offsets/groups"
	"github.com/kferry/kferry/offsets/mm2"
	"github.com/kferry/kferry/replicator/lane"
)

// checkpoints measures how old it is what a checkpoint tells, once it is written:
// for each group and partition by itself.
type checkpoints struct {
	groups.Checkpointer

	mu       sync.Mutex
	listed   time.Time // when the round under way began
	measured map[spot]*lane.Lately
}

// spot is a partition of a group.
type spot struct {
	group   string // on the source
	lane.ID        // on the target
}

func newCheckpoints(c groups.Checkpointer) *checkpoints {
	return &checkpoints{Checkpointer: c, measured: map[spot]*lane.Lately{}}
}

// begin takes note that the groups are listed now.
func (c *checkpoints) begin(now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.listed = now
}

// Write implements groups.Checkpointer.
func (c *checkpoints) Write(ctx context.Context, cs []mm2.Checkpoint) error {
	if err := c.Checkpointer.Write(ctx, cs); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	for i := range cs {
		at := spot{cs[i].Group, lane.ID{Topic: cs[i].Topic, Partition: cs[i].Partition}}
		if c.measured[at] == nil {
			c.measured[at] = new(lane.Lately)
		}
		c.measured[at].At(now.UnixMilli()).Latency.Add(now.Sub(c.listed).Milliseconds())
	}
	return nil
}

// end forgets what the round that ended no longer told of.
func (c *checkpoints) end(rows []OffsetRow) {
	alive := make(map[spot]bool, len(rows))
	for i := range rows {
		alive[spot{rows[i].Group, lane.ID{Topic: rows[i].TargetTopic, Partition: rows[i].Partition}}] = true
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for at := range c.measured {
		if !alive[at] {
			delete(c.measured, at)
		}
	}
}

// latencies adds what was measured, by labels.
func (c *checkpoints) latencies(out map[string]*lane.Spread, source, target, detail string, now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for at, w := range c.measured {
		ls := labels(append([]string{"source", source, "target", target, "group", at.group},
			atDetail(detail, "", at.Topic, at.Partition).target...)...)
		if out[ls] == nil {
			out[ls] = new(lane.Spread)
		}
		out[ls].Merge(w.Recent(now.UnixMilli()).Latency)
	}
}

// checkpoints writes what flows have measured of checkpoints.
func (e *encoder) checkpoints(flows []*flow, detail string, now time.Time) {
	spreads := map[string]*lane.Spread{}
	for _, f := range flows {
		if f.follower != nil && f.follower.checkpoints != nil {
			f.follower.checkpoints.latencies(spreads, f.cfg.Source, f.cfg.Target, detail, now)
		}
	}
	sorted := slices.Sorted(maps.Keys(spreads))
	for _, x := range famCheckpoint.values() {
		headed := false
		for _, ls := range sorted {
			v, ok := x.value(spreads[ls])
			if ok && !headed {
				e.head(x.family)
				headed = true
			}
			if ok {
				e.sample(x.name, ls, v)
			}
		}
	}
}
