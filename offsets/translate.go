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

// Record tells where the record with source offset s is on the target: at first
// (Exact), or not before first and not behind last (Floor: the map is coarse there,
// and the offset may have no record at all). last is UnknownTarget where nothing
// bounds it yet. Gap, Before and Beyond are without a record, as in Translate.
func (m *Map) Record(s Source) (first, last Target, found Found) {
	x := int64(s)
	i := sort.Search(len(m.pieces), func(i int) bool { return m.pieces[i].src.at > x }) - 1
	switch {
	case x < m.origin.src:
		return UnknownTarget, UnknownTarget, Before
	case x >= m.end.src:
		return UnknownTarget, UnknownTarget, Beyond
	case i < 0 || x >= m.pieces[i].src.end():
		return UnknownTarget, UnknownTarget, Gap
	}
	p := m.pieces[i]
	k := x - p.src.at
	if p.exact() {
		at := Target(p.tgt.at + k)
		return at, at, Exact
	}
	first = Target(p.tgt.at + max(0, p.n-(p.src.len-k))) // at least so many records are before it
	if p.open() {
		return first, UnknownTarget, Floor
	}
	return first, Target(p.tgt.end() - 1 - max(0, p.n-k-1)), Floor // and so many behind
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
