package kafka

import (
	"context"
	"encoding/binary"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kbin"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Overhear makes one more client of the cluster, as NewClient does, whose answers to requests of
// some kinds are told to somebody beside kgo: it keeps the group's to itself, and its hooks do not
// show the error codes. told is called before kgo has the answer, with a time before which the
// request was not on its way. It must not wait.
func (c *Cluster) Overhear(keys []kmsg.Key, told func(sent time.Time, answer kmsg.Response), opts ...kgo.Opt) (*kgo.Client, error) {
	return c.NewClient(append(opts, kgo.Dialer(func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := c.dial(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		return &overheard{Conn: conn, keys: keys, told: told}, nil
	}))...)
}

// mostOverheard is the largest answer, in bytes, that is looked at: those that are meant are short.
const mostOverheard = 1 << 20

// overheard is a connection of kgo's, which writes one whole request with one call: see bulk.go.
type overheard struct {
	net.Conn
	keys []kmsg.Key
	told func(time.Time, kmsg.Response)

	mu  sync.Mutex
	due []asked // not answered yet, oldest first

	// Only Read, which has one caller at a time, may touch these.
	head  []byte // of the answer that is being read: its size and correlation id, as far as they came
	rest  int64  // bytes of it that are still to come
	meant *asked // the request that it answers, if that is of interest
	body  []byte
	lost  bool // what comes is not Kafka
}

type asked struct {
	correlation  uint32
	key, version int16
	at           time.Time
}

// Write takes one whole frame from kgo.
func (c *overheard) Write(p []byte) (int, error) {
	if len(p) >= frameHead {
		key := int16(binary.BigEndian.Uint16(p[4:]))
		if slices.Contains(c.keys, kmsg.Key(key)) {
			c.mu.Lock()
			c.due = append(c.due, asked{binary.BigEndian.Uint32(p[frameCorrelation:]), key, int16(binary.BigEndian.Uint16(p[6:])), time.Now()})
			c.mu.Unlock()
		}
	}
	return c.Conn.Write(p)
}

// Read reads, and listens.
func (c *overheard) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	for b := p[:n]; len(b) > 0 && !c.lost; {
		b = c.listen(b)
	}
	return n, err
}

// listen takes some bytes from the front of b and returns the others.
func (c *overheard) listen(b []byte) []byte {
	if len(c.head) < answerHead {
		n := min(answerHead-len(c.head), len(b))
		c.head = append(c.head, b[:n]...)
		if len(c.head) == answerHead {
			c.begin()
		}
		return b[n:]
	}
	n := min(c.rest, int64(len(b)))
	if c.meant != nil {
		c.body = append(c.body, b[:n]...)
	}
	c.rest -= n
	if c.rest == 0 {
		c.finish()
	}
	return b[n:]
}

// begin looks at the head of an answer.
func (c *overheard) begin() {
	c.rest = int64(int32(binary.BigEndian.Uint32(c.head))) - (answerHead - 4)
	c.meant = c.paid(binary.BigEndian.Uint32(c.head[4:]))
	if c.rest > mostOverheard {
		c.meant = nil
	}
	c.lost = c.rest < 0 // a login of before Kafka 1.0 may be that short; nothing is overheard then
	if c.rest == 0 {
		c.finish()
	}
}

// finish tells of an answer that has come whole.
func (c *overheard) finish() {
	if c.meant != nil {
		if answer := c.meant.read(c.body); answer != nil {
			c.told(c.meant.at, answer)
		}
	}
	c.head, c.body, c.meant = c.head[:0], c.body[:0], nil
}

// paid is the request with that correlation id; nil if it is of no interest.
func (c *overheard) paid(correlation uint32) *asked {
	c.mu.Lock()
	defer c.mu.Unlock()
	i := slices.IndexFunc(c.due, func(a asked) bool { return a.correlation == correlation })
	if i < 0 {
		return nil
	}
	a := c.due[i]
	c.due = slices.Delete(c.due, 0, i+1) // answers come in the order of the requests
	return &a
}

// read is the answer in body; nil if it is none, which kgo will say.
func (a *asked) read(body []byte) kmsg.Response {
	answer := kmsg.ResponseForKey(a.key)
	answer.SetVersion(a.version)
	if answer.IsFlexible() {
		r := kbin.Reader{Src: body}
		kmsg.SkipTags(&r)
		if r.Complete() != nil {
			return nil
		}
		body = r.Src
	}
	if answer.ReadFrom(body) != nil {
		return nil
	}
	return answer
}
