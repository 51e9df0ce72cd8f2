package replicator

import (
	"fmt"
	"slices"
	"testing"
	"time"
)

// An hour is remembered, of topics that are there, where their lag was known.
func TestHistory(t *testing.T) {
	var h history
	begin := time.Unix(1e9, 0)
	at := func(step int) time.Time { return begin.Add(time.Duration(step) * historyStep) }
	for i := range historyLength + 5 {
		topics := map[string]int64{"old": int64(i)}
		if i >= historyLength {
			topics["new"] = int64(10 * i)
		}
		if i == historyLength+3 {
			topics["new"] = unknownLag
		}
		h.sample(at(i), topics, 0)
	}
	got := h.of("old")
	if len(got) != historyLength || got[0] != (Point{at(5).Unix(), 5}) || got[historyLength-1] != (Point{at(historyLength + 4).Unix(), historyLength + 4}) {
		t.Errorf("%d points from %v to %v", len(got), got[0], got[len(got)-1])
	}
	var want []Point
	for _, i := range []int{0, 1, 2, 4} {
		want = append(want, Point{at(historyLength + i).Unix(), int64(10 * (historyLength + i))})
	}
	if got := h.of("new"); !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if got := h.of("none"); len(got) != 0 {
		t.Errorf("got %v of a topic that is not there", got)
	}
	h.sample(at(historyLength+5), map[string]int64{"old": 0}, 0)
	if got := h.of("new"); len(got) != 0 {
		t.Errorf("got %v of a topic that is gone", got)
	}
}

func TestHistoryIsBounded(t *testing.T) {
	var h history
	topics := map[string]int64{}
	for i := range 2 * historyTopics {
		topics[fmt.Sprint(i)] = 1
	}
	for i := range 3 {
		h.sample(time.Unix(int64(i), 0), topics, 1)
	}
	if len(h.topics) != historyTopics {
		t.Errorf("%d topics are remembered, want %d", len(h.topics), historyTopics)
	}
	for topic, lags := range h.topics {
		if len(lags) != 3 {
			t.Errorf("%s: %d of 3 samples", topic, len(lags))
		}
	}
}

func TestETA(t *testing.T) {
	for _, c := range []struct {
		name   string
		totals []int64 // the last one historyStep ago
		lag    int64
		want   float64
	}{
		{"nothing is known of before", nil, 100, -1},
		{"there is no lag", nil, 0, 0},
		{"it is not known", []int64{100}, -1, -1},
		{"it shrinks by 10 a second", []int64{200}, 100, 10},
		{"it grows", []int64{90}, 100, -1},
		{"it stays", []int64{100}, 100, -1},
		{"what is long ago does not count", []int64{1e6, 1e6, 400, 350, 300, 250, 200, 160}, 100, 20},
		{"it was not known lately", []int64{400, unknownLag}, 100, -1},
		{"it was not known before", []int64{unknownLag, 700, 600, 500, 400, 300, 200}, 100, 10},
	} {
		var h history
		now := time.Unix(1e9, 0)
		for i, total := range c.totals {
			h.sample(now.Add(-historyStep*time.Duration(len(c.totals)-i)), nil, total)
		}
		if got := h.eta(now, c.lag); got != c.want {
			t.Errorf("%s: got %v, want %v", c.name, got, c.want)
		}
	}
}
