package replicator

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/kferry/kferry/replicator/budget"
	"github.com/kferry/kferry/replicator/lane"
)

// Topics are what their lanes are together; a lag that is not known is not 0.
func TestTopicsOf(t *testing.T) {
	got := topicsOf([]LaneStatus{
		{Topic: "a", TargetTopic: "x.a", State: "running", Lag: 5, LagSeconds: 2, Records: 1, Bytes: 2, RecordsPerSecond: 3},
		{Topic: "a", TargetTopic: "x.a", State: "waiting", Lag: -1, LagSeconds: -1, LagStale: true, RecordsPerSecond: 1},
		{Topic: "a", TargetTopic: "x.a", State: "running", Lag: 7, LagSeconds: 1},
		{Topic: "b", TargetTopic: "x.b", State: "stopped", Lag: -1, LagSeconds: -1},
	})
	if len(got) != 2 {
		t.Fatalf("got %+v", got)
	}
	a := newTally()
	a.States[lane.Running], a.States[lane.Waiting] = 2, 1
	a.Lag, a.LagSeconds, a.Stale, a.Unknown, a.Records, a.Bytes, a.RecordsPerSecond = 12, 2, 1, 1, 1, 2, 4
	b := newTally()
	b.States[lane.Stopped], b.Unknown = 1, 1
	if want := (TopicStatus{"a", "x.a", a}); got[0] != want {
		t.Errorf("got %+v, want %+v", got[0], want)
	}
	if want := (TopicStatus{"b", "x.b", b}); got[1] != want {
		t.Errorf("got %+v, want %+v", got[1], want)
	}
}

func TestMany(t *testing.T) {
	for n, want := range map[int64]string{0: "0 lanes", 1: "1 lane", 2: "2 lanes", 999: "999 lanes", 1000: "1,000 lanes", 1234567: "1,234,567 lanes"} {
		if got := many(n, "lane", "lanes"); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

// Of many lanes that stopped the first are told, and those of one topic and reason once.
func TestStoppedLanes(t *testing.T) {
	fs := FlowStatus{Name: "f"}
	for i := range 3 * problemsTold {
		topic := fmt.Sprintf("t%03d", i)
		fs.Lanes = append(fs.Lanes, LaneStatus{Topic: topic, State: "stopped", Reason: "why"}, LaneStatus{Topic: topic, Partition: 1, State: "running"})
		if i < 2 {
			fs.Lanes = append(fs.Lanes, LaneStatus{Topic: topic, Partition: 2, State: "stopped", Reason: []string{"why", "another"}[i]})
		}
	}
	got := stoppedLanes(&fs)
	var partitions []int32
	for _, p := range got[:3] {
		partitions = append(partitions, p.Partition)
	}
	if !slices.Equal(partitions, []int32{-1, 0, 2}) || len(got) != problemsTold+1 || got[problemsTold].Text != "41 lanes are stopped, too" {
		t.Errorf("got %d, first of %v, last %+v", len(got), partitions, got[len(got)-1])
	}
}

// BenchmarkStatus is what each look at a daemon with 10,000 lanes costs.
func BenchmarkStatus(b *testing.B) {
	f := laneFlow("flow")
	for topic := range 100 {
		for p := range int32(100) {
			f.carry(fmt.Sprintf("shop-%03d.orders.placed", topic), p, int64(p))
		}
	}
	d := &Daemon{flows: []*flow{f}, budget: budget.New(1 << 20), away: newOutages(nil, 0)}
	f.outages = newOutages(nil, 0)
	var took []time.Duration
	for b.Loop() {
		begin := time.Now()
		if s := d.Status(); len(s.Flows[0].Lanes) != 10_000 {
			b.Fatal(len(s.Flows[0].Lanes))
		}
		took = append(took, time.Since(begin))
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds())/1000, "p99-ms")
}
