package main

import (
	"encoding/json"
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/kferry/kferry/internal/web"
	"github.com/kferry/kferry/replicator"
	"github.com/kferry/kferry/replicator/lane"
)

var noon = time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)

// aStatus is a daemon with half of a flow of 8 partitions; the other replica has the other half.
func aStatus(instance string) replicator.Status {
	states := [lane.States]int{}
	states[lane.Running] = 4
	return replicator.Status{
		Version: "v1.2.3", Instance: instance, Started: noon.Add(-2*time.Hour - 3*time.Minute), At: noon, MemoryUsed: 1e6, MemoryLimit: 64e6,
		Clusters: []replicator.ClusterStatus{{Alias: "new", Up: true, Since: noon.Add(-time.Hour)}, {Alias: "old", Up: true, Since: noon.Add(-time.Hour)}},
		Flows: []replicator.FlowStatus{{
			Name: "old-new", Source: "old", Target: "new", Ready: true, Leads: instance == "a", Slots: 4, Partitions: 8, Others: 4,
			Tally: replicator.Tally{States: states, Records: 1_234_567, Bytes: 5e9, RecordsPerSecond: 1000, BytesPerSecond: 2e6, Lag: 1500, LagSeconds: 90},
			ETA:   120, Verdicts: map[string]int{"exact": 3, "not_mirrored_yet": 1}, Groups: []replicator.GroupStatus{{Group: "g", Unsynced: 1}},
			Reasons: []string{"1500 records are not on the target yet", "4 of the flow's 8 partitions are not with this replica: ask the replicas that have them"},
			Topics: []replicator.TopicStatus{
				{Topic: "idle", TargetTopic: "idle", Tally: replicator.Tally{States: states}},
				{Topic: "pizza", TargetTopic: "x.pizza", Tally: replicator.Tally{States: states, Lag: 1500, LagSeconds: 90, RecordsPerSecond: 1000, BytesPerSecond: 2e6}},
			},
		}},
	}
}

func TestStatusOfOne(t *testing.T) {
	defer goleak.VerifyNone(t)
	t.Run("", func(t *testing.T) { // its clean-up ends before the check for leaks
		url := served(t, &fakeDaemon{status: aStatus("a")})
		code, stdout, stderr := kferry(t, "status", "--url", url)
		want := `kferry v1.2.3 (instance a, up 2h3m): healthy

CLUSTER  STATE    FOR
new      answers  1h0m
old      answers  1h0m
memory for records: 1.0 MB of 64.0 MB

flow old-new: old -> new
  lanes     4 running
  carried   1,234,567 records, 5.0 GB; now 1,000 records/s, 2.0 MB/s
  lag       1,500 records, the oldest 1m30s old; gone in about 2m0s
  groups    partitions: 3 exact, 1 not_mirrored_yet; 1 not in sync
  switch    not safe, because
            - 1500 records are not on the target yet
            - 4 of the flow's 8 partitions are not with this replica: ask the replicas that have them
`
		if code != 0 || stdout != want || stderr != "" {
			t.Errorf("exit code %d, %s\ngot\n%s\nwant\n%s", code, stderr, stdout, want)
		}
	})
}

// Something is wrong, and hostile names do no harm.
func TestStatusUnhealthy(t *testing.T) {
	st := aStatus("b\x1b[2J")
	st.Problems = []replicator.Problem{
		{Severity: replicator.Failing, Flow: "old-new", Topic: "piz\x1bza", Partition: 3, Text: "stopped: the target\nrefuses\x1b[31m"},
		{Severity: replicator.Warning, Partition: -1, Text: "something is odd"},
	}
	st.Clusters[1] = replicator.ClusterStatus{Alias: "old", Since: noon.Add(-time.Minute), Err: errors.New("connection\nrefused")}
	f := &st.Flows[0]
	f.Reasons, f.Others, f.Lost, f.Stale, f.Lag, f.Verdicts = nil, 0, 7, 2, -1, nil
	url := served(t, &fakeDaemon{status: st})
	code, stdout, stderr := kferry(t, "status", "--url", url)
	if code != exitUnwell || stderr != "kferry: not healthy: 1 error\n" || strings.Contains(stdout, "\x1b") {
		t.Errorf("exit code %d, stderr %q, stdout %q", code, stderr, stdout)
	}
	for _, want := range []string{
		"(instance \"b\\x1b[2J\", up 2h3m): NOT healthy\n  error    old-new, topic \"piz\\x1bza\", partition 3: stopped: the target refuses?[31m\n  warning  something is odd\n",
		"old      does not answer: connection refused  1m0s\n", "lag       not known; stale in 2 lanes\n", "7 offsets lost", "switch    safe: ",
	} {
		if !strings.Contains(stdout, want) {
			t.Errorf("no %q in\n%s", want, stdout)
		}
	}
	code, stdout, _ = kferry(t, "status", "--json", "--url", url)
	var got web.Status
	if err := json.Unmarshal([]byte(stdout), &got); err != nil || code != exitUnwell || got.Healthy || len(got.Problems) != 2 {
		t.Errorf("exit code %d, %v: %s", code, err, stdout)
	}
}

