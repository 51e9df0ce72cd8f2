package replicator_test

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kferry/kferry/config"
	"github.com/kferry/kferry/internal/check"
	"github.com/kferry/kferry/replicator"
)

// fakes is two embedded clusters of three brokers.
type fakes struct {
	source, target *kfake.Cluster
}

func fakePair(t *testing.T) fakes {
	t.Helper()
	newCluster := func() *kfake.Cluster {
		c, err := kfake.NewCluster(kfake.NumBrokers(3), kfake.BrokerConfigs(map[string]string{"log.cleaner.enable": "false"}))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(c.Close)
		return c
	}
	return fakes{newCluster(), newCluster()}
}

func (p fakes) config(t *testing.T, topics ...string) *config.Config {
	t.Helper()
	return &config.Config{
		Clusters: map[string]config.Cluster{
			"old": {Alias: "old", BootstrapServers: p.source.ListenAddrs(), ClientID: "kferry", Connections: 1},
			"new": {Alias: "new", BootstrapServers: p.target.ListenAddrs(), ClientID: "kferry", Connections: 2},
		},
		Flows: []config.Flow{{
			Name: "flow", Source: "old", Target: "new", Topics: topics, Policy: "identity", Separator: ".", RefreshInterval: 200 * time.Millisecond,
		}},
		MemoryBudget: 32 << 20,
	}
}

