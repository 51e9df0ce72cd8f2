package replicator_test

import (
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/kferry/kferry/internal/check"
	"github.com/kferry/kferry/internal/datagen"
)

// A transaction on a real broker: it holds its lane up, with its name, until it is committed.
func TestRealOpenTransaction(t *testing.T) {
	p := realPair(t)
	topic := "undecided"
	p.source.CreateTopic(t, topic, 1, nil)
	generate(t, p.source, "alice", datagen.Options{Topic: topic, Records: 100, Size: 100})
	txn := p.source.Client(t, "alice", kgo.TransactionalID("undecided-shop"), kgo.DefaultProduceTopic(topic))
	if err := txn.BeginTransaction(); err != nil {
		t.Fatal(err)
	}
	if err := txn.ProduceSync(t.Context(), kgo.StringRecord("open")).FirstErr(); err != nil {
		t.Fatal(err)
	}
	d, stop := start(t, p.config(t, topic))
	lane := func(until func(reason string) bool) string {
		t.Helper()
		for end := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
			reason := "no lane"
			if ls := d.Status().Flows[0].Lanes; len(ls) > 0 {
				reason = ls[0].Reason
			}
			if until(reason) {
				return reason
			}
			if time.Now().After(end) {
				t.Fatalf("a minute, and the lane says %q", reason)
			}
		}
	}
	reason := lane(func(s string) bool { return strings.Contains(s, " is open by ") })
	for _, want := range []string{"a transaction on the source that began at offset 100", `transactional id "undecided-shop" (ongoing since `, "--start-offset 100"} {
		if !strings.Contains(reason, want) {
			t.Errorf("%q does not say %q", reason, want)
		}
	}
	if err := txn.EndTransaction(t.Context(), kgo.TryCommit); err != nil {
		t.Fatal(err)
	}
	lane(func(s string) bool { return s == "" })
	carried(t, d, p.source.Admin(t), topic)
	stop()
	same(t, p, check.Options{Topic: topic})
}
