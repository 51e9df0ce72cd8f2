package kafka

import (
	"fmt"
	"net"
	"slices"
	"sync"
)

// conns counts the connections of a cluster's clients that are in use, by the address
// at the other end. A broker that limits connections accepts one more and closes it,
// which looks like a port that wants TLS: the others tell the two apart.
type conns struct {
	mu   sync.Mutex
	used map[string]int // on which something was answered
}

func newConns() *conns { return &conns{used: map[string]int{}} }

// to is how many are in use to the address.
func (c *conns) to(addr string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.used[addr]
}

func (c *conns) add(addr string, n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.used[addr] += n; c.used[addr] == 0 {
		delete(c.used, addr)
	}
}

// ended explains err, with which a connection ended before anything was answered on it.
func (c *conns) ended(addr string, err error) error {
	if n := c.to(addr); n > 0 && isBroken(err) {
		return &crowdedError{addr, n, err}
	}
	return err
}

// use is one connection's part in the count.
type use struct {
	conns *conns
	addr  string

	mu       sync.Mutex
	answered bool
	closed   bool
}

// read takes note of what reading came to.
func (u *use) read(err error) error {
	u.mu.Lock()
	defer u.mu.Unlock()
	switch {
	case u.answered || u.closed:
	case err != nil:
		return u.conns.ended(u.addr, err)
	default:
		u.answered = true
		u.conns.add(u.addr, 1)
	}
	return err
}

func (u *use) close() {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.answered && !u.closed {
		u.conns.add(u.addr, -1)
	}
	u.closed = true
}

// crowdedError is a new connection that a broker closed while others to it are in use.
type crowdedError struct {
	addr string
	open int
	err  error
}

func (e *crowdedError) Error() string {
	return fmt.Sprintf("a new connection to %s was closed: %v", e.addr, e.err)
}
func (e *crowdedError) Unwrap() error { return e.err }

// advertisedError is a failure to reach an address that is not of bootstrap_servers: the
// brokers have named it.
type advertisedError struct{ err error }

func (e *advertisedError) Error() string { return e.err.Error() }
func (e *advertisedError) Unwrap() error { return e.err }

// dialed makes a connection one of the cluster's, or says more about why there is none.
func (c *Cluster) dialed(conn net.Conn, addr string, err error) (net.Conn, error) {
	if err == nil {
		return &bulkConn{Conn: conn, tickets: c.bulk, use: use{conns: c.conns, addr: conn.RemoteAddr().String()}}, nil
	}
	if !slices.Contains(c.cfg.BootstrapServers, addr) {
		err = &advertisedError{err}
	}
	return nil, err
}
