package datagen

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kferry/kferry/config"
	"github.com/kferry/kferry/internal/kafka"
)

// open starts a fake cluster with one topic and connects to it.
func open(t *testing.T, partitions int32, topic string, opts ...kfake.Opt) (*kfake.Cluster, *kafka.Cluster) {
	t.Helper()
	opts = append([]kfake.Opt{kfake.NumBrokers(3), kfake.SeedTopics(partitions, topic)}, opts...)
	f, err := kfake.NewCluster(opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.Close)
	c, err := kafka.Open(config.Cluster{Alias: "fake", BootstrapServers: f.ListenAddrs(), Connections: 2}, kafka.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return f, c
}

// batches reads all batches of a partition as they are stored.
func batches(t *testing.T, c *kafka.Cluster, topic string, partition int32) []kmsg.RecordBatch {
	t.Helper()
	info, err := describe(t.Context(), c, topic)
	if err != nil {
		t.Fatal(err)
	}
	var out []kmsg.RecordBatch
	for next := int64(0); ; {
		req := kmsg.NewPtrFetchRequest()
		req.MaxBytes, req.SessionEpoch = 8<<20, -1
		ft := kmsg.NewFetchRequestTopic()
		ft.Topic, ft.TopicID = topic, info.id
		fp := kmsg.NewFetchRequestTopicPartition()
		fp.Partition, fp.FetchOffset, fp.PartitionMaxBytes = partition, next, 8<<20
		ft.Partitions = append(ft.Partitions, fp)
		req.Topics = append(req.Topics, ft)
		resp, err := c.Links()[0].Fetch(t.Context(), info.leaders[partition], req)
		if err != nil {
			t.Fatal(err)
		}
		p := resp.Topics[0].Partitions[0].RecordBatches
		if len(p) == 0 {
			return out
		}
		for len(p) > 12 {
			var rb kmsg.RecordBatch
			if err := rb.ReadFrom(p); err != nil {
				t.Fatal(err)
			}
			size := 12 + int(rb.Length)
			if got := crc32.Checksum(p[21:size], castagnoli); got != uint32(rb.CRC) {
				t.Fatalf("crc %x, computed %x", uint32(rb.CRC), got)
			}
			out = append(out, rb)
			next = rb.FirstOffset + int64(rb.LastOffsetDelta) + 1
			p = p[size:]
		}
	}
}

// consume reads n records with an ordinary consumer, by partition.
func consume(t *testing.T, c *kafka.Cluster, topic string, n int, opts ...kgo.Opt) map[int32][]*kgo.Record {
	t.Helper()
	opts = append(append(c.Client().Opts(), kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart())), opts...)
	cl, err := kgo.NewClient(opts...)
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	out := map[int32][]*kgo.Record{}
	for got := 0; got < n; {
		fs := cl.PollFetches(ctx)
		if err := fs.Err(); err != nil {
			t.Fatalf("after %d of %d records: %v", got, n, err)
		}
		fs.EachRecord(func(r *kgo.Record) { out[r.Partition] = append(out[r.Partition], r); got++ })
	}
	return out
}

// expect compares what a topic holds with what the generator makes: every record, once, in order per partition.
func expect(t *testing.T, o Options, partitions int, got map[int32][]*kgo.Record) {
	t.Helper()
	g := generator(t, Pizza, o.Seed, o.Size)
	place := kgo.StickyKeyPartitioner(nil).ForTopic(o.Topic)
	at := make([]int, partitions)
	for i := range o.Records {
		want := g.Next()
		p := int32(place.Partition(&kgo.Record{Key: want.Key}, partitions))
		if at[p] >= len(got[p]) {
			t.Fatalf("record %d is missing on partition %d", i, p)
		}
		r := got[p][at[p]]
		at[p]++
		if !bytes.Equal(r.Key, want.Key) || !bytes.Equal(r.Value, want.Value) {
			t.Fatalf("record %d: got %s %.80s, want %s %.80s", i, r.Key, r.Value, want.Key, want.Value)
		}
		for j, h := range want.Headers {
			if r.Headers[j].Key != h.Key || !bytes.Equal(r.Headers[j].Value, h.Value) {
				t.Fatalf("record %d: header %v, want %v", i, r.Headers[j], h)
			}
		}
		if age := time.Since(r.Timestamp); age < -time.Minute || age > time.Hour {
			t.Fatalf("record %d: timestamp %v", i, r.Timestamp)
		}
	}
	for p, n := range at {
		if n != len(got[int32(p)]) {
			t.Fatalf("partition %d holds %d records, want %d", p, len(got[int32(p)]), n)
		}
	}
}

