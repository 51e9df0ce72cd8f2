package offsets

import (
	"fmt"
	"math"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
)

// say gives answers as "1=exact 101" or "7=floor 103 again 3".
func say(to int64, found Found, again int64) string {
	s := fmt.Sprintf("%v %d", found, to)
	if again != 0 {
		s += fmt.Sprintf(" again %d", again)
	}
	return s
}

func (m *Map) to(s Source) string {
	t, found, again := m.Translate(s)
	return say(int64(t), found, again)
}

func (m *Map) back(t Target) string {
	s, found, again := m.Reverse(t)
	return say(int64(s), found, again)
}

type (
	to   map[Source]string
	back map[Target]string
)

func wantMap(t *testing.T, m *Map, to to, back back) {
	t.Helper()
	if err := invariants(m); err != nil {
		t.Error(err)
	}
	for s, want := range to {
		if got := m.to(s); got != want {
			t.Errorf("Translate(%d): %s, want %s", s, got, want)
		}
	}
	for s, want := range back {
		if got := m.back(s); got != want {
			t.Errorf("Reverse(%d): %s, want %s", s, got, want)
		}
	}
	if t.Failed() {
		t.Logf("map %+v", *m)
	}
}

func TestMap(t *testing.T) {
	for name, c := range map[string]struct {
		learn func(m *Map) // begins at 10, 100
		to    to
		back  back
		holes []Piece
	}{
		"nothing yet": {
			learn: func(*Map) {},
			to:    to{9: "before 100", 10: "exact 100", 12: "beyond 100 again 2"},
			back:  back{99: "before 10", 100: "exact 10", 103: "beyond 10 again 3"},
		},
		"runs that meet are one piece": {
			learn: func(m *Map) { m.Append(10, 100, 5); m.Append(15, 105, 5) },
			to:    to{0: "before 100", 10: "exact 100", 15: "exact 105", 19: "exact 109", 20: "exact 110", 21: "beyond 110 again 1"},
			back:  back{100: "exact 10", 109: "exact 19", 110: "exact 20", 111: "beyond 20 again 1"},
		},
		"marker on the source": {
			learn: func(m *Map) { m.Append(10, 100, 5); m.Append(16, 105, 5) },
			to:    to{14: "exact 104", 15: "gap 105", 16: "exact 105", 20: "exact 109"},
			back:  back{104: "exact 14", 105: "exact 16", 109: "exact 20"},
		},
		"foreign records on the target": {
			learn: func(m *Map) { m.Append(10, 100, 5); m.Append(15, 107, 5) },
			to:    to{14: "exact 104", 15: "exact 107"},
			back:  back{104: "exact 14", 105: "gap 15", 106: "gap 15", 107: "exact 15"},
		},
		"a gap before all": {
			learn: func(m *Map) { m.Append(12, 103, 5) },
			to:    to{10: "gap 100", 11: "gap 100", 12: "exact 103"},
			back:  back{100: "gap 10", 102: "gap 10", 103: "exact 12"},
		},
		"markers at the end": {
			learn: func(m *Map) { m.Append(10, 100, 5); m.Advance(18); m.Advance(17) },
			to:    to{15: "gap 105", 17: "gap 105", 18: "exact 105", 19: "beyond 105 again 1"},
			back:  back{105: "exact 18"},
		},
		"learned twice": {
			learn: func(m *Map) { m.Append(10, 100, 5); m.Append(12, 102, 2); m.Append(13, 103, 4); m.Append(8, 98, 9) },
			to:    to{9: "before 100", 16: "exact 106", 17: "exact 107", 18: "beyond 107 again 1"},
		},
		"written twice": {
			learn: func(m *Map) { m.Append(10, 100, 5); m.Append(12, 105, 6) },
			to:    to{12: "exact 102", 14: "exact 104", 15: "exact 108", 18: "exact 111"},
			back:  back{105: "gap 15", 108: "exact 15"},
		},
		"open hole": {
			learn: func(m *Map) { m.Append(10, 100, 5); m.Hole(20, 3) },
			to:    to{14: "exact 104", 15: "gap 105", 17: "floor 105 again 2", 18: "floor 106 again 3", 20: "floor 108 again 5", 21: "beyond 108 again 6"},
			back:  back{104: "exact 14", 105: "gap 15", 106: "floor 15 again 1", 200: "floor 15 again 5"},
		},
		"open hole of nobody knows what": {
			learn: func(m *Map) { m.Hole(20, -1) },
			to:    to{15: "floor 100 again 5", 20: "floor 100 again 10"},
			back:  back{100: "gap 10", 150: "floor 10 again 10"},
		},
		"hole closed by the next run": {
			learn: func(m *Map) { m.Append(10, 100, 5); m.Hole(20, 3); m.Append(20, 109, 5) },
			to:    to{15: "gap 105", 17: "floor 105 again 2", 19: "floor 107 again 2", 20: "exact 109"},
			back:  back{105: "gap 15", 107: "floor 16 again 2", 109: "exact 20"},
			holes: []Piece{{15, 5, 105, 4, 3}},
		},
		"hole that turns out exact": {
			learn: func(m *Map) { m.Append(10, 100, 5); m.Hole(20, 5); m.Reach(110); m.Append(20, 110, 1) },
			to:    to{17: "exact 107", 20: "exact 110"},
		},
		"hole without records": {
			learn: func(m *Map) { m.Append(10, 100, 5); m.Hole(20, -1); m.Reach(105) },
			to:    to{15: "gap 105", 20: "exact 105"},
		},
		"hole too full": {
			learn: func(m *Map) { m.Hole(12, 50); m.Reach(102) },
			to:    to{11: "exact 101"},
		},
		"acks without an offset": {
			learn: func(m *Map) {
				m.Append(10, 100, 5)
				m.Append(15, UnknownTarget, 2)
				m.Append(18, UnknownTarget, 2)
				m.Append(20, 110, 1)
			},
			to:    to{14: "exact 104", 15: "gap 105", 19: "floor 108 again 2", 20: "exact 110"},
			holes: []Piece{{15, 5, 105, 5, 4}},
		},
		"reach without a hole": {
			learn: func(m *Map) { m.Append(10, 100, 5); m.Reach(109); m.Reach(3); m.Append(15, 109, 5) },
			to:    to{14: "exact 104", 15: "exact 109"},
			back:  back{106: "gap 15"},
		},
		"hole as short on the target as it can be": {
			learn: func(m *Map) { m.Reach(105); m.Hole(20, 4); m.Reach(109); m.Append(20, 109, 2) },
			to:    to{9: "before 100", 10: "gap 105", 13: "floor 105 again 3", 18: "floor 107 again 2", 20: "exact 109"},
			back:  back{105: "gap 10", 107: "floor 12 again 2", 109: "exact 20"},
			holes: []Piece{{10, 10, 105, 4, 4}},
		},
		"source truncated": {
			learn: func(m *Map) { m.Append(10, 100, 5); m.Append(16, 105, 5); m.Truncate(18); m.Append(18, 110, 2) },
			to:    to{17: "exact 106", 18: "exact 110", 20: "exact 112", 21: "beyond 112 again 1"},
			back:  back{106: "exact 17", 107: "gap 18", 110: "exact 18"},
		},
		"source truncated in a hole": {
			learn: func(m *Map) { m.Hole(20, 6); m.Reach(106); m.Truncate(17) },
			to:    to{10: "gap 100", 16: "floor 102 again 4", 17: "exact 106"},
			holes: []Piece{{10, 7, 100, 6, 3}},
		},
		"source truncated before the origin": {
			learn: func(m *Map) { m.Append(10, 100, 5); m.Truncate(7) },
			to:    to{6: "before 105", 7: "exact 105", 8: "beyond 105 again 1"},
		},
		"target lost records": {
			learn: func(m *Map) { m.Append(10, 100, 5); m.Append(16, 105, 5); m.Append(21, 103, 2) },
			to:    to{12: "exact 102", 13: "gap 103", 20: "gap 103", 21: "exact 103", 23: "exact 105"},
			back:  back{102: "exact 12", 103: "exact 21"},
		},
		"target lost a piece": {
			learn: func(m *Map) { m.Append(10, 100, 5); m.Append(16, 105, 5); m.Append(17, 105, 2) },
			to:    to{14: "exact 104", 16: "gap 105", 17: "exact 105", 19: "exact 107", 21: "beyond 107 again 2"},
		},
		"target lost records, and some of them come again": {
			learn: func(m *Map) { m.Append(10, 100, 10); m.Append(15, 103, 2) },
			to:    to{12: "exact 102", 13: "gap 103", 15: "exact 103", 17: "exact 105", 18: "beyond 105 again 1"},
			back:  back{102: "exact 12", 103: "exact 15"},
		},
		"target lost records, which come again": {
			learn: func(m *Map) {
				m.Append(10, 100, 5)
				m.Append(16, 105, 5)
				m.Truncate(13)
				m.Append(13, 104, 2)
			},
			to: to{12: "exact 102", 13: "exact 104", 15: "exact 106", 16: "beyond 106 again 1"},
		},
		"extremes": {
			learn: func(m *Map) { m.Append(10, 100, 5); m.Hole(20, -1) },
			to:    to{math.MinInt64: "before 100", math.MaxInt64: fmt.Sprint("beyond 105 again ", math.MaxInt64-15)},
			back:  back{math.MinInt64: "before 10", math.MaxInt64: fmt.Sprint("beyond 20 again ", int64(math.MaxInt64-105))},
		},
	} {
		t.Run(name, func(t *testing.T) {
			m := NewMap(10, 100)
			c.learn(m)
			wantMap(t, m, c.to, c.back)
			if c.holes != nil && !reflect.DeepEqual(m.Holes(), c.holes) {
				t.Errorf("Holes() = %v, want %v", m.Holes(), c.holes)
			}
		})
	}
}

