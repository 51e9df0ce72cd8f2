package acceptance

import (
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kferry/kferry/internal/check"
	"github.com/kferry/kferry/internal/datagen"
	"github.com/kferry/kferry/internal/ferrytest"
	"github.com/kferry/kferry/internal/kafkatest"
)

// alter gives a topic settings by hand: "key=value", or "key" to take one away.
func alter(t testing.TB, c *kafkatest.Cluster, topic string, settings ...string) {
	t.Helper()
	var as []kadm.AlterConfig
	for _, s := range settings {
		a := kadm.AlterConfig{Op: kadm.DeleteConfig, Name: s}
		if k, v, ok := strings.Cut(s, "="); ok {
			a = kadm.AlterConfig{Op: kadm.SetConfig, Name: k, Value: &v}
		}
		as = append(as, a)
	}
	rs, err := c.Admin(t).AlterTopicConfigs(t.Context(), as, topic)
	if err == nil {
		_, err = rs.On(topic, func(r *kadm.AlterConfigsResponse) error { return r.Err })
	}
	if err != nil {
		t.Fatal(err)
	}
}

// wantSettings waits until a topic has these settings of its own and no others.
func wantSettings(t testing.TB, c *kafkatest.Cluster, topic string, want map[string]string) {
	t.Helper()
	ferrytest.Eventually(t, ferrytest.Patience, "settings of "+topic, func() (bool, string) {
		rs, err := c.Admin(t).DescribeTopicConfigs(t.Context(), topic)
		if err != nil {
			return false, err.Error()
		}
		got := map[string]string{}
		for _, s := range rs[0].Configs {
			if s.Source == kmsg.ConfigSourceDynamicTopicConfig {
				got[s.Key] = s.MaybeValue()
			}
		}
		return maps.Equal(got, want), strings.Join(slices.Sorted(maps.Keys(got)), ", ")
	})
}

// A topic's settings follow the source's while it is carried: set, changed, taken away. What the target's owner has set
// besides stays.
func TestSettingsInStep(t *testing.T) {
	t.Parallel()
	p := newPair(t, kafkatest.V4)
	p.source.Allow(t, reader, p.acls(p.name+".", kadm.OpDescribeConfigs))
	p.target.Allow(t, writer, p.acls(p.name+".", kadm.OpAlterConfigs))
	topic := p.topic("orders")
	p.source.CreateTopic(t, topic, 2, map[string]string{
		"retention.ms": "86400000", "segment.bytes": "20000000", "max.message.bytes": "3000000", "min.insync.replicas": "1",
	})
	load := p.keepWriting(datagen.Options{Topic: topic, Rate: 500})
	f := p.run(p.settings())
	f.Carries()
	wantSettings(t, p.target, topic, map[string]string{"retention.ms": "86400000", "segment.bytes": "20000000", "max.message.bytes": "3000000"})
	alter(t, p.target, topic, "retention.ms=172800000", "flush.messages=1000")
	alter(t, p.source, topic, "segment.bytes", "max.message.bytes=2000000", "delete.retention.ms=1000")
	wantSettings(t, p.target, topic, map[string]string{
		"retention.ms": "86400000", "delete.retention.ms": "1000", "max.message.bytes": "3000000", "flush.messages": "1000",
	})
	f.Says(`target topic .* has the source's settings again: delete.retention.ms 86400000 -> 1000, ` +
		`retention.ms 172800000 -> 86400000 \(it was changed on the target.*\), segment.bytes 20000000 -> default`)
	p.arrived(f, topic, load.Stop(t))
	f.Quiet(`level=(WARN|ERROR)`)
	f.Stop()
	p.same(check.Options{Topic: topic})
}

// A shared source plan: a user that may read and describe the topics of its prefix, and nothing else. It may not list
// groups, describe the cluster or any setting, and the topics of others do not exist for it. Everything is carried, one
// line says what is missing, and when it comes it is used.
func TestWalledSource(t *testing.T) {
	t.Parallel()
	p := barePair(t, kafkatest.V4)
	r := leastRights()
	r.source = nil
	r.target = append(r.target, kadm.OpDescribeConfigs, kadm.OpAlterConfigs)
	p.grant(r)
	mine := p.topic("mine.")
	p.source.Allow(t, reader, p.acls(mine, kadm.OpRead, kadm.OpDescribe))
	topic := mine + "orders"
	p.source.CreateTopic(t, topic, 2, map[string]string{"retention.ms": "86400000"})
	p.source.CreateTopic(t, p.topic("others.orders"), 1, nil)
	load := p.keepWriting(datagen.Options{Topic: topic, Rate: 2_000, Codec: datagen.Zstd})
	f := p.run(p.settings())
	f.Carries()
	if _, err := p.source.Admin(t).UpdatePartitions(t.Context(), 3, topic); err != nil {
		t.Fatal(err)
	}
	p.put(topic, p.lastPartition(topic), 10, 100)
	p.arrived(f, topic, load.Stop(t)+10)
	f.Lanes("running", 3)
	f.Says(`may not read the settings of topics on .*grant DescribeConfigs`)
	wantSettings(t, p.target, topic, map[string]string{})

	p.source.Allow(t, reader, p.acls(mine, kadm.OpDescribeConfigs))
	wantSettings(t, p.target, topic, map[string]string{"retention.ms": "86400000"})
	f.Says(`settings of topics on .* can be read again`)
	f.Stop()
	f.Quiet(`level=ERROR`)
	if said := regexp.MustCompile(`may not read the settings of topics on`).FindAllString(f.Output(), -1); len(said) != 1 {
		t.Errorf("the missing right was said %d times", len(said))
	}
	p.same(check.Options{Topic: topic})
}
