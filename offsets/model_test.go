package offsets

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"testing"
)

// TestMapModel takes maps through random histories and holds each answer
// against a dumb model: the list of all records and where they are.
func TestMapModel(t *testing.T) {
	seeds := uint64(1500)
	if testing.Short() {
		seeds = 300
	}
	seen := map[string]int{}
	for seed := range seeds {
		r := rand.New(rand.NewPCG(seed, 1))
		m := newModel(t, r.IntN, seen)
		for range 60 {
			m.step()
			m.check()
		}
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
	// A model in which something never happens proves nothing about it.
	want := []string{"thinned", "filled", "the map was behind", "the position was behind", "went back"}
	for _, s := range steps {
		want = append(want, s.name)
	}
	for f := Exact; f <= Beyond; f++ {
		want = append(want, "translate "+f.String(), "reverse "+f.String(), "record "+f.String())
	}
	for _, w := range want {
		if seen[w] == 0 {
			t.Errorf("nothing was %q in %d seeds", w, seeds)
		}
	}
}

func FuzzMap(f *testing.F) {
	for seed := range uint64(20) {
		r := rand.New(rand.NewPCG(seed, 2))
		b := make([]byte, 200)
		for i := range b {
			b[i] = byte(r.Uint32())
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) > 400 {
			return
		}
		pick := func(n int) int {
			if len(b) == 0 {
				return 0
			}
			v := int(b[0]) % n
			b = b[1:]
			return v
		}
		m := newModel(t, pick, map[string]int{})
		for len(b) > 0 {
			m.step()
			m.check()
		}
	})
}

type model struct {
	t    testing.TB
	pick func(n int) int
	seen map[string]int
	log  []string

	m       *Map
	records []pos // live on both sides, ascending
	next    pos   // of the two logs
	stored  []byte
}

func newModel(t testing.TB, pick func(int) int, seen map[string]int) *model {
	m := &model{t: t, pick: pick, seen: seen, next: pos{int64(pick(20)), int64(pick(20))}}
	m.m = NewMap(Source(m.next.src), Target(m.next.tgt))
	if m.m.limit = 4 + pick(12); pick(4) == 0 {
		m.m.limit = 0 // never full here
	}
	m.stored, _ = m.m.MarshalBinary()
	return m
}

var steps = []struct {
	name string
	run  func(*model) string
	odds int
}{
	{"run", (*model).run, 12},
	{"marker", (*model).marker, 8},
	{"foreign", (*model).foreign, 6},
	{"unknown ack", (*model).unknown, 2},
	{"runs", (*model).runs, 3},
	{"crash", (*model).crash, 3},
	{"relearn", (*model).relearn, 3},
	{"reach", (*model).reach, 2},
	{"fill", (*model).fill, 2},
	{"truncate", (*model).truncate, 1},
	{"lose", (*model).loss, 1},
	{"store", (*model).store, 2},
}

func (m *model) step() {
	odds := 0
	for _, s := range steps {
		odds += s.odds
	}
	n := m.pick(odds)
	for _, s := range steps {
		if n -= s.odds; n < 0 {
			was, before := m.m, m.m.Clone()
			what := s.run(m)
			if what == "" {
				return
			}
			if len(m.m.pieces) < len(before.pieces) && s.name == "run" {
				m.seen["thinned"]++
			}
			m.log = append(m.log, s.name+" "+what)
			m.seen[s.name]++
			if m.m == was && m.m.Version() == before.Version() && !grew(before, m.m) {
				m.fail("the version stays, of map %+v", *before)
			}
			return
		}
	}
}

// Grew tells that all that happened is that the last exact piece grew and the
// end advanced.
func grew(before, after *Map) bool {
	n := len(before.pieces)
	if n == 0 || len(after.pieces) != n {
		return len(after.pieces) == n && after.origin == before.origin && after.end.src >= before.end.src && after.end.tgt == before.end.tgt
	}
	p, q := before.pieces[n-1], after.pieces[n-1]
	more := q.n - p.n
	return after.origin == before.origin && reflect.DeepEqual(before.pieces[:n-1], after.pieces[:n-1]) &&
		p.src.at == q.src.at && p.tgt.at == q.tgt.at && (q == p || p.exact() && q.exact() && more > 0) &&
		after.end.src >= before.end.src+more && after.end.tgt == before.end.tgt+more
}

