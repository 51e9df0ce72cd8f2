package replicator_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/kferry/kferry/config"
	"github.com/kferry/kferry/offsets/mm2"
	"github.com/kferry/kferry/replicator"
)

// The scenarios of MirrorMaker 2's integration tests, with what kferry does in each of them; docs/mm2-tests.md has the list.

// monotonic wants no checkpoint of a partition to be behind the one before it.
func (v *virtual) monotonic() {
	v.t.Helper()
	cs := byLane(v.checkpoints())
	for i := 1; i < len(cs); i++ {
		a, b := cs[i-1], cs[i]
		if a.Group == b.Group && a.Topic == b.Topic && a.Partition == b.Partition && (b.Upstream < a.Upstream || b.Downstream < a.Downstream) {
			v.t.Errorf("checkpoint %+v after %+v", b, a)
		}
	}
	if len(cs) == 0 {
		v.t.Error("no checkpoints")
	}
}

func TestMM2ReplicationWithEmptyPartition(t *testing.T) {
	virtually(t, func(t *testing.T, v *virtual) {
		v.topic("pizza", 2)
		v.write("pizza", 0, 0, 100)
		v.commit(v.from, "consumer-group-a", "pizza", 100, 0)
		stop := v.run(v.following("pizza"))
		v.group("consumer-group-a", "pizza", 0, "100->100 exact")
		v.group("consumer-group-a", "pizza", 1, "0->0 exact")
		stop()
		v.committed(v.to, "consumer-group-a", "pizza", 100, 0)
	})
}

// Offsets differ, for others wrote to the target first; a second topic joins; MM2 reads up to offset.lag.max records again.
func TestMM2OneWayReplicationWithAutoOffsetSync(t *testing.T) {
	virtually(t, func(t *testing.T, v *virtual) {
		v.topic("pizza", 3)
		if err := v.target.CreateTopic("pizza", 3, nil); err != nil {
			t.Fatal(err)
		}
		for n := range int32(3) {
			for range 7 {
				v.put(v.to, &kgo.Record{Topic: "pizza", Partition: n, Value: []byte("of another")})
			}
			v.write("pizza", n, 0, 100)
		}
		v.commit(v.from, "consumer-group-a", "pizza", 0, 55, 100)
		stop := v.run(v.following("pizza", "clicks"))
		v.group("consumer-group-a", "pizza", 0, "0->7 exact")
		v.group("consumer-group-a", "pizza", 1, "55->62 exact")
		v.group("consumer-group-a", "pizza", 2, "100->107 exact")
		v.topic("clicks", 1)
		v.write("clicks", 0, 0, 20)
		v.commit(v.from, "consumer-group-a", "clicks", 15)
		v.group("consumer-group-a", "clicks", 0, "15->15 exact")
		v.commit(v.from, "consumer-group-a", "pizza", 10, 56, 100)
		v.group("consumer-group-a", "pizza", 0, "10->17 exact")
		v.group("consumer-group-a", "pizza", 1, "56->63 exact")
		stop()
		v.committed(v.to, "consumer-group-a", "pizza", 17, 63, 107)
		v.committed(v.to, "consumer-group-a", "clicks", 15)
		v.monotonic()
		if got := v.topics(v.from); !slices.Equal(got, []string{"clicks", "pizza"}) {
			t.Errorf("the source has topics %q", got)
		}
	})
}

// Also testReplicationWithoutOffsetSyncWillNotCreateOffsetSyncsTopic: checkpoints do not need the syncs here.
func TestMM2OffsetSyncsTopicsOnTarget(t *testing.T) {
	for location, want := range map[string][2][]string{ // on the source, on the target
		"target": {{"pizza"}, {"heartbeats", syncsOnTarget, checkpointsTopic, "old.heartbeats", "pizza"}},
		"source": {{syncsOnSource, "pizza"}, {"heartbeats", checkpointsTopic, "old.heartbeats", "pizza"}},
		"off":    {{"pizza"}, {"heartbeats", checkpointsTopic, "old.heartbeats", "pizza"}},
	} {
		t.Run(location, func(t *testing.T) {
			virtually(t, func(t *testing.T, v *virtual) {
				v.topic("pizza", 1)
				v.write("pizza", 0, 0, 100)
				v.commit(v.from, "consumer-group-a", "pizza", 60)
				cfg := v.following("pizza")
				cfg.Flows[0].OffsetSyncs.Location = location
				stop := v.run(cfg)
				v.await("pizza", 0, "running", 0)
				v.group("consumer-group-a", "pizza", 0, "60->60 exact")
				v.commit(v.from, "consumer-group-a", "pizza", 61)
				v.group("consumer-group-a", "pizza", 0, "61->61 exact")
				v.commit(v.from, "consumer-group-a", "pizza", 62)
				v.group("consumer-group-a", "pizza", 0, "62->62 exact") // the round before wrote the syncs
				stop()
				v.monotonic()
				for i, hand := range []*kgo.Client{v.from, v.to} {
					if got := v.topics(hand); !slices.Equal(got, want[i]) {
						t.Errorf("side %d has topics %q, want %q", i, got, want[i])
					}
				}
				syncs := append(v.records(v.source, syncsOnSource), v.records(v.target, syncsOnTarget)...)
				for _, r := range syncs {
					if s, err := mm2.DecodeOffsetSync(r.Key, r.Value); err != nil || s.Topic != "pizza" || int64(s.Upstream) != int64(s.Downstream) || s.Upstream > 99 {
						t.Errorf("sync %+v, %v", s, err)
					}
				}
				if (len(syncs) > 0) != (location != "off") {
					t.Errorf("%d syncs", len(syncs))
				}
			})
		})
	}
}

