package lane

import (
	"testing"

	"github.com/kferry/kferry/offsets"
)

// TestUndecided: a lane is held up by a transaction once it has come to it, since the
// transaction was first seen, and until it ends.
func TestUndecided(t *testing.T) {
	l := New(ID{"t", 0}, "t")
	l.Start(Plan{Position: Position{Source: 10}}, 0, nil)
	want := func(what string, at offsets.Source, since int64) {
		t.Helper()
		if u := l.Snapshot().Undecided; u.At != at || u.Since != since {
			t.Errorf("%s: %+v", what, u)
		}
	}
	want("nothing is known", 0, 0)
	l.Stable(-1, 50, true, 1)
	want("a broker that does not tell", 0, 0)
	l.Stable(20, 50, false, 2)
	want("it has not come so far", 0, 0)
	gen, _, _, _, _ := l.Fetch()
	l.Put(gen, nil, 20, 0, 0, 0) // what was before is not to be carried
	want("it stands there", 20, 2)
	l.Blame(19, "somebody")
	l.Blame(20, "shop")
	l.Stable(20, 60, true, 3)
	if want("it still does", 20, 2); l.Snapshot().Undecided.By != "shop" {
		t.Error("whose it is was forgotten")
	}
	l.Stable(30, 60, false, 4)
	want("the next one, farther on", 0, 0)
	l.Stable(30, 60, true, 5)
	want("compaction left nothing before it", 30, 4)
	l.Set(Stopped, "")
	want("it is stopped", 0, 0)
	l.Set(Running, "")
	l.Stable(60, 60, true, 6)
	want("all have ended", 0, 0)
	l.Stable(60, 61, true, 7)
	l.Start(Plan{Position: Position{Source: 60}}, 0, nil)
	want("it finds its place anew", 0, 0)
}
