package replicator

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/kferry/kferry/replicator/lane"
)

const (
	// A lane that stands at a transaction for so long is told of: most end sooner.
	undecidedAfter = 5 * time.Second
	// So often it is asked whose they are.
	undecidedEvery = 5 * time.Second
	// So many are asked about at once.
	undecidedAsked = 1000
)

// undecided is the transaction that holds the lane up for long; false: none does.
func undecided(s *lane.Snapshot, now time.Time) (lane.Undecided, bool) {
	u := s.Undecided
	return u, u.Since > 0 && now.Sub(time.UnixMilli(u.Since)) >= undecidedAfter
}

// heldUp says what holds the lane up, and what to do about it; "": nothing does.
func heldUp(id lane.ID, s *lane.Snapshot, now time.Time) string {
	u, ok := undecided(s, now)
	if !ok {
		return ""
	}
	since := time.UnixMilli(u.Since)
	by := u.By
	if by != "" {
		by = " by " + by
	}
	return fmt.Sprintf("a transaction on the source that began at offset %d is open%s, seen for %s: what is behind it is carried once it ends. "+
		"If its producer is gone for good, end it: kafka-transactions.sh abort --topic %s --partition %d --start-offset %d (find-hanging lists such)",
		u.At, by, now.Sub(since).Round(time.Second), id.Topic, id.Partition, u.At)
}

// blame finds out whose the transactions are that hold lanes up, until ctx ends.
func (f *flow) blame(ctx context.Context) {
	t := time.NewTicker(undecidedEvery)
	defer t.Stop()
	for {
		select {
		case <-t.C:
		case <-ctx.Done():
			return
		}
		held := map[lane.ID]*lane.Lane{}
		for _, m := range f.members() {
			s := m.lane.Snapshot()
			if _, ok := undecided(&s, time.Now()); ok && len(held) < undecidedAsked {
				held[m.lane.ID] = m.lane
			}
		}
		if len(held) > 0 {
			f.blameFor(ctx, held)
		}
	}
}

// blameFor asks the source about lanes. What it does not tell (before Kafka 2.8, or not
// allowed) is left out.
func (f *flow) blameFor(ctx context.Context, held map[lane.ID]*lane.Lane) {
	ctx, cancel := context.WithTimeout(ctx, undecidedEvery)
	defer cancel()
	set := kadm.TopicsSet{}
	for id := range held {
		set.Add(id.Topic, id.Partition)
	}
	adm := f.source.Admin()
	described, _ := adm.DescribeProducers(ctx, set)
	open := map[*lane.Lane]kadm.DescribedProducer{}
	ids := map[int64]string{}
	for id, l := range held {
		at := l.Snapshot().Undecided.At
		for _, p := range described[id.Topic].Partitions[id.Partition].ActiveProducers {
			if p.CurrentTxnStartOffset == int64(at) {
				open[l], ids[p.ProducerID] = p, ""
			}
		}
	}
	if len(open) == 0 {
		return
	}
	f.nameTransactions(ctx, ids)
	for l, p := range open {
		by := fmt.Sprintf("producer id %d, epoch %d, which last wrote at %s", p.ProducerID, p.ProducerEpoch, time.UnixMilli(p.LastTimestamp).UTC().Format(time.RFC3339))
		if name := ids[p.ProducerID]; name != "" {
			by = name + ", " + by
		} else {
			by += " (its transactional id is not told: that takes Describe on it)"
		}
		l.Blame(l.Snapshot().Undecided.At, by)
	}
}

// nameTransactions fills in what the source tells of the transactions of producers.
func (f *flow) nameTransactions(ctx context.Context, ids map[int64]string) {
	wanted := make([]int64, 0, len(ids))
	for id := range ids {
		wanted = append(wanted, id)
	}
	adm := f.source.Admin()
	listed, _ := adm.ListTransactions(ctx, wanted, nil)
	var names []string
	for name, t := range listed {
		if _, ok := ids[t.ProducerID]; ok {
			names = append(names, name)
			ids[t.ProducerID] = fmt.Sprintf("transactional id %q (%s)", name, strings.ToLower(t.State))
		}
	}
	if len(names) == 0 {
		return
	}
	detailed, _ := adm.DescribeTransactions(ctx, names...)
	for name, t := range detailed {
		if _, ok := ids[t.ProducerID]; ok && t.Err == nil && t.StartTimestamp > 0 {
			ids[t.ProducerID] = fmt.Sprintf("transactional id %q (%s since %s, timeout %s)", name, strings.ToLower(t.State),
				time.UnixMilli(t.StartTimestamp).UTC().Format(time.RFC3339), time.Duration(t.TimeoutMillis)*time.Millisecond)
		}
	}
}
