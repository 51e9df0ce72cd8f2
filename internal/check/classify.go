package check

import (
	"fmt"
	"sort"
	"strings"

	"github.com/twmb/franz-go/pkg/kgo"
)

// strayLimit bounds the unpaired records of a partition that are looked for in other partitions.
const strayLimit = 100_000

// findings are what is known of a partition before partitions are compared with each other.
type findings struct {
	Partition
	lost, extra []entry // at most strayLimit each
}

// attributes judges what is beside the identity of a pair.
func (f *findings) attributes(o *Options, s, t int64, source, target kgo.RecordAttrs) {
	if a, b := source.CompressionType(), target.CompressionType(); !o.Codec(a, b) {
		f.note(Damaged, s, t, fmt.Sprintf("codec is %s, not %s", codecName(b), codecName(a)))
	} else if target.TimestampType() == 1 {
		f.note(Damaged, s, t, "timestamp type is LogAppendTime, not CreateTime")
	}
}

func codecName(c uint8) string {
	if names := []string{"none", "gzip", "snappy", "lz4", "zstd"}; int(c) < len(names) {
		return names[c]
	}
	return fmt.Sprintf("%d", c)
}

// classify pairs src with dst: first equal identities (the n-th copy with the n-th), then equal keys and values, then
// unpaired records that stand between the same pairs. past holds the identities that came before. What stays unpaired on
// the target is there twice if its identity is known, else extra; on the source it is lost.
func (f *findings) classify(o *Options, src, dst []entry, past []uint64) {
	of := make([]int, len(dst)) // the source index paired with each target record, or -1
	for j := range of {
		of[j] = -1
	}
	taken := make([]bool, len(src))
	pair(src, dst, taken, of, (*entry).id)
	twice := f.twice(src, dst, of, past)
	pair(src, dst, taken, of, (*entry).body)
	f.order(src, dst, of)
	pairGaps(taken, of)

	for j, i := range of {
		if i < 0 && !twice[j] {
			f.note(Extra, -1, dst[j].offset, "no source record of this partition is like it")
			f.extra = stray(f.extra, dst[j])
		} else if i >= 0 {
			if what := differs(&src[i], &dst[j]); what != "" {
				f.note(Damaged, src[i].offset, dst[j].offset, what)
			} else {
				f.attributes(o, src[i].offset, dst[j].offset, src[i].attrs, dst[j].attrs)
			}
		}
	}
	for i, ok := range taken {
		if !ok {
			f.note(Lost, src[i].offset, -1, "not in this partition of the target")
			f.lost = stray(f.lost, src[i])
		}
	}
}

func stray(list []entry, e entry) []entry {
	if len(list) < strayLimit {
		list = append(list, e)
	}
	return list
}

// pair matches unpaired records of equal hash, the first of them on one side with the first on the other. A target
// record that has already been found to be there twice has of == twiceMark and is left alone.
func pair(src, dst []entry, taken []bool, of []int, hash func(*entry) uint64) {
	head := make(map[uint64]int, len(src)) // lowest free source index of a hash
	next := make([]int, len(src))
	for i := len(src) - 1; i >= 0; i-- {
		if taken[i] {
			continue
		}
		h := hash(&src[i])
		next[i] = -1
		if n, ok := head[h]; ok {
			next[i] = n
		}
		head[h] = i
	}
	for j := range dst {
		if of[j] != -1 {
			continue
		}
		h := hash(&dst[j])
		i, ok := head[h]
		if !ok {
			continue
		}
		of[j], taken[i] = i, true
		if next[i] < 0 {
			delete(head, h)
		} else {
			head[h] = next[i]
		}
	}
}

// twiceMark in the place of a source index says that the record is one more copy.
const twiceMark = -2

// twice marks the unpaired target records whose identity is known, in of as well as in its result.
func (f *findings) twice(src, dst []entry, of []int, past []uint64) []bool {
	known := make(map[uint64]struct{}, len(src)+len(past))
	for _, id := range past {
		known[id] = struct{}{}
	}
	for i := range src {
		known[src[i].id()] = struct{}{}
	}
	out := make([]bool, len(dst))
	for j := range dst {
		if of[j] >= 0 {
			continue
		}
		if _, ok := known[dst[j].id()]; ok {
			out[j], of[j] = true, twiceMark
			f.note(Twice, -1, dst[j].offset, "one more copy of a record that is there already")
		}
	}
	return out
}

// order counts the least number of records that would have to move to bring the target into source order: those
// outside a longest increasing run of source indices.
func (f *findings) order(src, dst []entry, of []int) {
	var tails []int // tails[n] is the lowest source index that ends an increasing run of n+1 pairs
	pairs, high, first := int64(0), -1, -1
	for j, i := range of {
		if i < 0 {
			continue
		}
		pairs++
		if i > high {
			high = i
		} else if first < 0 {
			first = j
		}
		n := sort.SearchInts(tails, i)
		if n == len(tails) {
			tails = append(tails, i)
		} else {
			tails[n] = i
		}
	}
	if first >= 0 {
		f.note(OutOfOrder, src[of[first]].offset, dst[first].offset, "comes after a later record of the source")
		f.OutOfOrder = pairs - int64(len(tails))
	}
}

// pairGaps pairs unpaired records that follow the same paired record, in order.
func pairGaps(taken []bool, of []int) {
	at := 0 // the source index after the last pair
	for j, i := range of {
		switch {
		case i >= 0:
			at = i + 1
		case i == -1 && at < len(taken) && !taken[at]:
			of[j], taken[at] = at, true
			at++
		}
	}
}

// differs names the parts of the identity that a pair does not share, "" for none.
func differs(s, t *entry) string {
	var parts []string
	for _, p := range []struct {
		name    string
		changed bool
	}{
		{"key", s.key != t.key}, {"value", s.value != t.value}, {"headers", s.headers != t.headers},
		{fmt.Sprintf("timestamp (%d, not %d)", t.stamp, s.stamp), s.stamp != t.stamp},
	} {
		if p.changed {
			parts = append(parts, p.name)
		}
	}
	if parts == nil {
		return ""
	}
	return "changed: " + strings.Join(parts, ", ")
}

// summarise finds lost records of one partition among the extra ones of another, and returns the partitions.
func summarise(found []findings) []Partition {
	type place struct {
		f *findings
		e entry
	}
	lost := make(map[uint64][]place)
	for i := range found {
		for _, e := range found[i].lost {
			lost[e.id()] = append(lost[e.id()], place{&found[i], e})
		}
	}
	for i := range found {
		to := &found[i]
		for _, e := range to.extra {
			from := lost[e.id()]
			if len(from) == 0 {
				continue
			}
			lost[e.id()] = from[1:]
			from[0].f.Lost--
			to.Extra--
			to.note(Moved, from[0].e.offset, e.offset, fmt.Sprintf("belongs to partition %d", from[0].f.Partition.Partition))
		}
	}
	out := make([]Partition, len(found))
	for i := range found {
		out[i] = found[i].settled()
	}
	return out
}
