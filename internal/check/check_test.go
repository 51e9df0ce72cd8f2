package check

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

const (
	partitions = 3
	perPart    = 200
)

// world is one fake cluster that plays source and target, and the records of its topic "source".
type world struct {
	conn    Conn
	admin   *kadm.Client
	fake    *kfake.Cluster
	records []*kgo.Record
}

func newWorld(t *testing.T) *world {
	t.Helper()
	fake, err := kfake.NewCluster(kfake.NumBrokers(1))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(fake.Close)
	w := &world{conn: Plain(fake.ListenAddrs()...), fake: fake}
	w.admin = kadm.NewClient(w.client(t))
	w.records = sample()
	w.topic(t, "source", nil)
	w.produce(t, "source", w.records)
	return w
}

// sample has null and empty keys and values, and headers that differ only in order.
func sample() []*kgo.Record {
	var out []*kgo.Record
	for i := range partitions * perPart {
		r := &kgo.Record{
			Partition: int32(i % partitions),
			Key:       fmt.Appendf(nil, "key-%d", i),
			Value:     append(fmt.Appendf(nil, "value-%d-", i), bytes.Repeat([]byte("x"), 200)...),
			Timestamp: time.UnixMilli(1_700_000_000_000 + int64(i)),
			Headers:   []kgo.RecordHeader{{Key: "a", Value: []byte{1}}, {Key: "b", Value: nil}},
		}
		switch i % 7 {
		case 1:
			r.Key = nil
		case 2:
			r.Key = []byte{}
		case 3:
			r.Headers = nil
		case 4:
			slices.Reverse(r.Headers)
		}
		if i%50 == 49 {
			r.Value = nil
		}
		out = append(out, r)
	}
	return out
}

