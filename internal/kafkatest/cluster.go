package kafkatest

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"testing"
)

// Cluster is a running Kafka cluster. Its methods may be called from several
// goroutines; those that take an index panic when there is no such broker.
type Cluster struct {
	opts Options // normal
	jars string
	// Files for loaded classes: to take them from, and to leave them in. See archive; "" for none.
	archive, train string

	dir       string
	key, cert string   // of every broker, in PEM; with TLS
	alive     *os.File // locked while dir is in use
	nodes     []*node
	// The process with the brokers' metadata, where they do not keep them themselves: else nil.
	zookeeper *node

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
	ready := c.format
	if c.zookeeper != nil {
		ready = func(context.Context) error { return c.startZooKeeper() }
	}
	if err := ready(ctx); err != nil {
		return err
	}
	for _, n := range c.nodes {
		if err := n.start(c); err != nil {
			return err
		}
	}
	if c.zookeeper != nil {
		if err := c.addUsers(ctx); err != nil {
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
		n := &node{id: id, name: fmt.Sprintf("broker %d", id), dir: filepath.Join(c.dir, fmt.Sprintf("broker-%d", id))}
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
		if c.key, c.cert, err = makeCerts(c.dir); err != nil {
			return err
		}
	}
	if withZooKeeper(c.opts.Version) {
		if err := c.prepareZooKeeper(root); err != nil {
			return err
		}
	}
	for _, n := range c.nodes {
		if err := n.write(c.properties(n)); err != nil {
			return err
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
	for _, n := range c.nodes[1:] {
		meta := fmt.Sprintf("version=1\ncluster.id=%s\nnode.id=%d\ndirectory.id=%s\n", clusterID, n.id, randomID())
		// What else the tool wrote has another name in each version.
		if err := errors.Join(os.CopyFS(n.data(), os.DirFS(first.data())),
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

// ShutDown ends broker i as its service manager does, by SIGTERM, and returns when its process is gone: the broker hands its
// partitions over and writes down what it knows of producers. One that takes longer than a start may is killed.
func (c *Cluster) ShutDown(i int) error {
	n := c.nodes[i]
	n.mu.Lock()
	defer n.mu.Unlock()
	if err := n.mustRun("shut down"); err != nil {
		return err
	}
	n.expected = true
	if n.proc.signal(syscall.SIGTERM) != nil {
		return nil // it was gone at this moment
	}
	ctx, cancel := context.WithTimeout(context.Background(), startLimit)
	defer cancel()
	if err := n.proc.wait(ctx); ctx.Err() != nil {
		return fmt.Errorf("kafkatest: shut down broker %d: %w\n%s", i, err, n.logTail())
	}
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
	ctx, cancel := context.WithTimeout(context.Background(), startLimit)
	defer cancel()
	if c.zookeeper != nil {
		if err := c.forgotten(ctx, c.nodes[i]); err != nil {
			return err
		}
	}
	if err := c.nodes[i].start(c); err != nil {
		return err
	}
	return c.settle(ctx, c.nodes[i:i+1])
}

// Stop kills the brokers and removes their data. More calls do nothing.
func (c *Cluster) Stop() {
	c.stop.Do(func() {
		close(c.stopped)
		for _, n := range c.processes() {
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
	for _, n := range c.processes() {
		if err := n.died(); err != nil {
			t.Error(err)
		}
	}
}

// processes are the brokers, and then what they need.
func (c *Cluster) processes() []*node {
	if c.zookeeper == nil {
		return c.nodes
	}
	return append(slices.Clone(c.nodes), c.zookeeper)
}
