package fetch

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

// Several fetchers share the limit, whatever their responses bring: in any
// while it is held, up to what one response may be too large.
func TestRateIsShared(t *testing.T) {
	for name, c := range map[string]struct {
		limit int64
		bring func(i int, size int64) int64
		slack int64
	}{
		"full responses":  {1 << 20, func(_ int, size int64) int64 { return size }, 1 << 20},
		"half and none":   {1 << 20, func(i int, size int64) int64 { return int64(i%3) * size / 2 }, 1 << 20},
		"large batches":   {10_000, func(int, int64) int64 { return 1_000_000 }, 4_000_000},
		"a byte a second": {1, func(int, int64) int64 { return 1 }, 5},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := NewRate(c.limit)
				ctx, cancel := context.WithTimeout(t.Context(), 30*time.Minute)
				defer cancel()
				began, sum := time.Now(), make(chan int64)
				for range 4 {
					go func() {
						m := meter{Rate: r}
						n := int64(0)
						for i := 0; m.pay(ctx, int64(r.most)) == nil; i++ {
							time.Sleep(20 * time.Millisecond) // the way there and back
							got := c.bring(i, int64(r.most))
							m.brought(got)
							n += got
						}
						sum <- n
					}()
				}
				n := int64(0)
				for range 4 {
					n += <-sum
				}
				// WaitN gives up ahead of a deadline that it would miss.
				if want := c.limit * int64(time.Since(began)/time.Second); n > want+c.slack || n < want*9/10-c.slack {
					t.Errorf("%d bytes in %v, want about %d", n, time.Since(began), want)
				}
			})
		})
	}
}

func TestNoRate(t *testing.T) {
	m := meter{Rate: NewRate(0)}
	for range 100 {
		if err := m.pay(t.Context(), 1<<40); err != nil {
			t.Fatal(err)
		}
		m.brought(1 << 40)
	}
}

// A fetcher that waits for its turn ends with its context.
func TestRateEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := meter{Rate: NewRate(10)}
		m.brought(1_000_000)
		ctx, cancel := context.WithCancel(t.Context())
		end := make(chan error)
		go func() { end <- m.pay(ctx, 1) }()
		synctest.Wait()
		cancel()
		if err := <-end; err == nil {
			t.Error("paid at once")
		}
	})
}
