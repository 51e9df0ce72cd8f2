package kafka

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"sync"

	"github.com/twmb/franz-go/pkg/kbin"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// kgo makes a fresh buffer for each response and copies each request into one
// buffer before it writes it. Clearing and copying megabytes that nobody looks at
// was a third of kferry's processor time where records are not compressed. So kgo
// keeps all that it is good at (versions, logins, throttles, deadlines), and the
// records pass by it, below, at the connection:
//
//	Link ── ticket ──> kgo ── header, mark ──> bulkConn ── header, request ──> broker
//	Link <─ receipt ── kgo <── empty answer ── bulkConn <─────── response ──── broker
//	                                              │
//	                                              └─ into memory of the caller's
//
// What this leans on in kgo, checked in v1.22.2; the tests of links guard it:
//   - broker.handleReqs is the only caller of AppendTo (by way of
//     kmsg.RequestFormatter) and handles one request at a time, per broker; it
//     hands the result, one whole frame, to one call of Write.
//     Requests parked for re-authentication are replayed by the same goroutine
//     in their order, before any later one for that connection.
//   - a response is read by one goroutine at a time, which calls the response's
//     ReadFrom before it reads the next one.
//   - loadConnection picks the connection by Key(): one for produces, one for fetches.
//   - handleReq rewrites the acks of a *kmsg.ProduceRequest to the client's; not
//     those of other types. Acks 0 would hang: kgo knows "no answer" only of its
//     own types.
//   - connTimeouter takes the read deadline from kmsg.TimeoutRequest, and the
//     version is negotiated by MaxVersion and SetVersion.
//   - a write that failed with no byte written is done again on a new connection,
//     so AppendTo and Write can run twice.

// A ticket travels through kgo in the place of a request.
type ticket struct {
	kmsg.Request // what is asked; its version is set by kgo
	mark         []byte
	room         func(n int) []byte // memory for the answer, at least n bytes long
	placed       func()             // called when no later request can pass this one, perhaps twice; or nil
	sent         *Sent              // of a request that must not overtake another; or nil
	answer       kmsg.Response
	err          error // of reading the answer
}

var _ kmsg.TimeoutRequest = (*ticket)(nil)

// AppendTo is called by kgo's writing goroutine, just before it writes.
func (t *ticket) AppendTo(dst []byte) []byte {
	if t.placed != nil {
		t.placed()
	}
	return append(dst, t.mark...)
}

// ResponseKind implements kmsg.Request.
func (t *ticket) ResponseKind() kmsg.Response { return &receipt{t.Request.ResponseKind(), t} }

// Timeout is by how many milliseconds kgo's read deadline is later than usual.
func (t *ticket) Timeout() int32 {
	switch r := t.Request.(type) {
	case *kmsg.FetchRequest:
		return r.MaxWaitMillis
	case *kmsg.ProduceRequest:
		return r.TimeoutMillis
	}
	return 0
}

// take reads the answer, whose header after the correlation id begins body. What
// it holds of records goes on referring to body.
func (t *ticket) take(body []byte) {
	if t.IsFlexible() {
		r := kbin.Reader{Src: body}
		kmsg.SkipTags(&r)
		if t.err = r.Complete(); t.err != nil {
			return
		}
		body = r.Src
	}
	t.answer = t.Request.ResponseKind()
	t.err = t.answer.ReadFrom(body)
}

// A receipt is what kgo returns for a ticket: the answer that passed by it.
type receipt struct {
	kmsg.Response
	t *ticket
}

// ReadFrom is called by kgo with the empty answer.
func (r *receipt) ReadFrom([]byte) error {
	if r.t.err == nil {
		r.Response = r.t.answer
	}
	return r.t.err
}

// Throttle implements kmsg.ThrottleResponse.
func (r *receipt) Throttle() (millis int32, after bool) {
	if t, ok := r.Response.(kmsg.ThrottleResponse); ok {
		return t.Throttle()
	}
	return 0, false
}

// tickets are those on their way in a cluster.
type tickets struct {
	secret [16]byte // no other request ends with it

	mu   sync.Mutex
	n    uint64
	open map[uint64]*ticket
}

func newTickets() *tickets {
	s := &tickets{open: map[uint64]*ticket{}}
	_, _ = rand.Read(s.secret[:]) // never fails
	return s
}

// issue makes t valid until void.
func (s *tickets) issue(t *ticket) (void func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.n++
	id := s.n
	t.mark = binary.BigEndian.AppendUint64(bytes.Clone(s.secret[:]), id)
	s.open[id] = t
	return func() {
		s.mu.Lock()
		delete(s.open, id)
		s.mu.Unlock()
	}
}

