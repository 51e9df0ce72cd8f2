package replicator_test

import (
	"context"
	"net"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
)

// gate is the way to a cluster, which may be shut.
type gate struct {
	dial func(context.Context, string, string) (net.Conn, error)

	mu    sync.Mutex
	shut  bool
	conns map[net.Conn]bool
}

func (g *gate) open(ctx context.Context, network, addr string) (net.Conn, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.shut {
		return nil, &net.OpError{Op: "dial", Net: network, Err: syscall.ECONNREFUSED}
	}
	conn, err := g.dial(ctx, network, addr)
	if err == nil {
		g.conns[conn] = true
	}
	return conn, err
}

// set shuts the gate and breaks what goes through it, or opens it.
func (g *gate) set(shut bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.shut = shut
	for c := range g.conns {
		if shut {
			c.Close()
			delete(g.conns, c)
		}
	}
}

// A whole cluster is away for longer than a lane trusts the broker's memory of
// what it sent; lag goes on being known, and nothing is lost or doubled.
func TestAwayForLong(t *testing.T) {
	for _, name := range []string{"source", "target"} {
		t.Run(name, func(t *testing.T) {
			virtually(t, func(t *testing.T, v *virtual) {
				away := v.gates[map[string]*kfake.Cluster{"source": v.source, "target": v.target}[name]]
				v.topic("pizza", 1)
				v.write("pizza", 0, 0, 100)
				stop := v.run(v.config("pizza"))
				v.await("pizza", 0, "running", 0)
				away.set(true)
				v.write("pizza", 0, 100, 50)
				time.Sleep(70 * time.Minute) // of the bubble's clock
				if l := v.lane("pizza", 0); l.State != "waiting" && l.State != "starting" || l.Reason == "" || l.Position != 100 {
					t.Errorf("while the %s is away: %+v", name, l)
				}
				away.set(false)
				v.await("pizza", 0, "running", 0)
				stop()
				v.has("pizza", 0, 150)
			})
		})
	}
}

// All brokers that the configuration names are replaced, one after the other.
func TestBrokersReplaced(t *testing.T) {
	virtually(t, func(t *testing.T, v *virtual) {
		v.topic("pizza", 2)
		v.write("pizza", 0, 0, 100)
		stop := v.run(v.config("pizza"))
		v.await("pizza", 0, "running", 0)
		for _, c := range []*kfake.Cluster{v.source, v.target} {
			for i, port := range []int{9094, 9095} {
				if _, _, err := c.AddNode(-1, port); err != nil {
					t.Fatal(err)
				}
				v.from.ForceMetadataRefresh()
				v.to.ForceMetadataRefresh()
				time.Sleep(10 * time.Second) // of the bubble's clock: the clients hear of it
				if err := c.RemoveNode(int32(i)); err != nil {
					t.Fatal(err)
				}
				time.Sleep(10 * time.Second)
			}
		}
		v.write("pizza", 0, 100, 50)
		v.await("pizza", 0, "running", 0)
		stop()
		v.has("pizza", 0, 150)
	})
}
