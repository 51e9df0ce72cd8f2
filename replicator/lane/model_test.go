package lane

import (
	"encoding/binary"
	"errors"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/kferry/kferry/offsets"
	"github.com/kferry/kferry/replicator/budget"
)

// TestModel runs lanes against a dumb model of a broker that shares no code with
// them. Whatever the order of puts, sends, lost replies, broken connections,
// leader moves and process crashes, and whoever else writes to the target: its
// log holds every record of the source once, in order.
func TestModel(t *testing.T) {
	seeds := uint64(3000)
	if testing.Short() {
		seeds = 500
	}
	var total done
	for seed := range seeds {
		m := newModel(t, seed)
		for range 150 {
			m.step()
			m.check()
		}
		m.finish()
		total.add(m.done)
	}
	// A model in which something never happens proves nothing about it.
	for name, n := range map[string]int{
		"resends": total.again, "merges": total.merged, "failures": total.failed, "crashes": total.crashed,
		"skips on resume": total.skipped, "scans for a forgotten id": total.scanned, "voided replies": total.void,
		"duplicates at the broker": total.duplicates, "late batches of a dead process": total.late,
		"resumes after a refused sequence": total.resumed, "sheds": total.shed, "producers forgotten": total.forgotten, "batches resolved from what was sent": total.carried, "positions that jump a gap": total.jumped,
		"exact translations": total.exact, "translations that are floors": total.floors, "doubts settled": total.settled,
	} {
		if n == 0 {
			t.Errorf("no %s in %d seeds", name, seeds)
		}
	}
}

type done struct{ again, merged, failed, crashed, skipped, scanned, void, duplicates, late, resumed, shed, jumped, exact, floors, settled, forgotten, carried int }

func (d *done) add(o done) {
	d.again += o.again
	d.merged += o.merged
	d.failed += o.failed
	d.crashed += o.crashed
	d.skipped += o.skipped
	d.scanned += o.scanned
	d.void += o.void
	d.duplicates += o.duplicates
	d.late += o.late
	d.resumed += o.resumed
	d.shed += o.shed
	d.jumped += o.jumped
	d.exact += o.exact
	d.floors += o.floors
	d.settled += o.settled
	d.forgotten += o.forgotten
	d.carried += o.carried
}

const modelProducer = 7

// record is one record in the target's log.
type record struct {
	ours bool
	from offsets.Source // where it came from
	seq  int32
}

// batchOf is a batch on the source: count records from first on; next follows
// it, with a gap where markers of transactions stood.
type batchOf struct {
	first, next offsets.Source
	count       int32
	old         bool // written long ago
}

// packet is a batch on the wire or its reply.
type packet struct {
	seq     int32
	records []offsets.Source
	newest  int64
	state   packetState
	base    offsets.Target
}

type packetState int8

const (
	under packetState = iota // on its way to the broker
	stored
	refused  // the leader is elsewhere: not stored, may be sent again
	outOfSeq // refused for its sequence
	lost     // the connection broke: nobody knows
)

// model is the world around one lane.
type model struct {
	t    *testing.T
	seed uint64
	r    *rand.Rand
	done done

	source []batchOf
	start  int32 // sequence of the first record

	now    int64
	terms  Terms
	log    []record
	known  bool          // the broker remembers the producer
	forgot bool          // it did once, and nothing was stored since
	newest int64         // of the last batch that it stored
	away   bool          // the leader is elsewhere
	broken bool          // the connection is
	last   int32         // its last sequence
	five   []packet      // its last five batches
	wire   []*packet     // of the connection, oldest first; replied to in order
	dead   []*packet     // of processes that crashed; they may still arrive
	first  *packet       // the first that failed since the lane was whole
	reply  *pendingReply // a fetch that was asked for and not handed out

	l         *Lane
	b         *budget.Budget
	saved     Position
	mapped    *offsets.Map // stored now and then
	at        Position     // where the lane was then
	leaver    bool         // the lane was shut from outside
	surprised bool         // a batch of a dead process arrived since the lane last asked the target
}

type pendingReply struct {
	gen     uint64
	items   []Item
	next    offsets.Source
	skipped int64
}

