package replicator_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kferry/kferry/internal/check"
	"github.com/kferry/kferry/replicator"
)

// reasoned waits until a lane is in state, for a reason that holds all of words.
func reasoned(t *testing.T, d *replicator.Daemon, topic string, partition int32, state string, words ...string) {
	t.Helper()
	missing := func(reason string) []string {
		var out []string
		for _, w := range words {
			if !strings.Contains(reason, w) {
				out = append(out, w)
			}
		}
		return out
	}
	var last replicator.LaneStatus
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		for _, l := range d.Status().Flows[0].Lanes {
			if l.Topic != topic || l.Partition != partition {
				continue
			}
			if last = l; l.State == state && len(missing(l.Reason)) == 0 {
				return
			}
		}
	}
	t.Fatalf("want %s, with %q in the reason; the lane is %+v", state, missing(last.Reason), last)
}

// place puts one record into a partition of the source's topic.
func place(t *testing.T, cl *kgo.Client, partition int32, r kgo.Record) {
	t.Helper()
	r.Topic, r.Partition = "pizza", partition
	if err := cl.ProduceSync(t.Context(), &r).FirstErr(); err != nil {
		t.Fatal(err)
	}
}

func (p fakes) manual(t *testing.T) *kgo.Client {
	return p.client(t, p.source, kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerBatchMaxBytes(8<<20))
}

// Every code that a target may answer for one partition: its lane stops, or
// waits, with place, cause and remedy, and the others go on.
func TestTargetRefuses(t *testing.T) {
	for _, row := range []struct {
		err   *kerr.Error
		state string
		words []string
	}{
		{kerr.MessageTooLarge, "stopped", []string{"MESSAGE_TOO_LARGE", "raise max.message.bytes", "1 records"}},
		{kerr.RecordListTooLarge, "stopped", []string{"RECORD_LIST_TOO_LARGE", "raise segment.bytes", "1 records"}},
		{kerr.InvalidTimestamp, "stopped", []string{"INVALID_TIMESTAMP", "raise message.timestamp.before.max.ms", "message.timestamp.after.max.ms"}},
		{kerr.InvalidRecord, "stopped", []string{"INVALID_RECORD", "null key", "cleanup.policy=compact", "set cleanup.policy=delete"}},
		{kerr.PolicyViolation, "stopped", []string{"POLICY_VIOLATION", "policy of the target", "except the target topic"}},
		{kerr.UnsupportedCompressionType, "stopped", []string{"UNSUPPORTED_COMPRESSION_TYPE", "codec", "upgrade it"}},
		{kerr.UnsupportedForMessageFormat, "stopped", []string{"UNSUPPORTED_FOR_MESSAGE_FORMAT", "message.format.version"}},
		{kerr.KafkaStorageError, "waiting", []string{"KAFKA_STORAGE_ERROR", "disk"}},
		{kerr.NotEnoughReplicas, "waiting", []string{"NOT_ENOUGH_REPLICAS", "min.insync.replicas"}},
		{kerr.NotEnoughReplicasAfterAppend, "waiting", []string{"NOT_ENOUGH_REPLICAS_AFTER_APPEND", "min.insync.replicas"}},
		{kerr.ThrottlingQuotaExceeded, "waiting", []string{"THROTTLING_QUOTA_EXCEEDED", "quota"}},
	} {
		t.Run(row.err.Message, func(t *testing.T) {
			p := fakePair(t)
			for _, c := range []*kfake.Cluster{p.source, p.target} {
				if err := c.CreateTopic("pizza", 2, nil); err != nil {
					t.Fatal(err)
				}
			}
			cl := p.manual(t)
			for i := range 8 {
				for part := range int32(2) {
					place(t, cl, part, kgo.Record{Key: []byte("k"), Value: fmt.Append(nil, i)})
				}
			}
			f := p.target.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Topic: "pizza", Partitions: []int32{0}, Err: row.err, Count: -1})
			d, stop := start(t, p.config(t, "pizza"))
			words := row.words
			if row.state == "stopped" {
				words = append(words, `target topic "pizza"`, "source offset 0")
			}
			reasoned(t, d, "pizza", 0, row.state, words...)
			carriedPart(t, d, "pizza", 1, 8)
			if row.state == "waiting" {
				f.Remove()
				carried(t, d, p.admin(t), "pizza")
				stop()
				p.same(t, check.Options{Topic: "pizza"})
			}
		})
	}
}

// carriedPart waits until one lane runs and has reached a source offset.
func carriedPart(t *testing.T, d *replicator.Daemon, topic string, partition int32, offset int64) {
	t.Helper()
	var last replicator.LaneStatus
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		for _, l := range d.Status().Flows[0].Lanes {
			if l.Topic != topic || l.Partition != partition {
				continue
			}
			if last = l; l.State == "running" && l.Position >= offset {
				return
			}
		}
	}
	t.Fatalf("not carried: %+v", last)
}

