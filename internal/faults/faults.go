// Package faults is what a test puts between kferry and the brokers: connections that break, wait or crawl, bytes that
// change on their way, a disk that is full. All of it is on this machine; connections are on loopback only.
package faults

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	"github.com/Shopify/toxiproxy/v2/stream"
	"github.com/Shopify/toxiproxy/v2/toxics"
)

// Fault is something bad about a connection, in both directions.
type Fault struct {
	kind       string         // of toxic
	attributes map[string]any // as toxiproxy names them
	pipe       func(*toxics.ToxicStub)
	back       func(*toxics.ToxicStub) // the way from the broker, where it is not as pipe
}

// Latency makes everything come later, each way.
func Latency(d time.Duration) Fault {
	return Fault{kind: "latency", attributes: map[string]any{"latency": d.Milliseconds()}}
}

// Bandwidth lets so many kilobytes a second through each connection, each way.
func Bandwidth(kilobytes int) Fault {
	return Fault{kind: "bandwidth", attributes: map[string]any{"rate": kilobytes}}
}

// SlowClose has the end of a connection come later.
func SlowClose(d time.Duration) Fault {
	return Fault{kind: "slow_close", attributes: map[string]any{"delay": d.Milliseconds()}}
}

// Silence swallows all bytes; the connection stays open.
func Silence() Fault { return Fault{kind: "timeout", attributes: map[string]any{"timeout": 0}} }

// Cut breaks, every so often, each connection with a probability of percent. What was on its way may have arrived or not.
// The numbers come from seed, in the order in which the connections ask for them.
func Cut(seed uint64, percent float64, every time.Duration) Fault {
	var mu sync.Mutex
	rng := rand.New(rand.NewPCG(seed, 0x637574)) //nolint:gosec // faults that can be repeated are the point
	hit := func() bool {
		mu.Lock()
		defer mu.Unlock()
		// The fault is on both directions, and either of them ends the connection.
		return rng.Float64()*100 < percent/2
	}
	return Fault{kind: ownKind, pipe: func(s *toxics.ToxicStub) { cut(s, every, hit) }}
}

func cut(s *toxics.ToxicStub, every time.Duration, hit func() bool) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-s.Interrupt:
			return
		case <-tick.C:
			if hit() {
				s.Close()
				swallow(s)
				return
			}
		case c := <-s.Input:
			if c == nil {
				s.Close()
				return
			}
			s.Output <- c
		}
	}
}

// swallow takes what still comes, so that whoever writes it ends.
func swallow(s *toxics.ToxicStub) {
	for c := range s.Input {
		if c == nil {
			return
		}
	}
}

// Damage has f spoil what passes.
func Damage(f *Flipper) Fault {
	return Fault{kind: ownKind, pipe: pieces(func(_ *toxics.ToxicStub, c *stream.StreamChunk) bool {
		f.Spoil(c.Data)
		return true
	})}
}

// pieces has each piece of a connection seen to before it goes on. False ends the fault behind the piece, because it was interrupted.
func pieces(see func(s *toxics.ToxicStub, c *stream.StreamChunk) bool) func(*toxics.ToxicStub) {
	return func(s *toxics.ToxicStub) {
		for {
			select {
			case <-s.Interrupt:
				return
			case c := <-s.Input:
				if c == nil {
					s.Close()
					return
				}
				on := see(s, c)
				s.Output <- c
				if !on {
					return
				}
			}
		}
	}
}

// ownKind is the toxic that is a Go function.
const ownKind = "function"

type function struct{ pipe func(*toxics.ToxicStub) }

func (f *function) Pipe(s *toxics.ToxicStub) { f.pipe(s) }

func init() { toxics.Register(ownKind, new(function)) }

// toxic is the fault as toxiproxy reads it, for one direction.
func (f Fault) toxic(n int, stream string) (*strings.Reader, error) {
	text, err := json.Marshal(map[string]any{"name": fmt.Sprint(stream, n), "type": f.kind, "stream": stream, "attributes": f.attributes})
	return strings.NewReader(string(text)), err
}

// Flipper turns over one bit in the middle of Mark, which stands in the values of records and nowhere else on the wire:
// a bit of a length or an offset that turns over is another fault, of which no checksum tells. Safe for concurrent use.
type Flipper struct {
	Mark  []byte
	Every int // of so many marked pieces one is spoilt
	Most  int // bits in all

	mu            sync.Mutex
	seen, flipped int
}

// Spoil turns over a bit of p, if it is its turn.
func (f *Flipper) Spoil(p []byte) {
	at := bytes.Index(p, f.Mark)
	if at < 0 {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.seen++; f.seen%f.Every != 0 || f.flipped == f.Most {
		return
	}
	f.flipped++
	p[at+len(f.Mark)/2] ^= 0x10
}

// Flipped is how many bits were turned over.
func (f *Flipper) Flipped() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.flipped
}
