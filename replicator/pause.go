package replicator

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/kferry/kferry/replicator/lane"
	"github.com/kferry/kferry/replicator/progress"
)

// How often the target is asked what is to be paused.
const pausesEvery = time.Second

// followPauses has the helm heed what is paused, from before the first lane
// starts on.
func (f *flow) followPauses(ctx context.Context) {
	reader := f.store.Pauses()
	var last map[string]progress.Pause // nil: not read yet
	if f.store.Made() {
		last = map[string]progress.Pause{}
		f.helm.post(func() { f.helm.heed(nil) })
		_ = f.compare(ctx, reader) // what fails is done again below
	}
	missing := 0
	for wait := leastBackoff; ; {
		pauses, err := reader.Read(ctx)
		if missing++; !errors.Is(err, kerr.UnknownTopicOrPartition) {
			missing = 0
		}
		f.progressTopic(ctx, missing, reader.Remade())
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			f.outages.report("pauses", "cannot read what is paused, trying on", err)
			wait = min(2*wait, mostBackoff)
		default:
			f.outages.over("pauses")
			if err := f.compare(ctx, reader); err != nil && ctx.Err() == nil {
				f.outages.report("identity", "cannot tell whether the flow is carried from elsewhere, trying on", err)
			} else {
				f.outages.over("identity")
			}
			if last == nil || !maps.Equal(last, pauses) {
				last = pauses
				f.helm.post(func() { f.helm.heed(pauses) })
			}
			wait = pausesEvery
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return
		}
	}
}

// heed takes in what is paused now.
func (h *helm) heed(pauses map[string]progress.Pause) {
	h.sayPauses(pauses)
	h.pauses, h.heeding = pauses, true
	h.f.paused.Store(&pauses)
	for _, m := range h.f.lanes {
		switch reason, state := h.paused(m), m.lane.State(); {
		case reason != "" && state == lane.Paused:
			m.lane.Note(reason)
		case reason != "" && (state == lane.Running || state == lane.Waiting) && m.drained == nil:
			h.drain(m, func() { h.park(m) })
		case reason == "" && state == lane.Paused:
			h.again(m, 0)
		case reason == "" && state == lane.Stopped && m.start:
			m.due = time.Now()
		}
	}
}

// pausesNow is what is paused, by topic; "" is the whole flow. It never changes.
func (f *flow) pausesNow() map[string]progress.Pause {
	if p := f.paused.Load(); p != nil {
		return *p
	}
	return nil
}

// sayPauses logs what differs from before.
func (h *helm) sayPauses(now map[string]progress.Pause) {
	about := func(topic string) *slog.Logger {
		if topic == "" { // the whole flow
			return h.f.log
		}
		return h.f.log.With("topic", topic)
	}
	for topic, p := range now {
		if h.pauses[topic] != p {
			log := about(topic)
			log.Info("paused", "by", p.By, "since", p.At)
		}
	}
	for topic := range h.pauses {
		if _, ok := now[topic]; !ok {
			log := about(topic)
			log.Info("resumed")
		}
	}
}

// rest sends m to rest instead of to its brokers, if it is paused.
func (h *helm) rest(m *member) bool {
	if m.drained != nil || !m.homeSource && !m.homeTarget || h.paused(m) == "" {
		return false
	}
	h.drain(m, func() { h.park(m) })
	return true
}

// paused says by whose wish m is to rest; "" if it is not.
func (h *helm) paused(m *member) string {
	for _, topic := range []string{"", m.lane.Topic} {
		if p, ok := h.pauses[topic]; ok {
			return p.String()
		}
	}
	return ""
}

// park rests a lane that has left fetcher and producer. What it still holds, if
// the target was away, is asked for when it goes on, as after any stop.
func (h *helm) park(m *member) {
	m.homeSource, m.homeTarget = false, false
	reason := h.paused(m)
	if reason == "" {
		h.again(m, 0) // resumed meanwhile
		return
	}
	m.lane.Drop()
	m.lane.Set(lane.Paused, reason)
}