func TestCodecs(t *testing.T) {
	want := map[Codec]int16{None: 0, Gzip: 1, Snappy: 2, LZ4: 3, Zstd: 4}
	for codec, bits := range want {
		t.Run(string(codec), func(t *testing.T) {
			_, c := open(t, 3, "orders")
			o := Options{Topic: "orders", Records: 5000, Codec: codec, Seed: 4, Size: 300}
			st, err := Run(t.Context(), c, o)
			if err != nil || st.Records != o.Records {
				t.Fatalf("%+v, %v", st, err)
			}
			expect(t, o, 3, consume(t, c, o.Topic, int(o.Records)))
			var n int64
			for p := range int32(3) {
				for _, b := range batches(t, c, o.Topic, p) {
					n++
					if b.Attributes&7 != bits {
						t.Fatalf("attributes %#x", b.Attributes)
					}
				}
			}
			if n != st.Batches {
				t.Errorf("%d batches stored, %d counted", n, st.Batches)
			}
		})
	}
}

func TestAge(t *testing.T) {
	_, c := open(t, 1, "orders")
	const n = 1000
	const year = 365 * 24 * time.Hour
	age := func(n int64) time.Duration { return time.Duration(n/100) * year }
	if _, err := Run(t.Context(), c, Options{Topic: "orders", Records: n, Batch: 50, Age: age}); err != nil {
		t.Fatal(err)
	}
	for i, r := range consume(t, c, "orders", n)[0] {
		if off := time.Since(r.Timestamp) - age(int64(i)); off < -time.Minute || off > time.Hour {
			t.Fatalf("record %d: timestamp %v, want one %v ago", i, r.Timestamp, age(int64(i)))
		}
	}
	for i, b := range batches(t, c, "orders", 0) {
		if off := time.Since(time.UnixMilli(b.MaxTimestamp)) - age(int64(i*50)); off < -time.Minute || off > time.Hour {
			t.Fatalf("batch %d: largest timestamp %v", i, time.UnixMilli(b.MaxTimestamp))
		}
	}
}

func TestExactBatches(t *testing.T) {
	for _, n := range []int{1, 7, 1500} {
		for _, txn := range []bool{false, true} {
			t.Run(fmt.Sprintf("%d/txn=%v", n, txn), func(t *testing.T) {
				_, c := open(t, 4, "orders")
				o := Options{Topic: "orders", Records: 4003, Batch: n, Seed: 5, Codec: Snappy, Transactional: txn, TxnRecords: 5000}
				if _, err := Run(t.Context(), c, o); err != nil {
					t.Fatal(err)
				}
				for p := range int32(4) {
					var data []kmsg.RecordBatch
					for _, b := range batches(t, c, o.Topic, p) {
						if b.Attributes&0x20 == 0 { // no control batch
							data = append(data, b)
						}
					}
					for i, b := range data {
						if int(b.NumRecords) != n && i < len(data)-1 {
							t.Fatalf("partition %d: batch %d of %d has %d records", p, i, len(data), b.NumRecords)
						}
					}
				}
				expect(t, o, 4, consume(t, c, o.Topic, int(o.Records)))
			})
		}
	}
}

// TestFaults: refusals that heal, a moved leader and broken connections lose nothing, double nothing and keep the order.
func TestFaults(t *testing.T) {
	f, c := open(t, 6, "orders")
	var produces int
	f.ControlKey(int16(kmsg.Produce), func(req kmsg.Request) (kmsg.Response, error, bool) {
		f.KeepControl()
		produces++
		switch produces % 40 {
		case 17:
			return nil, errors.New("connection broken by the test"), true
		case 31:
			return refuse(req.(*kmsg.ProduceRequest), kerr.NotEnoughReplicas.Code), nil, true
		}
		return nil, nil, false
	})
	o := Options{Topic: "orders", Records: 3000, Batch: 3, Seed: 6, Progress: func(st Stats) {
		if err := f.MoveTopicPartition("orders", int32(st.Batches%6), int32(st.Batches%3)); err != nil {
			t.Error(err)
		}
	}}
	st, err := Run(t.Context(), c, o)
	if err != nil {
		t.Fatal(err)
	}
	if st.Records != o.Records {
		t.Errorf("%d acked, want %d", st.Records, o.Records)
	}
	f.ControlKey(int16(kmsg.Produce), nil)
	expect(t, o, 6, consume(t, c, o.Topic, int(o.Records)))
}

func refuse(req *kmsg.ProduceRequest, code int16) *kmsg.ProduceResponse {
	resp := req.ResponseKind().(*kmsg.ProduceResponse)
	for _, rt := range req.Topics {
		t := kmsg.NewProduceResponseTopic()
		t.Topic, t.TopicID = rt.Topic, rt.TopicID
		for _, rp := range rt.Partitions {
			p := kmsg.NewProduceResponseTopicPartition()
			p.Partition, p.ErrorCode = rp.Partition, code
			t.Partitions = append(t.Partitions, p)
		}
		resp.Topics = append(resp.Topics, t)
	}
	return resp
}

