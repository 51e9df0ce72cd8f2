package progress

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kferry/kferry/internal/kafka"
	"github.com/kferry/kferry/replicator/clock"
)

const (
	// A replica that is silent for so long loses its slots. Brokers allow no
	// less than 6 s; a group of the new protocol (KIP-848) has the broker's own
	// (45 s by default), whatever the client says.
	sessionTimeout = 10 * time.Second
	heartbeatEvery = 2 * time.Second
	// How long the others wait for one that lets slots go: it drains first.
	rebalanceTimeout = time.Minute
	leaveTimeout     = 2 * time.Second
	firstBeats       = 100 * time.Millisecond // of one that waits for its first slots
	settled          = 20 * time.Millisecond
	sessionEvery     = time.Minute // its length is read
	staticLeave      = -2          // the epoch by which a static member leaves for a while, by KIP-848
)

// GroupName is the consumer group by which the replicas of a flow share its slots.
func GroupName(flow string) string { return "kferry." + flow }

// Group is this replica's membership. Kafka's own group protocol decides which
// replica has which slots; nothing is consumed and no offset is committed.
type Group struct {
	by      *kafka.Cluster
	name    string
	static  bool // its slots are kept for it when it leaves
	brokers bool // assign: the group is of the new protocol
	cl      *kgo.Client
	lease   *Lease
	end     context.CancelFunc // of what the client waits for
	work    sync.WaitGroup

	assigned atomic.Bool // it had slots once

	// How long a session of the new protocol lasts at least, in ns: the interval that
	// the broker tells is less than it, whatever its settings; or the setting, once read.
	session atomic.Int64
}

// Member tells what becomes of this replica's slots. Its functions are called
// one at a time, on a goroutine of the group's, and must not wait, but for Revoked.
type Member struct {
	Instance string // static membership: it comes back to its slots at once; "" is dynamic
	// Assigned may be told that there are none.
	Assigned func(slots []int32)
	// Revoked must return only when the slots were let go, and their progress
	// stored: another replica gets them then.
	Revoked func(slots []int32)
	Lost    func(slots []int32) // others may have them already
	Failed  func(error)         // the group cannot be joined or was left; it is tried again
}

// Join makes this replica a member. It does not wait to be given slots.
func (s *Store) Join(ctx context.Context, flow string, m Member, lease *Lease) (*Group, error) {
	life, end := context.WithCancel(context.WithoutCancel(ctx))
	g := &Group{by: s.cl, name: GroupName(flow), static: m.Instance != "", brokers: s.brokerAssigns(ctx), lease: lease, end: end}
	on := func(f func([]int32)) func(context.Context, *kgo.Client, map[string][]int32) {
		return func(_ context.Context, _ *kgo.Client, ps map[string][]int32) { f(ps[s.topic]) }
	}
	some := func(f func([]int32)) func([]int32) {
		return func(slots []int32) {
			if len(slots) > 0 {
				f(slots)
			}
		}
	}
	opts := []kgo.Opt{
		kgo.WithContext(life), kgo.ConsumerGroup(g.name), kgo.ConsumeTopics(s.topic), kgo.DisableAutoCommit(),
		kgo.SessionTimeout(sessionTimeout), kgo.HeartbeatInterval(heartbeatEvery), kgo.RebalanceTimeout(rebalanceTimeout),
		kgo.OnPartitionsAssigned(on(func(slots []int32) {
			g.assigned.Store(g.assigned.Load() || len(slots) > 0)
			m.Assigned(slots)
		})),
		kgo.OnPartitionsRevoked(on(some(func(slots []int32) {
			defer lease.Yield()()
			m.Revoked(slots)
		}))),
		kgo.OnPartitionsLost(on(func(slots []int32) {
			lease.End()
			some(m.Lost)(slots)
		})),
		kgo.WithHooks(failures{m.Failed}),
	}
	if m.Instance != "" {
		opts = append(opts, kgo.InstanceID(m.Instance))
	}
	// The broker assigns where it can, else the replicas do; either way only what
	// must move does.
	if g.brokers {
		s.settle(ctx)
		if g.static {
			s.succeed(ctx, g.name, m.Instance)
		}
		opts = append(opts, kgo.ServerSideBalancer(), kgo.Balancers(kgo.StickyBalancer()))
	} else {
		opts = append(opts, kgo.Balancers(kgo.CooperativeStickyBalancer()))
	}
	var err error
	g.cl, err = s.cl.Overhear([]kmsg.Key{kmsg.Heartbeat, kmsg.SyncGroup, kmsg.ConsumerGroupHeartbeat}, g.heard, opts...)
	if err != nil {
		end()
		return nil, fmt.Errorf("group %q: %w", g.name, kafka.Explain(s.cl.Alias(), err))
	}
	g.cl.PauseFetchTopics(s.topic)
	if g.brokers {
		g.work.Go(func() { g.beat(life) })
		g.work.Go(func() { g.learn(life) })
	}
	return g, nil
}

