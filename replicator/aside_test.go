package replicator_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kferry/kferry/config"
	"github.com/kferry/kferry/replicator"
	"github.com/kferry/kferry/replicator/deadletter"
)

// The tests here have one lane each: kfake has one epoch for a producer id on
// all partitions, brokers have one for each.

const letterTopic = "kferry.flow.dead_letter"

func (p fakes) asideConfig(t *testing.T) *config.Config {
	cfg := p.config(t, "pizza")
	cfg.Flows[0].OnRefused = "dead_letter"
	return cfg
}

func (p fakes) pizza(t *testing.T) *kgo.Client {
	t.Helper()
	for _, c := range []*kfake.Cluster{p.source, p.target} {
		if err := c.CreateTopic("pizza", 1, nil); err != nil {
			t.Fatal(err)
		}
	}
	return p.manual(t)
}

func decode(b []byte) []*kgo.Record {
	rp := kmsg.NewFetchResponseTopicPartition()
	rp.RecordBatches = b
	got, _ := kgo.ProcessFetchPartition(kgo.ProcessFetchPartitionOpts{}, &rp, kgo.DefaultDecompressor(), nil)
	return got.Records
}

// refuses has a cluster refuse batches of pizza with bad records among them, and
// name them or not. A broker looks at the records before the sequence number.
func refuses(c *kfake.Cluster, err *kerr.Error, named bool) {
	c.ControlKey(kmsg.Produce.Int16(), func(r kmsg.Request) (kmsg.Response, error, bool) {
		c.KeepControl()
		req := r.(*kmsg.ProduceRequest)
		if len(req.Topics) == 0 {
			return nil, nil, false // it opens a connection ahead
		}
		rt := req.Topics[0]
		if rt.Topic != "pizza" && rt.TopicID != c.TopicInfo("pizza").TopicID {
			return nil, nil, false
		}
		var bad []kmsg.ProduceResponseTopicPartitionErrorRecord
		for i, rec := range decode(rt.Partitions[0].Records) {
			if strings.HasPrefix(string(rec.Value), "bad") {
				bad = append(bad, kmsg.ProduceResponseTopicPartitionErrorRecord{RelativeOffset: int32(i)})
			}
		}
		if len(bad) == 0 {
			return nil, nil, false
		}
		resp := req.ResponseKind().(*kmsg.ProduceResponse)
		rp := kmsg.NewProduceResponseTopicPartition()
		rp.ErrorCode = err.Code
		if named {
			rp.ErrorRecords = bad
		}
		resp.Topics = append(resp.Topics, kmsg.ProduceResponseTopic{Topic: rt.Topic, TopicID: rt.TopicID, Partitions: []kmsg.ProduceResponseTopicPartition{rp}})
		return resp, nil, true
	})
}

// fill writes records 0 to n-1 in batches of changing sizes.
func fill(t *testing.T, cl *kgo.Client, n int, bad func(int) bool) {
	t.Helper()
	for at, size := 0, 1; at < n; size = size*7%61 + 1 {
		var rs []*kgo.Record
		for ; len(rs) < size && at < n; at++ {
			kind := "good"
			if bad(at) {
				kind = "bad"
			}
			r := &kgo.Record{Topic: "pizza", Value: fmt.Appendf(nil, "%s %d", kind, at), Timestamp: time.UnixMilli(1e12 + int64(at)),
				Headers: []kgo.RecordHeader{{Key: "n", Value: fmt.Append(nil, at)}}}
			if at%3 > 0 {
				r.Key = fmt.Append(nil, at)
			}
			rs = append(rs, r)
		}
		if err := cl.ProduceSync(t.Context(), rs...).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
}

// all reads a topic of one partition to its end.
func (p fakes) all(t *testing.T, c *kfake.Cluster, topic string) []*kgo.Record {
	t.Helper()
	ends, err := kadm.NewClient(p.client(t, c)).ListEndOffsets(t.Context(), topic)
	if err != nil {
		t.Fatal(err)
	}
	end, ok := ends.Lookup(topic, 0)
	if !ok || end.Err != nil {
		return nil
	}
	cl := p.client(t, c, kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: {0: kgo.NewOffset().AtStart()}}))
	var rs []*kgo.Record
	for int64(len(rs)) < end.Offset {
		fs := cl.PollFetches(t.Context())
		if err := fs.Err(); err != nil {
			t.Fatal(err)
		}
		rs = append(rs, fs.Records()...)
	}
	return rs
}

