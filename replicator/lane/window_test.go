package lane

import (
	"slices"
	"testing"

	"github.com/kferry/kferry/offsets"
	"github.com/kferry/kferry/replicator/budget"
)

// two returns a running lane with one batch waiting behind one in flight, which
// was acknowledged if open.
func two(open bool) *Lane {
	l := New(ID{"t", 0}, "t")
	l.Start(Plan{}, 0, nil)
	gen, _, _, _, _ := l.Fetch()
	var items []Item
	for i := range offsets.Source(3) {
		items = append(items, Item{Bytes: []byte{byte(i)}, First: i, Next: i + 1, Records: 1})
	}
	l.Put(gen, items, 3, 0, 0, 0)
	send(l)
	if open {
		l.Ack(offsets.UnknownTarget, 0)
		send(l)
	}
	return l
}

func send(l *Lane) bool {
	w, ok := l.Next(0)
	if !ok {
		return false
	}
	if w.Again {
		return l.Again(w.Gen)
	}
	_, ok = l.Send(w.Gen, w.Items[0], 1)
	return ok
}

// The producer looks (Next), joins batches for a while, and books (Send or
// Again). What happens in between must close the window.
func TestWindowCloses(t *testing.T) {
	for _, c := range []struct {
		name   string
		meddle func(*Lane)
	}{
		{"fail", func(l *Lane) { l.Fail() }},
		{"shut", func(l *Lane) { l.Shut() }},
		{"shed", (*Lane).Shed},
		{"shed and fetched again", func(l *Lane) {
			l.Shed()
			gen, from, _, _, _ := l.Fetch()
			l.Put(gen, []Item{{First: from, Next: from + 9, Records: 9}}, from+9, 0, 0, 0)
		}},
		{"drop", func(l *Lane) { l.Fail(); l.Drop() }},
		{"start", func(l *Lane) { l.Fail(); l.Start(Plan{}, 0, nil) }},
	} {
		l := two(true)
		w, ok := l.Next(0)
		if !ok || w.Again {
			t.Fatalf("%s: %+v, %v", c.name, w, ok)
		}
		c.meddle(l)
		if _, ok := l.Send(w.Gen, w.Items[0], 1); ok {
			t.Errorf("sent after %s", c.name)
		}
	}
}

func TestWindowClosesToAgain(t *testing.T) {
	for _, c := range []struct {
		name   string
		meddle func(*Lane)
	}{
		{"shut", func(l *Lane) { l.Shut() }},
		{"shed", (*Lane).Shed},
		{"drop", (*Lane).Drop},
		{"again", func(l *Lane) { send(l) }},
	} {
		l := two(false)
		l.Fail()
		l.Rewind()
		w, ok := l.Next(0)
		if !ok || !w.Again {
			t.Fatalf("%s: %+v, %v", c.name, w, ok)
		}
		c.meddle(l)
		if l.Again(w.Gen) {
			t.Errorf("sent again after %s", c.name)
		}
	}
}

// Started anew while a reply is outstanding, the reply would be taken for that
// of a batch of the new start.
func TestStartNeedsASettledLane(t *testing.T) {
	l := two(true)
	defer func() {
		if recover() == nil {
			t.Error("started with a batch on the wire")
		}
	}()
	l.Start(Plan{}, 0, nil)
}

// A batch in flight of a lane that shed must not keep the fetch response alive
// that it came in.
func TestShedCopiesWhatFlies(t *testing.T) {
	l := New(ID{"t", 0}, "t")
	l.Start(Plan{}, 0, nil)
	gen, _, _, _, _ := l.Fetch()
	response := []byte("abc-----")
	l.Put(gen, []Item{{Bytes: response[:3], First: 0, Next: 1, Records: 1}}, 1, 0, 0, 0)
	send(l)
	l.Fail()
	l.Shed()
	l.Rewind()
	w, _ := l.Next(0)
	got := w.Items[0].Bytes
	clear(response)
	if string(got) != "abc" || cap(got) > 3 {
		t.Errorf("got %q of %d bytes", got, cap(got))
	}
}

// Dropped with batches that failed, it starts clean.
func TestDropSettles(t *testing.T) {
	l := two(true)
	l.Fail()
	l.Drop()
	if !l.Shut() {
		t.Error("not settled")
	}
	l.Start(Plan{}, 0, nil)
	if s := l.Snapshot(); s.Held != 0 || send(l) {
		t.Errorf("holds %d bytes", s.Held)
	}
}

func ack(l *Lane, base offsets.Target) (settled bool) {
	settled, _ = l.Ack(base, 0)
	return settled
}

