// Package kafkatest runs real Apache Kafka for tests and benchmarks: brokers
// from Maven artifacts, on 127.0.0.1 only, with one JVM per broker that
// never outlives the program that started it.
//
// A test that only needs some cluster takes the one its package shares; a test
// that wants its own calls Start:
//
//	func TestMain(m *testing.M) { kafkatest.Main(m) }
//
//	func TestCopy(t *testing.T) {
//		c := kafkatest.Shared(t, kafkatest.Options{Security: kafkatest.SASLSSL})
//		c.CreateTopic(t, "orders", 6, nil)
//		cl := c.Client(t, "admin")
//		...
//	}
//
// Every broker is also a controller, and broker i has the node id i. Before V3
// there is ZooKeeper beside the brokers, which nobody else needs to know.
//
// Apache's own Java code runs beside the brokers: StartMM2 is MirrorMaker 2 as a
// process, Cluster.MirrorRead its client, Cluster.Formatted its console
// formatters, and RunJava runs a test's own program with their classes.
//
// Environment: KFERRY_REQUIRE_KAFKA makes a missing Java or Maven a failure
// instead of a skip (javac too, where Java programs are run); KFERRY_KAFKA_CACHE replaces the folder that keeps the jars.
package kafkatest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// Kafka versions that can be started.
const (
	V4  = "4.3.1"
	V3  = "3.9.1"
	V28 = "2.8.2" // with ZooKeeper
	V44 = "4.4.0"
)

var versions = []string{V4, V3, V28, V44}

// Security says what the client listener asks of a client.
type Security int

// Both SASL kinds offer PLAIN, SCRAM-SHA-256 and SCRAM-SHA-512.
const (
	Plaintext Security = iota
	SASLPlaintext
	SASLSSL // the certificate is for 127.0.0.1 and localhost, signed by the CA in Cluster.CAFile
)

// AdminUser exists on every cluster, is a super user and has AdminPassword
// unless Options.Users gives it another.
const (
	AdminUser     = "admin"
	AdminPassword = "admin-secret"
)

// startLimit bounds a start, a restart and every wait for the brokers to agree:
// far more than they need, since several may start at once on few cores.
const startLimit = 2 * time.Minute

// Options describe a cluster. The zero value is one plaintext broker of V4.
type Options struct {
	Version    string            // V4 (default), V3, V28 or V44
	Brokers    int               // 1 (default) or 3
	Security   Security          // of the client listener
	Users      map[string]string // name to password, for every SASL mechanism
	Authorizer bool              // who has no ACL may do nothing; needs SASL
	Config     map[string]string // more server.properties; wins over what the package sets
	HeapMB     int               // per broker; default 512 for 1 broker, 320 for 3, 1024 with Bench
	Bench      bool              // the JVM settings of Kafka's own scripts, for measuring
	Detour     bool              // a second client listener that advertises other ports than it listens on: see Cluster.Detours
}

// normal fills the defaults in, so that equal clusters have equal options.
func (o Options) normal() (Options, error) {
	if o.Version == "" {
		o.Version = V4
	}
	if o.Brokers == 0 {
		o.Brokers = 1
	}
	if o.HeapMB == 0 {
		o.HeapMB = defaultHeap(o)
	}
	users := map[string]string{AdminUser: AdminPassword}
	maps.Copy(users, o.Users)
	o.Users = users
	switch {
	case !slices.Contains(versions, o.Version):
		return o, fmt.Errorf("kafkatest: version %q: want one of %s", o.Version, strings.Join(versions, ", "))
	case o.Brokers != 1 && o.Brokers != 3:
		return o, fmt.Errorf("kafkatest: %d brokers: want 1 or 3", o.Brokers)
	case o.Security < Plaintext || o.Security > SASLSSL:
		return o, fmt.Errorf("kafkatest: unknown security %d", o.Security)
	case o.Authorizer && o.Security == Plaintext:
		return o, errors.New("kafkatest: an authorizer needs SASL: on a plaintext listener every client is the same super user as the brokers")
	}
	return o, nil
}

func defaultHeap(o Options) int {
	switch {
	case o.Bench:
		return 1024
	case o.Brokers == 3:
		return 320
	}
	return 512
}

// Start runs a cluster until the test ends. It skips the test with -short, and
// without Java or Maven; then it fails it if KFERRY_REQUIRE_KAFKA is set.
func Start(t testing.TB, o Options) *Cluster {
	t.Helper()
	Need(t)
	c, err := Run(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		c.reportDead(t)
		c.Stop()
	})
	return c
}

// Need ends the test when brokers cannot or shall not run here, or one of needs is not met.
func Need(t testing.TB, needs ...func() error) {
	t.Helper()
	if testing.Short() {
		t.Skip("skipped: -short leaves real-broker tests out")
	}
	err := Available()
	for _, need := range needs {
		if err == nil {
			err = need()
		}
	}
	switch {
	case err == nil:
	case os.Getenv("KFERRY_REQUIRE_KAFKA") != "":
		t.Fatalf("KFERRY_REQUIRE_KAFKA is set, but %v", err)
	default:
		t.Skipf("skipped: %v", err)
	}
}

// Available tells whether brokers can run here; the error is one line that
// names what is missing.
func Available() error { return available() }

var available = sync.OnceValue(missing)

func missing() error {
	var names []string
	if !javaRuns() {
		names = append(names, "java 17+")
	}
	if _, err := exec.LookPath("mvn"); err != nil {
		names = append(names, "mvn")
	}
	if len(names) > 0 {
		return fmt.Errorf("real-broker tests need java 17+ and mvn on PATH (not found: %s)", strings.Join(names, ", "))
	}
	return nil
}

var javaMajor = regexp.MustCompile(`version "(\d+)`)

// javaVersion is what Java says of itself, or nothing when there is none.
func javaVersion() []byte {
	ctx, cancel := context.WithTimeout(context.Background(), startLimit)
	defer cancel()
	out, err := exec.CommandContext(ctx, "java", "-version").CombinedOutput()
	if err != nil {
		return nil
	}
	return out
}

func javaRuns() bool {
	m := javaMajor.FindSubmatch(javaVersion())
	if m == nil {
		return false
	}
	major, err := strconv.Atoi(string(m[1]))
	return err == nil && major >= 17 // "1.8" is major 1
}
