package faults

import (
	"errors"
	"fmt"
	"sync"

	"github.com/Shopify/toxiproxy/v2"
	"github.com/rs/zerolog"
)

// Route leads to one broker.
type Route struct {
	Listen string // where clients knock, as the broker advertises it
	Broker string // where the broker listens
}

// Network is the only way to the brokers of a cluster. Safe for concurrent use.
type Network struct {
	mu     sync.Mutex
	routes []Route
	ways   []*toxiproxy.Proxy // nil: down
	faults []Fault
}

// NewNetwork opens a way to each broker, without faults.
func NewNetwork(routes []Route) (*Network, error) {
	n := &Network{routes: routes, ways: make([]*toxiproxy.Proxy, len(routes))}
	if err := n.Set(); err != nil {
		n.Close()
		return nil, err
	}
	return n, nil
}

// Set breaks all connections and gives those to come these faults; none makes a good network. Connections are not changed
// while they live: toxiproxy may lose bytes within a stream then, which no real network does.
func (n *Network) Set(faults ...Fault) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.faults = faults
	var errs []error
	for i := range n.routes {
		n.down(i)
		errs = append(errs, n.up(i))
	}
	return errors.Join(errs...)
}

// Down breaks the connections to broker i; until Up, new ones are refused as by a machine on which nothing listens.
func (n *Network) Down(i int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.down(i)
}

// Up opens the way to broker i again, with the faults that are set.
func (n *Network) Up(i int) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.up(i)
}

// Close ends all of it.
func (n *Network) Close() {
	n.mu.Lock()
	defer n.mu.Unlock()
	for i := range n.ways {
		n.down(i)
	}
}

func (n *Network) down(i int) {
	if n.ways[i] != nil {
		n.ways[i].Stop()
		n.ways[i] = nil
	}
}

func (n *Network) up(i int) error {
	if n.ways[i] != nil {
		return nil
	}
	r := n.routes[i]
	// The server is never started: it only holds what its proxies have in common.
	server := toxiproxy.NewServer(toxiproxy.NewMetricsContainer(nil), zerolog.Nop())
	p := toxiproxy.NewProxy(server, r.Broker, r.Listen, r.Broker)
	for k, f := range n.faults {
		if err := f.addTo(p, k); err != nil {
			return fmt.Errorf("faults: %w", err)
		}
	}
	if err := p.Start(); err != nil {
		return fmt.Errorf("faults: %w", err)
	}
	n.ways[i] = p
	return nil
}

// addTo is called before p starts: what it adds has no connections yet.
func (f Fault) addTo(p *toxiproxy.Proxy, k int) error {
	for _, stream := range []string{"upstream", "downstream"} {
		text, err := f.toxic(k, stream)
		if err != nil {
			return err
		}
		w, err := p.Toxics.AddToxicJson(text)
		if err != nil {
			return err
		}
		if own, ok := w.Toxic.(*function); ok {
			if own.pipe = f.pipe; stream == "downstream" && f.back != nil {
				own.pipe = f.back
			}
		}
	}
	return nil
}