// Replies that come after the window was shut count until all are in.
func TestSettles(t *testing.T) {
	l := New(ID{"t", 0}, "t")
	l.Start(Plan{}, 0, nil)
	gen, _, _, _, _ := l.Fetch()
	var items []Item
	for i := range offsets.Source(4) {
		items = append(items, Item{First: i, Next: i + 1, Records: 1})
	}
	l.Put(gen, items, 4, 0, 0, 0)
	send(l)
	l.Ack(offsets.UnknownTarget, 0)
	for range 3 {
		send(l)
	}
	for i, step := range []struct {
		do   func() bool
		want bool
	}{
		{l.Shut, false},
		{func() bool { return ack(l, 1) }, false},
		{l.Fail, false},
		{func() bool { return ack(l, 3) }, true},
		{l.Shut, true},
	} {
		if got := step.do(); got != step.want {
			t.Errorf("step %d: settled %v", i, got)
		}
	}
}

// Memory is given back once the target has the batch, but not of one that was
// sent twice: the client may still read from the request that failed. Nor of
// one that was copied out of it.
func TestMemoryComesBack(t *testing.T) {
	const size = 6 << 20 // no other test has such
	for _, c := range []struct {
		name   string
		meddle func(*Lane)
		want   int
	}{
		{"sent once", func(*Lane) {}, 1},
		{"sent twice", func(l *Lane) { l.Fail(); l.Rewind(); send(l) }, 0},
		{"copied", func(l *Lane) { l.Shed() }, 0},
	} {
		l := New(ID{"t", 0}, "t")
		l.Start(Plan{}, 0, nil)
		gen, _, _, _, _ := l.Fetch()
		buffer := budget.Room(size)[:size]
		b := budget.New(size)
		b.Adjust(size)
		l.Put(gen, []Item{{Bytes: buffer, Next: 1, Records: 1, Hold: b.Hold(size).Lend(buffer)}}, 1, 0, 0, 0)
		send(l)
		c.meddle(l)
		if usedAgain(buffer) {
			t.Errorf("%s: given back before the ack", c.name)
		}
		l.Ack(offsets.UnknownTarget, 0)
		back := 0
		for usedAgain(buffer) {
			back++
		}
		if back != c.want {
			t.Errorf("%s: given back %d times, want %d", c.name, back, c.want)
		}
	}
}

func TestJoinRuns(t *testing.T) {
	run := func(first, n int64) offsets.Run { return offsets.Run{First: offsets.Source(first), N: n} }
	item := func(first int64, records int32, runs ...offsets.Run) Item {
		return Item{First: offsets.Source(first), Records: records, Runs: runs}
	}
	for name, c := range map[string]struct {
		items []Item
		want  []offsets.Run
	}{
		"one":                {[]Item{item(5, 3)}, nil},
		"following":          {[]Item{item(5, 3), item(8, 1)}, nil},
		"a gap between":      {[]Item{item(5, 3), item(9, 1), item(10, 2)}, []offsets.Run{run(5, 3), run(9, 3)}},
		"a gap inside first": {[]Item{item(5, 3, run(5, 2), run(8, 1)), item(9, 1)}, []offsets.Run{run(5, 2), run(8, 2)}},
		"a gap inside last":  {[]Item{item(5, 3), item(8, 2, run(8, 1), run(10, 1))}, []offsets.Run{run(5, 4), run(10, 1)}},
	} {
		if got := JoinRuns(c.items); !slices.Equal(got, c.want) || (got == nil) != (c.want == nil) {
			t.Errorf("%s: got %v, want %v", name, got, c.want)
		}
	}
}

// A lane that forgets what waits reads on behind what is in flight, and tells the source's
// broker whose the offset before that is: with another epoch the broker would take it for
// a log that was cut.
func TestShedKeepsTheLeader(t *testing.T) {
	l := New(ID{"t", 0}, "t")
	l.Start(Plan{Position: Position{Leader: 3}}, 0, nil)
	gen, _, _, _, _ := l.Fetch()
	l.Put(gen, []Item{{First: 0, Next: 1, Records: 1, Leader: 4}}, 1, 0, 4, 0)
	send(l)
	l.Put(gen, []Item{{First: 1, Next: 2, Records: 1, Leader: 5}}, 2, 0, 5, 0)
	for _, want := range []Leader{4, 4} {
		l.Shed()
		if _, from, leader, _, _ := l.Fetch(); from != 1 || leader != want {
			t.Errorf("reads on from %d behind leader %d, want 1 and %d", from, leader, want)
		}
	}
	ack(l, 0)
	l.Shed()
	if _, from, leader, _, _ := l.Fetch(); from != 1 || leader != 4 {
		t.Errorf("with nothing in flight: from %d behind leader %d", from, leader)
	}
}
