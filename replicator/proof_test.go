package replicator_test

import (
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kferry/kferry/internal/check"
	"github.com/kferry/kferry/internal/kafka"
	"github.com/kferry/kferry/offsets"
	"github.com/kferry/kferry/replicator/batch"
	"github.com/kferry/kferry/replicator/lane"
	"github.com/kferry/kferry/replicator/progress"
)

// remembers has c answer what it knows of producers by tell, which may alter it, for as
// long as on is set.
func remembers(c *kfake.Cluster, on *atomic.Bool, tell func(*kmsg.DescribeProducersResponseTopicPartition)) {
	on.Store(true)
	c.ControlKey(kmsg.DescribeProducers.Int16(), func(r kmsg.Request) (kmsg.Response, error, bool) {
		c.KeepControl()
		if !on.Load() {
			return nil, nil, false
		}
		req := r.(*kmsg.DescribeProducersRequest)
		resp := req.ResponseKind().(*kmsg.DescribeProducersResponse)
		for _, t := range req.Topics {
			rt := kmsg.NewDescribeProducersResponseTopic()
			rt.Topic = t.Topic
			for _, n := range t.Partitions {
				rp := kmsg.NewDescribeProducersResponseTopicPartition()
				rp.Partition = n
				tell(&rp)
				rt.Partitions = append(rt.Partitions, rp)
			}
			resp.Topics = append(resp.Topics, rt)
		}
		return resp, nil, true
	})
}

// nobody is known.
func nobody(*kmsg.DescribeProducersResponseTopicPartition) {}

// knows tells of a producer.
func knows(id int64, epoch int32, last int32) func(*kmsg.DescribeProducersResponseTopicPartition) {
	return func(rp *kmsg.DescribeProducersResponseTopicPartition) {
		p := kmsg.NewDescribeProducersResponseTopicPartitionActiveProducer()
		p.ProducerID, p.ProducerEpoch, p.LastSequence = id, epoch, last
		rp.ActiveProducers = append(rp.ActiveProducers, p)
	}
}

// anonymous has the target take the batches of a topic as one that has forgotten their
// producer does. An embedded broker never forgets.
func (p fakes) anonymous(topic string) {
	id := p.target.TopicInfo(topic).TopicID
	p.target.ControlKey(kmsg.Produce.Int16(), func(r kmsg.Request) (kmsg.Response, error, bool) {
		p.target.KeepControl()
		for _, rt := range r.(*kmsg.ProduceRequest).Topics {
			for _, rp := range rt.Partitions {
				if rt.Topic == topic || rt.TopicID == id {
					batch.View(rp.Records).Stamp(-1, -1, -1)
				}
			}
		}
		return nil, nil, false
	})
}

// pizzaCarried has a topic with one partition carried up to 100 records, and its progress in hand.
func pizzaCarried(t *testing.T) (p fakes, s *progress.Store, r progress.Record) {
	t.Helper()
	p = fakePair(t)
	if err := p.source.CreateTopic("pizza", 1, nil); err != nil {
		t.Fatal(err)
	}
	write(t, p.client(t, p.source), "pizza", 0, 100)
	d, stop := start(t, p.config(t, "pizza"))
	carried(t, d, p.admin(t), "pizza")
	stop()
	cluster, err := kafka.Open(p.config(t).Clusters["new"], kafka.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cluster.Close)
	if s, err = progress.Open(t.Context(), cluster, "flow", 0); err != nil {
		t.Fatal(err)
	}
	rs, err := s.Load(t.Context(), s.All())
	if err != nil {
		t.Fatal(err)
	}
	return p, s, rs[lane.ID{Topic: "pizza"}]
}

// crashed puts progress back to that of a process that died with records on the target
// of which it had not stored that they are there.
func crashed(t *testing.T, s *progress.Store, r progress.Record, at int64) {
	t.Helper()
	if err := s.Forget(t.Context(), r.Lane); err != nil {
		t.Fatal(err)
	}
	r.Position.Source, r.Position.Target, r.Position.Sequence = offsets.Source(at), offsets.Target(at), int32(at)
	r.Offsets, r.At = nil, time.Now().Add(-time.Hour)
	if err := s.Save(t.Context(), []progress.Record{r}, nil); err != nil {
		t.Fatal(err)
	}
}

