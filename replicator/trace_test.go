package replicator_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kferry/kferry/config"
	"github.com/kferry/kferry/replicator"
)

// traced wants one answer.
func (v *virtual) traced(q replicator.Lookup, where string, target int64, text string) replicator.Trace {
	v.t.Helper()
	got := v.d.Trace(q)
	if len(got) != 1 {
		v.t.Fatalf("%+v: got %+v", q, got)
	}
	one := got[0]
	if one.Where != where || one.TargetOffset != target || !strings.Contains(one.Text, text) || one.Topic != q.Topic || one.Partition != q.Partition || one.Offset != q.Offset {
		v.t.Errorf("%+v: got %+v\nwant %s at %d: %q", q, one, where, target, text)
	}
	return one
}

// One topic, with a transaction among its records, from before its lane starts
// until it is carried, and what is not on its way at all.
func TestTrace(t *testing.T) {
	virtually(t, func(t *testing.T, v *virtual) {
		v.topic("pizza", 2)
		v.topic("secret", 1)
		v.write("pizza", 0, 0, 10)
		txn, err := kgo.NewClient(kgo.SeedBrokers(v.source.ListenAddrs()...), kgo.Dialer(v.wires[v.source].DialContext),
			kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.TransactionalID("t"))
		if err != nil {
			t.Fatal(err)
		}
		for _, end := range []kgo.TransactionEndTry{kgo.TryCommit, kgo.TryAbort} { // 10 and its marker, 12 and its marker
			if err := txn.BeginTransaction(); err != nil {
				t.Fatal(err)
			}
			if err := txn.ProduceSync(t.Context(), &kgo.Record{Topic: "pizza", Value: []byte("10")}).FirstErr(); err != nil {
				t.Fatal(err)
			}
			if err := txn.EndTransaction(t.Context(), end); err != nil {
				t.Fatal(err)
			}
		}
		txn.Close()
		v.write("pizza", 0, 11, 1) // at 14

		cfg := v.config("pizza", "secret", "late")
		cfg.Flows[0].TopicsExclude = []string{"sec.*"}
		cfg.Flows[0].Prefix = "x-"
		cfg.Flows[0].StartOffsets = config.StartOffsets{"pizza": {0: 4}}
		stop := v.run(cfg)
		v.await("pizza", 0, "running", 0)
		at := func(offset int64) replicator.Lookup { return replicator.Lookup{Topic: "pizza", Offset: offset} }
		if got := v.traced(at(4), "carried", 0, "the target has it, at offset 0"); !got.Exact || got.TargetTopic != "x-pizza" || got.State != "running" || got.Flow != "flow" {
			t.Errorf("got %+v", got)
		}
		v.traced(at(10), "carried", 6, "the target has it, at offset 6")
		for _, gap := range []int64{11, 12, 13} {
			if got := v.traced(at(gap), "carried", -1, "marker or an aborted record of a transaction"); got.Exact {
				t.Errorf("got %+v", got)
			}
		}
		v.traced(at(14), "carried", 7, "at offset 7")
		v.traced(at(3), "before_start", -1, "began at source offset 4")
		v.traced(at(15), "beyond_end", -1, "its log ends at 15")
		v.traced(replicator.Lookup{Topic: "pizza", Partition: 7}, "not_carried", -1, `topic "pizza" has 2 partitions on the source`)
		v.traced(replicator.Lookup{Topic: "late"}, "not_carried", -1, `the source has no topic "late"`)
		v.traced(replicator.Lookup{Topic: "secret"}, "not_carried", -1, "a pattern of topics_exclude")
		v.traced(replicator.Lookup{Topic: "<b>\n"}, "not_carried", -1, `flow "flow" does not carry topic "<b>\n": no pattern`)
		v.traced(replicator.Lookup{Topic: "__consumer_offsets"}, "not_carried", -1, "machinery")
		v.traced(replicator.Lookup{Topic: "pizza", Flow: "other"}, "not_carried", -1, `there is no flow "other"`)

		// The target answers no more: what is sent stays in flight.
		away := v.target.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Topic: "x-pizza", Err: kerr.RequestTimedOut, Count: -1})
		v.write("pizza", 0, 12, 1) // at 15
		v.awaitTrace(at(15), "in_flight")
		away.Remove()
		v.await("pizza", 0, "running", 0)
		v.traced(at(15), "carried", 8, "at offset 8")

		v.pause(v.store(), "")
		v.await("pizza", 0, "paused", 0)
		v.write("pizza", 0, 13, 2)
		v.await("pizza", 0, "paused", 2)
		v.traced(at(17), "not_fetched", -1, "below source offset 16, which is 1 offset before it; its lane is paused: paused by ann")
		stop()

		stop = v.run(cfg)
		v.await("pizza", 0, "paused", 2)
		v.traced(at(4), "carried", 0, "at offset 0")
		stop()
	})
}

// awaitTrace waits until every answer is where.
func (v *virtual) awaitTrace(q replicator.Lookup, where string) []replicator.Trace {
	v.t.Helper()
	for range 1200 {
		got := v.d.Trace(q)
		if !slices.ContainsFunc(got, func(t replicator.Trace) bool { return t.Where != where }) {
			return got
		}
		time.Sleep(100 * time.Millisecond) // of the bubble's clock
	}
	v.t.Fatalf("two minutes, and %+v is %+v, want %s", q, v.d.Trace(q), where)
	return nil
}

// Two flows carry a topic: each answers. Before the topics are read, nobody knows.
func TestTraceOfSeveralFlows(t *testing.T) {
	virtually(t, func(t *testing.T, v *virtual) {
		v.topic("pizza", 1)
		v.write("pizza", 0, 0, 10)
		cfg := v.config("pizza")
		second, third := cfg.Flows[0], cfg.Flows[0]
		second.Name, second.Prefix = "second", "y-"
		third.Name, third.Topics = "third", []string{"clicks"}
		cfg.Flows = append(cfg.Flows, second, third)
		stop := v.run(cfg)
		defer stop()
		if got := v.d.Trace(replicator.Lookup{Topic: "pizza"}); len(got) != 2 || got[0].Where != "unknown" || !strings.Contains(got[0].Text, "still starting") {
			t.Errorf("got %+v", got)
		}
		carried := v.awaitTrace(replicator.Lookup{Topic: "pizza", Offset: 3}, "carried")
		if len(carried) != 2 || carried[0].Flow != "flow" || carried[1].Flow != "second" || carried[1].TargetTopic != "y-pizza" {
			t.Errorf("got %+v", carried)
		}
		got := v.d.Trace(replicator.Lookup{Topic: "orders"})
		if len(got) != 1 || got[0].Where != "not_carried" || strings.Count(got[0].Text, "does not carry") != 3 {
			t.Errorf("got %+v", got)
		}
	})
}
