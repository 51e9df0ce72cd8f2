package groups

import (
	"fmt"
	"maps"
	"slices"
	"strings"
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
		TargetTopic: "x." + topic, Target: offsets.Target(int64(at) + s.shift), Found: FoundExact,
		End: offsets.Target(s.end + s.shift), Mirrored: offsets.Source(s.end),
	}
	if int64(at) > s.end {
		p.Target, p.Found = p.End, FoundBeyond
	}
	return p, true
}

// pair is two embedded clusters.
type pair struct {
	*testing.T
	fake [2]*kfake.Cluster
	cl   [2]*kafka.Cluster // source, target
}

const (
	src = 0
	dst = 1
)

// paired runs test in a bubble of synctest.
func paired(t *testing.T, opts []kfake.Opt, test func(*pair)) {
	synctest.Test(t, func(t *testing.T) {
		p := &pair{T: t}
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
		test(p)
	})
}

func (p *pair) follower(lanes Lanes, change ...func(*Options)) *Follower {
	p.Helper()
	o := Options{Source: p.cl[src], Target: p.cl[dst], Flow: config.Flow{Groups: []string{".*"}}, Lanes: lanes}
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
			"b t1/1 150->200 ahead 0 0")
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
			"b t1/1 150->200 ahead 0 0")
	})
}

var _ = kmsg.OffsetFetch
var _ = kversion.V2_4_0
var _ = kgo.Offset{}
var _ = maps.Keys[map[int]int]
var _ = time.Now
