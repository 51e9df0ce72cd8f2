package replicator

import (
	"context"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/kferry/kferry/offsets"
	"github.com/kferry/kferry/replicator/catalog"
	"github.com/kferry/kferry/replicator/fetch"
	"github.com/kferry/kferry/replicator/lane"
	"github.com/kferry/kferry/replicator/produce"
	"github.com/kferry/kferry/replicator/progress"
)

// member is a lane and what the helm knows about it. Only the helm's goroutine
// touches it, but for stored, halted and topic.
type member struct {
	lane  *lane.Lane
	place catalog.Place
	gone  bool // the source shows it no more

	halted atomic.Pointer[error]    // why it was last stopped; for anybody
	topic  atomic.Pointer[[16]byte] // id of the target's topic that the lane's map is about; for anybody

	stored  progress.Record // as last stored, or zero; guarded by flow.saving
	mapped  mapMark         // the same of its offset map
	doubted time.Time       // since when the lane is in doubt, zero: it is not; guarded by flow.saving
	rest    rest            // guarded by flow.saving
	began   bool            // Start was called: the lane knows its position better than stored
	late    bool            // it appeared while the flow carries its topics: nothing of it may be left out

	fetcher  *fetch.Fetcher
	producer *produce.Producer
	job      *job // the start under way, if any

	// What is to be done, once due.
	start, homeSource, homeTarget bool
	drained                       func()    // all that the lane holds must be acknowledged first
	hurry                         time.Time // and if it is not by then, it is let go all the same; zero: never
	releasing                     bool      // the producer was told to let go, and waits for answers
	leaving                       bool      // its slot goes to another replica: nothing but drained is to be done
	forgotten                     bool      // this replica no longer has the lane
	due                           time.Time
	waits                         time.Time // since when the lane waits for the target, by the wall clock

	tries      int            // failures since the lane last got on
	failedAt   offsets.Source // where it was at the last of them
	limit      int            // of a batch with several records, where the target takes less than its settings say; 0: they hold
	outOfOrder bool           // the target refused the last batch for its sequence
	uncounted  bool           // the records to skip could not be counted on the source
	corrupt    int            // refusals of the batch at corruptAt for its checksum
	corruptAt  offsets.Source
	said       string         // the reason of the last stop in the log
	cut        offsets.Source // no batch holds records from both sides of it; the one at it was refused
	aside      *aside         // refused, to be set aside by the next start
}

// helm decides what happens to the lanes of a flow: where each is fetched and
// sent, when it starts, waits, stops. It is one goroutine; all else posts to it.
type helm struct {
	f *flow

	mu    sync.Mutex
	queue []func()
	wake  chan struct{}

	// For the helm's goroutine alone.
	slots     map[int32]bool              // that this replica owns
	reading   map[int32]int               // slots that were assigned and whose progress is being read, at which turn
	turn      int                         // counts assignments
	known     bool                        // all slots were read once
	seat      bool                        // the group has told which slots this replica has
	leaseSaid time.Time                   // when it was last said that the lease does not hold
	view      catalog.View                // as last seen
	first     map[lane.ID]bool            // lanes of the first view
	records   map[lane.ID]progress.Record // of lanes not seen yet
	pauses    map[string]progress.Pause   // by topic; "": the whole flow
	heeding   bool                        // pauses were read: nothing starts before
	topics    map[string]bool             // that were carried before
	pending   map[*member]bool            // with something to do
	ailing    map[*member]string          // waiting for an error code to go away; the outage it is part of
	warmed    map[warmth]bool             // connections that were opened ahead
	starting  bool                        // a starter is at work
	strange   map[string]bool             // target topics that had records before this flow began
	said      time.Time                   // when it was last said that somebody else writes
	seenOnce  bool                        // the catalog was read
	tallies   map[told]*tally             // records set aside, to be said
}

func newHelm(f *flow) *helm {
	return &helm{
		f: f, wake: make(chan struct{}, 1), slots: map[int32]bool{}, reading: map[int32]int{}, first: map[lane.ID]bool{}, records: map[lane.ID]progress.Record{},
		warmed: map[warmth]bool{}, topics: map[string]bool{}, strange: map[string]bool{}, pending: map[*member]bool{}, ailing: map[*member]string{}, tallies: map[told]*tally{},
	}
}

// post has fn run on the helm's goroutine. It never blocks.
func (h *helm) post(fn func()) {
	h.mu.Lock()
	h.queue = append(h.queue, fn)
	h.mu.Unlock()
	select {
	case h.wake <- struct{}{}:
	default:
	}
}

func (h *helm) run(ctx context.Context) {
	t := time.NewTicker(50 * time.Millisecond)
	defer t.Stop()
	for {
		h.mu.Lock()
		queue := h.queue
		h.queue = nil
		h.mu.Unlock()
		for _, fn := range queue {
			fn()
		}
		h.tick(ctx, time.Now())
		select {
		case <-h.wake:
		case <-t.C:
		case <-ctx.Done():
			return
		}
	}
}

