package progress

import (
	"context"
	"errors"
	"fmt"

	"github.com/kferry/kferry/internal/kafka"
	"github.com/kferry/kferry/offsets"
	"github.com/kferry/kferry/replicator/batch"
	"github.com/kferry/kferry/replicator/lane"
)

// Scan describes a stretch of a target partition to look through.
type Scan struct {
	kafka.Log
	From, To offsets.Target
	Producer int64
	Epoch    int16 // of the producer
}

// Last finds the last sequence that the producer wrote under its epoch in [From, To), by the
// headers of the batches that are there. It is for brokers that forgot the
// producer or do not tell (DescribeProducers came with Kafka 2.8).
func (s Scan) Last(ctx context.Context) (last int32, found bool, err error) {
	size := int32(1 << 20)
	for at := int64(s.From); at < int64(s.To); {
		got, err := s.Fetch(ctx, at, size)
		if err != nil {
			return 0, false, err
		}
		raw, start := got.RecordBatches, at
		for rest := raw; ; {
			v, after, err := batch.Next(rest)
			if errors.Is(err, batch.ErrShort) {
				if need := int32(batch.Needs(rest)); at == start && need > size {
					size = need
				} else if at == start && len(raw) > 0 {
					return 0, false, fmt.Errorf("target topic %q partition %d: nothing that begins at offset %d is whole", s.Topic, s.Partition, at)
				}
				break
			}
			if err != nil {
				return 0, false, fmt.Errorf("target topic %q partition %d: %w", s.Topic, s.Partition, err)
			}
			rest = after
			at = max(at, v.LastOffset()+1)
			mine, err := s.ours(v)
			if err != nil {
				return 0, false, err
			}
			if mine {
				// The header keeps the last sequence even where compaction removed records.
				last, found = lane.Advance(v.BaseSequence(), int64(v.LastDelta())), true
			}
		}
		if len(raw) == 0 {
			break
		}
	}
	return last, found, nil
}

// ours tells whether v holds records of the producer under its epoch, in the stretch.
func (s Scan) ours(v batch.View) (bool, error) {
	if v.Magic() != 2 || v.ProducerID() != s.Producer || v.Control() || v.LastOffset() < int64(s.From) {
		return false, nil
	}
	if v.ProducerEpoch() > s.Epoch {
		return false, &NewerError{Ours: s.Epoch, Seen: v.ProducerEpoch()}
	}
	return v.ProducerEpoch() == s.Epoch, nil
}

// NewerError means that somebody writes with our producer id under a newer
// epoch: another kferry with the same flow has set records aside, and counts
// anew. Our counting no longer tells which records the target has.
type NewerError struct{ Ours, Seen int16 }

func (e *NewerError) Error() string {
	return fmt.Sprintf("the target has records of epoch %d of our producer, our progress is of epoch %d: another kferry runs this flow; "+
		"stop one of them and restart the other", e.Seen, e.Ours)
}
