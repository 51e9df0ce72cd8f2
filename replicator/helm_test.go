package replicator

import (
	"testing"

	"github.com/kferry/kferry/replicator/budget"
	"github.com/kferry/kferry/replicator/catalog"
	"github.com/kferry/kferry/replicator/fetch"
	"github.com/kferry/kferry/replicator/lane"
)

// A fetcher that was told that no offsets go missing must not go on counting on it when the source becomes compacted:
// it could skip records that nobody carried.
func TestSourceBecomesCompacted(t *testing.T) {
	for _, c := range []struct {
		before, after, fetching, anew bool
	}{
		{before: true, after: false, fetching: true, anew: true},
		{before: true, after: false, fetching: false},
		{before: false, after: true, fetching: true},
		{before: true, after: true, fetching: true},
	} {
		h := newHelm(&flow{})
		m := &member{lane: lane.New(lane.ID{Topic: "t"}, "t"), place: catalog.Place{Exact: c.before, Limit: 1}}
		if c.fetching {
			m.fetcher = fetch.New(fetch.Options{Budget: budget.New(1 << 20)})
		}
		h.moved(m, catalog.Place{Exact: c.after, Limit: 1})
		if anew := m.drained != nil && m.fetcher == nil; anew != c.anew || m.place.Exact != c.after {
			t.Errorf("%+v: found anew %v, place %+v", c, anew, m.place)
		}
	}
}
