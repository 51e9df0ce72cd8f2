package kafkatest

import (
	"context"
	"encoding/json"
	"os"
	"sync"
	"testing"
)

// shared holds the clusters of this test program, one for each set of options.
var shared struct {
	sync.Mutex
	managed bool // Main runs, and will stop them
	entries map[string]*entry
}

// entry is a shared cluster. Its lock is held while the cluster starts or heals,
// so that nobody gets it half ready.
type entry struct {
	sync.Mutex
	c     *Cluster // nil before the first use and after a failed start
	err   error    // of the start, kept: more tests would only wait as long for the same
	users int      // tests that have the cluster now
}

// Main is what TestMain must call in a package that uses Shared: it runs the
// tests, stops the shared clusters and exits.
func Main(m *testing.M) {
	os.Exit(runTests(m))
}

func runTests(m *testing.M) int {
	shared.Lock()
	shared.managed = true
	shared.Unlock()
	defer stopShared()
	return m.Run()
}

func stopShared() {
	shared.Lock()
	defer shared.Unlock()
	for _, e := range shared.entries {
		e.Lock()
		if e.c != nil {
			e.c.Stop()
		}
		e.Unlock()
	}
	shared.entries = nil
}

// Shared returns the package's cluster with these options; the first caller
// starts it. Topics, groups and ACLs of other tests are on it: take names of your
// own. A test may kill, freeze or even stop it: when the last test that has the
// cluster ends, what is down comes up again. Skips and fails like Start.
func Shared(t testing.TB, o Options) *Cluster {
	t.Helper()
	Need(t)
	o, err := o.normal()
	if err != nil {
		t.Fatal(err)
	}
	key, err := json.Marshal(o) // sorts the maps
	if err != nil {
		t.Fatal(err)
	}
	shared.Lock()
	if !shared.managed {
		shared.Unlock()
		t.Fatal("kafkatest.Shared needs func TestMain(m *testing.M) { kafkatest.Main(m) } in this package: nothing else stops the cluster")
	}
	e := shared.entries[string(key)]
	if e == nil {
		if shared.entries == nil {
			shared.entries = map[string]*entry{}
		}
		e = &entry{}
		shared.entries[string(key)] = e
	}
	shared.Unlock()
	c, err := e.acquire(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.release(t) })
	return c
}

func (e *entry) acquire(o Options) (*Cluster, error) {
	e.Lock()
	defer e.Unlock()
	if e.err == nil && (e.c == nil || e.c.isStopped()) {
		e.c, e.err = Run(context.Background(), o)
	}
	if e.err != nil {
		return nil, e.err
	}
	e.users++
	return e.c, nil
}

// release gives the cluster back; the last user heals it for the next. One that
// cannot be healed is stopped, and the next test gets a new one.
func (e *entry) release(t testing.TB) {
	t.Helper()
	e.Lock()
	defer e.Unlock()
	if e.users--; e.users > 0 || e.c.isStopped() {
		return
	}
	e.c.reportDead(t)
	if err := e.c.heal(); err != nil {
		t.Errorf("the shared cluster did not come back after this test: %v", err)
		e.c.Stop()
	}
}

// heal thaws and restarts what is not running.
func (c *Cluster) heal() error {
	for i, n := range c.nodes {
		var err error
		switch {
		case !n.up():
			err = c.Restart(i)
		case n.isFrozen():
			err = c.Thaw(i)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (c *Cluster) isStopped() bool {
	select {
	case <-c.stopped:
		return true
	default:
		return false
	}
}
