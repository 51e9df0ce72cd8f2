package replicator

import "github.com/prometheus/client_golang/prometheus"

// family is a metric: what /metrics and docs/metrics.md tell of it.
type family struct {
	name, kind, unit string
	labels           []string
	help             string
	desc             *prometheus.Desc
}

// The kinds of family.
const (
	counter   = "counter"
	gauge     = "gauge"
	histogram = "histogram"
)

// section is a part of docs/metrics.md.
type section struct {
	title, text string
	families    []*family
}

// families are all metrics but those of the Go runtime and the process.
var families = []*section{
	{
		title: "Lanes",
		text: "One series for each lane that this replica has; it ends when the lane does, or goes to another replica. `metrics.detail: topic` has one for each " +
			"topic instead, without the label `partition`, and `flow` one for each flow, without `topic` too: counters, lag in records and rates are summed, of lag in " +
			"seconds the largest counts.",
		families: []*family{famRecords, famBytes, famLag, famLagSeconds, famAside},
	},
	{
		title: "Flows",
		families: []*family{
			famFlowInfo, famPartitions, famLanes, famSlots, famStale, famUndecided, famBatches, famAvoided, famLost, famTwice, famRefusals, famProgressAt, famHeartbeatAt,
			famFetches, famProduces, famErrors,
		},
	},
	{
		title: "Flows at Aiven",
		text: "Of flows with `engine: aiven`, which Aiven's MirrorMaker 2 carries and kferry watches. One replica exports them: the one that leads the first of the flows that kferry carries itself, " +
			"or each where there is none. Of the other metrics such flows have `kferry_lag_records`, `kferry_lag_seconds`, `kferry_lag_stale_lanes`, `kferry_flow_info`, `kferry_flow_partitions`, " +
			"`kferry_lanes` and the replication lag under Aiven's name, with the same labels and the same meaning; what is counted where records pass is not known of them. [aiven.md](aiven.md) has how their lag is found out.",
		families: []*family{famCarriedEnabled, famCarriedProgress, famCarriedGroups, famCarriedAt},
	},
	{
		title: "Consumer groups",
		text:  "Of flows with `groups` only; the verdicts are in [offsets.md](offsets.md).",
		families: []*family{
			famVerdicts, famUnsynced, famGroupLag, famGroupsAt,
		},
	},
	{
		title:    "Clusters and the process",
		text:     "Metrics of the Go runtime (`go_*`), the process (`process_*`) and the scrapes themselves (`promhttp_*`) are there as well.",
		families: []*family{famBuild, famUp, famRejected, famUsed, famLimit},
	},
	{
		title: "Names of MirrorMaker 2 and Aiven",
		text: "For dashboards that exist; `metrics.compatibility: false` leaves them out. The labels are those of Aiven and of Strimzi's rules for the JMX exporter: " +
			"in the first metric `topic` is the name on the source, in the others that on the target. `metrics.detail` takes labels away from them as it does above; of an average it " +
			"makes the average over all, of a last value the largest. Ages and latencies are measured once for each batch, at its first record. What is said to be lately is " +
			"of the last 30 to 60 seconds; where nothing was measured in that time the series is absent.",
		families: []*family{
			famSummaryLag, famMirrorRecords, famMirrorRecordRate, famMirrorBytes, famMirrorByteRate,
			famAge.last, famAge.least, famAge.most, famAge.mean,
			famLatency.last, famLatency.least, famLatency.most, famLatency.mean,
			famCheckpoint.last, famCheckpoint.least, famCheckpoint.most, famCheckpoint.mean,
		},
	},
}

