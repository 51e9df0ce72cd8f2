package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"strings"

	"github.com/kferry/kferry/config"
	"github.com/kferry/kferry/internal/web"
	"github.com/kferry/kferry/replicator"
	"github.com/kferry/kferry/replicator/lane"
)

// shown is a daemon as the web server sees it.
type shown struct{ daemon }

// View implements web.Source.
func (s shown) View() *web.View {
	now := s.Status()
	v := &web.View{Status: web.Status{
		Version: now.Version, StartedAt: now.Started.UTC(), Now: now.At.UTC(), Instance: now.Instance, Healthy: true,
		Problems: []web.Problem{}, Clusters: []web.Cluster{}, Flows: []web.Flow{}, Memory: web.Memory{Used: now.MemoryUsed, Limit: now.MemoryLimit},
	}}
	for _, p := range now.Problems {
		v.Status.Healthy = v.Status.Healthy && p.Severity != replicator.Failing
		v.Status.Problems = append(v.Status.Problems, web.Problem{Severity: p.Severity.String(), Flow: p.Flow, Topic: p.Topic, Partition: known(p.Partition), Text: p.Text})
	}
	for _, c := range now.Clusters {
		x := web.Cluster{Alias: c.Alias, Up: c.Up}
		if c.Err != nil {
			x.Error = c.Err.Error()
		}
		if !c.Since.IsZero() {
			since := c.Since.UTC()
			x.Since = &since
		}
		v.Status.Clusters = append(v.Status.Clusters, x)
	}
	for i := range now.Flows {
		f := &now.Flows[i]
		v.Status.Flows = append(v.Status.Flows, shownFlow(f))
		for j := range f.Topics {
			v.Topics = append(v.Topics, shownTopic(f.Name, &f.Topics[j]))
		}
		for j := range f.Lanes {
			v.Lanes = append(v.Lanes, shownLane(f.Name, &f.Lanes[j]))
		}
		for j := range f.Groups {
			g := &f.Groups[j]
			v.Groups = append(v.Groups, web.Group{Flow: f.Name, Group: g.Group, TargetGroup: g.TargetGroup, Partitions: g.Partitions, Unsynced: g.Unsynced,
				Lag: known(g.Lag), Verdicts: g.Verdicts, Reason: g.Reason, At: g.At})
		}
	}
	return v
}

// known is nil for the -1 that stands where there is no number.
func known[N int32 | int64 | float64](n N) *N {
	if n < 0 {
		return nil
	}
	return &n
}

// tenth rounds a rate: the digits behind are noise.
func tenth(rate float64) float64 { return math.Round(rate*10) / 10 }

func shownFlow(f *replicator.FlowStatus) web.Flow {
	x := web.Flow{
		Name: f.Name, Source: f.Source, Target: f.Target, Engine: config.EngineKferry, Leads: f.Leads, Slots: f.Slots, Lanes: byState(f.States, true),
		Records: f.Records, Bytes: f.Bytes, RecordsPerSecond: tenth(f.RecordsPerSecond), BytesPerSecond: tenth(f.BytesPerSecond),
		LagRecords: known(f.Lag), LagSeconds: known(f.LagSeconds), StaleLanes: f.Stale, ETASeconds: known(f.ETA),
		LostOffsets: f.Lost, PossibleDuplicates: f.Twice, DeadLetters: f.Aside,
		Groups: web.FlowGroups{Partitions: map[string]int{}},
		Switch: web.Switch{Safe: len(f.Reasons) == 0, Reasons: append([]string{}, f.Reasons...), Others: f.Others},
	}
	if f.Leads && f.Partitions >= 0 {
		x.Partitions = &f.Partitions
	}
	if f.Watched {
		x.Engine = config.EngineAiven
	}
	if c := f.Carried; c != nil {
		x.Aiven = &web.AivenFlow{Enabled: c.Enabled, Progress: known(c.Progress)}
	}
	for verdict, n := range f.Verdicts {
		x.Groups.Partitions[verdict] = n
	}
	for i := range f.Groups {
		x.Groups.Unsynced += f.Groups[i].Unsynced
	}
	if p := f.Paused; p != nil {
		x.Paused = &web.Paused{By: p.By, Since: p.At.UTC()}
	}
	return x
}

// byState counts lanes by the names of their states.
func byState(states [lane.States]int, all bool) map[string]int {
	out := map[string]int{}
	for s, n := range states {
		if all || n > 0 {
			out[lane.State(s).String()] = n
		}
	}
	return out
}

func shownTopic(flow string, t *replicator.TopicStatus) web.Topic {
	return web.Topic{
		Flow: flow, Topic: t.Topic, TargetTopic: t.TargetTopic, Lanes: byState(t.States, false), LagRecords: known(t.Lag), LagSeconds: known(t.LagSeconds),
		RecordsPerSecond: tenth(t.RecordsPerSecond), BytesPerSecond: tenth(t.BytesPerSecond),
	}
}

func shownLane(flow string, l *replicator.LaneStatus) web.Lane {
	x := web.Lane{
		Flow: flow, Topic: l.Topic, TargetTopic: l.TargetTopic, Partition: l.Partition, State: l.State, Reason: l.Reason,
		SourceOffset: l.Position, TargetOffset: l.TargetPosition, LagRecords: known(l.Lag), LagStale: l.LagStale, Records: l.Records, Bytes: l.Bytes,
		RecordsPerSecond: tenth(l.RecordsPerSecond), BytesPerSecond: tenth(l.BytesPerSecond),
	}
	if l.Lag >= 0 {
		x.LagSeconds = known(l.LagSeconds)
	}
	return x
}

// History implements web.Source.
func (s shown) History(flow, topic string) []web.Point {
	out := []web.Point{} // [] and not null
	for _, p := range s.daemon.History(flow, topic) {
		out = append(out, web.Point{p.At, p.Lag})
	}
	return out
}

// Events implements web.Source.
func (s shown) Events(after uint64) (out []web.Event) {
	for _, e := range s.daemon.Events(after) {
		out = append(out, web.Event{
			Seq: e.Seq, At: e.At.UTC(), Level: strings.ToLower(e.Level.String()), Flow: e.Flow, Topic: e.Topic, Partition: known(e.Partition), Text: e.Text,
		})
	}
	return out
}

// acting is a daemon and its log as the web server has them act.
type acting struct {
	daemon
	level *slog.LevelVar
}

// Pause implements web.Actor, and so on.
func (a acting) Pause(ctx context.Context, flow, topic, by string) error {
	return refused(a.daemon.Pause(ctx, flow, topic, by))
}

func (a acting) Resume(ctx context.Context, flow, topic string) error {
	return refused(a.daemon.Resume(ctx, flow, topic))
}

func (a acting) Retry(ctx context.Context, flow, topic string, partition int32) error {
	return refused(a.daemon.Retry(ctx, flow, topic, partition))
}

func (a acting) SetLogLevel(name string) error {
	level, err := logLevel(name)
	if err == nil {
		a.level.Set(level)
	}
	return err
}

// refused tells the web server what kind of an error it is.
func refused(err error) error {
	switch {
	case errors.Is(err, replicator.ErrUnknown):
		return fmt.Errorf("%w%w", err, silent{web.ErrUnknown})
	case errors.Is(err, replicator.ErrNotNow):
		return fmt.Errorf("%w%w", err, silent{web.ErrNotNow})
	}
	return err
}

// silent is an error that is there to be found, and says nothing.
type silent struct{ error }

func (silent) Error() string   { return "" }
func (s silent) Unwrap() error { return s.error }
