package kafka

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Link sends raw requests on connections of its own: one for produces and one
// for fetches per broker. A broker answers one request per connection at a
// time, so links are what makes a wide, distant connection fast; a lane stays
// on one link, because order holds within a connection only.
//
// Nothing is retried. The context of a request that is already written must not
// be cancelled while others wait on the link: kgo then closes the connection
// and fails them all. Give requests a context that lives as long as the link
// and bound them by TimeoutMillis and MaxWaitMillis, which lengthen kgo's read
// deadline (10 s) by as much.
type Link struct {
	client  *kgo.Client
	tickets *tickets
}

// Fetch sends req to the broker with that id. The RecordBatches in the answer
// are slices of one buffer made for this response; the caller owns them.
// The request needs both Topic and TopicID: its version decides which is sent.
func (l *Link) Fetch(ctx context.Context, broker int32, req *kmsg.FetchRequest) (*kmsg.FetchResponse, error) {
	return l.FetchInto(ctx, broker, req, makeRoom)
}

// FetchInto is Fetch with memory from room for the whole response: n bytes or more.
// After an error it may still be written to.
func (l *Link) FetchInto(ctx context.Context, broker int32, req *kmsg.FetchRequest, room func(n int) []byte) (*kmsg.FetchResponse, error) {
	resp, err := l.ask(ctx, broker, &ticket{Request: req, room: room})
	if err != nil {
		return nil, l.failed(err)
	}
	r, ok := resp.(*kmsg.FetchResponse)
	if !ok {
		return nil, fmt.Errorf("fetch answered with %T", resp)
	}
	return r, nil
}

func makeRoom(n int) []byte { return make([]byte, n) }

// ask sends t past kgo, see bulk.go, and waits for the answer.
func (l *Link) ask(ctx context.Context, broker int32, t *ticket) (kmsg.Response, error) {
	defer l.tickets.issue(t)()
	resp, err := l.client.Broker(int(broker)).Request(ctx, t)
	if err != nil {
		return nil, err
	}
	r, ok := resp.(*receipt)
	if !ok {
		return nil, fmt.Errorf("kgo answered a ticket with %T", resp)
	}
	return r.Response, nil
}

// Produce sends req, with acks=all, to the broker with that id. It returns when
// req has its place in the write order of the link's connection to that broker
// or has failed: of two calls one after the other, the first is written first.
// It therefore blocks while kgo dials, logs in again or obeys a throttle. done
// runs later, on another goroutine, exactly once, with either a response or an
// error; after an error the records may or may not be stored.
//
// req belongs to the link from here on, and its records must never be written
// to again: on an error kgo may still be reading them. Build a new request
// around the same bytes to send them again.
//
// kgo's Broker.Request starts a goroutine before it queues the request, so without
// the wait two calls made in order can be written out of order, and an idempotent
// partition answers OUT_OF_ORDER_SEQUENCE_NUMBER.
//
// When a connection breaks, requests in flight fail, and a request that was made
// before their done has run would go out on a new connection. A broker that does not
// know the producer would store it in the place of what was lost. So sent, from Behind,
// says after which request it may be written: on the same connection, or not at all.
func (l *Link) Produce(ctx context.Context, broker int32, req *kmsg.ProduceRequest, sent *Sent, done func(*kmsg.ProduceResponse, error)) {
	req.Acks = -1
	var once sync.Once
	placed := make(chan struct{})
	place := func() { once.Do(func() { close(placed) }) }
	go func() {
		resp, err := l.ask(ctx, broker, &ticket{Request: req, room: makeRoom, placed: place, sent: sent})
		place() // it failed before
		if err != nil {
			done(nil, l.failed(err))
			return
		}
		r, ok := resp.(*kmsg.ProduceResponse)
		if !ok {
			err = fmt.Errorf("produce answered with %T", resp)
		}
		done(r, err)
	}()
	<-placed
}

// Sent tells on which connection a request was written.
type Sent struct {
	behind *Sent
	conn   atomic.Pointer[bulkConn] // nil: on none, or not yet
}

// Behind is for the request that goes to the same broker after before; nil: there is
// none that it must not overtake.
func (l *Link) Behind(before *Sent) *Sent { return &Sent{behind: before} }

// errOvertakes closes the connection on which the request was to be written. It is a new
// one, and nothing else was written there.
var errOvertakes = errors.New("the connection broke under an earlier request")

// on takes note that the request is written to c now, if it may be.
func (s *Sent) on(c *bulkConn) error {
	if s == nil {
		return nil
	}
	if s.behind != nil {
		if s.behind.conn.Load() != c {
			return errOvertakes
		}
		s.behind.behind = nil // or each would keep all before it; this one may be written again
	}
	s.conn.Store(c)
	return nil
}

// WarmFetch opens the connection on which Fetch reads from the broker, WarmProduce
// that of Produce: a new one costs several ways there and back, which can be had
// while something else is waited for. They ask for nothing, and what fails here
// fails there again.
func (l *Link) WarmFetch(ctx context.Context, broker int32) {
	req := kmsg.NewPtrFetchRequest()
	req.MaxWaitMillis, req.SessionEpoch = 0, -1
	_, _ = l.client.Broker(int(broker)).Request(ctx, req)
}

// WarmProduce is described at WarmFetch.
func (l *Link) WarmProduce(ctx context.Context, broker int32) {
	req := kmsg.NewPtrProduceRequest()
	req.Acks = -1
	_, _ = l.client.Broker(int(broker)).Request(ctx, req)
}

// failed has the client look up the brokers' addresses again, in the
// background: kgo does so by itself only for requests that it retries, and a
// broker may have come back at another address.
func (l *Link) failed(err error) error {
	if !errors.Is(err, context.Canceled) {
		l.client.ForceMetadataRefresh()
	}
	return err
}
