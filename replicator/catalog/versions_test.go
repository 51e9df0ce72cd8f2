package catalog

import (
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kversion"

	"github.com/kferry/kferry/config"
	"github.com/kferry/kferry/replicator/lane"
)

// What clusters of old cannot do is said once, with the version that can, and never as something that will pass.
func TestOldClusters(t *testing.T) {
	old := func(v *kversion.Versions) []kfake.Opt { return []kfake.Opt{kfake.MaxVersions(v)} }
	// Brokers before 1.1 do not say where a setting comes from.
	refreshingFrom(t, old(kversion.V1_0_0()), identity, config.SASL{}, func(t *testing.T, w *world) {
		w.make(w.source, "c", 1, map[string]string{"cleanup.policy": "compact"})
		w.refresh()
		w.wantSettings("c", "cleanup.policy=compact")
		w.wantSettings("b")
	})
	// Before 0.11 they tell no settings at all.
	refreshingFrom(t, old(kversion.V0_10_2()), identity, config.SASL{}, func(t *testing.T, w *world) {
		v, said := w.refresh()
		wantEvents(t, said, `: the settings of topics on "old" cannot be read: new topics are made with the target's defaults, settings are not kept in step`, `a: created`, `b: created`)
		if !strings.Contains(said[0], "to read settings needs Kafka 0.11 or a newer one") {
			t.Errorf("said %q", said)
		}
		if p := v[lane.ID{Topic: "a"}]; p.Problem != nil || p.Exact {
			t.Errorf("%+v", p)
		}
		_, said = w.minutes(3)
		wantEvents(t, said)
	})
	// Before 2.3 single settings cannot be altered.
	refreshing(t, identity, func(t *testing.T, w *world) {
		w.set(w.source, "a", "retention.ms=1000")
		w.set(w.source, "b", "retention.ms=1000")
		w.refresh()
		w.wantSettings("a", "retention.ms=1000")
		w.set(w.source, "a", "retention.ms=500", "segment.bytes=9000000")
		w.set(w.source, "b", "retention.ms=500")
		_, said := w.minutes(130)
		wantEvents(t, said, `: settings of target topics are not kept in step, only set when a topic is made: cluster "new": request: to alter single settings needs Kafka 2.3 or a newer one`)
		w.wantSettings("a", "retention.ms=1000")
	}, old(kversion.V2_2_0())...)
}
