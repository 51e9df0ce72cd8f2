package replicator

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/kferry/kferry/internal/kafka"
	"github.com/kferry/kferry/offsets"
	"github.com/kferry/kferry/replicator/catalog"
	"github.com/kferry/kferry/replicator/lane"
	"github.com/kferry/kferry/replicator/progress"
)

// starter finds where a number of lanes go on, with as few requests as for one,
// and stores that before any of them sends a record: a batch whose producer id
// nobody wrote down could not be recognised after a crash.
type starter struct {
	f    *flow
	jobs []*job
}

// job is one lane's start.
type job struct {
	member    *member
	id        lane.ID
	place     catalog.Place
	stored    progress.Record // its Position is where the lane is; zero Lane: nothing is known
	from      lane.Position   // that, before any plan
	sent      []lane.Sent     // after that, as far as this process knows
	offsets   *offsets.Map    // up to the plan's position; nil: the lane has it
	began     bool            // the lane knows its position better than stored
	taken     *taken          // what it goes on from, if it takes over
	fresh     bool            // nothing is stored of it: its first position has to be claimed
	restart   bool            // the source is no longer the one that was carried
	anew      bool            // since its topic was made anew
	truncated offsets.Source  // or it lost so many offsets that were carried
	late      bool            // begin at the first offset, whatever the flow's start says
	uncounted bool            // the records to skip could not be counted on the source
	doubled   int64           // records of the lane that the target's log has twice
	aside     *aside          // what the target refused at its position; nil: nothing, or the target has it
	seen      lane.Seen
	asked     int64          // when the source was asked for seen, ms since 1970
	tail      offsets.Target // where the target's leader says that its log ends, if that is behind seen.End
	plan      lane.Plan
	err       error       // *awayError: try again soon; others stop the lane
	void      atomic.Bool // the lane was taken away meanwhile
	saved     bool        // the plan is stored
}

// holds tells that the plan is to be stored: it was found, and the lane still waits for it.
func (j *job) holds() bool { return j.err == nil && !j.void.Load() }

// stand is where the lane stands.
func (j *job) stand() lane.Stand {
	return lane.Stand{Position: j.stored.Position, Sent: j.sent, Whole: j.began}
}

// awayError is a failure that time mends: a cluster or a leader is away.
type awayError struct{ err error }

func (e *awayError) Error() string { return e.err.Error() }
func (e *awayError) Unwrap() error { return e.err }

// errUnconfirmed means that the leader has records of ours that a consumer does
// not see yet: its followers lack them, and a new leader would not have them.
// To skip them now could lose them.
var errUnconfirmed = errors.New("the target's replicas have not confirmed the last records yet")

// errOthersBegan means that another replica was faster: the lane starts again,
// from where that one began.
var errOthersBegan = errors.New("another replica has begun the lane")

func newStarter(f *flow, ms []*member) *starter {
	s := &starter{f: f}
	for _, m := range ms {
		s.jobs = append(s.jobs, &job{
			member: m, id: m.lane.ID, place: m.place, began: m.began, late: m.late, uncounted: m.uncounted, aside: m.aside,
		})
	}
	return s
}

// take notes where the lanes are. It may have to wait for progress to be
// written, which the helm must not.
func (s *starter) take() {
	s.f.saving <- struct{}{}
	defer func() { <-s.f.saving }()
	for _, j := range s.jobs {
		j.stored = j.member.stored
		j.err = j.stored.Err
		if j.began {
			stand := j.member.lane.Stand()
			j.stored.Position, j.sent = stand.Position, stand.Sent
		}
		j.from = j.stored.Position
	}
}

// run fills in plan and seen, or err, of every job, and hands out each as it is ready.
// Lanes whose logs have to be read first do not hold up the others: begun is called
// once those are out.
func (s *starter) run(ctx context.Context, ready func([]*job), begun func()) {
	s.take()
	for _, step := range []func(context.Context) error{s.bounds, s.epochs, s.firstTime, s.claim, s.remembered, s.tails} {
		if err := step(ctx); err != nil {
			s.fail(&awayError{err})
			break
		}
	}
	var quick, slow []*job
	for _, j := range s.jobs {
		if j.err == nil && s.reads(j) {
			slow = append(slow, j)
		} else {
			quick = append(quick, j)
		}
	}
	for _, j := range quick {
		if j.err == nil {
			j.plan, j.err = s.resolve(ctx, j)
		}
	}
	s.finish(ctx, quick, ready)
	begun()
	s.readAll(ctx, slow, ready)
}

