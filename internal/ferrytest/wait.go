package ferrytest

import (
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"
)

// Patience bounds every wait for something that must happen: far more than it takes, for the machine may be busy.
const Patience = 3 * time.Minute

// Random is a source of random moments whose seed is printed, or comes from KFERRY_TEST_SEED.
func Random(t testing.TB) *rand.Rand {
	t.Helper()
	seed, err := strconv.ParseUint(os.Getenv("KFERRY_TEST_SEED"), 10, 64)
	if err != nil {
		seed = rand.Uint64()
	}
	t.Logf("KFERRY_TEST_SEED=%d", seed)
	return rand.New(rand.NewPCG(seed, 0x6b66))
}

// Eventually asks done until it says yes, and fails the test when limit has passed; state tells then how things are.
func Eventually(t testing.TB, limit time.Duration, what string, done func() (ok bool, state string)) {
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
