package replicator_test

import (
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/kferry/kferry/replicator"
	"github.com/kferry/kferry/replicator/lane"
	"github.com/kferry/kferry/replicator/progress"
)

// A lane's map outlives its process. Where it was lost it is read back from both sides, although others have written
// to the target in between.
func TestOffsetMapsAreKeptAndReadBack(t *testing.T) {
	virtually(t, func(t *testing.T, v *virtual) {
		const records = 40
		v.topic("pizza", 1)
		stop := v.run(v.config("pizza"))
		for from := 0; from < records; from += 10 {
			v.write("pizza", 0, from, 10)
			v.await("pizza", 0, "running", 0)
			v.reaches("pizza", from+10)
			stranger := &kgo.Record{Topic: "pizza", Value: []byte("not ours")}
			if err := v.to.ProduceSync(t.Context(), stranger, stranger).FirstErr(); err != nil {
				t.Fatal(err)
			}
		}
		want := v.translations("pizza", records)
		if want[15] != (spot{15 + 2, "exact"}) || want[35] != (spot{35 + 6, "exact"}) {
			t.Errorf("got %+v", want)
		}
		stop()

		stop = v.run(v.config("pizza"))
		v.awaitTranslations("pizza", want)
		stop()

		store, key := v.store(), []byte("offsets/pizza/0")
		lost := &kgo.Record{Topic: progress.Topic("flow"), Partition: store.Slot(lane.ID{Topic: "pizza"}), Key: key}
		if err := v.to.ProduceSync(t.Context(), lost).FirstErr(); err != nil {
			t.Fatal(err)
		}
		stop = v.run(v.config("pizza"))
		defer stop()
		v.awaitTranslations("pizza", want)
	})
}

// spot is a translation.
type spot struct {
	target int64
	found  string
}

// translations are those of all offsets up to n.
func (v *virtual) translations(topic string, n int) (out []spot) {
	v.t.Helper()
	for at := range int64(n) {
		for _, tr := range v.d.Translate(replicator.Lookup{Topic: topic, Offset: at}) {
			out = append(out, spot{tr.TargetOffset, tr.Found})
		}
	}
	return out
}

func (v *virtual) awaitTranslations(topic string, want []spot) {
	v.t.Helper()
	var got []spot
	for range 600 {
		got = v.translations(topic, len(want))
		same := len(got) == len(want)
		for i := range got {
			same = same && got[i] == want[i]
		}
		if same {
			return
		}
		time.Sleep(100 * time.Millisecond) // of the bubble's clock
	}
	v.t.Errorf("got %+v\nwant %+v", got, want)
}

// reaches waits until the lane has carried what is below the source offset.
func (v *virtual) reaches(topic string, offset int) {
	v.t.Helper()
	for range 600 {
		for _, l := range v.d.Status().Flows[0].Lanes {
			if l.Topic == topic && l.Position == int64(offset) {
				return
			}
		}
		time.Sleep(100 * time.Millisecond) // of the bubble's clock
	}
	v.t.Fatalf("%s does not reach %d", topic, offset)
}
