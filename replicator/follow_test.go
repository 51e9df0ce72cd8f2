package replicator_test

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kferry/kferry/config"
	"github.com/kferry/kferry/internal/kafka"
	"github.com/kferry/kferry/offsets"
	"github.com/kferry/kferry/offsets/mm2"
	"github.com/kferry/kferry/replicator"
)

// The topics that a flow from old to new keeps as MirrorMaker 2 does.
const (
	checkpointsTopic = "old.checkpoints.internal"
	syncsOnTarget    = "mm2-offset-syncs.old.internal"
	syncsOnSource    = "mm2-offset-syncs.new.internal"
)

// following is a configuration whose flow follows groups and keeps all of MirrorMaker 2's topics.
func (v *virtual) following(topics ...string) *config.Config {
	cfg := v.config(topics...)
	f := &cfg.Flows[0]
	f.Groups, f.GroupsInterval = []string{"consumer-group-.*", "plain"}, time.Second
	f.SyncGroupOffsets = true
	f.OffsetSyncs.Location, f.Checkpoints.Enabled = "target", true
	f.Heartbeats = config.Heartbeats{Enabled: true, Interval: time.Second}
	return cfg
}

// commit commits offsets of topic, from partition 0 on; -1 leaves one out.
func (v *virtual) commit(hand *kgo.Client, group, topic string, at ...int64) {
	v.t.Helper()
	os := kadm.Offsets{}
	for partition, o := range at {
		if o >= 0 {
			os.AddOffset(topic, int32(partition), o, -1)
		}
	}
	if err := kadm.NewClient(hand).CommitAllOffsets(v.t.Context(), group, os); err != nil {
		v.t.Fatal(err)
	}
}

// committed wants a group's offsets of topic on a cluster, from partition 0 on; -1 is none.
func (v *virtual) committed(hand *kgo.Client, group, topic string, want ...int64) {
	v.t.Helper()
	os, err := kadm.NewClient(hand).FetchOffsets(v.t.Context(), group)
	if err != nil && !errors.Is(err, kerr.GroupIDNotFound) {
		v.t.Fatal(err)
	}
	for partition, at := range want {
		got := int64(-1)
		if o, ok := os.Lookup(topic, int32(partition)); ok {
			got = o.At
		}
		if got != at {
			v.t.Errorf("group %s is at %d in %s/%d, want %d", group, got, topic, partition, at)
		}
	}
}

// group waits until a partition of a group is "source->target verdict".
func (v *virtual) group(group, topic string, partition int32, want string) replicator.OffsetRow {
	v.t.Helper()
	var all []string
	for range 1200 {
		all = nil
		for _, r := range v.d.Offsets() {
			is := fmt.Sprintf("%d->%d %s", r.SourceOffset, r.TargetOffset, r.Verdict)
			if r.Group == group && r.Topic == topic && r.Partition == partition && is == want {
				return r
			}
			all = append(all, fmt.Sprintf("%s %s %s/%d %s", r.Flow, r.Group, r.Topic, r.Partition, is))
		}
		time.Sleep(100 * time.Millisecond) // of the bubble's clock
	}
	v.t.Fatalf("two minutes, and not yet %s %s/%d %s:\n%s", group, topic, partition, want, strings.Join(all, "\n"))
	return replicator.OffsetRow{}
}

// topics are those of a cluster, without kferry's own.
func (v *virtual) topics(hand *kgo.Client) []string {
	v.t.Helper()
	ts, err := kadm.NewClient(hand).ListTopics(v.t.Context())
	if err != nil {
		v.t.Fatal(err)
	}
	return slices.DeleteFunc(ts.Names(), func(n string) bool { return strings.HasPrefix(n, "kferry.") })
}

// records are those of a topic on a cluster; none if it is not there.
func (v *virtual) records(c *kfake.Cluster, topic string) (out []*kgo.Record) {
	v.t.Helper()
	cl, err := kafka.Open(config.Cluster{Alias: "look", BootstrapServers: c.ListenAddrs(), ClientID: "look"}, kafka.Options{Dialer: v.wires[c].DialContext})
	if err != nil {
		v.t.Fatal(err)
	}
	defer cl.Close()
	err = cl.ReadTopic(v.t.Context(), topic, func(r *kgo.Record) error {
		out = append(out, r)
		return nil
	})
	if err != nil && !errors.Is(err, kerr.UnknownTopicOrPartition) {
		v.t.Fatal(err)
	}
	return out
}

