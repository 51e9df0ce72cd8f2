package fetch

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kferry/kferry/internal/kafka"
	"github.com/kferry/kferry/replicator/budget"
	"github.com/kferry/kferry/replicator/lane"
)

func TestFetcherDelivers(t *testing.T) {
	fetching(t, func(t *testing.T, w *world) {
		w.write("a", 0, "1", "2")
		w.write("a", 0, "3")
		l0, l1, late := w.lane("a", 0, 1), w.lane("a", 1, 0), w.lane("many", 7, 0)
		w.add(l0)
		w.add(l1)
		w.settle()
		want(t, take(t, l0), "2", "3")
		want(t, take(t, l1))
		w.write("a", 1, "4")
		w.write("a", 0, "5")
		w.write("many", 7, "6")
		w.add(late)
		w.settle()
		want(t, take(t, l0), "5")
		want(t, take(t, l1), "4")
		want(t, take(t, late), "6")
		if s := l0.Snapshot(); s.End != 4 || s.Lag != 0 || s.LogStart != 0 {
			t.Errorf("%+v", s)
		}
		w.f.Remove(l0)
		w.settle() // what is asked for may still come
		w.write("a", 0, "7")
		w.write("a", 1, "8")
		w.settle()
		want(t, take(t, l0))
		want(t, take(t, l1), "8")
		w.add(l0)
		w.settle()
		want(t, take(t, l0), "7")
		if len(w.failed) > 0 || w.errs > 0 {
			t.Errorf("failed: %v, %d errors", w.failed, w.errs)
		}
	})
}

// Read committed: what a transaction aborted is left out, markers too.
func TestFetcherReadsCommitted(t *testing.T) {
	fetching(t, func(t *testing.T, w *world) {
		cl, err := w.cl.NewClient(kgo.TransactionalID("x"), kgo.RecordPartitioner(kgo.ManualPartitioner()))
		if err != nil {
			t.Fatal(err)
		}
		defer cl.Close()
		l := w.lane("a", 0, 0)
		w.add(l)
		for i, end := range []kgo.TransactionEndTry{kgo.TryCommit, kgo.TryAbort, kgo.TryCommit} {
			if err := cl.BeginTransaction(); err != nil {
				t.Fatal(err)
			}
			if err := cl.ProduceSync(t.Context(), &kgo.Record{Topic: "a", Value: fmt.Append(nil, i)}).FirstErr(); err != nil {
				t.Fatal(err)
			}
			w.settle()
			want(t, take(t, l)) // it is open
			if err := cl.EndTransaction(t.Context(), end); err != nil {
				t.Fatal(err)
			}
			w.settle()
			if end == kgo.TryCommit {
				want(t, take(t, l), fmt.Sprint(i))
			}
		}
		want(t, take(t, l))
		if s := l.Snapshot(); s.Source != s.End || s.End != 6 {
			t.Errorf("at %d of %d", s.Source, s.End)
		}
	})
}

// A lane without room is left out of the session, others go on; with room it is
// read again where it stands.
func TestLaneWithoutRoom(t *testing.T) {
	fetching(t, func(t *testing.T, w *world) {
		full, other := w.lane("a", 0, 0), w.lane("a", 1, 0)
		full.Share(1)
		w.add(full)
		w.add(other)
		w.write("a", 0, "1")
		w.settle()
		w.write("a", 0, "2")
		w.write("a", 1, "3")
		w.settle()
		if s := full.Snapshot(); s.Source != 0 || s.Lag < 1 {
			t.Errorf("%+v", s)
		}
		want(t, take(t, other), "3")
		w.wantSession(other)
		want(t, take(t, full), "1")
		w.settle()
		want(t, take(t, full), "2")
		w.settle()
		w.wantSession(full, other)
	})
}

// When no lane wants records nothing is asked, and what left the session
// meanwhile must not be sent by the broker again and again.
func TestAllLanesFull(t *testing.T) {
	fetching(t, func(t *testing.T, w *world) {
		a, b, gone := w.lane("a", 0, 0), w.lane("a", 1, 0), w.lane("many", 0, 0)
		for _, l := range []*lane.Lane{a, b, gone} {
			l.Share(1)
			w.add(l)
			w.write(l.Topic, l.Partition, "1")
			w.settle()
			w.write(l.Topic, l.Partition, "2")
		}
		w.settle()
		w.f.Remove(gone)
		w.settle()
		w.mu.Lock()
		n := len(w.requests)
		w.mu.Unlock()
		w.settle()
		w.mu.Lock()
		if len(w.requests) != n {
			t.Errorf("%d requests while no lane has room", len(w.requests)-n)
		}
		w.mu.Unlock()
		want(t, take(t, a), "1")
		w.settle()
		want(t, take(t, a), "2")
		w.settle()
		w.wantSession(a)
		if s := b.Snapshot(); s.Held > 200 {
			t.Errorf("a full lane got more: %+v", s)
		}
		w.f.Remove(a)
		gone.Drop()
	})
}

