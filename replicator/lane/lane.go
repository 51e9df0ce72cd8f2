// Package lane decides what one source partition may send next, and knows what
// the target has acknowledged. It does no IO, reads no clock and starts no
// goroutine: same calls in, same answers out.
//
// A batch passes through a lane like this:
//
//	Put        Send           Ack
//	 |  waiting | flight        |
//	 v          v               v
//	[fetched ... sent ....... acked]     positions on the source, right to left
//
// The fetcher calls Put, the producer that owns the lane calls Next, Send, Ack
// and Fail. Both sides may call at the same time.
package lane

import (
	"math"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/kferry/kferry/offsets"
	"github.com/kferry/kferry/replicator/budget"
)

// Depth is how many batches may be in flight once the leader has said yes.
// Kafka remembers the last five batches per producer and partition; a sixth
// could not be recognised as a duplicate after a retry.
const Depth = 5

// ID names a lane within its flow: a partition of the source.
type ID struct {
	Topic     string
	Partition int32
}

// Path tells how a batch came through.
type Path int8

// The ways of a batch, cheapest first.
const (
	Whole   Path = iota // the source's bytes under a changed header
	Merged              // several small batches joined
	Recoded             // decoded and built anew
	Paths               // how many ways there are
)

func (p Path) String() string { return [...]string{"whole", "merged", "recoded", "?"}[min(p, Paths)] }

// Item is one batch on its way.
type Item struct {
	Bytes       []byte         // one v2 batch; owned by the lane from Put on
	First, Next offsets.Source // its first record; where the source goes on after it
	Records     int32          // at least 1
	Runs        []offsets.Run  // the records' source offsets; nil: they follow each other from First on
	Leader      Leader         // of the offset before Next
	Time        int64          // of its first record, milliseconds since 1970
	Newest      int64          // the latest time of a record, milliseconds since 1970
	Path        Path
	// Hold is memory that Bytes keeps in use; released by the lane. It may then be used
	// again, unless the batch was dropped or sent twice (the client may still hold the
	// request that failed): see drop.
	Hold *budget.Hold

	seq int32 // of the first record; set once, by Send, and kept for every resend
}

// Position is what a lane has reached on both sides, and what the next batch
// must carry. It is what progress stores.
type Position struct {
	Source offsets.Source // the target has every data record below
	// Target is a lower bound: all records at or after Source are stored at or
	// above it. It is exact but for the moments named in Resume.
	Target   offsets.Target
	Producer int64
	Epoch    int16
	// Sequence is of the record at Source. With Epoch it names one source record
	// for ever: the epoch goes up by one, and the sequence back to 0, where
	// records are left out of the count.
	Sequence int32
	// Leader is the epoch of the source's leader that wrote the offset before
	// Source. It tells a log that was truncated and has grown again.
	Leader Leader
}

// Leader is a leader epoch plus one; 0 is not known.
type Leader int32

// LeaderOf makes a Leader of an epoch as Kafka counts them, -1 for none.
func LeaderOf(epoch int32) Leader { return Leader(max(epoch, -1) + 1) }

// Epoch is the epoch as Kafka counts it; -1: not known.
func (l Leader) Epoch() int32 { return int32(l) - 1 }

