package replicator

import (
	"context"
	"errors"
	"fmt"

	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/kferry/kferry/internal/kafka"
	"github.com/kferry/kferry/offsets"
	"github.com/kferry/kferry/replicator/lane"
	"github.com/kferry/kferry/replicator/progress"
	"github.com/kferry/kferry/replicator/readback"
)

// What the target has of a lane: these are the steps of a starter that derive its plan.
// Its brokers' memory is asked first; where that may be gone, or does not settle the
// matter, the log tells, and what was sent is compared with it.

// remembered asks the target what it remembers of our producers.
func (s *starter) remembered(ctx context.Context) error {
	set := kadm.TopicsSet{}
	for _, j := range s.alive() {
		set.Add(j.place.TargetTopic, j.id.Partition)
	}
	if len(set) == 0 {
		return nil
	}
	// A target that does not tell (before Kafka 2.8, or not allowed) leaves the
	// reading of its log, which resolve does.
	described, _ := s.f.target.Admin().DescribeProducers(ctx, set)
	for _, j := range s.alive() {
		if p, ok := described[j.place.TargetTopic].Partitions[j.id.Partition]; ok && p.Err == nil {
			if ours, ok := p.ActiveProducers[j.stored.Position.Producer]; ok && ours.LastSequence >= 0 {
				j.err = j.know(ours.ProducerEpoch, ours.LastSequence)
			}
		}
	}
	return nil
}

// know takes what the target remembers of our producer.
func (j *job) know(epoch int16, last int32) error {
	ours := j.stored.Position
	switch {
	case epoch > ours.Epoch:
		return &progress.NewerError{Ours: ours.Epoch, Seen: epoch}
	case epoch == ours.Epoch:
		j.seen.Known, j.seen.Last = true, last
	case ours.Sequence == 0:
		j.seen.Known, j.seen.Last = true, -1 // nothing was written yet under our epoch
	default:
		return fmt.Errorf("%w; %s", &lane.LostTargetError{Stored: ours, Seen: j.seen}, forgetRemedy)
	}
	return nil
}

// tails waits until consumers are shown all that the target's leaders have of the lanes
// that they do not remember. A batch that was stored a moment ago, and that its
// followers lack, is neither remembered nor shown, and would be sent again.
func (s *starter) tails(ctx context.Context) error {
	var open []*job
	req := kadm.OffsetForLeaderEpochRequest{}
	for _, j := range s.alive() {
		if !j.seen.Known && !j.fresh && j.place.TargetEpoch != 0 {
			req.Add(j.place.TargetTopic, j.id.Partition, j.place.TargetEpoch.Epoch())
			open = append(open, j)
		}
	}
	if len(open) == 0 {
		return nil
	}
	// The end of the leader's present epoch is the end of its log. A target that does
	// not tell leaves what it shows.
	ends, err := s.f.target.Admin().OffsetForLeaderEpoch(ctx, req)
	if err != nil && ctx.Err() != nil {
		return err
	}
	sub := &starter{f: s.f}
	for _, j := range open {
		if o, ok := ends[j.place.TargetTopic][j.id.Partition]; ok && o.Err == nil && offsets.Target(o.EndOffset) > j.seen.End {
			j.tail = offsets.Target(o.EndOffset)
			sub.jobs = append(sub.jobs, j)
		}
	}
	if err := sub.list(ctx, s.targetEnds()); err != nil {
		return err
	}
	for _, j := range sub.alive() {
		if j.seen.End < j.tail {
			j.err = &awayError{errUnconfirmed}
		}
	}
	return nil
}

// resolve derives one plan.
func (s *starter) resolve(ctx context.Context, j *job) (lane.Plan, error) {
	plan, err := lane.Resume(j.stand(), j.seen)
	if !j.seen.Read && (errors.Is(err, lane.ErrForgotten) || err == nil && plan.Carried+plan.Skip > 0) {
		if err := s.confirm(ctx, j); err != nil {
			return plan, err
		}
		plan, err = lane.Resume(j.stand(), j.seen)
	}
	switch {
	case err != nil:
		return s.unresumed(ctx, j, plan, err)
	case j.restart:
		plan = plan.Restart(j.seen)
		return plan, s.newEpoch(ctx, &plan.Position)
	case plan.Search || j.uncounted && plan.Skip > 0:
		if plan, err = s.search(ctx, j, plan); err != nil {
			return plan, &awayError{err}
		}
	}
	if plan.Lost > 0 && s.f.cfg.OnSourceLoss == lossStop {
		return plan, fmt.Errorf("the source removed %d offsets from %d on before they were carried (retention); set on_source_loss: continue to go on at %d",
			plan.Lost, j.stored.Position.Source, plan.Source)
	}
	return plan, nil
}

