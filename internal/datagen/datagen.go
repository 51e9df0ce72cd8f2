// Package datagen writes made-up but realistic records to a topic: orders of a pizza delivery, clicks on its web shop,
// measurements in its kitchens.
//
// It controls what a replicator must cope with: how many records a batch has, exactly; the codec; the rate; aborted
// transactions. Batches are built here and sent raw, several at a time, because the batches of an ordinary producer depend
// on timing.
package datagen

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/kferry/kferry/internal/kafka"
)

const (
	// tick is the shortest time between two writes of a shaped run: the rate is even to this grain.
	tick = 20 * time.Millisecond
	// chunk is how many records are made between two looks at the clock.
	chunk = 64
	// report is the time between two calls of Progress.
	report = 200 * time.Millisecond
	// finish bounds the wait for acks after ctx has ended, by default.
	finish = 10 * time.Second
)

// Options say what to write. Topic is required.
type Options struct {
	Topic   string
	Subject Subject // "" = Pizza
	Records int64   // how many, aborted ones included; 0 = until the context ends
	Rate    float64 // records a second, evenly; 0 = as fast as possible
	Seed    uint64  // the same seed gives the same keys, values and headers
	Size    int     // about so many bytes of value; 0 = as they come; see NewGenerator

	Codec Codec // "" = None
	// Batch is the number of records in each batch, exactly; only the last batch of a partition (of a transaction, with
	// Transactional) may have fewer. 0 = what has come within 20 ms, at most 1,000 records or 512 KiB.
	Batch int

	Transactional bool    // write in transactions of TxnRecords
	TxnRecords    int     // 0 = 100
	AbortRatio    float64 // share of transactions that abort, 0 to 1; the seed decides which

	CreateTopic       bool               // when it is missing
	Partitions        int32              // of a created topic; 0 = the broker's default
	ReplicationFactor int16              // of a created topic; 0 = the broker's default
	TopicConfigs      map[string]*string // of a created topic

	// Age is how much older than it is a record says to be, by its number in this run; nil: none is.
	Age func(n int64) time.Duration

	Finish   time.Duration // bounds the wait for acks after the context has ended; 0 = 10 s
	Progress func(Stats)   // called some times a second on the goroutine of Run; may be nil
}

// Stats are what was written so far.
type Stats struct {
	Records int64 // acked by the broker; without Aborted
	Aborted int64 // acked, in transactions that were aborted
	Batches int64 // acked
	Bytes   int64 // of keys and values before compression, of all records above
	Elapsed time.Duration
}

// ErrOptions is in every error that Run gives for options that cannot work, before it has done anything.
var ErrOptions = errors.New("cannot generate")

// check fills defaults in and refuses what cannot work.
func (o *Options) check() error {
	if _, err := o.Codec.kgo(); err != nil {
		return err
	}
	if o.Subject == "" {
		o.Subject = Pizza
	}
	if o.TxnRecords == 0 {
		o.TxnRecords = 100
	}
	switch {
	case o.Topic == "":
		return errors.New("no topic: name the one to write to")
	case o.Records < 0:
		return fmt.Errorf("records %d: must be 0 (endless) or more", o.Records)
	case o.Rate < 0:
		return fmt.Errorf("rate %g: must be 0 (as fast as possible) or more records a second", o.Rate)
	case o.Batch < 0:
		return fmt.Errorf("batch %d: must be 0 (by size and time) or more records", o.Batch)
	case o.AbortRatio < 0 || o.AbortRatio > 1:
		return fmt.Errorf("abort ratio %g: must be between 0 and 1", o.AbortRatio)
	case o.AbortRatio > 0 && !o.Transactional:
		return fmt.Errorf("abort ratio %g: only transactions can be aborted", o.AbortRatio)
	case o.TxnRecords < 0:
		return fmt.Errorf("transaction of %d records: must be 1 or more", o.TxnRecords)
	case o.Partitions < 0 || o.ReplicationFactor < 0:
		return errors.New("partitions and replication factor must be 0 (the broker's default) or more")
	}
	return nil
}

