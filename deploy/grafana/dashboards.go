package grafana

import (
	"github.com/grafana/grafana-foundation-sdk/go/cog"
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
	"github.com/grafana/grafana-foundation-sdk/go/table"
	"github.com/grafana/grafana-foundation-sdk/go/timeseries"
	"github.com/grafana/grafana-foundation-sdk/go/units"
)

// Dashboards are all of them, by the name of their file.
func Dashboards() (map[string]dashboard.Dashboard, error) {
	out := map[string]dashboard.Dashboard{}
	for name, b := range map[string]*dashboard.DashboardBuilder{
		"overview": overview(), "flow": oneFlow(), "topic": oneTopic(), "cutover": cutover(), "daemon": daemon(),
	} {
		d, err := b.Build()
		if err != nil {
			return nil, err
		}
		finish(&d)
		out[name+".json"] = d
	}
	return out, nil
}

// finish numbers the panels, and takes away what the builders add and Grafana's own types do not know.
func finish(d *dashboard.Dashboard) {
	for n := range d.Panels {
		id := uint32(n + 1) // nobody refers to it but links that readers copy
		if d.Panels[n].RowPanel != nil {
			d.Panels[n].RowPanel.Id = id
			continue
		}
		p := d.Panels[n].Panel
		p.Id = &id
		if o, ok := p.Options.(*table.Options); ok {
			o.Footer = nil
		}
	}
	for n := range d.Templating.List {
		v := &d.Templating.List[n]
		v.Auto, v.AutoMin, v.AutoCount = nil, nil, nil
	}
}

// What the variables of dashboards choose among.
func flows(many bool) cog.Builder[dashboard.VariableModel] {
	return choice("flow", "Flow", "One direction between two clusters.", "label_values(kferry_flow_info, flow)", many)
}

func topics() cog.Builder[dashboard.VariableModel] {
	return choice("topic", "Topic", "As it is called on the source.", `label_values(kferry_records_total{flow="$flow"}, topic)`, false)
}

func instances() cog.Builder[dashboard.VariableModel] {
	return choice("instance", "Replica", "One kferry process.", "label_values(kferry_build_info, instance)", true)
}

// yesNo are the words for 1 and 0.
var yesNo = map[string]string{"0": "no", "1": "yes"}

// head are the panels at the top of dashboards that show flows; which selects them, as in {flow="a"}.
func head(which string) []panel {
	return []panel{
		number("Safe to switch", "Whether consumers and producers could go over to the target now. “Cutover readiness” has the reasons if not.",
			units.Short, good, "nothing runs", ask{expr: "min(flow:kferry_safe_to_switch" + which + ")"}).Mappings(saying(yesNo)),
		number("Lag", "Source offsets that the target lacks. It falls to 0 when the target has all there is.",
			units.Short, []level{{0, "green"}, {1, "blue"}}, "unknown", ask{expr: "sum(flow:kferry_lag_records:sum" + which + ")"}),
		number("Oldest record not on the target", "How far the target is behind in time.",
			units.Seconds, []level{{0, "green"}, {60, "orange"}, {600, "red"}}, "unknown", ask{expr: "max(flow:kferry_lag_seconds:max" + which + ")"}),
		number("Caught up in", "When the lag will be gone if it goes on falling as in the last two minutes. The slowest flow counts.",
			units.Seconds, plain, "does not fall", ask{expr: "max(flow:kferry_catch_up_seconds" + which + ")"}),
	}
}

// rate is a counter's increase a second, summed by labels.
func rate(metric, which, by string) string {
	return "sum by (" + by + ") (rate(" + metric + which + "[$__rate_interval]))"
}

