package kafka

import (
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

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

// Brokers that fail on requests that are newer than they are spoken to as one of old.
func TestMaxVersions(t *testing.T) {
	fake, err := kfake.NewCluster(kfake.NumBrokers(1))
	if err != nil {
		t.Fatal(err)
	}
	defer fake.Close()
	newest := map[kmsg.Key]int16{}
	for _, key := range []kmsg.Key{kmsg.ApiVersions, kmsg.Metadata} {
		fake.ControlKey(key.Int16(), func(r kmsg.Request) (kmsg.Response, error, bool) {
			fake.KeepControl()
			newest[key] = max(newest[key], r.GetVersion())
			return nil, nil, false
		})
	}
	cl := open(t, config.Cluster{Alias: "old", BootstrapServers: fake.ListenAddrs(), MaxVersions: "2.3"}, Options{})
	if err := cl.Ping(t.Context()); err != nil {
		t.Fatal(err)
	}
	if newest[kmsg.ApiVersions] != 2 || newest[kmsg.Metadata] != 8 {
		t.Errorf("%v", newest)
	}
	if _, err := Open(config.Cluster{BootstrapServers: fake.ListenAddrs(), MaxVersions: "9.9"}, Options{}); err == nil || !strings.Contains(err.Error(), `max_versions "9.9" is no version of Kafka`) {
		t.Error(err)
	}
}
