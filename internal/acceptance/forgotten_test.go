package acceptance

import (
	"testing"
	"time"

	"github.com/kferry/kferry/internal/check"
	"github.com/kferry/kferry/internal/datagen"
	"github.com/kferry/kferry/internal/kafkatest"
)

// Many lanes start on a target that has forgotten all of their producers, and on which others have written meanwhile, and
// go on writing: where each goes on the target's logs tell. They are read beside each other, and each but once.
func TestManyForgotten(t *testing.T) {
	o := options(kafkatest.V4, map[string]string{writer: writerSecret})
	o.Config = map[string]string{"producer.id.expiration.check.interval.ms": "1000"}
	p := pairOf(t, sharedSource(t, kafkatest.V4), kafkatest.Shared(t, o))
	p.allow()
	age := func(int64) time.Duration { return 3 * 24 * time.Hour }
	topic, partitions := p.topic("many"), int32(size(200, 1_000))
	p.source.CreateTopic(t, topic, partitions, map[string]string{"retention.ms": "-1"})
	p.target.CreateTopic(t, topic, partitions, map[string]string{"retention.ms": "-1"})
	records := p.generate(t.Context(), datagen.Options{Topic: topic, Seed: 1, Records: int64(partitions) * 20, Size: 500, Age: age}).Records
	f := p.run(p.settings())
	p.arrived(f, topic, records)
	f.Stop()

	var intruders [4]func(testing.TB) int64
	for i := range intruders {
		intruders[i] = p.intrude(topic, partitions).Stop
	}
	records += p.generate(t.Context(), datagen.Options{Topic: topic, Seed: 2, Records: int64(partitions) * 20, Size: 500, Age: age}).Records
	for n := range 2 {
		f = p.run(p.settings())
		f.Lanes("running", int(partitions))
		t.Logf("start %d: %d lanes run %v after it", n+1, partitions, time.Since(f.Began).Round(10*time.Millisecond))
		if n == 0 {
			f.Stop()
		}
	}
	others := int64(0)
	for _, stop := range intruders {
		others += stop(t)
	}
	p.arrived(f, topic, records+others)
	if twice := f.Metric("kferry_possible_duplicates_total"); twice != 0 {
		t.Errorf("%v records count as possibly twice", twice)
	}
	f.Stop()
	if got := p.same(check.Options{Topic: topic, Foreign: foreign}).Total(); got.Source != records || got.Foreign != others {
		t.Errorf("compared %d records and %d foreign ones, want %d and %d", got.Source, got.Foreign, records, others)
	}
}