// Two replicas together have all of the flow; without the second one, somebody must ask further.
func TestStatusOfReplicas(t *testing.T) {
	b := aStatus("b")
	b.Started = noon.Add(-time.Hour)
	b.Flows[0].ETA, b.Flows[0].LagSeconds = 30, 100
	b.Problems = []replicator.Problem{{Severity: replicator.Warning, Partition: -1, Text: "odd"}, {Severity: replicator.Warning, Partition: -1, Text: "odd"}}
	b.Clusters[0].Up = false
	one, two := served(t, &fakeDaemon{status: aStatus("a")}), served(t, &fakeDaemon{status: b})
	code, stdout, stderr := kferry(t, "status", "--url", one, "--url", two)
	if code != 0 || stderr != "" {
		t.Errorf("exit code %d: %s", code, stderr)
	}
	for _, want := range []string{
		"kferry v1.2.3 (instance a, b, up 2h3m): healthy, with warnings\n  warning  odd\n\n", "new      does not answer", "memory for records: 2.0 MB of 128.0 MB",
		"  lanes     8 running\n  carried   2,469,134 records, 10.0 GB; now 2,000 records/s, 4.0 MB/s\n  lag       3,000 records, the oldest 1m40s old; gone in about 2m0s\n",
		"partitions: 6 exact, 2 not_mirrored_yet; 2 not in sync", "because\n            - 1500 records are not on the target yet\n",
	} {
		if !strings.Contains(stdout, want) {
			t.Errorf("no %q in\n%s", want, stdout)
		}
	}
	if strings.Contains(stdout, "partitions are") {
		t.Errorf("all partitions are there:\n%s", stdout)
	}

	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	gone := "http://" + ln.Addr().String()
	ln.Close()
	code, stdout, _ = kferry(t, "status", "--url", one, "--url", gone)
	if code != exitUnwell || !strings.Contains(stdout, "error    no kferry answers") || !strings.Contains(stdout, "4 of the flow's 8 partitions are with none of the replicas") {
		t.Errorf("exit code %d:\n%s", code, stdout)
	}
	if code, _, stderr := kferry(t, "status", "--url", gone); code != 1 || !strings.Contains(stderr, "no kferry answers") {
		t.Errorf("exit code %d: %s", code, stderr)
	}
	if code, _, _ := kferry(t, "status", "-c", "missing.yaml"); code != 3 {
		t.Errorf("exit code %d", code)
	}
}

func TestLongestETA(t *testing.T) {
	n := func(x float64) *float64 { return &x }
	lag, none := int64(5), int64(0)
	lanes := map[string]int{"running": 1}
	for _, c := range []struct {
		a, b web.Flow
		want *float64
	}{
		{web.Flow{Lanes: lanes, LagRecords: &lag, ETASeconds: n(3)}, web.Flow{Lanes: lanes, LagRecords: &lag, ETASeconds: n(9)}, n(9)},
		{web.Flow{Lanes: lanes, LagRecords: &lag, ETASeconds: n(3)}, web.Flow{Lanes: lanes, LagRecords: &none}, n(3)},
		{web.Flow{Lanes: lanes, LagRecords: &lag, ETASeconds: n(3)}, web.Flow{}, n(3)},
		{web.Flow{Lanes: lanes, LagRecords: &lag, ETASeconds: n(3)}, web.Flow{Lanes: lanes, LagRecords: &lag}, nil},
		{web.Flow{Lanes: lanes, LagRecords: &lag, ETASeconds: n(3)}, web.Flow{Lanes: lanes}, nil},
	} {
		if got := longest(&c.a, &c.b); (got == nil) != (c.want == nil) || got != nil && *got != *c.want {
			t.Errorf("%+v %+v: got %v, want %v", c.a, c.b, got, c.want)
		}
	}
}

func TestSpan(t *testing.T) {
	for d, want := range map[time.Duration]string{
		-time.Second: "0s", 1400 * time.Millisecond: "1s", 90 * time.Second: "1m30s", 2*time.Hour + 3*time.Minute + 40*time.Second: "2h4m", 50 * time.Hour: "2d2h",
	} {
		if got := span(d); got != want {
			t.Errorf("%v: got %q, want %q", d, got, want)
		}
	}
}
