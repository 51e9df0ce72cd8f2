package produce

import (
	"time"

	"github.com/kferry/kferry/offsets"
	"github.com/kferry/kferry/replicator/batch"
	"github.com/kferry/kferry/replicator/budget"
	"github.com/kferry/kferry/replicator/lane"
	"github.com/kferry/kferry/replicator/recode"
)

const (
	// Batches are joined up to this size, or the target's limit if lower.
	mergedBytes = 1 << 20
	// A batch is small if joining it with its neighbours costs the CPU less
	// than the broker spends on one more batch. Uncompressed ones are only copied.
	smallPlain = 64 << 10
	// To join compressed batches they are opened and compressed again, which pays for
	// the smallest only. But a lane brings a few batches in a round trip, so over a long
	// way they must be larger: by so many bytes for each millisecond.
	leastPacked, packedPerMilli, mostPacked = 2 << 10, 2 << 10, 8 << 10
)

// smallPacked is below which size, in bytes, compressed batches are joined.
func smallPacked(trip time.Duration) int {
	return int(min(max(trip*packedPerMilli/time.Millisecond, leastPacked), mostPacked))
}

// merger joins small batches of a lane that wait anyway. It is for one goroutine.
type merger struct {
	rec    *recode.Recoder
	packed int // bytes below which compressed batches are joined
	views  []batch.View
}

func newMerger(trip time.Duration) merger {
	m := merger{rec: recode.New(), packed: smallPacked(trip)}
	m.rec.Room = budget.Room
	return m
}

// join returns what to send for the first used of the waiting batches; it joins
// none from both sides of cut.
func (m *merger) join(waiting []lane.Item, limit int, cut offsets.Source) (it lane.Item, used int, err error) {
	m.views = m.views[:0]
	limit = min(limit, mergedBytes)
	for i, sum := 0, 0; i < len(waiting); i++ {
		v := batch.View(waiting[i].Bytes)
		sum += len(v)
		if !m.small(v) || i > 0 && (sum > limit || waiting[0].First < cut && cut <= waiting[i].First) {
			break
		}
		m.views = append(m.views, v)
	}
	if len(m.views) < 2 {
		return waiting[0], 1, nil
	}
	v, used, err := m.rec.Merge(m.views, limit)
	if err != nil || used == 1 {
		return waiting[0], 1, err
	}
	it = lane.Item{Bytes: v, First: waiting[0].First, Time: waiting[0].Time, Newest: waiting[0].Newest, Path: lane.Merged}
	// The joined batch has memory of its own; the first one's share of the
	// budget is given back with the others'.
	it.Hold = waiting[0].Hold.Split(int64(len(v))).Lend(v)
	for _, w := range waiting[:used] {
		it.Records += w.Records
		it.Newest = max(it.Newest, w.Newest)
	}
	it.Runs = lane.JoinRuns(waiting[:used])
	return it, used, nil
}

func (m *merger) small(v batch.View) bool {
	if v.Codec() == batch.None {
		return len(v) < smallPlain
	}
	return len(v) < m.packed
}

func stamp(it lane.Item, c lane.Claim) {
	batch.View(it.Bytes).Stamp(c.Producer, c.Epoch, c.Sequence)
}
