package batch

import (
	"encoding/binary"
	"hash/crc32"
)

func (v View) i16(at int) int16 { return int16(binary.BigEndian.Uint16(v[at:])) }
func (v View) i32(at int) int32 { return int32(binary.BigEndian.Uint32(v[at:])) }
func (v View) i64(at int) int64 { return int64(binary.BigEndian.Uint64(v[at:])) }

// old reports an entry, whose fields are elsewhere or absent.
func (v View) old() bool { return v[posMagic] < 2 }

// BaseOffset is the offset of the first record, also if cleaning removed that
// record. A compressed entry carries the offset of its last message instead,
// and its first is known only once it is opened.
func (v View) BaseOffset() int64 { return v.i64(0) }

// LastOffset is the offset of the last record, also if cleaning removed it; the
// offset to read after v is one more.
func (v View) LastOffset() int64 { return v.BaseOffset() + int64(v.LastDelta()) }

// LastDelta is LastOffset - BaseOffset; 0 for an entry.
func (v View) LastDelta() int32 {
	if v.old() {
		return 0
	}
	return v.i32(posLastDelta)
}

// LeaderEpoch is the epoch of the leader that appended v; -1 for an entry.
func (v View) LeaderEpoch() int32 {
	if v.old() {
		return -1
	}
	return v.i32(posLeader)
}

// Magic is the format: 2 for a batch, 0 or 1 for an entry.
func (v View) Magic() int8 { return int8(v[posMagic]) }

// CRC is the checksum v travelled with: Castagnoli for a batch, IEEE for an entry.
func (v View) CRC() uint32 {
	if v.old() {
		return binary.BigEndian.Uint32(v[posOldCRC:])
	}
	return binary.BigEndian.Uint32(v[posCRC:])
}

// Attributes are the raw attribute bits; an entry has only the lower eight.
func (v View) Attributes() int16 {
	if v.old() {
		return int16(v[posOldAttrs])
	}
	return v.i16(posAttrs)
}

// Codec is how the records are compressed. Values above Zstd are possible: a
// batch that stays closed need not be understood.
func (v View) Codec() Codec { return Codec(v.Attributes() & attrCodec) }

// Control reports a transaction marker or another batch that holds no user data.
func (v View) Control() bool { return v.flag(attrControl, 2) }

// Transactional reports that the batch was written in a transaction.
func (v View) Transactional() bool { return v.flag(attrTransactional, 2) }

// DeleteHorizon reports that cleaning put the time at which v's tombstones may go
// into FirstTimestamp. The records' time deltas were rewritten to match, so they
// still count from FirstTimestamp.
func (v View) DeleteHorizon() bool { return v.flag(attrDeleteHorizon, 2) }

// LogAppendTime reports that all records have MaxTimestamp for their time,
// whatever they carry themselves. A producer may not set this.
func (v View) LogAppendTime() bool { return v.flag(attrLogAppendTime, 1) }

// flag reads a bit that means something from format since on.
func (v View) flag(bit int16, since int8) bool {
	return v.Magic() >= since && v.Attributes()&bit != 0
}

// FirstTimestamp is what the records' time deltas count from, in milliseconds
// since 1970; for an entry its own time, and -1 (none) for magic 0.
func (v View) FirstTimestamp() int64 { return v.time(posFirstTime) }

// MaxTimestamp is the latest time of a record, in milliseconds since 1970; for an
// entry its own time, and -1 (none) for magic 0.
func (v View) MaxTimestamp() int64 { return v.time(posMaxTime) }

func (v View) time(at int) int64 {
	switch v.Magic() {
	case 0:
		return -1
	case 1:
		return v.i64(posOldTime)
	}
	return v.i64(at)
}

// ProducerID is the idempotent producer's id; -1 is none, as for every entry.
func (v View) ProducerID() int64 {
	if v.old() {
		return -1
	}
	return v.i64(posPID)
}

// ProducerEpoch is the idempotent producer's epoch; -1 is none.
func (v View) ProducerEpoch() int16 {
	if v.old() {
		return -1
	}
	return v.i16(posEpoch)
}

// BaseSequence is the sequence number of the first record; -1 is none.
func (v View) BaseSequence() int32 {
	if v.old() {
		return -1
	}
	return v.i32(posSeq)
}

// Count is the number of records. For a compressed entry it is -1: unknown until
// the entry is opened.
func (v View) Count() int32 {
	switch {
	case !v.old():
		return v.i32(posCount)
	case v.Codec() == None:
		return 1
	}
	return -1
}

// Records is the payload: for a batch its records, compressed by Codec; for an
// entry the key and the value, each behind its length. It aliases v.
func (v View) Records() []byte {
	switch v.Magic() {
	case 0:
		return v[posOldBody0:]
	case 1:
		return v[posOldBody1:]
	}
	return v[HeaderSize:]
}

// Dense reports that each offset from BaseOffset to LastOffset has its record. A
// broker accepts no other batch from a producer.
func (v View) Dense() bool { return v.Count() == v.LastDelta()+1 }

// Intact reports whether v still matches the checksum it travelled with. It reads
// the whole of v.
func (v View) Intact() bool {
	if v.old() {
		return crc32.ChecksumIEEE(v[posMagic:]) == v.CRC()
	}
	return crc32.Checksum(v[posAttrs:], castagnoli) == v.CRC()
}

// AbortMarker reads a control batch: abort if it ends a transaction by abort, and
// not abort if by commit. ok is false for data, for other control batches (they
// belong to the cluster's own topics) and for a marker that cannot be read.
//
// A control record's key is int16 version, int16 type: 0 abort, 1 commit. Later
// versions may append to the key but not change these.
func AbortMarker(v View) (abort, ok bool) {
	if !v.Control() || v.Codec() != None || v.Count() < 1 {
		return false, false
	}
	p := v.Records()
	length, n := binary.Varint(p)
	if n <= 0 || length < 1 || length > int64(len(p)-n) {
		return false, false
	}
	p = p[n+1 : n+int(length)] // without the attributes, which mean nothing
	for range 2 {              // time delta and offset delta
		if _, n = binary.Varint(p); n <= 0 {
			return false, false
		}
		p = p[n:]
	}
	key, n := binary.Varint(p)
	if n <= 0 || key < 4 || key > int64(len(p)-n) {
		return false, false
	}
	kind := binary.BigEndian.Uint16(p[n+2:])
	return kind == 0, kind <= 1
}
