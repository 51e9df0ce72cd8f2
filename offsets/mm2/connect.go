package mm2

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/kferry/kferry/offsets"
)

// SourceConnector is the connector's name where MirrorMaker 2 runs by itself. On a
// Connect cluster people choose another.
const SourceConnector = "MirrorSourceConnector"

// SourceKey is the key under which Kafka Connect keeps how far a source partition
// is mirrored. The topic is Names.ConnectOffsets, or offset.storage.topic on a
// Connect cluster; other connectors' keys are in it too.
//
//	["MirrorSourceConnector",{"cluster":"A","partition":7,"topic":"foo"}]
//
// Connect finds a position by the key's very bytes, in any partition; which of
// several partitions would count is not defined. So a record must go to Partition(key, n).
type SourceKey struct {
	Connector string
	Cluster   string // alias of the source
	Topic     string // its name on the source
	Partition int32
}

// Encode gives the key's bytes. A string that is not UTF-8 is an error.
func (k SourceKey) Encode() ([]byte, error) {
	for _, s := range []string{k.Connector, k.Cluster, k.Topic} {
		if !utf8.ValidString(s) {
			return nil, fmt.Errorf("mm2: source key: %.40q is not UTF-8", s)
		}
	}
	b := appendString([]byte{'['}, k.Connector)
	b = appendString(append(b, `,{"cluster":`...), k.Cluster)
	b = strconv.AppendInt(append(b, `,"partition":`...), int64(k.Partition), 10)
	b = appendString(append(b, `,"topic":`...), k.Topic)
	return append(b, `}]`...), nil
}

// appendString writes s as Jackson does, which Connect's converter uses: no more
// is escaped than must be, but for what UTF-16 needs two units for.
func appendString(b []byte, s string) []byte {
	const short = "\"\"\\\\\bb\tt\nn\ff\rr" // pairs: a character, its letter behind the backslash
	b = append(b, '"')
	for _, r := range s {
		switch i := strings.IndexRune(short, r); {
		case (r < ' ' || r == '"' || r == '\\') && i >= 0:
			b = append(b, '\\', short[i+1])
		case r < ' ':
			b = fmt.Appendf(b, `\u%04X`, r)
		case r > 0xffff:
			high, low := utf16.EncodeRune(r)
			b = fmt.Appendf(b, `\u%04X\u%04X`, high, low)
		default:
			b = utf8.AppendRune(b, r)
		}
	}
	return append(b, '"')
}

// DecodeSourceKey reads a key. Every other spelling of the same JSON is an error,
// since Connect would not find a position under it either; so are the keys of
// other connectors.
func DecodeSourceKey(key []byte) (SourceKey, error) {
	var k SourceKey
	var where struct {
		Cluster   string `json:"cluster"`
		Partition int32  `json:"partition"`
		Topic     string `json:"topic"`
	}
	if err := json.Unmarshal(key, &[]any{&k.Connector, &where}); err != nil {
		return SourceKey{}, fmt.Errorf("mm2: source key %.200q: %w", key, err)
	}
	k.Cluster, k.Topic, k.Partition = where.Cluster, where.Topic, where.Partition
	exact, err := k.Encode()
	if err != nil {
		return SourceKey{}, err
	}
	if !bytes.Equal(exact, key) {
		return SourceKey{}, fmt.Errorf("mm2: source key %.200q is not MirrorMaker 2's, which would be %.200q", key, exact)
	}
	return k, nil
}

// EncodePosition gives the value for a partition that goes on at next. Connect
// stores the last record that arrived, so there is none before the first record.
// To take a position back, write a record without value.
func EncodePosition(next offsets.Source) ([]byte, error) {
	if next < 1 {
		return nil, fmt.Errorf("mm2: position %d: only one behind a record can be stored", next)
	}
	return fmt.Appendf(nil, `{"offset":%d}`, next-1), nil
}

// DecodePosition reads a value. None is stored in a record without value, and
// where the offset is missing or negative: MirrorMaker 2 then begins as its
// consumer's auto.offset.reset says.
func DecodePosition(value []byte) (next offsets.Source, stored bool, err error) {
	if value == nil {
		return 0, false, nil
	}
	fields := map[string]any{}
	d := json.NewDecoder(bytes.NewReader(value))
	d.UseNumber() // an offset is larger than a float64 can count
	if err := d.Decode(&fields); err != nil {
		return 0, false, fmt.Errorf("mm2: position %.200q: %w", value, err)
	}
	switch offset := fields["offset"].(type) {
	case nil:
		return 0, false, nil
	case json.Number:
		n, err := strconv.ParseInt(offset.String(), 10, 64)
		switch {
		case err != nil:
			return 0, false, fmt.Errorf("mm2: position %.200q: %w", value, err)
		case n < 0:
			return 0, false, nil
		case n+1 < 0:
			return 0, false, fmt.Errorf("mm2: position %.200q: no record comes behind it", value)
		}
		return offsets.Source(n + 1), true, nil
	}
	return 0, false, fmt.Errorf("mm2: position %.200q: %w", value, errNoNumber)
}

var errNoNumber = errors.New("the offset is not a number")

// Partition is where Java's producer puts a record with this key, in a topic with
// n partitions.
func Partition(key []byte, n int32) int32 {
	return int32(murmur2(key)&0x7fffffff) % n
}

// murmur2 is the hash as Kafka has it, with its seed.
func murmur2(b []byte) uint32 {
	const m = 0x5bd1e995
	h := uint32(0x9747b28c) ^ uint32(len(b))
	for ; len(b) >= 4; b = b[4:] {
		k := (uint32(b[0]) | uint32(b[1])<<8 | uint32(b[2])<<16 | uint32(b[3])<<24) * m
		h = h*m ^ (k^k>>24)*m
	}
	switch len(b) {
	case 3:
		h ^= uint32(b[2]) << 16
		fallthrough
	case 2:
		h ^= uint32(b[1]) << 8
		fallthrough
	case 1:
		h = (h ^ uint32(b[0])) * m
	}
	h = (h ^ h>>13) * m
	return h ^ h>>15
}