func TestFill(t *testing.T) {
	m := NewMap(0, 0)
	m.Append(0, 0, 5)
	m.Hole(15, 6)
	m.Append(15, 20, 5)
	before, version, hole := m.Clone(), m.Version(), m.Holes()[0]
	for why, found := range map[string][]Piece{
		"fit":     {{14, 2, 8, 2, 2}},
		"fit ":    {{5, 3, 5, 3, 3}, {7, 3, 8, 3, 3}},
		"fit  ":   {{5, 3, 5, 3, 4}, {9, 3, 8, 3, 3}},
		"fit   ":  {{5, 0, 5, 1, 0}},
		"fit    ": {{6, math.MaxInt64, 6, math.MaxInt64, 6}},
		"records": {{5, 3, 5, 3, 3}},
	} {
		if err := m.Fill(hole, found...); err == nil || !strings.Contains(err.Error(), strings.TrimSpace(why)) {
			t.Errorf("Fill(%v): %v, want an error about %q", found, err, why)
		}
	}
	if err := m.Fill(Piece{5, 10, 5, 15, 7}); err == nil || !strings.Contains(err.Error(), "no hole") {
		t.Errorf("Fill of another hole: %v", err)
	}
	if !reflect.DeepEqual(m, before) {
		t.Errorf("a refused Fill changed %+v into %+v", before, m)
	}
	if err := m.Fill(hole, Piece{5, 3, 5, 3, 3}, Piece{9, 6, 14, 6, 6}); err != nil {
		t.Fatal(err)
	}
	if m.Version() == version || len(m.pieces) != 2 {
		t.Errorf("version %d, map %+v", m.Version(), m)
	}
	wantMap(t, m, to{4: "exact 4", 7: "exact 7", 8: "gap 8", 9: "exact 14", 14: "exact 19", 15: "exact 20"}, nil)
}

