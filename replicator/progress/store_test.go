package progress

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"maps"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"go.uber.org/goleak"

	"github.com/kferry/kferry/config"
	"github.com/kferry/kferry/internal/kafka"
	"github.com/kferry/kferry/offsets"
	"github.com/kferry/kferry/replicator/batch"
	"github.com/kferry/kferry/replicator/lane"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// storing runs test with a kfake cluster in a bubble of synctest.
func storing(t *testing.T, test func(*testing.T, *kfake.Cluster, *kafka.Cluster)) {
	synctest.Test(t, func(t *testing.T) {
		var wire kfake.VirtualNetwork
		fake, err := kfake.NewCluster(kfake.NumBrokers(2), kfake.Ports(9092, 9093), kfake.ListenFn(wire.Listen))
		if err != nil {
			t.Fatal(err)
		}
		defer fake.Close()
		cl, err := kafka.Open(config.Cluster{Alias: "target", BootstrapServers: fake.ListenAddrs(), ClientID: "test", Connections: 1}, kafka.Options{Dialer: wire.DialContext})
		if err != nil {
			t.Fatal(err)
		}
		defer cl.Close()
		test(t, fake, cl)
	})
}

func open(t *testing.T, cl *kafka.Cluster) *Store {
	t.Helper()
	s, err := Open(t.Context(), cl, "flow", 0)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func load(t *testing.T, cl *kafka.Cluster) map[lane.ID]Record {
	t.Helper()
	s := open(t, cl)
	got, err := s.Load(t.Context(), s.All())
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func save(t *testing.T, s *Store, rs ...Record) {
	t.Helper()
	if err := s.Save(t.Context(), rs, nil); err != nil {
		t.Fatal(err)
	}
}

func recordOf(topic string, n int32, source offsets.Source) Record {
	return Record{
		Lane: lane.ID{Topic: topic, Partition: n}, TargetTopic: "x." + topic, At: time.UnixMilli(1e12).UTC(), SourceID: [16]byte{1},
		Position: lane.Position{Source: source, Target: offsets.Target(source) + 7, Producer: 4, Sequence: int32(source)},
	}
}

func write(t *testing.T, cl *kafka.Cluster, rs ...*kgo.Record) {
	t.Helper()
	for _, r := range rs {
		if r.Topic == "" {
			r.Topic = Topic("flow")
			if id, ok := parseKey(string(r.Key)); ok {
				r.Partition = (&Store{topic: r.Topic, slots: Slots}).Slot(id)
			}
		}
	}
	if err := cl.Client().ProduceSync(t.Context(), rs...).FirstErr(); err != nil {
		t.Fatal(err)
	}
}

func TestOpenMakesACompactedTopic(t *testing.T) {
	storing(t, func(t *testing.T, fake *kfake.Cluster, cl *kafka.Cluster) {
		if _, err := Open(t.Context(), cl, "flow", 1); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Second) // of the bubble's clock: kadm remembers for a second that it was missing
		ts, err := cl.Admin().ListTopics(t.Context(), "kferry.flow.progress")
		if err != nil {
			t.Fatal(err)
		}
		if d := ts["kferry.flow.progress"]; len(d.Partitions) != Slots || len(d.Partitions[0].Replicas) != 1 {
			t.Errorf("%d partitions, %d replicas", len(d.Partitions), len(d.Partitions[0].Replicas))
		}
		if c := fake.TopicInfo("kferry.flow.progress").Configs["cleanup.policy"]; c == nil || *c != "compact" {
			t.Errorf("cleanup.policy %v", c)
		}
		if got := load(t, cl); len(got) != 0 {
			t.Errorf("an empty topic holds %v", got)
		}
	})
}

func TestOpenRefuses(t *testing.T) {
	for policy, ok := range map[string]bool{"compact": true, "delete": false, "compact,delete": false} {
		storing(t, func(t *testing.T, _ *kfake.Cluster, cl *kafka.Cluster) {
			if _, err := cl.Admin().CreateTopic(t.Context(), 3, 1, map[string]*string{"cleanup.policy": &policy}, Topic("flow")); err != nil {
				t.Fatal(err)
			}
			_, err := Open(t.Context(), cl, "flow", 0)
			if ok != (err == nil) || !ok && !strings.Contains(err.Error(), `"kferry.flow.progress" on the target "target" has cleanup.policy=`+policy) {
				t.Errorf("%s: %v", policy, err)
			}
		})
	}
	storing(t, func(t *testing.T, _ *kfake.Cluster, cl *kafka.Cluster) {
		_, err := Open(t.Context(), cl, "flow", 99)
		if err == nil || !strings.Contains(err.Error(), `cannot make the progress topic "kferry.flow.progress"`) {
			t.Errorf("replication factor 99: %v", err)
		}
	})
}

func TestSaveAndLoad(t *testing.T) {
	storing(t, func(t *testing.T, fake *kfake.Cluster, cl *kafka.Cluster) {
		s := open(t, cl)
		save(t, s)
		want := map[lane.ID]Record{}
		for round := range offsets.Source(3) {
			var rs []Record
			for i := range int32(2000) {
				if round > 0 && i%int32(round+1) != 0 {
					continue
				}
				r := recordOf(fmt.Sprint("topic-", i%40), i/40, round*1000+offsets.Source(i))
				want[r.Lane] = r
				rs = append(rs, r)
			}
			save(t, s, rs...)
		}
		if got := load(t, cl); !maps.Equal(got, want) {
			t.Errorf("%d of %d lanes", len(got), len(want))
		}
		fake.Compact()
		if got := load(t, cl); !maps.Equal(got, want) {
			t.Errorf("compacted: %d of %d lanes", len(got), len(want))
		}
		used := 0
		for n := range int32(Slots) {
			if fake.PartitionInfo(Topic("flow"), n).HighWatermark > 0 {
				used++
			}
		}
		if used != Slots {
			t.Errorf("%d slots are used", used)
		}
	})
}

// A tombstone forgets a lane, until it is stored anew.
func TestTombstones(t *testing.T) {
	storing(t, func(t *testing.T, fake *kfake.Cluster, cl *kafka.Cluster) {
		s := open(t, cl)
		save(t, s, recordOf("a", 0, 5), recordOf("b", 0, 6), recordOf("c", 0, 7))
		for _, k := range []string{"lane/a/0", "lane/b/0", "lane/never/9", "foreign"} {
			write(t, cl, &kgo.Record{Key: []byte(k)})
		}
		save(t, s, recordOf("b", 0, 8))
		want := map[lane.ID]Record{{Topic: "b"}: recordOf("b", 0, 8), {Topic: "c"}: recordOf("c", 0, 7)}
		if got := load(t, cl); !maps.Equal(got, want) {
			t.Errorf("got %v", got)
		}
		fake.Compact()
		if got := load(t, cl); !maps.Equal(got, want) {
			t.Errorf("compacted: %v", got)
		}
	})
}

// A topic whose records were all deleted has an end that no record shows.
func TestLoadOfADeletedLog(t *testing.T) {
	storing(t, func(t *testing.T, _ *kfake.Cluster, cl *kafka.Cluster) {
		s := open(t, cl)
		save(t, s, recordOf("a", 0, 5))
		ends, err := cl.Admin().ListEndOffsets(t.Context(), Topic("flow"))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := cl.Admin().DeleteRecords(t.Context(), ends.Offsets()); err != nil {
			t.Fatal(err)
		}
		if got := load(t, cl); len(got) != 0 {
			t.Errorf("got %v", got)
		}
	})
}

// A marker at the end of a partition counts like a record.
func TestLoadPastMarkers(t *testing.T) {
	storing(t, func(t *testing.T, _ *kfake.Cluster, cl *kafka.Cluster) {
		s := open(t, cl)
		tx, err := cl.NewClient(kgo.TransactionalID("x"))
		if err != nil {
			t.Fatal(err)
		}
		defer tx.Close()
		r := recordOf("a", 0, 5)
		v, _ := r.encode()
		if err := tx.BeginTransaction(); err != nil {
			t.Fatal(err)
		}
		if err := tx.ProduceSync(t.Context(), &kgo.Record{Topic: s.topic, Key: []byte(Key(r.Lane)), Value: v}).FirstErr(); err != nil {
			t.Fatal(err)
		}
		if err := tx.EndTransaction(t.Context(), kgo.TryCommit); err != nil {
			t.Fatal(err)
		}
		if got := load(t, cl); got[r.Lane] != r {
			t.Errorf("got %v", got)
		}
	})
}

// Keys that are not known are passed over, and counted.
func TestLoadPassesOverForeignRecords(t *testing.T) {
	storing(t, func(t *testing.T, _ *kfake.Cluster, cl *kafka.Cluster) {
		good := recordOf("a", 0, 5)
		save(t, open(t, cl), good)
		keys := []string{"", "claim/a", "hello", "lane/a/01", "lane/a/b/0", "later/a/0", "offsets/a/0"}
		for i, key := range append(keys, "hello") {
			write(t, cl, &kgo.Record{Key: []byte(key), Value: []byte("x"), Topic: Topic("flow"), Partition: int32(i % Slots)})
		}
		s := open(t, cl)
		got, err := s.Load(t.Context(), s.All())
		if want := map[lane.ID]Record{good.Lane: good}; err != nil || !maps.Equal(got, want) {
			t.Errorf("%v, %v", got, err)
		}
		if !slices.Equal(s.Passed(), keys) {
			t.Errorf("passed over %q", s.Passed())
		}
	})
}

// A record that cannot be read is its lane's, for a claim as well: the lane does not begin anew.
func TestUnreadableLanesAreNotBegunAnew(t *testing.T) {
	storing(t, func(t *testing.T, _ *kfake.Cluster, cl *kafka.Cluster) {
		s := open(t, cl)
		later, damaged, claimed := lane.ID{Topic: "a"}, lane.ID{Topic: "a", Partition: 1}, lane.ID{Topic: "a", Partition: 2}
		write(t, cl,
			&kgo.Record{Key: []byte(Key(later)), Value: []byte(`{"version":7,"source":"elsewhere"}`)},
			&kgo.Record{Key: []byte(Key(damaged)), Value: []byte(`{"version":1,`)},
			&kgo.Record{Key: []byte(claimKey(claimed)), Value: []byte("x"), Topic: s.topic, Partition: s.Slot(claimed)})
		mine := []Record{recordOf("a", 0, 5), recordOf("a", 1, 5), recordOf("a", 2, 5), recordOf("a", 3, 5)}
		settled, err := s.Claim(t.Context(), mine)
		if err != nil {
			t.Fatal(err)
		}
		for i, want := range []string{
			`progress record "lane/a/0" has version 7, this kferry knows up to 1: run a later kferry`,
			`progress record "lane/a/1": unexpected end of JSON input: write it as it was, or start the lane over: see "To forget a lane"`,
			`progress record "lane/a/2": invalid character`,
			"",
		} {
			id := lane.ID{Topic: "a", Partition: int32(i)}
			for _, r := range []Record{settled[id], load(t, cl)[id]} {
				if want == "" != (r.Err == nil) || want != "" && !strings.Contains(r.Err.Error(), want) {
					t.Errorf("%v: %v\nwant %s", id, r.Err, want)
				}
			}
		}
		// A record of the lane counts more than a claim, however that reads.
		begun := recordOf("a", 2, 9)
		save(t, s, begun)
		if got := load(t, cl)[claimed]; got != begun {
			t.Errorf("%+v", got)
		}
	})
}

// Whatever the topic holds: each lane whose last record can be read is found with it, each whose last cannot be is told of,
// and no other lane is.
func TestLoadOfAnyMix(t *testing.T) {
	files, err := filepath.Glob("testdata/bad/*.txt")
	if err != nil {
		t.Fatal(err)
	}
	bad := []string{"", "{}", "[]", "null", `{"version":2}`, `{"version":"2"}`}
	for _, f := range files {
		raw, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		bad = append(bad, strings.SplitN(string(raw), "\n", 3)[2])
	}
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 7))
		c, slots := newContent(), [2]*content{newContent(), newContent()}
		good, flagged := map[lane.ID]Record{}, map[lane.ID]bool{}
		for range r.IntN(200) {
			rec := recordOf("t", int32(r.IntN(20)), offsets.Source(r.IntN(1000)))
			id := rec.Lane
			at := slots[id.Partition%2]
			delete(good, id)
			delete(flagged, id)
			switch r.IntN(8) {
			case 0:
				at.keep(&kgo.Record{Key: []byte(Key(id))})
			case 1:
				flagged[id] = true
				at.keep(&kgo.Record{Key: []byte(Key(id)), Value: []byte("x" + bad[r.IntN(len(bad))])})
			case 2:
				flagged[id] = true
				at.keep(&kgo.Record{Key: []byte(Key(id)), Value: fmt.Appendf(nil, `{"version":%d}`, 2+r.IntN(9))})
			default:
				v, err := rec.encode()
				if err != nil {
					t.Fatal(err)
				}
				good[id] = rec
				at.keep(&kgo.Record{Key: []byte(Key(id)), Value: v})
			}
			foreign := []byte(bad[r.IntN(len(bad))])
			at.keep(&kgo.Record{Key: foreign, Value: foreign})
			at.keep(&kgo.Record{Key: []byte(mapKey(id)), Value: foreign})
		}
		for _, slot := range slots {
			c.join(slot, func(string) bool { return true })
		}
		got := c.tell().begun()
		for id, r := range got {
			if (r.Err != nil) != flagged[id] || r.Err == nil && r != good[id] {
				t.Fatalf("seed %d: %v is %+v, want %+v or an error: %v", seed, id, r, good[id], flagged[id])
			}
		}
		if len(got) != len(good)+len(flagged) {
			t.Fatalf("seed %d: %d lanes, want %d and %d that cannot be read", seed, len(got), len(good), len(flagged))
		}
	}
}