// apart wants the good records on the target, each once and in order, and the
// bad ones in the dead letter topic, in order; once each, or at least once.
func (p fakes) apart(t *testing.T, n int, bad func(int) bool, once bool) {
	t.Helper()
	var good, letters []string
	for i := range n {
		if bad(i) {
			letters = append(letters, fmt.Sprint(i))
		} else {
			good = append(good, fmt.Sprint("good ", i))
		}
	}
	var got []string
	for _, r := range p.all(t, p.target, "pizza") {
		got = append(got, string(r.Value))
	}
	if !slices.Equal(got, good) {
		t.Errorf("the target has %d records, want %d\n got %v\nwant %v", len(got), len(good), got, good)
	}
	var offs []string
	for _, r := range p.all(t, p.target, letterTopic) {
		h := map[string]string{}
		for _, x := range r.Headers {
			h[x.Key] = string(x.Value)
		}
		at := h[deadletter.HeaderOffset]
		offs = append(offs, at)
		var i int64
		_, _ = fmt.Sscan(at, &i)
		wantKey := ""
		if i%3 > 0 {
			wantKey = at
		}
		if string(r.Value) != "bad "+at || string(r.Key) != wantKey || (r.Key == nil) != (wantKey == "") || h["n"] != at ||
			h[deadletter.HeaderTopic] != "pizza" || h[deadletter.HeaderPartition] != "0" || h[deadletter.HeaderTargetTopic] != "pizza" ||
			h[deadletter.HeaderTimestamp] != fmt.Sprint(int64(1e12)+i) || !strings.Contains(h[deadletter.HeaderReason], "INVALID_") {
			t.Errorf("dead letter %q %q %v", r.Key, r.Value, h)
		}
	}
	if !once {
		slices.SortFunc(offs, func(a, b string) int {
			return len(a) - len(b) + strings.Compare(a, b)*(1-min(1, max(len(a)-len(b), len(b)-len(a))))
		})
		offs = slices.Compact(offs)
	}
	if !slices.Equal(offs, letters) {
		t.Errorf("dead letters\n got %v\nwant %v", offs, letters)
	}
}

func TestRefusedRecordsAreSetAside(t *testing.T) {
	sparse := func(i int) bool { return i < 3 || i == 57 || i >= 70 && i < 90 || i == 119 }
	few := func(i int) bool { return i == 0 || i == 57 || i == 58 }
	for name, c := range map[string]struct {
		err   *kerr.Error
		named bool
		bad   func(int) bool
	}{
		"named":     {kerr.InvalidTimestamp, true, sparse},
		"not named": {kerr.InvalidRecord, false, few},
		"all":       {kerr.InvalidTimestamp, true, func(int) bool { return true }},
		"none":      {kerr.InvalidTimestamp, true, func(int) bool { return false }},
	} {
		t.Run(name, func(t *testing.T) {
			p := fakePair(t)
			cl := p.pizza(t)
			refuses(p.target, c.err, c.named)
			fill(t, cl, 120, c.bad)
			reg := prometheus.NewRegistry()
			d, stop := startWith(t, p.asideConfig(t), replicator.Options{Registerer: reg})
			carried(t, d, p.admin(t), "pizza")
			stop()
			p.apart(t, 120, c.bad, true)
			want := 0
			for i := range 120 {
				if c.bad(i) {
					want++
				}
			}
			if n := metric(t, reg, "kferry_dead_letters_total", "topic=pizza"); int(n) != want {
				t.Errorf("kferry_dead_letters_total is %v, want %d", n, want)
			}
			// A second run finds nothing to do.
			d, stop = start(t, p.asideConfig(t))
			carried(t, d, p.admin(t), "pizza")
			stop()
			p.apart(t, 120, c.bad, true)
		})
	}
}

