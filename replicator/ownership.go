package replicator

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/kferry/kferry/internal/kafka"
	"github.com/kferry/kferry/replicator/lane"
	"github.com/kferry/kferry/replicator/progress"
)

// Replicas of a flow share its slots, and so its lanes, by Kafka's own group
// protocol. A lane is started once the group has assigned its slot, from progress
// that is read after that, and is sent for only while this replica's lease holds
// (progress.Lease): a target that has forgotten a producer id, as it does by the
// timestamps of its records, takes the same records from two replicas twice.

const (
	// How long lanes that must be let go may take to get rid of what they hold.
	releaseFor = 10 * time.Second
	// The group may wait for a replica that is no more. It is worth a line after this.
	shareSoon = time.Second
	leaseSaid = time.Second // a lease that does not hold is reported so often
)

// unheard is why lanes wait then.
const unheard = "waiting until the group has heard from this replica again"

var errUnheard = errors.New("for the length of a session the group has answered none of its heartbeats well")

// share joins the group, which tells the lanes that this replica carries.
func (f *flow) share(ctx context.Context) {
	select {
	case <-f.agreed:
	case <-ctx.Done():
		return
	}
	s := &seat{f: f, ctx: ctx}
	var err error
	f.group, err = f.store.Join(ctx, f.cfg.Name, progress.Member{
		Instance: f.instance, Assigned: s.assigned, Revoked: s.revoked, Lost: s.lost, Failed: s.failed,
	}, f.lease)
	if err != nil {
		s.failed(err)
	}
	select {
	case <-time.After(shareSoon):
		f.log.Info("waiting for a share of the flow's lanes; those of a replica that was killed are free once its session has ended",
			"group", progress.GroupName(f.cfg.Name))
	case <-f.placed:
	case <-ctx.Done():
	}
}

// owns tells whether what this replica carries is surely its own at this moment.
func (f *flow) owns() bool { return f.alone.Load() || f.lease.Held() }

// seat is this replica's membership as the flow sees it. The group calls it one
// call at a time.
type seat struct {
	f      *flow
	ctx    context.Context
	member bool // the group has let us in, once at least
}

func (s *seat) assigned(slots []int32) {
	s.member = true
	s.f.outages.over("group")
	alone := s.f.alone.Swap(false) // it was not allowed to use the group, and is now
	s.f.helm.post(func() {
		if alone {
			s.f.helm.drop(s.f.store.All())
		}
		s.f.helm.assigned(s.ctx, slots)
	})
}

func (s *seat) revoked(slots []int32) {
	if s.ctx.Err() == nil {
		s.f.log.Info("slots asked back for another replica", "slots", len(slots), "of", len(s.f.store.All()))
	}
	s.wait(func(done func()) { s.f.helm.disown(slots, done) })
}

func (s *seat) lost(slots []int32) {
	if s.ctx.Err() == nil {
		s.f.log.Warn("slots lost: the group did not hear from this replica for too long; others may carry their lanes already", "slots", len(slots), "of", len(s.f.store.All()))
	}
	s.wait(func(done func()) {
		s.f.helm.drop(slots)
		done()
	})
}

// wait returns when the helm has done with what it is to do, or this process with all.
func (s *seat) wait(do func(done func())) {
	gone := make(chan struct{})
	s.f.helm.post(func() { do(func() { close(gone) }) })
	select {
	case <-gone:
	case <-s.f.released:
	}
}

// failed reports what keeps this replica out of the group. One that is not allowed
// to use it carries everything, as long as nothing has told that there are others.
func (s *seat) failed(err error) {
	switch {
	case s.ctx.Err() != nil:
	case errors.Is(err, kerr.GroupAuthorizationFailed) && !s.member:
		s.f.outages.report("group", "not allowed to use the group by which replicas share lanes; this replica carries all of them: no other may run",
			kafka.Explain(s.f.target.Alias(), err))
		if !s.f.alone.Swap(true) {
			s.f.helm.post(func() { s.f.helm.assigned(s.ctx, s.f.store.All()) })
		}
	default:
		s.f.outages.report("group", "cannot take part in the group by which replicas share lanes, trying on; lanes that are not this replica's wait",
			kafka.Explain(s.f.target.Alias(), err))
	}
}

// leading waits until it is known, and tells, whether this replica does what is
// done once for the flow.
func (f *flow) leading(ctx context.Context) bool {
	select {
	case <-f.placed:
	case <-ctx.Done():
	}
	return f.leads.Load()
}

// know takes note of which topics the flow has carried before, and where to.
func (h *helm) know(records map[lane.ID]progress.Record) {
	for id := range records {
		h.topics[id.Topic] = true
	}
	h.f.catalog.Carried(h.f.store.Copies())
}

// assigned has the progress of slots read, which are this replica's now, and then their
// lanes carried. The group is not kept waiting meanwhile: whoever does that is counted out.
func (h *helm) assigned(ctx context.Context, slots []int32) {
	if len(slots) == 0 {
		h.seated()
		return
	}
	h.turn++
	turn, read := h.turn, slots
	for _, n := range slots {
		h.reading[n] = turn
	}
	if !h.known {
		read = h.f.store.All() // which topics were carried before, all slots tell
	}
	h.f.work.Go(func() {
		var records map[lane.ID]progress.Record
		ok := h.f.persist(ctx, "cannot read stored progress, trying on", func() (err error) {
			if h.f.gone.Load() {
				return errProgressGone
			}
			records, err = h.f.store.Load(ctx, read)
			return err
		})
		if ok {
			h.post(func() { h.own(turn, records) })
		}
	})
}