func TestLoadEndsWithItsContext(t *testing.T) {
	storing(t, func(t *testing.T, fake *kfake.Cluster, cl *kafka.Cluster) {
		save(t, open(t, cl), recordOf("a", 0, 5))
		s := open(t, cl)
		fake.ControlKey(kmsg.Fetch.Int16(), func(kmsg.Request) (kmsg.Response, error, bool) {
			fake.KeepControl()
			return nil, nil, true // never an answer
		})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := s.Load(ctx, s.All()); ctx.Err() == nil || err == nil {
			t.Errorf("%v, %v", err, ctx.Err())
		}
	})
}

func TestSaveFails(t *testing.T) {
	storing(t, func(t *testing.T, _ *kfake.Cluster, cl *kafka.Cluster) {
		s := open(t, cl)
		if _, err := cl.Admin().DeleteTopics(t.Context(), s.topic); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := s.Save(ctx, []Record{recordOf("a", 0, 5)}, nil); err == nil || !strings.Contains(err.Error(), `cannot store progress in topic "kferry.flow.progress"`) {
			t.Errorf("got %v", err)
		}
	})
}

// idempotent is a batch of n records as producer pid writes it.
func idempotent(pid int64, seq int32, n, size int) []byte {
	var plain []byte
	for i := range n {
		r := kmsg.Record{OffsetDelta: int32(i), Value: bytes.Repeat([]byte("x"), size)}
		r.Length = int32(len(r.AppendTo(nil)) - 1)
		plain = r.AppendTo(plain)
	}
	b := kmsg.RecordBatch{
		PartitionLeaderEpoch: -1, Magic: 2, LastOffsetDelta: int32(n - 1), FirstTimestamp: 1, MaxTimestamp: 1,
		ProducerID: pid, FirstSequence: seq, NumRecords: int32(n), Records: plain,
	}
	b.Length = int32(len(b.AppendTo(nil)) - 12)
	b.CRC = int32(crc32.Checksum(b.AppendTo(nil)[21:], crc32.MakeTable(crc32.Castagnoli)))
	return b.AppendTo(nil)
}

