package fetch

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kferry/kferry/offsets"
	"github.com/kferry/kferry/replicator/batch"
	"github.com/kferry/kferry/replicator/budget"
	"github.com/kferry/kferry/replicator/lane"
	"github.com/kferry/kferry/replicator/recode"
)

func concat(es ...entry) (p []byte) {
	for _, e := range es {
		p = append(p, e.bytes()...)
	}
	return p
}

func abort(pid, first int64) kmsg.FetchResponseTopicPartitionAbortedTransaction {
	return kmsg.FetchResponseTopicPartitionAbortedTransaction{ProducerID: pid, FirstOffset: first}
}

// show writes items as "first-next path values".
func show(t testing.TB, items []lane.Item) (out []string) {
	t.Helper()
	for _, it := range items {
		vs := decode(t, it.Bytes)
		if int(it.Records) != len(vs) {
			t.Errorf("an item of %d records says %d", len(vs), it.Records)
		}
		out = append(out, fmt.Sprint(it.First, "-", it.Next, " ", it.Path, " ", vs))
	}
	return out
}

// split runs s as a fetcher does: where a batch does not follow what came before, it asks again.
func (s *splitter) split(raw []byte, aborts aborts) error {
	defer func(from int64) { s.from = from }(s.from)
	for {
		err := s.run(raw, aborts)
		if !errors.Is(err, errDoubt) {
			return err
		}
		s.from = s.next
	}
}

type aborts = []kmsg.FetchResponseTopicPartitionAbortedTransaction

