// Package chaos breaks things around kferry while it carries, and then compares both sides record by record: nothing may be
// lost, doubled, out of order or damaged, and no lane may wait or stop in silence.
//
// `go test ./internal/chaos` runs a short form. With KFERRY_CHAOS=full all scenarios run, as often and as long as
// docs/reliability.md says. Each scenario prints its seed; KFERRY_TEST_SEED repeats its choices.
//
// Reading guide: scenarios_test.go has the table and what each fault is; world_test.go the two clusters, the ways to them,
// the replicas, the load and the comparison; watch_test.go listens for silence.
package chaos

import (
	"os"
	"testing"
	"time"

	"github.com/kferry/kferry/internal/ferrytest"
	"github.com/kferry/kferry/internal/kafkatest"
)

func TestMain(m *testing.M) { kafkatest.Main(m) }

// full tells whether the whole matrix runs.
var full = os.Getenv("KFERRY_CHAOS") == "full"

// patience bounds every wait for something that must happen: far more than it takes, for the machine may be busy.
func patience() time.Duration {
	if full {
		return 15 * time.Minute
	}
	return ferrytest.Patience
}

// scenario is a row of the matrix.
type scenario struct {
	name        string
	full, short dose
	replicas    int  // it makes sense with so many at least; 0 = 1
	plain       bool // the load is not compressed
	old         bool // it is a row of the matrix with old records, too
	shortOld    dose // of that row
	aged        bool // it is that row
	// fault does its worst once, makes good what it broke, and returns.
	fault func(w *world, d dose)
}

// dose says how often a fault comes, and how long it lasts each time, where it lasts.
type dose struct {
	times int // 0: not at all
	lasts time.Duration
}

func TestChaos(t *testing.T) {
	for _, s := range scenarios {
		t.Run(s.name, s.run)
	}
}

// The same with a load of which most is as old as the records of a migration: brokers judge by that whom they remember.
func TestChaosOldRecords(t *testing.T) {
	for _, s := range scenarios {
		if s.old {
			s.aged, s.short = true, s.shortOld
			t.Run(s.name, s.run)
		}
	}
}

func (s scenario) run(t *testing.T) {
	d := s.short
	if full {
		d = s.full
	}
	switch {
	case d.times == 0:
		t.Skip("not run: only in the full matrix, KFERRY_CHAOS=full")
	case s.replicas > replicas:
		t.Skipf("not run: it needs %d replicas that share the lanes, and there is %d", s.replicas, replicas)
	}
	w := newWorld(t, s)
	for range d.times {
		s.fault(w, d)
		w.catchUp()
	}
	w.settle()
	w.compare()
	t.Logf("%d times: %s", d.times, w.watch.summary())
}
