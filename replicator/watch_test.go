package replicator_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/kferry/kferry/config"
	"github.com/kferry/kferry/internal/kafka"
	"github.com/kferry/kferry/offsets"
	"github.com/kferry/kferry/offsets/mm2"
	"github.com/kferry/kferry/replicator"
	"github.com/kferry/kferry/replicator/lane"
)

// aiven is an API that says what the test wants.
type aiven struct {
	mu    sync.Mutex
	flows []replicator.Carried
	err   error
	asked int
}

func (a *aiven) Flows(context.Context) ([]replicator.Carried, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.asked++
	return slices.Clone(a.flows), a.err
}

func (a *aiven) say(err error, flows ...replicator.Carried) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.flows, a.err = flows, err
}

func (a *aiven) count() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.asked
}

// carriedFlow is one that Aiven has of the test's clusters.
func carriedFlow(enabled bool, topics ...string) replicator.Carried {
	return replicator.Carried{Source: "old", Target: "new", Enabled: enabled, Progress: 0.5, Identity: true, Topics: topics}
}

const positionsTopic = "mm2-offsets.old.internal"

// mirrored writes how far MirrorMaker 2 is, as Connect does.
func (v *virtual) mirrored(topic string, partition int32, next offsets.Source) {
	v.t.Helper()
	key, err := mm2.SourceKey{Connector: "AivenMirrorSource", Cluster: "old", Topic: topic, Partition: partition}.Encode()
	if err != nil {
		v.t.Fatal(err)
	}
	value, err := mm2.EncodePosition(next)
	if err != nil {
		v.t.Fatal(err)
	}
	v.put(v.to, &kgo.Record{Topic: positionsTopic, Partition: mm2.Partition(key, 5), Key: key, Value: value})
}

// copied writes records n of [from, to) to the target, as MirrorMaker 2 would.
func (v *virtual) copied(topic string, partition int32, from, to int) {
	v.t.Helper()
	var rs []*kgo.Record
	for i := from; i < to; i++ {
		rs = append(rs, &kgo.Record{Topic: topic, Partition: partition, Value: fmt.Append(nil, i)})
	}
	v.put(v.to, rs...)
}

func (v *virtual) on(c *kfake.Cluster, topic string, partitions int32) {
	v.t.Helper()
	if err := c.CreateTopic(topic, partitions, nil); err != nil {
		v.t.Fatal(err)
	}
}

// is waits until a lane is in a state with a lag, for a reason that has all of parts.
func (v *virtual) is(topic string, partition int32, state string, lag int64, parts ...string) {
	v.t.Helper()
	var l replicator.LaneStatus
	for range 2400 {
		l = v.lane(topic, partition)
		ok := l.State == state && l.Lag == lag
		for _, part := range parts {
			ok = ok && strings.Contains(l.Reason, part)
		}
		if ok {
			return
		}
		time.Sleep(100 * time.Millisecond) // of the bubble's clock
	}
	v.t.Fatalf("four minutes, and %s/%d is %+v, want %s with lag %d, %q", topic, partition, l, state, lag, parts)
}

func has(t *testing.T, g prometheus.Gatherer, name string) bool {
	t.Helper()
	families, err := g.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == name {
			return true
		}
	}
	return false
}

func (v *virtual) watching(topics ...string) *config.Config {
	cfg := v.config(topics...)
	f := &cfg.Flows[0]
	f.Engine, f.OffsetSyncs.Location, f.Aiven.ExactlyOnce = config.EngineAiven, "target", true
	cfg.Metrics.Compatibility = true
	return cfg
}

