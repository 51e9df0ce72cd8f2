package produce

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"go.uber.org/goleak"

	"github.com/kferry/kferry/config"
	"github.com/kferry/kferry/internal/kafka"
	"github.com/kferry/kferry/offsets"
	"github.com/kferry/kferry/replicator/batch"
	"github.com/kferry/kferry/replicator/budget"
	"github.com/kferry/kferry/replicator/lane"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	topic = "t"
	large = 70 << 10 // bytes of a batch that is joined with no other
)

// world is a Producer of a kfake cluster with one broker, in a bubble of
// synctest: after synctest.Wait nothing happens any more but the clock.
type world struct {
	t    *testing.T
	fake *kfake.Cluster
	cl   *kafka.Cluster
	b    *budget.Budget
	p    *Producer
	cut  *cutter
	pid  int64

	lanes  []*lane.Lane
	filled map[*lane.Lane][]string // values put, in order
	failed map[*lane.Lane]string   // verdict and cause; guarded by mu

	mu   sync.Mutex
	sent []string // each produce request: partition:records of its batches
}

func producing(t *testing.T, test func(*testing.T, *world)) {
	synctest.Test(t, func(t *testing.T) {
		var wire kfake.VirtualNetwork
		fake, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.ListenFn(wire.Listen), kfake.SeedTopics(16, topic))
		if err != nil {
			t.Fatal(err)
		}
		defer fake.Close()
		w := &world{t: t, fake: fake, b: budget.New(1 << 30), cut: &cutter{dial: wire.DialContext}, filled: map[*lane.Lane][]string{}, failed: map[*lane.Lane]string{}}
		w.cl, err = kafka.Open(config.Cluster{Alias: "target", BootstrapServers: fake.ListenAddrs(), ClientID: "test", Connections: 1}, kafka.Options{Dialer: w.cut.open})
		if err != nil {
			t.Fatal(err)
		}
		defer w.cl.Close()
		req := kmsg.NewPtrInitProducerIDRequest()
		resp, err := req.RequestWith(t.Context(), w.cl.Client())
		if err != nil {
			t.Fatal(err)
		}
		w.pid = resp.ProducerID
		w.p = New(Options{
			Link: w.cl.Links()[0], Broker: 0, Produced: func(time.Duration, error) {},
			Failed: func(l *lane.Lane, v kafka.Verdict, cause error) {
				w.mu.Lock()
				defer w.mu.Unlock()
				w.failed[l] = fmt.Sprint(v, ": ", cause)
			},
		})
		w.control(func(r *kmsg.ProduceRequest) (kmsg.Response, error, bool) {
			fake.KeepControl()
			w.note(r)
			return nil, nil, false
		})
		ctx, stop := context.WithCancel(t.Context())
		io, endIO := context.WithCancel(t.Context())
		var run sync.WaitGroup
		run.Go(func() { w.p.Run(ctx, io) })
		test(t, w)
		synctest.Wait()
		stop()
		run.Wait()
		endIO()
		synctest.Wait()
		for _, l := range w.lanes {
			l.Drop()
		}
		if u := w.b.Used(); u != 0 {
			t.Errorf("%d bytes of the budget are not given back", u)
		}
	})
}

// control meddles with the produce requests that are not answered otherwise.
func (w *world) control(fn func(*kmsg.ProduceRequest) (kmsg.Response, error, bool)) {
	w.fake.ControlKey(kmsg.Produce.Int16(), func(r kmsg.Request) (kmsg.Response, error, bool) { return fn(r.(*kmsg.ProduceRequest)) })
}

func (w *world) note(r *kmsg.ProduceRequest) {
	var parts []string
	for _, t := range r.Topics {
		for _, p := range t.Partitions {
			parts = append(parts, fmt.Sprint(p.Partition, ":", batch.View(p.Records).Count()))
		}
	}
	slices.Sort(parts)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.sent = append(w.sent, strings.Join(parts, " "))
}

func (w *world) requests() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.sent)
}

// lane makes one for a partition; add gives it to the producer.
func (w *world) lane(n int32) *lane.Lane {
	l := lane.New(lane.ID{Topic: "source", Partition: n}, topic)
	l.Start(lane.Position{Producer: w.pid}, 0)
	w.lanes = append(w.lanes, l)
	return l
}

func (w *world) add(l *lane.Lane) {
	w.p.Add(Target{Lane: l, TopicID: w.fake.TopicInfo(topic).TopicID, Limit: 1 << 20})
}

