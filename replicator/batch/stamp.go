package batch

import (
	"encoding/binary"
	"hash/crc32"
)

// Stamp makes v ready to be produced by the idempotent producer (pid, epoch), its
// first record with sequence number seq, in place: base offset 0, leader epoch -1,
// not transactional, no delete horizon. It takes the same time for every size.
//
// Stamp may be called again with other values, so a batch that waits for its ack
// can be claimed anew. It panics for an entry (magic 0 or 1), which no broker
// would take: recode those.
func (v View) Stamp(pid int64, epoch int16, seq int32) {
	if v.old() {
		panic("batch: stamp on an entry of magic 0 or 1, which has to be recoded first")
	}
	before := rawCRC(v[posAttrs:posCount])
	binary.BigEndian.PutUint64(v, 0)
	binary.BigEndian.PutUint32(v[posLeader:], ^uint32(0))
	v[posAttrs+1] &^= attrTransactional | attrDeleteHorizon
	binary.BigEndian.PutUint64(v[posPID:], uint64(pid))
	binary.BigEndian.PutUint16(v[posEpoch:], uint16(epoch))
	binary.BigEndian.PutUint32(v[posSeq:], uint32(seq))

	// Patch, don't recompute: CRC is linear, so the change of the CRC depends
	// only on the changed header bits and the number of bytes after them. A bit
	// that flipped in the payload, on the wire or in our memory, then still
	// fails the target broker's check; a new sum would bless it.
	change := before ^ rawCRC(v[posAttrs:posCount])
	crc := v.CRC() ^ shift(change, len(v)-posCount)
	binary.BigEndian.PutUint32(v[posCRC:], crc)
}

// Header is what Init needs to know of a new batch. Times are milliseconds since
// 1970.
type Header struct {
	Codec          Codec // of the records as they stand in the batch
	Count          int32 // of the records; their offset deltas are 0 to Count-1
	FirstTimestamp int64 // what the records' time deltas count from
	MaxTimestamp   int64
}

// Init writes the header of a new batch, whose records already stand behind the
// first HeaderSize bytes of v, and seals it: dense, CreateTime, base offset 0, no
// producer. Stamp makes it producible. The checksum vouches for the records, so it is
// only for those that were built from data whose own checksum was verified;
// everywhere else it would hide damage.
func (v View) Init(h Header) { v.InitSummed(h, Sum(0).Add(v[HeaderSize:])) }

// Sum is the CRC-32C of the records of a batch that is being built; 0 is that of none.
type Sum uint32

// Add is the sum with p behind what there is.
func (s Sum) Add(p []byte) Sum { return Sum(crc32.Update(uint32(s), castagnoli, p)) }

// InitSummed is Init for who has summed up the records while they were put
// together, and so in the processor's cache.
func (v View) InitSummed(h Header, records Sum) {
	clear(v[:HeaderSize])
	put32 := func(at int, x int32) { binary.BigEndian.PutUint32(v[at:], uint32(x)) }
	put32(posLength, int32(len(v)-framing))
	put32(posLeader, -1)
	v[posMagic] = 2
	v[posAttrs+1] = byte(h.Codec)
	put32(posLastDelta, h.Count-1)
	binary.BigEndian.PutUint64(v[posFirstTime:], uint64(h.FirstTimestamp))
	binary.BigEndian.PutUint64(v[posMaxTime:], uint64(h.MaxTimestamp))
	for i := posPID; i < posCount; i++ {
		v[i] = 0xff // producer id, epoch and sequence -1: none
	}
	put32(posCount, h.Count)
	head := crc32.Checksum(v[posAttrs:HeaderSize], castagnoli)
	binary.BigEndian.PutUint32(v[posCRC:], shift(head, len(v)-HeaderSize)^uint32(records))
}

// rawCRC is CRC-32C with zero start value and no final inversion, the form in
// which it is linear: rawCRC(a xor b) = rawCRC(a) xor rawCRC(b).
func rawCRC(p []byte) uint32 { return ^crc32.Update(^uint32(0), castagnoli, p) }
