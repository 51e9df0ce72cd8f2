package progress

import (
	"sync"
	"time"

	"github.com/kferry/kferry/replicator/clock"
)

// Lease tells whether this replica surely still has its slots: others get them once the group has
// not heard from it for the length of a session. It runs from the moment at which the last heartbeat
// was sent that the group has answered well: before that came, the group had not counted the replica
// out, and began to wait anew. Safe for concurrent use.
type Lease struct {
	now func() clock.Moment

	mu      sync.Mutex
	from    clock.Moment  // when the heartbeat that counts was sent
	term    time.Duration // how long it counts; 0: there is none
	ended   *clock.Moment // what was sent before does not count
	yields  *clock.Moment // since when slots are being let go; nil: none are
	refused bool          // Held has said no since Returned was last asked
}

// yieldFor is how long the lease holds while slots are being let go: a replica that takes longer
// than the rebalance timeout is counted out however alive it is.
const yieldFor = rebalanceTimeout / 2

// NewLease makes a lease that does not hold yet.
func NewLease(now func() clock.Moment) *Lease { return &Lease{now: now} }

// Renew takes in that the group has answered well what was sent at sent: it does not count this
// replica out before term has passed.
func (l *Lease) Renew(sent clock.Moment, term time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ended != nil && sent.Mono < l.ended.Mono || l.term > 0 && sent.Mono < l.from.Mono {
		return
	}
	l.from, l.term = sent, term
}

// End takes in that the group has counted this replica out.
func (l *Lease) End() {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.now()
	l.term, l.ended = 0, &now
}

// Yield takes in that slots are being let go, until done is called.
func (l *Lease) Yield() (done func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.now()
	l.yields = &now
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.yields = nil
	}
}

// Held tells whether the slots surely are still this replica's.
func (l *Lease) Held() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	held := l.heldLocked()
	l.refused = l.refused || !held
	return held
}

// Returned tells, once, that the lease holds again after Held has said that it does not.
func (l *Lease) Returned() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.refused || !l.heldLocked() {
		return false
	}
	l.refused = false
	return true
}

func (l *Lease) heldLocked() bool {
	now := l.now()
	return now.Since(l.from) < l.term && (l.yields == nil || now.Since(*l.yields) < yieldFor)
}