// points are the checkpoints on the target, in their order, as "topic/partition source->target".
func (v *virtual) points(group string) (out []string) {
	v.t.Helper()
	for _, c := range v.checkpoints() {
		if c.Group == group {
			out = append(out, fmt.Sprintf("%s/%d %d->%d", c.Topic, c.Partition, c.Upstream, c.Downstream))
		}
	}
	return out
}

func (v *virtual) checkpoints() (out []mm2.Checkpoint) {
	v.t.Helper()
	for _, r := range v.records(v.target, checkpointsTopic) {
		if c, err := mm2.DecodeCheckpoint(r.Key, r.Value); err == nil {
			out = append(out, c)
		}
	}
	return out
}

// said counts the warnings and errors of all daemons so far that hold text; they have stopped.
func (v *virtual) said(text string) (n int) {
	for line := range strings.Lines(v.log.String()) {
		if (strings.Contains(line, "level=WARN") || strings.Contains(line, "level=ERROR")) && strings.Contains(line, text) {
			n++
		}
	}
	return n
}

func (v *virtual) put(hand *kgo.Client, rs ...*kgo.Record) {
	v.t.Helper()
	if err := hand.ProduceSync(v.t.Context(), rs...).FirstErr(); err != nil {
		v.t.Fatal(err)
	}
}

// checkpoint is a record as MirrorMaker 2 writes it.
func checkpoint(t *testing.T, group string, partition int32, at offsets.Source, there offsets.Target) *kgo.Record {
	t.Helper()
	key, value, err := mm2.Checkpoint{Group: group, Topic: "pizza", Partition: partition, Upstream: at, Downstream: there}.Encode()
	if err != nil {
		t.Fatal(err)
	}
	return &kgo.Record{Topic: checkpointsTopic, Key: key, Value: value}
}

// Whatever else is in the checkpoints topic: kferry writes its own behind, says nothing and carries on.
func TestOthersInTheCheckpointsTopic(t *testing.T) {
	virtually(t, func(t *testing.T, v *virtual) {
		v.topic("pizza", 2)
		if err := v.target.CreateTopic(checkpointsTopic, 1, nil); err != nil {
			t.Fatal(err)
		}
		whole := checkpoint(t, "consumer-group-a", 1, 5, 5)
		deleted := checkpoint(t, "consumer-group-a", 0, 60, 60)
		foreign := checkpoint(t, "of-another", 0, 900, 900)
		odd := []*kgo.Record{
			{}, {Value: []byte("no key")}, {Key: []byte("no checkpoint"), Value: []byte("at all")}, {Key: whole.Key, Value: whole.Value[:5]},
			{Key: foreign.Key[:3], Value: foreign.Value}, {Key: []byte{}, Value: []byte{}},
		}
		for _, r := range odd {
			r.Topic = checkpointsTopic
		}
		v.put(v.to, append(odd, foreign, whole, &kgo.Record{Topic: checkpointsTopic, Key: foreign.Key[:4]})...)
		v.put(v.to, deleted, &kgo.Record{Topic: checkpointsTopic, Key: deleted.Key})
		v.write("pizza", 0, 0, 100)
		v.write("pizza", 1, 0, 100)
		v.commit(v.from, "consumer-group-a", "pizza", 60, 70)
		stop := v.run(v.following("pizza"))
		v.group("consumer-group-a", "pizza", 0, "60->60 exact")
		v.group("consumer-group-a", "pizza", 1, "70->70 exact")
		stop()
		v.has("pizza", 0, 100)
		v.has("pizza", 1, 100)
		want := []string{"pizza/1 5->5", "pizza/0 60->60", "pizza/0 60->60", "pizza/1 70->70"}
		if got := v.points("consumer-group-a"); !slices.Equal(got, want) {
			t.Errorf("checkpoints %q, want the one that somebody deleted written anew, and a newer one: %q", got, want)
		}
		if got := v.points("of-another"); !slices.Equal(got, []string{"pizza/0 900->900"}) {
			t.Errorf("checkpoints of another: %q", got)
		}
		if n := v.said(""); n > 0 {
			t.Errorf("%d warnings", n)
		}
	})
}

