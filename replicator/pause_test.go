package replicator_test

import (
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kferry/kferry/replicator/progress"
)

func (v *virtual) pause(s *progress.Store, topic string) {
	v.t.Helper()
	if err := s.Pause(v.t.Context(), topic, progress.Pause{At: time.Unix(1e9, 0), By: "ann"}); err != nil {
		v.t.Fatal(err)
	}
}

func (v *virtual) resume(s *progress.Store, topic string) {
	v.t.Helper()
	if err := s.Resume(v.t.Context(), topic); err != nil {
		v.t.Fatal(err)
	}
}

// A topic is paused while it runs, over a restart, and goes on where it was;
// the other never notices.
func TestPauseOfATopic(t *testing.T) {
	virtually(t, func(t *testing.T, v *virtual) {
		v.topic("pizza", 2)
		v.topic("clicks", 1)
		v.write("pizza", 0, 0, 100)
		cfg := v.config("pizza", "clicks")
		stop := v.run(cfg)
		v.await("pizza", 0, "running", 0)
		s := v.store()
		v.pause(s, "pizza")
		v.await("pizza", 0, "paused", 0)
		l := v.await("pizza", 1, "paused", 0)
		if l.Reason != "paused by ann at 2001-09-09T01:46:40Z" {
			t.Errorf("reason %q", l.Reason)
		}
		v.write("pizza", 0, 100, 50)
		v.write("pizza", 1, 0, 7)
		v.write("clicks", 0, 0, 9)
		v.await("pizza", 0, "paused", 50)
		v.await("pizza", 1, "paused", 7)
		v.await("clicks", 0, "running", 0)
		v.has("clicks", 0, 9)
		v.has("pizza", 0, 100)

		stop()
		stop = v.run(cfg)
		v.await("pizza", 0, "paused", 50)
		v.write("pizza", 0, 150, 10)
		v.await("pizza", 0, "paused", 60)
		if l := v.lane("pizza", 0); l.Position != 100 || l.Records != 0 {
			t.Errorf("it moved: %+v", l)
		}
		if err := v.d.Ready(); err != nil {
			t.Errorf("not ready: %v", err)
		}
		v.has("pizza", 0, 100)

		v.resume(s, "pizza")
		v.await("pizza", 0, "running", 0)
		v.await("pizza", 1, "running", 0)
		stop()
		v.has("pizza", 0, 160)
		v.has("pizza", 1, 7)
	})
}

// A flow that is paused before it ever ran carries nothing, and a topic of its
// own stays paused when the flow goes on.
func TestPauseOfAFlow(t *testing.T) {
	virtually(t, func(t *testing.T, v *virtual) {
		v.topic("pizza", 1)
		v.topic("clicks", 1)
		v.write("pizza", 0, 0, 10)
		v.write("clicks", 0, 0, 20)
		s := v.store()
		v.pause(s, "")
		v.pause(s, "clicks")
		stop := v.run(v.config("pizza", "clicks"))
		v.await("pizza", 0, "paused", 10)
		v.await("clicks", 0, "paused", 20)
		v.topic("unlike", 1) // is no topic of the flow
		v.resume(s, "")
		v.await("pizza", 0, "running", 0)
		v.await("clicks", 0, "paused", 20)
		v.resume(s, "clicks")
		v.await("clicks", 0, "running", 0)
		stop()
		v.has("pizza", 0, 10)
		v.has("clicks", 0, 20)
	})
}

// A lane that is stopped keeps its reason in sight, and is tried again when the
// flow goes on.
func TestPauseLeavesStoppedLanes(t *testing.T) {
	virtually(t, func(t *testing.T, v *virtual) {
		v.topic("pizza", 1)
		v.write("pizza", 0, 0, 10)
		stop := v.run(v.config("pizza"))
		v.await("pizza", 0, "running", 0)
		v.target.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Topic: "pizza", Err: kerr.TopicAuthorizationFailed, Count: 1})
		v.write("pizza", 0, 10, 10)
		stopped := v.await("pizza", 0, "stopped", 10)
		s := v.store()
		v.pause(s, "")
		time.Sleep(5 * time.Minute)
		if l := v.lane("pizza", 0); l.State != "stopped" || l.Reason != stopped.Reason {
			t.Errorf("it was %+v and is %+v", stopped, l)
		}
		v.resume(s, "")
		v.await("pizza", 0, "running", 0)
		stop()
		v.has("pizza", 0, 20)
	})
}

// The target is away when the pause comes: what was sent may have arrived, and
// is not sent twice.
func TestPauseWhileTheTargetIsAway(t *testing.T) {
	virtually(t, func(t *testing.T, v *virtual) {
		v.topic("pizza", 1)
		v.write("pizza", 0, 0, 10)
		stop := v.run(v.config("pizza"))
		v.await("pizza", 0, "running", 0)
		away := v.target.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Topic: "pizza", Err: kerr.RequestTimedOut, Count: -1})
		v.write("pizza", 0, 10, 10)
		v.await("pizza", 0, "waiting", 10)
		s := v.store()
		v.pause(s, "")
		if l := v.await("pizza", 0, "paused", 10); !strings.HasPrefix(l.Reason, "paused by") {
			t.Errorf("reason %q", l.Reason)
		}
		away.Remove()
		time.Sleep(time.Minute)
		v.await("pizza", 0, "paused", 10)
		v.resume(s, "")
		v.await("pizza", 0, "running", 0)
		stop()
		v.has("pizza", 0, 20)
	})
}

// Pauses come and go at any moment while records do and leaders move.
func TestPausesAtRandom(t *testing.T) {
	virtually(t, func(t *testing.T, v *virtual) {
		v.topic("pizza", 2)
		stop := v.run(v.config("pizza"))
		s := v.store()
		r := rand.New(rand.NewPCG(3, 4))
		n := 0
		for range 60 {
			topic := []string{"", "pizza"}[r.IntN(2)]
			switch r.IntN(3) {
			case 0:
				v.pause(s, topic)
			case 1:
				v.resume(s, topic)
			case 2:
				if err := []*kfake.Cluster{v.source, v.target}[r.IntN(2)].MoveTopicPartition("pizza", r.Int32N(2), r.Int32N(2)); err != nil && n > 0 {
					t.Error(err)
				}
			}
			v.write("pizza", 0, n, 20)
			v.write("pizza", 1, n, 20)
			n += 20
			time.Sleep(time.Duration(r.Int64N(int64(1500 * time.Millisecond))))
		}
		v.resume(s, "")
		v.resume(s, "pizza")
		v.await("pizza", 0, "running", 0)
		v.await("pizza", 1, "running", 0)
		stop()
		v.has("pizza", 0, n)
		v.has("pizza", 1, n)
	})
}
