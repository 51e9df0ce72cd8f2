package replicator_test

import (
	"bytes"
	"context"
	"net"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/kferry/kferry/config"
	"github.com/kferry/kferry/internal/check"
	"github.com/kferry/kferry/internal/faults"
	"github.com/kferry/kferry/internal/kafka"
	"github.com/kferry/kferry/internal/kafkatest"
	"github.com/kferry/kferry/replicator"
)

// mark stands in every record's value, and nowhere else on the wire.
var mark = bytes.Repeat([]byte("undamaged "), 20)

// flippingConn has a flipper in both directions.
type flippingConn struct {
	net.Conn
	f *faults.Flipper
}

func (c flippingConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.f.Spoil(p[:n])
	return n, err
}

func (c flippingConn) Write(p []byte) (int, error) {
	p = bytes.Clone(p)
	c.f.Spoil(p)
	return c.Conn.Write(p)
}

// A bit that turns over between the source's disk and the target's is noticed
// by the target, which refuses the batch; it is then fetched again. Small
// batches are opened and joined, so there the same must be noticed by us.
func TestFlippedBits(t *testing.T) {
	source, target := kafkatest.Shared(t, kafkatest.Options{}), kafkatest.Shared(t, kafkatest.Options{Config: map[string]string{"num.io.threads": "4"}})
	for name, perBatch := range map[string]int{"whole": 200, "merged": 1} {
		t.Run(name, func(t *testing.T) {
			topic := "flip-" + name
			source.CreateTopic(t, topic, 3, nil)
			cl := source.Client(t, "", kgo.ProducerBatchCompression(kgo.NoCompression()), kgo.ProducerLinger(time.Minute), kgo.MaxBufferedRecords(10_000))
			for i := range 6000 {
				cl.Produce(t.Context(), &kgo.Record{Topic: topic, Key: []byte{byte(i), byte(i >> 8)}, Value: append(bytes.Repeat([]byte("v"), i%900), mark...)}, nil)
				if i%(3*perBatch) == 0 {
					if err := cl.Flush(t.Context()); err != nil {
						t.Fatal(err)
					}
				}
			}
			if err := cl.Flush(t.Context()); err != nil {
				t.Fatal(err)
			}
			f := &faults.Flipper{Mark: mark, Every: 7, Most: 12}
			dial := func(ctx context.Context, network, addr string) (net.Conn, error) {
				var d net.Dialer
				c, err := d.DialContext(ctx, network, addr)
				return flippingConn{c, f}, err
			}
			cfg := &config.Config{
				Clusters: map[string]config.Cluster{"old": source.Config("old", ""), "new": target.Config("new", "")},
				Flows: []config.Flow{{
					Name: "flip-" + name, Source: "old", Target: "new", Topics: []string{topic}, Policy: "identity", RefreshInterval: time.Second,
				}},
				MemoryBudget: 64 << 20,
			}
			reg := prometheus.NewRegistry()
			d, stop := startWith(t, cfg, replicator.Options{
				Registerer: reg, ClusterOptions: func(string) kafka.Options { return kafka.Options{Dialer: dial} },
			})
			carried(t, d, source.Admin(t), topic)
			stop()
			if n := f.Flipped(); n < 3 {
				t.Fatalf("only %d bits were turned over", n)
			}
			if name == "whole" && metric(t, reg, "kferry_batches_total", "path=whole") == 0 ||
				name == "merged" && metric(t, reg, "kferry_batches_total", "path=merged") == 0 {
				t.Error("the batches did not go the way that this test is about")
			}
			same(t, pairOf{source, target}, check.Options{Topic: topic})
		})
	}
}