func (w *world) client(t *testing.T, opts ...kgo.Opt) *kgo.Client {
	t.Helper()
	cl, err := kgo.NewClient(append(opts, w.conn...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cl.Close)
	return cl
}

func (w *world) topic(t *testing.T, name string, configs map[string]*string) {
	t.Helper()
	if _, err := w.admin.CreateTopic(t.Context(), partitions, 1, configs, name); err != nil {
		t.Fatal(err)
	}
}

// produce writes copies of the records, so that the originals keep their fields.
func (w *world) produce(t *testing.T, topic string, rs []*kgo.Record, opts ...kgo.Opt) {
	t.Helper()
	cl := w.client(t, append([]kgo.Opt{
		kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerBatchCompression(kgo.ZstdCompression()),
	}, opts...)...)
	copies := make([]*kgo.Record, len(rs))
	for i, r := range rs {
		c := *r
		c.Topic = topic
		copies[i] = &c
	}
	if err := cl.ProduceSync(t.Context(), copies...).FirstErr(); err != nil {
		t.Fatal(err)
	}
}

// at is the index in sample of record n of a partition.
func at(partition, n int) int { return n*partitions + partition }

// deep copies a record so that a test may change its bytes.
func deep(r *kgo.Record) *kgo.Record {
	c := *r
	c.Key, c.Value, c.Headers = bytes.Clone(r.Key), bytes.Clone(r.Value), slices.Clone(r.Headers)
	return &c
}

// edit returns rs with a changed copy of record i.
func edit(rs []*kgo.Record, i int, change func(*kgo.Record)) []*kgo.Record {
	rs = slices.Clone(rs)
	rs[i] = deep(rs[i])
	change(rs[i])
	return rs
}

func TestCompareFindsEachDifference(t *testing.T) {
	w := newWorld(t)
	mid := at(1, 100)
	for _, c := range []struct {
		name   string
		change func([]*kgo.Record) []*kgo.Record
		want   Partition // of partition 1, counts of differences only
		first  string    // part of the first difference of it
	}{
		{"same", slices.Clone[[]*kgo.Record], Partition{}, ""},
		{"one lost", func(rs []*kgo.Record) []*kgo.Record {
			return slices.Delete(slices.Clone(rs), mid, mid+1)
		}, Partition{Lost: 1}, "source offset 100, target offset -"},
		{"last lost", func(rs []*kgo.Record) []*kgo.Record {
			return slices.Delete(slices.Clone(rs), at(1, perPart-1), at(1, perPart-1)+1)
		}, Partition{Lost: 1}, "source offset 199"},
		{"one twice", func(rs []*kgo.Record) []*kgo.Record {
			return slices.Insert(slices.Clone(rs), mid, rs[mid])
		}, Partition{Twice: 1}, "target offset 101"},
		{"twice much later", func(rs []*kgo.Record) []*kgo.Record {
			return append(slices.Clone(rs), rs[at(1, 0)], rs[at(1, 1)])
		}, Partition{Twice: 2}, "target offset 200"},
		{"two swapped", func(rs []*kgo.Record) []*kgo.Record {
			rs = slices.Clone(rs)
			rs[mid], rs[mid+partitions] = rs[mid+partitions], rs[mid]
			return rs
		}, Partition{OutOfOrder: 1}, "source offset 100, target offset 101"},
		{"one byte", func(rs []*kgo.Record) []*kgo.Record {
			return edit(rs, mid, func(r *kgo.Record) { r.Value[50] ^= 1 })
		}, Partition{Damaged: 1}, "source offset 100, target offset 100: changed: value"},
		{"timestamp", func(rs []*kgo.Record) []*kgo.Record {
			return edit(rs, mid, func(r *kgo.Record) { r.Timestamp = r.Timestamp.Add(time.Millisecond) })
		}, Partition{Damaged: 1}, "changed: timestamp (1700000000302, not 1700000000301)"},
		{"header order", func(rs []*kgo.Record) []*kgo.Record {
			return edit(rs, mid, func(r *kgo.Record) { slices.Reverse(r.Headers) })
		}, Partition{Damaged: 1}, "changed: headers"},
		{"null key became empty", func(rs []*kgo.Record) []*kgo.Record {
			return edit(rs, at(1, 0), func(r *kgo.Record) { r.Key = []byte{} }) // index 1: null key
		}, Partition{Damaged: 1}, "changed: key"},
		{"null value became empty", func(rs []*kgo.Record) []*kgo.Record {
			return edit(rs, 49, func(r *kgo.Record) { r.Value = []byte{} })
		}, Partition{Damaged: 1}, "changed: value"},
		{"a stranger", func(rs []*kgo.Record) []*kgo.Record {
			return slices.Insert(slices.Clone(rs), mid, &kgo.Record{Partition: 1, Value: []byte("who?")})
		}, Partition{Extra: 1}, "target offset 100"},
		{"wrong partition", func(rs []*kgo.Record) []*kgo.Record {
			return edit(rs, at(2, 5), func(r *kgo.Record) { r.Partition = 1 })
		}, Partition{Moved: 1}, "belongs to partition 2"},
		{"everything of it lost", func(rs []*kgo.Record) []*kgo.Record {
			return slices.DeleteFunc(slices.Clone(rs), func(r *kgo.Record) bool { return r.Partition == 1 })
		}, Partition{Lost: perPart}, "source offset 0"},
	} {
		t.Run(c.name, func(t *testing.T) {
			target := strings.ReplaceAll(c.name, " ", "-")
			target = strings.ReplaceAll(target, "?", "")
			w.topic(t, target, nil)
			w.produce(t, target, c.change(w.records))
			rep, err := Compare(t.Context(), w.conn, w.conn, Options{Topic: "source", TargetTopic: target})
			if err != nil {
				t.Fatal(err)
			}
			got := rep.Partitions[1]
			if differences(got) != differences(c.want) || !strings.Contains(rep.String(), c.first) {
				t.Errorf("want %+v and %q, got\n%s", c.want, c.first, rep)
			}
			for _, p := range []int{0, 2} {
				if n := rep.Partitions[p].Differences(); n != 0 {
					t.Errorf("partition %d was not touched:\n%s", p, rep)
				}
			}
			if ok := c.want.Differences() == 0; rep.OK() != ok || (rep.Err() == nil) != ok {
				t.Errorf("OK is %v for\n%s", rep.OK(), rep)
			}
			if got.Source != perPart {
				t.Errorf("read %d records of the source, want %d", got.Source, perPart)
			}
		})
	}
}

// differences are the counts of all kinds, in order of kind.
func differences(p Partition) [6]int64 {
	return [6]int64{p.Lost, p.Twice, p.OutOfOrder, p.Damaged, p.Extra, p.Moved}
}

func TestCompareCodec(t *testing.T) {
	w := newWorld(t)
	w.topic(t, "gzipped", nil)
	w.produce(t, "gzipped", w.records, kgo.ProducerBatchCompression(kgo.GzipCompression()))
	o := Options{Topic: "source", TargetTopic: "gzipped"}
	rep, err := Compare(t.Context(), w.conn, w.conn, o)
	if err != nil {
		t.Fatal(err)
	}
	if n := rep.Total().Damaged; n != partitions*perPart || !strings.Contains(rep.String(), "codec is gzip, not zstd") {
		t.Errorf("want every record damaged by its codec, got\n%s", rep)
	}
	o.Codec = AnyCodec
	if rep, err = Compare(t.Context(), w.conn, w.conn, o); err != nil || rep.Err() != nil {
		t.Errorf("codecs were not to be judged: %v %v", err, rep.Err())
	}
}

func TestCompareForeignWriter(t *testing.T) {
	w := newWorld(t)
	w.topic(t, "shared", nil)
	var mixed []*kgo.Record
	for i, r := range w.records {
		mixed = append(mixed, r)
		if i%10 == 0 {
			mixed = append(mixed, &kgo.Record{Partition: r.Partition, Key: []byte("foreign"), Value: []byte("x")})
		}
	}
	w.produce(t, "shared", mixed)
	rep, err := Compare(t.Context(), w.conn, w.conn, Options{
		Topic: "source", TargetTopic: "shared",
		Foreign: func(r *kgo.Record) bool { return string(r.Key) == "foreign" },
	})
	if err != nil || rep.Err() != nil {
		t.Fatal(err, rep.Err())
	}
	if got, want := rep.Total().Foreign, int64(len(mixed)-len(w.records)); got != want {
		t.Errorf("%d foreign records, want %d", got, want)
	}
}

// What the target refuses is not missed, and must not be there.
func TestCompareAside(t *testing.T) {
	w := newWorld(t)
	aside := func(r *kgo.Record) bool { return string(r.Key) == "key-33" || string(r.Key) == "key-70" }
	good := slices.DeleteFunc(slices.Clone(w.records), aside)
	for topic, c := range map[string]struct {
		records []*kgo.Record
		extra   int64
	}{"without": {good, 0}, "with": {w.records, 2}} {
		w.topic(t, topic, nil)
		w.produce(t, topic, c.records)
		rep, err := Compare(t.Context(), w.conn, w.conn, Options{Topic: "source", TargetTopic: topic, Aside: aside})
		if got := rep.Total(); err != nil || got.Aside != 2 || got.Source != int64(len(good)) || got.Extra != c.extra || got.Differences() != c.extra {
			t.Errorf("%s: want 2 aside and %d extra, got %v\n%s", topic, c.extra, err, rep)
		}
	}
}

func TestCompareReadCommitted(t *testing.T) {
	w := newWorld(t)
	w.topic(t, "transactional", nil)
	w.topic(t, "plain", nil)
	cl := w.client(t, kgo.TransactionalID("tx"), kgo.TransactionTimeout(10*time.Minute), kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.ProducerBatchCompression(kgo.ZstdCompression()))
	var kept []*kgo.Record
	for i := 0; i < len(w.records); i += 60 {
		part := w.records[i : i+60]
		end := kgo.TryCommit
		if i/60%3 == 2 || i+60 >= len(w.records) { // the last one too: then markers of aborts end the partitions
			end = kgo.TryAbort
		} else {
			kept = append(kept, part...)
		}
		transact(t, cl, "transactional", part, end)
	}
	if err := cl.BeginTransaction(); err != nil { // stays open: the stable end is before the end of the log
		t.Fatal(err)
	}
	if err := cl.ProduceSync(t.Context(), &kgo.Record{Topic: "transactional", Value: []byte("open")}).FirstErr(); err != nil {
		t.Fatal(err)
	}
	w.produce(t, "plain", kept)
	o := Options{Topic: "transactional", TargetTopic: "plain", IsolationReadCommitted: true}
	rep, err := Compare(t.Context(), w.conn, w.conn, o)
	if err != nil || rep.Err() != nil || rep.Total().Source != int64(len(kept)) {
		t.Errorf("%v, %d committed records:\n%s", err, len(kept), rep)
	}
	o.IsolationReadCommitted = false
	if rep, err = Compare(t.Context(), w.conn, w.conn, o); err != nil || rep.Total().Lost != int64(len(w.records)-len(kept)+1) {
		t.Errorf("%v, %d aborted records and an open one count as lost here:\n%s", err, len(w.records)-len(kept), rep)
	}
}

func transact(t *testing.T, cl *kgo.Client, topic string, rs []*kgo.Record, end kgo.TransactionEndTry) {
	t.Helper()
	if err := cl.BeginTransaction(); err != nil {
		t.Fatal(err)
	}
	for _, r := range rs {
		c := *r
		c.Topic = topic
		cl.Produce(t.Context(), &c, nil)
	}
	if err := cl.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := cl.EndTransaction(t.Context(), end); err != nil {
		t.Fatal(err)
	}
}

// Compaction leaves gaps, which the target of a replication does not have.
func TestCompareCompacted(t *testing.T) {
	w := newWorld(t)
	w.topic(t, "compacted", map[string]*string{"cleanup.policy": kadm.StringPtr("compact"), "delete.retention.ms": kadm.StringPtr("0")})
	w.topic(t, "dense", nil)
	now := time.Now().Truncate(time.Millisecond) // retention takes old records away when it compacts
	var cleaned, active, kept []*kgo.Record
	for p := range int32(partitions) {
		r := func(key string, value []byte) *kgo.Record {
			return &kgo.Record{Partition: p, Key: []byte(key), Value: value, Timestamp: now}
		}
		value := bytes.Repeat([]byte("v"), 100)
		cleaned = append(cleaned, r("a", []byte("old")), r("a", value), r("b", value), r("c", nil))
		active = append(active, r("d", value))
		kept = append(kept, r("a", value), r("b", value), r("d", value))
	}
	w.produce(t, "compacted", cleaned)
	w.produce(t, "compacted", active)
	w.fake.Compact() // leaves offsets 1, 2 and 4
	w.produce(t, "dense", kept)
	rep, err := Compare(t.Context(), w.conn, w.conn, Options{Topic: "compacted", TargetTopic: "dense", Codec: AnyCodec})
	if err != nil || rep.Err() != nil || rep.Total().Source != int64(len(kept)) {
		t.Errorf("%v, want %d records equal, got\n%s", err, len(kept), rep)
	}
}

// At an end that is a gap no record tells that it is reached; a broker that keeps records back must not look like that.
func TestStreamEndsInAGap(t *testing.T) {
	for _, c := range []struct {
		name    string
		upTo    int64 // what the broker hands out: offsets below it
		records int
		problem string
	}{
		{"gap", 4, 2, ""},
		{"kept back", 2, 2, "the broker sent nothing from offset 2 on"},
	} {
		t.Run(c.name, func(t *testing.T) {
			fake, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(1, "t"))
			if err != nil {
				t.Fatal(err)
			}
			defer fake.Close()
			fake.ControlKey(int16(kmsg.Fetch), func(req kmsg.Request) (kmsg.Response, error, bool) {
				fake.KeepControl()
				return fetched(req.(*kmsg.FetchRequest), c.upTo), nil, true
			})
			s, err := openStream(Plain(fake.ListenAddrs()...), "t", 0, span{0, 4}, false)
			if err != nil {
				t.Fatal(err)
			}
			defer s.close()
			s.patience = time.Second
			got, err := drain(t.Context(), s, &kgo.Record{})
			if n := len(got) - 1; n != c.records { // without the one that drain was given
				t.Errorf("%d records, want %d", n, c.records)
			}
			if c.problem == "" && err != nil || c.problem != "" && (err == nil || !strings.Contains(err.Error(), c.problem)) {
				t.Errorf("error %v, want %q", err, c.problem)
			}
		})
	}
}

