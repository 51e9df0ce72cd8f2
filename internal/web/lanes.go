package web

import (
	"cmp"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// LanesPath is where the lanes are.
const LanesPath = "/api/v1/lanes"

// Lanes is the answer of LanesPath; docs/api.md describes it.
type Lanes struct {
	Lanes []Lane `json:"lanes"`
	Total int    `json:"total"` // that the query is about, before limit and offset
}

// Lane is one lane of a running process. Fields may be added, and keep their meaning.
type Lane struct {
	Flow             string   `json:"flow"`
	Topic            string   `json:"topic"`
	TargetTopic      string   `json:"target_topic"`
	Partition        int32    `json:"partition"`
	State            string   `json:"state"`
	Reason           string   `json:"reason"`
	SourceOffset     int64    `json:"source_offset"` // the target has everything below
	TargetOffset     int64    `json:"target_offset"`
	LagRecords       *int64   `json:"lag_records"` // nil: the source's end is not known
	LagSeconds       *float64 `json:"lag_seconds"` // nil where LagRecords is
	LagStale         bool     `json:"lag_stale"`   // what is said of the lag was true once
	Records          int64    `json:"records"`     // carried since the start
	Bytes            int64    `json:"bytes"`
	RecordsPerSecond float64  `json:"records_per_second"`
	BytesPerSecond   float64  `json:"bytes_per_second"`
}

// states are those of lanes, the worst first.
var states = []string{"stopped", "waiting", "paused", "starting", "running"}

// laneOrders are what lanes can be sorted by. A lag that is not known is more than any.
var laneOrders = map[string]func(a, b *Lane) int{
	"topic": func(a, b *Lane) int {
		return cmp.Or(cmp.Compare(a.Topic, b.Topic), cmp.Compare(a.Partition, b.Partition), cmp.Compare(a.Flow, b.Flow))
	},
	"state":              func(a, b *Lane) int { return cmp.Compare(slices.Index(states, a.State), slices.Index(states, b.State)) },
	"partition":          func(a, b *Lane) int { return cmp.Compare(a.Partition, b.Partition) },
	"lag_records":        func(a, b *Lane) int { return compareKnown(a.LagRecords, b.LagRecords) },
	"lag_seconds":        func(a, b *Lane) int { return compareKnown(a.LagSeconds, b.LagSeconds) },
	"source_offset":      func(a, b *Lane) int { return cmp.Compare(a.SourceOffset, b.SourceOffset) },
	"records":            func(a, b *Lane) int { return cmp.Compare(a.Records, b.Records) },
	"bytes":              func(a, b *Lane) int { return cmp.Compare(a.Bytes, b.Bytes) },
	"records_per_second": func(a, b *Lane) int { return cmp.Compare(a.RecordsPerSecond, b.RecordsPerSecond) },
	"bytes_per_second":   func(a, b *Lane) int { return cmp.Compare(a.BytesPerSecond, b.BytesPerSecond) },
}

func compareKnown[N int64 | float64](a, b *N) int {
	switch {
	case a == nil && b == nil:
		return 0
	case a == nil:
		return 1
	case b == nil:
		return -1
	}
	return cmp.Compare(*a, *b)
}

// lanesMost is the largest limit: more in one answer is what no limit is for.
const lanesMost = 10_000

// laneQuery chooses lanes.
type laneQuery struct {
	flow, topic, state string // "": any; topic is a part of the name, in any case
	sort               string // of laneOrders; "": as they are
	descending         bool
	limit, offset      int // limit 0: all
}

// readLaneQuery reads what a query says about lanes; what is missing is as in fallback,
// and no limit is above most.
func readLaneQuery(q url.Values, fallback laneQuery, most int64) (l laneQuery, err error) {
	l = fallback
	l.flow, l.topic, l.state = q.Get("flow"), q.Get("topic"), q.Get("state")
	if q.Has("sort") {
		l.sort, l.descending = q.Get("sort"), false
	}
	if l.state != "" && !slices.Contains(states, l.state) {
		return l, fmt.Errorf("state is %q: must be one of %s", l.state, strings.Join(states, ", "))
	}
	if _, ok := laneOrders[l.sort]; !ok && l.sort != "" {
		return l, fmt.Errorf("sort is %q: must be one of %s", l.sort, strings.Join(slices.Sorted(maps.Keys(laneOrders)), ", "))
	}
	switch order := q.Get("order"); order {
	case "":
	case "asc", "desc":
		l.descending = order == "desc"
	default:
		return l, fmt.Errorf("order is %q: must be asc or desc", order)
	}
	limit, err := readUpTo(q, "limit", int64(l.limit), 1, most)
	if err != nil {
		return l, err
	}
	offset, err := readUpTo(q, "offset", 0, 0, 1<<31-1)
	l.limit, l.offset = int(limit), int(offset)
	return l, err
}

// readUpTo reads a number that may be missing.
func readUpTo(q url.Values, name string, fallback, least, most int64) (int64, error) {
	if q.Get(name) == "" {
		return fallback, nil
	}
	n, err := strconv.ParseInt(q.Get(name), 10, 64)
	if err != nil || n < least || n > most {
		return 0, fmt.Errorf("%s is %q: must be a number from %d to %d", name, q.Get(name), least, most)
	}
	return n, nil
}

// choose returns the lanes that q asks for, and how many there are without limit.
func (q laneQuery) choose(all []Lane) (chosen []Lane, total int) {
	topic := strings.ToLower(q.topic)
	var at []*Lane
	for i := range all {
		l := &all[i]
		if (q.flow == "" || l.Flow == q.flow) && (q.state == "" || l.State == q.state) && (topic == "" || strings.Contains(strings.ToLower(l.Topic), topic)) {
			at = append(at, l)
		}
	}
	if q.sort != "" {
		by := laneOrders[q.sort]
		slices.SortStableFunc(at, func(a, b *Lane) int {
			if q.descending {
				return by(b, a)
			}
			return by(a, b)
		})
	}
	total = len(at)
	at = at[min(q.offset, total):]
	if q.limit > 0 {
		at = at[:min(q.limit, len(at))]
	}
	chosen = make([]Lane, len(at)) // [] and not null
	for i, l := range at {
		chosen[i] = *l
	}
	return chosen, total
}

func (s *site) lanes(w http.ResponseWriter, r *http.Request) {
	q, err := readQuery(r.URL.RawQuery)
	var l laneQuery
	if err == nil {
		l, err = readLaneQuery(q, laneQuery{}, lanesMost)
	}
	if err != nil {
		answer(w, http.StatusBadRequest, Failure{err.Error()})
		return
	}
	s.json(w, r, fmt.Sprintf("%s\x00%#v", LanesPath, l), func() any {
		chosen, total := l.choose(s.view().Lanes)
		return Lanes{chosen, total}
	})
}