// Lane is one source partition and the window of batches in flight.
type Lane struct {
	ID
	TargetTopic string

	mu sync.Mutex

	state  State
	reason string

	pos     Position       // acknowledged. Invariant: pos.Source <= sent <= fetched
	sent    offsets.Source // the end of flight
	fetched offsets.Source // the end of waiting; fetch from here
	leader  Leader         // of the offset before fetched
	seq     int32          // of the record at sent; counts records; wraps to 0 after MaxInt32
	skip    int64          // data records at fetched that the target has already. Invariant: skip > 0 => nothing waits or flies

	waiting []Item // fetched, not yet sent, oldest first
	base    []Item // empty; where waiting began. nil after a drop: a producer may still be reading what Next showed
	flight  []Item // sent at least once, not yet acknowledged, oldest first; at most Depth
	out     int    // flight[:out] are on the wire, flight[out:] must be sent again
	back    int    // replies that came since the window was shut. Invariant: back <= out
	shut    bool   // a batch failed or someone asked to stop: send nothing more
	probe   bool   // no ack since the leader or the lane changed. Invariant: probe => out <= 1
	terms   Terms
	newest  int64 // Item.Newest of the last batch acknowledged since the lane started; noTime: none was
	// What was in flight when the lane last let go of all that it held, until it starts again.
	unanswered []Sent

	gen   uint64 // counts Start, Rewind and Shed: what was shown under an older one is void
	bytes int64  // of waiting and flight
	share int64  // fetch no more while bytes >= share

	logStart, end offsets.Source // of the source partition, as last seen; end < 0: never seen
	seen          int64          // when end was the source's end, ms since 1970; 0: never
	beat          *Beat          // it goes on being that while this moves; nil: nobody watches it
	placed        bool           // pos says where the lane is; before, nobody knows
	front         front
	undecided     Undecided
	stats         Stats
	recent        Lately

	offsets *offsets.Map   // nil until the lane starts. Invariant: it ends at pos.Source
	holds   bool           // both logs are those that offsets is about, as far as is known; see Unmap
	reach   offsets.Target // all that the target had of the lane when it started is below
	doubt   *Doubt         // nil: there is none, or it is settled
	told    bool           // of doubt: Doubt has returned it
	blind   bool           // Plan.Blind of the last start
	late    *Late          // nil: there is none, or it was handed out

	ready, room func(*Lane) // told that there is something to send, or room to fetch

	// moves counts what may have changed pos, offsets or doubt, from 1 on. It is read
	// without mu, and so changes only after what it tells of.
	moves atomic.Uint64
}

// New makes a lane that does nothing yet: see Start.
func New(id ID, targetTopic string) *Lane {
	l := &Lane{ID: id, TargetTopic: targetTopic, share: math.MaxInt64, end: -1, probe: true, terms: Terms{Memory: math.MaxInt64}, newest: noTime}
	l.moves.Store(1)
	return l
}

// Moves changes whenever what Snapshot, Offsets and InDoubt tell of the position and
// of the map may have changed. It costs next to nothing, unlike those.
func (l *Lane) Moves() uint64 { return l.moves.Load() }

// Start puts the lane where p says and lets it run. p.Skip data records from there
// on are on the target already (see Resume): they are read, counted and dropped,
// and the first batch sent carries the sequence after them. All that the target
// has of the lane is below reach. m is the map of what is below the position that
// the plan was made for, on both sides; nil keeps the lane's own, or begins one.
func (l *Lane) Start(p Plan, reach offsets.Target, m *offsets.Map) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.out != l.back {
		panic("lane: started with batches on the wire")
	}
	l.dropLocked()
	l.pos, l.sent, l.fetched, l.placed = p.Position, p.Source, p.Source, true
	l.skip, l.seq, l.leader = p.Skip, Advance(p.Sequence, p.Skip), p.Leader
	l.undecided = Undecided{}
	l.reach = reach
	switch {
	case m != nil:
		l.offsets = m
	case l.offsets == nil:
		l.offsets = offsets.NewMap(p.Source, p.Target)
	}
	if p.Carried > 0 {
		l.offsets.Hole(p.Source, p.Carried)
		l.stats.Skipped += p.Carried
	}
	l.offsets.Advance(p.Source) // retention may have removed what is between
	if p.Skip == 0 {
		l.reachLocked()
	}
	l.out, l.back, l.shut, l.probe, l.holds = 0, 0, false, true, true
	l.unanswered, l.newest, l.blind, l.late = nil, noTime, p.Blind, nil
	l.setLocked(Running, "")
	l.moves.Add(1)
}

func (l *Lane) dropLocked() {
	l.dateLocked()
	if len(l.flight) > 0 {
		l.unanswered = l.flightLocked()
	}
	for _, items := range [][]Item{l.waiting, l.flight} {
		for _, it := range items {
			it.drop()
		}
	}
	l.waiting, l.base, l.flight, l.bytes = nil, nil, nil, 0
	l.gen++
}

