package lane

import (
	"math"

	"github.com/kferry/kferry/offsets"
)

// deliver hands the oldest batch on the wire to the broker; the leader may be
// elsewhere, and then says so or not at all, or it may refuse the batch. Where the lane
// counts on nothing being refused, a leader that is elsewhere stays there.
func (m *model) deliver(away bool) {
	for _, p := range m.wire {
		if p.state != under {
			continue
		}
		if away || m.away {
			m.away = m.terms.Foretold
			p.state = refused
		} else {
			m.store(p)
			if p.state == stored && m.r.IntN(10) == 0 {
				p.state = lost // stored, and the reply says that nobody knows
			}
		}
		return
	}
}

// store is the broker: idempotent, remembers five batches, takes any first
// sequence of a producer it does not know.
func (m *model) store(p *packet) {
	end := p.seq
	for range len(p.records) - 1 {
		end = after(end)
	}
	if m.known {
		for _, old := range m.five {
			if old.seq == p.seq && len(old.records) == len(p.records) {
				m.done.duplicates++
				p.state, p.base = stored, old.base
				return
			}
		}
		if p.seq != after(m.last) {
			p.state = outOfSeq
			return
		}
	}
	p.state, p.base = stored, offsets.Target(len(m.log))
	seq := p.seq
	for _, from := range p.records {
		m.log = append(m.log, record{true, from, seq})
		seq = after(seq)
	}
	m.known, m.last, m.newest, m.forgot = true, end, p.newest, false
	m.five = append(m.five, *p)
	m.five = m.five[max(0, len(m.five)-5):]
}

// after is the sequence number that follows seq.
func after(seq int32) int32 {
	if seq == math.MaxInt32 {
		return 0
	}
	return seq + 1
}

func (m *model) foreign() {
	for range m.r.IntN(3) {
		m.log = append(m.log, record{})
	}
}

// memory is for how long a broker remembers a producer, ms.
const memory = 100

// forget is a broker that looks for producers whose last batch is old: at any moment,
// whatever the lane is doing.
func (m *model) forget() {
	if m.known && m.newest < m.now-memory {
		m.known, m.five, m.forgot = false, nil, true
		m.done.forgotten++
	}
}

// age lets time pass: all that was written until now becomes old. Nobody keeps a batch on
// the wire for so long. A process that did not hear of a late batch meanwhile is one that
// was away, too.
func (m *model) age() {
	for len(m.dead) > 0 {
		m.late()
	}
	for _, p := range m.wire {
		if p.state == under {
			p.state, m.broken = lost, true
		}
	}
	m.now += 2 * memory
	if m.surprised {
		m.crash()
	}
}

// check compares what the lane says with what the target has.
func (m *model) check() {
	s := m.l.Snapshot()
	records := 0 // of the source below the position
	for _, b := range m.source {
		records += int(max(0, min(s.Source-b.first, offsets.Source(b.count))))
	}
	mine := 0
	for at, r := range m.log {
		switch {
		case !r.ours:
		case r.from >= s.Source && offsets.Target(at) < s.Target:
			m.fatalf("source %d is at target %d, below the position %+v", r.from, at, s.Position)
		case r.from < s.Source:
			mine++
		}
	}
	seq := m.start
	for range records {
		seq = after(seq)
	}
	if mine != records || seq != s.Sequence {
		m.fatalf("position %+v stands for %d records and sequence %d, the target has %d of them", s.Position, records, seq, mine)
	}
	m.checkOffsets(s.Source)
	l := m.l
	if l.probe && l.out > 1 || l.out > Depth || len(l.flight) > Depth || l.pos.Source > l.sent || l.sent > l.fetched || l.back > l.out ||
		l.skip > 0 && len(l.flight)+len(l.waiting) > 0 {
		m.fatalf("invariant: %+v", l)
	}
	held := int64(0)
	for _, items := range [][]Item{l.waiting, l.flight} {
		for _, it := range items {
			held += int64(len(it.Bytes))
		}
	}
	if held != s.Held {
		m.fatalf("holds %d bytes, says %d", held, s.Held)
	}
	if m.reply != nil {
		for _, it := range m.reply.items {
			held += int64(len(it.Bytes))
		}
	}
	if m.b.Used() != held {
		m.fatalf("the budget says %d bytes, %d are held", m.b.Used(), held)
	}
}

// checkOffsets holds the lane's offset map against the target's log, both ways.
func (m *model) checkOffsets(pos offsets.Source) {
	for s := m.source[0].first; s <= pos+1; s++ {
		to, found, _ := m.l.offsets.Translate(s)
		again := 0
		for at, r := range m.log {
			switch {
			case !r.ours:
			case r.from >= s && offsets.Target(at) < to:
				m.fatalf("source %d translates to target %d (%s): source %d at %d would be skipped", s, to, found, r.from, at)
			case r.from < s && offsets.Target(at) >= to:
				again++
			}
		}
		m.judge(found, again, "source %d to target %d", s, to)
	}
	for t := range offsets.Target(len(m.log)) + 1 {
		to, found, _ := m.l.offsets.Reverse(t)
		again := 0
		for at, r := range m.log {
			switch {
			case !r.ours || r.from >= pos:
			case offsets.Target(at) >= t && r.from < to:
				m.fatalf("target %d translates to source %d (%s): source %d at %d would be skipped", t, to, found, r.from, at)
			case offsets.Target(at) < t && r.from >= to:
				again++
			}
		}
		m.judge(found, again, "target %d to source %d", t, to)
	}
}

func (m *model) judge(found offsets.Found, again int, format string, args ...any) {
	switch found {
	case offsets.Exact, offsets.Gap:
		m.done.exact++
		if again > 0 {
			m.fatalf(format+" (%s): %d records would be read again", append(args, found, again)...)
		}
	case offsets.Floor:
		m.done.floors++
	}
}

// readBack settles the lane's doubt, if it has one, or the later part of it.
func (m *model) readBack() {
	d, ok := m.l.Doubt()
	if !ok {
		return
	}
	var found []offsets.Piece
	for at, r := range m.log {
		if !r.ours || r.from < d.Source || r.from >= d.Source+offsets.Source(d.SourceLen) {
			continue
		}
		found = append(found, offsets.Piece{Source: r.from, SourceLen: 1, Target: offsets.Target(at), TargetLen: 1, Records: 1})
	}
	if len(found) == 0 {
		return // nothing was carried before the map was lost
	}
	if n := len(found); after(m.log[found[n-1].Target].seq) != d.Sequence {
		m.fatalf("doubt %+v: the last of %d records does not come before its sequence", d, n)
	}
	found = found[m.r.IntN(len(found)):]
	if err := m.l.Settle(d, found); err != nil {
		m.fatalf("settle %+v with %+v: %v", d, found, err)
	}
	m.done.settled++
}
