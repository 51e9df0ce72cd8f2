package mm2

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/kferry/kferry/internal/kafkatest"
	"github.com/kferry/kferry/offsets"
)

// both decodes a record of MirrorMaker 2's and wants the encoder to give the same bytes back.
func both[R record](t *testing.T, r *kgo.Record, decode func(key, value []byte) (R, error)) R {
	t.Helper()
	out, err := decode(r.Key, r.Value)
	if err != nil {
		t.Fatal(err)
	}
	key, value, err := out.Encode()
	if err != nil || string(key) != string(r.Key) || string(value) != string(r.Value) {
		t.Fatalf("%s: %x %x is encoded as %x %x, %v", r.Topic, r.Key, r.Value, key, value, err)
	}
	if r.Partition != 0 {
		t.Errorf("%s: a record is in partition %d", r.Topic, r.Partition)
	}
	return out
}

// all decodes every record of a topic.
func all[R record](t *testing.T, c *kafkatest.Cluster, topic string, decode func(key, value []byte) (R, error)) []R {
	t.Helper()
	var out []R
	for _, r := range c.Records(t, topic) {
		out = append(out, both(t, r, decode))
	}
	if len(out) == 0 {
		t.Fatalf("nothing in %s", topic)
	}
	t.Logf("%d records in %s are read and written alike", len(out), topic)
	return out
}

// world is a MirrorMaker 2 that has carried the flow, and was stopped.
type world struct {
	source, target *kafkatest.Cluster
	names          Names
	ends           map[int32]offsets.Source // of the topic orders
}

// produce appends that many records to the partitions of orders, and counts them.
func (w *world) produce(t *testing.T, records map[int32]offsets.Source) {
	t.Helper()
	cl := w.source.Client(t, kafkatest.AdminUser, kgo.RecordPartitioner(kgo.ManualPartitioner()))
	for partition, n := range records {
		w.ends[partition] += n
		for range n {
			cl.Produce(t.Context(), &kgo.Record{Topic: "orders", Partition: partition, Value: []byte("x")}, func(_ *kgo.Record, err error) {
				if err != nil {
					t.Error(err)
				}
			})
		}
	}
	if err := cl.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
}

var groups = []string{"group-1", "größe 😀"}

// mirrored lets the real MirrorMaker 2 carry a topic and two groups.
func mirrored(t *testing.T) world {
	t.Helper()
	w := world{
		source: kafkatest.Start(t, kafkatest.Options{}),
		target: kafkatest.Start(t, kafkatest.Options{Security: kafkatest.SASLSSL}),
		names:  Names{Source: "A", Target: "B"},
		ends:   map[int32]offsets.Source{},
	}
	w.source.CreateTopic(t, "orders", 3, nil)
	w.produce(t, map[int32]offsets.Source{0: 300, 1: 200, 2: 1})
	for i, group := range groups {
		var at kadm.Offsets
		for partition, end := range w.ends {
			at.Add(kadm.Offset{Topic: "orders", Partition: partition, At: int64(end) + int64(i), LeaderEpoch: -1, Metadata: fmt.Sprintf("m%d", i)})
		}
		if err := w.source.Admin(t).CommitAllOffsets(t.Context(), group, at); err != nil {
			t.Fatal(err)
		}
	}
	properties := kafkatest.MM2Properties(t, map[string]*kafkatest.Cluster{"A": w.source, "B": w.target})
	properties["A->B.enabled"] = "true"
	properties["offset.lag.max"] = "10"
	mm2 := kafkatest.StartMM2(t, properties)
	mm2.WaitRecords(w.target, w.names.RemoteHeartbeats(), 1)
	mm2.WaitRecords(w.target, w.names.Remote("orders"), 501)
	// MirrorMaker 2 begins its tasks anew when it finds another topic, and forgets the syncs that it still had to write. So each
	// partition gets one more record now.
	w.produce(t, map[int32]offsets.Source{0: 1, 1: 1, 2: 1})
	mm2.WaitRecords(w.target, w.names.Checkpoints(), 6)
	mm2.Wait("a checkpoint of every group and partition", func() (bool, string) {
		found := map[string]bool{}
		for _, r := range w.target.Records(t, w.names.Checkpoints()) {
			found[string(r.Key)] = true
		}
		return len(found) == 6, fmt.Sprint(len(found), " of 6")
	})
	mm2.Stop()
	return w
}

