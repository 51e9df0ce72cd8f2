package recode

import (
	"math"

	"github.com/kferry/kferry/replicator/batch"
)

// unpackedPerLimit bounds a merge of compressed batches: their records may be so
// many times the limit before they are compressed anew. It bounds memory and the
// work that is lost if the result is too large after all.
const unpackedPerLimit = 4

// Merge joins the longest prefix of vs that can be one batch: dense batches with
// CreateTime and the same codec, together at most limit bytes (0 is no limit) as
// they stand. used is how many of them it took. The result is never above limit,
// and has own memory, sealed and unstamped; only with used 1 it is vs[0] itself,
// unopened and as it came. vs must not be empty. The batches' offsets may have
// gaps between them: keep the offsets of what was joined.
//
// The only error is *CorruptError. A batch that matches its checksum but cannot
// be decoded ends the prefix, for merging must not make undeliverable what passes
// by itself.
func (r *Recoder) Merge(vs []batch.View, limit int) (out batch.View, used int, err error) {
	if limit <= 0 {
		limit = math.MaxInt32
	}
	n := prefix(vs, limit)
	if n < 2 {
		return vs[0], 1, nil
	}
	defer r.trim()
	plain := vs[0].Codec() == batch.None
	if plain {
		r.joint.body = r.room(total(vs[:n])) // the result itself, so that it is copied once
	}
	if used, err = r.join(vs[:n], limit); err != nil {
		return nil, 0, err
	}
	for ; used > 1; used /= 2 {
		// Together they compress to less than apart, nearly always.
		v, err := r.seal(r.marks[used-1], vs[0].Codec())
		if err == nil && len(v) <= limit {
			if plain {
				r.joint.body = nil
				return v, used, nil
			}
			return append(r.room(len(v)), v...), used, nil
		}
	}
	return vs[0], 1, nil
}

func (r *Recoder) room(n int) []byte {
	if r.Room != nil {
		return r.Room(n)
	}
	return make([]byte, 0, n)
}

func total(vs []batch.View) (n int) {
	for _, v := range vs {
		n += len(v)
	}
	return n
}

// prefix is how many of vs may be in one batch, judged by their headers. Entries,
// gaps and LogAppendTime are Recode's work. A batch that cleaning emptied must not
// come out as records, and a control batch not at all. Transactional batches may
// be joined with others: they are only here once they are committed.
func prefix(vs []batch.View, limit int) (n int) {
	size, records := batch.HeaderSize, int64(0)
	for _, v := range vs {
		if v.Magic() < 2 || v.Control() || v.LogAppendTime() || v.Count() == 0 || !v.Dense() || v.Codec() != vs[0].Codec() {
			break
		}
		size += len(v) - batch.HeaderSize
		if records += int64(v.Count()); size > limit || records > math.MaxInt32 {
			break
		}
		n++
	}
	return n
}

// join appends the records of vs to r.joint and notes in r.marks how it stands
// after each batch. It returns how many batches it could take.
func (r *Recoder) join(vs []batch.View, limit int) (used int, err error) {
	most := limit
	if vs[0].Codec() != batch.None {
		most = min(limit, r.MaxDecompressed/unpackedPerLimit) * unpackedPerLimit
	}
	r.joint.reset()
	r.marks = r.marks[:0]
	for i, v := range vs {
		if !v.Intact() {
			return 0, &CorruptError{Index: i, Offset: v.BaseOffset()}
		}
		plain, err := r.decompress(v, v.Records(), most)
		from := len(r.joint.body)
		whole := err == nil && r.joint.addAll(v, plain)
		if !whole || len(r.joint.body) > most {
			break // whatever is wrong with v, alone it may still pass: the target decides
		}
		if v.Codec() == batch.None {
			r.joint.sumUp(from) // now, while the records are in the processor's cache
		}
		r.marks = append(r.marks, r.joint)
	}
	return len(r.marks), nil
}

// addAll appends the records of the dense batch v. false leaves j unusable: the
// caller goes back to an earlier copy.
func (j *joint) addAll(v batch.View, plain []byte) bool {
	first := v.FirstTimestamp()
	i := int64(0)
	for ; len(plain) > 0; i++ {
		rec, n, why := nextRecord(plain)
		if why != "" || rec.off != i {
			return false
		}
		j.add(rec, first+rec.time)
		plain = plain[n:]
	}
	return i == int64(v.Count())
}
