package offsets

import (
	"fmt"
	"math"
	"slices"
)

// MaxPieces bounds the memory of a map: 40 bytes a piece, so at most 80 KiB.
// Only logs with gaps (transactions, compaction) ever have many.
const MaxPieces = 2048

// Piece is one run of a lane's offsets on both sides: the source offsets
// [Source, Source+SourceLen) and the target offsets [Target, Target+TargetLen)
// hold the same records of the lane, in the same order, and at least Records
// of them. Records is at most either length; where all three are equal the
// piece is exact: record Source+i is at Target+i.
type Piece struct {
	Source    Source
	SourceLen int64
	Target    Target
	TargetLen int64
	Records   int64
}

// Map tells where the records of one lane are on the target. It is a list of
// pieces, ascending on both sides and not overlapping on either. Between two
// pieces is a gap: no record of the lane on either side, only transaction
// markers, aborted or compacted records on the source and what others wrote on
// the target.
//
// An inexact piece comes from Hole or from thinning. What the map says of it is
// never ahead of the truth: at most as many records follow a source offset as
// the piece has source offsets from there on, so at least Records less that
// many stand before it on the target.
//
// A full map is thinned: in its older half neighbours are joined, those first
// that have the fewest gap offsets between and inside them, until a quarter of
// the map is free. A joined piece lets at most as many records be read again
// as it has gap offsets, on both sides together. The newer half is never
// touched.
//
// A stored map that is older than its lane's position is brought up to it by Hole
// and Reach. One of before a Truncate, or before the target lost records, says
// wrong things and must not be used.
//
// The zero value is a map that begins at 0 on both sides. Offsets are not
// negative. A Map is not safe for concurrent use.
type Map struct {
	origin pos // records below are not the map's business
	end    pos // every record below end.src is on the target; those after it will be at end.tgt or later
	// Invariant: ascending between origin and end; only the last may be open.
	pieces  []piece
	version uint64 // counts changes
	limit   int    // of pieces; 0: MaxPieces. At least 4
}

type pos struct{ src, tgt int64 }

// A run is the offsets [at, at+len) of one side. Inside the package sides are
// plain numbers, for all arithmetic is the same with the sides swapped.
type run struct{ at, len int64 }

func (r run) end() int64 { return r.at + r.len }

// Invariant: both lengths > 0, 0 <= n <= both. A piece whose target ends at
// MaxInt64 is open: a hole of which no later target is known yet.
type piece struct {
	src, tgt run
	n        int64
}

func (p piece) exact() bool { return p.n == p.src.len && p.n == p.tgt.len }
func (p piece) open() bool  { return p.tgt.end() == math.MaxInt64 }
func (p piece) swap() piece { return piece{p.tgt, p.src, p.n} }

func (p piece) join(q piece) piece {
	return piece{
		run{p.src.at, q.src.end() - p.src.at},
		run{p.tgt.at, q.tgt.end() - p.tgt.at},
		p.n + q.n,
	}
}

// Loose counts the offsets of both sides that may hold no record of the lane.
func (p piece) loose() uint64 { return uint64(p.src.len-p.n) + uint64(p.tgt.len-p.n) }

// Below is the part of p below source offset x, which is inside p.
func (p piece) below(x int64) piece {
	k := x - p.src.at
	return piece{
		run{p.src.at, k},
		run{p.tgt.at, p.tgt.len - max(0, p.n-k)},
		max(0, p.n-(p.src.len-k)),
	}
}

// NewMap returns the map of a lane that begins at s, whose first record will
// be at t or later.
func NewMap(s Source, t Target) *Map {
	at := pos{int64(s), int64(t)}
	return &Map{origin: at, end: at}
}

// Origin is where the lane began, or went back to below that.
func (m *Map) Origin() (Source, Target) { return Source(m.origin.src), Target(m.origin.tgt) }

// End is where the next record goes on: all records below the source offset
// are on the target, those that follow will be at the target offset or later.
func (m *Map) End() (Source, Target) { return Source(m.end.src), Target(m.end.tgt) }

// Append learns that the records [src, src+n) are at [tgt, tgt+n). Offsets
// between the end and src are a gap; those below the end are known already and
// left as they are, so a run may be learned twice. UnknownTarget makes the run
// a hole.
//
// Where tgt is below what the map has for src, the target lost what it had
// from tgt on, and the map forgets that. Until such a run comes, the map speaks
// of records that are gone.
func (m *Map) Append(src Source, tgt Target, n int64) {
	if s, t := int64(src), int64(tgt); n <= 0 || s != m.end.src || t != m.end.tgt || !m.grows() {
		m.learn(s, t, n)
		return
	}
	p := &m.pieces[len(m.pieces)-1]
	p.src.len, p.tgt.len, p.n = p.src.len+n, p.tgt.len+n, p.n+n
	m.end.src, m.end.tgt = m.end.src+n, m.end.tgt+n
}