// reads tells that j cannot be resolved without reading a log or writing letters.
func (s *starter) reads(j *job) bool {
	plan, err := lane.Resume(j.stand(), j.seen)
	return errors.Is(err, lane.ErrForgotten) || err == nil && (plan.Carried+plan.Skip > 0 || plan.Search) || j.aside != nil
}

// Logs that are read at a time: each answer comes from another place of a disk.
const readers = 16

// readAll resolves jobs one by one, some at a time. Those that are done while others
// are stored are stored together.
func (s *starter) readAll(ctx context.Context, jobs []*job, ready func([]*job)) {
	if len(jobs) == 0 {
		return
	}
	todo, done := make(chan *job, len(jobs)), make(chan *job, len(jobs))
	for _, j := range jobs {
		todo <- j
	}
	close(todo)
	for range min(readers, len(jobs)) {
		go func() {
			for j := range todo {
				if j.plan, j.err = s.resolve(ctx, j); j.err == nil {
					j.err = s.setAside(ctx, j)
				}
				done <- j
			}
		}()
	}
	for left := len(jobs); left > 0; {
		some := []*job{<-done}
		for len(done) > 0 {
			some = append(some, <-done)
		}
		left -= len(some)
		s.finish(ctx, some, ready)
	}
}

// finish stores the plans of jobs and hands them out. What is lost is said before it is stored
// that the lane goes on behind it: a process that is killed in between would not say it at all.
func (s *starter) finish(ctx context.Context, jobs []*job, ready func([]*job)) {
	for _, j := range jobs {
		if j.holds() && j.plan.Lost > 0 {
			s.f.log.Warn("the source removed records before they were carried (retention); going on at the first that is left",
				"topic", j.id.Topic, "partition", j.id.Partition, "source_offset", int64(j.plan.Source), "lost_offsets", j.plan.Lost)
		}
	}
	if err := s.save(ctx, jobs); err != nil {
		for _, j := range jobs {
			if j.err == nil {
				j.err = &awayError{err}
			}
		}
	}
	ready(jobs)
}

// fail gives err to every job that has none.
func (s *starter) fail(err error) {
	for _, j := range s.jobs {
		if j.err == nil {
			j.err = err
		}
	}
}

// alive are the jobs without an error.
func (s *starter) alive() (js []*job) {
	for _, j := range s.jobs {
		if j.err == nil {
			js = append(js, j)
		}
	}
	return js
}

// bounds reads where the logs of both sides begin and end, and checks that they
// are the logs that progress is about.
func (s *starter) bounds(ctx context.Context) error {
	source := func(j *job) string { return j.id.Topic }
	target := func(j *job) string { return j.place.TargetTopic }
	asks := []*ask{
		{cl: s.f.source, topic: source, list: s.f.source.Admin().ListStartOffsets, set: func(j *job, o int64) { j.seen.LogStart = offsets.Source(o) }},
		{cl: s.f.source, topic: source, list: s.f.source.Admin().ListEndOffsets, set: func(j *job, o int64) { j.seen.LogEnd = offsets.Source(o) }},
		{cl: s.f.target, topic: target, list: s.f.target.Admin().ListStartOffsets, set: func(j *job, o int64) { j.seen.Start = offsets.Target(o) }},
		s.targetEnds(),
	}
	asked := time.Now().UnixMilli()
	if err := s.list(ctx, asks...); err != nil {
		return err
	}
	for _, j := range s.alive() {
		j.asked = asked
		j.err = j.same(s.f.cfg.OnSourceLoss)
	}
	return nil
}

func (s *starter) targetEnds() *ask {
	return &ask{
		cl: s.f.target, topic: func(j *job) string { return j.place.TargetTopic },
		list: s.f.target.Admin().ListEndOffsets, set: func(j *job, o int64) { j.seen.End = offsets.Target(o) },
	}
}

// same checks that both topics are those that the stored progress is about.
func (j *job) same(onLoss string) error {
	zero := [16]byte{}
	if old := j.stored.SourceID; old != zero && j.place.SourceID != zero && old != j.place.SourceID {
		if onLoss != lossContinue {
			return fmt.Errorf("source topic %q was deleted and made anew; %s", j.id.Topic, lossRemedy)
		}
		j.anew, j.stored.SourceID = true, j.place.SourceID
		j.restartAt(j.seen.LogStart)
	}
	if old := j.stored.TargetID; old != zero && j.place.TargetID != zero && old != j.place.TargetID {
		return fmt.Errorf("target topic %q was deleted and made anew; %s", j.place.TargetTopic, forgetRemedy)
	}
	if old := j.stored.TargetTopic; old != "" && old != j.place.TargetTopic {
		return fmt.Errorf("stored progress is for target topic %q, the flow's policy now says %q: give the flow another name to start over, or restore the policy",
			old, j.place.TargetTopic)
	}
	return nil
}