// scanned is a target partition that several producers write.
type scanned struct {
	t    *testing.T
	cl   *kafka.Cluster
	scan Scan
}

func newScanned(t *testing.T, fake *kfake.Cluster, cl *kafka.Cluster) *scanned {
	t.Helper()
	if _, err := cl.Admin().CreateTopic(t.Context(), 1, 1, map[string]*string{"max.message.bytes": kadm.StringPtr("8000000")}, "t"); err != nil {
		t.Fatal(err)
	}
	return &scanned{t, cl, Scan{Log: kafka.Log{Link: cl.Links()[0], Leader: fake.LeaderFor("t", 0), Topic: "t", TopicID: fake.TopicInfo("t").TopicID}}}
}

func (s *scanned) producer() int64 {
	req := kmsg.NewPtrInitProducerIDRequest()
	resp, err := req.RequestWith(s.t.Context(), s.cl.Client())
	if err != nil || resp.ErrorCode != 0 {
		s.t.Fatal(err, resp)
	}
	return resp.ProducerID
}

func (s *scanned) write(p []byte) {
	s.t.Helper()
	req := kmsg.NewPtrProduceRequest()
	req.TimeoutMillis = 1000
	rt := kmsg.NewProduceRequestTopic()
	rt.Topic, rt.TopicID = s.scan.Topic, s.scan.TopicID
	rp := kmsg.NewProduceRequestTopicPartition()
	rp.Records = p
	rt.Partitions = append(rt.Partitions, rp)
	req.Topics = append(req.Topics, rt)
	done := make(chan error)
	s.scan.Link.Produce(s.t.Context(), s.scan.Leader, req, nil, func(r *kmsg.ProduceResponse, err error) {
		if err == nil && r.Topics[0].Partitions[0].ErrorCode != 0 {
			err = fmt.Errorf("code %d", r.Topics[0].Partitions[0].ErrorCode)
		}
		done <- err
	})
	if err := <-done; err != nil {
		s.t.Fatal(err)
	}
}

