package replicator_test

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/kferry/kferry/config"
	"github.com/kferry/kferry/internal/check"
	"github.com/kferry/kferry/internal/datagen"
	"github.com/kferry/kferry/internal/kafka"
	"github.com/kferry/kferry/internal/kafkatest"
	"github.com/kferry/kferry/replicator"
	"github.com/kferry/kferry/replicator/catalog"
	"github.com/kferry/kferry/replicator/deadletter"
	"github.com/kferry/kferry/replicator/lane"
)

// What real brokers refuse: old records, null keys in a compacted topic, a record
// that is too large. First the lanes stop, then the flow sets such records aside.
func TestRealTargetRefuses(t *testing.T) {
	source, target := kafkatest.Shared(t, kafkatest.Options{}), kafkatest.Shared(t, kafkatest.Options{Config: map[string]string{"num.io.threads": "4"}})
	settings := map[string]map[string]string{
		"refused-times": {"message.timestamp.before.max.ms": "3600000"},
		"refused-keys":  {"cleanup.policy": "compact"},
		"refused-size":  nil,
	}
	want, letters := map[string][]string{}, map[string][]string{}
	cl := source.Client(t, "", kgo.ProducerBatchMaxBytes(8<<20), kgo.ProducerBatchCompression(kgo.Lz4Compression()))
	for topic, own := range settings {
		source.CreateTopic(t, topic, 1, map[string]string{"max.message.bytes": "8388608"})
		target.CreateTopic(t, topic, 1, own)
		var rs []*kgo.Record
		for i := range 1000 {
			at := fmt.Sprint(topic, " ", i)
			r := &kgo.Record{Topic: topic, Key: []byte(at), Value: []byte(at), Timestamp: time.Now()}
			bad := i < 20 || i%250 == 99 || i == 999
			switch {
			case topic == "refused-size":
				if bad = i == 500; bad {
					r.Value = append([]byte(at), noise(3<<20)...)
				}
			case bad && topic == "refused-times":
				r.Timestamp = time.Now().Add(-48 * time.Hour)
			case bad:
				r.Key = nil
			}
			if bad {
				letters[topic] = append(letters[topic], fmt.Sprint(i))
			} else {
				want[topic] = append(want[topic], at)
			}
			rs = append(rs, r)
		}
		for chunk := range slices.Chunk(rs, 300) {
			if err := cl.ProduceSync(t.Context(), chunk...).FirstErr(); err != nil {
				t.Fatal(err)
			}
		}
	}
	cfg := &config.Config{
		Clusters: map[string]config.Cluster{"old": source.Config("old", ""), "new": target.Config("new", "")},
		Flows: []config.Flow{{
			Name: "refused", Source: "old", Target: "new", Topics: []string{"refused-.*"}, Policy: "identity", RefreshInterval: time.Second,
		}},
		MemoryBudget: 64 << 20,
	}
	foretells(t, cfg)
	d, stop := start(t, cfg)
	const hint = "on_refused: dead_letter"
	reasoned(t, d, "refused-times", 0, "stopped", `target topic "refused-times"`, "source offset 0", "INVALID_TIMESTAMP", "raise message.timestamp.before.max.ms", hint)
	reasoned(t, d, "refused-keys", 0, "stopped", `target topic "refused-keys"`, "source offset 0", "INVALID_RECORD", "null key", "cleanup.policy=compact", hint)
	reasoned(t, d, "refused-size", 0, "stopped", `target topic "refused-size"`, "source offset 500", "raise max.message.bytes", hint)
	stop()

	cfg.Flows[0].OnRefused = "dead_letter"
	d, stop = start(t, cfg)
	for topic := range settings {
		carried(t, d, source.Admin(t), topic)
	}
	stop()
	for topic := range settings {
		var got []string
		for _, r := range readReal(t, target, topic) {
			got = append(got, string(r.Value))
		}
		if !slices.Equal(got, want[topic]) {
			t.Errorf("%s: %d records on the target, want %d, in order", topic, len(got), len(want[topic]))
		}
	}
	got := map[string][]string{}
	for _, r := range readReal(t, target, "kferry.refused.dead_letter") {
		h := map[string]string{}
		for _, x := range r.Headers {
			h[x.Key] = string(x.Value)
		}
		topic, at := h[deadletter.HeaderTopic], h[deadletter.HeaderOffset]
		got[topic] = append(got[topic], at)
		if !bytes.HasPrefix(r.Value, []byte(topic+" "+at)) || h[deadletter.HeaderTargetTopic] != topic || h[deadletter.HeaderPartition] != "0" ||
			!strings.Contains(h[deadletter.HeaderReason], ": ") || len(h[deadletter.HeaderTimestamp]) != 13 || (r.Key == nil) != (topic == "refused-keys") {
			t.Errorf("dead letter of %s at %s: key %q, headers %v", topic, at, r.Key, h)
		}
	}
	for topic, offs := range letters {
		if !slices.Equal(got[topic], offs) {
			t.Errorf("%s: dead letters %v, want %v", topic, got[topic], offs)
		}
	}
}

