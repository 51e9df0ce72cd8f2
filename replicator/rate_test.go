package replicator_test

import (
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/kferry/kferry/config"
)

// fill writes batches of one record of so many bytes, round the partitions.
func (v *virtual) fill(topic string, partitions int32, batches, size int) {
	v.t.Helper()
	for i := range batches {
		r := &kgo.Record{Topic: topic, Partition: int32(i) % partitions, Value: []byte(strings.Repeat("x", size))}
		if err := v.from.ProduceSync(v.t.Context(), r).FirstErr(); err != nil {
			v.t.Fatal(err)
		}
	}
}

// carriedBytes is what the target acknowledged.
func (v *virtual) carriedBytes() (n int64) {
	for _, l := range v.d.Status().Flows[0].Lanes {
		n += l.Bytes
	}
	return n
}

// The limit holds over a minute, from below and from above, and no second takes
// much more than its share; then all that is there arrives.
func TestRateLimit(t *testing.T) {
	for name, c := range map[string]struct {
		limit         config.Bytes
		batches, size int
		over          time.Duration
		most          int64 // bytes of the fullest second
	}{
		"small batches":                        {256 << 10, 850, 20 << 10, time.Minute, 512 << 10},
		"batches as large as a second's worth": {256 << 10, 130, 256 << 10, 2 * time.Minute, 800 << 10},
		"a tenth of a batch":                   {100 << 10, 40, 1000 << 10, 5 * time.Minute, 2050 << 10},
	} {
		t.Run(name, func(t *testing.T) {
			virtually(t, func(t *testing.T, v *virtual) {
				v.topic("pizza", 4)
				v.fill("pizza", 4, c.batches, c.size)
				cfg := v.config("pizza")
				cfg.Flows[0].RateLimit = c.limit
				stop := v.run(cfg)
				for v.lane("pizza", 3).State != "running" {
					time.Sleep(10 * time.Millisecond)
				}
				began, last, fullest := time.Now(), int64(0), int64(0)
				for time.Since(began) < c.over {
					time.Sleep(time.Second)
					now := v.carriedBytes()
					last, fullest = now, max(fullest, now-last)
				}
				rate, want := float64(last)/c.over.Seconds(), float64(c.limit)
				t.Logf("%.0f bytes/s of %.0f, %d in the fullest second", rate, want, fullest)
				if rate < 0.9*want || rate > 1.1*want {
					t.Errorf("%.0f bytes/s, want %.0f", rate, want)
				}
				if fullest > c.most {
					t.Errorf("%d bytes in one second, want at most %d", fullest, c.most)
				}
				lag := int64(0)
				for n := range int32(4) {
					l := v.lane("pizza", n)
					if lag += l.Lag; l.State != "running" || l.Reason != "" {
						t.Errorf("while it is slow: %+v", l)
					}
				}
				if lag == 0 {
					t.Error("nothing is left, so the limit was not what held it up")
				}
				for n := range int32(4) {
					for v.lane("pizza", n).Lag != 0 {
						time.Sleep(time.Second)
					}
				}
				stop()
			})
		})
	}
}