func (s *scanned) want(from, to offsets.Target, pid int64, last int32, found bool) {
	s.t.Helper()
	scan := s.scan
	scan.From, scan.To, scan.Producer = from, to, pid
	got, err := scan.Read(s.t.Context())
	if err != nil || got.Any != found || got.Last != last {
		s.t.Errorf("[%d, %d) of %d: %+v, %v; want %d, %v", from, to, pid, got, err, last, found)
	}
}

func TestScan(t *testing.T) {
	storing(t, func(t *testing.T, fake *kfake.Cluster, cl *kafka.Cluster) {
		s := newScanned(t, fake, cl)
		ours, foreign := s.producer(), s.producer()
		s.want(0, 0, ours, 0, false)
		s.write(idempotent(foreign, 0, 4, 10)) // 0 to 3
		s.want(0, 4, ours, 0, false)
		s.write(idempotent(ours, 0, 3, 10))   // 4 to 6
		s.write(idempotent(-1, -1, 2, 10))    // 7, 8: no id at all
		s.write(idempotent(ours, 3, 5, 10))   // 9 to 13
		s.write(idempotent(foreign, 4, 9, 1)) // 14 to 22
		s.want(0, 23, ours, 7, true)
		s.want(0, 23, foreign, 12, true)
		s.want(14, 23, ours, 0, false)
		s.want(13, 23, ours, 7, true)
		s.want(0, 7, ours, 2, true) // the answer holds what follows, too
		s.want(23, 23, ours, 0, false)
	})
}

// Batches of an older epoch are counted no more; one of a newer epoch means that
// somebody else counts.
func TestScanEpochs(t *testing.T) {
	storing(t, func(t *testing.T, fake *kfake.Cluster, cl *kafka.Cluster) {
		s := newScanned(t, fake, cl)
		ours := s.producer()
		s.write(idempotent(ours, 0, 3, 10)) // 0 to 2
		s.scan.Epoch = 1
		s.want(0, 3, ours, 0, false)
		later := kmsg.RecordBatch{}
		if err := later.ReadFrom(idempotent(ours, 0, 2, 10)); err != nil {
			t.Fatal(err)
		}
		later.ProducerEpoch = 1
		later.CRC = int32(crc32.Checksum(later.AppendTo(nil)[21:], crc32.MakeTable(crc32.Castagnoli)))
		s.write(later.AppendTo(nil)) // 3, 4
		s.want(0, 5, ours, 1, true)
		s.scan.Epoch, s.scan.From, s.scan.To, s.scan.Producer = 0, 0, 5, ours
		if _, err := s.scan.Read(t.Context()); !errors.As(err, new(*NewerError)) || !strings.Contains(err.Error(), "another kferry") {
			t.Errorf("%v", err)
		}
	})
}

// Many batches, and one larger than a fetch, which comes cut at first.
func TestScanGoesOn(t *testing.T) {
	storing(t, func(t *testing.T, fake *kfake.Cluster, cl *kafka.Cluster) {
		s := newScanned(t, fake, cl)
		ours := s.producer()
		seq := int32(0)
		for range 5 {
			s.write(idempotent(ours, seq, 3, 300<<10))
			seq += 3
		}
		s.write(idempotent(s.producer(), 0, 1, 3<<20))
		s.write(idempotent(ours, seq, 1, 10))
		s.want(0, 17, ours, 15, true)
	})
}

