// Package budget bounds the memory of everything fetched and not yet
// acknowledged, over the whole process.
package budget

import (
	"context"
	"sync"
	"sync/atomic"
)

// Budget is a semaphore that counts bytes. The zero value is not usable.
type Budget struct {
	limit int64

	mu   sync.Mutex
	used int64
	// freed is closed and replaced whenever bytes come back, so that every
	// waiter looks again; waiters are few (one per source broker and link).
	freed chan struct{}
}

// New returns a budget of limit bytes.
func New(limit int64) *Budget {
	return &Budget{limit: limit, freed: make(chan struct{})}
}

// Acquire takes n bytes, waiting until they fit. One request larger than the
// whole budget is let through when nothing else is held: a record that a broker
// accepted has to be carried, whatever its size.
func (b *Budget) Acquire(ctx context.Context, n int64) error {
	for {
		b.mu.Lock()
		if b.used+n <= b.limit || b.used == 0 {
			b.used += n
			b.mu.Unlock()
			return nil
		}
		freed := b.freed
		b.mu.Unlock()
		select {
		case <-freed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Adjust changes what is held by n bytes without waiting: a response is known
// to be smaller, or larger, than what was reserved for it.
func (b *Budget) Adjust(n int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.used += n
	if b.used < 0 {
		panic("budget: more bytes freed than taken")
	}
	if n < 0 {
		close(b.freed)
		b.freed = make(chan struct{})
	}
}

// Used is how many bytes are held.
func (b *Budget) Used() int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.used
}

// Limit is the size of the budget in bytes.
func (b *Budget) Limit() int64 { return b.limit }

// Hold is a share of the budget that several batches use together: the batches
// of one fetch response alias its buffer, and the buffer lives until the last
// of them is gone. It starts with one reference, the maker's.
type Hold struct {
	b       *Budget
	bytes   int64
	buffer  []byte // for GiveBack with the last reference; nil: it is the collector's
	refs    atomic.Int64
	spoiled atomic.Bool
}

// Hold wraps n bytes that were already acquired.
func (b *Budget) Hold(n int64) *Hold {
	h := &Hold{b: b, bytes: n}
	h.refs.Store(1)
	return h
}

// Lend gives h the buffer that its bytes are in, and returns h. It came from Room, and
// goes back with the last reference unless h is spoiled. It is for the maker of h, once,
// before anybody else has a reference. A nil Hold holds nothing.
func (h *Hold) Lend(buffer []byte) *Hold {
	if h != nil {
		h.buffer = buffer
	}
	return h
}

// Spoil says that somebody may read the bytes even after the last reference is
// dropped: they are left to the collector. A nil Hold holds nothing.
func (h *Hold) Spoil() {
	if h != nil {
		h.spoiled.Store(true)
	}
}

// Keep adds a reference and returns h.
func (h *Hold) Keep() *Hold {
	h.refs.Add(1)
	return h
}

// Release drops one reference; the last one gives the bytes back. A nil Hold
// holds nothing.
func (h *Hold) Release() {
	if h == nil {
		return
	}
	switch n := h.refs.Add(-1); {
	case n == 0:
		if h.buffer != nil && !h.spoiled.Load() {
			GiveBack(h.buffer)
		}
		h.b.Adjust(-h.bytes)
	case n < 0:
		panic("budget: hold released twice")
	}
}

// Split takes n bytes of its own from the same budget, without waiting: for a
// batch that was copied out of the buffer it arrived in. A nil Hold gives nil.
func (h *Hold) Split(n int64) *Hold {
	if h == nil {
		return nil
	}
	h.b.Adjust(n)
	return h.b.Hold(n)
}