func TestSplit(t *testing.T) {
	cut := func(p []byte, n int) []byte { return p[:n] }
	five := concat(data(0, 5))
	for _, c := range []struct {
		name          string
		raw           []byte
		aborts        aborts
		from, skip    int64
		cut           int64
		compacted     bool
		items         []string
		next, skipped int64
		short         int
	}{
		{name: "nothing", from: 7, next: 7},
		{name: "whole batches", raw: concat(data(0, 2), data(2, 1)), items: []string{"0-2 whole [v0 v1]", "2-3 whole [v2]"}, next: 3},
		{name: "begins inside a batch", raw: five, from: 3, items: []string{"3-5 recoded [v3 v4]"}, next: 5},
		{name: "begins after the first batches", raw: concat(data(0, 2), data(2, 1), data(3, 1)), from: 3, items: []string{"3-4 whole [v3]"}, next: 4},
		{name: "cut at the end", raw: cut(concat(data(0, 2), data(2, 2)), len(concat(data(0, 2)))+70), items: []string{"0-2 whole [v0 v1]"}, next: 2},
		{name: "does not fit", raw: cut(five, 61), next: 0, short: len(five)},
		{name: "does not fit behind old ones", raw: cut(concat(data(0, 2), data(2, 5)), len(concat(data(0, 2)))+30), from: 2, next: 2, short: len(concat(data(2, 5)))},
		{name: "cut in the length", raw: cut(five, 11), next: 0},

		{name: "committed", raw: concat(data(0, 2).by(1, transactional), marker(2, 1, "commit")), items: []string{"0-2 whole [v0 v1]"}, next: 3},
		{name: "aborted", raw: concat(data(0, 2).by(1, transactional), marker(2, 1, "abort")), aborts: aborts{abort(1, 0)}, next: 3},
		{
			name: "aborted among others", raw: concat(data(0, 1).by(1, transactional), data(1, 1).by(2, transactional), data(2, 1), marker(3, 1, "abort"), data(4, 1).by(1, transactional), marker(5, 2, "commit"), marker(6, 1, "commit")),
			aborts: aborts{abort(1, 0)}, items: []string{"1-2 whole [v1]", "2-3 whole [v2]", "4-5 whole [v4]"}, next: 7,
		},
		{
			name: "the same id without a transaction, inside one", raw: concat(data(0, 1).by(1, transactional), data(1, 1).by(1, 0), marker(2, 1, "abort")),
			aborts: aborts{abort(1, 0)}, items: []string{"1-2 whole [v1]"}, next: 3,
		},
		{
			name: "aborted twice, named in any order", raw: concat(data(0, 1).by(1, transactional), marker(1, 1, "abort"), data(2, 1).by(1, transactional), marker(3, 1, "commit"), data(4, 1).by(1, transactional), marker(5, 1, "abort")),
			aborts: aborts{abort(1, 4), abort(1, 0)}, items: []string{"2-3 whole [v2]"}, next: 6,
		},
		{
			name: "began before", raw: concat(data(10, 1).by(1, transactional), marker(11, 1, "abort"), data(12, 1).by(1, transactional)),
			aborts: aborts{abort(1, 3)}, from: 10, items: []string{"12-13 whole [v12]"}, next: 13,
		},
		{
			name: "ended before, in what the broker sent too much", raw: concat(data(8, 1).by(1, transactional), marker(9, 1, "abort"), data(10, 1).by(1, transactional), marker(11, 1, "commit")),
			aborts: aborts{abort(1, 8)}, from: 10, items: []string{"10-11 whole [v10]"}, next: 12,
		},

		{name: "skip whole", raw: concat(data(0, 2), data(2, 2)), skip: 2, items: []string{"2-4 whole [v2 v3]"}, next: 4, skipped: 2},
		{name: "skip into a batch", raw: concat(data(0, 2), data(2, 3)), skip: 4, items: []string{"4-5 recoded [v4]"}, next: 5, skipped: 4},
		{name: "skip more than there is", raw: concat(data(0, 2)), skip: 9, next: 2, skipped: 2},
		{name: "skip counts no marker and nothing aborted", raw: concat(data(0, 2).by(1, transactional), marker(2, 1, "abort"), data(3, 2), marker(5, 2, "commit"), data(6, 1)), aborts: aborts{abort(1, 0)}, skip: 2, items: []string{"6-7 whole [v6]"}, next: 7, skipped: 2},
		{name: "skip from inside a batch", raw: concat(data(0, 5)), from: 1, skip: 2, items: []string{"3-5 recoded [v3 v4]"}, next: 5, skipped: 2},
		{name: "skip on a compacted topic without gaps", raw: concat(data(0, 2), marker(2, 1, "commit"), data(3, 1)), skip: 2, compacted: true, items: []string{"3-4 whole [v3]"}, next: 4, skipped: 2},

		{name: "gaps", raw: concat(data(0, 4).without(1), data(9, 1)), compacted: true, items: []string{"0-4 recoded [v0 v2 v3]", "9-10 whole [v9]"}, next: 10},
		{name: "emptied", raw: concat(data(0, 3).without(0, 1, 2), data(3, 1)), compacted: true, items: []string{"3-4 whole [v3]"}, next: 4},
		{name: "a cut", raw: concat(data(0, 2), data(2, 4), data(6, 2)), cut: 3, items: []string{"0-2 whole [v0 v1]", "2-3 recoded [v2]", "3-6 recoded [v3 v4 v5]", "6-8 whole [v6 v7]"}, next: 8},
		{name: "a cut between batches", raw: concat(data(0, 2), data(2, 2)), cut: 2, items: []string{"0-2 whole [v0 v1]", "2-4 whole [v2 v3]"}, next: 4},
		{name: "a cut behind, and where the reading begins", raw: concat(data(0, 4)), from: 2, cut: 2, items: []string{"2-4 recoded [v2 v3]"}, next: 4},
		{name: "a cut among records to skip", raw: concat(data(0, 6)), cut: 2, skip: 3, items: []string{"3-6 recoded [v3 v4 v5]"}, next: 6, skipped: 3},
		{name: "a cut beside a gap", raw: concat(data(0, 6).without(2, 3)), compacted: true, cut: 3, items: []string{"0-3 recoded [v0 v1]", "4-6 recoded [v4 v5]"}, next: 6},
		{name: "log append time", raw: concat(data(0, 2).by(-1, logAppendTime)), items: []string{"0-2 recoded [v0 v1]"}, next: 2},
		{name: "delete horizon", raw: concat(data(0, 2).by(-1, deleteHorizon)), items: []string{"0-2 whole [v0 v1]"}, next: 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := splitter{end: math.MaxInt64, from: c.from, skip: c.skip, cut: c.cut, rec: recode.New(), hold: budget.New(0).Hold(0)}
			if err := s.split(c.raw, c.aborts); err != nil {
				t.Fatal(err)
			}
			if got := show(t, s.items); !slices.Equal(got, c.items) {
				t.Errorf("\n got %v\nwant %v", got, c.items)
			}
			if s.next != c.next || s.skipped != c.skipped || s.short != c.short {
				t.Errorf("next %d skipped %d short %d, want %d %d %d", s.next, s.skipped, s.short, c.next, c.skipped, c.short)
			}
		})
	}
}