func overview() *dashboard.DashboardBuilder {
	const which = `{flow=~"$flow"}`
	b := board("kferry-overview", "kferry / Overview", "All flows: is everything well, is it safe to switch, what is left to carry.", flows(true))
	b.WithPanel(number("Firing alerts", "Alerts of kferry.rules.yml that fire now, over all flows, clusters and replicas.",
		units.Short, badFrom(1), "no data", ask{expr: `count(ALERTS{alertname=~"Kferry.+", alertstate="firing"}) or vector(0)`}))
	for _, p := range head(which) {
		b.WithPanel(p)
	}
	b.WithPanel(number("Lanes that do not run", "Partitions that are starting, waiting, paused or stopped, or that no replica has.",
		units.Short, badFrom(1), "nothing runs",
		ask{expr: `sum(flow:kferry_switch_blockers{flow=~"$flow", reason=~"lanes are not running|lanes without an owner"})`}))

	section(b, "What is left",
		graph("Lag by flow", "Source offsets that the target lacks.", units.Short, half, ask{"flow:kferry_lag_records:sum" + which, "{{flow}}"}),
		graph("Lag in time by flow", "Age of the oldest record that the target lacks.", units.Seconds, half, ask{"flow:kferry_lag_seconds:max" + which, "{{flow}}"}),
		list("Flows", "Each flow now. An empty time to catch up means that its lag does not fall.", full, []string{"flow"},
			column{name: "safe to switch", unit: units.Short, expr: "flow:kferry_safe_to_switch" + which, levels: good, words: yesNo},
			column{name: "lag", unit: units.Short, expr: "flow:kferry_lag_records:sum" + which},
			column{name: "oldest", unit: units.Seconds, expr: "flow:kferry_lag_seconds:max" + which},
			column{name: "caught up in", unit: units.Seconds, expr: "flow:kferry_catch_up_seconds" + which},
			column{name: "records/s", unit: units.Short, expr: "rate(kferry_records_total" + which + "[$__rate_interval])"},
			column{name: "lanes running", unit: units.Short, expr: `kferry_lanes{flow=~"$flow", state="running"}`},
			column{name: "lanes not running", unit: units.Short, expr: `kferry_lanes{flow=~"$flow", state!="running"}`, levels: badFrom(1)},
		),
	)
	section(b, "What is carried",
		graph("Records by flow", "Records that the target acknowledged.", units.RecordsPerSecond, half, ask{rate("kferry_records_total", which, "flow"), "{{flow}}"}),
		graph("Bytes by flow", "Bytes of record batches that the target acknowledged, compressed as they are there.", units.BytesPerSecondIEC, half,
			ask{rate("kferry_bytes_total", which, "flow"), "{{flow}}"}),
	)
	section(b, "What is wrong",
		list("Alerts", "What fires or is about to; docs/runbook.md tells what to do.", half, []string{"alertname", "alertstate", "severity", "flow", "topic", "group", "cluster", "cause", "side", "instance"},
			column{name: "alerts", unit: units.Short, expr: `ALERTS{alertname=~"Kferry.+"}`}),
		lanesByState(which, half/2),
		clusters("", half/2),
	)
	return b
}

func lanesByState(which string, width uint32) *timeseries.PanelBuilder {
	return stacked("Lanes by state", "Partitions of the replicas' flows. Stopped ones need somebody; each says why in the list of lanes.", units.Short, width,
		ask{"sum by (state) (kferry_lanes" + which + ")", "{{state}}"})
}

func clusters(which string, width uint32) *timeseries.PanelBuilder {
	return graph("Clusters that answer", "1 while a broker of the cluster has answered every replica lately.", units.Short, width,
		ask{"min by (cluster) (kferry_cluster_up" + which + ")", "{{cluster}}"}).Max(1)
}