// Grows tells that a record at the end of both sides makes the last piece longer.
func (m *Map) grows() bool {
	if len(m.pieces) == 0 {
		return false
	}
	p := &m.pieces[len(m.pieces)-1]
	return p.exact() && p.src.end() == m.end.src && p.tgt.end() == m.end.tgt
}

func (m *Map) learn(s, t, n int64) {
	if n <= 0 {
		return
	}
	if Target(t) == UnknownTarget {
		m.Advance(Source(s))
		m.Hole(Source(s+n), n)
		return
	}
	for _, known := range []*int64{&m.origin.src, &m.end.src} {
		k := max(0, *known-s)
		if s, t, n = s+k, t+k, n-k; n <= 0 {
			return
		}
		m.reconcile(s, t)
	}
	m.Reach(Target(t))
	m.add(piece{run{s, n}, run{t, n}, n})
	m.end = pos{s + n, t + n}
}

// Reconcile makes the map agree that the first record at or after source s,
// which is not below the origin, is at t.
func (m *Map) reconcile(s, t int64) {
	floor := m.end.tgt
	if s < m.end.src {
		floor, _, _ = m.translate(s, false)
	}
	if t < floor {
		m.lose(t)
	}
}

// Lose forgets the records at and after t: the target lost them, and ended at t.
func (m *Map) lose(t int64) {
	if t >= m.end.tgt && !m.isOpen() {
		return
	}
	m.version++
	for i := len(m.pieces) - 1; i >= 0; i-- {
		p := m.pieces[i]
		if p.tgt.at < t {
			if p.tgt.end() > t {
				p = p.swap().below(t).swap()
				m.pieces[i], m.end.src = p, p.src.end()
			}
			break
		}
		m.pieces, m.end.src = m.pieces[:i], p.src.at
	}
	m.end.tgt, m.origin.tgt = t, min(m.origin.tgt, t)
}

// Advance moves the source's end to an offset below which no more records
// are: transaction markers and what was compacted away.
func (m *Map) Advance(to Source) { m.end.src = max(m.end.src, int64(to)) }

// Hole learns that the offsets from the end up to `to` hold at least n records
// (-1: not known how many) that are on the target at the end's target or
// later, it is not known where. The hole is open until Reach or Append name a
// later target; if it is then as long on both sides as it has records, it
// turns out to be exact.
func (m *Map) Hole(to Source, n int64) {
	size := int64(to) - m.end.src
	if size <= 0 {
		return
	}
	n = min(max(n, 0), size)
	if m.isOpen() {
		p := &m.pieces[len(m.pieces)-1]
		p.src.len, p.n = int64(to)-p.src.at, p.n+n
		m.version++
	} else {
		m.add(piece{run{m.end.src, size}, run{m.end.tgt, math.MaxInt64 - m.end.tgt}, n})
	}
	m.end.src, m.end.tgt = int64(to), m.end.tgt+n
}

func (m *Map) isOpen() bool { return len(m.pieces) > 0 && m.pieces[len(m.pieces)-1].open() }

// Reach learns that all records of the lane so far are below t and that the
// next ones will be at t or later: t is the target's end, seen while nothing
// was in flight. It closes an open hole. A t below the end's is no news.
func (m *Map) Reach(t Target) {
	y, open := int64(t), m.isOpen()
	if y < m.end.tgt || y == m.end.tgt && !open {
		return
	}
	if open {
		last := len(m.pieces) - 1
		p := m.pieces[last]
		m.pieces = m.pieces[:last]
		if p.tgt.len = y - p.tgt.at; p.tgt.len > 0 {
			m.add(p)
		}
	}
	m.end.tgt = y
	m.version++
}

// Add puts p behind the last piece, as a part of it where both are exact and meet.
func (m *Map) add(p piece) {
	if last := len(m.pieces) - 1; last >= 0 && p.exact() {
		q := &m.pieces[last]
		if q.exact() && q.src.end() == p.src.at && q.tgt.end() == p.tgt.at {
			*q = q.join(p)
			return
		}
	}
	if len(m.pieces) >= m.max() {
		m.thin()
	}
	m.pieces = append(m.pieces, p)
	m.version++
}

