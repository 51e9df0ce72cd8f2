package mm2

import (
	"encoding/hex"
	"flag"
	"net/url"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/kferry/kferry/internal/kafkatest"
	"github.com/kferry/kferry/offsets"
)

const golden = "testdata/golden.txt"

var update = flag.Bool("update", false, "write what Golden.java prints to "+golden)

// The golden lines are what Golden.java prints today.
func TestGoldenIsJava(t *testing.T) {
	got := kafkatest.RunJava(t, "testdata/Golden.java")
	if *update {
		if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s is not what Golden.java prints; -update writes it anew", golden)
	}
}

// fields are what is left of a golden line.
type fields struct {
	t    *testing.T
	left []string
}

func (f *fields) next() string {
	if len(f.left) == 0 {
		f.t.Fatal("the line is too short")
	}
	s := f.left[0]
	f.left = f.left[1:]
	return s
}

// text is a string; false for Java's null.
func (f *fields) text() (string, bool) {
	s := f.next()
	if s == "-" {
		return "", false
	}
	s, err := url.QueryUnescape(strings.Trim(s, `"`))
	if err != nil {
		f.t.Fatal(err)
	}
	return s, true
}

func (f *fields) string() string {
	s, ok := f.text()
	if !ok {
		f.t.Fatal("null")
	}
	return s
}

func (f *fields) number() int64 {
	n, err := strconv.ParseInt(f.next(), 10, 64)
	if err != nil {
		f.t.Fatal(err)
	}
	return n
}

func (f *fields) bool() bool { return f.next() == "true" }

func (f *fields) bytes() []byte {
	b, err := hex.DecodeString(f.next())
	if err != nil {
		f.t.Fatal(err)
	}
	return b
}

// sameBytes compares what an encoder gave with the record at the end of a line.
func (f *fields) sameBytes(key, value []byte, err error) (wantKey, wantValue []byte) {
	f.t.Helper()
	wantKey, wantValue = f.bytes(), f.bytes()
	if err != nil {
		f.t.Fatal(err)
	}
	if string(key) != string(wantKey) || string(value) != string(wantValue) {
		f.t.Errorf("encoded\n%x %x, Java gives\n%x %x", key, value, wantKey, wantValue)
	}
	return wantKey, wantValue
}

// same wants got to be what Java gives.
func same[T comparable](t *testing.T, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Errorf("%s: got %v, Java gives %v", what, got, want)
	}
}

func TestGolden(t *testing.T) {
	kinds := map[string]func(*testing.T, *fields){
		"sync": goldenSync, "checkpoint": goldenCheckpoint, "heartbeat": goldenHeartbeat,
		"key": goldenKey, "position": goldenPosition, "flow": goldenFlow, "name": goldenName,
	}
	text, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]int{}
	for line := range strings.Lines(string(text)) {
		f := &fields{t, strings.Fields(line)}
		kind := f.next()
		check, ok := kinds[kind]
		if !ok {
			t.Fatalf("unknown line %q", line)
		}
		if check(t, f); t.Failed() {
			t.Fatalf("in the line %.500s", line)
		}
		seen[kind]++
	}
	if len(seen) != len(kinds) {
		t.Errorf("lines: %v, want some of each kind", seen)
	}
}

func goldenSync(t *testing.T, f *fields) {
	want := OffsetSync{f.string(), int32(f.number()), offsets.Source(f.number()), offsets.Target(f.number())}
	got, err := DecodeOffsetSync(f.sameBytes(want.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	same(t, "decoded", got, want)
}

func goldenCheckpoint(t *testing.T, f *fields) {
	want := Checkpoint{f.string(), f.string(), int32(f.number()), offsets.Source(f.number()), offsets.Target(f.number()), f.string()}
	got, err := DecodeCheckpoint(f.sameBytes(want.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	same(t, "decoded", got, want)
}

func goldenHeartbeat(t *testing.T, f *fields) {
	want := Heartbeat{f.string(), f.string(), f.number()}
	got, err := DecodeHeartbeat(f.sameBytes(want.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	same(t, "decoded", got, want)
}

func goldenKey(t *testing.T, f *fields) {
	want := SourceKey{Connector: f.string(), Cluster: f.string(), Partition: int32(f.number()), Topic: f.string()}
	key := f.string()
	got, err := want.Encode()
	if err != nil {
		t.Fatal(err)
	}
	same(t, "key", string(got), key)
	same(t, "partition", Partition(got, 25), int32(f.number()))
	decoded, err := DecodeSourceKey([]byte(key))
	if err != nil {
		t.Fatal(err)
	}
	same(t, "decoded", decoded, want)
}

func goldenPosition(t *testing.T, f *fields) {
	last, value, read := f.number(), f.string(), f.number()
	next, stored, err := DecodePosition([]byte(value))
	switch {
	case last < 0:
		same(t, "stored", stored, read >= 0)
		return
	case last+1 < 0: // Java would count on from the smallest number
		same(t, "refused", err != nil, true)
		return
	case err != nil || !stored:
		t.Fatal(stored, err)
	}
	same(t, "next", next, offsets.Source(read+1))
	got, err := EncodePosition(next)
	if err != nil {
		t.Fatal(err)
	}
	same(t, "value", string(got), value)
}

func (f *fields) names() Names {
	return Names{Source: "A", Target: "B", Separator: f.string(), DotInternal: f.bool(), Identity: f.bool()}
}

func goldenFlow(t *testing.T, f *fields) {
	n := f.names()
	same(t, "offset syncs on the source", n.OffsetSyncs(OnSource), f.string())
	same(t, "offset syncs on the target", n.OffsetSyncs(OnTarget), f.string())
	same(t, "checkpoints", n.Checkpoints(), f.string())
	same(t, "heartbeats", n.Heartbeats(), f.string())
	same(t, "remote heartbeats", n.RemoteHeartbeats(), f.string())
}

func goldenName(t *testing.T, f *fields) {
	n, topic := f.names(), f.string()
	same(t, "remote", n.Remote(topic), f.string())
	for what, method := range []func(string) (string, bool){n.TopicSource, n.Upstream} {
		got, ok := method(topic)
		want, wantOK := f.text()
		same(t, []string{"source", "upstream"}[what], got, want)
		same(t, "known", ok, wantOK)
	}
	same(t, "original", n.Original(topic), f.string())
	same(t, "heartbeats", n.IsHeartbeats(topic), f.bool())
	same(t, "checkpoints", n.IsCheckpoints(topic), f.bool())
	same(t, "internal", n.IsInternal(topic), f.bool())
}
