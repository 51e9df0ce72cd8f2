package replicator

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/kferry/kferry/config"
	"github.com/kferry/kferry/internal/kafka"
	"github.com/kferry/kferry/offsets"
	"github.com/kferry/kferry/offsets/mm2"
	"github.com/kferry/kferry/replicator/catalog"
	"github.com/kferry/kferry/replicator/lane"
)

// A flow that Aiven's MirrorMaker 2 carries is watched: it has lanes as any other,
// which nothing moves. Where they are is read from what MirrorMaker 2 leaves behind,
// and where the source ends the surveyor asks. Nothing is written anywhere.
//
// MirrorMaker 2 tells in two places what the target has acknowledged: the positions
// that Connect stores, once a minute or with each transaction, and offset syncs,
// each at most offset_lag_max records behind the one before. The later of both is a
// lower bound: what is told of the lag is never less than it is. That both logs end
// at like offsets says nothing, for transactions, compaction, retention, records
// that came twice and other writers all move one end and not the other.

// watchEvery is how often what MirrorMaker 2 leaves behind is looked at. That there
// is no lag is believed for longer (noneFor).
const watchEvery = 2 * time.Second

// watched is what is known of such a flow.
type watched struct {
	leading          func() bool // this replica watches it
	groups           bool        // consumer groups are followed there, which is not watched
	positions, syncs *kafka.Tail
	looked           time.Time // when both sides were last read

	mu    sync.Mutex
	next  map[lane.ID]offsets.Source // Connect's positions; nil: not read yet
	moved map[lane.ID]moved          // when the place of a lane was last seen to move
	sync  map[lane.ID]mm2.OffsetSync // the last of each lane
	ends  map[lane.ID]offsets.Target // where the target ended after that
	empty map[lane.ID]stretch        // offsets of the source that hold no record
}

// moved is the place of a lane, and since when that is known.
type moved struct {
	place
	at int64 // ms since 1970
}

// stretch is [from, to).
type stretch struct{ from, to offsets.Source }

// newWatched makes a flow that is carried by somebody else.
func newWatched(cfg config.Flow, source, target *kafka.Cluster, leading func() bool, log *slog.Logger) (*flow, error) {
	groups := len(cfg.Groups) > 0
	cfg.Groups, cfg.SyncTopicConfigs = nil, false // those are followed there
	f, err := bareFlow(cfg, source, target, log)
	if err != nil {
		return nil, err
	}
	names, at, location := mm2Names(cfg), target, mm2.OnTarget
	if cfg.OffsetSyncs.Location == "source" {
		at, location = source, mm2.OnSource
	}
	f.watched = &watched{
		leading: leading, groups: groups, positions: target.Tail(mm2Offsets(cfg)), syncs: at.Tail(names.OffsetSyncs(location)),
		sync: map[lane.ID]mm2.OffsetSync{}, ends: map[lane.ID]offsets.Target{}, empty: map[lane.ID]stretch{}, moved: map[lane.ID]moved{},
	}
	return f, nil
}

// watch looks until ctx ends.
func (f *flow) watch(ctx context.Context) error {
	var beside sync.WaitGroup
	defer beside.Wait()
	beside.Go(func() { newSurveyor(f).run(ctx) })
	beside.Go(func() { f.keepHistory(ctx) })
	f.carrier.wait(ctx)
	f.log.Info("watching a flow that Aiven's MirrorMaker 2 carries")
	t := time.NewTicker(watchEvery)
	defer t.Stop()
	for ctx.Err() == nil {
		f.watchOnce(ctx)
		select {
		case <-t.C:
		case <-f.refresh:
			f.watched.looked = time.Time{}
		case <-ctx.Done():
		}
	}
	return nil
}

