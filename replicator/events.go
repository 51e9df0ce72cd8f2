package replicator

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"
)

// eventsKept is how many events a daemon remembers.
const eventsKept = 1000

// Event is something that happened: whatever the log says at info or above.
type Event struct {
	Seq         uint64 // 1 is the first of this process
	At          time.Time
	Level       slog.Level
	Flow, Topic string // "": it is about none, or several
	Partition   int32  // -1: about none, or several
	Text        string
}

// events remembers the newest events.
type events struct {
	mu   sync.Mutex
	last uint64  // Seq of the newest; 0: none
	ring []Event // event n is at (n-1) % eventsKept
}

func (e *events) add(ev Event) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.last++
	ev.Seq = e.last
	if len(e.ring) < eventsKept {
		e.ring = append(e.ring, ev)
		return
	}
	e.ring[(ev.Seq-1)%eventsKept] = ev
}

// after are the events behind seq that are still remembered, the oldest first.
func (e *events) after(seq uint64) []Event {
	e.mu.Lock()
	defer e.mu.Unlock()
	if seq > e.last {
		seq = 0 // of an earlier process
	}
	seq = max(seq, e.last-uint64(len(e.ring)))
	out := make([]Event, 0, e.last-seq)
	for ; seq < e.last; seq++ {
		out = append(out, e.ring[seq%eventsKept])
	}
	return out
}

// Events are those behind after (0: all) that are still remembered, the oldest
// first. After one that was never told, for it is of an earlier process, all are.
func (d *Daemon) Events(after uint64) []Event { return d.events.after(after) }

// recorder is a log handler that keeps what it sees at info or above as events,
// whatever the level of the log is. The log says what happens once, with flow,
// topic and partition: there need be no second list of places that tell it.
type recorder struct {
	slog.Handler
	events *events
	attrs  []slog.Attr // of With
}

func (r *recorder) Enabled(ctx context.Context, level slog.Level) bool {
	return level >= slog.LevelInfo || r.Handler.Enabled(ctx, level)
}

func (r *recorder) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &recorder{r.Handler.WithAttrs(attrs), r.events, slices.Concat(r.attrs, attrs)}
}

func (r *recorder) WithGroup(name string) slog.Handler {
	return &recorder{r.Handler.WithGroup(name), r.events, r.attrs}
}

func (r *recorder) Handle(ctx context.Context, rec slog.Record) error {
	if rec.Level >= slog.LevelInfo {
		r.events.add(r.event(rec))
	}
	if !r.Handler.Enabled(ctx, rec.Level) {
		return nil
	}
	return r.Handler.Handle(ctx, rec)
}

// event makes a sentence of a log line: the cause behind a colon, details in
// parentheses.
func (r *recorder) event(rec slog.Record) Event {
	ev := Event{At: rec.Time, Level: rec.Level, Partition: -1}
	text := rec.Message
	var details []string
	take := func(a slog.Attr) bool {
		v := a.Value.Resolve()
		switch a.Key {
		case "flow":
			ev.Flow = v.String()
		case "topic":
			ev.Topic = v.String()
		case "partition":
			if n, ok := v.Any().(int64); ok {
				ev.Partition = int32(n)
			}
		case "err", "error", "reason":
			text += ": " + v.String()
		default:
			if v.Kind() == slog.KindTime {
				v = slog.StringValue(v.Time().UTC().Format(time.RFC3339))
			}
			details = append(details, fmt.Sprintf("%s %s", strings.ReplaceAll(a.Key, "_", " "), v))
		}
		return true
	}
	for _, a := range r.attrs {
		take(a)
	}
	rec.Attrs(take)
	if len(details) > 0 {
		text += " (" + strings.Join(details, ", ") + ")"
	}
	ev.Text = strings.ToValidUTF8(text, "?")
	return ev
}
