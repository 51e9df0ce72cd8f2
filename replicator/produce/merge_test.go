package produce

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kferry/kferry/replicator/lane"
)

// A batch that is joined with others is checked before: a new sum would hide it.
func TestCorruptBatchIsNotMerged(t *testing.T) {
	producing(t, func(t *testing.T, w *world) {
		l := w.lane(0)
		w.put(l, 1, large)
		held := w.hold()
		w.add(l)
		synctest.Wait()
		w.put(l, 1, 10)
		v := w.put(l, 1, 10)
		v[len(v)-1] ^= 1
		held()
		w.wantFailed(l, "resume: recode: batch at offset 2")
		if s := l.Snapshot(); s.Source != 1 || len(w.read(0)) != 1 {
			t.Errorf("%+v", s)
		}
	})
}

// What waits while another batch is on the wire goes as one.
func TestSmallBatchesMerge(t *testing.T) {
	producing(t, func(t *testing.T, w *world) {
		l := w.lane(0)
		held := w.hold()
		w.put(l, 1, 10)
		w.add(l)
		synctest.Wait()
		for range 10 {
			w.put(l, 3, 100)
		}
		w.put(l, 4, large) // alone
		w.put(l, 1, 10)
		w.put(l, 2, 10)
		held()
		synctest.Wait()
		w.check(l)
		if got, want := w.requests(), []string{"0:1", "0:30", "0:4", "0:3"}; !slices.Equal(got, want) {
			t.Errorf("sent %v, want %v", got, want)
		}
		if s := l.Snapshot(); s.Batches != [lane.Paths]int64{lane.Whole: 2, lane.Merged: 2} || s.Records != 38 {
			t.Errorf("%+v", s.Stats)
		}
	})
}

// A cut keeps the record at it out of the batch before.
func TestNoMergeOverACut(t *testing.T) {
	producing(t, func(t *testing.T, w *world) {
		l := w.lane(0)
		held := w.hold()
		w.put(l, 1, 10)
		w.p.Add(Target{Lane: l, TopicID: w.fake.TopicInfo(topic).TopicID, Limit: 10 << 20, Cut: 7})
		synctest.Wait()
		for range 5 {
			w.put(l, 3, 100)
		}
		held()
		synctest.Wait()
		w.check(l)
		if got, want := w.requests(), []string{"0:1", "0:6", "0:9"}; !slices.Equal(got, want) {
			t.Errorf("sent %v, want %v", got, want)
		}
	})
}

// Joined batches have memory of their own, which the budget knows; and they grow
// no larger than pays, whatever the topic takes.
func TestMergedMemoryAndSize(t *testing.T) {
	producing(t, func(t *testing.T, w *world) {
		l := w.lane(0)
		w.put(l, 1, large)
		held := w.hold()
		w.p.Add(Target{Lane: l, TopicID: w.fake.TopicInfo(topic).TopicID, Limit: 10 << 20})
		synctest.Wait()
		for range 40 {
			w.put(l, 1, 60<<10)
		}
		held()
		synctest.Wait()
		w.check(l)
		if n := len(w.requests()); n != 4 { // 17 batches of 60 KiB fit 1 MiB
			t.Errorf("%d requests", n)
		}
		held = w.hold()
		w.put(l, 1, large)
		synctest.Wait()
		for range 5 {
			w.put(l, 1, 10)
		}
		for range 2 {
			synctest.Wait()
			if s := l.Snapshot(); w.b.Used() != s.Held {
				t.Errorf("the lane holds %d bytes, the budget says %d", s.Held, w.b.Used())
			}
			next := w.hold() // of the joined batch
			held()
			held = next
		}
		held()
		synctest.Wait()
		w.check(l)
	})
}

// Joined batches respect the topic's limit.
func TestMergeRespectsTheLimit(t *testing.T) {
	producing(t, func(t *testing.T, w *world) {
		l := w.lane(0)
		held := w.hold()
		w.put(l, 1, 10)
		w.p.Add(Target{Lane: l, TopicID: w.fake.TopicInfo(topic).TopicID, Limit: 2000})
		synctest.Wait()
		for range 6 {
			w.put(l, 1, 600)
		}
		held()
		synctest.Wait()
		w.check(l)
		for _, r := range w.requests()[1:] {
			if r != "0:3" && r != "0:2" {
				t.Errorf("sent %v", w.requests())
			}
		}
	})
}

// Compressed batches that are joined nearby are smaller than those far away.
func TestSmallPacked(t *testing.T) {
	for trip, want := range map[time.Duration]int{
		0: 2048, 300 * time.Microsecond: 2048, 2 * time.Millisecond: 4096, 4 * time.Millisecond: 8192, time.Minute: 8192,
	} {
		if got := smallPacked(trip); got != want {
			t.Errorf("%v: %d, want %d", trip, got, want)
		}
	}
}
