package beat

import (
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/kferry/kferry/config"
	"github.com/kferry/kferry/internal/kafka"
	"github.com/kferry/kferry/offsets/mm2"
)

// Of topics that MirrorMaker 2 made the broker's defaults change for the one that kferry reads from its start.
func TestTopicsThatAreThere(t *testing.T) {
	fake, err := kfake.NewCluster(kfake.NumBrokers(1))
	if err != nil {
		t.Fatal(err)
	}
	defer fake.Close()
	cl, err := kafka.Open(config.Cluster{Alias: "target", BootstrapServers: fake.ListenAddrs(), ClientID: "test", Connections: 1}, kafka.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	o := Options{Source: cl, Target: cl, Names: mm2.Names{Source: "a", Target: "b", Separator: "."}}
	checkpoints, heartbeats := o.Names.Checkpoints(), o.Names.Heartbeats()
	if _, err := cl.Admin().CreateTopics(t.Context(), 1, 1, map[string]*string{"cleanup.policy": kadm.StringPtr("compact")}, checkpoints, heartbeats); err != nil {
		t.Fatal(err)
	}
	if err := NewHeart(o).Beat(t.Context(), time.Now(), false); err != nil {
		t.Fatal(err)
	}
	if err := NewCheckpoints(o).Write(t.Context(), []mm2.Checkpoint{{Group: "g", Topic: "t"}}); err != nil {
		t.Fatal(err)
	}
	if v := fake.TopicInfo(checkpoints).Configs["segment.ms"]; v == nil || *v != "300000" {
		t.Errorf("checkpoints: segment.ms %v", v)
	}
	if v := fake.TopicInfo(heartbeats).Configs["segment.ms"]; v != nil {
		t.Errorf("heartbeats: segment.ms=%s", *v)
	}
}