// put hands l a batch of n records, about size bytes.
func (w *world) put(l *lane.Lane, n, size int) batch.View {
	w.t.Helper()
	gen, from, _, _ := l.Fetch()
	var plain []byte
	for i := range n {
		v := fmt.Sprint(l.Partition, "/", int(from)+i)
		w.filled[l] = append(w.filled[l], v)
		r := kmsg.Record{OffsetDelta: int32(i), Key: bytes.Repeat([]byte("."), size/n), Value: []byte(v)}
		r.Length = int32(len(r.AppendTo(nil)) - 1)
		plain = r.AppendTo(plain)
	}
	b := kmsg.RecordBatch{
		FirstOffset: int64(from), Magic: 2, LastOffsetDelta: int32(n - 1), FirstTimestamp: 1, MaxTimestamp: 1,
		ProducerID: -1, ProducerEpoch: -1, FirstSequence: -1, NumRecords: int32(n), Records: plain,
	}
	b.Length = int32(len(b.AppendTo(nil)) - 12)
	b.CRC = int32(crc32.Checksum(b.AppendTo(nil)[21:], crc32.MakeTable(crc32.Castagnoli)))
	v := batch.View(b.AppendTo(nil))
	w.b.Adjust(int64(len(v)))
	next := from + offsets.Source(n)
	if !l.Put(gen, []lane.Item{{Bytes: v, First: from, Next: next, Records: int32(n), Hold: w.b.Hold(int64(len(v)))}}, next, 0) {
		w.t.Fatal("not taken")
	}
	return v
}

// check reads the target: every record once, in order, and the lanes know it.
func (w *world) check(ls ...*lane.Lane) {
	w.t.Helper()
	for _, l := range ls {
		got := w.read(l.Partition)
		if want := w.filled[l]; !slices.Equal(got, want) {
			w.t.Errorf("partition %d has %d records, want %d:\n%v", l.Partition, len(got), len(want), got)
		}
		if s := l.Snapshot(); int(s.Source) != len(w.filled[l]) || int(s.Target) != len(w.filled[l]) || s.Held != 0 {
			w.t.Errorf("partition %d: %+v", l.Partition, s)
		}
	}
}

func (w *world) read(n int32) (values []string) {
	w.t.Helper()
	ends, err := w.cl.Admin().ListEndOffsets(w.t.Context(), topic)
	if err != nil {
		w.t.Fatal(err)
	}
	end, _ := ends.Lookup(topic, n)
	if end.Offset == 0 {
		return nil
	}
	cl, err := w.cl.NewClient(kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: {n: kgo.NewOffset().AtStart()}}))
	if err != nil {
		w.t.Fatal(err)
	}
	defer cl.Close()
	for int64(len(values)) < end.Offset {
		fs := cl.PollFetches(w.t.Context())
		if err := fs.Err(); err != nil {
			w.t.Fatal(err)
		}
		fs.EachRecord(func(r *kgo.Record) { values = append(values, string(r.Value)) })
	}
	return values
}

func (w *world) wantFailed(l *lane.Lane, says string) {
	w.t.Helper()
	synctest.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	if got := w.failed[l]; says == "" && got != "" || !strings.Contains(got, says) {
		w.t.Errorf("partition %d failed with %q, want %q", l.Partition, got, says)
	}
	delete(w.failed, l)
}

// cutter dials, and on demand closes a connection instead of handing on what
// the broker answers.
type cutter struct {
	dial  func(context.Context, string, string) (net.Conn, error)
	mu    sync.Mutex
	armed bool
}

