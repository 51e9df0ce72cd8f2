package kafka

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kferry/kferry/config"
	"github.com/kferry/kferry/internal/kafkatest"
)

// produceSome is a request with batches of these sizes, two to a topic.
func produceSome(version int16, sizes ...int) *kmsg.ProduceRequest {
	req := kmsg.NewPtrProduceRequest()
	req.Acks, req.TimeoutMillis, req.Version = -1, 30_000, version
	for i, n := range sizes {
		if i%2 == 0 {
			rt := kmsg.NewProduceRequestTopic()
			rt.Topic, rt.TopicID = fmt.Sprintf("topic-%d", i), [16]byte{byte(i + 1)}
			req.Topics = append(req.Topics, rt)
		}
		rp := kmsg.NewProduceRequestTopicPartition()
		rp.Partition, rp.Records = int32(i), bytes.Repeat([]byte{byte(i + 1)}, n)
		last := &req.Topics[len(req.Topics)-1]
		last.Partitions = append(last.Partitions, rp)
	}
	return req
}

// header is that of a request as kmsg's formatter writes it.
func header(req kmsg.Request, correlation int32) []byte {
	all := kmsg.NewRequestFormatter(kmsg.FormatterClientID("me")).AppendRequest(nil, req, correlation)
	return all[:len(all)-len(req.AppendTo(nil))]
}

// What is written is what kmsg would have written, in every version and however
// the records are cut.
func TestFrame(t *testing.T) {
	var f frame // one for all: nothing may be left from the one before
	for _, sizes := range [][]int{nil, {1}, {pieceBytes - 1, pieceBytes}, {1 << 20, 3, 2 << 20}, {0, 100_000, 200_000, 5, 300_000}} {
		for v := int16(0); v <= kmsg.NewPtrProduceRequest().MaxVersion(); v++ {
			check(t, &f, produceSome(v, sizes...))
		}
	}
	for v := int16(0); v <= kmsg.NewPtrFetchRequest().MaxVersion(); v++ {
		req := fetch(place{topic: "t", id: [16]byte{7}}, 42, time.Second)
		req.Version = v
		check(t, &f, req)
	}
}

func check(t *testing.T, f *frame, req kmsg.Request) {
	t.Helper()
	want := kmsg.NewRequestFormatter(kmsg.FormatterClientID("me")).AppendRequest(nil, req, 99)
	ours, theirs := net.Pipe()
	got := make(chan []byte)
	go func() {
		b, _ := io.ReadAll(theirs)
		got <- b
	}()
	n, err := f.write(ours, header(req, 99), req)
	_ = ours.Close()
	if b := <-got; err != nil || int(n) != len(want) || !bytes.Equal(b, want) {
		t.Errorf("%T version %d: %d bytes and %v, want %d; the same: %v", req, req.GetVersion(), n, err, len(want), bytes.Equal(b, want))
	}
}

// script is a connection that answers what is in it and takes note of what is written.
type script struct {
	net.Conn
	in    io.Reader
	wrote bytes.Buffer
	fail  error // of writing
}

func (s *script) Read(p []byte) (int, error) { return s.in.Read(p) }
func (s *script) Write(p []byte) (int, error) {
	if s.fail != nil {
		return 0, s.fail
	}
	return s.wrote.Write(p)
}

// answerFrame is a response as a broker writes it.
func answerFrame(correlation uint32, flexible bool, tags []byte, body []byte) []byte {
	b := binary.BigEndian.AppendUint32(make([]byte, 4), correlation)
	if flexible {
		b = append(b, tags...)
	}
	b = append(b, body...)
	binary.BigEndian.PutUint32(b, uint32(len(b)-4))
	return b
}

// fetched is a fetch response with these records.
func fetched(version int16, records []byte) *kmsg.FetchResponse {
	r := kmsg.NewPtrFetchResponse()
	r.Version, r.ThrottleMillis = version, 77
	rt := kmsg.NewFetchResponseTopic()
	rt.Topic, rt.TopicID = "t", [16]byte{7}
	rp := kmsg.NewFetchResponseTopicPartition()
	rp.HighWatermark, rp.RecordBatches = 11, records
	rt.Partitions = append(rt.Partitions, rp)
	r.Topics = append(r.Topics, rt)
	return r
}

