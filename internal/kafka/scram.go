package kafka

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"

	"github.com/twmb/franz-go/pkg/sasl"
	"github.com/twmb/franz-go/pkg/sasl/plain"
	"github.com/xdg-go/scram"
	"github.com/xdg-go/stringprep"

	"github.com/kferry/kferry/config"
)

const (
	mechPlain  = "PLAIN"
	mechSHA256 = "SCRAM-SHA-256"
	mechSHA512 = "SCRAM-SHA-512"

	// A server that asks for fewer rounds wants to learn the password by
	// brute force; RFC 7677 and Kafka agree on this floor.
	minIterations = 4096
	// One that asks for more than a million wants our processor: kgo runs the
	// rounds on the broker's only writing goroutine. Kafka itself stops at 16384.
	maxIterations = 1 << 20
	// Bytes of a server message. Kafka's have about 100; a parse error quotes
	// the message, so this also bounds what a hostile server puts into a log.
	maxMessage = 1024
)

// newMechanism returns the mechanism of c, nil when c names none. It fails for
// an unknown mechanism and for credentials that SASLprep forbids; errors never
// hold the password.
func newMechanism(c config.SASL, log *slog.Logger) (sasl.Mechanism, error) {
	if c.Mechanism == "" {
		return nil, nil
	}
	if c.Username == "" || c.Password.Reveal() == "" {
		return nil, fmt.Errorf("sasl.mechanism %s needs sasl.username and sasl.password", c.Mechanism)
	}
	switch c.Mechanism {
	case mechPlain:
		return plain.Auth{User: c.Username, Pass: c.Password.Reveal()}.AsMechanism(), nil
	case mechSHA256:
		return newSCRAM(c, scram.SHA256, log)
	case mechSHA512:
		return newSCRAM(c, scram.SHA512, log)
	}
	return nil, fmt.Errorf("sasl.mechanism %q is not known: use %s, %s or %s", c.Mechanism, mechPlain, mechSHA256, mechSHA512)
}

// scramMechanism makes one conversation per session. The client below it keeps
// nothing of a conversation, only the salted keys, which cost milliseconds of
// processor time per connection to derive again.
type scramMechanism struct {
	name   string
	client *scram.Client
}

func newSCRAM(c config.SASL, hash scram.HashGeneratorFcn, log *slog.Logger) (*scramMechanism, error) {
	client, err := hash.NewClient(c.Username, c.Password.Reveal(), "")
	if err != nil {
		return nil, fmt.Errorf("sasl.username or sasl.password holds a character that SASLprep (RFC 4013) forbids: %w", err)
	}
	// Kafka's own tools salt what they are given, unprepared. Where SASLprep
	// changes it, the broker may know another password than the one we prove.
	for name, s := range map[string]string{"username": c.Username, "password": c.Password.Reveal()} {
		if p, err := stringprep.SASLprep.Prepare(s); err == nil && p != s {
			log.Warn("SASLprep changes the sasl." + name + "; if the login is refused, choose one of plain ASCII characters")
		}
	}
	return &scramMechanism{name: c.Mechanism, client: client.WithMinIterations(minIterations)}, nil
}

func (m *scramMechanism) Name() string { return m.name }

// Authenticate begins a session with a nonce of its own. kgo calls it for every
// connection and, before a session's lifetime ends, again on the same one.
func (m *scramMechanism) Authenticate(context.Context, string) (sasl.Session, []byte, error) {
	s := &scramSession{mechanism: m.name, conv: m.client.NewConversation()}
	first, err := s.conv.Step("")
	if err != nil {
		return nil, nil, &LoginError{Mechanism: m.name, Err: err}
	}
	s.nonce = first[strings.LastIndex(first, ",r=")+len(",r="):]
	return s, []byte(first), nil
}

// scramSession is one exchange: the server's first message, then its signature.
type scramSession struct {
	mechanism string
	conv      *scram.ClientConversation
	nonce     string // ours; the server's must begin with it and be longer
	proven    bool   // our proof is made, the server's signature is next
}

// Challenge answers the server's first message with our proof and checks the
// signature in its second. It is done only when the signature is right: a
// server that does not know the password must not be trusted with records.
func (s *scramSession) Challenge(msg []byte) (bool, []byte, error) {
	out, err := s.step(string(msg))
	if err != nil {
		return false, nil, &LoginError{Mechanism: s.mechanism, Err: err}
	}
	return s.conv.Valid(), []byte(out), nil
}

func (s *scramSession) step(msg string) (string, error) {
	if len(msg) > maxMessage {
		return "", fmt.Errorf("server message of %d bytes, at most %d are accepted", len(msg), maxMessage)
	}
	if !s.proven {
		if err := checkServerFirst(msg, s.nonce); err != nil {
			return "", err
		}
		s.proven = true
	}
	return s.conv.Step(msg) // the second fails unless the signature is right
}

// checkServerFirst refuses what the library lets through: a nonce the server
// added nothing to (an old answer could be played back) and a round count that
// only burns our processor. All other checks are the library's.
func checkServerFirst(msg, nonce string) error {
	for i, f := range strings.SplitN(msg, ",", 4) {
		switch {
		case i == 0 && f == "r="+nonce:
			return errors.New("server nonce does not extend ours")
		case i == 2 && strings.HasPrefix(f, "i="):
			if n, err := strconv.Atoi(f[2:]); err == nil && n > maxIterations {
				return fmt.Errorf("server asks for %d iterations, at most %d are accepted", n, maxIterations)
			}
		}
	}
	return nil
}

// LoginError says that we refused the server, not the server us: its messages
// broke the SCRAM protocol or do not prove that it knows the password.
type LoginError struct {
	Mechanism string
	Err       error
}

func (e *LoginError) Error() string { return e.Mechanism + ": " + e.Err.Error() }
func (e *LoginError) Unwrap() error { return e.Err }
