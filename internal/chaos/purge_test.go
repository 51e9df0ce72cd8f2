package chaos

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/kferry/kferry/internal/ferrytest"
)

// purge removes the source's records as soon as they are used, as Kafka Streams does in its repartition topics.
type purge struct {
	replicas int
	rate     int64         // records a second
	lasts    time.Duration // of writing and removing
	kills    int           // of all replicas at once
	every    time.Duration
	behind   int64 // partitions with odd numbers keep so many records; the others none
}

// The source removes records up to its end all the time while kferry is killed. No record may come twice, those that
// are missing are gone from the source, and they are counted.
func TestPurge(t *testing.T) {
	p := purge{replicas: 1, rate: 4000, lasts: 20 * time.Second, kills: 1, every: 200 * time.Millisecond, behind: 600}
	if full {
		p.lasts, p.kills = 3*time.Minute, 3
	}
	t.Run("one replica", p.run)
	t.Run("three replicas", func(t *testing.T) {
		if !full {
			t.Skip("not run: only in the full matrix, KFERRY_CHAOS=full")
		}
		p.replicas = replicas
		p.run(t)
	})
}

func (p purge) run(t *testing.T) {
	w := emptyWorld(t, "purge", quickly)
	n := newNumbers(w)
	topic := n.topic("used", partitions, nil)
	load := each(w, p.rate, func(ctx context.Context, i int64) {
		n.put(ctx, &kgo.Record{Topic: topic, Partition: int32(i % partitions), Value: []byte(strings.Repeat("x", 100))})
	})
	w.launch(p.replicas)
	w.carried(topic, slices.Repeat([]int64{1}, partitions)) // what is gone before a lane begins is not lost
	r := &remover{w: w, topic: topic, behind: p.behind}
	removing := ferrytest.InBackground(t, func(ctx context.Context) (int64, error) { return r.run(ctx, p.every) })
	var lost losses
	for range p.kills {
		w.last(p.lasts / time.Duration(p.kills+1))
		for _, f := range w.replicas {
			f.Kill()
			lost.add(f.Output(), time.Now())
		}
		for i := range w.replicas {
			w.start(i)
		}
	}
	w.last(p.lasts / time.Duration(p.kills+1))
	load.Stop(t)
	removing.Stop(t)
	ends := n.written(topic)
	w.carried(topic, ends)
	counted := w.sum("kferry_lost_offsets_total")
	if n := w.sum("kferry_possible_duplicates_total"); n != 0 {
		t.Errorf("%v records are counted as possibly twice; on a source without gaps it can be told", n)
	}
	w.watch.stop()
	for _, f := range w.replicas {
		f.Stop()
		lost.add(f.Output(), time.Time{})
	}
	missing := w.judged(topic, ends)
	for _, m := range missing {
		if m.offset >= r.removed[m.partition] {
			t.Errorf("%v is missing, and the source never removed it: it removed what is below %d", m, r.removed[m.partition])
		}
	}
	t.Logf("%d missing: %s; the logs count %d as lost, %d of those just before a kill; the last replicas' metrics %v",
		len(missing), few(missing), lost.all, lost.unsure, counted)
	// What was counted just before a kill may not have been stored: then the next start counts it again.
	if m := int64(len(missing)); m > lost.all || p.replicas == 1 && m < lost.all-lost.unsure {
		t.Errorf("%d records are missing and %d to %d are counted as lost", m, lost.all-lost.unsure, lost.all)
	}
}

// remover deletes records of the source up to its ends, but for a few in each other partition.
type remover struct {
	w       *world
	topic   string
	behind  int64
	removed [partitions]int64 // below that; read only when run has ended
}

func (r *remover) run(ctx context.Context, every time.Duration) (rounds int64, err error) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for ; ; rounds++ {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return rounds, nil
		}
		ends, err := r.w.source.admin.ListEndOffsets(context.WithoutCancel(ctx), r.topic)
		if err != nil {
			return rounds, err
		}
		gone := kadm.Offsets{}
		ends.Each(func(o kadm.ListedOffset) {
			at := o.Offset - int64(o.Partition%2)*r.behind
			if at > r.removed[o.Partition] {
				r.removed[o.Partition] = at
				gone.AddOffset(r.topic, o.Partition, at, -1)
			}
		})
		if _, err := r.w.source.admin.DeleteRecords(context.WithoutCancel(ctx), gone); err != nil {
			return rounds, err
		}
	}
}

// losses are what logs count as lost.
type losses struct {
	all    int64
	unsure int64 // said so shortly before a kill that it may not have been stored
}

var lostLine = regexp.MustCompile(`time=(\S+) .*\blost_offsets=(\d+)`)

// add counts what a log tells; killed is when its process was, or zero.
func (l *losses) add(log string, killed time.Time) {
	const stored = 3 * time.Second // progress is stored each second, if the machine is not too busy
	for _, m := range lostLine.FindAllStringSubmatch(log, -1) {
		at, err := time.Parse(time.RFC3339, m[1])
		n, err2 := strconv.ParseInt(m[2], 10, 64)
		if err != nil || err2 != nil {
			continue // another line that looks alike
		}
		if l.all += n; killed.Sub(at) < stored && !killed.IsZero() {
			l.unsure += n
		}
	}
}

// carried waits until kferry has carried a topic up to these offsets of the source, whatever it could not carry.
func (w *world) carried(topic string, ends []int64) {
	w.t.Helper()
	w.eventually("all is carried", func() (bool, string) {
		w.hopeful()
		at := map[int32]int64{}
		for _, l := range w.lanes() {
			if l.Topic == topic && l.State == "running" {
				at[l.Partition] = max(at[l.Partition], l.SourceOffset)
			}
		}
		for p, end := range ends {
			if at[int32(p)] < end {
				return false, fmt.Sprintf("partition %d is at %d of %d", p, at[int32(p)], end)
			}
		}
		return true, ""
	})
}