// A lane that has not begun tells nothing, so there is no commit and no checkpoint until it does. A lane that has begun at
// the end of an empty partition tells where it is, other than MM2: see TestMM2ReplicationWithEmptyPartition.
func TestMM2NoCheckpointsIfNoRecordsAreMirrored(t *testing.T) {
	virtually(t, func(t *testing.T, v *virtual) {
		v.topic("pizza", 2)
		v.write("pizza", 0, 0, 100)
		v.write("pizza", 1, 0, 100)
		v.commit(v.from, "consumer-group-a", "pizza", 50, 60)
		cfg := v.following("pizza")
		cfg.Flows[0].StartOffsets = config.StartOffsets{"pizza": {1: 999}} // not in the log
		stop := v.run(cfg)
		v.group("consumer-group-a", "pizza", 0, "50->50 exact")
		v.group("consumer-group-a", "pizza", 1, "60->-1 not_known")
		stop()
		v.committed(v.to, "consumer-group-a", "pizza", 50, -1)
		if got := v.points("consumer-group-a"); !slices.Equal(got, []string{"pizza/0 50->50"}) {
			t.Errorf("checkpoints %q", got)
		}
		cfg.Flows[0].StartOffsets = nil
		stop = v.run(cfg)
		v.group("consumer-group-a", "pizza", 1, "60->60 exact")
		stop()
		if got := v.points("consumer-group-a"); got[len(got)-1] != "pizza/1 60->60" {
			t.Errorf("checkpoints %q", got)
		}
		v.monotonic()
	})
}

func TestMM2RestartReplication(t *testing.T) {
	virtually(t, func(t *testing.T, v *virtual) {
		v.topic("pizza", 2)
		cfg := v.following("pizza")
		for i := range 3 {
			for n := range int32(2) {
				v.write("pizza", n, 100*i, 100)
			}
			end := int64(100 * (i + 1))
			v.commit(v.from, "consumer-group-a", "pizza", end-30, end)
			// One that stands where another run has mirrored.
			old := fmt.Sprint("consumer-group-old-", i)
			v.commit(v.from, old, "pizza", 17, 18)
			stop := v.run(cfg)
			v.group("consumer-group-a", "pizza", 0, fmt.Sprintf("%d->%d exact", end-30, end-30))
			v.group("consumer-group-a", "pizza", 1, fmt.Sprintf("%d->%d exact", end, end))
			v.group(old, "pizza", 0, "17->17 exact")
			stop()
			v.committed(v.to, "consumer-group-a", "pizza", end-30, end)
			v.committed(v.to, old, "pizza", 17, 18)
		}
		v.monotonic()
		v.has("pizza", 0, 300)
	})
}

// Checkpoints follow a group back, other than its offset on the target.
func TestMM2OffsetTranslationBehindReplicationFlow(t *testing.T) {
	virtually(t, func(t *testing.T, v *virtual) {
		v.topic("pizza", 2)
		v.write("pizza", 0, 0, 1000)
		v.write("pizza", 1, 0, 1000)
		stop := v.run(v.following("pizza"))
		v.await("pizza", 0, "running", 0)
		v.await("pizza", 1, "running", 0)
		v.commit(v.from, "consumer-group-a", "pizza", 900, 901)
		v.group("consumer-group-a", "pizza", 0, "900->900 exact")
		v.group("consumer-group-a", "pizza", 1, "901->901 exact")
		v.commit(v.from, "consumer-group-a", "pizza", 100, 101)
		v.group("consumer-group-a", "pizza", 0, "100->900 ahead_on_target")
		v.group("consumer-group-a", "pizza", 1, "101->901 ahead_on_target")
		stop()
		v.committed(v.to, "consumer-group-a", "pizza", 900, 901)
		got := v.points("consumer-group-a")
		slices.Sort(got)
		if want := []string{"pizza/0 100->100", "pizza/0 900->900", "pizza/1 101->101", "pizza/1 901->901"}; !slices.Equal(got, want) {
			t.Errorf("checkpoints %q, want %q", got, want)
		}
	})
}