// What the real MirrorMaker 2 stored is read, and written alike; what is written here its own client and its own console
// formatters read.
func TestRealMirrorMaker(t *testing.T) {
	w := mirrored(t)
	n := w.names
	syncs := all(t, w.source, n.OffsetSyncs(OnSource), DecodeOffsetSync)
	points := all(t, w.target, n.Checkpoints(), DecodeCheckpoint)
	beats := all(t, w.target, n.Heartbeats(), DecodeHeartbeat)
	carried := all(t, w.target, n.RemoteHeartbeats(), DecodeHeartbeat)
	back := all(t, w.source, n.Heartbeats(), DecodeHeartbeat)
	if beats[0].Source != "A" || beats[0].Target != "B" || back[0] != carried[0] || back[0].Source != "B" {
		t.Errorf("heartbeats %+v on the target, %+v on the source, %+v carried", beats[0], back[0], carried[0])
	}
	if s := syncs[0]; s.Topic != "orders" || int64(s.Upstream) != int64(s.Downstream) {
		t.Errorf("offset sync %+v: records were carried from the first on", s)
	}
	for _, p := range points {
		if !slices.Contains(groups, p.Group) || p.Topic != "A.orders" || p.Downstream > offsets.Target(w.ends[p.Partition]) ||
			p.Metadata != fmt.Sprintf("m%d", slices.Index(groups, p.Group)) {
			t.Errorf("checkpoint %+v", p)
		}
	}
	positions(t, w)

	fresh := kafkatest.Start(t, kafkatest.Options{Security: kafkatest.SASLPlaintext})
	fresh.CreateTopic(t, "A.orders", 3, nil)
	write(t, fresh, n.OffsetSyncs(OnTarget), syncs)
	write(t, fresh, n.Checkpoints(), points)
	write(t, fresh, n.Heartbeats(), beats)
	write(t, fresh, n.RemoteHeartbeats(), carried)
	formatted(t, fresh, "OffsetSync", n.OffsetSyncs(OnTarget), syncs, func(s OffsetSync) string {
		return fmt.Sprintf("OffsetSync{topicPartition=%s-%d, upstreamOffset=%d, downstreamOffset=%d}", s.Topic, s.Partition, s.Upstream, s.Downstream)
	})
	formatted(t, fresh, "Checkpoint", n.Checkpoints(), points, func(p Checkpoint) string {
		return fmt.Sprintf("Checkpoint{consumerGroupId=%s, topicPartition=%s-%d, upstreamOffset=%d, downstreamOffset=%d, metadata=%s}",
			p.Group, p.Topic, p.Partition, p.Upstream, p.Downstream, p.Metadata)
	})
	formatted(t, fresh, "Heartbeat", n.Heartbeats(), beats, func(h Heartbeat) string {
		return fmt.Sprintf("Heartbeat{sourceClusterAlias=%s, targetClusterAlias=%s, timestamp=%d}", h.Source, h.Target, h.Millis)
	})
	translated(t, fresh, points)
}

// positions reads what Connect stored. The positions of orders are at its ends.
func positions(t *testing.T, w world) {
	const slots = 25
	stored := map[SourceKey]offsets.Source{}
	for _, r := range w.target.Records(t, w.names.ConnectOffsets()) {
		if got := Partition(r.Key, slots); got != r.Partition {
			t.Errorf("%s: is in partition %d, would go to %d", r.Key, r.Partition, got)
		}
		if !strings.HasPrefix(string(r.Key), `["`+SourceConnector+`"`) {
			continue // Connect stores something for the other connectors too
		}
		key, err := DecodeSourceKey(r.Key)
		if err != nil {
			t.Fatal(err)
		}
		next, ok, err := DecodePosition(r.Value)
		if err != nil || !ok {
			t.Fatalf("%s: %v, %v", r.Value, ok, err)
		}
		again, err1 := key.Encode()
		value, err2 := EncodePosition(next)
		if err1 != nil || err2 != nil || string(again) != string(r.Key) || string(value) != string(r.Value) {
			t.Errorf("%s %s is encoded as %s %s, %v, %v", r.Key, r.Value, again, value, err1, err2)
		}
		stored[key] = next
	}
	for partition, end := range w.ends {
		key := SourceKey{SourceConnector, "A", "orders", partition}
		if stored[key] != end {
			t.Errorf("partition %d goes on at %d, want %d; of %v", partition, stored[key], end, stored)
		}
	}
	t.Logf("%d positions are read and written alike", len(stored))
}

// write stores records in a new topic.
func write[R record](t *testing.T, c *kafkatest.Cluster, topic string, records []R) {
	t.Helper()
	c.CreateTopic(t, topic, 1, nil)
	cl := c.Client(t, kafkatest.AdminUser, kgo.DefaultProduceTopic(topic))
	for _, r := range records {
		key, value, err := r.Encode()
		if err != nil {
			t.Fatal(err)
		}
		if err := cl.ProduceSync(t.Context(), &kgo.Record{Key: key, Value: value}).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
}

// formatted wants the console formatter to print what line gives.
func formatted[R record](t *testing.T, c *kafkatest.Cluster, formatter, topic string, records []R, line func(R) string) {
	t.Helper()
	var want []string
	for _, r := range records {
		want = append(want, line(r))
	}
	if got := c.Formatted(t, formatter, topic, len(records)); !slices.Equal(got, want) {
		t.Errorf("%sFormatter prints\n%s\nwant\n%s", formatter, strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// translated wants MirrorMaker 2's client to find all on the cluster, and of each partition the last checkpoint.
func translated(t *testing.T, c *kafkatest.Cluster, points []Checkpoint) {
	group := groups[1]
	last := map[int32]string{}
	for _, p := range points {
		if p.Group == group {
			last[p.Partition] = fmt.Sprintf("offset A.orders-%d %d %q", p.Partition, p.Downstream, p.Metadata)
		}
	}
	want := append([]string{
		"upstreamCluster A", // by A.heartbeats
		"replicationHops A 1",
		"heartbeatTopic A.heartbeats", "heartbeatTopic heartbeats",
		"checkpointTopic A.checkpoints.internal",
		"remoteTopic A.heartbeats", "remoteTopic A.orders",
		"remoteTopicOf A A.heartbeats", "remoteTopicOf A A.orders",
	}, slices.Sorted(maps.Values(last))...)
	if got := c.MirrorRead(t, "A", group, nil); !slices.Equal(got, want) || len(last) != 3 {
		t.Errorf("MirrorClient finds\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}
