package replicator_test

import (
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/kferry/kferry/replicator/progress"
)

// A lane whose progress a later version has written stops and is not begun anew; the others go on.
func TestUnreadableProgressStopsItsLane(t *testing.T) {
	p := fakePair(t)
	cl := p.client(t, p.source)
	for _, topic := range []string{"pizza", "other"} {
		if err := p.source.CreateTopic(topic, 1, nil); err != nil {
			t.Fatal(err)
		}
		write(t, cl, topic, 0, 100)
	}
	cfg := p.config(t, "pizza", "other")
	d, stop := start(t, cfg)
	carried(t, d, p.admin(t), "pizza")
	carried(t, d, p.admin(t), "other")
	stop()
	later := &kgo.Record{Topic: progress.Topic(cfg.Flows[0].Name), Key: []byte("lane/pizza/0"), Value: []byte(`{"version":3}`)}
	if err := p.client(t, p.target).ProduceSync(t.Context(), later).FirstErr(); err != nil {
		t.Fatal(err)
	}
	write(t, cl, "other", 0, 10)
	d, stop = start(t, cfg)
	carried(t, d, p.admin(t), "other")
	reason := ""
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end) && reason == ""; time.Sleep(20 * time.Millisecond) {
		for _, l := range d.Status().Flows[0].Lanes {
			if l.Topic == "pizza" && l.State == "stopped" {
				reason = l.Reason
			}
		}
	}
	stop()
	if !strings.Contains(reason, `progress record "lane/pizza/0" has version 3, this kferry knows up to 1: run a later kferry`) {
		t.Errorf("reason %q", reason)
	}
	ends, err := kadm.NewClient(p.client(t, p.target)).ListEndOffsets(t.Context(), "pizza")
	if err != nil {
		t.Fatal(err)
	}
	if o, _ := ends.Lookup("pizza", 0); o.Offset != 100 {
		t.Errorf("the target has %d records, want the 100 of before", o.Offset)
	}
}
