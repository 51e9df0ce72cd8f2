package chaos

import (
	"context"
	"fmt"
	"os/exec"
	"regexp"
	"strconv"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kferry/kferry/internal/datagen"
	"github.com/kferry/kferry/internal/ferrytest"
	"github.com/kferry/kferry/internal/kafka"
	"github.com/kferry/kferry/internal/kafkatest"
)

// What the source loses is lost in topics of their own, whose two sides differ by design: they are not compared, and their
// names do not begin as those of the load.

// doomed makes a topic with one partition that the flow carries and the comparison leaves out.
func (w *world) doomed(replicas [][]int32, configs map[string]string) string {
	w.t.Helper()
	w.lost++
	topic := fmt.Sprintf("%s%d", w.lossPrefix(), w.lost)
	if replicas == nil {
		w.source.CreateTopic(w.t, topic, 1, configs)
	} else {
		w.assigned(topic, replicas, configs)
	}
	w.t.Cleanup(func() {
		ctx := context.Background()
		_, _ = w.source.admin.DeleteTopics(ctx, topic)
		_, _ = w.target.admin.DeleteTopics(ctx, topic)
	})
	return topic
}

func (w *world) lossPrefix() string { return "lost." + w.name + "." }

// assigned makes a topic whose replicas are on certain brokers.
func (w *world) assigned(topic string, replicas [][]int32, configs map[string]string) {
	w.t.Helper()
	req := kmsg.NewPtrCreateTopicsRequest()
	rt := kmsg.NewCreateTopicsRequestTopic()
	rt.Topic, rt.NumPartitions, rt.ReplicationFactor = topic, -1, -1
	for p, brokers := range replicas {
		a := kmsg.NewCreateTopicsRequestTopicReplicaAssignment()
		a.Partition, a.Replicas = int32(p), brokers
		rt.ReplicaAssignment = append(rt.ReplicaAssignment, a)
	}
	for k, v := range configs {
		c := kmsg.NewCreateTopicsRequestTopicConfig()
		c.Name, c.Value = k, kmsg.StringPtr(v)
		rt.Configs = append(rt.Configs, c)
	}
	req.Topics = append(req.Topics, rt)
	resp, err := req.RequestWith(w.t.Context(), w.source.Client(w.t, kafkatest.AdminUser))
	if err != nil || resp.Topics[0].ErrorCode != 0 {
		w.t.Fatalf("create topic %q: %v %+v", topic, err, resp)
	}
}

// put writes n records to the source's topic.
func (w *world) put(topic string, n int64) {
	w.t.Helper()
	cl, err := kafka.Open(w.source.Config("source", kafkatest.AdminUser), kafka.Options{})
	if err != nil {
		w.t.Fatal(err)
	}
	defer cl.Close()
	if _, err := datagen.Run(w.t.Context(), cl, datagen.Options{Topic: topic, Records: n, Codec: w.codec, Seed: w.rng.Uint64()}); err != nil {
		w.t.Fatal(err)
	}
}

// holds waits until the target's topic has n records.
func (w *world) holds(topic string, n int64) {
	w.t.Helper()
	w.eventually(fmt.Sprintf("%s has %d records on the target", topic, n), func() (bool, string) {
		got, err := w.target.held(w.t.Context(), topic)
		return err == nil && got == n, fmt.Sprint(got, err)
	})
}

// command runs kferry beside the replicas.
func (w *world) command(args ...string) {
	w.t.Helper()
	cmd := exec.CommandContext(w.t.Context(), ferrytest.Binary(w.t, w.source.Dir()), append(args, "-c", w.config)...) //nolint:gosec // the binary that we built
	cmd.Env = ferrytest.Environ("OLD_PASSWORD="+readerSecret, "NEW_PASSWORD="+w.secret)
	if out, err := cmd.CombinedOutput(); err != nil {
		w.t.Fatalf("kferry %v: %v\n%s", args, err, out)
	}
}

// makeAnew deletes a topic of the source and makes it again: the lane stops, and nothing of the new one is carried.
func makeAnew(w *world, _ dose) {
	topic := w.doomed(nil, nil)
	w.put(topic, 200)
	w.holds(topic, 200)
	logs := w.logs()
	if _, err := w.source.admin.DeleteTopics(w.t.Context(), topic); err != nil {
		w.t.Fatal(err)
	}
	w.eventually("the topic is gone", func() (bool, string) {
		ts, err := w.source.admin.ListTopics(w.t.Context(), topic)
		return err == nil && !ts.Has(topic), fmt.Sprint(err)
	})
	w.source.CreateTopic(w.t, topic, 1, nil)
	w.put(topic, 300)
	w.loud(logs, regexp.QuoteMeta(topic)+`.*was deleted and made anew`)
	w.holds(topic, 200)
}

// overtake removes records before they are carried: the lane goes on at the first that is left, and counts.
func overtake(w *world, _ dose) {
	topic := w.doomed(nil, nil)
	w.put(topic, 200)
	w.holds(topic, 200)
	w.command("pause", "--flow", w.name, "--topic", topic)
	w.eventually("the topic is paused", func() (bool, string) {
		for _, f := range w.replicas {
			if _, body, err := f.Peek("/metrics"); err == nil && lanes(body, "paused") > 0 {
				return true, ""
			}
		}
		return false, "no lane is"
	})
	w.put(topic, 200)
	gone := kadm.Offsets{}
	gone.AddOffset(topic, 0, 300, -1)
	if _, err := w.source.admin.DeleteRecords(w.t.Context(), gone); err != nil {
		w.t.Fatal(err)
	}
	before := w.sum("kferry_lost_offsets_total")
	w.command("resume", "--flow", w.name, "--topic", topic)
	w.holds(topic, 300)
	if n := w.sum("kferry_lost_offsets_total") - before; n != 100 {
		w.t.Errorf("%v lost offsets were counted, want 100", n)
	}
	w.lostOffsets += 100
}

// sum adds a metric up over the replicas.
func (w *world) sum(name string) (n float64) {
	w.t.Helper()
	for _, f := range w.replicas {
		n += f.Metric(name)
	}
	return n
}

// truncate has a replica elected that lacks the last records, and the log grow beyond them again: the lane stops.
func truncate(w *world, _ dose) {
	last, stale := int32(w.nextBroker()), int32(w.nextBroker())
	topic := w.doomed([][]int32{{last, stale}}, map[string]string{"unclean.leader.election.enable": "true", "min.insync.replicas": "1"})
	w.put(topic, 200)
	w.holds(topic, 200)
	w.source.kill(int(stale))
	w.eventually("one replica is alone in sync", func() (bool, string) {
		ts, err := w.source.admin.ListTopics(w.t.Context(), topic)
		isr := ts[topic].Partitions[0].ISR
		return err == nil && len(isr) == 1 && isr[0] == last, fmt.Sprint(isr, err)
	})
	w.put(topic, 100)
	w.holds(topic, 300)
	logs := w.logs()
	w.source.kill(int(last))
	w.source.restart(int(stale))
	w.eventually("the other leads", func() (bool, string) {
		ts, err := w.source.admin.ListTopics(w.t.Context(), topic)
		return err == nil && ts[topic].Partitions[0].Leader == stale, strconv.Itoa(int(ts[topic].Partitions[0].Leader)) + fmt.Sprint(err)
	})
	w.put(topic, 150+int64(w.rng.IntN(2))*100) // the log ends before or behind what was carried
	w.source.restart(int(last))
	w.loud(logs, `the source's log was truncated to offset 200, below the 300`)
	w.holds(topic, 300)
}
