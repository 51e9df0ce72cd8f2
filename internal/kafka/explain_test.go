package kafka

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kferry/kferry/config"
	"github.com/kferry/kferry/internal/kafkatest"
)

// at is a cluster behind one address, plaintext and without a login.
func at(addrs ...string) config.Cluster {
	return config.Cluster{Alias: "east", BootstrapServers: addrs, ClientID: "test"}
}

// answering is the address of a listener that reads something, writes answer
// and, unless it is to stay silent for ever, closes.
func answering(t testing.TB, answer string, silent bool) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			if silent {
				t.Cleanup(func() { _ = conn.Close() })
				continue
			}
			_, _ = conn.Read(make([]byte, 4096))
			_, _ = io.WriteString(conn, answer)
			_ = conn.Close()
		}
	}()
	return l.Addr().String()
}

// refusing is an address at which nobody listens.
func refusing(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// scripted is a SASL cluster that answers requests of one kind by f.
func scripted(t testing.TB, key kmsg.Key, f func(kmsg.Request, kmsg.Response)) config.Cluster {
	t.Helper()
	c := fake(t, kfake.EnableSASL(), kfake.Superuser(mechSHA512, "alice", "secret"))
	c.ControlKey(key.Int16(), func(r kmsg.Request) (kmsg.Response, error, bool) {
		c.KeepControl()
		resp := r.ResponseKind()
		f(r, resp)
		return resp, nil, true
	})
	cfg := at(c.ListenAddrs()...)
	cfg.SASL = login(mechSHA512, "alice", "secret")
	return cfg
}

func withTLS(c config.Cluster, t config.TLS) config.Cluster {
	t.Enabled = true
	c.TLS = t
	return c
}

func failingDial(err error) DialFunc {
	return func(context.Context, string, string) (net.Conn, error) {
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: err}
	}
}

// pingCase is a cluster and what Ping has to say about it.
type pingCase struct {
	name  string
	cfg   config.Cluster
	dial  DialFunc
	op    string
	want  []string // each in cause or remedy; none = no error
	fatal bool
}

func networkCases(t *testing.T) []pingCase {
	plain := at(fake(t).ListenAddrs()...)
	unknownCA := at(fake(t, kfake.TLS(serving(kafkatest.NewAuthority(t).Issue(t, nil)))).ListenAddrs()...)
	return []pingCase{
		{name: "well", cfg: plain},
		{name: "refused", cfg: at(refusing(t)), op: "connect", want: []string{"nothing listens"}},
		{name: "unknown host", cfg: at("broker.example:9092"), dial: failingDial(&net.DNSError{Name: "broker.example", IsNotFound: true}), op: "connect", want: []string{"broker.example", "DNS", "bootstrap_servers"}},
		{name: "resolver down", cfg: at("broker.example:9092"), dial: failingDial(&net.DNSError{Name: "broker.example", IsTimeout: true}), op: "connect", want: []string{"DNS gave no answer"}},
		{name: "no route", cfg: at("broker.example:9092"), dial: failingDial(os.NewSyscallError("connect", syscall.EHOSTUNREACH)), op: "connect", want: []string{"no route"}},
		{name: "packets dropped", cfg: at("broker.example:9092"), dial: failingDial(os.ErrDeadlineExceeded), op: "connect", want: []string{"in time", "firewall"}},

		{name: "TLS against plaintext", cfg: withTLS(at(answering(t, "", false)), config.TLS{}), op: "tls", want: []string{"during the TLS handshake", "tls.enabled"}},
		{name: "TLS against something else", cfg: withTLS(at(answering(t, "220 mail.example ESMTP\r\n", false)), config.TLS{}), op: "tls", want: []string{"does not speak TLS", "tls.enabled"}, fatal: true},
		{name: "plaintext against TLS, closed", cfg: at(answering(t, "", false)), op: "connect", want: []string{"first request", "tls.enabled"}},
		{name: "plaintext against TLS, alert", cfg: at(answering(t, "\x15\x03\x03\x00\x02\x02\x46", false)), op: "tls", want: []string{"speaks TLS", "tls.enabled"}, fatal: true},
		{name: "HTTP", cfg: at(answering(t, "HTTP/1.1 400 Bad Request\r\n\r\n", false)), op: "connect", want: []string{"HTTP"}, fatal: true},

		{name: "the fatal one of two", cfg: withTLS(at(refusing(t), unknownCA.BootstrapServers[0]), config.TLS{}), op: "tls", want: []string{"tls.ca_file"}, fatal: true},
		{name: "the second works", cfg: at(refusing(t), plain.BootstrapServers[0])},
	}
}