// A group that was moved ahead on the target stays there until the source has come to where it is.
func TestGroupJumpsAheadOnTheTarget(t *testing.T) {
	virtually(t, func(t *testing.T, v *virtual) {
		v.topic("pizza", 1)
		v.write("pizza", 0, 0, 100)
		v.commit(v.from, "consumer-group-a", "pizza", 30)
		stop := v.run(v.following("pizza"))
		v.group("consumer-group-a", "pizza", 0, "30->30 exact")
		v.commit(v.to, "consumer-group-a", "pizza", 80)
		v.group("consumer-group-a", "pizza", 0, "30->80 ahead_on_target") // seen within a minute
		v.commit(v.from, "consumer-group-a", "pizza", 70)
		v.group("consumer-group-a", "pizza", 0, "70->80 ahead_on_target")
		v.committed(v.to, "consumer-group-a", "pizza", 80)
		v.write("pizza", 0, 100, 5)
		v.await("pizza", 0, "running", 0)
		v.commit(v.from, "consumer-group-a", "pizza", 90)
		v.group("consumer-group-a", "pizza", 0, "90->90 exact")
		stop()
		v.committed(v.to, "consumer-group-a", "pizza", 90)
		v.has("pizza", 0, 105)
		if n := v.said(""); n > 0 {
			t.Errorf("%d warnings", n)
		}
	})
}

// A source that lists no groups is asked for those that have a name, and the log says once what is missing.
func TestSourceListsNoGroups(t *testing.T) {
	virtually(t, func(t *testing.T, v *virtual) {
		v.source.ControlKey(int16(kmsg.ListGroups), func(req kmsg.Request) (kmsg.Response, error, bool) {
			v.source.KeepControl()
			resp := req.ResponseKind().(*kmsg.ListGroupsResponse)
			resp.ErrorCode = kerr.ClusterAuthorizationFailed.Code
			return resp, nil, true
		})
		v.topic("pizza", 1)
		v.write("pizza", 0, 0, 100)
		v.commit(v.from, "plain", "pizza", 40)
		v.commit(v.from, "consumer-group-a", "pizza", 50)
		stop := v.run(v.following("pizza"))
		v.group("plain", "pizza", 0, "40->40 exact")
		v.commit(v.from, "plain", "pizza", 41)
		v.group("plain", "pizza", 0, "41->41 exact")
		v.unseen("consumer-group-.*", "CLUSTER_AUTHORIZATION_FAILED): before Kafka 2.1 that takes Describe on the cluster")
		stop()
		v.committed(v.to, "plain", "pizza", 41)
		v.committed(v.to, "consumer-group-a", "pizza", -1)
		v.has("pizza", 0, 100)
		if a, b := v.said(`does not let our user list groups (CLUSTER_AUTHORIZATION_FAILED)`), v.said(""); a != 1 || b != 1 {
			t.Errorf("%d notices in %d warnings, want one", a, b)
		}
	})
}

// unseen wants all that tells of groups to tell of a pattern that no group matches.
func (v *virtual) unseen(pattern, remedy string) {
	v.t.Helper()
	if r := v.group(pattern, "", -1, "-1->-1 not_listed"); !strings.Contains(r.Reason, remedy) || r.RecordsAgain != -1 || r.Lag != -1 {
		v.t.Errorf("%+v, want %q", r, remedy)
	}
	s := v.d.Status()
	if want := fmt.Sprintf("the source shows no consumer group that matches %q", pattern); !strings.Contains(strings.Join(s.Flows[0].Reasons, "\n"), want) {
		v.t.Errorf("reasons %q, want %q", s.Flows[0].Reasons, want)
	}
	if !slices.ContainsFunc(s.Problems, func(p replicator.Problem) bool {
		return p.Severity == replicator.Warning && strings.Contains(p.Text, strconv.Quote(pattern)) && strings.Contains(p.Text, remedy)
	}) {
		v.t.Errorf("problems %+v, want %q", s.Problems, remedy)
	}
	if n := metric(v.t, v.reg, "kferry_group_unsynced_partitions", "group="+pattern); n != 1 {
		v.t.Errorf("the metric has %v", n)
	}
}

