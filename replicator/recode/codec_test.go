package recode

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"testing"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/snappy/xerial"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/kferry/kferry/replicator/batch"
)

// samples are plain payloads of sizes around the block limits, from zeros to noise.
func samples() (ps [][]byte) {
	rnd := rand.New(rand.NewPCG(1, 2))
	for _, n := range []int{0, 1, 5, 13, 100, 32<<10 - 1, 32 << 10, 32<<10 + 1, 64 << 10, 64<<10 + 1, 300000} {
		for _, kinds := range []int{1, 3, 256} {
			p := make([]byte, n)
			for i := range p {
				p[i] = byte(rnd.IntN(kinds))
			}
			ps = append(ps, p)
		}
	}
	return ps
}

// What we compress, franz-go's consumer reads; what its producer compresses, we read.
func TestCodecsAgainstFranz(t *testing.T) {
	for _, codec := range allCodecs[1:] {
		var c codecs
		var dst []byte
		for i, p := range samples() {
			ours, err := c.compress([]byte("head"), p, codec)
			if err != nil || string(ours[:4]) != "head" {
				t.Fatal(err)
			}
			if got, err := decompressor.Decompress(ours[4:], kgo.CompressionCodecType(codec)); len(p) > 0 && (err != nil || !bytes.Equal(got, p)) {
				t.Fatalf("%s sample %d: franz-go reads %d of %d bytes: %v", codec, i, len(got), len(p), err)
			}
			for _, in := range [][]byte{ours[4:], compressed(t, codec, p)} {
				if dst, err = c.decompress(dst, in, codec, len(p)); err != nil || !bytes.Equal(dst, p) {
					t.Fatalf("%s sample %d: %d of %d bytes: %v", codec, i, len(dst), len(p), err)
				}
				if len(p) == 0 {
					continue
				}
				if dst, err = c.decompress(dst, in, codec, len(p)-1); !errors.Is(err, errTooBig) {
					t.Fatalf("%s sample %d: limit: %v", codec, i, err)
				}
			}
		}
	}
}

// A payload cut anywhere, or with any byte changed, is answered and not fatal;
// cut, it is never taken for whole.
func TestCodecsOnDamage(t *testing.T) {
	plain := bytes.Repeat([]byte("some text and then some more, "), 40)
	for _, codec := range allCodecs[1:] {
		var c codecs
		whole := compressed(t, codec, plain)
		if codec == batch.Snappy {
			whole = appendXerial(nil, plain)
		}
		for n := range whole {
			out, err := c.decompress(nil, whole[:n], codec, 1<<20)
			if err == nil && bytes.Equal(out, plain) && codec != batch.LZ4 { // whose last bytes are a checksum
				t.Errorf("%s: whole after %d of %d bytes", codec, n, len(whole))
			}
			for _, x := range []byte{1, 0x80, 0xff} {
				p := bytes.Clone(whole)
				p[n] ^= x
				if out, _ := c.decompress(nil, p, codec, 1<<20); len(out) > 5<<20 {
					t.Errorf("%s: %d bytes", codec, len(out))
				}
			}
		}
	}
}

// Forms that other clients write.
func TestCodecsReadOtherForms(t *testing.T) {
	plain := bytes.Join(samples(), nil)
	half := len(plain) / 2
	frame := func(opts ...lz4.Option) []byte {
		var b bytes.Buffer
		w := lz4.NewWriter(&b)
		if err := w.Apply(opts...); err != nil {
			t.Fatal(err)
		}
		w.Write(plain)
		w.Close()
		return b.Bytes()
	}
	var members, streamed bytes.Buffer
	for _, p := range [][]byte{plain[:half], plain[half:]} {
		w := gzip.NewWriter(&members)
		w.Write(p)
		w.Close()
	}
	enc, err := zstd.NewWriter(&streamed) // as Java: the frame does not say its size
	if err != nil {
		t.Fatal(err)
	}
	for at := 0; at < len(plain); at += 1000 {
		enc.Write(plain[at:min(at+1000, len(plain))])
	}
	enc.Close()
	for _, c := range []struct {
		name  string
		codec batch.Codec
		in    []byte
	}{
		{"lz4, small blocks", batch.LZ4, frame(lz4.BlockSizeOption(lz4.Block64Kb))},
		{"lz4, all checksums", batch.LZ4, frame(lz4.BlockChecksumOption(true), lz4.ChecksumOption(true))},
		{"lz4, content size", batch.LZ4, frame(lz4.SizeOption(uint64(len(plain))), lz4.BlockSizeOption(lz4.Block256Kb))},
		{"gzip, two members", batch.Gzip, members.Bytes()},
		{"zstd, streamed", batch.Zstd, streamed.Bytes()},
		{"zstd, two frames", batch.Zstd, append(compressed(t, batch.Zstd, plain[:half]), compressed(t, batch.Zstd, plain[half:])...)},
		{"snappy, other block size", batch.Snappy, append(xerial.Encode(nil, plain[:half]), xerial.Encode(nil, plain[half:])[16:]...)},
		{"lz4, dependent blocks", batch.LZ4, dependentFrame(plain)},
	} {
		var d codecs
		if out, err := d.decompress(nil, c.in, c.codec, len(plain)); err != nil || !bytes.Equal(out, plain) {
			t.Errorf("%s: %d of %d bytes: %v", c.name, len(out), len(plain), err)
		}
	}
}

