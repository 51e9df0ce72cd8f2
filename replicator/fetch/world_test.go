package fetch

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"go.uber.org/goleak"

	"github.com/kferry/kferry/config"
	"github.com/kferry/kferry/internal/kafka"
	"github.com/kferry/kferry/offsets"
	"github.com/kferry/kferry/replicator/budget"
	"github.com/kferry/kferry/replicator/lane"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// reach is what the fetchers of these tests ask per partition.
const reach = 4 << 20

// world is a Fetcher of a kfake cluster with one broker, in a bubble of
// synctest: after settle all is quiet.
type world struct {
	t      *testing.T
	fake   *kfake.Cluster
	cl     *kafka.Cluster
	b      *budget.Budget
	f      *Fetcher
	stop   context.CancelFunc
	broker mirror // what its session holds, from the requests

	mu       sync.Mutex
	failed   map[lane.ID]string // verdict and cause
	requests []*kmsg.FetchRequest
	errs     int
}

// fetching runs test with a world.
func fetching(t *testing.T, test func(*testing.T, *world)) {
	synctest.Test(t, func(t *testing.T) {
		var wire kfake.VirtualNetwork
		fake, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.ListenFn(wire.Listen), kfake.SeedTopics(2, "a"), kfake.SeedTopics(500, "many"))
		if err != nil {
			t.Fatal(err)
		}
		defer fake.Close()
		cl, err := kafka.Open(config.Cluster{Alias: "source", BootstrapServers: fake.ListenAddrs(), ClientID: "test", Connections: 1}, kafka.Options{Dialer: wire.DialContext})
		if err != nil {
			t.Fatal(err)
		}
		defer cl.Close()
		if err := cl.Ping(t.Context()); err != nil {
			t.Fatal(err)
		}
		w := &world{t: t, fake: fake, cl: cl, b: budget.New(256 << 20), failed: map[lane.ID]string{}, broker: mirror{}}
		w.f = New(Options{
			Link: cl.Links()[0], Broker: 0, Budget: w.b, Reach: reach,
			Failed: func(l *lane.Lane, v kafka.Verdict, cause error) {
				w.mu.Lock()
				defer w.mu.Unlock()
				w.failed[l.ID] = fmt.Sprint(v, ": ", cause)
			},
			Fetched: func(_ time.Duration, err error) {
				w.mu.Lock()
				defer w.mu.Unlock()
				if err != nil {
					w.errs++
				}
			},
		})
		fake.ControlKey(kmsg.Fetch.Int16(), func(r kmsg.Request) (kmsg.Response, error, bool) {
			fake.KeepControl()
			w.mu.Lock()
			defer w.mu.Unlock()
			w.requests = append(w.requests, r.(*kmsg.FetchRequest))
			return nil, nil, false
		})
		ctx, stop := context.WithCancel(t.Context())
		w.stop = stop
		io, endIO := context.WithCancel(t.Context())
		var run sync.WaitGroup
		run.Go(func() { w.f.Run(ctx, io) })
		test(t, w)
		stop()
		run.Wait()
		endIO()
		for l := range w.f.cursors {
			l.Drop()
		}
		if u := w.b.Used(); u != 0 {
			t.Errorf("%d bytes of the budget are not given back", u)
		}
	})
}

// settle waits until nothing happens any more but the clock.
func (w *world) settle() {
	time.Sleep(2 * time.Second) // of the bubble's clock
	synctest.Wait()
}

// lane makes one that reads partition n of topic from offset from.
func (w *world) lane(topic string, n int32, from offsets.Source) *lane.Lane {
	l := lane.New(lane.ID{Topic: topic, Partition: n}, topic)
	l.Start(lane.Plan{Position: lane.Position{Source: from}}, 0, nil)
	return l
}

func (w *world) add(l *lane.Lane) { w.addLimited(l, 0) }

func (w *world) addLimited(l *lane.Lane, limit int) {
	w.f.Add(Source{Lane: l, TopicID: w.fake.TopicInfo(l.Topic).TopicID, Limit: limit})
}

// write produces one batch of the values.
func (w *world) write(topic string, n int32, values ...string) {
	w.t.Helper()
	cl, err := w.cl.NewClient(kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerLinger(0), kgo.ProducerBatchCompression(kgo.NoCompression()))
	if err != nil {
		w.t.Fatal(err)
	}
	defer cl.Close()
	var rs []*kgo.Record
	for _, v := range values {
		rs = append(rs, &kgo.Record{Topic: topic, Partition: n, Value: []byte(v)})
	}
	if err := cl.ProduceSync(w.t.Context(), rs...).FirstErr(); err != nil {
		w.t.Fatal(err)
	}
}

// take plays the producer: it acknowledges all that waits now and returns it.
func take(t testing.TB, l *lane.Lane) (values []string) {
	t.Helper()
	for held := l.Snapshot().Held; held > 0; {
		w, ok := l.Next(0)
		if !ok {
			t.Fatalf("%d bytes are held and cannot be sent", held)
		}
		it := w.Items[0]
		values = append(values, decode(t, it.Bytes)...)
		held -= int64(len(it.Bytes))
		if _, ok := l.Send(w.Gen, it, 1); !ok {
			t.Fatal("not sent")
		}
		l.Ack(offsets.UnknownTarget, 0)
	}
	return values
}

func (w *world) wantFailed(l *lane.Lane, says string) {
	w.t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	if got := w.failed[l.ID]; says == "" && got != "" || !strings.Contains(got, says) {
		w.t.Errorf("%v failed with %q, want %q", l.ID, got, says)
	}
}

func want(t *testing.T, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

// wantSession compares the broker's session, as the requests tell it.
func (w *world) wantSession(ls ...*lane.Lane) {
	w.t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, r := range w.requests {
		w.broker.take(r)
	}
	w.requests = nil
	ids := map[partition]bool{}
	for _, l := range ls {
		ids[partition{w.fake.TopicInfo(l.Topic).TopicID, l.Partition}] = true
	}
	for id := range w.broker {
		if !ids[id] {
			w.t.Errorf("%v is in the session", id)
		}
	}
	if len(w.broker) != len(ids) {
		w.t.Errorf("%d lanes in the session, want %d", len(w.broker), len(ids))
	}
}

// answer has the next fetch answered by say, instead of by the broker.
func (w *world) answer(say func(*kmsg.FetchRequest, *kmsg.FetchResponse) error) {
	w.fake.ControlKey(kmsg.Fetch.Int16(), func(r kmsg.Request) (kmsg.Response, error, bool) {
		req := r.(*kmsg.FetchRequest)
		resp := req.ResponseKind().(*kmsg.FetchResponse)
		resp.SessionID = 0 // the next request is whole
		err := say(req, resp)
		return resp, err, true
	})
}

// part adds partition n of topic to the answer.
func (w *world) part(resp *kmsg.FetchResponse, topic string, n int32, code int16, raw []byte) {
	t := kmsg.NewFetchResponseTopic()
	t.Topic, t.TopicID = topic, w.fake.TopicInfo(topic).TopicID
	p := kmsg.NewFetchResponseTopicPartition()
	p.Partition, p.ErrorCode, p.RecordBatches, p.HighWatermark = n, code, raw, 1000
	t.Partitions = append(t.Partitions, p)
	resp.Topics = append(resp.Topics, t)
}
