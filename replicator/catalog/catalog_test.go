package catalog

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"go.uber.org/goleak"

	"github.com/kferry/kferry/config"
	"github.com/kferry/kferry/internal/kafka"
	"github.com/kferry/kferry/internal/kafka/wirelog"
	"github.com/kferry/kferry/replicator/lane"
	"github.com/kferry/kferry/replicator/policy"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// world is two kfake clusters in a bubble of synctest.
type world struct {
	t              *testing.T
	source, target *kfake.Cluster
	o              Options
	reads          wirelog.Log // what went to the source
	hands          map[*kfake.Cluster]*kadm.Client
	c              *Catalog
}

// refreshing runs test with topics "a" (2 partitions) and "b" (1) on the source.
func refreshing(t *testing.T, pol policy.Options, test func(*testing.T, *world), target ...kfake.Opt) {
	refreshingAs(t, pol, config.SASL{}, test, target...)
}

func refreshingAs(t *testing.T, pol policy.Options, login config.SASL, test func(*testing.T, *world), target ...kfake.Opt) {
	refreshingFrom(t, nil, pol, login, test, target...)
}

func refreshingFrom(t *testing.T, source []kfake.Opt, pol policy.Options, login config.SASL, test func(*testing.T, *world), target ...kfake.Opt) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{t: t, hands: map[*kfake.Cluster]*kadm.Client{}}
		var stop func()
		w.source, w.o.Source, stop = w.start("old", config.SASL{}, &w.reads, append(source, kfake.SeedTopics(2, "a"), kfake.SeedTopics(1, "b"))...)
		defer stop()
		w.target, w.o.Target, stop = w.start("new", login, nil, target...)
		defer stop()
		var err error
		if w.o.Filter, err = policy.NewFilter([]string{".*"}, []string{"excluded.*"}); err != nil {
			t.Fatal(err)
		}
		pol.SourceAlias, pol.TargetAlias = "old", "new"
		if w.o.Policy, err = policy.New(pol); err != nil {
			t.Fatal(err)
		}
		w.o.Exclude, w.o.InStep = []string{"segment.ms"}, true
		w.c = New(w.o)
		test(t, w)
		if ws := w.reads.Writes(); len(ws) > 0 {
			t.Errorf("wrote to the source: %v", ws)
		}
	})
}

var identity = policy.Options{Kind: policy.Identity}

func (w *world) start(alias string, login config.SASL, log *wirelog.Log, opts ...kfake.Opt) (*kfake.Cluster, *kafka.Cluster, func()) {
	w.t.Helper()
	wire := new(kfake.VirtualNetwork)
	fake, err := kfake.NewCluster(append([]kfake.Opt{kfake.NumBrokers(3), kfake.Ports(9092, 9093, 9094), kfake.ListenFn(wire.Listen)}, opts...)...)
	if err != nil {
		w.t.Fatal(err)
	}
	open := func(login config.SASL, hooks ...kgo.Hook) *kafka.Cluster {
		cl, err := kafka.Open(config.Cluster{Alias: alias, BootstrapServers: fake.ListenAddrs(), ClientID: "test", SASL: login}, kafka.Options{Dialer: wire.DialContext, Hooks: hooks})
		if err != nil {
			w.t.Fatal(err)
		}
		return cl
	}
	var hooks []kgo.Hook
	if log != nil {
		hooks = append(hooks, log)
	}
	cl := open(login, hooks...)
	by := config.SASL{}
	if login.Mechanism != "" {
		by = config.SASL{Mechanism: login.Mechanism, Username: "admin", Password: "secret"}
	}
	hand := open(by)
	w.hands[fake] = hand.Admin()
	return fake, cl, func() {
		hand.Close()
		cl.Close()
		fake.Close()
	}
}

// make creates a topic by hand.
func (w *world) make(f *kfake.Cluster, topic string, partitions int, settings map[string]string) {
	w.t.Helper()
	cs := map[string]*string{}
	for k, v := range settings {
		cs[k] = &v
	}
	if _, err := w.hands[f].CreateTopic(w.t.Context(), int32(partitions), 1, cs, topic); err != nil {
		w.t.Fatal(err)
	}
}

// later is when kadm asks anew: it remembers topics for a second. The clock is
// the bubble's.
func later() { time.Sleep(2 * time.Second) }