// dependentFrame stores the first 64 KiB, then writes blocks whose matches reach
// back into the data before them: each is one byte, a match and five bytes.
func dependentFrame(plain []byte) []byte {
	out := []byte{0x04, 0x22, 0x4d, 0x18, lz4Version, 4 << 4, 0}
	stored := func(p []byte) {
		out = binary.LittleEndian.AppendUint32(out, uint32(len(p))|lz4Stored)
		out = append(out, p...)
	}
	for at := 0; at < len(plain); {
		rest := plain[at:]
		// the longest match for rest[1:] that starts within the 1000 bytes before
		n, from := 0, 0
		for back := 1; back < min(at, 1000); back++ {
			if i := commonPrefix(plain[at+1-back:], rest[1:]); i > n {
				n, from = i, back
			}
		}
		n = min(n, 15+3) // so that the length fits the token
		if n < 4 || len(rest) < n+6 || from <= 1 {
			p := rest[:min(len(rest), 997)]
			stored(p)
			at += len(p)
			continue
		}
		block := []byte{1<<4 | byte(n-4), rest[0]}
		block = binary.LittleEndian.AppendUint16(block, uint16(from))
		block = append(append(block, 5<<4), rest[1+n:n+6]...)
		out = binary.LittleEndian.AppendUint32(out, uint32(len(block)))
		out = append(out, block...)
		at += n + 6
	}
	return append(out, 0, 0, 0, 0)
}

func commonPrefix(a, b []byte) (n int) {
	for n < min(len(a), len(b)) && a[n] == b[n] && n < 18 {
		n++
	}
	return n
}

// Lengths in the framing are not trusted.
func TestFramingRefuses(t *testing.T) {
	lz := func(p ...byte) []byte { return append(bytes.Clone(lz4Start), p...) }
	sn := func(p ...byte) []byte { return append(bytes.Clone(xerialHeader), p...) }
	for _, c := range []struct {
		name string
		f    func(dst, src []byte, most int) ([]byte, error)
		in   []byte
	}{
		{"lz4: empty", unlz4, nil},
		{"lz4: header only", unlz4, lz4Start},
		{"lz4: header cut", unlz4, lz4Start[:6]},
		{"lz4: content size cut", unlz4, []byte{0x04, 0x22, 0x4d, 0x18, 0x68, 0x40, 1, 2, 3}},
		{"lz4: version", unlz4, []byte{0x04, 0x22, 0x4d, 0x18, 0xa0, 0x40, 0, 0, 0, 0, 0}},
		{"lz4: dictionary", unlz4, []byte{0x04, 0x22, 0x4d, 0x18, 0x61, 0x40, 0, 0, 0, 0, 0, 0, 0, 0, 0}},
		{"lz4: block size code", unlz4, []byte{0x04, 0x22, 0x4d, 0x18, 0x60, 0x30, 0, 0, 0, 0, 0}},
		{"lz4: no end", unlz4, lz(1, 0, 0, 0x80, 'x')},
		{"lz4: block cut", unlz4, lz(2, 0, 0, 0x80, 'x')},
		{"lz4: block above its size", unlz4, lz(append([]byte{1, 0, 1, 0x80}, make([]byte, 70000)...)...)},
		{"lz4: block checksum cut", unlz4, []byte{0x04, 0x22, 0x4d, 0x18, 0x70, 0x40, 0, 1, 0, 0, 0x80, 'x', 1, 2}},
		{"lz4: largest length", unlz4, lz(0xff, 0xff, 0xff, 0x7f)},
		{"lz4: bad block", unlz4, lz(4, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0)},
		{"snappy: empty", unsnappy, nil},
		{"snappy: length cut", unsnappy, sn(0, 0, 0)},
		{"snappy: block cut", unsnappy, sn(0, 0, 0, 9, 1)},
		{"snappy: largest length", unsnappy, sn(0xff, 0xff, 0xff, 0xff, 1)},
		{"snappy: empty block", unsnappy, sn(0, 0, 0, 0)},
		{"snappy: claims more than it can hold", unsnappy, []byte{0x80, 0x80, 0x20, 0}},
	} {
		if out, err := c.f(nil, c.in, 1<<20); err == nil || cap(out) > 1<<20 {
			t.Errorf("%s: %d bytes, %v", c.name, cap(out), err)
		}
	}
	if out, err := unsnappy(nil, xerialHeader, 1); err != nil || len(out) != 0 {
		t.Error("an empty stream is one")
	}
}
