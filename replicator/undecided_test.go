package replicator_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/kferry/kferry/replicator"
)

// A transaction that nobody ends holds a lane up. All that tells of the lane says so, and whose it is; and no
// more once it has ended.
func TestOpenTransaction(t *testing.T) {
	virtually(t, func(t *testing.T, v *virtual) {
		v.topic("pizza", 2)
		v.write("pizza", 0, 0, 10)
		v.write("pizza", 1, 0, 10)
		txn, err := kgo.NewClient(kgo.SeedBrokers(v.source.ListenAddrs()...), kgo.Dialer(v.wires[v.source].DialContext),
			kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.TransactionalID("shop"), kgo.TransactionTimeout(10*time.Minute))
		if err != nil {
			t.Fatal(err)
		}
		defer txn.Close()
		if err := txn.BeginTransaction(); err != nil {
			t.Fatal(err)
		}
		if err := txn.ProduceSync(t.Context(), &kgo.Record{Topic: "pizza", Value: []byte("10")}).FirstErr(); err != nil {
			t.Fatal(err)
		}
		stop := v.run(v.config("pizza"))
		defer stop()
		v.await("pizza", 0, "running", 1)
		if l := v.lane("pizza", 0); l.Reason != "" {
			t.Errorf("said at once: %q", l.Reason)
		}
		time.Sleep(15 * time.Second) // of the bubble's clock
		v.write("pizza", 0, 11, 5)   // behind it
		v.await("pizza", 0, "running", 6)

		said := func(what, text string) {
			t.Helper()
			for _, want := range []string{"began at offset 10 is open by ", `transactional id "shop" (ongoing since `, "timeout 10m0s", "producer id ",
				"kafka-transactions.sh abort --topic pizza --partition 0 --start-offset 10"} {
				if !strings.Contains(text, want) {
					t.Errorf("%s: %q does not say %q", what, text, want)
				}
			}
		}
		l := v.lane("pizza", 0)
		said("lane", l.Reason)
		s := v.d.Status()
		i := slices.IndexFunc(s.Problems, func(p replicator.Problem) bool {
			return strings.HasPrefix(p.Text, "1 lane is held up by open transactions")
		})
		if i < 0 {
			t.Fatalf("problems %+v", s.Problems)
		}
		said("problem", s.Problems[i].Text)
		if want := `1 lane is held up by open transactions on the source: "pizza" partition 0`; !slices.Contains(s.Flows[0].Reasons, want) {
			t.Errorf("reasons %q", s.Flows[0].Reasons)
		}
		said("trace", v.traced(replicator.Lookup{Topic: "pizza", Offset: 12}, replicator.TraceNotFetched, -1, "not fetched yet").Text)
		held := func() float64 { return metric(t, v.reg, "kferry_open_transaction_lanes") }
		if n := held(); n != 1 {
			t.Errorf("the metric has %v", n)
		}

		if err := txn.EndTransaction(t.Context(), kgo.TryCommit); err != nil {
			t.Fatal(err)
		}
		v.await("pizza", 0, "running", 0)
		s = v.d.Status()
		if l := v.lane("pizza", 0); l.Reason != "" || held() != 0 || slices.ContainsFunc(s.Problems, func(p replicator.Problem) bool { return strings.Contains(p.Text, "transaction") }) {
			t.Errorf("after it: %q, %v lanes, %+v", l.Reason, held(), s.Problems)
		}
		if got := fmt.Sprint(len(v.values("pizza", 0))); got != "16" {
			t.Errorf("%s records", got)
		}
	})
}