// What the settings say is known before anything is sent.
func TestRecordAboveTheLimit(t *testing.T) {
	p := fakePair(t)
	if err := p.source.CreateTopic("pizza", 2, map[string]string{"max.message.bytes": "8388608"}); err != nil {
		t.Fatal(err)
	}
	if err := p.target.CreateTopic("pizza", 2, map[string]string{"max.message.bytes": "5000"}); err != nil {
		t.Fatal(err)
	}
	cl := p.manual(t)
	place(t, cl, 0, kgo.Record{Value: []byte("small")})
	place(t, cl, 0, kgo.Record{Value: noise(6000)})
	place(t, cl, 1, kgo.Record{Value: noise(4000)})
	d, _ := start(t, p.config(t, "pizza"))
	reasoned(t, d, "pizza", 0, "stopped", "source offset 1", "bytes as a batch", `target topic "pizza" takes 5000`, "raise max.message.bytes on it")
	carriedPart(t, d, "pizza", 1, 1)
}

// noise is bytes that no codec makes much smaller.
func noise(n int) []byte {
	b, x := make([]byte, n), uint64(n)
	for i := range b {
		x = x*6364136223846793005 + 1442695040888963407
		b[i] = byte(x >> 56)
	}
	return b
}

// A target that takes less than its settings say, and not much more than the
// largest record: batches are cut until they fit, without mistaking the limit
// that was tried for the target's.
func TestLimitIsFoundOut(t *testing.T) {
	p := fakePair(t)
	for _, c := range []*kfake.Cluster{p.source, p.target} {
		if err := c.CreateTopic("pizza", 1, nil); err != nil {
			t.Fatal(err)
		}
	}
	cl := p.manual(t)
	var rs []*kgo.Record
	for i := range 400 {
		rs = append(rs, &kgo.Record{Topic: "pizza", Value: noise(100 + i*4)}) // to 1696 bytes
	}
	if err := cl.ProduceSync(t.Context(), rs...).FirstErr(); err != nil {
		t.Fatal(err)
	}
	f := p.target.Fault(kfake.Fault{
		Keys: []kmsg.Key{kmsg.Produce}, Topic: "pizza", Err: kerr.MessageTooLarge, Count: -1,
		When: func(r kmsg.Request) bool { return len(r.(*kmsg.ProduceRequest).Topics[0].Partitions[0].Records) > 1800 },
	})
	d, stop := start(t, p.config(t, "pizza"))
	carried(t, d, p.admin(t), "pizza")
	stop()
	if f.Hits() <= 5 { // as often as a damaged batch is fetched again
		t.Errorf("%d batches were refused; this test is about many halvings", f.Hits())
	}
	p.same(t, check.Options{Topic: "pizza"})
}

// kferry makes the target topic again, but a lane with a position in the old one
// must not go on in it: what the old one held is gone.
func TestTargetTopicDeleted(t *testing.T) {
	p := fakePair(t)
	for _, topic := range []string{"pizza", "other"} {
		if err := p.source.CreateTopic(topic, 1, nil); err != nil {
			t.Fatal(err)
		}
	}
	cl := p.client(t, p.source)
	write(t, cl, "pizza", 0, 100)
	d, _ := start(t, p.config(t, "pizza", "other"))
	carried(t, d, p.admin(t), "pizza")
	if err := p.target.DeleteTopic("pizza"); err != nil {
		t.Fatal(err)
	}
	write(t, cl, "pizza", 100, 100)
	reasoned(t, d, "pizza", 0, "stopped", `target topic "pizza" was deleted and made anew`, "forget its stored progress", "docs/progress.md")
	write(t, cl, "other", 0, 10)
	carried(t, d, p.admin(t), "other")
	ends, err := kadm.NewClient(p.client(t, p.target)).ListEndOffsets(t.Context(), "pizza")
	if err != nil {
		t.Fatal(err)
	}
	if o, _ := ends.Lookup("pizza", 0); o.Offset != 0 {
		t.Errorf("%d records were written to the new topic", o.Offset)
	}
}

// A target topic that lacks partitions and may not get them: the others are carried.
func TestTargetLacksPartitions(t *testing.T) {
	p := fakePair(t)
	if err := p.source.CreateTopic("pizza", 3, nil); err != nil {
		t.Fatal(err)
	}
	if err := p.target.CreateTopic("pizza", 2, nil); err != nil {
		t.Fatal(err)
	}
	p.target.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.CreatePartitions}, Err: kerr.TopicAuthorizationFailed, Count: -1})
	cl := p.manual(t)
	for part := range int32(3) {
		place(t, cl, part, kgo.Record{Value: []byte("v")})
	}
	d, _ := start(t, p.config(t, "pizza"))
	reasoned(t, d, "pizza", 2, "stopped", `cannot add partitions to topic "pizza"`, `target "new"`, "TOPIC_AUTHORIZATION_FAILED", "with 3 partitions", "Alter to add partitions")
	carriedPart(t, d, "pizza", 0, 1)
	carriedPart(t, d, "pizza", 1, 1)
}