// A connection has answers of both kinds, in turns and in small pieces.
func TestBulkAnswers(t *testing.T) {
	for v := int16(4); v <= kmsg.NewPtrFetchResponse().MaxVersion(); v++ {
		s := newTickets()
		var room []byte
		req := kmsg.NewPtrFetchRequest()
		req.Version = v
		k := &ticket{Request: req, room: func(n int) []byte { room = make([]byte, n+5); return room }}
		defer s.issue(k)()
		records := bytes.Repeat([]byte("records"), 10_000)
		before, after := answerFrame(1, false, nil, []byte("before")), answerFrame(3, false, nil, []byte("after"))
		ours := answerFrame(2, req.IsFlexible(), []byte{1, 9, 3, 'a', 'b', 'c'}, fetched(v, records).AppendTo(nil))
		wire := &script{in: strings.NewReader(string(before) + string(ours) + string(after))}
		c := &bulkConn{Conn: wire, tickets: s, use: use{conns: newConns()}}
		if _, err := c.Write(append(header(req, 2), k.AppendTo(nil)...)); err != nil {
			t.Fatal(err)
		}
		read := func() []byte {
			var size [4]byte
			if _, err := io.ReadFull(c, size[:]); err != nil {
				t.Fatal(err)
			}
			b := make([]byte, binary.BigEndian.Uint32(size[:]))
			for i := range b {
				if _, err := io.ReadFull(c, b[i:i+1]); err != nil {
					t.Fatal(err)
				}
			}
			return append(size[:], b...)
		}
		if b := read(); !bytes.Equal(b, before) {
			t.Errorf("version %d: before: %q", v, b)
		}
		if b := read(); !bytes.Equal(b, answerFrame(2, req.IsFlexible(), []byte{0}, nil)) {
			t.Errorf("version %d: kgo would read %q", v, b)
		}
		if b := read(); !bytes.Equal(b, after) {
			t.Errorf("version %d: after: %q", v, b)
		}
		rc := k.ResponseKind().(*receipt)
		if err := rc.ReadFrom(nil); err != nil {
			t.Fatal(err)
		}
		if millis, _ := rc.Throttle(); millis != 77 {
			t.Errorf("version %d: a throttle of %d ms", v, millis)
		}
		got := rc.Response.(*kmsg.FetchResponse).Topics[0].Partitions[0].RecordBatches
		if !bytes.Equal(got, records) {
			t.Fatalf("version %d: other records", v)
		}
		if room[len(room)-6-7]++; bytes.Equal(got, records) {
			t.Errorf("version %d: the records are not in the memory that was given", v)
		}
	}
}

