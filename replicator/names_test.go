package replicator_test

import (
	"strings"
	"testing"
	"time"
)

// A topic whose target topic is the copy of another one is not carried into it, be
// that found out while both are there, after a restart, or when the other one is gone.
func TestNewcomerTakesNoName(t *testing.T) {
	for name, between := range map[string]func(v *virtual){
		"same process":    nil,
		"after a restart": func(*virtual) {},
		"the other is gone": func(v *virtual) {
			if err := v.source.DeleteTopic("orders"); err != nil {
				v.t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			virtually(t, func(t *testing.T, v *virtual) {
				v.topic("orders", 1)
				v.write("orders", 0, 0, 5) // one batch: from another lane with our producer id it would be a duplicate
				cfg := v.config(".*orders")
				cfg.Flows[0].StripPrefix = "legacy."
				stop := v.run(cfg)
				v.await("orders", 0, "running", 0)
				if between != nil {
					stop()
					between(v)
				}
				v.topic("legacy.orders", 1)
				v.write("legacy.orders", 0, 1000, 5)
				if between != nil {
					stop = v.run(cfg)
				}
				for n := 0; v.lane("legacy.orders", 0).State != "stopped" && n < 60; n++ {
					time.Sleep(time.Second) // of the bubble's clock
				}
				if l := v.lane("legacy.orders", 0); l.State != "stopped" || !strings.Contains(l.Reason, `copy of `) || !strings.Contains(l.Reason, `"orders"`) {
					t.Errorf("the newcomer's lane is %+v", l)
				}
				n := 5
				if name != "the other is gone" {
					v.write("orders", 0, 5, 5)
					v.await("orders", 0, "running", 0)
					n = 10
				}
				stop()
				v.has("orders", 0, n)
			})
		})
	}
}
