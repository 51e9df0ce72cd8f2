package produce

import (
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kferry/kferry/internal/kafka"
	"github.com/kferry/kferry/replicator/batch"
	"github.com/kferry/kferry/replicator/lane"
)

// Three lanes with five batches in flight each.
func TestOrder(t *testing.T) {
	producing(t, func(t *testing.T, w *world) {
		for n := range int32(3) {
			l := w.lane(n)
			for i := range 40 {
				w.put(l, 1+i%4, large)
			}
			w.add(l)
		}
		synctest.Wait()
		w.check(w.lanes...)
		if len(w.failed) > 0 {
			t.Errorf("failed: %v", w.failed)
		}
	})
}

// The first batch goes alone; then five are on the wire, no more.
func TestFiveInFlight(t *testing.T) {
	producing(t, func(t *testing.T, w *world) {
		l := w.lane(0)
		inFlight := func() int {
			synctest.Wait()
			w.p.mu.Lock()
			defer w.p.mu.Unlock()
			return len(w.p.sent)
		}
		w.add(l)
		for _, want := range []int{1, lane.Depth} {
			held := w.hold()
			for range 9 {
				w.put(l, 1, large)
			}
			if n := inFlight(); n != want {
				t.Errorf("%d on the wire, want %d", n, want)
			}
			held()
			synctest.Wait()
		}
		w.check(l)
	})
}

// However many lanes, a connection has so many requests at a time.
func TestRequestsOnTheWire(t *testing.T) {
	producing(t, func(t *testing.T, w *world) {
		first := w.lane(8)
		w.put(first, 1, 10)
		w.add(first) // there is a connection
		synctest.Wait()
		held := w.hold()
		for n := range int32(8) {
			l := w.lane(n)
			w.put(l, 1, large)
			w.add(l)
			synctest.Wait()
		}
		w.p.mu.Lock()
		if len(w.p.sent) != mostRequests {
			t.Errorf("%d on the wire, want %d", len(w.p.sent), mostRequests)
		}
		w.p.mu.Unlock()
		held()
		synctest.Wait()
		w.check(w.lanes...)
	})
}

// One request holds a batch of each lane.
func TestLanesShareRequests(t *testing.T) {
	producing(t, func(t *testing.T, w *world) {
		for n := range int32(16) {
			l := w.lane(n)
			w.put(l, 2, 100)
			w.put(l, 2, large)
		}
		held := w.hold()
		w.add(w.lanes[0])
		synctest.Wait()
		for _, l := range w.lanes[1:] {
			w.add(l)
		}
		synctest.Wait()
		held()
		synctest.Wait()
		w.check(w.lanes...)
		if n := len(w.requests()); n > 12 {
			t.Errorf("%d requests for 32 batches", n)
		}
	})
}

// More than fits one request: all lanes get their turn.
func TestMoreThanARequest(t *testing.T) {
	producing(t, func(t *testing.T, w *world) {
		held := w.hold()
		for n := range int32(14) {
			l := w.lane(n)
			for range 3 {
				w.put(l, 1, 1<<20-200)
			}
			w.add(l)
			synctest.Wait()
		}
		held()
		synctest.Wait()
		w.check(w.lanes...)
	})
}

// A lane stands in the queue once, however often it is marked.
func TestQueuedOnce(t *testing.T) {
	p := New(Options{})
	l := lane.New(lane.ID{Topic: "t"}, "t")
	l.Start(lane.Plan{}, 0, nil)
	l.Put(1, []lane.Item{{Bytes: make([]byte, batch.HeaderSize), Next: 1, Records: 1}}, 1, 0, 0, 0)
	p.Add(Target{Lane: l})
	m := p.lanes[l]
	w, _ := l.Next(0)
	l.Send(w.Gen, w.Items[0], 1) // it probes and has no more to send
	p.requeue([]*member{m})
	p.mark(l)
	p.requeue([]*member{m})
	p.mark(l)
	if len(p.ready) != 1 {
		t.Errorf("%d times in the queue: its batches would share a request", len(p.ready))
	}
}