func (p fakes) client(t *testing.T, c *kfake.Cluster, opts ...kgo.Opt) *kgo.Client {
	t.Helper()
	cl, err := kgo.NewClient(append([]kgo.Opt{kgo.SeedBrokers(c.ListenAddrs()...)}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cl.Close)
	return cl
}

func (p fakes) admin(t *testing.T) *kadm.Client { return kadm.NewClient(p.client(t, p.source)) }

// write produces n records over the partitions of topic.
func write(t *testing.T, cl *kgo.Client, topic string, from, n int) {
	t.Helper()
	for i := range n {
		at := from + i
		cl.Produce(t.Context(), &kgo.Record{
			Topic: topic, Key: fmt.Appendf(nil, "key-%d", at%97), Value: fmt.Appendf(nil, "value-%09d-%s", at, strings.Repeat("x", at%300)),
			Headers: []kgo.RecordHeader{{Key: "n", Value: fmt.Append(nil, at)}},
		}, func(_ *kgo.Record, err error) {
			if err != nil && t.Context().Err() == nil {
				t.Errorf("produce: %v", err)
			}
		})
	}
	if err := cl.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func (p fakes) same(t *testing.T, o check.Options) {
	t.Helper()
	r, err := check.Compare(t.Context(), check.Plain(p.source.ListenAddrs()...), check.Plain(p.target.ListenAddrs()...), o)
	if err != nil {
		t.Fatal(err)
	}
	if !r.OK() {
		t.Fatalf("%s", r)
	}
}

// exported is what a daemon exports of its lanes, as Prometheus' own parser reads it.
func exported(d *replicator.Daemon) prometheus.Gatherer {
	return prometheus.GathererFunc(func() (out []*dto.MetricFamily, err error) {
		var page bytes.Buffer
		if err := d.WriteLanes(&page); err != nil {
			return nil, err
		}
		parser := expfmt.NewTextParser(model.UTF8Validation)
		families, err := parser.TextToMetricFamilies(&page)
		return slices.Collect(maps.Values(families)), err
	})
}

// metric reads one number from a registry; labels are "name=value".
func metric(t *testing.T, g prometheus.Gatherer, name string, labels ...string) float64 {
	t.Helper()
	families, err := g.Gather()
	if err != nil {
		t.Fatal(err)
	}
	sum, found := 0.0, false
	for _, f := range families {
		if f.GetName() != name {
			continue
		}
	next:
		for _, m := range f.GetMetric() {
			for _, want := range labels {
				k, v, _ := strings.Cut(want, "=")
				has := false
				for _, l := range m.GetLabel() {
					has = has || l.GetName() == k && l.GetValue() == v
				}
				if !has {
					continue next
				}
			}
			found = true
			sum += m.GetCounter().GetValue() + m.GetGauge().GetValue()
		}
	}
	if !found {
		t.Fatalf("no series %s %v", name, labels)
	}
	return sum
}

func TestEveryCodecOnFakes(t *testing.T) {
	p := fakePair(t)
	codecs := map[string]kgo.CompressionCodec{
		"none": kgo.NoCompression(), "gzip": kgo.GzipCompression(), "snappy": kgo.SnappyCompression(), "lz4": kgo.Lz4Compression(), "zstd": kgo.ZstdCompression(),
	}
	var topics []string
	for name, codec := range codecs {
		topic := "pizza-" + name
		topics = append(topics, topic)
		if err := p.source.CreateTopic(topic, 5, nil); err != nil {
			t.Fatal(err)
		}
		write(t, p.client(t, p.source, kgo.ProducerBatchCompression(codec), kgo.DefaultProduceTopic(topic)), topic, 0, 5000)
	}
	cfg := p.config(t, "pizza-.*")
	reg := prometheus.NewRegistry()
	d, err := replicator.New(cfg, replicator.Options{Registerer: reg})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- d.Run(ctx) }()
	for _, topic := range topics {
		carried(t, d, p.admin(t), topic)
		p.same(t, check.Options{Topic: topic})
	}
	if n := metric(t, exported(d), "kferry_records_total"); n != 25000 {
		t.Errorf("kferry_records_total is %v, want 25000", n)
	}
	if n := metric(t, exported(d), "kferry_lag_records"); n != 0 {
		t.Errorf("kferry_lag_records is %v, want 0", n)
	}
	if n := metric(t, reg, "kferry_lanes", "state=running"); n != 25 {
		t.Errorf("%v lanes run, want 25", n)
	}
	if err := d.Ready(); err != nil {
		t.Error(err)
	}
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	// One fetch may still be reserved; what lanes held must be given back.
	if n := metric(t, reg, "kferry_memory_budget_used_bytes"); n != 0 {
		t.Errorf("%v bytes of the memory budget are still taken", n)
	}
}

// The leaders of both sides move all the time while records come in.
func TestLeadersMove(t *testing.T) {
	p := fakePair(t)
	for _, c := range []*kfake.Cluster{p.source, p.target} {
		if err := c.CreateTopic("pizza", 6, nil); err != nil {
			t.Fatal(err)
		}
	}
	d, stop := start(t, p.config(t, "pizza"))
	ctx, cancel := context.WithCancel(t.Context())
	var movers sync.WaitGroup
	for i, c := range []*kfake.Cluster{p.source, p.target} {
		r := rand.New(rand.NewPCG(7, uint64(i)))
		movers.Go(func() {
			for ctx.Err() == nil {
				if err := c.MoveTopicPartition("pizza", int32(r.IntN(6)), int32(r.IntN(3))); err != nil {
					t.Error(err)
				}
				select {
				case <-time.After(20 * time.Millisecond):
				case <-ctx.Done():
				}
			}
		})
	}
	cl := p.client(t, p.source)
	for i := range 40 {
		write(t, cl, "pizza", i*500, 500)
	}
	cancel()
	movers.Wait()
	carried(t, d, p.admin(t), "pizza")
	stop()
	p.same(t, check.Options{Topic: "pizza"})
}

// A foreign writer shares the target topic, and the daemon is started again
// and again while records come in.
func TestRestartsBesideForeignWriter(t *testing.T) {
	p := fakePair(t)
	for _, c := range []*kfake.Cluster{p.source, p.target} {
		if err := c.CreateTopic("pizza", 3, nil); err != nil {
			t.Fatal(err)
		}
	}
	cl, foreign := p.client(t, p.source), p.client(t, p.target)
	for i := range 8 {
		d, stop := start(t, p.config(t, "pizza"))
		write(t, cl, "pizza", i*1000, 1000)
		for part := range int32(3) {
			err := foreign.ProduceSync(t.Context(), &kgo.Record{Topic: "pizza", Partition: part, Value: []byte("foreign")}).FirstErr()
			if err != nil {
				t.Fatal(err)
			}
		}
		if i%2 == 0 {
			carried(t, d, p.admin(t), "pizza")
		}
		stop()
	}
	d, stop := start(t, p.config(t, "pizza"))
	carried(t, d, p.admin(t), "pizza")
	stop()
	p.same(t, check.Options{Topic: "pizza", Foreign: func(r *kgo.Record) bool { return string(r.Value) == "foreign" }})
}

// Errors of the target of every kind, at random: nothing may be lost, doubled
// or put out of order.
func TestTargetErrors(t *testing.T) {
	p := fakePair(t)
	if err := p.source.CreateTopic("pizza", 4, nil); err != nil {
		t.Fatal(err)
	}
	for _, e := range []*kerr.Error{
		kerr.NotLeaderForPartition, kerr.NotEnoughReplicas, kerr.RequestTimedOut, kerr.CorruptMessage,
		kerr.KafkaStorageError, kerr.UnknownServerError, kerr.OutOfOrderSequenceNumber,
	} {
		p.target.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Topic: "pizza", Err: e, Count: 2})
	}
	d, stop := start(t, p.config(t, "pizza"))
	cl := p.client(t, p.source)
	for i := range 40 {
		write(t, cl, "pizza", i*200, 200)
	}
	carried(t, d, p.admin(t), "pizza")
	stop()
	p.same(t, check.Options{Topic: "pizza"})
}