const markSize = 16 + 8

var errVoid = errors.New("the request was given up before it was written")

// redeem finds the ticket of a frame and the frame's header; nil if there is none.
func (s *tickets) redeem(frame []byte) (t *ticket, header []byte, err error) {
	at := len(frame) - markSize
	if at < frameHead || !bytes.Equal(frame[at:at+len(s.secret)], s.secret[:]) {
		return nil, frame, nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if t = s.open[binary.BigEndian.Uint64(frame[at+len(s.secret):])]; t == nil {
		return nil, nil, errVoid
	}
	return t, frame[:at], nil
}

// bulkConn is a connection of kgo's that writes requests and reads responses by
// itself where kgo has only the ticket.
type bulkConn struct {
	net.Conn
	tickets *tickets
	use     use

	// Only Write, which has one caller at a time, may touch this.
	frame frame

	mu  sync.Mutex
	due []written // not answered yet, oldest first

	// Only Read, which has one caller at a time, may touch these.
	head []byte // what kgo is given next
	rest int64  // bytes of the same response that are still on the connection
	buf  [16]byte
}

type written struct {
	correlation uint32
	*ticket
}

// Of a request's frame: its size, the key, the version and the correlation id. Of
// a response's: its size and the correlation id.
const (
	frameHead, frameCorrelation = 12, 8
	answerHead                  = 8
)

// Write takes one whole frame from kgo.
func (c *bulkConn) Write(p []byte) (int, error) {
	t, header, err := c.tickets.redeem(p)
	if err != nil {
		return 0, err
	}
	if t == nil {
		return c.Conn.Write(p)
	}
	if err := t.sent.on(c); err != nil {
		return 1, err // not 0, or kgo would write it to yet another connection
	}
	c.mu.Lock()
	c.due = append(c.due, written{binary.BigEndian.Uint32(p[frameCorrelation:]), t})
	c.mu.Unlock()
	n, err := c.frame.write(c.Conn, header, t.Request)
	if err != nil {
		return min(int(n), len(p)), err // kgo asks only whether it was nothing
	}
	return len(p), nil
}

// Read gives kgo what the broker sent, but for the answers of tickets.
func (c *bulkConn) Read(p []byte) (int, error) {
	if len(c.head) == 0 && c.rest == 0 {
		if err := c.use.read(c.next()); err != nil {
			return 0, err
		}
	}
	if len(c.head) > 0 {
		n := copy(p, c.head)
		c.head = c.head[n:]
		return n, nil
	}
	n, err := c.Conn.Read(p[:min(int64(len(p)), c.rest)])
	c.rest -= int64(n)
	return n, err
}

// Close implements net.Conn.
func (c *bulkConn) Close() error {
	c.use.close()
	return c.Conn.Close()
}

// next begins to read a response.
func (c *bulkConn) next() error {
	c.mu.Lock()
	due := len(c.due) > 0
	c.mu.Unlock()
	if !due { // it may be something else than Kafka that answers, with fewer bytes
		n, err := io.ReadFull(c.Conn, c.buf[:4])
		c.head, c.rest = c.buf[:n], int64(binary.BigEndian.Uint32(c.buf[:]))
		if n > 0 && n < 4 {
			c.rest = 0
			return nil
		}
		return err
	}
	if _, err := io.ReadFull(c.Conn, c.buf[:answerHead]); err != nil {
		return err
	}
	size := int64(binary.BigEndian.Uint32(c.buf[:])) - 4
	t := c.paid(binary.BigEndian.Uint32(c.buf[4:]))
	if t == nil {
		c.head, c.rest = c.buf[:answerHead], size
		return nil
	}
	if size < 0 || size > MaxReadBytes {
		return fmt.Errorf("the broker announces an answer of %d bytes, at most %d are accepted", size+4, MaxReadBytes)
	}
	body := t.room(int(size))[:size]
	if _, err := io.ReadFull(c.Conn, body); err != nil {
		return err
	}
	t.take(body)
	c.head = c.buf[:answerHead]
	if t.IsFlexible() {
		c.buf[answerHead] = 0 // no tags
		c.head = c.buf[:answerHead+1]
	}
	binary.BigEndian.PutUint32(c.head, uint32(len(c.head)-4))
	return nil
}

// paid is the ticket whose answer is there; nil if it is another request's.
func (c *bulkConn) paid(correlation uint32) *ticket {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.due) == 0 || c.due[0].correlation != correlation {
		return nil
	}
	t := c.due[0].ticket
	c.due = slices.Delete(c.due, 0, 1) // in its place: what is left behind would keep an answer from the collector
	return t
}
