package acceptance

import (
	"net"
	"regexp"
	"strings"
	"testing"

	"github.com/kferry/kferry/internal/ferrytest"
	"github.com/kferry/kferry/internal/kafkatest"
)

// The exit codes of a kferry that gives up, as "kferry help exit-codes" lists them.
const (
	exitFailure = 1
	exitConfig  = 3
	exitConnect = 4
)

// wrongSecret is no user's password.
const wrongSecret = "Wrong-5tGq8K"

// What no waiting mends ends kferry at once, with an exit code for scripts and a message for people.
func TestBadInput(t *testing.T) {
	p := newPair(t, kafkatest.V4)
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	for name, c := range map[string]struct {
		spoil func(s tree)
		code  int
		says  []string // patterns, all of them
	}{
		"wrong password on the source": {
			func(s tree) { at(s, "clusters", "old", "sasl")["password"] = wrongSecret }, exitConnect,
			[]string{`cluster "old"`, `refused the user name or the password`, `sasl\.`},
		},
		"wrong password on the target": {
			func(s tree) {
				at(s, "clusters", "new", "sasl")["password"] = wrongSecret
				delete(at(s, "clusters", "new", "sasl"), "password_file")
			}, exitConnect,
			[]string{`cluster "new"`, `refused the user name or the password`, `sasl\.`},
		},
		"unknown user": {
			func(s tree) { at(s, "clusters", "old", "sasl")["username"] = "mallory" }, exitConnect,
			[]string{`cluster "old"`, `refused the user name or the password`, `sasl\.`},
		},
		"wrong CA": {
			func(s tree) { at(s, "clusters", "old", "tls")["ca_file"] = p.target.CAFile() }, exitConnect,
			[]string{`cluster "old"`, `authority that is not trusted`, `tls\.ca_file`},
		},
		"unknown mechanism": {
			func(s tree) { at(s, "clusters", "old", "sasl")["mechanism"] = "GSSAPI" }, exitConfig,
			[]string{`kferry\.yaml`, `clusters\.old\.sasl\.mechanism`, `GSSAPI`, `PLAIN.*SCRAM-SHA-256.*SCRAM-SHA-512`},
		},
		"several mistakes at once": {
			func(s tree) {
				flowOf(s)["topics"] = []string{"orders-(?!test)"}
				flowOf(s)["target"] = "nowhere"
				s["memory"] = "1GiB"
			}, exitConfig,
			[]string{`flows\[0\]\.topics`, `flows\[0\]\.target.*nowhere`, `memory`},
		},
		"port in use": {
			func(s tree) { s["http"] = tree{"listen": taken.Addr().String()} }, exitFailure,
			[]string{`http\.listen`, regexp.QuoteMeta(taken.Addr().String()), `another process`},
		},
	} {
		t.Run(name, func(t *testing.T) {
			p := &pair{t: t, name: p.name, source: p.source, target: p.target}
			s := p.settings()
			c.spoil(s)
			refuses(t, p.run(s), c.code, c.says...)
		})
	}
}

// A broker that offers other mechanisms than the configured one: the message lists them.
func TestBadInputMechanismNotOffered(t *testing.T) {
	t.Parallel()
	p := barePair(t, kafkatest.V4)
	only := kafkatest.Start(t, kafkatest.Options{
		Security: kafkatest.SASLPlaintext, Users: map[string]string{reader: readerSecret},
		Config: map[string]string{"listener.name.client.sasl.enabled.mechanisms": "SCRAM-SHA-512"},
	})
	s := p.settings()
	old := login(only.Config("old", reader), tree{"password": "${OLD_PASSWORD}"})
	delete(old, "tls")
	at(old, "sasl")["mechanism"] = "PLAIN"
	at(s, "clusters")["old"] = old
	refuses(t, p.run(s), exitConnect, `cluster "old"`, `PLAIN`, `SCRAM-SHA-512`, `sasl\.mechanism`)
}

// refuses wants kferry to end with code, and to print what all patterns match.
func refuses(t testing.TB, f *ferrytest.Ferry, code int, patterns ...string) {
	t.Helper()
	f.Exit(code)
	text := f.Output()
	for _, pattern := range patterns {
		if !regexp.MustCompile(pattern).MatchString(text) {
			t.Errorf("the output does not match %s", pattern)
		}
	}
	if n := strings.Count(text, "\n"); n > 12 {
		t.Errorf("%d lines of output, want a message", n)
	}
	t.Logf("exit code %d\n%s", f.Code, text)
}
