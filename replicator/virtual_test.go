package replicator_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/kferry/kferry/config"
	"github.com/kferry/kferry/internal/kafka"
	"github.com/kferry/kferry/replicator"
	"github.com/kferry/kferry/replicator/progress"
)

// virtual is two embedded clusters in a bubble of synctest: minutes cost nothing.
type virtual struct {
	t              *testing.T
	source, target *kfake.Cluster
	wires          map[*kfake.Cluster]*kfake.VirtualNetwork
	gates          map[*kfake.Cluster]*gate // what the daemon dials through
	from, to       *kgo.Client              // hands of the test on both
	d              *replicator.Daemon
	reg            *prometheus.Registry // of the daemon
	carrier        replicator.Carrier
	log            bytes.Buffer // what daemons have logged; read only after the last has stopped
}

// virtually runs test on two clusters, with options for the target.
func virtually(t *testing.T, test func(*testing.T, *virtual), target ...kfake.Opt) {
	synctest.Test(t, func(t *testing.T) {
		v := &virtual{t: t, wires: map[*kfake.Cluster]*kfake.VirtualNetwork{}, gates: map[*kfake.Cluster]*gate{}}
		for _, c := range []struct {
			cluster **kfake.Cluster
			hand    **kgo.Client
		}{{&v.source, &v.from}, {&v.target, &v.to}} {
			wire := new(kfake.VirtualNetwork)
			opts := []kfake.Opt{kfake.NumBrokers(2), kfake.Ports(9092, 9093), kfake.ListenFn(wire.Listen)}
			if c.cluster == &v.target {
				opts = append(opts, target...)
			}
			cl, err := kfake.NewCluster(opts...)
			if err != nil {
				t.Fatal(err)
			}
			defer cl.Close()
			*c.cluster, v.wires[cl], v.gates[cl] = cl, wire, &gate{dial: wire.DialContext, conns: map[net.Conn]bool{}}
			hand, err := kgo.NewClient(kgo.SeedBrokers(cl.ListenAddrs()...), kgo.Dialer(wire.DialContext), kgo.RecordPartitioner(kgo.ManualPartitioner()),
				kgo.ProducerBatchCompression(kgo.NoCompression()), kgo.ProducerBatchMaxBytes(2<<20))
			if err != nil {
				t.Fatal(err)
			}
			defer hand.Close()
			*c.hand = hand
		}
		test(t, v)
	})
}

func (v *virtual) config(topics ...string) *config.Config {
	return &config.Config{
		Clusters: map[string]config.Cluster{
			"old": {Alias: "old", BootstrapServers: v.source.ListenAddrs(), ClientID: "kferry", Connections: 1},
			"new": {Alias: "new", BootstrapServers: v.target.ListenAddrs(), ClientID: "kferry"},
		},
		Flows:        []config.Flow{{Name: "flow", Source: "old", Target: "new", Topics: topics, Policy: "identity", Separator: ".", RefreshInterval: time.Second}},
		MemoryBudget: 32 << 20,
	}
}

func (v *virtual) run(cfg *config.Config) (stop func()) {
	v.t.Helper()
	end := v.begin(cfg)
	return func() {
		v.t.Helper()
		if err := end(); err != nil {
			v.t.Errorf("daemon: %v", err)
		}
	}
}

// begin is run for a daemon that may end with an error.
func (v *virtual) begin(cfg *config.Config) (end func() error) {
	v.t.Helper()
	v.reg = prometheus.NewRegistry()
	d, err := replicator.New(cfg, replicator.Options{
		Registerer: v.reg, Version: "v1", Carrier: v.carrier,
		Logger: slog.New(slog.NewTextHandler(io.MultiWriter(v.t.Output(), &v.log), nil)),
		ClusterOptions: func(alias string) kafka.Options {
			return kafka.Options{Dialer: v.gates[map[string]*kfake.Cluster{"old": v.source, "new": v.target}[alias]].open}
		},
	})
	if err != nil {
		v.t.Fatal(err)
	}
	v.d = d
	ctx, cancel := context.WithCancel(v.t.Context())
	done := make(chan error, 1)
	go func() { done <- d.Run(ctx) }()
	return func() error {
		cancel()
		return <-done
	}
}

