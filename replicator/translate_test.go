package replicator_test

import (
	"strings"
	"testing"
	"time"

	"github.com/kferry/kferry/config"
	"github.com/kferry/kferry/replicator"
)

// An offset is looked up in the lanes of this process, by the name that its topic has on the side where it is.
func TestTranslate(t *testing.T) {
	virtually(t, func(t *testing.T, v *virtual) {
		v.topic("pizza", 2)
		v.write("pizza", 0, 0, 10)
		cfg := v.config("pizza")
		cfg.Flows[0].Prefix = "x-"
		cfg.Flows[0].StartOffsets = config.StartOffsets{"pizza": {0: 4}}
		second := cfg.Flows[0]
		second.Name, second.Prefix, second.StartOffsets = "second", "y-", nil
		cfg.Flows = append(cfg.Flows, second)
		stop := v.run(cfg)
		defer stop()
		v.await("pizza", 0, "running", 0)
		v.await("pizza", 1, "running", 0)
		for _, c := range []struct {
			q              replicator.Lookup
			source, target int64
			found          string
			again          int64
			text           string
		}{
			{replicator.Lookup{Topic: "pizza", Offset: 7}, 7, 3, "exact", 0, "what comes next at source offset 7 comes next at target offset 3, too"},
			{replicator.Lookup{Topic: "pizza", Offset: 10}, 10, 6, "exact", 0, "source offset 10"},
			{replicator.Lookup{Topic: "pizza", Offset: 2}, 2, 0, "before", 0, "source offset 2 is before the first record of the lane, which is at target offset 0"},
			{replicator.Lookup{Topic: "pizza", Offset: 15}, 15, 6, "beyond", 5, "at most 5 records are missing"},
			{replicator.Lookup{Topic: "x-pizza", Offset: 3, Reverse: true}, 7, 3, "exact", 0, "what comes next at target offset 3 comes next at source offset 7, too"},
			{replicator.Lookup{Topic: "x-pizza", Offset: 8, Reverse: true}, 10, 8, "beyond", 2, "target offset 8 is beyond the end of what is mirrored, which is source offset 10"},
			{replicator.Lookup{Topic: "pizza", Partition: 1}, 0, 0, "exact", 0, "offset 0"},
		} {
			c.q.Flow = "flow"
			got := v.d.Translate(c.q)
			if len(got) != 1 {
				t.Errorf("%+v: got %+v", c.q, got)
				continue
			}
			text := got[0].Text
			got[0].Text = ""
			want := replicator.Translation{Flow: "flow", Topic: "pizza", TargetTopic: "x-pizza", Partition: c.q.Partition,
				SourceOffset: c.source, TargetOffset: c.target, Found: c.found, RecordsAgain: c.again}
			if got[0] != want || !strings.Contains(text, c.text) {
				t.Errorf("%+v: got %+v %q\nwant %+v %q", c.q, got[0], text, want, c.text)
			}
		}
		for range 1200 {
			if got := v.d.Translate(replicator.Lookup{Topic: "pizza"}); len(got) == 2 {
				if got[0].Flow != "flow" || got[1].Flow != "second" || got[1].TargetTopic != "y-pizza" {
					t.Errorf("got %+v", got)
				}
				break
			}
			time.Sleep(100 * time.Millisecond) // of the bubble's clock
		}
		if got := v.d.Translate(replicator.Lookup{Topic: "pizza"}); len(got) != 2 {
			t.Errorf("got %+v, want both flows", got)
		}
		for _, q := range []replicator.Lookup{
			{Topic: "x-pizza"}, {Topic: "pizza", Reverse: true}, {Topic: "pizza", Partition: 2}, {Topic: "pizza", Flow: "other"},
		} {
			if got := v.d.Translate(q); len(got) != 0 {
				t.Errorf("%+v: got %+v, want none", q, got)
			}
		}
	})
}
