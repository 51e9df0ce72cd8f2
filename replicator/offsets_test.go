package replicator_test

import (
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/kferry/kferry/config"
)

// Offsets that somebody wrote down are for lanes without progress, win over
// start, and must be in the log.
func TestStartOffsets(t *testing.T) {
	virtually(t, func(t *testing.T, v *virtual) {
		v.topic("pizza", 6)
		for n := range int32(6) {
			v.write("pizza", n, 0, 10)
		}
		gone := kadm.Offsets{}
		gone.AddOffset("pizza", 3, 5, -1)
		if _, err := kadm.NewClient(v.from).DeleteRecords(t.Context(), gone); err != nil {
			t.Fatal(err)
		}
		cfg := v.config("pizza")
		cfg.Flows[0].Start = config.Start{Kind: config.StartTime, Time: time.Now().Add(-time.Hour)}
		cfg.Flows[0].StartOffsets = config.StartOffsets{"pizza": {0: 4, 1: 11, 2: 10, 3: 4, 4: -1}}
		stop := v.run(cfg)
		v.await("pizza", 0, "running", 0)
		v.await("pizza", 2, "running", 0)
		v.await("pizza", 5, "running", 0)
		for n, want := range map[int32]string{
			1: `offset 11 for source topic "pizza" partition 1, whose log begins at 0 and ends before 10: correct it`,
			3: `offset 4 for source topic "pizza" partition 3, whose log begins at 5 and ends before 10`,
			4: `offset -1 for source topic "pizza" partition 4`,
		} {
			if l := v.lane("pizza", n); l.State != "stopped" || !strings.Contains(l.Reason, want) {
				t.Errorf("got %+v, want %q", l, want)
			}
		}
		v.write("pizza", 2, 10, 1)
		v.await("pizza", 2, "running", 0)
		stop()
		for n, want := range map[int32]string{0: "4 5 6 7 8 9", 1: "", 2: "10", 3: "", 4: "", 5: "0 1 2 3 4 5 6 7 8 9"} {
			if got := strings.Join(v.values("pizza", n), " "); got != want {
				t.Errorf("partition %d has %q, want %q", n, got, want)
			}
		}

		cfg.Flows[0].StartOffsets = config.StartOffsets{"pizza": {0: 0, 1: 9}}
		stop = v.run(cfg)
		for n := range int32(6) {
			v.await("pizza", n, "running", 0)
		}
		stop()
		for n, want := range map[int32]string{0: "4 5 6 7 8 9", 1: "9", 3: "5 6 7 8 9"} {
			if got := strings.Join(v.values("pizza", n), " "); got != want {
				t.Errorf("started again, partition %d has %q, want %q", n, got, want)
			}
		}
	})
}
