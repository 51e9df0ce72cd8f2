// Package fetch reads record batches from the source, as bytes, and hands them
// to lanes: one Fetcher per source broker and link.
package fetch

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kferry/kferry/internal/kafka"
	"github.com/kferry/kferry/offsets"
	"github.com/kferry/kferry/replicator/batch"
	"github.com/kferry/kferry/replicator/budget"
	"github.com/kferry/kferry/replicator/lane"
	"github.com/kferry/kferry/replicator/recode"
)

const (
	// How long a broker may hold a fetch when nothing new is there.
	idleWait = 500 * time.Millisecond
	// The same while some lane is full and left out: it may have room again in
	// a moment, and a request on the wire cannot be changed.
	fullWait = 5 * time.Millisecond
	// Bytes asked per response: starts small, doubles while responses are full,
	// so that an idle link reserves little of the memory budget, up to some times
	// what is asked per partition: twice as much took twice the memory and was not
	// faster. The bounds shrink with the budget.
	leastBytes, mostBytes = 1 << 20, 16 << 20
	mostPartitions        = 2
	// But for each response the broker looks at every partition of the session, so
	// with thousands more must come of it: with 5,000 in it and 2 MiB to bring, nine
	// tenths of what a broker did for a fetch was finding the offsets of partitions,
	// most of which it then had no room for.
	bytesPerLane = 2 << 10
	// A response that cannot be read is asked for again so many times at the
	// same offset before the source's log is called damaged.
	damagedAfter = 5
	// A broker looks at every partition of a session for each fetch. Where thousands
	// bring a record now and then, one fetch after the other took a core of it: from
	// one to the next so long is waited for each lane that is read. With few lanes it
	// is too little to wait for.
	easePerLane, leastEase = 20 * time.Microsecond, time.Millisecond
	// Between a response with nothing but errors and the next request.
	errorPause = 100 * time.Millisecond
)

// Options are what a Fetcher shares with the rest of the flow.
type Options struct {
	Link   *kafka.Link
	Broker int32
	Budget *budget.Budget
	// Reach is how many bytes are asked per partition, at most and if its lane may hold
	// so many: about what it may bring in a round trip. A batch larger than what was
	// asked for is asked for by its size.
	Reach int32
	Rate  *Rate // nil: as fast as can be
	// Failed is told that l has left the fetcher and why. Rehome: its leader is
	// elsewhere or away. Resume: find its place anew once all it holds is
	// acknowledged. Stop: a person must act.
	Failed func(l *lane.Lane, v kafka.Verdict, cause error)
	// Fetched observes one response: how long it took, error or nil.
	Fetched func(took time.Duration, err error)
}

// Source is a lane and what the fetcher must know about its partitions.
type Source struct {
	Lane    *lane.Lane
	TopicID [16]byte
	Epoch   lane.Leader    // under which the broker leads the partition, as the metadata says; 0: not known
	Limit   int            // batches of several records are cut to this many bytes
	Alone   int            // bytes that a record alone may be as a batch, if more than Limit
	Cut     offsets.Source // no batch holds records from both sides of it; 0: anywhere
}

// Fetcher reads from one broker. Lanes come by Add and leave by Remove or by
// an error.
type Fetcher struct {
	o    Options
	rec  *recode.Recoder
	wake chan struct{} // one token: marks, added or removed is not empty

	mu     sync.Mutex
	news   []change
	marked map[*lane.Lane]bool // to be looked at before the next request

	// Only Run and what it calls may touch these.
	cursors  map[*lane.Lane]*cursor
	byID     map[partition]*cursor
	byName   map[lane.ID]*cursor
	session  session
	checking []*cursor   // the broker was asked to compare their logs with what was read, and has not answered
	items    []lane.Item // scratch of give: thousands per response where batches are small
	wanted   int         // cursors that are in the request
	full     int         // cursors left out because their lane has no room
	size     int32
	meter    meter
	heard    int64      // when the broker last answered, ms since 1970
	beat     *lane.Beat // the same once the answer is handed out; lanes in the session watch it
}

