package replicator_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/kferry/kferry/config"
	"github.com/kferry/kferry/internal/check"
	"github.com/kferry/kferry/internal/kafka"
	"github.com/kferry/kferry/internal/kafkatest"
	"github.com/kferry/kferry/replicator"
)

// A certificate expires under a daemon that runs, of the brokers or its own: what is connected goes on, what connects anew
// waits and says which certificate it is, and all of it goes on once there is a new one, without a restart.
func TestCertificateExpires(t *testing.T) {
	expired := func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) }
	for _, row := range []struct {
		side, whose string
		words       []string
	}{
		{"source", "broker", []string{"old", "the broker's certificate has expired", "renew it on the broker"}},
		{"target", "broker", []string{"new", "the broker's certificate has expired", "renew it on the broker"}},
		{"source", "client", []string{"old", "our client certificate has expired", "renew tls.cert_file"}},
		{"target", "client", []string{"new", "our client certificate has expired", "renew tls.cert_file"}},
	} {
		t.Run(row.side+"/"+row.whose, func(t *testing.T) {
			p := fakePair(t)
			f := newFront(t)
			alias, side := "old", p.source
			if row.side == "target" {
				alias, side = "new", p.target
			}
			cfg := p.config(t, "pizza")
			cluster := cfg.Clusters[alias]
			cluster.TLS = f.client
			cfg.Clusters[alias] = cluster
			if err := side.CreateTopic("pizza", 2, nil); err != nil {
				t.Fatal(err)
			}
			if side != p.source {
				if err := p.source.CreateTopic("pizza", 2, nil); err != nil {
					t.Fatal(err)
				}
			}
			cl := p.client(t, p.source)
			write(t, cl, "pizza", 0, 500)
			way := &gate{dial: f.dial, conns: map[net.Conn]bool{}}
			d, stop := startWith(t, cfg, replicator.Options{ClusterOptions: func(a string) kafka.Options {
				if a == alias {
					return kafka.Options{Dialer: way.open}
				}
				return kafka.Options{}
			}})
			carried(t, d, p.admin(t), "pizza")

			if row.whose == "broker" {
				f.serve(f.ca.Issue(t, expired))
			} else {
				kafkatest.StoreCertificate(t, f.dir, f.ca.Issue(t, expired))
			}
			write(t, cl, "pizza", 500, 500)
			carried(t, d, p.admin(t), "pizza") // over the connections that are there
			way.set(true)
			way.set(false)
			write(t, cl, "pizza", 1000, 500)
			waitsBecause(t, d, 2, row.words...)

			f.renew()
			carried(t, d, p.admin(t), "pizza")
			stop()
			p.same(t, check.Options{Topic: "pizza"})
		})
	}
}

// waitsBecause waits until all lanes wait for a reason that holds words; or, where that keeps the group from hearing
// from us as well, until the lanes are let go and a problem tells it.
func waitsBecause(t *testing.T, d *replicator.Daemon, lanes int, words ...string) {
	t.Helper()
	holds := func(text string) bool {
		return !slices.ContainsFunc(words, func(w string) bool { return !strings.Contains(text, w) })
	}
	var s replicator.Status
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		s = d.Status()
		waiting := 0
		for _, l := range s.Flows[0].Lanes {
			if l.State == "waiting" && holds(l.Reason) {
				waiting++
			}
		}
		told := slices.ContainsFunc(s.Problems, func(p replicator.Problem) bool { return holds(p.Text) })
		if waiting == lanes || len(s.Flows[0].Lanes) == 0 && told {
			return
		}
	}
	t.Fatalf("want %d lanes that wait because of %q: %+v, problems %+v", lanes, words, s.Flows[0].Lanes, s.Problems)
}

// front is TLS in front of brokers that have none. It wants a certificate of its clients.
type front struct {
	t      *testing.T
	ca     *kafkatest.Authority
	dir    string     // of the client's certificate
	client config.TLS // of a client
	ln     net.Listener

	mu   sync.Mutex
	cert tls.Certificate // the broker's
}

func newFront(t *testing.T) *front {
	t.Helper()
	f := &front{t: t, ca: kafkatest.NewAuthority(t), dir: t.TempDir()}
	f.renew()
	f.client = config.TLS{Enabled: true, CAFile: f.ca.File, CertFile: f.dir + "/cert.pem", KeyFile: f.dir + "/key.pem"}
	var err error
	if f.ln, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.ln.Close() })
	return f
}

// renew gives both sides new certificates.
func (f *front) renew() {
	f.t.Helper()
	kafkatest.StoreCertificate(f.t, f.dir, f.ca.Issue(f.t, nil))
	f.serve(f.ca.Issue(f.t, nil))
}

func (f *front) serve(c tls.Certificate) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.cert = c
}

// dial is the way to the broker at addr.
func (f *front) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	broker, err := new(net.Dialer).DialContext(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", f.ln.Addr().String())
	if err != nil {
		return nil, err
	}
	peer, err := f.ln.Accept()
	if err != nil {
		return nil, err
	}
	plain := tls.Server(peer, &tls.Config{Certificates: []tls.Certificate{f.cert}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: f.ca.Pool()})
	for _, way := range [][2]net.Conn{{broker, plain}, {plain, broker}} {
		go func() {
			_, _ = io.Copy(way[0], way[1])
			_ = broker.Close()
			_ = plain.Close()
		}()
	}
	return conn, nil
}