// Records that were removed cannot be counted, so neither can those to skip.
func TestSplitRefusesToCountGaps(t *testing.T) {
	for name, raw := range map[string][]byte{
		"between batches": concat(data(0, 1), data(2, 3)),
		"before them":     concat(data(1, 3)),
		"in a batch":      concat(data(0, 3).without(1)),
		"emptied":         concat(data(0, 3).without(0, 1, 2), data(3, 3)),
	} {
		// A topic that is not compacted now may have been.
		for _, gaps := range []bool{false, true} {
			s := splitter{end: math.MaxInt64, skip: 3, gaps: gaps, rec: recode.New(), hold: budget.New(0).Hold(0)}
			if err := s.split(raw, nil); !UncountedGap(err) || len(s.items) > 0 {
				t.Errorf("%s, gaps known %v: %v, %d items", name, gaps, err, len(s.items))
			}
		}
	}
}

// What comes before the bad place is taken; next is the bad place.
func TestSplitStopsAtDamage(t *testing.T) {
	good := data(0, 2).bytes()
	nonsense := data(2, 2).bytes()
	nonsense[16] = 9 // magic
	odd := data(2, 2).by(-1, logAppendTime).bytes()
	odd[len(odd)-1] ^= 1
	var bad *batch.BadError
	var large *recode.TooLargeError
	for _, c := range []struct {
		name  string
		tail  []byte
		limit int
		is    func(error) bool
	}{
		{"no batch", nonsense, 0, func(err error) bool { return errors.As(err, &bad) }},
		{"wrong checksum where it is opened", odd, 0, func(err error) bool { return errors.Is(err, recode.ErrCorrupt) }},
		{"one record too large", data(2, 1).by(-1, logAppendTime).bytes(), 40, func(err error) bool { return errors.As(err, &large) && large.Offset == 2 }},
	} {
		b := budget.New(1000)
		b.Adjust(100)
		hold := b.Hold(100)
		s := splitter{end: math.MaxInt64, rec: recode.New(), hold: hold}
		if err := s.run(good, nil); err != nil {
			t.Fatal(err)
		}
		s.limit = c.limit
		s.from = s.next
		err := s.run(c.tail, nil)
		if !c.is(err) || s.next != 2 || len(s.items) != 1 {
			t.Errorf("%s: %v, next %d, %d items", c.name, err, s.next, len(s.items))
		}
		hold.Release()
		s.items[0].Hold.Release()
		if b.Used() != 0 {
			t.Errorf("%s: %d bytes held", c.name, b.Used())
		}
	}
}

// TestSplitModel compares the splitter with a dumb model of a log and, where
// nothing is skipped, with kgo's own consumer.
func TestSplitModel(t *testing.T) {
	gaps := 0
	rec := recode.New()
	for seed := range uint64(2000) {
		r := rand.New(rand.NewPCG(seed, 2))
		compacted := seed%3 == 0
		l := makeLog(r, compacted)
		begin := l.entries[0].base
		from := begin + r.Int64N(l.end()-begin)
		early := r.IntN(3) * r.IntN(2)
		raw, aborts, upTo := l.read(r, from, early)
		want := l.committed(from, upTo)
		if early == 0 { // kgo does not look at markers below its offset
			checkAgainstKgo(t, seed, raw, aborts, from, want)
		}

		b := budget.New(math.MaxInt64)
		b.Adjust(int64(len(raw)))
		hold := b.Hold(int64(len(raw)))
		skip := int64(0)
		if r.IntN(2) == 0 {
			skip = r.Int64N(8)
		}
		s := splitter{end: math.MaxInt64, from: from, skip: skip, gaps: compacted && seed%2 == 0, rec: rec, hold: hold}
		if r.IntN(3) == 0 {
			s.limit = 100 + r.IntN(100)
		}
		err := s.split(raw, aborts)
		hold.Release()
		switch {
		case err != nil && (!compacted || skip == 0 || !UncountedGap(err) || len(s.items) > 0):
			t.Fatalf("seed %d: %v after %d items", seed, err, len(s.items))
		case err != nil:
			gaps++
			want = l.committed(from, s.next)
		case upTo > from && s.next != upTo || upTo <= from && s.next != from:
			t.Fatalf("seed %d: next %d, read to %d", seed, s.next, upTo)
		}
		if n := min(skip, int64(len(want))); s.skipped != n || s.skip != skip-n {
			t.Fatalf("seed %d: skipped %d, left %d; want %d of %d", seed, s.skipped, s.skip, n, skip)
		}
		checkItems(t, seed, &s, want[s.skipped:], b)
	}
	if gaps == 0 {
		t.Error("no gap was met where records were counted")
	}
}