func newModel(t *testing.T, seed uint64) *model {
	m := &model{t: t, seed: seed, r: rand.New(rand.NewPCG(seed, 1)), b: budget.New(math.MaxInt64), now: 1000}
	m.terms = Terms{Memory: memory, Foretold: m.r.IntN(2) == 0, Limit: math.MaxInt, Ahead: 0}
	share := m.r.IntN(3) // of old batches
	at := offsets.Source(m.r.Int64N(3) * 1000)
	begin := at
	for range 40 {
		n := m.r.Int32N(4) + 1
		next := at + offsets.Source(n)
		if m.r.IntN(4) == 0 {
			next += offsets.Source(m.r.IntN(2) + 1)
		}
		m.source = append(m.source, batchOf{at, next, n, m.r.IntN(4) < 2*share})
		at = next
	}
	if m.r.IntN(2) == 0 {
		m.start = math.MaxInt32 - m.r.Int32N(60)
	}
	m.foreign()
	m.saved = Position{Source: begin, Target: offsets.Target(len(m.log)), Producer: modelProducer, Sequence: m.start}
	m.mapped, m.at = offsets.NewMap(m.saved.Source, m.saved.Target), m.saved
	m.begin()
	return m
}

func (m *model) fatalf(format string, args ...any) {
	m.t.Helper()
	m.t.Fatalf("seed %d: "+format, append([]any{m.seed}, args...)...)
}

// step lets one thing happen. What is to be stored changes only where Moves does.
func (m *model) step() {
	l, moves := m.l, m.l.Moves()
	at, version, doubt := l.Snapshot().Position, l.OffsetsVersion(), l.InDoubt()
	m.happen()
	if l.Moves() == moves && (l.Snapshot().Position != at || l.OffsetsVersion() != version || l.InDoubt() != doubt) {
		m.fatalf("moved from %+v to %+v without a word", at, l.Snapshot().Position)
	}
}

func (m *model) happen() {
	m.forgetsNow()
	switch m.r.IntN(25) {
	case 0, 1, 2:
		m.ask()
	case 3, 4, 5:
		m.hand()
	case 6, 7, 8, 9, 10:
		m.send()
	case 11, 12, 13, 14:
		m.deliver(m.r.IntN(8) == 0)
	case 15, 16, 17:
		m.answer()
	case 18:
		m.breakConnection()
	case 19:
		m.save()
	case 20:
		m.foreign()
	case 21:
		m.late()
	case 22:
		m.shut()
	case 24:
		m.readBack()
	case 23:
		switch m.r.IntN(5) {
		case 0:
			m.crash()
		case 1:
			m.age()
		case 2:
			m.l.Shed()
			m.done.shed++
		}
	}
}

func (m *model) forgetsNow() {
	if m.r.IntN(4) == 0 {
		m.forget()
	}
}

func (m *model) save() {
	if m.r.IntN(4) > 0 {
		m.saved = m.l.Snapshot().Position
	}
	if m.r.IntN(3) == 0 {
		m.at, m.mapped = m.l.Offsets()
	}
}

// ask is a fetch request; its reply is made at once and handed out later.
func (m *model) ask() {
	gen, from, _, skip, ask := m.l.Fetch()
	if ask != math.MaxInt64 {
		m.fatalf("a running lane without a limit has no room")
	}
	m.drop()
	p := &pendingReply{gen: gen, next: from}
	most := m.r.IntN(5) + 1
	for _, s := range m.source {
		if s.next <= from || most == 0 {
			continue
		}
		most--
		n := int32(0) // already there
		if first := from - s.first; first > 0 {
			n = min(int32(first), s.count)
		}
		skips := min(int64(s.count-n), skip)
		n += int32(skips)
		skip -= skips
		p.skipped += skips
		p.next = s.next
		if m.r.IntN(3) == 0 { // the reply ends before the markers
			p.next = s.first + offsets.Source(s.count)
		}
		if n < s.count {
			p.items = append(p.items, m.item(s.first+offsets.Source(n), p.next, s.count-n, s.old))
		}
		if p.next < s.next {
			break
		}
	}
	m.reply = p
}

