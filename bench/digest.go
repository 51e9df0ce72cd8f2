package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/maphash"
	"maps"
	"slices"
	"sync"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"golang.org/x/sync/errgroup"
)

// digest is what a partition holds: a sum over its records in their order, so that one that is missing, twice, changed or in
// another place makes another sum.
type digest struct {
	records, bytes int64 // bytes of keys and values
	sum            uint64
}

// seed is of this process: sums of different processes cannot be compared.
var seed = maphash.MakeSeed()

func (d *digest) add(r *kgo.Record) {
	var h maphash.Hash
	h.SetSeed(seed)
	piece := func(p []byte) {
		var n [8]byte
		size := int64(len(p))
		if p == nil {
			size = -1 // null is not empty
		}
		binary.LittleEndian.PutUint64(n[:], uint64(size))
		h.Write(n[:])
		h.Write(p)
	}
	piece(r.Key)
	piece(r.Value)
	for _, x := range r.Headers {
		piece([]byte(x.Key))
		piece(x.Value)
	}
	piece(binary.LittleEndian.AppendUint64(nil, uint64(r.Timestamp.UnixMilli())))
	const prime = 0x100000001b3 // that of FNV: the place of a record in the sum matters
	d.sum = d.sum*prime ^ h.Sum64()
	d.records++
	d.bytes += int64(len(r.Key) + len(r.Value))
}

// content is what a topic holds, by partition.
type content struct {
	parts   map[int32]digest
	batches int64
}

func (c content) total() (records, bytes int64) {
	for _, d := range c.parts {
		records, bytes = records+d.records, bytes+d.bytes
	}
	return records, bytes
}

// digest reads a topic as a consumer of committed records does. Where most is not nil it is how many records count of each
// partition, from the first on.
func (b *broker) digest(ctx context.Context, topic string, most map[int32]digest) (content, error) {
	ends, err := b.ends(ctx, topic)
	if err != nil {
		return content{}, err
	}
	starts, err := b.admin.ListStartOffsets(ctx, topic)
	if err != nil {
		return content{}, err
	}
	const readers = 2 // each decodes on one core only
	var mu sync.Mutex
	out := content{parts: map[int32]digest{}}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(readers)
	for some := range slices.Chunk(slices.Sorted(maps.Keys(ends)), readAtOnce) {
		for n := range readers {
			r := reading{addr: b.addr(), topic: topic, most: most, open: map[int32]int64{}, from: map[int32]kgo.Offset{}, found: map[int32]*digest{}}
			for i := n; i < len(some); i += readers {
				r.begin(some[i], starts, ends[some[i]])
			}
			g.Go(func() error {
				err := r.run(ctx)
				mu.Lock()
				defer mu.Unlock()
				for p, d := range r.found {
					out.parts[p] = *d
				}
				out.batches += r.batches
				return err
			})
		}
	}
	return out, g.Wait()
}

// readAtOnce is how many partitions are read at a time. For each answer a broker looks at all that a consumer has asked for: with
// ten thousand of them reading 100 MB took minutes, nearly all of it the broker's.
const readAtOnce = 400

// reading is what one consumer has to read.
type reading struct {
	addr, topic string
	most        map[int32]digest
	open        map[int32]int64 // partition to its end, until that is reached
	from        map[int32]kgo.Offset
	found       map[int32]*digest
	mu          sync.Mutex
	batches     int64
}

func (r *reading) begin(p int32, starts kadm.ListedOffsets, end int64) {
	r.found[p] = &digest{}
	start := starts[r.topic][p].Offset
	if start < end && (r.most == nil || r.most[p].records > 0) {
		r.from[p], r.open[p] = kgo.NewOffset().At(start), end
	}
}

// OnFetchBatchRead implements kgo.HookFetchBatchRead.
func (r *reading) OnFetchBatchRead(kgo.BrokerMetadata, string, int32, kgo.FetchBatchMetrics) {
	r.mu.Lock()
	r.batches++
	r.mu.Unlock()
}

func (r *reading) run(ctx context.Context) error {
	if len(r.open) == 0 {
		return nil
	}
	// Markers of transactions may be the last of a partition, so they are shown.
	cl, err := kgo.NewClient(kgo.SeedBrokers(r.addr), kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{r.topic: r.from}),
		kgo.KeepControlRecords(), freshMetadata, kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.FetchMaxPartitionBytes(4<<20), kgo.WithHooks(r))
	if err != nil {
		return err
	}
	defer cl.Close()
	for len(r.open) > 0 {
		fetches := cl.PollFetches(ctx)
		if err := errors.Join(ctx.Err(), fetches.Err()); err != nil {
			return fmt.Errorf("reading %s back: %w", r.topic, err)
		}
		fetches.EachRecord(r.record)
	}
	return nil
}

func (r *reading) record(x *kgo.Record) {
	end, ok := r.open[x.Partition]
	if !ok {
		return
	}
	d := r.found[x.Partition]
	if !x.Attrs.IsControl() && x.Offset < end {
		d.add(x)
	}
	if x.Offset+1 >= end || r.most != nil && d.records >= r.most[x.Partition].records {
		delete(r.open, x.Partition)
	}
}

// differ names the first partition that is not alike.
func differ(want, got content) error {
	for p, w := range want.parts {
		g := got.parts[p]
		switch {
		case g.records != w.records:
			return fmt.Errorf("partition %d of the target holds %d records, want %d", p, g.records, w.records)
		case g != w:
			return fmt.Errorf("partition %d of the target holds %d records as it should, but not the same ones in the same order", p, g.records)
		}
	}
	return nil
}
