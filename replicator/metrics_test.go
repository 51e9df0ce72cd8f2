package replicator

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/kferry/kferry/config"
	"github.com/kferry/kferry/replicator/budget"
)

// Groups of a flow are a few series each, however many partitions they have, and
// every verdict has its series from the start, so that alerts can be written.
func TestGroupMetrics(t *testing.T) {
	follows := &flow{cfg: config.Flow{Name: "a-b", Groups: []string{".*"}}}
	rows := []OffsetRow{
		{Group: "billing", Topic: "t", Verdict: "exact", Lag: 5},
		{Group: "billing", Topic: "t", Partition: 1, Verdict: "floor", Lag: 7},
		{Group: "billing", Topic: "t", Partition: 2, Verdict: "not_mirrored_yet", Lag: -1},
		{Group: "denied", Partition: -1, Verdict: "not_authorised", Lag: -1},
		{Group: "old", Topic: "t", Verdict: "ahead_on_target", Lag: 0},
		{Group: "odd\xff", Topic: "t", Verdict: "target_active", Lag: 1},
	}
	follows.groupRows.Store(&rows)
	empty := &flow{cfg: config.Flow{Name: "b-c", Groups: []string{".*"}}}
	reg := prometheus.NewRegistry()
	if err := newMetrics(config.Metrics{}, "v1").register(reg, []*flow{follows, empty, {cfg: config.Flow{Name: "c-d"}}}, nil, budget.New(1<<20)); err != nil {
		t.Fatal(err)
	}
	want := []string{
		`kferry_group_lag_records{flow="a-b",group="billing"} 12`,
		`kferry_group_lag_records{flow="a-b",group="odd?"} 1`,
		`kferry_group_lag_records{flow="a-b",group="old"} 0`,
		`kferry_group_unsynced_partitions{flow="a-b",group="billing"} 1`,
		`kferry_group_unsynced_partitions{flow="a-b",group="denied"} 1`,
		`kferry_group_unsynced_partitions{flow="a-b",group="odd?"} 0`,
		`kferry_group_unsynced_partitions{flow="a-b",group="old"} 1`,
	}
	some := []string{"exact", "floor", "not_mirrored_yet", "not_authorised", "ahead_on_target", "target_active"}
	for _, v := range Verdicts {
		n := 0
		if slices.Contains(some, v) {
			n = 1
		}
		want = append(want, fmt.Sprintf(`kferry_group_partitions{flow="a-b",verdict=%q} %d`, v, n),
			fmt.Sprintf(`kferry_group_partitions{flow="b-c",verdict=%q} 0`, v))
	}
	got := gauges(t, reg, "kferry_group_")
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// gauges are the series whose name begins so, sorted.
func gauges(t *testing.T, reg *prometheus.Registry, prefix string) (lines []string) {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if !strings.HasPrefix(f.GetName(), prefix) {
			continue
		}
		for _, m := range f.GetMetric() {
			var labels []string
			for _, l := range m.GetLabel() {
				labels = append(labels, fmt.Sprintf("%s=%q", l.GetName(), l.GetValue()))
			}
			lines = append(lines, fmt.Sprintf("%s{%s} %v", f.GetName(), strings.Join(labels, ","), m.GetGauge().GetValue()))
		}
	}
	slices.Sort(lines)
	return lines
}

func TestUnsyncedAreVerdicts(t *testing.T) {
	for _, v := range unsynced {
		if !slices.Contains(Verdicts, v) {
			t.Errorf("%q is no verdict", v)
		}
	}
}

// Flows stay in the order of the configuration; one without a round yet has none.
func TestOffsetsOfAllFlows(t *testing.T) {
	rows := func(groups ...string) *flow {
		f, out := new(flow), []OffsetRow{}
		for _, g := range groups {
			out = append(out, OffsetRow{Group: g})
		}
		f.groupRows.Store(&out)
		return f
	}
	var got []string
	for _, r := range (&Daemon{flows: []*flow{rows("b", "c"), new(flow), rows("a")}}).Offsets() {
		got = append(got, r.Group)
	}
	if want := []string{"b", "c", "a"}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}
