package main

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/kferry/kferry/internal/kafka"
	"github.com/kferry/kferry/replicator"
)

// row is what the screen shows of a topic.
type row struct {
	topic          string
	lanes          int
	records, bytes int64 // since the start
	lag            int64 // records; -1 = unknown
	note           string
}

// topicRows adds up the lanes of each topic.
func topicRows(st replicator.Status) []row {
	byTopic := map[string]*row{}
	for _, f := range st.Flows {
		for _, l := range f.Lanes {
			r := byTopic[l.Topic]
			if r == nil {
				r = &row{topic: l.Topic}
				byTopic[l.Topic] = r
			}
			r.lanes++
			r.records += l.Records
			r.bytes += l.Bytes
			if l.Lag < 0 || r.lag < 0 {
				r.lag = -1
			} else {
				r.lag += l.Lag
			}
			if l.Reason != "" {
				r.note = l.State + ": " + l.Reason
			}
		}
	}
	rows := make([]row, 0, len(byTopic))
	for _, r := range byTopic {
		rows = append(rows, *r)
	}
	slices.SortFunc(rows, func(a, b row) int { return cmp.Compare(a.topic, b.topic) })
	return rows
}

// tally compares the two clusters by their own word, their end offsets, and not by the ferry's.
type tally struct{ source, target map[string]int64 } // records by topic

func (t tally) missing() int64 {
	var n int64
	for topic, records := range t.source {
		n += records - t.target[topic]
	}
	return n
}

func (t tally) String() string {
	var parts []string
	for _, topic := range []string{demoOrders, demoClicks} {
		if n, ok := t.source[topic]; ok {
			parts = append(parts, fmt.Sprintf("%s %s of %s records arrived", topic, thousands(t.target[topic]), thousands(n)))
		}
	}
	return strings.Join(parts, ", ")
}

// arrive waits until the target has what the source has, at most for demoArrive, and tells what each has.
// It also runs after ctx has ended, which is how a demo usually ends.
func (d *demo) arrive(ctx context.Context) tally {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), demoArrive)
	defer cancel()
	for {
		t := tally{ends(ctx, d.source), ends(ctx, d.target)}
		if d.screen.tty {
			d.screen.draw(topicRows(d.daemon.Status()))
		}
		if t.missing() == 0 && len(t.source) > 0 {
			return t
		}
		select {
		case <-ctx.Done():
			return t
		case <-time.After(demoRedraw):
		}
	}
}

// ends adds the end offsets of each topic up. Nothing in the demo uses offsets without a record behind them.
func ends(ctx context.Context, c *kafka.Cluster) map[string]int64 {
	out := map[string]int64{}
	for _, topic := range []string{demoOrders, demoClicks} {
		offsets, err := c.Admin().ListEndOffsets(ctx, topic)
		if err != nil || offsets.Error() != nil {
			continue // not there yet
		}
		for _, p := range offsets[topic] {
			out[topic] += p.Offset
		}
	}
	return out
}
