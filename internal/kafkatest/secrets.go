package kafkatest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"hash"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

// The files that makeCerts writes into a cluster's folder.
const (
	caFile     = "ca.pem"
	brokerFile = "broker.pem" // key and certificate, as Kafka's PEM keystore wants them
)

// makeCerts writes a fresh CA and a broker certificate for loopback to dir.
func makeCerts(dir string) error {
	caKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return fmt.Errorf("kafkatest: ca key: %w", err)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return fmt.Errorf("kafkatest: broker key: %w", err)
	}
	now := time.Now()
	ca := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "kafkatest CA"},
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(48 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "kafkatest broker"},
		NotBefore: ca.NotBefore, NotAfter: ca.NotAfter, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		DNSNames:    []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	caDER, err := x509.CreateCertificate(rand.Reader, ca, ca, caKey.Public(), caKey)
	if err != nil {
		return fmt.Errorf("kafkatest: ca certificate: %w", err)
	}
	leafDER, err := x509.CreateCertificate(rand.Reader, leaf, ca, key.Public(), caKey)
	if err != nil {
		return fmt.Errorf("kafkatest: broker certificate: %w", err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return fmt.Errorf("kafkatest: broker key: %w", err)
	}
	if err := writePEM(filepath.Join(dir, caFile), block{"CERTIFICATE", caDER}); err != nil {
		return err
	}
	return writePEM(filepath.Join(dir, brokerFile), block{"PRIVATE KEY", keyDER}, block{"CERTIFICATE", leafDER})
}

type block struct {
	kind string
	der  []byte
}

func writePEM(path string, blocks ...block) error {
	var out []byte
	for _, b := range blocks {
		out = append(out, pem.EncodeToMemory(&pem.Block{Type: b.kind, Bytes: b.der})...)
	}
	if err := os.WriteFile(path, out, 0o600); err != nil {
		return fmt.Errorf("kafkatest: %w", err)
	}
	return nil
}

// scramIterations is the least that Kafka accepts: logins in tests are many.
const scramIterations = 4096

// scramCredentials are the --add-scram values of a user, one for each
// mechanism. They carry the salted password, since the syntax has no way to
// write a comma or a quote inside a plain one.
func scramCredentials(user, password string) ([]string, error) {
	var out []string
	for _, m := range []struct {
		name string
		hash func() hash.Hash
		size int
	}{{"SCRAM-SHA-256", sha256.New, sha256.Size}, {"SCRAM-SHA-512", sha512.New, sha512.Size}} {
		salt := make([]byte, 16)
		_, _ = rand.Read(salt) // never fails
		salted, err := pbkdf2.Key(m.hash, password, salt, scramIterations, m.size)
		if err != nil {
			return nil, fmt.Errorf("kafkatest: %s of user %q: %w", m.name, user, err)
		}
		out = append(out, fmt.Sprintf(`%s=[name="%s",salt="%s",saltedpassword="%s",iterations=%d]`, m.name, user,
			base64.StdEncoding.EncodeToString(salt), base64.StdEncoding.EncodeToString(salted), scramIterations))
	}
	return out, nil
}
