package replicator_test

import (
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// A target that cannot make a topic at the moment is waited for, and no lane stops.
func TestTopicIsMadeLater(t *testing.T) {
	virtually(t, func(t *testing.T, v *virtual) {
		v.topic("pizza", 2)
		v.write("pizza", 0, 0, 10)
		v.target.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.CreateTopics}, Topic: "pizza", Err: kerr.ThrottlingQuotaExceeded, Count: 5})
		stop := v.run(v.config("pizza"))
		for n := 0; v.lane("pizza", 0).State != "waiting" && n < 600; n++ {
			time.Sleep(100 * time.Millisecond) // of the bubble's clock
		}
		l := v.lane("pizza", 0)
		if !strings.HasPrefix(l.Reason, `cannot create topic "pizza" on the target "new" at the moment, trying on: `) || !strings.Contains(l.Reason, "THROTTLING_QUOTA_EXCEEDED") {
			t.Errorf("%+v", l)
		}
		v.await("pizza", 0, "running", 0)
		stop()
		if v.said("lane stopped") > 0 {
			t.Error("a lane stopped")
		}
		v.has("pizza", 0, 10)
	})
}