func TestMM2ReplicateFromLatest(t *testing.T) {
	virtually(t, func(t *testing.T, v *virtual) {
		v.topic("pizza", 1)
		v.write("pizza", 0, 0, 100)
		v.commit(v.from, "consumer-group-a", "pizza", 50)
		cfg := v.following("pizza")
		cfg.Flows[0].Start = config.Start{Kind: config.StartLatest}
		stop := v.run(cfg)
		v.await("pizza", 0, "running", 0)
		v.write("pizza", 0, 100, 5)
		v.await("pizza", 0, "running", 0)
		v.group("consumer-group-a", "pizza", 0, "50->0 before_first")
		v.commit(v.from, "consumer-group-a", "pizza", 103)
		v.group("consumer-group-a", "pizza", 0, "103->3 exact")
		stop()
		if got := strings.Join(v.values("pizza", 0), " "); got != "100 101 102 103 104" {
			t.Errorf("the target has %s", got)
		}
	})
}

// Both directions: each topic once on the other side, heartbeats and checkpoints on both, a topic that is left out, one that
// comes later, and a group that goes over and back.
func TestMM2Replication(t *testing.T) {
	virtually(t, func(t *testing.T, v *virtual) {
		v.topic("pizza", 2)
		v.topic("secret", 1)
		if err := v.target.CreateTopic("clicks", 1, nil); err != nil {
			t.Fatal(err)
		}
		v.write("pizza", 0, 0, 100)
		v.write("pizza", 1, 0, 50)
		for i := range 30 {
			v.put(v.to, &kgo.Record{Topic: "clicks", Value: fmt.Append(nil, i)})
		}
		cfg := v.following(".*")
		cfg.Flows[0].Policy, cfg.Flows[0].TopicsExclude = "default", []string{"secret"}
		back := cfg.Flows[0]
		back.Name, back.Source, back.Target = "back", "new", "old"
		cfg.Flows = append(cfg.Flows, back)
		v.commit(v.from, "consumer-group-a", "pizza", 60, 50)
		v.commit(v.to, "consumer-group-b", "clicks", 20)
		stop := v.run(cfg)
		v.group("consumer-group-a", "pizza", 0, "60->60 exact")
		v.group("consumer-group-a", "pizza", 1, "50->50 exact")
		v.group("consumer-group-b", "clicks", 0, "20->20 exact")
		v.committed(v.to, "consumer-group-a", "old.pizza", 60, 50)
		v.committed(v.from, "consumer-group-b", "new.clicks", 20)
		v.topic("late", 1)
		v.write("late", 0, 0, 10)
		v.await("late", 0, "running", 0)

		// Over: it reads on at the target. And back: its offsets there are translated.
		v.commit(v.to, "consumer-group-a", "old.pizza", 75, 50)
		for partition, offset := range []int64{75, 50} {
			got := v.d.Translate(replicator.Lookup{Flow: "flow", Topic: "old.pizza", Partition: int32(partition), Offset: offset, Reverse: true})
			if len(got) != 1 || got[0].SourceOffset != offset || got[0].Found != "exact" {
				t.Errorf("back at %d: %+v", offset, got)
			}
		}
		want := [2][]string{
			{"clicks", "heartbeats", syncsOnTarget, checkpointsTopic, "old.heartbeats", "old.late", "old.pizza"},
			{"heartbeats", "late", syncsOnSource, "new.checkpoints.internal", "new.clicks", "new.heartbeats", "pizza", "secret"},
		}
		for range 1200 {
			if slices.Equal(v.topics(v.to), want[0]) && slices.Equal(v.topics(v.from), want[1]) {
				break
			}
			time.Sleep(100 * time.Millisecond) // of the bubble's clock
		}
		time.Sleep(10 * time.Second) // of the bubble's clock: a loop would have made topics of topics
		stop()
		for i, hand := range []*kgo.Client{v.to, v.from} {
			if got := v.topics(hand); !slices.Equal(got, want[i]) {
				t.Errorf("topics %q, want %q", got, want[i])
			}
		}
		v.has("old.pizza", 0, 100)
		v.has("old.pizza", 1, 50)
		v.has("old.late", 0, 10)
		v.monotonic()
		for _, r := range v.records(v.target, "old.heartbeats") {
			if h, err := mm2.DecodeHeartbeat(r.Key, r.Value); err != nil || h.Source != "new" && h.Source != "old" {
				t.Errorf("heartbeat %+v, %v", h, err)
			}
		}
	})
}
