// Package acceptance drives the real kferry binary between real Kafka clusters as its users do: a configuration file, a
// process, its log, its exit code, its web page. What arrived is judged by internal/check, which shares no code with
// the path that the records took.
//
// By default the amounts are small enough for a pull request. With KFERRY_FULL set they are those that a release must
// stand. KFERRY_TEST_SEED repeats a run's random moments; each test prints its own. KFERRY_TEST_OUTPUT shows what kferry
// printed in tests that pass, too.
//
// Reading guide: pair_test.go has the two clusters, the users and their rights, and the configuration; ferry_test.go the
// kferry process; load_test.go what is written and compared. All other files are stories.
package acceptance

import (
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/kferry/kferry/internal/kafkatest"
)

func TestMain(m *testing.M) { kafkatest.Main(m) }

// full tells whether the amounts are those of a release.
var full = os.Getenv("KFERRY_FULL") != ""

// size chooses between the amount of a pull request and that of a release.
func size(short, release int64) int64 {
	if full {
		return release
	}
	return short
}

// patience bounds every wait for something that must happen: far more than it takes, for the machine may be busy.
const patience = 3 * time.Minute

// longer is patience for what moves many records.
func longer() time.Duration {
	if full {
		return 15 * time.Minute
	}
	return patience
}

// random is a source of random moments whose seed is printed, or comes from KFERRY_TEST_SEED.
func random(t testing.TB) *rand.Rand {
	t.Helper()
	seed, err := strconv.ParseUint(os.Getenv("KFERRY_TEST_SEED"), 10, 64)
	if err != nil {
		seed = rand.Uint64()
	}
	t.Logf("KFERRY_TEST_SEED=%d", seed)
	return rand.New(rand.NewPCG(seed, 0x6b66))
}

var build struct {
	sync.Mutex
	path string
}

// binary builds kferry, once for all tests, into the folder of a shared cluster: that lives as long as the tests do and is
// removed even after a crash.
func binary(t testing.TB, dir string) string {
	t.Helper()
	build.Lock()
	defer build.Unlock()
	if _, err := os.Stat(build.path); build.path != "" && err == nil {
		return build.path
	}
	path := filepath.Join(dir, "kferry")
	out, err := exec.CommandContext(t.Context(), "go", "build", "-o", path, "github.com/kferry/kferry/cmd/kferry").CombinedOutput()
	if err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	build.path = path
	return path
}

// environ is the environment of a kferry process: ours without the variables that mean something to kferry, and more.
func environ(more ...string) []string {
	var out []string
	for _, e := range os.Environ() {
		if !strings.HasPrefix(e, "KFERRY_") {
			out = append(out, e)
		}
	}
	return append(out, more...)
}

// eventually asks done until it says yes, and fails the test when limit has passed; state tells then how things are.
func eventually(t testing.TB, limit time.Duration, what string, done func() (ok bool, state string)) {
	t.Helper()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(limit); ; {
		ok, state := done()
		if ok {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("after %v: not yet: %s\n%s", limit, what, state)
		}
		select {
		case <-tick.C:
		case <-t.Context().Done():
			t.Fatalf("the test ended while waiting: %s\n%s", what, state)
		}
	}
}