func oneFlow() *dashboard.DashboardBuilder {
	const which = `{flow="$flow"}`
	b := board("kferry-flow", "kferry / Flow", "One flow: which topics lag, what is carried and how fast, what went wrong.", flows(false))
	for _, p := range head(which) {
		b.WithPanel(p)
	}
	b.WithPanel(number("Lanes running", "Partitions that are carried.", units.Short, plain, "none", ask{expr: `sum(kferry_lanes{flow="$flow", state="running"})`})).
		WithPanel(number("Lanes with old news", "Partitions of which the source has not told lately where they end: their lag is old, or not there.",
			units.Short, badFrom(1), "nothing runs", ask{expr: "sum(kferry_lag_stale_lanes" + which + ")"}))

	section(b, "Topics",
		graph("Most lag", "The 20 topics that lack most on the target, in source offsets.", units.Short, half, ask{"topk(20, flow_topic:kferry_lag_records:sum" + which + ")", "{{topic}}"}),
		graph("Furthest behind", "The 20 topics whose oldest record that the target lacks is oldest.", units.Seconds, half, ask{"topk(20, flow_topic:kferry_lag_seconds:max" + which + ")", "{{topic}}"}),
		graph("Most records", "The 20 topics with most records that the target acknowledged.", units.RecordsPerSecond, half, ask{"topk(20, " + rate("kferry_records_total", which, "topic") + ")", "{{topic}}"}),
		graph("Most bytes", "The 20 topics with most bytes that the target acknowledged.", units.BytesPerSecondIEC, half, ask{"topk(20, " + rate("kferry_bytes_total", which, "topic") + ")", "{{topic}}"}),
	)
	section(b, "How it goes",
		lanesByState(which, third),
		graph("Time of requests", "How long brokers take to answer: to produce, until all replicas in sync have it; to fetch, up to half a second where nothing is new.",
			units.Seconds, third, quantile("0.5", "kferry_produce_seconds", "produce, half of them"), quantile("0.99", "kferry_produce_seconds", "produce, 99 %"),
			quantile("0.5", "kferry_fetch_seconds", "fetch, half of them"), quantile("0.99", "kferry_fetch_seconds", "fetch, 99 %")),
		graph("Way of batches", "Whole batches are never opened. Merged ones were small and joined; recoded ones cost most.", units.OpsPerSecond, third,
			ask{rate("kferry_batches_total", which, "path"), "{{path}}"}),
	)
	section(b, "What went wrong",
		graph("Counted since the replicas started", "Lost: gone from the source before they could be carried. Possibly twice: at most so many. Found on the target: not sent again after a failure.",
			units.Short, third, ask{"sum(kferry_lost_offsets_total" + which + ")", "lost"}, ask{"sum(kferry_possible_duplicates_total" + which + ")", "possibly twice"},
			ask{"sum(kferry_duplicates_avoided_total" + which + ")", "found on the target"},
			ask{"sum(kferry_dead_letters_total" + which + ") or vector(0)", "set aside"}),
		graph("Refusals and failed requests", "Refusals are for good; requests that failed are tried again.", units.OpsPerSecond, third,
			ask{rate("kferry_refusals_total", which, "side"), "{{side}} refuses"}, ask{rate("kferry_request_errors_total", which, "request") + " or 0 * sum(kferry_slots" + which + ")", "{{request}} failed"}),
		graph("Time since signs of life", "Since progress was last stored, groups were last followed and a heartbeat was last written. All are a few seconds.", units.Seconds, third,
			ask{"time() - min(kferry_progress_timestamp_seconds" + which + ")", "progress"}, ask{"time() - min(kferry_groups_timestamp_seconds" + which + ")", "groups"},
			ask{"time() - max(kferry_heartbeat_timestamp_seconds" + which + ")", "heartbeat"}),
	)
	return b
}

func quantile(q, histogram, legend string) ask {
	return ask{"histogram_quantile(" + q + ", " + rate(histogram+"_bucket", `{flow="$flow"}`, "le") + ")", legend}
}

func oneTopic() *dashboard.DashboardBuilder {
	const which = `{flow="$flow", topic="$topic"}`
	b := board("kferry-topic", "kferry / Topic", "One topic of a flow, by partition. With metrics.detail other than partition it shows sums.", flows(false), topics())
	for _, p := range []panel{
		number("Lag", "Source offsets that the target lacks.", units.Short, []level{{0, "green"}, {1, "blue"}}, "unknown", ask{expr: "flow_topic:kferry_lag_records:sum" + which}),
		number("Oldest record not on the target", "How far the topic is behind in time.", units.Seconds, []level{{0, "green"}, {60, "orange"}, {600, "red"}}, "unknown",
			ask{expr: "flow_topic:kferry_lag_seconds:max" + which}),
		number("Records", "That the target acknowledged lately.", units.RecordsPerSecond, plain, "none", ask{expr: "sum(rate(kferry_records_total" + which + "[$__rate_interval]))"}),
		number("Bytes", "Of record batches that the target acknowledged lately.", units.BytesPerSecondIEC, plain, "none", ask{expr: "sum(rate(kferry_bytes_total" + which + "[$__rate_interval]))"}),
		number("Lanes", "Partitions that replicas have.", units.Short, plain, "none", ask{expr: "count(kferry_records_total" + which + ")"}),
		number("Partitions without known lag", "Partitions of which nobody knows whether the target lacks something.", units.Short, badFrom(1), "none",
			ask{expr: "count(kferry_records_total" + which + " unless kferry_lag_records) or vector(0)"}),
	} {
		b.WithPanel(p)
	}
	section(b, "Partitions",
		graph("Lag", "Source offsets that the target lacks, by partition.", units.Short, half, ask{"sum by (partition) (kferry_lag_records" + which + ")", "{{partition}}"}),
		graph("Lag in time", "Age of the oldest record that the target lacks, by partition.", units.Seconds, half, ask{"max by (partition) (kferry_lag_seconds" + which + ")", "{{partition}}"}),
		graph("Records", "Records that the target acknowledged, by partition.", units.RecordsPerSecond, half, ask{rate("kferry_records_total", which, "partition"), "{{partition}}"}),
		graph("Bytes", "Bytes of record batches that the target acknowledged, by partition.", units.BytesPerSecondIEC, half, ask{rate("kferry_bytes_total", which, "partition"), "{{partition}}"}),
	)
	return b
}