// While the version stays, a stored map need not be written again.
func TestVersion(t *testing.T) {
	m := NewMap(0, 0)
	m.Append(0, 0, 5)
	version := m.Version()
	m.Append(5, 5, 5)
	m.Append(3, 3, 5)
	m.Advance(12)
	m.Truncate(12)
	m.Reach(9)
	if m.Version() != version {
		t.Errorf("the last piece grew: version %d became %d", version, m.Version())
	}
	for name, change := range map[string]func(m *Map){
		"a new piece":  func(m *Map) { m.Append(13, 10, 1) },
		"a hole":       func(m *Map) { m.Hole(14, 1) },
		"reach":        func(m *Map) { m.Reach(12) },
		"truncate":     func(m *Map) { m.Truncate(8) },
		"lost records": func(m *Map) { m.Append(12, 8, 2) },
	} {
		c := m.Clone()
		if change(c); c.Version() == version {
			t.Errorf("%s: the version stays %d", name, version)
		}
	}
}

// A stored map is brought up to a later position by a hole of the records that
// were written in between, counted or not, and by the log's end.
func TestOlderMap(t *testing.T) {
	older := NewMap(0, 0)
	older.Append(0, 0, 5)
	b := marshal(t, older)
	for name, c := range map[string]struct {
		position Source
		n        int64
		end      Target
		to       to
	}{
		"contiguous":           {10, 5, 10, to{4: "exact 4", 7: "exact 7", 9: "exact 9", 10: "exact 10"}},
		"markers alone":        {12, 0, 5, to{4: "exact 4", 5: "gap 5", 11: "gap 5", 12: "exact 5"}},
		"foreign ones alone":   {5, 0, 9, to{4: "exact 4", 5: "exact 9"}},
		"a marker":             {15, 9, 14, to{5: "gap 5", 9: "floor 8 again 1", 14: "floor 13 again 1", 15: "exact 14"}},
		"as many of both":      {15, 9, 15, to{5: "gap 5", 9: "floor 8 again 2", 15: "exact 15"}},
		"nobody counted":       {15, -1, 15, to{4: "exact 4", 5: "gap 5", 9: "floor 5 again 4", 15: "exact 15"}},
		"position of before":   {3, -2, 3, to{4: "exact 4", 5: "exact 5"}},
		"position of the same": {5, 0, 5, to{4: "exact 4", 5: "exact 5", 6: "beyond 5 again 1"}},
	} {
		t.Run(name, func(t *testing.T) {
			m := unmarshal(t, b)
			m.Hole(c.position, c.n)
			m.Reach(c.end)
			wantMap(t, m, c.to, nil)
		})
	}
	// A map that was lost.
	m := NewMap(0, 0)
	m.Hole(5, -1)
	m.Reach(5)
	wantMap(t, m, to{0: "gap 0", 3: "floor 0 again 3", 5: "exact 5"}, nil)
}

