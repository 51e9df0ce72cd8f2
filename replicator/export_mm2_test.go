package replicator_test

import (
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kferry/kferry/internal/kafka"
	"github.com/kferry/kferry/replicator"
	"github.com/kferry/kferry/replicator/lane"
	"github.com/kferry/kferry/replicator/progress"
)

// Positions are written only where they tell of all that the target has, also where it has forgotten who wrote it: minutes
// after records that are old it has, whether kferry was killed or not.
func TestExportWhereTheTargetHasForgotten(t *testing.T) {
	p := fakePair(t)
	if err := p.source.CreateTopic("pizza", 1, nil); err != nil {
		t.Fatal(err)
	}
	write(t, p.client(t, p.source), "pizza", 0, 100)
	cfg := p.config(t, "pizza")
	d, stop := start(t, cfg)
	carried(t, d, p.admin(t), "pizza")
	stop()
	p.target.ControlKey(kmsg.DescribeProducers.Int16(), func(r kmsg.Request) (kmsg.Response, error, bool) {
		p.target.KeepControl()
		resp := r.ResponseKind().(*kmsg.DescribeProducersResponse)
		for _, rt := range r.(*kmsg.DescribeProducersRequest).Topics {
			st := kmsg.NewDescribeProducersResponseTopic()
			st.Topic = rt.Topic
			for _, n := range rt.Partitions {
				sp := kmsg.NewDescribeProducersResponseTopicPartition()
				sp.Partition = n
				st.Partitions = append(st.Partitions, sp)
			}
			resp.Topics = append(resp.Topics, st)
		}
		return resp, nil, true
	})
	target, err := kafka.Open(cfg.Clusters["new"], kafka.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer target.Close()
	export := func() (replicator.Exported, error) {
		return replicator.ExportMM2(t.Context(), target, cfg.Flows[0], true)
	}
	e, err := export()
	if err != nil || len(e.Lanes) != 1 || e.Lanes[0].Next != 100 {
		t.Errorf("all is stored: %+v, %v", e, err)
	}

	// What others write behind it is not ours.
	if err := p.client(t, p.target).ProduceSync(t.Context(), &kgo.Record{Topic: "pizza", Value: []byte("foreign")}).FirstErr(); err != nil {
		t.Fatal(err)
	}
	if e, err := export(); err != nil || len(e.Lanes) != 1 {
		t.Errorf("others wrote: %+v, %v", e, err)
	}

	// As a kill leaves it: the target has 30 records more than progress says.
	s, err := progress.Find(t.Context(), target, "flow")
	if err != nil {
		t.Fatal(err)
	}
	records, err := s.Load(t.Context(), s.All())
	if err != nil {
		t.Fatal(err)
	}
	r := records[lane.ID{Topic: "pizza"}]
	r.Position.Source, r.Position.Target, r.Position.Sequence = 70, 70, 70
	r.Offsets = nil
	if err := s.Save(t.Context(), []progress.Record{r}, nil); err != nil {
		t.Fatal(err)
	}
	if err := s.Save(t.Context(), nil, []progress.Offsets{{Record: r}}); err != nil {
		t.Fatal(err)
	}
	const refused = `topic "pizza" partition 0: the target has records that are not in stored progress, for kferry did not end by itself`
	if e, err := export(); err == nil || !strings.Contains(err.Error(), refused) {
		t.Errorf("killed: %+v, %v", e, err)
	}
	if err := p.target.DeleteRecords("pizza", 0, 80); err != nil {
		t.Fatal(err)
	}
	if e, err := export(); err == nil || !strings.Contains(err.Error(), "the target has removed records since progress was stored") {
		t.Errorf("killed, and removed: %+v, %v", e, err)
	}
}