type partition struct {
	topic [16]byte
	n     int32
}

type change struct {
	Source
	remove bool
}

// cursor is a lane as the fetcher knows it.
type cursor struct {
	Source
	lane    *lane.Lane
	topicID [16]byte
	gen     uint64
	from    offsets.Source // asked for, with gen and skip
	leader  lane.Leader    // of the offset before from
	skip    int64
	checked bool  // the log, under Epoch, was compared with what was read
	ask     int32 // bytes, when it is named the next time
	large   int32 // of a batch that came cut
	wanted  bool  // part of the request, or of the session
	full    bool
	damaged int   // responses in a row that could not be read
	gaps    bool  // offsets are missing on the source
	seen    place // where some seemed to be missing
}

// tellAgain has the next look find that the session must be told of c.
func (c *cursor) tellAgain() { c.from = -1 }

// New makes a Fetcher; Run makes it work.
func New(o Options) *Fetcher {
	f := &Fetcher{
		o: o, rec: recode.New(), wake: make(chan struct{}, 1), marked: map[*lane.Lane]bool{},
		cursors: map[*lane.Lane]*cursor{}, byID: map[partition]*cursor{}, byName: map[lane.ID]*cursor{}, meter: meter{Rate: o.Rate},
		beat: new(lane.Beat),
	}
	f.size, _ = f.bounds()
	return f
}

// bounds are the least and the most bytes to ask for in a response: parts of
// the budget, since a process has a Fetcher for each source broker, and of what
// the rate allows.
func (f *Fetcher) bounds() (least, most int32) {
	part := f.o.Budget.Limit()
	least = int32(min(max(part/64, 256<<10), leastBytes))
	useful := max(mostPartitions*int64(f.o.Reach), bytesPerLane*int64(f.wanted))
	most = int32(min(useful, max(part/8, 256<<10), mostBytes))
	if r := f.o.Rate; r != nil {
		least, most = min(least, r.least), min(most, r.most)
	}
	return least, most
}

// Add makes the fetcher read for s.Lane, from where the lane says.
func (f *Fetcher) Add(s Source) {
	s.Lane.OnRoom(f.mark)
	f.tell(change{Source: s})
}

// Remove makes the fetcher forget l. A reply that is on its way may still
// reach it, unless the lane voids it.
func (f *Fetcher) Remove(l *lane.Lane) {
	l.OnRoom(nil)
	f.tell(change{Source: Source{Lane: l}, remove: true})
}

func (f *Fetcher) tell(c change) {
	f.mu.Lock()
	f.news = append(f.news, c)
	f.mu.Unlock()
	f.poke()
}

// mark has the lane looked at again: it got room, or another place to read.
func (f *Fetcher) mark(l *lane.Lane) {
	f.mu.Lock()
	f.marked[l] = true
	f.mu.Unlock()
	f.poke()
}

func (f *Fetcher) poke() {
	select {
	case f.wake <- struct{}{}:
	default:
	}
}

// Run reads until ctx ends; requests use io, which must outlive ctx (see
// kafka.Link).
func (f *Fetcher) Run(ctx, io context.Context) {
	for ctx.Err() == nil {
		if f.meter.pay(ctx, int64(f.size)) != nil {
			return
		}
		req := f.next()
		if f.wanted == 0 {
			select {
			case <-f.wake:
			case <-ctx.Done():
			}
			continue
		}
		req.MaxBytes = f.size
		req.MaxWaitMillis = int32(idleWait.Milliseconds())
		if f.full > 0 {
			req.MaxWaitMillis = int32(fullWait.Milliseconds())
		}
		if f.o.Budget.Acquire(ctx, int64(f.size)) == nil {
			start := time.Now()
			f.ease(ctx, start, f.exchange(ctx, io, req))
		}
	}
}

