package replicator_test

import (
	"runtime"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kferry/kferry/config"
)

// A flow tells what it is, that it lives, and what is refused to it.
func TestSigns(t *testing.T) {
	virtually(t, func(t *testing.T, v *virtual) {
		v.topic("pizza", 3)
		v.topic("clicks", 1)
		v.write("pizza", 0, 0, 10)
		cfg := v.config("pizza", "clicks")
		f := &cfg.Flows[0]
		f.Groups, f.GroupsInterval = []string{".*"}, time.Second
		f.Heartbeats, f.OffsetSyncs = config.Heartbeats{Enabled: true, Interval: time.Second}, config.OffsetSyncs{Location: "off"}
		stop := v.run(cfg)
		v.await("pizza", 0, "running", 0)
		time.Sleep(time.Minute)

		is := func(want float64, name string, labels ...string) {
			t.Helper()
			if got := metric(t, v.reg, name, labels...); got != want {
				t.Errorf("%s%v is %v, want %v", name, labels, got, want)
			}
		}
		is(1, "kferry_build_info", "version=v1", "goversion="+runtime.Version())
		is(1, "kferry_flow_info", "flow=flow", "source=old", "target=new")
		is(4, "kferry_flow_partitions", "flow=flow")
		is(4, "kferry_lanes", "flow=flow")
		is(0, "kferry_lag_stale_lanes", "flow=flow")
		for _, alias := range []string{"old", "new"} {
			is(1, "kferry_cluster_up", "cluster="+alias)
			is(0, "kferry_cluster_rejected", "cluster="+alias)
		}
		is(0, "kferry_refusals_total", "side=source")
		is(0, "kferry_refusals_total", "side=target")
		for _, name := range []string{"progress", "groups", "heartbeat"} {
			at := metric(t, v.reg, "kferry_"+name+"_timestamp_seconds", "flow=flow")
			if ago := float64(time.Now().UnixMilli())/1000 - at; ago < 0 || ago > 2.5 {
				t.Errorf("the last %s was %v s ago", name, ago)
			}
		}

		denied := v.target.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Topic: "pizza", Err: kerr.TopicAuthorizationFailed, Count: -1})
		v.write("pizza", 0, 10, 1)
		v.await("pizza", 0, "stopped", 1)
		is(1, "kferry_refusals_total", "side=target")
		is(0, "kferry_refusals_total", "side=source")
		is(1, "kferry_cluster_rejected", "cluster=new", "cause=authorization")
		is(1, "kferry_cluster_rejected", "cluster=new")
		is(0, "kferry_cluster_rejected", "cluster=old")
		time.Sleep(35 * time.Second) // it is tried again
		is(1, "kferry_cluster_rejected", "cluster=new", "cause=authorization")
		denied.Remove()
		v.await("pizza", 0, "running", 0)
		is(0, "kferry_cluster_rejected", "cluster=new")

		v.source.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Fetch}, Topic: "clicks", Err: kerr.TopicAuthorizationFailed, Count: 1})
		v.write("clicks", 0, 0, 1)
		time.Sleep(2 * time.Second)
		is(1, "kferry_refusals_total", "side=source")
		is(1, "kferry_cluster_rejected", "cluster=old", "cause=authorization")
		v.await("clicks", 0, "running", 0)
		is(0, "kferry_cluster_rejected", "cluster=old")
		stop()
	})
}

// A cluster that nobody wants anything from is asked all the same whether it lives.
func TestClusterUp(t *testing.T) {
	virtually(t, func(t *testing.T, v *virtual) {
		v.topic("pizza", 1)
		cfg := v.config("pizza")
		cfg.Flows[0].RefreshInterval = time.Hour
		stop := v.run(cfg)
		v.await("pizza", 0, "running", 0)
		for range 10 {
			time.Sleep(time.Minute)
			for _, c := range v.d.Clusters() {
				if !c.Up || c.Err != nil || c.Since.IsZero() || time.Since(c.Since) > 11*time.Minute {
					t.Errorf("%+v", c)
				}
			}
		}
		v.gates[v.target].set(true)
		away := time.Now()
		time.Sleep(20 * time.Second)
		if c := v.d.Clusters()[0]; c.Alias != "new" || c.Up || c.Err == nil || c.Since.Before(away) {
			t.Errorf("away: %+v", c)
		}
		v.gates[v.target].set(false)
		time.Sleep(5 * time.Second)
		if c := v.d.Clusters()[0]; !c.Up || c.Err != nil {
			t.Errorf("back: %+v", c)
		}
		stop()
	})
}
