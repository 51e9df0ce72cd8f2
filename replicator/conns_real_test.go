package replicator_test

import (
	"context"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/kferry/kferry/internal/check"
	"github.com/kferry/kferry/internal/datagen"
	"github.com/kferry/kferry/internal/kafka"
	"github.com/kferry/kferry/internal/kafkatest"
	"github.com/kferry/kferry/replicator"
)

// With connections: 1 kferry makes do with so many to one broker, as docs/config.reference.yaml says.
const fewestConnections = "10"

// A target broker takes so many connections from kferry's address and no more: everything is carried.
func TestFewestConnections(t *testing.T) {
	source := kafkatest.Shared(t, kafkatest.Options{})
	// The other clients of this test come from another address.
	target := kafkatest.Start(t, kafkatest.Options{Config: map[string]string{"max.connections.per.ip.overrides": "127.0.0.2:" + fewestConnections + ",127.0.0.3:4"}})
	p := pairOf{source, target}
	topic := "connections"
	source.CreateTopic(t, topic, 6, nil)
	generate(t, source, "", datagen.Options{Topic: topic, Records: 10_000, Size: 100})
	cfg := p.config(t, topic)
	for alias, c := range cfg.Clusters {
		c.Connections = 1
		cfg.Clusters[alias] = c
	}
	f := &cfg.Flows[0]
	f.Groups, f.GroupsInterval, f.SyncGroupOffsets = []string{"connections-group"}, 500*time.Millisecond, true
	f.Heartbeats.Enabled, f.Heartbeats.Interval = true, time.Second
	f.Checkpoints.Enabled, f.OffsetSyncs.Location = true, "target"
	count := map[string]*counted{"old": {from: 2}, "new": {from: 2}}
	d, stop := startWith(t, cfg, replicator.Options{ClusterOptions: func(alias string) kafka.Options {
		return kafka.Options{Dialer: count[alias].dial}
	}})
	carried(t, d, source.Admin(t), topic)
	generate(t, source, "", datagen.Options{Topic: topic, Records: 10_000, Size: 100})
	carried(t, d, source.Admin(t), topic)
	stop()
	t.Logf("at most %d to the source and %d to the target", count["old"].most, count["new"].most)
	same(t, p, check.Options{Topic: topic})

	// With too few it says that the broker takes no more, and nothing of a port that wants TLS.
	cfg.Flows[0].Name = "too-few"
	few := &counted{from: 3}
	d, stop = startWith(t, cfg, replicator.Options{ClusterOptions: func(string) kafka.Options { return kafka.Options{Dialer: few.dial} }})
	defer stop()
	for end := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		said := fmt.Sprint(d.Status().Problems)
		if strings.Contains(said, "max.connections.per.ip") && strings.Contains(said, "the broker closes new connections, while ") {
			break
		}
		if strings.Contains(said, "the port is a TLS one") || time.Now().After(end) {
			t.Fatalf("problems: %s", said)
		}
	}
}

// counted dials from the loopback address that ends so and knows how many connections there were at a time.
type counted struct {
	from      byte
	mu        sync.Mutex
	now, most int
}

func (c *counted) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	conn, err := (&net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, c.from)}}).DialContext(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	c.add(1)
	return &countedConn{Conn: conn, ended: sync.OnceFunc(func() { c.add(-1) })}, nil
}

func (c *counted) add(n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now += n
	c.most = max(c.most, c.now)
}

type countedConn struct {
	net.Conn
	ended func()
}

func (c *countedConn) Close() error {
	c.ended()
	return c.Conn.Close()
}
