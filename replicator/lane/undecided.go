package lane

import "github.com/kferry/kferry/offsets"

// Undecided is a transaction on the source that is open and holds the lane up: what is
// behind its first record can be carried only once it has ended. The zero Undecided is
// none.
type Undecided struct {
	At    offsets.Source // its first record: the source's last stable offset
	Since int64          // when it was first seen to be open, ms since 1970
	By    string         // whose it is, in words; "": not known

	empty bool // the source had nothing for us though its log goes on
}

// Stable takes note of the source's last stable offset and the end of its log, as a
// fetcher was told at now; empty: with no records.
func (l *Lane) Stable(stable, end offsets.Source, empty bool, now int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch u := &l.undecided; {
	case stable < 0 || stable >= end:
		*u = Undecided{}
	case u.Since == 0 || u.At != stable:
		*u = Undecided{At: stable, Since: now, empty: empty}
	default:
		u.empty = empty
	}
}

// Blame takes note of whose transaction it is that begins at an offset.
func (l *Lane) Blame(at offsets.Source, by string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.undecided.At == at && l.undecided.Since > 0 {
		l.undecided.By = by
	}
}

// undecidedLocked is the transaction that a running lane has come to.
func (l *Lane) undecidedLocked() Undecided {
	if u := l.undecided; l.state == Running && (u.empty || l.pos.Source >= u.At) {
		return u
	}
	return Undecided{}
}
