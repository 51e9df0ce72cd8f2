// Package batch reads and rewrites Kafka record batches as bytes, without
// touching or opening their payload.
//
// A batch is one magic 2 record batch. An entry is one message of the older
// formats (magic 0 and 1): plain, or a wrapper whose value is a compressed set of
// messages. Both are framed alike, so one View type covers them; entries can be
// read here but only package recode makes something producible out of them.
//
// Everything a View reports comes from the wire. Next checks the header's
// numbers against each other; nothing here vouches for the payload but Intact.
package batch

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math"
)

// Byte positions in a magic 2 batch. Part of the Kafka wire format; never change.
//
//	 0 base offset  8 length  12 leader epoch  16 magic  17 crc | 21 attributes
//	23 last delta  27 first time  35 max time  43 producer id  51 producer epoch
//	53 base sequence  57 count  61 records; the crc covers 21 to the end, so the
//	base offset and the leader epoch can be set without it
const (
	posLength    = 8 // int32: the bytes after itself
	posLeader    = 12
	posMagic     = 16 // the same place in every format, which is how they are told apart
	posCRC       = 17
	posAttrs     = 21
	posLastDelta = 23
	posFirstTime = 27
	posMaxTime   = 35
	posPID       = 43
	posEpoch     = 51
	posSeq       = 53
	posCount     = 57

	// HeaderSize is the length in bytes of a magic 2 batch without its records.
	HeaderSize = 61
)

// Byte positions in an entry, which is how magic 0 and 1 write one message.
//
//	magic 0:  0 offset  8 length  12 crc  16 magic | 17 attributes
//	         18 key length, key, value length, value
//	magic 1: the same with 18 timestamp  26 key length ...
//
// The crc is IEEE, not Castagnoli, and covers 16 to the end. A length of -1 is null.
const (
	posOldCRC   = 12
	posOldAttrs = 17
	posOldTime  = 18 // magic 1 only
	posOldBody0 = 18
	posOldBody1 = 26

	minEntry0 = posOldBody0 + 8 // null key and null value
	minEntry1 = posOldBody1 + 8
)

// framing is the offset and length fields, which the length does not count.
const framing = 12

// Attribute bits. Magic 0 knows the codec alone, magic 1 adds the timestamp type.
const (
	attrCodec         = 0x07
	attrLogAppendTime = 1 << 3
	attrTransactional = 1 << 4
	attrControl       = 1 << 5
	attrDeleteHorizon = 1 << 6
)

// minRecord is a magic 2 record with null key, null value and no headers: length,
// attributes, two deltas, two lengths and the header count, a byte each.
const minRecord = 7

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// ErrShort means the bytes end inside a batch. Brokers cut the last batch of a
// fetch at max_bytes, so this is normal at the tail and never an alarm. At the
// start of a response it means that the fetch asked for less than one batch.
var ErrShort = errors.New("batch: cut short")

// BadError says that bytes which should be a batch cannot be one. Fetching again
// helps if they went bad in transit; if it stays, the source's log is damaged.
type BadError struct {
	Offset int64 // the base offset the batch claims; it may be as wrong as the rest
	Reason string
}

func (e *BadError) Error() string {
	return fmt.Sprintf("batch: at offset %d: %s (fetch it again; if it stays, check the source's log with kafka-dump-log)", e.Offset, e.Reason)
}

// Codec is how the records of a batch are compressed; the values are the wire's.
type Codec int8

// The codecs Kafka defines. Zstd exists in magic 2 only.
const (
	None Codec = iota
	Gzip
	Snappy
	LZ4
	Zstd
)

// String is the name Kafka's compression.type setting uses.
func (c Codec) String() string {
	switch c {
	case None:
		return "none"
	case Gzip:
		return "gzip"
	case Snappy:
		return "snappy"
	case LZ4:
		return "lz4"
	case Zstd:
		return "zstd"
	}
	return fmt.Sprintf("codec(%d)", int8(c))
}

// View is one whole batch or entry. It aliases the fetch response it was read
// from, and its capacity ends with it, so an append cannot reach the next one.
// Only Next and package recode make Views: all methods rely on Next's checks.
type View []byte

// Next splits the first batch or entry off p. On error rest is p, so a caller can
// never lose bytes: ErrShort if p ends too early, *BadError if no broker could
// have meant it.
//
// A magic 2 batch without records is good: log cleaning leaves one behind to
// keep a producer's last sequence number. So are gaps between its offsets.
func Next(p []byte) (v View, rest []byte, err error) {
	if len(p) <= posMagic {
		return nil, p, ErrShort
	}
	// In int64, as the length may be close to MaxInt32 or negative.
	n := int64(int32(binary.BigEndian.Uint32(p[posLength:]))) + framing
	least, ok := leastSize(p[posMagic])
	switch {
	case !ok:
		return nil, p, bad(p, "magic %d, want 0, 1 or 2", p[posMagic])
	case n < least:
		return nil, p, bad(p, "%d bytes long, below %d, the least of magic %d", n, least, p[posMagic])
	case n > int64(len(p)):
		return nil, p, ErrShort
	}
	v = View(p[:n:n])
	if why := v.nonsense(); why != "" {
		return nil, p, bad(p, "%s", why)
	}
	return v, p[n:], nil
}

func leastSize(magic byte) (n int64, ok bool) {
	switch magic {
	case 0:
		return minEntry0, true
	case 1:
		return minEntry1, true
	case 2:
		return HeaderSize, true
	}
	return 0, false
}

func bad(p []byte, format string, args ...any) error {
	return &BadError{Offset: View(p).BaseOffset(), Reason: fmt.Sprintf(format, args...)}
}

// nonsense names the first number of the header that contradicts the others, or
// returns "". What is allowed here, all later arithmetic may rely on: offsets
// from 0 up without overflow, 0 <= Count <= LastDelta+1.
func (v View) nonsense() string {
	if base := v.BaseOffset(); base < 0 {
		return "negative base offset"
	} else if v.Magic() < 2 {
		return ""
	}
	last, count, payload := v.LastDelta(), v.Count(), len(v)-HeaderSize
	switch {
	case last < 0:
		return fmt.Sprintf("last offset delta %d is negative", last)
	case v.BaseOffset() > math.MaxInt64-1-int64(last): // one more is the next offset to read
		return fmt.Sprintf("last offset delta %d overflows the offset", last)
	case count < 0:
		return fmt.Sprintf("record count %d is negative", count)
	case int64(count) > int64(last)+1:
		return fmt.Sprintf("record count %d does not fit last offset delta %d", count, last)
	case count == 0 && payload != 0:
		return fmt.Sprintf("no records in a payload of %d bytes", payload)
	case count > 0 && payload == 0:
		return fmt.Sprintf("%d records in no payload", count)
	case v.Codec() == None && int64(count)*minRecord > int64(payload):
		return fmt.Sprintf("%d records cannot be in a payload of %d bytes", count, payload)
	}
	return ""
}
