package kafkatest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl"
	"github.com/twmb/franz-go/pkg/sasl/plain"
	"github.com/twmb/franz-go/pkg/sasl/scram"
)

func TestMain(m *testing.M) { Main(m) }

// oddPassword has what the syntaxes between a Go map and a broker could trip over.
const oddPassword = `a,b]"c\d=e #ü€😀`

// secured is the one cluster that most tests share.
func secured(t *testing.T) *Cluster {
	return Shared(t, Options{
		Security: SASLSSL, Authorizer: true,
		Users: map[string]string{"alice": "alice-secret", "bob": "bob-secret", "odd": oddPassword},
	})
}

// put produces values to partition 0 of topic.
func put(t *testing.T, cl *kgo.Client, topic string, values ...string) {
	t.Helper()
	var records []*kgo.Record
	for _, v := range values {
		records = append(records, &kgo.Record{Topic: topic, Value: []byte(v)})
	}
	if err := cl.ProduceSync(t.Context(), records...).FirstErr(); err != nil {
		t.Fatalf("produce: %v", err)
	}
}

// wantValues reads topic from its start until it has as many values.
func wantValues(t *testing.T, c *Cluster, topic string, want ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cl := c.Client(t, AdminUser, kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	var got []string
	for len(got) < len(want) {
		fetches := cl.PollFetches(ctx)
		if ctx.Err() != nil {
			t.Fatalf("read %q, want %q: %v", got, want, fetches.Err())
		}
		fetches.EachRecord(func(r *kgo.Record) { got = append(got, string(r.Value)) })
	}
	if !slices.Equal(got, want) {
		t.Fatalf("read %q, want %q", got, want)
	}
}

// login tries one round trip with mech alone.
func login(t *testing.T, c *Cluster, mech sasl.Mechanism) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	return c.Client(t, "", kgo.SASL(mech)).Ping(ctx)
}

func TestProduceConsume(t *testing.T) {
	c := secured(t)
	c.CreateTopic(t, "pc", 1, nil)
	put(t, c.Client(t, AdminUser), "pc", "a", "b")
	wantValues(t, c, "pc", "a", "b")
}

// An old broker has what one of today has: logins, ACLs, and it comes back after a kill.
func TestOldVersion(t *testing.T) {
	for _, version := range []string{V3, V28} {
		t.Run(version, func(t *testing.T) {
			c := Start(t, Options{
				Version: version, Security: SASLSSL, Authorizer: true, Users: map[string]string{"alice": "alice-secret", "odd": oddPassword},
			})
			c.CreateTopic(t, "old", 2, map[string]string{"retention.ms": "-1"})
			alice := c.Client(t, "alice")
			err := alice.ProduceSync(t.Context(), &kgo.Record{Topic: "old", Value: []byte("x")}).FirstErr()
			if !errors.Is(err, kerr.TopicAuthorizationFailed) {
				t.Fatalf("without an ACL: %v", err)
			}
			c.Allow(t, "alice", kadm.NewACLs().Topics("ol").ResourcePatternType(kadm.ACLPatternPrefixed).Operations(kadm.OpWrite))
			put(t, alice, "old", "x")
			if err := login(t, c, scram.Auth{User: "alice", Pass: "wrong"}.AsSha512Mechanism()); !errors.Is(err, kerr.SaslAuthenticationFailed) {
				t.Errorf("wrong password: %v", err)
			}
			for _, mech := range []sasl.Mechanism{
				scram.Auth{User: "odd", Pass: oddPassword}.AsSha256Mechanism(), plain.Auth{User: "odd", Pass: oddPassword}.AsMechanism(),
			} {
				if err := login(t, c, mech); err != nil {
					t.Errorf("%s: %v", mech.Name(), err)
				}
			}
			if err := c.Restart(0); err != nil {
				t.Fatal(err)
			}
			wantValues(t, c, "old", "x")
		})
	}
}

func TestLogins(t *testing.T) {
	c := secured(t)
	for _, l := range []struct {
		name string
		mech sasl.Mechanism
		want error
	}{
		{"scram 256", scram.Auth{User: "alice", Pass: "alice-secret"}.AsSha256Mechanism(), nil},
		{"scram 512", scram.Auth{User: "alice", Pass: "alice-secret"}.AsSha512Mechanism(), nil},
		{"plain", plain.Auth{User: "alice", Pass: "alice-secret"}.AsMechanism(), nil},
		{"odd, scram 256", scram.Auth{User: "odd", Pass: oddPassword}.AsSha256Mechanism(), nil},
		{"odd, scram 512", scram.Auth{User: "odd", Pass: oddPassword}.AsSha512Mechanism(), nil},
		{"odd, plain", plain.Auth{User: "odd", Pass: oddPassword}.AsMechanism(), nil},
		{"wrong, scram 256", scram.Auth{User: "alice", Pass: "bob-secret"}.AsSha256Mechanism(), kerr.SaslAuthenticationFailed},
		{"wrong, scram 512", scram.Auth{User: "alice", Pass: "bob-secret"}.AsSha512Mechanism(), kerr.SaslAuthenticationFailed},
		{"wrong, plain", plain.Auth{User: "alice", Pass: "bob-secret"}.AsMechanism(), kerr.SaslAuthenticationFailed},
		{"nobody", scram.Auth{User: "mallory", Pass: "x"}.AsSha512Mechanism(), kerr.SaslAuthenticationFailed},
	} {
		if err := login(t, c, l.mech); !errors.Is(err, l.want) {
			t.Errorf("%s: got %v, want %v", l.name, err, l.want)
		}
	}
	if _, err := c.NewClient("mallory"); err == nil || !strings.Contains(err.Error(), `no user "mallory"`) {
		t.Errorf("unknown user: %v", err)
	}
}

