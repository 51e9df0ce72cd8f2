package mm2

import (
	"errors"
	"math"
	"strings"
	"testing"

	"github.com/kferry/kferry/offsets"
)

// What the format cannot hold is refused, at its very limit.
func TestEncodersRefuse(t *testing.T) {
	most := strings.Repeat("x", math.MaxInt16)
	for name, bad := range map[string]string{"long": most + "x", "not UTF-8": "a\xff"} {
		for what, encode := range map[string]func(s string) error{
			"sync":      func(s string) error { _, _, err := OffsetSync{Topic: s}.Encode(); return err },
			"group":     func(s string) error { _, _, err := Checkpoint{Group: s}.Encode(); return err },
			"topic":     func(s string) error { _, _, err := Checkpoint{Topic: s}.Encode(); return err },
			"metadata":  func(s string) error { _, _, err := Checkpoint{Metadata: s}.Encode(); return err },
			"beat from": func(s string) error { _, _, err := Heartbeat{Source: s}.Encode(); return err },
			"beat to":   func(s string) error { _, _, err := Heartbeat{Target: s}.Encode(); return err },
			"source key": func(s string) error {
				_, err := SourceKey{Topic: strings.TrimSuffix(s, most+"x") + "\xff"}.Encode()
				return err
			},
		} {
			if err := encode(bad); err == nil {
				t.Errorf("%s: %s was encoded", what, name)
			}
			if err := encode(most); err != nil && what != "source key" {
				t.Errorf("%s: %v", what, err)
			}
		}
	}
}

// decoders are those of the binary records, by what the tests call them.
var decoders = map[string]func(key, value []byte) error{
	"sync":       func(key, value []byte) error { _, err := DecodeOffsetSync(key, value); return err },
	"checkpoint": func(key, value []byte) error { _, err := DecodeCheckpoint(key, value); return err },
	"heartbeat":  func(key, value []byte) error { _, err := DecodeHeartbeat(key, value); return err },
}

// samples has the bytes of one record of each kind.
func samples(t testing.TB) map[string][2][]byte {
	t.Helper()
	out := map[string][2][]byte{}
	for name, encode := range map[string]func() ([]byte, []byte, error){
		"sync":       OffsetSync{"topic-1", 2, 3, 4}.Encode,
		"checkpoint": Checkpoint{"group-1", "A.t", 3, 4, 5, "m6"}.Encode,
		"heartbeat":  Heartbeat{"A", "B", 1234567890}.Encode,
	} {
		key, value, err := encode()
		if err != nil {
			t.Fatal(err)
		}
		out[name] = [2][]byte{key, value}
	}
	return out
}

