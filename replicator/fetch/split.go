package fetch

import (
	"cmp"
	"errors"
	"fmt"
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kferry/kferry/offsets"
	"github.com/kferry/kferry/replicator/batch"
	"github.com/kferry/kferry/replicator/budget"
	"github.com/kferry/kferry/replicator/lane"
	"github.com/kferry/kferry/replicator/recode"
)

// errGap means that offsets are missing on a source whose records may be
// removed one by one (compaction), while records were being counted: the count
// can no longer be mapped to offsets.
var errGap = errors.New("offsets are missing where records are counted")

// UncountedGap tells whether a lane left because records could not be counted:
// it must go on without skipping any.
func UncountedGap(err error) bool { return errors.Is(err, errGap) }

// errDoubt means that a batch is not where it should be on a source on which none
// was found missing so far. No checksum covers a batch's base offset, and a bit of
// it that turned over would move the lane past records: it is read once more, and
// believed if it is the same again.
var errDoubt = errors.New("offsets seem to be missing")

// place is where a batch begins that does not follow what was read before it.
type place struct {
	next, base int64 // expected, and found
	crc        uint32
}

// splitter turns the records of one partition of one fetch reply into items.
type splitter struct {
	from  int64 // the offset that was asked for
	end   int64 // of the partition, as the same reply says
	skip  int64 // data records to drop first: the target has them
	limit int   // bytes of a batch of several records that the target takes
	alone int   // of a batch of one record, if more than limit
	cut   int64 // a batch with records from both sides of it is cut there
	gaps  bool  // offsets are known to be missing on this source
	seen  place // where some seemed to be missing when it was read before
	rec   *recode.Recoder
	hold  *budget.Hold

	aborts  []kmsg.FetchResponseTopicPartitionAbortedTransaction // by first offset
	aborted map[int64]bool                                       // producers inside an aborted transaction

	items   []lane.Item
	next    int64       // where the source goes on after what was taken so far
	leader  lane.Leader // of the offset before next
	skipped int64
	short   int // a batch of so many bytes did not fit the reply (0: it did)
}

// run walks over raw, which starts at or before s.from. On an error the items
// before the bad place are in s.items and s.next is the bad place; what comes behind
// an offset that goes back may be wrong from the beginning, and nothing is taken.
func (s *splitter) run(raw []byte, aborts []kmsg.FetchResponseTopicPartitionAbortedTransaction) error {
	s.aborts = slices.SortedFunc(slices.Values(aborts), func(a, b kmsg.FetchResponseTopicPartitionAbortedTransaction) int {
		return int(min(max(a.FirstOffset-b.FirstOffset, -1), 1))
	})
	s.aborted = nil
	s.next = s.from
	skip, leader := s.skip, s.leader
	err := s.walk(raw)
	if errors.Is(err, errBack) {
		for _, it := range s.items {
			it.Hold.Release()
		}
		s.items, s.next, s.skip, s.skipped, s.leader = s.items[:0], s.from, skip, 0, leader
	}
	return err
}

func (s *splitter) walk(raw []byte) error {
	for rest := raw; len(rest) > 0; {
		v, after, err := batch.Next(rest)
		if errors.Is(err, batch.ErrShort) {
			// The broker cuts the last batch at the size we asked for.
			if len(s.items) == 0 && s.next == s.from {
				s.short = batch.Needs(rest)
			} else if len(rest) >= 8 && batch.View(rest).BaseOffset() < s.next {
				return back(batch.View(rest).BaseOffset(), s.next)
			}
			return nil
		}
		if err != nil {
			return err
		}
		rest = after
		if v.LastOffset() >= s.end {
			return &batch.BadError{Offset: v.BaseOffset(), Reason: fmt.Sprintf("offsets %d to %d do not fit before the partition's end %d",
				v.BaseOffset(), v.LastOffset(), s.end)}
		}
		if v.LastOffset() < s.from && s.next == s.from {
			// It may be the marker that ends an aborted transaction.
			if _, err := s.drop(v); err != nil {
				return err
			}
			continue
		}
		if err := s.one(v); err != nil {
			return err
		}
		s.next, s.leader = v.LastOffset()+1, lane.LeaderOf(v.LeaderEpoch())
	}
	return nil
}