func (m *Map) max() int {
	if m.limit == 0 {
		return MaxPieces
	}
	return m.limit
}

// Thin halves the older half, at the least. It costs up to 64 passes, over half of the map,
// and leaves room for a quarter: O(1) for each piece that is added.
func (m *Map) thin() {
	old := m.pieces[:len(m.pieces)/2]
	kept := old
	for slack := uint64(1); len(kept) > len(old)/2; slack = slack<<1 | 1 {
		kept = joined(kept, slack)
	}
	m.pieces = slices.Delete(m.pieces, len(kept), len(old))
}

// Joined joins neighbours, in place, as long as what comes out is at most so loose.
func joined(ps []piece, slack uint64) []piece {
	out := ps[:1]
	for _, p := range ps[1:] {
		if q := out[len(out)-1].join(p); q.loose() <= slack {
			out[len(out)-1] = q
		} else {
			out = append(out, p)
		}
	}
	return out
}

// Holes returns the inexact pieces, oldest first, for whoever can read the two
// topics again and Fill them. A hole that is still open is not among them. The
// smaller the difference of the two lengths and Records, the less there is to
// gain: a full map is made of pieces that thinning left a little inexact.
func (m *Map) Holes() []Piece {
	var holes []Piece
	for _, p := range m.pieces {
		if !p.exact() && !p.open() {
			holes = append(holes, Piece{Source(p.src.at), p.src.len, Target(p.tgt.at), p.tgt.len, p.n})
		}
	}
	return holes
}

// Fill replaces a hole, as Holes gave it, by the pieces that were found in it,
// in ascending order. They are all there is: what they leave out of the hole
// is a gap. It returns an error, and changes nothing, if the map has no such
// hole (any more) or the pieces do not fit in or have fewer records.
func (m *Map) Fill(hole Piece, found ...Piece) error {
	h := hole.plain()
	i := slices.Index(m.pieces, h)
	if i < 0 || h.exact() || h.open() {
		return fmt.Errorf("offsets: the map has no hole %+v: it changed since, ask for its holes again", hole)
	}
	src, tgt, n := h.src.at, h.tgt.at, int64(0)
	for _, f := range found {
		p := f.plain()
		if !p.within(run{src, h.src.end() - src}, run{tgt, h.tgt.end() - tgt}) {
			return fmt.Errorf("offsets: piece %+v does not fit into hole %+v behind %d, %d", f, hole, src, tgt)
		}
		src, tgt, n = p.src.end(), p.tgt.end(), n+p.n
	}
	if n < h.n {
		return fmt.Errorf("offsets: %d records found in hole %+v, which has at least %d", n, hole, h.n)
	}
	newer := slices.Clone(m.pieces[i+1:])
	m.pieces = m.pieces[:i]
	for _, f := range found {
		m.add(f.plain())
	}
	for _, p := range newer {
		m.add(p)
	}
	m.version++
	return nil
}

func (p Piece) plain() piece {
	return piece{run{int64(p.Source), p.SourceLen}, run{int64(p.Target), p.TargetLen}, p.Records}
}

func (p piece) within(src, tgt run) bool {
	return p.n >= 0 && p.n <= p.src.len && p.n <= p.tgt.len && p.src.within(src) && p.tgt.within(tgt)
}

func (r run) within(o run) bool {
	return r.len > 0 && r.at >= o.at && r.len <= o.len && r.at-o.at <= o.len-r.len
}

// Truncate forgets the records at and after s: the source lost them, or they
// will be carried again. What will have their offsets comes after the end's
// target.
func (m *Map) Truncate(s Source) {
	x := int64(s)
	if x >= m.end.src {
		return
	}
	for i := len(m.pieces) - 1; i >= 0; i-- {
		p := m.pieces[i]
		if p.src.at < x {
			if p.src.end() > x {
				m.pieces[i] = p.below(x)
			}
			if p.open() {
				m.pieces[i].tgt = p.tgt
			}
			break
		}
		m.pieces = m.pieces[:i]
	}
	m.end.src = x
	if x < m.origin.src {
		m.origin = m.end
	}
	m.version++
}

// Version counts the changes other than the last exact piece growing and
// Advance: while it stays, a stored map and the lane's position say the same.
// It is not stored: it counts from 0 in a map that was made or decoded.
func (m *Map) Version() uint64 { return m.version }

// Clone returns a copy that shares nothing with m.
func (m *Map) Clone() *Map {
	c := *m
	c.pieces = slices.Clone(m.pieces)
	return &c
}
