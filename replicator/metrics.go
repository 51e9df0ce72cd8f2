package replicator

import (
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/kferry/kferry/replicator/budget"
	"github.com/kferry/kferry/replicator/lane"
)

// metrics are what a daemon exports. What belongs to lanes is read from them at
// each scrape, so a series ends with its lane; only durations are kept here.
type metrics struct {
	fetches, produces *prometheus.HistogramVec // by flow
	errors            *prometheus.CounterVec   // by flow and side

	flows  []*flow
	budget *budget.Budget
}

var (
	laneLabels = []string{"flow", "topic", "partition"}

	descRecords  = prometheus.NewDesc("kferry_records_total", "Records that the target acknowledged.", laneLabels, nil)
	descBytes    = prometheus.NewDesc("kferry_bytes_total", "Bytes of record batches that the target acknowledged, as written there.", laneLabels, nil)
	descLag      = prometheus.NewDesc("kferry_lag_records", "Source offsets that the target lacks: source end minus acknowledged.", laneLabels, nil)
	descLagAge   = prometheus.NewDesc("kferry_lag_seconds", "Age of the oldest record that the target lacks.", laneLabels, nil)
	descBatches  = prometheus.NewDesc("kferry_batches_total", "Batches that the target acknowledged, by the way they came: whole, merged or recoded.", []string{"flow", "path"}, nil)
	descLanes    = prometheus.NewDesc("kferry_lanes", "Lanes by state: starting, running, waiting, paused or stopped.", []string{"flow", "state"}, nil)
	descSlots    = prometheus.NewDesc("kferry_slots", "Slots of the flow that this replica owns; over all replicas, as many as the progress topic has partitions.", []string{"flow"}, nil)
	descAvoided  = prometheus.NewDesc("kferry_duplicates_avoided_total", "Records found on the target after a restart or a failure, and not sent again.", []string{"flow"}, nil)
	descLost     = prometheus.NewDesc("kferry_lost_offsets_total", "Source offsets that retention removed before they were carried.", []string{"flow"}, nil)
	descTwice    = prometheus.NewDesc("kferry_possible_duplicates_total", "Records sent again because the source made counting impossible: at most so many are on the target twice.", []string{"flow"}, nil)
	descAside    = prometheus.NewDesc("kferry_dead_letters_total", "Records that the target refused and that were set aside in the dead letter topic.", []string{"flow", "topic"}, nil)
	descVerdicts = prometheus.NewDesc("kferry_group_partitions", "Partitions of followed consumer groups, by verdict.", []string{"flow", "verdict"}, nil)
	descGroupLag = prometheus.NewDesc("kferry_group_lag_records", "Records that the group would still have to read on the target if it switched now, summed over the partitions where that is known.", []string{"flow", "group"}, nil)
	descUnsynced = prometheus.NewDesc("kferry_group_unsynced_partitions", "Partitions where the group would not go on in the right place if it switched now.", []string{"flow", "group"}, nil)
	descUsed     = prometheus.NewDesc("kferry_memory_budget_used_bytes", "Bytes fetched and not yet acknowledged.", nil, nil)
	descLimit    = prometheus.NewDesc("kferry_memory_budget_bytes", "The memory budget.", nil, nil)
	durationBins = prometheus.ExponentialBuckets(0.001, 2, 16) // 1 ms to 33 s
)

func newMetrics() *metrics {
	h := func(name, help string) *prometheus.HistogramVec {
		return prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: name, Help: help, Buckets: durationBins}, []string{"flow"})
	}
	return &metrics{
		fetches:  h("kferry_fetch_seconds", "Time from a fetch request to its response; up to half a second where nothing new is there."),
		produces: h("kferry_produce_seconds", "Time from a produce request to its acknowledgement by all replicas in sync."),
		errors: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "kferry_request_errors_total",
			Help: "Fetch and produce requests that got no answer."}, []string{"flow", "request"}),
	}
}

func (m *metrics) register(r prometheus.Registerer, flows []*flow, b *budget.Budget) error {
	m.flows, m.budget = flows, b
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
	for _, d := range []*prometheus.Desc{
		descRecords, descBytes, descLag, descLagAge, descBatches, descLanes, descSlots, descAvoided, descLost, descTwice, descAside,
		descVerdicts, descGroupLag, descUnsynced, descUsed, descLimit,
	} {
		out <- d
	}
}

// Collect implements prometheus.Collector.
func (m *metrics) Collect(out chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	for _, f := range m.flows {
		collectFlow(f, out)
		if len(f.cfg.Groups) > 0 {
			collectGroups(f.cfg.Name, sumGroups(f.offsetRows()), out)
		}
	}
	gauge(descUsed, float64(m.budget.Used()))
	gauge(descLimit, float64(m.budget.Limit()))
}

func collectFlow(f *flow, out chan<- prometheus.Metric) {
	send := func(d *prometheus.Desc, t prometheus.ValueType, v float64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, t, v, append([]string{f.cfg.Name}, labels...)...)
	}
	const counter, gauge = prometheus.CounterValue, prometheus.GaugeValue
	var sum lane.Stats
	var states [lane.States]int
	aside := map[string]int64{}
	now := time.Now()
	for _, m := range f.members() {
		s := m.lane.Snapshot()
		topic, partition := m.lane.Topic, strconv.Itoa(int(m.lane.Partition))
		send(descRecords, counter, float64(s.Records), topic, partition)
		send(descBytes, counter, float64(s.Bytes), topic, partition)
		if s.Lag >= 0 {
			send(descLag, gauge, float64(s.Lag), topic, partition)
			send(descLagAge, gauge, lagSeconds(s, now), topic, partition)
		}
		states[shown(s)]++
		for p, n := range s.Batches {
			sum.Batches[p] += n
		}
		sum.Skipped += s.Skipped
		sum.Lost += s.Lost
		sum.Twice += s.Twice
		aside[topic] += s.Aside
	}
	for p, n := range sum.Batches {
		send(descBatches, counter, float64(n), lane.Path(p).String())
	}
	for st, n := range states {
		send(descLanes, gauge, float64(n), lane.State(st).String())
	}
	send(descSlots, gauge, float64(f.slots.Load()))
	send(descAvoided, counter, float64(sum.Skipped))
	send(descLost, counter, float64(sum.Lost))
	send(descTwice, counter, float64(sum.Twice))
	if f.cfg.OnRefused == onRefusedDeadLetter {
		for topic, n := range aside {
			send(descAside, counter, float64(n), topic)
		}
	}
}

func collectGroups(flow string, sums groupSums, out chan<- prometheus.Metric) {
	send := func(d *prometheus.Desc, n int64, label string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, float64(n), flow, label)
	}
	for verdict, n := range sums.verdicts {
		send(descVerdicts, int64(n), verdict)
	}
	for group, sum := range sums.groups {
		group = strings.ToValidUTF8(group, "?") // a group may be called anything, a label may not
		send(descUnsynced, int64(sum.unsynced), group)
		if sum.known {
			send(descGroupLag, sum.lag, group)
		}
	}
}
