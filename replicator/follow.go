package replicator

import (
	"context"
	"fmt"
	"time"

	"github.com/kferry/kferry/offsets"
	"github.com/kferry/kferry/offsets/beat"
	"github.com/kferry/kferry/offsets/groups"
	"github.com/kferry/kferry/offsets/mm2"
	"github.com/kferry/kferry/replicator/lane"
)

// What a flow does for consumers besides carrying their records: it follows their
// groups, and keeps MirrorMaker 2's topics for programs that read those. All of it
// stands beside the data path and cannot hold it up.

// follower is that part of a flow that has groups; nil in one that has none.
type follower struct {
	f           *flow
	groups      *groups.Follower
	heart       *beat.Heart // nil: not wanted, and so on
	syncs       *beat.Syncs
	checkpoints *checkpoints               // nil: none are kept
	synced      map[lane.ID]offsets.Source // the end of what the syncs tell
}

func newFollower(f *flow) (*follower, error) {
	cfg := f.cfg
	if len(cfg.Groups) == 0 {
		return nil, nil //nolint:nilnil // nothing to follow is no error
	}
	o := beat.Options{Source: f.source, Target: f.target, Names: mm2Names(cfg), Replication: cfg.ReplicationFactor}
	x := &follower{f: f, synced: map[lane.ID]offsets.Source{}}
	if cfg.Heartbeats.Enabled {
		x.heart = beat.NewHeart(o)
	}
	if at := mm2.Location(cfg.OffsetSyncs.Location); at == mm2.OnSource || at == mm2.OnTarget {
		x.syncs = beat.NewSyncs(o, at)
	}
	g := groups.Options{Source: f.source, Target: f.target, Flow: cfg, Lanes: f}
	if cfg.Checkpoints.Enabled {
		x.checkpoints = newCheckpoints(beat.NewCheckpoints(o))
		g.Checkpoints = x.checkpoints
	}
	var err error
	x.groups, err = groups.New(g)
	return x, err
}

// run follows until ctx ends.
func (x *follower) run(ctx context.Context) {
	select {
	case <-x.f.placed: // it is known which lanes are ours
	case <-ctx.Done():
		return
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		x.every(ctx, x.f.cfg.GroupsInterval, x.round)
	}()
	if x.heart != nil {
		x.every(ctx, x.f.cfg.Heartbeats.Interval, x.beat)
	}
	<-done
}

// every calls do now and at each interval until ctx ends.
func (x *follower) every(ctx context.Context, interval time.Duration, do func(context.Context)) {
	t := time.NewTicker(interval)
	defer t.Stop()
	for ctx.Err() == nil {
		do(ctx)
		select {
		case <-t.C:
		case <-ctx.Done():
		}
	}
}

// groupsOutage is the key of the outage while not all groups can be followed.
const groupsOutage = "groups"

// round follows all groups once, and then tells where the lanes are.
func (x *follower) round(ctx context.Context) {
	f := x.f
	if x.checkpoints != nil {
		x.checkpoints.begin(time.Now())
	}
	r, err := x.groups.Round(ctx)
	x.outcome(ctx, groupsOutage, "not all consumer groups can be followed at the moment, trying on", err)
	if err == nil {
		f.signs.groups.Store(time.Now().UnixMilli())
	}
	for _, notice := range r.Notices {
		f.log.Warn(notice)
	}
	rows := offsetRows(f.cfg.Name, r)
	f.groupRows.Store(&rows)
	if x.checkpoints != nil {
		x.checkpoints.end(rows)
	}
	if x.syncs != nil {
		x.outcome(ctx, "offset syncs", "offset syncs are not written, trying on", x.writeSyncs(ctx))
	}
}

func (x *follower) beat(ctx context.Context) {
	if !x.f.leads.Load() {
		return
	}
	now := time.Now()
	err := x.heart.Beat(ctx, now, !x.f.carriesHeartbeats())
	x.outcome(ctx, "heartbeats", "heartbeats are not written, trying on", err)
	if err == nil {
		x.f.signs.heartbeat.Store(now.UnixMilli())
	}
}

func (x *follower) outcome(ctx context.Context, what, msg string, err error) {
	switch {
	case ctx.Err() != nil:
	case err != nil:
		x.f.outages.report(what, msg, err)
	default:
		x.f.outages.over(what)
	}
}

// carriesHeartbeats tells whether the source has heartbeats of its own.
func (f *flow) carriesHeartbeats() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	for id := range f.lanes {
		if f.policy.Heartbeats(id.Topic) {
			return true
		}
	}
	return false
}

// writeSyncs writes one offset sync for each lane that has moved: its last record.
func (x *follower) writeSyncs(ctx context.Context) error {
	var out []mm2.OffsetSync
	ends := map[lane.ID]offsets.Source{}
	for _, m := range x.f.members() {
		s, t, ok := m.lane.Last()
		if id := m.lane.ID; ok && x.synced[id] != s+1 {
			out = append(out, mm2.OffsetSync{Topic: id.Topic, Partition: id.Partition, Upstream: s, Downstream: t})
			ends[id] = s + 1
		}
	}
	if err := x.syncs.Write(ctx, out); err != nil {
		return err
	}
	for id, end := range ends {
		x.synced[id] = end
	}
	return nil
}

// Place implements groups.Lanes.
func (f *flow) Place(topic string, partition int32, at offsets.Source) (p groups.Place, ok bool) {
	f.mu.Lock()
	m := f.lanes[lane.ID{Topic: topic, Partition: partition}]
	f.mu.Unlock()
	if m == nil {
		return p, false
	}
	p.TargetTopic = m.lane.TargetTopic
	if id := m.topic.Load(); id != nil {
		p.TargetID = *id
	}
	p.Target, p.Found, p.Again, p.End, ok = m.lane.Translate(at)
	if !ok {
		p.Target, p.End, p.Why = offsets.UnknownTarget, offsets.UnknownTarget, standing(m.lane)
	}
	return p, true
}

// standing says in words what a lane does instead of carrying.
func standing(l *lane.Lane) string {
	s := l.Snapshot()
	if s.Reason == "" {
		return "its lane is " + shown(s).String()
	}
	return fmt.Sprintf("its lane is %s: %s", shown(s), s.Reason)
}

// Carries implements groups.Lanes.
func (f *flow) Carries(topic string) bool {
	return (f.filter.Match(topic) || f.policy.Heartbeats(topic)) && !f.policy.Cycle(topic)
}

// offsetRows are the rows of a round as the daemon gives them.
func offsetRows(flow string, r *groups.Report) []OffsetRow {
	rows := make([]OffsetRow, len(r.Rows))
	for i := range r.Rows {
		x := &r.Rows[i]
		rows[i] = OffsetRow{
			Flow: flow, Group: x.Group, TargetGroup: x.TargetGroup, Topic: x.Topic, TargetTopic: x.TargetTopic, Partition: x.Partition,
			SourceOffset: int64(x.Source), TargetOffset: int64(x.Target), Verdict: x.Verdict.String(), Reason: x.Reason(),
			RecordsAgain: x.Again, Lag: x.Lag, At: r.At,
		}
	}
	return rows
}
