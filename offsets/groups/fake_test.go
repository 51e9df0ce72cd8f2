package groups

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"

	"github.com/kferry/kferry/config"
	"github.com/kferry/kferry/internal/kafka"
	"github.com/kferry/kferry/offsets"
)

// shifted are lanes whose target offsets are the source's plus shift, of topics
// that begin with "t", on topics with "x." before; all of partition 3 is another
// replica's, and mirrored ends at end.
type shifted struct{ shift, end int64 }

func (s shifted) Carries(topic string) bool { return strings.HasPrefix(topic, "t") }

func (s shifted) Place(topic string, partition int32, at offsets.Source) (Place, bool) {
	if !s.Carries(topic) || partition == 3 {
		return Place{}, false
	}
	p := Place{
		TargetTopic: "x." + topic, Target: offsets.Target(int64(at) + s.shift), Found: offsets.Exact,
		End: offsets.Target(s.end + s.shift),
	}
	if int64(at) > s.end {
		p.Target, p.Found, p.Again = p.End, offsets.Beyond, int64(at)-s.end
	}
	return p, true
}

// pair is two embedded clusters.
type pair struct {
	*testing.T
	fake [2]*kfake.Cluster
	cl   [2]*kafka.Cluster // source, target
	log  extent            // of each partition on the target, whatever is in it
	shut string            // topic whose extent we may not see
}

// listOffsets answers for the target.
func (p *pair) listOffsets(req kmsg.Request) (kmsg.Response, error, bool) { //nolint:revive // kfake's order
	p.fake[dst].KeepControl()
	resp := req.ResponseKind().(*kmsg.ListOffsetsResponse)
	for _, t := range req.(*kmsg.ListOffsetsRequest).Topics {
		a := kmsg.NewListOffsetsResponseTopic()
		a.Topic = t.Topic
		for _, q := range t.Partitions {
			b := kmsg.NewListOffsetsResponseTopicPartition()
			b.Partition, b.Offset = q.Partition, int64(p.log.start)
			if q.Timestamp == theEnd {
				b.Offset = int64(p.log.end)
			}
			if t.Topic == p.shut {
				b.ErrorCode = kerr.TopicAuthorizationFailed.Code
			}
			a.Partitions = append(a.Partitions, b)
		}
		resp.Topics = append(resp.Topics, a)
	}
	return resp, nil, true
}

const (
	src = 0
	dst = 1
)

// paired runs test in a bubble of synctest.
func paired(t *testing.T, opts []kfake.Opt, test func(*pair)) {
	synctest.Test(t, func(t *testing.T) {
		p := &pair{T: t, log: extent{end: 1_000_000}}
		for i, alias := range []string{"east", "west"} {
			var wire kfake.VirtualNetwork
			topics := []string{"t0", "t1", "other"}
			if i == dst {
				topics = []string{"x.t0", "x.t1"}
			}
			fake, err := kfake.NewCluster(append([]kfake.Opt{
				kfake.NumBrokers(2), kfake.Ports(9092, 9093), kfake.ListenFn(wire.Listen), kfake.SeedTopics(4, topics...),
			}, opts...)...)
			if err != nil {
				t.Fatal(err)
			}
			defer fake.Close()
			cl, err := kafka.Open(config.Cluster{Alias: alias, BootstrapServers: fake.ListenAddrs(), ClientID: "test"}, kafka.Options{Dialer: wire.DialContext})
			if err != nil {
				t.Fatal(err)
			}
			defer cl.Close()
			p.fake[i], p.cl[i] = fake, cl
		}
		p.fake[dst].ControlKey(int16(kmsg.ListOffsets), p.listOffsets)
		test(p)
	})
}

func (p *pair) follower(lanes Lanes, change ...func(*Options)) *Follower {
	p.Helper()
	o := Options{Source: p.cl[src], Target: p.cl[dst], Flow: config.Flow{Groups: []string{".*"}, SyncGroupOffsets: true}, Lanes: lanes}
	for _, c := range change {
		c(&o)
	}
	f, err := New(o)
	if err != nil {
		p.Fatal(err)
	}
	return f
}