// A user without Describe on the groups is shown an empty list by brokers since Kafka 2.1: nothing is
// followed, and so it is not safe to switch. It becomes so when the groups are shown.
func TestGroupsAreNotShown(t *testing.T) {
	virtually(t, func(t *testing.T, v *virtual) {
		hidden := true
		v.source.ControlKey(int16(kmsg.ListGroups), func(req kmsg.Request) (kmsg.Response, error, bool) {
			v.source.KeepControl()
			return req.ResponseKind(), nil, hidden
		})
		v.topic("pizza", 1)
		v.write("pizza", 0, 0, 100)
		v.commit(v.from, "consumer-group-a", "pizza", 50)
		cfg := v.following("pizza")
		cfg.Flows[0].Groups = []string{"consumer-group-.*"}
		stop := v.run(cfg)
		v.unseen("consumer-group-.*", `grant Describe on these groups of cluster "old" to our user`)
		hidden = false
		v.group("consumer-group-a", "pizza", 0, "50->50 exact")
		s := v.d.Status()
		for i := 0; i < 1200 && len(s.Flows[0].Reasons)+len(s.Problems) > 0; i++ {
			time.Sleep(100 * time.Millisecond) // of the bubble's clock
			s = v.d.Status()
		}
		if len(s.Flows[0].Reasons)+len(s.Problems) > 0 {
			t.Errorf("reasons %q, problems %+v", s.Flows[0].Reasons, s.Problems)
		}
		stop()
	})
}

// Of a list that lacks what one broker has nothing is known of the groups there: it is not safe to switch at once.
func TestGroupsArePartlyShown(t *testing.T) {
	virtually(t, func(t *testing.T, v *virtual) {
		v.topic("pizza", 1)
		v.write("pizza", 0, 0, 100)
		for n := range 8 { // with coordinators on both brokers
			v.commit(v.from, fmt.Sprint("consumer-group-", n), "pizza", 50)
		}
		stop := v.run(v.following("pizza"))
		v.group("consumer-group-0", "pizza", 0, "50->50 exact")
		v.commit(v.from, "plain", "pizza", 50)
		v.group("plain", "pizza", 0, "50->50 exact")
		for i := 0; i < 1200 && len(v.d.Status().Flows[0].Reasons) > 0; i++ {
			time.Sleep(100 * time.Millisecond) // of the bubble's clock
		}
		v.source.ControlKey(int16(kmsg.ListGroups), func(req kmsg.Request) (kmsg.Response, error, bool) {
			v.source.KeepControl()
			resp := req.ResponseKind().(*kmsg.ListGroupsResponse)
			resp.ErrorCode = kerr.CoordinatorLoadInProgress.Code
			return resp, nil, v.source.CurrentNode() == 1
		})
		for i := 0; i < 200 && len(v.d.Status().Flows[0].Reasons) == 0; i++ { // the client tries a few times
			time.Sleep(100 * time.Millisecond) // of the bubble's clock
		}
		if got := strings.Join(v.d.Status().Flows[0].Reasons, "; "); got != "not all consumer groups can be followed at the moment" {
			t.Errorf("reasons %q", got)
		}
		for _, r := range v.d.Offsets() {
			if r.Verdict != "exact" {
				t.Errorf("%+v", r)
			}
		}
		stop()
	})
}

