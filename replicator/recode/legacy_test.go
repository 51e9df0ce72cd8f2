package recode

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kferry/kferry/replicator/batch"
)

// oldRecords are n records as magic 0 or 1 can hold them.
func oldRecords(r *rand.Rand, n int, base int64, gaps bool) []rec {
	rs := randomRecords(r, n, base, gaps)
	for i := range rs {
		rs[i].headers = nil
	}
	return rs
}

func TestRecodeLegacyAgainstModel(t *testing.T) {
	r := New()
	for seed := range rounds(1200) {
		rnd := rand.New(rand.NewPCG(seed, 3))
		magic, codec := int8(seed%2), allCodecs[seed/2%4]
		rs := oldRecords(rnd, 1+rnd.IntN(30), rnd.Int64N(1<<40), rnd.IntN(2) == 0)
		if codec == batch.None {
			rs = rs[:1]
		}
		last := rs[len(rs)-1].off
		attrs, time := int8(0), int64(-1)
		if magic == 1 {
			time = rs[len(rs)-1].time
			if rnd.IntN(3) == 0 {
				attrs, time = 1<<3, 1712345678901 // LogAppendTime
			}
		}
		var v batch.View
		if codec == batch.None {
			v = only(t, message(magic, attrs, last, time, rs[0].key, rs[0].value))
		} else {
			v = wrapper(t, magic, codec, attrs, last, time, rs)
		}
		if seed < 400 && attrs == 0 {
			checkLegacyBytes(t, v, rs)
		}
		o := Options{From: rs[0].off + rnd.Int64N(last-rs[0].off+3) - 1, Skip: max(0, rnd.IntN(8)-4), Limit: 1500 * rnd.IntN(3)}
		want, skipped := model(rs, o, magic == 0 || attrs != 0, time)
		outs, err := r.Recode(v, o)
		if err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		checkOuts(t, outs, want, codec, o.Limit, last+1)
		if r.Skipped() != skipped {
			t.Fatalf("seed %d: skipped %d, want %d", seed, r.Skipped(), skipped)
		}
	}
}

// checkLegacyBytes lets franz-go read what this file's encoder wrote: offsets, keys
// and values, so that the tests do not agree with recode alone.
func checkLegacyBytes(t *testing.T, v batch.View, want []rec) {
	t.Helper()
	fp, _ := kgo.ProcessFetchPartition(kgo.ProcessFetchPartitionOpts{}, &kmsg.FetchResponseTopicPartition{RecordBatches: v}, decompressor, nil)
	if fp.Err != nil || len(fp.Records) != len(want) {
		t.Fatalf("%d records of %d: %v", len(fp.Records), len(want), fp.Err)
	}
	for i, r := range fp.Records {
		if r.Offset != want[i].off || !bytes.Equal(r.Key, want[i].key) || !bytes.Equal(r.Value, want[i].value) {
			t.Fatalf("record %d: %d %q", i, r.Offset, r.Key)
		}
	}
}

// Until Kafka 0.10 the header checksum of an LZ4 frame was computed over the magic
// number too; any value has to be accepted there.
func TestRecodeLegacyBrokenLZ4Header(t *testing.T) {
	rs := oldRecords(rand.New(rand.NewPCG(1, 2)), 5, 40, false)
	v := wrapper(t, 0, batch.LZ4, 0, 44, 0, rs)
	at := bytes.Index(v, []byte{0x04, 0x22, 0x4d, 0x18})
	if at < 0 {
		t.Fatal("no lz4 frame")
	}
	v[at+6] ^= 0x5a
	binary.BigEndian.PutUint32(v[12:], crc32.ChecksumIEEE(v[16:]))
	outs, err := New().Recode(v, Options{})
	if err != nil {
		t.Fatal(err)
	}
	want, _ := model(rs, Options{}, true, -1)
	checkOuts(t, outs, want, batch.LZ4, 0, 45)
}