// drop gives the memory of an item back that others may still read: the producer,
// to which Next has shown it, or the client, which was to send it.
func (it Item) drop() {
	it.Hold.Spoil()
	it.Hold.Release()
}

// Shed forgets what waits and was never sent: it can be fetched again, and a
// lane that cannot send must not keep memory from those that can.
func (l *Lane) Shed() {
	l.mu.Lock()
	l.dateLocked()
	for _, it := range l.waiting {
		l.bytes -= int64(len(it.Bytes))
		it.drop()
	}
	l.waiting, l.base, l.fetched = nil, nil, l.sent
	l.leader = l.pos.Leader
	if n := len(l.flight); n > 0 {
		l.leader = l.flight[n-1].Leader
	}
	l.gen++
	// What is in flight may be small and keep a large fetch response alive.
	for i := range l.flight {
		l.flight[i] = l.flight[i].copied()
	}
	room := l.room
	l.mu.Unlock()
	if room != nil {
		room(l)
	}
}

// JoinRuns are the source offsets of the items' records in the form of Item.Runs.
func JoinRuns(items []Item) (runs []offsets.Run) {
	next := items[0].First
	for i, it := range items {
		if it.Runs == nil && it.First == next && runs == nil {
			next += offsets.Source(it.Records)
			continue
		}
		if runs == nil && i > 0 {
			runs = append(runs, offsets.Run{First: items[0].First, N: int64(next - items[0].First)})
		}
		runs = it.appendRuns(runs)
	}
	return runs
}

func (it Item) appendRuns(runs []offsets.Run) []offsets.Run {
	if it.Runs == nil {
		return offsets.AppendRun(runs, offsets.Run{First: it.First, N: int64(it.Records)})
	}
	for _, r := range it.Runs {
		runs = offsets.AppendRun(runs, r)
	}
	return runs
}

func (it Item) copied() Item {
	if it.Hold != nil {
		own := it.Hold.Split(int64(len(it.Bytes)))
		it.drop()
		it.Hold = own
	}
	it.Bytes = append(make([]byte, 0, len(it.Bytes)), it.Bytes...)
	return it
}

// Fetch says where to read on, who wrote the offset before that, and how many
// bytes to ask for: all that the lane may hold, or 0, which is not to read now.
// Replies are handed to Put under the same gen.
func (l *Lane) Fetch() (gen uint64, from offsets.Source, leader Leader, skip, ask int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.state == Running && l.bytes < l.share {
		ask = l.share
	}
	return l.gen, l.fetched, l.leader, l.skip, ask
}

// Put takes the batches of one fetch reply, in order. next is where the source
// goes on (beyond the last batch where what followed was dropped); skipped is
// how many data records before the first batch were found on the target
// already; leader is whose the offset before next is; now is the time. It returns
// false, and takes nothing, if gen is void.
func (l *Lane) Put(gen uint64, items []Item, next offsets.Source, skipped int64, leader Leader, now int64) bool {
	l.mu.Lock()
	if gen != l.gen || next < l.fetched {
		l.mu.Unlock()
		return false
	}
	if skipped > 0 {
		l.skippedLocked(items, next, skipped)
	}
	if len(items) > 0 {
		age := &l.recent.At(now).Age
		for _, it := range items {
			l.bytes += int64(len(it.Bytes))
			age.Add(now - it.Time)
		}
	}
	l.appendLocked(items)
	l.fetched, l.leader = next, leader
	switch {
	case len(l.waiting) > 0:
		if len(items) == 0 {
			l.waiting = slices.Clone(l.waiting) // the producer may be reading what Next showed
		}
		last := &l.waiting[len(l.waiting)-1]
		last.Next, last.Leader = next, leader
	case len(l.flight) > 0:
		last := &l.flight[len(l.flight)-1]
		last.Next, last.Leader, l.sent = next, leader, next
	default:
		l.pos.Source, l.pos.Leader, l.sent = next, leader, next
		l.offsets.Advance(next)
	}
	ready := l.ready
	wake := len(l.waiting) > 0 && ready != nil
	l.moves.Add(1)
	l.mu.Unlock()
	if wake {
		ready(l)
	}
	return true
}