var (
	perLane  = []string{"flow", "topic", "partition"}
	perFlow  = []string{"flow"}
	perGroup = []string{"flow", "group"}

	famRecords = describe("kferry_records_total", counter, "records", perLane, "Records that the target acknowledged.")
	famBytes   = describe("kferry_bytes_total", counter, "bytes", perLane, "Bytes of record batches that the target acknowledged, as written there.")
	famLag     = describe("kferry_lag_records", gauge, "source offsets", perLane, "Source offsets that the target lacks: source end minus acknowledged. "+
		"While the source does not answer it is what was known last, and absent if that was 0: see kferry_lag_stale_lanes. Absent, too, before it is known where a new lane begins.")
	famLagSeconds = describe("kferry_lag_seconds", gauge, "seconds", perLane, "Age of the oldest record that the target lacks; absent where that is not known.")
	famAside      = describe("kferry_dead_letters_total", counter, "records", []string{"flow", "topic"},
		"Records that the target refused and that were set aside in the dead letter topic; with on_refused: dead_letter only.")

	famFlowInfo   = describe("kferry_flow_info", gauge, "1", []string{"flow", "source", "target"}, "The flows and the aliases of their clusters.")
	famPartitions = describe("kferry_flow_partitions", gauge, "lanes", perFlow, "Lanes that the flow has over all replicas, as the replica that leads sees them; "+
		"no other exports it. Less the sum of kferry_lanes over all replicas, they are the lanes that nobody owns: those have no series of their own.")
	famLanes       = describe("kferry_lanes", gauge, "lanes", []string{"flow", "state"}, "Lanes of this replica by state: starting, running, waiting, paused or stopped.")
	famSlots       = describe("kferry_slots", gauge, "slots", perFlow, "Slots of the flow that this replica owns; over all replicas, as many as the progress topic has partitions.")
	famStale       = describe("kferry_lag_stale_lanes", gauge, "lanes", perFlow, "Lanes of which the source has not told within 15 s where they end: what is told of their lag is old.")
	famUndecided   = describe("kferry_open_transaction_lanes", gauge, "lanes", perFlow, "Lanes that stand at a transaction of the source that is open for more than 5 s: what is behind it is carried once it ends.")
	famBatches     = describe("kferry_batches_total", counter, "batches", []string{"flow", "path"}, "Batches that the target acknowledged, by the way they came: whole, merged or recoded.")
	famAvoided     = describe("kferry_duplicates_avoided_total", counter, "records", perFlow, "Records found on the target after a restart or a failure, and not sent again.")
	famLost        = describe("kferry_lost_offsets_total", counter, "source offsets", perFlow, "Source offsets that retention removed before they were carried.")
	famTwice       = describe("kferry_possible_duplicates_total", counter, "records", perFlow, "Records sent again because the source made counting impossible: at most so many are on the target twice.")
	famRefusals    = describe("kferry_refusals_total", counter, "refusals", []string{"flow", "side"}, "Batches and requests that a side, source or target, refused for good. Waits and what is tried again at once are not among them.")
	famFetches     = describe("kferry_fetch_seconds", histogram, "seconds", perFlow, "Time from a fetch request to its response; up to half a second where nothing new is there.")
	famProduces    = describe("kferry_produce_seconds", histogram, "seconds", perFlow, "Time from a produce request to its acknowledgement by all replicas in sync.")
	famErrors      = describe("kferry_request_errors_total", counter, "requests", []string{"flow", "request"}, "Requests that got no answer; request is fetch or produce.")
	famProgressAt  = describe("kferry_progress_timestamp_seconds", gauge, "Unix time", perFlow, "When progress was last stored, or found to be unchanged.")
	famHeartbeatAt = describe("kferry_heartbeat_timestamp_seconds", gauge, "Unix time", perFlow, "When the last heartbeat was written; with groups and heartbeats only, and by the replica that leads.")

	famCarriedEnabled = describe("kferry_aiven_flow_enabled", gauge, "0 or 1", perFlow,
		"Whether the flow is there at Aiven and enabled; absent while Aiven does not say.")
	famCarriedProgress = describe("kferry_aiven_flow_progress_ratio", gauge, "0 to 1", perFlow,
		"The progress of replication over all topics as Aiven's API has it; how Aiven works it out is not documented.")
	famCarriedGroups = describe("kferry_aiven_flow_follows_groups", gauge, "0 or 1", perFlow,
		"Whether the flow follows consumer groups; where they would go on is not watched.")
	famCarriedAt = describe("kferry_aiven_timestamp_seconds", gauge, "Unix time", nil, "When Aiven last told about its flows.")

	famVerdicts = describe("kferry_group_partitions", gauge, "partitions", []string{"flow", "verdict"}, "Partitions of followed consumer groups, by verdict.")
	famUnsynced = describe("kferry_group_unsynced_partitions", gauge, "partitions", perGroup, "Partitions where the group would not go on in the right place if it switched now.")
	famGroupLag = describe("kferry_group_lag_records", gauge, "target offsets", perGroup,
		"Records that the group would still have to read on the target if it switched now, summed over the partitions where that is known.")
	famGroupsAt = describe("kferry_groups_timestamp_seconds", gauge, "Unix time", perFlow, "When the groups were last followed without an error.")

	famBuild    = describe("kferry_build_info", gauge, "1", []string{"version", "goversion"}, "What runs.")
	famUp       = describe("kferry_cluster_up", gauge, "0 or 1", []string{"cluster"}, "Whether one of the cluster's brokers has answered within 15 s.")
	famRejected = describe("kferry_cluster_rejected", gauge, "0 or 1", []string{"cluster", "cause"},
		"Whether something is refused there at the moment for a cause that a person must mend: password, the login; certificate, ours or the broker's; authorization, a right is missing.")
	famUsed  = describe("kferry_memory_budget_used_bytes", gauge, "bytes", nil, "Bytes fetched and not yet acknowledged.")
	famLimit = describe("kferry_memory_budget_bytes", gauge, "bytes", nil, "The memory budget.")

	perMirror     = []string{"source", "target", "topic", "partition"}
	famSummaryLag = describe("kafka_mirrormaker_summary_replication_lag", gauge, "source offsets", []string{"replication_flow", "topic", "partition"},
		"The same as kferry_lag_records; replication_flow is SOURCE->TARGET.")
	famMirrorRecords    = describe(mirrorSource+"record_count", gauge, "records", perMirror, "The same as kferry_records_total.")
	famMirrorRecordRate = describe(mirrorSource+"record_rate", gauge, "records per second", perMirror, "Records that the target acknowledged lately.")
	famMirrorBytes      = describe(mirrorSource+"byte_count", gauge, "bytes", perMirror,
		"The same as kferry_bytes_total: compressed batches as written to the target. MirrorMaker 2 counts the values alone, uncompressed.")
	famMirrorByteRate = describe(mirrorSource+"byte_rate", gauge, "bytes per second", perMirror, "The same, lately.")
	famAge            = describeSpread(mirrorSource+"record_age_ms", perMirror, "Age of records when they were fetched")
	famLatency        = describeSpread(mirrorSource+"replication_latency_ms", perMirror, "Age of records when the target acknowledged them")
	famCheckpoint     = describeSpread(mirrorCheckpoint+"checkpoint_latency_ms", []string{"source", "target", "group", "topic", "partition"},
		"Time from listing the groups to the acknowledgement of the group's checkpoint")
)

const (
	mirrorSource     = "kafka_connect_mirror_mirrorsourceconnector_"
	mirrorCheckpoint = "kafka_connect_mirror_mirrorcheckpointconnector_"
)

func describe(name, kind, unit string, labels []string, help string) *family {
	return &family{name: name, kind: kind, unit: unit, labels: labels, help: help, desc: prometheus.NewDesc(name, help, labels, nil)}
}

// spreadFamilies are the four metrics of something that MirrorMaker 2 measures.
type spreadFamilies struct{ last, least, most, mean *family }

func describeSpread(name string, labels []string, help string) spreadFamilies {
	one := func(suffix, what string) *family {
		return describe(name+suffix, gauge, "milliseconds", labels, help+", "+what)
	}
	return spreadFamilies{one("", "the last one."), one("_min", "the least lately."), one("_max", "the most lately."), one("_avg", "the average lately.")}
}
