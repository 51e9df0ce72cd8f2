package recode

import (
	"encoding/binary"
	"fmt"

	"github.com/kferry/kferry/replicator/batch"
)

// openEntry turns an entry of magic 0 or 1 into magic 2 records in r.flat, their
// time deltas counted from 0. A plain entry is one message. A compressed one is a
// wrapper: its value holds entries of the same magic, one level deep, and
//
//   - magic 0 gives them absolute offsets;
//   - magic 1 gives them offsets relative to the first, and the wrapper has the
//     offset of the last, so base = wrapper - last inner one. Cleaning may have
//     removed any of them but the last;
//   - with LogAppendTime the wrapper's time is the time of all.
//
// These are the rules of Java's DeepRecordsIterator.
func (r *Recoder) openEntry(v batch.View) (*source, error) {
	s := &source{codec: v.Codec(), last: v.LastOffset(), count: 1, fixed: v.LogAppendTime(), time: v.MaxTimestamp()}
	key, value, ok := entryFields(v)
	if !ok {
		return nil, badEntry(v, "key and value do not fit the length")
	}
	if v.Codec() == batch.None {
		s.base = v.BaseOffset()
		r.flat = appendRecord(r.flat[:0], v.MaxTimestamp(), 0, key, value)
		s.plain = r.flat
		return s, nil
	}
	if v.Codec() == batch.Zstd {
		return nil, badEntry(v, "zstd does not exist in magic %d", v.Magic())
	} else if value.isNull {
		return nil, badEntry(v, "a %s wrapper with a null value", v.Codec())
	}
	inner, err := r.decompress(v, value.bytes, r.MaxDecompressed)
	if err != nil {
		return nil, err
	}
	return s, r.flatten(s, v, inner)
}

// flatten reads the entries of a wrapper into s. The records' offset deltas count
// from the first of them, which becomes the base, so that both magics end alike.
func (r *Recoder) flatten(s *source, v batch.View, inner []byte) error {
	lowest, highest, err := checkInner(v, inner)
	if err != nil {
		return err
	}
	shift := int64(0) // absolute offset - inner offset
	if v.Magic() == 1 {
		shift = v.LastOffset() - highest
	}
	if shift < 0 || highest+shift > v.LastOffset() {
		return badEntry(v, "last inner offset %d is above the wrapper's", highest)
	}
	s.base = lowest + shift
	r.flat, s.count = r.flat[:0], 0
	for len(inner) > 0 {
		m, rest, _ := batch.Next(inner) // checkInner has read them all
		key, value, ok := entryFields(m)
		if !ok {
			return badEntry(v, "inner message %d: key and value do not fit the length", s.count)
		}
		r.flat = appendRecord(r.flat, m.MaxTimestamp(), m.BaseOffset()-lowest, key, value)
		s.count++
		inner = rest
	}
	s.plain = r.flat
	return nil
}

// checkInner reads through a wrapper's entries and returns the first and the last
// offset among them, as they stand there. The wrapper's checksum covers them only
// in their compressed form, so each one's own is checked too: what is built from
// them gets a new one.
func checkInner(v batch.View, inner []byte) (lowest, highest int64, err error) {
	count := 0
	for len(inner) > 0 {
		m, rest, err := batch.Next(inner)
		switch {
		case err != nil:
			return 0, 0, badEntry(v, "inner message %d: %v", count, err)
		case m.Magic() != v.Magic():
			return 0, 0, badEntry(v, "inner message %d has magic %d in a wrapper of magic %d", count, m.Magic(), v.Magic())
		case m.Codec() != batch.None:
			return 0, 0, badEntry(v, "inner message %d is compressed again", count)
		case !m.Intact():
			return 0, 0, badEntry(v, "inner message %d does not match its checksum", count)
		case count == 0:
			lowest = m.BaseOffset()
		case m.BaseOffset() <= highest:
			return 0, 0, badEntry(v, "inner message %d: offset out of order", count)
		}
		if highest = m.BaseOffset(); highest-lowest > maxDelta {
			return 0, 0, badEntry(v, "inner offsets %d to %d do not fit one batch", lowest, highest)
		}
		inner = rest
		count++
	}
	if count == 0 {
		return 0, 0, badEntry(v, "a wrapper without messages")
	}
	return lowest, highest, nil
}

// maxDelta is the largest offset delta of a record.
const maxDelta = 1<<31 - 1

// field is a key or a value.
type field struct {
	bytes  []byte
	isNull bool
}

// entryFields splits an entry's payload: int32 length and key, int32 length and
// value, and nothing behind.
func entryFields(v batch.View) (key, value field, ok bool) {
	p := v.Records()
	if key, p, ok = entryField(p); ok {
		value, p, ok = entryField(p)
	}
	return key, value, ok && len(p) == 0
}

func entryField(p []byte) (f field, rest []byte, ok bool) {
	if len(p) < 4 {
		return f, nil, false
	}
	size := int32(binary.BigEndian.Uint32(p))
	p = p[4:]
	switch {
	case size == -1:
		return field{isNull: true}, p, true
	case size < 0 || int(size) > len(p):
		return f, nil, false
	}
	return field{bytes: p[:size]}, p[size:], true
}

// appendRecord appends a magic 2 record without headers.
func appendRecord(dst []byte, time, off int64, key, value field) []byte {
	size := 1 + varintSize(time) + varintSize(off) + key.size() + value.size() + 1
	dst = binary.AppendVarint(dst, int64(size))
	dst = append(dst, 0) // attributes
	dst = binary.AppendVarint(dst, time)
	dst = binary.AppendVarint(dst, off)
	dst = value.append(key.append(dst))
	return append(dst, 0) // no headers
}

// length is the field's length on the wire: -1 for null.
func (f field) length() int64 {
	if f.isNull {
		return -1
	}
	return int64(len(f.bytes))
}

func (f field) size() int { return varintSize(f.length()) + len(f.bytes) }

func (f field) append(dst []byte) []byte {
	return append(binary.AppendVarint(dst, f.length()), f.bytes...)
}

func badEntry(v batch.View, format string, args ...any) error {
	return &batch.BadError{Offset: v.BaseOffset(), Reason: fmt.Sprintf(format, args...)}
}
