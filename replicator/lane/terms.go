package lane

import (
	"math"
	"slices"

	"github.com/kferry/kferry/offsets"
)

// Terms are what a lane may count on at its target.
//
// A broker checks a sequence number only against what it remembers of the producer,
// and it forgets a producer once the newest *record timestamp* of its last batch in
// the partition is older than producer.id.expiration.ms, however busy the producer
// is: it looks now and then, and whenever it loads the partition. From then on any
// sequence is accepted. So for old records the log alone tells what is stored.
type Terms struct {
	// Memory is for how long, in ms, after the newest time of a batch the broker is
	// sure to know the batch again.
	Memory int64
	// Foretold tells that the target refuses no batch of at most Limit bytes whose
	// newest record is at most Ahead ms later than the present.
	Foretold bool
	Limit    int
	Ahead    int64
}

const noTime = math.MinInt64

// remembers tells that a broker that stored a batch as its last one knows it again.
func (t Terms) remembers(newest, now int64) bool { return newest >= now-t.Memory }

// takes tells that the target will not refuse it for what is in it.
func (t Terms) takes(it Item, now int64) bool {
	return t.Foretold && len(it.Bytes) <= t.Limit && it.Newest-t.Ahead <= now
}

// Agree has the lane go by other terms.
func (l *Lane) Agree(t Terms) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.terms = t
}

// safeLocked tells whether a batch may follow those that are on the wire: either the
// broker is sure to refuse its sequence if it refused one of them, or it will not
// refuse any of them.
func (l *Lane) safeLocked(now int64) bool {
	known, taken := l.terms.remembers(l.newest, now), true
	for _, it := range l.flight[:l.out] {
		known = known && l.terms.remembers(it.Newest, now)
		taken = taken && l.terms.takes(it, now)
	}
	return known || taken
}

// Rewindable tells whether what is in flight may be sent once more as it is: the
// broker is sure to know again what of it was stored.
func (l *Lane) Rewindable(now int64) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return !slices.ContainsFunc(l.flight, func(it Item) bool { return !l.terms.remembers(it.Newest, now) })
}

// Sent is a batch of which nobody knows whether the target has it, without its bytes.
type Sent struct {
	Sequence int32 // of its first record
	Records  int32
	Next     offsets.Source // where the source goes on after it
	Leader   Leader         // of the offset before Next
}

func (l *Lane) flightLocked() (sent []Sent) {
	for _, it := range l.flight {
		sent = append(sent, Sent{it.seq, it.Records, it.Next, it.Leader})
	}
	return sent
}

// Stand is where a lane stands: the target has all before Position, and some or none
// of what was sent after it.
type Stand struct {
	Position
	Sent []Sent // oldest first
	// Whole tells that Sent is all that was sent. After a crash nobody knows what was.
	Whole bool
}

// Stand is where the lane stands now; of what it let go of, see Drop, it knows still
// what was in flight.
func (l *Lane) Stand() Stand {
	l.mu.Lock()
	defer l.mu.Unlock()
	st := Stand{Position: l.pos, Sent: l.unanswered, Whole: true}
	if len(l.flight) > 0 {
		st.Sent = l.flightLocked()
	}
	return st
}

// upTo moves p over the batches of sent that the target has, given the last sequence
// that it has; n is how many records those hold.
func (p Position) upTo(sent []Sent, last int32) (_ Position, n int64) {
	for _, s := range sent {
		if s.Sequence != p.Sequence || written(p.Sequence, last) < int64(s.Records) {
			break
		}
		p.Source, p.Leader, p.Sequence = s.Next, s.Leader, Advance(p.Sequence, int64(s.Records))
		n += int64(s.Records)
	}
	return p, n
}
