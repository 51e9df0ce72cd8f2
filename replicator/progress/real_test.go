package progress

import (
	"strconv"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/kferry/kferry/internal/kafka"
	"github.com/kferry/kferry/internal/kafkatest"
	"github.com/kferry/kferry/offsets"
)

// monthly is a progress topic that an earlier kferry made.
type monthly struct {
	t     *testing.T
	cl    *kafka.Cluster
	s     *Store
	wrote int
	at    time.Time
	last  []Record
}

const monthLanes = 1000

// advance writes rounds of progress of all lanes, each so long after the one before:
// a broker goes by the time of the records where it looks for how long it has written
// to a segment.
func (m *monthly) advance(rounds int, every time.Duration) {
	var out []*kgo.Record
	for round := range rounds {
		m.at = m.at.Add(every)
		for i := range m.last {
			m.last[i].At = m.at
			m.last[i].Position.Source++
		}
		rs, err := m.s.produced(Key, m.last)
		if err != nil {
			m.t.Fatal(err)
		}
		for _, r := range rs {
			r.Timestamp = m.at
		}
		if out = append(out, rs...); len(out) < 10*monthLanes && round < rounds-1 {
			continue
		}
		if err := m.cl.Client().ProduceSync(m.t.Context(), out...).FirstErr(); err != nil {
			m.t.Fatal(err)
		}
		m.wrote += len(out)
		out = nil
	}
}

func (m *monthly) settings() map[string]string {
	rcs, err := m.cl.Admin().DescribeTopicConfigs(m.t.Context(), m.s.topic)
	if err != nil {
		m.t.Fatal(err)
	}
	out := map[string]string{}
	for _, c := range rcs[0].Configs {
		out[c.Key] = c.MaybeValue()
	}
	return out
}

// read reads all slots as a replica that starts.
func (m *monthly) read() *content {
	from := map[int32]int64{}
	for _, slot := range m.s.All() {
		from[slot] = 0
	}
	c := newContent()
	if _, err := m.s.read(m.t.Context(), from, c); err != nil {
		m.t.Fatal(err)
	}
	return c
}

// After a month a start reads little more than what no broker compacts: what was written in the last five minutes.
func TestRealMonth(t *testing.T) {
	// Nothing is quicker here than elsewhere but how soon a broker looks for work.
	c := kafkatest.Start(t, kafkatest.Options{Config: map[string]string{"log.cleaner.backoff.ms": "200"}})
	c.CreateTopic(t, Topic("flow"), Slots, map[string]string{"cleanup.policy": "compact"})
	cl, err := kafka.Open(c.Config("target", kafkatest.AdminUser), kafka.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	m := &monthly{t: t, cl: cl, s: open(t, cl), at: time.Now().Add(-30 * 24 * time.Hour)}
	for i := range monthLanes {
		m.last = append(m.last, recordOf("topic-"+strconv.Itoa(i/20), int32(i%20), offsets.Source(i)))
	}
	m.advance(1, 0)
	if got := m.settings(); got["segment.ms"] != "604800000" || got["segment.bytes"] != "1073741824" {
		t.Fatalf("not what earlier versions made: %v", got)
	}
	if err := m.s.Shorten(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := m.settings(); got["segment.ms"] != "300000" || got["segment.bytes"] != "16777216" || got["min.cleanable.dirty.ratio"] != "0.1" {
		t.Fatalf("settings %v", got)
	}
	m.advance(30*4-1, 6*time.Hour)
	m.advance(300, time.Second)
	// The segment that the broker writes to; and of those before it one record of each lane, and what is not worth a run of
	// the cleaner.
	const most = (300 + 30) * monthLanes
	for m.read().records > most {
		if t.Context().Err() != nil {
			t.Fatalf("more than %d records are read", most)
		}
	}
	start := time.Now()
	s := open(t, cl)
	got, err := s.Load(t.Context(), s.All())
	took := time.Since(start)
	if err != nil || len(got) != monthLanes {
		t.Fatalf("%d lanes, %v", len(got), err)
	}
	for _, want := range m.last {
		if got[want.Lane].Position != want.Position {
			t.Errorf("%v is at %+v, want %+v", want.Lane, got[want.Lane].Position, want.Position)
		}
	}
	t.Logf("%d lanes, %d records of %d written: loaded in %v", len(got), m.read().records, m.wrote, took)
}
