package recode

import (
	"bytes"
	"encoding/binary"
	"errors"
	"slices"

	"github.com/klauspost/compress/s2"
	"github.com/pierrec/lz4/v4"
)

// Snappy in Kafka is either one raw snappy block or, as Java writes it, xerial's
// stream:
//
//	0 82 'S' 'N' 'A' 'P' 'P' 'Y' 0   8 int32 version   12 int32 least version
//	then blocks: int32 length, raw snappy block
//
// Numbers are big endian. Java reads both forms; we write the stream.
var xerialHeader = []byte{0x82, 'S', 'N', 'A', 'P', 'P', 'Y', 0, 0, 0, 0, 1, 0, 0, 0, 1}

const (
	xerialMagic = 8
	xerialBlock = 32 << 10 // bytes of plain data in a block, as Java's stream has it
)

// appendXerial appends src as a xerial stream.
func appendXerial(dst, src []byte) []byte {
	dst = append(dst, xerialHeader...)
	for len(src) > 0 {
		n := min(len(src), xerialBlock)
		dst = slices.Grow(dst, 4+s2.MaxEncodedLen(n))
		at := len(dst) + 4
		block := s2.EncodeSnappy(dst[at:cap(dst)], src[:n]) // in place, given the room
		dst = binary.BigEndian.AppendUint32(dst, uint32(len(block)))
		dst = dst[:at+len(block)]
		src = src[n:]
	}
	return dst
}

// unsnappy appends the plain form of src to dst.
func unsnappy(dst, src []byte, most int) ([]byte, error) {
	if len(src) < len(xerialHeader) || !bytes.Equal(src[:xerialMagic], xerialHeader[:xerialMagic]) {
		return appendSnappy(dst, src, most)
	}
	var err error
	for src = src[len(xerialHeader):]; len(src) > 0 && err == nil; {
		if len(src) < 4 {
			return dst, errCut
		}
		n := int64(binary.BigEndian.Uint32(src))
		if src = src[4:]; n > int64(len(src)) {
			return dst, errCut
		}
		dst, err = appendSnappy(dst, src[:n], most)
		src = src[n:]
	}
	return dst, err
}

// appendSnappy appends the plain form of one raw block. A byte of snappy can
// stand for 32 at most, so a block that claims more is not given the memory.
func appendSnappy(dst, block []byte, most int) ([]byte, error) {
	n, err := s2.DecodedLen(block)
	switch {
	case err != nil:
		return dst, err
	case n > most-len(dst):
		return dst, errTooBig
	case n > 32*len(block):
		return dst, errCut
	}
	dst = slices.Grow(dst, n)
	at := len(dst)
	if _, err = s2.Decode(dst[at:at+n], block); err != nil {
		return dst, err
	}
	return dst[:at+n], nil
}

// An LZ4 frame, little endian, as Java's KafkaLZ4BlockOutputStream writes it:
//
//	0 magic  4 flags  5 block size  6 header checksum
//	then blocks: uint32 length (high bit: stored as is), block; 0 ends the frame
//
// The flags may add a content size to the header, and checksums to the blocks and
// at the end. We read those but do not check them: the batch has its own checksum,
// and until Kafka 0.10 the header checksum was computed over the wrong bytes.
const (
	lz4Magic       = 0x184d2204
	lz4Header      = 6 // bytes before content size and header checksum
	lz4Version     = 1 << 6
	lz4Independent = 1 << 5
	lz4BlockSum    = 1 << 4
	lz4ContentSize = 1 << 3
	lz4Dictionary  = 1 << 0
	lz4Stored      = 1 << 31
	lz4Block       = 64 << 10 // bytes of plain data in a block; code 4 in the header
	lz4Window      = 64 << 10 // how far back a match reaches across dependent blocks
)

// lz4Start is the header of our frames: independent blocks of 64 KiB, which are
// the only kind Java reads, and no checksums. Its last byte is the header's.
var lz4Start = []byte{0x04, 0x22, 0x4d, 0x18, lz4Version | lz4Independent, 4 << 4, 0x82}

// appendLZ4 appends src as an LZ4 frame.
func (c *codecs) appendLZ4(dst, src []byte) ([]byte, error) {
	if c.lz4 == nil {
		c.lz4 = new(lz4.Compressor)
	}
	dst = append(dst, lz4Start...)
	for len(src) > 0 {
		n := min(len(src), lz4Block)
		dst = slices.Grow(dst, 4+lz4.CompressBlockBound(n))
		at := len(dst) + 4
		size, err := c.lz4.CompressBlock(src[:n], dst[at:at+lz4.CompressBlockBound(n)])
		if err != nil {
			return nil, err
		}
		if size < n {
			dst = binary.LittleEndian.AppendUint32(dst, uint32(size))
			dst = dst[:at+size]
		} else {
			dst = binary.LittleEndian.AppendUint32(dst, uint32(n)|lz4Stored)
			dst = append(dst, src[:n]...)
		}
		src = src[n:]
	}
	return append(dst, 0, 0, 0, 0), nil
}

// unlz4 appends the plain form of the frame src to dst. What follows the frame is
// ignored, as Java does.
func unlz4(dst, src []byte, most int) ([]byte, error) {
	flags, size, src, err := lz4Frame(src)
	if err != nil {
		return dst, err
	}
	trailer := 0 // bytes after each block
	if flags&lz4BlockSum != 0 {
		trailer = 4
	}
	for {
		if len(src) < 4 {
			return dst, errCut
		}
		head := binary.LittleEndian.Uint32(src)
		if src = src[4:]; head == 0 {
			return dst, nil
		}
		n := int(head &^ lz4Stored)
		if n > size || n+trailer > len(src) {
			return dst, errCut
		}
		if head&lz4Stored != 0 {
			dst = append(dst, src[:n]...)
		} else if dst, err = appendLZ4Block(dst, src[:n], size, flags&lz4Independent == 0); err != nil {
			return dst, err
		}
		if len(dst) > most {
			return dst, errTooBig
		}
		src = src[n+trailer:]
	}
}

// lz4Frame reads a frame's header. No block has more than size bytes of plain
// data, nor is it longer itself.
func lz4Frame(src []byte) (flags byte, size int, blocks []byte, err error) {
	if len(src) < lz4Header || binary.LittleEndian.Uint32(src) != lz4Magic {
		return 0, 0, nil, errors.New("not an lz4 frame")
	}
	flags, code := src[4], src[5]>>4&7
	if flags>>6 != lz4Version>>6 || flags&lz4Dictionary != 0 || code < 4 {
		return 0, 0, nil, errors.New("unsupported kind of lz4 frame")
	}
	skip := lz4Header + 1
	if flags&lz4ContentSize != 0 {
		skip += 8
	}
	if len(src) < skip {
		return 0, 0, nil, errCut
	}
	return flags, 1 << (8 + 2*code), src[skip:], nil // code 4 is 64 KiB, 7 is 4 MiB
}

// appendLZ4Block appends the plain form of one compressed block. A dependent one
// refers to the plain data before it.
func appendLZ4Block(dst, block []byte, size int, dependent bool) ([]byte, error) {
	size = min(size, 255*len(block)+16) // a byte of lz4 stands for no more
	dst = slices.Grow(dst, size)
	at := len(dst)
	var dict []byte
	if dependent {
		dict = dst[max(0, at-lz4Window):]
	}
	n, err := lz4.UncompressBlockWithDict(block, dst[at:at+size], dict)
	if err != nil {
		return dst, err
	}
	return dst[:at+n], nil
}
