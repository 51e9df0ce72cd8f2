package catalog

import (
	"errors"
	"maps"
	"slices"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// topicOf has partitions with these leaders.
func topicOf(name string, leaders ...int32) kadm.TopicDetail {
	t := kadm.TopicDetail{Topic: name, Partitions: kadm.PartitionDetails{}}
	for n, l := range leaders {
		t.Partitions[int32(n)] = kadm.PartitionDetail{Topic: name, Partition: int32(n), Leader: l}
	}
	return t
}

func TestDiff(t *testing.T) {
	hidden := kadm.TopicDetail{Topic: "t", Err: kerr.TopicAuthorizationFailed}
	problem := errors.New("a problem")
	for _, c := range []struct {
		name           string
		source         kadm.TopicDetail
		problem, stuck error
		target         *kadm.TopicDetail
		create, grow   bool
		leaderless     bool
	}{
		{name: "missing", source: topicOf("s", 1, 1), create: true},
		{name: "missing, with a problem", source: topicOf("s", 1, 1), problem: problem},
		{name: "the same", source: topicOf("s", 1, 1), target: new(topicOf("t", 2, 2))},
		{name: "fewer partitions", source: topicOf("s", 1, 1), target: new(topicOf("t", 2)), grow: true},
		{name: "more partitions", source: topicOf("s", 1), target: new(topicOf("t", 2, 2))},
		{name: "fewer, and it cannot grow", source: topicOf("s", 1, 1), stuck: problem, target: new(topicOf("t", 2))},
		{name: "fewer, with a problem", source: topicOf("s", 1, 1), problem: problem, target: new(topicOf("t", 2))},
		{name: "not to be seen", source: topicOf("s", 1, 1), target: &hidden},
		{name: "without a leader", source: topicOf("s", 1, 1), target: new(topicOf("t", 2, -1)), leaderless: true},
		{name: "source without a leader", source: topicOf("s", -1), target: new(topicOf("t", 2))},
		{name: "no partitions yet", source: topicOf("s", 1), target: new(topicOf("t")), grow: true},
	} {
		targets := kadm.TopicDetails{"other": topicOf("other", -1)}
		if c.target != nil {
			targets["t"] = *c.target
		}
		p := &pair{source: c.source, target: "t", problem: c.problem, stuck: c.stuck}
		d := diff([]*pair{p}, targets)
		if c.create != slices.Contains(d.create, p) || c.grow != slices.Contains(d.grow, p) || len(d.create)+len(d.grow) > 1 || d.leaderless != c.leaderless {
			t.Errorf("%s: create %d, grow %d, leaderless %v", c.name, len(d.create), len(d.grow), d.leaderless)
		}
	}
}

func TestCarried(t *testing.T) {
	own := func(v string) setting { return setting{Value: v, own: true} }
	def := func(v string) setting { return setting{Value: v} }
	for _, c := range []struct {
		name    string
		source  map[string]setting
		exclude []string
		want    map[string]string
	}{
		{name: "nothing", want: map[string]string{}},
		{
			name:   "what was set on the topic, not what it has by default",
			source: map[string]setting{"retention.ms": own("1000"), "cleanup.policy": own("compact"), "segment.ms": def("7"), "max.message.bytes": def("1048588")},
			want:   map[string]string{"retention.ms": "1000", "cleanup.policy": "compact"},
		},
		{
			name: "not what belongs to a cluster",
			source: map[string]setting{
				"follower.replication.throttled.replicas": own("*"), "leader.replication.throttled.replicas": own("*"), "min.insync.replicas": own("2"),
				"unclean.leader.election.enable": own("true"), "message.timestamp.type": own("LogAppendTime"), "message.timestamp.before.max.ms": own("1"),
				"message.timestamp.after.max.ms": own("1"), "message.timestamp.difference.max.ms": own("1"), "message.format.version": own("2.0"),
				"message.downconversion.enable": own("false"), "remote.storage.enable": own("true"), "local.retention.ms": own("1"),
				"local.retention.bytes": own("1"), "remote.log.copy.disable": own("true"), "remote.log.delete.on.disable": own("true"),
				"compression.type": own("zstd"),
			},
			want: map[string]string{"compression.type": "zstd"},
		},
		{
			name:    "not what the flow excludes",
			source:  map[string]setting{"retention.ms": own("1"), "retention.bytes": own("2"), "segment.ms": own("3"), "max.message.bytes": own("2000000")},
			exclude: []string{"retention.ms", "retention.bytes", "max.message.bytes", "segment"}, want: map[string]string{"segment.ms": "3"},
		},
		{
			name:   "a limit above the default, wherever it was set",
			source: map[string]setting{"max.message.bytes": def("2000000")}, want: map[string]string{"max.message.bytes": "2000000"},
		},
		{name: "the default limit", source: map[string]setting{"max.message.bytes": def("1048588")}, want: map[string]string{}},
		{name: "a lower limit of its own", source: map[string]setting{"max.message.bytes": own("1000")}, want: map[string]string{"max.message.bytes": "1000"}},
		{name: "a lower limit of the broker's", source: map[string]setting{"max.message.bytes": def("1000")}, want: map[string]string{}},
	} {
		got := map[string]string{}
		for k, v := range carried(c.source, c.exclude) {
			got[k] = *v
		}
		if !maps.Equal(got, c.want) {
			t.Errorf("%s: got %v, want %v", c.name, got, c.want)
		}
	}
}

// Only a dynamic topic setting is the topic's own.
func TestOwn(t *testing.T) {
	for src := range kmsg.ConfigSource(9) {
		if got := own(src); got != (src == kmsg.ConfigSourceDynamicTopicConfig) {
			t.Errorf("%v: %v", src, got)
		}
	}
}
