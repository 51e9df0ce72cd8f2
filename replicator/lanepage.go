package replicator

import (
	"cmp"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/kferry/kferry/config"
	"github.com/kferry/kferry/replicator/lane"
)

// The details of config.Metrics.
const (
	detailTopic = "topic"
	detailFlow  = "flow"
)

// lanePage writes the series of lanes in Prometheus' text format. Ten thousand
// lanes have nearly two hundred thousand: a registry, which makes, checks and sorts
// each of them at each scrape, would take half a second and 150 MB for what takes
// 20 ms here (BenchmarkScrape).
type lanePage struct {
	detail string
	compat bool
	flows  []*flow
	pages  []flowPage
	shared bool // two flows have the same source and target
}

// flowPage is what a lanePage keeps of a flow between scrapes.
type flowPage struct {
	mu      sync.Mutex
	rows    []*laneRow // sorted; never changed once made
	changed uint64     // flow.changed when they were made
	made    bool
}

// laneRow is one set of labels and the lanes behind it: one, those of a topic, or
// those of a flow.
type laneRow struct {
	own, summary, mirror string // labels, as they are written; "": the row has no such series
	topic                string // whose retired lanes count, too; "": see all
	all                  bool   // those of all topics count
	lanes                []*lane.Lane
	watched              bool // somebody else carries them: nothing is counted here
}

// reading is what a row's lanes tell at one moment.
type reading struct {
	row                    *laneRow
	counted                bool // what follows but for lag is known
	records, bytes         int64
	lag                    lag
	recent                 lane.Recent
	recordsRate, bytesRate float64
}

func newLanePage(cfg config.Metrics, flows []*flow) *lanePage {
	p := &lanePage{detail: cfg.Detail, compat: cfg.Compatibility, flows: flows, pages: make([]flowPage, len(flows))}
	pairs := map[string]bool{}
	for _, f := range flows {
		pair := f.cfg.Source + "->" + f.cfg.Target
		p.shared = p.shared || pairs[pair]
		pairs[pair] = true
	}
	return p
}

// WriteLanes writes the series of lanes, in Prometheus' text format. The other
// metrics are in Options.Registerer.
func (d *Daemon) WriteLanes(w io.Writer) error { return d.page.write(w) }

func (p *lanePage) write(w io.Writer) error {
	var rs []reading
	now := time.Now()
	for i, f := range p.flows {
		for _, row := range p.pages[i].get(f, p.detail) {
			rs = append(rs, row.read(f, now))
		}
	}
	e := &encoder{w: w}
	for _, s := range ownSeries {
		e.family(s, rs)
	}
	if p.compat {
		for _, s := range compatSeries {
			e.family(s, p.joined(rs, s.labels))
		}
		e.checkpoints(p.flows, p.detail, now)
	}
	e.flush(0)
	return e.err
}

// joined has one reading for each set of labels: those of the names that others
// use tell no flow, and two flows may join the same clusters.
func (p *lanePage) joined(rs []reading, labels func(*laneRow) string) []reading {
	if !p.shared {
		return rs
	}
	var out []reading
	at := map[string]int{}
	for i := range rs {
		ls := labels(rs[i].row)
		n, ok := at[ls]
		if !ok {
			at[ls] = len(out)
			out = append(out, rs[i])
			continue
		}
		out[n].add(&rs[i])
	}
	return out
}

// get returns the rows of f, made anew when its lanes have changed.
func (p *flowPage) get(f *flow, detail string) []*laneRow {
	p.mu.Lock()
	defer p.mu.Unlock()
	f.mu.Lock()
	defer f.mu.Unlock()
	if !p.made || p.changed != f.changed {
		p.rows, p.changed, p.made = f.laneRowsLocked(detail), f.changed, true
	}
	return p.rows
}

