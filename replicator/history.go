package replicator

import (
	"context"
	"slices"
	"sync"
	"time"
)

const (
	// Lag is remembered for an hour.
	historyStep   = 10 * time.Second
	historyLength = 360
	// A flow remembers that of so many topics, which is 3 KB each; later ones have
	// no history.
	historyTopics = 500
	// How long the lag was is compared over this to tell when it will be gone.
	etaSteps = 6
)

// unknownLag is the lag at a time when nobody knew it.
const unknownLag = -1

// Point is the lag of a topic at one moment.
type Point struct {
	At  int64 // Unix time in seconds
	Lag int64 // source offsets
}

// history is how the lag of a flow was lately.
type history struct {
	mu    sync.Mutex
	at    []int64 // Unix time in seconds, the oldest first
	total []int64 // of the flow; unknownLag if it was of any lane
	// topics have one value for each of the last times, so fewer than at where
	// the topic is new.
	topics map[string][]int64
}

// sample takes in what the lag is at now. A topic that is not there any more is
// forgotten.
func (h *history) sample(now time.Time, topics map[string]int64, total int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.at, h.total = push(h.at, now.Unix()), push(h.total, total)
	for topic := range h.topics {
		if _, ok := topics[topic]; !ok {
			delete(h.topics, topic)
		}
	}
	if h.topics == nil {
		h.topics = map[string][]int64{}
	}
	for topic, lag := range topics {
		old, known := h.topics[topic]
		if !known && len(h.topics) >= historyTopics {
			continue
		}
		h.topics[topic] = push(old, lag)
	}
}

// push appends v, and drops the oldest where there are too many.
func push(to []int64, v int64) []int64 {
	if len(to) < historyLength {
		return append(to, v)
	}
	copy(to, to[1:])
	to[len(to)-1] = v
	return to
}

// of is the history of a topic, the oldest first, without the times when its lag
// was not known.
func (h *history) of(topic string) []Point {
	h.mu.Lock()
	defer h.mu.Unlock()
	lags := h.topics[topic]
	at := h.at[len(h.at)-len(lags):]
	out := make([]Point, 0, len(lags))
	for i, lag := range lags {
		if lag != unknownLag {
			out = append(out, Point{at[i], lag})
		}
	}
	return out
}

// eta is in how many seconds a lag will be gone if it goes on shrinking as it did
// lately; -1: it does not, or nobody knows.
func (h *history) eta(now time.Time, lag int64) float64 {
	if lag == 0 {
		return 0
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	first := max(0, len(h.at)-etaSteps)
	if first == len(h.at) || lag < 0 || slices.Contains(h.total[first:], unknownLag) {
		return -1
	}
	gone, took := h.total[first]-lag, float64(now.Unix()-h.at[first])
	if gone <= 0 || took <= 0 {
		return -1
	}
	return float64(lag) * took / float64(gone)
}

// History is how the lag of a topic was in the last hour, the oldest first.
func (d *Daemon) History(flow, topic string) []Point {
	for _, f := range d.flows {
		if f.cfg.Name == flow {
			return f.history.of(topic)
		}
	}
	return nil
}

// keepHistory samples the lag until ctx ends.
func (f *flow) keepHistory(ctx context.Context) {
	t := time.NewTicker(historyStep)
	defer t.Stop()
	for {
		select {
		case now := <-t.C:
			topics, total := f.lagByTopic(now)
			f.history.sample(now, topics, total)
		case <-ctx.Done():
			return
		}
	}
}

// lagByTopic is the lag of each topic as far as it is known, and that of all lanes
// if all of it is.
func (f *flow) lagByTopic(now time.Time) (topics map[string]int64, total int64) {
	topics = map[string]int64{}
	all := true
	for _, m := range f.members() {
		s := m.lane.Snapshot()
		l := lagOf(&s, now)
		sum, ok := topics[m.lane.Topic]
		switch {
		case l.records < 0 && !ok:
			topics[m.lane.Topic] = unknownLag
		case l.records >= 0:
			topics[m.lane.Topic] = max(sum, 0) + l.records
			total += l.records
		}
		all = all && l.records >= 0
	}
	if !all {
		total = unknownLag
	}
	return topics, total
}
