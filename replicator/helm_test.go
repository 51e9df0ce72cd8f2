package replicator

import (
	"log/slog"
	"testing"

	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/kferry/kferry/config"
	"github.com/kferry/kferry/internal/kafka"
	"github.com/kferry/kferry/replicator/lane"
	"github.com/kferry/kferry/replicator/progress"
)

// Of a lane that starts or is stopped only its start may store progress: an old position over a new one, with sequences
// of before, would have the next start skip records that nobody carried.
func TestSaveLeavesStartingLanesAlone(t *testing.T) {
	fake, err := kfake.NewCluster(kfake.NumBrokers(1))
	if err != nil {
		t.Fatal(err)
	}
	defer fake.Close()
	cl, err := kafka.Open(config.Cluster{Alias: "new", BootstrapServers: fake.ListenAddrs()}, kafka.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	store, err := progress.Open(t.Context(), cl, "flow", 1)
	if err != nil {
		t.Fatal(err)
	}
	saved := map[lane.State]bool{lane.Running: true, lane.Waiting: true, lane.Paused: true}
	for state := range lane.States {
		id := lane.ID{Topic: "t", Partition: int32(state)}
		m := &member{lane: lane.New(id, "t"), stored: progress.Record{Lane: id, TargetTopic: "t"}}
		m.lane.Start(lane.Plan{Position: lane.Position{Source: 5}}, 0, nil)
		m.lane.Set(state, "")
		f := &flow{store: store, saving: make(chan struct{}, 1), lanes: map[lane.ID]*member{id: m}, log: slog.New(slog.DiscardHandler)}
		if _, err := f.save(t.Context(), true); err != nil {
			t.Fatal(err)
		}
		if got := m.stored.Position.Source == 5; got != saved[state] {
			t.Errorf("%s: stored %v, want %v", state, got, saved[state])
		}
	}
}
