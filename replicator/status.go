package replicator

import (
	"cmp"
	"slices"
	"time"

	"github.com/kferry/kferry/replicator/lane"
)

// Status is the daemon at one moment.
type Status struct{ Flows []FlowStatus }

// FlowStatus is one flow; its lanes are sorted by topic and partition.
type FlowStatus struct {
	Name, Source, Target string // cluster aliases
	Lanes                []LaneStatus
}

// LaneStatus is one lane.
type LaneStatus struct {
	Topic, TargetTopic string
	Partition          int32
	State, Reason      string
	Records, Bytes     int64   // carried since the start
	Position           int64   // the source offset below which the target has everything
	TargetPosition     int64   // a target offset: what follows Position is stored at it or above
	Lag                int64   // source offsets that the target lacks; -1: not known yet
	LagSeconds         float64 // age of the oldest of them; 0 where Lag is; -1: not known
	LagStale           bool    // the source did not tell lately where it ends: Lag was true once
}

// Status describes every lane.
func (d *Daemon) Status() Status {
	var s Status
	for _, f := range d.flows {
		fs := FlowStatus{Name: f.cfg.Name, Source: f.source.Alias(), Target: f.target.Alias()}
		now := time.Now()
		for _, m := range f.members() {
			fs.Lanes = append(fs.Lanes, laneStatus(m, now))
		}
		slices.SortFunc(fs.Lanes, func(a, b LaneStatus) int {
			return cmp.Or(cmp.Compare(a.Topic, b.Topic), cmp.Compare(a.Partition, b.Partition))
		})
		s.Flows = append(s.Flows, fs)
	}
	return s
}

func laneStatus(m *member, now time.Time) LaneStatus {
	s := m.lane.Snapshot()
	lag := lagOf(&s, now)
	return LaneStatus{
		Topic: m.lane.Topic, TargetTopic: m.lane.TargetTopic, Partition: m.lane.Partition,
		State: shown(s).String(), Reason: s.Reason, Position: int64(s.Source), TargetPosition: int64(s.Target),
		Records: s.Records, Bytes: s.Bytes, Lag: lag.records, LagSeconds: lag.seconds, LagStale: lag.stale,
	}
}

// shown is the state as users see it: a lane whose source is away still sends
// what it holds, but it waits.
func shown(s lane.Snapshot) lane.State {
	if s.State == lane.Running && s.Reason != "" {
		return lane.Waiting
	}
	return s.State
}