// foretells checks what brokers tell beforehand about the topics of TestRealTargetRefuses.
func foretells(t *testing.T, cfg *config.Config) {
	t.Helper()
	open := func(alias string) *kafka.Cluster {
		cl, err := kafka.Open(cfg.Clusters[alias], kafka.Options{})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(cl.Close)
		return cl
	}
	filter, names, err := catalog.Naming(cfg.Flows[0])
	if err != nil {
		t.Fatal(err)
	}
	c := catalog.New(catalog.Options{Source: open("old"), Target: open("new"), Filter: filter, Policy: names})
	v, _, _, err := c.Refresh(t.Context(), func() bool { return false })
	if err != nil {
		t.Fatal(err)
	}
	for topic, want := range map[string]catalog.Place{
		"refused-times": {},
		"refused-keys":  {},
		"refused-size":  {Foretold: true, Ahead: time.Hour},
	} {
		p := v[lane.ID{Topic: topic}]
		if p.Foretold != want.Foretold || p.Ahead != want.Ahead || p.Limit != 1048588 || p.Expiry != 24*time.Hour || p.TargetEpoch != lane.LeaderOf(0) {
			t.Errorf("%s: %+v", topic, p)
		}
	}
}

// throttles counts how often a broker asked us to slow down.
type throttles struct{ n atomic.Int64 }

func (h *throttles) OnBrokerThrottle(kgo.BrokerMetadata, time.Duration, bool) { h.n.Add(1) }

// A quota of the target is no refusal: the lane goes on, slowly.
func TestRealQuota(t *testing.T) {
	source, target := kafkatest.Shared(t, kafkatest.Options{}), kafkatest.Shared(t, kafkatest.Options{Config: map[string]string{"num.io.threads": "4"}})
	source.CreateTopic(t, "quota", 1, nil)
	generate(t, source, "", datagen.Options{Topic: "quota", Records: 3000, Codec: "none", Size: 1000})
	slow := "slow"
	q := kadm.AlterClientQuotaEntry{
		Entity: kadm.ClientQuotaEntity{{Type: "client-id", Name: &slow}}, Ops: []kadm.AlterClientQuotaOp{{Key: "producer_byte_rate", Value: 200_000}},
	}
	if rs, err := target.Admin(t).AlterClientQuotas(t.Context(), []kadm.AlterClientQuotaEntry{q}); err != nil || rs[0].Err != nil {
		t.Fatal(err, rs)
	}
	to := target.Config("new", "")
	to.ClientID = slow
	cfg := &config.Config{
		Clusters:     map[string]config.Cluster{"old": source.Config("old", ""), "new": to},
		Flows:        []config.Flow{{Name: "quota", Source: "old", Target: "new", Topics: []string{"quota"}, Policy: "identity", RefreshInterval: time.Second}},
		MemoryBudget: 64 << 20,
	}
	var h throttles
	d, stop := startWith(t, cfg, replicator.Options{ClusterOptions: func(string) kafka.Options { return kafka.Options{Hooks: []kgo.Hook{&h}} }})
	carried(t, d, source.Admin(t), "quota")
	stop()
	if h.n.Load() == 0 {
		t.Error("the target did not throttle; this test is about that")
	}
	same(t, pairOf{source, target}, check.Options{Topic: "quota"})
}

// readReal reads a topic of one partition to its end.
func readReal(t *testing.T, c *kafkatest.Cluster, topic string) []*kgo.Record {
	t.Helper()
	ends, err := c.Admin(t).ListEndOffsets(t.Context(), topic)
	if err != nil {
		t.Fatal(err)
	}
	end, _ := ends.Lookup(topic, 0)
	cl := c.Client(t, "", kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: {0: kgo.NewOffset().AtStart()}}))
	var rs []*kgo.Record
	for len(rs) == 0 || rs[len(rs)-1].Offset+1 < end.Offset {
		fs := cl.PollFetches(t.Context())
		if err := fs.Err(); err != nil {
			t.Fatal(err)
		}
		rs = append(rs, fs.Records()...)
	}
	return rs
}
