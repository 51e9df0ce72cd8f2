package progress

import (
	"fmt"
	"maps"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kferry/kferry/internal/kafka"
)

func wantPauses(t *testing.T, p *Pauses, want map[string]Pause) {
	t.Helper()
	got, err := p.Read(t.Context())
	if err != nil || !maps.Equal(got, want) {
		t.Errorf("got %v, %v, want %v", got, err, want)
	}
}

func pause(t *testing.T, s *Store, topic string, p Pause) {
	t.Helper()
	if err := s.Pause(t.Context(), topic, p); err != nil {
		t.Fatal(err)
	}
}

func resume(t *testing.T, s *Store, topic string) {
	t.Helper()
	if err := s.Resume(t.Context(), topic); err != nil {
		t.Fatal(err)
	}
}

// A reader that follows and one that begins anew see the same, beside lanes,
// before and after compaction.
func TestPauses(t *testing.T) {
	storing(t, func(t *testing.T, fake *kfake.Cluster, cl *kafka.Cluster) {
		s := open(t, cl)
		ann, bob := Pause{time.UnixMilli(1e12).UTC(), "ann"}, Pause{time.UnixMilli(2e12).UTC(), "bob"}
		follows := s.Pauses()
		both := func(want map[string]Pause) {
			t.Helper()
			wantPauses(t, follows, want)
			wantPauses(t, s.Pauses(), want)
		}
		both(map[string]Pause{})
		pause(t, s, "", ann)
		pause(t, s, "pizza", bob)
		save(t, s, recordOf("a", 0, 5), recordOf("b", 0, 6))
		both(map[string]Pause{"": ann, "pizza": bob})
		resume(t, s, "")
		for n := range int32(100) { // some of them in partition 0, behind the pauses
			save(t, s, recordOf("many", n, 1))
		}
		both(map[string]Pause{"pizza": bob})
		pause(t, s, "pizza", ann)
		both(map[string]Pause{"pizza": ann})
		fake.Compact()
		both(map[string]Pause{"pizza": ann})
		resume(t, s, "pizza")
		resume(t, s, "never")
		both(map[string]Pause{})
		if got := load(t, cl); len(got) != 102 {
			t.Errorf("%d lanes loaded beside pause records, want 102", len(got))
		}
	})
}

// Whatever the value is, the key says pause.
func TestPauseThatCannotBeRead(t *testing.T) {
	storing(t, func(t *testing.T, _ *kfake.Cluster, cl *kafka.Cluster) {
		s := open(t, cl)
		for i, value := range []string{"", "yes", "[]", `{"version":9}`} {
			if err := s.wish(t.Context(), fmt.Sprint(i), []byte(value)); err != nil {
				t.Fatal(err)
			}
		}
		p := Pause{By: "an unreadable record"}
		wantPauses(t, s.Pauses(), map[string]Pause{"0": p, "1": p, "2": p, "3": p})
		if got := load(t, cl); len(got) != 0 {
			t.Errorf("lanes %v", got)
		}
	})
}

// What a moved leader, an error or a log that begins later does to a reader.
func TestPausesGoOn(t *testing.T) {
	storing(t, func(t *testing.T, fake *kfake.Cluster, cl *kafka.Cluster) {
		s := open(t, cl)
		by := Pause{By: "ann"}
		pause(t, s, "a", by)
		p := s.Pauses()
		wantPauses(t, p, map[string]Pause{"a": by})

		if err := fake.MoveTopicPartition(s.topic, 0, 1-fake.LeaderFor(s.topic, 0)); err != nil {
			t.Fatal(err)
		}
		pause(t, s, "b", by)
		if _, err := p.Read(t.Context()); err == nil {
			t.Error("the old leader answered")
		}
		wantPauses(t, p, map[string]Pause{"a": by, "b": by})

		fake.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Fetch}, Topic: s.topic, Err: kerr.KafkaStorageError, Count: 1})
		if _, err := p.Read(t.Context()); err == nil {
			t.Error("an error was not told")
		}
		wantPauses(t, p, map[string]Pause{"a": by, "b": by})

		pause(t, s, "c", by)
		ends, err := cl.Admin().ListEndOffsets(t.Context(), s.topic)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := cl.Admin().DeleteRecords(t.Context(), ends.Offsets()); err != nil {
			t.Fatal(err)
		}
		wantPauses(t, p, map[string]Pause{})
		pause(t, s, "d", by)
		wantPauses(t, p, map[string]Pause{"d": by})
	})
}

// A reader takes in what other clients compress.
func TestPausesCompressed(t *testing.T) {
	storing(t, func(t *testing.T, _ *kfake.Cluster, cl *kafka.Cluster) {
		s := open(t, cl)
		other, err := cl.NewClient(kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerBatchCompression(kgo.ZstdCompression()))
		if err != nil {
			t.Fatal(err)
		}
		defer other.Close()
		r := &kgo.Record{Topic: s.topic, Key: []byte("pause/x"), Value: []byte(`{"version":1,"at":"2026-11-23T10:15:30Z","by":"ann"}`)}
		if err := other.ProduceSync(t.Context(), r).FirstErr(); err != nil {
			t.Fatal(err)
		}
		got, err := s.Pauses().Read(t.Context())
		if err != nil || got["x"].String() != "paused by ann at 2026-11-23T10:15:30Z" {
			t.Errorf("got %v, %v", got, err)
		}
	})
}
