package kafka

import (
	"context"
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"log/slog"
	"strconv"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kferry/kferry/config"
)

// mechanism returns a SCRAM mechanism whose nonces are all the given one.
func mechanism(t testing.TB, name, user, password, nonce string) *scramMechanism {
	t.Helper()
	m, err := newMechanism(config.SASL{Mechanism: name, Username: user, Password: config.Secret(password)}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	s := m.(*scramMechanism)
	s.client.WithNonceGenerator(func() string { return nonce })
	return s
}

// The exchange of RFC 7677, section 3.
const (
	rfcNonce       = "rOprNGfwEbeRWgbNEkqO"
	rfcClientFirst = "n,,n=user,r=rOprNGfwEbeRWgbNEkqO"
	rfcServerFirst = "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"
	rfcClientFinal = "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
	rfcServerFinal = "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="
)

func TestSCRAMVector(t *testing.T) {
	m := mechanism(t, mechSHA256, "user", "pencil", rfcNonce)
	for range 2 { // the second session must not depend on the first
		s, first, err := m.Authenticate(t.Context(), "")
		if err != nil || string(first) != rfcClientFirst {
			t.Fatalf("first message %q, %v", first, err)
		}
		done, final, err := s.Challenge([]byte(rfcServerFirst))
		if done || err != nil || string(final) != rfcClientFinal {
			t.Fatalf("final message %q, done %v, %v", final, done, err)
		}
		done, more, err := s.Challenge([]byte(rfcServerFinal))
		if !done || err != nil || len(more) != 0 {
			t.Fatalf("after the signature: done %v, %q, %v", done, more, err)
		}
		if _, _, err := s.Challenge([]byte(rfcServerFinal)); err == nil {
			t.Fatal("a finished session went on")
		}
	}
}

// The RFC has no vector for SHA-512; kfake computes the other side by code of
// its own (and TestReal has the broker's).
func TestSCRAMAgainstKfake(t *testing.T) {
	for _, mech := range []string{mechPlain, mechSHA256, mechSHA512} {
		for _, user := range []string{"alice", "a=b,c"} { // the second has to be escaped
			t.Run(mech+" "+user, func(t *testing.T) {
				c := fake(t, kfake.EnableSASL(), kfake.Superuser(mech, user, "p=a,ss"))
				cl := open(t, cluster(c, login(mech, user, "p=a,ss")), Options{})
				if err := cl.Ping(t.Context()); err != nil {
					t.Fatal(err)
				}
			})
		}
	}
}

func TestSCRAMHostileServer(t *testing.T) {
	const proof = "" // marks messages that come after our proof
	for _, tc := range []struct{ name, first, final, want string }{
		{"nonce of its own", "r=somethingelse,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096", "", "did not extend"},
		{"nonce cut", "r=rOprNGfwEbeRWgbNEkq,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096", "", "did not extend"},
		{"nonce unchanged", "r=rOprNGfwEbeRWgbNEkqO,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096", "", "does not extend"},
		{"4095 iterations", strings.Replace(rfcServerFirst, "4096", "4095", 1), "", "too few iterations"},
		{"one iteration", strings.Replace(rfcServerFirst, "4096", "1", 1), "", "too few iterations"},
		{"zero iterations", strings.Replace(rfcServerFirst, "4096", "0", 1), "", "too few iterations"},
		{"negative iterations", strings.Replace(rfcServerFirst, "4096", "-4096", 1), "", "too few iterations"},
		{"endless iterations", strings.Replace(rfcServerFirst, "4096", "2147483647", 1), "", "at most 1048576"},
		{"iterations beyond int", strings.Replace(rfcServerFirst, "4096", "99999999999999999999", 1), "", "value out of range"},
		{"unknown mandatory extension", "m=x," + rfcServerFirst, "", "extensions are not supported"},
		{"empty", "", "", "not enough fields"},
		{"error at once", "e=unknown-user", "", "not enough fields"},
		{"signature at once", rfcServerFinal, "", "not enough fields"},
		{"garbage", "\x00\xff\x00", "", "not enough fields"},
		{"salt that is no base64", strings.Replace(rfcServerFirst, "W22", "!!!", 1), "", "illegal base64"},
		{"huge", rfcServerFirst + "," + strings.Repeat("x", 1<<20), "", "server message of"},
		{"wrong signature", rfcServerFirst, "v=" + base64.StdEncoding.EncodeToString(make([]byte, 32)), "server validation failed"},
		{"short signature", rfcServerFirst, "v=6rri", "server validation failed"},
		{"no signature", rfcServerFirst, "v=", "server validation failed"},
		{"server says no", rfcServerFirst, "e=invalid-proof", "invalid-proof"},
		{"silence", rfcServerFirst, " ", "error parsing"},
		{"first message again", rfcServerFirst, rfcServerFirst, "error parsing"},
		{"huge signature", rfcServerFirst, rfcServerFinal + strings.Repeat("x", 1<<20), "server message of"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s, _, err := mechanism(t, mechSHA256, "user", "pencil", rfcNonce).Authenticate(t.Context(), "")
			if err != nil {
				t.Fatal(err)
			}
			done, out, err := s.Challenge([]byte(tc.first))
			if tc.final != proof {
				if err != nil {
					t.Fatal(err)
				}
				done, out, err = s.Challenge([]byte(tc.final))
			}
			var le *LoginError
			if !errors.As(err, &le) || !strings.Contains(err.Error(), tc.want) {
				t.Fatalf("got %v, want a LoginError with %q", err, tc.want)
			}
			if done || len(out) != 0 {
				t.Errorf("done %v, sent %q to a hostile server", done, out)
			}
			if len(err.Error()) > 2*maxMessage || strings.Contains(err.Error(), "pencil") {
				t.Errorf("error of %d bytes: %.200s", len(err.Error()), err)
			}
		})
	}
}