// ease waits before the fetch after one that began at start and brought got bytes.
func (f *Fetcher) ease(ctx context.Context, start time.Time, got int64) {
	wait := time.Until(start.Add(time.Duration(f.wanted) * easePerLane))
	if wait < leastEase || got > int64(f.size)/2 {
		return
	}
	select {
	case <-time.After(wait):
	case <-ctx.Done():
	}
}

// exchange sends one request, for which f.size bytes of the budget are taken,
// and hands out the answer, of which it returns the bytes of records.
func (f *Fetcher) exchange(ctx, io context.Context, req *kmsg.FetchRequest) (got int64) {
	reserved := int64(f.size)
	start := time.Now()
	var buffer []byte
	resp, err := f.o.Link.FetchInto(io, f.o.Broker, req, func(n int) []byte {
		buffer = budget.Room(n)[:n]
		return buffer
	})
	f.o.Fetched(time.Since(start), err)
	if err != nil {
		f.o.Budget.Adjust(-reserved)
		f.session.reset()
		if ctx.Err() == nil {
			f.failAll(kafka.Rehome, err)
		}
		return 0
	}
	if resp.ErrorCode != 0 {
		f.o.Budget.Adjust(-reserved)
		f.refused(ctx, resp.ErrorCode)
		return 0
	}
	f.session.answered(resp.SessionID)
	f.heard = time.Now().UnixMilli()
	defer func() { f.beat.Store(f.heard) }() // after the lanes with news have it
	got = size(resp)
	f.meter.brought(got)
	f.adapt(got)
	if got == 0 {
		f.o.Budget.Adjust(-reserved)
		f.hand(resp, nil, true)
		return 0
	}
	held := int64(cap(buffer))
	f.o.Budget.Adjust(held - reserved)
	hold := f.o.Budget.Hold(held).Lend(buffer)
	f.hand(resp, hold, got < reserved)
	hold.Release()
	return got
}

func size(resp *kmsg.FetchResponse) (n int64) {
	for i := range resp.Topics {
		for j := range resp.Topics[i].Partitions {
			n += int64(len(resp.Topics[i].Partitions[j].RecordBatches))
		}
	}
	return n
}

func (f *Fetcher) adapt(got int64) {
	least, most := f.bounds()
	switch {
	case got > int64(f.size)/2:
		f.size = min(f.size*2, most)
	case got < int64(f.size)/8:
		f.size = max(f.size/2, least)
	}
}

// refused handles an error for the request as a whole.
func (f *Fetcher) refused(ctx context.Context, code int16) {
	f.session.reset()
	switch err := kerr.ErrorForCode(code); {
	case errors.Is(err, kerr.FetchSessionIDNotFound), errors.Is(err, kerr.InvalidFetchSessionEpoch),
		errors.Is(err, kerr.FetchSessionTopicIDError), errors.Is(err, kerr.InconsistentTopicID), errors.Is(err, kerr.UnknownTopicID):
		// The broker restarted, dropped the session, or knows a topic id no
		// more. The whole request that follows says for each partition.
		pause(ctx)
	default:
		v, _ := kafka.FetchVerdict(code)
		f.failAll(v, err)
	}
}

func pause(ctx context.Context) {
	select {
	case <-time.After(errorPause):
	case <-ctx.Done():
	}
}

// next takes in what changed and builds the next request; nil if no lane wants one.
func (f *Fetcher) next() *kmsg.FetchRequest {
	f.mu.Lock()
	news, marked := f.news, f.marked
	f.news, f.marked = nil, map[*lane.Lane]bool{}
	f.mu.Unlock()
	for _, n := range news {
		f.forget(f.cursors[n.Lane])
		if !n.remove {
			f.learn(n.Source)
			marked[n.Lane] = true
		}
	}
	changed := make([]*cursor, 0, len(marked))
	for l := range marked {
		if c := f.cursors[l]; c != nil && f.look(c) {
			changed = append(changed, c)
		}
	}
	if f.session.whole() {
		changed, f.checking = changed[:0], f.checking[:0]
		for _, c := range f.cursors {
			c.checked = false
			f.look(c)
			if c.wanted {
				changed = append(changed, c)
			}
		}
	}
	if f.wanted == 0 {
		return nil // what the session has to forget is said with the next request
	}
	for _, c := range changed {
		if !c.checked {
			f.checking = append(f.checking, c)
		}
	}
	return f.session.request(changed)
}

