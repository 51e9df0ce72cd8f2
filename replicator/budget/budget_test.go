package budget

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
)

func TestAcquireWaitsForRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := New(100)
		if err := b.Acquire(t.Context(), 80); err != nil {
			t.Fatal(err)
		}
		got := make(chan error, 1)
		go func() { got <- b.Acquire(t.Context(), 30) }()
		synctest.Wait()
		select {
		case <-got:
			t.Fatal("110 of 100 bytes were given out")
		default:
		}
		b.Adjust(-10)
		if err := <-got; err != nil {
			t.Fatal(err)
		}
		if b.Used() != 100 {
			t.Fatalf("used %d, want 100", b.Used())
		}
	})
}

func TestAcquireEndsWithItsContext(t *testing.T) {
	b := New(10)
	b.Adjust(10)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := b.Acquire(ctx, 1); !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v", err)
	}
}

// A record larger than the whole budget must pass, alone.
func TestOversizePassesAlone(t *testing.T) {
	b := New(10)
	if err := b.Acquire(t.Context(), 50); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := b.Acquire(ctx, 1); err == nil {
		t.Fatal("a second one passed beside it")
	}
}

func TestHoldGivesBackOnce(t *testing.T) {
	b := New(100)
	b.Adjust(60)
	h := b.Hold(60)
	for range 3 {
		h.Keep()
	}
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(h.Release)
	}
	wg.Wait()
	if b.Used() != 60 {
		t.Fatalf("given back early: used %d", b.Used())
	}
	own := h.Split(5)
	h.Release()
	if b.Used() != 5 {
		t.Fatalf("used %d, want the 5 of the copy", b.Used())
	}
	own.Release()
	if b.Used() != 0 {
		t.Fatalf("used %d, want 0", b.Used())
	}
	(*Hold)(nil).Release()
	defer func() {
		if recover() == nil {
			t.Fatal("a second release of the last reference must panic")
		}
	}()
	own.Release()
}
