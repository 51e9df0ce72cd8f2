package fetch

import (
	"bytes"
	"fmt"
	"hash/crc32"
	"math"
	"slices"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kferry/kferry/replicator/batch"
	"github.com/kferry/kferry/replicator/budget"
	"github.com/kferry/kferry/replicator/recode"
)

// message is one of format magic at that offset.
func message(magic int8, offset int64, codec batch.Codec, value []byte) []byte {
	var raw []byte
	if magic == 0 {
		raw = (&kmsg.MessageV0{Offset: offset, Attributes: int8(codec), Value: value}).AppendTo(nil)
	} else {
		raw = (&kmsg.MessageV1{Offset: offset, Magic: 1, Attributes: int8(codec), Timestamp: 1000, Value: value}).AppendTo(nil)
	}
	size, sum := uint32(len(raw)-12), crc32.ChecksumIEEE(raw[16:])
	for i := range 4 {
		raw[8+i], raw[12+i] = byte(size>>(24-8*i)), byte(sum>>(24-8*i))
	}
	return raw
}

// wrapper is a compressed one of the messages at offsets: it stands at the last.
func wrapper(magic int8, offsets ...int64) []byte {
	var inner []byte
	for _, o := range offsets {
		at := o
		if magic == 1 {
			at -= offsets[0]
		}
		inner = append(inner, message(magic, at, batch.None, fmt.Append(nil, "v", o))...)
	}
	zipped, _ := compressors[batch.Gzip].Compress(new(bytes.Buffer), inner)
	return message(magic, offsets[len(offsets)-1], batch.Gzip, bytes.Clone(zipped))
}

// Records of the old formats are counted, whatever is known of the topic's settings: a gap is one only where offsets are missing.
func TestSplitCountsOldFormats(t *testing.T) {
	for magic := range int8(2) {
		plain := func(o int64) []byte { return message(magic, o, batch.None, fmt.Append(nil, "v", o)) }
		for _, c := range []struct {
			name string
			raw  [][]byte
			from int64
			skip int64
			want []string // nil: they cannot be counted
		}{
			{"wrappers", [][]byte{wrapper(magic, 0, 1, 2), wrapper(magic, 3, 4)}, 0, 4, []string{"v4"}},
			{"wrappers and plain ones", [][]byte{plain(0), wrapper(magic, 1, 2, 3), plain(4), plain(5)}, 0, 3, []string{"v3", "v4", "v5"}},
			{"a wrapper alone", [][]byte{wrapper(magic, 0, 1, 2)}, 0, 2, []string{"v2"}},
			{"from inside a wrapper", [][]byte{wrapper(magic, 0, 1, 2), plain(3)}, 1, 2, []string{"v3"}},
			{"a batch behind", [][]byte{wrapper(magic, 0, 1), data(2, 2).bytes()}, 0, 3, []string{"v3"}},
			{"missing inside a wrapper", [][]byte{wrapper(magic, 0, 2, 3)}, 0, 2, nil},
			{"missing before a wrapper", [][]byte{plain(0), wrapper(magic, 2, 3)}, 0, 2, nil},
			{"missing before all", [][]byte{wrapper(magic, 1, 2)}, 0, 1, nil},
			{"missing before a plain one", [][]byte{wrapper(magic, 0, 1), plain(3), plain(4)}, 0, 3, nil},
		} {
			s := splitter{end: math.MaxInt64, from: c.from, skip: c.skip, rec: recode.New(), hold: budget.New(0).Hold(0)}
			err := s.split(bytes.Join(c.raw, nil), nil)
			var got []string
			for _, it := range s.items {
				got = append(got, decode(t, it.Bytes)...)
			}
			if c.want == nil != UncountedGap(err) || c.want != nil && err != nil || !slices.Equal(got, c.want) {
				t.Errorf("magic %d, %s: %v, %v", magic, c.name, got, err)
			}
		}
	}
}

// Without records to skip gaps are none of our business, once they were seen twice.
func TestSplitOldFormatsWithGaps(t *testing.T) {
	for magic := range int8(2) {
		s := splitter{end: math.MaxInt64, rec: recode.New(), hold: budget.New(0).Hold(0)}
		err := s.split(slices.Concat(wrapper(magic, 1, 3), wrapper(magic, 7, 9)), nil)
		if err != nil || !s.gaps || s.next != 10 || len(s.items) != 2 {
			t.Errorf("magic %d: %v, next %d, %d items", magic, err, s.next, len(s.items))
		}
	}
}
