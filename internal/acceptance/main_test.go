// Package acceptance drives the real kferry binary between real Kafka clusters as its users do: a configuration file, a
// process, its log, its exit code, its web page. What arrived is judged by internal/check, which shares no code with
// the path that the records took.
//
// By default the amounts are small enough for a pull request. With KFERRY_FULL set they are those that a release must
// stand. KFERRY_TEST_SEED repeats a run's random moments; each test prints its own. KFERRY_TEST_OUTPUT shows what kferry
// printed in tests that pass, too.
//
// Reading guide: pair_test.go has the two clusters, the users and their rights, and the configuration; load_test.go what
// is written and compared; package ferrytest the kferry process. All other files are stories.
package acceptance

import (
	"os"
	"testing"
	"time"

	"github.com/kferry/kferry/internal/ferrytest"
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

// longer is patience for what moves many records.
func longer() time.Duration {
	if full {
		return 15 * time.Minute
	}
	return ferrytest.Patience
}