func TestFetcherPartitionErrors(t *testing.T) {
	for _, c := range []struct {
		err  *kerr.Error
		want string
	}{
		{kerr.NotLeaderForPartition, "rehome: NOT_LEADER"},
		{kerr.FencedLeaderEpoch, "rehome: FENCED"},
		{kerr.UnknownTopicID, "rehome: UNKNOWN_TOPIC_ID"},
		{kerr.OffsetOutOfRange, "resume: OFFSET_OUT_OF_RANGE"},
		{kerr.TopicAuthorizationFailed, "stop: TOPIC_AUTHORIZATION_FAILED"},
		{kerr.KafkaStorageError, "rehome: KAFKA_STORAGE"},
		{kerr.CorruptMessage, "retry: CORRUPT_MESSAGE"},
	} {
		t.Run(c.err.Message, func(t *testing.T) {
			fetching(t, func(t *testing.T, w *world) {
				bad, good := w.lane("a", 0, 0), w.lane("a", 1, 0)
				w.answer(func(_ *kmsg.FetchRequest, resp *kmsg.FetchResponse) error {
					w.part(resp, "many", 9, 0, nil) // nobody asked
					w.part(resp, "a", 0, c.err.Code, nil)
					return nil
				})
				w.add(bad)
				w.add(good)
				w.settle()
				w.wantFailed(bad, c.want)
				w.write("a", 0, "1")
				w.write("a", 1, "2")
				w.settle()
				want(t, take(t, bad))
				want(t, take(t, good), "2")
				w.wantFailed(good, "")
				w.add(bad) // it comes back
				w.settle()
				want(t, take(t, bad), "1")
			})
		})
	}
}

// The broker's own answer to a position beyond the end.
func TestFetcherBeyondTheEnd(t *testing.T) {
	fetching(t, func(t *testing.T, w *world) {
		l := w.lane("a", 0, 1000)
		w.add(l)
		w.settle()
		w.wantFailed(l, "resume: OFFSET_OUT_OF_RANGE")
	})
}

func TestFetcherWholeErrors(t *testing.T) {
	for _, c := range []struct {
		err  *kerr.Error
		want string // "": nobody fails and it goes on
	}{
		{kerr.FetchSessionIDNotFound, ""},
		{kerr.InvalidFetchSessionEpoch, ""},
		{kerr.FetchSessionTopicIDError, ""},
		{kerr.UnknownTopicID, ""},
		{kerr.UnknownServerError, "retry: UNKNOWN_SERVER_ERROR"},
		{kerr.ClusterAuthorizationFailed, "stop: CLUSTER_AUTHORIZATION_FAILED"},
	} {
		t.Run(c.err.Message, func(t *testing.T) {
			fetching(t, func(t *testing.T, w *world) {
				a, b := w.lane("a", 0, 0), w.lane("a", 1, 0)
				w.add(a)
				w.add(b)
				w.settle() // there is a session
				w.answer(func(_ *kmsg.FetchRequest, resp *kmsg.FetchResponse) error {
					resp.ErrorCode = c.err.Code
					return nil
				})
				w.settle()
				w.wantFailed(a, c.want)
				w.wantFailed(b, c.want)
				if c.want != "" {
					w.add(a)
				}
				w.write("a", 0, "1")
				w.settle()
				want(t, take(t, a), "1")
				if c.want == "" {
					w.wantSession(a, b)
				} else {
					w.wantSession(a)
				}
			})
		})
	}
}

func TestFetcherConnectionBreaks(t *testing.T) {
	fetching(t, func(t *testing.T, w *world) {
		a, b := w.lane("a", 0, 0), w.lane("a", 1, 0)
		w.add(a)
		w.add(b)
		w.settle()
		w.answer(func(*kmsg.FetchRequest, *kmsg.FetchResponse) error { return errors.New("close it") })
		w.settle()
		w.wantFailed(a, "rehome: ")
		w.wantFailed(b, "rehome: ")
		if w.errs != 1 {
			t.Errorf("%d errors observed", w.errs)
		}
		w.add(a)
		w.write("a", 0, "1")
		w.settle()
		want(t, take(t, a), "1")
		w.wantSession(a)
	})
}