// TestRefusedForGood: what the broker will never take ends the run at once, with its reason.
func TestRefusedForGood(t *testing.T) {
	f, c := open(t, 2, "orders")
	f.ControlKey(int16(kmsg.Produce), func(req kmsg.Request) (kmsg.Response, error, bool) {
		f.KeepControl()
		return refuse(req.(*kmsg.ProduceRequest), kerr.MessageTooLarge.Code), nil, true
	})
	st, err := Run(t.Context(), c, Options{Topic: "orders", Records: 100})
	if !errors.Is(err, errGiveUp) || !errors.Is(err, kerr.MessageTooLarge) || st.Records != 0 {
		t.Errorf("got %+v, %v", st, err)
	}
}

func TestTransactions(t *testing.T) {
	_, c := open(t, 3, "orders")
	o := Options{Topic: "orders", Records: 2000, Transactional: true, TxnRecords: 50, AbortRatio: 0.3, Seed: 9, Codec: Zstd}
	st, err := Run(t.Context(), c, o)
	if err != nil {
		t.Fatal(err)
	}
	if st.Records+st.Aborted != o.Records || st.Aborted < 200 || st.Aborted > 1000 {
		t.Fatalf("%+v: about 600 of 2000 should be aborted", st)
	}
	got := consume(t, c, o.Topic, int(st.Records), kgo.FetchIsolationLevel(kgo.ReadCommitted()))
	n := 0
	for _, rs := range got {
		n += len(rs)
	}
	if n != int(st.Records) {
		t.Errorf("%d committed records read, %d counted", n, st.Records)
	}
	expect(t, o, 3, consume(t, c, o.Topic, int(o.Records)))
}

func TestEndless(t *testing.T) {
	for _, txn := range []bool{false, true} {
		t.Run(fmt.Sprintf("txn=%v", txn), func(t *testing.T) {
			_, c := open(t, 2, "orders")
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			o := Options{Topic: "orders", Rate: 2000, Transactional: txn, Progress: func(st Stats) {
				if st.Records > 300 {
					cancel()
				}
			}}
			st, err := Run(ctx, c, o)
			if err != nil || st.Records <= 300 {
				t.Fatalf("%+v, %v", st, err)
			}
			o.Records = st.Records
			expect(t, o, 2, consume(t, c, o.Topic, int(st.Records)))
		})
	}
}

func TestCreateTopic(t *testing.T) {
	_, c := open(t, 1, "other")
	o := Options{Topic: "orders", Records: 10}
	if _, err := Run(t.Context(), c, o); err == nil || !strings.Contains(err.Error(), "--create-topic") {
		t.Fatalf("missing topic: got %v", err)
	}
	keep := "compact"
	o.CreateTopic, o.Partitions, o.ReplicationFactor = true, 5, 2
	o.TopicConfigs = map[string]*string{"cleanup.policy": &keep}
	for range 2 { // the second time it is there
		if _, err := Run(t.Context(), c, o); err != nil {
			t.Fatal(err)
		}
	}
	info, err := describe(t.Context(), c, "orders")
	if err != nil || len(info.leaders) != 5 {
		t.Errorf("%+v, %v", info, err)
	}
}

func TestOptionsRefused(t *testing.T) {
	_, c := open(t, 1, "orders")
	for _, x := range []struct {
		o    Options
		want string
	}{
		{Options{}, "no topic"},
		{Options{Topic: "orders", Records: -1}, "records -1"},
		{Options{Topic: "orders", Rate: -5}, "rate -5"},
		{Options{Topic: "orders", Batch: -1}, "batch -1"},
		{Options{Topic: "orders", Size: -1}, "size -1"},
		{Options{Topic: "orders", Subject: "sushi"}, `"sushi"`},
		{Options{Topic: "orders", Codec: "rar"}, `"rar"`},
		{Options{Topic: "orders", Codec: "rar", Transactional: true}, `"rar"`},
		{Options{Topic: "orders", AbortRatio: 0.5}, "only transactions"},
		{Options{Topic: "orders", AbortRatio: 2, Transactional: true}, "between 0 and 1"},
		{Options{Topic: "orders", TxnRecords: -1, Transactional: true}, "transaction of -1"},
		{Options{Topic: "orders", Partitions: -1}, "partitions"},
	} {
		x.o.Records = min(x.o.Records, 1)
		if _, err := Run(t.Context(), c, x.o); !errors.Is(err, ErrOptions) || !strings.Contains(err.Error(), x.want) {
			t.Errorf("%+v: got %v, want %q", x.o, err, x.want)
		}
	}
}
