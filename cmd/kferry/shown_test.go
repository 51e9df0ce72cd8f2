package main

import (
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/kferry/kferry/internal/web"
	"github.com/kferry/kferry/replicator"
	"github.com/kferry/kferry/replicator/lane"
	"github.com/kferry/kferry/replicator/progress"
)

// What is not known is nothing on the way to the web, and never a number.
func TestShown(t *testing.T) {
	when := time.Date(2026, 11, 26, 10, 0, 0, 0, time.UTC)
	nothing := replicator.Tally{Lag: -1, LagSeconds: -1}
	full := replicator.Tally{Lag: 7, LagSeconds: 1.5, Records: 10, Bytes: 20, RecordsPerSecond: 1.26, BytesPerSecond: 2.04, Stale: 1, Lost: 2, Twice: 3, Aside: 4}
	full.States[lane.Running], full.States[lane.Stopped] = 2, 1
	v := shown{&fakeDaemon{status: replicator.Status{
		Version: "v1", Instance: "i", Started: when, At: when, MemoryUsed: 1, MemoryLimit: 2,
		Clusters: []replicator.ClusterStatus{{Alias: "a", Up: true, Since: when}, {Alias: "b", Err: errors.New("away")}},
		Problems: []replicator.Problem{{Severity: replicator.Failing, Flow: "f", Topic: "t", Partition: 3, Text: "so"}, {Partition: -1}},
		Flows: []replicator.FlowStatus{
			{Name: "f", Source: "a", Target: "b", Leads: true, Slots: 8, Partitions: 3, Tally: full, ETA: 9, Paused: &progress.Pause{By: "ann", At: when},
				Lanes:    []replicator.LaneStatus{{Topic: "t", State: "running", Lag: 7, LagSeconds: 1.5, LagStale: true, RecordsPerSecond: 1.26}, {Topic: "u", Lag: -1, LagSeconds: -1}},
				Topics:   []replicator.TopicStatus{{Topic: "t", TargetTopic: "x.t", Tally: full}, {Topic: "u", Tally: nothing}},
				Groups:   []replicator.GroupStatus{{Group: "g", Unsynced: 2, Lag: -1}, {Group: "h", Unsynced: 1, Lag: 5}},
				Verdicts: map[string]int{"exact": 1, "failed": 3}},
			{Name: "empty", Partitions: 4, Others: 4, Tally: nothing, ETA: -1, Reasons: []string{"it starts"}},
		},
	}}}.View()
	s := v.Status
	if s.Healthy || len(s.Problems) != 2 || s.Problems[0].Severity != "error" || *s.Problems[0].Partition != 3 || s.Problems[1].Severity != "warning" || s.Problems[1].Partition != nil {
		t.Errorf("problems: %v %+v", s.Healthy, s.Problems)
	}
	if c := s.Clusters; !c[0].Up || !c[0].Since.Equal(when) || c[0].Error != "" || c[1].Up || c[1].Since != nil || c[1].Error != "away" {
		t.Errorf("clusters: %+v", c)
	}
	f, e := s.Flows[0], s.Flows[1]
	if *f.Partitions != 3 || *f.LagRecords != 7 || *f.LagSeconds != 1.5 || *f.ETASeconds != 9 || f.RecordsPerSecond != 1.3 || f.BytesPerSecond != 2 || f.Groups.Unsynced != 3 ||
		f.Groups.Partitions["failed"] != 3 || f.LostOffsets != 2 || f.PossibleDuplicates != 3 || f.DeadLetters != 4 || f.StaleLanes != 1 || !f.Switch.Safe || f.Switch.Reasons == nil ||
		f.Paused.By != "ann" || f.Lanes["running"] != 2 || f.Lanes["stopped"] != 1 || len(f.Lanes) != int(lane.States) {
		t.Errorf("flow: %+v", f)
	}
	if e.Partitions != nil || e.LagRecords != nil || e.LagSeconds != nil || e.ETASeconds != nil || e.Switch.Safe || e.Switch.Others != 4 || e.Paused != nil {
		t.Errorf("empty flow: %+v", e)
	}
	if l := v.Lanes; *l[0].LagRecords != 7 || *l[0].LagSeconds != 1.5 || !l[0].LagStale || l[0].RecordsPerSecond != 1.3 || l[1].LagRecords != nil || l[1].LagSeconds != nil {
		t.Errorf("lanes: %+v", l)
	}
	if x := v.Topics; *x[0].LagRecords != 7 || len(x[0].Lanes) != 2 || x[1].LagRecords != nil || x[1].LagSeconds != nil {
		t.Errorf("topics: %+v", x)
	}
	if g := v.Groups; g[0].Lag != nil || *g[1].Lag != 5 || g[1].Flow != "f" {
		t.Errorf("groups: %+v", g)
	}
	if !(shown{new(fakeDaemon)}).View().Status.Healthy {
		t.Error("without a problem it is not healthy")
	}
}

func TestActing(t *testing.T) {
	level := new(slog.LevelVar)
	a := acting{level: level}
	if err := a.SetLogLevel("debug"); err != nil || level.Level() != slog.LevelDebug {
		t.Errorf("%v, %v", err, level)
	}
	for _, bad := range []string{"", "loud", "DEBUG+1"} {
		if err := a.SetLogLevel(bad); err == nil || !strings.Contains(err.Error(), "debug, info, warn or error") || level.Level() != slog.LevelDebug {
			t.Errorf("%q: %v, %v", bad, err, level)
		}
	}
	for cause, want := range map[error]error{replicator.ErrUnknown: web.ErrUnknown, replicator.ErrNotNow: web.ErrNotNow} {
		if err := refused(cause); !errors.Is(err, want) || err.Error() != cause.Error() {
			t.Errorf("%v: got %v", cause, err)
		}
	}
	if other := errors.New("other"); !errors.Is(refused(other), other) || refused(nil) != nil {
		t.Error("another error is changed")
	}
}
