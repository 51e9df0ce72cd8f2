package groups

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
	"golang.org/x/sync/errgroup"

	"github.com/kferry/kferry/internal/kafka"
)

const (
	// Groups in one OffsetFetch; with 100 partitions each the answer has 100 KB.
	fetchAtOnce = 50
	// Requests in flight to a cluster. A broker answers those of one connection
	// one after the other; more than one hide how long the way is. Commits are
	// small, and many.
	fetchesInFlight, commitsInFlight = 8, 32
	coordinatorsAtOnce               = 500
	// What is not answered in this time waits for the next round.
	askLimit = 15 * time.Second
)

// side is a cluster as a place to read and commit offsets. kgo's own way for
// these requests tries a group whose coordinator is loading again and again, with
// all groups that are in the same request; here the next round does.
type side struct {
	cl     *kafka.Cluster
	mu     sync.Mutex
	coord  map[string]int32 // coordinators of groups
	single atomic.Bool      // the brokers take one group per OffsetFetch (before 3.0)
}

func newSide(cl *kafka.Cluster) *side { return &side{cl: cl, coord: map[string]int32{}} }

// list asks every broker for its groups. whole is false if one did not answer:
// what is missing then may still be there. err is of one that did not.
func (s *side) list(ctx context.Context) (gs []kmsg.ListGroupsResponseGroup, whole bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, askLimit)
	defer cancel()
	whole = true
	for _, shard := range s.cl.Client().RequestSharded(ctx, kmsg.NewPtrListGroupsRequest()) {
		e := shard.Err
		if r, ok := shard.Resp.(*kmsg.ListGroupsResponse); ok && e == nil {
			e = kerr.ErrorForCode(r.ErrorCode)
			gs = append(gs, r.Groups...)
		}
		if e != nil {
			whole, err = false, e
		}
	}
	return gs, whole, err
}

// locate finds the coordinators of groups that are not known, and returns the
// groups sorted by broker. failed is called for those that have none.
func (s *side) locate(ctx context.Context, n int, name func(int) string, failed func(int, error)) map[int32][]int {
	var unknown []string
	for i := range n {
		if _, ok := s.coordinator(name(i)); !ok {
			unknown = append(unknown, name(i))
		}
	}
	why := map[string]error{}
	for some := range slices.Chunk(unknown, coordinatorsAtOnce) {
		s.lookUp(ctx, some, why)
	}
	out := map[int32][]int{}
	for i := range n {
		b, ok := s.coordinator(name(i))
		if !ok {
			failed(i, why[name(i)])
			continue
		}
		out[b] = append(out[b], i)
	}
	return out
}

func (s *side) coordinator(group string) (int32, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	b, ok := s.coord[group]
	return b, ok
}

// lookUp asks for coordinators; why has the error of each group without one.
func (s *side) lookUp(ctx context.Context, groups []string, why map[string]error) {
	ctx, cancel := context.WithTimeout(ctx, askLimit)
	defer cancel()
	req := kmsg.NewPtrFindCoordinatorRequest()
	req.CoordinatorType, req.CoordinatorKeys = 0, groups
	for _, g := range groups {
		why[g] = kerr.CoordinatorNotAvailable
	}
	for _, shard := range s.cl.Client().RequestSharded(ctx, req) {
		asked, ok := shard.Req.(*kmsg.FindCoordinatorRequest)
		if ok && shard.Err != nil {
			for _, g := range append(asked.CoordinatorKeys, asked.CoordinatorKey) {
				why[g] = shard.Err
			}
		}
		resp, ok := shard.Resp.(*kmsg.FindCoordinatorResponse)
		if !ok || shard.Err != nil {
			continue
		}
		for _, c := range resp.Coordinators {
			if err := kerr.ErrorForCode(c.ErrorCode); err != nil {
				why[c.Key] = err
				continue
			}
			s.mu.Lock()
			s.coord[c.Key] = c.NodeID
			s.mu.Unlock()
		}
	}
}

// forget has the coordinator of a group looked up again.
func (s *side) forget(group string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.coord, group)
}

// moved tells that a group's coordinator is another broker now, or soon.
func moved(err error) bool {
	var k *kerr.Error
	return !errors.As(err, &k) || errors.Is(err, kerr.NotCoordinator) || errors.Is(err, kerr.CoordinatorNotAvailable)
}

// ask is a group and the partitions of it that are wanted; nil = all.
type ask struct {
	group  string
	topics []kmsg.OffsetFetchRequestGroupTopic
}

// fetch reads committed offsets, many groups in one request. each is called for
// every ask, from several goroutines. Some brokers have GROUP_ID_NOT_FOUND for a
// group that has committed nothing, others say so of every partition asked for.
func (s *side) fetch(ctx context.Context, asks []ask, each func(int, []kmsg.OffsetFetchResponseGroupTopic, error)) {
	fail := func(i int, err error) { each(i, nil, err) }
	var g errgroup.Group
	g.SetLimit(fetchesInFlight)
	for broker, all := range s.locate(ctx, len(asks), func(i int) string { return asks[i].group }, fail) {
		for some := range slices.Chunk(all, fetchAtOnce) {
			g.Go(func() error {
				s.fetchFrom(ctx, broker, asks, some, each)
				return nil
			})
		}
	}
	_ = g.Wait() // nobody fails: each is told
}