func (m *model) item(first, next offsets.Source, n int32, old bool) Item {
	it := Item{First: first, Next: next, Records: n, Time: int64(first), Newest: m.now}
	if old {
		it.Newest = 0
	}
	for i := range n {
		it.Bytes = binary.BigEndian.AppendUint64(it.Bytes, uint64(first)+uint64(i))
	}
	m.b.Adjust(int64(len(it.Bytes)))
	it.Hold = m.b.Hold(int64(len(it.Bytes)))
	return it
}

// hand gives the pending reply to the lane.
func (m *model) hand() {
	p := m.reply
	if p == nil {
		return
	}
	m.reply = nil
	before := m.l.Snapshot().Source
	if m.l.Put(p.gen, p.items, p.next, p.skipped, 0, 0) {
		if len(p.items) == 0 && p.skipped == 0 && m.l.Snapshot().Source > before {
			m.done.jumped++
		}
		m.done.skipped += int(p.skipped)
		return
	}
	m.done.void++
	for _, it := range p.items {
		it.Hold.Release()
	}
}

// drop throws the pending reply away: its connection broke.
func (m *model) drop() {
	if m.reply != nil {
		for _, it := range m.reply.items {
			it.Hold.Release()
		}
		m.reply = nil
	}
}

func (m *model) send() {
	w, ok := m.l.Next(m.now)
	if !ok {
		return
	}
	if w.Stale {
		m.first = &packet{state: outOfSeq}
		if m.l.Shut() {
			m.settle()
		}
		return
	}
	it, p := w.Items[0], &packet{}
	if m.broken {
		p.state = lost // it may not be written to another connection than those before it
	}
	if w.Again {
		m.done.again++
		p.seq = it.seq
		if !m.l.Again(w.Gen) {
			m.fatalf("the window of Next is not open to Again")
		}
	} else {
		used := m.r.IntN(len(w.Items)) + 1
		if used > 1 {
			m.done.merged++
			it = Item{First: it.First, Time: it.Time, Newest: it.Newest, Path: Merged}
			for _, x := range w.Items[:used] {
				it.Records += x.Records
				it.Newest = max(it.Newest, x.Newest)
				it.Bytes = append(it.Bytes, x.Bytes...)
			}
			it.Runs = JoinRuns(w.Items[:used])
			it.Hold = w.Items[0].Hold.Split(int64(len(it.Bytes)))
		}
		if m.r.IntN(4) == 0 { // a reply comes between Next and Send
			m.hand()
		}
		c, ok := m.l.Send(w.Gen, it, used)
		if !ok || c.Producer != modelProducer {
			m.fatalf("the window of Next is not open to Send: %+v", c)
		}
		p.seq = c.Sequence
	}
	p.newest = it.Newest
	for b := it.Bytes; len(b) > 0; b = b[8:] {
		p.records = append(p.records, offsets.Source(binary.BigEndian.Uint64(b)))
	}
	m.wire = append(m.wire, p)
}

// answer hands the oldest reply to the lane.
func (m *model) answer() {
	if len(m.wire) == 0 || m.wire[0].state == under {
		return
	}
	p := m.wire[0]
	m.wire = m.wire[1:]
	var settled bool
	if p.state == stored {
		base := p.base
		if m.r.IntN(12) == 0 {
			base = offsets.UnknownTarget
		}
		var err error
		if settled, err = m.l.Ack(base, 0); err != nil {
			m.fatalf("nothing was lost: %v", err)
		}
	} else {
		m.done.failed++
		if m.first == nil {
			m.first = p
		}
		settled = m.l.Fail()
	}
	if settled {
		m.settle()
	}
}

// settle is what the owner of a lane does once it has it back.
func (m *model) settle() {
	if len(m.wire) != 0 {
		m.fatalf("settled with %d batches on the wire", len(m.wire))
	}
	first := m.first
	m.first, m.leaver, m.away, m.broken = nil, false, false, false
	if (first == nil || first.state != outOfSeq) && m.l.Rewindable(m.now) {
		if m.r.IntN(2) == 0 {
			m.l.Shed()
		}
		m.l.Rewind()
		return
	}
	m.done.resumed++
	if m.r.IntN(2) == 0 {
		m.l.Drop()
	}
	m.resume(m.l.Stand(), nil)
}

