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
