package replicator_test

import (
	"context"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/kferry/kferry/config"
	"github.com/kferry/kferry/internal/check"
	"github.com/kferry/kferry/internal/datagen"
	"github.com/kferry/kferry/internal/kafka"
	"github.com/kferry/kferry/internal/kafkatest"
	"github.com/kferry/kferry/replicator"
)

func TestMain(m *testing.M) { kafkatest.Main(m) }

// pairOf is two real clusters over TLS and SCRAM.
type pairOf struct {
	source, target *kafkatest.Cluster
}

func realPair(t *testing.T) pairOf {
	t.Helper()
	o := kafkatest.Options{Security: kafkatest.SASLSSL, Users: map[string]string{"alice": "alice-secret"}}
	source := kafkatest.Shared(t, o)
	o.Users = map[string]string{"bob": "bob-secret"}
	return pairOf{source, kafkatest.Shared(t, o)}
}

func (p pairOf) config(t *testing.T, topics ...string) *config.Config {
	t.Helper()
	return &config.Config{
		Clusters: map[string]config.Cluster{"old": p.source.Config("old", "alice"), "new": p.target.Config("new", "bob")},
		Flows: []config.Flow{{
			Name: t.Name(), Source: "old", Target: "new", Topics: topics, Policy: "identity", RefreshInterval: time.Second,
		}},
		MemoryBudget: 256 << 20,
	}
}

// start runs a daemon until stop is called.
func start(t *testing.T, cfg *config.Config) (d *replicator.Daemon, stop func()) {
	t.Helper()
	return startWith(t, cfg, replicator.Options{})
}

func startWith(t *testing.T, cfg *config.Config, o replicator.Options) (d *replicator.Daemon, stop func()) {
	t.Helper()
	o.Logger = slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug}))
	d, err := replicator.New(cfg, o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- d.Run(ctx) }()
	ended := false
	stop = func() {
		if ended {
			return
		}
		ended = true
		cancel()
		if err := <-done; err != nil {
			t.Errorf("daemon: %v", err)
		}
	}
	t.Cleanup(stop)
	return d, stop
}

func generate(t *testing.T, c *kafkatest.Cluster, user string, o datagen.Options) {
	t.Helper()
	cl, err := kafka.Open(c.Config("gen", user), kafka.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	if _, err := datagen.Run(t.Context(), cl, o); err != nil {
		t.Fatal(err)
	}
}

// carried waits until every lane of topic has reached the end that the source
// has when it is called.
func carried(t *testing.T, d *replicator.Daemon, source *kadm.Client, topic string) {
	t.Helper()
	carriedBy(t, source, topic, d)
}

// carriedBy waits until each partition has been carried to its present end by one of ds.
func carriedBy(t *testing.T, source *kadm.Client, topic string, ds ...*replicator.Daemon) {
	t.Helper()
	ends, err := source.ListEndOffsets(t.Context(), topic)
	if err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(2 * time.Minute); ; time.Sleep(10 * time.Millisecond) {
		done, states := map[int32]bool{}, ""
		for i, d := range ds {
			for _, f := range d.Status().Flows {
				for _, l := range f.Lanes {
					if o, ok := ends.Lookup(topic, l.Partition); ok && l.Topic == topic && f.Source == "old" {
						states += fmt.Sprintf("daemon %d: %+v, source end %d\n", i, l, o.Offset)
						done[l.Partition] = done[l.Partition] || l.Position >= o.Offset && l.State == "running"
					}
				}
			}
		}
		missing := len(ends[topic]) - len(done)
		for _, ok := range done {
			if !ok {
				missing++
			}
		}
		if missing == 0 {
			return
		}
		if time.Now().After(end) || t.Context().Err() != nil {
			t.Fatalf("not carried:\n%s", states)
		}
	}
}

func same(t *testing.T, p pairOf, o check.Options) check.Report {
	t.Helper()
	source, err := check.FromConfig(p.source.Config("old", kafkatest.AdminUser))
	if err != nil {
		t.Fatal(err)
	}
	target, err := check.FromConfig(p.target.Config("new", kafkatest.AdminUser))
	if err != nil {
		t.Fatal(err)
	}
	r, err := check.Compare(t.Context(), source, target, o)
	if err != nil {
		t.Fatal(err)
	}
	if !r.OK() {
		t.Fatalf("%s", r)
	}
	t.Logf("%s", r)
	return r
}

func TestCarries(t *testing.T) {
	p := realPair(t)
	topic := "pizza-" + fmt.Sprint(time.Now().UnixNano())
	p.source.CreateTopic(t, topic, 6, nil)
	generate(t, p.source, "alice", datagen.Options{Topic: topic, Records: 200_000, Codec: "zstd", Size: 1024})
	d, stop := start(t, p.config(t, topic))
	carried(t, d, p.source.Admin(t), topic)
	stop()
	same(t, p, check.Options{Topic: topic})
}

// Three replicas on real brokers: one leaves, one ends as if killed, one comes.
func TestReplicas(t *testing.T) {
	p := realPair(t)
	topic := "replicas-" + fmt.Sprint(time.Now().UnixNano())
	p.source.CreateTopic(t, topic, 48, nil) // so that every slot has some
	generate(t, p.source, "alice", datagen.Options{Topic: topic, Records: 20_000, Size: 200})
	cfg := p.config(t, topic)
	admin := kadm.NewClient(p.source.Client(t, "alice"))
	ds, stops := make([]*replicator.Daemon, 3), make([]func(), 3)
	for i := range ds {
		ds[i], stops[i] = start(t, cfg)
		if i == 0 {
			carried(t, ds[0], admin, topic)
		}
	}
	for {
		generate(t, p.source, "alice", datagen.Options{Topic: topic, Records: 2_000, Size: 200})
		if n := lanesOf(t, topic, 48, ds...); n[0] > 0 && n[1] > 0 && n[2] > 0 {
			break
		}
	}
	stops[0]()
	for {
		generate(t, p.source, "alice", datagen.Options{Topic: topic, Records: 2_000, Size: 200})
		if n := lanesOf(t, topic, 48, ds[1:]...); n[0] > 0 && n[1] > 0 {
			break
		}
	}
	generate(t, p.source, "alice", datagen.Options{Topic: topic, Records: 20_000, Size: 200})
	carriedBy(t, admin, topic, ds[1:]...)
	stops[1]()
	stops[2]()
	same(t, p, check.Options{Topic: topic})
}
