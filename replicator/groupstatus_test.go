package replicator

import (
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kferry/kferry/config"
)

// Groups hold a switch up where they would go on in a wrong place, and where nobody
// has looked lately.
func TestGroupReasons(t *testing.T) {
	now := time.Unix(1e9, 0)
	f := &flow{cfg: config.Flow{Name: "a-b", Groups: []string{".*"}, GroupsInterval: 20 * time.Second}, outages: newOutages(slog.New(slog.DiscardHandler), 0)}
	check := func(what string, want ...string) {
		t.Helper()
		g := f.groupsNow()
		fs := FlowStatus{Groups: g.list, Verdicts: g.verdicts}
		got := f.groupReasons(&fs, now)
		if !slices.EqualFunc(got, want, strings.HasPrefix) || len(got) != len(want) {
			t.Errorf("%s: got %q, want %q", what, got, want)
		}
	}
	check("no round yet", "consumer groups were not compared yet")
	f.signs.groups.Store(now.Add(-time.Minute).UnixMilli())
	check("no groups")
	rows := []OffsetRow{
		{Group: "billing", Topic: "t", Verdict: "exact", Lag: 5},
		{Group: "billing", Topic: "t", Partition: 1, Verdict: "not_mirrored_yet", Lag: 7, Reason: "wait"},
		{Group: "billing", Topic: "t", Partition: 2, Verdict: "failed", Lag: -1, Reason: "no answer"},
		{Group: "late", Topic: "t", Verdict: "no_commit", Lag: -1},
		{Group: "odd", Partition: -1, Verdict: "not_authorised", Lag: -1},
	}
	f.groupRows.Store(&rows)
	check("some are not synced", `2 consumer groups would not go on in the right place, in 3 partitions: "billing", "odd"`)
	now = now.Add(time.Millisecond)
	check("the round is old", "consumer groups were last compared 1m0s ago", "2 consumer groups")
	if first := f.groupsNow(); f.groupsNow() != first {
		t.Error("one round is added up twice")
	}
	g := f.groupsNow().list
	if len(g) != 3 || g[0].Group != "billing" || g[0].Partitions != 3 || g[0].Unsynced != 2 || g[0].Lag != 12 || g[0].Reason != "wait" ||
		g[1].Unsynced != 0 || g[1].Lag != -1 || g[1].Reason != "" || g[2].Verdicts["not_authorised"] != 1 {
		t.Errorf("got %+v", g)
	}
	f.cfg.Groups = nil
	check("none are followed")
}