// settle waits until a coordinator knows of a topic that was made a moment ago, as far as that can be
// told: to a member that is faster it assigns nothing, and with Kafka 4.3 for a whole second. A broker
// tells its coordinator of new partitions after it has made their logs.
func (s *Store) settle(ctx context.Context) {
	if !s.made {
		return
	}
	_, _ = s.cl.Ends(ctx, s.topic) // waits for the logs
	select {
	case <-time.After(settled):
	case <-ctx.Done():
	}
}

// succeed has the member that came before this one under the same instance id leave, if it could not do
// so itself: a broker of the new protocol keeps the id for one that was killed until its session has
// ended. That one sends nothing any more, for an instance id belongs to one process at a time.
func (s *Store) succeed(ctx context.Context, group, instance string) {
	ctx, cancel := context.WithTimeout(ctx, leaveTimeout)
	defer cancel()
	groups, err := s.cl.Admin().DescribeConsumerGroups(ctx, group)
	if err != nil {
		return // the id is free once the session has ended
	}
	for _, m := range groups[group].Members {
		if m.InstanceID == nil || *m.InstanceID != instance {
			continue
		}
		req := kmsg.NewPtrConsumerGroupHeartbeatRequest()
		req.Group, req.MemberID, req.InstanceID, req.MemberEpoch = group, m.MemberID, m.InstanceID, staticLeave
		_, _ = req.RequestWith(ctx, s.cl.Client())
	}
}

// heard renews the lease by what the group has answered.
func (g *Group) heard(sent time.Time, answer kmsg.Response) {
	switch r := answer.(type) {
	case *kmsg.HeartbeatResponse: // a rebalance that begins counts nobody out who is heard
		if r.ErrorCode == 0 || r.ErrorCode == kerr.RebalanceInProgress.Code {
			g.lease.Renew(clock.At(sent), sessionTimeout)
		}
	case *kmsg.SyncGroupResponse:
		if r.ErrorCode == 0 {
			g.lease.Renew(clock.At(sent), sessionTimeout)
		}
	case *kmsg.ConsumerGroupHeartbeatResponse:
		if r.ErrorCode == 0 && r.MemberEpoch >= 0 { // below: we have left
			every := time.Duration(r.HeartbeatIntervalMillis) * time.Millisecond
			g.lease.Renew(clock.At(sent), max(every, time.Duration(g.session.Load())))
		}
	}
}

// beat has heartbeats sent more often than a broker of the new protocol asks for: all that is known
// of its sessions may be that they last longer than its interval. And the first answer may have no
// slots, where others come within a second: brokers of Kafka 4.3 assign so often at most.
func (g *Group) beat(ctx context.Context) {
	for began := time.Now(); ; {
		wait := heartbeatEvery
		if !g.assigned.Load() && time.Since(began) < sessionTimeout {
			wait = firstBeats
		}
		select {
		case <-time.After(wait):
			g.cl.ForceRebalance() // of this protocol it is no more than a heartbeat
		case <-ctx.Done():
			return
		}
	}
}