// store is the progress topic of the flow.
func (v *virtual) store() *progress.Store {
	v.t.Helper()
	cl, err := kafka.Open(v.config().Clusters["new"], kafka.Options{Dialer: v.wires[v.target].DialContext})
	if err != nil {
		v.t.Fatal(err)
	}
	v.t.Cleanup(cl.Close)
	s, err := progress.Open(v.t.Context(), cl, "flow", 0)
	if err != nil {
		v.t.Fatal(err)
	}
	return s
}

func (v *virtual) topic(name string, partitions int) {
	v.t.Helper()
	if err := v.source.CreateTopic(name, int32(partitions), nil); err != nil {
		v.t.Fatal(err)
	}
}

// write puts the numbers from from on to the source's partition, n of them.
func (v *virtual) write(topic string, partition int32, from, n int) {
	v.t.Helper()
	var rs []*kgo.Record
	for i := range n {
		rs = append(rs, &kgo.Record{Topic: topic, Partition: partition, Value: fmt.Append(nil, from+i)})
	}
	if err := v.from.ProduceSync(v.t.Context(), rs...).FirstErr(); err != nil {
		v.t.Fatal(err)
	}
}

// has wants the numbers below n on the target's partition, in order.
func (v *virtual) has(topic string, partition int32, n int) {
	v.t.Helper()
	var want []string
	for i := range n {
		want = append(want, fmt.Sprint(i))
	}
	if got := v.values(topic, partition); !slices.Equal(got, want) {
		v.t.Errorf("the target's %s/%d has %d records, want %d in order: %.200v", topic, partition, len(got), n, got)
	}
}

// values reads the target's partition.
func (v *virtual) values(topic string, partition int32) (got []string) {
	v.t.Helper()
	ends, err := kadm.NewClient(v.to).ListEndOffsets(v.t.Context(), topic)
	if err != nil {
		v.t.Fatal(err)
	}
	end, _ := ends.Lookup(topic, partition)
	cl, err := kgo.NewClient(kgo.SeedBrokers(v.target.ListenAddrs()...), kgo.Dialer(v.wires[v.target].DialContext),
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: {partition: kgo.NewOffset().AtStart()}}))
	if err != nil {
		v.t.Fatal(err)
	}
	defer cl.Close()
	for int64(len(got)) < end.Offset {
		fs := cl.PollFetches(v.t.Context())
		if err := fs.Err(); err != nil {
			v.t.Fatal(err)
		}
		fs.EachRecord(func(r *kgo.Record) { got = append(got, string(r.Value)) })
	}
	return got
}

func (v *virtual) lane(topic string, partition int32) replicator.LaneStatus {
	for _, l := range v.d.Status().Flows[0].Lanes {
		if l.Topic == topic && l.Partition == partition {
			return l
		}
	}
	return replicator.LaneStatus{Lag: -1}
}

// await waits until the lane is in that state, lacks lag records and knows it.
func (v *virtual) await(topic string, partition int32, state string, lag int64) replicator.LaneStatus {
	v.t.Helper()
	for range 1200 {
		ends, err := kadm.NewClient(v.from).ListEndOffsets(v.t.Context(), topic)
		if err != nil {
			v.t.Fatal(err)
		}
		end, _ := ends.Lookup(topic, partition)
		if l := v.lane(topic, partition); l.State == state && l.Lag == lag && l.Position == end.Offset-lag {
			return l
		}
		time.Sleep(100 * time.Millisecond) // of the bubble's clock
	}
	v.t.Fatalf("two minutes, and %s/%d is %+v, want %s with lag %d", topic, partition, v.lane(topic, partition), state, lag)
	return replicator.LaneStatus{}
}
