// Package mm2 has MirrorMaker 2's names and bytes, both ways: what it calls its
// topics, and what it stores in them.
//
//	offset syncs   where a source offset is on the target     OffsetSync
//	checkpoints    where a group is on the target             Checkpoint
//	heartbeats     that a flow lives                          Heartbeat
//	Connect        how far a partition is mirrored            SourceKey, Position
//
// Encoders give what the Java classes give, byte for byte. Decoders read what the
// Java readers read: bytes behind the last field are ignored, and every version is
// read as version 0. All else is an error, never a panic. Strings must be UTF-8.
package mm2

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"unicode/utf8"
)

// ErrTombstone is what a decoder gives for a record without key or value. Nothing
// writes such records to MirrorMaker 2's topics, and nothing may: its own readers
// fail on them.
var ErrTombstone = errors.New("a record without key or value")

// writer appends fields as Kafka's protocol types do: big-endian, strings behind
// their int16 length.
type writer struct {
	b   []byte
	err error // the first field that the format cannot hold
}

func (w *writer) int16(v int16) { w.b = binary.BigEndian.AppendUint16(w.b, uint16(v)) }
func (w *writer) int32(v int32) { w.b = binary.BigEndian.AppendUint32(w.b, uint32(v)) }
func (w *writer) int64(v int64) { w.b = binary.BigEndian.AppendUint64(w.b, uint64(v)) }

func (w *writer) string(field, s string) {
	switch {
	case len(s) > math.MaxInt16:
		w.fail(fmt.Errorf("%s %.40q... has %d bytes, at most %d can be written", field, s, len(s), math.MaxInt16))
	case !utf8.ValidString(s):
		w.fail(fmt.Errorf("%s %.40q is not UTF-8", field, s))
	}
	w.int16(int16(len(s)))
	w.b = append(w.b, s...)
}

func (w *writer) fail(err error) {
	if w.err == nil {
		w.err = err
	}
}

// encode gives key and value as two writers made them, or what either refused.
func encode(what string, key, value writer) ([]byte, []byte, error) {
	if err := errors.Join(key.err, value.err); err != nil {
		return nil, nil, fmt.Errorf("mm2: %s: %w", what, err)
	}
	return key.b, value.b, nil
}

// reader takes fields off the front of b. After the first that is not there, all
// others are zero.
type reader struct {
	b   []byte
	err error
}

// take is the next n bytes, or n zeros.
func (r *reader) take(field string, n int) []byte {
	if r.err == nil && n > len(r.b) {
		r.err = fmt.Errorf("%s needs %d bytes, %d are left", field, n, len(r.b))
	}
	if r.err != nil {
		return make([]byte, min(n, 8))
	}
	var out []byte
	out, r.b = r.b[:n], r.b[n:]
	return out
}

func (r *reader) int16(field string) int16 { return int16(binary.BigEndian.Uint16(r.take(field, 2))) }
func (r *reader) int32(field string) int32 { return int32(binary.BigEndian.Uint32(r.take(field, 4))) }
func (r *reader) int64(field string) int64 { return int64(binary.BigEndian.Uint64(r.take(field, 8))) }

func (r *reader) string(field string) string {
	n := int(r.int16(field))
	if r.err == nil && n < 0 {
		r.err = fmt.Errorf("%s has the length %d", field, n)
	}
	if r.err != nil {
		return ""
	}
	s := string(r.take(field, n))
	if r.err == nil && !utf8.ValidString(s) {
		r.err = fmt.Errorf("%s %.40q is not UTF-8", field, s)
	}
	return s
}

// decode opens a record; done tells what went wrong with either side.
func decode(what string, key, value []byte) (k, v *reader, done func() error) {
	k, v = &reader{b: key}, &reader{b: value}
	if key == nil || value == nil {
		k.err = ErrTombstone
	}
	return k, v, func() error {
		if err := errors.Join(k.err, v.err); err != nil {
			return fmt.Errorf("mm2: %s: %w", what, err)
		}
		return nil
	}
}
