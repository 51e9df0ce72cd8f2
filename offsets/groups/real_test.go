package groups

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kferry/kferry/config"
	"github.com/kferry/kferry/internal/kafka"
	"github.com/kferry/kferry/internal/kafkatest"
	"github.com/kferry/kferry/offsets"
)

func TestMain(m *testing.M) { kafkatest.Main(m) }

// realPair is two clusters of Apache Kafka where who has no right may do nothing.
// ferry is our user, with the least rights: to list groups takes one on each.
func realPair(t *testing.T) (b [2]*kafkatest.Cluster, admin, ferry [2]*kafka.Cluster) {
	for i, alias := range []string{"east", "west"} {
		b[i] = kafkatest.Shared(t, kafkatest.Options{
			Security: kafkatest.SASLPlaintext, Authorizer: true, Users: map[string]string{"ferry": "over"},
			Config: map[string]string{"broker.rack": alias}, // two clusters, not one shared twice
		})
		for user, to := range map[string]*[2]*kafka.Cluster{kafkatest.AdminUser: &admin, "ferry": &ferry} {
			cl, err := kafka.Open(b[i].Config(alias, user), kafka.Options{})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(cl.Close)
			to[i] = cl
		}
	}
	return b, admin, ferry
}

// realLanes carries one topic.
type realLanes struct {
	shifted
	topic string
}

func (l realLanes) Carries(topic string) bool { return topic == l.topic }

func (l realLanes) Place(topic string, partition int32, at offsets.Source) (Place, bool) {
	if topic != l.topic {
		return Place{}, false
	}
	p, ok := l.shifted.Place("t", partition, at)
	p.TargetTopic = "x." + topic
	return p, ok
}