// answers has the next fetches answered with these records, and returns the
// sizes that were asked for.
func (s *scanned) answers(fake *kfake.Cluster, raws ...[]byte) *[]int32 {
	var asked []int32
	for _, raw := range raws {
		fake.ControlKey(kmsg.Fetch.Int16(), func(r kmsg.Request) (kmsg.Response, error, bool) {
			asked = append(asked, r.(*kmsg.FetchRequest).Topics[0].Partitions[0].PartitionMaxBytes)
			resp := r.ResponseKind().(*kmsg.FetchResponse)
			rt := kmsg.NewFetchResponseTopic()
			rp := kmsg.NewFetchResponseTopicPartition()
			rt.TopicID, rp.RecordBatches = s.scan.TopicID, raw
			rt.Partitions = append(rt.Partitions, rp)
			resp.Topics = append(resp.Topics, rt)
			return resp, nil, true
		})
	}
	return &asked
}

// ends has the next fetches answered with raw and then with nothing, up to the high watermark.
func (s *scanned) ends(fake *kfake.Cluster, raw []byte) {
	fake.ControlKey(kmsg.Fetch.Int16(), func(r kmsg.Request) (kmsg.Response, error, bool) {
		fake.KeepControl()
		resp := r.ResponseKind().(*kmsg.FetchResponse)
		rt := kmsg.NewFetchResponseTopic()
		rp := kmsg.NewFetchResponseTopicPartition()
		rt.TopicID, rp.HighWatermark = s.scan.TopicID, int64(s.scan.To)
		if r.(*kmsg.FetchRequest).Topics[0].Partitions[0].FetchOffset == int64(s.scan.From) {
			rp.RecordBatches = raw
		}
		rt.Partitions = append(rt.Partitions, rp)
		resp.Topics = append(resp.Topics, rt)
		return resp, nil, true
	})
}

func TestScanAcrossTheWrap(t *testing.T) {
	storing(t, func(t *testing.T, fake *kfake.Cluster, cl *kafka.Cluster) {
		s := newScanned(t, fake, cl)
		s.scan.Sequence, s.scan.Whole = math.MaxInt32-1, true
		s.answers(fake, idempotent(7, math.MaxInt32-1, 4, 1))
		s.want(0, 4, 7, 1, true)
	})
}

// A batch that does not fit comes cut, and more is asked for.
func TestScanAsksForMore(t *testing.T) {
	storing(t, func(t *testing.T, fake *kfake.Cluster, cl *kafka.Cluster) {
		s := newScanned(t, fake, cl)
		p := idempotent(7, 0, 1, 3<<20)
		asked := s.answers(fake, p[:1<<20], p)
		s.want(0, 1, 7, 0, true)
		if len(*asked) != 2 || (*asked)[1] <= (*asked)[0] {
			t.Errorf("asked for %v bytes", *asked)
		}
	})
}

// What a broker sends of the time before the stretch does not count.
func TestScanIgnoresWhatIsBefore(t *testing.T) {
	storing(t, func(t *testing.T, fake *kfake.Cluster, cl *kafka.Cluster) {
		s := newScanned(t, fake, cl)
		foreign := idempotent(8, 0, 1, 1)
		foreign[7] = 4 // its offset
		s.answers(fake, append(idempotent(7, 0, 4, 1), foreign...))
		s.want(4, 5, 7, 0, false)
	})
}

// inARow makes one log of batches, which begin where their offsets say.
func inARow(batches ...[]byte) (raw []byte) {
	at := byte(0)
	for _, b := range batches {
		b[7] = at
		at += byte(batch.View(b).LastDelta()) + 1
		raw = append(raw, b...)
	}
	return raw
}

// What the log of a stretch comes to: the records of a producer follow each other, and
// where they do not, that is said.
func TestScanSequences(t *testing.T) {
	ours := func(seq int32, n int) []byte { return idempotent(7, seq, n, 1) }
	cleaned := ours(10, 4) // the cleaner took all records but one, and left the batch as it was
	binary.BigEndian.PutUint32(cleaned[57:], 1)
	for _, c := range []struct {
		name string
		raw  []byte
		next int32 // that the stretch begins with
		want Found
		torn string
	}{
		{"in order", inARow(ours(10, 4), ours(14, 2)), 10, Found{Any: true, Last: 15, Records: 6}, ""},
		{"the first were known", inARow(ours(10, 4), ours(14, 2)), 14, Found{Any: true, Last: 15, Records: 6}, ""},
		{"all were known", inARow(ours(10, 4), ours(14, 2)), 16, Found{Records: 6}, ""},
		{"a batch twice", inARow(ours(10, 4), ours(14, 2), ours(10, 4)), 10, Found{Any: true, Last: 15, Twice: 4, Records: 10}, ""},
		{"a batch twice, cut otherwise", inARow(ours(10, 4), ours(12, 4)), 10, Found{Any: true, Last: 15, Twice: 2, Records: 8}, ""},
		{"what was known twice is not of the stretch", inARow(ours(10, 4), ours(14, 2), ours(10, 4)), 14, Found{Any: true, Last: 15, Records: 10}, ""},
		{"half of it is", inARow(ours(10, 4), ours(14, 2), ours(10, 4)), 12, Found{Any: true, Last: 15, Twice: 2, Records: 10}, ""},
		{"the first is missing", inARow(ours(12, 2)), 10, Found{Any: true, Last: 13, Records: 2}, "2 records before target offset 0 are missing"},
		{"one between is missing", inARow(ours(10, 1), ours(12, 2)), 10, Found{Any: true, Last: 13, Records: 3}, "1 records before target offset 1 are missing"},
		{"records that were compacted away count", inARow(cleaned, ours(14, 1)), 10, Found{Any: true, Last: 14, Records: 5}, ""},
	} {
		storing(t, func(t *testing.T, fake *kfake.Cluster, cl *kafka.Cluster) {
			s := newScanned(t, fake, cl)
			s.scan.To, s.scan.Producer, s.scan.Sequence = 99, 7, c.next
			s.ends(fake, c.raw)
			for _, whole := range []bool{false, true} {
				s.scan.Whole = whole
				got, err := s.scan.Read(t.Context())
				if whole && c.torn != "" {
					if !errors.As(err, new(*TornError)) || !strings.Contains(err.Error(), c.torn) {
						t.Errorf("%s: %v", c.name, err)
					}
				} else if err != nil || got != c.want {
					t.Errorf("%s, whole %v:\n got %+v, %v\nwant %+v", c.name, whole, got, err, c.want)
				}
			}
		})
	}
}

