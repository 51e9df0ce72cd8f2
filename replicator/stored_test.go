package replicator

import (
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/kferry/kferry/replicator/lane"
)

func TestUnstored(t *testing.T) {
	at := lane.Position{Producer: 7, Epoch: 2, Sequence: 100}
	for name, c := range map[string]struct {
		producer    int64
		epoch       int16
		last        int32
		more, known bool
	}{
		"all is stored":                    {7, 2, 99, false, true},
		"more was written":                 {7, 2, 104, true, true},
		"under a later epoch":              {7, 3, 4, true, true},
		"ours of before alone":             {7, 1, 104, false, false},
		"another producer":                 {8, 2, 104, false, false},
		"the target has forgotten its end": {7, 2, -1, false, false},
	} {
		active := map[int64]kadm.DescribedProducer{c.producer: {ProducerEpoch: c.epoch, LastSequence: c.last}}
		if more, known := unstored(active, at); more != c.more || known != c.known {
			t.Errorf("%s: %v, %v", name, more, known)
		}
	}
	// Nothing was written yet under a new epoch.
	fresh := lane.Position{Producer: 7, Epoch: 2}
	if more, known := unstored(map[int64]kadm.DescribedProducer{7: {ProducerEpoch: 1, LastSequence: 4}}, fresh); more || !known {
		t.Errorf("a new epoch: %v, %v", more, known)
	}
}
