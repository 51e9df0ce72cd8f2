package acceptance

import (
	"fmt"
	"maps"
	"net/http"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/kferry/kferry/internal/check"
	"github.com/kferry/kferry/internal/ferrytest"
	"github.com/kferry/kferry/internal/kafkatest"
)

// The model case: a customer on a host of many with an old Kafka, who may read what begins with a prefix of his own and not how
// it is set. So kferry cannot know which of his topics are compacted, and some are; some are in the format of before. However
// often it is killed, nothing comes twice, and it knows that: it counts no record as one that may have.
func TestModelCase(t *testing.T) {
	const partitions, kills = 2, 4
	source := kafkatest.Start(t, options(kafkatest.V28, map[string]string{reader: readerSecret}))
	p, rng := pairOf(t, source, sharedTarget(t, kafkatest.V4)), ferrytest.Random(t)
	p.allowLeast()
	format := map[string]string{"message.format.version": "0.10.2"}
	cleaned := map[string]string{
		"cleanup.policy": "compact", "segment.ms": "200", "min.cleanable.dirty.ratio": "0.01", "min.compaction.lag.ms": "0",
	}
	oldCleaned := maps.Clone(cleaned)
	maps.Copy(oldCleaned, format)
	for name, settings := range map[string]map[string]string{"orders": nil, "old": format, "states": cleaned, "old-states": oldCleaned} {
		source.CreateTopic(t, p.topic(name), partitions, settings)
	}
	states := []*changes{
		newChanges(p, p.topic("states"), partitions),
		newChanges(p, p.topic("old-states"), partitions, kgo.DisableIdempotentWrite(), kgo.ProducerBatchCompression(kgo.Lz4Compression())),
	}
	var changing []*ferrytest.Live
	for _, w := range states {
		w.untilCleaned(p)
		changing = append(changing, w.goOn(p))
	}
	mixing := map[string]*ferrytest.Live{}
	for _, name := range []string{"orders", "old"} {
		mixing[p.topic(name)] = p.mix(mixture{topic: p.topic(name), partitions: partitions, old: name == "old"}, rng)
	}

	perhaps := 0.0
	const counter = "kferry_possible_duplicates_total"
	for range kills {
		f := p.run(p.settings())
		f.Carries()
		time.Sleep(time.Duration(rng.Int64N(int64(time.Second)))) // the moment is the point, nothing is waited for
		if code, body, err := f.Get("/metrics"); err == nil && code == http.StatusOK {
			perhaps += ferrytest.Sample(body, counter)
		}
		f.Kill()
	}
	f := p.run(p.settings())
	f.Carries()
	for topic, writing := range mixing {
		p.arrived(f, topic, writing.Stop(t))
	}
	for i, w := range states {
		t.Logf("%s: %d changes", w.topic, changing[i].Stop(t))
		ferrytest.Eventually(t, ferrytest.Patience, "the last value of each key on the target", func() (bool, string) {
			want, _ := lastValues(t, source, w.topic)
			got, _ := lastValues(t, p.target, w.topic)
			return maps.Equal(want, got), fmt.Sprintf("%s: %d keys on the source, %d on the target", w.topic, len(want), len(got))
		})
	}
	perhaps += f.Metric(counter)
	f.Stop()
	for topic := range mixing {
		p.same(check.Options{Topic: topic, IsolationReadCommitted: true})
	}
	for _, w := range states {
		if _, back := lastValues(t, p.target, w.topic); len(back) > 0 {
			t.Errorf("%s: partitions of the target go back so often: %v", w.topic, back)
		}
	}
	if perhaps > 0 {
		t.Errorf("%v records are said to be on the target twice perhaps", perhaps)
	}
}