// What MirrorMaker 2 lacks is told from what it leaves behind, and nothing is told that nobody knows.
func TestWatched(t *testing.T) {
	virtually(t, func(t *testing.T, v *virtual) {
		a := new(aiven)
		a.say(nil, carriedFlow(true, "pizza"))
		v.carrier = a
		v.topic("pizza", 2)
		v.write("pizza", 0, 0, 100)
		stop := v.run(v.watching("pizza"))
		v.is("pizza", 0, "waiting", -1, "the target does not have the partition")
		v.on(v.target, "pizza", 2)
		v.is("pizza", 0, "running", 100) // it has begun nothing
		v.is("pizza", 1, "running", 0)
		v.copied("pizza", 0, 0, 60)
		v.is("pizza", 0, "waiting", -1, "not known how far MirrorMaker 2 is")
		v.on(v.target, positionsTopic, 5)
		v.mirrored("pizza", 0, 40)
		v.is("pizza", 0, "running", 60)
		v.on(v.target, syncsOnTarget, 1)
		v.copied("pizza", 0, 60, 100)
		key, value, err := mm2.OffsetSync{Topic: "pizza", Upstream: 89, Downstream: 89}.Encode()
		if err != nil {
			t.Fatal(err)
		}
		v.put(v.to, &kgo.Record{Topic: syncsOnTarget, Key: key, Value: value})
		v.is("pizza", 0, "running", 10)
		v.mirrored("pizza", 0, 100)
		v.is("pizza", 0, "running", 0)
		if st := v.d.Status().Flows[0]; len(st.Reasons) > 0 || !st.Watched || st.Carried == nil || st.Carried.Progress != 0.5 {
			t.Errorf("it is level, and %+v", st)
		}

		// A record in a transaction: the marker behind it is no record that the target lacks.
		v.transact("pizza", "100")
		v.is("pizza", 0, "running", 2)
		v.mirrored("pizza", 0, 101)
		v.is("pizza", 0, "running", 0)
		v.write("pizza", 0, 101, 5)
		v.is("pizza", 0, "running", 5)

		for name, want := range map[string]float64{"kferry_lag_records": 5, "kafka_mirrormaker_summary_replication_lag": 5} {
			if got := metric(t, exported(v.d), name); got != want {
				t.Errorf("%s is %v, want %v", name, got, want)
			}
		}
		for name, want := range map[string]float64{
			"kferry_aiven_flow_enabled": 1, "kferry_aiven_flow_progress_ratio": 0.5, "kferry_flow_partitions": 2, "kferry_flow_info": 1, "kferry_lag_stale_lanes": 0,
		} {
			if got := metric(t, v.reg, name); got != want {
				t.Errorf("%s is %v, want %v", name, got, want)
			}
		}
		for _, name := range []string{"kferry_records_total", "kafka_connect_mirror_mirrorsourceconnector_record_rate"} {
			if has(t, exported(v.d), name) {
				t.Errorf("%s is told, and nobody counts", name)
			}
		}
		if has(t, v.reg, "kferry_lost_offsets_total") {
			t.Error("lost offsets are told, and nobody counts")
		}

		if err := v.d.Pause(t.Context(), "flow", "", "me"); !errors.Is(err, replicator.ErrNotNow) {
			t.Errorf("paused: %v", err)
		}
		a.say(nil, carriedFlow(false, "pizza"))
		v.is("pizza", 0, "paused", 5, "disabled at Aiven")
		if got := metric(t, v.reg, "kferry_aiven_flow_enabled"); got != 0 {
			t.Errorf("enabled: %v", got)
		}
		a.say(nil)
		v.is("pizza", 0, "stopped", 5, "has no such flow")
		a.say(errors.New("away"))
		v.is("pizza", 0, "waiting", 5, "away")
		if has(t, v.reg, "kferry_aiven_flow_enabled") {
			t.Error("whether it is enabled is told, and nobody knows")
		}
		a.say(nil, carriedFlow(true, "pizza"))
		v.is("pizza", 0, "running", 5)
		stop()
		if got := v.topics(v.from); !slices.Equal(got, []string{"pizza"}) {
			t.Errorf("the source has topics %q", got)
		}
		if got := v.topics(v.to); !slices.Equal(got, []string{syncsOnTarget, positionsTopic, "pizza"}) {
			t.Errorf("the target has topics %q", got)
		}
	})
}

