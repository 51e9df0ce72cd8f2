package faults

import (
	"math/rand/v2"
	"sync"
	"time"

	"github.com/Shopify/toxiproxy/v2/stream"
	"github.com/Shopify/toxiproxy/v2/toxics"
)

// Link lets so many bytes a second through, each way, for all connections together: they share it as they share a cable.
// What comes faster waits. It comes before Latency.
func Link(bytesPerSecond int64) Fault {
	return Fault{kind: ownKind, pipe: shared(bytesPerSecond), back: shared(bytesPerSecond)}
}

// shared is one direction of a Link.
func shared(bytesPerSecond int64) func(*toxics.ToxicStub) {
	var mu sync.Mutex
	var free time.Time // when all that has come by now is through
	return delayed(func(n int) time.Duration {
		mu.Lock()
		defer mu.Unlock()
		now := time.Now()
		if free.Before(now) {
			free = now
		}
		free = free.Add(time.Duration(int64(n) * int64(time.Second) / bytesPerSecond))
		return free.Sub(now)
	})
}

// segment is how much a packet of a usual network carries, in bytes.
const segment = 1448

// Loss has so many percent of the packets come only after pause, which is what the sender needs to notice and send again;
// what is behind such a packet on its connection waits with it. The sender does not slow down for it otherwise, as TCP would.
func Loss(seed uint64, percent float64, pause time.Duration) Fault {
	var mu sync.Mutex
	rng := rand.New(rand.NewPCG(seed, 0x6c6f7373)) //nolint:gosec // faults that can be repeated are the point
	return Fault{kind: ownKind, pipe: delayed(func(n int) time.Duration {
		mu.Lock()
		defer mu.Unlock()
		for range 1 + (n-1)/segment {
			if rng.Float64()*100 < percent {
				return pause
			}
		}
		return 0
	})}
}

// delayed holds each piece of a connection back for as long as wait says, which is told its length.
func delayed(wait func(n int) time.Duration) func(*toxics.ToxicStub) {
	// A timer is late by up to a millisecond, so a wait this short is not worth one: the debt is paid with a later piece.
	const least = time.Millisecond
	return pieces(func(s *toxics.ToxicStub, c *stream.StreamChunk) bool {
		if d := wait(len(c.Data)); d > least {
			select {
			case <-time.After(d):
			case <-s.Interrupt:
				return false
			}
		}
		c.Timestamp = time.Now() // latency counts from here on
		return true
	})
}
