package kafka

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"log/slog"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/kferry/kferry/config"
	"github.com/kferry/kferry/internal/kafkatest"
)

// secure is a kfake cluster behind TLS, and a way to it without a CA.
func secure(t testing.TB, c *tls.Config) config.Cluster {
	t.Helper()
	cfg := cluster(fake(t, kfake.TLS(c)), config.SASL{})
	cfg.TLS.Enabled = true
	return cfg
}

func serving(c tls.Certificate) *tls.Config { return &tls.Config{Certificates: []tls.Certificate{c}} }

func TestTLS(t *testing.T) {
	ca, other := kafkatest.NewAuthority(t), kafkatest.NewAuthority(t)
	good := serving(ca.Issue(t, nil))
	elsewhere := serving(ca.Issue(t, func(c *x509.Certificate) { c.IPAddresses, c.DNSNames = nil, []string{"broker.example"} }))
	old := serving(ca.Issue(t, nil))
	old.MaxVersion = tls.VersionTLS11
	old.MinVersion = tls.VersionTLS10
	for _, tc := range []struct {
		name   string
		server *tls.Config
		client config.TLS
		want   string // in the error; "" = none
	}{
		{"own CA", good, config.TLS{CAFile: ca.File}, ""},
		{"system roots", good, config.TLS{}, "tls.ca_file"},
		{"wrong CA", good, config.TLS{CAFile: other.File}, "tls.ca_file"},
		{"wrong name", elsewhere, config.TLS{CAFile: ca.File}, "tls.server_name"},
		{"server_name", elsewhere, config.TLS{CAFile: ca.File, ServerName: "broker.example"}, ""},
		{"server_name that is wrong", good, config.TLS{CAFile: ca.File, ServerName: "broker.example"}, "tls.server_name"},
		{"TLS 1.1", old, config.TLS{CAFile: ca.File}, "tls"},
		{"unverified", good, config.TLS{InsecureSkipVerify: true}, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			cfg := secure(t, tc.server)
			tc.client.Enabled = true
			cfg.TLS = tc.client
			err := open(t, cfg, Options{}).Ping(t.Context())
			if (err == nil) != (tc.want == "") || err != nil && !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, want %q", err, tc.want)
			}
		})
	}
}

func TestTLSFiles(t *testing.T) {
	ca := kafkatest.NewAuthority(t)
	cert, key := kafkatest.StoreCertificate(t, t.TempDir(), ca.Issue(t, nil))
	_, otherKey := kafkatest.StoreCertificate(t, t.TempDir(), ca.Issue(t, nil))
	empty := filepath.Join(t.TempDir(), "empty.pem")
	if err := os.WriteFile(empty, []byte("no certificate\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name string
		tls  config.TLS
		want string
	}{
		{"no such CA", config.TLS{CAFile: "/does/not/exist.pem"}, "/does/not/exist.pem"},
		{"empty CA", config.TLS{CAFile: empty}, "no PEM certificate"},
		{"CA is a key", config.TLS{CAFile: key}, "no PEM certificate"},
		{"no such certificate", config.TLS{CertFile: "/does/not/exist.pem", KeyFile: key}, "/does/not/exist.pem"},
		{"key of another certificate", config.TLS{CertFile: cert, KeyFile: otherKey}, "private key does not match"},
		{"certificate without key", config.TLS{CertFile: cert}, "key_file"},
		{"key without certificate", config.TLS{KeyFile: key}, "cert_file"},
		{"good", config.TLS{CAFile: ca.File, CertFile: cert, KeyFile: key}, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			tc.tls.Enabled = true
			c, err := Open(config.Cluster{Alias: "x", BootstrapServers: []string{"127.0.0.1:1"}, TLS: tc.tls}, Options{})
			if tc.want == "" {
				if err != nil {
					t.Fatal(err)
				}
				c.Close()
			} else if err == nil || !strings.Contains(err.Error(), tc.want) || !strings.Contains(err.Error(), `"x"`) {
				t.Errorf("got %v, want %q", err, tc.want)
			}
		})
	}
}

