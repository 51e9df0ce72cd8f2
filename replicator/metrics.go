package replicator

import (
	"runtime"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/kferry/kferry/config"
	"github.com/kferry/kferry/internal/kafka"
	"github.com/kferry/kferry/replicator/budget"
	"github.com/kferry/kferry/replicator/lane"
)

// metrics are what a daemon exports through a registry: all but the series of
// lanes, which are too many for one (see lanePage). What belongs to lanes is read
// from them at each scrape; only durations are kept here.
type metrics struct {
	fetches, produces *prometheus.HistogramVec // by flow
	errors            *prometheus.CounterVec   // by flow and request

	aside    *family // kferry_dead_letters_total at the detail that is wanted
	byTopic  bool    // it has topics
	version  string
	flows    []*flow
	carrier  *carrierWatch // nil: nobody else carries anything
	clusters []*health
	budget   *budget.Budget
}

func newMetrics(cfg config.Metrics, version string) *metrics {
	h := func(f *family) *prometheus.HistogramVec {
		return prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: f.name, Help: f.help, Buckets: prometheus.ExponentialBuckets(0.001, 2, 16), // 1 ms to 33 s
		}, f.labels)
	}
	m := &metrics{
		fetches: h(famFetches), produces: h(famProduces), aside: famAside, byTopic: true, version: version,
		errors: prometheus.NewCounterVec(prometheus.CounterOpts{Name: famErrors.name, Help: famErrors.help}, famErrors.labels),
	}
	if cfg.Detail == detailFlow {
		m.aside, m.byTopic = describe(famAside.name, famAside.kind, famAside.unit, perFlow, famAside.help), false
	}
	return m
}

func (m *metrics) register(r prometheus.Registerer, flows []*flow, clusters []*health, b *budget.Budget) error {
	m.flows, m.clusters, m.budget = flows, clusters, b
	for _, c := range []prometheus.Collector{m.fetches, m.produces, m.errors, m} {
		if err := r.Register(c); err != nil {
			return err
		}
	}
	return nil
}

func (m *metrics) fetched(flow string, took time.Duration, err error) {
	m.observe(m.fetches, "fetch", flow, took, err)
}

func (m *metrics) produced(flow string, took time.Duration, err error) {
	m.observe(m.produces, "produce", flow, took, err)
}

func (m *metrics) observe(h *prometheus.HistogramVec, request, flow string, took time.Duration, err error) {
	if err != nil {
		m.errors.WithLabelValues(flow, request).Inc()
		return
	}
	h.WithLabelValues(flow).Observe(took.Seconds())
}

// Describe implements prometheus.Collector.
func (m *metrics) Describe(out chan<- *prometheus.Desc) {
	for _, f := range []*family{
		m.aside, famFlowInfo, famPartitions, famLanes, famSlots, famStale, famUndecided, famBatches, famAvoided, famLost, famTwice, famRefusals, famProgressAt, famHeartbeatAt, famCarriedEnabled, famCarriedProgress, famCarriedGroups, famCarriedAt,
		famVerdicts, famUnsynced, famGroupLag, famGroupsAt, famBuild, famUp, famRejected, famUsed, famLimit,
	} {
		out <- f.desc
	}
}

// samples sends metrics to a registry.
type samples chan<- prometheus.Metric

func (s samples) send(f *family, v float64, labels ...string) {
	t := prometheus.GaugeValue
	if f.kind == counter {
		t = prometheus.CounterValue
	}
	for i := range labels {
		labels[i] = strings.ToValidUTF8(labels[i], "?") // a group may be called anything, a label may not
	}
	s <- prometheus.MustNewConstMetric(f.desc, t, v, labels...)
}

// sendTime sends a moment, unless it never was.
func (s samples) sendTime(f *family, ms int64, labels ...string) {
	if ms > 0 {
		s.send(f, float64(ms)/1000, labels...)
	}
}

// Collect implements prometheus.Collector.
func (m *metrics) Collect(out chan<- prometheus.Metric) {
	s, now := samples(out), time.Now()
	for _, f := range m.flows {
		if f.watched != nil {
			collectWatched(f, now, s)
			continue
		}
		m.collectLanes(f, now, s)
		collectSigns(f, s)
		if len(f.cfg.Groups) > 0 {
			collectGroups(f.cfg.Name, sumGroups(f.offsetRows()), s)
		}
	}
	if m.carrier != nil {
		s.sendTime(famCarriedAt, m.carrier.heard())
	}
	if len(m.clusters) > 0 {
		m.collectClusters(s)
	}
	s.send(famBuild, 1, m.version, runtime.Version())
	s.send(famUsed, float64(m.budget.Used()))
	s.send(famLimit, float64(m.budget.Limit()))
}