// epochs asks the source up to where its logs are those that were read. What it
// does not tell (an old broker, a right we lack) leaves the ends of the logs.
func (s *starter) epochs(ctx context.Context) error {
	req := kadm.OffsetForLeaderEpochRequest{}
	for _, j := range s.alive() {
		if l := j.stored.Position.Leader; l != 0 {
			req.Add(j.id.Topic, j.id.Partition, l.Epoch())
		}
	}
	if len(req) == 0 {
		return nil
	}
	got, err := s.f.source.Admin().OffsetForLeaderEpoch(ctx, req)
	if err != nil && ctx.Err() != nil {
		return err
	}
	for _, j := range s.alive() {
		o, ok := got[j.id.Topic][j.id.Partition]
		switch {
		case !ok || o.Err != nil:
		case o.LeaderEpoch < 0 || o.EndOffset < 0:
			j.stored.Position.Leader = 0 // retention removed all of that epoch
		default:
			j.seen.Same = offsets.Source(o.EndOffset)
		}
	}
	return nil
}

// ask is a question for one kind of offset of all living jobs.
type ask struct {
	cl    *kafka.Cluster
	topic func(*job) string
	list  func(context.Context, ...string) (kadm.ListedOffsets, error)
	set   func(*job, int64)

	got kadm.ListedOffsets
	err error
}

// list asks at once, since each question costs the way there and back.
func (s *starter) list(ctx context.Context, asks ...*ask) error {
	jobs := s.alive()
	if len(jobs) == 0 {
		return nil
	}
	var wait sync.WaitGroup
	for _, a := range asks {
		topics := kadm.TopicsSet{}
		for _, j := range jobs {
			topics.Add(a.topic(j), j.id.Partition)
		}
		wait.Go(func() { a.got, a.err = a.list(ctx, topics.Topics()...) })
	}
	wait.Wait()
	for _, a := range asks {
		if a.err != nil && len(a.got) == 0 {
			return kafka.Explain(a.cl.Alias(), a.err)
		}
		for _, j := range jobs {
			a.answer(j)
		}
	}
	return nil
}

// answer hands j its offset, unless another question failed for it.
func (a *ask) answer(j *job) {
	if j.err != nil {
		return
	}
	o, ok := a.got.Lookup(a.topic(j), j.id.Partition)
	switch {
	case !ok && a.err != nil:
		j.err = &awayError{kafka.Explain(a.cl.Alias(), a.err)}
	case !ok:
		j.err = &awayError{fmt.Errorf("cluster %q does not say where topic %q partition %d begins and ends", a.cl.Alias(), a.topic(j), j.id.Partition)}
	case o.Err != nil:
		j.err = offsetError(a.cl.Alias(), a.topic(j), j.id.Partition, o.Err)
	default:
		a.set(j, o.Offset)
	}
}

func offsetError(alias, topic string, partition int32, err error) error {
	wrapped := fmt.Errorf("topic %q partition %d: %w", topic, partition, kafka.Explain(alias, err))
	if errors.Is(err, kerr.TopicAuthorizationFailed) {
		return fmt.Errorf("%w: allow our user to Read and Describe it", wrapped)
	}
	return &awayError{wrapped}
}

// save stores the plans' positions. Two kinds of offset map go with them: that of
// a log that is no longer the one that was carried, since an older map would say
// wrong things of the new log; and one that stands for what somebody else has
// mirrored, which no other source tells.
func (s *starter) save(ctx context.Context, jobs []*job) error {
	s.f.saving <- struct{}{}
	defer func() { <-s.f.saving }()
	var out []progress.Record
	var maps []progress.Offsets
	var begun []lane.ID
	jobs = slices.DeleteFunc(slices.Clone(jobs), func(j *job) bool { return !j.holds() })
	for _, j := range jobs {
		if j.fresh {
			begun = append(begun, j.id)
		}
		j.stored.Position = j.plan.Position
		if j.member.stored != j.stored {
			j.stored.At = time.Now()
			out = append(out, j.stored)
		}
		if j.offsets = j.remap(); j.restart || j.taken != nil {
			o, err := mapRecord(j.stored, j.stored.Position, j.offsets)
			if err != nil {
				return err
			}
			maps = append(maps, o)
		}
	}
	if err := s.f.store.Save(ctx, out, maps, begun...); err != nil {
		return err
	}
	for _, j := range jobs {
		j.member.stored, j.saved = j.stored, true
		if j.offsets != nil {
			j.member.mapped = mapMark{}
		}
	}
	return nil
}
