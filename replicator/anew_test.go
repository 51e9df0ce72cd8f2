package replicator_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/kferry/kferry/internal/kafka"
	"github.com/kferry/kferry/replicator"
)

// A topic that was deleted and made anew has other records at the offsets of the one
// before. What the lane's map says is about that one, so nobody is told it.
func TestNothingIsTranslatedForATopicMadeAnew(t *testing.T) {
	for side, made := range map[string]func(*virtual) *kfake.Cluster{
		"target": func(v *virtual) *kfake.Cluster { return v.target }, "source": func(v *virtual) *kfake.Cluster { return v.source },
	} {
		t.Run(side, func(t *testing.T) {
			virtually(t, func(t *testing.T, v *virtual) {
				v.topic("pizza", 1)
				v.write("pizza", 0, 0, 100)
				v.commit(v.from, "plain", "pizza", 80)
				cfg := v.following("pizza")
				stop := v.run(cfg)
				v.group("plain", "pizza", 0, "80->80 exact")
				q := replicator.Lookup{Topic: "pizza", Offset: 50}
				v.traced(q, replicator.TraceCarried, 50, "offset 50")
				time.Sleep(30 * time.Second) // its map is stored

				cluster := made(v)
				if _, err := kadm.NewClient(v.to).DeleteGroup(t.Context(), "plain"); err != nil {
					t.Fatal(err)
				}
				if err := cluster.DeleteTopic("pizza"); err != nil {
					t.Fatal(err)
				}
				if err := cluster.CreateTopic("pizza", 1, nil); err != nil {
					t.Fatal(err)
				}
				var rs []*kgo.Record
				for range 200 {
					rs = append(rs, &kgo.Record{Topic: "pizza", Value: []byte("somebody else's")})
				}
				other, err := kgo.NewClient(kgo.SeedBrokers(cluster.ListenAddrs()...), kgo.Dialer(v.wires[cluster].DialContext))
				if err != nil {
					t.Fatal(err)
				}
				defer other.Close()
				if err := other.ProduceSync(t.Context(), rs...).FirstErr(); err != nil {
					t.Fatal(err)
				}
				if side == "source" {
					time.Sleep(time.Minute) // until the topics are looked at the group's place is taken for one of the old topic
				}
				v.commit(v.from, "plain", "pizza", 90)
				syncs, points := len(v.records(v.target, syncsOnTarget)), v.points("plain")

				time.Sleep(10 * time.Second) // it starts, and is stopped
				row := v.group("plain", "pizza", 0, "90->-1 not_known")
				if !strings.Contains(row.Reason, side+` topic "pizza" was deleted and made anew`) || row.Lag != -1 {
					t.Errorf("%+v", row)
				}
				time.Sleep(5 * time.Minute) // offsets on the target are read anew each minute
				v.committed(v.to, "plain", "pizza", -1)
				if got := v.d.Translate(q); len(got) != 0 {
					t.Errorf("translated: %+v", got)
				}
				v.traced(q, replicator.TraceUnknown, -1, "made anew")
				if n, got := len(v.records(v.target, syncsOnTarget)), v.points("plain"); n != syncs || !slices.Equal(got, points) {
					t.Errorf("%d offset syncs, %d before; checkpoints %q, before %q", n, syncs, got, points)
				}
				fs := v.d.Status().Flows[0]
				if !strings.Contains(strings.Join(fs.Reasons, "; "), `1 consumer group would not go on in the right place, in 1 partition: "plain"`) {
					t.Errorf("reasons %q", fs.Reasons)
				}
				stop()

				if side == "source" {
					return // which only a running kferry sees
				}
				cl, err := kafka.Open(cfg.Clusters["new"], kafka.Options{Dialer: v.wires[v.target].DialContext})
				if err != nil {
					t.Fatal(err)
				}
				defer cl.Close()
				if got, err := replicator.StoredTranslate(t.Context(), cl, cfg.Flows[0], q); err == nil || !strings.Contains(err.Error(), "made anew") {
					t.Errorf("from what is stored: %+v, %v", got, err)
				}
				if got, err := replicator.ExportMM2(t.Context(), cl, cfg.Flows[0], true); err == nil || !strings.Contains(err.Error(), "made anew") {
					t.Errorf("exported: %+v, %v", got, err)
				}
			})
		})
	}
}
