package replicator

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kferry/kferry/config"
	"github.com/kferry/kferry/internal/kafka"
	"github.com/kferry/kferry/offsets"
	"github.com/kferry/kferry/replicator/catalog"
	"github.com/kferry/kferry/replicator/lane"
)

const (
	surveyEvery = time.Second
	// An end that was confirmed within this is not asked for: a fetcher with
	// nothing to do hears from its broker twice as often.
	surveyAfter = surveyEvery - 50*time.Millisecond
	// A round asks for so many ends, or a fifth of those that are due if that is
	// more: thousands of paused lanes are worth a request every few seconds.
	surveyLeast, surveyRounds = 1000, 5
)

// surveyor knows where the source's logs end though nothing is fetched of them:
// of lanes that are stopped, paused, waiting or full. A lane in a fetch session
// is confirmed by each of its answers, so that a flow with nothing to do is not
// asked about. It also looks up when the first record was written that such a
// lane lacks, once for each position.
type surveyor struct {
	f    *flow
	at   map[*lane.Lane]offsets.Source // where lanes with a lag of unknown age were in the last round
	busy map[int32]bool                // brokers that have not answered yet

	mu   sync.Mutex
	done []int32 // brokers that have
	work sync.WaitGroup
}

func newSurveyor(f *flow) *surveyor {
	return &surveyor{f: f, busy: map[int32]bool{}}
}

// run looks around until ctx ends.
func (s *surveyor) run(ctx context.Context) {
	defer s.work.Wait()
	t := time.NewTicker(surveyEvery)
	defer t.Stop()
	for ctx.Err() == nil {
		if view := s.f.view.Load(); view != nil {
			s.round(ctx, *view, time.Now())
		}
		select {
		case <-t.C:
		case <-ctx.Done():
		}
	}
}

// question is a lane that something is not known of.
type question struct {
	lane      *lane.Lane
	confirmed int64 // when its end was, ms since 1970
	end       bool  // to be asked: where the source ends
	rests     bool  // it does not move: nobody is about to find out how old its lag is
	leader    int32
	topicID   [16]byte
}

// undated tells that there is a lag, and nobody knows how old it is.
func undated(s *lane.Snapshot) bool { return s.Lag > 0 && s.Oldest == 0 }

// round asks each broker that has answered the last time.
func (s *surveyor) round(ctx context.Context, view catalog.View, now time.Time) {
	s.mu.Lock()
	for _, broker := range s.done {
		delete(s.busy, broker)
	}
	s.done = nil
	s.mu.Unlock()
	for broker, qs := range byLeader(s.questions(view, now)) {
		if s.busy[broker] {
			continue
		}
		s.busy[broker] = true
		s.work.Go(func() {
			s.ask(ctx, broker, qs)
			s.mu.Lock()
			s.done = append(s.done, broker)
			s.mu.Unlock()
		})
	}
}

// questions are what there is to ask, the oldest knowledge first.
func (s *surveyor) questions(view catalog.View, now time.Time) []question {
	var qs []question
	for _, m := range s.f.members() {
		confirmed, dated := m.lane.Known()
		if end := now.Sub(time.UnixMilli(confirmed)) >= surveyAfter; end || !dated {
			qs = append(qs, question{lane: m.lane, confirmed: confirmed, end: end})
		}
	}
	if most := max(surveyLeast, (len(qs)+surveyRounds-1)/surveyRounds); len(qs) > most {
		slices.SortFunc(qs, func(a, b question) int { return cmp.Compare(a.confirmed, b.confirmed) })
		qs = qs[:most]
	}
	at := map[*lane.Lane]offsets.Source{}
	n := 0
	for _, q := range qs {
		if s.complete(&q, view, at) {
			qs[n] = q
			n++
		}
	}
	s.at = at
	return qs[:n]
}

// complete adds what is to be known for asking; false: there is nothing to ask, or
// nobody. at takes in where the lane is if the age of its lag is not known.
func (s *surveyor) complete(q *question, view catalog.View, at map[*lane.Lane]offsets.Source) bool {
	place, ok := view[q.lane.ID]
	if !ok || place.SourceLeader < 0 {
		return false
	}
	q.leader, q.topicID = place.SourceLeader, place.SourceID
	seen := q.lane.Snapshot()
	was, known := s.at[q.lane]
	q.rests = seen.State != lane.Running || known && was == seen.Source
	if undated(&seen) {
		at[q.lane] = seen.Source
	}
	return q.end || q.rests && undated(&seen)
}

func byLeader(qs []question) map[int32][]question {
	out := map[int32][]question{}
	for _, q := range qs {
		out[q.leader] = append(out[q.leader], q)
	}
	return out
}

