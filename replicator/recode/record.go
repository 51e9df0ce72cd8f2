package recode

import (
	"encoding/binary"
	"math"
	"math/bits"

	"github.com/kferry/kferry/replicator/batch"
)

// record is one magic 2 record, its bytes in place. On the wire:
//
//	length | attributes (1 byte) | time delta | offset delta |
//	key length, key | value length, value |
//	header count | per header: key length, key, value length, value
//
// All numbers but the attributes are zigzag varints; a length of -1 is null. Only
// the deltas, and with them the length, change when a record moves to another
// batch, so the rest is carried as one piece.
type record struct {
	off  int64  // offset - base offset of its batch; within int32
	time int64  // milliseconds, time - first timestamp of its batch
	body []byte // from the key length to the end
	attr byte   // nothing is defined yet; kept
}

// nextRecord reads the record at the start of p, which takes n bytes, and checks
// it to the last header: a broker would refuse the whole batch for it. why is
// empty or says what is wrong.
func nextRecord(p []byte) (rec record, n int, why string) {
	size, at := varint32(p)
	if at <= 0 || size < 1 || int(size) > len(p)-at {
		return rec, 0, "length does not fit the payload"
	}
	n = at + int(size)
	p = p[at:n]
	rec.attr = p[0]
	p = p[1:]
	var used int
	if rec.time, used = binary.Varint(p); used <= 0 {
		return rec, 0, "time delta cannot be read"
	}
	p = p[used:]
	off, used := varint32(p)
	if used <= 0 {
		return rec, 0, "offset delta cannot be read"
	}
	rec.off, rec.body = int64(off), p[used:]
	if !sound(rec.body) {
		return rec, 0, "key, value or headers do not fit the length"
	}
	return rec, n, ""
}

// sound reports that a record's body is whole and ends where it should, to the
// byte. A record that ends before its length does is an error for Java's reader,
// and franz-go's would not notice.
func sound(p []byte) bool {
	p, ok := skipField(p, -1) // key
	if ok {
		p, ok = skipField(p, -1) // value
	}
	if !ok {
		return false
	}
	headers, n := varint32(p)
	if n <= 0 || headers < 0 || int(headers) > len(p) {
		return false
	}
	p = p[n:]
	for ; headers > 0 && ok; headers-- {
		if p, ok = skipField(p, 0); ok { // a header's key is never null
			p, ok = skipField(p, -1)
		}
	}
	return ok && len(p) == 0
}

// skipField skips a length, at least least, and as many bytes.
func skipField(p []byte, least int32) (rest []byte, ok bool) {
	size, n := varint32(p)
	if n <= 0 || size < least {
		return nil, false
	}
	n += int(max(size, 0))
	if n > len(p) {
		return nil, false
	}
	return p[n:], true
}

// varint32 reads a zigzag varint of at most 32 bits and 5 bytes; n <= 0 if there
// is none.
func varint32(p []byte) (x int32, n int) {
	if len(p) > 0 && p[0] < 0x80 { // nearly all are one byte
		return int32(p[0]>>1) ^ -int32(p[0]&1), 1
	}
	wide, n := binary.Varint(p)
	if n > 5 || wide < math.MinInt32 || wide > math.MaxInt32 {
		return 0, 0
	}
	return int32(wide), n
}

// varintSize is how many bytes binary.AppendVarint appends for x.
func varintSize(x int64) int { return (bits.Len64(uint64(x)<<1^uint64(x>>63)|1) + 6) / 7 }

// source is an opened batch or entry: its records as magic 2 records in plain,
// and what their deltas mean. It holds no list of records: a few megabytes of
// empty records would make that list a gigabyte. They are read again instead each
// time they are built into a batch, which costs little beside the compression.
type source struct {
	plain []byte
	codec batch.Codec
	base  int64 // offset for delta 0
	last  int64 // no record is above it
	count int64 // records in plain, as the header says
	first int64 // time for delta 0, milliseconds
	fixed bool  // LogAppendTime: every record has time, whatever its delta
	time  int64
}

// timeOf is a record's time. Deltas of hostile data may wrap; Java's do as well.
func (s *source) timeOf(rec record) int64 {
	if s.fixed {
		return s.time
	}
	return s.first + rec.time
}

// boundary is the last place at or before want where a record ends, but at least
// one record after lo.
func (s *source) boundary(lo, want int) int {
	for at := lo; ; {
		_, n, _ := nextRecord(s.plain[at:])
		if at > lo && at+n > want {
			return at
		}
		if at += n; at >= want {
			return at
		}
	}
}

// joint is a batch under construction, uncompressed. It grows only at its end, so
// a copy of the struct is a point to go back to: the bytes before stay as they are,
// also where growing moved the rest to other memory.
//
// The time deltas count from the first record's time, as the producers' do. They
// may be negative.
type joint struct {
	body  []byte // HeaderSize bytes left free, then the records
	first int64  // time of the first record
	max   int64  // latest time
	count int32
	sum   batch.Sum // of the records, where they stay uncompressed
}

// sumUp adds what was appended since the body had from bytes to the sum.
func (j *joint) sumUp(from int) { j.sum = j.sum.Add(j.body[from:]) }

// reset starts an empty batch in the same memory.
func (j *joint) reset() {
	var header [batch.HeaderSize]byte
	*j = joint{body: append(j.body[:0], header[:]...)}
}

// add appends rec with the next offset and the time t.
func (j *joint) add(rec record, t int64) {
	if j.count == 0 {
		j.first, j.max = t, t
	}
	j.max = max(j.max, t)
	delta, off := t-j.first, int64(j.count)
	b := binary.AppendVarint(j.body, int64(1+varintSize(delta)+varintSize(off)+len(rec.body)))
	b = append(b, rec.attr)
	b = binary.AppendVarint(b, delta)
	b = binary.AppendVarint(b, off)
	j.body = append(b, rec.body...)
	j.count++
}
