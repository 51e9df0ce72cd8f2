package replicator_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/kferry/kferry/internal/check"
	"github.com/kferry/kferry/internal/datagen"
	"github.com/kferry/kferry/internal/kafka"
	"github.com/kferry/kferry/internal/kafkatest"
	"github.com/kferry/kferry/replicator/progress"
)

// Real brokers store pauses as the embedded ones do, and share small responses
// fairly among partitions: a flow is paused, begins slowly, is paused on its
// way and over a restart, and ends with everything.
func TestPauseAndRateLimit(t *testing.T) {
	p := realPair(t)
	topic := "pizza-" + fmt.Sprint(time.Now().UnixNano())
	p.source.CreateTopic(t, topic, 6, nil)
	generate(t, p.source, "alice", datagen.Options{Topic: topic, Records: 30_000, Codec: "none", Size: 1024})
	cfg := p.config(t, topic)
	cfg.Flows[0].Name = "pace-" + topic
	cfg.Flows[0].RateLimit = 8 << 20
	cl, err := kafka.Open(p.target.Config("new", kafkatest.AdminUser), kafka.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	s, err := progress.Open(t.Context(), cl, cfg.Flows[0].Name, 0)
	if err != nil {
		t.Fatal(err)
	}
	pause := func(yes bool) {
		t.Helper()
		change := func() error { return s.Resume(t.Context(), topic) }
		if yes {
			change = func() error { return s.Pause(t.Context(), topic, progress.Pause{At: time.Now(), By: "ann"}) }
		}
		if err := change(); err != nil {
			t.Fatal(err)
		}
	}
	pause(true)
	d, stop := start(t, cfg)
	moved := func() (moved int) {
		for _, l := range d.Status().Flows[0].Lanes {
			if l.Position > 0 {
				moved++
			}
		}
		return moved
	}
	paused := func() bool {
		lanes := d.Status().Flows[0].Lanes
		for _, l := range lanes {
			if l.State != "paused" {
				return false
			}
		}
		return len(lanes) == 6
	}
	until := func(what string, done func() bool) {
		t.Helper()
		for end := time.Now().Add(time.Minute); !done(); time.Sleep(20 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("not %s: %+v", what, d.Status())
			}
		}
	}
	until("paused", paused)
	if n := moved(); n > 0 {
		t.Errorf("%d paused lanes moved", n)
	}
	pause(false)
	until("moving, each lane of them", func() bool { return moved() == 6 })
	pause(true)
	until("paused", paused)
	stop()
	d, stop = start(t, cfg)
	until("paused", paused)
	pause(false)
	carried(t, d, p.source.Admin(t), topic)
	stop()
	same(t, p, check.Options{Topic: topic})
}
