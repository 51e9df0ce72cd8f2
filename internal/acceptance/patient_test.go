package acceptance

import (
	"io"
	"net"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/kferry/kferry/internal/check"
	"github.com/kferry/kferry/internal/datagen"
	"github.com/kferry/kferry/internal/ferrytest"
	"github.com/kferry/kferry/internal/kafkatest"
)

// A cluster that cannot be reached is waited for: kferry lives, is not ready and says why, can be stopped, and begins
// when the cluster comes.
func TestBadInputUnreachable(t *testing.T) {
	t.Parallel()
	p := newPair(t, kafkatest.V4)
	topic := p.topic("orders")
	p.source.CreateTopic(t, topic, 1, nil)
	p.put(topic, 0, 10, 100)
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := free.Addr().String()
	if err := free.Close(); err != nil {
		t.Fatal(err)
	}
	s := p.settings()
	at(s, "clusters", "old")["bootstrap_servers"] = []string{addr}

	unlucky, lucky := p.run(s), p.run(s)
	for _, f := range []*ferrytest.Ferry{unlucky, lucky} {
		f.Says(`cluster unreachable, trying on.*at=old.*` + regexp.QuoteMeta(addr) + `.*nothing listens`)
		if code, body, err := f.Get("/readyz"); code != http.StatusServiceUnavailable || !strings.Contains(body, `cluster "old"`) {
			t.Errorf("/readyz: %d %q %v: want 503 and the name of the cluster", code, body, err)
		}
		if code, body, err := f.Get("/healthz"); code != http.StatusOK {
			t.Errorf("/healthz: %d %q %v", code, body, err)
		}
	}
	unlucky.Stop()
	forward(t, addr, p.source.Bootstrap()[0])
	lucky.Says(`recovered.*at=old`)
	lucky.Ready()
	p.arrived(lucky, topic, 10)
	lucky.Stop()
}

// forward hands connections to addr on to a broker.
func forward(t testing.TB, addr, broker string) {
	t.Helper()
	l, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() }) // nothing was written
	go func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial("tcp", broker)
			if err != nil {
				_ = in.Close()
				continue
			}
			pass := func(to, from net.Conn) {
				_, _ = io.Copy(to, from) // a broken connection is the client's to notice
				_ = to.Close()
			}
			go pass(in, out)
			go pass(out, in)
		}
	}()
}

// A filter that no topic passes is legal, for topics may come, but kferry says so.
func TestBadInputNothingMatches(t *testing.T) {
	p := newPair(t, kafkatest.V4)
	s := p.settings()
	flowOf(s)["topics"] = []string{"no-such-topic-[0-9]+"}
	f := p.run(s)
	f.Says(`level=WARN.*no topic on the source matches.*no-such-topic`)
	f.Ready()
	f.Stop()
}

// The target does not let us make topics: the lanes say what to do, and go on when somebody has done it.
func TestBadInputNoCreate(t *testing.T) {
	t.Parallel()
	p := barePair(t, kafkatest.V4)
	p.source.Allow(t, reader, p.acls(p.name+".", sourceRights...))
	p.target.Allow(t, writer, p.acls(p.name+".", kadm.OpWrite, kadm.OpRead, kadm.OpDescribe))
	p.target.Allow(t, writer, p.acls("kferry."+p.name+".", progressRights...))
	topic := p.topic("orders")
	p.source.CreateTopic(t, topic, 3, nil)
	p.generate(t.Context(), datagen.Options{Topic: topic, Records: 1000})
	f := p.run(p.settings())
	f.Says(`lane stopped.*topic=` + topic + `.*allow our user to \(Create.*make it by hand with 3 partitions`)
	f.Lanes("stopped", 3)

	p.target.CreateTopic(t, topic, 3, nil)
	made := time.Now()
	p.arrived(f, topic, 1000)
	t.Logf("carried %v after the topic was made", time.Since(made).Round(100*time.Millisecond))
	f.Lanes("running", 3)
	f.Stop()
	p.same(check.Options{Topic: topic})
}

// The target topic has fewer partitions and we may not add any: what has a place is carried, the rest waits.
func TestBadInputFewerPartitions(t *testing.T) {
	t.Parallel()
	p := barePair(t, kafkatest.V4)
	p.source.Allow(t, reader, p.acls(p.name+".", sourceRights...))
	p.target.Allow(t, writer, p.acls(p.name+".", kadm.OpCreate, kadm.OpWrite, kadm.OpRead, kadm.OpDescribe))
	p.target.Allow(t, writer, p.acls("kferry."+p.name+".", progressRights...))
	topic := p.topic("orders")
	p.source.CreateTopic(t, topic, 4, nil)
	p.target.CreateTopic(t, topic, 2, nil)
	for n := range int32(4) {
		p.put(topic, n, 50, 100)
	}
	f := p.run(p.settings())
	for _, n := range []string{"2", "3"} {
		f.Says(`lane stopped.*topic=` + topic + ` partition=` + n + `.*cannot add partitions to topic.*Alter`)
	}
	f.Lanes("stopped", 2)
	p.arrived(f, topic, 100)
	f.Lanes("running", 2)

	if _, err := p.target.Admin(t).UpdatePartitions(t.Context(), 4, topic); err != nil {
		t.Fatal(err)
	}
	made := time.Now()
	p.arrived(f, topic, 200)
	t.Logf("carried %v after the partitions were added", time.Since(made).Round(100*time.Millisecond))
	f.Stop()
	p.same(check.Options{Topic: topic})
}

// SIGTERM while much is under way: kferry ends well, and the next one carries the rest.
func TestStopDuringLoad(t *testing.T) {
	p, rng := newPair(t, kafkatest.V4), ferrytest.Random(t)
	topic := p.topic("orders")
	p.source.CreateTopic(t, topic, 6, nil)
	o := datagen.Options{Topic: topic, Codec: datagen.None, Size: 1024, Records: size(80_000, 1_000_000)}
	before := p.generate(t.Context(), o).Records
	o.Records, o.Rate = 0, float64(size(2_000, 10_000))
	load := p.keepWriting(o)
	for i := range 3 {
		f := p.run(p.settings())
		f.Carries()
		time.Sleep(time.Duration(rng.Int64N(int64(time.Second)))) // so that each stop is at another stage
		begin := time.Now()
		f.Stop()
		f.Says(`stopped, progress stored`)
		f.Quiet(`level=(WARN|ERROR).*(drain|without waiting)`)
		t.Logf("stop %d took %v; the target holds %d of %d offsets", i+1, time.Since(begin).Round(time.Millisecond),
			offsetsHeld(t, p.target, topic), offsetsHeld(t, p.source, topic))
	}
	f := p.run(p.settings())
	p.arrived(f, topic, before+load.Stop(t))
	if n := f.Metric("kferry_duplicates_avoided_total"); n != 0 {
		t.Errorf("%v records had to be found on the target although every stop was clean", n)
	}
	f.Stop()
	p.same(check.Options{Topic: topic})
}
