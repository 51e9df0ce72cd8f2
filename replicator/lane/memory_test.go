package lane

import (
	"testing"
	"unsafe"

	"github.com/kferry/kferry/offsets"
	"github.com/kferry/kferry/replicator/budget"
)

// usedAgain tells whether buffer was given back: who asks for as much gets it then, and keeps it.
func usedAgain(buffer []byte) bool {
	return unsafe.SliceData(budget.Room(cap(buffer))) == unsafe.SliceData(buffer)
}

// Memory of a response is used again only once nobody can read it any more: after
// acks that came at once, and not after anything that went wrong, for then the
// client may be reading what it failed to send, or the producer what Next showed.
func TestMemoryIsUsedAgain(t *testing.T) {
	const size = 5 << 20 // no other test has such
	send := func(l *Lane) {
		w, _ := l.Next(0)
		if w.Again {
			l.Again(w.Gen)
		} else {
			l.Send(w.Gen, w.Items[0], 1)
		}
	}
	ack := func(l *Lane) { l.Ack(offsets.UnknownTarget, 0) }
	at := func(p int64) Position { return Position{Source: offsets.Source(p), Producer: 1} }
	for name, c := range map[string]struct {
		again bool
		do    func(l *Lane)
	}{
		"acked":                    {true, func(l *Lane) { send(l); ack(l); send(l); ack(l) }},
		"one still waits":          {false, func(l *Lane) { send(l); ack(l) }},
		"one is still on the wire": {false, func(l *Lane) { send(l); ack(l); send(l) }},
		"sent twice": {false, func(l *Lane) {
			send(l)
			l.Fail()
			l.Rewind()
			send(l)
			ack(l)
			send(l)
			ack(l)
		}},
		"shown, then started anew": {false, func(l *Lane) { l.Next(0); l.Shut(); l.Start(Plan{Position: at(0)}, 0, nil) }},
		"shown, then shed":         {false, func(l *Lane) { l.Next(0); l.Shed() }},
		"shown, then rewound, sent by another": {false, func(l *Lane) {
			l.Next(0)
			l.Shut()
			l.Rewind()
			send(l)
			ack(l)
			send(l)
			ack(l)
		}},
		"shed while one is on the wire": {false, func(l *Lane) { send(l); l.Shed(); ack(l) }},
	} {
		b := budget.New(size)
		buffer := budget.Room(size)[:size]
		b.Adjust(size)
		hold := b.Hold(size).Lend(buffer)
		l := New(ID{"t", 0}, "t")
		l.Start(Plan{Position: at(0)}, 0, nil)
		items := []Item{
			{Bytes: buffer[:100], First: 0, Next: 1, Records: 1, Hold: hold.Keep()},
			{Bytes: buffer[100:200], First: 1, Next: 2, Records: 1, Hold: hold.Keep()},
		}
		gen, _, _, _, _ := l.Fetch()
		if !l.Put(gen, items, 2, 0, 0, 0) {
			t.Fatal(name)
		}
		hold.Release()
		c.do(l)
		if got := usedAgain(buffer); got != c.again {
			t.Errorf("%s: used again: %v", name, got)
		}
	}
}

// What was shown before a rewind cannot be sent after it: another may have sent it.
func TestRewindVoidsWhatWasShown(t *testing.T) {
	l := New(ID{"t", 0}, "t")
	l.Start(Plan{Position: Position{Producer: 1}}, 0, nil)
	gen, _, _, _, _ := l.Fetch()
	l.Put(gen, []Item{{Bytes: []byte("batch"), Next: 1, Records: 1}}, 1, 0, 0, 0)
	w, _ := l.Next(0)
	l.Shut()
	l.Rewind()
	if _, ok := l.Send(w.Gen, w.Items[0], 1); ok {
		t.Error("it was sent")
	}
}
