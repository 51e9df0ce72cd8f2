package datagen

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Codec is how batches are compressed.
type Codec string

// The codecs of Kafka.
const (
	None   Codec = "none"
	Gzip   Codec = "gzip"
	Snappy Codec = "snappy"
	LZ4    Codec = "lz4"
	Zstd   Codec = "zstd"
)

// kgo gives the client's own codec; both writers compress with its code.
func (c Codec) kgo() (kgo.CompressionCodec, error) {
	switch c {
	case None, "":
		return kgo.NoCompression(), nil
	case Gzip:
		return kgo.GzipCompression(), nil
	case Snappy:
		return kgo.SnappyCompression(), nil
	case LZ4:
		return kgo.Lz4Compression(), nil
	case Zstd:
		return kgo.ZstdCompression(), nil
	}
	return kgo.CompressionCodec{}, fmt.Errorf("codec %q: must be none, gzip, snappy, lz4 or zstd", string(c))
}

// producer is who writes: the broker tells repeated batches by it.
type producer struct {
	id            int64
	epoch         int16
	transactional bool
}

// builder collects the records of the next batch of one partition.
type builder struct {
	records   []byte // encoded, uncompressed
	count     int32
	firstTime int64 // Unix milliseconds of the first record
	maxTime   int64
	scratch   []byte
}

// add appends a record with timestamp now, in Unix milliseconds.
//
// A record is: length, attributes (0), timestamp delta, offset delta, key, value, headers. Lengths, deltas and
// counts are zigzag varints, which is what encoding/binary calls a varint; a length is followed by its bytes.
func (b *builder) add(r Record, now int64) {
	if b.count == 0 {
		b.firstTime, b.maxTime = now, now
	}
	b.maxTime = max(b.maxTime, now)
	p := append(b.scratch[:0], 0)
	p = binary.AppendVarint(p, now-b.firstTime)
	p = binary.AppendVarint(p, int64(b.count))
	p = appendBytes(p, r.Key)
	p = appendBytes(p, r.Value)
	p = binary.AppendVarint(p, int64(len(r.Headers)))
	for _, h := range r.Headers {
		p = binary.AppendVarint(p, int64(len(h.Key)))
		p = append(p, h.Key...)
		p = appendBytes(p, h.Value)
	}
	b.scratch = p
	b.records = appendBytes(b.records, p)
	b.count++
}

func appendBytes(dst, p []byte) []byte {
	return append(binary.AppendVarint(dst, int64(len(p))), p...)
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// close returns the batch of the collected records, in memory of its own, and empties the builder.
// z may be nil for no compression; dst is its scratch.
func (b *builder) close(p producer, seq int32, z kgo.Compressor, dst *bytes.Buffer) ([]byte, error) {
	const (
		afterLength, crcStart = 12, 21 // byte positions in a v2 batch
		transactional         = 1 << 4 // in its attributes
	)
	body, codec := b.records, kgo.CodecNone
	if z != nil {
		dst.Reset()
		if body, codec = z.Compress(dst, b.records); codec == kgo.CodecError {
			return nil, fmt.Errorf("compressing %d bytes failed", len(b.records))
		}
	}
	attributes := int16(codec)
	if p.transactional {
		attributes |= transactional
	}
	rb := kmsg.RecordBatch{
		PartitionLeaderEpoch: -1,
		Magic:                2,
		Attributes:           attributes,
		LastOffsetDelta:      b.count - 1,
		FirstTimestamp:       b.firstTime,
		MaxTimestamp:         b.maxTime,
		ProducerID:           p.id,
		ProducerEpoch:        p.epoch,
		FirstSequence:        seq,
		NumRecords:           b.count,
		Records:              body,
	}
	const headerSize = 61
	out := rb.AppendTo(make([]byte, 0, headerSize+len(body)))
	binary.BigEndian.PutUint32(out[8:], uint32(len(out)-afterLength))
	binary.BigEndian.PutUint32(out[17:], crc32.Checksum(out[crcStart:], castagnoli))
	b.records, b.count = b.records[:0], 0
	return out, nil
}
