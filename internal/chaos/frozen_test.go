package chaos

import (
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// A replica is frozen in the middle of a backlog of old records, with batches in its hands. Another carries the rest, the target
// forgets the first, and then it wakes: nothing that it still sends may be stored.
func TestFrozenWakes(t *testing.T) {
	if !full {
		t.Skip("not run: only in the full matrix, KFERRY_CHAOS=full")
	}
	const records = int64(2_000_000)
	w := emptyWorld(t, "frozen", quickly)
	n := newNumbers(w)
	topic := n.topic("history", partitions, map[string]string{"retention.ms": "-1"})
	for i := range records {
		n.put(t.Context(), &kgo.Record{
			Topic: topic, Partition: int32(i % partitions), Value: []byte(strings.Repeat("x", 100)),
			Timestamp: time.Now().Add(-ages(i%2*rate + rate)), // three days or three years
		})
	}
	ends := n.written(topic)
	w.flow = map[string]any{"rate_limit": 20 << 20}
	w.launch(1)
	held := func(want int64) func() (bool, string) {
		return func() (bool, string) {
			got, err := w.target.held(t.Context(), topic)
			return err == nil && got >= want, fmt.Sprint(got, " of ", want, " ", err)
		}
	}
	w.eventually("a part is carried", held(records/4))
	w.replicas[0].Signal(syscall.SIGSTOP)
	before, err := w.target.held(t.Context(), topic)
	if err != nil || before >= records {
		t.Fatalf("%d of %d records were carried before the first replica was frozen: %v", before, records, err)
	}
	w.replicas = append(w.replicas, nil)
	w.start(1)
	w.eventually("the other replica has carried the rest", held(records))
	w.last(3 * time.Second) // for the target to forget
	logs := w.logs()
	w.replicas[0].Signal(syscall.SIGCONT)
	w.eventually("the first has heard that it has lost its lanes", func() (bool, string) {
		said := w.replicas[0].Output()[logs[0]:]
		return strings.Contains(said, "slots"), said
	})
	w.last(5 * time.Second) // for what it sends
	w.carried(topic, ends)
	w.watch.stop()
	for _, f := range w.replicas {
		f.Stop()
	}
	if missing := w.judged(topic, ends); len(missing) > 0 {
		t.Errorf("%d records are missing: %s", len(missing), few(missing))
	}
}