func round(t testing.TB, f *Follower) *Report {
	t.Helper()
	r, err := f.Round(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if f.Report() != r {
		t.Error("Report is not the last round's")
	}
	return r
}

// commit commits offsets of topic, from partition 0 on; -2 leaves one out.
func commit(t testing.TB, cl *kafka.Cluster, group, topic string, at ...int64) {
	t.Helper()
	os := kadm.Offsets{}
	for p, o := range at {
		if o != -2 {
			os.Add(kadm.Offset{Topic: topic, Partition: int32(p), At: o, LeaderEpoch: 5, Metadata: fmt.Sprint("m", o)})
		}
	}
	if err := cl.Admin().CommitAllOffsets(t.Context(), group, os); err != nil {
		t.Fatal(err)
	}
}

// committed is "topic/partition=offset metadata" of a group.
func committed(t testing.TB, cl *kafka.Cluster, group string) string {
	t.Helper()
	os, err := cl.Admin().FetchOffsets(t.Context(), group)
	if err != nil && !strings.Contains(err.Error(), kerr.GroupIDNotFound.Message) {
		t.Fatal(err)
	}
	var out []string
	os.Each(func(o kadm.OffsetResponse) {
		out = append(out, fmt.Sprintf("%s/%d=%d %s", o.Topic, o.Partition, o.At, o.Metadata))
	})
	slices.Sort(out)
	return strings.Join(out, ", ")
}

// lines is "group topic/partition source->target verdict again lag" for every row.
func lines(r *Report) string {
	var out []string
	for _, w := range r.Rows {
		out = append(out, fmt.Sprintf("%s %s/%d %d->%d %s %d %d", w.Group, w.Topic, w.Partition, w.Source, w.Target, w.Verdict, w.Again, w.Lag))
	}
	return strings.Join(out, "\n")
}

func expect(t testing.TB, got string, want ...string) {
	t.Helper()
	if w := strings.Join(want, "\n"); got != w {
		t.Errorf("got\n%s\nwant\n%s", got, w)
	}
}

func TestRound(t *testing.T) {
	paired(t, nil, func(p *pair) {
		commit(p, p.cl[src], "a", "t0", 10, 0, -2, 7)
		commit(p, p.cl[src], "a", "other", 3)
		commit(p, p.cl[src], "b", "t1", 100, 150)
		commit(p, p.cl[dst], "b", "x.t1", 80, 200)
		commit(p, p.cl[src], "kferry.flow", "t1", 1)
		f := p.follower(shifted{shift: 50, end: 120}, func(o *Options) { o.Flow.GroupNames = []string{"b=bee"} })
		commit(p, p.cl[dst], "bee", "x.t1", 80, 200)

		r := round(p, f)
		expect(p, lines(r),
			"a other/0 3->-1 not_in_flow 0 0",
			"a t0/0 10->60 exact 0 110",
			"a t0/1 0->50 exact 0 120",
			"b t1/0 100->150 exact 0 20",
			"b t1/1 150->200 ahead_on_target 0 0")
		expect(p, committed(p, p.cl[dst], "a"), "x.t0/0=60 m10, x.t0/1=50 m0")
		expect(p, committed(p, p.cl[dst], "bee"), "x.t1/0=150 m100, x.t1/1=200 m200")
		if r.Commits != 3 || r.Groups != 2 || r.Counts[Exact] != 3 || !r.Complete || len(r.Notices) != 0 {
			p.Errorf("%+v", r)
		}
		if r := round(p, f); r.Commits != 0 {
			p.Errorf("the second round commits %d", r.Commits)
		}
		commit(p, p.cl[src], "a", "t0", 11, 119)
		expect(p, lines(round(p, f)),
			"a other/0 3->-1 not_in_flow 0 0",
			"a t0/0 11->61 exact 0 109",
			"a t0/1 119->169 exact 0 1",
			"b t1/0 100->150 exact 0 20",
			"b t1/1 150->200 ahead_on_target 0 0")
	})
}

// A group is where its record is only while the target has that one: what is before the
// log's start is gone, and what is behind its end was of another topic.
func TestTargetsLog(t *testing.T) {
	for _, c := range []struct {
		log       extent
		row       string
		detail    string
		committed string
		points    int
	}{
		{extent{start: 0, end: 60}, "a t0/0 10->60 exact 0 110", "", "x.t0/0=60 m10", 1},
		{extent{start: 60, end: 170}, "a t0/0 10->60 exact 0 110", "", "x.t0/0=60 m10", 1},
		{extent{start: 61, end: 170}, "a t0/0 10->60 removed_on_target -1 -1", "", "x.t0/0=60 m10", 1},
		{extent{start: 0, end: 59}, "a t0/0 10->-1 not_known -1 -1", "the target's log ends at offset 59", "", 0},
	} {
		paired(t, nil, func(p *pair) {
			p.log = c.log
			commit(p, p.cl[src], "a", "t0", 10)
			b := &book{}
			f := p.follower(shifted{shift: 50, end: 120}, func(o *Options) { o.Checkpoints = b })
			for range 2 { // what was read is remembered
				r := round(p, f)
				expect(p, lines(r), c.row)
				if !strings.Contains(r.Rows[0].Reason(), c.detail) {
					p.Errorf("%+v: %q", c.log, r.Rows[0].Reason())
				}
			}
			expect(p, committed(p, p.cl[dst], "a"), c.committed)
			if len(b.log) != c.points {
				p.Errorf("%+v: checkpoints %+v", c.log, b.log)
			}
			// The log goes on, and a group that stands still is looked at again.
			p.log = extent{start: 70, end: 170}
			time.Sleep(rereadEvery) // of the bubble's clock
			expect(p, lines(round(p, f)), "a t0/0 10->60 removed_on_target -1 -1")
		})
	}
}

// Where the target's logs begin and end is not known: nothing is committed.
func TestTargetsLogIsNotTold(t *testing.T) {
	paired(t, nil, func(p *pair) {
		commit(p, p.cl[src], "a", "t0", 10)
		commit(p, p.cl[src], "a", "t1", 10)
		p.shut = "x.t0"
		f := p.follower(shifted{end: 120})
		r := round(p, f)
		expect(p, lines(r), "a t0/0 10->-1 not_authorised -1 -1", "a t1/0 10->10 exact 0 110")
		if want := `grant Read on topic "x.t0" of cluster "west"`; !strings.Contains(r.Rows[0].Reason(), want) {
			p.Errorf("%q", r.Rows[0].Reason())
		}
		expect(p, committed(p, p.cl[dst], "a"), "x.t1/0=10 m10")
		p.shut = ""
		time.Sleep(rereadEvery) // of the bubble's clock
		expect(p, lines(round(p, f)), "a t0/0 10->10 exact 0 110", "a t1/0 10->10 exact 0 110")
	})
}

// A flow that does not sync offsets looks, and tells what it would do.
func TestNotCommitted(t *testing.T) {
	paired(t, nil, func(p *pair) {
		commit(p, p.cl[src], "a", "t0", 10, 20)
		commit(p, p.cl[dst], "a", "x.t0", 60)
		f := p.follower(shifted{shift: 50, end: 120}, func(o *Options) { o.Flow.SyncGroupOffsets = false })
		for range 2 {
			r := round(p, f)
			expect(p, lines(r), "a t0/0 10->60 exact 0 110", "a t0/1 20->-1 not_committed -1 -1")
			expect(p, committed(p, p.cl[dst], "a"), "x.t0/0=60 m60")
			if r.Commits != 0 {
				p.Errorf("%+v", r)
			}
		}
	})
}

// fault has requests of a cluster fail until the test ends or the returned
// function is called.
func (p *pair) fault(i int, f kfake.Fault) func() {
	f.Count = -1
	h := p.fake[i].Fault(f)
	return h.Remove
}

func TestDeniedOnTheSource(t *testing.T) {
	paired(t, nil, func(p *pair) {
		commit(p, p.cl[src], "a", "t0", 10)
		commit(p, p.cl[src], "b", "t0", 20)
		free := p.fault(src, kfake.Fault{Group: "a", Err: kerr.GroupAuthorizationFailed})
		f := p.follower(shifted{end: 120}, func(o *Options) { o.Flow.Groups = []string{"a", "b", "c"} })
		r := round(p, f)
		expect(p, lines(r), "a /-1 -1->-1 not_authorised 0 0", "b t0/0 20->20 exact 0 100", "c /-1 -1->-1 no_commit 0 0")
		if len(r.Notices) != 1 || !strings.Contains(r.Notices[0], `grant Describe (before Kafka 1.0: Read) on group "a" of cluster "east"`) {
			p.Errorf("notices %q", r.Notices)
		}
		if r := round(p, f); len(r.Notices) != 0 {
			p.Errorf("said again: %q", r.Notices)
		}
		free()
		expect(p, lines(round(p, f)), "a t0/0 10->10 exact 0 110", "b t0/0 20->20 exact 0 100", "c /-1 -1->-1 no_commit 0 0")
		p.fault(src, kfake.Fault{Group: "a", Err: kerr.GroupAuthorizationFailed})
		if r := round(p, f); len(r.Notices) != 1 {
			p.Errorf("not said anew: %q", r.Notices)
		}
	})
}

func TestNoListOfGroups(t *testing.T) {
	for _, err := range []*kerr.Error{nil, kerr.ClusterAuthorizationFailed} { // an empty list, and none
		paired(t, nil, func(p *pair) {
			commit(p, p.cl[src], "a", "t0", 10)
			commit(p, p.cl[src], "b", "t0", 20)
			p.fake[src].ControlKey(int16(kmsg.ListGroups), func(req kmsg.Request) (kmsg.Response, error, bool) {
				p.fake[src].KeepControl()
				resp := req.ResponseKind().(*kmsg.ListGroupsResponse)
				if err != nil {
					resp.ErrorCode = err.Code
				}
				return resp, nil, true
			})
			f := p.follower(shifted{end: 120}, func(o *Options) { o.Flow.Groups = []string{"a", "b.*"} })
			r := round(p, f)
			expect(p, lines(r), "a t0/0 10->10 exact 0 110", "b.* /-1 -1->-1 not_listed -1 -1")
			want := "grant Describe on these groups of cluster \"east\""
			if err != nil {
				want = "CLUSTER_AUTHORIZATION_FAILED): before Kafka 2.1 that takes Describe on the cluster"
			}
			if len(r.Notices) != 1 || !strings.Contains(r.Notices[0], want) || !strings.Contains(r.Rows[len(r.Rows)-1].Reason(), want) {
				p.Errorf("notices %q, row %q, want %q", r.Notices, r.Rows[len(r.Rows)-1].Reason(), want)
			}
			if r := round(p, f); len(r.Notices) != 0 {
				p.Errorf("said again: %q", r.Notices)
			}
			if _, err := p.cl[src].Admin().DeleteGroup(p.Context(), "a"); err != nil {
				p.Fatal(err)
			}
			expect(p, lines(round(p, f)), "a t0/0 10->10 gone 0 110", "b.* /-1 -1->-1 not_listed -1 -1")
		})
	}
}

func TestRefusedOnTheTarget(t *testing.T) {
	for _, c := range []struct {
		fault  kfake.Fault
		want   Verdict
		detail string
		waits  bool // it is not tried in every round
	}{
		{kfake.Fault{Group: "a", Err: kerr.GroupAuthorizationFailed}, Denied, `grant Read on group "a" of cluster "west"`, true},
		{kfake.Fault{Group: "a", Keys: []kmsg.Key{kmsg.OffsetCommit}, Err: kerr.GroupAuthorizationFailed}, Denied, `grant Read on group "a"`, true},
		{kfake.Fault{Group: "a", Keys: []kmsg.Key{kmsg.OffsetFetch}, Err: kerr.GroupAuthorizationFailed}, Denied, `grant Read on group "a"`, true},
		{kfake.Fault{Group: "a", Topic: "x.t0", Err: kerr.TopicAuthorizationFailed}, Denied, `grant Read on topic "x.t0" of cluster "west"`, true},
		{kfake.Fault{Group: "a", Topic: "x.t0", Keys: []kmsg.Key{kmsg.OffsetFetch}, Partitions: []int32{0, 1}, Err: kerr.TopicAuthorizationFailed}, Denied, "x.t0", true},
		{kfake.Fault{Group: "a", Topic: "x.t0", Keys: []kmsg.Key{kmsg.OffsetCommit}, Err: kerr.OffsetMetadataTooLarge}, Refused, "offset.metadata.max.bytes", true},
		{kfake.Fault{Group: "a", Topic: "x.t0", Keys: []kmsg.Key{kmsg.OffsetCommit}, Err: kerr.UnknownTopicOrPartition}, Refused, "does not have the topic", true},
		{kfake.Fault{Group: "a", Keys: []kmsg.Key{kmsg.OffsetCommit}, Err: kerr.GroupIDNotFound}, Refused, "group_names", true},
		{kfake.Fault{Group: "a", Keys: []kmsg.Key{kmsg.OffsetCommit}, Err: kerr.UnknownMemberID}, Active, "", false},
		{kfake.Fault{Group: "a", Keys: []kmsg.Key{kmsg.OffsetCommit}, Err: kerr.RebalanceInProgress}, Active, "", false},
		{kfake.Fault{Group: "a", Keys: []kmsg.Key{kmsg.OffsetCommit}, Err: kerr.NotCoordinator}, Failed, "NOT_COORDINATOR", false},
		{kfake.Fault{Group: "a", Keys: []kmsg.Key{kmsg.OffsetCommit}, Err: kerr.CoordinatorLoadInProgress}, Failed, "COORDINATOR_LOAD_IN_PROGRESS", false},
		{kfake.Fault{Group: "a", Keys: []kmsg.Key{kmsg.OffsetFetch}, Err: kerr.NotCoordinator}, Failed, "NOT_COORDINATOR", false},
		{kfake.Fault{Group: "a", Keys: []kmsg.Key{kmsg.FindCoordinator}, Err: kerr.InvalidGroupID}, Refused, "group_names", true},
	} {
		t.Run(fmt.Sprintf("%s %v %s", c.fault.Err.Message, c.fault.Keys, c.fault.Topic), func(t *testing.T) {
			paired(t, nil, func(p *pair) {
				commit(p, p.cl[src], "a", "t0", 10, 20)
				commit(p, p.cl[src], "b", "t0", 30)
				commit(p, p.cl[dst], "a", "x.t0", 15, 15)
				free := p.fault(dst, c.fault)
				f := p.follower(shifted{end: 120})
				r := round(p, f)
				var a *Row // the one to be committed
				for i := range r.Rows {
					if w := &r.Rows[i]; w.Group == "a" && w.Partition == 1 {
						a = w
					} else if w.Group == "b" && w.Verdict != Exact {
						p.Errorf("another group: %+v", *w)
					}
				}
				if a == nil || a.Verdict != c.want || !strings.Contains(a.Detail, c.detail) || a.Target > 15 {
					p.Errorf("%+v", a)
				}
				free()
				expect(p, committed(p, p.cl[dst], "a"), "x.t0/0=15 m15, x.t0/1=15 m15")
				want := "x.t0/0=15 m15, x.t0/1=20 m20"
				if round(p, f); c.waits {
					want = "x.t0/0=15 m15, x.t0/1=15 m15"
				}
				expect(p, committed(p, p.cl[dst], "a"), want)
				time.Sleep(rereadEvery) // of the bubble's clock
				expect(p, lines(round(p, f)), "a t0/0 10->15 ahead_on_target 0 105", "a t0/1 20->20 exact 0 100", "b t0/0 30->30 exact 0 90")
			})
		})
	}
}

func TestNoAnswerFromTheSource(t *testing.T) {
	paired(t, nil, func(p *pair) {
		commit(p, p.cl[src], "a", "t0", 10)
		f := p.follower(shifted{end: 120})
		round(p, f)
		free := p.fault(src, kfake.Fault{Keys: []kmsg.Key{kmsg.OffsetFetch}, Group: "a", Err: kerr.NotCoordinator})
		commit(p, p.cl[src], "a", "t0", 11)
		r := round(p, f)
		expect(p, lines(r), "a t0/0 10->10 failed 0 110")
		if r.Complete {
			p.Error("complete")
		}
		free()
		expect(p, lines(round(p, f)), "a t0/0 11->11 exact 0 109")

		p.fake[src].Close()
		if r, err := f.Round(p.Context()); err == nil || !strings.Contains(err.Error(), `cluster "east"`) || lines(r) != "a t0/0 11->11 failed 0 109" {
			p.Errorf("%v\n%s", err, lines(r))
		}
	})
}

// consumer joins a group on a cluster and waits until it has partitions.
func consumer(t testing.TB, cl *kafka.Cluster, group, topic string, opts ...kgo.Opt) *kgo.Client {
	t.Helper()
	joined := make(chan struct{})
	once := sync.OnceFunc(func() { close(joined) })
	c, err := cl.NewClient(append([]kgo.Opt{
		kgo.ConsumerGroup(group), kgo.ConsumeTopics(topic), kgo.DisableAutoCommit(),
		kgo.OnPartitionsAssigned(func(context.Context, *kgo.Client, map[string][]int32) { once() }),
	}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	select {
	case <-joined:
	case <-t.Context().Done():
		t.Fatal("nobody joined")
	}
	return c
}

func TestActiveOnTheTarget(t *testing.T) {
	for name, opts := range map[string][]kgo.Opt{
		"classic": nil, "consumer": {kgo.ServerSideBalancer(), kgo.Balancers(kgo.StickyBalancer())},
	} {
		t.Run(name, func(t *testing.T) {
			paired(t, nil, func(p *pair) {
				commit(p, p.cl[src], "a", "t0", 10)
				f := p.follower(shifted{end: 120})
				c := consumer(p, p.cl[dst], "a", "x.t0", opts...)
				expect(p, lines(round(p, f)), "a t0/0 10->-1 target_active -1 -1")
				f.groups["a"].active = false // as if it had come after the list
				f.mark(nil, nil)
				c.CommitOffsetsSync(p.Context(), map[string]map[int32]kgo.EpochOffset{"x.t0": {0: {Epoch: -1, Offset: 4}}}, nil)
				expect(p, lines(round(p, f)), "a t0/0 10->4 target_active 6 116")
				if err := c.LeaveGroupContext(p.Context()); err != nil {
					p.Fatal(err)
				}
				c.Close()
				expect(p, lines(round(p, f)), "a t0/0 10->10 exact 0 110")
			})
		})
	}
}

// TestJoinedBetween has the target say that the group is empty when it is not.
func TestJoinedBetween(t *testing.T) {
	paired(t, nil, func(p *pair) {
		commit(p, p.cl[src], "a", "t0", 10)
		f := p.follower(shifted{end: 120})
		c := consumer(p, p.cl[dst], "a", "x.t0")
		defer c.Close()
		p.fake[dst].ControlKey(int16(kmsg.ListGroups), func(req kmsg.Request) (kmsg.Response, error, bool) {
			p.fake[dst].KeepControl()
			return req.ResponseKind(), nil, true
		})
		expect(p, lines(round(p, f)), "a t0/0 10->-1 target_active -1 -1")
	})
}

func TestGroupsComeAndGo(t *testing.T) {
	paired(t, nil, func(p *pair) {
		f := p.follower(shifted{end: 120})
		expect(p, lines(round(p, f)), ".* /-1 -1->-1 not_listed -1 -1")
		commit(p, p.cl[src], "a", "t0", 10)
		commit(p, p.cl[src], "b", "t0", 20)
		round(p, f)
		if _, err := p.cl[src].Admin().DeleteGroup(p.Context(), "a"); err != nil {
			p.Fatal(err)
		}
		r := round(p, f)
		expect(p, lines(r), "a t0/0 10->10 gone 0 110", "b t0/0 20->20 exact 0 100")
		if r.Groups != 1 {
			p.Errorf("%d groups", r.Groups)
		}
		expect(p, committed(p, p.cl[dst], "a"), "x.t0/0=10 m10")
		time.Sleep(goneFor + time.Second) // of the bubble's clock
		expect(p, lines(round(p, f)), "b t0/0 20->20 exact 0 100")
		commit(p, p.cl[src], "a", "t0", 11)
		expect(p, lines(round(p, f)), "a t0/0 11->11 exact 0 109", "b t0/0 20->20 exact 0 100")
	})
}

// TestResetOnTheTarget: what was deleted there comes back though the source stands still.
func TestResetOnTheTarget(t *testing.T) {
	paired(t, nil, func(p *pair) {
		commit(p, p.cl[src], "a", "t0", 10)
		f := p.follower(shifted{end: 120})
		round(p, f)
		commit(p, p.cl[dst], "a", "x.t0", -1)
		time.Sleep(rereadEvery)
		expect(p, lines(round(p, f)), "a t0/0 10->10 exact 0 110")
		expect(p, committed(p, p.cl[dst], "a"), "x.t0/0=10 m10")
	})
}

func TestTwoGroupsOneName(t *testing.T) {
	paired(t, nil, func(p *pair) {
		commit(p, p.cl[src], "a", "t0", 10)
		commit(p, p.cl[src], "b", "t0", 20)
		f := p.follower(shifted{end: 120}, func(o *Options) { o.Flow.GroupNames = []string{"a=b"} })
		expect(p, lines(round(p, f)), "a t0/0 10->10 exact 0 110", "b /-1 -1->-1 target_refuses 0 0")
		expect(p, committed(p, p.cl[dst], "b"), "x.t0/0=10 m10")
	})
}

// TestOldBrokers have one group per request, and no states in lists.
func TestOldBrokers(t *testing.T) {
	paired(t, []kfake.Opt{kfake.MaxVersions(kversion.V2_4_0())}, func(p *pair) {
		for i := range 5 {
			commit(p, p.cl[src], fmt.Sprint("g", i), "t0", 10, int64(i))
		}
		f := p.follower(shifted{shift: 1, end: 120})
		c := consumer(p, p.cl[dst], "g4", "x.t0")
		r := round(p, f)
		if r.Counts[Exact] != 8 || r.Counts[Active] != 2 || r.Commits != 8 {
			p.Errorf("\n%s", lines(r))
		}
		c.Close()
		round(p, f)
		expect(p, committed(p, p.cl[dst], "g3"), "x.t0/0=11 m10, x.t0/1=4 m3")
	})
}

// TestManyPartitionsInOneGroup are more than one commit takes.
func TestManyPartitionsInOneGroup(t *testing.T) {
	paired(t, nil, func(p *pair) {
		long := strings.Repeat("m", 200_000)
		os := kadm.Offsets{}
		for i := range int32(3) {
			os.Add(kadm.Offset{Topic: "t0", Partition: i, At: 7, Metadata: long})
		}
		os.Add(kadm.Offset{Topic: "t1", Partition: 0, At: 8})
		if err := p.cl[src].Admin().CommitAllOffsets(p.Context(), "a", os); err != nil {
			p.Fatal(err)
		}
		h := p.fake[dst].Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.OffsetCommit}, Observe: true, Count: -1, When: func(kmsg.Request) bool { return true }})
		if r := round(p, p.follower(shifted{end: 120})); r.Counts[Exact] != 4 || r.Commits != 4 {
			p.Errorf("\n%s", lines(r))
		}
		if h.Hits() != 2 {
			p.Errorf("%d commits", h.Hits())
		}
	})
}
