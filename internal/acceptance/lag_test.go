package acceptance

import (
	"context"
	"fmt"
	"math"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/kferry/kferry/internal/datagen"
	"github.com/kferry/kferry/internal/ferrytest"
	"github.com/kferry/kferry/internal/kafkatest"
)

const (
	// lagRefresh is how long what kferry tells of lag may be behind the truth: it asks about once a second, and the
	// machine may be busy.
	lagRefresh = 3 * time.Second
	// lagBelief is how long it may tell of no lag after the source stopped answering.
	lagBelief = 6 * time.Second
	// lagReturn is how long it may take to find the source again.
	lagReturn  = 5 * time.Second
	partitions = 2
)

// What kferry tells of lag is compared, each second, with what two clients tell of the ends of both sides: under load,
// while a topic is paused, while the source is away, after it came back, over a restart. It is never negative, never 0
// where it is not, and within a refresh of the truth.
func TestLagIsTrue(t *testing.T) {
	p := newPair(t, kafkatest.V4)
	load, rest := p.topic("load"), p.topic("rest")
	for _, topic := range []string{load, rest} {
		p.source.CreateTopic(t, topic, partitions, nil)
	}
	p.generate(t.Context(), datagen.Options{Topic: load, Records: 40_000, Size: 1024, Batch: 100})
	p.generate(t.Context(), datagen.Options{Topic: rest, Records: 100})
	s := p.settings()
	flowOf(s)["rate_limit"] = "2MiB" // the backlog takes a while
	file := p.file(s)

	w := &witness{t: t, p: p, topics: []string{load, rest}}
	f := p.run(s)
	f.Ready()
	w.watch(f)
	writing := p.trickle(load, rest)
	w.phase("a backlog under load", 12*time.Second)

	p.command(0, "pause", "-c", file, "--flow", p.name, "--topic", rest)
	f.Lanes("paused", partitions)
	w.paused(rest)
	w.phase("paused", 9*time.Second)

	w.down()
	if err := p.source.Kill(0); err != nil {
		t.Fatal(err)
	}
	w.phase("the source is away", 20*time.Second)
	if n := f.Metric("kferry_lag_stale_lanes"); n != 2*partitions {
		t.Errorf("%v lanes are stale, want all %d", n, 2*partitions)
	}
	if n := f.Metric("kferry_cluster_up", `cluster="old"`) + 2*f.Metric("kferry_cluster_up", `cluster="new"`); n != 2 {
		t.Errorf("kferry_cluster_up: %v, want that the old one is down and the new one is up", n)
	}
	if err := p.source.Restart(0); err != nil {
		t.Fatal(err)
	}
	w.back()
	w.phase("the source is back", lagReturn+6*time.Second)
	if n := f.Metric("kferry_lag_stale_lanes"); n != 0 {
		t.Errorf("%v lanes are stale", n)
	}

	w.watch(nil)
	f.Stop()
	f = p.run(p.settings()) // as fast as it can
	f.Ready()
	f.Lanes("paused", partitions)
	w.watch(f)
	w.phase("restarted", lagReturn+3*time.Second)

	p.command(0, "resume", "-c", file, "--flow", p.name, "--topic", rest)
	f.Lanes("paused", 0)
	w.paused("")
	writing.Stop(t)
	w.phase("all arrives", 3*time.Second)
	w.stop()
	if n := f.Metric("kferry_lag_records"); n != 0 {
		t.Errorf("%v records of lag at the end", n)
	}
	f.Stop()
}

// trickle writes some records to each partition of topics, several times a second, over an outage as well.
func (p *pair) trickle(topics ...string) *ferrytest.Live {
	cl := p.source.Client(p.t, kafkatest.AdminUser, kgo.RecordPartitioner(kgo.ManualPartitioner()))
	return ferrytest.InBackground(p.t, func(ctx context.Context) (n int64, err error) {
		tick := time.NewTicker(50 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return n, cl.Flush(context.WithoutCancel(ctx))
			case <-tick.C:
			}
			if cl.BufferedProduceRecords() > 5000 {
				continue // the source is away
			}
			for _, topic := range topics {
				for i := range int32(partitions * 10) {
					n++
					cl.Produce(context.WithoutCancel(ctx), &kgo.Record{Topic: topic, Partition: i % partitions, Value: fmt.Append(nil, n)}, nil)
				}
			}
		}
	})
}

// place is a partition of a topic, the same on both sides.
type place struct {
	topic     string
	partition int32
}

