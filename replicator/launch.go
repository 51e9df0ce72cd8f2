package replicator

import (
	"context"
	"errors"
	"time"

	"github.com/kferry/kferry/replicator/lane"
	"github.com/kferry/kferry/replicator/progress"
)

// Starts are worked out beside the helm (start.go). Here the helm sends lanes
// there, and takes the outcome.

// begin finds out, beside the helm, where the lanes of ms go on.
func (h *helm) begin(ctx context.Context, ms []*member) {
	h.starting = true
	s := newStarter(h.f, ms)
	h.warm(ms)
	for i, m := range ms {
		m.start, m.job = false, s.jobs[i]
		delete(h.pending, m)
	}
	ready := func(js []*job) {
		h.post(func() {
			for _, j := range js {
				h.begun(j)
			}
		})
	}
	go s.run(ctx, ready, func() { h.post(func() { h.starting = false }) })
}

// warmth names a connection of either side.
type warmth struct {
	target bool
	link
}

// warm opens connections that the lanes of ms will be the first to use.
func (h *helm) warm(ms []*member) {
	for _, m := range ms {
		from := link{m.place.SourceLeader, pin(m.lane.ID, len(h.f.source.Links()))}
		if h.cold(warmth{false, from}, h.f.fetchers[from] == nil) {
			h.f.work.Go(func() { h.f.source.Links()[from.n].WarmFetch(h.f.io, from.broker) })
		}
		to := link{m.place.TargetLeader, pin(m.lane.ID, len(h.f.target.Links()))}
		if h.cold(warmth{true, to}, h.f.producers[to] == nil) {
			h.f.work.Go(func() { h.f.target.Links()[to.n].WarmProduce(h.f.io, to.broker) })
		}
	}
}

// cold tells, once, that a connection is to be opened ahead.
func (h *helm) cold(w warmth, unused bool) bool {
	if w.broker < 0 || !unused || h.warmed[w] {
		return false
	}
	h.warmed[w] = true
	return true
}

// begun takes the outcome of one start.
func (h *helm) begun(j *job) {
	m := j.member
	if j.saved {
		h.account(j) // whatever becomes of the lane: its progress is behind what was lost
	}
	if m.job != j {
		return // the lane was stopped meanwhile
	}
	m.job = nil
	var away *awayError
	switch {
	case errors.As(j.err, &away):
		m.tries++
		h.f.outages.report("start", "lanes cannot start yet, trying on", j.err)
		m.lane.Set(lane.Starting, j.err.Error())
		h.again(m, backoff(m.tries))
		h.f.askRefresh()
		return
	case errors.As(j.err, new(*progress.NewerError)):
		h.retake(m, j.err)
		return
	case j.err != nil:
		h.countRefusal(j.err)
		m.lane.Unmap()
		h.stop(m, j.err)
		return
	}
	h.f.outages.over("start")
	if m.said != "" {
		h.f.log.Info("lane goes on", "topic", m.lane.Topic, "partition", m.lane.Partition, "source_offset", int64(j.plan.Source))
		m.said = ""
	}
	if m.outOfOrder && j.plan.Carried+j.plan.Skip > 0 {
		h.contested(m, j.plan)
	}
	m.outOfOrder = false
	m.began, m.uncounted = true, false
	if j.aside != nil {
		h.counted(m, j.aside)
	}
	m.aside = nil
	m.lane.Begins(j.seen.LogStart)
	m.lane.Ends(j.seen.LogEnd, j.asked)
	m.topic.Store(&j.place.TargetID)
	m.lane.Start(j.plan, j.seen.End, j.offsets)
	m.homeSource, m.homeTarget = true, true
	h.pending[m] = true
}

// account counts and logs what a start could not do exactly.
func (h *helm) account(j *job) {
	m, p := j.member, j.plan
	h.count(m, p.Lost, p.Twice+j.doubled)
	log := h.f.log.With("topic", m.lane.Topic, "partition", m.lane.Partition, "source_offset", int64(p.Source))
	switch {
	case j.anew:
		log.Warn("the source topic was deleted and made anew; carrying the new one behind what the target has (on_source_loss)")
	case j.truncated > 0:
		log.Warn("the source's log was truncated; going on where it is still the one that was carried (on_source_loss)", "offsets_lost_there", int64(j.truncated))
	}
	if j.fresh && j.taken == nil && h.f.store.Made() && j.seen.End > j.seen.Start && p.Source < j.seen.LogEnd {
		h.f.before.Add(1)
		if !h.strange[m.lane.TargetTopic] {
			h.strange[m.lane.TargetTopic] = true
			log.Warn("the target topic already has records, and no kferry has carried this flow before; if something else carried them, they will be there twice")
		}
	}
	if p.Twice > 0 {
		log.Warn("records sent just before the last stop may be on the target already, and nothing is left there that tells; "+
			"they are sent again", "twice_at_most", p.Twice)
	}
	if j.doubled > 0 {
		log.Warn("the target has records twice: its brokers had forgotten our producer and stored a late batch again", "records", j.doubled)
	}
	if n := p.Carried + p.Skip; n > 0 {
		log.Debug("the target has records that were not known to be there", "records", n)
	}
}

// count adds to what a lane could not carry exactly, also of one that has gone.
func (h *helm) count(m *member, lost, twice int64) {
	if !m.forgotten {
		m.lane.Count(lost, twice, 0)
		return
	}
	h.f.mu.Lock()
	defer h.f.mu.Unlock()
	h.f.retired[m.lane.Topic].Add(&lane.Stats{Lost: lost, Twice: twice})
}

// contested says that somebody else has written for the lane: the sequence of
// our batch was taken. Nothing is written twice, but work is done twice.
func (h *helm) contested(m *member, p lane.Plan) {
	if time.Since(h.said) < outageEvery {
		return
	}
	h.said = time.Now()
	h.f.log.Warn("refused by the target: another process has carried this lane meanwhile (a replica that took over while this one was away); "+
		"what it wrote is not sent again", "topic", m.lane.Topic, "partition", m.lane.Partition, "source_offset", int64(p.Source), "records", p.Carried+p.Skip)
}