// Bytes that went bad on the way are read again, and good ones are taken;
// bad ones every time are damage at the source.
func TestFetcherReadsDamageAgain(t *testing.T) {
	bad := data(0, 2).by(-1, logAppendTime).bytes()
	bad[len(bad)-1] ^= 1
	for _, times := range []int{damagedAfter - 1, damagedAfter} {
		fetching(t, func(t *testing.T, w *world) {
			l := w.lane("a", 0, 0)
			w.write("a", 0, "1")
			var asked []int64
			for range times {
				w.answer(func(req *kmsg.FetchRequest, resp *kmsg.FetchResponse) error {
					asked = append(asked, req.Topics[0].Partitions[0].FetchOffset)
					w.part(resp, "a", 0, 0, bad)
					return nil
				})
			}
			w.add(l)
			w.settle()
			if times < damagedAfter {
				want(t, take(t, l), "1")
				w.wantFailed(l, "")
			} else {
				want(t, take(t, l))
				w.wantFailed(l, "stop: the source's batch at offset 0 is damaged, read 5 times")
			}
			if !slices.Equal(asked, make([]int64, times)) {
				t.Errorf("asked at %v", asked)
			}
		})
	}
}

// A batch whose length is wrong comes cut each time, however much is asked for: it is damaged. No more is asked for than
// an answer may have.
func TestFetcherWrongLength(t *testing.T) {
	for name, length := range map[string]byte{"more than an answer may have": 0x40, "more than there is": 0x01} {
		for _, times := range []int{damagedAfter - 1, 100} { // it is right again, or stays so
			fetching(t, func(t *testing.T, w *world) {
				l := w.lane("a", 0, 0)
				w.write("a", 0, "1")
				bad := append(data(0, 2).bytes(), make([]byte, 5000)...)
				bad[8] = length
				asked, most := 0, int32(0)
				for range times {
					w.answer(func(req *kmsg.FetchRequest, resp *kmsg.FetchResponse) error {
						asked++
						for _, rt := range req.Topics { // none: as before
							most = max(most, rt.Partitions[0].PartitionMaxBytes)
						}
						w.part(resp, "a", 0, 0, bad)
						return nil
					})
				}
				w.add(l)
				w.settle()
				if times < damagedAfter {
					want(t, take(t, l), "1")
					w.wantFailed(l, "")
				} else {
					w.wantFailed(l, "stop: the source's batch at offset 0 is damaged, read 5 times")
				}
				if asked > damagedAfter+1 || most > kafka.MaxReadBytes {
					t.Errorf("%s: %d fetches, of %d bytes at most", name, asked, most)
				}
			})
		}
	}
}

// A record that the target does not take, in a batch that is cut.
func TestFetcherRecordTooLarge(t *testing.T) {
	fetching(t, func(t *testing.T, w *world) {
		l := w.lane("a", 0, 0)
		w.write("a", 0, "1")
		w.write("a", 0, "small", strings.Repeat("x", 300))
		w.addLimited(l, 200)
		w.settle()
		w.wantFailed(l, "refuse: recode: record at offset 2 needs a batch of ")
		want(t, take(t, l), "1")
	})
}

// A batch larger than what was asked for comes cut; it is asked for by its size.
// One that is small, cut because the response was full, is not asked for by less
// than usual.
func TestFetcherAsksForTheSize(t *testing.T) {
	fetching(t, func(t *testing.T, w *world) {
		l := w.lane("a", 0, 0)
		whole := data(0, 3).bytes()
		large := slices.Clone(whole)
		const size = 3 * reach
		binary.BigEndian.PutUint32(large[8:], size-12)
		var asked []int32
		for _, p := range [][]byte{whole[:70], large, whole} {
			w.answer(func(req *kmsg.FetchRequest, resp *kmsg.FetchResponse) error {
				asked = append(asked, req.Topics[0].Partitions[0].PartitionMaxBytes)
				w.part(resp, "a", 0, 0, p)
				return nil
			})
		}
		w.add(l)
		synctest.Wait()
		want(t, take(t, l), "v0", "v1", "v2")
		if !slices.Equal(asked, []int32{reach, reach, size}) {
			t.Errorf("asked for %v bytes", asked)
		}
		w.f.Remove(l) // offset 3 does not exist
	})
}

// A lane is asked for no more than its share; another share holds from the next
// time on that the session is told of the lane.
func TestFetcherAsksForTheShare(t *testing.T) {
	fetching(t, func(t *testing.T, w *world) {
		l := w.lane("a", 0, 0)
		l.Share(1000)
		var asked []int32
		for n := range int64(2) {
			w.answer(func(req *kmsg.FetchRequest, resp *kmsg.FetchResponse) error {
				asked = append(asked, req.Topics[0].Partitions[0].PartitionMaxBytes)
				w.part(resp, "a", 0, 0, data(n, 1).bytes())
				l.Share(2000)
				return nil
			})
		}
		w.add(l)
		synctest.Wait()
		want(t, take(t, l), "v0", "v1")
		if !slices.Equal(asked, []int32{1000, 2000}) {
			t.Errorf("asked for %v bytes", asked)
		}
		w.f.Remove(l) // offset 2 does not exist
	})
}