// appendLocked adds items to waiting, which begins again at the start of its
// memory whenever it was emptied.
func (l *Lane) appendLocked(items []Item) {
	if len(l.waiting) > 0 {
		l.waiting = append(l.waiting, items...)
		return
	}
	l.waiting = append(l.base, items...)
	l.base = l.waiting[:0]
}

// skippedLocked moves the acknowledged position over records that the target
// has from before.
func (l *Lane) skippedLocked(items []Item, next offsets.Source, skipped int64) {
	if len(items) > 0 {
		next = items[0].First
	}
	l.skip -= skipped
	l.pos.Source, l.pos.Sequence, l.pos.Leader = next, Advance(l.pos.Sequence, skipped), 0
	l.sent = next
	l.offsets.Hole(next, skipped)
	if l.skip == 0 {
		l.reachLocked()
	}
	l.stats.Skipped += skipped
	if l.skip < 0 || l.skip == 0 && l.pos.Sequence != l.seq {
		panic("lane: skipped more records than the target has")
	}
}

// reachLocked: all that the target had when the lane started is below the position now.
func (l *Lane) reachLocked() {
	l.offsets.Reach(l.reach)
	l.pos.Target = max(l.pos.Target, l.reach)
	l.doubtLocked()
}

// Window is what a lane would send now.
type Window struct {
	Gen   uint64
	Again bool   // Items[0] was sent before: send it again as it is
	Stale bool   // but it is too late for that: see Rewindable. Let go of the lane
	Items []Item // else: what waits, oldest first; send a prefix as one batch
}

// Next returns what may be sent now, in ms since 1970, or false if nothing waits or
// the window is full. While probing only one batch may be out: a broker accepts any
// first sequence of a producer it does not know, so a second batch that overtook a
// refused first one would be stored in its place. For the same reason a batch waits
// for those before it where the broker may have forgotten the producer: see Terms.
func (l *Lane) Next(now int64) (Window, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.shut || l.state != Running || l.out > 0 && (l.probe || !l.safeLocked(now)) {
		return Window{}, false
	}
	if l.out < len(l.flight) {
		stale := !l.terms.remembers(l.flight[l.out].Newest, now)
		return Window{Gen: l.gen, Again: true, Stale: stale, Items: slices.Clone(l.flight[l.out : l.out+1])}, true
	}
	if len(l.flight) == Depth || len(l.waiting) == 0 {
		return Window{}, false
	}
	return Window{Gen: l.gen, Items: l.waiting}, true
}

// Claim is what to stamp on a batch that is about to be sent.
type Claim struct {
	Producer int64
	Epoch    int16
	Sequence int32
}

// Send books it, which stands for the first used waiting batches, as in
// flight. It returns false if the window changed since Next.
func (l *Lane) Send(gen uint64, it Item, used int) (Claim, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if gen != l.gen || l.shut || used > len(l.waiting) {
		return Claim{}, false
	}
	for _, w := range l.waiting[:used] {
		l.bytes -= int64(len(w.Bytes))
		if w.Hold != it.Hold { // it is a batch of its own, joined from these
			w.Hold.Release()
		}
	}
	// Put may have moved the end of the last batch meanwhile.
	it.Next, it.Leader = l.waiting[used-1].Next, l.waiting[used-1].Leader
	clear(l.waiting[:used])
	l.waiting = l.waiting[used:]
	it.seq = l.seq
	l.bytes += int64(len(it.Bytes))
	l.flight = append(l.flight, it)
	l.out++
	l.sent, l.seq = it.Next, Advance(l.seq, int64(it.Records))
	return Claim{l.pos.Producer, l.pos.Epoch, it.seq}, true
}