// What a broker must not say ends the connection, and what is no Kafka at all comes
// through to kgo as it is.
func TestBulkBadAnswers(t *testing.T) {
	req := kmsg.NewPtrFetchRequest()
	req.Version = 12
	whole := answerFrame(2, true, []byte{0}, fetched(12, []byte("records")).AppendTo(nil))
	huge := bytes.Clone(whole)
	binary.BigEndian.PutUint32(huge, MaxReadBytes+5)
	for name, c := range map[string]struct {
		in   []byte
		kgo  bool // sees an answer, whose ReadFrom fails
		want string
	}{
		"cut":          {in: whole[:len(whole)-1], want: "unexpected EOF"},
		"only a head":  {in: whole[:8], want: "EOF"},
		"half a head":  {in: whole[:5], want: "unexpected EOF"},
		"closed":       {want: "EOF"},
		"huge":         {in: huge, want: "announces an answer of"},
		"tiny":         {in: []byte{0, 0, 0, 2, 0, 0, 0, 2}, want: "announces an answer of"},
		"bad contents": {in: answerFrame(2, true, []byte{0}, []byte("?")), kgo: true, want: "enough data"},
		"bad tags":     {in: answerFrame(2, true, []byte{200}, nil), kgo: true, want: "enough data"},
	} {
		s := newTickets()
		k := &ticket{Request: req, room: makeRoom}
		defer s.issue(k)()
		b := &bulkConn{Conn: &script{in: bytes.NewReader(c.in)}, tickets: s, use: use{conns: newConns()}}
		if _, err := b.Write(append(header(req, 2), k.AppendTo(nil)...)); err != nil {
			t.Fatal(err)
		}
		_, err := io.ReadFull(b, make([]byte, 9))
		if c.kgo && err == nil {
			err = k.ResponseKind().ReadFrom(nil)
		}
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
	for _, text := range []string{"HTTP/1.1 400 Bad Request\r\n", "\x15", "\x15\x03\x01", "SSH-"} {
		b := &bulkConn{Conn: &script{in: strings.NewReader(text)}, tickets: newTickets(), use: use{conns: newConns()}}
		if got, err := io.ReadAll(b); string(got) != text || err != nil {
			t.Errorf("%q came as %q, %v", text, got, err)
		}
	}
}

// A request is written behind another one on the same connection, or not at all: what
// was on a connection that broke may be lost.
func TestBulkNoOvertaking(t *testing.T) {
	s := newTickets()
	link := &Link{tickets: s}
	a, b := &bulkConn{Conn: &script{}, tickets: s, use: use{conns: newConns()}}, &bulkConn{Conn: &script{}, tickets: s, use: use{conns: newConns()}}
	write := func(c *bulkConn, sent *Sent) error {
		req := produceSome(9, 10)
		k := &ticket{Request: req, room: makeRoom, sent: sent}
		defer s.issue(k)()
		n, err := c.Write(append(header(req, 2), k.AppendTo(nil)...))
		if err != nil && n == 0 {
			t.Error("kgo would write it to another connection")
		}
		return err
	}
	first := link.Behind(nil)
	second := link.Behind(first)
	if err := errors.Join(write(a, first), write(a, second)); err != nil {
		t.Error(err)
	}
	for name, sent := range map[string]*Sent{"behind what is on another connection": link.Behind(second), "behind what was never written": link.Behind(link.Behind(second))} {
		if err := write(b, sent); !errors.Is(err, errOvertakes) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if b.Conn.(*script).wrote.Len() > 0 {
		t.Error("something was written")
	}
	// kgo writes one again of which nothing was written; the one behind it follows.
	third := link.Behind(nil)
	fourth := link.Behind(third)
	if err := errors.Join(write(a, third), write(b, third), write(b, fourth)); err != nil {
		t.Error(err)
	}
	if err := write(b, nil); err != nil {
		t.Error(err)
	}
}

// A write that failed before its first byte says so, for kgo does it again; a
// ticket that was given up is not written.
func TestBulkWriteFails(t *testing.T) {
	s := newTickets()
	req := produceSome(9, 100_000)
	k := &ticket{Request: req, room: makeRoom}
	void := s.issue(k)
	broken := errors.New("broken")
	wire := &script{fail: broken}
	c := &bulkConn{Conn: wire, tickets: s, use: use{conns: newConns()}}
	p := append(header(req, 2), k.AppendTo(nil)...)
	if n, err := c.Write(p); n != 0 || !errors.Is(err, broken) {
		t.Errorf("%d bytes, %v", n, err)
	}
	void()
	wire.fail = nil
	if n, err := c.Write(p); n != 0 || !errors.Is(err, errVoid) || wire.wrote.Len() > 0 {
		t.Errorf("a void ticket: %d bytes, %v, wrote %d", n, err, wire.wrote.Len())
	}
}

// Many requests of both kinds and with memory that is used again at once, over TLS
// and in the open: each gets its own answer.
func TestBulkUnderLoad(t *testing.T) {
	for name, o := range map[string][]kfake.Opt{"plain": nil, "tls": {kfake.TLS(serving(kafkatest.NewAuthority(t).Issue(t, nil)))}} {
		t.Run(name, func(t *testing.T) {
			f := fake(t, o...)
			cfg := cluster(f, config.SASL{})
			cfg.Connections = 2
			if o != nil {
				cfg.TLS = config.TLS{Enabled: true, InsecureSkipVerify: true}
			}
			c := open(t, cfg, Options{})
			p := topic(t, c, "t")
			const n = 200
			for i := range n {
				batch := one(-1, -1, -1, strings.Repeat(fmt.Sprint(i%10), 1+i*100))
				if r, err := wait(t.Context(), t, c.Links()[i%2], p.leader, produce(p, batch)); err != nil || produceCode(r) != 0 {
					t.Fatal(r, err)
				}
			}
			var wg sync.WaitGroup
			for g := range 4 {
				wg.Go(func() { readBack(t, c.Links()[g%2], p, n) })
			}
			wg.Wait()
		})
	}
}

// readBack reads the records 0 to n-1 one by one into the same memory.
func readBack(t *testing.T, l *Link, p place, n int) {
	var room []byte
	for i := range n {
		req := fetch(p, int64(i), time.Second)
		req.Topics[0].Partitions[0].PartitionMaxBytes = 1
		r, err := l.FetchInto(context.WithoutCancel(t.Context()), p.leader, req, func(n int) []byte {
			if cap(room) < n {
				room = make([]byte, n)
			}
			return room[:cap(room)]
		})
		if err != nil {
			t.Error(err)
			return
		}
		if b := r.Topics[0].Partitions[0].RecordBatches; !bytes.Contains(b, bytes.Repeat([]byte(fmt.Sprint(i%10)), 1+i*100)) {
			t.Errorf("offset %d: %d other bytes", i, len(b))
			return
		}
	}
}
