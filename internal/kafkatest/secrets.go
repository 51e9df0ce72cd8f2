package kafkatest

import (
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"fmt"
	"hash"
	"path/filepath"
)

// caFile is what makeCerts writes into a cluster's folder.
const caFile = "ca.pem"

// makeCerts writes a fresh CA to dir and returns a key and certificate for loopback that it signed, in PEM.
func makeCerts(dir string) (key, cert string, err error) {
	a, err := newAuthority(filepath.Join(dir, caFile))
	if err != nil {
		return "", "", err
	}
	c, err := a.issue(nil)
	if err != nil {
		return "", "", err
	}
	pair, err := blocks(c)
	if err != nil {
		return "", "", err
	}
	return string(pair[0].pem()), string(pair[1].pem()), nil
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
