// Package recode is the slow path: it opens batches and builds new ones. Recode
// turns one batch that no broker would take as it is into batches it does take;
// Merge joins small neighbours into one.
//
// What it builds holds the same records in the same order with the same codec,
// keys, values, headers and times. A batch is opened only after its checksum was
// verified, so the new checksum vouches for nothing that went bad before.
package recode

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/kferry/kferry/offsets"
	"github.com/kferry/kferry/replicator/batch"
)

// DefaultMaxDecompressed bounds, in bytes, what the records of one batch may
// decompress to: 512 MiB.
const DefaultMaxDecompressed = 512 << 20

// keepScratch is the largest buffer, in bytes, that a Recoder keeps between
// calls: one huge batch must not cost its memory for ever.
const keepScratch = 8 << 20

// Recoder opens and builds batches with buffers and codecs that it reuses. It is
// for one goroutine; what it returns is not tied to it. Each codec is set up when
// it is first met; zstd takes the most, about 2 MiB for both directions.
type Recoder struct {
	// MaxDecompressed bounds, in bytes, what one batch may decompress to.
	MaxDecompressed int
	// Room gives memory for a batch that Merge returns: empty, with a capacity of n
	// bytes or more. nil makes it anew each time.
	Room func(n int) []byte

	// Scratch memory; nothing that is returned refers to it.
	codecs codecs
	plain  []byte  // the records of the batch being read, decompressed
	flat   []byte  // the messages of an entry, as magic 2 records
	joint  joint   // the batch being built
	packed []byte  // the same, compressed
	marks  []joint // Merge: the joint after each batch
	runs   []offsets.Run

	skipped int // what Skipped returns
	first   int64
	dense   bool // what Span returns
}

// New returns a Recoder with DefaultMaxDecompressed.
func New() *Recoder { return &Recoder{MaxDecompressed: DefaultMaxDecompressed} }

// Options say which records Recode takes and how large it builds.
type Options struct {
	From  int64 // source offset: records below it are dropped
	To    int64 // records at or above it are left out; 0 is no bound
	Skip  int   // drop so many more records after those
	Limit int   // bytes that a built batch may have, header included; 0 is no limit
	Alone int   // the same for a batch of one record, where that may have more
}

// Out is one batch that Recode built.
type Out struct {
	Batch batch.View    // own memory, sealed, unstamped
	First int64         // source offset of the first record
	Next  int64         // source offset to read once this batch is done
	Count int32         // records in it, at least 1
	Runs  []offsets.Run // the records' source offsets; nil: they follow each other from First on
}

// ErrCorrupt means that a batch does not match the checksum it travelled with:
// fetch it again.
var ErrCorrupt = errors.New("checksum does not match, fetch again")

// CorruptError is ErrCorrupt with its place.
type CorruptError struct {
	Index  int   // of the batch among those given to Merge; 0 for Recode
	Offset int64 // base offset of the batch
}

func (e *CorruptError) Error() string {
	return fmt.Sprintf("recode: batch at offset %d: %v", e.Offset, ErrCorrupt)
}

// Unwrap makes errors.Is(err, ErrCorrupt) hold.
func (e *CorruptError) Unwrap() error { return ErrCorrupt }

// TooLargeError says that a record does not fit the target's limit, or that a
// batch decompresses to more than a Recoder's limit.
type TooLargeError struct {
	Offset   int64 // of the record; of the batch if Unpacked
	Size     int   // bytes of a batch with that record alone; 0 if Unpacked, where nobody counted
	Limit    int   // bytes
	Unpacked bool  // it is decompressed data that is too large
}

func (e *TooLargeError) Error() string {
	if e.Unpacked {
		return fmt.Sprintf("recode: batch at offset %d decompresses to more than %d bytes: it is damaged, or made to exhaust memory", e.Offset, e.Limit)
	}
	return fmt.Sprintf("recode: record at offset %d needs a batch of %d bytes, the target takes %d: raise max.message.bytes on the target topic", e.Offset, e.Size, e.Limit)
}

