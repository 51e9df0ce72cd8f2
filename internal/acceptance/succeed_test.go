package acceptance

import (
	"testing"
	"time"

	"github.com/kferry/kferry/internal/check"
	"github.com/kferry/kferry/internal/datagen"
	"github.com/kferry/kferry/internal/kafkatest"
)

// A replica with a name of its own is killed and comes back: it has its lanes at once, though the group waits for the
// session of the dead one to end.
func TestKilledAndBack(t *testing.T) {
	for _, version := range versions {
		t.Run(version, func(t *testing.T) {
			p := newPair(t, version)
			topic := p.topic("orders")
			p.source.CreateTopic(t, topic, 12, nil)
			records := int64(0)
			for n := range 3 {
				records += p.generate(t.Context(), datagen.Options{Topic: topic, Seed: uint64(n) + 1, Records: 2_000}).Records
				f := p.run(p.settings())
				p.arrived(f, topic, records)
				t.Logf("all of it is there %v after start %d", time.Since(f.Began).Round(10*time.Millisecond), n+1)
				if since := time.Since(f.Began); n > 0 && version == kafkatest.V4 && since > 40*time.Second { // a session lasts 45
					t.Errorf("start %d waited for the session of the one that was killed", n+1)
				}
				f.Kill()
			}
			p.same(check.Options{Topic: topic})
		})
	}
}
