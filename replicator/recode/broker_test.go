package recode

import (
	"context"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kferry/kferry/internal/kafkatest"
	"github.com/kferry/kferry/replicator/batch"
)

// brokerLimit bounds each of the tests here, on a slow machine too.
const brokerLimit = 3 * time.Minute

func TestFakeBrokerAccepts(t *testing.T) {
	c, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(1, "built"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	cl, err := kgo.NewClient(kgo.SeedBrokers(c.ListenAddrs()...))
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	vs, want := builtBatches(t)
	produceRaw(t, cl, "built", vs)
	checkTopic(t, c.ListenAddrs(), "built", want)
}

// A broker checks each record of a compressed batch. For a topic with another
// compression.type it also decompresses all of them, in Java, and compresses them
// anew; so what is read from such a topic is what a Java client reads from ours.
func TestRealBrokerAccepts(t *testing.T) {
	c := kafkatest.Start(t, kafkatest.Options{})
	vs, want := builtBatches(t)
	cl := c.Client(t, kafkatest.AdminUser)
	for _, kind := range []string{"producer", "uncompressed", "gzip", "lz4"} {
		t.Run(kind, func(t *testing.T) {
			// Records from magic 0 have no time, so cleaning by age would take them.
			c.CreateTopic(t, kind, 1, map[string]string{"compression.type": kind, "retention.ms": "-1"})
			produceRaw(t, cl, kind, vs)
			checkTopic(t, c.Bootstrap(), kind, want)
		})
	}
}

// builtBatches are batches of all codecs that Recode and Merge built, and their records.
func builtBatches(t *testing.T) (vs []batch.View, want []rec) {
	r := New()
	for _, codec := range allCodecs {
		rnd := rand.New(rand.NewPCG(uint64(codec), 7))
		rs := append(randomRecords(rnd, 300, 0, true), benchRecords(200)...) // several blocks of lz4 and snappy
		for i := range rs {
			if i >= 300 {
				rs[i].off += rs[299].off + 1
			}
			rs[i].time = max(rs[i].time, 1) // a broker takes no negative one but -1, and that only from magic 0
		}
		last := rs[len(rs)-1].off
		add := func(kept []rec, outs ...batch.View) {
			vs, want = append(vs, outs...), append(want, kept...)
		}
		outs, err := r.Recode(newBatch(t, rs, spec{codec: codec}), Options{})
		if err != nil {
			t.Fatal(err)
		}
		add(rs, views(outs)...)
		o := Options{From: rs[50].off, Skip: 3, Limit: 40000}
		if outs, err = r.Recode(newBatch(t, rs, spec{codec: codec, attrs: 1 << 3, maxTime: 1712345678901}), o); err != nil || len(outs) < 2 {
			t.Fatal(len(outs), err)
		}
		kept, _ := model(rs, o, true, 1712345678901)
		add(kept, views(outs)...)
		if codec < batch.Zstd {
			old := oldRecords(rnd, 1+min(int(codec), 1)*20, 7, true)
			old = old[:1+min(int(codec), 1)*20]
			in := only(t, message(0, 0, 7, 0, old[0].key, old[0].value))
			if codec != batch.None {
				in = wrapper(t, 0, codec, 0, old[20].off, 0, old)
			}
			if outs, err = r.Recode(in, Options{}); err != nil {
				t.Fatal(err)
			}
			kept, _ = model(old, Options{}, true, -1)
			add(kept, views(outs)...)
		}
		single := series(t, rs, codec)
		out, used, err := r.Merge(single, 1<<20)
		if err != nil || used != len(single) || last < 300 {
			t.Fatal(used, err)
		}
		add(rs, out)
	}
	return vs, want
}

// produceRaw writes each batch as it is, behind a producer id and its sequences.
func produceRaw(t *testing.T, cl *kgo.Client, topic string, vs []batch.View) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), brokerLimit)
	defer cancel()
	topics, err := kadm.NewClient(cl).ListTopics(ctx, topic)
	if err != nil {
		t.Fatal(err)
	}
	id, err := kmsg.NewPtrInitProducerIDRequest().RequestWith(ctx, cl)
	if err != nil || id.ErrorCode != 0 {
		t.Fatal(err, kerr.ErrorForCode(id.ErrorCode))
	}
	seq := int32(0)
	for i, v := range vs {
		v.Stamp(id.ProducerID, id.ProducerEpoch, seq)
		seq += v.Count()
		p := kmsg.NewProduceRequestTopicPartition()
		p.Records = v
		rt := kmsg.NewProduceRequestTopic()
		rt.Topic, rt.TopicID, rt.Partitions = topic, topics[topic].ID, []kmsg.ProduceRequestTopicPartition{p}
		req := kmsg.NewPtrProduceRequest()
		req.Acks, req.TimeoutMillis, req.Topics = -1, 30000, []kmsg.ProduceRequestTopic{rt}
		resp, err := req.RequestWith(ctx, cl.Broker(0))
		if err != nil {
			t.Fatal(err)
		}
		if got := resp.Topics[0].Partitions[0]; got.ErrorCode != 0 {
			t.Fatalf("batch %d, %s, %d records: %v %v", i, v.Codec(), v.Count(), kerr.ErrorForCode(got.ErrorCode), got.ErrorRecords)
		}
	}
}

// checkTopic reads the topic with a normal consumer.
func checkTopic(t *testing.T, brokers []string, topic string, want []rec) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), brokerLimit)
	defer cancel()
	cl, err := kgo.NewClient(kgo.SeedBrokers(brokers...), kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: {0: kgo.NewOffset().AtStart()}}))
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	var got []rec
	for len(got) < len(want) {
		fs := cl.PollFetches(ctx)
		if err := fs.Err(); err != nil {
			t.Fatalf("after %d of %d records: %v", len(got), len(want), err)
		}
		fs.EachRecord(func(r *kgo.Record) {
			if r.Offset != int64(len(got)) {
				t.Fatalf("offset %d, want %d", r.Offset, len(got))
			}
			got = append(got, rec{r.Offset, r.Timestamp.UnixMilli(), r.Key, r.Value, r.Headers})
		})
	}
	checkSame(t, got, want)
}