func (at place) String() string { return fmt.Sprintf("%s/%d", at.topic, at.partition) }

// moment is what the clusters told at one moment, or shortly before it.
type moment struct {
	at             time.Time
	source, target map[place]int64 // ends
}

// witness looks at both clusters and at what kferry tells, each second.
type witness struct {
	t      testing.TB
	p      *pair
	topics []string

	source, target *kadm.Client
	end            context.CancelFunc
	done           chan struct{}

	mu      sync.Mutex
	ferry   *ferrytest.Ferry // nil: none is to be looked at
	since   time.Time        // when it was first looked at
	away    time.Time        // since when the source is; zero: it is not
	returns time.Time        // when it came back
	rests   string           // a paused topic
	dates   map[place]int64  // when its first record was written that the target lacks, ms since 1970
	what    string           // the phase
	tally   tally

	moments []moment // the newest last
}

// tally is what was seen in a phase.
type tally struct {
	samples, lags int     // compared, and of those with lag
	most          float64 // lag in records
	off           float64 // the most that it was beyond what is true at this moment
	late          time.Duration
}

// watch has what f tells compared from now on.
func (w *witness) watch(f *ferrytest.Ferry) {
	w.mu.Lock()
	w.ferry, w.since = f, time.Now()
	w.mu.Unlock()
	if w.end != nil {
		return
	}
	w.source, w.target = w.p.source.Admin(w.t), w.p.target.Admin(w.t)
	ctx, cancel := context.WithCancel(context.Background())
	w.end, w.done = cancel, make(chan struct{})
	w.t.Cleanup(w.stop)
	go func() {
		defer close(w.done)
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		for ctx.Err() == nil {
			w.look(ctx)
			select {
			case <-tick.C:
			case <-ctx.Done():
			}
		}
	}()
}

func (w *witness) stop() {
	w.end()
	<-w.done
}

func (w *witness) down() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.away = time.Now()
}

func (w *witness) back() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.away, w.returns = time.Time{}, time.Now()
}