// A lane that left and came back is sent for by its new member alone: the old
// one would keep the answers, and its verdict, to itself.
func TestLeftAndCameBack(t *testing.T) {
	p := New(Options{})
	l := lane.New(lane.ID{Topic: "t"}, "t")
	l.Start(lane.Plan{}, 0, nil)
	v := batch.View(make([]byte, batch.HeaderSize))
	v.Init(batch.Header{Count: 1})
	l.Put(1, []lane.Item{{Bytes: v, Next: 1, Records: 1}}, 1, 0, 0, 0)
	p.Add(Target{Lane: l})
	p.Release(l, func() {})
	l.Rewind()
	p.Add(Target{Lane: l})
	serve := p.ready
	p.ready = nil
	_, r := p.build(serve)
	if r == nil || len(r.parts) != 1 || r.parts[0] != p.lanes[l] {
		t.Errorf("sent by another than the new member: %+v", r)
	}
}

// The leader moves away at the first, second ... of five batches in flight; those
// behind it are refused for their sequence.
func TestLeaderMoves(t *testing.T) {
	for pass := range lane.Depth {
		producing(t, func(t *testing.T, w *world) {
			l, other := w.lane(0), w.lane(1)
			for _, l := range w.lanes {
				w.add(l)
				w.put(l, 1, 10)
			}
			synctest.Wait()
			held := w.hold()
			for range 12 {
				w.put(l, 2, large)
			}
			synctest.Wait()
			w.refuse(pass, kerr.NotLeaderForPartition.Code, "")
			held()
			w.wantFailed(l, "rehome: NOT_LEADER")
			if s := l.Snapshot(); int(s.Source) < 1+2*pass {
				t.Errorf("%d acknowledged before the leader moved: %+v", pass, s.Position)
			}
			l.Rewind()
			w.add(l)
			w.wantFailed(l, "")
			w.check(l, other)
		})
	}
}

// A connection that breaks with batches in flight; the answer to a stored batch
// is lost, or the batch itself.
func TestConnectionBreaks(t *testing.T) {
	for _, stored := range []bool{true, false} {
		producing(t, func(t *testing.T, w *world) {
			l := w.lane(3)
			w.put(l, 1, 10)
			w.add(l)
			synctest.Wait()
			held := w.hold()
			for range 7 {
				w.put(l, 3, large)
			}
			synctest.Wait()
			if stored {
				w.cut.arm(true)
			} else {
				w.control(func(*kmsg.ProduceRequest) (kmsg.Response, error, bool) { return nil, errors.New("close it"), true })
			}
			held()
			w.wantFailed(l, "rehome: ")
			w.cut.arm(false)
			before := len(w.read(3))
			if stored && before == 1 {
				t.Error("nothing was stored")
			}
			l.Rewind()
			w.add(l)
			synctest.Wait()
			w.check(l)
		})
	}
}

func TestRefusals(t *testing.T) {
	for _, c := range []struct {
		err  *kerr.Error
		text string
		want string
	}{
		{kerr.MessageTooLarge, "", "refuse: MESSAGE_TOO_LARGE"},
		{kerr.InvalidTimestamp, "too old", "(too old)"},
		{kerr.OutOfOrderSequenceNumber, "", "resume: OUT_OF_ORDER"},
		{kerr.TopicAuthorizationFailed, "", "stop: TOPIC_AUTHORIZATION_FAILED"},
		{kerr.NotEnoughReplicas, "", "retry: NOT_ENOUGH_REPLICAS"},
		{kerr.UnknownTopicID, "", "rehome: UNKNOWN_TOPIC_ID"},
	} {
		producing(t, func(t *testing.T, w *world) {
			l := w.lane(0)
			w.put(l, 5, 10)
			w.refuse(0, c.err.Code, c.text)
			w.add(l)
			w.wantFailed(l, c.want)
			if it := l.Oldest(); len(it.Bytes) == 0 || it.Records != 5 || it.First != 0 {
				t.Errorf("%s: oldest is %d bytes, %d records at %d", c.err.Message, len(it.Bytes), it.Records, it.First)
			}
			l.Rewind()
			w.add(l)
			synctest.Wait()
			w.check(l)
		})
	}
}