func TestScanErrors(t *testing.T) {
	storing(t, func(t *testing.T, fake *kfake.Cluster, cl *kafka.Cluster) {
		s := newScanned(t, fake, cl)
		s.write(idempotent(-1, -1, 1, 1))
		for says, change := range map[string]func(*Scan){
			"OFFSET_OUT_OF_RANGE":      func(s *Scan) { s.From, s.To = 50, 60 },
			"UNKNOWN_TOPIC_ID":         func(s *Scan) { s.TopicID[3]++ },
			"NOT_LEADER_FOR_PARTITION": func(s *Scan) { s.Leader = 1 - s.Leader },
		} {
			scan := s.scan
			scan.To = 1
			change(&scan)
			if _, err := scan.Read(t.Context()); err == nil || !strings.Contains(err.Error(), says) {
				t.Errorf("got %v, want %s", err, says)
			}
		}
		fake.ControlKey(kmsg.Fetch.Int16(), func(r kmsg.Request) (kmsg.Response, error, bool) { return r.ResponseKind(), nil, true })
		scan := s.scan
		scan.To = 1
		if _, err := scan.Read(t.Context()); err == nil || !strings.Contains(err.Error(), `leaves out topic "t" partition 0`) {
			t.Errorf("got %v", err)
		}
	})
}

// Whoever comes first in the log is right for all, whatever they claimed.
func TestTheFirstClaimCounts(t *testing.T) {
	storing(t, func(t *testing.T, _ *kfake.Cluster, cl *kafka.Cluster) {
		a, b := open(t, cl), open(t, cl)
		if got := load(t, cl); len(got) != 0 {
			t.Fatal(got)
		}
		if _, err := b.Load(t.Context(), b.All()); err != nil {
			t.Fatal(err)
		}
		mine, other := recordOf("a", 0, 5), recordOf("a", 0, 9)
		for i, c := range []struct {
			s    *Store
			says Record
		}{{a, mine}, {b, other}, {a, other}, {b, recordOf("a", 0, 99)}} {
			got, err := c.s.Claim(t.Context(), []Record{c.says, recordOf("free", int32(i), 1)})
			if err != nil || len(got) < 2 || got[mine.Lane] != mine {
				t.Errorf("claim %d: %v, %v", i, got, err)
			}
		}
		// A replica that loads before anything is saved goes by the claim.
		if got := load(t, cl); got[mine.Lane] != mine {
			t.Errorf("loaded %v", got)
		}
	})
}

// Once a lane has begun its record counts, also for one who claims late.
func TestARecordCountsMoreThanAClaim(t *testing.T) {
	storing(t, func(t *testing.T, _ *kfake.Cluster, cl *kafka.Cluster) {
		a, late := open(t, cl), open(t, cl)
		if _, err := late.Load(t.Context(), late.All()); err != nil {
			t.Fatal(err)
		}
		begun, now := recordOf("a", 0, 5), recordOf("a", 0, 7)
		if _, err := a.Claim(t.Context(), []Record{begun}); err != nil {
			t.Fatal(err)
		}
		if err := a.Save(t.Context(), []Record{now}, nil, begun.Lane); err != nil {
			t.Fatal(err)
		}
		got, err := late.Claim(t.Context(), []Record{recordOf("a", 0, 99)})
		if err != nil || got[now.Lane] != now {
			t.Errorf("%v, %v", got, err)
		}
		if got := load(t, cl); got[now.Lane] != now {
			t.Errorf("loaded %v", got)
		}
		// Forgotten, it is not begun by an old claim.
		write(t, cl, &kgo.Record{Key: []byte(Key(now.Lane))}, &kgo.Record{Key: []byte(claimKey(now.Lane)), Partition: a.Slot(now.Lane)})
		if got := load(t, cl); len(got) != 0 {
			t.Errorf("loaded %v", got)
		}
	})
}

// One write may be cut into two batches, with another replica's between them.
func TestWriteCutInTwo(t *testing.T) {
	results := func(offsets ...int64) (rs kgo.ProduceResults) {
		for _, o := range offsets {
			rs = append(rs, kgo.ProduceResult{Record: &kgo.Record{Partition: 3, Offset: o}})
		}
		return rs
	}
	for _, c := range []struct {
		offsets []int64
		foreign bool
		end     int64
	}{
		{[]int64{10, 11, 12}, false, 13},
		{[]int64{12, 10, 11}, false, 13},
		{[]int64{11, 12}, true, 10},
		{[]int64{10, 12}, true, 10}, // what we wrote at 10 is seen again, before the foreign 11
	} {
		s := &Store{ends: map[int32]int64{3: 10}}
		foreign := s.wrote(results(c.offsets...))
		if from, ok := foreign[3]; ok != c.foreign || ok && from != 10 || s.ends[3] != c.end {
			t.Errorf("%v: foreign %v, end %d", c.offsets, foreign, s.ends[3])
		}
	}
}

