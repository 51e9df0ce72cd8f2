// Package readback finds out where records of a lane are on the target when
// nobody knows any more: after a crash, or when an offset map was lost. It reads
// the stretch on both sides and compares the records themselves.
package readback

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"math"
	"slices"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kferry/kferry/internal/kafka"
	"github.com/kferry/kferry/offsets"
	"github.com/kferry/kferry/replicator/batch"
	"github.com/kferry/kferry/replicator/lane"
)

// MostRecords bounds what is remembered of each side: the last so many.
const MostRecords = 1 << 20

// Stretch is what to look through: the records of source offsets [From, To) are
// on the target in [Start, End), written by the producer under its epoch, and
// the first record at or after To has that sequence.
type Stretch struct {
	From, To   offsets.Source
	Start, End offsets.Target
	Producer   int64
	Epoch      int16
	Sequence   int32
	// Gaps tells that offsets without a record may have had one: the source is compacted,
	// or nobody knows. Then nothing is matched beyond such an offset.
	Gaps bool
}

// Match reads s on both sides and returns where its records are, ascending. Both
// sides are counted from the end: there a sequence number names a record of the
// source. Where the two differ (one side lost records by compaction) it ends,
// and what is before stays unknown.
func Match(ctx context.Context, source, target kafka.Log, s Stretch) ([]offsets.Piece, error) {
	seed := maphash.MakeSeed()
	theirs, err := read(ctx, source, int64(s.From), int64(s.To), seed, func(batch.View) bool { return true })
	if err != nil {
		return nil, fmt.Errorf("source topic %q partition %d: %w", source.Topic, source.Partition, err)
	}
	ours, err := read(ctx, target, int64(s.Start), int64(s.End), seed, func(v batch.View) bool {
		return v.Magic() == 2 && v.ProducerID() == s.Producer && v.ProducerEpoch() == s.Epoch
	})
	if err != nil {
		return nil, fmt.Errorf("target topic %q partition %d: %w", target.Topic, target.Partition, err)
	}
	if s.Gaps {
		theirs = dense(theirs, int64(s.To))
	}
	return match(theirs, ours, s.Sequence), nil
}

// seen is one record: where it is, its sequence, and what it is.
type seen struct {
	offset int64
	seq    int32
	time   int64  // ms since 1970; anyTime: the broker has set it
	sum    uint64 // of key, value and headers
}

const anyTime = math.MinInt64

// same tells that o may be the same record on the other side.
func (s seen) same(o seen) bool {
	return s.sum == o.sum && (s.time == o.time || s.time == anyTime || o.time == anyTime)
}

// dense are the last of the records that follow each other up to offset to.
func dense(rs []seen, to int64) []seen {
	for i, r := range slices.Backward(rs) {
		if to--; r.offset != to {
			return rs[i+1:]
		}
	}
	return rs
}

// match pairs the records of both sides; next is the sequence that follows.
func match(theirs, ours []seen, next int32) []offsets.Piece {
	for len(ours) > 0 && lane.Advance(ours[len(ours)-1].seq, 1) != next {
		ours = ours[:len(ours)-1] // written later
	}
	var out []offsets.Piece // exact ones, descending
	for i, j := len(theirs)-1, len(ours)-1; i >= 0 && j >= 0; i, j = i-1, j-1 {
		if !theirs[i].same(ours[j]) || lane.Advance(ours[j].seq, 1) != next {
			break
		}
		next = ours[j].seq
		s, t := offsets.Source(theirs[i].offset), offsets.Target(ours[j].offset)
		n := int64(1)
		if last := len(out) - 1; last >= 0 && out[last].Source == s+1 && out[last].Target == t+1 {
			n += out[last].Records
			out = out[:last]
		}
		out = append(out, offsets.Piece{Source: s, SourceLen: n, Target: t, TargetLen: n, Records: n})
	}
	slices.Reverse(out)
	return out
}

// read returns the last MostRecords data records of [from, to) in batches that
// keep wants.
func read(ctx context.Context, l kafka.Log, from, to int64, seed maphash.Seed, keep func(batch.View) bool) (out []seen, err error) {
	err = l.Walk(ctx, from, to, func(got kmsg.FetchResponseTopicPartition, at int64) (int64, error) {
		kept, err := batches(got.RecordBatches, keep)
		if err != nil {
			return at, err
		}
		rs, next, err := l.Records(got, at)
		if err != nil {
			return at, err
		}
		for _, r := range rs {
			for len(kept) > 0 && kept[0].LastOffset() < r.Offset {
				kept = kept[1:]
			}
			if len(kept) > 0 && kept[0].BaseOffset() <= r.Offset && r.Offset < to {
				s := seen{r.Offset, lane.Advance(kept[0].BaseSequence(), r.Offset-kept[0].BaseOffset()), r.Timestamp.UnixMilli(), sum(seed, r)}
				if kept[0].LogAppendTime() {
					s.time = anyTime
				}
				out = append(out, s)
			}
		}
		if len(out) >= 2*MostRecords {
			out = append(out[:0], out[len(out)-MostRecords:]...)
		}
		return next, nil
	})
	return out[max(0, len(out)-MostRecords):], err
}

// batches are those in raw that keep wants.
func batches(raw []byte, keep func(batch.View) bool) (out []batch.View, err error) {
	for {
		v, rest, err := batch.Next(raw)
		if errors.Is(err, batch.ErrShort) {
			return out, nil
		}
		if err != nil {
			return nil, err
		}
		if keep(v) {
			out = append(out, v)
		}
		raw = rest
	}
}

// sum leaves out the time, which a topic with LogAppendTime has of its own.
func sum(seed maphash.Seed, r *kgo.Record) uint64 {
	var h maphash.Hash
	h.SetSeed(seed)
	put := func(b []byte) {
		maphash.WriteComparable(&h, len(b))
		_, _ = h.Write(b)
	}
	maphash.WriteComparable(&h, r.Value == nil)
	put(r.Key)
	put(r.Value)
	for _, x := range r.Headers {
		put([]byte(x.Key))
		put(x.Value)
	}
	return h.Sum64()
}
