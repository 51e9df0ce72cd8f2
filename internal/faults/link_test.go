package faults

import (
	"bytes"
	"io"
	"testing"
	"time"
)

// Two connections share the link: together they take as long as one with the bytes of both.
func TestLink(t *testing.T) {
	n, routes := network(t)
	const rate, each = 4 << 20, 1 << 20
	if err := n.Set(Link(rate)); err != nil {
		t.Fatal(err)
	}
	begin := time.Now()
	done := make(chan error, 2)
	for range 2 {
		c := dial(t, routes[0].Listen)
		go func() { _, _ = c.Write(bytes.Repeat([]byte("x"), each)) }()
		go func() {
			_, err := io.ReadFull(c, make([]byte, each))
			done <- err
		}()
	}
	for range 2 {
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	}
	// Faster is impossible whatever the machine does; how much slower is its affair.
	if took, least := time.Since(begin), time.Second*2*each/rate*9/10; took < least {
		t.Errorf("%d bytes came in %v, want %v at least", 2*each, took, least)
	}
}

// What is lost comes later, and nothing is missing.
func TestLoss(t *testing.T) {
	n, routes := network(t)
	const pause = 20 * time.Millisecond
	if err := n.Set(Loss(1, 100, pause)); err != nil {
		t.Fatal(err)
	}
	c := dial(t, routes[0].Listen)
	begin := time.Now()
	if _, err := c.Write([]byte("hello")); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 5)
	if _, err := io.ReadFull(c, b); err != nil || string(b) != "hello" {
		t.Fatalf("got %q, %v", b, err)
	}
	if took := time.Since(begin); took < 2*pause {
		t.Errorf("there and back in %v, want twice the pause of %v", took, pause)
	}
}
