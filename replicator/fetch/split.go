package fetch

import (
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

// splitter turns the records of one partition of one fetch reply into items.
type splitter struct {
	from  int64 // the offset that was asked for
	end   int64 // of the partition, as the same reply says
	skip  int64 // data records to drop first: the target has them
	limit int   // bytes of a batch of several records that the target takes
	alone int   // of a batch of one record, if more than limit
	cut   int64 // a batch with records from both sides of it is cut there
	exact bool  // offsets never go missing on this source (not compacted)
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
// before the bad place are in s.items and s.next is the bad place.
func (s *splitter) run(raw []byte, aborts []kmsg.FetchResponseTopicPartitionAbortedTransaction) error {
	s.aborts = slices.SortedFunc(slices.Values(aborts), func(a, b kmsg.FetchResponseTopicPartitionAbortedTransaction) int {
		return int(min(max(a.FirstOffset-b.FirstOffset, -1), 1))
	})
	s.aborted = nil
	s.next = s.from
	for rest := raw; len(rest) > 0; {
		v, after, err := batch.Next(rest)
		if errors.Is(err, batch.ErrShort) {
			// The broker cuts the last batch at the size we asked for.
			if len(s.items) == 0 && s.next == s.from {
				s.short = batch.Needs(rest)
			}
			return nil
		}
		if err != nil {
			return err
		}
		rest = after
		// No checksum covers a batch's base offset, and a wrong one would move the
		// lane's position.
		if v.LastOffset() >= s.end || s.next > s.from && v.BaseOffset() < s.next {
			return &batch.BadError{Offset: v.BaseOffset(), Reason: fmt.Sprintf("offsets %d to %d do not fit between %d and the partition's end %d",
				v.BaseOffset(), v.LastOffset(), s.next, s.end)}
		}
		if v.LastOffset() < s.from {
			s.drop(v) // it may be the marker that ends an aborted transaction
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
	if s.skip > 0 && s.gap(v) {
		return errGap
	}
	if s.drop(v) {
		return nil
	}
	if !recode.Odd(v, s.from, s.limit) && !s.spans(v) {
		n := v.Count()
		if int64(n) <= s.skip {
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

// gap tells that records are missing before or inside v. Offsets never go
// missing but by compaction, so what a topic's settings say does not matter: it
// may have been compacted before. Only the entries of old formats need them, for
// a compressed one stands at its last offset.
func (s *splitter) gap(v batch.View) bool {
	if v.Magic() < 2 {
		return !s.exact && v.BaseOffset() > s.next
	}
	return v.BaseOffset() > s.next || !v.Dense()
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
func (s *splitter) drop(v batch.View) bool {
	for len(s.aborts) > 0 && s.aborts[0].FirstOffset <= v.LastOffset() {
		if s.aborted == nil {
			s.aborted = make(map[int64]bool)
		}
		s.aborted[s.aborts[0].ProducerID] = true
		s.aborts = s.aborts[1:]
	}
	if v.Control() {
		if abort, ok := batch.AbortMarker(v); ok && abort {
			delete(s.aborted, v.ProducerID())
		}
		return true
	}
	return v.Magic() == 2 && v.Count() == 0 || v.Transactional() && s.aborted[v.ProducerID()]
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
