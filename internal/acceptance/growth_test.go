package acceptance

import (
	"fmt"
	"testing"
	"time"

	"github.com/kferry/kferry/internal/check"
	"github.com/kferry/kferry/internal/datagen"
	"github.com/kferry/kferry/internal/ferrytest"
	"github.com/kferry/kferry/internal/kafkatest"
)

// growthLimit is how soon the first record of a new topic or partition must be on the target before a release.
const growthLimit = 10 * time.Second

// Topics and partitions that appear under load are carried within ten seconds, with the settings that kferry has by
// default.
func TestGrowth(t *testing.T) {
	p := newPair(t, kafkatest.V4)
	busy := p.topic("busy")
	p.source.CreateTopic(t, busy, 6, nil)
	load := p.keepWriting(datagen.Options{Topic: busy, Rate: float64(size(2_000, 10_000)), Codec: datagen.Zstd, Size: 1024})
	s := p.settings()
	delete(flowOf(s), "refresh_interval")
	f := p.run(s)
	f.Carries()

	grown := p.topic("grown")
	topics := map[string]int64{grown: 0}
	for i := range 3 {
		topic := p.topic(fmt.Sprint("new-", i))
		p.appears(f, topic, func() { p.source.CreateTopic(t, topic, 3, nil) })
		topics[topic] = 1
	}
	p.appears(f, grown, func() { p.source.CreateTopic(t, grown, 1, nil) })
	topics[grown]++
	for n := 2; n <= 3; n++ {
		p.appears(f, grown, func() {
			if _, err := p.source.Admin(t).UpdatePartitions(t.Context(), n, grown); err != nil {
				t.Fatal(err)
			}
		})
		topics[grown]++
	}
	p.arrived(f, busy, load.Stop(t))
	f.Quiet(`level=ERROR`)
	f.Stop()
	p.same(check.Options{Topic: busy})
	for topic, records := range topics {
		if r := p.same(check.Options{Topic: topic}); r.Total().Source != records {
			t.Errorf("%s has %d records, want %d", topic, r.Total().Source, records)
		}
	}
}

// appears makes something new on the source, puts a record into it, which is its last partition, and wants to see the
// record on the target soon.
func (p *pair) appears(f *ferrytest.Ferry, topic string, create func()) {
	p.t.Helper()
	begin := time.Now()
	create()
	partition := p.lastPartition(topic)
	p.put(topic, partition, 1, 100)
	admin := p.target.Admin(p.t)
	ferrytest.Eventually(p.t, ferrytest.Patience, "a record of "+topic, func() (bool, string) {
		ends, err := admin.ListEndOffsets(p.t.Context(), topic)
		end, ok := ends.Lookup(topic, partition)
		return ok && end.Offset > 0, fmt.Sprint(end, err, f.Running())
	})
	took := time.Since(begin).Round(10 * time.Millisecond)
	p.t.Logf("%s, partition %d: carried after %v", topic, partition, took)
	if full && took > growthLimit { // a release is tried on a machine that has nothing else to do
		p.t.Errorf("%s, partition %d: carried after %v, want %v at most", topic, partition, took, growthLimit)
	}
}

// lastPartition waits until every partition of a source topic has a leader.
func (p *pair) lastPartition(topic string) (last int32) {
	p.t.Helper()
	ferrytest.Eventually(p.t, ferrytest.Patience, "leaders of "+topic, func() (bool, string) {
		ts, err := p.source.Admin(p.t).ListTopics(p.t.Context(), topic)
		last = int32(len(ts[topic].Partitions)) - 1
		for _, d := range ts[topic].Partitions {
			if d.Leader < 0 {
				return false, "a partition has no leader"
			}
		}
		return err == nil && ts[topic].Err == nil && last >= 0, fmt.Sprint(ts[topic].Err, err)
	})
	return last
}