// Write lets n records be written, contiguous on both sides.
func (m *model) write(n int) (Source, Target) {
	at := m.next
	for range n {
		m.records = append(m.records, m.next)
		m.next.src, m.next.tgt = m.next.src+1, m.next.tgt+1
	}
	return Source(at.src), Target(at.tgt)
}

func (m *model) run() string {
	n := 1 + m.pick(6)
	s, t := m.write(n)
	m.m.Append(s, t, int64(n))
	return fmt.Sprint(s, t, n)
}

func (m *model) marker() string {
	m.next.src += int64(1 + m.pick(3))
	if m.pick(2) == 0 {
		m.m.Advance(Source(m.next.src))
	}
	return fmt.Sprint(m.next.src)
}

func (m *model) foreign() string {
	m.next.tgt += int64(1 + m.pick(4))
	return fmt.Sprint(m.next.tgt)
}

func (m *model) unknown() string {
	n := 1 + m.pick(4)
	s, _ := m.write(n)
	m.m.Append(s, UnknownTarget, int64(n))
	return fmt.Sprint(s, n)
}

// Runs: a batch with gaps, learned as a lane does.
func (m *model) runs() string {
	t, n := Target(m.next.tgt), 1+m.pick(4)
	var runs []Run
	for range n {
		m.next.src += int64(m.pick(2))
		s, _ := m.write(1)
		runs = AppendRun(runs, Run{s, 1})
	}
	m.next.src += int64(m.pick(2))
	if m.pick(4) == 0 {
		t = UnknownTarget
	}
	for _, r := range runs {
		if m.m.Append(r.First, t, r.N); t != UnknownTarget {
			t += Target(r.N)
		}
	}
	m.m.Advance(Source(m.next.src))
	return fmt.Sprint(runs, t)
}

// Crash: a process goes on with the map as it was stored once and a position
// that was stored some other time. What the target has beyond that is counted.
// Its end may be learned later.
func (m *model) crash() string {
	for range m.pick(4) {
		m.write(1 + m.pick(3))
		m.next.src += int64(m.pick(2))
		m.next.tgt += int64(m.pick(2) * m.pick(2))
	}
	got := &Map{limit: m.m.limit}
	if err := got.UnmarshalBinary(m.stored); err != nil {
		m.t.Fatal(err)
	}
	position := m.somewhere(got.origin.src, m.next.src)
	told := m.between(got.end.src, position)
	if m.pick(3) == 0 {
		told = -1
	}
	behind := "the map"
	if position < got.end.src {
		behind = "the position"
	}
	m.seen[behind+" was behind"]++
	m.m = got
	m.m.Hole(Source(position), told)
	m.m.Hole(Source(m.next.src), m.between(m.m.end.src, m.next.src))
	if m.pick(2) == 0 {
		m.reach()
	}
	return fmt.Sprint(position, told, m.next)
}

// Between is how many records have source offsets in [from, to).
func (m *model) between(from, to int64) (n int64) {
	for _, r := range m.records {
		if from <= r.src && r.src < to {
			n++
		}
	}
	return n
}

func (m *model) reach() string {
	m.m.Reach(Target(m.next.tgt))
	return fmt.Sprint(m.next.tgt)
}

// Relearn: what was learned once comes again, and may go on further.
func (m *model) relearn() string {
	if len(m.records) == 0 {
		return ""
	}
	i := m.pick(len(m.records))
	from, n := m.records[i], 1
	for i+n < len(m.records) && m.records[i+n] == (pos{from.src + int64(n), from.tgt + int64(n)}) {
		n++
	}
	if i+n == len(m.records) && m.next == (pos{from.src + int64(n), from.tgt + int64(n)}) {
		more := m.pick(3)
		m.write(more)
		n += more
	} else {
		n = 1 + m.pick(n)
	}
	m.m.Append(Source(from.src), Target(from.tgt), int64(n))
	return fmt.Sprint(from, n)
}

