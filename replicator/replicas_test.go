package replicator_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kferry/kferry/internal/check"
	"github.com/kferry/kferry/replicator"
)

// lanesOf waits until every lane of topic has exactly one of ds that carries it,
// and returns how many each has.
func lanesOf(t *testing.T, topic string, partitions int, ds ...*replicator.Daemon) []int {
	t.Helper()
	var counts []int
	for end := time.Now().Add(2 * time.Minute); ; time.Sleep(20 * time.Millisecond) {
		owners := map[int32]int{}
		counts = make([]int, len(ds))
		for i, d := range ds {
			for _, l := range d.Status().Flows[0].Lanes {
				if l.Topic == topic && l.State == "running" {
					owners[l.Partition]++
					counts[i]++
				}
			}
		}
		once := len(owners) == partitions
		for _, n := range owners {
			once = once && n == 1
		}
		if once {
			return counts
		}
		if time.Now().After(end) {
			t.Fatalf("lanes of the daemons: %v, owners %v", counts, owners)
		}
	}
}

// exportedOnce waits until the lag of each lane is exported by one of ds alone.
func exportedOnce(t *testing.T, partitions int, ds ...*replicator.Daemon) {
	t.Helper()
	for end := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		n, all := 0, map[string]int{}
		for _, d := range ds {
			families, err := exported(d).Gather()
			if err != nil {
				t.Fatal(err)
			}
			for _, f := range families {
				for _, m := range f.GetMetric() {
					if f.GetName() == "kferry_lag_records" {
						all[m.String()[:strings.Index(m.String(), "gauge")]]++
						n++
					}
				}
			}
		}
		if n == partitions && len(all) == partitions {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%d series of lag for %d of %d lanes", n, len(all), partitions)
		}
	}
}

// series counts the series of a name.
func series(t *testing.T, g prometheus.Gatherer, name string) (n int) {
	t.Helper()
	families, err := g.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == name {
			n += len(f.GetMetric())
		}
	}
	return n
}

// Replicas come and go while records come in.
func TestReplicasShareTheLanes(t *testing.T) {
	p := fakePair(t)
	const partitions = 48 // so that every slot has some
	if err := p.source.CreateTopic("pizza", partitions, nil); err != nil {
		t.Fatal(err)
	}
	cl, admin := p.client(t, p.source), p.admin(t)
	write(t, cl, "pizza", 0, 2000)
	regA, regB := prometheus.NewRegistry(), prometheus.NewRegistry()
	a, stopA := startWith(t, p.config(t, "pizza"), replicator.Options{Registerer: regA})
	carried(t, a, admin, "pizza")
	var load sync.WaitGroup
	quit := make(chan struct{})
	load.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-quit:
				return
			default:
				write(t, cl, "pizza", 2000+i*100, 100)
			}
		}
	})
	b, stopB := startWith(t, p.config(t, "pizza"), replicator.Options{Registerer: regB})
	for {
		if n := lanesOf(t, "pizza", partitions, a, b); n[0] > 0 && n[1] > 0 {
			break
		}
	}
	exportedOnce(t, partitions, a, b)
	if n := series(t, regA, "kferry_flow_partitions") + series(t, regB, "kferry_flow_partitions"); n != 1 {
		t.Errorf("%d replicas tell how many lanes there are, want the one that leads", n)
	}
	stopA()
	for {
		if n := lanesOf(t, "pizza", partitions, b); n[0] == partitions {
			break
		}
	}
	close(quit)
	load.Wait()
	carried(t, b, admin, "pizza")
	stopB()
	p.same(t, check.Options{Topic: "pizza"})
}

// Replicas that start at the same moment, on a flow that nobody has begun, must
// agree where its lanes begin, though each sees another end of the source, and
// comes to some of the lanes later than to others.
func TestReplicasBeginAtOnce(t *testing.T) {
	rounds := 5
	if testing.Short() {
		rounds = 2
	}
	for i := range rounds {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			p := fakePair(t)
			for _, c := range []*kfake.Cluster{p.source, p.target} {
				if err := c.CreateTopic("pizza", 32, nil); err != nil {
					t.Fatal(err)
				}
			}
			rnd := rand.New(rand.NewPCG(uint64(i), 1))
			p.target.Fault(kfake.Fault{
				Keys: []kmsg.Key{kmsg.ListOffsets}, Topic: "pizza", Partitions: []int32{1, 4, 6, 9, 13, 17, 21, 22, 25, 28, 30},
				Err: kerr.UnknownTopicOrPartition, Count: 12, When: func(kmsg.Request) bool { return rnd.IntN(2) == 0 },
			})
			cl, admin := p.client(t, p.source), p.admin(t)
			var load sync.WaitGroup
			load.Go(func() {
				for i := range 100 {
					write(t, cl, "pizza", i*50, 50)
				}
			})
			var ds []*replicator.Daemon
			var stops []func()
			for range 3 {
				d, stop := start(t, p.config(t, "pizza"))
				ds, stops = append(ds, d), append(stops, stop)
			}
			load.Wait()
			carriedBy(t, admin, "pizza", ds...)
			for _, stop := range stops {
				stop()
			}
			p.same(t, check.Options{Topic: "pizza"})
		})
	}
}

// denyGroup takes the right to the group away.
func (p fakes) denyGroup() {
	for _, key := range []int16{kmsg.JoinGroup.Int16(), kmsg.ConsumerGroupHeartbeat.Int16(), kmsg.FindCoordinator.Int16()} {
		p.target.ControlKey(key, func(r kmsg.Request) (kmsg.Response, error, bool) {
			p.target.KeepControl()
			resp := r.ResponseKind()
			switch x := resp.(type) {
			case *kmsg.JoinGroupResponse:
				x.ErrorCode = kerr.GroupAuthorizationFailed.Code
			case *kmsg.ConsumerGroupHeartbeatResponse:
				x.ErrorCode = kerr.GroupAuthorizationFailed.Code
			case *kmsg.FindCoordinatorResponse:
				for _, k := range r.(*kmsg.FindCoordinatorRequest).CoordinatorKeys {
					c := kmsg.NewFindCoordinatorResponseCoordinator()
					c.Key, c.ErrorCode = k, kerr.GroupAuthorizationFailed.Code
					x.Coordinators = append(x.Coordinators, c)
				}
			}
			return resp, nil, true
		})
	}
}

// A user who may not use the group carries alone.
func TestNoRightToTheGroup(t *testing.T) {
	p := fakePair(t)
	if err := p.source.CreateTopic("pizza", 3, nil); err != nil {
		t.Fatal(err)
	}
	p.denyGroup()
	write(t, p.client(t, p.source), "pizza", 0, 500)
	d, stop := start(t, p.config(t, "pizza"))
	carried(t, d, p.admin(t), "pizza")
	stop()
	p.same(t, check.Options{Topic: "pizza"})
}
