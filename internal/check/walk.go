package check

import (
	"bytes"
	"context"
	"hash/maphash"
	"slices"

	"github.com/twmb/franz-go/pkg/kgo"
)

const (
	// pastLimit is how many of the last agreeing records are remembered, to tell a record that comes twice.
	pastLimit = 1 << 20
	// restLimit bounds the records of one side that are held for classification.
	restLimit = 4 << 20
)

// seed is one for the process: hashes of different partitions are compared too.
var seed = maphash.MakeSeed()

// entry stands for a record of which only hashes are kept.
type entry struct {
	offset              int64
	key, value, headers uint64
	stamp               int64 // milliseconds
	attrs               kgo.RecordAttrs
}

// id is equal for records of equal identity.
func (e *entry) id() uint64 {
	return e.body() ^ mix(e.headers, 2) ^ mix(uint64(e.stamp), 3)
}

// body is id without headers and timestamp.
func (e *entry) body() uint64 { return mix(e.key, 0) ^ mix(e.value, 1) }

// mix makes equal words in different fields count differently (the finaliser of MurmurHash3).
func mix(v, field uint64) uint64 {
	v += (field + 1) * 0x9e3779b97f4a7c15
	v = (v ^ v>>33) * 0xff51afd7ed558ccd
	v = (v ^ v>>33) * 0xc4ceb9fe1a85ec53
	return v ^ v>>33
}

// hashBytes tells nil from empty.
func hashBytes(b []byte) uint64 {
	if b == nil {
		return 0
	}
	return maphash.Bytes(seed, b) | 1
}

func toEntry(r *kgo.Record) entry {
	e := entry{offset: r.Offset, key: hashBytes(r.Key), value: hashBytes(r.Value), stamp: r.Timestamp.UnixMilli(), attrs: r.Attrs}
	for i, h := range r.Headers {
		e.headers = mix(e.headers^mix(maphash.String(seed, h.Key), 4)^mix(hashBytes(h.Value), 5), uint64(i))
	}
	return e
}

// walk goes through both sides of a partition. As long as they agree nothing is kept but past.
type walk struct {
	o        *Options
	f        *findings
	src, dst *stream
	past     []uint64 // ids of the last records that agreed; a ring once it is full
	agreed   int
}

func (w *walk) run(ctx context.Context) error {
	for {
		s, err := w.src.next(ctx)
		if err != nil {
			return err
		}
		t, err := w.dst.next(ctx)
		if err != nil || s == nil && t == nil {
			return err
		}
		if s == nil || t == nil || !same(s, t) {
			return w.rest(ctx, s, t)
		}
		w.f.Source++
		w.f.Target++
		w.remember(s)
		w.f.attributes(w.o, s.Offset, t.Offset, s.Attrs, t.Attrs)
	}
}

// same compares identities.
func same(s, t *kgo.Record) bool {
	return equal(s.Key, t.Key) && equal(s.Value, t.Value) && s.Timestamp.UnixMilli() == t.Timestamp.UnixMilli() &&
		slices.EqualFunc(s.Headers, t.Headers, func(a, b kgo.RecordHeader) bool {
			return a.Key == b.Key && equal(a.Value, b.Value)
		})
}

// equal tells nil from empty.
func equal(a, b []byte) bool { return (a == nil) == (b == nil) && bytes.Equal(a, b) }

func (w *walk) remember(r *kgo.Record) {
	e := toEntry(r)
	if len(w.past) < pastLimit {
		w.past = append(w.past, e.id())
	} else {
		w.past[w.agreed%pastLimit] = e.id()
	}
	w.agreed++
}

// rest reads what follows the first difference, of which s and t are the records (nil: that side is at its end), and
// classifies it as a whole. Looking at all of it needs no guess about how far apart two copies may lie.
func (w *walk) rest(ctx context.Context, s, t *kgo.Record) error {
	src, err := drain(ctx, w.src, s)
	if err != nil {
		return err
	}
	dst, err := drain(ctx, w.dst, t)
	if err != nil {
		return err
	}
	w.f.Source += int64(len(src))
	w.f.Target += int64(len(dst))
	w.f.classify(w.o, src, dst, w.past)
	return nil
}

func drain(ctx context.Context, st *stream, first *kgo.Record) ([]entry, error) {
	var out []entry
	var err error
	for r := first; r != nil; r, err = st.next(ctx) {
		if len(out) == restLimit {
			return out, ErrTooDifferent
		}
		out = append(out, toEntry(r))
	}
	return out, err
}
