package replicator

import (
	"context"
	"slices"
	"time"

	"github.com/kferry/kferry/internal/kafka"
	"github.com/kferry/kferry/replicator/lane"
	"github.com/kferry/kferry/replicator/progress"
)

// Replicas of a flow share its slots, and so its lanes, by Kafka's own group
// protocol. Ownership is for efficiency: what keeps two replicas from writing
// the same records is the sequence check of the target, and what keeps them from
// beginning a lane at two places is progress.Claim. Hence a replica that seems to
// be alone starts before the group has an opinion.

const (
	// Progress younger than this may be of a replica that is alive: look for so
	// long whether more comes. A live one that carries writes every second.
	aliveAge, aliveWait = 5 * time.Second, 1500 * time.Millisecond
	// How long lanes that must be let go may take to get rid of what they hold.
	releaseFor = 10 * time.Second
)

// share finds out which lanes this replica carries, and joins the group.
func (f *flow) share(ctx, steer context.Context) {
	var alone bool
	var records map[lane.ID]progress.Record
	ok := f.persist(ctx, "cannot read stored progress, trying on", func() (err error) {
		if records, err = f.store.Load(ctx, f.store.All()); err == nil {
			alone, err = f.alone(ctx, records)
		}
		return err
	})
	if !ok {
		return
	}
	if passed := f.store.Passed(); len(passed) > 0 {
		f.log.Warn("the progress topic has records that this kferry cannot read, perhaps of a later one; they are about no lane's position and are left alone",
			"records", len(passed), "key", passed[0])
	}
	s := &seat{f: f, ctx: ctx, steer: steer, early: alone}
	f.helm.post(func() {
		f.helm.know(records)
		if alone {
			f.helm.own(f.store.All(), records)
		}
		close(f.placed)
	})
	if !alone {
		f.log.Info("other replicas carry this flow; waiting for a share of it", "group", progress.GroupName(f.cfg.Name))
	}
	var err error
	f.group, err = f.store.Join(ctx, f.cfg.Name, progress.Member{
		Instance: f.instance, Assigned: s.assigned, Revoked: s.revoked, Lost: s.lost, Failed: s.failed,
	})
	if err != nil {
		s.failed(err)
	}
}

// alone tells whether no other replica seems to carry the flow. To be wrong
// costs a few refused batches until the group settles it, never a record.
func (f *flow) alone(ctx context.Context, records map[lane.ID]progress.Record) (bool, error) {
	newest := time.Time{}
	for _, r := range records {
		if r.At.After(newest) {
			newest = r.At
		}
	}
	if time.Since(newest).Abs() > aliveAge || f.store.Members(ctx, f.cfg.Name) == 0 {
		return true, nil
	}
	grows, err := f.store.Grows(ctx, aliveWait)
	return !grows, err
}

// seat is this replica's membership as the flow sees it. The group calls it on
// one goroutine.
type seat struct {
	f          *flow
	ctx, steer context.Context
	early      bool // all slots were taken before the group had an opinion
}

func (s *seat) assigned(slots []int32) {
	s.f.outages.over("group")
	if s.early {
		s.early = false
		if rest := slices.DeleteFunc(s.f.store.All(), func(n int32) bool { return slices.Contains(slots, n) }); len(rest) > 0 {
			s.letGo(rest)
		}
		if len(slots) > 0 {
			s.f.log.Info("slots owned", "slots", len(slots), "of", len(s.f.store.All()))
		}
		return
	}
	var records map[lane.ID]progress.Record
	ok := s.f.persist(s.ctx, "cannot read stored progress, trying on", func() (err error) {
		records, err = s.f.store.Load(s.ctx, slots)
		return err
	})
	if ok {
		s.f.log.Info("slots added", "slots", len(slots), "of", len(s.f.store.All()))
		s.f.helm.post(func() { s.f.helm.own(slots, records) })
	}
}

func (s *seat) revoked(slots []int32) {
	if s.ctx.Err() != nil {
		return // we leave, and all was let go
	}
	s.f.log.Info("slots asked back for another replica", "slots", len(slots), "of", len(s.f.store.All()))
	s.letGo(slots)
}

// letGo returns when the lanes of slots have stopped and their progress is stored.
func (s *seat) letGo(slots []int32) {
	gone := make(chan struct{})
	s.f.helm.post(func() { s.f.helm.disown(slots, func() { close(gone) }) })
	select {
	case <-gone:
	case <-s.steer.Done():
	}
}

func (s *seat) lost(slots []int32) {
	if s.ctx.Err() != nil {
		return
	}
	s.f.log.Warn("slots lost: the group did not hear from this replica for too long; others may carry their lanes already", "slots", len(slots), "of", len(s.f.store.All()))
	s.f.helm.post(func() { s.f.helm.drop(slots) })
}

// failed reports what keeps this replica out of the group. What it carries it
// goes on carrying.
func (s *seat) failed(err error) {
	if s.ctx.Err() == nil {
		s.f.outages.report("group", "cannot take part in the group by which replicas share lanes, trying on; a replica that is alone carries all of them",
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

// own makes this replica carry the lanes of slots, from records on.
func (h *helm) own(slots []int32, records map[lane.ID]progress.Record) {
	for _, n := range slots {
		h.slots[n] = true
	}
	for id, r := range records {
		if h.f.lanes[id] == nil {
			h.records[id] = r
		}
	}
	h.know(records)
	h.slotted()
	h.place()
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
			if _, err := h.f.save(h.f.io, true); err != nil {
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