func TestTwoWayWithPrefixesHasNoLoop(t *testing.T) {
	p := fakePair(t)
	cfg := p.config(t, ".*")
	cfg.Flows[0].Policy = "default"
	back := cfg.Flows[0]
	back.Name, back.Source, back.Target = "back", "new", "old"
	cfg.Flows = append(cfg.Flows, back)
	for _, c := range []*kfake.Cluster{p.source, p.target} {
		if err := c.CreateTopic("pizza", 1, nil); err != nil {
			t.Fatal(err)
		}
		write(t, p.client(t, c), "pizza", 0, 100)
	}
	d, stop := start(t, cfg)
	carried(t, d, p.admin(t), "pizza")
	// Another round of the catalog: by now a loop would have made topics of topics.
	if err := p.source.CreateTopic("late", 1, nil); err != nil {
		t.Fatal(err)
	}
	carried(t, d, p.admin(t), "late")
	stop()
	for c, want := range map[*kfake.Cluster]string{p.source: "late new.pizza pizza", p.target: "old.late old.pizza pizza"} {
		got, err := kadm.NewClient(p.client(t, c)).ListTopics(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, n := range got.Names() {
			if !strings.HasPrefix(n, "kferry.") {
				names = append(names, n)
			}
		}
		if s := strings.Join(names, " "); s != want {
			t.Errorf("topics %q, want %q", s, want)
		}
	}
	p.same(t, check.Options{Topic: "pizza", TargetTopic: "old.pizza"})
}

// "latest" is for what is there when the flow begins; a topic that appears later
// is carried from its first record.
func TestStartLatest(t *testing.T) {
	p := fakePair(t)
	if err := p.source.CreateTopic("pizza-old", 1, nil); err != nil {
		t.Fatal(err)
	}
	cl := p.client(t, p.source)
	write(t, cl, "pizza-old", 0, 100)
	cfg := p.config(t, "pizza-.*")
	cfg.Flows[0].Start = config.Start{Kind: config.StartLatest}
	d, stop := start(t, cfg)
	carried(t, d, p.admin(t), "pizza-old")
	write(t, cl, "pizza-old", 100, 10)
	if err := p.source.CreateTopic("pizza-new", 1, nil); err != nil {
		t.Fatal(err)
	}
	write(t, cl, "pizza-new", 0, 50)
	carried(t, d, p.admin(t), "pizza-new")
	carried(t, d, p.admin(t), "pizza-old")
	stop()
	p.same(t, check.Options{Topic: "pizza-new"})
	ends, err := kadm.NewClient(p.client(t, p.target)).ListEndOffsets(t.Context(), "pizza-old")
	if err != nil {
		t.Fatal(err)
	}
	if o, _ := ends.Lookup("pizza-old", 0); o.Offset != 10 {
		t.Errorf("%d records of pizza-old are on the target, want the 10 written after the start", o.Offset)
	}
}

// A topic that was deleted and made anew stops its lane: its offsets mean
// something else, and only a person can know what is wanted.
func TestTopicMadeAnewStops(t *testing.T) {
	p := fakePair(t)
	if err := p.source.CreateTopic("pizza", 1, nil); err != nil {
		t.Fatal(err)
	}
	if err := p.source.CreateTopic("other", 1, nil); err != nil {
		t.Fatal(err)
	}
	cl := p.client(t, p.source)
	write(t, cl, "pizza", 0, 100)
	d, stop := start(t, p.config(t, "pizza", "other"))
	carried(t, d, p.admin(t), "pizza")
	if err := p.source.DeleteTopic("pizza"); err != nil {
		t.Fatal(err)
	}
	if err := p.source.CreateTopic("pizza", 1, nil); err != nil {
		t.Fatal(err)
	}
	write(t, p.client(t, p.source), "pizza", 0, 500)
	reason := ""
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end) && !strings.Contains(reason, "made anew"); time.Sleep(20 * time.Millisecond) {
		for _, l := range d.Status().Flows[0].Lanes {
			if l.Topic == "pizza" && l.State == "stopped" {
				reason = l.Reason
			}
		}
	}
	if !strings.Contains(reason, `source topic "pizza" was deleted and made anew`) || !strings.Contains(reason, "docs/progress.md") {
		t.Errorf("reason %q", reason)
	}
	write(t, cl, "other", 0, 10)
	carried(t, d, p.admin(t), "other")
	stop()
	ends, err := kadm.NewClient(p.client(t, p.target)).ListEndOffsets(t.Context(), "pizza")
	if err != nil {
		t.Fatal(err)
	}
	if o, _ := ends.Lookup("pizza", 0); o.Offset != 100 {
		t.Errorf("the target has %d records of pizza, want the old 100 alone", o.Offset)
	}
}

// More lanes with large batches than fit one request: each must have its turn.
func TestManyLargeBatches(t *testing.T) {
	p := fakePair(t)
	if err := p.source.CreateTopic("pizza", 24, nil); err != nil {
		t.Fatal(err)
	}
	cl := p.client(t, p.source, kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerBatchCompression(kgo.NoCompression()))
	for i := range 24 * 4 {
		cl.Produce(t.Context(), &kgo.Record{Topic: "pizza", Partition: int32(i % 24), Value: []byte(strings.Repeat("x", 900_000+i))}, nil)
	}
	if err := cl.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	d, stop := start(t, p.config(t, "pizza"))
	carried(t, d, p.admin(t), "pizza")
	stop()
	p.same(t, check.Options{Topic: "pizza"})
}
