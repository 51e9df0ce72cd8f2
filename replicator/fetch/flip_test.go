package fetch

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"testing"

	"github.com/kferry/kferry/replicator/batch"
	"github.com/kferry/kferry/replicator/budget"
	"github.com/kferry/kferry/replicator/recode"
)

// flips is a log of which one bit turns over in the first answer, and what is carried of it.
type flips struct {
	log        []entry
	aborts     aborts // of transactions that end below offset 6
	from, skip int64
	cut        int // bytes that the first answer is shorter by
	rec        *recode.Recoder
}

// answer is what a broker sends from offset at on.
func (f *flips) answer(at int64) []byte {
	es := f.log
	for len(es) > 0 && es[0].last < at {
		es = es[1:]
	}
	return concat(es...)
}

func (f *flips) end() int64 { return f.log[len(f.log)-1].last + 1 }

// carry reads the log to its end as a fetcher does, and returns the values that the target stores. An error, or a batch that
// the target refuses for its checksum, ends it.
func (f *flips) carry(t *testing.T, bit int) (got []string, err error) {
	t.Helper()
	at, skip, gaps, seen := f.from, f.skip, false, place{}
	flipped := f.answer(f.from)
	if bit >= 0 {
		flipped[bit/8] ^= 1 << (bit % 8)
	}
	flipped = flipped[:len(flipped)-f.cut]
	for try := 0; at < f.end(); try++ {
		raw := flipped
		if try > 0 {
			raw = f.answer(at)
		}
		s := splitter{
			from: at, end: 1 << 20, skip: skip, gaps: gaps, seen: seen, // the log goes on far behind what is read
			rec: f.rec, hold: budget.New(math.MaxInt64).Hold(0),
		}
		named := f.aborts
		if at > 5 {
			named = nil
		}
		err := s.run(raw, named)
		for _, it := range s.items {
			if !batch.View(it.Bytes).Intact() {
				return got, errors.New("refused by the target")
			}
			got = append(got, decode(t, it.Bytes)...)
		}
		at, skip, gaps, seen = s.next, s.skip, s.gaps, s.seen
		if UncountedGap(err) || try == 20 {
			return got, fmt.Errorf("at offset %d: %w", at, err)
		}
	}
	return got, nil
}

func offset(e entry) entry {
	e.attrs |= logAppendTime
	return e
}

// A bit turns over on the way, in any place of an answer: all that the log has is carried in order, nothing twice, or the
// target refuses it. Records that it had before are skipped, no more and no fewer.
func TestFlippedOnTheWay(t *testing.T) {
	plain := []entry{data(0, 2), data(2, 2), data(4, 2), data(6, 2)}
	zipped := slices.Clone(plain)
	for i := range zipped {
		zipped[i].codec = batch.Gzip
	}
	mixed := []entry{
		data(0, 2).by(1, transactional), data(2, 1), data(3, 2).by(2, transactional), marker(5, 1, "abort"), marker(6, 2, "commit"),
		data(7, 1).by(1, transactional), marker(8, 1, "commit"), data(9, 2),
	}
	for name, f := range map[string]*flips{
		"whole":                       {log: plain},
		"compressed":                  {log: zipped},
		"transactions":                {log: mixed, aborts: aborts{abort(1, 0)}},
		"from inside a batch":         {log: plain, from: 3},
		"from where one begins":       {log: []entry{data(0, 6), data(6, 4), data(10, 2)}, from: 6},
		"from inside an aborted one":  {log: mixed, aborts: aborts{abort(1, 0)}, from: 1},
		"from a marker on":            {log: mixed, aborts: aborts{abort(1, 0)}, from: 5},
		"skipped":                     {log: plain, skip: 4},
		"skipped into a batch":        {log: plain, skip: 3},
		"skipped among transactions":  {log: mixed, aborts: aborts{abort(1, 0)}, skip: 3},
		"log append time":             {log: []entry{offset(data(0, 2)), offset(data(2, 3)), data(5, 1)}},
		"compacted":                   {log: []entry{data(0, 4).without(1), data(4, 1), data(9, 2), data(20, 3).without(20, 21, 22), data(23, 1)}},
		"one batch":                   {log: plain[:1]},
		"cut inside the second batch": {log: plain[:2], cut: 20},
		"cut inside the last header":  {log: plain[:3], cut: len(concat(plain[2])) - 9},
	} {
		f.rec = recode.New()
		want, err := f.carry(t, -1)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		caught := 0
		for bit := range 8 * (len(f.answer(f.from)) - f.cut) {
			got, err := f.carry(t, bit)
			switch {
			case UncountedGap(err):
				t.Errorf("%s: bit %d is taken for records that are missing", name, bit)
			case err != nil && len(got) <= len(want) && slices.Equal(got, want[:len(got)]):
				caught++
			case err != nil || !slices.Equal(got, want):
				t.Errorf("%s: bit %d of byte %d: carried %v, %v; want %v", name, bit, bit/8, got, err, want)
			}
		}
		t.Logf("%s: %d of %d flips are for the target to find", name, caught, 8*len(f.answer(f.from)))
	}
}

// An offset that is wrong on the source's disk comes each time. What follows it shows that it is no gap.
func TestOffsetWrongOnDisk(t *testing.T) {
	raw := concat(data(0, 2), data(2, 2), data(4, 2))
	each := len(raw) / 3
	raw[each+6] ^= 1 // of 2: 258
	for name, b := range map[string][]byte{"followed by a batch": raw, "by the beginning of one": raw[:2*each+8]} {
		s := splitter{end: 1 << 20, rec: recode.New(), hold: budget.New(math.MaxInt64).Hold(0)}
		var bad *batch.BadError
		if err := s.split(b, nil); !errors.As(err, &bad) || s.next > 2 || len(s.items) > 1 {
			t.Errorf("%s: %v, next %d, %d items", name, err, s.next, len(s.items))
		}
	}
}
