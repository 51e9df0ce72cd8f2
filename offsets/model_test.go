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
	want := []string{"thinned", "filled", "resumed exactly", "resumed with a hole", "resumed across a truncation", "lose, unsaid"}
	for _, s := range steps {
		want = append(want, s.name)
	}
	for f := Exact; f <= Beyond; f++ {
		want = append(want, "translate "+f.String(), "reverse "+f.String())
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
	{"sparse", (*model).sparse, 3},
	{"crash", (*model).crash, 2},
	{"relearn", (*model).relearn, 3},
	{"reach", (*model).reach, 2},
	{"fill", (*model).fill, 2},
	{"truncate", (*model).truncate, 1},
	{"restart", (*model).restart, 1},
	{"trim", (*model).trim, 2},
	{"lose", (*model).loss, 1},
	{"store", (*model).store, 2},
	{"resume", (*model).resume, 2},
}

func (m *model) step() {
	odds := 0
	for _, s := range steps {
		odds += s.odds
	}
	n := m.pick(odds)
	for _, s := range steps {
		if n -= s.odds; n < 0 {
			pieces := len(m.m.pieces)
			what := s.run(m)
			if what == "" {
				return
			}
			if len(m.m.pieces) < pieces && s.name == "run" {
				m.seen["thinned"]++
			}
			m.log = append(m.log, s.name+" "+what)
			m.seen[s.name]++
			return
		}
	}
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

func (m *model) sparse() string {
	s, t, n := Source(m.next.src), Target(m.next.tgt), 1+m.pick(4)
	for range n {
		m.next.src += int64(m.pick(2))
		m.write(1)
	}
	m.next.src += int64(m.pick(2))
	if m.pick(4) == 0 {
		t = UnknownTarget
	}
	m.m.AppendSparse(s, Source(m.next.src), t, int64(n))
	return fmt.Sprint(s, m.next.src, t, n)
}

// Crash: records are on the target, only how many may be known.
func (m *model) crash() string {
	n := 0
	for range m.pick(4) {
		m.write(1 + m.pick(3))
		m.next.src += int64(m.pick(2))
		m.next.tgt += int64(m.pick(2) * m.pick(2))
	}
	end := Source(m.next.src)
	for _, r := range m.records {
		if r.src >= m.m.end.src {
			n++
		}
	}
	told := int64(n)
	switch m.pick(4) {
	case 0:
		told = -1
	case 1:
		told /= 2
	}
	m.m.Hole(end, told)
	return fmt.Sprint(end, told)
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
	if m.pick(4) == 0 {
		m.m.AppendSparse(Source(from.src), Source(from.src)+Source(n), Target(from.tgt), int64(n))
	} else {
		m.m.Append(Source(from.src), Target(from.tgt), int64(n))
	}
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
	return fmt.Sprint(s)
}

func (m *model) restart() string {
	m.records, m.next.src = nil, int64(m.pick(5))
	m.m.Restart(Source(m.next.src), Target(m.next.tgt))
	return fmt.Sprint(m.next)
}

func (m *model) trim() string {
	s := m.somewhere(m.m.origin.src, m.m.end.src+1)
	s = m.somewhere(m.m.origin.src, s)
	m.m.Trim(Source(s))
	s = min(s, m.m.end.src)
	m.keep(func(r pos) bool { return r.src >= s })
	return fmt.Sprint(s)
}

// Loss: the target loses its end. The lane goes on where it was, or carries
// again what was lost. The map is told; or sees it by the next
// append, if that is of records it did not have.
func (m *model) loss() string {
	t, lost := m.somewhere(max(0, m.m.origin.tgt-2), m.next.tgt), m.next.src
	m.keep(func(r pos) bool {
		if r.tgt >= t {
			lost = min(lost, r.src)
		}
		return r.tgt < t
	})
	m.next.tgt = t
	if seen := len(m.m.Holes()) == 0 && !m.m.isOpen(); seen && m.pick(2) == 0 {
		m.seen["lose, unsaid"]++
		return fmt.Sprint(t, " ", m.run())
	}
	if m.pick(2) == 0 {
		m.next.src = m.somewhere(lost, m.next.src)
	}
	m.m.Lose(Target(t))
	m.m.Truncate(Source(m.next.src))
	return fmt.Sprint(t)
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
	if len(got.pieces) == 0 && len(m.m.pieces) == 0 {
		got.pieces = m.m.pieces
	}
	if !reflect.DeepEqual(got, m.m) {
		m.t.Fatalf("stored %+v, got back %+v", m.m, got)
	}
	m.stored, m.m = b, got
	return fmt.Sprint(len(b))
}

// Resume: a process goes on with the map as it was stored once, and the last position.
func (m *model) resume() string {
	if m.m.isOpen() {
		m.reach() // a lane that resumes has seen the target's end
	}
	end, version := m.m.end, m.m.version
	got := &Map{limit: m.m.limit}
	if err := got.UnmarshalBinary(m.stored); err != nil {
		m.t.Fatal(err)
	}
	was := got.version
	got.Resume(Source(end.src), Target(end.tgt), version)
	switch {
	case was == version:
		m.seen["resumed exactly"]++
		if got.isOpen() || got.end != end {
			m.t.Fatalf("resumed at %+v, want %+v", got.end, end)
		}
	case was>>changeBits != version>>changeBits:
		m.seen["resumed across a truncation"]++
	default:
		m.seen["resumed with a hole"]++
	}
	got.Trim(Source(m.m.origin.src))
	m.m = got
	m.stored, _ = got.MarshalBinary()
	return fmt.Sprint(end)
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