// watchOnce looks once at all there is.
func (f *flow) watchOnce(ctx context.Context) {
	lead := f.watched.leading()
	f.leads.Store(lead)
	if !lead {
		f.keepLanes(nil)
		f.ready.Store(true)
		return
	}
	if time.Since(f.watched.looked) >= f.cfg.RefreshInterval && !f.look(ctx) {
		return
	}
	f.readLeft(ctx)
	now := time.Now()
	carried, err := f.carrier.flow(f.cfg.Source, f.cfg.Target, now)
	for _, m := range f.members() {
		state, why := watchedState(carried, err, m.place)
		if wrong := f.watched.put(m); wrong != "" && state == lane.Running {
			state, why = lane.Waiting, wrong
		}
		m.lane.Set(state, why)
	}
	if ctx.Err() == nil {
		f.ready.Store(true)
	}
}

// look reads the topics of both sides.
func (f *flow) look(ctx context.Context) bool {
	view, err := f.catalog.Look(ctx)
	switch {
	case ctx.Err() != nil:
		return false
	case err != nil:
		f.outages.report("topics", "cannot read topics, trying on", err)
		return f.view.Load() != nil
	}
	f.outages.over("topics")
	f.watched.looked = time.Now()
	f.view.Store(&view)
	f.keepLanes(view)
	return true
}

// keepLanes has one lane for each partition of view, and no other.
func (f *flow) keepLanes(view catalog.View) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for id := range f.lanes {
		if _, ok := view[id]; !ok {
			delete(f.lanes, id)
			f.changed++
		}
	}
	for id, place := range view {
		if f.lanes[id] == nil {
			f.lanes[id] = &member{lane: lane.New(id, place.TargetTopic)}
			f.changed++
		}
		f.lanes[id].place = place
	}
}

// watchedState is what a lane does, from all but its own offsets.
func watchedState(c *Carried, err error, place catalog.Place) (lane.State, string) {
	switch {
	case err != nil:
		return lane.Waiting, fmt.Sprintf("Aiven does not tell whether its MirrorMaker 2 carries the flow: %v", err)
	case c == nil:
		return lane.Stopped, "Aiven's MirrorMaker 2 has no such flow: \"kferry aiven plan\" tells why, and \"kferry aiven apply\" makes it"
	case !c.Enabled:
		return lane.Paused, "the flow is disabled at Aiven: set its key aiven.enabled and \"kferry aiven apply\" to have it go on"
	case place.Problem != nil:
		return lane.Stopped, place.Problem.Error()
	case place.TargetLeader < 0:
		return lane.Waiting, "the target does not have the partition, or it has no leader: MirrorMaker 2 looks for new topics every ten minutes unless told otherwise"
	}
	return lane.Running, ""
}

// readLeft reads what MirrorMaker 2 has left behind since the last time, and then
// where the target ends.
func (f *flow) readLeft(ctx context.Context) {
	w := f.watched
	next := map[lane.ID]offsets.Source{}
	w.mu.Lock()
	for id, at := range w.next {
		next[id] = at
	}
	w.mu.Unlock()
	err := w.positions.Read(ctx, func() { clear(next) }, func(r *kgo.Record) error {
		key, at, stored, ok, err := mm2Position(r, f.cfg.Source)
		if id := (lane.ID{Topic: key.Topic, Partition: key.Partition}); ok && stored {
			next[id] = at
		} else if ok {
			delete(next, id)
		}
		return err
	})
	if errors.Is(err, kerr.UnknownTopicOrPartition) {
		next, err = map[lane.ID]offsets.Source{}, nil // it has never run
	}
	if f.said(ctx, "positions", "cannot read how far MirrorMaker 2 is, so its lag may be unknown; our user needs to Read this topic", err) {
		w.mu.Lock()
		w.next = next
		w.mu.Unlock()
	}
	err = w.syncs.Read(ctx, func() {}, func(r *kgo.Record) error {
		if s, err := mm2.DecodeOffsetSync(r.Key, r.Value); err == nil {
			w.mu.Lock()
			w.sync[lane.ID{Topic: s.Topic, Partition: s.Partition}] = s
			w.mu.Unlock()
		}
		return nil
	})
	if errors.Is(err, kerr.UnknownTopicOrPartition) {
		err = nil
	}
	f.said(ctx, "offset syncs", "cannot read MirrorMaker 2's offset syncs, so lag is told later than need be; our user needs to Read this topic", err)
	f.readEnds(ctx)
}

