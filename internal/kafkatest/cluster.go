package kafkatest

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
)

// Cluster is a running Kafka cluster. Its methods may be called from several
// goroutines; those that take an index panic when there is no such broker.
type Cluster struct {
	opts Options // normal
	jars string
	// Files for loaded classes: to take them from, and to leave them in. See archive; "" for none.
	archive, train string

	dir   string
	alive *os.File // locked while dir is in use
	nodes []*node

	stop    sync.Once
	stopped chan struct{} // closed by Stop
}

// Run starts a cluster and returns when every broker answers and knows the
// others. ctx bounds the start only; Stop ends the cluster.
func Run(ctx context.Context, o Options) (*Cluster, error) {
	o, err := o.normal()
	if err != nil {
		return nil, err
	}
	if err := Available(); err != nil {
		return nil, fmt.Errorf("kafkatest: %w", err)
	}
	c := &Cluster{opts: o, stopped: make(chan struct{})}
	if c.jars, err = jars(ctx, o.Version); err != nil {
		return nil, err
	}
	if !o.Bench {
		c.archive = archive(ctx, c.jars, o.Version)
	}
	ctx, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()
	if err := c.boot(ctx); err != nil {
		c.Stop()
		return nil, err
	}
	return c, nil
}

func (c *Cluster) boot(ctx context.Context) error {
	if err := c.prepare(); err != nil {
		return err
	}
	if err := c.format(ctx); err != nil {
		return err
	}
	for _, n := range c.nodes {
		if err := n.start(c); err != nil {
			return err
		}
	}
	return c.settle(ctx, c.nodes)
}

// prepare takes a folder and ports and writes every file the brokers read.
func (c *Cluster) prepare() error {
	root, err := runRoot()
	if err != nil {
		return err
	}
	if c.dir, c.alive, err = newDir(root); err != nil {
		return err
	}
	for id := range c.opts.Brokers {
		n := &node{id: id, dir: filepath.Join(c.dir, fmt.Sprintf("broker-%d", id))}
		c.nodes = append(c.nodes, n)
		ports := []*port{&n.client, &n.broker, &n.controller}
		if c.opts.Detour {
			ports = append(ports, &n.detour, &n.advertised)
		}
		for _, p := range ports {
			if *p, err = freePort(root); err != nil {
				return err
			}
		}
	}
	if c.opts.Security == SASLSSL {
		if err := makeCerts(c.dir); err != nil {
			return err
		}
	}
	for _, n := range c.nodes {
		for _, dir := range []string{n.data(), n.tmp()} {
			if err := os.MkdirAll(dir, 0o700); err != nil {
				return fmt.Errorf("kafkatest: %w", err)
			}
		}
		if err := os.WriteFile(n.config(), encodeProperties(c.properties(n)), 0o600); err != nil {
			return fmt.Errorf("kafkatest: %w", err)
		}
	}
	return nil
}

// format runs Kafka's storage tool for broker 0 and derives the others' data
// folders from its one: that saves a JVM each, and only the ids differ.
func (c *Cluster) format(ctx context.Context) error {
	first := c.nodes[0]
	clusterID := randomID()
	args := []string{"kafka.tools.StorageTool", "format", "--config", first.config(), "--cluster-id", clusterID}
	for user, password := range c.opts.Users {
		creds, err := scramCredentials(user, password)
		if err != nil {
			return err
		}
		for _, cred := range creds {
			args = append(args, "--add-scram", cred)
		}
	}
	p, err := first.java(c, "format", args)
	if err != nil {
		return err
	}
	if err := p.wait(ctx); err != nil {
		return fmt.Errorf("kafkatest: format: %w\n%s", err, first.logTail())
	}
	const bootstrap = "bootstrap.checkpoint"
	records, err := os.ReadFile(filepath.Join(first.data(), bootstrap))
	if err != nil {
		return fmt.Errorf("kafkatest: format: %w", err)
	}
	for _, n := range c.nodes[1:] {
		meta := fmt.Sprintf("version=1\ncluster.id=%s\nnode.id=%d\ndirectory.id=%s\n", clusterID, n.id, randomID())
		if err := errors.Join(os.WriteFile(filepath.Join(n.data(), bootstrap), records, 0o600),
			os.WriteFile(filepath.Join(n.data(), "meta.properties"), []byte(meta), 0o600)); err != nil {
			return fmt.Errorf("kafkatest: format: %w", err)
		}
	}
	return nil
}