func TestOffsetsAreLoadedWithTheirLane(t *testing.T) {
	storing(t, func(t *testing.T, _ *kfake.Cluster, cl *kafka.Cluster) {
		s := open(t, cl)
		save(t, s, recordOf("t", 0, 40), recordOf("t", 1, 50))
		for _, m := range []Offsets{
			{recordOf("t", 0, 10), []byte("old")},
			{recordOf("t", 0, 30), []byte("new")},
			{recordOf("u", 0, 30), []byte("of a lane without progress")},
		} {
			if err := s.Save(t.Context(), nil, []Offsets{m}); err != nil {
				t.Fatal(err)
			}
		}
		got := load(t, cl)
		if len(got) != 2 || got[lane.ID{Topic: "t", Partition: 1}].Offsets != nil {
			t.Errorf("got %+v", got)
		}
		if err := s.Save(t.Context(), nil, []Offsets{{recordOf("t", 1, 60), nil}}); err != nil {
			t.Fatal(err)
		}
		if late := load(t, cl)[lane.ID{Topic: "t", Partition: 1}]; late.Position != recordOf("t", 1, 60).Position {
			t.Errorf("a map that was taken later leaves the position at %+v", late.Position)
		}
		r := got[lane.ID{Topic: "t"}]
		if r.Position.Source != 40 || r.Offsets == nil || r.Offsets.Position.Source != 30 || string(r.Offsets.Map) != "new" {
			t.Errorf("got %+v with offsets %+v", r, r.Offsets)
		}
	})
}

// A map counts for the record that it belongs to, and tells the position only if it is of the same count of sequences.
func TestMapsOfOtherRecords(t *testing.T) {
	r := recordOf("t", 0, 40)
	r.TargetID, r.Position.Epoch = [16]byte{2}, 3
	at := func(source offsets.Source) func(*Record) {
		return func(o *Record) { o.Position.Source, o.Position.Sequence = source, int32(source) }
	}
	for _, c := range []struct {
		name   string
		change func(*Record)
		given  bool
		moved  bool // to the map's position
	}{
		{"before", at(30), true, false},
		{"at the record", at(40), true, false},
		{"later", at(60), true, true},
		{"before, of another source topic", func(o *Record) { at(30)(o); o.SourceID = [16]byte{9} }, false, false},
		{"later, of another source topic", func(o *Record) { at(60)(o); o.SourceID = [16]byte{9} }, false, false},
		{"before, of a target topic of the same name", func(o *Record) { at(30)(o); o.TargetID = [16]byte{9} }, false, false},
		{"later, of a target topic of the same name", func(o *Record) { at(60)(o); o.TargetID = [16]byte{9} }, false, false},
		{"of another target topic", func(o *Record) { at(30)(o); o.TargetTopic = "y" }, false, false},
		{"before records were set aside", func(o *Record) { at(30)(o); o.Position.Epoch = 2 }, true, false},
		{"at the record, of another producer", func(o *Record) { at(40)(o); o.Position.Producer = 7 }, true, false},
		{"later, of another epoch", func(o *Record) { at(60)(o); o.Position.Epoch = 2 }, false, false},
		{"later, of another producer", func(o *Record) { at(60)(o); o.Position.Producer = 7 }, false, false},
	} {
		o := &Offsets{Record: r}
		c.change(&o.Record)
		got := r.with(o)
		want := r.Position
		if c.moved {
			want = o.Position
		}
		if (got.Offsets == o) != c.given || got.Position != want {
			t.Errorf("%s: given %v, at %+v", c.name, got.Offsets != nil, got.Position)
		}
	}
	if bad := (Record{Err: errors.New("x")}); bad.with(&Offsets{}) != bad {
		t.Error("a record that cannot be read gets a map")
	}
}

// A lane that was forgotten by hand, and left with the map of before, begins without it.
func TestForgottenLaneHasNoMap(t *testing.T) {
	for name, anew := range map[string]func(*Record){
		"on a new target topic": func(r *Record) { r.TargetID = [16]byte{77} },
		"on the same":           func(*Record) {},
	} {
		storing(t, func(t *testing.T, _ *kfake.Cluster, cl *kafka.Cluster) {
			old := recordOf("t", 3, 1000)
			old.TargetID = [16]byte{9}
			if err := open(t, cl).Save(t.Context(), []Record{old}, []Offsets{{old, []byte("map")}}); err != nil {
				t.Fatal(err)
			}
			write(t, cl, &kgo.Record{Key: []byte(Key(old.Lane))})
			fresh := old
			fresh.Position = lane.Position{Producer: 5, Target: 1007}
			anew(&fresh)
			save(t, open(t, cl), fresh)
			if got := load(t, cl)[old.Lane]; got != fresh {
				t.Errorf("%s: %+v with offsets %+v", name, got, got.Offsets)
			}
		})
	}
}