// Odd reports whether v must go through Recode before it may be produced: an
// entry, gaps between its offsets, LogAppendTime, records below from, or longer
// than limit bytes (0 is no limit).
func Odd(v batch.View, from int64, limit int) bool {
	return v.Magic() < 2 || !v.Dense() || v.LogAppendTime() || v.BaseOffset() < from ||
		limit > 0 && len(v) > limit
}

// Recode builds new batches from the records of v that o does not drop. Offsets
// become dense. With LogAppendTime each record gets the time the broker gave it;
// messages of magic 0 have no time and get -1, as a broker would give them. All
// Outs but the last have for Next the offset after their last record; the last
// has the offset after v, or o.To. No record left is an empty slice and no error.
//
// Errors: *CorruptError; *batch.BadError for a payload that matches its checksum
// but cannot be decoded; *TooLargeError. With a *TooLargeError for a record, the
// Outs before that record are returned too.
func (r *Recoder) Recode(v batch.View, o Options) ([]Out, error) {
	defer r.trim()
	r.skipped = 0
	if !v.Intact() {
		return nil, &CorruptError{Offset: v.BaseOffset()}
	}
	s, err := r.open(v)
	if err != nil {
		return nil, err
	}
	r.first, r.dense = s.base, s.count == s.last-s.base+1
	lo, hi, err := r.drop(s, o)
	if err != nil || lo == hi {
		return nil, err
	}
	outs, err := r.cut(nil, s, lo, hi, o)
	if err == nil {
		next := v.LastOffset() + 1
		if o.To > 0 {
			next = min(next, o.To)
		}
		outs[len(outs)-1].Next = next
	}
	return outs, err
}

// Skipped is how many records the last Recode dropped for Options.Skip. It is
// less than Skip if the batch ended first.
func (r *Recoder) Skipped() int { return r.skipped }

// Span tells of the last batch that Recode took apart without an error, whatever
// it kept of it: the offset of its first record, and whether each offset from
// there to its last one has a record. Of a compressed entry no header tells either.
func (r *Recoder) Span() (first int64, dense bool) { return r.first, r.dense }

// open decompresses and decodes v far enough to know where its records are.
func (r *Recoder) open(v batch.View) (*source, error) {
	switch {
	case v.Control():
		return nil, &batch.BadError{Offset: v.BaseOffset(), Reason: "a control batch holds no data to recode"}
	case v.Magic() < 2:
		return r.openEntry(v)
	}
	plain, err := r.decompress(v, v.Records(), r.MaxDecompressed)
	if err != nil {
		return nil, err
	}
	s := &source{
		plain: plain, base: v.BaseOffset(), last: v.LastOffset(), count: int64(v.Count()), codec: v.Codec(),
		first: v.FirstTimestamp(), fixed: v.LogAppendTime(), time: v.MaxTimestamp(),
	}
	return s, nil
}

// decompress returns the plain form of src, which is part of v, in r.plain or as
// src itself; more than most bytes are an error.
func (r *Recoder) decompress(v batch.View, src []byte, most int) ([]byte, error) {
	if v.Codec() == batch.None || len(src) == 0 { // emptied by cleaning, whatever the codec bits say
		return src, nil
	}
	plain, err := r.codecs.decompress(r.plain[:0], src, v.Codec(), most)
	if plain != nil {
		r.plain = plain
	}
	switch {
	case errors.Is(err, errTooBig):
		return nil, &TooLargeError{Offset: v.BaseOffset(), Limit: most, Unpacked: true}
	case err != nil:
		return nil, &batch.BadError{Offset: v.BaseOffset(), Reason: fmt.Sprintf("%s payload: %v", v.Codec(), err)}
	}
	return plain, nil
}