// Whatever the server sends: no panic, no endless computing, and never done
// unless it sent the signature that only a holder of the password can make.
func FuzzSCRAMChallenge(f *testing.F) {
	f.Add(rfcServerFirst, rfcServerFinal)
	f.Add(rfcServerFirst, "e=other-error")
	f.Add("r=rOprNGfwEbeRWgbNEkqOx,s=,i=4096", "v=")
	f.Add("m=,,,", ",,,")
	m := mechanism(f, mechSHA256, "user", "pencil", rfcNonce)
	f.Fuzz(func(t *testing.T, first, final string) {
		s, _, err := m.Authenticate(context.Background(), "")
		if err != nil {
			t.Fatal(err)
		}
		done, proof, err := s.Challenge([]byte(first))
		if done {
			t.Fatal("done before the server proved anything")
		}
		if err != nil {
			return
		}
		done, _, err = s.Challenge([]byte(final))
		if done != (err == nil) {
			t.Fatalf("done %v with error %v", done, err)
		}
		if done && !strings.HasPrefix(final, "v="+signature(t, "pencil", first, string(proof))) {
			t.Fatalf("%q passed for the signature", final)
		}
	})
}

// signature is the server's, by RFC 5802, section 3, for an exchange that began
// with rfcClientFirst.
func signature(t *testing.T, password, serverFirst, clientFinal string) string {
	t.Helper()
	f := strings.SplitN(serverFirst, ",", 4)
	salt, err := base64.StdEncoding.DecodeString(f[1][2:])
	if err != nil {
		t.Fatal(err)
	}
	rounds, err := strconv.Atoi(f[2][2:])
	if err != nil {
		t.Fatal(err)
	}
	salted, err := pbkdf2.Key(sha256.New, password, salt, rounds, sha256.Size)
	if err != nil {
		t.Fatal(err)
	}
	sum := func(key []byte, text string) []byte {
		h := hmac.New(sha256.New, key)
		h.Write([]byte(text))
		return h.Sum(nil)
	}
	withoutProof := clientFinal[:strings.LastIndex(clientFinal, ",p=")]
	auth := strings.TrimPrefix(rfcClientFirst, "n,,") + "," + serverFirst + "," + withoutProof
	return base64.StdEncoding.EncodeToString(sum(sum(salted, "Server Key"), auth))
}

