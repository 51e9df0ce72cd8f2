package replicator

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"
)

// What is logged at info or above is an event, whatever the level of the log is.
func TestEvents(t *testing.T) {
	var out bytes.Buffer
	e := new(events)
	log := slog.New(&recorder{Handler: slog.NewTextHandler(&out, &slog.HandlerOptions{Level: slog.LevelWarn}), events: e})
	flow := log.With("flow", "a-b")
	flow.Debug("not to be seen")
	flow.Info("paused", "topic", "t", "by", "ann", "since", time.Unix(0, 0))
	flow.With("topic", "u\xff").Error("lane stopped", "partition", int32(3), "reason", errors.New("it is gone"), "source_offset", int64(7))
	log.WithGroup("g").Warn("cluster unreachable", "at", "a")
	type short struct {
		seq                uint64
		level, flow, topic string
		partition          int32
		text               string
	}
	want := []short{
		{1, "INFO", "a-b", "t", -1, "paused (by ann, since 1970-01-01T00:00:00Z)"},
		{2, "ERROR", "a-b", "u\xff", 3, "lane stopped: it is gone (source offset 7)"},
		{3, "WARN", "", "", -1, "cluster unreachable (at a)"},
	}
	got := e.after(0)
	if len(got) != len(want) {
		t.Fatalf("got %+v", got)
	}
	for i, ev := range got {
		if g := (short{ev.Seq, ev.Level.String(), ev.Flow, ev.Topic, ev.Partition, ev.Text}); g != want[i] || ev.At.IsZero() {
			t.Errorf("got %+v, want %+v", g, want[i])
		}
	}
	if s := out.String(); strings.Contains(s, "paused") || !strings.Contains(s, "lane stopped") || !strings.Contains(s, "g.at=a") {
		t.Errorf("the log has %s", s)
	}
}

func TestEventsAreBounded(t *testing.T) {
	e := new(events)
	for i := range 2*eventsKept + 7 {
		e.add(Event{Text: fmt.Sprint(i + 1)})
	}
	last := uint64(2*eventsKept + 7)
	for _, c := range []struct {
		after uint64
		n     int
	}{{0, eventsKept}, {5, eventsKept}, {last - 3, 3}, {last, 0}, {last + 1, eventsKept}} {
		got := e.after(c.after)
		if len(got) != c.n {
			t.Errorf("after %d: %d events, want %d", c.after, len(got), c.n)
			continue
		}
		for i, ev := range got {
			if want := last - uint64(c.n-1-i); ev.Seq != want || ev.Text != fmt.Sprint(want) {
				t.Errorf("after %d: got %d %q, want %d", c.after, ev.Seq, ev.Text, want)
			}
		}
	}
}