// A map is in the log before its lane's record: whoever reads the record has the map.
func TestMapsGoBeforeTheirRecords(t *testing.T) {
	storing(t, func(t *testing.T, _ *kfake.Cluster, cl *kafka.Cluster) {
		s := open(t, cl)
		r := recordOf("t", 0, 5)
		if err := s.Save(t.Context(), []Record{r}, []Offsets{{r, nil}}, r.Lane); err != nil {
			t.Fatal(err)
		}
		var keys []string
		if err := cl.ReadTopic(t.Context(), s.topic, func(r *kgo.Record) error {
			keys = append(keys, string(r.Key))
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		if want := []string{mapKey(r.Lane), Key(r.Lane), claimKey(r.Lane)}; !slices.Equal(keys, want) {
			t.Errorf("written: %q, want %q", keys, want)
		}
	})
}

// What is known of a lane counts more than a claim that is read later.
func TestALaterClaimDoesNotReplaceWhatIsKnown(t *testing.T) {
	storing(t, func(t *testing.T, _ *kfake.Cluster, cl *kafka.Cluster) {
		s := open(t, cl)
		known, claim, neighbour := recordOf("t", 0, 50), recordOf("t", 0, 5), recordOf("t", 1, 0)
		for s.Slot(neighbour.Lane) != s.Slot(known.Lane) {
			neighbour.Lane.Partition++
		}
		save(t, s, known)
		v, err := claim.encode()
		if err != nil {
			t.Fatal(err)
		}
		write(t, cl, &kgo.Record{Key: []byte(claimKey(claim.Lane)), Value: v, Topic: s.topic, Partition: s.Slot(claim.Lane)})
		if _, err := s.Claim(t.Context(), []Record{neighbour}); err != nil { // reads the slot on from where it was known
			t.Fatal(err)
		}
		if got, err := s.Claim(t.Context(), []Record{claim}); err != nil || got[known.Lane] != known {
			t.Errorf("%+v, %v", got, err)
		}
	})
}

// A replica may come to a lane later than to its neighbour in the same slot, and has read the slot meanwhile: what it
// read there of the lane counts, though it did not ask for it then.
func TestAClaimSeenInPassingCounts(t *testing.T) {
	storing(t, func(t *testing.T, _ *kfake.Cluster, cl *kafka.Cluster) {
		a, b := open(t, cl), open(t, cl)
		first := recordOf("t", 0, 5)
		neighbour := recordOf("t", 1, 0)
		for a.Slot(neighbour.Lane) != a.Slot(first.Lane) {
			neighbour.Lane.Partition++
		}
		if _, err := b.Load(t.Context(), b.All()); err != nil {
			t.Fatal(err)
		}
		for _, claim := range []struct {
			s      *Store
			mine   Record
			counts Record
		}{{a, first, first}, {b, neighbour, neighbour}, {b, recordOf("t", 0, 99), first}} {
			got, err := claim.s.Claim(t.Context(), []Record{claim.mine})
			if err != nil || got[claim.mine.Lane] != claim.counts {
				t.Errorf("claim of %v: %+v, %v", claim.mine.Lane, got, err)
			}
		}
	})
}

// A slot may be read while a claim is on its way into it: the claim then follows what is known of the slot, and yet is not the
// first.
func TestAClaimOnItsWayDoesNotCountForMore(t *testing.T) {
	storing(t, func(t *testing.T, f *kfake.Cluster, cl *kafka.Cluster) {
		a, b := open(t, cl), open(t, cl)
		first := recordOf("t", 0, 5)
		neighbour := recordOf("t", 1, 0)
		for a.Slot(neighbour.Lane) != a.Slot(first.Lane) {
			neighbour.Lane.Partition++
		}
		save(t, a, neighbour)
		if _, err := b.Load(t.Context(), b.All()); err != nil {
			t.Fatal(err)
		}
		if _, err := a.Claim(t.Context(), []Record{first}); err != nil {
			t.Fatal(err)
		}
		f.ControlKey(int16(kmsg.Produce), func(kmsg.Request) (kmsg.Response, error, bool) {
			f.SleepControl(func() {
				if _, err := b.Load(t.Context(), b.All()); err != nil {
					t.Error(err)
				}
			})
			return nil, nil, false
		})
		got, err := b.Claim(t.Context(), []Record{recordOf("t", 0, 99)})
		if err != nil || got[first.Lane] != first {
			t.Errorf("%+v, %v", got, err)
		}
	})
}

// What another replica has begun is seen when it matters, whichever slots are ours.
func TestCatchUp(t *testing.T) {
	storing(t, func(t *testing.T, _ *kfake.Cluster, cl *kafka.Cluster) {
		a, b := open(t, cl), open(t, cl)
		if _, err := b.Load(t.Context(), []int32{0, 1}); err != nil {
			t.Fatal(err)
		}
		for n := range int32(Slots) {
			save(t, a, recordOf("saved", n, 1))
		}
		old := recordOf("claimed", 0, 1)
		old.TargetTopic = "x.saved" // of before that was refused
		if _, err := a.Claim(t.Context(), []Record{old, recordOf("late", 0, 1)}); err != nil {
			t.Fatal(err)
		}
		if got := b.Copies(); len(got) > 0 {
			t.Fatalf("before: %v", got)
		}
		if err := b.CatchUp(t.Context()); err != nil {
			t.Fatal(err)
		}
		want := map[string]string{"x.saved": "claimed", "x.late": "late"}
		if got := b.Copies(); !maps.Equal(got, want) || !maps.Equal(a.Copies(), want) {
			t.Errorf("%v, and the other one %v", got, a.Copies())
		}
	})
}