// transact writes one record to partition 0 of the source, in a transaction.
func (v *virtual) transact(topic, value string) {
	v.t.Helper()
	cl, err := kgo.NewClient(kgo.SeedBrokers(v.source.ListenAddrs()...), kgo.Dialer(v.wires[v.source].DialContext),
		kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.TransactionalID("shop"))
	if err != nil {
		v.t.Fatal(err)
	}
	defer cl.Close()
	err = cl.BeginTransaction()
	if err == nil {
		err = cl.ProduceSync(v.t.Context(), &kgo.Record{Topic: topic, Value: []byte(value)}).FirstErr()
	}
	if err == nil {
		err = cl.EndTransaction(v.t.Context(), kgo.TryCommit)
	}
	if err != nil {
		v.t.Fatal(err)
	}
}

// A position that cannot be in the logs that are there tells nothing.
func TestWatchedOfOtherLogs(t *testing.T) {
	for name, of := range map[string]func(*virtual) (*kgo.Client, *kfake.Cluster){
		"source": func(v *virtual) (*kgo.Client, *kfake.Cluster) { return v.from, v.source },
		"target": func(v *virtual) (*kgo.Client, *kfake.Cluster) { return v.to, v.target },
	} {
		t.Run(name, func(t *testing.T) {
			virtually(t, func(t *testing.T, v *virtual) {
				a := new(aiven)
				a.say(nil, carriedFlow(true, "pizza"))
				v.carrier = a
				v.topic("pizza", 1)
				v.write("pizza", 0, 0, 100)
				v.on(v.target, "pizza", 1)
				v.on(v.target, positionsTopic, 5)
				v.copied("pizza", 0, 0, 100)
				v.mirrored("pizza", 0, 100)
				stop := v.run(v.watching("pizza"))
				v.is("pizza", 0, "running", 0)
				hand, c := of(v)
				if _, err := kadm.NewClient(hand).DeleteTopics(t.Context(), "pizza"); err != nil {
					t.Fatal(err)
				}
				v.on(c, "pizza", 1)
				v.is("pizza", 0, "waiting", -1, "which MirrorMaker 2 does not notice")
				stop()
			})
		})
	}
}

// A topic that an enabled flow at Aiven carries is not carried here, nor while Aiven cannot be asked; the others are.
func TestBarred(t *testing.T) {
	virtually(t, func(t *testing.T, v *virtual) {
		a := new(aiven)
		a.say(nil, carriedFlow(true, "pizza"), replicator.Carried{Source: "new", Target: "old", Enabled: true, Identity: true, Topics: []string{".*"}},
			replicator.Carried{Source: "old", Target: "new", Enabled: true, Topics: []string{".*"}}) // writes old.pizza
		v.carrier = a
		for _, topic := range []string{"pizza", "clicks"} {
			v.topic(topic, 1)
			v.write(topic, 0, 0, 10)
		}
		stop := v.run(v.config("pizza", "clicks"))
		v.is("clicks", 0, "running", 0)
		v.is("pizza", 0, "stopped", 10, `carries topic "pizza" in its flow old -> new`, "kferry aiven handover")
		a.say(errors.New("away"))
		time.Sleep(10 * time.Minute)
		v.is("pizza", 0, "stopped", 10)
		a.say(nil, carriedFlow(false, ".*"))
		v.is("pizza", 0, "running", 0)
		v.is("clicks", 0, "running", 0)
		a.say(nil, carriedFlow(true, "pi(?=z).*")) // what cannot be read here may be all
		v.is("pizza", 0, "stopped", 0)
		v.is("clicks", 0, "stopped", 0)
		v.write("pizza", 0, 10, 10)
		v.is("pizza", 0, "stopped", 10)
		stop()
		if n := len(v.records(v.target, "pizza")); n != 10 {
			t.Errorf("the target has %d records", n)
		}
	})
}