// passed takes note that the broker found nothing wrong with the logs it was to
// compare with what was read. A session goes on comparing until it is told
// otherwise, for each partition at each fetch: with ten thousand of them that is
// what a busy broker was found at. Until the leader changes the log cannot be another one, and then the
// epoch that requests name is refused.
func (f *Fetcher) passed() {
	for _, c := range f.checking {
		if c.Epoch == 0 || f.cursors[c.lane] != c || !c.wanted { // not wanted: the session forgot it before it was compared
			continue
		}
		c.checked = true
		if c.leader != 0 {
			c.tellAgain()
			f.mark(c.lane)
		}
	}
	clear(f.checking)
	f.checking = f.checking[:0]
}

func (f *Fetcher) learn(s Source) {
	for _, old := range f.session.forget {
		// Made anew under the same name: brokers tell the two apart by id or by
		// name, depending on their version. A new session spares us that.
		if old.lane.ID == s.Lane.ID && old.topicID != s.TopicID {
			f.session.reset()
			break
		}
	}
	c := &cursor{Source: s, lane: s.Lane, topicID: s.TopicID, from: -1}
	f.cursors[s.Lane] = c
	f.byName[s.Lane.ID] = c
	f.byID[partition{s.TopicID, s.Lane.Partition}] = c
}

func (f *Fetcher) forget(c *cursor) {
	if c == nil {
		return
	}
	f.count(c, false, false)
	delete(f.cursors, c.lane)
	delete(f.byName, c.lane.ID)
	delete(f.byID, partition{c.topicID, c.lane.Partition})
}

// look asks the lane of c what it wants; true if the request must say so.
func (f *Fetcher) look(c *cursor) bool {
	gen, from, leader, skip, ask := c.lane.Fetch()
	room := ask > 0
	changed := room && (!c.wanted || c.gen != gen || c.from != from)
	c.gen, c.from, c.leader, c.skip = gen, from, leader, skip
	c.ask = max(int32(min(ask, int64(f.o.Reach))), c.large)
	f.count(c, room, !room)
	return changed
}

// count keeps wanted and full in step with the cursors.
func (f *Fetcher) count(c *cursor, wanted, full bool) {
	if c.wanted && !wanted {
		f.wanted--
		f.session.forget = append(f.session.forget, c)
		c.lane.Unwatched(f.beat)
	} else if !c.wanted && wanted {
		f.wanted++
	}
	if c.full != full {
		if full {
			f.full++
		} else {
			f.full--
		}
	}
	c.wanted, c.full = wanted, full
}

// hand gives each partition of the answer to its lane. roomy tells that the answer
// had room for more.
func (f *Fetcher) hand(resp *kmsg.FetchResponse, hold *budget.Hold, roomy bool) {
	first := true // a broker sends the first batch whole, whatever its size
	for i := range resp.Topics {
		t := &resp.Topics[i]
		for j := range t.Partitions {
			p := &t.Partitions[j]
			whole := roomy || first
			first = first && len(p.RecordBatches) == 0
			c := f.byID[partition{t.TopicID, p.Partition}]
			if t.Topic != "" { // below version 13
				c = f.byName[lane.ID{Topic: t.Topic, Partition: p.Partition}]
			}
			if c == nil {
				continue // removed while the request was on its way
			}
			if p.ErrorCode != 0 {
				v, why := kafka.FetchVerdict(p.ErrorCode)
				f.fail(c, v, fmt.Errorf("%w: %s", kerr.ErrorForCode(p.ErrorCode), why))
				continue
			}
			if d := p.DivergingEpoch; d.EndOffset >= 0 {
				f.fail(c, kafka.Resume, fmt.Errorf("the source's log was truncated: up to offset %d it is the one that was read, to offset %d", d.EndOffset, c.from))
				continue
			}
			f.give(c, p, hold, whole)
		}
	}
	if resp.ThrottleMillis == 0 { // else a broker leaves out what it has to say
		f.passed()
	}
}

