package kafka

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kferry/kferry/config"
	"github.com/kferry/kferry/internal/kafka/wirelog"
	"github.com/kferry/kferry/internal/kafkatest"
)

func TestMain(m *testing.M) { kafkatest.Main(m) }

// broker is one Apache Kafka behind SASL_SSL. PLAIN is left out, so that there
// is a mechanism to be missed; a login lasts three seconds.
func broker(t testing.TB) *kafkatest.Cluster {
	t.Helper()
	return kafkatest.Shared(t, kafkatest.Options{
		Security: kafkatest.SASLSSL,
		Users:    map[string]string{"alice": "wonder=land, and on"},
		Config: map[string]string{
			"listener.name.client.sasl.enabled.mechanisms":   "SCRAM-SHA-256,SCRAM-SHA-512",
			"listener.name.client.connections.max.reauth.ms": "3000",
		},
	})
}

func TestRealLogin(t *testing.T) {
	b := broker(t)
	good := b.Config("east", "alice")
	with := func(change func(*config.Cluster)) config.Cluster {
		c := good
		change(&c)
		return c
	}
	for _, tc := range []struct {
		name  string
		cfg   config.Cluster
		want  string // in the error; "" = none
		fatal bool
	}{
		{"SHA-512", with(func(c *config.Cluster) { c.SASL.Mechanism = mechSHA512 }), "", false},
		{"SHA-256", with(func(c *config.Cluster) { c.SASL.Mechanism = mechSHA256 }), "", false},
		{"wrong password", with(func(c *config.Cluster) { c.SASL.Password = "looking-glass" }), "sasl.password", true},
		{"unknown user", with(func(c *config.Cluster) { c.SASL.Username = "bob" }), "sasl.username", true},
		{"mechanism not offered", with(func(c *config.Cluster) { c.SASL.Mechanism = mechPlain }), "offers SCRAM-SHA-256, SCRAM-SHA-512;", true},
		{"no CA", with(func(c *config.Cluster) { c.TLS.CAFile = "" }), "tls.ca_file", true},
		{"wrong name", with(func(c *config.Cluster) { c.TLS.ServerName = "elsewhere.example" }), "tls.server_name", true},
		{"plaintext against TLS", with(func(c *config.Cluster) { c.TLS = config.TLS{} }), "tls.enabled", true},
		{"TLS against plaintext", with(func(c *config.Cluster) { c.BootstrapServers = plaintextPort(t, b) }), "tls.enabled", false},
		{"no login", with(func(c *config.Cluster) { c.SASL = config.SASL{} }), "set sasl", false},
		{"login on a port without", with(func(c *config.Cluster) { c.BootstrapServers, c.TLS = plaintextPort(t, b), config.TLS{} }), "remove sasl", true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			err := open(t, tc.cfg, Options{}).Ping(t.Context())
			if tc.want == "" {
				if err != nil {
					t.Fatal(err)
				}
				return
			}
			var e *Error
			if !errors.As(err, &e) || !strings.Contains(err.Error(), tc.want) || e.Fatal != tc.fatal || e.Addr == "" {
				t.Errorf("want fatal %v and %q, got %v", tc.fatal, tc.want, err)
			}
		})
	}
}

// A broker in Java does not say that a client's certificate has expired, only that it will not have it.
func TestRealClientCertificate(t *testing.T) {
	ca := kafkatest.NewAuthority(t)
	b := kafkatest.Start(t, kafkatest.Options{
		Security: kafkatest.SASLSSL,
		Users:    map[string]string{"alice": "wonderland"},
		Config: map[string]string{
			"listener.name.client.ssl.client.auth":         "requested", // the cluster's own clients have none
			"listener.name.client.ssl.truststore.type":     "PEM",
			"listener.name.client.ssl.truststore.location": ca.File,
		},
	})
	for _, tc := range []struct {
		name   string
		change func(*x509.Certificate)
		want   []string // in the error; nil = none
	}{
		{"valid", nil, nil},
		{"expired", func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) }, []string{"certificate", "expired", "renew tls.cert_file"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			cfg := b.Config("east", "alice")
			cfg.TLS.CertFile, cfg.TLS.KeyFile = kafkatest.StoreCertificate(t, t.TempDir(), ca.Issue(t, tc.change))
			err := open(t, cfg, Options{}).Ping(t.Context())
			if (err == nil) != (tc.want == nil) {
				t.Fatalf("got %v, want %q", err, tc.want)
			}
			for _, w := range tc.want {
				if !strings.Contains(err.Error(), w) {
					t.Errorf("%q is not in %v", w, err)
				}
			}
		})
	}
}

// plaintextPort is the port at which the brokers talk to each other.
func plaintextPort(t testing.TB, b *kafkatest.Cluster) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(b.Dir(), "*", "server.properties"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no server.properties below %s: %v", b.Dir(), err)
	}
	p, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile(`BROKER://([0-9.:]+)`).FindSubmatch(p)
	if m == nil {
		t.Fatalf("no BROKER listener in %s", files[0])
	}
	return []string{string(m[1])}
}

// Five requests in flight on one partition, in order, while the login of the
// connection is renewed several times in place.
func TestRealOrder(t *testing.T) {
	b := broker(t)
	var log wirelog.Log
	var conns connCounter
	c := open(t, b.Config("east", "alice"), Options{Hooks: hooks(&log, &conns)})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	const n = 1500
	for round := 0; ; round++ {
		p := topic(t, c, fmt.Sprintf("order-%d", round))
		before := conns.to(p.leader)
		if refused := sendOrdered(t, c, p, n, 5); refused != 0 {
			t.Fatalf("round %d: %d of %d batches were written out of order", round, refused, n)
		}
		readValues(t, c, p, n)
		if round > 0 && conns.to(p.leader) > before {
			t.Errorf("round %d opened a connection: the login was not renewed in place", round)
		}
		// Two messages a login; at first one login per connection.
		renewed := log.Count(kmsg.SASLAuthenticate)/2 - conns.count()
		if renewed >= 8 {
			t.Logf("%d rounds, %d logins renewed", round+1, renewed)
			return
		}
		if ctx.Err() != nil {
			t.Fatalf("%d logins renewed in %d rounds", renewed, round+1)
		}
	}
}