func TestRecodeLegacyRefuses(t *testing.T) {
	gz := func(inner ...[]byte) []byte { return compressed(t, batch.Gzip, bytes.Join(inner, nil)) }
	wrap := func(magic int8, offset int64, value []byte) []byte { return message(magic, 1, offset, 0, nil, value) }
	m := func(offset int64) []byte { return message(1, 0, offset, 0, []byte("k"), []byte("v")) }
	damaged := m(0)
	damaged[len(damaged)-1] ^= 1
	for _, c := range []struct {
		name string
		in   []byte
		want string
	}{
		{"null value", wrap(1, 5, nil), "null value"},
		{"no messages", wrap(1, 5, gz()), "without messages"},
		{"wrapped twice", wrap(1, 5, gz(wrap(1, 0, gz(m(0))))), "compressed again"},
		{"another magic inside", wrap(1, 5, gz(message(0, 0, 0, 0, nil, nil))), "has magic 0 in a wrapper of magic 1"},
		{"magic 2 inside", wrap(1, 5, gz(newBatch(t, []rec{{}}, spec{}))), "has magic 2"},
		{"inner message cut", wrap(1, 5, gz(m(0), m(1)[:20])), "inner message 1"},
		{"inner checksum", wrap(1, 5, gz(damaged)), "inner message 0 does not match its checksum"},
		{"offset twice", wrap(1, 5, gz(m(0), m(0))), "inner message 1: offset out of order"},
		{"offsets above the wrapper, relative", wrap(1, 5, gz(m(0), m(6))), "above the wrapper's"},
		{"offsets above the wrapper, absolute", wrap(0, 5, gz(message(0, 0, 6, 0, nil, nil))), "above the wrapper's"},
		{"offsets too far apart", wrap(1, 1<<40, gz(m(0), m(1<<31))), "do not fit one batch"},
		{"zstd", message(1, 4, 5, 0, nil, compressed(t, batch.Zstd, m(0))), "zstd does not exist"},
		{"unknown codec", message(1, 6, 5, 0, nil, m(0)), "unknown codec"},
		{"not gzip", wrap(1, 5, m(0)), "gzip payload"},
	} {
		outs, err := New().Recode(only(t, c.in), Options{})
		var bad *batch.BadError
		if !errors.As(err, &bad) || bad.Offset != only(t, c.in).BaseOffset() || !strings.Contains(err.Error(), c.want) || outs != nil {
			t.Errorf("%s: got %v, want %q", c.name, err, c.want)
		}
	}
}

// A plain message's key and value lengths, and a wrapped one's, are not trusted.
func TestRecodeLegacyFieldLengths(t *testing.T) {
	for _, magic := range []int8{0, 1} {
		at := 18 + 8*int(magic) // of the key length
		for _, size := range []uint32{0x7fffffff, 0x80000000, 0xfffffffe, 100, 2, 0} {
			p := message(magic, 0, 5, 0, []byte("k"), []byte("v"))
			binary.BigEndian.PutUint32(p[at:], size)
			binary.BigEndian.PutUint32(p[12:], crc32.ChecksumIEEE(p[16:]))
			for _, in := range [][]byte{p, message(magic, 1, 5, 0, nil, compressed(t, batch.Gzip, p))} {
				var bad *batch.BadError
				if _, err := New().Recode(only(t, in), Options{}); !errors.As(err, &bad) || !strings.Contains(err.Error(), "do not fit the length") {
					t.Errorf("magic %d key length %#x: %v", magic, size, err)
				}
			}
		}
	}
}

func BenchmarkRecodeLegacy(b *testing.B) {
	rs := benchRecords(1000)
	for _, codec := range allCodecs[1:4] {
		b.Run(fmt.Sprintf("codec=%s/records=1000", codec), func(b *testing.B) {
			v := wrapper(b, 1, codec, 0, 5000, 0, rs)
			r := New()
			b.SetBytes(int64(len(encodeRecords(rs, 0, 0))))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := r.Recode(v, Options{}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