// said reports err, or that it is over; true if there is none.
func (f *flow) said(ctx context.Context, key, msg string, err error) bool {
	switch {
	case err == nil:
		f.outages.over(key)
	case ctx.Err() == nil:
		f.outages.report(key, msg, err)
	}
	return err == nil
}

// readEnds asks where the target ends.
func (f *flow) readEnds(ctx context.Context) {
	topics := map[string]bool{}
	var names []string
	ms := f.members()
	for _, m := range ms {
		if name := m.lane.TargetTopic; m.place.TargetLeader >= 0 && !topics[name] {
			topics[name] = true
			names = append(names, name)
		}
	}
	ends := map[lane.ID]offsets.Target{}
	if len(names) > 0 {
		listed, err := f.target.Admin().ListEndOffsets(ctx, names...)
		if err != nil {
			f.log.Debug("cannot ask where the target's logs end", "err", kafka.Explain(f.target.Alias(), err))
		}
		for _, m := range ms {
			if end, ok := listed.Lookup(m.lane.TargetTopic, m.lane.Partition); ok && end.Err == nil {
				ends[m.lane.ID] = offsets.Target(end.Offset)
			}
		}
	}
	f.watched.mu.Lock()
	defer f.watched.mu.Unlock()
	f.watched.ends = ends
}

// nothing takes note that the source holds no record in [from, to): only markers of
// transactions, or what its reader leaves out.
func (w *watched) nothing(id lane.ID, from, to offsets.Source) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.empty[id] = stretch{from, to}
}

// untouched tells that MirrorMaker 2 has carried nothing of a lane: there is no
// position of it, and the target never had a record.
func (w *watched) untouched(id lane.ID) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.untouchedLocked(id)
}

func (w *watched) untouchedLocked(id lane.ID) bool {
	_, known := w.reached(id)
	end, told := w.ends[id]
	return w.next != nil && !known && told && end == 0
}

// place is how far a lane is on both sides.
type place struct {
	source offsets.Source
	target offsets.Target // a lower bound
}

// reached is how far a lane is at least; the caller holds mu.
func (w *watched) reached(id lane.ID) (p place, known bool) {
	p.source, known = w.next[id]
	if s, ok := w.sync[id]; ok {
		p, known = place{max(p.source, s.Upstream+1), s.Downstream + 1}, true
	}
	if e := w.empty[id]; known && e.from == p.source {
		p.source = max(e.from, e.to)
	}
	return p, known
}

// put gives the lane of m the place where it is known to be, or tells why that
// cannot be.
func (w *watched) put(m *member) (wrong string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	id := m.lane.ID
	p, known := w.reached(id)
	if known {
		if w.moved[id].place != p {
			w.moved[id] = moved{p, time.Now().UnixMilli()}
		}
		wrong = w.wrong(id, p, m.lane.Snapshot())
	}
	switch {
	case known && wrong == "":
		m.lane.Reached(p.source, p.target)
		return ""
	case !known && w.untouchedLocked(id):
		return "" // where the source begins the surveyor asks
	case !known:
		wrong = "it is not known how far MirrorMaker 2 is: no position of it could be read, and the target has records, or does not tell"
	}
	m.lane.Unplace()
	return wrong
}

// wrong tells why p cannot be in the logs that are there now.
func (w *watched) wrong(id lane.ID, p place, s lane.Snapshot) string {
	end, told := w.ends[id]
	switch {
	case s.End >= 0 && p.source > s.End && s.Confirmed > w.moved[id].at:
		return fmt.Sprintf("MirrorMaker 2 is at source offset %d, and the source ends at %d: its topic was made anew or truncated, which MirrorMaker 2 does not notice", p.source, s.End)
	case told && end < p.target:
		return fmt.Sprintf("MirrorMaker 2 has written up to offset %d, and the target ends at %d: its topic was made anew or truncated, which MirrorMaker 2 does not notice", p.target, end)
	case told && end == 0 && p.source > 0:
		return fmt.Sprintf("MirrorMaker 2 is at source offset %d, and the target never had a record: its topic was made anew, which MirrorMaker 2 does not notice", p.source)
	}
	return ""
}
