package replicator

import (
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/kferry/kferry/replicator/lane"
)

func TestUnstored(t *testing.T) {
	at := lane.Position{Producer: 7, Epoch: 2, Sequence: 100}
	for name, c := range map[string]struct {
		producer int64
		epoch    int16
		last     int32
		want     bool
	}{
		"all is stored":                    {7, 2, 99, false},
		"more was written":                 {7, 2, 104, true},
		"under a later epoch":              {7, 3, 4, true},
		"nothing yet under ours":           {7, 1, 104, false},
		"another producer":                 {8, 2, 104, false},
		"the target has forgotten its end": {7, 2, -1, false},
	} {
		active := map[int64]kadm.DescribedProducer{c.producer: {ProducerEpoch: c.epoch, LastSequence: c.last}}
		if got := unstored(active, at); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}
