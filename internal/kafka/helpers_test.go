package kafka

import (
	"net"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/kferry/kferry/config"
)

// fake starts a one-broker kfake cluster.
func fake(t testing.TB, opts ...kfake.Opt) *kfake.Cluster {
	t.Helper()
	c, err := kfake.NewCluster(append([]kfake.Opt{kfake.NumBrokers(1)}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func cluster(c *kfake.Cluster, s config.SASL) config.Cluster {
	return config.Cluster{Alias: "fake", BootstrapServers: c.ListenAddrs(), ClientID: "test", Connections: 1, SASL: s}
}

func login(mechanism, user, password string) config.SASL {
	return config.SASL{Mechanism: mechanism, Username: user, Password: config.Secret(password)}
}

func open(t testing.TB, cfg config.Cluster, o Options) *Cluster {
	t.Helper()
	c, err := Open(cfg, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func hooks(h ...kgo.Hook) []kgo.Hook { return h }

// connCounter counts connections, by the id of the broker (negative: a seed).
type connCounter struct {
	mu     sync.Mutex
	opened map[int32]int
}

func (c *connCounter) OnBrokerConnect(b kgo.BrokerMetadata, _ time.Duration, _ net.Conn, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.opened == nil {
		c.opened = make(map[int32]int)
	}
	if err == nil {
		c.opened[b.NodeID]++
	}
}

func (c *connCounter) count() (n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, o := range c.opened {
		n += o
	}
	return n
}

func (c *connCounter) to(broker int32) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.opened[broker]
}
