package lane

import (
	"testing"

	"github.com/kferry/kferry/offsets"
)

// The end of the source: who heard it last is right, and a session that goes on
// confirms it.
func TestEnd(t *testing.T) {
	l := New(ID{"t", 0}, "t")
	l.Start(Plan{Position: Position{Source: 10}}, 0, nil)
	check := func(what string, end offsets.Source, confirmed, lag int64) {
		t.Helper()
		if s := l.Snapshot(); s.End != end || s.Confirmed != confirmed || s.Lag != lag {
			t.Errorf("%s: end %d at %d, lag %d; want %d, %d, %d", what, s.End, s.Confirmed, s.Lag, end, confirmed, lag)
		}
	}
	check("new", -1, 0, -1)
	l.Ends(15, 1000)
	check("asked", 15, 1000, 5)
	l.Ends(13, 900)
	check("an older answer", 15, 1000, 5)
	l.Ends(9, 1100)
	check("truncated", 9, 1100, 0)

	one, two := new(Beat), new(Beat)
	one.Store(1500)
	l.Seen(0, 20, 2000, one)
	check("fetched", 20, 2000, 10)
	one.Store(2500)
	check("the session goes on", 20, 2500, 10)
	l.Ends(19, 2400)
	check("asked before the session's answer", 20, 2500, 10)
	l.Ends(21, 2600)
	check("asked after it", 21, 2600, 11)
	one.Store(2700)
	check("the session again", 21, 2700, 11)

	l.Seen(0, 30, 2800, two)
	one.Store(9000)
	check("another session", 30, 2800, 20)
	l.Unwatched(one)
	two.Store(3000)
	check("the old one lets go late", 30, 3000, 20)
	l.Unwatched(two)
	two.Store(9000)
	check("nobody watches", 30, 3000, 20)

	l.Ends(40, 3000-2*clockStep)
	check("the clock was set back", 40, 3000-2*clockStep, 30)
}

// Where an earlier process left the lane holds until it starts.
func TestLeft(t *testing.T) {
	l := New(ID{"t", 0}, "t")
	l.Ends(15, 1)
	if s := l.Snapshot(); s.Lag != -1 {
		t.Errorf("nobody knows where it is, and lag is %d", s.Lag)
	}
	l.Left(Position{Source: 4})
	if s := l.Snapshot(); s.Lag != 11 || s.Source != 4 {
		t.Errorf("left at 4: %+v", s)
	}
	l.Start(Plan{Position: Position{Source: 6}}, 0, nil)
	l.Left(Position{Source: 4})
	if s := l.Snapshot(); s.Lag != 9 {
		t.Errorf("started: lag is %d", s.Lag)
	}
}

// How old the lag is, is known of what is held, of what was let go, and of what
// somebody has looked up; for the position that it was of, and no other.
func TestOldest(t *testing.T) {
	l := New(ID{"t", 0}, "t")
	l.Start(Plan{}, 0, nil)
	oldest := func(what string, want int64) {
		t.Helper()
		if s := l.Snapshot(); s.Oldest != want {
			t.Errorf("%s: %d, want %d", what, s.Oldest, want)
		}
	}
	put := func(first offsets.Source, time int64) {
		gen, _, _, _, _ := l.Fetch()
		l.Put(gen, []Item{{Bytes: []byte{1}, First: first, Next: first + 1, Records: 1, Time: time}}, first+1, 0, 0, 0)
	}
	send := func() {
		w, _ := l.Next(0)
		l.Send(w.Gen, w.Items[0], 1)
	}
	oldest("new", 0)
	l.Dated(0, 500)
	oldest("looked up", 500)
	put(0, 600)
	oldest("held", 600)
	l.Shed()
	oldest("shed", 600)
	put(0, 600)
	put(1, 700)
	send()
	l.Ack(offsets.UnknownTarget, 0)
	oldest("the next", 700)
	l.Drop()
	oldest("dropped", 700)
	put(1, 700)
	send()
	l.Ack(offsets.UnknownTarget, 0)
	oldest("all is there", 0)
	l.Dated(1, 700)
	oldest("looked up too late", 0)
	l.Dated(2, 800)
	oldest("looked up", 800)
	put(2, -1)
	oldest("a record without a time", 800)
}
