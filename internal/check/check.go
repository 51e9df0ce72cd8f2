// Package check compares a topic with its replica, record by record, by reading both with an ordinary consumer.
//
// It is the judge of the data path, so it shares no code with it: kgo decodes, and everything else is here.
//
// Words: an identity is all that a copy must keep of a record (key, value, headers in order, timestamp); the codec of its
// batch and the timestamp type are judged beside it. Records pair up within a partition. What does not pair is lost,
// twice, damaged, extra or in the wrong partition.
package check

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"golang.org/x/sync/errgroup"
)

// Options says what to compare. The zero value of each field but Topic is useful.
type Options struct {
	Topic                  string
	TargetTopic            string // "" means Topic
	IsolationReadCommitted bool   // read both sides up to the last stable offset and leave out aborted transactions

	// Foreign tells the records of other writers on the target; they are counted and otherwise ignored. It is called from
	// several goroutines.
	Foreign func(*kgo.Record) bool
	// Aside tells the records of the source that must not be on the target, because it refuses them; they are counted and
	// otherwise left out, so that one which is there is extra. It is called from several goroutines.
	Aside func(*kgo.Record) bool
	// Codec judges the codecs (0 none, 1 gzip, 2 snappy, 3 lz4, 4 zstd) of a pair; nil asks for equal ones.
	Codec func(source, target uint8) bool
	// Parallel is the number of partitions compared at a time, 0 means 2. Each holds two consumers of a few MiB.
	Parallel int
}

// AnyCodec is a Codec rule that accepts everything.
func AnyCodec(_, _ uint8) bool { return true }

// ErrTooDifferent is returned, beside what was found, when a partition goes on for too long after its first difference.
var ErrTooDifferent = errors.New("check: more records after the first difference than are held for classification")

// Compare reads both topics from their log start up to the ends that they have when it is called, and reports how the
// target differs. A report with differences is not an error: see Report.Err. The timestamp type of the target must be
// CreateTime. While both sides agree, memory is bounded by the consumers' buffers and 8 bytes for each of the last
// million records; from the first difference in a partition on, it takes about 100 bytes for each record.
func Compare(ctx context.Context, source, target Conn, o Options) (Report, error) {
	if o.TargetTopic == "" {
		o.TargetTopic = o.Topic
	}
	if o.Codec == nil {
		o.Codec = func(s, t uint8) bool { return s == t }
	}
	if o.Parallel <= 0 {
		o.Parallel = 2
	}
	rep := Report{Topic: o.Topic, TargetTopic: o.TargetTopic}
	src, err := spans(ctx, source, o.Topic, o.IsolationReadCommitted)
	if err != nil {
		return rep, fmt.Errorf("check: source topic %s: %w", o.Topic, err)
	}
	dst, err := spans(ctx, target, o.TargetTopic, o.IsolationReadCommitted)
	if err != nil {
		return rep, fmt.Errorf("check: target topic %s: %w", o.TargetTopic, err)
	}
	c := comparison{o: o, source: source, target: target}
	found, err := c.all(ctx, src, dst)
	rep.Partitions = summarise(found)
	return rep, err
}

// span is the part of a partition to be read: offsets [start, end).
type span struct{ start, end int64 }

// comparison is what the partitions of one Compare have in common.
type comparison struct {
	o              Options
	source, target Conn
}

// all compares every partition that either side has, in order of partition.
func (c comparison) all(ctx context.Context, src, dst map[int32]span) ([]findings, error) {
	parts := slices.Sorted(maps.Keys(src))
	for p := range dst {
		if _, both := src[p]; !both {
			parts = append(parts, p)
		}
	}
	slices.Sort(parts)
	found := make([]findings, len(parts))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(c.o.Parallel)
	for i, p := range parts {
		g.Go(func() (err error) {
			found[i], err = c.partition(ctx, p, src[p], dst[p])
			if err != nil {
				return fmt.Errorf("partition %d: %w", p, err)
			}
			return nil
		})
	}
	return found, g.Wait()
}

// partition compares one partition. A side without it has the empty span.
func (c comparison) partition(ctx context.Context, p int32, src, dst span) (findings, error) {
	f := findings{Partition: Partition{Partition: p}}
	s, err := openStream(c.source, c.o.Topic, p, src, c.o.IsolationReadCommitted)
	if err != nil {
		return f, err
	}
	defer s.close()
	t, err := openStream(c.target, c.o.TargetTopic, p, dst, c.o.IsolationReadCommitted)
	if err != nil {
		return f, err
	}
	defer t.close()
	s.skip, t.skip = c.o.Aside, c.o.Foreign
	w := walk{o: &c.o, f: &f, src: s, dst: t}
	err = w.run(ctx)
	f.Aside, f.Foreign = s.skipped, t.skipped
	return f, err
}

// spans asks for the log start and the readable end of every partition of a topic.
func spans(ctx context.Context, c Conn, topic string, committed bool) (map[int32]span, error) {
	cl, err := kgo.NewClient(c...)
	if err != nil {
		return nil, err
	}
	defer cl.Close()
	adm := kadm.NewClient(cl)
	starts, err := listed(adm.ListStartOffsets(ctx, topic))
	if err != nil {
		return nil, err
	}
	list := adm.ListEndOffsets
	if committed {
		list = adm.ListCommittedOffsets
	}
	ends, err := listed(list(ctx, topic))
	if err != nil {
		return nil, err
	}
	out := make(map[int32]span, len(ends[topic]))
	for p, end := range ends[topic] {
		out[p] = span{starts[topic][p].Offset, end.Offset}
	}
	return out, nil
}

func listed(l kadm.ListedOffsets, err error) (kadm.ListedOffsets, error) {
	if err == nil {
		err = l.Error()
	}
	return l, err
}