// A target that takes no commits, or none of MirrorMaker 2's topics, gets the records all the same.
func TestTargetForbids(t *testing.T) {
	virtually(t, func(t *testing.T, v *virtual) {
		var free []func()
		for _, f := range []kfake.Fault{
			{Keys: []kmsg.Key{kmsg.OffsetCommit}, Group: "consumer-group-a", Err: kerr.GroupAuthorizationFailed},
			{Keys: []kmsg.Key{kmsg.Produce, kmsg.Metadata, kmsg.CreateTopics}, Topic: checkpointsTopic, Err: kerr.TopicAuthorizationFailed},
			{Keys: []kmsg.Key{kmsg.Produce, kmsg.Metadata, kmsg.CreateTopics}, Topic: syncsOnTarget, Err: kerr.TopicAuthorizationFailed},
			{Keys: []kmsg.Key{kmsg.Produce, kmsg.Metadata, kmsg.CreateTopics}, Topic: "heartbeats", Err: kerr.TopicAuthorizationFailed},
		} {
			f.Count = -1
			free = append(free, v.target.Fault(f).Remove)
		}
		v.topic("pizza", 1)
		v.write("pizza", 0, 0, 100)
		v.commit(v.from, "consumer-group-a", "pizza", 30)
		v.commit(v.from, "consumer-group-b", "pizza", 40)
		stop := v.run(v.following("pizza"))
		r := v.group("consumer-group-a", "pizza", 0, "30->-1 not_authorised")
		if want := `grant Read on group "consumer-group-a" of cluster "new"`; !strings.Contains(r.Reason, want) {
			t.Errorf("reason %q, want %q", r.Reason, want)
		}
		v.group("consumer-group-b", "pizza", 0, "40->40 exact")
		v.write("pizza", 0, 100, 50)
		v.await("pizza", 0, "running", 0)
		v.has("pizza", 0, 150)
		for _, f := range free {
			f()
		}
		v.group("consumer-group-a", "pizza", 0, "30->30 exact") // tried each minute
		v.commit(v.from, "consumer-group-b", "pizza", 41)
		v.group("consumer-group-b", "pizza", 0, "41->41 exact")
		for range 1200 {
			if len(v.checkpoints()) > 0 && len(v.records(v.target, syncsOnTarget)) > 0 && len(v.records(v.target, "heartbeats")) > 0 {
				break
			}
			time.Sleep(100 * time.Millisecond) // of the bubble's clock
		}
		stop()
		if got := v.points("consumer-group-b"); len(got) == 0 || got[len(got)-1] != "pizza/0 41->41" {
			t.Errorf("checkpoints %q", got)
		}
		if n := v.said("groups are not followed for lack of rights"); n != 1 {
			t.Errorf("%d notices about rights, want one", n)
		}
		for _, topic := range []string{checkpointsTopic, syncsOnTarget, "heartbeats"} {
			if v.said(topic) == 0 || len(v.records(v.target, topic)) == 0 {
				t.Errorf("%s: %d warnings, %d records in the end; want some of both", topic, v.said(topic), len(v.records(v.target, topic)))
			}
		}
	})
}

// byLane sorts checkpoints so that those of a partition follow each other, in their order.
func byLane(cs []mm2.Checkpoint) []mm2.Checkpoint {
	slices.SortStableFunc(cs, func(a, b mm2.Checkpoint) int {
		return cmp.Or(cmp.Compare(a.Group, b.Group), cmp.Compare(a.Topic, b.Topic), cmp.Compare(a.Partition, b.Partition))
	})
	return cs
}

// kill ends a daemon without letting it store anything more.
func (v *virtual) kill(end func() error) {
	v.gates[v.target].set(true)
	_ = end() // it cannot store its progress
	v.gates[v.target].set(false)
}

// A daemon that is killed before it has read back what the kill before left in doubt does not make the doubt last.
func TestKilledInDoubt(t *testing.T) {
	for _, after := range []time.Duration{300 * time.Millisecond, 1200 * time.Millisecond, 1900 * time.Millisecond, 5 * time.Second, time.Minute} {
		t.Run(after.String(), func(t *testing.T) {
			virtually(t, func(t *testing.T, v *virtual) {
				cfg := v.config("pizza")
				cfg.Flows[0].SyncTopicConfigs = true // so kferry knows that the source is not compacted
				v.topic("pizza", 1)
				written := 0
				for range 4 {
					end := v.begin(cfg)
					v.await("pizza", 0, "running", 0)
					for range 5 {
						v.write("pizza", 0, written, 20)
						written += 20
						v.await("pizza", 0, "running", 0)
						v.put(v.to, &kgo.Record{Topic: "pizza", Value: []byte("of another")})
					}
					time.Sleep(after)
					v.kill(end)
				}
				stop := v.run(cfg)
				v.await("pizza", 0, "running", 0)
				time.Sleep(time.Minute)
				for at := range int64(written) {
					got := v.d.Translate(replicator.Lookup{Topic: "pizza", Offset: at})
					if len(got) != 1 || got[0].RecordsAgain > 0 || got[0].Found == "floor" {
						t.Fatalf("source offset %d: %+v", at, got)
					}
				}
				stop()
			})
		})
	}
}