// fetchFrom asks one broker for the asks with these indexes.
func (s *side) fetchFrom(ctx context.Context, broker int32, asks []ask, which []int, each func(int, []kmsg.OffsetFetchResponseGroupTopic, error)) {
	if s.single.Load() && len(which) > 1 {
		for i := range which {
			s.fetchFrom(ctx, broker, asks, which[i:i+1], each)
		}
		return
	}
	resp, err := s.send(ctx, broker, fetchRequest(asks, which))
	r, ok := resp.(*kmsg.OffsetFetchResponse)
	switch {
	case err != nil:
	case !ok:
		err = fmt.Errorf("offset fetch answered with %T", resp)
	case r.Version < 8 && len(which) > 1:
		s.single.Store(true)
		s.fetchFrom(ctx, broker, asks, which, each)
		return
	}
	got := answers(r, asks[which[0]].group)
	for _, i := range which {
		name, e := asks[i].group, err
		a, ok := got[name]
		if e == nil {
			e = answered(ok, a.ErrorCode)
		}
		if e != nil && moved(e) {
			s.forget(name)
		}
		each(i, a.Topics, e)
	}
}

// offsetFetch and offsetCommit end below the versions that name topics by id:
// what is committed for a topic is for its name, and a consumer looks it up by that.
type (
	offsetFetch  struct{ *kmsg.OffsetFetchRequest }
	offsetCommit struct{ *kmsg.OffsetCommitRequest }
)

func (offsetFetch) MaxVersion() int16  { return 9 }
func (offsetCommit) MaxVersion() int16 { return 9 }

// fetchRequest has the first group also where brokers before 3.0 look for it.
func fetchRequest(asks []ask, which []int) offsetFetch {
	req := kmsg.NewPtrOffsetFetchRequest()
	for _, i := range which {
		g := kmsg.NewOffsetFetchRequestGroup()
		g.Group, g.Topics = asks[i].group, asks[i].topics
		req.Groups = append(req.Groups, g)
	}
	first := req.Groups[0]
	req.Group = first.Group
	for _, t := range first.Topics {
		r := kmsg.NewOffsetFetchRequestTopic()
		r.Topic, r.Partitions = t.Topic, t.Partitions
		req.Topics = append(req.Topics, r)
	}
	return offsetFetch{req}
}

// answers sorts a response by group; before version 8 it has one without its name.
func answers(r *kmsg.OffsetFetchResponse, first string) map[string]kmsg.OffsetFetchResponseGroup {
	if r == nil {
		return nil
	}
	out := make(map[string]kmsg.OffsetFetchResponseGroup, len(r.Groups))
	for _, g := range r.Groups {
		out[g.Group] = g
	}
	if r.Version >= 8 {
		return out
	}
	g := kmsg.NewOffsetFetchResponseGroup()
	g.Group, g.ErrorCode = first, r.ErrorCode
	for _, t := range r.Topics {
		o := kmsg.NewOffsetFetchResponseGroupTopic()
		o.Topic = t.Topic
		for _, p := range t.Partitions {
			q := kmsg.NewOffsetFetchResponseGroupTopicPartition()
			q.Partition, q.Offset, q.LeaderEpoch, q.Metadata, q.ErrorCode = p.Partition, p.Offset, p.LeaderEpoch, p.Metadata, p.ErrorCode
			o.Partitions = append(o.Partitions, q)
		}
		g.Topics = append(g.Topics, o)
	}
	out[first] = g
	return out
}

// commit commits as nobody's member. each is called for every partition, in order.
func (s *side) commit(ctx context.Context, group string, topics []kmsg.OffsetCommitRequestTopic, each func(error)) {
	broker, ok := s.coordinator(group)
	req := kmsg.NewPtrOffsetCommitRequest() // generation -1, no member
	req.Group, req.Topics = group, topics
	var err error = kerr.CoordinatorNotAvailable
	var resp kmsg.Response
	if ok {
		resp, err = s.send(ctx, broker, offsetCommit{req})
	}
	codes := map[string]map[int32]int16{}
	if r, ok := resp.(*kmsg.OffsetCommitResponse); ok && err == nil {
		for _, t := range r.Topics {
			of := make(map[int32]int16, len(t.Partitions))
			for _, p := range t.Partitions {
				of[p.Partition] = p.ErrorCode
			}
			codes[t.Topic] = of
		}
	}
	stale := false
	for _, t := range topics {
		for _, p := range t.Partitions {
			e := err
			if e == nil {
				code, ok := codes[t.Topic][p.Partition]
				e = answered(ok, code)
			}
			stale = stale || e != nil && moved(e)
			each(e)
		}
	}
	if stale {
		s.forget(group)
	}
}

// answered is the error of one group or partition in an answer that may not have it.
func answered(has bool, code int16) error {
	if !has {
		return errors.New("the broker's answer leaves it out")
	}
	return kerr.ErrorForCode(code)
}

// send tries once. A request that was given up leaves the connection alone: it
// is not one that fetches or produces.
func (s *side) send(ctx context.Context, broker int32, req kmsg.Request) (kmsg.Response, error) {
	ctx, cancel := context.WithTimeout(ctx, askLimit)
	defer cancel()
	resp, err := s.cl.Client().Broker(int(broker)).Request(ctx, req)
	if err != nil {
		return nil, kafka.Explain(s.cl.Alias(), err)
	}
	return resp, nil
}