func TestSCRAMNonceIsFresh(t *testing.T) {
	m, err := newMechanism(login(mechSHA512, "user", "pencil"), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	seen := make(map[string]bool)
	for range 100 {
		_, first, err := m.Authenticate(t.Context(), "")
		if err != nil {
			t.Fatal(err)
		}
		if _, nonce, _ := strings.Cut(string(first), ",r="); seen[nonce] || len(nonce) < 24 {
			t.Fatalf("nonce %q is short or was used before", nonce)
		} else {
			seen[nonce] = true
		}
	}
}

// Examples of RFC 4013, section 3, and what must not be sent at all.
func TestSASLprep(t *testing.T) {
	for _, tc := range []struct {
		name, user, password string
		want, warn           string
		bad                  bool
	}{
		{name: "soft hyphen maps to nothing", user: "I\u00adX", password: "p", want: "n,,n=IX,r=", warn: "sasl.username"},
		{name: "no transformation", user: "user", password: "p", want: "n,,n=user,r="},
		{name: "case is preserved", user: "USER", password: "p", want: "n,,n=USER,r="},
		{name: "NFKC", user: "\u2168", password: "p", want: "n,,n=IX,r=", warn: "sasl.username"},
		{name: "NFKC of the password", user: "user", password: "\ufb01sh", want: "n,,n=user,r=", warn: "sasl.password"},
		{name: "escapes", user: "a=b,c", password: "p", want: "n,,n=a=3Db=2Cc,r="},
		{name: "control character", user: "a\u0007", password: "p", bad: true},
		{name: "control character in the password", user: "a", password: "sec\u0007ret", bad: true},
		{name: "bidirectional", user: "\u0627\u0031", password: "p", bad: true},
		{name: "no user", password: "p", bad: true},
		{name: "no password", user: "user", bad: true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var log strings.Builder
			m, err := newMechanism(login(mechSHA256, tc.user, tc.password), slog.New(slog.NewTextHandler(&log, nil)))
			if tc.bad {
				if err == nil {
					t.Fatal("accepted")
				}
				if strings.Contains(err.Error(), "ret") && tc.password != "p" {
					t.Errorf("the error shows the password: %v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			_, first, err := m.Authenticate(t.Context(), "")
			if err != nil || !strings.HasPrefix(string(first), tc.want) {
				t.Errorf("first message %q, %v", first, err)
			}
			if (tc.warn != "") != (log.Len() > 0) || !strings.Contains(log.String(), tc.warn) {
				t.Errorf("log %q, want %q", log.String(), tc.warn)
			}
			if strings.Contains(log.String(), "\ufb01sh") {
				t.Errorf("the log shows the password: %s", log.String())
			}
		})
	}
}

func TestPlainNeedsCredentials(t *testing.T) {
	for _, s := range []config.SASL{login(mechPlain, "", "p"), login(mechPlain, "u", "")} {
		if _, err := Open(config.Cluster{Alias: "x", BootstrapServers: []string{"127.0.0.1:1"}, SASL: s}, Options{}); err == nil || !strings.Contains(err.Error(), "sasl.username") {
			t.Errorf("got %v", err)
		}
	}
}

func TestUnknownMechanism(t *testing.T) {
	_, err := Open(config.Cluster{Alias: "x", BootstrapServers: []string{"127.0.0.1:1"}, SASL: login("GSSAPI", "u", "p")}, Options{})
	if err == nil || !strings.Contains(err.Error(), `"GSSAPI"`) || !strings.Contains(err.Error(), mechSHA512) {
		t.Errorf("got %v, want the mechanism and the allowed ones", err)
	}
}

// A lifetime of a second is below kgo's margin, so every request logs in again,
// on the same connection. Each time the whole exchange must begin anew.
func TestReauthentication(t *testing.T) {
	for _, mech := range []string{mechPlain, mechSHA256, mechSHA512} {
		t.Run(mech, func(t *testing.T) {
			c := fake(t, kfake.EnableSASL(), kfake.Superuser(mech, "alice", "secret"),
				kfake.BrokerConfigs(map[string]string{"connections.max.reauth.ms": "1000"}))
			var firsts []string
			c.ControlKey(kmsg.SASLAuthenticate.Int16(), func(r kmsg.Request) (kmsg.Response, error, bool) {
				c.KeepControl()
				firsts = append(firsts, string(r.(*kmsg.SASLAuthenticateRequest).SASLAuthBytes))
				return nil, nil, false
			})
			var dials connCounter
			cl := open(t, cluster(c, login(mech, "alice", "secret")), Options{Hooks: hooks(&dials)})
			const pings = 5
			for range pings {
				if err := cl.Ping(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			if n := dials.count(); n != 1 {
				t.Errorf("%d connections, want 1: the login must be repeated in place", n)
			}
			perLogin := 2 // messages
			if mech == mechPlain {
				perLogin = 1
			}
			if len(firsts) < pings*perLogin {
				t.Fatalf("%d login messages, want %d logins of %d", len(firsts), pings, perLogin)
			}
			seen := make(map[string]bool)
			for _, m := range firsts {
				if seen[m] && mech != mechPlain {
					t.Fatalf("message sent twice: %q", m)
				}
				seen[m] = true
			}
		})
	}
}
