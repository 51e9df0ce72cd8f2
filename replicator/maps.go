package replicator

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/kferry/kferry/internal/kafka"
	"github.com/kferry/kferry/offsets"
	"github.com/kferry/kferry/replicator/catalog"
	"github.com/kferry/kferry/replicator/lane"
	"github.com/kferry/kferry/replicator/progress"
	"github.com/kferry/kferry/replicator/readback"
)

// Each lane keeps a map of its offsets (offsets.Map). It is stored beside the
// lane's progress, but not as often: what a crash leaves out is a hole. That is
// exact all the same where records follow each other, and is read back where
// they do not.
const (
	mapEvery    = 10 * time.Second // a map that has changed
	anyMapEvery = 10 * time.Minute // one that has only grown
	// Doubts are looked for so often; each is tried once.
	readbackEvery = 2 * time.Second
)

// mapMark is what of a lane's offset map was stored last.
type mapMark struct {
	at      time.Time
	version uint64
	end     offsets.Source
}

// due is when a map is to be stored again that has the version now.
func (k mapMark) due(version uint64) time.Time {
	if version == k.version {
		return k.at.Add(anyMapEvery)
	}
	return k.at.Add(mapEvery)
}

// says tells that a lane's map and position say nothing that was not stored.
func (k mapMark) says(pos lane.Position, version uint64) bool {
	return pos.Source == k.end && version == k.version
}

// mapRecord is the record of a map that was taken at pos; r tells the rest of the lane.
func mapRecord(r progress.Record, pos lane.Position, m *offsets.Map) (progress.Offsets, error) {
	r.Position, r.At = pos, time.Now()
	raw, err := m.MarshalBinary()
	return progress.Offsets{Record: r, Map: raw}, err
}

// mapToStore is the lane's offset map if it is to be stored now, and the mark of
// that; else the mark is the one that m has. The caller holds saving, and has seen
// that the lane neither starts nor is stopped: a start may have stored the map of
// another log, which the lane does not have yet.
func (m *member) mapToStore(now time.Time, last bool) (o progress.Offsets, mark mapMark, err error) {
	version := m.lane.OffsetsVersion()
	due := last && version != m.mapped.version || !now.Before(m.mapped.due(version))
	if m.settling(now) || m.stored.Lane.Topic == "" || !due {
		return o, m.mapped, nil
	}
	pos, om := m.lane.Offsets()
	if om == nil || m.mapped.says(pos, version) {
		return o, m.mapped, nil
	}
	o, err = mapRecord(m.stored, pos, om)
	return o, mapMark{now, version, pos.Source}, err
}

// settling tells that the lane's doubt is about to be settled. Until then the map
// stays as it was stored before: it ends where the doubt begins, or sooner, so
// that after a crash all of it is in doubt again, and is read back then. A doubt
// that cannot be settled, for the source is compacted, holds it up only for a while.
func (m *member) settling(now time.Time) bool {
	if !m.lane.InDoubt() {
		m.doubted = time.Time{}
		return false
	}
	if m.doubted.IsZero() {
		m.doubted = now
	}
	return now.Sub(m.doubted) < mapEvery
}

// rest is how long nothing of a lane is to be stored, unless it moves.
type rest struct {
	moves uint64 // lane.Moves
	until time.Time
}

// resting tells that nothing of the lane is to be stored now: of ten thousand lanes
// few move, and to look at each costs more than all else that is done for one
// without records. The caller holds saving.
func (m *member) resting(now time.Time) bool {
	return m.rest.moves == m.lane.Moves() && now.Before(m.rest.until)
}

// lull takes note of how long nothing is to be stored of a lane that was just looked
// at in vain, as s; moves is from before that. The caller holds saving.
func (m *member) lull(s *lane.Snapshot, moves uint64, now time.Time) {
	if m.lane.InDoubt() {
		return // its map waits for that to be settled
	}
	version := m.lane.OffsetsVersion()
	m.rest = rest{moves, m.mapped.due(version)}
	if m.mapped.says(s.Position, version) {
		m.rest.until = now.Add(anyMapEvery) // nothing will be; a look now and then costs nothing
	}
}

// remap is the offset map with which the lane begins, up to its position; nil: the
// lane has it.
func (j *job) remap() *offsets.Map {
	p := j.plan.Position
	if j.taken != nil {
		return j.taken.offsetMap(j.id, j.seen, p.Source)
	}
	if j.fresh || j.anew {
		return offsets.NewMap(p.Source, p.Target)
	}
	_, m := j.member.lane.Offsets()
	if m != nil && !j.restart {
		return nil
	}
	if m == nil {
		m = storedMap(j.stored, j.from)
	}
	if j.restart {
		m.Truncate(p.Source)
	}
	return m
}

// storedMap is the map of a lane as it was stored with r, brought to the lane's
// stored position.
func storedMap(r progress.Record, at lane.Position) *offsets.Map {
	o := r.Offsets
	if o == nil {
		return lane.Mapped(nil, lane.Position{}, at)
	}
	m := &offsets.Map{}
	if err := m.UnmarshalBinary(o.Map); err != nil {
		m = nil // of a later kferry, perhaps: what is in it can be read back
	}
	return lane.Mapped(m, o.Position, at)
}

// sourceLog and targetLog are a lane's partitions, to be looked at.
func (f *flow) sourceLog(id lane.ID, p catalog.Place) kafka.Log {
	return kafka.Log{
		Link: f.source.Aside(), Leader: p.SourceLeader, Topic: id.Topic, TopicID: p.SourceID, Partition: id.Partition, Committed: true,
	}
}