// learn has the length of sessions read every minute: a coordinator that moves takes longer than an
// interval. Where we are not allowed to read it, the interval counts.
func (g *Group) learn(ctx context.Context) {
	for {
		g.session.Store(int64(g.readSession(ctx)))
		select {
		case <-time.After(sessionEvery):
		case <-ctx.Done():
			return
		}
	}
}

// readSession is 0 if it cannot be read.
func (g *Group) readSession(ctx context.Context) time.Duration {
	req := kmsg.NewPtrDescribeConfigsRequest()
	about := kmsg.NewDescribeConfigsRequestResource()
	about.ResourceType, about.ResourceName = kmsg.ConfigResourceTypeGroupConfig, g.name
	about.ConfigNames = []string{"consumer.session.timeout.ms"}
	req.Resources = append(req.Resources, about)
	resp, err := req.RequestWith(ctx, g.by.Client())
	if err != nil {
		return 0
	}
	for _, r := range resp.Resources {
		for _, c := range r.Configs {
			if c.Name != about.ConfigNames[0] || c.Value == nil {
				continue
			}
			if ms, err := strconv.ParseInt(*c.Value, 10, 32); err == nil {
				return time.Duration(ms) * time.Millisecond
			}
		}
	}
	return 0
}

// brokerAssigns tells whether every broker serves groups of the new protocol.
func (s *Store) brokerAssigns(ctx context.Context) bool {
	all, err := s.cl.Admin().ApiVersions(ctx)
	if err != nil || len(all) == 0 {
		return false
	}
	for _, b := range all {
		if v, ok := b.KeyMaxVersion(kmsg.ConsumerGroupHeartbeat.Int16()); !ok || v < 1 { // 0 was a preview
			return false
		}
	}
	return true
}

// Members counts the replicas that the group knows, those that crashed a moment
// ago included; -1 if it does not tell.
func (s *Store) Members(ctx context.Context, flow string) int {
	name := GroupName(flow)
	if gs, err := s.cl.Admin().DescribeConsumerGroups(ctx, name); err == nil && gs[name].Err == nil {
		return len(gs[name].Members)
	}
	gs, err := s.cl.Admin().DescribeGroups(ctx, name)
	switch {
	case err == nil && gs[name].Err == nil:
		return len(gs[name].Members)
	case errors.Is(err, kerr.GroupIDNotFound), errors.Is(gs[name].Err, kerr.GroupIDNotFound):
		return 0
	}
	return -1
}

// Leave hands the slots to the others, unless the membership is static: then
// they are kept for the session timeout.
func (g *Group) Leave(within context.Context) {
	ctx, cancel := context.WithTimeout(within, leaveTimeout)
	defer cancel()
	err := g.cl.LeaveGroupContext(ctx)
	member, _ := g.cl.GroupMetadata()
	g.end() // a join may be on its way, which a broker answers when all others have joined, too
	g.work.Wait()
	g.cl.Close()
	if err != nil && member != "" && !g.static && !g.brokers {
		g.resign(within, member)
	}
}

// resign has a member of the classic protocol leave whose client could not: else the session times out.
func (g *Group) resign(ctx context.Context, member string) {
	ctx, cancel := context.WithTimeout(ctx, leaveTimeout)
	defer cancel()
	req := kmsg.NewPtrLeaveGroupRequest()
	req.Group, req.MemberID = g.name, member
	m := kmsg.NewLeaveGroupRequestMember()
	m.MemberID = member
	req.Members = append(req.Members, m)
	_, _ = req.RequestWith(ctx, g.by.Client())
}

// failures is a hook.
type failures struct{ told func(error) }

// OnGroupManageError implements kgo.HookGroupManageError.
func (f failures) OnGroupManageError(err error) { f.told(err) }
