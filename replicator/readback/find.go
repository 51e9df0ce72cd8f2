package readback

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kferry/kferry/internal/kafka"
	"github.com/kferry/kferry/offsets"
	"github.com/kferry/kferry/replicator/batch"
	"github.com/kferry/kferry/replicator/lane"
)

// Tail is what the target has of a lane beyond a position that was stored: the records
// of the N sequences up to Last. They followed source offset From, but the source has
// removed some since, so they cannot be counted there.
type Tail struct {
	From            offsets.Source // where the lane stood
	LogStart, End   offsets.Source // of what the source still has
	Start, TargetTo offsets.Target // where to look on the target
	Producer        int64
	Epoch           int16
	Last            int32
	N               int64
}

// Place is where a Tail ends on the source.
type Place struct {
	At    offsets.Source // all records of the tail that the source still has are before it
	Found int64          // how many those are
	Twice int64          // records at or behind At that may be of the tail as well
}

// Find compares both sides. Each record of the tail had an offset of its own, so At is
// at least From + N, and on a source whose offsets are all of records it is just that.
// Elsewhere the tail's last record that the source still has is looked for; of records
// that look alike it cannot be told which one it is, and then At is as early as can be.
//
// Two records that are alike to the millisecond, of which the source has removed the one
// that was carried, are taken for one where markers of transactions are between.
func Find(ctx context.Context, source, target kafka.Log, t Tail) (Place, error) {
	seed := maphash.MakeSeed()
	ours, err := read(ctx, target, int64(t.Start), int64(t.TargetTo), seed, func(v batch.View) bool {
		return v.Magic() == 2 && v.ProducerID() == t.Producer && v.ProducerEpoch() == t.Epoch
	})
	if err != nil {
		return Place{}, fmt.Errorf("target topic %q partition %d: %w", target.Topic, target.Partition, err)
	}
	theirs, dense, err := first(ctx, source, t, seed)
	if err != nil {
		return Place{}, fmt.Errorf("source topic %q partition %d: %w", source.Topic, source.Partition, err)
	}
	return find(theirs, ours, dense, t), nil
}

// errEnough ends a walk.
var errEnough = errors.New("enough")

// first returns the first records that the source still has from t.From on, as many as
// may be of the tail; dense tells that each offset there has one.
func first(ctx context.Context, l kafka.Log, t Tail, seed maphash.Seed) (out []seen, dense bool, err error) {
	from := int64(max(t.From, t.LogStart))
	plain := true
	err = l.Walk(ctx, from, int64(t.End), func(got kmsg.FetchResponseTopicPartition, at int64) (int64, error) {
		_, err := batches(got.RecordBatches, func(v batch.View) bool {
			plain = plain && !v.Transactional()
			return false
		})
		if err != nil {
			return at, err
		}
		rs, next, err := l.Records(got, at)
		for _, r := range rs {
			if int64(len(out)) == min(t.N, MostRecords) {
				return next, errEnough
			}
			out = append(out, seen{offset: r.Offset, time: r.Timestamp.UnixMilli(), sum: sum(seed, r)})
		}
		return next, err
	})
	if errors.Is(err, errEnough) {
		err = nil
	}
	return out, plain && (len(out) == 0 || out[len(out)-1].offset == from+int64(len(out))-1), err
}

// find is Find on what was read of both sides.
func find(theirs, ours []seen, dense bool, t Tail) Place {
	ours = t.of(ours)
	p := Place{At: max(t.From+offsets.Source(t.N), t.LogStart)}
	p.Found = count(theirs, p.At)
	if dense && follows(theirs[:p.Found], ours) {
		p.Twice = t.doubtful(theirs, ours, true, p.Found) // there should be none left
		return p
	}
	whole := int64(len(ours)) == t.N
	for j, o := range slices.Backward(ours) {
		n, last := t.places(theirs, o)
		if n == 0 {
			continue // gone, or compacted away
		}
		if n == 1 && whole && !twins(ours, o) && among(theirs[:last+1], ours[:j+1]) {
			p.At = max(p.At, offsets.Source(theirs[last].offset)+1)
			p.Found = count(theirs, p.At)
			return p
		}
		break
	}
	p.Twice = t.doubtful(theirs, ours, whole, p.Found)
	return p
}

// follows tells that the last of ours are just these.
func follows(these, ours []seen) bool {
	n := min(len(these), len(ours))
	return slices.EqualFunc(these[len(these)-n:], ours[len(ours)-n:], seen.same)
}

// among tells that all of these are among ours, in their order.
func among(these, ours []seen) bool {
	for _, o := range ours {
		if len(these) > 0 && these[0].same(o) {
			these = these[1:]
		}
	}
	return len(these) == 0
}

// twins tells that o is not the only one of its kind.
func twins(ours []seen, o seen) bool {
	n := 0
	for _, x := range ours {
		if x.same(o) {
			n++
		}
	}
	return n > 1
}

// places counts where in theirs o may be, and tells the last.
func (t Tail) places(theirs []seen, o seen) (n, last int) {
	behind := lane.Distance(o.seq, t.Last) // records of the tail
	for i, s := range theirs {
		if int64(i) < t.N-behind && s.same(o) {
			n, last = n+1, i
		}
	}
	return n, last
}

// doubtful is how many records, from number found on, there are up to the last that may
// be of the tail: one that looks like one of ours, or any if those are not the whole tail.
func (t Tail) doubtful(theirs, ours []seen, whole bool, found int64) int64 {
	theirs = theirs[:min(t.N, int64(len(theirs)))]
	looks := map[uint64]bool{}
	for _, o := range ours {
		looks[o.sum] = true
	}
	for i, s := range slices.Backward(theirs) {
		if looks[s.sum] || !whole {
			return max(0, int64(i)+1-found)
		}
	}
	return 0
}

// of keeps the records of the tail: later ones are of whoever carries on.
func (t Tail) of(ours []seen) (out []seen) {
	for _, s := range ours {
		if d := lane.Distance(s.seq, t.Last); d >= 0 && d < t.N {
			out = append(out, s)
		}
	}
	return out
}

// count is how many of the records are before at.
func count(theirs []seen, at offsets.Source) (n int64) {
	for _, s := range theirs {
		if s.offset < int64(at) {
			n++
		}
	}
	return n
}