// paused takes note that a topic rests, and reads how old its lag will be.
func (w *witness) paused(topic string) {
	w.t.Helper()
	dates := map[place]int64{}
	if topic != "" {
		ends, err := w.p.admin(w.p.target).ListEndOffsets(w.t.Context(), topic)
		if err != nil {
			w.t.Fatal(err)
		}
		from := map[string]map[int32]kgo.Offset{topic: {}}
		for n := range int32(partitions) {
			o, _ := ends.Lookup(topic, n)
			from[topic][n] = kgo.NewOffset().At(o.Offset)
		}
		cl := w.p.source.Client(w.t, kafkatest.AdminUser, kgo.ConsumePartitions(from))
		for len(dates) < partitions {
			fs := cl.PollFetches(w.t.Context())
			if err := fs.Err(); err != nil {
				w.t.Fatal(err)
			}
			fs.EachRecord(func(r *kgo.Record) {
				at := place{topic, r.Partition}
				if o, _ := ends.Lookup(topic, r.Partition); r.Offset == o.Offset {
					dates[at] = r.Timestamp.UnixMilli()
				}
			})
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.rests, w.dates = topic, dates
}

// phase waits, and tells what was seen meanwhile.
func (w *witness) phase(what string, d time.Duration) {
	w.t.Helper()
	w.mu.Lock()
	w.what, w.tally = what, tally{}
	w.mu.Unlock()
	time.Sleep(d) // the phase is the point, nothing is waited for
	w.mu.Lock()
	defer w.mu.Unlock()
	y := w.tally
	w.t.Logf("%-22s %4d samples, %4d with lag, at most %.0f records; at most %.0f records off the moment's truth, a look took up to %v",
		what+":", y.samples, y.lags, y.most, y.off, y.late.Round(time.Millisecond))
	if y.samples == 0 || what != "all arrives" && y.lags == 0 {
		w.t.Errorf("%s: nothing was compared", what)
	}
}

// ends reads where topics end. What is known stays where a cluster does not answer.
func (w *witness) ends(ctx context.Context, cl *kadm.Client, known map[place]int64) map[place]int64 {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	out := map[place]int64{}
	for at, n := range known {
		out[at] = n
	}
	ends, err := cl.ListEndOffsets(ctx, w.topics...)
	if err != nil {
		return out
	}
	ends.Each(func(o kadm.ListedOffset) {
		if o.Err == nil {
			out[place{o.Topic, o.Partition}] = o.Offset
		}
	})
	return out
}

// look reads the ends, then what kferry tells, then the ends again: the truth at the moment of the page is between.
func (w *witness) look(ctx context.Context) {
	w.mu.Lock()
	f, away := w.ferry, !w.away.IsZero()
	w.mu.Unlock()
	var before, after moment
	if len(w.moments) > 0 {
		after = w.moments[len(w.moments)-1]
	}
	sees := func(old moment) moment {
		now := moment{at: time.Now(), source: old.source}
		if !away {
			now.source = w.ends(ctx, w.source, old.source)
		}
		now.target = w.ends(ctx, w.target, old.target)
		return now
	}
	before = sees(after)
	w.moments = append(w.moments, before)
	if f == nil || !f.Running() {
		return
	}
	began := time.Now()
	code, body, err := f.Peek("/metrics")
	if err != nil || code != 200 {
		return
	}
	now := time.Now()
	after = sees(before)
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.ferry != f || (!w.away.IsZero()) != away {
		return // it changed meanwhile
	}
	w.tally.late = max(w.tally.late, now.Sub(began))
	for at := range after.target {
		w.compare(at, body, now, before, after)
	}
}

// compare judges what is told of a partition.
func (w *witness) compare(at place, body string, now time.Time, before, after moment) {
	lag, told := sample(body, "kferry_lag_records", at)
	age, dated := sample(body, "kferry_lag_seconds", at)
	away, heard := !w.away.IsZero(), now
	if away {
		heard = w.away // what was written just before it, kferry may not have heard of
	}
	old, ok := w.past(heard.Add(-lagRefresh))
	settling := now.Sub(w.since) < lagReturn || now.Sub(w.returns) < lagReturn
	switch {
	case told && lag < 0 || dated && age < 0:
		w.t.Errorf("%s: %s: lag %v records, %v s", w.what, at, lag, age)
	case !told && !away && !settling:
		w.t.Errorf("%s: %s: no lag is told", w.what, at)
	}
	if long, ok := w.past(now.Add(-lagBelief)); ok && told && lag == 0 && long.source[at] > after.target[at] {
		w.t.Errorf("%s: %s: lag is said to be 0, and the source's end is %d since %v, the target's %d",
			w.what, at, long.source[at], now.Sub(long.at), after.target[at])
	}
	if !told || !ok {
		return
	}
	w.tally.samples++
	if lag > 0 {
		w.tally.lags++
	}
	w.tally.most = max(w.tally.most, lag)
	least, most := float64(old.source[at]-after.target[at]), float64(after.source[at]-old.target[at])
	if !settling && (lag < least || !away && lag > most) {
		w.t.Errorf("%s: %s: lag is said to be %v, and is at least %v and at most %v", w.what, at, lag, least, most)
	}
	if !settling && !away {
		low, high := float64(before.source[at]-after.target[at]), float64(after.source[at]-before.target[at])
		w.tally.off = max(w.tally.off, low-lag, lag-high)
	}
	w.compareAge(at, lag, age, dated, now, settling)
}

// compareAge judges how old the lag is said to be.
func (w *witness) compareAge(at place, lag, age float64, dated bool, now time.Time, settling bool) {
	if dated && lag > 0 && age == 0 {
		w.t.Errorf("%s: %s: %v records of lag have no age", w.what, at, lag)
	}
	since, rests := w.dates[at]
	if !rests || lag == 0 || settling {
		return
	}
	if want := now.Sub(time.UnixMilli(since)).Seconds(); want > lagRefresh.Seconds() && (!dated || math.Abs(age-want) > 1) {
		w.t.Errorf("%s: %s: the lag is said to be %v s old (%v), it is %v", w.what, at, age, dated, want)
	}
}

// past is the newest moment of then or before.
func (w *witness) past(then time.Time) (moment, bool) {
	for i := len(w.moments) - 1; i >= 0; i-- {
		if !w.moments[i].at.After(then) {
			return w.moments[i], true
		}
	}
	return moment{}, false
}

// sample is a sample of a partition on a page of metrics.
func sample(body, name string, at place) (v float64, ok bool) {
	re := regexp.MustCompile(`(?m)^` + name + `\{.*topic="` + regexp.QuoteMeta(at.topic) + `",partition="` + strconv.Itoa(int(at.partition)) + `"\} (.*)$`)
	if m := re.FindStringSubmatch(body); m != nil {
		v, err := strconv.ParseFloat(strings.TrimSpace(m[1]), 64)
		return v, err == nil
	}
	return 0, false
}