func (f *flow) targetLog(id lane.ID, p catalog.Place) kafka.Log {
	return kafka.Log{Link: f.target.Aside(), Leader: p.TargetLeader, Topic: p.TargetTopic, TopicID: p.TargetID, Partition: id.Partition}
}

// doubt is a lane's doubt and where to settle it.
type doubt struct {
	lane.Doubt
	lane           *lane.Lane
	source, target kafka.Log
	gaps           bool // records may be gone on the source, and others look like them
}

// late is a stretch of a lane's target that nobody has looked at, and where that is.
type late struct {
	lane.Late
	lane   *lane.Lane
	target kafka.Log
}

// readBack looks now and then for lanes that have begun with a doubt about where
// records are, and reads the stretch on both sides to settle it.
func (f *flow) readBack(ctx context.Context) {
	t := time.NewTicker(readbackEvery)
	defer t.Stop()
	for {
		select {
		case <-t.C:
		case <-ctx.Done():
			return
		}
		found, lates := make(chan []doubt, 1), make(chan []late, 1)
		f.helm.post(func() {
			lates <- f.helm.lates()
			found <- f.helm.doubts()
		})
		select {
		case ds := <-found:
			for _, l := range <-lates {
				f.count(ctx, l)
			}
			for _, d := range ds {
				f.settle(ctx, d)
			}
		case <-ctx.Done():
			return
		}
	}
}

func (h *helm) lates() (ls []late) {
	for id, m := range h.f.lanes {
		if m.place.TargetLeader < 0 {
			continue
		}
		if l, ok := m.lane.Late(); ok {
			ls = append(ls, late{l, m.lane, h.f.targetLog(id, m.place)})
		}
	}
	return ls
}

// count looks whether there are records of the lane where nobody has looked: they are
// there twice. What cannot be read counts as all that may be.
func (f *flow) count(ctx context.Context, l late) {
	found, err := progress.Scan{Log: l.target, From: l.From, To: l.To, Producer: l.Producer, Epoch: l.Epoch}.Read(ctx)
	log := f.log.With("topic", l.lane.Topic, "partition", l.lane.Partition, "target_offset", int64(l.From))
	switch {
	case ctx.Err() != nil:
	case err != nil:
		n := int64(l.To - l.From)
		l.lane.Count(0, n, 0)
		log.Warn("records that came to the target beside ours cannot be read; if they are of an earlier send of ours, they are there twice",
			"twice_at_most", n, "err", kafka.Explain(f.target.Alias(), err))
	case found.Records > 0:
		l.lane.Count(0, found.Records, 0)
		log.Warn("the target has records twice: its brokers had forgotten our producer and stored a late batch again", "records", found.Records)
	}
}

func (h *helm) doubts() (ds []doubt) {
	for id, m := range h.f.lanes {
		if m.place.SourceLeader < 0 || m.place.TargetLeader < 0 {
			continue
		}
		if d, ok := m.lane.Doubt(); ok {
			ds = append(ds, doubt{d, m.lane, h.f.sourceLog(id, m.place), h.f.targetLog(id, m.place), !m.place.Exact})
		}
	}
	return ds
}

// settle reads back. What cannot be read stays in doubt, which is safe:
// translations there are floors.
func (f *flow) settle(ctx context.Context, d doubt) {
	log := f.log.With("topic", d.lane.Topic, "partition", d.lane.Partition, "source_offset", int64(d.Source), "records", d.Records)
	found, err := f.findAgain(ctx, d)
	err = errors.Join(err, d.lane.Settle(d.Doubt, found))
	switch {
	case ctx.Err() != nil:
	case err != nil:
		log.Info("where some records are on the target is known only roughly: they cannot be read back. Groups that stand there may read some again", "err", err)
	default:
		log.Debug("found where records are on the target by reading them back", "pieces", len(found))
	}
}

func (f *flow) findAgain(ctx context.Context, d doubt) ([]offsets.Piece, error) {
	s := readback.Stretch{
		From: d.Source, To: d.Source + offsets.Source(d.SourceLen), Start: d.Target, End: d.Target + offsets.Target(d.TargetLen),
		Producer: d.Producer, Epoch: d.Epoch, Sequence: d.Sequence, Gaps: d.gaps,
	}
	// What is left of the logs, and no more than is remembered.
	first, err := firstOffset(ctx, f.source, d.source)
	if err != nil {
		return nil, err
	}
	s.From = max(s.From, offsets.Source(first), s.To-readback.MostRecords)
	if first, err = firstOffset(ctx, f.target, d.target); err != nil {
		return nil, err
	}
	s.Start = max(s.Start, offsets.Target(first), s.End-readback.MostRecords)
	return readback.Match(ctx, d.source, d.target, s)
}

// firstOffset is where l begins on cl.
func firstOffset(ctx context.Context, cl *kafka.Cluster, l kafka.Log) (int64, error) {
	starts, err := cl.Admin().ListStartOffsets(ctx, l.Topic)
	if err != nil {
		return 0, kafka.Explain(cl.Alias(), err)
	}
	o, ok := starts.Lookup(l.Topic, l.Partition)
	switch {
	case !ok:
		return 0, fmt.Errorf("cluster %q does not say where topic %q partition %d begins", cl.Alias(), l.Topic, l.Partition)
	case o.Err != nil:
		return 0, offsetError(cl.Alias(), l.Topic, l.Partition, o.Err)
	}
	return o.Offset, nil
}
