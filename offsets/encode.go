package offsets

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
)

const (
	format = 1
	// maxOffset keeps a gap and its kind in one varint, and every sum in an int64.
	maxOffset = math.MaxInt64 >> 2
)

// Kinds of a stored piece.
const (
	storedExact = iota
	storedLoose
	storedOpen
)

// MarshalBinary gives the map in its stored form, format 1: the format's byte,
// then unsigned varints (LEB128, as in encoding/binary):
//
//	origin source  origin target  number of pieces
//	for each piece, oldest first:
//	  source gap * 4 + kind  target gap  records
//	  kind 0, exact: nothing else
//	  kind 1, loose: source length - records  target length - records
//	  kind 2, open, the last piece only: source length - records
//	source gap  target gap, both up to the end
//
// A gap is counted from the end of the piece before it (the first one from the
// origin); the target gap behind an open piece from its start. A transaction
// of up to 127 records takes 3 bytes, one of up to 16383 takes 4.
//
// The error is that the map has offsets of 2^61 or more, which no Kafka has.
func (m *Map) MarshalBinary() ([]byte, error) {
	if m.origin.src < 0 || m.origin.tgt < 0 || max(m.end.src, m.end.tgt) > maxOffset {
		return nil, fmt.Errorf("offsets: map from %+v to %+v cannot be stored: offsets are from 0 to %d", m.origin, m.end, int64(maxOffset))
	}
	b := make([]byte, 0, 32+4*len(m.pieces))
	put := func(v int64) { b = binary.AppendUvarint(b, uint64(v)) }
	b = append(b, format)
	put(m.origin.src)
	put(m.origin.tgt)
	put(int64(len(m.pieces)))
	at := m.origin
	for _, p := range m.pieces {
		kind := int64(storedLoose)
		if p.exact() {
			kind = storedExact
		} else if p.open() {
			kind = storedOpen
		}
		put((p.src.at-at.src)<<2 | kind)
		put(p.tgt.at - at.tgt)
		put(p.n)
		at = pos{p.src.end(), p.tgt.end()}
		if kind != storedExact {
			put(p.src.len - p.n)
		}
		switch kind {
		case storedLoose:
			put(p.tgt.len - p.n)
		case storedOpen:
			at.tgt = p.tgt.at
		}
	}
	put(m.end.src - at.src)
	put(m.end.tgt - at.tgt)
	return b, nil
}

// UnmarshalBinary replaces m by the map that MarshalBinary stored. It returns
// an error, and leaves m as it was, for anything that is not such a map.
func (m *Map) UnmarshalBinary(data []byte) error {
	if len(data) == 0 || data[0] != format {
		return fmt.Errorf("offsets: stored map %.8x… is not of format %d: a later kferry wrote it, or it is damaged", data, format)
	}
	r := reader{rest: data[1:]}
	d := Map{limit: m.limit}
	d.origin = pos{r.add(0), r.add(0)}
	count := r.uvarint()
	if count > uint64(len(r.rest))/3 {
		return fmt.Errorf("offsets: stored map says it has %d pieces in %d bytes: it is damaged", count, len(r.rest))
	}
	d.pieces = make([]piece, 0, count)
	at := d.origin
	for range count {
		if d.isOpen() {
			r.fail("a piece follows an open one")
		}
		d.pieces = append(d.pieces, r.piece(&at))
	}
	d.end = pos{r.add(at.src), r.add(at.tgt)}
	if d.isOpen() && d.end.tgt < at.tgt+d.pieces[count-1].n {
		r.fail("its end is inside its last hole")
	}
	if len(r.rest) > 0 {
		r.fail("bytes follow its end")
	}
	if r.err != nil {
		return fmt.Errorf("offsets: stored map of %d bytes is damaged: %w", len(data), r.err)
	}
	for len(d.pieces) > d.max() {
		d.thin()
	}
	*m = d
	return nil
}

// reader takes numbers from bytes nobody vouches for. After the first error it gives zeros.
type reader struct {
	rest []byte
	err  error
}

func (r *reader) fail(why string) {
	if r.err == nil {
		r.err = errors.New(why)
	}
	r.rest = nil
}

func (r *reader) uvarint() uint64 {
	v, n := binary.Uvarint(r.rest)
	if n <= 0 {
		r.fail("it ends early or has a number above 64 bits")
		return 0
	}
	r.rest = r.rest[n:]
	return v
}

// Add reads a number and returns its sum with to, at most maxOffset.
func (r *reader) add(to int64) int64 {
	v := r.uvarint()
	if v > uint64(maxOffset-to) {
		r.fail("it has an offset that is too large")
		return to
	}
	return to + int64(v)
}

// Piece reads the piece that follows at, and moves at to where the next one may begin.
func (r *reader) piece(at *pos) piece {
	head := r.uvarint()
	gap := int64(head >> 2)
	if gap > maxOffset-at.src {
		r.fail("it has an offset that is too large")
		return piece{}
	}
	p := piece{src: run{at: at.src + gap}, tgt: run{at: r.add(at.tgt)}, n: r.add(0)}
	p.src.len, p.tgt.len = p.n, p.n
	switch head & 3 {
	case storedExact:
	case storedLoose:
		p.src.len, p.tgt.len = r.add(p.n), r.add(p.n)
	case storedOpen:
		p.src.len, p.tgt.len = r.add(p.n), math.MaxInt64-p.tgt.at
	default:
		r.fail("it has a piece of a kind that does not exist")
	}
	if p.src.len <= 0 || p.tgt.len <= 0 || p.src.end() > maxOffset || !p.open() && p.tgt.end() > maxOffset {
		r.fail("it has a piece without offsets, or with some that are too large")
	}
	if *at = (pos{p.src.end(), p.tgt.end()}); p.open() {
		at.tgt = p.tgt.at
	}
	return p
}