// Aiven that is away from the start holds up nothing but a takeover; it is asked less and less, and never before the
// time that it gives.
func TestCarrierAway(t *testing.T) {
	virtually(t, func(t *testing.T, v *virtual) {
		a := new(aiven)
		a.say(errors.New("away"))
		v.carrier = a
		v.topic("pizza", 1)
		v.write("pizza", 0, 0, 10)
		stop := v.run(v.config("pizza"))
		v.is("pizza", 0, "running", 0)
		time.Sleep(time.Hour)
		if n := a.count(); n < 12 || n > 20 {
			t.Errorf("asked %d times in an hour", n)
		}
		if p := v.d.Status().Problems; len(p) != 1 || !strings.Contains(p[0].Text, "away") {
			t.Errorf("problems: %+v", p)
		}
		a.say(tooMany{})
		time.Sleep(10 * time.Minute)
		before := a.count()
		time.Sleep(50 * time.Minute)
		if n := a.count() - before; n > 1 {
			t.Errorf("asked %d times within the hour it wanted to be left alone", n)
		}
		stop()
	})
}

type tooMany struct{}

func (tooMany) Error() string             { return "too many requests" }
func (tooMany) RetryAfter() time.Duration { return time.Hour }

// From Aiven's MirrorMaker 2 to kferry, back and again: each begins where the other got to, and not while the other is
// at work, or may be.
func TestTakeoverAiven(t *testing.T) {
	virtually(t, func(t *testing.T, v *virtual) {
		a := new(aiven)
		a.say(errors.New("away"))
		v.carrier = a
		v.topic("pizza", 1)
		v.write("pizza", 0, 0, 100)
		v.on(v.target, "pizza", 1)
		v.on(v.target, positionsTopic, 5)
		v.on(v.target, "mm2-status.old.internal", 1)
		v.copied("pizza", 0, 0, 60)
		v.mirrored("pizza", 0, 60)
		task := func(state string) {
			v.put(v.to, &kgo.Record{Topic: "mm2-status.old.internal", Key: []byte("status-task-AivenMirrorSource-0"), Value: fmt.Appendf(nil, `{"state":%q}`, state)})
		}
		task("RUNNING")
		cfg := v.config("pizza")
		cfg.Flows[0].Takeover = "aiven"
		stop := v.run(cfg)
		v.is("pizza", 0, "starting", -1, "cannot tell whether Aiven's MirrorMaker 2 has stopped", "away")
		a.say(nil, carriedFlow(true, "pizza"))
		v.is("pizza", 0, "stopped", -1, "which is enabled")
		a.say(nil, carriedFlow(false, "pizza"))
		v.is("pizza", 0, "starting", -1, "1 of its tasks is at work")
		task("UNASSIGNED")
		v.is("pizza", 0, "running", 0)
		stop()
		v.numbers("pizza", 100)

		left, err := v.left()
		if err != nil || left.Working != 0 || left.Open != 0 || !left.Ours() || len(left.Lanes) != 1 || left.Lanes[0].Next != 60 || left.Lanes[0].Own != 100 || left.Connector != "AivenMirrorSource" {
			t.Fatalf("%v %+v", err, left)
		}
		v.export(left, 100, 0)
		if left, _ = v.left(); left.Lanes[0].Next != 100 {
			t.Errorf("exported: %+v", left.Lanes)
		}

		// MirrorMaker 2 goes on.
		v.write("pizza", 0, 100, 50)
		v.copied("pizza", 0, 100, 150)
		v.mirrored("pizza", 0, 140)
		stop = v.run(cfg)
		v.is("pizza", 0, "stopped", 50, "has carried the partition up to source offset 140", "handover flow --to kferry")
		stop()
		left, _ = v.left()
		v.export(left, -1, 1) // not over what is newer
		if got := left.Behind(); !slices.Equal(got, []lane.ID{{Topic: "pizza"}}) || left.Ours() {
			t.Errorf("behind: %v", got)
		}
		v.doubts(left, 10, "the target has 10 records that MirrorMaker 2 has not stored its position for")
		v.mirrored("pizza", 0, 150)
		left, _ = v.left()
		v.doubts(left, 0, "")
		_, target := v.clusters()
		if err := replicator.Forget(t.Context(), target, cfg.Flows[0], left.Behind()); err != nil {
			t.Fatal(err)
		}
		v.write("pizza", 0, 150, 10)
		stop = v.run(cfg)
		v.is("pizza", 0, "running", 0)
		if err := replicator.Forget(t.Context(), target, cfg.Flows[0], []lane.ID{{Topic: "pizza"}}); !errors.Is(err, replicator.ErrCarried) {
			t.Errorf("forgotten while it is carried: %v", err)
		}
		stop()
		v.numbers("pizza", 160)
	})
}

