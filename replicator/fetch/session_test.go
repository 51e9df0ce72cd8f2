package fetch

import (
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kferry/kferry/internal/kafka"
	"github.com/kferry/kferry/offsets"
	"github.com/kferry/kferry/replicator/budget"
	"github.com/kferry/kferry/replicator/lane"
)

// at is a cursor that asks for offset from of partition n of topic.
func at(topic string, n int32, id byte, from offsets.Source) *cursor {
	l := lane.New(lane.ID{Topic: topic, Partition: n}, topic)
	return &cursor{Source: Source{Lane: l}, lane: l, topicID: [16]byte{id}, from: from, ask: 100, wanted: true}
}

// say writes a request as "epoch: topic/partition@offset ... -topic/partition ...".
func say(req *kmsg.FetchRequest) string {
	var out []string
	for _, t := range req.Topics {
		for _, p := range t.Partitions {
			out = append(out, fmt.Sprint(t.Topic, "/", p.Partition, "@", p.FetchOffset))
		}
	}
	for _, t := range req.ForgottenTopics {
		for _, p := range t.Partitions {
			out = append(out, fmt.Sprint("-", t.Topic, "/", p))
		}
	}
	return fmt.Sprint(req.SessionID, ".", req.SessionEpoch, ": ", strings.Join(out, " "))
}

func TestSession(t *testing.T) {
	var s session
	a, b, c := at("a", 0, 1, 10), at("a", 1, 1, 20), at("b", 0, 2, 30)
	step := func(want string, changed ...*cursor) {
		t.Helper()
		req := s.request(changed)
		if got := say(req); got != want {
			t.Errorf("\n got %s\nwant %s", got, want)
		}
		if req.IsolationLevel != 1 || req.MinBytes != 1 {
			t.Errorf("isolation %d, min bytes %d", req.IsolationLevel, req.MinBytes)
		}
		for _, rt := range req.Topics {
			if rt.TopicID == ([16]byte{}) || len(rt.Partitions) > 2 {
				t.Errorf("topic %q: id %v, %d partitions", rt.Topic, rt.TopicID, len(rt.Partitions))
			}
			for _, p := range rt.Partitions {
				if p.CurrentLeaderEpoch != -1 || p.PartitionMaxBytes != 100 {
					t.Errorf("%+v", p)
				}
			}
		}
	}
	if !s.whole() {
		t.Error("the first request is not whole")
	}
	step("0.0: a/0@10 a/1@20 b/0@30", a, b, c)
	s.answered(77)
	step("77.1: ")
	s.answered(77)
	b.from = 25
	step("77.2: a/1@25", b)
	s.answered(77)
	s.forget = append(s.forget, c, a)
	step("77.3: -b/0 -a/0")
	s.answered(77)
	step("77.4: ") // forgotten once
	s.answered(77)
	// It leaves and comes back between two requests.
	s.forget = append(s.forget, b, c)
	b.from = 26
	step("77.5: a/1@26 -b/0", b)
	s.reset()
	s.forget = append(s.forget, c) // nothing to forget in a new session
	step("0.0: a/1@26", b)
	s.answered(0) // the broker gives no session
	if !s.whole() {
		t.Error("without a session the next request is not whole")
	}
	s.answered(5)
	s.epoch = math.MaxInt32
	step("5.2147483647: ")
	s.answered(5)
	step("5.1: ")
}

// A topic made anew has another id: the old one has to leave the session, or the
// broker answers every request at once with an error for it. Brokers that know
// no ids would take the new one for the one to forget.
func TestNewTopicOfTheSameName(t *testing.T) {
	f := New(Options{Budget: budget.New(1 << 20)})
	l := lane.New(lane.ID{Topic: "a"}, "a")
	l.Start(lane.Plan{}, 0, nil)
	f.Add(Source{Lane: l, TopicID: [16]byte{1}})
	f.next()
	f.session.answered(7)
	f.Remove(l)
	if f.next() != nil {
		t.Fatal("a request without lanes")
	}
	f.Add(Source{Lane: l, TopicID: [16]byte{9}})
	if req := f.next(); say(req) != "0.0: a/0@0" || req.Topics[0].TopicID != [16]byte{9} {
		t.Errorf("%s, id %v", say(req), req.Topics[0].TopicID)
	}
}

// mirror is what a broker thinks is in the session: the offset of each partition.
type mirror map[partition]int64