// epochs are those of the batches and of stored progress in a produce request.
func epochOf(c *kfake.Cluster, req *kmsg.ProduceRequest) (topic string, epoch int) {
	if len(req.Topics) == 0 {
		return "", 0 // it opens a connection ahead
	}
	rt := req.Topics[0]
	for _, name := range []string{"pizza", letterTopic, "kferry.flow.progress"} {
		if info := c.TopicInfo(name); info != nil && (rt.Topic == name || rt.TopicID == info.TopicID) {
			topic = name
		}
	}
	if topic == "pizza" {
		var b kmsg.RecordBatch
		_ = b.ReadFrom(rt.Partitions[0].Records)
		return topic, int(b.ProducerEpoch)
	}
	for _, r := range decode(rt.Partitions[0].Records) {
		if topic == "kferry.flow.progress" && len(r.Value) > 0 && !strings.Contains(string(r.Value), `"epoch":0`) {
			epoch = 1
		}
	}
	return topic, epoch
}

// nothing is the answer that nothing of req was stored, nor will be.
func nothing(req *kmsg.ProduceRequest) kmsg.Response {
	resp := req.ResponseKind().(*kmsg.ProduceResponse)
	for _, rt := range req.Topics {
		t := kmsg.ProduceResponseTopic{Topic: rt.Topic, TopicID: rt.TopicID}
		for _, rp := range rt.Partitions {
			p := kmsg.NewProduceResponseTopicPartition()
			p.Partition, p.ErrorCode = rp.Partition, kerr.TopicAuthorizationFailed.Code
			t.Partitions = append(t.Partitions, p)
		}
		resp.Topics = append(resp.Topics, t)
	}
	return resp
}

// The daemon dies between the steps of setting aside. In the worst case a record
// is in the dead letter topic twice.
func TestDiesWhileSettingAside(t *testing.T) {
	bad := func(i int) bool { return i%40 == 13 || i%40 == 14 }
	for name, c := range map[string]struct {
		dies func(topic string, epoch int) bool // before such a request is worked on
		once bool
	}{
		"before the dead letter is stored":          {func(topic string, _ int) bool { return topic == letterTopic }, true},
		"before progress is stored":                 {func(topic string, epoch int) bool { return topic == "kferry.flow.progress" && epoch > 0 }, false},
		"before the first record of the next epoch": {func(topic string, epoch int) bool { return topic == "pizza" && epoch > 0 }, true},
	} {
		t.Run(name, func(t *testing.T) {
			p := fakePair(t)
			cl := p.pizza(t)
			fill(t, cl, 80, bad)
			var dead atomic.Bool
			ctx, kill := context.WithCancel(t.Context())
			defer kill()
			p.target.ControlKey(kmsg.Produce.Int16(), func(r kmsg.Request) (kmsg.Response, error, bool) {
				p.target.KeepControl()
				topic, epoch := epochOf(p.target, r.(*kmsg.ProduceRequest))
				if ctx.Err() == nil && c.dies(topic, epoch) {
					kill()
					dead.Store(true)
				}
				if dead.Load() {
					return nothing(r.(*kmsg.ProduceRequest)), nil, true
				}
				return nil, nil, false
			})
			refuses(p.target, kerr.InvalidTimestamp, true)
			d, err := replicator.New(p.asideConfig(t), replicator.Options{})
			if err != nil {
				t.Fatal(err)
			}
			_ = d.Run(ctx) // it cannot store its progress any more
			if !dead.Load() {
				t.Fatal("the daemon ended before")
			}
			dead.Store(false)
			d, stop := start(t, p.asideConfig(t))
			carried(t, d, p.admin(t), "pizza")
			stop()
			p.apart(t, 80, bad, c.once)
		})
	}
}

