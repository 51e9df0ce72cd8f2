package produce

import (
	"bytes"
	"context"
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
	age  int64 // of the records that are put, ms

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
	l.Start(lane.Plan{Position: lane.Position{Producer: w.pid}}, 0, nil)
	w.lanes = append(w.lanes, l)
	return l
}

func (w *world) add(l *lane.Lane) {
	w.p.Add(Target{Lane: l, TopicID: w.fake.TopicInfo(topic).TopicID, Limit: 1 << 20})
}

// put hands l a batch of n records, about size bytes.
func (w *world) put(l *lane.Lane, n, size int) batch.View {
	w.t.Helper()
	gen, from, _, _, _ := l.Fetch()
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
	it := lane.Item{Bytes: v, First: from, Next: next, Records: int32(n), Newest: time.Now().UnixMilli() - w.age, Hold: w.b.Hold(int64(len(v)))}
	if !l.Put(gen, []lane.Item{it}, next, 0, 0, 0) {
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

// cutter dials. On demand it holds what is written, or closes a connection
// instead of handing on what the broker answers.
type cutter struct {
	dial  func(context.Context, string, string) (net.Conn, error)
	mu    sync.Mutex
	armed bool
	gate  chan struct{} // nil: what is written goes through
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
			if gate := c.c.gateNow(); gate != nil {
				select {
				case <-gate:
				case <-c.closed:
					return
				}
			}
			if _, err := c.Conn.Write(p); err != nil {
				return
			}
		case <-c.closed:
			return
		}
	}
}

func (c *cutter) gateNow() chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.gate
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

// hold keeps all that is written from now on from the broker, until the returned
// function is called.
func (w *world) hold() (release func()) {
	gate := make(chan struct{})
	w.cut.mu.Lock()
	defer w.cut.mu.Unlock()
	w.cut.gate = gate
	return func() {
		w.cut.mu.Lock()
		defer w.cut.mu.Unlock()
		if w.cut.gate == gate {
			w.cut.gate = nil
		}
		close(gate)
	}
}

// refuse lets so many produce requests pass and answers the next one with an
// error for all its partitions.
func (w *world) refuse(pass int, code int16, message string) {
	w.control(func(r *kmsg.ProduceRequest) (kmsg.Response, error, bool) {
		if pass--; pass >= 0 {
			w.fake.KeepControl()
			return nil, nil, false
		}
		w.fake.DropControl()
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