func checkAgainstKgo(t *testing.T, seed uint64, raw []byte, aborts aborts, from int64, want []int64) {
	t.Helper()
	fp, _ := kgo.ProcessFetchPartition(kgo.ProcessFetchPartitionOpts{Offset: from, IsolationLevel: kgo.ReadCommitted()},
		&kmsg.FetchResponseTopicPartition{RecordBatches: raw, AbortedTransactions: slices.Clone(aborts)}, decompressor, nil)
	var got []int64
	for _, r := range fp.Records {
		got = append(got, r.Offset)
	}
	if fp.Err != nil || !slices.Equal(got, want) {
		t.Fatalf("seed %d: kgo reads %v, %v; the model says %v", seed, got, fp.Err, want)
	}
}

func checkItems(t *testing.T, seed uint64, s *splitter, want []int64, b *budget.Budget) {
	t.Helper()
	var got []string
	at := offsets.Source(s.from)
	for _, it := range s.items {
		vs := decode(t, it.Bytes)
		if it.First < at || it.Next <= it.First || int(it.Records) != len(vs) || fmt.Sprint("v", it.First) != vs[0] ||
			s.limit > 0 && len(it.Bytes) > s.limit || !batch.View(it.Bytes).Dense() || batch.View(it.Bytes).LogAppendTime() {
			t.Fatalf("seed %d: item %d-%d of %d records, after %d, holds %v", seed, it.First, it.Next, it.Records, at, vs)
		}
		at = it.Next
		got = append(got, vs...)
		it.Hold.Release()
	}
	if !slices.Equal(got, values(want)) {
		t.Fatalf("seed %d from %d:\n got %v\nwant %v", seed, s.from, got, want)
	}
	if int64(at) > s.next || b.Used() != 0 {
		t.Fatalf("seed %d: items end at %d, next %d; %d bytes of the budget held", seed, at, s.next, b.Used())
	}
}

// FuzzSplit: hostile bytes neither panic nor leave memory held.
func FuzzSplit(f *testing.F) {
	f.Add(concat(data(0, 2), data(2, 3)), int64(1), int64(2), 90, false, int64(1), int64(0))
	f.Add(concat(data(0, 2).by(1, transactional), marker(2, 1, "abort"), data(3, 1)), int64(0), int64(0), 0, true, int64(1), int64(0))
	for seed := range uint64(20) {
		r := rand.New(rand.NewPCG(seed, 3))
		l := makeLog(r, seed%2 == 0)
		f.Add(concat(l.entries...), l.entries[0].base+1, r.Int64N(9), r.IntN(200), seed%3 == 0, r.Int64N(4), l.entries[0].base)
	}
	f.Fuzz(func(t *testing.T, raw []byte, from, skip int64, limit int, gaps bool, pid, first int64) {
		if from < 0 || skip < 0 || limit < 0 {
			return
		}
		b := budget.New(math.MaxInt64)
		hold := b.Hold(0)
		rec := recode.New()
		rec.MaxDecompressed = 1 << 20
		s := splitter{end: math.MaxInt64, from: from, skip: skip, limit: limit, gaps: gaps, rec: rec, hold: hold}
		err := s.split(raw, aborts{abort(pid, first), abort(pid, math.MinInt64), abort(-1, math.MaxInt64)})
		if s.skipped < 0 || s.skip < 0 || s.skipped+s.skip != skip || s.short < 0 {
			t.Fatalf("skipped %d, left %d of %d; short %d", s.skipped, s.skip, skip, s.short)
		}
		at := offsets.Source(from)
		for _, it := range s.items {
			if it.Records < 1 || it.First < at || it.Next <= it.First {
				t.Fatalf("item %d-%d of %d records, after %d (%v)", it.First, it.Next, it.Records, at, err)
			}
			at = it.Next
			it.Hold.Release()
		}
		if int64(at) > s.next {
			t.Fatalf("next %d, items end at %d", s.next, at)
		}
		hold.Release()
		if b.Used() != 0 {
			t.Fatalf("%d bytes held", b.Used())
		}
	})
}

// No checksum covers the base offset: one that cannot be must not move the lane.
func TestSplitRefusesWrongOffsets(t *testing.T) {
	for name, c := range map[string]struct {
		raw []byte
		end int64
	}{
		"beyond the end": {data(0, 2).bytes(), 1},
		"going back":     {append(data(5, 2).bytes(), data(6, 2).bytes()...), 100},
	} {
		s := splitter{end: c.end, rec: recode.New(), hold: budget.New(0).Hold(0)}
		var bad *batch.BadError
		if err := s.split(c.raw, nil); !errors.As(err, &bad) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