// The limit of the topic, by the broker itself.
func TestTooLargeForTheTopic(t *testing.T) {
	producing(t, func(t *testing.T, w *world) {
		if _, err := w.cl.Admin().AlterTopicConfigs(t.Context(), []kadm.AlterConfig{{Name: "max.message.bytes", Value: kadm.StringPtr("1000")}}, topic); err != nil {
			t.Fatal(err)
		}
		l := w.lane(0)
		w.put(l, 1, 10)
		w.put(l, 1, large)
		w.put(l, 1, large)
		w.add(l)
		w.wantFailed(l, "refuse: MESSAGE_TOO_LARGE")
		if s := l.Snapshot(); s.Source != 1 || s.Target != 1 {
			t.Errorf("%+v", s)
		}
		if it := l.Oldest(); it.Records != 1 || it.First != 1 {
			t.Errorf("oldest: %d records at %d", it.Records, it.First)
		}
	})
}

// The sum travels with the data: the target finds what went bad on the way.
func TestCorruptBatchIsRefused(t *testing.T) {
	producing(t, func(t *testing.T, w *world) {
		l := w.lane(0)
		w.put(l, 1, large)
		v := w.put(l, 1, large)
		v[len(v)-10] ^= 1
		w.put(l, 1, large)
		w.add(l)
		w.wantFailed(l, "resume: CORRUPT_MESSAGE")
		if s := l.Snapshot(); s.Source != 1 {
			t.Errorf("%+v", s)
		}
	})
}

func TestRelease(t *testing.T) {
	producing(t, func(t *testing.T, w *world) {
		l, stranger := w.lane(0), w.lane(1)
		released := 0
		then := func() { released++ }
		if w.p.Release(stranger, then) {
			t.Error("released what it does not have")
		}
		w.put(l, 1, large)
		held := w.hold()
		w.add(l)
		synctest.Wait()
		w.put(l, 1, large)
		if !w.p.Release(l, then) {
			t.Error("not released")
		}
		if synctest.Wait(); released != 0 {
			t.Error("released with a batch on the wire")
		}
		held()
		if synctest.Wait(); released != 1 {
			t.Errorf("released %d times", released)
		}
		if s := l.Snapshot(); s.Source != 1 || s.Held == 0 {
			t.Errorf("%+v", s)
		}
		w.wantFailed(l, "")
		l.Rewind()
		w.add(l)
		synctest.Wait()
		w.check(l)
		// With nothing on the wire it is settled at once.
		if !w.p.Release(l, then) || released != 2 {
			t.Errorf("released %d times", released)
		}
		w.put(l, 1, 10)
		synctest.Wait()
		if n := len(w.read(0)); n != 2 {
			t.Errorf("%d records: it sent for a lane it let go", n)
		}
	})
}

// Released while its batch fails: it is let go, not reported as well.
func TestReleaseOfAFailingLane(t *testing.T) {
	producing(t, func(t *testing.T, w *world) {
		l := w.lane(0)
		w.put(l, 1, large)
		held := w.hold()
		w.refuse(0, kerr.NotLeaderForPartition.Code, "")
		w.add(l)
		synctest.Wait()
		released := 0
		w.p.Release(l, func() { released++ })
		held()
		synctest.Wait()
		w.wantFailed(l, "")
		if released != 1 {
			t.Errorf("released %d times", released)
		}
		l.Rewind()
		w.add(l)
		synctest.Wait()
		w.check(l)
	})
}

// A broker forgets a producer by the time of its records. Where it may have, a batch
// waits for the one before it, unless that one is sure to be taken.
func TestOldBatchesGoAlone(t *testing.T) {
	const hour = int64(time.Hour / time.Millisecond)
	for _, c := range []struct {
		name  string
		age   int64 // of the batches, ms
		terms lane.Terms
		want  int // on the wire
	}{
		{"fresh", 0, lane.Terms{Memory: hour}, 3},
		{"old", 2 * hour, lane.Terms{Memory: hour}, 1},
		{"old and sure to be taken", 2 * hour, lane.Terms{Memory: hour, Foretold: true, Limit: 1 << 20}, 3},
		{"old and perhaps too large", 2 * hour, lane.Terms{Memory: hour, Foretold: true, Limit: large / 2}, 1},
		{"of the future, which is refused", -2 * hour, lane.Terms{Memory: -4 * hour, Foretold: true, Limit: 1 << 20, Ahead: hour}, 1},
		{"of the future, which is taken", -2 * hour, lane.Terms{Memory: -4 * hour, Foretold: true, Limit: 1 << 20, Ahead: 3 * hour}, 3},
	} {
		producing(t, func(t *testing.T, w *world) {
			l := w.lane(0)
			l.Agree(c.terms)
			w.age = c.age
			w.add(l)
			w.put(l, 1, 10)
			synctest.Wait()
			held := w.hold()
			for range 3 {
				w.put(l, 1, large)
			}
			synctest.Wait()
			w.p.mu.Lock()
			if len(w.p.sent) != c.want {
				t.Errorf("%s: %d on the wire, want %d", c.name, len(w.p.sent), c.want)
			}
			w.p.mu.Unlock()
			held()
			synctest.Wait()
			w.check(l)
		})
	}
}

