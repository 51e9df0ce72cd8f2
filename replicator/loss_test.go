package replicator_test

import (
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kferry/kferry/replicator"
)

// reason waits until partition 0 of topic is stopped and says why.
func reason(t *testing.T, d *replicator.Daemon, topic string) string {
	t.Helper()
	for end := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		for _, l := range d.Status().Flows[0].Lanes {
			if l.Topic == topic && l.Partition == 0 && l.State == "stopped" {
				return l.Reason
			}
		}
		if time.Now().After(end) {
			t.Fatal("not stopped")
		}
	}
}

// values reads all of partition 0 of the target topic.
func (p fakes) values(t *testing.T, topic string) (values []string) {
	t.Helper()
	cl := p.client(t, p.target, kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: {0: kgo.NewOffset().AtStart()}}))
	ends, err := kadm.NewClient(cl).ListEndOffsets(t.Context(), topic)
	if err != nil {
		t.Fatal(err)
	}
	end, _ := ends.Lookup(topic, 0)
	for int64(len(values)) < end.Offset {
		fs := cl.PollFetches(t.Context())
		if err := fs.Err(); err != nil {
			t.Fatal(err)
		}
		fs.EachRecord(func(r *kgo.Record) { values = append(values, strings.TrimRight(string(r.Value), "x")) })
	}
	return values
}

// A log that was truncated and has grown again looks, by its offsets alone, as
// if nothing had happened. Its leader epochs tell.
func TestTruncatedSource(t *testing.T) {
	p := fakePair(t)
	if err := p.source.CreateTopic("pizza", 1, nil); err != nil {
		t.Fatal(err)
	}
	write(t, p.client(t, p.source), "pizza", 0, 100)
	cfg := p.config(t, "pizza")
	d, stop := start(t, cfg)
	carried(t, d, p.admin(t), "pizza")
	stop()
	p.source.ControlKey(kmsg.OffsetForLeaderEpoch.Int16(), func(r kmsg.Request) (kmsg.Response, error, bool) {
		p.source.KeepControl()
		req := r.(*kmsg.OffsetForLeaderEpochRequest)
		asked := req.Topics[0].Partitions[0]
		if asked.LeaderEpoch < 0 {
			t.Errorf("asked for epoch %d", asked.LeaderEpoch)
		}
		resp := req.ResponseKind().(*kmsg.OffsetForLeaderEpochResponse)
		rt := kmsg.NewOffsetForLeaderEpochResponseTopic()
		rt.Topic = "pizza"
		rp := kmsg.NewOffsetForLeaderEpochResponseTopicPartition()
		rp.LeaderEpoch, rp.EndOffset = asked.LeaderEpoch, 60
		rt.Partitions = append(rt.Partitions, rp)
		resp.Topics = append(resp.Topics, rt)
		return resp, nil, true
	})
	d, stop = start(t, cfg)
	if why := reason(t, d, "pizza"); !strings.Contains(why, "truncated to offset 60, below the 100") || !strings.Contains(why, "on_source_loss: continue") {
		t.Error(why)
	}
	stop()
	if n := len(p.values(t, "pizza")); n != 100 {
		t.Errorf("%d records on the target, want the 100 from before", n)
	}
	cfg.Flows[0].OnSourceLoss = "continue"
	d, stop = start(t, cfg)
	carried(t, d, p.admin(t), "pizza")
	stop()
	if got := p.values(t, "pizza"); len(got) != 140 || !strings.HasPrefix(got[100], "value-000000060-") || !strings.HasPrefix(got[139], "value-000000099-") {
		t.Errorf("%d records on the target: %q", len(got), got[100:])
	}
}

func TestSourceMadeAnewContinues(t *testing.T) {
	p := fakePair(t)
	for _, c := range []struct{ from, n int }{{0, 100}, {1000, 30}} {
		if c.from > 0 {
			if _, err := p.admin(t).DeleteTopics(t.Context(), "pizza"); err != nil {
				t.Fatal(err)
			}
		}
		if err := p.source.CreateTopic("pizza", 1, nil); err != nil {
			t.Fatal(err)
		}
		write(t, p.client(t, p.source), "pizza", c.from, c.n)
		cfg := p.config(t, "pizza")
		cfg.Flows[0].OnSourceLoss = "continue"
		d, stop := start(t, cfg)
		carried(t, d, p.admin(t), "pizza")
		stop()
	}
	if got := p.values(t, "pizza"); len(got) != 130 || !strings.HasPrefix(got[100], "value-000001000-") {
		t.Errorf("%d records on the target", len(got))
	}
}

func TestRetentionOvertakes(t *testing.T) {
	p := fakePair(t)
	if err := p.source.CreateTopic("pizza", 1, nil); err != nil {
		t.Fatal(err)
	}
	write(t, p.client(t, p.source), "pizza", 0, 100)
	cfg := p.config(t, "pizza")
	d, stop := start(t, cfg)
	carried(t, d, p.admin(t), "pizza")
	stop()
	write(t, p.client(t, p.source), "pizza", 100, 100)
	gone := kadm.Offsets{}
	gone.AddOffset("pizza", 0, 150, -1)
	if _, err := p.admin(t).DeleteRecords(t.Context(), gone); err != nil {
		t.Fatal(err)
	}
	cfg.Flows[0].OnSourceLoss = "stop"
	d, stop = start(t, cfg)
	if why := reason(t, d, "pizza"); !strings.Contains(why, "removed 50 offsets from 100 on") {
		t.Error(why)
	}
	stop()
	cfg.Flows[0].OnSourceLoss = ""
	d, stop = start(t, cfg)
	carried(t, d, p.admin(t), "pizza")
	stop()
	if got := p.values(t, "pizza"); len(got) != 150 || !strings.HasPrefix(got[100], "value-000000150-") {
		t.Errorf("%d records on the target", len(got))
	}
}
