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

// readPassword fills in the password that is in a file of its own.
func readPassword(r *report, s *SASL, at keyPath) {
	if s.PasswordFile == "" {
		return
	}
	p := at.child("password_file")
	if r.isSet(at.child("password")) {
		r.add(p, s.PasswordFile, "cannot be given beside password: keep one")
		return
	}
	b, err := readRegular(s.PasswordFile)
	if err != nil {
		r.add(p, s.PasswordFile, "cannot be read: %s", reason(err))
		return
	}
	s.Password = Secret(strings.TrimSuffix(strings.TrimSuffix(string(b), "\n"), "\r"))
	if s.Password == "" {
		r.add(p, s.PasswordFile, "is empty")
	}
}