// What was to be sent again and has become old meanwhile is not: the target may have it
// and not know it again.
func TestTooLateToSendAgain(t *testing.T) {
	producing(t, func(t *testing.T, w *world) {
		l := w.lane(0)
		l.Agree(lane.Terms{Memory: time.Minute.Milliseconds()})
		w.put(l, 1, 10)
		w.refuse(0, kerr.NotLeaderForPartition.Code, "")
		w.add(l)
		w.wantFailed(l, "rehome: NOT_LEADER")
		l.Rewind()
		time.Sleep(2 * time.Minute) // the machine was suspended, perhaps
		w.add(l)
		w.wantFailed(l, "resume: a batch that may be stored was to be sent again")
		if n := len(w.read(0)); n != 0 {
			t.Errorf("%d records were sent", n)
		}
	})
}

// The target has lost what it acknowledged: it stores a batch below. That is no ack.
func TestStoredBelow(t *testing.T) {
	producing(t, func(t *testing.T, w *world) {
		l := w.lane(0)
		l.Start(lane.Plan{Position: lane.Position{Producer: w.pid, Target: 1000}}, 1000, nil)
		w.put(l, 2, 10)
		w.add(l)
		w.wantFailed(l, "stop: the target ends at offset 2, below the stored 1000")
		if s := l.Snapshot(); s.Target != 1000 || s.Source != 0 {
			t.Errorf("the position moved: %+v", s.Position)
		}
	})
}

// An answer without our partition says nothing about the batch.
func TestAnswerLeavesOutAPartition(t *testing.T) {
	producing(t, func(t *testing.T, w *world) {
		l := w.lane(0)
		w.put(l, 1, 10)
		w.control(func(r *kmsg.ProduceRequest) (kmsg.Response, error, bool) { return r.ResponseKind(), nil, true })
		w.add(l)
		w.wantFailed(l, "resume: the target's answer leaves out the partition")
	})
}

// A broker before Kafka 2.1 has no code for a codec that it does not know.
func TestZstdToAnOldTarget(t *testing.T) {
	for version, want := range map[int16]bool{6: true, 7: false} {
		resp := &kmsg.ProduceResponse{Version: version, Topics: []kmsg.ProduceResponseTopic{{
			Topic: "t", Partitions: []kmsg.ProduceResponseTopicPartition{{ErrorCode: kerr.UnknownServerError.Code}},
		}}}
		results := make([]result, 1)
		read(&request{resp: resp, index: map[part]int{{topic: "t"}: 0}}, results)
		if r := results[0]; r.verdict != kafka.Retry || strings.Contains(r.cause.Error(), "zstd, which needs Kafka 2.1") != want {
			t.Errorf("version %d: %v, %v", version, r.verdict, r.cause)
		}
	}
}

// Who may not be the owner any more sends nothing, keeps what it has, and goes on when it is.
func TestSendsOnlyWhileItOwns(t *testing.T) {
	producing(t, func(t *testing.T, w *world) {
		var owns atomic.Bool
		w.p.o.Owns = owns.Load
		l := w.lane(0)
		w.add(l)
		w.put(l, 2, large)
		synctest.Wait()
		w.put(l, 1, large)
		w.p.Poke()
		synctest.Wait()
		if sent := w.requests(); len(sent) > 0 {
			t.Errorf("sent %v", sent)
		}
		owns.Store(true)
		w.p.Poke()
		synctest.Wait()
		if s := l.Snapshot(); s.Held > 0 || len(w.requests()) == 0 {
			t.Errorf("%d bytes held, requests %v", s.Held, w.requests())
		}
	})
}
