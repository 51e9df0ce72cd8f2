package offsets

import (
	"math"
	"sort"
)

// Found says how good a translation is. None of them skips a record of the lane.
type Found int

const (
	// Exact says that the record is there. At the end of the map: the next one will
	// be there or later, and all before it are before that.
	Exact Found = iota
	// Gap says that no record of the lane has this offset (or it is not known which
	// one has). None is read again.
	Gap
	// Floor is inside an inexact piece; some records may be read again.
	Floor
	// Before is below the origin, which is given. What may be below it on the
	// source is gone or was never carried.
	Before
	// Beyond is behind the end, which is given. The records between are not on the
	// target yet.
	Beyond
)

func (f Found) String() string {
	return [...]string{"exact", "gap", "floor", "before", "beyond"}[f]
}

// Translate returns the target offset at which a consumer that has read all
// below s on the source goes on. It skips no record of the lane, and reads at
// most `again` of those below s again: 0 for Exact, Gap and Before. It never
// falls as s grows.
func (m *Map) Translate(s Source) (t Target, found Found, again int64) {
	to, found, again := m.translate(int64(s), false)
	return Target(to), found, again
}

// Reverse returns the source offset at which a consumer that has read all
// below t on the target goes on. All that is said of Translate holds with the
// sides swapped. While the last hole is open nothing is Beyond.
func (m *Map) Reverse(t Target) (s Source, found Found, again int64) {
	to, found, again := m.translate(int64(t), true)
	return Source(to), found, again
}

// With swap the words source and target change places.
func (m *Map) translate(x int64, swap bool) (to int64, found Found, again int64) {
	origin, end := m.origin, m.end
	view := func(i int) piece { return m.pieces[i] }
	if swap {
		origin, end = pos{origin.tgt, origin.src}, pos{end.tgt, end.src}
		view = func(i int) piece { return m.pieces[i].swap() }
	}
	if x < origin.src {
		return origin.tgt, Before, 0
	}
	i := sort.Search(len(m.pieces), func(i int) bool { return view(i).src.at > x }) - 1
	behind := origin.tgt
	if i >= 0 {
		p := view(i)
		if x < p.src.end() {
			return p.floor(x)
		}
		behind = p.tgt.end()
	}
	if i < len(m.pieces)-1 {
		return behind, Gap, 0
	}
	if m.isOpen() && !swap { // its records may be anywhere behind its start
		found, again = Floor, view(i).src.len
	} else if x < end.src {
		found = Gap
	}
	if x > end.src {
		found, again = Beyond, again+min(x-end.src, math.MaxInt64-again)
	}
	return end.tgt, found, again
}

// Floor translates source offset x, which is inside p.
func (p piece) floor(x int64) (to int64, found Found, again int64) {
	before := x - p.src.at
	skip := max(0, p.n-(p.src.len-before)) // at least so many records are before x
	after := p.tgt.len - skip              // at most so many are not skipped
	again = min(before-max(0, p.n-after), after-max(0, p.n-before))
	switch to = p.tgt.at + skip; {
	case p.exact():
		return to, Exact, 0
	case again == 0:
		return to, Gap, 0
	}
	return to, Floor, again
}

// Last is the newest record of the lane, on both sides; false if the map does not
// know exactly where it is.
func (m *Map) Last() (s Source, t Target, ok bool) {
	if len(m.pieces) == 0 {
		return 0, 0, false
	}
	p := m.pieces[len(m.pieces)-1]
	if !p.exact() {
		return 0, 0, false
	}
	return Source(p.src.end() - 1), Target(p.tgt.end() - 1), true
}