// ask puts questions to one broker. What fails is asked again in the next round;
// until then the lanes are stale. That the source is away its fetchers say.
func (s *surveyor) ask(ctx context.Context, broker int32, qs []question) {
	asked := time.Now()
	ends := map[lane.ID]*lane.Lane{}
	for _, q := range qs {
		if q.end {
			ends[q.lane.ID] = q.lane
		}
	}
	s.list(ctx, broker, ends, theEnd, func(l *lane.Lane, end offsets.Source) { l.Ends(end, asked.UnixMilli()) })
	starts := map[lane.ID]*lane.Lane{}
	for _, q := range qs {
		if seen := q.lane.Snapshot(); unplaced(&seen) && s.f.beginsAtFirst(q.lane.ID) {
			starts[q.lane.ID] = q.lane
		}
	}
	s.list(ctx, broker, starts, theStart, func(l *lane.Lane, start offsets.Source) { l.Left(lane.Position{Source: start}) })
	for _, q := range qs {
		if ctx.Err() != nil || time.Since(asked) > surveyEvery {
			return // the ends are due again
		}
		if seen := q.lane.Snapshot(); q.rests && undated(&seen) {
			s.date(ctx, q, seen.Source, seen.End)
		}
	}
}

// unplaced tells that the source's end is known, and not where the lane begins.
func unplaced(s *lane.Snapshot) bool { return s.End >= 0 && s.Lag < 0 }

// beginsAtFirst tells that a lane without progress will begin at its first record:
// all of it is lag, though something keeps the lane from starting.
func (f *flow) beginsAtFirst(id lane.ID) bool {
	if f.watched != nil {
		return f.cfg.Start.Kind == config.StartEarliest && f.watched.untouched(id)
	}
	_, told := f.cfg.StartOffsets[id.Topic][id.Partition]
	return !told && f.cfg.Takeover == "" && f.cfg.Start.Kind == config.StartEarliest
}

// Timestamps of ListOffsets that stand for a place.
const (
	theEnd   = -1
	theStart = -2
)

// list asks a broker for an offset of each of lanes, and hands it to take.
func (s *surveyor) list(ctx context.Context, broker int32, lanes map[lane.ID]*lane.Lane, what int64, take func(*lane.Lane, offsets.Source)) {
	if len(lanes) == 0 {
		return
	}
	req := kmsg.NewPtrListOffsetsRequest()
	topics := map[string]int{}
	for id := range lanes {
		i, ok := topics[id.Topic]
		if !ok {
			i = len(req.Topics)
			topics[id.Topic] = i
			t := kmsg.NewListOffsetsRequestTopic()
			t.Topic = id.Topic
			req.Topics = append(req.Topics, t)
		}
		p := kmsg.NewListOffsetsRequestTopicPartition()
		p.Partition, p.CurrentLeaderEpoch, p.Timestamp = id.Partition, -1, what
		req.Topics[i].Partitions = append(req.Topics[i].Partitions, p)
	}
	resp, err := s.f.source.Client().Broker(int(broker)).Request(ctx, req)
	if err != nil {
		s.f.log.Debug("cannot ask where the source's logs begin and end", "broker", broker, "err", kafka.Explain(s.f.source.Alias(), err))
		return
	}
	for _, t := range resp.(*kmsg.ListOffsetsResponse).Topics {
		for _, p := range t.Partitions {
			l := lanes[lane.ID{Topic: t.Topic, Partition: p.Partition}]
			switch {
			case l == nil:
			case p.ErrorCode == 0 && p.Offset >= 0:
				take(l, offsets.Source(p.Offset))
			case kerr.IsRetriable(kerr.ErrorForCode(p.ErrorCode)):
				s.f.askRefresh() // its leader is elsewhere
			}
		}
	}
}

// date reads when the first record of [from, to) was written, of a lane that is at
// from. One of an open or aborted transaction counts, too, unless whoever carries the
// lane leaves those out.
func (s *surveyor) date(ctx context.Context, q question, from, to offsets.Source) {
	log := kafka.Log{
		Link: s.f.source.Aside(), Leader: q.leader, Topic: q.lane.Topic, TopicID: q.topicID, Partition: q.lane.Partition,
		Committed: s.f.watched != nil && s.f.cfg.Aiven.ExactlyOnce,
	}
	for at := int64(from); at < int64(to); {
		got, err := log.Fetch(ctx, at, 1) // a batch comes whole
		var rs []*kgo.Record
		next := at
		if err == nil {
			rs, next, err = log.Records(got, at)
		}
		switch {
		case len(rs) > 0:
			q.lane.Dated(from, rs[0].Timestamp.UnixMilli())
			return
		case err != nil:
			s.f.log.Debug("cannot read how old the lag is", "topic", q.lane.Topic, "partition", q.lane.Partition, "source_offset", at,
				"err", kafka.Explain(s.f.source.Alias(), err))
			return
		case next <= at:
			return
		}
		at = next // there were only markers
	}
	if s.f.watched != nil {
		s.f.watched.nothing(q.lane.ID, from, to)
	}
}