// drop checks all records of s and returns where those to keep begin and end.
func (r *Recoder) drop(s *source, o Options) (lo, hi int, err error) {
	prev, count := s.base-1, int64(0)
	for at := 0; at < len(s.plain); count++ {
		rec, n, why := nextRecord(s.plain[at:])
		if off := s.base + rec.off; why == "" && (off <= prev || off > s.last) {
			why = "offset out of order"
		}
		if why != "" {
			return 0, 0, &batch.BadError{Offset: s.base, Reason: fmt.Sprintf("record %d of %d: %s", count, s.count, why)}
		}
		prev, at = s.base+rec.off, at+n
		if o.To > 0 && prev >= o.To {
			continue
		}
		hi = at
		switch {
		case prev < o.From:
			lo = at
		case r.skipped < o.Skip:
			lo = at
			r.skipped++
		}
	}
	if count != s.count {
		return 0, 0, &batch.BadError{Offset: s.base, Reason: fmt.Sprintf("%d records in the payload, %d in the header", count, s.count)}
	}
	return lo, hi, nil
}

// cut builds batches within opts' limits from the records in plain[lo:hi]. A
// batch that comes out too large is cut into as many pieces as its size asks for,
// and so on: a compressed size is only known afterwards.
func (r *Recoder) cut(outs []Out, s *source, lo, hi int, opts Options) ([]Out, error) {
	o, err := r.build(s, lo, hi)
	if err != nil {
		return outs, err
	}
	size, limit := len(o.Batch), opts.Limit
	if o.Count == 1 && limit > 0 {
		limit = max(limit, opts.Alone)
	}
	if limit <= 0 || size <= limit {
		o.Batch = bytes.Clone(o.Batch)
		return append(outs, o), nil
	} else if o.Count == 1 {
		return outs, &TooLargeError{Offset: o.First, Size: size, Limit: limit}
	}
	step := (hi-lo-1)/((size-1)/limit+1) + 1
	for lo < hi && err == nil {
		mid := s.boundary(lo, min(lo+step, hi))
		outs, err = r.cut(outs, s, lo, mid, opts)
		lo = mid
	}
	return outs, err
}

// build makes one batch, in scratch memory, from the records in plain[lo:hi]; at
// least one.
func (r *Recoder) build(s *source, lo, hi int) (o Out, err error) {
	r.joint.reset()
	r.runs = r.runs[:0]
	for at := lo; at < hi; {
		rec, n, _ := nextRecord(s.plain[at:]) // drop has checked them all
		if at == lo {
			o.First = s.base + rec.off
		}
		o.Next = s.base + rec.off + 1
		r.runs = offsets.AppendRun(r.runs, offsets.Run{First: offsets.Source(s.base + rec.off), N: 1})
		r.joint.add(rec, s.timeOf(rec))
		at += n
	}
	if s.codec == batch.None {
		r.joint.sumUp(batch.HeaderSize)
	}
	o.Count = r.joint.count
	if len(r.runs) > 1 {
		o.Runs = slices.Clone(r.runs)
	}
	o.Batch, err = r.seal(r.joint, s.codec)
	return o, err
}

// seal makes a batch, in scratch memory, from what j holds.
func (r *Recoder) seal(j joint, c batch.Codec) (batch.View, error) {
	v, sum := batch.View(j.body), j.sum
	if c != batch.None {
		packed, err := r.codecs.compress(append(r.packed[:0], j.body[:batch.HeaderSize]...), j.body[batch.HeaderSize:], c)
		if err != nil {
			return nil, fmt.Errorf("recode: compress with %s: %w", c, err)
		}
		r.packed, v = packed, packed
		sum = batch.Sum(0).Add(v[batch.HeaderSize:])
	}
	if len(v) > math.MaxInt32 {
		return nil, fmt.Errorf("recode: a batch of %d bytes does not fit Kafka's length field: set a limit", len(v))
	}
	v.InitSummed(batch.Header{Codec: c, Count: j.count, FirstTimestamp: j.first, MaxTimestamp: j.max}, sum)
	return v, nil
}

// trim gives back what a huge batch made the buffers grow to.
func (r *Recoder) trim() {
	for _, b := range []*[]byte{&r.plain, &r.flat, &r.packed, &r.joint.body} {
		if cap(*b) > keepScratch {
			*b = nil
		}
	}
	clear(r.marks) // they refer to the joint's memory
}