// fetched answers with one batch of the records 0 and 1 that takes the offsets below upTo, of a log that ends at 4.
func fetched(req *kmsg.FetchRequest, upTo int64) *kmsg.FetchResponse {
	resp := req.ResponseKind().(*kmsg.FetchResponse)
	if len(req.Topics) == 0 {
		return resp
	}
	ask := req.Topics[0]
	rt := kmsg.NewFetchResponseTopic()
	rt.Topic, rt.TopicID = ask.Topic, ask.TopicID
	rp := kmsg.NewFetchResponseTopicPartition()
	rp.HighWatermark, rp.LastStableOffset = 4, 4
	rp.RecordBatches = []byte{}
	if ask.Partitions[0].FetchOffset < upTo {
		b := kmsg.RecordBatch{
			Magic: 2, LastOffsetDelta: int32(upTo - 1), ProducerID: -1, ProducerEpoch: -1, FirstSequence: -1, NumRecords: 2,
			// Length, attributes, timestamp delta, offset delta, null key, empty value, no headers: zigzag varints.
			Records: []byte{12, 0, 0, 0, 1, 0, 0, 12, 0, 0, 2, 1, 0, 0},
		}
		raw := b.AppendTo(nil)
		binary.BigEndian.PutUint32(raw[8:], uint32(len(raw)-12))
		binary.BigEndian.PutUint32(raw[17:], crc32.Checksum(raw[21:], crc32.MakeTable(crc32.Castagnoli)))
		rp.RecordBatches = raw
	}
	rt.Partitions = append(rt.Partitions, rp)
	resp.Topics = append(resp.Topics, rt)
	return resp
}

func TestCompareMissingTopic(t *testing.T) {
	w := newWorld(t)
	_, err := Compare(t.Context(), w.conn, w.conn, Options{Topic: "source", TargetTopic: "nowhere"})
	if err == nil || !strings.Contains(err.Error(), "target topic nowhere") {
		t.Errorf("error %v does not name the target topic", err)
	}
}

func TestWaitCaughtUp(t *testing.T) {
	w := newWorld(t)
	done := make(chan error, 1)
	var n int64
	go func() {
		var err error
		n, err = WaitCaughtUp(t.Context(), w.conn, "later", WaitOptions{Records: int64(len(w.records)), Quiet: 50 * time.Millisecond, Poll: time.Millisecond})
		done <- err
	}()
	w.topic(t, "later", nil)
	w.produce(t, "later", w.records)
	if err := <-done; err != nil || n != int64(len(w.records)) {
		t.Errorf("got %d records, error %v", n, err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	_, err := WaitCaughtUp(ctx, w.conn, "source", WaitOptions{Records: 1e6, Poll: time.Millisecond})
	if err == nil || !strings.Contains(err.Error(), "of 1000000 records") {
		t.Errorf("error %v does not say how far the topic came", err)
	}
}
