package kafka

import (
	"encoding/binary"
	"net"

	"github.com/twmb/franz-go/pkg/kbin"
	"github.com/twmb/franz-go/pkg/kmsg"
)

const (
	// Records below this size, in bytes, are copied into the frame: less work than
	// one more piece.
	pieceBytes = 8 << 10
	// Memory that a frame keeps for the next one.
	keptFrame = 1 << 20
)

// frame builds requests out of pieces: records stay where they are.
type frame struct {
	text []byte // all but the records that stay where they are
	cuts []cut
	bufs net.Buffers
}

// cut is a place in text where records go.
type cut struct {
	at      int
	records []byte
}

// write sends header and req, which is of header's version. n is how many bytes were written.
func (f *frame) write(conn net.Conn, header []byte, req kmsg.Request) (n int64, err error) {
	f.text, f.cuts = append(f.text[:0], header...), f.cuts[:0]
	if p, ok := req.(*kmsg.ProduceRequest); ok {
		f.produce(p)
	} else {
		f.text = req.AppendTo(f.text)
	}
	size, from := len(f.text)-4, 0
	f.bufs = f.bufs[:0]
	for _, c := range f.cuts {
		size += len(c.records)
		f.bufs = append(f.bufs, f.text[from:c.at], c.records)
		from = c.at
	}
	f.bufs = append(f.bufs, f.text[from:])
	binary.BigEndian.PutUint32(f.text, uint32(size))
	rest := f.bufs
	n, err = rest.WriteTo(conn)
	clear(f.bufs)
	clear(f.cuts) // records must not be kept from the collector
	if cap(f.text) > keptFrame {
		f.text = nil
	}
	return n, err
}

// produce appends r as ProduceRequest.AppendTo does, but for tags, which Kafka has
// not given a meaning yet.
func (f *frame) produce(r *kmsg.ProduceRequest) {
	compact := r.IsFlexible()
	if r.Version >= 3 {
		if compact {
			f.text = kbin.AppendCompactNullableString(f.text, r.TransactionID)
		} else {
			f.text = kbin.AppendNullableString(f.text, r.TransactionID)
		}
	}
	f.text = kbin.AppendInt16(f.text, r.Acks)
	f.text = kbin.AppendInt32(f.text, r.TimeoutMillis)
	f.length(len(r.Topics), compact)
	for i := range r.Topics {
		t := &r.Topics[i]
		switch {
		case r.Version >= 13:
			f.text = kbin.AppendUuid(f.text, t.TopicID)
		case compact:
			f.text = kbin.AppendCompactString(f.text, t.Topic)
		default:
			f.text = kbin.AppendString(f.text, t.Topic)
		}
		f.length(len(t.Partitions), compact)
		for j := range t.Partitions {
			f.text = kbin.AppendInt32(f.text, t.Partitions[j].Partition)
			f.records(t.Partitions[j].Records, compact)
			f.noTags(compact)
		}
		f.noTags(compact)
	}
	f.noTags(compact)
}

// length appends how many elements follow.
func (f *frame) length(n int, compact bool) {
	if compact {
		f.text = kbin.AppendCompactArrayLen(f.text, n)
	} else {
		f.text = kbin.AppendArrayLen(f.text, n)
	}
}

// records appends a batch, or leaves a place for it.
func (f *frame) records(b []byte, compact bool) {
	if compact {
		f.text = kbin.AppendUvarint(f.text, uint32(len(b)+1))
	} else {
		f.text = kbin.AppendInt32(f.text, int32(len(b)))
	}
	if len(b) < pieceBytes {
		f.text = append(f.text, b...)
	} else {
		f.cuts = append(f.cuts, cut{len(f.text), b})
	}
}

func (f *frame) noTags(compact bool) {
	if compact {
		f.text = append(f.text, 0)
	}
}
