package recode

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"

	"github.com/kferry/kferry/replicator/batch"
)

// errTooBig means that decompressed data went over the given maximum.
var errTooBig = errors.New("too large when decompressed")

var errCut = errors.New("ends too early")

// codecs holds the state of each codec, made when first used: most flows meet one.
// All of it works on whole slices in the caller's goroutine; nothing needs closing.
type codecs struct {
	zstdEncoder *zstd.Encoder
	zstdDecoder *zstd.Decoder
	gzipWriter  *gzip.Writer
	gzipReader  *gzip.Reader
	lz4         *lz4.Compressor
	sink        sliceWriter  // what gzipWriter writes to
	in          bytes.Reader // what gzipReader reads from
}

// sliceWriter is a bytes.Buffer whose slice can be taken and given.
type sliceWriter struct{ b []byte }

func (w *sliceWriter) Write(p []byte) (int, error) {
	w.b = append(w.b, p...)
	return len(p), nil
}

// compress appends src, compressed, to dst, in a form that every Kafka client
// reads: what the Java producer writes.
func (c *codecs) compress(dst, src []byte, codec batch.Codec) ([]byte, error) {
	switch codec {
	case batch.Gzip:
		return c.gzip(dst, src)
	case batch.Snappy:
		return appendXerial(dst, src), nil
	case batch.LZ4:
		return c.appendLZ4(dst, src)
	case batch.Zstd:
		if c.zstdEncoder == nil {
			// No checksum in the frame, as Java: the batch has its own.
			enc, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(zstdWindow), zstd.WithEncoderCRC(false))
			if err != nil {
				return nil, err
			}
			c.zstdEncoder = enc
		}
		return c.zstdEncoder.EncodeAll(src, dst), nil
	}
	return nil, fmt.Errorf("unknown codec %d", codec)
}

// zstdWindow is how far back, in bytes, a zstd match may reach: a usual batch in
// full. It costs no time over a smaller one, only memory, as much in each reader;
// Java's producer makes readers need twice that.
const zstdWindow = 1 << 20

// gzip appends one gzip member at the default level, as Java's.
func (c *codecs) gzip(dst, src []byte) ([]byte, error) {
	c.sink.b = dst
	if c.gzipWriter == nil {
		c.gzipWriter = gzip.NewWriter(&c.sink)
	} else {
		c.gzipWriter.Reset(&c.sink)
	}
	_, err := c.gzipWriter.Write(src)
	if err == nil {
		err = c.gzipWriter.Close()
	}
	dst, c.sink.b = c.sink.b, nil
	return dst, err
}

// decompress returns src decompressed, in the memory of dst if that is enough, and
// errTooBig beyond most bytes. With an error it returns that memory, to be used again.
func (c *codecs) decompress(dst, src []byte, codec batch.Codec, most int) ([]byte, error) {
	switch codec {
	case batch.Gzip:
		return c.gunzip(dst[:0], src, most)
	case batch.Snappy:
		return unsnappy(dst[:0], src, most)
	case batch.LZ4:
		return unlz4(dst[:0], src, most)
	case batch.Zstd:
		return c.unzstd(dst[:0], src, most)
	}
	return dst, errors.New("unknown codec")
}

// gunzip reads all members of src. It asks for little room at a time and lets the
// buffer double, for nothing in the stream says how much is to come that could
// be believed.
func (c *codecs) gunzip(dst, src []byte, most int) ([]byte, error) {
	c.in.Reset(src)
	defer c.in.Reset(nil)
	if c.gzipReader == nil {
		c.gzipReader = new(gzip.Reader)
	}
	if err := c.gzipReader.Reset(&c.in); err != nil {
		return dst, err
	}
	for {
		dst = slices.Grow(dst, 512)
		n, err := c.gzipReader.Read(dst[len(dst):cap(dst)])
		switch dst = dst[:len(dst)+n]; {
		case len(dst) > most:
			return dst, errTooBig
		case errors.Is(err, io.EOF):
			return dst, nil
		case err != nil:
			return dst, err
		}
	}
}

// unzstd tells the decoder by dst's capacity how much it may write: that bounds
// every call by its own bound, where the decoder's option is for all calls. Java's
// producer does not say in the frame how much that will be, so the first guess
// may be too low, and the work is done again with four times the room. The buffer
// is kept between calls, so this happens once, not for each batch.
func (c *codecs) unzstd(dst, src []byte, most int) ([]byte, error) {
	if c.zstdDecoder == nil {
		dec, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecodeAllCapLimit(true))
		if err != nil {
			return dst, err
		}
		c.zstdDecoder = dec
	}
	want := 64<<10 + 8*len(src)
	var h zstd.Header
	if h.Decode(src) == nil && h.HasFCS {
		if h.FrameContentSize > uint64(most) {
			return dst, errTooBig
		}
		want = int(h.FrameContentSize)
	}
	for {
		dst = slices.Grow(dst, min(want, most))
		room := min(cap(dst), most)
		out, err := c.zstdDecoder.DecodeAll(src, dst[:0:room])
		switch {
		case err == nil:
			return dst[:len(out)], nil
		case !errors.Is(err, zstd.ErrDecoderSizeExceeded):
			return dst, err
		case room == most:
			return dst, errTooBig
		}
		want = 4 * cap(dst)
	}
}
