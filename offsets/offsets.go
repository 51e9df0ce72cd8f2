// Package offsets holds positions on both clusters.
package offsets

// Source and Target count records on two different clusters. Mixing them loses
// data without an error, so the compiler has to see the difference.
type (
	Source int64 // the next record to read on the source partition
	Target int64 // the next record to be written on the target partition
)

// UnknownTarget stands where the broker acknowledged a batch without saying at
// which offset it is (a duplicate older than the batches it remembers).
const UnknownTarget Target = -1
