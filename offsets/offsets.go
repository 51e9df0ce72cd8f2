// Package offsets holds positions on both clusters, and the map that translates
// between them.
package offsets

// Source is the next record to read on a source partition. Source and Target
// count records on two different clusters: mixing them loses data without an
// error, so the compiler has to see the difference.
type Source int64

// Target is the next record to be written on a target partition.
type Target int64

// Run is N records whose source offsets follow each other, from First on.
type Run struct {
	First Source
	N     int64
}

// AppendRun adds r, which is behind all of runs; one that continues the last run
// makes it longer.
func AppendRun(runs []Run, r Run) []Run {
	if n := len(runs); n > 0 && runs[n-1].First+Source(runs[n-1].N) == r.First {
		runs[n-1].N += r.N
		return runs
	}
	return append(runs, r)
}

// UnknownTarget stands where the broker acknowledged a batch without saying at
// which offset it is (a duplicate older than the batches it remembers).
const UnknownTarget Target = -1