func cutover() *dashboard.DashboardBuilder {
	const which = `{flow=~"$flow"}`
	b := board("kferry-cutover", "kferry / Cutover readiness", "Whether consumers and producers can go over to the target, and what is in the way if not.", flows(true))
	for _, p := range head(which) {
		b.WithPanel(p)
	}
	b.WithPanel(number("Group partitions out of step", "Partitions where a consumer group would not go on in the right place if it switched now.",
		units.Short, badFrom(1), "no groups", ask{expr: "sum(kferry_group_unsynced_partitions" + which + ")"})).
		WithPanel(number("Groups compared", "Since consumer groups were last compared without an error.", units.Seconds, []level{{0, "green"}, {60, "red"}}, "no groups",
			ask{expr: "time() - min(kferry_groups_timestamp_seconds" + which + ")"}))

	section(b, "What is in the way",
		list("Reasons", "What must be 0 before a switch: records, lanes, clusters, partitions of groups; 1 stands for yes.", half, []string{"flow", "reason"},
			column{name: "now", unit: units.Short, expr: "flow:kferry_switch_blockers" + which, levels: badFrom(1)}),
		graph("Safe to switch over time", "1 while it was safe. With producers at work it comes and goes; it stays when they have stopped.", units.Short, half,
			ask{"flow:kferry_safe_to_switch" + which, "{{flow}}"}).Max(1),
	)
	section(b, "Consumer groups",
		list("Groups", "Partitions out of step, and what the group would still have to read on the target.", half, []string{"flow", "group"},
			column{name: "out of step", unit: units.Short, expr: "kferry_group_unsynced_partitions" + which, levels: badFrom(1)},
			column{name: "lag on the target", unit: units.Short, expr: "kferry_group_lag_records" + which}),
		stacked("Partitions by verdict", "exact, gap and floor go on in the right place; docs/offsets.md has the others.", units.Short, half,
			ask{"sum by (verdict) (kferry_group_partitions" + which + ") > 0", "{{verdict}}"}),
		graph("Most out of step", "The 20 groups with most partitions where they would not go on in the right place.", units.Short, half,
			ask{"topk(20, sum by (flow, group) (kferry_group_unsynced_partitions" + which + "))", "{{group}}"}),
		graph("Most to read", "The 20 groups with most records to read on the target.", units.Short, half,
			ask{"topk(20, sum by (flow, group) (kferry_group_lag_records" + which + "))", "{{group}}"}),
	)
	section(b, "What a switch does not mend",
		graph("Lost offsets", "Gone from the source before they could be carried, since the replicas started.", units.Short, third, ask{"sum by (flow) (kferry_lost_offsets_total" + which + ")", "{{flow}}"}),
		graph("Possible duplicates", "At most so many records are on the target twice, since the replicas started.", units.Short, third,
			ask{"sum by (flow) (kferry_possible_duplicates_total" + which + ")", "{{flow}}"}),
		graph("Records set aside", "In the dead letter topic, since the replicas started.", units.Short, third,
			ask{"sum by (flow) (kferry_dead_letters_total" + which + ") or 0 * sum by (flow) (kferry_slots" + which + ")", "{{flow}}"}),
	)
	return b
}

