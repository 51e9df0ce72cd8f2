package kafkatest

import (
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"syscall"
)

// node is one broker with its controller; ZooKeeper as well, which has no more than a client port.
type node struct {
	id                         int
	name                       string // for messages
	dir                        string
	client, broker, controller port
	detour, advertised         port // of the second client listener; without number where there is none

	mu       sync.Mutex
	proc     *process // nil before the first start
	frozen   bool
	expected bool // the end of proc is our doing
}

func (n *node) data() string    { return filepath.Join(n.dir, "data") }
func (n *node) tmp() string     { return filepath.Join(n.dir, "tmp") }
func (n *node) config() string  { return filepath.Join(n.dir, "server.properties") }
func (n *node) logFile() string { return filepath.Join(n.dir, "log") }

// write makes the folders of n and its configuration file.
func (n *node) write(config map[string]string) error {
	for _, dir := range []string{n.data(), n.tmp()} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return fmt.Errorf("kafkatest: %w", err)
		}
	}
	if err := os.WriteFile(n.config(), encodeProperties(config), 0o600); err != nil {
		return fmt.Errorf("kafkatest: %w", err)
	}
	return nil
}

// brokerName is that of the process which is the broker, not one of Kafka's tools.
const brokerName = "kafka"

// start runs the broker; it does not wait until it answers.
func (n *node) start(c *Cluster) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.proc != nil && n.proc.running() {
		return fmt.Errorf("kafkatest: broker %d runs already", n.id)
	}
	p, err := n.java(c, brokerName, []string{"kafka.Kafka", n.config()})
	if err != nil {
		return err
	}
	n.proc, n.frozen, n.expected = p, false, false
	return nil
}

// java starts a JVM with the jars of c; its output is added to the log.
func (n *node) java(c *Cluster, name string, args []string) (*process, error) {
	log, err := os.OpenFile(n.logFile(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("kafkatest: %w", err)
	}
	defer func() { _ = log.Close() }() // the child has its own
	j := jvm{
		dir: n.dir, tmp: n.tmp(), jars: c.jars, archive: c.archive,
		heapMB: c.opts.HeapMB, bench: c.opts.Bench, stdout: log, stderr: log,
	}
	if name == brokerName {
		j.train = c.train
	}
	return j.start(name, args)
}

func (n *node) up() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.proc != nil && n.proc.running()
}

func (n *node) isFrozen() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.frozen && n.proc.running()
}

// mustRun is called with mu held.
func (n *node) mustRun(op string) error {
	if n.proc == nil || !n.proc.running() {
		return fmt.Errorf("kafkatest: %s broker %d: %w", op, n.id, errNotRunning)
	}
	return nil
}

func (n *node) freeze(on bool) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	op, sig := "thaw", syscall.SIGCONT
	if on {
		op, sig = "freeze", syscall.SIGSTOP
	}
	if err := n.mustRun(op); err != nil {
		return err
	}
	if err := n.proc.signal(sig); err != nil {
		return fmt.Errorf("kafkatest: %s broker %d: %w", op, n.id, err)
	}
	n.frozen = on
	return nil
}

// release kills the broker and gives its ports back.
func (n *node) release() {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.proc != nil {
		n.expected = n.expected || n.proc.running()
		n.proc.kill()
	}
	for _, p := range []port{n.client, n.broker, n.controller, n.detour, n.advertised} {
		if p.held != nil {
			unlock(p.held)
		}
	}
}

// died is an error with the end of the log when the broker ended by itself.
func (n *node) died() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.proc == nil || n.proc.running() || n.expected {
		return nil
	}
	return fmt.Errorf("kafkatest: %s ended by itself: %w\n%s", n.name, n.proc.ended(), n.logTail())
}

func (n *node) logTail() []byte {
	log, err := os.ReadFile(n.logFile())
	if err != nil {
		return []byte(err.Error())
	}
	return tail(log)
}