// laneRowsLocked makes the rows of a flow.
func (f *flow) laneRowsLocked(detail string) []*laneRow {
	lanes := make([]*lane.Lane, 0, len(f.lanes))
	for _, m := range f.lanes {
		lanes = append(lanes, m.lane)
	}
	slices.SortFunc(lanes, func(a, b *lane.Lane) int {
		return cmp.Or(cmp.Compare(a.Topic, b.Topic), cmp.Compare(a.Partition, b.Partition))
	})
	var rows []*laneRow
	taken := map[string]bool{} // labels of the target side: of two topics with one name there only the first is carried
	for i, l := range lanes {
		if i > 0 && (detail == detailFlow || detail == detailTopic && l.Topic == lanes[i-1].Topic) {
			last := rows[len(rows)-1]
			last.lanes = append(last.lanes, l)
			continue
		}
		r := f.laneRow(l, detail)
		if taken[r.mirror] {
			r.mirror = ""
		}
		taken[r.mirror] = true
		rows = append(rows, r)
	}
	return rows
}

// laneRow begins a row with l.
func (f *flow) laneRow(l *lane.Lane, detail string) *laneRow {
	r := &laneRow{lanes: []*lane.Lane{l}, all: detail == detailFlow, watched: f.watched != nil}
	own := []string{"flow", f.cfg.Name}
	summary := []string{"replication_flow", f.cfg.Source + "->" + f.cfg.Target}
	mirror := []string{"source", f.cfg.Source, "target", f.cfg.Target}
	if detail == detailTopic {
		r.topic = l.Topic
	}
	at := atDetail(detail, l.Topic, l.TargetTopic, l.Partition)
	r.own = labels(append(own, at.source...)...)
	r.summary = labels(append(summary, at.source...)...)
	r.mirror = labels(append(mirror, at.target...)...)
	return r
}

// place labels of both sides.
type placeLabels struct{ source, target []string }

func atDetail(detail, topic, targetTopic string, partition int32) (p placeLabels) {
	if detail == detailFlow {
		return p
	}
	p = placeLabels{[]string{"topic", topic}, []string{"topic", targetTopic}}
	if detail != detailTopic {
		n := strconv.Itoa(int(partition))
		p.source, p.target = append(p.source, "partition", n), append(p.target, "partition", n)
	}
	return p
}

// counted is what lanes have counted that are no longer here; aside are their
// dead letters by topic.
func (f *flow) counted() (sum lane.Stats, aside map[string]int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	aside = map[string]int64{}
	for topic, s := range f.retired {
		sum.Add(s)
		aside[topic] = s.Aside
	}
	return sum, aside
}

// retiredBy is what the lanes have counted that r had before.
func (r *laneRow) retiredBy(f *flow) (s lane.Stats) {
	switch {
	case r.all:
		s, _ = f.counted()
	case r.topic != "":
		f.mu.Lock()
		defer f.mu.Unlock()
		if sum := f.retired[r.topic]; sum != nil {
			s = *sum
		}
	}
	return s
}

// read asks the lanes of a row.
func (r *laneRow) read(f *flow, now time.Time) reading {
	retired := r.retiredBy(f)
	out := reading{row: r, counted: !r.watched, records: retired.Records, bytes: retired.Bytes, lag: lag{records: -1, seconds: -1}}
	for _, l := range r.lanes {
		s := l.Snapshot()
		out.records += s.Records
		out.bytes += s.Bytes
		out.lag.add(lagOf(&s, now))
		out.recent.Merge(l.Recent(now.UnixMilli()))
	}
	out.recordsRate, out.bytesRate = out.recent.Rates(now.UnixMilli())
	return out
}

// add takes in what another row tells.
func (r *reading) add(o *reading) {
	r.counted = r.counted || o.counted
	r.records += o.records
	r.bytes += o.bytes
	r.lag.add(o.lag)
	r.recent.Merge(o.recent)
	r.recordsRate += o.recordsRate
	r.bytesRate += o.bytesRate
}

// laneSeries is a family of the page: which labels it has, and its value, if there
// is one.
type laneSeries struct {
	*family
	labels func(*laneRow) string
	value  func(*reading) (v float64, ok bool)
}

func ownLabels(r *laneRow) string     { return r.own }
func summaryLabels(r *laneRow) string { return r.summary }
func mirrorLabels(r *laneRow) string  { return r.mirror }

func recordsOf(r *reading) (float64, bool) { return float64(r.records), r.counted }
func bytesOf(r *reading) (float64, bool)   { return float64(r.bytes), r.counted }
func lagRecords(r *reading) (float64, bool) {
	return float64(r.lag.records), r.lag.records >= 0
}

