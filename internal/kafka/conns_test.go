package kafka

import (
	"context"
	"errors"
	"net"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kferry/kferry/config"
)

// A broker that takes some connections and closes the next ones limits them: that is no port which wants TLS or a login.
func TestBrokerTakesNoMoreConnections(t *testing.T) {
	for name, far := range map[string]func(net.Conn){
		"it closes": func(c net.Conn) { _ = c.Close() },
		"it resets": func(c net.Conn) { _ = c.(*net.TCPConn).SetLinger(0); _ = c.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			crowded := closing(t, far)
			var full atomic.Bool
			addrs := fake(t).ListenAddrs()
			c := open(t, at(addrs...), Options{Dialer: func(ctx context.Context, network, addr string) (net.Conn, error) {
				if full.Load() {
					conn, err := new(net.Dialer).DialContext(ctx, network, crowded)
					if err != nil {
						return nil, err
					}
					return &as{conn, addr}, nil
				}
				return new(net.Dialer).DialContext(ctx, network, addr)
			}})
			ids, err := c.Admin().ListBrokers(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			full.Store(true)
			req := kmsg.NewPtrFetchRequest()
			_, err = c.Aside().Fetch(t.Context(), ids[0].NodeID, req)
			var e *Error
			if !errors.As(Explain("east", err), &e) || e.Fatal || !strings.Contains(e.Cause, "closes new connections, while ") || !strings.Contains(e.Remedy, "max.connections.per.ip") {
				t.Errorf("got %v", Explain("east", err))
			}
			c.Close()
			if n := c.conns.to(addrs[0]); n != 0 {
				t.Errorf("%d connections are counted after the end", n)
			}
		})
	}
}

// as is a connection that seems to end at another address.
type as struct {
	net.Conn
	addr string
}

func (c *as) RemoteAddr() net.Addr {
	a, _ := net.ResolveTCPAddr("tcp", c.addr)
	return a
}

// closing is the address of a listener that ends each connection at the first request.
func closing(t *testing.T, end func(net.Conn)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = conn.Read(make([]byte, 1))
			end(conn)
		}
	}()
	return l.Addr().String()
}

// An address that the brokers advertise and nobody reaches is theirs to mend, and no right is missing.
func TestAdvertisedAddressIsNotReached(t *testing.T) {
	c := open(t, config.Cluster{Alias: "east", BootstrapServers: fake(t).ListenAddrs(), ClientID: "test"}, Options{})
	nobody := refusing(t)
	_, err := c.dialed(nil, nobody, &net.OpError{Op: "dial", Addr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1}, Err: syscall.ECONNREFUSED})
	for _, want := range []string{"nothing listens there, and the brokers advertise this address: it is not in bootstrap_servers", "advertised.listeners"} {
		if got := Explain("east", err).Error(); !strings.Contains(got, want) {
			t.Errorf("%q does not say %q", got, want)
		}
	}
	_, err = c.dialed(nil, c.cfg.BootstrapServers[0], &net.OpError{Op: "dial", Err: syscall.ECONNREFUSED})
	if got := Explain("east", err).Error(); strings.Contains(got, "advertise") {
		t.Errorf("of one in bootstrap_servers: %q", got)
	}
}