// The leader counts records that consumers are not shown. They may be lost with it, so
// they are not skipped.
func TestSkipsOnlyWhatIsShown(t *testing.T) {
	p, _, r := pizzaCarried(t)
	write(t, p.client(t, p.source), "pizza", 100, 5)
	var on atomic.Bool
	remembers(p.target, &on, knows(r.Position.Producer, int32(r.Position.Epoch), 104))
	d, stop := start(t, p.config(t, "pizza"))
	reasoned(t, d, "pizza", 0, "starting", "have not confirmed the last records yet")
	on.Store(false)
	carried(t, d, p.admin(t), "pizza")
	stop()
	p.same(t, check.Options{Topic: "pizza"})
}

// Where somebody has written under a newer epoch of ours, counting is off.
func TestNewerEpochStops(t *testing.T) {
	p, _, r := pizzaCarried(t)
	write(t, p.client(t, p.source), "pizza", 100, 5)
	var on atomic.Bool
	remembers(p.target, &on, knows(r.Position.Producer, int32(r.Position.Epoch)+1, 3))
	d, stop := start(t, p.config(t, "pizza"))
	reasoned(t, d, "pizza", 0, "stopped", "another kferry")
	stop()
	if got := len(p.values(t, "pizza")); got != 100 {
		t.Errorf("%d records on the target", got)
	}
}

// A target that knows only an older epoch of a producer whose records were acknowledged
// has lost them, whatever the sequence. Before the first one it has nothing to lose.
func TestOlderEpoch(t *testing.T) {
	for _, seq := range []int32{0, 1, 1<<30 + 1} {
		p, s, r := pizzaCarried(t)
		write(t, p.client(t, p.source), "pizza", 100, 5)
		r.Position.Epoch, r.Position.Sequence = 1, seq
		if err := s.Save(t.Context(), []progress.Record{r}, nil); err != nil {
			t.Fatal(err)
		}
		var on atomic.Bool
		remembers(p.target, &on, knows(r.Position.Producer, 0, 99))
		d, stop := start(t, p.config(t, "pizza"))
		if seq == 0 {
			carried(t, d, p.admin(t), "pizza")
		} else {
			reasoned(t, d, "pizza", 0, "stopped", "it has lost records that it acknowledged")
		}
		stop()
	}
}

// After a crash the target has forgotten the producer and its retention has removed
// records: what of ours is left there counts. If nothing is, what is sent again is said.
func TestForgottenAndRemoved(t *testing.T) {
	for _, c := range []struct {
		start int64 // of the target's log, of which progress tells up to 50
		twice int64
	}{
		{0, 0},
		{70, 0},
		{100, 50},
	} {
		p, s, r := pizzaCarried(t)
		crashed(t, s, r, 50)
		gone := kadm.Offsets{}
		gone.AddOffset("pizza", 0, c.start, -1)
		to := kadm.NewClient(p.client(t, p.target))
		if _, err := to.DeleteRecords(t.Context(), gone); err != nil {
			t.Fatal(err)
		}
		var on atomic.Bool
		remembers(p.target, &on, nobody)
		p.anonymous("pizza")
		write(t, p.client(t, p.source), "pizza", 100, 10)
		d, stop := start(t, p.config(t, "pizza"))
		carried(t, d, p.admin(t), "pizza")
		counted := d.Status().Flows[0].Twice
		stop()
		ends, err := to.ListEndOffsets(t.Context(), "pizza")
		if err != nil {
			t.Fatal(err)
		}
		end, _ := ends.Lookup("pizza", 0)
		if twice := end.Offset - 110; twice != c.twice || counted != c.twice {
			t.Errorf("target from %d on: %d records twice, %d counted, want %d", c.start, twice, counted, c.twice)
		}
	}
}