var (
	ownSeries = []laneSeries{
		{famRecords, ownLabels, recordsOf},
		{famBytes, ownLabels, bytesOf},
		{famLag, ownLabels, lagRecords},
		{famLagSeconds, ownLabels, func(r *reading) (float64, bool) { return r.lag.seconds, r.lag.seconds >= 0 }},
	}
	compatSeries = slices.Concat([]laneSeries{
		{famSummaryLag, summaryLabels, lagRecords},
		{famMirrorRecords, mirrorLabels, recordsOf},
		{famMirrorRecordRate, mirrorLabels, func(r *reading) (float64, bool) { return r.recordsRate, r.counted }},
		{famMirrorBytes, mirrorLabels, bytesOf},
		{famMirrorByteRate, mirrorLabels, func(r *reading) (float64, bool) { return r.bytesRate, r.counted }},
	}, spreadSeries(famAge, func(r *reading) *lane.Spread { return &r.recent.Age }),
		spreadSeries(famLatency, func(r *reading) *lane.Spread { return &r.recent.Latency }))
)

func spreadSeries(f spreadFamilies, of func(*reading) *lane.Spread) (out []laneSeries) {
	for _, x := range f.values() {
		out = append(out, laneSeries{x.family, mirrorLabels, func(r *reading) (float64, bool) { return x.value(of(r)) }})
	}
	return out
}

// spreadValue is one of four metrics and what it tells.
type spreadValue struct {
	*family
	value func(*lane.Spread) (v float64, ok bool)
}

func (f spreadFamilies) values() []spreadValue {
	return []spreadValue{
		{f.last, func(s *lane.Spread) (float64, bool) { return float64(s.Last), s.Seen }},
		{f.least, func(s *lane.Spread) (float64, bool) { return float64(s.Min), s.N > 0 }},
		{f.most, func(s *lane.Spread) (float64, bool) { return float64(s.Max), s.N > 0 }},
		{f.mean, func(s *lane.Spread) (float64, bool) { return float64(s.Sum) / float64(s.N), s.N > 0 }},
	}
}

// encoder writes Prometheus' text format.
type encoder struct {
	w   io.Writer
	buf []byte
	err error
}

// flushAt bounds the encoder's memory, in bytes.
const flushAt = 64 << 10

// family writes the series that rows have of s.
func (e *encoder) family(s laneSeries, rows []reading) {
	headed := false
	for i := range rows {
		v, ok := s.value(&rows[i])
		ls := s.labels(rows[i].row)
		if !ok || ls == "" {
			continue
		}
		if !headed {
			e.head(s.family)
			headed = true
		}
		e.sample(s.name, ls, v)
	}
}

func (e *encoder) head(f *family) {
	e.buf = append(e.buf, "# HELP "+f.name+" "+f.help+"\n# TYPE "+f.name+" "+f.kind+"\n"...)
}

func (e *encoder) sample(name, labels string, v float64) {
	e.buf = append(e.buf, name...)
	e.buf = append(e.buf, labels...)
	if v == math.Trunc(v) && math.Abs(v) < 1<<53 {
		e.buf = strconv.AppendInt(e.buf, int64(v), 10)
	} else {
		e.buf = strconv.AppendFloat(e.buf, v, 'g', -1, 64)
	}
	e.buf = append(e.buf, '\n')
	e.flush(flushAt)
}

// flush writes what there is if it is so much.
func (e *encoder) flush(least int) {
	if len(e.buf) < least {
		return
	}
	if e.err == nil {
		_, e.err = e.w.Write(e.buf)
	}
	e.buf = e.buf[:0]
}

var escapes = strings.NewReplacer(`\`, `\\`, "\n", `\n`, `"`, `\"`)

// labels are names and values in turn, and a blank, as they follow a metric's name.
func labels(pairs ...string) string {
	var b strings.Builder
	for i := 0; i < len(pairs); i += 2 {
		b.WriteByte("{,"[min(i, 1)])
		b.WriteString(pairs[i] + `="` + escapes.Replace(strings.ToValidUTF8(pairs[i+1], "?")) + `"`)
	}
	b.WriteString("} ")
	return b.String()
}