func tlsCases(t *testing.T) []pingCase {
	ca, other := kafkatest.NewAuthority(t), kafkatest.NewAuthority(t)
	tlsOnly := func(change func(*x509.Certificate)) config.Cluster {
		return at(fake(t, kfake.TLS(serving(ca.Issue(t, change)))).ListenAddrs()...)
	}
	mutual := func(version uint16) config.Cluster {
		s := serving(ca.Issue(t, nil))
		s.MaxVersion, s.ClientAuth, s.ClientCAs = version, tls.RequireAndVerifyClientCert, ca.Pool()
		return at(fake(t, kfake.TLS(s)).ListenAddrs()...)
	}
	strangerCert, strangerKey := kafkatest.StoreCertificate(t, t.TempDir(), other.Issue(t, nil))
	cert, key := kafkatest.StoreCertificate(t, t.TempDir(), ca.Issue(t, nil))
	return []pingCase{
		{name: "unknown CA", cfg: withTLS(tlsOnly(nil), config.TLS{}), op: "tls", want: []string{"not trusted", "tls.ca_file"}, fatal: true},
		{name: "other CA", cfg: withTLS(tlsOnly(nil), config.TLS{CAFile: other.File}), op: "tls", want: []string{"not trusted", "tls.ca_file"}, fatal: true},
		{name: "host name", cfg: withTLS(tlsOnly(func(c *x509.Certificate) { c.IPAddresses, c.DNSNames = nil, []string{"elsewhere.example"} }), config.TLS{CAFile: ca.File}), op: "tls", want: []string{"another name than 127.0.0.1", "tls.server_name"}, fatal: true},
		{name: "expired", cfg: withTLS(tlsOnly(func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) }), config.TLS{CAFile: ca.File}), op: "tls", want: []string{"expired", "renew"}, fatal: true},
		{name: "client certificate for a server", cfg: withTLS(tlsOnly(func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth} }), config.TLS{CAFile: ca.File}), op: "tls", want: []string{"not acceptable"}, fatal: true},
		{name: "mTLS 1.2 without certificate", cfg: withTLS(mutual(tls.VersionTLS12), config.TLS{CAFile: ca.File}), op: "tls", want: []string{"client certificate", "tls.cert_file"}, fatal: true},
		{name: "mTLS 1.3 without certificate", cfg: withTLS(mutual(tls.VersionTLS13), config.TLS{CAFile: ca.File}), op: "tls", want: []string{"client certificate", "tls.cert_file"}, fatal: true},
		{name: "mTLS with a stranger's certificate", cfg: withTLS(mutual(tls.VersionTLS13), config.TLS{CAFile: ca.File, CertFile: strangerCert, KeyFile: strangerKey}), op: "tls", want: []string{"client certificate", "tls.cert_file"}, fatal: true},
		{name: "mTLS", cfg: withTLS(mutual(tls.VersionTLS13), config.TLS{CAFile: ca.File, CertFile: cert, KeyFile: key})},
	}
}

func loginCases(t *testing.T) []pingCase {
	saslOnly := at(fake(t, kfake.EnableSASL(), kfake.Superuser(mechSHA512, "alice", "secret")).ListenAddrs()...)
	wrong := saslOnly
	wrong.SASL = login(mechSHA512, "alice", "not the secret")
	return []pingCase{
		{name: "no login where one is due", cfg: saslOnly, op: "request", want: []string{"closed the connection", "sasl"}},
		{name: "refused without a word", cfg: wrong, op: "request", want: []string{"connection broke", "sasl"}},
		{name: "wrong password", cfg: scripted(t, kmsg.SASLAuthenticate, func(_ kmsg.Request, r kmsg.Response) {
			resp := r.(*kmsg.SASLAuthenticateResponse)
			resp.ErrorCode, resp.ErrorMessage = kerr.SaslAuthenticationFailed.Code, kmsg.StringPtr("invalid credentials")
		}), op: "login", want: []string{"user name or the password", "sasl.password"}, fatal: true},
		{name: "mechanism", cfg: scripted(t, kmsg.SASLHandshake, func(_ kmsg.Request, r kmsg.Response) {
			resp := r.(*kmsg.SASLHandshakeResponse)
			resp.ErrorCode, resp.SupportedMechanisms = kerr.UnsupportedSaslMechanism.Code, []string{"OAUTHBEARER", "PLAIN"}
		}), op: "login", want: []string{mechSHA512, "OAUTHBEARER, PLAIN", "sasl.mechanism"}, fatal: true},
		{name: "login where none is due", cfg: scripted(t, kmsg.SASLHandshake, func(_ kmsg.Request, r kmsg.Response) {
			r.(*kmsg.SASLHandshakeResponse).ErrorCode = kerr.IllegalSaslState.Code
		}), op: "login", want: []string{"no SASL login", "remove sasl"}, fatal: true},
		{name: "server without the password", cfg: scripted(t, kmsg.SASLAuthenticate, func(r kmsg.Request, resp kmsg.Response) {
			first := string(r.(*kmsg.SASLAuthenticateRequest).SASLAuthBytes)
			reply := "v=" + strings.Repeat("A", 86) + "=="
			if _, nonce, ok := strings.Cut(first, ",r="); ok && strings.HasPrefix(first, "n,,") {
				reply = "r=" + nonce + "x,s=c2FsdA==,i=4096"
			}
			resp.(*kmsg.SASLAuthenticateResponse).SASLAuthBytes = []byte(reply)
		}), op: "login", want: []string{"does not know the password", "bootstrap_servers"}, fatal: true},
	}
}

