package replicator_test

import (
	"bytes"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kferry/kferry/config"
	"github.com/kferry/kferry/replicator"
)

// soon is how long lag may be behind the truth: a round of asking, and its answer.
const soon = 1500 * time.Millisecond

// lagIs wants the lane to tell of so much lag, whose oldest record was written at
// that time, within soon of now, and nothing that is no lag before.
func (v *virtual) lagIs(topic string, partition int32, lag int64, since time.Time) replicator.LaneStatus {
	v.t.Helper()
	for end := time.Now().Add(2 * soon); ; time.Sleep(50 * time.Millisecond) {
		l := v.lane(topic, partition)
		now := time.Now()
		behind := now.Sub(since).Seconds()
		if l.Lag > 0 && l.LagSeconds == 0 && behind > 0 {
			v.t.Fatalf("a lag without age: %+v", l)
		}
		if l.Lag == lag && !l.LagStale && (lag == 0 && l.LagSeconds == 0 || lag > 0 && l.LagSeconds >= behind-0.002 && l.LagSeconds <= behind+0.002) {
			return l
		}
		if now.After(end) {
			v.t.Fatalf("%s/%d is %+v, want lag %d of %.3f s", topic, partition, l, lag, behind)
		}
	}
}

// counts counts requests to a cluster from now on.
func counts(c *kfake.Cluster, key kmsg.Key) *atomic.Int64 {
	n := new(atomic.Int64)
	c.ControlKey(key.Int16(), func(kmsg.Request) (kmsg.Response, error, bool) {
		c.KeepControl()
		n.Add(1)
		return nil, nil, false
	})
	return n
}

// A lane with nothing to do is confirmed by the fetches that run anyway: nothing
// is asked for it, however long it is idle.
func TestLagWhileIdle(t *testing.T) {
	virtually(t, func(t *testing.T, v *virtual) {
		v.topic("pizza", 2)
		v.write("pizza", 0, 0, 100)
		stop := v.run(v.config("pizza"))
		v.await("pizza", 0, "running", 0)
		v.await("pizza", 1, "running", 0) // empty
		time.Sleep(5 * time.Second)
		asked := counts(v.source, kmsg.ListOffsets)
		for range 120 {
			time.Sleep(500 * time.Millisecond)
			for p := range int32(2) {
				if l := v.lane("pizza", p); l.Lag != 0 || l.LagSeconds != 0 || l.LagStale {
					t.Fatalf("idle: %+v", l)
				}
			}
		}
		if n := asked.Load(); n > 0 {
			t.Errorf("the source was asked %d times in a minute where its idle partitions end", n)
		}
		stop()
	})
}

// A lane that is stopped or paused knows what it lacks and how old that is: over a
// restart as well, and without asking for the age again and again.
func TestLagWhileNothingIsFetched(t *testing.T) {
	for _, state := range []string{"stopped", "paused"} {
		t.Run(state, func(t *testing.T) {
			virtually(t, func(t *testing.T, v *virtual) {
				v.topic("pizza", 1)
				v.write("pizza", 0, 0, 10)
				cfg := v.config("pizza")
				stop := v.run(cfg)
				v.await("pizza", 0, "running", 0)
				time.Sleep(time.Minute)
				first := time.Now()
				if state == "paused" {
					v.pause(v.store(), "pizza")
					v.await("pizza", 0, "paused", 0)
					first = time.Now()
				} else {
					v.target.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Topic: "pizza", Err: kerr.TopicAuthorizationFailed, Count: -1})
				}
				v.write("pizza", 0, 10, 1)
				v.lagIs("pizza", 0, 1, first)
				v.await("pizza", 0, state, 1)
				time.Sleep(3 * time.Second)
				v.write("pizza", 0, 11, 30)
				v.lagIs("pizza", 0, 31, first)
				fetched := counts(v.source, kmsg.Fetch)
				time.Sleep(20 * time.Second) // a stopped lane is tried again after 30
				v.lagIs("pizza", 0, 31, first)
				if n := fetched.Load(); n > 1 {
					t.Errorf("%d fetches of what is known", n)
				}
				stop()
				stop = v.run(cfg)
				v.await("pizza", 0, state, 31)
				v.lagIs("pizza", 0, 31, first)
				stop()
			})
		})
	}
}

// A lane that never could start lacks all that there is, if that is where it would
// begin; else nobody knows.
func TestLagBeforeTheFirstStart(t *testing.T) {
	for kind, known := range map[config.StartKind]bool{config.StartEarliest: true, config.StartLatest: false} {
		virtually(t, func(t *testing.T, v *virtual) {
			v.target.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.CreateTopics}, Topic: "pizza", Err: kerr.TopicAuthorizationFailed, Count: -1})
			v.topic("pizza", 1)
			first := time.Now()
			v.write("pizza", 0, 0, 30)
			if err := v.deleteBefore("pizza", 0, 10); err != nil {
				t.Fatal(err)
			}
			cfg := v.config("pizza")
			cfg.Flows[0].Start.Kind = kind
			stop := v.run(cfg)
			time.Sleep(10 * time.Second)
			if known {
				v.lagIs("pizza", 0, 20, first)
			}
			if l := v.lane("pizza", 0); l.State != "stopped" || l.LagStale || known != (l.Lag == 20) || !known && l.Lag != -1 {
				t.Errorf("%v: %+v", kind, l)
			}
			stop()
		})
	}
}

