package progress

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kferry/kferry/internal/kafka"
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
)

// GroupName is the consumer group by which the replicas of a flow share its slots.
func GroupName(flow string) string { return "kferry." + flow }

// Group is this replica's membership. Kafka's own group protocol decides which
// replica has which slots; nothing is consumed and no offset is committed.
type Group struct{ cl *kgo.Client }

// Member tells what becomes of this replica's slots. Its functions are called
// one at a time, on a goroutine of the group's.
type Member struct {
	Instance string // static membership: it comes back to its slots at once; "" is dynamic
	Assigned func(slots []int32)
	// Revoked must return only when the slots were let go, and their progress
	// stored: another replica gets them then.
	Revoked func(slots []int32)
	Lost    func(slots []int32) // others may have them already
	Failed  func(error)         // the group cannot be joined or was left; it is tried again
}

// Join makes this replica a member. It does not wait to be given slots.
func (s *Store) Join(ctx context.Context, flow string, m Member) (*Group, error) {
	on := func(f func([]int32)) func(context.Context, *kgo.Client, map[string][]int32) {
		return func(_ context.Context, _ *kgo.Client, ps map[string][]int32) {
			if slots := ps[s.topic]; len(slots) > 0 {
				f(slots)
			}
		}
	}
	opts := []kgo.Opt{
		kgo.ConsumerGroup(GroupName(flow)), kgo.ConsumeTopics(s.topic), kgo.DisableAutoCommit(),
		kgo.SessionTimeout(sessionTimeout), kgo.HeartbeatInterval(heartbeatEvery), kgo.RebalanceTimeout(rebalanceTimeout),
		kgo.OnPartitionsAssigned(on(m.Assigned)), kgo.OnPartitionsRevoked(on(m.Revoked)), kgo.OnPartitionsLost(on(m.Lost)),
		kgo.WithHooks(failures{m.Failed}),
	}
	if m.Instance != "" {
		opts = append(opts, kgo.InstanceID(m.Instance))
	}
	// The broker assigns where it can, else the replicas do; either way only what
	// must move does.
	if s.brokerAssigns(ctx) {
		opts = append(opts, kgo.ServerSideBalancer(), kgo.Balancers(kgo.StickyBalancer()))
	} else {
		opts = append(opts, kgo.Balancers(kgo.CooperativeStickyBalancer()))
	}
	cl, err := s.cl.NewClient(opts...)
	if err != nil {
		return nil, fmt.Errorf("group %q: %w", GroupName(flow), kafka.Explain(s.cl.Alias(), err))
	}
	cl.PauseFetchTopics(s.topic)
	return &Group{cl}, nil
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

// Grows tells whether somebody else writes progress now: it looks twice.
func (s *Store) Grows(ctx context.Context, wait time.Duration) (bool, error) {
	select {
	case <-time.After(wait):
	case <-ctx.Done():
		return false, ctx.Err()
	}
	ends, err := s.cl.Ends(ctx, s.topic)
	if err != nil {
		return false, fmt.Errorf("progress topic %q: %w", s.topic, kafka.Explain(s.cl.Alias(), err))
	}
	grown := false
	ends.Each(func(o kadm.ListedOffset) {
		end, _ := s.end(o.Partition)
		grown = grown || o.Offset > end
	})
	return grown, nil
}

// Leave hands the slots to the others, unless the membership is static: then
// they are kept for the session timeout.
func (g *Group) Leave(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, leaveTimeout)
	defer cancel()
	_ = g.cl.LeaveGroupContext(ctx) // else the session times out
	g.cl.Close()
}

// failures is a hook.
type failures struct{ told func(error) }

// OnGroupManageError implements kgo.HookGroupManageError.
func (f failures) OnGroupManageError(err error) { f.told(err) }
