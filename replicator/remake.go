package replicator

import (
	"context"
	"errors"
	"time"

	"github.com/kferry/kferry/replicator/lane"
	"github.com/kferry/kferry/replicator/progress"
)

// Somebody may delete the progress topic while lanes are carried. The next start would then carry
// everything again. So the topic is made again, with what this replica still knows of its lanes.

// surelyGone is how many looks in a row must miss the topic: a broker that has just started may not
// know of it.
const surelyGone = 3

// left is what is known of a lane that was let go and could not be stored.
type left struct {
	record  progress.Record
	offsets *progress.Offsets // nil: nothing is known
}

// progressTopic is told what a look at the topic has shown: how many looks in a row missed it, and
// that it is not the one of before.
func (f *flow) progressTopic(ctx context.Context, missing int, remade bool) {
	if missing >= surelyGone && !f.gone.Swap(true) {
		f.log.Error("the progress topic was deleted; making it again, with what is known of this replica's lanes", "topic", progress.Topic(f.cfg.Name))
	}
	if missing >= surelyGone {
		if err := f.store.Remake(ctx, f.cfg.ReplicationFactor); err != nil {
			f.outages.report("progress", "progress is not stored", err)
			return
		}
		remade = true
	}
	if remade {
		f.store.Remade()
		f.gone.Store(true)
	}
	if !f.gone.Load() || missing > 0 && !remade {
		return
	}
	if err := f.restore(ctx); err != nil {
		f.outages.report("progress", "progress is not stored", err)
		return
	}
	f.gone.Store(false)
	f.outages.over("progress")
	f.log.Info("the progress topic was made again, and what is known of this replica's lanes is stored in it")
}

// restore stores all that is known of the lanes that this replica has, or had when the topic went.
func (f *flow) restore(ctx context.Context) error {
	f.saving <- struct{}{}
	defer func() { <-f.saving }()
	var records []progress.Record
	var maps []progress.Offsets
	for _, m := range f.members() {
		delete(f.left, m.lane.ID) // it is here again
		l, err := m.known()
		if err != nil {
			return err
		}
		records, maps = l.add(records, maps)
	}
	for _, l := range f.left {
		records, maps = l.add(records, maps)
	}
	if err := f.store.Save(ctx, records, maps); err != nil {
		return err
	}
	clear(f.left)
	return nil
}

// keep keeps what is known of lanes whose progress cannot be stored.
func (f *flow) keep(ms []*member) {
	f.saving <- struct{}{}
	defer func() { <-f.saving }()
	for _, m := range ms {
		if l, err := m.known(); err == nil && l.record.Lane.Topic != "" {
			f.left[m.lane.ID] = l
		}
	}
}

// known is where the lane is. The caller holds saving.
func (m *member) known() (l left, err error) {
	l.record = m.stored
	if l.record.Lane.Topic == "" {
		return l, nil
	}
	s := m.lane.Snapshot()
	if s.State != lane.Running && s.State != lane.Waiting && s.State != lane.Paused {
		l.offsets = m.stored.Offsets
		return l, nil
	}
	l.record.Position, l.record.At = s.Position, time.Now()
	if pos, om := m.lane.Offsets(); om != nil {
		o, err := mapRecord(m.stored, pos, om)
		if err != nil {
			return l, err
		}
		l.offsets = &o
	}
	return l, nil
}

func (l left) add(records []progress.Record, maps []progress.Offsets) ([]progress.Record, []progress.Offsets) {
	if l.record.Lane.Topic != "" {
		records = append(records, l.record)
	}
	if l.offsets != nil {
		maps = append(maps, *l.offsets)
	}
	return records, maps
}

var errProgressGone = errors.New("the progress topic was deleted: until it is there again, nothing tells the next start what was carried")