// writer puts records into partitions, in the order of the calls.
type writer interface {
	// add takes a copy of r, with a timestamp in Unix milliseconds. It may block for acks of earlier records.
	add(ctx context.Context, partition int32, r Record, now int64) error
	// flush sends what is whole; with all, it sends everything and waits until it is acked.
	flush(ctx context.Context, all bool) error
	stats() Stats
	close()
}

// Run writes until o.Records are acked or ctx ends; an end of ctx is no error: what was made by then is written.
// It uses all links of c, and c stays open.
func Run(ctx context.Context, c *kafka.Cluster, o Options) (Stats, error) {
	begin := time.Now()
	if err := o.check(); err != nil {
		return Stats{}, fmt.Errorf("%w: %w", ErrOptions, err)
	}
	gen, err := NewGenerator(o.Subject, o.Seed, o.Size)
	if err != nil {
		return Stats{}, fmt.Errorf("%w: %w", ErrOptions, err)
	}
	w, partitions, err := begun(ctx, c, o)
	if err != nil && ctx.Err() != nil {
		return Stats{}, nil // it ended before there was anything to write
	}
	if err != nil {
		return Stats{}, err
	}
	defer w.close()
	err = write(ctx, w, gen, partitions, o, begin)
	st := w.stats()
	st.Elapsed = time.Since(begin)
	if o.Progress != nil {
		o.Progress(st)
	}
	return st, err
}

// begun finds the topic and makes the writer; partitions are those of the topic.
func begun(ctx context.Context, c *kafka.Cluster, o Options) (w writer, partitions int, err error) {
	topic, err := openTopic(ctx, c, o)
	if err != nil {
		return nil, 0, err
	}
	if o.Transactional {
		w, err = newTxnWriter(ctx, c, topic, o)
	} else {
		w, err = newRawWriter(ctx, c, topic, o, nil)
	}
	return w, len(topic.leaders), err
}

// write is the loop of Run: make what is due, send it, sleep.
func write(ctx context.Context, w writer, gen *Generator, partitions int, o Options, begin time.Time) error {
	place := kgo.StickyKeyPartitioner(nil).ForTopic(o.Topic)
	p := pace{rate: o.Rate, start: begin}
	reported := begin
	for n := int64(0); o.Records == 0 || n < o.Records; {
		now := time.Now()
		if o.Progress != nil && now.Sub(reported) >= report {
			reported = now
			st := w.stats()
			st.Elapsed = now.Sub(begin)
			o.Progress(st)
		}
		due := min(p.due(now, n), n+chunk)
		if o.Records > 0 {
			due = min(due, o.Records)
		}
		for ; n < due; n++ {
			r := gen.Next()
			part := place.Partition(&kgo.Record{Key: r.Key}, partitions)
			at := now
			if o.Age != nil {
				at = now.Add(-o.Age(n))
			}
			if err := w.add(ctx, int32(part), r, at.UnixMilli()); err != nil {
				return ended(ctx, w, o, err)
			}
		}
		if wait := p.wait(time.Now(), n); wait > 0 {
			if err := w.flush(ctx, false); err != nil {
				return ended(ctx, w, o, err)
			}
			sleep(ctx, max(wait, tick))
		}
		if ctx.Err() != nil {
			break
		}
	}
	return ended(ctx, w, o, nil)
}

// ended writes the rest, unless err says that this is hopeless. An end of ctx is none.
func ended(ctx context.Context, w writer, o Options, err error) error {
	if err != nil && ctx.Err() == nil {
		return err
	}
	if ctx.Err() != nil {
		late, cancel := context.WithTimeout(context.WithoutCancel(ctx), cmp.Or(o.Finish, finish))
		defer cancel()
		ctx = late
	}
	return w.flush(ctx, true)
}

func sleep(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}