func (m *model) fill() string {
	holes := m.m.Holes()
	if len(holes) == 0 {
		return ""
	}
	h := holes[m.pick(len(holes))]
	var found []Piece
	for _, r := range m.records {
		if r.src >= int64(h.Source) && r.src < int64(h.Source)+h.SourceLen {
			found = append(found, Piece{Source(r.src), 1, Target(r.tgt), 1, 1})
		}
	}
	if err := m.m.Fill(h, found...); err != nil {
		m.t.Errorf("Fill(%+v, %+v): %v", h, found, err)
	}
	m.seen["filled"]++
	return fmt.Sprint(h, len(found))
}

func (m *model) keep(f func(pos) bool) {
	var left []pos
	for _, r := range m.records {
		if f(r) {
			left = append(left, r)
		}
	}
	m.records = left
}

func (m *model) somewhere(from, to int64) int64 {
	return from + int64(m.pick(int(max(0, to-from))+1))
}

func (m *model) truncate() string {
	s := m.somewhere(max(0, m.m.origin.src-2), m.next.src)
	m.keep(func(r pos) bool { return r.src < s })
	m.next.src = s
	m.m.Truncate(Source(s))
	m.stored, _ = m.m.MarshalBinary() // the one of before says wrong things now
	return fmt.Sprint(s)
}

// Loss: the target loses its end. The lane goes on where it was, or carries
// again what was lost; the map sees it by the next records. Of an open hole it
// would not, for it does not know how far that goes.
func (m *model) loss() string {
	if m.m.isOpen() {
		m.reach()
	}
	t, lost := m.somewhere(max(0, m.m.origin.tgt-2), m.next.tgt), m.next.src
	m.keep(func(r pos) bool {
		if r.tgt >= t {
			lost = min(lost, r.src)
		}
		return r.tgt < t
	})
	m.next.tgt = t
	if m.pick(2) == 0 {
		m.seen["went back"]++
		m.next.src = m.somewhere(lost, m.next.src)
		m.m.Truncate(Source(m.next.src))
	}
	what := fmt.Sprint(t, " ", m.run())
	m.stored, _ = m.m.MarshalBinary() // the one of before says wrong things now
	return what
}

func (m *model) store() string {
	b, err := m.m.MarshalBinary()
	if err != nil {
		m.t.Fatal(err)
	}
	got := &Map{limit: m.m.limit}
	if err := got.UnmarshalBinary(b); err != nil {
		m.t.Fatal(err)
	}
	got.version = m.m.version // not stored
	if len(got.pieces) == 0 && len(m.m.pieces) == 0 {
		got.pieces = m.m.pieces
	}
	if !reflect.DeepEqual(got, m.m) {
		m.t.Fatalf("stored %+v, got back %+v", m.m, got)
	}
	m.stored, m.m = b, got
	return fmt.Sprint(len(b))
}

func (m *model) check() {
	m.t.Helper()
	if err := invariants(m.m); err != nil {
		m.t.Fatalf("%v\n%s", err, m.story())
	}
	m.checkSide("translate", m.records, m.m.origin, m.m.end, m.next.src, func(x int64) (int64, Found, int64) {
		to, f, again := m.m.Translate(Source(x))
		return int64(to), f, again
	})
	m.checkRecords()
	var swapped []pos
	for _, r := range m.records {
		swapped = append(swapped, r.swap())
	}
	m.checkSide("reverse", swapped, m.m.origin.swap(), m.m.end.swap(), m.next.tgt, func(x int64) (int64, Found, int64) {
		to, f, again := m.m.Reverse(Target(x))
		return int64(to), f, again
	})
}

func (p pos) swap() pos { return pos{p.tgt, p.src} }

