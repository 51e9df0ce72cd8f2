package replicator_test

import (
	"context"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"

	"github.com/kferry/kferry/replicator/lane"
	"github.com/kferry/kferry/replicator/progress"
)

// protocols are the targets' by which they let replicas share lanes.
var protocols = map[string][]kfake.Opt{"classic": {kfake.MaxVersions(kversion.V3_9_0())}, "new": nil}

// coordinating has the target answer what is sent to the group's coordinator with an error of its own while on.
func (v *virtual) coordinating(on *atomic.Bool, failure *kerr.Error) {
	for _, key := range []kmsg.Key{kmsg.JoinGroup, kmsg.Heartbeat, kmsg.ConsumerGroupHeartbeat} {
		v.target.ControlKey(key.Int16(), func(r kmsg.Request) (kmsg.Response, error, bool) {
			v.target.KeepControl()
			if !on.Load() {
				return nil, nil, false
			}
			resp := r.ResponseKind()
			switch r := resp.(type) {
			case *kmsg.JoinGroupResponse:
				r.ErrorCode = failure.Code
			case *kmsg.HeartbeatResponse:
				r.ErrorCode = failure.Code
			case *kmsg.ConsumerGroupHeartbeatResponse:
				r.ErrorCode = failure.Code
			}
			return resp, nil, true
		})
	}
}

// problem tells whether a problem of the daemon has that in it.
func (v *virtual) problem(part string) bool {
	for _, p := range v.d.Status().Problems {
		if strings.Contains(p.Text, part) {
			return true
		}
	}
	return false
}

// A replica that the group may have counted out sends nothing, says so, and goes on once it is heard.
func TestUnheardReplicaSendsNothing(t *testing.T) {
	for name, opts := range protocols {
		t.Run(name, func(t *testing.T) {
			virtually(t, func(t *testing.T, v *virtual) {
				v.topic("pizza", 1)
				v.write("pizza", 0, 0, 10)
				var unheard atomic.Bool
				v.coordinating(&unheard, kerr.CoordinatorNotAvailable)
				stop := v.run(v.config("pizza"))
				v.await("pizza", 0, "running", 0)
				unheard.Store(true)
				session := map[string]time.Duration{"classic": 10 * time.Second, "new": 45 * time.Second}[name]
				time.Sleep(session + time.Second) // of the bubble's clock
				v.write("pizza", 0, 10, 10)
				time.Sleep(3 * time.Second)
				v.has("pizza", 0, 10)
				if !v.problem("the group has not heard from this replica") {
					t.Errorf("nothing tells why: %+v", v.d.Status().Problems)
				}
				unheard.Store(false)
				v.await("pizza", 0, "running", 0)
				stop()
				v.has("pizza", 0, 20)
			}, opts...)
		})
	}
}

// Nothing is carried before the group has said that it is this replica's to carry.
func TestStartsOnceAssigned(t *testing.T) {
	for name, opts := range protocols {
		t.Run(name, func(t *testing.T) {
			virtually(t, func(t *testing.T, v *virtual) {
				v.topic("pizza", 1)
				v.write("pizza", 0, 0, 10)
				var loading atomic.Bool
				loading.Store(true)
				v.coordinating(&loading, kerr.CoordinatorLoadInProgress)
				stop := v.run(v.config("pizza"))
				time.Sleep(20 * time.Second) // of the bubble's clock
				if l := v.lane("pizza", 0); l.State != "" {
					t.Errorf("before the group is there: %+v", l)
				}
				if v.d.Ready() == nil {
					t.Error("ready before it knows what it is to carry")
				}
				loading.Store(false)
				v.await("pizza", 0, "running", 0)
				stop()
				v.has("pizza", 0, 10)
			}, opts...)
		})
	}
}

// A lane goes on from progress as it is once its slot is this replica's, not from what was
// stored before: another replica may have begun a new epoch meanwhile.
func TestTakesOverFromProgressOfThen(t *testing.T) {
	for name, opts := range protocols {
		t.Run(name, func(t *testing.T) {
			virtually(t, func(t *testing.T, v *virtual) {
				v.topic("pizza", 1)
				v.write("pizza", 0, 0, 10)
				stop := v.run(v.config("pizza"))
				v.await("pizza", 0, "running", 0)
				stop()
				done := make(chan struct{})
				balancer := kgo.CooperativeStickyBalancer()
				if name == "new" {
					balancer = kgo.StickyBalancer()
				}
				other, err := kgo.NewClient(kgo.SeedBrokers(v.target.ListenAddrs()...), kgo.Dialer(v.wires[v.target].DialContext),
					kgo.ConsumerGroup(progress.GroupName("flow")), kgo.ConsumeTopics(progress.Topic("flow")), kgo.Balancers(balancer), kgo.ServerSideBalancer(),
					kgo.OnPartitionsRevoked(func(context.Context, *kgo.Client, map[string][]int32) { <-done }))
				if err != nil {
					t.Fatal(err)
				}
				time.Sleep(10 * time.Second) // of the bubble's clock: it has all slots
				stop = v.run(v.config("pizza"))
				time.Sleep(20 * time.Second)
				s := v.store()
				id := lane.ID{Topic: "pizza", Partition: 0}
				records, err := s.Load(t.Context(), s.All())
				if err != nil {
					t.Fatal(err)
				}
				r := records[id]
				r.Position.Source, r.Position.Epoch, r.Position.Sequence, r.Offsets = 7, r.Position.Epoch+1, 0, nil
				if err := s.Save(t.Context(), []progress.Record{r}, nil); err != nil {
					t.Fatal(err)
				}
				v.write("pizza", 0, 10, 1)
				time.Sleep(10 * time.Second)
				if l := v.lane("pizza", 0); l.State != "" {
					t.Errorf("another replica has it: %+v", l)
				}
				close(done)
				other.Close()
				v.await("pizza", 0, "running", 0)
				stop()
				if got := v.values("pizza", 0); len(got) != 14 || got[10] != "7" {
					t.Errorf("want what follows offset 7: %v", got)
				}
			}, opts...)
		})
	}
}

// A broker answers a member that joins when all others have joined, too, be they alive or not.
// A stop does not wait for that.
func TestStopsWhileJoining(t *testing.T) {
	virtually(t, func(t *testing.T, v *virtual) {
		v.topic("pizza", 1)
		left := make(chan struct{})
		held := make(chan struct{})
		var once sync.Once
		v.target.ControlKey(kmsg.JoinGroup.Int16(), func(r kmsg.Request) (kmsg.Response, error, bool) {
			v.target.KeepControl()
			if r.(*kmsg.JoinGroupRequest).MemberID == "" {
				return nil, nil, false // it is told the id that it is to join with
			}
			once.Do(func() { close(held) })
			v.target.SleepControl(func() { <-left })
			return nil, nil, false
		})
		var leaves atomic.Int32
		v.target.ControlKey(kmsg.LeaveGroup.Int16(), func(kmsg.Request) (kmsg.Response, error, bool) {
			v.target.KeepControl()
			leaves.Add(1)
			return nil, nil, false
		})
		stop := v.run(v.config("pizza"))
		<-held
		began := time.Now()
		stop()
		if took := time.Since(began); took > 5*time.Second { // of the bubble's clock
			t.Errorf("the stop took %v", took)
		}
		close(left)
		if leaves.Load() == 0 {
			t.Error("it did not leave: the others wait for its session to end")
		}
	}, protocols["classic"]...)
}