func TestCloneSharesNothing(t *testing.T) {
	m := NewMap(0, 0)
	m.Append(0, 0, 5)
	c := m.Clone()
	m.Append(5, 5, 5)
	m.Append(11, 10, 5)
	wantMap(t, c, to{5: "exact 5", 6: "beyond 5 again 1"}, nil)
}

// Thinning reads at most as many records again as the joined stretch has gap
// offsets, spreads that evenly over the past, and leaves the newer half alone.
func TestThinning(t *testing.T) {
	const transactions, size = 100_000, 20
	m := NewMap(0, 0)
	var s, to int64
	for range transactions {
		m.Append(Source(s), Target(to), size-1)
		s, to = s+size, to+size-1
	}
	if err := invariants(m); err != nil {
		t.Fatal(err)
	}
	if n := len(m.pieces); n < MaxPieces/2 {
		t.Errorf("only %d pieces are left", n)
	}
	for _, p := range m.pieces[len(m.pieces)-MaxPieces/2:] {
		if !p.exact() {
			t.Fatalf("%+v is among the newest", p)
		}
	}
	worst := int64(0)
	for x := int64(0); x < s; x += 7 {
		truth := x/size*(size-1) + min(x%size, size-1)
		got, _, again := m.Translate(Source(x))
		if int64(got) > truth || truth-int64(got) > again {
			t.Fatalf("Translate(%d) = %d again %d, want %d", x, got, again, truth)
		}
		worst = max(worst, again)
	}
	if limit := int64(4 * transactions / (MaxPieces / 4)); worst > limit {
		t.Errorf("up to %d records again of %d, want at most %d", worst, to, limit)
	}
	b := marshal(t, m)
	t.Logf("%d transactions: %d pieces, %d bytes, at most %d of %d records again", transactions, len(m.pieces), len(b), worst, to)
}

// What stretches wide apart would lose by joining is kept to the last.
func TestThinningKeepsWideGaps(t *testing.T) {
	m := NewMap(0, 0)
	m.limit = 16
	src, tgt := Source(0), Target(0)
	for i := range 100 {
		m.Append(src, tgt, 10)
		src, tgt = src+11, tgt+10
		if i%50 == 25 {
			src += 1_000_000
		}
	}
	for x := range src {
		if _, found, again := m.Translate(x); found == Floor && again > 200 {
			t.Fatalf("Translate(%d) reads %d again", x, again)
		}
	}
}