// search finds by comparison where the records end on the source that the target has.
func (s *starter) search(ctx context.Context, j *job, p lane.Plan) (lane.Plan, error) {
	found, err := readback.Find(ctx, s.f.sourceLog(j.id, j.place), s.f.targetLog(j.id, j.place), readback.Tail{
		From: p.Source, LogStart: j.seen.LogStart, End: j.seen.LogEnd,
		Start: max(j.stored.Position.Target, j.seen.Start), TargetTo: j.seen.End,
		Producer: p.Producer, Epoch: p.Epoch, Last: j.seen.Last, N: p.Skip,
	})
	if err != nil {
		return p, fmt.Errorf("finding the last records of topic %q partition %d on the source: %w", j.id.Topic, j.id.Partition, err)
	}
	return p.Placed(j.seen, found.At, found.Found, found.Twice), nil
}

// unresumed decides about a lane that cannot simply go on.
func (s *starter) unresumed(ctx context.Context, j *job, plan lane.Plan, err error) (lane.Plan, error) {
	var truncated *lane.TruncatedError
	switch {
	case errors.As(err, &truncated) && s.f.cfg.OnSourceLoss == lossContinue:
		j.truncated = truncated.Stored - truncated.End
		j.restartAt(max(truncated.End, j.seen.LogStart))
		return s.resolve(ctx, j)
	case errors.As(err, &truncated):
		return plan, fmt.Errorf("%w; %s", err, lossRemedy)
	case errors.As(err, new(*lane.LostTargetError)):
		return plan, fmt.Errorf("%w; %s", err, forgetRemedy)
	}
	return plan, err
}

// restartAt has the lane go on at another offset: those that were carried mean
// nothing any more.
func (j *job) restartAt(at offsets.Source) {
	j.restart, j.sent = true, nil
	j.stored.Position.Source, j.stored.Position.Leader, j.seen.Same = at, 0, 0
}

// What on_source_loss may say, and what errors say to do about it.
const (
	lossStop, lossContinue = "stop", "continue"
	forgetRemedy           = `to start it over, forget its stored progress: see "To forget a lane" in docs/progress.md`
	lossRemedy             = `set on_source_loss: continue to carry on with what is there now, or forget its stored progress (see "To forget a lane" in docs/progress.md)`
)

// confirm reads back what the target wrote since progress was stored. A
// consumer is shown what all replicas have, so it settles both doubts: whether
// records that the leader counts are safe, and what a broker that forgot the
// producer has of ours.
func (s *starter) confirm(ctx context.Context, j *job) error {
	pos, seen := j.stored.Position, &j.seen
	found, err := progress.Scan{
		Log: s.f.targetLog(j.id, j.place), From: max(pos.Target, seen.Start), To: seen.End,
		Producer: pos.Producer, Epoch: pos.Epoch, Sequence: pos.Sequence, Whole: j.place.Foretold && seen.Start <= pos.Target,
	}.Read(ctx)
	switch {
	case errors.As(err, new(*progress.NewerError)):
		return err
	case errors.As(err, new(*progress.TornError)):
		return fmt.Errorf("%w; what is missing cannot be put in its place any more: %s", err, forgetRemedy)
	case err != nil:
		return &awayError{fmt.Errorf("reading back the end of target topic %q partition %d: %w", j.place.TargetTopic, j.id.Partition, kafka.Explain(s.f.target.Alias(), err))}
	}
	j.doubled = found.Twice
	switch {
	case !seen.Known:
		seen.Known, seen.Last = found.Any, found.Last
	case !found.Any && seen.Start > pos.Target: // removed since, so consumers had been shown it
	case !found.Any || found.Last != seen.Last:
		return &awayError{errUnconfirmed}
	}
	seen.Read = true
	return nil
}
