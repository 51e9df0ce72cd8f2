package kafkatest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// Authority signs certificates for tests.
type Authority struct {
	File string // PEM of its own certificate
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// NewAuthority makes one whose File lives as long as the test.
func NewAuthority(t testing.TB) *Authority {
	t.Helper()
	a, err := newAuthority(filepath.Join(t.TempDir(), caFile))
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func newAuthority(file string) (*Authority, error) {
	tmpl := certificate()
	tmpl.IsCA, tmpl.BasicConstraintsValid, tmpl.KeyUsage = true, true, x509.KeyUsageCertSign
	a := &Authority{File: file}
	der, key, err := a.sign(tmpl)
	if err != nil {
		return nil, err
	}
	if a.cert, err = x509.ParseCertificate(der); err != nil {
		return nil, fmt.Errorf("kafkatest: ca certificate: %w", err)
	}
	a.key = key
	return a, writePEM(file, block{"CERTIFICATE", der})
}

// Pool is the authority alone.
func (a *Authority) Pool() *x509.CertPool {
	p := x509.NewCertPool()
	p.AddCert(a.cert)
	return p
}

// Issue signs a certificate for loopback, of a server and of a client, which change may alter; nil leaves it valid from an
// hour ago for two days.
func (a *Authority) Issue(t testing.TB, change func(*x509.Certificate)) tls.Certificate {
	t.Helper()
	c, err := a.issue(change)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func (a *Authority) issue(change func(*x509.Certificate)) (tls.Certificate, error) {
	tmpl := certificate()
	tmpl.KeyUsage = x509.KeyUsageDigitalSignature
	tmpl.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}
	tmpl.DNSNames, tmpl.IPAddresses = []string{"localhost"}, []net.IP{net.IPv4(127, 0, 0, 1)}
	if change != nil {
		change(tmpl)
	}
	der, key, err := a.sign(tmpl)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, err
}

// StoreCertificate writes c as cert.pem and key.pem into dir, over what is there.
func StoreCertificate(t testing.TB, dir string, c tls.Certificate) (cert, key string) {
	t.Helper()
	cert, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	pair, err := blocks(c)
	if err == nil {
		err = writePEM(key, pair[0])
	}
	if err == nil {
		err = writePEM(cert, pair[1])
	}
	if err != nil {
		t.Fatal(err)
	}
	return cert, key
}

// blocks are the key and the certificate of c.
func blocks(c tls.Certificate) ([]block, error) {
	der, err := x509.MarshalPKCS8PrivateKey(c.PrivateKey)
	if err != nil {
		return nil, fmt.Errorf("kafkatest: private key: %w", err)
	}
	return []block{{"PRIVATE KEY", der}, {"CERTIFICATE", c.Certificate[0]}}, nil
}

func certificate() *x509.Certificate {
	serial, _ := rand.Int(rand.Reader, big.NewInt(1<<62)) // never fails
	now := time.Now()
	return &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: "kafkatest"}, NotBefore: now.Add(-time.Hour), NotAfter: now.Add(48 * time.Hour),
	}
}

// sign makes a key and a certificate for it, which signs itself while a has none.
func (a *Authority) sign(tmpl *x509.Certificate) ([]byte, *ecdsa.PrivateKey, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, fmt.Errorf("kafkatest: key: %w", err)
	}
	parent, signer := tmpl, key
	if a.cert != nil {
		parent, signer = a.cert, a.key
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, parent, key.Public(), signer)
	if err != nil {
		return nil, nil, fmt.Errorf("kafkatest: certificate: %w", err)
	}
	return der, key, nil
}

type block struct {
	kind string
	der  []byte
}

func (b block) pem() []byte { return pem.EncodeToMemory(&pem.Block{Type: b.kind, Bytes: b.der}) }

func writePEM(path string, blocks ...block) error {
	var out []byte
	for _, b := range blocks {
		out = append(out, b.pem()...)
	}
	if err := os.WriteFile(path, out, 0o600); err != nil {
		return fmt.Errorf("kafkatest: %w", err)
	}
	return nil
}