// The source has removed records that were carried and whose progress was not stored, or
// may have compacted some: none comes twice, and none is left out.
func TestRemovedBehindACrash(t *testing.T) {
	for _, begin := range []int64{51, 75, 100, 103} {
		for _, forgotten := range []bool{false, true} {
			t.Run(fmt.Sprintf("log start %d, forgotten %v", begin, forgotten), func(t *testing.T) {
				p, s, r := pizzaCarried(t)
				crashed(t, s, r, 50)
				write(t, p.client(t, p.source), "pizza", 100, 10)
				gone := kadm.Offsets{}
				gone.AddOffset("pizza", 0, begin, -1)
				if _, err := p.admin(t).DeleteRecords(t.Context(), gone); err != nil {
					t.Fatal(err)
				}
				if forgotten {
					remembers(p.target, new(atomic.Bool), nobody)
				}
				d, stop := start(t, p.config(t, "pizza"))
				carried(t, d, p.admin(t), "pizza")
				f := d.Status().Flows[0]
				stop()
				lost := max(0, begin-100)
				if got := p.values(t, "pizza"); int64(len(got)) != 110-lost || f.Twice != 0 || f.Lost != lost {
					t.Errorf("%d records on the target, want %d; %d counted as lost, %d as twice", len(got), 110-lost, f.Lost, f.Twice)
				}
			})
		}
	}
}

// Lanes that cannot send keep no memory from the others: those get on.
func TestStuckLanesLeaveMemory(t *testing.T) {
	p := fakePair(t)
	const partitions, each = 240, 3
	for _, c := range []*kfake.Cluster{p.source, p.target} {
		if err := c.CreateTopic("pizza", partitions, nil); err != nil {
			t.Fatal(err)
		}
	}
	var stuck []int32
	for n := int32(0); n < partitions; n += 3 {
		stuck = append(stuck, n)
	}
	fault := p.target.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Topic: "pizza", Partitions: stuck, Err: kerr.NotEnoughReplicas, Count: -1})
	cl := p.client(t, p.source, kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerBatchCompression(kgo.NoCompression()))
	v := []byte(strings.Repeat("x", 256<<10))
	for range each {
		for n := range int32(partitions) {
			cl.Produce(t.Context(), &kgo.Record{Topic: "pizza", Partition: n, Value: v}, nil)
		}
		if err := cl.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	cfg := p.config(t, "pizza")
	cfg.MemoryBudget = 16 << 20 // a fifth of what the stuck lanes would like to hold
	d, stop := start(t, cfg)
	for n := range int32(partitions) {
		if n%3 != 0 {
			carriedPart(t, d, "pizza", n, each)
		}
	}
	fault.Remove()
	carried(t, d, p.admin(t), "pizza")
	stop()
}

// A lane whose log takes long to be read holds up no other's start.
func TestSlowStartHoldsUpNobody(t *testing.T) {
	p, s, r := pizzaCarried(t)
	crashed(t, s, r, 50)
	if err := p.source.CreateTopic("pasta", 1, nil); err != nil {
		t.Fatal(err)
	}
	write(t, p.client(t, p.source), "pasta", 0, 10)
	var on atomic.Bool
	remembers(p.target, &on, nobody)
	id, read := p.target.TopicInfo("pizza").TopicID, make(chan struct{})
	p.target.ControlKey(kmsg.Fetch.Int16(), func(r kmsg.Request) (kmsg.Response, error, bool) {
		p.target.KeepControl()
		for _, rt := range r.(*kmsg.FetchRequest).Topics {
			if rt.TopicID == id || rt.Topic == "pizza" {
				p.target.SleepControl(func() { <-read })
			}
		}
		return nil, nil, false
	})
	d, stop := start(t, p.config(t, "pizza", "pasta"))
	carriedPart(t, d, "pasta", 0, 10)
	reasoned(t, d, "pizza", 0, "starting")
	close(read)
	carried(t, d, p.admin(t), "pizza")
	stop()
	p.same(t, check.Options{Topic: "pizza"})
}

// What others wrote behind a lane's last record is read once, not at each start.
func TestOthersAreReadOnce(t *testing.T) {
	p, s, r := pizzaCarried(t)
	foreign := p.client(t, p.target, kgo.DisableIdempotentWrite(), kgo.RequiredAcks(kgo.AllISRAcks()))
	write(t, foreign, "pizza", 5000, 200)
	var on atomic.Bool
	remembers(p.target, &on, nobody)
	for range 2 {
		d, stop := start(t, p.config(t, "pizza"))
		carried(t, d, p.admin(t), "pizza")
		stop()
	}
	rs, err := s.Load(t.Context(), s.All())
	if err != nil {
		t.Fatal(err)
	}
	if got := rs[r.Lane].Position; got.Source != 100 || got.Target != 300 || got.Sequence != 100 {
		t.Errorf("the next start reads the target from offset %d on: %+v", got.Target, got)
	}
}