func (m mirror) take(req *kmsg.FetchRequest) {
	if req.SessionEpoch == 0 {
		clear(m)
	}
	for _, t := range req.Topics {
		for _, p := range t.Partitions {
			m[partition{t.TopicID, p.Partition}] = p.FetchOffset
		}
	}
	// A broker adds before it forgets.
	for _, t := range req.ForgottenTopics {
		for _, p := range t.Partitions {
			delete(m, partition{t.TopicID, p})
		}
	}
}

// lanes is a fetcher without a broker and some lanes that come, go, fill up and
// are read.
type lanes struct {
	r      *rand.Rand
	f      *Fetcher
	all    []*lane.Lane
	in     map[*lane.Lane]bool
	broker mirror
	asked  map[partition]bool // those of broker whose log is to be compared with what was read
	done   map[*cursor]bool   // that was done
}

func newLanes(seed uint64) *lanes {
	w := &lanes{r: rand.New(rand.NewPCG(seed, 4)), f: New(Options{Budget: budget.New(1 << 20)}), in: map[*lane.Lane]bool{}, broker: mirror{},
		asked: map[partition]bool{}, done: map[*cursor]bool{}}
	for n := range int32(4) {
		l := lane.New(lane.ID{Topic: fmt.Sprint("t", n%2), Partition: n}, "t")
		l.Share(1)
		l.Start(lane.Plan{Position: lane.Position{Leader: lane.LeaderOf(0)}}, 0, nil)
		w.all = append(w.all, l)
	}
	return w
}

// change lets something happen to a lane.
func (w *lanes) change() {
	l := w.all[w.r.IntN(len(w.all))]
	switch w.r.IntN(6) {
	case 0:
		w.in[l] = true
		w.f.Add(Source{Lane: l, TopicID: [16]byte{l.Topic[1]}, Epoch: lane.LeaderOf(0)})
	case 1:
		delete(w.in, l)
		w.f.Remove(l)
	case 2, 3: // a reply; it fills the lane
		if gen, from, _, _, ask := l.Fetch(); ask > 0 && w.in[l] {
			l.Put(gen, []lane.Item{{Bytes: []byte{1}, First: from, Next: from + 1, Records: 1, Leader: lane.LeaderOf(0)}}, from+1, 0, lane.LeaderOf(0), 0)
			w.f.mark(l)
		}
	case 4: // it is written and acknowledged
		if win, ok := l.Next(0); ok {
			l.Send(win.Gen, win.Items[0], 1)
			l.Ack(offsets.UnknownTarget, 0)
		}
	case 5:
		l.Shed()
	}
}

// request is one round of Run.
func (w *lanes) request(t *testing.T, seed uint64) {
	if w.r.IntN(12) == 0 {
		w.f.session.reset() // the broker dropped it
	}
	req := w.f.next()
	want := mirror{}
	for l := range w.in {
		if _, from, _, _, ask := l.Fetch(); ask > 0 {
			want[partition{[16]byte{l.Topic[1]}, l.Partition}] = int64(from)
		}
	}
	if w.f.wanted != len(want) || w.f.full != len(w.in)-len(want) {
		t.Fatalf("seed %d: %d wanted and %d full, want %d and %d", seed, w.f.wanted, w.f.full, len(want), len(w.in)-len(want))
	}
	if w.f.wanted == 0 {
		return // nothing is sent
	}
	w.broker.take(req)
	if !maps.Equal(w.broker, want) {
		t.Fatalf("seed %d: the broker's session has %v, want %v", seed, w.broker, want)
	}
	w.compare(req)
	for _, c := range w.f.cursors {
		if c.checked && !w.done[c] {
			t.Fatalf("seed %d: %v is taken for compared", seed, c.lane.ID)
		}
	}
}

// compare plays the broker: it takes in for which partitions its log is to be
// compared with what was read, and answers, or throttles, or fails.
func (w *lanes) compare(req *kmsg.FetchRequest) {
	for _, t := range req.Topics {
		for _, p := range t.Partitions {
			w.asked[partition{t.TopicID, p.Partition}] = p.LastFetchedEpoch >= 0
		}
	}
	maps.DeleteFunc(w.asked, func(p partition, _ bool) bool { _, ok := w.broker[p]; return !ok })
	if req.SessionEpoch == 0 {
		clear(w.done)
	}
	switch w.r.IntN(8) {
	case 0:
		w.f.session.reset()
	case 1: // throttled
		w.f.session.answered(7)
	default:
		for p := range w.asked {
			if c := w.f.byID[p]; w.asked[p] {
				w.done[c] = true
			}
		}
		w.f.session.answered(7)
		w.f.passed()
	}
}

