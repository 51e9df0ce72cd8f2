package replicator

import (
	"strings"
	"testing"
	"time"

	"github.com/kferry/kferry/offsets"
	"github.com/kferry/kferry/replicator/lane"
)

// What a lane knows of an offset, in words.
func TestTraceInWords(t *testing.T) {
	now := time.UnixMilli(1e12)
	for _, c := range []struct {
		sight  lane.Sight
		where  string
		target int64
		exact  bool
		text   string
	}{
		{lane.Sight{}, "unknown", -1, false, "has not started yet"},
		{lane.Sight{Stage: lane.Before, Began: 9}, "before_start", -1, false, "began at source offset 9"},
		{lane.Sight{Stage: lane.Removed, Snapshot: lane.Snapshot{LogStart: 8}}, "before_start", -1, false, "begins at offset 8 now"},
		{lane.Sight{Stage: lane.Held}, "fetched", -1, false, "waits to be sent"},
		{lane.Sight{Stage: lane.Carried}, "carried", -1, false, "known once the lane has started"},
		{lane.Sight{Snapshot: lane.Snapshot{State: lane.Stopped}}, "unknown", -1, false, "may be about another topic"},
		{lane.Sight{Stage: lane.Carried, Snapshot: lane.Snapshot{State: lane.Stopped, Reason: "too large"}}, "carried", -1, false, "while the lane is stopped: too large"},
		{lane.Sight{Stage: lane.Carried, Mapped: true, First: 7, Last: 7, Found: offsets.Exact}, "carried", 7, true, "at offset 7"},
		{lane.Sight{Stage: lane.Carried, Mapped: true, First: 7, Last: 9, Found: offsets.Floor}, "carried", 7, false, "between offsets 7 and 9"},
		{lane.Sight{Stage: lane.Carried, Mapped: true, First: 7, Last: offsets.UnknownTarget, Found: offsets.Floor}, "carried", 7, false, "at offset 7 or behind"},
		{lane.Sight{Stage: lane.Carried, Mapped: true, Found: offsets.Gap}, "carried", -1, false, "no record of it"},
		{lane.Sight{Stage: lane.Beyond, Snapshot: lane.Snapshot{End: 5, Confirmed: now.UnixMilli()}}, "beyond_end", -1, false, "its log ends at 5"},
		{lane.Sight{Stage: lane.Beyond, Snapshot: lane.Snapshot{End: 5, Confirmed: now.Add(-time.Minute).UnixMilli()}}, "beyond_end", -1, false, "as it said 1m0s ago"},
		{lane.Sight{Stage: lane.Ahead, Snapshot: lane.Snapshot{Position: lane.Position{Source: 2}}}, "not_fetched", -1, false, "below source offset 2, which is 4 offsets before it"},
	} {
		got := Trace{Offset: 6, TargetOffset: -1}
		got.see(&c.sight, now)
		if got.Where != c.where || got.TargetOffset != c.target || got.Exact != c.exact || !strings.Contains(got.Text, c.text) {
			t.Errorf("%+v: got %+v\nwant %s %d %v %q", c.sight, got, c.where, c.target, c.exact, c.text)
		}
	}
}