// A batch whose ack was lost and that is refused when it comes again is on the
// target: its records must not be set aside, and none must be left out for them.
func TestRefusedButStored(t *testing.T) {
	p := fakePair(t)
	cl := p.pizza(t)
	good := func(int) bool { return false }
	place(t, cl, 0, kgo.Record{Value: []byte("good 0")}) // a record of now: of an old one the log is asked
	p.target.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Topic: "pizza", Err: kerr.RequestTimedOut, Count: 1})
	d, stop := start(t, p.asideConfig(t))
	f := p.target.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Topic: "pizza", Err: kerr.InvalidTimestamp, Count: 1})
	carried(t, d, p.admin(t), "pizza")
	for i := range 20 {
		place(t, cl, 0, kgo.Record{Value: fmt.Appendf(nil, "good %d", i+1)})
	}
	carried(t, d, p.admin(t), "pizza")
	stop()
	if f.Hits() != 1 {
		t.Fatalf("%d refusals", f.Hits())
	}
	p.apart(t, 21, good, true)
}

// Two daemons with one configuration that may not use the group, both setting aside:
// the epoch lets only one of two countings go on.
func TestTwoDaemonsSetAside(t *testing.T) {
	p := fakePair(t)
	p.denyGroup()
	cl := p.pizza(t)
	bad := func(i int) bool { return i%40 == 5 }
	refuses(p.target, kerr.InvalidTimestamp, true)
	a, stopA := start(t, p.asideConfig(t))
	carried(t, a, p.admin(t), "pizza")
	b, stopB := start(t, p.asideConfig(t))
	carried(t, b, p.admin(t), "pizza")
	fill(t, cl, 120, bad)
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if a.Status().Flows[0].Lanes[0].Position == 120 && b.Status().Flows[0].Lanes[0].Position == 120 {
			break
		}
	}
	for _, d := range []*replicator.Daemon{a, b} { // whose counting is over goes on with the other's
		if l := d.Status().Flows[0].Lanes[0]; l.Position != 120 || l.State != "running" {
			t.Errorf("%+v", l)
		}
	}
	stopA()
	stopB()
	p.apart(t, 120, bad, false)
}

// A dead letter topic that loses records is no place to set them aside.
func TestCannotSetAside(t *testing.T) {
	p := fakePair(t)
	cl := p.pizza(t)
	if err := p.target.CreateTopic(letterTopic, 1, map[string]string{"cleanup.policy": "compact"}); err != nil {
		t.Fatal(err)
	}
	refuses(p.target, kerr.InvalidTimestamp, true)
	fill(t, cl, 10, func(i int) bool { return i == 4 })
	d, stop := start(t, p.asideConfig(t))
	reasoned(t, d, "pizza", 0, "stopped", `target topic "pizza" refused the record at source offset 4`, "INVALID_TIMESTAMP", "cannot be set aside",
		letterTopic, "cleanup.policy=compact", "set it to delete")
	stop()
	if n := len(p.all(t, p.target, "pizza")); n != 4 {
		t.Errorf("%d records on the target, want the 4 before the refused one", n)
	}
}

// A flow that stops at a refused record carries what is before it, and names it.
func TestStopsAtTheRefusedRecord(t *testing.T) {
	p := fakePair(t)
	cl := p.pizza(t)
	refuses(p.target, kerr.InvalidTimestamp, true)
	fill(t, cl, 60, func(i int) bool { return i == 37 })
	d, stop := start(t, p.config(t, "pizza"))
	reasoned(t, d, "pizza", 0, "stopped", "refused the batch at source offset 37 ", "INVALID_TIMESTAMP")
	stop()
	if got := p.values(t, "pizza"); len(got) != 37 {
		t.Errorf("%d records are on the target", len(got))
	}
}
