package kafka

import (
	"testing"
	"time"

	"github.com/kferry/kferry/config"
)

// The number of links is chosen by the fastest answer before the first use, and
// stays: a lane's link must be the same for as long as it lives.
func TestLinksByTrip(t *testing.T) {
	for _, c := range []struct {
		trip time.Duration
		want int
	}{{0, 2}, {time.Millisecond, 2}, {20 * time.Millisecond, 3}, {100 * time.Millisecond, 7}, {time.Second, 8}} {
		cl := open(t, config.Cluster{Alias: "far", BootstrapServers: []string{"127.0.0.1:1"}}, Options{})
		if c.trip > 0 {
			cl.heard.took(2 * time.Second)
			cl.heard.took(c.trip)
		}
		if n := len(cl.Links()); n != c.want {
			t.Errorf("%v: %d links, want %d", c.trip, n, c.want)
		}
		cl.heard.took(time.Nanosecond)
		if n := len(cl.Links()); n != c.want {
			t.Errorf("%v: %d links once it was faster, want %d", c.trip, n, c.want)
		}
	}
}
