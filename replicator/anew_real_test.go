package replicator_test

import (
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/kferry/kferry/internal/datagen"
)

// Somebody deletes the target topic, and kferry makes it again. Kafka has dropped the
// group's offset with the topic: none is committed on the new one by the map of the old.
func TestGroupOfATargetTopicMadeAnew(t *testing.T) {
	p := realPair(t)
	topic, group := "anew-target", "anew-billing"
	p.source.CreateTopic(t, topic, 1, nil)
	generate(t, p.source, "alice", datagen.Options{Topic: topic, Records: 1000, Size: 100})
	at := kadm.Offsets{}
	at.AddOffset(topic, 0, 800, -1)
	if err := p.source.Admin(t).CommitAllOffsets(t.Context(), group, at); err != nil {
		t.Fatal(err)
	}
	cfg := p.config(t, topic)
	f := &cfg.Flows[0]
	f.Groups, f.GroupsInterval, f.SyncGroupOffsets = []string{group}, 500*time.Millisecond, true
	d, stop := start(t, cfg)
	defer stop()
	carried(t, d, p.source.Admin(t), topic)
	admin := p.target.Admin(t)
	row := func(verdict string) string {
		t.Helper()
		for end := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
			for _, r := range d.Offsets() {
				if r.Verdict == verdict {
					return r.Reason
				}
			}
			if time.Now().After(end) {
				t.Fatalf("no row is %s: %+v", verdict, d.Offsets())
			}
		}
	}
	row("exact")
	if _, err := admin.DeleteTopics(t.Context(), topic); err != nil {
		t.Fatal(err)
	}
	reason(t, d, topic)
	if why := row("not_known"); !strings.Contains(why, "made anew") {
		t.Error(why)
	}
	// Offsets on the target are read anew, and committed where they are missing, each minute.
	for end := time.Now().Add(70 * time.Second); time.Now().Before(end); time.Sleep(500 * time.Millisecond) {
		got, err := admin.FetchOffsets(t.Context(), group)
		if err != nil {
			t.Fatal(err)
		}
		if o, ok := got.Lookup(topic, 0); ok && o.At >= 0 {
			t.Fatalf("committed at %d on the new topic", o.At)
		}
	}
}
