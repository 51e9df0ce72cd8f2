package progress

import (
	"context"
	"errors"
	"fmt"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kferry/kferry/internal/kafka"
	"github.com/kferry/kferry/offsets"
	"github.com/kferry/kferry/replicator/batch"
	"github.com/kferry/kferry/replicator/lane"
)

// Scan describes a stretch of a target partition to look through for what a producer
// wrote under its epoch. It is the log that tells what is stored: brokers forget
// producers, and some do not tell (DescribeProducers came with Kafka 2.8).
type Scan struct {
	kafka.Log
	From, To offsets.Target
	Producer int64
	Epoch    int16
	Sequence int32 // that the first record of the stretch is to have
	// Whole tells that the log has all that was written in the stretch: nothing was
	// compacted, and retention has not reached it. Then sequences follow each other.
	Whole bool
}

// Found is what of the producer is in a stretch.
type Found struct {
	Any     bool
	Last    int32 // sequence of the last record, if there is any
	Twice   int64 // records that are there a second time
	Records int64 // all of the producer, those before Sequence too
}

// Read looks through the stretch by the headers of its batches. Records before
// Sequence are passed over. It fails with a *TornError where sequences leave a gap, and
// with a *NewerError where a newer epoch has written.
func (s Scan) Read(ctx context.Context) (Found, error) {
	r := reader{Scan: s, next: s.Sequence}
	err := s.Walk(ctx, int64(s.From), int64(s.To), r.take)
	return r.found, err
}

// reader is a Scan under way.
type reader struct {
	Scan
	next  int32 // the sequence that follows what was found
	found Found
}

// take reads the headers of one answer; see kafka.Log.Walk.
func (r *reader) take(got kmsg.FetchResponseTopicPartition, at int64) (next int64, err error) {
	for raw := got.RecordBatches; ; {
		v, rest, err := batch.Next(raw)
		if errors.Is(err, batch.ErrShort) {
			return at, nil
		}
		if err == nil {
			err = r.see(v)
		}
		if err != nil {
			return at, fmt.Errorf("target topic %q partition %d: %w", r.Topic, r.Partition, err)
		}
		raw, at = rest, max(at, v.LastOffset()+1)
	}
}

// see takes one batch.
func (r *reader) see(v batch.View) error {
	if v.Magic() != 2 || v.ProducerID() != r.Producer || v.Control() || v.LastOffset() < int64(r.From) || v.BaseOffset() >= int64(r.To) {
		return nil
	}
	switch {
	case v.ProducerEpoch() > r.Epoch:
		return &NewerError{Ours: r.Epoch, Seen: v.ProducerEpoch()}
	case v.ProducerEpoch() < r.Epoch:
		return nil
	}
	// The header keeps the last sequence even where compaction removed records.
	count := int64(v.LastDelta()) + 1
	ahead := lane.Distance(r.next, v.BaseSequence())
	if ahead > 0 && r.Whole {
		return &TornError{Offset: v.BaseOffset(), Want: r.next, Seen: v.BaseSequence()}
	}
	r.found.Records += count
	if again := min(-ahead, count); again > 0 {
		before := max(0, lane.Distance(v.BaseSequence(), r.Sequence)) // not of the stretch
		r.found.Twice += max(0, again-before)
	}
	if ahead+count > 0 {
		r.found.Any = true
		r.found.Last = lane.Advance(v.BaseSequence(), count-1)
		r.next = lane.Advance(r.found.Last, 1)
	}
	return nil
}

// NewerError means that somebody writes with our producer id under a newer
// epoch: another kferry with the same flow has set records aside, and counts
// anew. Our counting no longer tells which records the target has.
type NewerError struct{ Ours, Seen int16 }

func (e *NewerError) Error() string {
	return fmt.Sprintf("the target has records of epoch %d of our producer, our progress is of epoch %d: another kferry runs this flow; "+
		"stop one of them and restart the other", e.Seen, e.Ours)
}

// TornError means that the target stored a batch of ours without those before it.
type TornError struct {
	Offset     int64 // on the target, where records are missing
	Want, Seen int32 // sequences
}

func (e *TornError) Error() string {
	return fmt.Sprintf("%d records before target offset %d are missing: the target refused or lost them and stored those that follow "+
		"(sequence %d is where %d should be)", lane.Distance(e.Want, e.Seen), e.Offset, e.Seen, e.Want)
}
