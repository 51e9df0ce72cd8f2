package kafka

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kferry/kferry/config"
	"github.com/kferry/kferry/internal/kafka/wirelog"
)

// place is one partition and how to reach it.
type place struct {
	topic  string
	id     [16]byte
	leader int32
}

// topic creates name with one partition and finds its leader.
func topic(t testing.TB, c *Cluster, name string) place {
	t.Helper()
	if _, err := c.Admin().CreateTopic(t.Context(), 1, 1, nil, name); err != nil {
		t.Fatal(err)
	}
	for {
		d, err := c.Admin().ListTopics(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		// A broker may hear of a new topic after the controller has answered.
		if p, ok := d[name].Partitions[0]; ok && p.Err == nil && p.Leader >= 0 {
			return place{name, d[name].ID, p.Leader}
		}
	}
}

// one is a batch of one record as producer pid writes it, from kmsg's encoder.
func one(pid int64, epoch int16, seq int32, value string) []byte {
	r := kmsg.Record{Key: []byte("k"), Value: []byte(value)}
	r.Length = int32(len(r.AppendTo(nil)) - 1) // 0 takes one byte
	now := time.Now().UnixMilli()
	b := kmsg.RecordBatch{
		PartitionLeaderEpoch: -1, Magic: 2, FirstTimestamp: now, MaxTimestamp: now,
		ProducerID: pid, ProducerEpoch: epoch, FirstSequence: seq, NumRecords: 1,
		Records: r.AppendTo(nil),
	}
	b.Length = int32(len(b.AppendTo(nil)) - 12)
	p := b.AppendTo(nil)
	binary.BigEndian.PutUint32(p[17:], crc32.Checksum(p[21:], crc32.MakeTable(crc32.Castagnoli)))
	return p
}

func produce(p place, batch []byte) *kmsg.ProduceRequest {
	req := kmsg.NewPtrProduceRequest()
	req.TimeoutMillis = 10000
	rt := kmsg.NewProduceRequestTopic()
	rt.Topic, rt.TopicID = p.topic, p.id
	rp := kmsg.NewProduceRequestTopicPartition()
	rp.Records = batch
	rt.Partitions = append(rt.Partitions, rp)
	req.Topics = append(req.Topics, rt)
	return req
}

func fetch(p place, offset int64, wait time.Duration) *kmsg.FetchRequest {
	req := kmsg.NewPtrFetchRequest()
	req.MaxBytes, req.MinBytes, req.MaxWaitMillis, req.SessionEpoch = 1<<20, 1, int32(wait.Milliseconds()), -1
	rt := kmsg.NewFetchRequestTopic()
	rt.Topic, rt.TopicID = p.topic, p.id
	rp := kmsg.NewFetchRequestTopicPartition()
	rp.FetchOffset, rp.PartitionMaxBytes = offset, 1<<20
	rt.Partitions = append(rt.Partitions, rp)
	req.Topics = append(req.Topics, rt)
	return req
}

// producer asks the cluster for a producer id.
func producer(t testing.TB, c *Cluster) (int64, int16) {
	t.Helper()
	req := kmsg.NewPtrInitProducerIDRequest()
	req.ProducerID, req.ProducerEpoch = -1, -1
	resp, err := req.RequestWith(t.Context(), c.Client())
	if err == nil {
		err = kerr.ErrorForCode(resp.ErrorCode)
	}
	if err != nil {
		t.Fatal(err)
	}
	return resp.ProducerID, resp.ProducerEpoch
}

func produceCode(r *kmsg.ProduceResponse) int16 { return r.Topics[0].Partitions[0].ErrorCode }

// sendOrdered writes n one-record batches of one producer to one partition,
// flight of them in flight, and returns how many the broker found out of order.
func sendOrdered(t testing.TB, c *Cluster, p place, n, flight int) int64 {
	t.Helper()
	pid, epoch := producer(t, c)
	link := c.Links()[0]
	// The leader of a new topic may hear of it last. A producer that it does not know
	// may begin anywhere: were the first batch refused, the second would be taken.
	for code := int16(-1); code != 0; {
		r, err := wait(t.Context(), t, link, p.leader, produce(p, one(pid, epoch, 0, "0")))
		if err != nil {
			t.Fatal(err)
		}
		if code = produceCode(r); code != 0 && code != kerr.UnknownTopicOrPartition.Code && code != kerr.UnknownTopicID.Code && code != kerr.NotLeaderForPartition.Code {
			t.Fatal(kerr.ErrorForCode(code))
		}
	}
	var refused atomic.Int64
	var wg sync.WaitGroup
	slots := make(chan struct{}, flight)
	for seq := int32(1); seq < int32(n); seq++ {
		slots <- struct{}{}
		wg.Add(1)
		link.Produce(t.Context(), p.leader, produce(p, one(pid, epoch, seq, fmt.Sprint(seq))), nil, func(r *kmsg.ProduceResponse, err error) {
			defer func() { <-slots; wg.Done() }()
			if err != nil {
				t.Error(err)
			} else if err := kerr.ErrorForCode(produceCode(r)); errors.Is(err, kerr.OutOfOrderSequenceNumber) {
				refused.Add(1)
			} else if err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	return refused.Load()
}

// readValues reads n values back with kgo's own consumer and compares them.
func readValues(t testing.TB, c *Cluster, p place, n int) {
	t.Helper()
	c = open(t, c.cfg, Options{}) // without c's hooks
	cl, err := c.NewClient(kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{p.topic: {0: kgo.NewOffset().AtStart()}}))
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	for got := 0; got < n; {
		fs := cl.PollFetches(t.Context())
		if err := fs.Err0(); err != nil {
			t.Fatal(err)
		}
		fs.EachRecord(func(r *kgo.Record) {
			if string(r.Value) != fmt.Sprint(got) {
				t.Fatalf("offset %d holds %s, want %d", r.Offset, r.Value, got)
			}
			got++
		})
	}
}

// TestOrder guards what ordered leans on inside kgo; run it at every upgrade.
// Without the wait for AppendTo the broker refuses nearly all of these.
func TestOrder(t *testing.T) {
	c := open(t, cluster(fake(t), config.SASL{}), Options{})
	for round := range 3 {
		p := topic(t, c, fmt.Sprintf("order-%d", round))
		const n = 1500
		if refused := sendOrdered(t, c, p, n, 5); refused != 0 {
			t.Fatalf("%d of %d batches were written out of order", refused, n)
		}
		readValues(t, c, p, n)
	}
}

// The same while every request first has to log in again, which parks requests.
func TestOrderAcrossReauthentication(t *testing.T) {
	f := fake(t, kfake.EnableSASL(), kfake.Superuser(mechSHA256, "alice", "secret"),
		kfake.BrokerConfigs(map[string]string{"connections.max.reauth.ms": "1000"}))
	var log wirelog.Log
	c := open(t, cluster(f, login(mechSHA256, "alice", "secret")), Options{Hooks: hooks(&log)})
	p := topic(t, c, "order")
	const n = 200
	if refused := sendOrdered(t, c, p, n, 5); refused != 0 {
		t.Fatalf("%d of %d batches were written out of order", refused, n)
	}
	// At most five requests and two messages belong to one login.
	if logins := log.Count(kmsg.SASLAuthenticate) / 2; logins < n/5 {
		t.Errorf("%d logins for %d requests", logins, n)
	}
	readValues(t, c, p, n)
}

// A ticket must look to kgo like the request inside, but for what is written.
func TestTicketIsTransparent(t *testing.T) {
	req := produce(place{topic: "t"}, []byte("batch"))
	req.TimeoutMillis = 4711
	placed := 0
	k := &ticket{Request: req, room: makeRoom, placed: func() { placed++ }}
	defer newTickets().issue(k)()
	var r kmsg.Request = k
	if r.Key() != 0 || r.MaxVersion() != req.MaxVersion() {
		t.Errorf("key %d, max version %d", r.Key(), r.MaxVersion())
	}
	if tr, ok := r.(kmsg.TimeoutRequest); !ok || tr.Timeout() != 4711 {
		t.Error("kgo would not extend its read deadline by TimeoutMillis")
	}
	for v := int16(3); v <= req.MaxVersion(); v++ {
		if r.SetVersion(v); req.GetVersion() != v || r.IsFlexible() != (v >= 9) {
			t.Fatalf("version %d does not reach the request", v)
		}
		if kind := r.ResponseKind(); kind.Key() != 0 || kind.GetVersion() != v {
			t.Errorf("version %d: wrong kind of response", v)
		}
	}
	if r.AppendTo(nil); placed != 1 {
		t.Error("placed was not called by AppendTo")
	}
}

// What arrives: acks=all whatever the caller set, the timeout, and a topic by
// name or id as the version asks.
func TestProduceArrives(t *testing.T) {
	f := fake(t)
	c := open(t, cluster(f, config.SASL{}), Options{})
	p := topic(t, c, "t")
	got := make(chan *kmsg.ProduceRequest, 1)
	f.ControlKey(kmsg.Produce.Int16(), func(r kmsg.Request) (kmsg.Response, error, bool) {
		got <- r.(*kmsg.ProduceRequest)
		return nil, nil, false
	})
	req := produce(p, one(-1, -1, -1, "v"))
	req.Acks, req.TimeoutMillis = 0, 1234
	r, err := wait(t.Context(), t, c.Links()[0], p.leader, req)
	if err != nil || produceCode(r) != 0 {
		t.Fatal(r, err)
	}
	if a := <-got; a.Acks != -1 || a.TimeoutMillis != 1234 || a.Version >= 13 && a.Topics[0].TopicID != p.id {
		t.Errorf("acks %d, timeout %d, topic id %v (version %d)", a.Acks, a.TimeoutMillis, a.Topics[0].TopicID, a.Version)
	}
}

// wait is a Produce whose done has run.
func wait(ctx context.Context, t testing.TB, l *Link, broker int32, req *kmsg.ProduceRequest) (*kmsg.ProduceResponse, error) {
	t.Helper()
	type answer struct {
		r   *kmsg.ProduceResponse
		err error
	}
	ch := make(chan answer, 2) // room for a wrong second call
	l.Produce(ctx, broker, req, nil, func(r *kmsg.ProduceResponse, err error) { ch <- answer{r, err} })
	a := <-ch
	if (a.r == nil) == (a.err == nil) {
		t.Errorf("done got %v and %v, want one of them", a.r, a.err)
	}
	return a.r, a.err
}

// Produce returns and done runs also when the request never reaches a broker.
func TestProduceFails(t *testing.T) {
	f := fake(t)
	c := open(t, cluster(f, config.SASL{}), Options{})
	p := topic(t, c, "t")
	link := c.Links()[0]
	batch := one(-1, -1, -1, "v")
	if _, err := wait(t.Context(), t, link, 99, produce(p, batch)); err == nil {
		t.Error("broker 99 exists")
	}
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := wait(cancelled, t, link, p.leader, produce(p, batch)); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	f.ControlKey(kmsg.Produce.Int16(), func(kmsg.Request) (kmsg.Response, error, bool) {
		return nil, errors.New("close the connection"), true
	})
	if _, err := wait(t.Context(), t, link, p.leader, produce(p, batch)); err == nil {
		t.Error("no error from a closed connection")
	}
	// kgo reports the failure before it has discarded the connection, so the
	// next request may still be put on it, and fail as well.
	r, err := wait(t.Context(), t, link, p.leader, produce(p, batch))
	for range 100 {
		if err == nil {
			break
		}
		r, err = wait(t.Context(), t, link, p.leader, produce(p, batch))
	}
	if err != nil || produceCode(r) != 0 {
		t.Errorf("after a closed connection: %v", err)
	}
	c.Close()
	if _, err := wait(t.Context(), t, link, p.leader, produce(p, batch)); err == nil {
		t.Error("a closed link sent")
	}
	if _, err := link.Fetch(t.Context(), p.leader, fetch(p, 0, 0)); err == nil {
		t.Error("a closed link fetched")
	}
}

func TestFetch(t *testing.T) {
	c := open(t, cluster(fake(t), config.SASL{}), Options{})
	p := topic(t, c, "t")
	batch := one(-1, -1, -1, "v")
	if r, err := wait(t.Context(), t, c.Links()[0], p.leader, produce(p, batch)); err != nil || produceCode(r) != 0 {
		t.Fatal(err)
	}
	r, err := c.Links()[0].Fetch(t.Context(), p.leader, fetch(p, 0, time.Second))
	if err != nil {
		t.Fatal(err)
	}
	// All but the base offset and the leader epoch, which the broker sets.
	if got := r.Topics[0].Partitions[0].RecordBatches; string(got[16:]) != string(batch[16:]) {
		t.Errorf("got  %x\nwant %x", got, batch)
	}
	r, err = c.Links()[0].Fetch(t.Context(), p.leader, fetch(p, 7, 0))
	if err != nil {
		t.Fatal(err)
	}
	if v, _ := FetchVerdict(r.Topics[0].Partitions[0].ErrorCode); v != Resume {
		t.Errorf("beyond the end: %v", v)
	}
}

// Every link has a connection of its own for fetches and one for produces.
func TestLinksHaveOwnConnections(t *testing.T) {
	var conns connCounter
	cfg := cluster(fake(t), config.SASL{})
	cfg.Connections = 3
	c := open(t, cfg, Options{})
	p := topic(t, c, "t")
	counted := open(t, cfg, Options{Hooks: hooks(&conns)})
	if len(counted.Links()) != 3 {
		t.Fatalf("%d links, want 3", len(counted.Links()))
	}
	for range 2 { // the second round reuses
		for _, l := range counted.Links() {
			if _, err := l.Fetch(t.Context(), p.leader, fetch(p, 0, 0)); err != nil {
				t.Fatal(err)
			}
			if _, err := wait(t.Context(), t, l, p.leader, produce(p, one(-1, -1, -1, "v"))); err != nil {
				t.Fatal(err)
			}
		}
	}
	if n := conns.to(p.leader); n != 6 {
		t.Errorf("%d connections to broker %d, want 3 links x (fetch, produce)", n, p.leader)
	}
}

// A broker that comes back at another port is found again, although raw
// requests make kgo refresh nothing.
func TestBrokerMoves(t *testing.T) {
	f, err := kfake.NewCluster(kfake.NumBrokers(2), kfake.SeedTopics(1, "t"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.Close)
	const moving = 1
	if err := f.MoveTopicPartition("t", 0, moving); err != nil {
		t.Fatal(err)
	}
	cfg := cluster(f, config.SASL{})
	cfg.BootstrapServers = cfg.BootstrapServers[:1] // broker 0 stays
	c := open(t, cfg, Options{})
	p := place{"t", f.TopicInfo("t").TopicID, moving}
	if _, err := c.Links()[0].Fetch(t.Context(), moving, fetch(p, 0, 0)); err != nil {
		t.Fatal(err)
	}
	if err := f.RemoveNode(moving); err != nil {
		t.Fatal(err)
	}
	if _, _, err := f.AddNode(moving, 0); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	for err = errors.New("not tried"); err != nil; {
		if _, err = c.Links()[0].Fetch(ctx, moving, fetch(p, 0, 0)); ctx.Err() != nil {
			t.Fatal(err)
		}
	}
}

// All that a cluster does by itself, and reading, leaves the cluster as it is.
func TestNothingIsWritten(t *testing.T) {
	var log wirelog.Log
	f := fake(t, kfake.SeedTopics(1, "t"), kfake.AllowAutoTopicCreation())
	c := open(t, cluster(f, config.SASL{}), Options{Hooks: hooks(&log)})
	ctx := t.Context()
	if err := c.Ping(ctx); err != nil {
		t.Fatal(err)
	}
	topics, err := c.Admin().ListTopics(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Admin().ListTopics(ctx, "missing"); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Admin().ListEndOffsets(ctx, "t"); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Admin().DescribeTopicConfigs(ctx, "t"); err != nil {
		t.Fatal(err)
	}
	var set kadm.TopicsSet
	set.Add("t", 0)
	if _, err := c.Admin().DescribeProducers(ctx, set); err != nil {
		t.Fatal(err)
	}
	p := place{"t", topics["t"].ID, topics["t"].Partitions[0].Leader}
	if _, err := c.Links()[0].Fetch(ctx, p.leader, fetch(p, 0, 0)); err != nil {
		t.Fatal(err)
	}
	if w := log.Writes(); len(w) != 0 {
		t.Errorf("wrote %v", w)
	}
	if f.TopicInfo("missing") != nil {
		t.Error("asking for a topic created it")
	}
	if log.Count(kmsg.Fetch) != 1 {
		t.Error("the log missed the fetch: it would miss a write as well")
	}
	if _, err := wait(ctx, t, c.Links()[0], p.leader, produce(p, one(-1, -1, -1, "v"))); err != nil {
		t.Fatal(err)
	}
	if w := log.Writes(); len(w) != 1 || w[0] != "Produce" {
		t.Errorf("after a produce the log says %v", w)
	}
}
