package replicator

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/kferry/kferry/config"
	"github.com/kferry/kferry/offsets"
	"github.com/kferry/kferry/replicator/catalog"
	"github.com/kferry/kferry/replicator/progress"
)

// Where lanes begin that have no progress: these are the steps of a starter that
// concern them alone.

// firstTime gives lanes without progress their first position. An offset that
// somebody wrote down for the lane comes first. The flow's start is for the
// topics that it finds when it begins; a topic or partition that appears later
// is carried from its first record, or what was written before it was noticed
// would be left out.
func (s *starter) firstTime(ctx context.Context) error {
	if err := s.unmixed(ctx); err != nil {
		return err
	}
	var fresh []*job
	takeOver := sync.OnceValues(func() (*taken, error) { return s.takeOver(ctx) }) // not once for each lane
	for _, j := range s.alive() {
		if j.stored.Lane.Topic != "" {
			if s.f.cfg.Takeover == takeoverAiven {
				j.err = s.behind(ctx, j)
			}
			continue
		}
		j.stored = progress.Record{Lane: j.id, TargetTopic: j.place.TargetTopic, SourceID: j.place.SourceID, TargetID: j.place.TargetID}
		j.fresh = true
		p := &j.stored.Position
		p.Producer, p.Epoch, p.Target = s.f.producer.ProducerID, s.f.producer.ProducerEpoch, j.seen.End
		if s.toldWhere(j, takeOver) || j.err != nil {
			continue
		}
		p.Source = j.seen.LogStart
		if s.f.cfg.Start.Kind == config.StartLatest && !j.late {
			p.Source = j.seen.LogEnd
		}
		if !j.late {
			fresh = append(fresh, j)
		}
	}
	if s.f.cfg.Start.Kind != config.StartTime || len(fresh) == 0 {
		return nil
	}
	at := s.f.cfg.Start.Time.UnixMilli()
	sub := &starter{f: s.f, jobs: fresh}
	return sub.list(ctx, &ask{
		cl: s.f.source, topic: func(j *job) string { return j.id.Topic },
		list: func(ctx context.Context, topics ...string) (kadm.ListedOffsets, error) {
			return s.f.source.Admin().ListOffsetsAfterMilli(ctx, at, topics...)
		},
		set: func(j *job, o int64) { j.stored.Position.Source = offsets.Source(o) },
	})
}

// unmixed stops lanes without progress whose target topic is a copy of another
// source topic. With a prefix that is taken off two topics can get one name, and it
// may be another replica that began with the other one.
func (s *starter) unmixed(ctx context.Context) error {
	var fresh []*job
	for _, j := range s.alive() {
		if j.stored.Lane.Topic == "" {
			fresh = append(fresh, j)
		}
	}
	if len(fresh) == 0 {
		return nil
	}
	if s.f.cfg.StripPrefix != "" {
		if err := s.f.store.CatchUp(ctx); err != nil {
			return err
		}
	}
	copies := s.f.store.Copies()
	s.f.catalog.Carried(copies)
	for _, j := range fresh {
		if of := copies[j.place.TargetTopic]; of != "" && of != j.id.Topic {
			j.err = catalog.Taken(j.id.Topic, of, j.place.TargetTopic, false)
		}
	}
	return nil
}

// inside checks that the source has the offset that the lane is told to begin at.
func (j *job) inside() error {
	at := j.stored.Position.Source
	if at >= j.seen.LogStart && at <= j.seen.LogEnd {
		return nil
	}
	return fmt.Errorf("start_offsets has offset %d for source topic %q partition %d, whose log begins at %d and ends before %d: "+
		"correct it in the configuration, or take it out to begin as start says, and start kferry again", at, j.id.Topic, j.id.Partition, j.seen.LogStart, j.seen.LogEnd)
}

// claim settles the first positions: another replica may be at the same lanes.
func (s *starter) claim(ctx context.Context) error {
	var mine []progress.Record
	for _, j := range s.alive() {
		if j.fresh {
			j.stored.At = time.Now()
			mine = append(mine, j.stored)
		}
	}
	settled, err := s.f.store.Claim(ctx, mine)
	if err != nil {
		return err
	}
	s.f.saving <- struct{}{}
	defer func() { <-s.f.saving }()
	for _, j := range s.alive() {
		if r := settled[j.id]; j.fresh && (r.Err != nil || r.Position != j.stored.Position) {
			// What was asked of both sides may be older than the other's position.
			j.member.stored, j.err = r, &awayError{errOthersBegan}
		}
	}
	return nil
}

// behind tells that Aiven's MirrorMaker 2 has carried a lane on since kferry did:
// what is stored of it is old, and records would be twice.
func (s *starter) behind(ctx context.Context, j *job) error {
	if s.f.positions == nil {
		t, err := readTaken(ctx, s.f.cfg, s.f.target)
		if err != nil && !errors.Is(err, errNeverRan) {
			return err
		}
		s.f.positions = t.next
	}
	next := s.f.positions[j.id]
	if next <= j.stored.Position.Source {
		return nil
	}
	return fmt.Errorf("MirrorMaker 2 has carried the partition up to source offset %d, and kferry's own progress is of before, %d: \"kferry aiven handover %s --to kferry\" settles where kferry goes on",
		next, j.stored.Position.Source, s.f.cfg.Name)
}

// toldWhere gives j the offset that somebody wrote down for it; false if nobody did.
func (s *starter) toldWhere(j *job, takeOver func() (*taken, error)) bool {
	p := &j.stored.Position
	if at, ok := s.f.cfg.StartOffsets[j.id.Topic][j.id.Partition]; ok {
		p.Source = offsets.Source(at)
		j.err = j.inside()
		return true
	}
	if s.f.cfg.Takeover == "" {
		return false
	}
	t, err := takeOver()
	if err != nil {
		j.err = err
		return false
	}
	next, ok := t.next[j.id]
	switch {
	case ok:
		p.Source, j.taken = next, t
	case s.f.cfg.Takeover == takeoverAiven && !j.late && j.seen.End > j.seen.Start:
		j.err = fmt.Errorf("target topic %q partition %d has records, and MirrorMaker 2 has no position for it: all that it has carried would be twice. "+
			"Say in start_offsets where kferry is to begin", j.place.TargetTopic, j.id.Partition)
	}
	return ok
}