// seen takes in a new view of both clusters.
func (h *helm) seen(view catalog.View) {
	if !h.seenOnce {
		for id := range view {
			h.first[id] = true
		}
		if len(view) == 0 {
			h.f.log.Warn("no topic on the source matches the flow's filter, or our user may not see any; looking again every refresh_interval",
				"topics", h.f.cfg.Topics, "source", h.f.source.Alias())
		}
	}
	h.view, h.seenOnce = view, true
	h.place()
}

// place gives the lanes that this replica owns the places of the view.
func (h *helm) place() {
	added := 0
	for id, place := range h.view {
		m := h.f.lanes[id]
		if !h.slots[h.f.store.Slot(id)] {
			continue
		}
		if m == nil {
			m = h.add(id, place)
			added++
		}
		h.moved(m, place)
		h.reread(m)
	}
	for id, m := range h.f.lanes {
		if _, ok := h.view[id]; !ok && !m.gone {
			m.gone = true
			h.halt(m, errGone)
		}
	}
	if added > 0 {
		h.share()
		h.f.log.Info("lanes added", "new", added, "all", len(h.f.lanes))
	}
}

// reread has the settings of a stopped lane's topic read again: raising a limit may be
// what mends it.
func (h *helm) reread(m *member) {
	if m.lane.State() == lane.Stopped {
		h.f.catalog.Reread(m.lane.Topic)
	}
}

// unchanged is called instead of seen when both clusters are as they were seen last.
func (h *helm) unchanged() {
	for _, m := range h.f.lanes {
		h.reread(m)
	}
}

func (h *helm) add(id lane.ID, place catalog.Place) *member {
	m := &member{lane: lane.New(id, place.TargetTopic), place: place, start: true, late: !h.first[id] || h.topics[id.Topic]}
	if r, ok := h.records[id]; ok {
		m.stored = r
		if r.Err == nil {
			m.lane.Left(r.Position)
		}
		delete(h.records, id)
	}
	h.f.mu.Lock()
	h.f.lanes[id] = m
	h.f.changed++
	h.f.mu.Unlock()
	h.pending[m] = true
	return m
}

// share splits most of the memory budget among the lanes.
func (h *helm) share() {
	n := int64(len(h.f.lanes) * h.f.siblings)
	each := min(max(h.f.budget.Limit()*3/4/n, leastShare), reach(h.f.source.Trip())+reach(h.f.target.Trip()))
	for _, m := range h.f.lanes {
		m.lane.Share(each)
	}
}

// moved takes in where a lane's partitions are now.
func (h *helm) moved(m *member, place catalog.Place) {
	back, mended := m.gone, m.place.Problem != nil && place.Problem == nil || m.place.Delay != nil && place.Delay == nil
	m.gone = false
	if place.Limit != m.place.Limit {
		m.limit = 0 // found out under other settings
		mended = mended || place.Limit > m.place.Limit
	}
	if m.place.SourceID != place.SourceID || m.place.TargetID != place.TargetID {
		// Start compares the ids with those that progress was stored for.
		m.place = place
		m.lane.Unmap()
		h.f.catalog.Reread(m.lane.Topic)
		h.drain(m, func() { h.again(m, 0) })
		return
	}
	m.place = place
	m.lane.Agree(m.terms())
	switch {
	case back, place.Problem != nil && m.lane.State() != lane.Stopped:
		h.drain(m, func() { h.again(m, 0) })
	case mended && m.start:
		m.due = time.Now()
	}
}

// halt lets the lane send what it holds, then stops it.
func (h *helm) halt(m *member, why error) {
	h.drain(m, func() { h.stop(m, why) })
}

// drain stops fetching for the lane; then runs once all it holds is
// acknowledged and its producer has let go of it.
func (h *helm) drain(m *member, then func()) {
	m.unfetch()
	m.homeSource = false
	m.drained = then
	h.pending[m] = true
}

// unfetch takes the lane from its fetcher, if it has one.
func (m *member) unfetch() {
	if m.fetcher != nil {
		m.fetcher.Remove(m.lane)
		m.fetcher = nil
	}
}

// again has the lane find its place anew.
func (h *helm) again(m *member, after time.Duration) {
	if m.leaving {
		if then := m.drained; then != nil {
			m.drained = nil
			then()
		}
		return
	}
	if st := m.lane.State(); st != lane.Stopped && st != lane.Starting { // those say why they wait
		m.lane.Set(lane.Starting, "")
	}
	m.start, m.homeSource, m.homeTarget, m.drained = true, false, false, nil
	m.abort()
	m.due = time.Now().Add(after)
	h.pending[m] = true
}

// abort makes the start under way void, if there is one.
func (m *member) abort() {
	if m.job != nil {
		m.job.void.Store(true)
		m.job = nil
	}
}

// stop ends the lane's work, until it is tried again: the cause may have been
// mended by then, and to start is always safe.
func (h *helm) stop(m *member, why error) {
	m.halted.Store(&why)
	m.lane.Set(lane.Stopped, why.Error())
	m.lane.Drop()
	if m.said != why.Error() {
		m.said = why.Error()
		h.f.log.Error("lane stopped", "topic", m.lane.Topic, "partition", m.lane.Partition, "reason", why,
			"source_offset", int64(m.lane.Snapshot().Source), "retry_in", stoppedRetry.String())
	}
	h.again(m, stoppedRetry)
}