func TestRealGroups(t *testing.T) {
	b, admin, ferry := realPair(t)
	b[src].CreateTopic(t, "real", 3, nil)
	b[dst].CreateTopic(t, "x.real", 3, nil)
	fillTarget(t, b[dst].Client(t, kafkatest.AdminUser, kgo.RecordPartitioner(kgo.ManualPartitioner())), "x.real", 3)
	for _, g := range []string{"real-classic", "real-new", "real-denied", "real-shut", "real-busy", "real-simple"} {
		if g != "real-denied" {
			b[src].Allow(t, "ferry", kadm.NewACLs().Groups(g).Operations(kadm.OpDescribe))
		}
		if g != "real-shut" {
			b[dst].Allow(t, "ferry", kadm.NewACLs().Groups(g).Operations(kadm.OpRead))
		}
	}
	b[src].Allow(t, "ferry", kadm.NewACLs().Topics("real").Operations(kadm.OpRead))
	b[dst].Allow(t, "ferry", kadm.NewACLs().Topics("x.real").Operations(kadm.OpRead))

	// Members on the source are nothing to us; both protocols commit as members.
	for group, opts := range map[string][]kgo.Opt{
		"real-classic": {kgo.Balancers(kgo.CooperativeStickyBalancer())},
		"real-new":     {kgo.ServerSideBalancer(), kgo.Balancers(kgo.StickyBalancer())},
	} {
		c := consumer(t, admin[src], group, "real", opts...)
		defer c.Close()
		var failed error
		c.CommitOffsetsSync(kgo.PreCommitFnContext(t.Context(), withMetadata("of "+group)),
			map[string]map[int32]kgo.EpochOffset{"real": {0: {Epoch: -1, Offset: 10}, 1: {Epoch: -1, Offset: 0}, 2: {Epoch: -1, Offset: 150}}},
			onCommit(&failed))
		if failed != nil {
			t.Fatal(failed)
		}
	}
	for _, g := range []string{"real-denied", "real-shut", "real-busy", "real-simple"} {
		commit(t, admin[src], g, "real", 20)
	}
	commit(t, admin[dst], "real-simple", "x.real", 200)
	busy := consumer(t, admin[dst], "real-busy", "x.real", kgo.ServerSideBalancer(), kgo.Balancers(kgo.StickyBalancer()))
	defer busy.Close()

	f, err := New(Options{
		Source: ferry[src], Target: ferry[dst], Lanes: realLanes{shifted{shift: 50, end: 120}, "real"},
		Flow: config.Flow{SyncGroupOffsets: true, Groups: []string{"real-.*", "real-denied"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	r := round(t, f)
	want := []string{
		"real-busy real/0 20->-1 target_active -1 -1",
		"real-classic real/0 10->60 exact 0 110",
		"real-classic real/1 0->50 exact 0 120",
		"real-classic real/2 150->170 not_mirrored_yet 30 0",
		"real-denied /-1 -1->-1 not_authorised 0 0",
		"real-new real/0 10->60 exact 0 110",
		"real-new real/1 0->50 exact 0 120",
		"real-new real/2 150->170 not_mirrored_yet 30 0",
		"real-shut real/0 20->-1 not_authorised -1 -1",
		"real-simple real/0 20->200 ahead_on_target 0 0",
	}
	expect(t, lines(r), want...)
	if s := strings.Join(r.Notices, "\n"); !strings.Contains(s, `on group "real-denied" of cluster "east"`) ||
		!strings.Contains(s, `grant Read on group "real-shut" of cluster "west"`) || len(r.Notices) != 1 {
		t.Errorf("notices %s", s)
	}
	for _, g := range []string{"real-classic", "real-new"} {
		of := " of " + g
		expect(t, committed(t, admin[dst], g), "x.real/0=60"+of+", x.real/1=50"+of+", x.real/2=170"+of)
	}

	// The coordinator refuses us where the list of groups did not tell of a member.
	f.target.commit(t.Context(), "real-busy", commitOf("x.real", 0, 70), func(err error) {
		if v, _ := refusal("west", "real-busy", "x.real", err); v != Active {
			t.Errorf("commit for a group with members: %v", err)
		}
	})
	b[dst].Allow(t, "ferry", kadm.NewACLs().Groups("real-shut").Operations(kadm.OpRead))
	if err := busy.LeaveGroupContext(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, g := range f.groups {
		for i := range g.parts {
			g.parts[i].rest = g.seen // not to wait a minute
		}
	}
	want[0], want[8] = "real-busy real/0 20->70 exact 0 100", "real-shut real/0 20->70 exact 0 100"
	expect(t, lines(round(t, f)), want...)
	if r := round(t, f); r.Commits != 0 || len(r.Notices) != 0 {
		t.Errorf("%d commits, notices %q", r.Commits, r.Notices)
	}
}

// TestRealTopicDenied: a group may be committed, but not for the topic.
func TestRealTopicDenied(t *testing.T) {
	b, admin, ferry := realPair(t)
	b[src].CreateTopic(t, "shut", 1, nil)
	b[dst].CreateTopic(t, "x.shut", 1, nil)
	b[src].Allow(t, "ferry", kadm.NewACLs().Groups("shut").Operations(kadm.OpDescribe))
	b[src].Allow(t, "ferry", kadm.NewACLs().Topics("shut").Operations(kadm.OpRead))
	b[dst].Allow(t, "ferry", kadm.NewACLs().Groups("shut").Operations(kadm.OpRead))
	commit(t, admin[src], "shut", "shut", 20)
	commit(t, admin[dst], "shut", "x.shut", 90)
	f, err := New(Options{Source: ferry[src], Target: ferry[dst], Lanes: realLanes{shifted{shift: 50, end: 120}, "shut"}, Flow: config.Flow{SyncGroupOffsets: true, Groups: []string{"shut"}}})
	if err != nil {
		t.Fatal(err)
	}
	r := round(t, f)
	expect(t, lines(r), "shut shut/0 20->-1 not_authorised -1 -1")
	if !strings.Contains(fmt.Sprint(r.Notices), `grant Read on topic "x.shut"`) {
		t.Errorf("notices %q", r.Notices)
	}
	expect(t, committed(t, admin[dst], "shut"), "x.shut/0=90 m90")
}

// fillTarget puts 200 records into each partition of a topic of the target: what is committed must be inside its log.
func fillTarget(t *testing.T, cl *kgo.Client, topic string, partitions int) {
	t.Helper()
	var rs []*kgo.Record
	for n := range partitions * 200 {
		rs = append(rs, &kgo.Record{Topic: topic, Partition: int32(n % partitions)})
	}
	if err := cl.ProduceSync(t.Context(), rs...).FirstErr(); err != nil {
		t.Fatal(err)
	}
}

// TestRealOldTarget is from a current source to Kafka 3.9.
func TestRealOldTarget(t *testing.T) {
	b, admin, _ := realPair(t)
	old := kafkatest.Start(t, kafkatest.Options{Version: kafkatest.V3})
	b[src].CreateTopic(t, "old", 1, nil)
	old.CreateTopic(t, "x.old", 1, nil)
	fillTarget(t, old.Client(t, "", kgo.RecordPartitioner(kgo.ManualPartitioner())), "x.old", 1)
	cl, err := kafka.Open(old.Config("old", ""), kafka.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	commit(t, admin[src], "old", "old", 20)
	f, err := New(Options{Source: admin[src], Target: cl, Lanes: realLanes{shifted{shift: 50, end: 120}, "old"}, Flow: config.Flow{SyncGroupOffsets: true, Groups: []string{"old"}}})
	if err != nil {
		t.Fatal(err)
	}
	for {
		// The first commit ever makes the coordinator's topic: a round may be too early.
		if r := round(t, f); r.Complete {
			expect(t, lines(r), "old old/0 20->70 exact 0 100")
			break
		}
	}
}

func commitOf(topic string, partition int32, at int64) []kmsg.OffsetCommitRequestTopic {
	t, p := kmsg.NewOffsetCommitRequestTopic(), kmsg.NewOffsetCommitRequestTopicPartition()
	p.Partition, p.Offset = partition, at
	t.Topic, t.Partitions = topic, []kmsg.OffsetCommitRequestTopicPartition{p}
	return []kmsg.OffsetCommitRequestTopic{t}
}

func withMetadata(s string) func(*kmsg.OffsetCommitRequest) error {
	return func(r *kmsg.OffsetCommitRequest) error {
		for i := range r.Topics {
			for j := range r.Topics[i].Partitions {
				r.Topics[i].Partitions[j].Metadata = &s
			}
		}
		return nil
	}
}

func onCommit(failed *error) func(*kgo.Client, *kmsg.OffsetCommitRequest, *kmsg.OffsetCommitResponse, error) {
	return func(_ *kgo.Client, _ *kmsg.OffsetCommitRequest, r *kmsg.OffsetCommitResponse, err error) {
		if *failed = err; err != nil {
			return
		}
		for _, t := range r.Topics {
			for _, p := range t.Partitions {
				*failed = errors.Join(*failed, kerr.ErrorForCode(p.ErrorCode))
			}
		}
	}
}

// A broker shows a user without Describe on the groups an empty list, as if there were none.
func TestRealGroupsAreNotShown(t *testing.T) {
	b, admin, ferry := realPair(t)
	b[src].CreateTopic(t, "shown", 1, nil)
	b[dst].CreateTopic(t, "x.shown", 1, nil)
	commit(t, admin[src], "hidden-a", "shown", 0)
	f, err := New(Options{
		Source: ferry[src], Target: ferry[dst], Lanes: realLanes{shifted{}, "shown"},
		Flow: config.Flow{SyncGroupOffsets: true, Groups: []string{"hidden-.*"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	expect(t, lines(round(t, f)), "hidden-.* /-1 -1->-1 not_listed -1 -1")
	b[dst].Allow(t, "ferry", kadm.NewACLs().Groups("hidden-a").Operations(kadm.OpRead))
	b[dst].Allow(t, "ferry", kadm.NewACLs().Topics("x.shown").Operations(kadm.OpRead))
	b[src].Allow(t, "ferry", kadm.NewACLs().Groups("hidden-a").Operations(kadm.OpDescribe))
	b[src].Allow(t, "ferry", kadm.NewACLs().Topics("shown").Operations(kadm.OpRead))
	for { // the brokers learn of rights a moment later
		if r := round(t, f); len(r.Rows) == 1 && r.Rows[0].Group == "hidden-a" && r.Rows[0].Verdict == Exact {
			break
		}
		if t.Context().Err() != nil {
			t.Fatal(lines(f.Report()))
		}
		time.Sleep(20 * time.Millisecond)
	}
}
