package faults

import (
	"bytes"
	"errors"
	"io"
	"net"
	"syscall"
	"testing"
	"time"
)

// echo is a server that sends back what it gets.
func echo(t *testing.T) (addr string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				io.Copy(c, c)
			}()
		}
	}()
	return l.Addr().String()
}

// network is a network with two ways to an echo.
func network(t *testing.T) (*Network, []Route) {
	t.Helper()
	to := echo(t)
	routes := []Route{{freeAddr(t), to}, {freeAddr(t), to}}
	n, err := NewNetwork(routes)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(n.Close)
	return n, routes
}

func freeAddr(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func dial(t *testing.T, addr string) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(time.Minute))
	return c
}

// say sends p and returns what comes back.
func say(c net.Conn, p []byte) ([]byte, error) {
	if _, err := c.Write(p); err != nil {
		return nil, err
	}
	back := make([]byte, len(p))
	_, err := io.ReadFull(c, back)
	return back, err
}

func mustEcho(t *testing.T, addr string) net.Conn {
	t.Helper()
	c, p := dial(t, addr), bytes.Repeat([]byte("0123456789"), 20_000)
	if back, err := say(c, p); err != nil || !bytes.Equal(p, back) {
		t.Fatalf("%v; the same bytes: %v", err, bytes.Equal(p, back))
	}
	return c
}

func TestDownAndUp(t *testing.T) {
	n, r := network(t)
	hit, other := mustEcho(t, r[0].Listen), mustEcho(t, r[1].Listen)
	n.Down(0)
	if _, err := say(hit, []byte("x")); err == nil {
		t.Error("a connection to a broker that is down still works")
	}
	if _, err := net.Dial("tcp", r[0].Listen); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("dialling a broker that is down: %v", err)
	}
	if _, err := say(other, []byte("x")); err != nil {
		t.Errorf("the other broker: %v", err)
	}
	for range 2 {
		if err := n.Up(0); err != nil {
			t.Fatal(err)
		}
	}
	mustEcho(t, r[0].Listen)
}

func TestSetReplacesFaults(t *testing.T) {
	n, r := network(t)
	old := mustEcho(t, r[0].Listen)
	if err := n.Set(Silence()); err != nil {
		t.Fatal(err)
	}
	if _, err := say(old, []byte("x")); err == nil {
		t.Error("a connection lives on without the new fault")
	}
	n.Down(1)
	if err := n.Up(1); err != nil {
		t.Fatal(err)
	}
	silent := dial(t, r[1].Listen) // the fault is still there after a way was closed and opened
	silent.SetDeadline(time.Now().Add(100 * time.Millisecond))
	if _, err := say(silent, []byte("x")); !timedOut(err) {
		t.Errorf("silence: %v", err)
	}
	for _, f := range []Fault{Latency(time.Millisecond), Bandwidth(10_000), SlowClose(time.Millisecond)} {
		if err := n.Set(f); err != nil {
			t.Fatalf("%s: %v", f.kind, err)
		}
		mustEcho(t, r[0].Listen)
	}
	if err := n.Set(); err != nil {
		t.Fatal(err)
	}
	mustEcho(t, r[0].Listen)
}

func timedOut(err error) bool {
	var ne net.Error
	return errors.As(err, &ne) && ne.Timeout()
}

func TestCut(t *testing.T) {
	n, r := network(t)
	if err := n.Set(Cut(1, 200, time.Millisecond)); err != nil { // 200: certainly, in either direction
		t.Fatal(err)
	}
	c := dial(t, r[0].Listen)
	if _, err := c.Read(make([]byte, 1)); err == nil || timedOut(err) {
		t.Errorf("the connection was not cut: %v", err)
	}
	if err := n.Set(Cut(1, 0, time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	mustEcho(t, r[0].Listen)
}

func TestDamage(t *testing.T) {
	n, r := network(t)
	f := &Flipper{Mark: []byte("MARKED"), Every: 3, Most: 2}
	if err := n.Set(Damage(f)); err != nil {
		t.Fatal(err)
	}
	c, good, spoilt := dial(t, r[0].Listen), []byte("before MARKED after"), 0
	for range 20 {
		back, err := say(c, good)
		if err != nil {
			t.Fatal(err)
		}
		for i := range back {
			if back[i] != good[i] {
				spoilt++
				if i != len("before ")+3 || back[i]^good[i] != 0x10 {
					t.Errorf("byte %d became %q", i, back[i])
				}
			}
		}
		if back, err = say(c, []byte("nothing to see")); err != nil || string(back) != "nothing to see" {
			t.Fatalf("%q, %v", back, err)
		}
	}
	if spoilt != f.Most || f.Flipped() != f.Most {
		t.Errorf("%d bits were spoilt and %d counted, want %d", spoilt, f.Flipped(), f.Most)
	}
}
