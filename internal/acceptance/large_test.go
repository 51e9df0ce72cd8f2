package acceptance

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/kferry/kferry/internal/check"
	"github.com/kferry/kferry/internal/kafkatest"
)

const (
	largeRecord = 5 << 20 // bytes, that no codec makes smaller
	largeLimit  = "8388608"
)

// A record of 5 MB, from a topic that allows it: kferry creates the target topic so that it takes it.
func TestLargeRecord(t *testing.T) {
	t.Parallel()
	p := newPair(t, kafkatest.V4)
	p.source.Allow(t, reader, p.acls(p.name+".", kadm.OpDescribeConfigs))
	topic := p.topic("large")
	p.source.CreateTopic(t, topic, 2, map[string]string{"max.message.bytes": largeLimit})
	p.put(topic, 0, 100, 1000)
	p.put(topic, 0, 1, largeRecord)
	p.put(topic, 0, 100, 1000)
	f := p.run(p.settings())
	p.arrived(f, topic, 201)
	f.Stop()
	p.same(check.Options{Topic: topic})
}

// The target topic is there and takes less: the lane of the large record stops and says why, the others go on, and when
// somebody raises the limit the lane goes on by itself.
func TestLargeRecordRefused(t *testing.T) {
	t.Parallel()
	p := newPair(t, kafkatest.V4)
	topic, other := p.topic("large"), p.topic("other")
	p.source.CreateTopic(t, topic, 2, map[string]string{"max.message.bytes": largeLimit})
	p.target.CreateTopic(t, topic, 2, nil)
	p.source.CreateTopic(t, other, 1, nil)
	p.put(topic, 0, 100, 1000)
	p.put(topic, 0, 1, largeRecord)
	p.put(topic, 0, 100, 1000)
	p.put(topic, 1, 100, 1000)
	p.put(other, 0, 100, 1000)

	f := p.run(p.settings())
	f.Says(`lane stopped.*topic=` + topic + ` partition=0.*raise max\.message\.bytes`)
	f.Lanes("stopped", 1)
	p.arrived(f, topic, 200) // what comes before the large record, and all of the other partition
	p.put(topic, 1, 100, 1000)
	p.put(other, 0, 100, 1000)
	p.arrived(f, topic, 300)
	p.arrived(f, other, 200)
	f.Lanes("stopped", 1)

	raised := time.Now()
	limit := largeLimit
	rs, err := p.target.Admin(t).AlterTopicConfigs(t.Context(), []kadm.AlterConfig{{Name: "max.message.bytes", Value: &limit}}, topic)
	if err != nil || rs[0].Err != nil {
		t.Fatal(err, rs)
	}
	p.arrived(f, topic, 401)
	t.Logf("the lane went on %v after the limit was raised", time.Since(raised).Round(100*time.Millisecond))
	f.Says(`lane goes on.*topic=` + topic)
	f.Lanes("stopped", 0)
	f.Stop()
	p.same(check.Options{Topic: topic})
	p.same(check.Options{Topic: other})
}

// put writes records of so many random bytes each to one partition of the source, a batch each.
func (p *pair) put(topic string, partition int32, records, bytes int) {
	p.t.Helper()
	cl := p.source.Client(p.t, kafkatest.AdminUser, kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.ProducerBatchMaxBytes(2*largeRecord), kgo.ProducerBatchCompression(kgo.Lz4Compression()))
	rng := rand.NewChaCha8([32]byte{1})
	for range records {
		value := make([]byte, bytes)
		_, _ = rng.Read(value) // never fails
		if err := cl.ProduceSync(p.t.Context(), &kgo.Record{Topic: topic, Partition: partition, Value: value}).FirstErr(); err != nil {
			p.t.Fatal(err)
		}
	}
}