// The broker looks at each lane for each response: with thousands, more comes of it.
func TestResponsesGrowWithTheLanes(t *testing.T) {
	for _, tc := range []struct {
		lanes int
		most  int32
	}{{1, 2 << 20}, {1000, 2 << 20}, {5000, 5000 * bytesPerLane}, {100_000, mostBytes}} {
		f := New(Options{Budget: budget.New(1 << 30), Reach: 1 << 20})
		f.wanted = tc.lanes
		if _, most := f.bounds(); most != tc.most {
			t.Errorf("%d lanes: at most %d bytes, want %d", tc.lanes, most, tc.most)
		}
	}
}

// An idle session asks for nothing in particular, however many lanes it has.
func TestIdleLanesCostNothing(t *testing.T) {
	fetching(t, func(t *testing.T, w *world) {
		var ls []*lane.Lane
		for n := range int32(500) {
			ls = append(ls, w.lane("many", n, 0))
			w.add(ls[n])
		}
		w.settle()
		w.mu.Lock()
		w.requests = nil
		w.mu.Unlock()
		time.Sleep(time.Minute)
		synctest.Wait()
		w.mu.Lock()
		for _, r := range w.requests {
			if len(r.Topics)+len(r.ForgottenTopics) > 0 {
				t.Errorf("asks for %d topics", len(r.Topics))
			}
		}
		if n := len(w.requests); n < 100 || n > 130 {
			t.Errorf("%d requests in an idle minute", n)
		}
		w.requests = nil
		w.mu.Unlock()
		w.write("many", 321, "1")
		w.settle()
		want(t, take(t, ls[321]), "1")
		w.mu.Lock()
		defer w.mu.Unlock()
		parts := 0
		for _, r := range w.requests {
			for _, rt := range r.Topics {
				parts += len(rt.Partitions)
			}
		}
		if parts != 1 {
			t.Errorf("%d partitions were named for one that moved", parts)
		}
	})
}

// With the memory budget spent nothing is asked for.
func TestFetcherWaitsForMemory(t *testing.T) {
	fetching(t, func(t *testing.T, w *world) {
		l := w.lane("a", 0, 0)
		w.b.Adjust(w.b.Limit())
		w.add(l)
		w.write("a", 0, "1")
		w.settle()
		if len(w.requests) > 0 {
			t.Errorf("%d requests", len(w.requests))
		}
		w.b.Adjust(-w.b.Limit())
		w.settle()
		want(t, take(t, l), "1")
	})
}

// Stopped while waiting for memory, and started anew meanwhile.
func TestFetcherStops(t *testing.T) {
	fetching(t, func(t *testing.T, w *world) {
		l := w.lane("a", 0, 0)
		w.b.Adjust(w.b.Limit())
		w.add(l)
		w.settle()
		w.stop()
		w.settle()
		w.b.Adjust(-w.b.Limit())
	})
}

// A lane that found another place while its reply was under way gets nothing of it.
func TestFetcherVoidReply(t *testing.T) {
	fetching(t, func(t *testing.T, w *world) {
		l := w.lane("a", 0, 0)
		w.write("a", 0, "1")
		w.write("a", 0, "2")
		w.write("a", 0, "3")
		w.answer(func(_ *kmsg.FetchRequest, resp *kmsg.FetchResponse) error {
			l.Start(lane.Plan{Position: lane.Position{Source: 2}}, 0, nil)
			w.part(resp, "a", 0, 0, data(0, 2).bytes())
			return nil
		})
		w.add(l)
		w.settle()
		want(t, take(t, l), "3")
	})
}

// Records below the log start are gone.
func TestFetcherBelowLogStart(t *testing.T) {
	fetching(t, func(t *testing.T, w *world) {
		for i := range 5 {
			w.write("a", 0, fmt.Sprint(i))
		}
		var offs kadm.Offsets
		offs.Add(kadm.Offset{Topic: "a", Partition: 0, At: 3})
		if _, err := w.cl.Admin().DeleteRecords(t.Context(), offs); err != nil {
			t.Fatal(err)
		}
		l, ok := w.lane("a", 0, 1), w.lane("a", 1, 0)
		w.add(l)
		w.add(ok)
		w.settle()
		w.wantFailed(l, "resume: OFFSET_OUT_OF_RANGE")
		l.Start(lane.Plan{Position: lane.Position{Source: 3}}, 0, nil)
		w.add(l)
		w.settle()
		want(t, take(t, l), "3", "4")
		if s := l.Snapshot(); s.LogStart != 3 {
			t.Errorf("log start %d", s.LogStart)
		}
	})
}
