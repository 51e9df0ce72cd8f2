package main

import (
	"context"
	"maps"
	"os/exec"

	"github.com/kferry/kferry/internal/kafkatest"
)

// mm2 is Apache's MirrorMaker 2: with its defaults, or with what its users are told to set for throughput.
type mm2 struct {
	tuned bool
	once  bool // of a quick bench, see onlyFirst
}

// Takes implements choosy.
func (m mm2) Takes(w *workload) bool { return !m.once || onlyFirst(w) }

func (m mm2) Name() string {
	if m.tuned {
		return "mm2-tuned"
	}
	return "mm2"
}

// Prepare has the jars fetched before anything is measured.
func (m mm2) Prepare(ctx context.Context, dir string) error {
	_, err := kafkatest.MM2Command(ctx, dir, nil)
	return err
}

func (m mm2) Commands(ctx context.Context, j Job) ([]*exec.Cmd, error) {
	cmd, err := kafkatest.MM2Command(ctx, j.Dir, m.properties(j))
	return []*exec.Cmd{cmd}, err
}

// properties: the source's alias makes both the name of the target topic and, since what MirrorMaker 2 stores goes by the
// aliases, a fresh start of each run. Factors of 1 are for clusters of one broker.
func (m mm2) properties(j Job) map[string]string {
	from, to := j.Name, "to-"+j.Name
	p := map[string]string{
		"clusters": from + "," + to, from + ".bootstrap.servers": j.Source, to + ".bootstrap.servers": j.Target,
		from + "->" + to + ".enabled": "true", from + "->" + to + ".topics": j.Topic,
	}
	for _, k := range []string{"", "offset-syncs.topic.", "checkpoints.topic.", "heartbeats.topic.", "offset.storage.", "config.storage.", "status.storage."} {
		p[k+"replication.factor"] = "1"
	}
	if m.once {
		// Not by looking at every class of every jar, as its users have it do: that takes most of a start.
		p[from+".plugin.discovery"], p[to+".plugin.discovery"] = "service_load", "service_load"
	}
	if m.tuned {
		maps.Copy(p, map[string]string{
			"tasks.max":                                  "2", // as many as there are cores
			from + ".consumer.fetch.max.bytes":           "52428800",
			from + ".consumer.max.partition.fetch.bytes": "8388608",
			from + ".consumer.max.poll.records":          "10000",
			from + ".consumer.receive.buffer.bytes":      "4194304",
			to + ".producer.batch.size":                  "1048576",
			to + ".producer.linger.ms":                   "100",
			to + ".producer.compression.type":            j.Codec,
			to + ".producer.buffer.memory":               "134217728",
			to + ".producer.max.request.size":            "8388608",
			to + ".producer.send.buffer.bytes":           "4194304",
		})
	}
	return p
}