// At every request the broker's session holds exactly the lanes that want
// records, at their offsets; and no log is taken for compared with what was read
// that was not.
func TestSessionModel(t *testing.T) {
	for seed := range uint64(500) {
		w := newLanes(seed)
		for range 80 {
			w.change()
			if w.r.IntN(2) == 0 {
				w.request(t, seed)
			}
		}
	}
}

func TestVerdictsOfBrokenRecords(t *testing.T) {
	for _, c := range []struct {
		name string
		raw  []byte
		skip int64
		want kafka.Verdict
		says string
	}{
		{"gap", data(5, 1).bytes(), 3, kafka.Resume, "offsets are missing"},
		{"too large", data(0, 9).by(-1, logAppendTime).bytes(), 0, kafka.Refuse, "the target takes 60"},
		{"unreadable", append(data(0, 1).bytes()[:16:16], append([]byte{7}, make([]byte, 70)...)...), 0, kafka.Keep, ""},
	} {
		var got kafka.Verdict
		var cause error
		f := New(Options{Budget: budget.New(1 << 30), Failed: func(_ *lane.Lane, v kafka.Verdict, err error) { got, cause = v, err }})
		l := lane.New(lane.ID{Topic: "t"}, "t")
		l.Start(lane.Plan{Skip: c.skip}, 0, nil)
		f.Add(Source{Lane: l, Limit: 60})
		for range 2 { // a gap is looked at twice
			f.next()
			p := kmsg.FetchResponseTopicPartition{HighWatermark: 1 << 40, RecordBatches: c.raw}
			if cur := f.cursors[l]; cur != nil {
				f.give(cur, &p, budget.New(0).Hold(0), true)
			}
		}
		if got != c.want || c.says != "" && !strings.Contains(fmt.Sprint(cause), c.says) {
			t.Errorf("%s: %v, %v", c.name, got, cause)
		}
		if failed := f.cursors[l] == nil; failed != (c.want != kafka.Keep) {
			t.Errorf("%s: left the fetcher: %v", c.name, failed)
		}
	}
}

// In an answer that is full a batch comes cut because no more had room, unless it is the first.
func TestCutInAFullAnswer(t *testing.T) {
	failed := map[string]error{}
	f := New(Options{Budget: budget.New(1 << 30), Failed: func(l *lane.Lane, _ kafka.Verdict, err error) { failed[l.ID.Topic] = err }})
	lanes := map[string]*lane.Lane{}
	for _, topic := range []string{"a", "b"} {
		lanes[topic] = lane.New(lane.ID{Topic: topic}, topic)
		lanes[topic].Start(lane.Plan{}, 0, nil)
		f.Add(Source{Lane: lanes[topic]})
	}
	part := func(topic string, raw []byte) kmsg.FetchResponseTopic {
		rt := kmsg.NewFetchResponseTopic()
		rp := kmsg.NewFetchResponseTopicPartition()
		rt.Topic, rp.HighWatermark, rp.RecordBatches = topic, 1<<40, raw
		rt.Partitions = append(rt.Partitions, rp)
		return rt
	}
	whole, cut := data(0, 2).bytes(), data(0, 2).bytes()[:70]
	for range 2 * damagedAfter {
		f.next()
		f.hand(&kmsg.FetchResponse{Topics: []kmsg.FetchResponseTopic{part("a", whole), part("b", cut)}}, budget.New(0).Hold(0), false)
	}
	if len(failed) > 0 {
		t.Errorf("failed: %v", failed)
	}
	for range damagedAfter {
		f.next()
		f.hand(&kmsg.FetchResponse{Topics: []kmsg.FetchResponseTopic{part("a", nil), part("b", cut), part("a", whole)}}, budget.New(0).Hold(0), false)
	}
	if len(failed) != 1 || !strings.Contains(fmt.Sprint(failed["b"]), "damaged, read 5 times: batch: at offset 0: it is to have ") {
		t.Errorf("failed: %v", failed)
	}
}
