package kafka

import (
	"context"
	"errors"
	"fmt"
	"sync"

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
type Link struct{ client *kgo.Client }

// Fetch sends req to the broker with that id. The RecordBatches in the answer
// are slices of one buffer made for this response; the caller owns them.
// The request needs both Topic and TopicID: its version decides which is sent.
func (l *Link) Fetch(ctx context.Context, broker int32, req *kmsg.FetchRequest) (*kmsg.FetchResponse, error) {
	resp, err := l.client.Broker(int(broker)).Request(ctx, req)
	if err != nil {
		return nil, l.failed(err)
	}
	r, ok := resp.(*kmsg.FetchResponse)
	if !ok {
		return nil, fmt.Errorf("fetch answered with %T", resp)
	}
	return r, nil
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
// When a connection breaks, requests in flight fail, and a call made before
// their done has run goes out on a new connection. Only the sequence check of
// a broker that knows the producer refuses the gap.
func (l *Link) Produce(ctx context.Context, broker int32, req *kmsg.ProduceRequest, done func(*kmsg.ProduceResponse, error)) {
	req.Acks = -1
	o := &ordered{ProduceRequest: req, placed: make(chan struct{})}
	ended := make(chan struct{})
	go func() {
		resp, err := l.client.Broker(int(broker)).Request(ctx, o)
		close(ended)
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
	select {
	case <-o.placed:
	case <-ended:
	}
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

// ordered is a produce request that says when it has its place on the connection.
//
// kgo's Broker.Request starts a goroutine before it queues the request, so two
// calls made in order can be written out of order, and an idempotent partition
// answers OUT_OF_ORDER_SEQUENCE_NUMBER. A broker's one writing goroutine takes
// requests off its queue and serializes each through AppendTo just before the
// write; when AppendTo has run, no later request can pass.
//
// What this leans on in kgo, checked in v1.22.2; the order test guards it:
//   - broker.handleReqs is the only caller of AppendTo (by way of
//     kmsg.RequestFormatter) and handles one request at a time, per broker.
//     Requests parked for re-authentication are replayed by the same goroutine
//     in their order, before any later one for that connection.
//   - loadConnection picks the produce connection by Key() == 0.
//   - handleReq rewrites the acks of a *kmsg.ProduceRequest to the client's;
//     not of this type, hence Acks = -1 in Produce. Acks 0 would hang: kgo
//     knows "no answer" only of its own types.
//   - connTimeouter takes the read deadline from kmsg.TimeoutRequest, and the
//     version is negotiated by MaxVersion and SetVersion: all promoted from the
//     embedded pointer.
//   - a write that failed with no byte written is done again on a new
//     connection, so AppendTo can run twice.
type ordered struct {
	*kmsg.ProduceRequest
	once   sync.Once
	placed chan struct{} // closed by the first AppendTo
}

var (
	_ kmsg.Request        = (*ordered)(nil)
	_ kmsg.TimeoutRequest = (*ordered)(nil)
)

// AppendTo is called by kgo's writing goroutine.
func (o *ordered) AppendTo(dst []byte) []byte {
	o.once.Do(func() { close(o.placed) })
	return o.ProduceRequest.AppendTo(dst)
}
