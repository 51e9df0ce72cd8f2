// Package offsets holds positions on both clusters.
package offsets

// Source is the next record to read on a source partition. Source and Target
// count records on two different clusters: mixing them loses data without an
// error, so the compiler has to see the difference.
type Source int64

// Target is the next record to be written on a target partition.
type Target int64

// UnknownTarget stands where the broker acknowledged a batch without saying at
// which offset it is (a duplicate older than the batches it remembers).
const UnknownTarget Target = -1