// give hands c what came of its partition; roomy tells that all that was asked for
// had room in the answer.
func (f *Fetcher) give(c *cursor, p *kmsg.FetchResponseTopicPartition, hold *budget.Hold, roomy bool) {
	c.lane.Seen(offsets.Source(p.LogStartOffset), offsets.Source(p.HighWatermark), f.heard, f.beat)
	c.lane.Stable(offsets.Source(p.LastStableOffset), offsets.Source(p.HighWatermark), len(p.RecordBatches) == 0, f.heard)
	if len(p.RecordBatches) == 0 {
		return
	}
	s := splitter{
		from: int64(c.from), leader: c.leader, end: p.HighWatermark, skip: c.skip, limit: c.Limit, alone: c.Alone, cut: int64(c.Cut), gaps: c.gaps, seen: c.seen,
		rec: f.rec, hold: hold, items: f.items[:0],
	}
	err := s.run(p.RecordBatches, p.AbortedTransactions)
	f.items, c.gaps, c.seen = s.items, s.gaps, s.seen
	defer clear(f.items) // Put has copied them; they must not keep their responses alive
	if !c.lane.Put(c.gen, s.items, offsets.Source(s.next), s.skipped, s.leader, f.heard) {
		for _, it := range s.items {
			it.Hold.Release()
		}
	}
	f.mark(c.lane)
	switch {
	case s.short == 0:
	case s.short > kafka.MaxReadBytes, s.short <= int(c.ask) && roomy:
		err = &batch.BadError{Offset: s.next, Reason: fmt.Sprintf("it is to have %d bytes, and of %d that were asked for %d came", s.short, c.ask, len(p.RecordBatches))}
	default:
		// Either the response was full, or the batch is larger than we ask for.
		// Never ask for less: a lane would fetch batch by batch from then on.
		c.large = max(c.large, int32(s.short))
		c.tellAgain()
	}
	if err == nil || s.next > s.from {
		c.damaged = 0 // what is counted is one place read in vain
	}
	if err == nil {
		return
	}
	f.broken(c, s.next, err)
}

// broken handles records that could not be taken.
func (f *Fetcher) broken(c *cursor, at int64, err error) {
	var large *recode.TooLargeError
	var bad *batch.BadError
	switch {
	case errors.Is(err, errDoubt):
		c.tellAgain()
	case errors.Is(err, errGap):
		f.fail(c, kafka.Resume, err)
	case errors.As(err, &large):
		f.fail(c, kafka.Refuse, err)
	case errors.Is(err, recode.ErrCorrupt), errors.As(err, &bad):
		// Bytes may have gone bad on the way: read them again.
		if c.damaged++; c.damaged >= damagedAfter {
			f.fail(c, kafka.Stop, fmt.Errorf("the source's batch at offset %d is damaged, read %d times: %w", at, c.damaged, err))
		}
		c.tellAgain()
	default:
		f.fail(c, kafka.Stop, fmt.Errorf("the source's batch at offset %d cannot be read: %w", at, err))
	}
}

func (f *Fetcher) fail(c *cursor, v kafka.Verdict, err error) {
	c.lane.OnRoom(nil)
	f.forget(c)
	f.o.Failed(c.lane, v, err)
}

func (f *Fetcher) failAll(v kafka.Verdict, err error) {
	for _, c := range f.cursors {
		f.fail(c, v, err)
	}
}