// Every way to fail to connect that a person can do something about, tried
// against something that listens.
func TestExplainPing(t *testing.T) {
	for _, tc := range slices.Concat(networkCases(t), tlsCases(t), loginCases(t)) {
		t.Run(tc.name, func(t *testing.T) {
			err := open(t, tc.cfg, Options{Dialer: tc.dial}).Ping(t.Context())
			if len(tc.want) == 0 {
				if err != nil {
					t.Fatal(err)
				}
				return
			}
			var e *Error
			if !errors.As(err, &e) {
				t.Fatalf("got %v, want an *Error", err)
			}
			for _, w := range tc.want {
				if !strings.Contains(e.Cause+"; "+e.Remedy, w) {
					t.Errorf("%q is missing", w)
				}
			}
			if e.Fatal != tc.fatal || e.Op != tc.op || e.Cluster == "" || e.Addr == "" || e.Err == nil {
				t.Errorf("fatal %v, op %q, cluster %q, addr %q, err %v", e.Fatal, e.Op, e.Cluster, e.Addr, e.Err)
			}
			if s := err.Error(); !strings.Contains(s, e.Addr) || !strings.Contains(s, e.Cause) || !strings.Contains(s, e.Remedy) || strings.Contains(s, "secret") {
				t.Errorf("message: %s", s)
			}
			t.Log(err)
		})
	}
}

// A server that accepts and says nothing: the caller's deadline ends it.
func TestExplainSilence(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	var e *Error
	err := open(t, at(answering(t, "", true)), Options{}).Ping(ctx)
	if !errors.As(err, &e) || e.Fatal || !strings.Contains(e.Cause, "in time") || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
}

// Errors that no cluster here can be made to give.
func TestExplain(t *testing.T) {
	for _, tc := range []struct {
		err   error
		op    string
		want  string
		fatal bool
		at    Rejection
	}{
		{&handshakeError{"b:9093", context.DeadlineExceeded}, "tls", "did not finish the TLS handshake", false, ""},
		{&handshakeError{"b:9093", &fileError{"tls.ca_file", os.ErrNotExist}}, "tls", "tls.ca_file", false, ""},
		{&handshakeError{"b:9093", &net.OpError{Op: "remote error", Err: tls.AlertError(45)}}, "tls", "our client certificate has expired", true, RejectsCertificate},
		{&handshakeError{"b:9093", &net.OpError{Op: "remote error", Err: tls.AlertError(46)}}, "tls", "does not trust our client certificate", true, RejectsCertificate},
		{&handshakeError{"b:9093", &net.OpError{Op: "remote error", Err: tls.AlertError(70)}}, "tls", "ended the TLS handshake", true, ""},
		{fmt.Errorf("unable to dial: %w", syscall.ENETUNREACH), "connect", "no route", false, ""},
		{syscall.ECONNRESET, "request", "connection broke", false, ""},
		{net.ErrClosed, "request", "connection broke", false, ""},
		{kerr.TopicAuthorizationFailed, "request", "not allowed", true, RejectsAuthorization},
		{fmt.Errorf("list topics: %w", kerr.ClusterAuthorizationFailed), "request", "not allowed", true, RejectsAuthorization},
		{kerr.SaslAuthenticationFailed, "login", "password", true, RejectsPassword},
		{&handshakeError{"b:9093", x509.UnknownAuthorityError{}}, "tls", "not trusted here", true, RejectsCertificate},
		{kerr.UnsupportedSaslMechanism, "login", "sasl.mechanism", true, RejectsPassword},
		{errors.New("never seen"), "request", "never seen", false, ""},
	} {
		err := Explain("east", tc.err)
		var e *Error
		if !errors.As(err, &e) {
			t.Fatalf("%v: not explained", tc.err)
		}
		if e.Op != tc.op || e.Fatal != tc.fatal || e.Rejects != tc.at || !strings.Contains(err.Error(), tc.want) || !errors.Is(err, tc.err) || e.Cluster != "east" {
			t.Errorf("%v: %+v", tc.err, *e)
		}
		if n := strings.Count(err.Error(), tc.err.Error()); n != 1 {
			t.Errorf("%q holds the original %d times", err, n)
		}
		if again := Explain("west", fmt.Errorf("flow: %w", err)); !errors.As(again, &e) || e.Cluster != "east" {
			t.Errorf("explained twice: %v", again)
		}
	}
	for _, err := range []error{nil, context.Canceled} {
		if got := Explain("east", err); !errors.Is(got, err) {
			t.Errorf("%v became %v", err, got)
		}
	}
}

// An administrative request on an unreachable cluster ends with the cause, not
// with silence, well before the retry timeout would.
func TestAdminOnUnreachableCluster(t *testing.T) {
	c := open(t, at(refusing(t)), Options{})
	_, err := c.Admin().ListTopics(t.Context())
	var e *Error
	if !errors.As(Explain("east", err), &e) || e.Op != "connect" || e.Fatal {
		t.Errorf("got %v", err)
	}
}