func daemon() *dashboard.DashboardBuilder {
	const which = `{instance=~"$instance"}`
	const only = " and on (instance) kferry_build_info" // other programs have the same metrics of Go and the process
	ofKferry := func(metric string) string { return metric + which + only }
	b := board("kferry-daemon", "kferry / Daemon", "The processes: what they use, how they share the work, what the clusters say to them.", instances())
	for _, p := range []panel{
		number("Replicas", "Processes that answer Prometheus.", units.Short, good, "none", ask{expr: "count(kferry_build_info" + which + ")"}),
		number("Running for", "Since the youngest process started.", units.Seconds, plain, "none", ask{expr: "time() - max(" + ofKferry("process_start_time_seconds") + ")"}),
		number("Memory budget used", "Record bytes fetched and not yet acknowledged, by the fullest process. Lanes hold three quarters at most; then reading waits for the targets.", units.PercentUnit,
			[]level{{0, "green"}, {0.7, "orange"}}, "none", ask{expr: "max(kferry_memory_budget_used_bytes" + which + " / kferry_memory_budget_bytes)"}),
		number("Rejections", "Clusters and causes that a person must mend: password, certificate, authorization.", units.Short, badFrom(1), "none",
			ask{expr: "sum(max by (cluster, cause) (kferry_cluster_rejected" + which + "))"}),
		number("Processor", "Cores that all processes use.", units.Short, plain, "none", ask{expr: "sum(" + "rate(process_cpu_seconds_total" + which + "[$__rate_interval])" + only + ")"}),
		number("Memory", "Resident memory of all processes.", units.BytesIEC, plain, "none", ask{expr: "sum(" + ofKferry("process_resident_memory_bytes") + ")"}),
	} {
		b.WithPanel(p)
	}
	section(b, "What they use",
		graph("Processor", "Cores by process.", units.Short, third, ask{"rate(process_cpu_seconds_total" + which + "[$__rate_interval])" + only, "{{instance}}"}),
		graph("Memory", "Resident memory, and the heap of the Go runtime.", units.BytesIEC, third, ask{ofKferry("process_resident_memory_bytes"), "{{instance}} resident"},
			ask{ofKferry("go_memstats_heap_inuse_bytes"), "{{instance}} heap"}),
		graph("Memory budget", "Record bytes fetched and not yet acknowledged, and how many may be.", units.BytesIEC, third, ask{"kferry_memory_budget_used_bytes" + which, "{{instance}} used"},
			ask{"kferry_memory_budget_bytes" + which, "{{instance}} budget"}),
		graph("Goroutines and open files", "Both grow with lanes and brokers; without end they must not.", units.Short, third, ask{ofKferry("go_goroutines"), "{{instance}} goroutines"},
			ask{ofKferry("process_open_fds"), "{{instance}} files"}),
		graph("Size of a scrape", "Series that Prometheus reads of each process; metrics.detail and metrics.compatibility bound them.", units.Short, third,
			ask{ofKferry("scrape_samples_scraped"), "{{instance}}"}),
		graph("Time of a scrape", "How long Prometheus waits for /metrics.", units.Seconds, third, ask{ofKferry("scrape_duration_seconds"), "{{instance}}"}),
	)
	section(b, "How they share the work",
		graph("Lanes by replica", "Partitions that each process has.", units.Short, half, ask{"sum by (instance) (kferry_lanes" + which + ")", "{{instance}}"}),
		graph("Slots by replica", "Slots of progress topics that each process owns.", units.Short, half, ask{"sum by (instance) (kferry_slots" + which + ")", "{{instance}}"}),
	)
	section(b, "What the clusters say",
		clusters(which, third),
		graph("Rejections by cause", "1 while a cluster rejects a process for a cause that a person must mend.", units.Short, third,
			ask{"max by (cluster, cause) (kferry_cluster_rejected" + which + ")", "{{cluster}}: {{cause}}"}).Max(1),
		list("Versions", "What runs.", third, []string{"instance", "version", "goversion"},
			column{name: "processes", unit: units.Short, expr: "kferry_build_info" + which}),
	)
	return b
}