// A partition that has records and no position of MirrorMaker 2 is not begun; neither is anything of an unknown position.
func TestTakeoverAivenWithoutPosition(t *testing.T) {
	virtually(t, func(t *testing.T, v *virtual) {
		a := new(aiven)
		a.say(nil)
		v.carrier = a
		v.topic("pizza", 2)
		v.write("pizza", 0, 0, 10)
		v.write("pizza", 1, 0, 10)
		v.on(v.target, "pizza", 2)
		v.copied("pizza", 0, 0, 10)
		cfg := v.config("pizza")
		cfg.Flows[0].Takeover = "aiven"
		stop := v.run(cfg)
		v.is("pizza", 1, "running", 0)
		v.is("pizza", 0, "stopped", -1, "has no position for it", "start_offsets")
		left, err := v.left()
		if err != nil || left.Connector != "" {
			t.Errorf("%v %+v", err, left)
		}
		v.doubts(left, -1, "MirrorMaker 2 has no position")
		stop()
	})
}

// numbers wants the topic to have the numbers from 0 on, each once and in order.
func (v *virtual) numbers(topic string, n int) {
	v.t.Helper()
	rs := v.records(v.target, topic)
	for i, r := range rs {
		if string(r.Value) != fmt.Sprint(i) {
			v.t.Fatalf("record %d is %s", i, r.Value)
		}
	}
	if len(rs) != n {
		v.t.Errorf("the target has %d records, want %d", len(rs), n)
	}
}

func (v *virtual) clusters() (source, target *kafka.Cluster) {
	v.t.Helper()
	open := func(alias string, of *kfake.Cluster) *kafka.Cluster {
		cl, err := kafka.Open(v.config().Clusters[alias], kafka.Options{Dialer: v.wires[of].DialContext})
		if err != nil {
			v.t.Fatal(err)
		}
		v.t.Cleanup(cl.Close)
		return cl
	}
	return open("old", v.source), open("new", v.target)
}

func (v *virtual) left() (*replicator.Left, error) {
	v.t.Helper()
	source, target := v.clusters()
	f := v.config("pizza").Flows[0]
	f.Takeover = "aiven"
	return replicator.ReadLeft(v.t.Context(), source, target, f)
}

// export wants one lane to be written at next, or none for -1, and so many where MirrorMaker 2 is later.
func (v *virtual) export(left *replicator.Left, next int64, later int) {
	v.t.Helper()
	_, target := v.clusters()
	e, err := replicator.ExportAiven(v.t.Context(), target, v.config("pizza").Flows[0], left, false)
	if err != nil || len(e.Later) != later || (next >= 0) != (len(e.Lanes) == 1) || next >= 0 && e.Lanes[0].Next != next || e.Connector != "AivenMirrorSource" {
		v.t.Errorf("%v: %+v", err, e)
	}
}

// doubts wants one with so many records twice, or none.
func (v *virtual) doubts(left *replicator.Left, twice int64, part string) {
	v.t.Helper()
	source, target := v.clusters()
	ds, err := left.Doubts(v.t.Context(), source, target)
	if err != nil || len(ds) > 1 || (part == "") != (len(ds) == 0) || len(ds) == 1 && (ds[0].Twice != twice || !strings.Contains(ds[0].Text, part)) {
		v.t.Errorf("%v: %+v", err, ds)
	}
}