// collectLanes sends what is summed over the lanes of a flow.
func (m *metrics) collectLanes(f *flow, now time.Time, s samples) {
	name := f.cfg.Name
	sum, aside := f.counted()
	held := 0
	for _, m := range f.members() {
		x := m.lane.Snapshot()
		if _, ok := undecided(&x, now); ok {
			held++
		}
		sum.Add(&x.Stats)
		aside[m.lane.Topic] += x.Aside
	}
	collectStates(f, now, s)
	s.send(famUndecided, float64(held), name)
	for p, n := range sum.Batches {
		s.send(famBatches, float64(n), name, lane.Path(p).String())
	}
	s.send(famAvoided, float64(sum.Skipped), name)
	s.send(famLost, float64(sum.Lost), name)
	s.send(famTwice, float64(sum.Twice), name)
	switch {
	case f.cfg.OnRefused != onRefusedDeadLetter:
	case !m.byTopic:
		s.send(m.aside, float64(sum.Aside), name)
	default:
		for topic, n := range aside {
			s.send(m.aside, float64(n), name, topic)
		}
	}
}

// collectStates sends how many lanes there are of each kind.
func collectStates(f *flow, now time.Time, s samples) {
	var states [lane.States]int
	stale := 0
	for _, m := range f.members() {
		x := m.lane.Snapshot()
		states[shown(x)]++
		if lagOf(&x, now).stale {
			stale++
		}
	}
	for st, n := range states {
		s.send(famLanes, float64(n), f.cfg.Name, lane.State(st).String())
	}
	s.send(famStale, float64(stale), f.cfg.Name)
}

// collectWatched sends what is known of a flow that somebody else carries, if this
// replica is the one that watches it.
func collectWatched(f *flow, now time.Time, s samples) {
	name := f.cfg.Name
	s.send(famFlowInfo, 1, name, f.cfg.Source, f.cfg.Target)
	if !f.leads.Load() {
		return
	}
	collectStates(f, now, s)
	if view := f.view.Load(); view != nil {
		s.send(famPartitions, float64(len(*view)), name)
	}
	groups := 0.0
	if f.watched.groups {
		groups = 1
	}
	s.send(famCarriedGroups, groups, name)
	c, err := f.carrier.flow(f.cfg.Source, f.cfg.Target, now)
	switch {
	case err != nil:
	case c == nil || !c.Enabled:
		s.send(famCarriedEnabled, 0, name)
	default:
		s.send(famCarriedEnabled, 1, name)
		if c.Progress >= 0 {
			s.send(famCarriedProgress, c.Progress, name)
		}
	}
}

// collectSigns sends what a flow tells of itself.
func collectSigns(f *flow, s samples) {
	name := f.cfg.Name
	s.send(famFlowInfo, 1, name, f.cfg.Source, f.cfg.Target)
	s.send(famSlots, float64(f.slots.Load()), name)
	s.send(famRefusals, float64(f.signs.source.Load()), name, "source")
	s.send(famRefusals, float64(f.signs.target.Load()), name, "target")
	s.sendTime(famProgressAt, f.signs.progress.Load(), name)
	s.sendTime(famGroupsAt, f.signs.groups.Load(), name)
	if f.leads.Load() {
		s.sendTime(famHeartbeatAt, f.signs.heartbeat.Load(), name)
		if view := f.view.Load(); view != nil {
			s.send(famPartitions, float64(len(*view)), name)
		}
	}
}

func collectGroups(flow string, sums groupSums, s samples) {
	for verdict, n := range sums.verdicts {
		s.send(famVerdicts, float64(n), flow, verdict)
	}
	for group, sum := range sums.groups {
		s.send(famUnsynced, float64(sum.unsynced), flow, group)
		if sum.known {
			s.send(famGroupLag, float64(sum.lag), flow, group)
		}
	}
}

// collectClusters sends how the clusters treat us.
func (m *metrics) collectClusters(s samples) {
	rejected := map[rejection]bool{}
	for _, f := range m.flows {
		f.rejections(rejected)
	}
	for _, h := range m.clusters {
		up := 0.0
		if h.up() {
			up = 1
		}
		s.send(famUp, up, h.alias())
		if r, ok := rejectionIn(h.failure(), h.alias()); ok {
			rejected[r] = true
		}
		for _, kind := range kafka.Rejections {
			v := 0.0
			if rejected[rejection{h.alias(), kind}] {
				v = 1
			}
			s.send(famRejected, v, h.alias(), string(kind))
		}
	}
}
