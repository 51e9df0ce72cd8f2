package fake

import (
	"context"
	"sync"
	"time"
)

// Clock is the time of the fake and of what is tested against it: it goes on only when somebody sleeps.
type Clock struct {
	mu   sync.Mutex
	now  time.Time
	live bool
}

// NewClock begins on a fixed day.
func NewClock() *Clock { return &Clock{now: time.Date(2026, 1, 31, 9, 0, 0, 0, time.UTC)} }

// LiveClock goes on by itself, for a fake that is asked by processes of their own.
func LiveClock() *Clock { return &Clock{live: true} }

// Now is the time.
func (c *Clock) Now() time.Time {
	if c.live {
		return time.Now()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

// Sleep lets d go by at once. It fails when ctx has ended.
func (c *Clock) Sleep(ctx context.Context, d time.Duration) error {
	c.mu.Lock()
	c.now = c.now.Add(d)
	c.mu.Unlock()
	return ctx.Err()
}

// A cell is one thing with its past, so that reads may be late.
type cell[T any] struct{ versions []version[T] }

type version[T any] struct {
	at    time.Time
	value *T // nil = not there
}

func (c *cell[T]) set(at time.Time, v *T) { c.versions = append(c.versions, version[T]{at, v}) }

// at is the value that was there at a time; the newest for the zero time.
func (c *cell[T]) at(t time.Time) *T {
	for i := len(c.versions) - 1; i >= 0; i-- {
		if t.IsZero() || !c.versions[i].at.After(t) {
			return c.versions[i].value
		}
	}
	return nil
}

// A shelf keeps cells in the order in which they were made.
type shelf[T any] struct {
	keys  []string
	cells map[string]*cell[T]
}

func (s *shelf[T]) set(key string, at time.Time, v *T) {
	if s.cells == nil {
		s.cells = map[string]*cell[T]{}
	}
	if s.cells[key] == nil {
		s.cells[key] = &cell[T]{}
		s.keys = append(s.keys, key)
	}
	s.cells[key].set(at, v)
}

func (s *shelf[T]) get(key string, at time.Time) *T {
	if c := s.cells[key]; c != nil {
		return c.at(at)
	}
	return nil
}

func (s *shelf[T]) all(at time.Time) (values []*T) {
	for _, key := range s.keys {
		if v := s.cells[key].at(at); v != nil {
			values = append(values, v)
		}
	}
	return values
}