// one takes a single batch.
func (s *splitter) one(v batch.View) error {
	if v.Magic() == 2 { // of an entry it is known when it is open: see build
		if err := s.follows(v, v.BaseOffset(), v.Dense()); err != nil {
			return err
		}
	}
	if none, err := s.drop(v); none || err != nil {
		return err
	}
	if !recode.Odd(v, s.from, s.limit) && !s.spans(v) {
		n := v.Count()
		if int64(n) <= s.skip {
			if err := intact(v); err != nil {
				return err
			}
			s.skip -= int64(n)
			s.skipped += int64(n)
			return nil
		}
		if s.skip == 0 {
			s.add(lane.Whole, recode.Out{Batch: v, First: v.BaseOffset(), Next: v.LastOffset() + 1, Count: n})
			return nil
		}
	}
	return s.recode(v)
}

// intact is for what is not sent: nobody else looks at its checksum.
func intact(v batch.View) error {
	if !v.Intact() {
		return &recode.CorruptError{Offset: v.BaseOffset()}
	}
	return nil
}

// errBack means that a batch, or one before it, has an offset that cannot be.
var errBack = errors.New("offsets go back")

func back(first, next int64) error {
	return fmt.Errorf("%w: %w", errBack, &batch.BadError{Offset: first, Reason: fmt.Sprintf("what came before it ends at %d", next)})
}

// follows checks that v goes on where the last batch ended. Its first record is at
// first; dense tells that none is missing up to its last. Offsets never go missing
// but by compaction, and what a topic's settings say of it does not matter: it may
// have been compacted before.
func (s *splitter) follows(v batch.View, first int64, dense bool) error {
	here := place{s.next, v.BaseOffset(), v.CRC()}
	switch {
	case first < s.next && s.next > s.from:
		return back(first, s.next)
	case first == s.next, first > s.next && s.gaps:
	case here != s.seen:
		s.seen = here
		return errDoubt
	default:
		s.gaps = s.gaps || first > s.next
	}
	if s.skip > 0 && (first > s.next || !dense) {
		return cmp.Or(intact(v), errGap)
	}
	return nil
}

// spans tells that v has records from both sides of the cut, as far as its
// header says.
func (s *splitter) spans(v batch.View) bool { return s.next < s.cut && s.cut <= v.LastOffset() }

func (s *splitter) recode(v batch.View) error {
	if !s.spans(v) {
		return s.build(v, s.from, 0)
	}
	if err := s.build(v, s.from, s.cut); err != nil {
		return err
	}
	s.next = s.cut // should the rest fail, those are taken
	return s.build(v, max(s.from, s.cut), 0)
}

// build takes the records of v in [from, to).
func (s *splitter) build(v batch.View, from, to int64) error {
	outs, err := s.rec.Recode(v, recode.Options{From: from, To: to, Skip: int(min(s.skip, 1<<30)), Limit: s.limit, Alone: s.alone})
	if err == nil && v.Magic() < 2 && from == s.from { // not the rest of one that is cut
		first, dense := s.rec.Span()
		err = s.follows(v, first, dense)
	}
	if err != nil {
		return err
	}
	n := int64(s.rec.Skipped())
	s.skip -= n
	s.skipped += n
	for _, o := range outs {
		s.add(lane.Recoded, o)
	}
	return nil
}

// drop tells whether v holds nothing to carry: a control batch, or records of
// a transaction that was aborted. Brokers return both to a read-committed fetch
// and leave it to the client to leave them out. Aborts are named with the first
// offset of the transaction and end at the producer's next abort marker.
func (s *splitter) drop(v batch.View) (bool, error) {
	for len(s.aborts) > 0 && s.aborts[0].FirstOffset <= v.LastOffset() {
		if s.aborted == nil {
			s.aborted = make(map[int64]bool)
		}
		s.aborted[s.aborts[0].ProducerID] = true
		s.aborts = s.aborts[1:]
	}
	if !v.Control() && (v.Magic() < 2 || v.Count() > 0) && (!v.Transactional() || !s.aborted[v.ProducerID()]) {
		return false, nil
	}
	if err := intact(v); err != nil {
		return false, err
	}
	if abort, ok := batch.AbortMarker(v); ok && abort {
		delete(s.aborted, v.ProducerID())
	}
	return true, nil
}

func (s *splitter) add(path lane.Path, o recode.Out) {
	hold := s.hold
	if path == lane.Recoded {
		hold = hold.Split(int64(len(o.Batch)))
	} else {
		hold.Keep()
	}
	s.items = append(s.items, lane.Item{
		Bytes: o.Batch, First: offsets.Source(o.First), Next: offsets.Source(o.Next), Runs: o.Runs,
		Records: o.Count, Time: o.Batch.FirstTimestamp(), Newest: o.Batch.MaxTimestamp(), Path: path, Hold: hold,
	})
}