// Again books the window of Next as sent once more, byte for byte: only a
// whole batch with the sequences of the first time is a duplicate to the
// broker. It returns false if the window changed since Next.
func (l *Lane) Again(gen uint64) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if gen != l.gen || l.shut || l.out >= len(l.flight) {
		return false
	}
	l.out++
	return true
}

// Ack retires the oldest batch in flight, stored at base (UnknownTarget where
// the broker does not say), unless an older one failed: then it will be sent
// again with the others and found a duplicate. now is the time. It reports whether
// the lane is settled: see Fail.
//
// A base below the position's target means that the target has lost what it
// acknowledged. The position stays, or no later start could notice: the batch
// counts as failed, and the error is a *LostTargetError.
func (l *Lane) Ack(base offsets.Target, now int64) (settled bool, err error) {
	l.mu.Lock()
	if l.shut && l.back > 0 {
		l.back++
		settled = l.back == l.out
		l.mu.Unlock()
		return settled, nil
	}
	it := l.flight[0]
	if base != offsets.UnknownTarget && base < l.pos.Target {
		err = &LostTargetError{Stored: l.pos, Seen: Seen{End: base + offsets.Target(it.Records)}}
		l.shut = true
		l.back++
		settled = l.back == l.out
		l.mu.Unlock()
		return settled, err
	}
	l.flight = slices.Delete(l.flight, 0, 1) // in its place: it is appended to for ever
	l.out--
	l.probe = false
	l.bytes -= int64(len(it.Bytes))
	l.pos.Source, l.pos.Leader = it.Next, it.Leader
	l.pos.Sequence = Advance(it.seq, int64(it.Records))
	l.learn(it, base)
	if base != offsets.UnknownTarget {
		l.pos.Target = base + offsets.Target(it.Records)
	}
	l.lateLocked(base)
	l.newest = it.Newest
	l.ackedLocked(it, now)
	settled = l.shut && l.out == 0
	room := l.room
	l.moves.Add(1)
	l.mu.Unlock()
	it.Hold.Release() // to be used again, unless Rewind has spoiled it
	if room != nil {
		room(l)
	}
	return settled, nil
}

// learn takes note of where the records of it are.
func (l *Lane) learn(it Item, base offsets.Target) {
	if it.Runs == nil {
		l.offsets.Append(it.First, base, int64(it.Records))
	}
	for _, r := range it.Runs {
		l.offsets.Append(r.First, base, r.N)
		if base != offsets.UnknownTarget {
			base += offsets.Target(r.N)
		}
	}
	l.offsets.Advance(it.Next)
}

// Fail takes note that the oldest batch not yet answered was not stored, and
// shuts the window. The lane is settled once every batch on the wire was
// answered: then the owner must let go of it (Rewind or Start).
func (l *Lane) Fail() (settled bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.shut = true
	l.back++
	return l.back == l.out
}

// Shut closes the window from outside: nothing more is sent, what is on the
// wire may still be acknowledged. It reports whether nothing is on the wire.
func (l *Lane) Shut() (settled bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.shut = true
	return l.back == l.out
}

// Rewind opens the window of a settled lane again: all that is in flight will
// be sent anew, same bytes, same sequences, one at a time until the first ack.
func (l *Lane) Rewind() {
	l.mu.Lock()
	if l.back != l.out {
		l.mu.Unlock()
		panic("lane: rewound with batches on the wire")
	}
	l.out, l.back, l.shut, l.probe = 0, 0, false, true
	// Whoever is still looking at what Next showed before must neither send it nor
	// find it overwritten.
	l.gen++
	for _, items := range [][]Item{l.waiting, l.flight} {
		for _, it := range items {
			it.Hold.Spoil()
		}
	}
	l.setLocked(Running, "")
	ready, room, wake := l.ready, l.room, len(l.flight)+len(l.waiting) > 0
	l.mu.Unlock()
	if room != nil {
		room(l)
	}
	if wake && ready != nil {
		ready(l)
	}
}

// Advance moves a sequence number over n records; it wraps to 0 after MaxInt32.
func Advance(seq int32, n int64) int32 {
	return int32((int64(seq) + n) & math.MaxInt32)
}