// Java's readers ignore what is behind the last field and what the version says.
func TestDecodersAreTolerant(t *testing.T) {
	for name, r := range samples(t) {
		key, value := append(r[0], 1, 2, 3), append(r[1], "more"...)
		if name != "sync" {
			value[1] = 7
		}
		if err := decoders[name](key, value); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestDecodersRefuse(t *testing.T) {
	for name, r := range samples(t) {
		decode := decoders[name]
		for i := range r[0] {
			if decode(r[0][:i], r[1]) == nil {
				t.Errorf("%s: %d bytes of the key were enough", name, i)
			}
		}
		for i := range r[1] {
			if decode(r[0], r[1][:i]) == nil {
				t.Errorf("%s: %d bytes of the value were enough", name, i)
			}
		}
		for _, tombstone := range [][2][]byte{{r[0], nil}, {nil, r[1]}, {nil, nil}} {
			if err := decode(tombstone[0], tombstone[1]); !errors.Is(err, ErrTombstone) {
				t.Errorf("%s: tombstone: %v", name, err)
			}
		}
		if err := decode([]byte{}, []byte{}); err == nil || errors.Is(err, ErrTombstone) {
			t.Errorf("%s: empty: %v", name, err)
		}
		if err := decode(append([]byte{0xff, 0xff}, r[0]...), r[1]); err == nil {
			t.Errorf("%s: a null string was read", name)
		}
		if err := decode(append([]byte{0, 1, 0xff}, r[0]...), r[1]); err == nil {
			t.Errorf("%s: a string that is not UTF-8 was read", name)
		}
	}
}

func TestSourceKeyRefuses(t *testing.T) {
	for _, key := range []string{
		``, `null`, `{}`, `[]`, `["c"]`, `["c",null]`, `["c",{}]`, `[1,{"cluster":"A","partition":7,"topic":"foo"}]`,
		`["c",{"cluster":"A","partition":7,"topic":"foo"},1]`,
		`["c",{"partition":7,"cluster":"A","topic":"foo"}]`,
		`["c", {"cluster":"A","partition":7,"topic":"foo"}]`,
		`["c",{"cluster":"A","partition":7,"topic":"foo","more":1}]`,
		`["c",{"cluster":"A","partition":7.0,"topic":"foo"}]`,
		`["c",{"cluster":"A","partition":2147483648,"topic":"foo"}]`,
		`["c",{"cluster":"\u0041","partition":7,"topic":"foo"}]`,
		`["c",{"cluster":"A","partition":7,"topic":"😀"}]`, // Jackson escapes it
		`["MirrorCheckpointConnector",{"partition":3,"topic":"A.t","group":"g"}]`,
		`["MirrorHeartbeatConnector",{"sourceClusterAlias":"A","targetClusterAlias":"B"}]`,
	} {
		if k, err := DecodeSourceKey([]byte(key)); err == nil {
			t.Errorf("%s was read as %+v", key, k)
		}
	}
	if _, err := DecodeSourceKey(nil); err == nil {
		t.Error("no key was read")
	}
}

func TestPosition(t *testing.T) {
	for value, want := range map[string]offsets.Source{
		`{"offset":0}`: 1, ` { "x": [1], "offset" : 41 } `: 42, `{"offset":9007199254740993}`: 9007199254740994,
		`{}`: 0, `null`: 0, `{"offset":null}`: 0, `{"offset":-1}`: 0, `{"OFFSET":3}`: 0,
	} {
		got, stored, err := DecodePosition([]byte(value))
		if err != nil || got != want || stored != (want > 0) {
			t.Errorf("%s: %d, %v, %v; want %d", value, got, stored, err, want)
		}
	}
	if got, stored, err := DecodePosition(nil); got != 0 || stored || err != nil {
		t.Errorf("null: %d, %v, %v", got, stored, err)
	}
	for _, value := range []string{``, `[]`, `{"offset":"1"}`, `{"offset":1.5}`, `{"offset":1e3}`, `{"offset":9223372036854775808}`, `{"offset":{}}`, `{"offset"`} {
		if got, stored, err := DecodePosition([]byte(value)); err == nil {
			t.Errorf("%s: %d, %v", value, got, stored)
		}
	}
	for _, next := range []offsets.Source{0, -1} {
		if value, err := EncodePosition(next); err == nil {
			t.Errorf("position %d was encoded as %s", next, value)
		}
	}
}

func TestNamesOfConnect(t *testing.T) {
	n := Names{Source: "A", Target: "B", Separator: "__"}
	if got := n.ConnectOffsets(); got != "mm2-offsets.A.internal" {
		t.Error(got)
	}
	if got := (Names{Source: "A"}).Remote("t"); got != "A.t" {
		t.Errorf("without separator: %s", got)
	}
}

type record interface {
	comparable
	Encode() (key, value []byte, err error)
}

// fuzzRecord feeds a decoder. What it reads must come back from the encoder as
// the front of what was read, but for the version.
func fuzzRecord[R record](f *testing.F, name string, decode func(key, value []byte) (R, error)) {
	for _, s := range samples(f) {
		f.Add(s[0], s[1])
	}
	f.Fuzz(func(t *testing.T, key, value []byte) {
		r, err := decode(key, value)
		if err != nil {
			return
		}
		k, v, err := r.Encode()
		if err != nil {
			t.Fatal(err)
		}
		if name != "sync" {
			copy(v[:2], value)
		}
		if !strings.HasPrefix(string(key), string(k)) || !strings.HasPrefix(string(value), string(v)) {
			t.Errorf("%x %x became %x %x", key, value, k, v)
		}
		if again, err := decode(k, v); err != nil || again != r {
			t.Errorf("%+v became %+v, %v", r, again, err)
		}
	})
}

func FuzzOffsetSync(f *testing.F) { fuzzRecord(f, "sync", DecodeOffsetSync) }
func FuzzCheckpoint(f *testing.F) { fuzzRecord(f, "checkpoint", DecodeCheckpoint) }
func FuzzHeartbeat(f *testing.F)  { fuzzRecord(f, "heartbeat", DecodeHeartbeat) }

func FuzzSourceKey(f *testing.F) {
	f.Add([]byte(`["MirrorSourceConnector",{"cluster":"A","partition":7,"topic":"foo"}]`))
	f.Add([]byte(`["\u0001\"\\\n",{"cluster":"ü","partition":-7,"topic":"\uD83D\uDE00"}]`))
	f.Fuzz(func(t *testing.T, key []byte) {
		k, err := DecodeSourceKey(key)
		if err != nil {
			return
		}
		if again, err := k.Encode(); err != nil || string(again) != string(key) {
			t.Errorf("%s became %s, %v", key, again, err)
		}
	})
}

func FuzzPosition(f *testing.F) {
	f.Add([]byte(`{"offset":123}`))
	f.Fuzz(func(t *testing.T, value []byte) {
		next, stored, err := DecodePosition(value)
		if err != nil || !stored {
			return
		}
		exact, err := EncodePosition(next)
		if err != nil {
			t.Fatal(err)
		}
		if again, stored, err := DecodePosition(exact); err != nil || !stored || again != next {
			t.Errorf("%d became %d, %v", next, again, err)
		}
	})
}

// What is encoded is read back, whatever the strings.
func FuzzSourceKeyStrings(f *testing.F) {
	f.Add("MirrorSourceConnector", "A", "foo", int32(7))
	f.Add("\u2028\ufffd", "<&>", "\x7f😀", int32(-1))
	f.Fuzz(func(t *testing.T, connector, cluster, topic string, partition int32) {
		k := SourceKey{connector, cluster, topic, partition}
		key, err := k.Encode()
		if err != nil {
			return
		}
		if again, err := DecodeSourceKey(key); err != nil || again != k {
			t.Errorf("%+v became %+v, %v", k, again, err)
		}
	})
}
