package clock_test

import (
	"testing"
	"time"

	"github.com/kferry/kferry/replicator/clock"
)

func TestSince(t *testing.T) {
	for name, tt := range map[string]struct{ mono, wall, want time.Duration }{
		"both went on":                {time.Minute, time.Minute, time.Minute},
		"the machine was suspended":   {time.Second, time.Hour, time.Hour},
		"the wall clock was set back": {time.Minute, -time.Hour, time.Hour},
		"a little":                    {time.Minute, 50 * time.Second, time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			m := clock.Moment{Mono: 5 * time.Hour, Wall: 900 * time.Hour}
			now := clock.Moment{Mono: m.Mono + tt.mono, Wall: m.Wall + tt.wall}
			if got := now.Since(m); got != tt.want {
				t.Errorf("%v, want %v", got, tt.want)
			}
		})
	}
}