// tick does what is due.
func (h *helm) tick(ctx context.Context, now time.Time) {
	if !h.heeding {
		return
	}
	h.heal()
	h.tell(now)
	h.watchLease(now)
	var ripe []*member // to be started
	for m := range h.pending {
		if m.drained != nil {
			h.tryRelease(m)
		}
		switch {
		case now.Before(m.due):
		case m.start:
			if h.mayStart(m) {
				ripe = append(ripe, m)
			}
		default:
			if !h.rest(m) {
				h.home(m)
			}
			if m.idle() {
				delete(h.pending, m)
			}
		}
	}
	h.launch(ctx, ripe)
}

// launch starts the lanes that are ripe, while they are surely this replica's.
func (h *helm) launch(ctx context.Context, ripe []*member) {
	if h.starting || len(ripe) > 0 && !h.f.owns() {
		return
	}
	if len(ripe) > 0 {
		h.begin(ctx, ripe)
	} else if h.seenOnce && h.seat {
		h.f.ready.Store(true)
	}
}

// idle tells that nothing is to be done for m.
func (m *member) idle() bool {
	return !m.start && !m.homeSource && !m.homeTarget && m.drained == nil
}

// mayStart stops a lane that has no place to go.
func (h *helm) mayStart(m *member) bool {
	switch {
	case m.gone:
		h.stop(m, errGone)
	case m.place.Problem != nil:
		h.stop(m, m.place.Problem)
	case m.place.Delay != nil:
		m.lane.Set(lane.Waiting, m.place.Delay.Error())
		m.due = time.Now().Add(m.failing())
		h.f.askRefresh()
	case m.lane.State() == lane.Stopped && h.paused(m) != "":
		m.due = time.Now().Add(stoppedRetry) // its reason must stay to be seen
	default:
		return true
	}
	return false
}

// tryRelease takes a drained lane from its producer.
func (h *helm) tryRelease(m *member) {
	if m.lane.Snapshot().Held > 0 && m.lane.State() == lane.Running && (m.hurry.IsZero() || time.Now().Before(m.hurry)) {
		return
	}
	then := m.drained
	m.drained = nil
	released := func() {
		m.releasing = false
		if m.forgotten {
			m.lane.Drop()
			return
		}
		then()
	}
	switch {
	case m.producer == nil:
		then()
	case m.producer.Release(m.lane, func() { h.post(released) }):
		m.producer, m.releasing = nil, true
	case m.leaving:
		m.drained = then // once Failed has come
	default:
		// Failed is on its way and starts the lane anew.
	}
}

// home gives the lane to the brokers that lead its partitions now.
func (h *helm) home(m *member) {
	if m.homeTarget && m.lane.State() == lane.Waiting && !m.keeps(time.Now()) {
		h.letGo(m, m.lane.Snapshot().Reason, 0)
		return
	}
	if m.homeTarget && m.place.TargetLeader >= 0 && m.place.Problem == nil {
		m.homeTarget = false
		if m.lane.State() == lane.Waiting {
			m.lane.Rewind()
		}
		at := link{m.place.TargetLeader, pin(m.lane.ID, len(h.f.target.Links()))}
		m.lane.Agree(m.terms())
		m.producer = h.f.sender(at)
		m.producer.Add(produce.Target{Lane: m.lane, TopicID: m.place.TargetID, Limit: m.limited(), Cut: m.cut})
	}
	if m.homeSource && m.place.SourceLeader >= 0 && !m.gone && m.drained == nil {
		m.homeSource = false
		m.lane.Note("")
		at := link{m.place.SourceLeader, pin(m.lane.ID, len(h.f.source.Links()))}
		m.fetcher = h.f.fetcher(at)
		m.fetcher.Add(fetch.Source{
			Lane: m.lane, TopicID: m.place.SourceID, Epoch: m.place.SourceEpoch,
			Limit: m.limited(), Alone: h.alone(m), Cut: m.cut,
		})
	}
	if m.homeSource || m.homeTarget {
		h.f.askRefresh()
		m.due = time.Now().Add(backoff(m.tries))
	}
}

// terms are what the lane may count on at its target. Half of the time for which the
// target remembers is left to clocks that differ and to batches on their way.
func (m *member) terms() lane.Terms {
	return lane.Terms{
		Memory:   m.place.Expiry.Milliseconds() / 2,
		Foretold: m.place.Foretold, Limit: m.place.Limit, Ahead: m.place.Ahead.Milliseconds(),
	}
}

// limited is the largest batch of several records, in bytes, that the target takes.
func (m *member) limited() int {
	if m.limit > 0 {
		return min(m.limit, m.place.Limit)
	}
	return m.place.Limit
}

// alone is how large a record may be as a batch of its own. Where refused
// records are set aside the target decides about each, whatever its settings say.
func (h *helm) alone(m *member) int {
	if h.f.cfg.OnRefused == onRefusedDeadLetter {
		return math.MaxInt32
	}
	return m.place.Limit
}
