package recode

import (
	"testing"

	"github.com/kferry/kferry/replicator/batch"
)

// What recoding a batch allocates may fall, and then the number here with it; it may not rise, nor grow with the records.
func TestRecodeAllocations(t *testing.T) {
	if raceDetector {
		t.Skip("under the race detector a sync.Pool drops what it is given, so zstd allocates")
	}
	const most = 3 // the batch that comes out, and the list it is in
	eachCodec(t, func(t *testing.T, codec batch.Codec) {
		for _, records := range []int{10, 1000} {
			v := newBatch(t, benchRecords(records), spec{codec: codec, last: int64(2 * records)})
			r := New()
			n := testing.AllocsPerRun(20, func() {
				if _, err := r.Recode(v, Options{}); err != nil {
					t.Fatal(err)
				}
			})
			if n > most {
				t.Errorf("%v allocations for a batch of %d records, at most %v are recorded", n, records, most)
			}
		}
	})
}
