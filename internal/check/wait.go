package check

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// WaitOptions says when a topic counts as caught up.
type WaitOptions struct {
	Records int64         // offsets the topic must hold, over all partitions, counted from the log starts
	Quiet   time.Duration // how long its ends must not have moved by then; 0 asks for no such pause
	Poll    time.Duration // pause between two looks, 0 means 20 ms
}

// WaitCaughtUp polls the ends of a topic until it holds o.Records and is quiet, and returns how many it holds. A topic
// that does not exist yet holds none. Offsets are counted: control records and the records of others count too. When ctx
// ends first, the error says how far the topic came.
func WaitCaughtUp(ctx context.Context, c Conn, topic string, o WaitOptions) (int64, error) {
	if o.Poll <= 0 {
		o.Poll = 20 * time.Millisecond
	}
	cl, err := kgo.NewClient(c...)
	if err != nil {
		return 0, err
	}
	defer cl.Close()
	adm := kadm.NewClient(cl)
	have, since := int64(-1), time.Now()
	tick := time.NewTicker(o.Poll)
	defer tick.Stop()
	for {
		n, err := held(ctx, adm, topic)
		if err != nil && ctx.Err() == nil {
			return have, fmt.Errorf("check: waiting for %s: %w", topic, err)
		}
		if err == nil {
			if n != have {
				have, since = n, time.Now()
			}
			if n >= o.Records && time.Since(since) >= o.Quiet {
				return n, nil
			}
		}
		select {
		case <-ctx.Done():
			return have, fmt.Errorf("check: topic %s holds %d of %d records: %w", topic, max(have, 0), o.Records, ctx.Err())
		case <-tick.C:
		}
	}
}

// held counts the offsets of a topic; retriable answers count as none, for topics and leaders come and go.
func held(ctx context.Context, adm *kadm.Client, topic string) (int64, error) {
	starts, err := listed(adm.ListStartOffsets(ctx, topic))
	if err == nil {
		var ends kadm.ListedOffsets
		if ends, err = listed(adm.ListEndOffsets(ctx, topic)); err == nil {
			var n int64
			for p, end := range ends[topic] {
				n += end.Offset - starts[topic][p].Offset
			}
			return n, nil
		}
	}
	if errors.Is(err, kerr.UnknownTopicOrPartition) || kerr.IsRetriable(err) {
		return 0, nil
	}
	return 0, err
}
