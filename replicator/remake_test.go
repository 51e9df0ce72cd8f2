package replicator_test

import (
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/kferry/kferry/replicator/progress"
)

// Somebody deletes the progress topic while lanes are carried: it is made again with what is known of
// them, they go on, and the next start carries nothing twice.
func TestProgressTopicIsMadeAgain(t *testing.T) {
	for name, opts := range protocols {
		t.Run(name, func(t *testing.T) {
			virtually(t, func(t *testing.T, v *virtual) {
				v.topic("pizza", 4)
				for n := range int32(4) {
					v.write("pizza", n, 0, 10)
				}
				stop := v.run(v.config("pizza"))
				for n := range int32(4) {
					v.await("pizza", n, "running", 0)
				}
				if _, err := kadm.NewClient(v.to).DeleteTopics(t.Context(), progress.Topic("flow")); err != nil {
					t.Fatal(err)
				}
				told := false
				for range 300 { // 30 s of the bubble's clock
					time.Sleep(100 * time.Millisecond)
					told = told || v.problem("the progress topic was deleted")
				}
				if !told {
					t.Error("nothing tells of it")
				}
				for n := range int32(4) {
					v.write("pizza", n, 10, 10)
				}
				for n := range int32(4) {
					v.await("pizza", n, "running", 0)
				}
				if ps := v.d.Status().Problems; len(ps) > 0 {
					t.Errorf("it is there again: %+v", ps)
				}
				stop()
				s := v.store()
				records, err := s.Load(t.Context(), s.All())
				if err != nil || len(records) != 4 {
					t.Errorf("stored: %v, %v", records, err)
				}
				for id, r := range records {
					if r.Position.Source != 20 || r.Offsets == nil {
						t.Errorf("stored of %v: %+v", id, r)
					}
				}
				stop = v.run(v.config("pizza"))
				for n := range int32(4) {
					v.await("pizza", n, "running", 0)
				}
				stop()
				for n := range int32(4) {
					v.has("pizza", n, 20)
				}
			}, opts...)
		})
	}
}

// The progress topic is away when kferry starts: it says that what the target has may come again.
func TestTargetHasRecordsAlready(t *testing.T) {
	virtually(t, func(t *testing.T, v *virtual) {
		v.topic("pizza", 1)
		v.topic("pasta", 1)
		v.write("pizza", 0, 0, 10)
		v.write("pasta", 0, 0, 10)
		stop := v.run(v.config("pizza"))
		v.await("pizza", 0, "running", 0)
		stop()
		if _, err := kadm.NewClient(v.to).DeleteTopics(t.Context(), progress.Topic("flow")); err != nil {
			t.Fatal(err)
		}
		stop = v.run(v.config("pizza", "pasta"))
		v.await("pizza", 0, "running", 0)
		v.await("pasta", 0, "running", 0)
		if !v.problem("the target already had records of 1 partition when") {
			t.Errorf("problems: %+v", v.d.Status().Problems)
		}
		stop()
	})
}

// MirrorMaker 2's topics, too, are made again.
func TestMM2TopicsAreMadeAgain(t *testing.T) {
	virtually(t, func(t *testing.T, v *virtual) {
		v.topic("pizza", 1)
		v.write("pizza", 0, 0, 10)
		cfg := v.following("pizza")
		stop := v.run(cfg)
		v.await("pizza", 0, "running", 0)
		admin := kadm.NewClient(v.to)
		for i := range 2 {
			for n := 0; ; n++ {
				ends, err := admin.ListEndOffsets(t.Context(), syncsOnTarget)
				if end, _ := ends.Lookup(syncsOnTarget, 0); err == nil && end.Err == nil && end.Offset > 0 {
					break
				}
				if n > 300 {
					t.Fatalf("round %d: no offset syncs: %v, %v", i, ends, err)
				}
				time.Sleep(time.Second) // of the bubble's clock
				v.write("pizza", 0, 10+10*n, 10)
			}
			if _, err := admin.DeleteTopics(t.Context(), syncsOnTarget); err != nil {
				t.Fatal(err)
			}
		}
		stop()
	})
}