func (c *cutter) open(ctx context.Context, network, addr string) (net.Conn, error) {
	conn, err := c.dial(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	w := &cutConn{Conn: conn, c: c, out: make(chan []byte, 100), closed: make(chan struct{})}
	go w.write()
	return w, nil
}

func (c *cutter) arm(on bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.armed = on
}

// cutConn has room for what the other side does not read at once, as a socket
// has and a pipe has not.
type cutConn struct {
	net.Conn
	c      *cutter
	out    chan []byte
	closed chan struct{}
	once   sync.Once
}

func (c *cutConn) write() {
	for {
		select {
		case p := <-c.out:
			if _, err := c.Conn.Write(p); err != nil {
				return
			}
		case <-c.closed:
			return
		}
	}
}

func (c *cutConn) Write(p []byte) (int, error) {
	select {
	case c.out <- bytes.Clone(p):
		return len(p), nil
	case <-c.closed:
		return 0, net.ErrClosed
	}
}

func (c *cutConn) Close() error {
	c.once.Do(func() { close(c.closed) })
	return c.Conn.Close()
}

func (c *cutConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.c.mu.Lock()
	defer c.c.mu.Unlock()
	if c.c.armed {
		c.Close()
		return 0, net.ErrClosed
	}
	return n, err
}

// hold keeps the next produce request at the broker until the returned function
// is called.
func (w *world) hold() (release func()) {
	gate := make(chan struct{})
	w.control(func(*kmsg.ProduceRequest) (kmsg.Response, error, bool) {
		w.fake.DropControl()
		w.fake.SleepControl(func() { <-gate })
		return nil, nil, false
	})
	return func() { close(gate) }
}

// refuse answers the next produce request with an error for all its partitions.
func (w *world) refuse(code int16, message string) {
	w.control(func(r *kmsg.ProduceRequest) (kmsg.Response, error, bool) {
		resp := r.ResponseKind().(*kmsg.ProduceResponse)
		for _, t := range r.Topics {
			rt := kmsg.NewProduceResponseTopic()
			rt.Topic, rt.TopicID = t.Topic, t.TopicID
			for _, p := range t.Partitions {
				rp := kmsg.NewProduceResponseTopicPartition()
				rp.Partition, rp.ErrorCode, rp.BaseOffset = p.Partition, code, -1
				if message != "" {
					rp.ErrorMessage = kadm.StringPtr(message)
				}
				rt.Partitions = append(rt.Partitions, rp)
			}
			resp.Topics = append(resp.Topics, rt)
		}
		return resp, nil, true
	})
}

// Three lanes with five batches in flight each.
func TestOrder(t *testing.T) {
	producing(t, func(t *testing.T, w *world) {
		for n := range int32(3) {
			l := w.lane(n)
			for i := range 40 {
				w.put(l, 1+i%4, large)
			}
			w.add(l)
		}
		synctest.Wait()
		w.check(w.lanes...)
		if len(w.failed) > 0 {
			t.Errorf("failed: %v", w.failed)
		}
	})
}

// The first batch goes alone; then five are on the wire, no more.
func TestFiveInFlight(t *testing.T) {
	producing(t, func(t *testing.T, w *world) {
		l := w.lane(0)
		inFlight := func() int {
			synctest.Wait()
			w.p.mu.Lock()
			defer w.p.mu.Unlock()
			return len(w.p.sent)
		}
		w.add(l)
		for _, want := range []int{1, lane.Depth} {
			held := w.hold()
			for range 9 {
				w.put(l, 1, large)
			}
			if n := inFlight(); n != want {
				t.Errorf("%d on the wire, want %d", n, want)
			}
			held()
			synctest.Wait()
		}
		w.check(l)
	})
}

// However many lanes, a connection has so many requests at a time.
func TestRequestsOnTheWire(t *testing.T) {
	producing(t, func(t *testing.T, w *world) {
		held := w.hold()
		for n := range int32(8) {
			w.put(w.lane(n), 1, large)
			w.add(w.lanes[n])
			synctest.Wait()
		}
		w.p.mu.Lock()
		if len(w.p.sent) != mostRequests {
			t.Errorf("%d on the wire, want %d", len(w.p.sent), mostRequests)
		}
		w.p.mu.Unlock()
		held()
		synctest.Wait()
		w.check(w.lanes...)
	})
}

// One request holds a batch of each lane.
func TestLanesShareRequests(t *testing.T) {
	producing(t, func(t *testing.T, w *world) {
		for n := range int32(16) {
			l := w.lane(n)
			w.put(l, 2, 100)
			w.put(l, 2, large)
		}
		held := w.hold()
		w.add(w.lanes[0])
		synctest.Wait()
		for _, l := range w.lanes[1:] {
			w.add(l)
		}
		synctest.Wait()
		held()
		synctest.Wait()
		w.check(w.lanes...)
		if n := len(w.requests()); n > 12 {
			t.Errorf("%d requests for 32 batches", n)
		}
	})
}

// More than fits one request: all lanes get their turn.
func TestMoreThanARequest(t *testing.T) {
	producing(t, func(t *testing.T, w *world) {
		held := w.hold()
		for n := range int32(14) {
			l := w.lane(n)
			for range 3 {
				w.put(l, 1, 1<<20-200)
			}
			w.add(l)
			synctest.Wait()
		}
		held()
		synctest.Wait()
		w.check(w.lanes...)
	})
}

// A lane stands in the queue once, however often it is marked.
func TestQueuedOnce(t *testing.T) {
	p := New(Options{})
	l := lane.New(lane.ID{Topic: "t"}, "t")
	l.Start(lane.Position{}, 0)
	l.Put(1, []lane.Item{{Bytes: make([]byte, batch.HeaderSize), Next: 1, Records: 1}}, 1, 0)
	p.Add(Target{Lane: l})
	m := p.lanes[l]
	w, _ := l.Next()
	l.Send(w.Gen, w.Items[0], 1) // it probes and has no more to send
	p.requeue([]*member{m})
	p.mark(l)
	p.requeue([]*member{m})
	p.mark(l)
	if len(p.ready) != 1 {
		t.Errorf("%d times in the queue: its batches would share a request", len(p.ready))
	}
}

// A lane that left and came back is sent for by its new member alone: the old
// one would keep the answers, and its verdict, to itself.
func TestLeftAndCameBack(t *testing.T) {
	p := New(Options{})
	l := lane.New(lane.ID{Topic: "t"}, "t")
	l.Start(lane.Position{}, 0)
	v := batch.View(make([]byte, batch.HeaderSize))
	v.Init(batch.Header{Count: 1})
	l.Put(1, []lane.Item{{Bytes: v, Next: 1, Records: 1}}, 1, 0)
	p.Add(Target{Lane: l})
	p.Release(l, func() {})
	l.Rewind()
	p.Add(Target{Lane: l})
	serve := p.ready
	p.ready = nil
	_, r := p.build(serve)
	if r == nil || len(r.parts) != 1 || r.parts[0] != p.lanes[l] {
		t.Errorf("sent by another than the new member: %+v", r)
	}
}

func TestLeaderMoves(t *testing.T) {
	for at := range 4 {
		producing(t, func(t *testing.T, w *world) {
			l, other := w.lane(0), w.lane(1)
			for range 12 {
				w.put(l, 2, large)
			}
			w.put(other, 1, 10)
			w.add(other)
			synctest.Wait()
			for range at {
				w.control(func(*kmsg.ProduceRequest) (kmsg.Response, error, bool) {
					w.fake.DropControl()
					return nil, nil, false
				})
			}
			held := w.hold()
			w.add(l)
			synctest.Wait()
			w.refuse(kerr.NotLeaderForPartition.Code, "")
			held()
			w.wantFailed(l, "rehome: NOT_LEADER")
			l.Rewind()
			w.add(l)
			synctest.Wait()
			w.check(l, other)
		})
	}
}

// A connection that breaks with batches in flight; the answer to a stored batch
// is lost, or the batch itself.
func TestConnectionBreaks(t *testing.T) {
	for _, stored := range []bool{true, false} {
		producing(t, func(t *testing.T, w *world) {
			l := w.lane(3)
			w.put(l, 1, 10)
			w.add(l)
			synctest.Wait()
			held := w.hold()
			for range 7 {
				w.put(l, 3, large)
			}
			synctest.Wait()
			if stored {
				w.cut.arm(true)
			} else {
				w.control(func(*kmsg.ProduceRequest) (kmsg.Response, error, bool) { return nil, errors.New("close it"), true })
			}
			held()
			w.wantFailed(l, "rehome: ")
			w.cut.arm(false)
			before := len(w.read(3))
			if stored && before == 1 {
				t.Error("nothing was stored")
			}
			l.Rewind()
			w.add(l)
			synctest.Wait()
			w.check(l)
		})
	}
}

func TestRefusals(t *testing.T) {
	for _, c := range []struct {
		err  *kerr.Error
		text string
		want string
	}{
		{kerr.MessageTooLarge, "", "refuse: MESSAGE_TOO_LARGE"},
		{kerr.InvalidTimestamp, "too old", "(too old)"},
		{kerr.OutOfOrderSequenceNumber, "", "resume: OUT_OF_ORDER"},
		{kerr.TopicAuthorizationFailed, "", "stop: TOPIC_AUTHORIZATION_FAILED"},
		{kerr.NotEnoughReplicas, "", "retry: NOT_ENOUGH_REPLICAS"},
		{kerr.UnknownTopicID, "", "rehome: UNKNOWN_TOPIC_ID"},
	} {
		producing(t, func(t *testing.T, w *world) {
			l := w.lane(0)
			w.put(l, 5, 10)
			w.refuse(c.err.Code, c.text)
			w.add(l)
			w.wantFailed(l, c.want)
			if b, n, first := l.Oldest(); b == 0 || n != 5 || first != 0 {
				t.Errorf("%s: oldest is %d bytes, %d records at %d", c.err.Message, b, n, first)
			}
			l.Rewind()
			w.add(l)
			synctest.Wait()
			w.check(l)
		})
	}
}

// The limit of the topic, by the broker itself.
func TestTooLargeForTheTopic(t *testing.T) {
	producing(t, func(t *testing.T, w *world) {
		if _, err := w.cl.Admin().AlterTopicConfigs(t.Context(), []kadm.AlterConfig{{Name: "max.message.bytes", Value: kadm.StringPtr("1000")}}, topic); err != nil {
			t.Fatal(err)
		}
		l := w.lane(0)
		w.put(l, 1, 10)
		w.put(l, 1, large)
		w.put(l, 1, large)
		w.add(l)
		w.wantFailed(l, "refuse: MESSAGE_TOO_LARGE")
		if s := l.Snapshot(); s.Source != 1 || s.Target != 1 {
			t.Errorf("%+v", s)
		}
		if _, n, first := l.Oldest(); n != 1 || first != 1 {
			t.Errorf("oldest: %d records at %d", n, first)
		}
	})
}

// The sum travels with the data: the target finds what went bad on the way.
func TestCorruptBatchIsRefused(t *testing.T) {
	producing(t, func(t *testing.T, w *world) {
		l := w.lane(0)
		w.put(l, 1, large)
		v := w.put(l, 1, large)
		v[len(v)-10] ^= 1
		w.put(l, 1, large)
		w.add(l)
		w.wantFailed(l, "resume: CORRUPT_MESSAGE")
		if s := l.Snapshot(); s.Source != 1 {
			t.Errorf("%+v", s)
		}
	})
}

// A batch that is joined with others is checked before: a new sum would hide it.
func TestCorruptBatchIsNotMerged(t *testing.T) {
	producing(t, func(t *testing.T, w *world) {
		l := w.lane(0)
		w.put(l, 1, large)
		held := w.hold()
		w.add(l)
		synctest.Wait()
		w.put(l, 1, 10)
		v := w.put(l, 1, 10)
		v[len(v)-1] ^= 1
		held()
		w.wantFailed(l, "resume: recode: batch at offset 2")
		if s := l.Snapshot(); s.Source != 1 || len(w.read(0)) != 1 {
			t.Errorf("%+v", s)
		}
	})
}

// What waits while another batch is on the wire goes as one.
func TestSmallBatchesMerge(t *testing.T) {
	producing(t, func(t *testing.T, w *world) {
		l := w.lane(0)
		held := w.hold()
		w.put(l, 1, 10)
		w.add(l)
		synctest.Wait()
		for range 10 {
			w.put(l, 3, 100)
		}
		w.put(l, 4, large) // alone
		w.put(l, 1, 10)
		w.put(l, 2, 10)
		held()
		synctest.Wait()
		w.check(l)
		if got, want := w.requests(), []string{"0:1", "0:30", "0:4", "0:3"}; !slices.Equal(got, want) {
			t.Errorf("sent %v, want %v", got, want)
		}
		if s := l.Snapshot(); s.Batches != [lane.Paths]int64{lane.Whole: 2, lane.Merged: 2} || s.Records != 38 {
			t.Errorf("%+v", s.Stats)
		}
	})
}

// Joined batches have memory of their own, which the budget knows; and they grow
// no larger than pays, whatever the topic takes.
func TestMergedMemoryAndSize(t *testing.T) {
	producing(t, func(t *testing.T, w *world) {
		l := w.lane(0)
		w.put(l, 1, large)
		held := w.hold()
		w.p.Add(Target{Lane: l, TopicID: w.fake.TopicInfo(topic).TopicID, Limit: 10 << 20})
		synctest.Wait()
		for range 40 {
			w.put(l, 1, 60<<10)
		}
		held()
		synctest.Wait()
		w.check(l)
		if n := len(w.requests()); n != 4 { // 17 batches of 60 KiB fit 1 MiB
			t.Errorf("%d requests", n)
		}
		held = w.hold()
		w.put(l, 1, large)
		synctest.Wait()
		for range 5 {
			w.put(l, 1, 10)
		}
		for range 2 {
			synctest.Wait()
			if s := l.Snapshot(); w.b.Used() != s.Held {
				t.Errorf("the lane holds %d bytes, the budget says %d", s.Held, w.b.Used())
			}
			next := w.hold() // of the joined batch
			held()
			held = next
		}
		held()
		synctest.Wait()
		w.check(l)
	})
}

// Joined batches respect the topic's limit.
func TestMergeRespectsTheLimit(t *testing.T) {
	producing(t, func(t *testing.T, w *world) {
		l := w.lane(0)
		held := w.hold()
		w.put(l, 1, 10)
		w.p.Add(Target{Lane: l, TopicID: w.fake.TopicInfo(topic).TopicID, Limit: 2000})
		synctest.Wait()
		for range 6 {
			w.put(l, 1, 600)
		}
		held()
		synctest.Wait()
		w.check(l)
		for _, r := range w.requests()[1:] {
			if r != "0:3" && r != "0:2" {
				t.Errorf("sent %v", w.requests())
			}
		}
	})
}

func TestRelease(t *testing.T) {
	producing(t, func(t *testing.T, w *world) {
		l, stranger := w.lane(0), w.lane(1)
		released := 0
		then := func() { released++ }
		if w.p.Release(stranger, then) {
			t.Error("released what it does not have")
		}
		w.put(l, 1, large)
		held := w.hold()
		w.add(l)
		synctest.Wait()
		w.put(l, 1, large)
		if !w.p.Release(l, then) {
			t.Error("not released")
		}
		if synctest.Wait(); released != 0 {
			t.Error("released with a batch on the wire")
		}
		held()
		if synctest.Wait(); released != 1 {
			t.Errorf("released %d times", released)
		}
		if s := l.Snapshot(); s.Source != 1 || s.Held == 0 {
			t.Errorf("%+v", s)
		}
		w.wantFailed(l, "")
		l.Rewind()
		w.add(l)
		synctest.Wait()
		w.check(l)
		// With nothing on the wire it is settled at once.
		if !w.p.Release(l, then) || released != 2 {
			t.Errorf("released %d times", released)
		}
		w.put(l, 1, 10)
		synctest.Wait()
		if n := len(w.read(0)); n != 2 {
			t.Errorf("%d records: it sent for a lane it let go", n)
		}
	})
}

// Released while its batch fails: it is let go, not reported as well.
func TestReleaseOfAFailingLane(t *testing.T) {
	producing(t, func(t *testing.T, w *world) {
		l := w.lane(0)
		w.put(l, 1, large)
		held := w.hold()
		w.refuse(kerr.NotLeaderForPartition.Code, "")
		w.add(l)
		synctest.Wait()
		released := 0
		w.p.Release(l, func() { released++ })
		held()
		synctest.Wait()
		w.wantFailed(l, "")
		if released != 1 {
			t.Errorf("released %d times", released)
		}
		l.Rewind()
		w.add(l)
		synctest.Wait()
		w.check(l)
	})
}

// After a while without batches the first goes alone: the broker may have
// forgotten the producer, and would take any first sequence.
func TestProbesAfterIdling(t *testing.T) {
	producing(t, func(t *testing.T, w *world) {
		l := w.lane(0)
		w.add(l)
		w.put(l, 1, 10)
		synctest.Wait()
		for _, c := range []struct {
			idle time.Duration
			want int // on the wire
		}{{idleProbe - time.Minute, 3}, {idleProbe - time.Minute, 3}, {idleProbe + time.Minute, 1}} {
			time.Sleep(c.idle)
			held := w.hold()
			for range 3 {
				w.put(l, 1, large)
			}
			synctest.Wait()
			w.p.mu.Lock()
			if len(w.p.sent) != c.want {
				t.Errorf("%d on the wire after %v, want %d", len(w.p.sent), c.idle, c.want)
			}
			w.p.mu.Unlock()
			held()
			synctest.Wait()
		}
		w.check(l)
	})
}

// An answer without our partition says nothing about the batch.
func TestAnswerLeavesOutAPartition(t *testing.T) {
	producing(t, func(t *testing.T, w *world) {
		l := w.lane(0)
		w.put(l, 1, 10)
		w.control(func(r *kmsg.ProduceRequest) (kmsg.Response, error, bool) { return r.ResponseKind(), nil, true })
		w.add(l)
		w.wantFailed(l, "resume: the target's answer leaves out the partition")
	})
}
