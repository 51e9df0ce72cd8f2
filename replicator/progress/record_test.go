package progress

import (
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/kferry/kferry/offsets"
	"github.com/kferry/kferry/replicator/lane"
)

// The bytes are a format that others read: docs/progress.md.
func TestGoldenRecord(t *testing.T) {
	r := Record{
		Lane:        lane.ID{Topic: "pizza-orders", Partition: 3},
		Position:    lane.Position{Source: 120400, Target: 120377, Producer: 4012, Epoch: 2, Sequence: 120370},
		TargetTopic: "old.pizza-orders",
		At:          time.Date(2026, 11, 23, 11, 15, 30, 250_999_999, time.FixedZone("CET", 3600)),
	}
	for i := range byte(16) {
		r.SourceID[i], r.TargetID[i] = i, 0xf0|i
	}
	want, err := os.ReadFile("testdata/record.json")
	if err != nil {
		t.Fatal(err)
	}
	got, err := r.encode()
	if err != nil || string(got) != strings.TrimSpace(string(want)) {
		t.Errorf("%v\n got %s\nwant %s", err, got, want)
	}
	if key := Key(r.Lane); key != "lane/pizza-orders/3" {
		t.Errorf("key %q", key)
	}
	r.At = r.At.Truncate(time.Millisecond).UTC()
	if back, err := decode(Key(r.Lane), want); err != nil || back != r {
		t.Errorf("%v\n got %+v\nwant %+v", err, back, r)
	}
}

// What later versions of 1 may add is ignored.
func TestUnknownFieldsAreIgnored(t *testing.T) {
	const v = `{"version":1,"pieces":[1,2],"source":{"topic":"t","offset":5,"epoch":3},"target":{"topic":"x"}}`
	r, err := decode("lane/t/0", []byte(v))
	if err != nil || r.Position.Source != 5 || r.TargetTopic != "x" || r.SourceID != [16]byte{} {
		t.Errorf("%+v, %v", r, err)
	}
}

func TestRoundTrip(t *testing.T) {
	for seed := range uint64(1000) {
		r := rand.New(rand.NewPCG(seed, 5))
		in := Record{
			Lane:        lane.ID{Topic: strings.Repeat("a.b_c-", 1+r.IntN(40)), Partition: r.Int32()},
			TargetTopic: "t",
			Position: lane.Position{
				Source: offsets.Source(r.Int64()), Target: offsets.Target(r.Int64()),
				Producer: r.Int64(), Epoch: int16(r.IntN(math.MaxInt16 + 1)), Sequence: r.Int32(),
			},
			At: time.UnixMilli(r.Int64N(1 << 42)).UTC(),
		}
		for i := range 16 * r.IntN(2) {
			in.SourceID[i], in.TargetID[i] = byte(r.Uint32()), byte(r.Uint32())
		}
		v, err := in.encode()
		if err != nil {
			t.Fatal(err)
		}
		if out, err := decode(Key(in.Lane), v); err != nil || out != in {
			t.Fatalf("seed %d: %v\n got %+v\nwant %+v", seed, err, out, in)
		}
	}
}

// A corpus of records that must be refused: the first line of a file says how,
// the second is the key, the rest the value.
func TestBadRecords(t *testing.T) {
	files, err := filepath.Glob("testdata/bad/*.txt")
	if err != nil || len(files) < 20 {
		t.Fatal(err, files)
	}
	for _, f := range files {
		raw, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		lines := strings.SplitN(string(raw), "\n", 3)
		want, ok := strings.CutPrefix(lines[0], "# ")
		if !ok || want == "" {
			t.Fatalf("%s does not begin with its error", f)
		}
		if r, err := decode(lines[1], []byte(strings.TrimSpace(lines[2]))); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %+v, %v\nwant %q", f, r, err, want)
		}
	}
}

func FuzzDecode(f *testing.F) {
	good, err := os.ReadFile("testdata/record.json")
	if err != nil {
		f.Fatal(err)
	}
	f.Add("lane/pizza-orders/3", good)
	f.Add("lane/t/0", []byte(`{"version":1,"source":{"topic":"t"}}`))
	f.Fuzz(func(t *testing.T, key string, value []byte) {
		r, err := decode(key, value)
		if err != nil {
			return
		}
		p := r.Position
		if Key(r.Lane) != key {
			t.Errorf("key %q is lane %v", key, r.Lane)
		}
		if p.Source < 0 || p.Target < 0 || p.Sequence < 0 || p.Producer < 0 || p.Epoch < 0 || r.Lane.Partition < 0 {
			t.Errorf("negative: %+v", r)
		}
	})
}
