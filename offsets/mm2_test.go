package offsets

import (
	"testing"
)

// The scenarios of MirrorMaker 2's OffsetSyncStoreTest, and what the map gives
// where that store keeps 64 syncs and floors to one record behind them.

// mirrored is a lane whose every tenth source offset is a transaction marker,
// so that a piece, as a sync, begins at each ten: n times, from 0 on both sides.
func mirrored(n int) *Map {
	m := NewMap(0, 0)
	for i := range n {
		m.Append(Source(10*i), Target(9*i), 9)
	}
	return m
}

func wantTens(t *testing.T, m *Map, from, to int) {
	t.Helper()
	for i := from; i < to; i++ {
		for j := range 9 {
			x := Source(10*i + j)
			if got, found, _ := m.Translate(x); got != Target(9*i+j) || found != Exact {
				t.Fatalf("Translate(%d) = %d, %v, want %d, exact", x, got, found, 9*i+j)
			}
		}
	}
}

func TestMM2OffsetTranslation(t *testing.T) {
	m := NewMap(100, 200)
	m.Append(100, 200, 1)
	wantMap(t, m, to{
		150: "beyond 201 again 49",
		100: "exact 200",
		5:   "before 200", // MM2: -1
	}, nil)
	m.Append(150, 251, 1)
	wantMap(t, m, to{
		150: "exact 251", 151: "exact 252",
		120: "gap 201", // none in between: none again
		5:   "before 200",
	}, nil)
	// The downstream offsets are reset.
	m.Append(200, 10, 1)
	wantMap(t, m, to{200: "exact 10", 201: "exact 11", 150: "gap 10", 100: "gap 10"}, nil)
	// The upstream offsets are reset.
	m = NewMap(20, 20)
	m.Append(20, 20, 1)
	wantMap(t, m, to{20: "exact 20", 21: "exact 21", 200: "beyond 21 again 179", 5: "before 20"}, nil)
}

// Until a stored map is decoded there is none; one without records says nothing
// that skips one.
func TestMM2NoTranslationIfNoOffsetSync(t *testing.T) {
	wantMap(t, NewMap(7, 70), to{5: "before 70", 7: "exact 70", 8: "beyond 70 again 1"}, nil)
}

// MM2 after a restart translates nothing before 1000, and of 0 to 10000 knows
// 11 places. A rewind of the source clears its whole store.
func TestMM2PastOffsetTranslation(t *testing.T) {
	m := unmarshal(t, marshal(t, mirrored(100)))
	for i := 100; i < 1000; i++ {
		m.Append(Source(10*i), Target(9*i), 9)
	}
	wantTens(t, m, 0, 1000)
	m.Truncate(1500)
	m.Append(1500, 9000, 1)
	wantTens(t, m, 0, 150)
	wantMap(t, m, to{1500: "exact 9000", 1501: "exact 9001", 5000: "beyond 9001 again 3499"}, nil)
}

// A process that ends before it stored the map leaves an older one: what that
// lacks up to the lane's position is a hole, whose records the sequences count.
func TestMM2PastOffsetTranslationWithoutInitializationReadToEnd(t *testing.T) {
	stored, after := marshal(t, mirrored(100)), mirrored(120)
	m := unmarshal(t, stored)
	end, tgt := after.End()
	m.Hole(end, 20*9)
	m.Reach(tgt)
	wantTens(t, m, 0, 100)
	wantMap(t, m, to{1199: "exact 1080", 1100: "floor 981 again 20"}, nil)
}

// One place for each sync, evenly spaced or not: MM2 keeps 17 of 1,001, and
// translates 50000 to 1.
func TestMM2ConsistentlySpacedSyncs(t *testing.T) {
	m := NewMap(0, 0)
	for i := range 1000 {
		m.Append(Source(100*i), Target(50*i), 50) // down = up / 2
	}
	wantMap(t, m, to{
		50000: "exact 25000", 90000: "exact 45000", 99000: "exact 49500", 99900: "exact 49950", 99960: "beyond 50000 again 10",
	}, nil)
}

// One large gap discards all syncs of MM2 but the first and the last.
func TestMM2RandomlySpacedSyncs(t *testing.T) {
	m := NewMap(0, 0)
	for i, up := range []Source{0, 3, 7, 100, 101, 102, 5000, 5001, 9000, 12345, 12346, 99999} {
		m.Append(up, Target(i), 1)
	}
	wantMap(t, m, to{
		0: "exact 0", 1: "gap 1", 3: "exact 1", 99: "gap 3", 102: "exact 5", 5000: "exact 6", 5002: "gap 8", 12346: "exact 10",
		50000: "gap 11", 99999: "exact 11", 100000: "exact 12",
	}, nil)
}

// What a full map forgets it forgets from the past, and a little at a time.
func TestMM2DroppedSyncsSpacing(t *testing.T) {
	const n = 3 * MaxPieces
	m := mirrored(n)
	wantTens(t, m, n-MaxPieces/2, n)
	for x := Source(0); x < 10*n; x++ {
		if _, _, again := m.Translate(x); again > 16 {
			t.Fatalf("Translate(%d) reads %d again", x, again)
		}
	}
}