func (w *world) refresh() (View, []string) {
	w.t.Helper()
	later()
	v, news, events, err := w.c.Refresh(w.t.Context(), lead)
	if err != nil {
		w.t.Fatal(err)
	}
	if !news {
		w.still(v)
	}
	var said []string
	for _, e := range events {
		s := e.Topic + ": " + e.Text
		if e.Err != nil {
			s += ": " + e.Err.Error()
		}
		said = append(said, s)
	}
	slices.Sort(said)
	return v, said
}

// still checks a view that is said to be no news: one that is made from nothing must be the same.
func (w *world) still(v View) {
	w.t.Helper()
	fresh, err := New(w.o).Look(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	for id, p := range fresh {
		if s := w.c.settings[id.Topic]; s != nil { // it has not read them
			p.Limit, p.Exact, p.Foretold, p.Ahead, p.Unequal = s.limit, s.exact, s.foretold, s.ahead, s.unequal
		}
		p.Expiry = w.c.expiry
		fresh[id] = p
	}
	if !maps.Equal(v, fresh) {
		w.t.Errorf("no news, but\n got %+v\nwant %+v", v, fresh)
	}
}

func (w *world) settings(f *kfake.Cluster, topic string) map[string]string {
	out := map[string]string{}
	for k, v := range f.TopicInfo(topic).Configs {
		out[k] = *v
	}
	return out
}

// wantPlace checks a lane that can run.
func (w *world) wantPlace(v View, topic string, n int32, target string, limit int, exact bool) {
	w.t.Helper()
	p, ok := v[lane.ID{Topic: topic, Partition: n}]
	want := Place{
		TargetTopic: target, SourceID: w.source.TopicInfo(topic).TopicID, TargetID: w.target.TopicInfo(target).TopicID,
		SourceLeader: w.source.LeaderFor(topic, n), SourceEpoch: lane.LeaderOf(w.source.PartitionInfo(topic, n).Epoch),
		TargetLeader: w.target.LeaderFor(target, n), TargetEpoch: lane.LeaderOf(w.target.PartitionInfo(target, n).Epoch),
		Limit: limit, Exact: exact, Foretold: p.Foretold, Ahead: p.Ahead, Expiry: defaultExpiry, Unequal: p.Unequal,
	}
	if !ok || p != want {
		w.t.Errorf("%s/%d:\n got %+v\nwant %+v", topic, n, p, want)
	}
}

func (w *world) wantProblem(v View, topic string, n int32, says ...string) {
	w.t.Helper()
	p, ok := v[lane.ID{Topic: topic, Partition: n}]
	for _, s := range says {
		if !ok || p.Problem == nil || !strings.Contains(p.Problem.Error(), s) {
			w.t.Errorf("%s/%d: problem %v, want %q", topic, n, p.Problem, s)
		}
	}
	if p.TargetLeader >= 0 {
		w.t.Errorf("%s/%d has a leader: %+v", topic, n, p)
	}
}

func wantEvents(t *testing.T, got []string, want ...string) {
	t.Helper()
	if len(got) != len(want) {
		t.Errorf("events %q, want %q", got, want)
		return
	}
	for i, s := range want {
		if !strings.Contains(got[i], s) {
			t.Errorf("event %q, want %q", got[i], s)
		}
	}
}

func TestRefreshMakesTopics(t *testing.T) {
	refreshing(t, policy.Options{Kind: policy.Default}, func(t *testing.T, w *world) {
		w.make(w.source, "c", 3, map[string]string{"cleanup.policy": "compact", "segment.ms": "90000", "min.insync.replicas": "1", "max.message.bytes": "2000000"})
		v, said := w.refresh()
		if len(v) != 6 {
			t.Errorf("%d lanes", len(v))
		}
		w.wantPlace(v, "a", 0, "old.a", defaultMaxMessage, true)
		w.wantPlace(v, "a", 1, "old.a", defaultMaxMessage, true)
		w.wantPlace(v, "b", 0, "old.b", defaultMaxMessage, true)
		w.wantPlace(v, "c", 2, "old.c", 2000000, false)
		wantEvents(t, said, `a: created topic "old.a" with 2 partitions`, `b: created topic "old.b" with 1 partitions`, `c: created topic "old.c" with 3 partitions`)
		if got := w.settings(w.target, "old.c"); len(got) != 2 || got["cleanup.policy"] != "compact" || got["max.message.bytes"] != "2000000" {
			t.Errorf("settings %v", got)
		}
		if got := w.settings(w.target, "old.a"); len(got) != 0 {
			t.Errorf("settings %v", got)
		}
		again, said := w.refresh()
		wantEvents(t, said)
		if !maps.Equal(again, v) {
			t.Errorf("the next view is %v", again)
		}
	})
}

// Where nothing changes there is soon no news: a fake tells partitions in another order each time, which is some.
// Whatever changes is news in the next round.
func TestNews(t *testing.T) {
	refreshing(t, identity, func(t *testing.T, w *world) {
		quiet := func() View {
			for range 1000 {
				v, news, _, err := w.c.Refresh(t.Context(), lead)
				if err != nil {
					t.Fatal(err)
				}
				if !news {
					w.still(v)
					return v
				}
			}
			t.Fatal("there is news each time")
			return nil
		}
		move := func(f *kfake.Cluster, topic string, n int32) func() {
			return func() {
				if err := f.MoveTopicPartition(topic, n, (f.LeaderFor(topic, n)+1)%3); err != nil {
					t.Fatal(err)
				}
			}
		}
		drop := func(f *kfake.Cluster, topic string) func() {
			return func() {
				if _, err := w.hands[f].DeleteTopic(t.Context(), topic); err != nil {
					t.Fatal(err)
				}
			}
		}
		for _, c := range []struct {
			what   string
			change func()
		}{
			{"a new topic", func() { w.make(w.source, "c", 1, nil) }},
			{"a leader here", move(w.source, "a", 1)},
			{"a leader there", move(w.target, "b", 0)},
			{"a limit", func() { w.set(w.target, "b", "max.message.bytes=5000"); w.c.Reread("b") }},
			{"compaction there", func() { w.set(w.target, "b", "cleanup.policy=compact"); w.c.Reread("b") }},
			{"the memory of producers", func() { expire(w.target, kadm.StringPtr("5000")); time.Sleep(expiryEvery) }},
			{"compaction", func() { w.set(w.source, "b", "cleanup.policy=compact"); w.c.Reread("b") }},
			{"a target topic less", drop(w.target, "a")},
			{"a source topic less", drop(w.source, "a")},
			{"a look that somebody had", func() { _, _ = w.c.Look(t.Context()) }},
			{"a failure between", func() {
				ctx, cancel := context.WithCancel(t.Context())
				cancel()
				if _, _, _, err := w.c.Refresh(ctx, lead); err == nil {
					t.Error("no error")
				}
			}},
		} {
			before := quiet()
			c.change()
			later()
			v, news, _, err := w.c.Refresh(t.Context(), lead)
			if err != nil || !news {
				t.Errorf("%s: news %t, %v", c.what, news, err)
			}
			if fmt.Sprintf("%p", v) == fmt.Sprintf("%p", before) {
				t.Errorf("%s: the view is that of before", c.what)
			}
		}
	})
}

func TestReplicationFactor(t *testing.T) {
	for factor, want := range map[int16]int{0: 3, 1: 1, 2: 2} {
		refreshing(t, identity, func(t *testing.T, w *world) {
			w.c.o.ReplicationFactor = factor
			w.refresh()
			if n := w.target.TopicInfo("a").NumReplicas; n != want {
				t.Errorf("%d: %d replicas, want %d", factor, n, want)
			}
		})
	}
	refreshing(t, identity, func(t *testing.T, w *world) {
		w.c.o.ReplicationFactor = 9
		v, _ := w.refresh()
		w.wantProblem(v, "a", 1, `cannot create topic "a" on the target "new"`, "INVALID_REPLICATION_FACTOR", "set the flow's replication_factor")
	})
}

// Partitions are added on the target when the source has more, and never taken.
func TestRefreshGrowsAndNeverShrinks(t *testing.T) {
	refreshing(t, identity, func(t *testing.T, w *world) {
		w.make(w.target, "a", 1, nil)
		w.make(w.target, "b", 5, nil)
		v, said := w.refresh()
		wantEvents(t, said, `a: target topic "a" now has 2 partitions`)
		w.wantPlace(v, "a", 1, "a", defaultMaxMessage, true)
		w.wantPlace(v, "b", 0, "b", defaultMaxMessage, true)
		if len(v) != 3 || w.target.PartitionInfo("b", 4) == nil {
			t.Errorf("view %v", v)
		}
		if _, err := w.hands[w.source].UpdatePartitions(t.Context(), 4, "a"); err != nil {
			t.Fatal(err)
		}
		v, said = w.refresh()
		wantEvents(t, said, `a: target topic "a" now has 4 partitions`)
		w.wantPlace(v, "a", 3, "a", defaultMaxMessage, true)
	})
}

// The partitions that are there are carried, though the others cannot be added.
func TestGrowNotAllowed(t *testing.T) {
	refreshing(t, identity, func(t *testing.T, w *world) {
		w.make(w.target, "a", 1, nil)
		w.target.ControlKey(kmsg.CreatePartitions.Int16(), func(r kmsg.Request) (kmsg.Response, error, bool) {
			w.target.KeepControl()
			resp := r.ResponseKind().(*kmsg.CreatePartitionsResponse)
			for _, rt := range r.(*kmsg.CreatePartitionsRequest).Topics {
				st := kmsg.NewCreatePartitionsResponseTopic()
				st.Topic, st.ErrorCode, st.ErrorMessage = rt.Topic, kerr.TopicAuthorizationFailed.Code, kadm.StringPtr("no way")
				resp.Topics = append(resp.Topics, st)
			}
			return resp, nil, true
		})
		for range 2 {
			v, _ := w.refresh()
			w.wantPlace(v, "a", 0, "a", defaultMaxMessage, true)
			w.wantProblem(v, "a", 1, `cannot add partitions to topic "a" on the target "new"`, "TOPIC_AUTHORIZATION_FAILED", "(no way)", "allow our user to (Create for a new topic, Alter to add partitions), or make it by hand with 2 partitions")
		}
	})
}

func TestNames(t *testing.T) {
	refreshing(t, policy.Options{Kind: policy.Identity, StripPrefix: "x."}, func(t *testing.T, w *world) {
		long := "x" + strings.Repeat("y", 240)
		for _, n := range []string{"x.a", "excluded-1", "__internal", "kferry.f.progress", "heartbeats", "mm2-offsets.old.internal", "d.e", long} {
			w.make(w.source, n, 1, nil)
		}
		v, _ := w.refresh()
		var names []string
		for id := range v {
			names = append(names, id.Topic)
		}
		slices.Sort(names)
		if got := slices.Compact(names); !slices.Equal(got, []string{"a", "b", "d.e", "heartbeats", "x.a", long}) {
			t.Errorf("topics %v", got)
		}
		w.wantPlace(v, "a", 0, "a", defaultMaxMessage, true)
		w.wantProblem(v, "x.a", 0, `topics "a" and "x.a" would both be called "a" on the target, which is a copy of "a": exclude one of them`)
	})
	refreshing(t, policy.Options{Kind: policy.Identity, Suffix: strings.Repeat("z", 20)}, func(t *testing.T, w *world) {
		long := strings.Repeat("y", 240)
		w.make(w.source, long, 1, nil)
		v, _ := w.refresh()
		w.wantProblem(v, long, 0, "which Kafka does not allow", "at most 249")
	})
}

// What time mends is no problem of a lane: it waits, and has its topic or partition when that has passed.
func TestTopicsAreMadeLater(t *testing.T) {
	for _, key := range []kmsg.Key{kmsg.CreateTopics, kmsg.CreatePartitions} { // kgo itself tries again after most other errors
		refreshing(t, identity, func(t *testing.T, w *world) {
			n := int32(0)
			if key == kmsg.CreatePartitions {
				w.make(w.target, "a", 1, nil)
				n = 1
			}
			w.target.Fault(kfake.Fault{Keys: []kmsg.Key{key}, Topic: "a", Err: kerr.ThrottlingQuotaExceeded, Count: 2})
			for range 2 {
				v, said := w.refresh()
				p := v[lane.ID{Topic: "a", Partition: n}]
				if p.Problem != nil || p.Delay == nil || p.TargetLeader >= 0 ||
					!strings.Contains(p.Delay.Error(), "at the moment, trying on") || !strings.Contains(p.Delay.Error(), "THROTTLING_QUOTA_EXCEEDED") {
					t.Errorf("%+v", p)
				}
				if !slices.ContainsFunc(said, func(s string) bool {
					return strings.HasPrefix(s, ": target topics cannot be made, or not grow, at the moment")
				}) {
					t.Errorf("said %q", said)
				}
				w.wantPlace(v, "b", 0, "b", defaultMaxMessage, true)
				if n == 1 {
					w.wantPlace(v, "a", 0, "a", defaultMaxMessage, true)
				}
			}
			v, _ := w.refresh()
			w.wantPlace(v, "a", n, "a", defaultMaxMessage, true)
		})
	}
}

// Whoever has a name on the target keeps it, whatever comes before it by name.
func TestNamesAreKept(t *testing.T) {
	strip := policy.Options{Kind: policy.Identity, StripPrefix: "0."}
	const both = `topics "a" and "0.a" would both be called "a" on the target, which is a copy of "a": exclude one of them`
	refreshing(t, strip, func(t *testing.T, w *world) {
		w.refresh()
		w.make(w.source, "0.a", 2, nil)
		v, _ := w.refresh()
		w.wantPlace(v, "a", 0, "a", defaultMaxMessage, true)
		w.wantProblem(v, "0.a", 0, both)
		if _, err := w.hands[w.source].DeleteTopics(t.Context(), "a"); err != nil {
			t.Fatal(err)
		}
		v, _ = w.refresh()
		w.wantProblem(v, "0.a", 1, `topic "0.a" would be called "a" on the target, which is a copy of source topic "a": exclude "0.a" from the flow, or forget the stored progress of "a"`)
	})
	refreshing(t, strip, func(t *testing.T, w *world) {
		w.make(w.source, "0.a", 2, nil)
		later()
		asked := 0
		v, _, _, err := w.c.Refresh(t.Context(), func() bool {
			if asked++; asked == 1 {
				w.c.Carried(map[string]string{"a": "a", "b": "gone"})
			}
			return true
		})
		if err != nil || asked == 0 {
			t.Fatal(err, asked)
		}
		w.wantPlace(v, "a", 0, "a", defaultMaxMessage, true)
		w.wantProblem(v, "0.a", 0, both)
		w.wantProblem(v, "b", 0, `which is a copy of source topic "gone"`)
	})
	refreshing(t, identity, func(t *testing.T, w *world) {
		w.refresh()
		w.refresh()
		w.c.Carried(map[string]string{"a": "old.a"})
		v, _ := w.refresh() // progress counts more than what was seen
		w.wantProblem(v, "a", 0, `which is a copy of source topic "old.a"`)
		w.wantPlace(v, "b", 0, "b", defaultMaxMessage, true)
	})
}

func TestCyclesAreSkipped(t *testing.T) {
	refreshing(t, policy.Options{Kind: policy.Default}, func(t *testing.T, w *world) {
		w.make(w.source, "new.orders", 1, nil)
		w.make(w.source, "third.orders", 1, nil)
		v, _ := w.refresh()
		if _, ok := v[lane.ID{Topic: "new.orders"}]; ok {
			t.Error("a topic that came from the target goes back to it")
		}
		w.wantPlace(v, "third.orders", 0, "old.third.orders", defaultMaxMessage, true)
	})
}

func plain(user, password string) config.SASL {
	return config.SASL{Mechanism: "PLAIN", Username: user, Password: config.Secret(password)}
}

// A user that may describe the target's topics and their settings, and no more.
func TestCreateNotAllowed(t *testing.T) {
	may := func(op kmsg.ACLOperation) kfake.ACL {
		return kfake.ACL{Resource: kmsg.ACLResourceTypeTopic, Name: "*", Pattern: kmsg.ACLResourcePatternTypeLiteral, Operation: op, Allow: true}
	}
	refreshingAs(t, identity, plain("limited", "secret"), func(t *testing.T, w *world) {
		w.make(w.target, "b", 1, nil)
		for range 2 {
			v, _ := w.refresh()
			w.wantProblem(v, "a", 0, `cannot create topic "a" on the target "new"`, "_AUTHORIZATION_FAILED",
				"allow our user to (Create for a new topic, Alter to add partitions), or make it by hand with 2 partitions")
			w.wantPlace(v, "b", 0, "b", defaultMaxMessage, true)
		}
		w.make(w.target, "a", 2, nil)
		v, said := w.refresh() // mended
		wantEvents(t, said)
		w.wantPlace(v, "a", 1, "a", defaultMaxMessage, true)
	}, kfake.EnableSASL(), kfake.EnableACLs(), kfake.Superuser("PLAIN", "admin", "secret"),
		kfake.User("PLAIN", "limited", "secret", may(kmsg.ACLOperationDescribe), may(kmsg.ACLOperationDescribeConfigs)))
}

// One target topic that our user may not see must not stop the others.
func TestDescribeNotAllowed(t *testing.T) {
	refreshingAs(t, identity, plain("limited", "secret"), func(t *testing.T, w *world) {
		w.make(w.target, "a", 2, nil)
		w.make(w.target, "b", 1, nil)
		v, _ := w.refresh()
		w.wantProblem(v, "a", 0, `target topic "a"`, "TOPIC_AUTHORIZATION_FAILED", "allow our user to Describe and Write it")
		w.wantPlace(v, "b", 0, "b", defaultMaxMessage, true)
	}, kfake.EnableSASL(), kfake.EnableACLs(), kfake.Superuser("PLAIN", "admin", "secret"), kfake.User("PLAIN", "limited", "secret",
		kfake.ACL{Resource: kmsg.ACLResourceTypeTopic, Name: "b", Pattern: kmsg.ACLResourcePatternTypeLiteral, Operation: kmsg.ACLOperationDescribe, Allow: true}))
}

// A target that compresses anew undoes what whole batches save: say so once.
func TestRecompressionIsReported(t *testing.T) {
	refreshing(t, identity, func(t *testing.T, w *world) {
		w.make(w.target, "a", 2, map[string]string{"compression.type": "gzip"})
		w.make(w.target, "b", 1, map[string]string{"compression.type": "producer"})
		_, said := w.refresh()
		wantEvents(t, said, ": settings that only the target's topics have stay as they are: a (compression.type), b (compression.type)",
			`a: target topic "a" has compression.type=gzip: the target will compress every batch again; set it to producer`)
		_, said = w.refresh()
		wantEvents(t, said)
	})
}

// A cluster that cannot be read at all is an error, not an empty view: lanes
// would be taken for gone.
func TestRefreshFails(t *testing.T) {
	for _, side := range []string{"old", "new"} {
		refreshing(t, identity, func(t *testing.T, w *world) {
			w.refresh()
			f := map[string]*kfake.Cluster{"old": w.source, "new": w.target}[side]
			f.ControlKey(kmsg.Metadata.Int16(), func(kmsg.Request) (kmsg.Response, error, bool) {
				f.KeepControl()
				return nil, errors.New("close it"), true
			})
			later()
			ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
			defer cancel()
			v, _, _, err := w.c.Refresh(ctx, lead)
			if err == nil || v != nil || ctx.Err() != nil || !strings.Contains(err.Error(), side) {
				t.Errorf("%s: %v, %d lanes", side, err, len(v))
			}
		})
	}
}

// Two flows, or two daemons, make the same topic at once.
func TestSomebodyElseIsFaster(t *testing.T) {
	refreshing(t, identity, func(t *testing.T, w *world) {
		w.target.ControlKey(kmsg.Metadata.Int16(), func(r kmsg.Request) (kmsg.Response, error, bool) {
			w.target.KeepControl()
			req, resp := r.(*kmsg.MetadataRequest), r.ResponseKind().(*kmsg.MetadataResponse)
			if len(req.Topics) != 2 || len(resp.Topics) > 0 {
				return nil, nil, false
			}
			w.target.DropControl() // both were missing a moment ago
			for _, rt := range req.Topics {
				st := kmsg.NewMetadataResponseTopic()
				st.Topic, st.ErrorCode = rt.Topic, kerr.UnknownTopicOrPartition.Code
				resp.Topics = append(resp.Topics, st)
			}
			for i, addr := range w.target.ListenAddrs() {
				host, port, _ := net.SplitHostPort(addr)
				n, _ := strconv.Atoi(port)
				resp.Brokers = append(resp.Brokers, kmsg.MetadataResponseBroker{NodeID: int32(i), Host: host, Port: int32(n)})
			}
			return resp, nil, true
		})
		w.make(w.target, "a", 2, nil)
		v, _, events, err := w.c.Refresh(t.Context(), lead)
		if err != nil || len(events) != 1 || events[0].Topic != "b" {
			t.Errorf("%v, %+v", err, events)
		}
		w.wantPlace(v, "a", 1, "a", defaultMaxMessage, true)
		w.wantPlace(v, "b", 0, "b", defaultMaxMessage, true)
	})
}

func TestLeaders(t *testing.T) {
	refreshing(t, identity, func(t *testing.T, w *world) {
		w.refresh()
		for node := range int32(3) {
			if err := errors.Join(w.source.MoveTopicPartition("a", 1, node), w.target.MoveTopicPartition("a", 1, (node+1)%3)); err != nil {
				t.Fatal(err)
			}
			v, said := w.refresh()
			wantEvents(t, said)
			w.wantPlace(v, "a", 1, "a", defaultMaxMessage, true)
		}
	})
}

func lead() bool { return true }