func TestACL(t *testing.T) {
	c := secured(t)
	c.CreateTopic(t, "acl", 1, nil)
	alice := c.Client(t, "alice")
	try := func() error {
		return alice.ProduceSync(t.Context(), &kgo.Record{Topic: "acl", Value: []byte("v")}).FirstErr()
	}
	if err := try(); !errors.Is(err, kerr.TopicAuthorizationFailed) {
		t.Fatalf("without an ACL: %v", err)
	}
	c.Allow(t, "bob", kadm.NewACLs().Topics("acl").Operations(kadm.OpWrite))
	if err := try(); !errors.Is(err, kerr.TopicAuthorizationFailed) {
		t.Fatalf("with bob's ACL: %v", err)
	}
	c.Allow(t, "alice", kadm.NewACLs().Topics("ac").ResourcePatternType(kadm.ACLPatternPrefixed).Operations(kadm.OpWrite, kadm.OpDescribe))
	if err := try(); err != nil {
		t.Fatalf("with the ACL: %v", err)
	}
	wantValues(t, c, "acl", "v")
}

// A broker starts as well with an archive that is none, and while somebody else makes one.
func TestNoArchive(t *testing.T) {
	c := secured(t)
	c.CreateTopic(t, "archive", 1, nil)
	put(t, c.Client(t, AdminUser), "archive", "a")
	before := c.archive
	defer func() { c.archive = before }()
	dir := t.TempDir()
	c.archive = filepath.Join(dir, "none")
	if err := os.WriteFile(c.archive, []byte("not an archive"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := c.Restart(0); err != nil {
		t.Fatal(err)
	}
	wantValues(t, c, "archive", "a")

	lock, err := lockFile(filepath.Join(dir, "classes-"+javaSum()+".jsa.lock"), true)
	if err != nil {
		t.Fatal(err)
	}
	defer unlock(lock)
	if got := archive(t.Context(), dir, V4); got != "" {
		t.Errorf("the archive %s, which somebody else is making", got)
	}
}

// A broker takes its classes from the archive, which is there once nobody makes it any more.
func TestArchive(t *testing.T) {
	c := secured(t)
	lock, err := lockFile(filepath.Join(c.jars, "classes-"+javaSum()+".jsa.lock"), true)
	if err != nil {
		t.Fatal(err)
	}
	unlock(lock)
	if c.archive = archive(t.Context(), c.jars, V4); c.archive == "" {
		t.Fatal("no archive")
	}
	if err := c.Restart(0); err != nil {
		t.Fatal(err)
	}
	c.nodes[0].mu.Lock()
	pid := c.nodes[0].proc.pid
	c.nodes[0].mu.Unlock()
	maps, err := os.ReadFile(fmt.Sprintf("/proc/%d/maps", pid))
	if runtime.GOOS == "linux" && (err != nil || !strings.Contains(string(maps), c.archive)) {
		t.Errorf("the broker has not mapped %s: %v", c.archive, err)
	}
}

func TestKillRestart(t *testing.T) {
	c := secured(t)
	before := c.Bootstrap()
	c.CreateTopic(t, "kept", 1, nil)
	cl := c.Client(t, AdminUser)
	put(t, cl, "kept", "1", "2")
	if err := c.Kill(0); err != nil {
		t.Fatal(err)
	}
	for name, op := range map[string]func(int) error{"Kill": c.Kill, "Freeze": c.Freeze, "Thaw": c.Thaw} {
		if err := op(0); !errors.Is(err, errNotRunning) {
			t.Errorf("%s of a dead broker: %v", name, err)
		}
	}
	start := time.Now()
	if err := c.Restart(0); err != nil {
		t.Fatal(err)
	}
	t.Logf("restart took %v", time.Since(start))
	if !slices.Equal(before, c.Bootstrap()) {
		t.Errorf("addresses: %v, before %v", c.Bootstrap(), before)
	}
	put(t, cl, "kept", "3")
	wantValues(t, c, "kept", "1", "2", "3")
}

// A broker that is shut down ends by itself and writes down what it knows of producers, which one that is killed has no time for.
func TestShutDown(t *testing.T) {
	c := secured(t)
	c.CreateTopic(t, "shut", 1, nil)
	cl := c.Client(t, AdminUser)
	put(t, cl, "shut", "1", "2")
	if err := c.ShutDown(0); err != nil {
		t.Fatal(err)
	}
	if err := c.ShutDown(0); !errors.Is(err, errNotRunning) {
		t.Errorf("of a broker that is down: %v", err)
	}
	if s, err := filepath.Glob(filepath.Join(c.DataDir(0), "shut-0", "*2.snapshot")); err != nil || len(s) != 1 {
		t.Errorf("snapshots of producers at the log's end: %q %v", s, err)
	}
	if err := c.Restart(0); err != nil {
		t.Fatal(err)
	}
	put(t, cl, "shut", "3")
	wantValues(t, c, "shut", "1", "2", "3")
}

// TestSharedHeals leaves a frozen and then a dead broker to the next test.
func TestSharedHeals(t *testing.T) {
	o := Options{Security: SASLSSL, Authorizer: true,
		Users: map[string]string{"alice": "alice-secret", "bob": "bob-secret", "odd": oddPassword}}
	var first *Cluster
	for _, harm := range []func(*Cluster) error{
		func(c *Cluster) error { return c.Freeze(0) },
		func(c *Cluster) error { return c.Kill(0) },
		func(*Cluster) error { return nil },
	} {
		t.Run("", func(t *testing.T) {
			c := Shared(t, o)
			if first == nil {
				first = c
			}
			if c != first {
				t.Error("another cluster for the same options")
			}
			if err := c.Client(t, AdminUser).Ping(t.Context()); err != nil {
				t.Error(err)
			}
			if err := harm(c); err != nil {
				t.Error(err)
			}
		})
	}
}

// fatalTB ends its goroutine at Fatal, as a test does, and keeps the message.
type fatalTB struct {
	testing.TB
	said string
}

func (f *fatalTB) Fatal(args ...any) {
	f.said = fmt.Sprint(args...)
	runtime.Goexit()
}

func TestSharedNeedsMain(t *testing.T) {
	Need(t)
	shared.Lock()
	shared.managed = false
	shared.Unlock()
	tb := &fatalTB{TB: t}
	done := make(chan struct{})
	go func() {
		defer close(done)
		Shared(tb, Options{})
	}()
	<-done
	shared.Lock()
	shared.managed = true
	shared.Unlock()
	if !strings.Contains(tb.said, "kafkatest.Main(m)") {
		t.Errorf("without Main: %q", tb.said)
	}
}

func TestThreeBrokers(t *testing.T) {
	begin := time.Now()
	c := Start(t, Options{Brokers: 3})
	t.Logf("3 brokers started in %v", time.Since(begin))
	c.CreateTopic(t, "three", 1, nil)
	cl := c.Client(t, AdminUser)
	put(t, cl, "three", "1")
	topics, err := c.Admin(t).ListTopics(t.Context(), "three")
	if err != nil {
		t.Fatal(err)
	}
	p := topics["three"].Partitions[0]
	if len(p.Replicas) != 3 {
		t.Fatalf("replicas %v", p.Replicas)
	}
	if err := c.Kill(int(p.Leader)); err != nil {
		t.Fatal(err)
	}
	begin = time.Now()
	put(t, cl, "three", "2")
	t.Logf("a new leader took the record after %v", time.Since(begin))
	begin = time.Now()
	if err := c.Restart(int(p.Leader)); err != nil {
		t.Fatal(err)
	}
	t.Logf("restart took %v", time.Since(begin))
	put(t, cl, "three", "3")
	wantValues(t, c, "three", "1", "2", "3")
	dir := c.Dir()
	c.Stop()
	c.Stop()
	if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%s after Stop: %v", dir, err)
	}
	if err := c.Restart(0); err == nil {
		t.Error("a stopped cluster restarted")
	}
}

func TestStartFails(t *testing.T) {
	Need(t)
	c, err := Run(t.Context(), Options{Config: map[string]string{"broker.session.timeout.ms": "soon"}})
	if err == nil {
		c.Stop()
		t.Fatal("started")
	}
	if !strings.Contains(err.Error(), "broker.session.timeout.ms") {
		t.Errorf("the error lacks the log: %v", err)
	}
}

func TestDeadBrokerIsReported(t *testing.T) {
	c := secured(t)
	n := c.nodes[0]
	if err := n.died(); err != nil {
		t.Fatalf("alive: %v", err)
	}
	if err := syscall.Kill(n.proc.pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	<-n.proc.done
	if err := n.died(); err == nil || !strings.Contains(err.Error(), "broker 0 ended by itself: signal: killed") {
		t.Errorf("killed by a stranger: %v", err)
	}
	if err := c.Restart(0); err != nil {
		t.Fatal(err)
	}
}