func (m *model) breakConnection() {
	m.broken = len(m.wire) > 0
	for _, p := range m.wire {
		if p.state != stored || m.r.IntN(2) == 0 {
			p.state = lost
		}
	}
	// Replies of one connection end with the first that is lost.
	for i, p := range m.wire {
		if p.state == lost {
			for _, q := range m.wire[i:] {
				q.state = lost
			}
			break
		}
	}
}

func (m *model) shut() {
	if m.leaver || m.first != nil {
		return
	}
	m.leaver = true
	if m.l.Shut() {
		m.settle()
	}
}

// crash ends the process: only what was saved survives, and packets that are
// still under way.
func (m *model) crash() {
	m.done.crashed++
	for _, p := range m.wire {
		if p.state == under {
			m.dead = append(m.dead, p)
		}
	}
	m.wire, m.first, m.leaver, m.away, m.broken = nil, nil, false, false, false
	m.drop()
	m.b = budget.New(math.MaxInt64)
	m.begin()
}

// late lets a batch of a dead process arrive. It cannot be told from a new one by a
// broker that has forgotten the producer: against that there is no remedy but to notice.
func (m *model) late() {
	if len(m.dead) > 0 {
		p, n := m.dead[0], len(m.log)
		m.dead = m.dead[1:]
		if m.forgot || p.newest < m.now-memory {
			return
		}
		m.store(p)
		if len(m.log) > n {
			m.done.late++
			m.surprised = true
		}
	}
}

func (m *model) begin() {
	m.l = New(ID{"t", 0}, "t")
	if m.at.Source > m.saved.Source {
		m.saved = m.at // a map tells the position, too
	}
	stored := m.mapped.Clone()
	if m.r.IntN(8) == 0 {
		stored = nil // somebody lost it
	}
	m.l.Agree(m.terms)
	m.resume(Stand{Position: m.saved}, Mapped(stored, m.at, m.saved))
}

// resume is what a start does; mp is the map of a process that begins.
func (m *model) resume(stand Stand, mp *offsets.Map) {
	seen := Seen{
		LogStart: m.source[0].first, LogEnd: m.source[len(m.source)-1].next,
		End: offsets.Target(len(m.log)), Known: m.known, Last: m.last,
	}
	plan, err := Resume(stand, seen)
	if errors.Is(err, ErrForgotten) {
		m.done.scanned++
		for _, r := range m.log[stand.Target:] {
			if r.ours {
				seen.Known, seen.Last = true, r.seq
			}
		}
		seen.Read = true
		plan, err = Resume(stand, seen)
	}
	if err != nil || plan.Twice != 0 || plan.Lost != 0 || plan.Search {
		m.fatalf("resume at %+v, seen %+v: %+v, %v", stand, seen, plan, err)
	}
	if plan.Carried > 0 {
		m.done.carried++
	}
	m.saved, m.surprised = plan.Position, false
	m.l.Start(plan, seen.End, mp)
}

// finish lets all arrive without further trouble and looks at the result.
func (m *model) finish() {
	end := m.source[len(m.source)-1].next
	for i := 0; m.l.Snapshot().Source < end; i++ {
		if i == 10000 {
			m.fatalf("stuck: %+v", m.l)
		}
		m.late()
		m.ask()
		m.hand()
		m.send()
		m.deliver(false)
		m.answer()
		m.check()
	}
	var want []offsets.Source
	for _, b := range m.source {
		for i := range b.count {
			want = append(want, b.first+offsets.Source(i))
		}
	}
	i := 0
	for at, r := range m.log {
		if !r.ours {
			continue
		}
		if i == len(want) || r.from != want[i] {
			m.fatalf("target %d holds source %d, want number %d of %d", at, r.from, i, len(want))
		}
		i++
	}
	if i != len(want) {
		m.fatalf("the target has %d records of %d", i, len(want))
	}
	if u := m.b.Used(); u != 0 {
		m.fatalf("%d bytes of the budget are not given back", u)
	}
}
