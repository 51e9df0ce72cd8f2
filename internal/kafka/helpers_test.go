package kafka

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/kferry/kferry/config"
)

// fake starts a one-broker kfake cluster.
func fake(t testing.TB, opts ...kfake.Opt) *kfake.Cluster {
	t.Helper()
	c, err := kfake.NewCluster(append([]kfake.Opt{kfake.NumBrokers(1)}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func cluster(c *kfake.Cluster, s config.SASL) config.Cluster {
	return config.Cluster{Alias: "fake", BootstrapServers: c.ListenAddrs(), ClientID: "test", Connections: 1, SASL: s}
}

func login(mechanism, user, password string) config.SASL {
	return config.SASL{Mechanism: mechanism, Username: user, Password: config.Secret(password)}
}

func open(t testing.TB, cfg config.Cluster, o Options) *Cluster {
	t.Helper()
	c, err := Open(cfg, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func hooks(h ...kgo.Hook) []kgo.Hook { return h }

// connCounter counts connections, by the id of the broker (negative: a seed).
type connCounter struct {
	mu     sync.Mutex
	opened map[int32]int
}

func (c *connCounter) OnBrokerConnect(b kgo.BrokerMetadata, _ time.Duration, _ net.Conn, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.opened == nil {
		c.opened = make(map[int32]int)
	}
	if err == nil {
		c.opened[b.NodeID]++
	}
}

func (c *connCounter) count() (n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, o := range c.opened {
		n += o
	}
	return n
}

func (c *connCounter) to(broker int32) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.opened[broker]
}

// authority signs certificates for tests.
type authority struct {
	t    testing.TB
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	file string // PEM of cert
}

func newAuthority(t testing.TB) *authority {
	t.Helper()
	a := &authority{t: t, dir: t.TempDir()}
	a.file = filepath.Join(a.dir, "ca.pem")
	tmpl := template()
	tmpl.IsCA, tmpl.BasicConstraintsValid, tmpl.KeyUsage = true, true, x509.KeyUsageCertSign
	var der []byte
	der, a.key = a.sign(tmpl, nil)
	a.cert, _ = x509.ParseCertificate(der)
	writePEM(t, a.file, "CERTIFICATE", der)
	return a
}

// template is valid from an hour ago for a day, with a serial of its own.
func template() *x509.Certificate {
	serial, _ := rand.Int(rand.Reader, big.NewInt(1<<62))
	return &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: "kferry test"},
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().Add(24 * time.Hour),
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
}

// sign makes a key and a certificate for it; signed by itself while a has none.
func (a *authority) sign(tmpl *x509.Certificate, change func(*x509.Certificate)) ([]byte, *ecdsa.PrivateKey) {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	if change != nil {
		change(tmpl)
	}
	parent, signer := tmpl, key
	if a.cert != nil {
		parent, signer = a.cert, a.key
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, parent, &key.PublicKey, signer)
	if err != nil {
		a.t.Fatal(err)
	}
	return der, key
}

// issue signs a certificate for 127.0.0.1, which change may alter.
func (a *authority) issue(change func(*x509.Certificate)) tls.Certificate {
	a.t.Helper()
	tmpl := template()
	tmpl.IPAddresses = []net.IP{net.IPv4(127, 0, 0, 1)}
	der, key := a.sign(tmpl, change)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// store writes c as cert.pem and key.pem into dir.
func store(t testing.TB, dir string, c tls.Certificate) (cert, key string) {
	t.Helper()
	cert, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	der, err := x509.MarshalPKCS8PrivateKey(c.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	writePEM(t, cert, "CERTIFICATE", c.Certificate[0])
	writePEM(t, key, "PRIVATE KEY", der)
	return cert, key
}

func writePEM(t testing.TB, file, kind string, der []byte) {
	t.Helper()
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
}