func TestSkipVerifyWarnsOnce(t *testing.T) {
	var log strings.Builder
	cfg := secure(t, serving(kafkatest.NewAuthority(t).Issue(t, nil)))
	cfg.TLS.InsecureSkipVerify = true
	cfg.Connections = 3
	c := open(t, cfg, Options{Logger: slog.New(slog.NewTextHandler(&log, nil))})
	for range 3 {
		if err := c.Ping(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if n := strings.Count(log.String(), "insecure_skip_verify"); n != 1 {
		t.Errorf("%d warnings, want 1: %s", n, log.String())
	}
}

// The files are exchanged in place: CA and certificate of the server, then our
// own. The next connection uses the new ones.
func TestRotation(t *testing.T) {
	oldCA, newCA := kafkatest.NewAuthority(t), kafkatest.NewAuthority(t)
	var mu sync.Mutex
	serving := oldCA.Issue(t, nil)
	var seen *big.Int // serial of the client's certificate in the last handshake
	cfg := secure(t, &tls.Config{
		MaxVersion: tls.VersionTLS12, // later, our side is done before the server has looked at our certificate
		ClientAuth: tls.RequireAnyClientCert,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			mu.Lock()
			defer mu.Unlock()
			c := serving
			return &c, nil
		},
		VerifyConnection: func(s tls.ConnectionState) error {
			mu.Lock()
			defer mu.Unlock()
			seen = s.PeerCertificates[0].SerialNumber
			return nil
		},
	})
	dir := t.TempDir()
	ca := filepath.Join(dir, "ca.pem")
	use := func(a *kafkatest.Authority) *big.Int {
		client := a.Issue(t, nil)
		kafkatest.StoreCertificate(t, dir, client)
		pem, err := os.ReadFile(a.File)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(ca, pem, 0o600); err != nil {
			t.Fatal(err)
		}
		parsed, err := x509.ParseCertificate(client.Certificate[0])
		if err != nil {
			t.Fatal(err)
		}
		return parsed.SerialNumber
	}
	dial := func(o *dialer) error {
		conn, err := o.open(t.Context(), "tcp", cfg.BootstrapServers[0])
		if err != nil {
			return err
		}
		return conn.Close()
	}
	expect := func(want *big.Int) {
		t.Helper()
		mu.Lock()
		defer mu.Unlock()
		if seen.Cmp(want) != 0 {
			t.Errorf("the broker saw certificate %v, want %v", seen, want)
		}
	}

	first := use(oldCA)
	d, err := newDialer(config.TLS{Enabled: true, CAFile: ca, CertFile: filepath.Join(dir, "cert.pem"), KeyFile: filepath.Join(dir, "key.pem")}, nil, newConns(), slog.Default())
	if err != nil {
		t.Fatal(err)
	}
	if err := dial(d); err != nil {
		t.Fatal(err)
	}
	expect(first)

	second := use(newCA)
	if err := dial(d); err == nil {
		t.Error("a certificate of the old CA was accepted with the new CA file in place")
	}
	mu.Lock()
	serving = newCA.Issue(t, nil)
	mu.Unlock()
	if err := dial(d); err != nil {
		t.Fatal(err)
	}
	expect(second)

	if err := os.Remove(ca); err != nil {
		t.Fatal(err)
	}
	if err := dial(d); err == nil || !strings.Contains(err.Error(), "ca_file") {
		t.Errorf("without the CA file: %v", err)
	}
}

// TLS goes on top of whatever the caller's dialer returns, and a failed
// handshake does not leak the connection below.
func TestDialerIsWrapped(t *testing.T) {
	ca := kafkatest.NewAuthority(t)
	cfg := secure(t, serving(ca.Issue(t, nil)))
	var conns []*closeWatch
	dial := func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := new(net.Dialer).DialContext(ctx, network, addr)
		conns = append(conns, &closeWatch{Conn: conn})
		return conns[len(conns)-1], err
	}
	if err := open(t, cfg, Options{Dialer: dial}).Ping(t.Context()); err == nil {
		t.Fatal("unknown CA accepted")
	}
	if len(conns) != 1 || !conns[0].closed {
		t.Fatalf("%d connections, the failed one not closed", len(conns))
	}
	cfg.TLS.CAFile = ca.File
	if err := open(t, cfg, Options{Dialer: dial}).Ping(t.Context()); err != nil {
		t.Fatal(err)
	}
	if len(conns) != 2 || conns[1].closed {
		t.Fatalf("%d connections, want a second one that is open", len(conns))
	}
}

type closeWatch struct {
	net.Conn
	closed bool
}

func (c *closeWatch) Close() error { c.closed = true; return c.Conn.Close() }