// deleteBefore removes what is below an offset of the source.
func (v *virtual) deleteBefore(topic string, partition int32, offset int64) error {
	at := kadm.Offsets{}
	at.Add(kadm.Offset{Topic: topic, Partition: partition, At: offset})
	rs, err := kadm.NewClient(v.from).DeleteRecords(v.t.Context(), at)
	if err != nil {
		return err
	}
	return rs.Error()
}

// A lane without room is left out of the fetches, but not forgotten.
func TestLagWhileFull(t *testing.T) {
	virtually(t, func(t *testing.T, v *virtual) {
		v.topic("pizza", 1)
		v.write("pizza", 0, 0, 10)
		stop := v.run(v.config("pizza"))
		v.await("pizza", 0, "running", 0)
		release := make(chan struct{})
		free := sync.OnceFunc(func() { close(release) })
		defer free()
		v.target.ControlKey(kmsg.Produce.Int16(), func(kmsg.Request) (kmsg.Response, error, bool) {
			v.target.SleepControl(func() { <-release })
			return nil, nil, false
		})
		first := time.Now()
		large := func(n int) {
			for range n {
				r := &kgo.Record{Topic: "pizza", Value: bytes.Repeat([]byte{'x'}, 900_000)}
				if err := v.from.ProduceSync(t.Context(), r).FirstErr(); err != nil {
					t.Fatal(err)
				}
			}
		}
		large(12)
		v.lagIs("pizza", 0, 12, first)
		time.Sleep(2 * time.Second)
		large(3)
		if l := v.lagIs("pizza", 0, 15, first); l.State != "running" {
			t.Errorf("%+v", l)
		}
		free()
		v.await("pizza", 0, "running", 0)
		stop()
	})
}

// Nobody knows the lag while the source is away: what is known is of before, and
// never 0.
func TestLagWhileTheSourceIsAway(t *testing.T) {
	virtually(t, func(t *testing.T, v *virtual) {
		v.topic("pizza", 2)
		v.write("pizza", 0, 0, 10)
		cfg := v.config("pizza")
		stop := v.run(cfg)
		v.await("pizza", 0, "running", 0)
		v.await("pizza", 1, "running", 0)
		v.target.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Topic: "pizza", Err: kerr.TopicAuthorizationFailed, Count: 1})
		first := time.Now()
		v.write("pizza", 0, 10, 5)
		v.await("pizza", 0, "stopped", 5)
		v.gates[v.source].set(true)
		away := time.Now()
		v.write("pizza", 1, 0, 7)
		time.Sleep(10 * time.Second)
		if l := v.lane("pizza", 1); l.LagStale || l.Lag != -1 {
			t.Errorf("after 10 s: %+v", l)
		}
		for time.Since(away) < 10*time.Minute {
			time.Sleep(6500 * time.Millisecond)
			if l := v.lane("pizza", 1); l.Lag != -1 || !l.LagStale || l.LagSeconds != -1 {
				t.Fatalf("after %v, lag was 0: %+v", time.Since(away), l)
			}
			l := v.lane("pizza", 0)
			if age := time.Since(first).Seconds(); l.Lag != 5 || !l.LagStale || l.LagSeconds < age-0.01 || l.LagSeconds > age+0.01 {
				t.Fatalf("after %v, lag was 5: %+v", time.Since(away), l)
			}
		}
		if up := v.d.Clusters(); up[1].Alias != "old" || up[1].Up || up[1].Err == nil || !up[0].Up || up[0].Err != nil {
			t.Errorf("%+v", up)
		}
		v.gates[v.source].set(false)
		v.await("pizza", 0, "running", 0)
		v.await("pizza", 1, "running", 0)
		v.lagIs("pizza", 1, 0, time.Time{})
		if up := v.d.Clusters(); !up[1].Up || up[1].Err != nil {
			t.Errorf("%+v", up)
		}
		stop()
		v.has("pizza", 0, 15)
		v.has("pizza", 1, 7)
	})
}

// What an open transaction holds up is lag, and as old as it is.
func TestLagOfAnOpenTransaction(t *testing.T) {
	virtually(t, func(t *testing.T, v *virtual) {
		v.topic("pizza", 1)
		v.write("pizza", 0, 0, 10)
		stop := v.run(v.config("pizza"))
		v.await("pizza", 0, "running", 0)
		time.Sleep(time.Minute)
		cl, err := kgo.NewClient(kgo.SeedBrokers(v.source.ListenAddrs()...), kgo.Dialer(v.wires[v.source].DialContext), kgo.TransactionalID("x"))
		if err != nil {
			t.Fatal(err)
		}
		defer cl.Close()
		if err := cl.BeginTransaction(); err != nil {
			t.Fatal(err)
		}
		first := time.Now()
		if err := cl.ProduceSync(t.Context(), &kgo.Record{Topic: "pizza", Value: []byte("x")}).FirstErr(); err != nil {
			t.Fatal(err)
		}
		v.lagIs("pizza", 0, 1, first)
		time.Sleep(30 * time.Second)
		v.lagIs("pizza", 0, 1, first)
		if err := cl.EndTransaction(t.Context(), kgo.TryCommit); err != nil {
			t.Fatal(err)
		}
		v.await("pizza", 0, "running", 0)
		v.lagIs("pizza", 0, 0, time.Time{})
		stop()
	})
}