// own makes this replica carry the lanes of the slots that were assigned at turn, from
// records on, but for slots that were taken back while those were read.
func (h *helm) own(turn int, records map[lane.ID]progress.Record) {
	if passed := h.f.store.Passed(); len(passed) > 0 && !h.known {
		h.f.log.Warn("the progress topic has records that this kferry cannot read, perhaps of a later one; they are about no lane's position and are left alone",
			"records", len(passed), "key", passed[0])
	}
	h.known = true
	h.know(records)
	n := 0
	for slot, at := range h.reading {
		if at == turn {
			delete(h.reading, slot)
			h.slots[slot] = true
			n++
		}
	}
	for id, r := range records {
		if h.f.lanes[id] == nil && h.slots[h.f.store.Slot(id)] {
			h.records[id] = r
		}
	}
	if n > 0 {
		h.f.log.Info("slots added", "slots", n, "of", len(h.f.store.All()))
	}
	h.slotted()
	h.seated()
	h.place()
}

// retake has a lane go on from progress that another replica has stored since this one
// read it, or stops it for why if there is none: it counts under an epoch that is over.
func (h *helm) retake(m *member, why error) {
	id := m.lane.ID
	h.f.work.Go(func() {
		records, err := h.f.store.Load(h.f.io, []int32{h.f.store.Slot(id)})
		h.f.saving <- struct{}{}
		ours := m.stored.Position
		<-h.f.saving
		h.post(func() {
			r := records[id]
			switch {
			case m.forgotten || m.leaving:
			case err != nil || r.Err != nil || r.Position.Producer == ours.Producer && r.Position.Epoch <= ours.Epoch:
				h.countRefusal(why)
				h.stop(m, why)
			default:
				h.forget(m)
				h.records[id] = r
				h.place()
			}
		})
	})
}

// seated takes note that the group has told what this replica has, be it nothing.
func (h *helm) seated() {
	if !h.seat {
		h.seat = true
		close(h.f.placed)
	}
}

// watchLease says that lanes wait because the lease does not hold, and has them go on
// when it does.
func (h *helm) watchLease(now time.Time) {
	switch {
	case h.f.lease.Returned():
		h.f.outages.over("lease")
		for _, m := range h.f.lanes {
			if s := m.lane.Snapshot(); s.Reason == unheard {
				m.lane.Note("")
			}
		}
		for _, p := range h.f.producers {
			p.Poke()
		}
	case len(h.slots) > 0 && now.Sub(h.leaseSaid) >= leaseSaid && !h.f.owns():
		h.leaseSaid = now
		h.f.outages.report("lease", "the group has not heard from this replica; nothing is sent until it has, for others may carry its lanes", errUnheard)
		for _, m := range h.f.lanes {
			if s := m.lane.Snapshot(); s.State == lane.Running && s.Reason == "" {
				m.lane.Note(unheard)
			}
		}
	}
}

// in are the lanes of slots.
func (h *helm) in(slots []int32) (ms []*member) {
	for id, m := range h.f.lanes {
		if slices.Contains(slots, h.f.store.Slot(id)) {
			ms = append(ms, m)
		}
	}
	return ms
}

// leave takes note that slots are no longer ours.
func (h *helm) leave(slots []int32) {
	for _, n := range slots {
		delete(h.slots, n)
		delete(h.reading, n)
	}
	for id := range h.records {
		if slices.Contains(slots, h.f.store.Slot(id)) {
			delete(h.records, id)
		}
	}
	h.slotted()
}

// slotted tells others which slots the helm has.
func (h *helm) slotted() {
	h.f.leads.Store(h.slots[0])
	h.f.slots.Store(int64(len(h.slots)))
}

// disown lets the lanes of slots send what they hold, stores their progress and
// forgets them; then calls done.
func (h *helm) disown(slots []int32, done func()) {
	h.leave(slots)
	ms := h.in(slots)
	end := time.Now().Add(releaseFor)
	left := len(ms)
	finish := func() {
		go func() { // progress is written beside the helm
			if !h.f.owns() { // what others have stored is further
			} else if _, err := h.f.save(h.f.io, true); err != nil {
				h.f.keep(ms)
				h.f.log.Warn("the progress of lanes that were let go is not stored; the next owner asks the target", "err", err)
			}
			h.post(func() {
				for _, m := range ms {
					h.forget(m)
				}
				done()
			})
		}()
	}
	if left == 0 {
		finish()
		return
	}
	for _, m := range ms {
		m.abort()
		m.start, m.leaving, m.hurry = false, true, end
		h.drain(m, func() {
			if left--; left == 0 {
				finish()
			}
		})
	}
}

// drop stops the lanes of slots at once: another replica may carry them.
func (h *helm) drop(slots []int32) {
	h.leave(slots)
	for _, m := range h.in(slots) {
		h.forget(m)
	}
}

// forget removes a lane. Batches on the wire may still be answered; nothing more
// is sent, and the memory goes with the last answer.
func (h *helm) forget(m *member) {
	m.unfetch()
	m.abort()
	m.forgotten = true
	delete(h.pending, m)
	delete(h.ailing, m)
	if h.f.lanes[m.lane.ID] == m {
		h.f.mu.Lock()
		delete(h.f.lanes, m.lane.ID)
		h.f.changed++
		h.f.retire(m.lane)
		h.f.mu.Unlock()
	}
	switch {
	case m.releasing:
		// What was to follow the release drops the lane instead.
	case m.producer == nil:
		m.lane.Drop()
	case !m.producer.Release(m.lane, m.lane.Drop):
		// Failed is on its way, and finds the lane forgotten.
	}
	m.producer = nil
}