func marshal(t testing.TB, m *Map) []byte {
	t.Helper()
	b, err := m.MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func unmarshal(t testing.TB, b []byte) *Map {
	t.Helper()
	var m Map
	if err := m.UnmarshalBinary(b); err != nil {
		t.Fatal(err)
	}
	return &m
}

// The stored form, byte by byte: it outlives the process.
func TestMarshalBytes(t *testing.T) {
	m := NewMap(1, 2)
	m.Append(1, 2, 100)
	m.Append(102, 105, 300)
	m.Hole(410, 3)
	m.Reach(408)
	m.Hole(415, 2)
	m.Advance(416)
	want := []byte{
		1,    // format
		1, 2, // origin
		4,         // pieces
		0, 0, 100, // exact
		1 << 2, 3, 0xac, 0x02, // exact, behind gaps of 1 and 3
		1, 0, 3, 5, 0, // loose
		2, 0, 2, 3, // open
		1, 2, // to the end
	}
	if got := marshal(t, m); !reflect.DeepEqual(got, want) {
		t.Errorf("stored\n%v, want\n%v", got, want)
	}
	m.version = 0 // not stored
	if got := unmarshal(t, want); !reflect.DeepEqual(got, m) {
		t.Errorf("read\n%+v, want\n%+v", got, m)
	}
}

func TestMarshalRefuses(t *testing.T) {
	for _, m := range []*Map{NewMap(-1, 0), NewMap(0, -1), NewMap(maxOffset+1, 0), NewMap(0, math.MaxInt64)} {
		if b, err := m.MarshalBinary(); err == nil {
			t.Errorf("%+v is stored as %v", m, b)
		}
	}
}

func TestUnmarshalRefuses(t *testing.T) {
	huge := []byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f}
	with := func(head []byte, tail ...byte) []byte {
		return append(append(append([]byte(nil), head...), huge...), tail...)
	}
	for name, b := range map[string][]byte{
		"of format":    {},
		"later kferry": {2, 0, 0, 0, 0, 0},
		"ends early":   {1, 0, 0, 0, 0},
		"follow":       {1, 0, 0, 0, 0, 0, 0},
		"it has 9":     with([]byte{1, 0, 0}, 0, 0, 0), // pieces
		"too large":    with([]byte{1}, 0, 0, 0, 0),
		"too large ":   append([]byte{1, 1, 0, 1, 0xfc}, append(huge[1:], 0, 1, 0, 0)...),
		"too large  ":  with([]byte{1, 0, 0, 1, 0, 0}, 0, 0),
		"without":      {1, 0, 0, 1, 0, 0, 0, 0, 0},
		"without ":     {1, 0, 0, 1, 1, 0, 0, 1, 0, 0, 0},
		"a kind":       {1, 0, 0, 1, 3, 0, 1, 0, 0},
		"an open one":  {1, 0, 0, 2, 2, 0, 1, 0, 0, 0, 1, 0, 1},
		"last hole":    {1, 0, 0, 1, 2, 0, 2, 0, 0, 1},
	} {
		m := NewMap(3, 4)
		err := m.UnmarshalBinary(b)
		want := strings.TrimSpace(name)
		if want == "it has 9" {
			want = "it has 9223372036854775807 pieces"
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: %v, want an error about %q", b, err, want)
		}
		if !reflect.DeepEqual(m, NewMap(3, 4)) {
			t.Errorf("%v was refused and changed the map to %+v", b, m)
		}
	}
}

func FuzzUnmarshalMap(f *testing.F) {
	for seed := range uint64(10) {
		r := rand.New(rand.NewPCG(seed, 3))
		m := newModel(f, r.IntN, map[string]int{})
		for range 40 {
			m.step()
		}
		f.Add(marshal(f, m.m))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var m, again Map
		if m.UnmarshalBinary(b) != nil {
			return
		}
		if err := invariants(&m); err != nil {
			t.Fatal(err)
		}
		if err := again.UnmarshalBinary(marshal(t, &m)); err != nil || !reflect.DeepEqual(m, again) {
			t.Fatalf("%+v came back as %+v: %v", m, again, err)
		}
		for _, x := range []int64{-1, 0, 1, m.origin.src, m.origin.tgt, m.end.src, m.end.tgt, m.end.src / 2, math.MaxInt64} {
			m.Translate(Source(x))
			m.Reverse(Target(x))
		}
		m.Append(Source(m.end.src/2), Target(m.end.tgt/2), 5)
		m.Truncate(Source(m.end.src / 2))
		m.Hole(Source(m.end.src+1), 1)
		m.Append(Source(m.end.src+1), Target(m.end.tgt/2), 1)
		if err := invariants(&m); err != nil {
			t.Fatal(err)
		}
	})
}

func TestAppendDoesNotAllocate(t *testing.T) {
	m := NewMap(0, 0)
	m.Append(0, 0, 1)
	next := int64(1)
	if n := testing.AllocsPerRun(1000, func() {
		m.Append(Source(next), Target(next), 1)
		next++
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkAppend(b *testing.B) {
	for name, gap := range map[string]Source{"grows": 0, "pieces": 1} {
		b.Run(name, func(b *testing.B) {
			m, src, tgt := NewMap(0, 0), Source(0), Target(0)
			b.ReportAllocs()
			for b.Loop() {
				m.Append(src, tgt, 100)
				src, tgt = src+100+gap, tgt+100
			}
		})
	}
}
