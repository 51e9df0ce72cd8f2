package config

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"os"
	"strings"
)

// readRegular reads a file that a key names. A pipe or device could block or
// have no end, so it is refused before it is opened.
func readRegular(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, errors.New("it is not a regular file")
	}
	return readAll(path)
}

func checkCA(r *report, file string, at keyPath) {
	if file == "" {
		return
	}
	pem, err := readRegular(file)
	if err != nil {
		r.add(at, file, "cannot be read: %s", reason(err))
		return
	}
	if !x509.NewCertPool().AppendCertsFromPEM(pem) {
		r.add(at, file, "has no certificate in PEM form (-----BEGIN CERTIFICATE-----)")
	}
}

func checkKeyPair(r *report, cert, key string, at keyPath) {
	switch {
	case cert == "" && key == "":
		return
	case key == "":
		r.require(at.child("key_file"), "is missing: cert_file needs its private key")
		return
	case cert == "":
		r.require(at.child("cert_file"), "is missing: key_file needs its certificate")
		return
	}
	certPEM, err := readRegular(cert)
	if err != nil {
		r.add(at.child("cert_file"), cert, "cannot be read: %s", reason(err))
	}
	keyPEM, keyErr := readRegular(key)
	if keyErr != nil {
		r.add(at.child("key_file"), key, "cannot be read: %s", reason(keyErr))
	}
	if err != nil || keyErr != nil {
		return
	}
	if _, err := tls.X509KeyPair(certPEM, keyPEM); err != nil {
		r.add(at.child("cert_file"), cert, "does not go with key_file %s: %s", key, strings.TrimPrefix(err.Error(), "tls: "))
	}
}

// A secret may be given as text under its key, or under that key with this behind
// it as the name of a file.
const fileSuffix = "_file"

// readSecret fills in a secret that is in a file of its own; key is that of the secret.
func readSecret(r *report, s *Secret, file string, at keyPath, key string) {
	if file == "" {
		return
	}
	p := at.child(key + fileSuffix)
	if r.isSet(at.child(key)) {
		r.add(p, file, "cannot be given beside %s: keep one", key)
		return
	}
	b, err := readRegular(file)
	if err != nil {
		r.add(p, file, "cannot be read: %s", reason(err))
		return
	}
	*s = Secret(strings.TrimSuffix(strings.TrimSuffix(string(b), "\n"), "\r"))
	if *s == "" {
		r.add(p, file, "is empty")
	}
}
