package lane

import (
	"testing"

	"github.com/kferry/kferry/offsets"
)

// TestFind follows one lane: offset by offset, from before its first start on.
func TestFind(t *testing.T) {
	l := New(ID{"t", 0}, "t")
	stage := func(at offsets.Source, want Stage) Sight {
		t.Helper()
		s := l.Find(at)
		if s.Stage != want {
			t.Errorf("offset %d: stage %d, want %d", at, s.Stage, want)
		}
		return s
	}
	stage(5, Unplaced)
	l.Left(Position{Source: 9})
	if s := stage(5, Carried); s.Mapped {
		t.Error("a map before the first start")
	}
	stage(9, Ahead) // where the source ends is not known

	l.Start(Plan{Position: Position{Source: 10, Target: 100}}, 100, nil)
	gen, _, _, _, _ := l.Fetch()
	l.Put(gen, []Item{
		{Bytes: []byte{0}, First: 10, Next: 13, Records: 2}, // 10 and 11; 12 is a marker
		{Bytes: []byte{1}, First: 13, Next: 14, Records: 1},
		{Bytes: []byte{2}, First: 14, Next: 15, Records: 1},
	}, 15, 0, 0, 0)
	send(l)
	l.Ack(100, 0)
	send(l)
	l.Seen(0, 20, 0, nil)
	if s := stage(9, Before); s.Began != 10 || !s.Mapped {
		t.Errorf("began at %d", s.Began)
	}
	if s := stage(11, Carried); s.Found != offsets.Exact || s.First != 101 || s.Last != 101 {
		t.Errorf("%+v", s)
	}
	if s := stage(12, Carried); s.Found != offsets.Gap {
		t.Errorf("%+v", s)
	}
	stage(13, InFlight)
	stage(14, Held)
	stage(15, Ahead)
	stage(19, Ahead)
	stage(20, Beyond)
	l.Begins(17)
	stage(16, Removed)
	stage(17, Ahead)
	stage(11, Carried) // whatever became of it on the source

	l.Shed()
	stage(14, Removed) // it was here, and the source has it no more
	l.Shut()
	l.Fail()
	l.Drop()
	stage(13, Removed)
}

// TestMapHolds: where records are on the target is told by a lane whose logs are known
// to be those of its map, and by no other.
func TestMapHolds(t *testing.T) {
	l := New(ID{"t", 0}, "t")
	holds := func(want bool) {
		t.Helper()
		_, _, _, _, translated := l.Translate(11)
		_, _, last := l.Last()
		for what, got := range map[string]bool{"Translate": translated, "Last": last, "Map": l.Map() != nil, "Find": l.Find(11).Mapped} {
			if got != want {
				t.Errorf("%s tells %v", what, got)
			}
		}
	}
	begin := func() {
		m := offsets.NewMap(10, 100)
		m.Append(10, 100, 5)
		l.Start(Plan{Position: Position{Source: 15, Target: 105}}, 105, m)
	}
	holds(false)
	begin()
	holds(true)
	for state, want := range map[State]bool{Starting: false, Running: true, Waiting: true, Paused: true, Stopped: false} {
		l.Set(state, "")
		holds(want)
	}
	l.Set(Stopped, "the target refused a record") // it is still the lane's log
	if s := l.Find(11); s.Stage != Carried {
		t.Errorf("stage %d", s.Stage)
	}
	l.Unmap()
	for state := range States {
		l.Set(state, "")
		holds(false)
	}
	l.Set(Stopped, "made anew")
	if s := l.Find(11); s.Stage != Unplaced {
		t.Errorf("stage %d", s.Stage)
	}
	if _, m := l.Offsets(); m == nil {
		t.Error("there is nothing to go on with")
	}
	begin()
	holds(true)
}
