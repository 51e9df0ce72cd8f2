package replicator

import (
	"maps"
	"slices"
	"time"
)

// GroupStatus is a consumer group over all of its partitions that this replica has.
type GroupStatus struct {
	Group, TargetGroup string
	Partitions         int
	Unsynced           int            // where it would not go on in the right place if it switched now
	Lag                int64          // records that it would have to read, where that is known; -1: nowhere
	Verdicts           map[string]int // partitions by verdict
	Reason             string         // of the first partition that is not synced; "": all are
	At                 time.Time      // when both sides were asked
}

// groupView is what a round over the groups comes to. It is made once for each
// round, however often somebody looks.
type groupView struct {
	rows     *[]OffsetRow
	list     []GroupStatus
	verdicts map[string]int
}

// groupsNow is the last round of a flow that follows groups.
func (f *flow) groupsNow() *groupView {
	rows := f.groupRows.Load()
	if v := f.groupView.Load(); v != nil && v.rows == rows {
		return v
	}
	v := &groupView{rows: rows, verdicts: map[string]int{}}
	if rows != nil {
		v.add(*rows)
	}
	f.groupView.Store(v)
	return v
}

func (v *groupView) add(rows []OffsetRow) {
	by := map[string]*GroupStatus{}
	for i := range rows {
		r := &rows[i]
		v.verdicts[r.Verdict]++
		g := by[r.Group]
		if g == nil {
			g = &GroupStatus{Group: r.Group, TargetGroup: r.TargetGroup, Lag: -1, Verdicts: map[string]int{}, At: r.At}
			by[r.Group] = g
		}
		g.Partitions++
		g.Verdicts[r.Verdict]++
		if r.Lag >= 0 {
			g.Lag = max(g.Lag, 0) + r.Lag
		}
		if slices.Contains(unsynced, r.Verdict) {
			if g.Unsynced++; g.Unsynced == 1 {
				g.Reason = r.Reason
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(by)) {
		v.list = append(v.list, *by[name])
	}
}