// checkRecords: a record is where Record says, and where it says so for sure there is one.
func (m *model) checkRecords() {
	m.t.Helper()
	at := map[int64]int64{}
	for _, r := range m.records {
		at[r.src] = r.tgt
	}
	for x := max(0, m.m.origin.src-2); x <= max(m.next.src, m.m.end.src)+2; x++ {
		first, last, found := m.m.Record(Source(x))
		m.seen["record "+found.String()]++
		to, there := at[x]
		inside := x >= m.m.origin.src && x < m.m.end.src
		switch {
		case inside != (found == Exact || found == Floor || found == Gap):
			m.fail("Record(%d) is %v", x, found)
		case inside && there && (found == Gap || to < int64(first) || last != UnknownTarget && to > int64(last)):
			m.fail("Record(%d) = %d to %d, %v: it is at %d", x, first, last, found, to)
		case found == Exact && (!there || first != last):
			m.fail("Record(%d) = %d to %d, %v is not there", x, first, last, found)
		case found == Floor && last != UnknownTarget && last < first:
			m.fail("Record(%d) = %d to %d", x, first, last)
		}
	}
}

func (m *model) checkSide(name string, records []pos, origin, end pos, next int64, translate func(int64) (int64, Found, int64)) {
	m.t.Helper()
	last := int64(-1 << 60)
	for x := max(0, origin.src-2); x <= max(next, end.src)+2; x++ {
		to, found, again := translate(x)
		m.seen[name+" "+found.String()]++
		twice, skipped, there := int64(0), int64(0), x == end.src
		for _, r := range records {
			switch {
			case r.src < x && r.tgt >= to:
				twice++
			case r.src >= x && r.tgt < to:
				skipped++
			}
			there = there || r == pos{x, to}
		}
		switch {
		case skipped > 0:
			m.fail("%s(%d) = %d, %v skips %d records", name, x, to, found, skipped)
		case twice > again:
			m.fail("%s(%d) = %d, %v reads %d again, not %d", name, x, to, found, twice, again)
		case again != 0 && found != Floor && found != Beyond || again <= 0 && found == Floor:
			m.fail("%s(%d) = %d, %v reads %d again", name, x, to, found, again)
		case found == Exact && !there:
			m.fail("%s(%d) = %d, %v is not there", name, x, to, found)
		case (found == Before) != (x < origin.src):
			m.fail("%s(%d) = %d, %v: the origin is %d", name, x, to, found, origin.src)
		case (found == Beyond) != (x > end.src) && !(name == "reverse" && m.m.isOpen()):
			m.fail("%s(%d) = %d, %v: the end is %d", name, x, to, found, end.src)
		case to < last:
			m.fail("%s(%d) = %d falls from %d", name, x, to, last)
		}
		last = to
	}
}

func (m *model) fail(format string, args ...any) {
	m.t.Helper()
	m.t.Fatalf(format+"\n%s", append(args, m.story())...)
}

func (m *model) story() string {
	s := ""
	for _, l := range m.log {
		s += l + "\n"
	}
	return s + fmt.Sprintf("records %v\nmap %+v", m.records, *m.m)
}

// Invariants that the fields of Map and piece name.
func invariants(m *Map) error {
	at := m.origin
	for i, p := range m.pieces {
		switch {
		case p.src.len <= 0 || p.tgt.len <= 0 || p.n < 0 || p.n > p.src.len || p.n > p.tgt.len:
			return fmt.Errorf("piece %d: %+v", i, p)
		case p.src.at < at.src || p.tgt.at < at.tgt:
			return fmt.Errorf("piece %d: %+v begins before %+v", i, p, at)
		case p.open() && i != len(m.pieces)-1:
			return fmt.Errorf("piece %d: %+v is open", i, p)
		}
		if at = (pos{p.src.end(), p.tgt.end()}); p.open() {
			at.tgt = p.tgt.at + p.n
		}
	}
	if m.end.src < at.src || m.end.tgt < at.tgt {
		return fmt.Errorf("end %+v is before %+v", m.end, at)
	}
	if len(m.pieces) > m.max() {
		return fmt.Errorf("%d pieces", len(m.pieces))
	}
	return nil
}