// randomID is a UUID as Kafka writes it. The first bit is clear, so it never
// starts with a dash, which the storage tool would take for an option.
func randomID() string {
	var id [16]byte
	_, _ = rand.Read(id[:]) // never fails
	id[0] &= 0x7f
	return base64.RawURLEncoding.EncodeToString(id[:])
}

// Bootstrap lists the client listener of every broker, by index.
func (c *Cluster) Bootstrap() []string {
	var addrs []string
	for _, n := range c.nodes {
		addrs = append(addrs, n.client.addr())
	}
	return addrs
}

// Detour is the second way to a broker: its metadata names Advertised, where nobody listens until the test does, and the
// broker listens on Broker. So a client that begins at Advertised reaches brokers only through the test.
type Detour struct{ Advertised, Broker string }

// Detours are the second ways to all brokers, by index; empty without Options.Detour.
func (c *Cluster) Detours() []Detour {
	var ways []Detour
	for _, n := range c.nodes {
		if c.opts.Detour {
			ways = append(ways, Detour{Advertised: n.advertised.addr(), Broker: n.detour.addr()})
		}
	}
	return ways
}

// DataDir is where broker i keeps its logs.
func (c *Cluster) DataDir(i int) string { return c.nodes[i].data() }

// CAFile is the path of the CA (PEM) that signed the brokers' certificates; ""
// when the cluster has no TLS.
func (c *Cluster) CAFile() string {
	if c.opts.Security != SASLSSL {
		return ""
	}
	return filepath.Join(c.dir, caFile)
}

// Dir keeps everything of the cluster, its logs as broker-N/log; Stop removes it.
func (c *Cluster) Dir() string { return c.dir }

// Kill ends broker i as kill -9 does and returns when its process is gone.
func (c *Cluster) Kill(i int) error {
	n := c.nodes[i]
	n.mu.Lock()
	defer n.mu.Unlock()
	if err := n.mustRun("kill"); err != nil {
		return err
	}
	n.expected = true
	n.proc.kill()
	return nil
}

// Freeze stops broker i in place, with its connections open, until Thaw.
func (c *Cluster) Freeze(i int) error { return c.nodes[i].freeze(true) }

// Thaw lets a frozen broker go on.
func (c *Cluster) Thaw(i int) error { return c.nodes[i].freeze(false) }

// Restart starts broker i again, on the same ports and data, and returns when
// it answers and lists every running broker. It kills the broker first when it
// still runs.
func (c *Cluster) Restart(i int) error {
	if c.isStopped() {
		return fmt.Errorf("kafkatest: restart broker %d: the cluster is stopped", i)
	}
	if c.nodes[i].up() {
		if err := c.Kill(i); err != nil && !errors.Is(err, errNotRunning) {
			return err
		}
	}
	if err := c.nodes[i].start(c); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), startLimit)
	defer cancel()
	return c.settle(ctx, c.nodes[i:i+1])
}

// Stop kills the brokers and removes their data. More calls do nothing.
func (c *Cluster) Stop() {
	c.stop.Do(func() {
		close(c.stopped)
		for _, n := range c.nodes {
			n.release()
		}
		if c.alive != nil {
			discard(c.dir)
			discard(c.alive.Name())
			unlock(c.alive)
		}
	})
}

// reportDead fails the test when a broker ended that nobody killed.
func (c *Cluster) reportDead(t testing.TB) {
	t.Helper()
	for _, n := range c.nodes {
		if err := n.died(); err != nil {
			t.Error(err)
		}
	}
}
