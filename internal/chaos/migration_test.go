package chaos

import (
	"context"
	"fmt"
	"math"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/kferry/kferry/internal/check"
	"github.com/kferry/kferry/internal/faults"
)

// migration is a backlog of old records that is carried beside live ones, while everything goes wrong that can.
type migration struct {
	name     string
	setAside bool              // what the target refuses is set aside, else it comes last and stops its lane
	target   map[string]string // of its brokers
	full     trouble
	short    trouble
}

// trouble says how much there is of it.
type trouble struct {
	records  int64 // at least, on the source; half of them are there before kferry is
	kills    int   // of a replica
	freezes  int   // of a replica, for longer than its session
	crashes  int   // of a target broker
	restarts int   // of a target broker, in good order
	cuts     time.Duration
}

var migrations = []migration{
	{
		"refused records are set aside", true, quickly,
		trouble{2_000_000, 20, 5, 6, 6, 2 * time.Minute}, trouble{100_000, 2, 0, 1, 1, 10 * time.Second},
	},
	{
		"refused records stop lanes", false, quickly,
		trouble{500_000, 6, 2, 3, 3, time.Minute}, trouble{},
	},
	{"with Kafka's defaults", true, nil, trouble{2_000_000, 20, 5, 6, 6, 2 * time.Minute}, trouble{}},
}

// Records of three days and of three years ago, mixed with fresh ones, and among them such as the target refuses:
// nothing may be lost, twice or out of order, and what is not carried is a dead letter or has stopped its lane.
func TestMigration(t *testing.T) {
	for _, m := range migrations {
		t.Run(m.name, func(t *testing.T) {
			much := m.short
			if full {
				much = m.full
			}
			if much.records == 0 {
				t.Skip("not run: only in the full matrix, KFERRY_CHAOS=full")
			}
			m.run(t, much)
		})
	}
}

func (m migration) run(t *testing.T, much trouble) {
	w := emptyWorld(t, "migration", m.target)
	// The backlog is to last for as long as there is trouble; a second brings about a megabyte of live records.
	w.flow = map[string]any{"rate_limit": 600_000, "sync_topic_configs": false}
	if m.setAside {
		w.flow["on_refused"] = "dead_letter"
	}
	h := newHistory(w, m.setAside)
	for i := range much.records / 2 {
		h.write(t.Context(), i)
	}
	live := each(w, rate, func(ctx context.Context, i int64) { h.write(ctx, much.records/2+i) })
	w.launch(replicas)
	m.trouble(w, much)
	w.eventually("there are enough records", func() (bool, string) {
		n, err := w.source.held(t.Context(), w.name+".")
		return err == nil && n >= much.records, fmt.Sprint(n, " of ", much.records)
	})
	live.Stop(t)
	delete(w.flow, "rate_limit")
	for i, f := range w.replicas {
		f.Stop()
		w.start(i)
	}
	if !m.setAside {
		h.block()
		h.blocked()
		m.trouble(w, trouble{kills: 2, restarts: 1})
		h.blocked()
	}
	h.settled()
	h.judged()
	t.Logf("%+v: %s", much, w.watch.summary())
}

// trouble has all of it come, in any order.
func (m migration) trouble(w *world, much trouble) {
	end := time.Now().Add(much.cuts)
	if much.cuts > 0 {
		w.setBoth(faults.Cut(w.rng.Uint64(), 10, time.Second))
	}
	var all []func(*world, dose)
	for _, x := range []struct {
		times int
		fault func(*world, dose)
	}{
		{much.kills, killReplica}, {much.freezes, freezeReplica},
		{much.crashes, killBroker(false, true)}, {much.restarts, restartBroker},
	} {
		for range x.times {
			all = append(all, x.fault)
		}
	}
	w.rng.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	const beyondSession = time.Minute // a broker's is 45 s
	for _, fault := range all {
		fault(w, dose{lasts: beyondSession})
		w.inSync()
		if much.cuts > 0 && time.Now().After(end) {
			w.setBoth()
			much.cuts = 0
		}
	}
	if much.cuts > 0 {
		w.last(time.Until(end))
		w.setBoth()
	}
}

func (w *world) setBoth(f ...faults.Fault) {
	for _, s := range []*side{w.source, w.target} {
		s.set(f...)
	}
}

// inSync waits until all replicas of the target's partitions are: the next broker that dies takes no partition with it.
func (w *world) inSync() {
	w.eventually("all replicas are in sync", func() (bool, string) {
		topics, err := w.target.admin.ListTopics(w.t.Context(), w.topics...)
		for _, topic := range topics {
			for _, p := range topic.Partitions {
				if len(p.ISR) < brokers {
					return false, fmt.Sprintf("%s/%d: %v %v", topic.Topic, p.Partition, p.ISR, p.Err)
				}
			}
		}
		return err == nil, fmt.Sprint(err)
	})
}

// history writes the records of a migration.
type history struct {
	*numbers
	orders, large, keyed string
	refusing             bool // some of the records are such as the target refuses
	noise                []byte

	at      sync.Mutex
	refused []place         // records that the target refuses
	stopped map[place]int64 // where the lanes are, by topic and partition, if such records have stopped them
}

// configs are settings of a topic.
type configs = map[string]string

// What tells the judge which records must not be on the target.
const (
	refusedMark = "refused" // the target refuses it
	behindMark  = "behind"  // it comes after one that has stopped the lane
)

const narrow = 3 // partitions of the topics beside the one with most records

// newHistory makes the topics on both sides. The target's refuse what is too large, what is of the future, what has no
// key.
func newHistory(w *world, refusing bool) *history {
	h := &history{numbers: newNumbers(w), refusing: refusing, noise: make([]byte, 200<<10)}
	for i := range h.noise {
		h.noise[i] = byte(w.rng.Uint32())
	}
	never := strconv.Itoa(math.MaxInt64)
	for _, x := range []struct {
		topic      *string
		name       string
		partitions int32
		source     configs
		target     configs
	}{
		{&h.orders, "orders", partitions, configs{"message.timestamp.after.max.ms": never}, configs{}},
		{&h.large, "large", narrow, configs{}, configs{"max.message.bytes": "100000"}},
		{&h.keyed, "keyed", narrow, configs{}, configs{"cleanup.policy": "compact", "min.compaction.lag.ms": never}},
	} {
		x.source["retention.ms"], x.target["retention.ms"] = "-1", "-1"
		*x.topic = h.topic(x.name, x.partitions, x.source)
		w.target.CreateTopic(w.t, *x.topic, x.partitions, x.target)
	}
	return h
}

// write writes record i: nearly all are orders, and of these one in ten thousand is refused, of the others one in a
// hundred.
func (h *history) write(ctx context.Context, i int64) {
	const beside, bad, badBeside = 200, 10_000, 20_000 // one of so many
	age := ages(i)
	switch i % beside {
	case 1:
		h.one(ctx, h.large, int32(i/beside%narrow), age, h.refusing && i%badBeside == 1, "")
	case 2:
		h.one(ctx, h.keyed, int32(i/beside%narrow), age, h.refusing && i%badBeside == 2, "")
	default: // those that are refused are in another partition each time
		h.one(ctx, h.orders, int32((i+i/bad)%partitions), age, h.refusing && i%bad == bad/2, "")
	}
}

// one writes a record that the target takes, or refuses for the reason of its topic.
func (h *history) one(ctx context.Context, topic string, p int32, age time.Duration, refused bool, mark string) {
	r := &kgo.Record{Topic: topic, Partition: p, Key: []byte("k"), Value: h.noise[:150]}
	r.Timestamp = time.Now().Add(-age)
	if mark != "" {
		r.Headers = append(r.Headers, kgo.RecordHeader{Key: mark})
	}
	if !refused {
		h.put(ctx, r)
		return
	}
	r.Headers = append(r.Headers, kgo.RecordHeader{Key: refusedMark})
	switch topic {
	case h.orders:
		r.Timestamp = time.Now().Add(48 * time.Hour)
	case h.large:
		r.Value = h.noise
	case h.keyed:
		r.Key = nil
	}
	at := h.put(ctx, r)
	h.at.Lock()
	defer h.at.Unlock()
	h.refused = append(h.refused, at)
}

// block ends each partition with a record that the target refuses, and good ones behind it.
func (h *history) block() {
	for topic, parts := range map[string]int32{h.orders: partitions, h.large: narrow, h.keyed: narrow} {
		for p := range parts {
			h.one(h.w.t.Context(), topic, p, 0, true, "")
			for i := range 5 {
				h.one(h.w.t.Context(), topic, p, ages(int64(i)*rate), false, behindMark)
			}
		}
	}
}

// blocked waits until all lanes are stopped at the batch with their refused record, which may begin with good ones, and
// name it.
func (h *history) blocked() {
	h.w.t.Helper()
	h.stopped = map[place]int64{}
	h.w.eventually("the lanes are stopped at the refused records", func() (bool, string) {
		h.w.hopeful()
		lanes := h.w.lanes()
	next:
		for _, at := range h.refused {
			state := "no lane"
			for _, l := range lanes {
				if l.Topic != at.topic || l.Partition != at.partition {
					continue
				}
				if l.SourceOffset > at.offset {
					h.w.t.Fatalf("%v is refused, and its lane is at %d, %s", at, l.SourceOffset, l.State)
				}
				if l.State == "stopped" && strings.Contains(l.Reason, "source offset ") {
					h.stopped[place{at.topic, at.partition, 0}] = l.SourceOffset
					continue next
				}
				state = fmt.Sprintf("%+v", l)
			}
			return false, fmt.Sprint(at, ": ", state)
		}
		return true, ""
	})
}

// settled waits until all that can be carried is.
func (h *history) settled() {
	for _, topic := range []string{h.orders, h.large, h.keyed} {
		ends := h.written(topic)
		if h.refusing {
			h.w.carried(topic, ends)
		}
	}
}

// judged wants what the target takes to be there, and what it refuses to be a dead letter, if it was to become one.
func (h *history) judged() {
	w := h.w
	w.compared = true
	for name, want := range map[string]float64{"kferry_lost_offsets_total": 0, "kferry_possible_duplicates_total": 0} {
		if n := w.sum(name); n != want {
			w.t.Errorf("%s is %v, want %v", name, n, want)
		}
	}
	w.watch.stop()
	for _, f := range w.replicas {
		f.Stop()
	}
	aside := func(r *kgo.Record) bool {
		at, stopped := h.stopped[place{r.Topic, r.Partition, 0}]
		marked := len(r.Headers) > 0 && (r.Headers[0].Key == refusedMark || r.Headers[0].Key == behindMark)
		return marked || stopped && r.Offset >= at
	}
	for _, topic := range []string{h.orders, h.large, h.keyed} {
		w.same(check.Options{Topic: topic, Aside: aside, Codec: check.AnyCodec})
	}
	if !h.refusing {
		return
	}
	letters := map[place]int{}
	w.read(w.letters(), func(r *kgo.Record) { letters[origin(r)]++ })
	again := 0
	for _, at := range h.refused {
		if letters[at] == 0 {
			w.t.Errorf("%v is refused, and neither on the target nor a dead letter", at)
		}
		again += max(0, letters[at]-1)
		delete(letters, at)
	}
	for at := range letters {
		w.t.Errorf("%v is a dead letter, and the target would take it", at)
	}
	w.t.Logf("%d records were set aside, %d of them a second time", len(h.refused), again)
}

// origin is where the record of a dead letter was.
func origin(r *kgo.Record) (at place) {
	for _, x := range r.Headers {
		n, _ := strconv.ParseInt(string(x.Value), 10, 64)
		switch x.Key {
		case "kferry.topic":
			at.topic = string(x.Value)
		case "kferry.partition":
			at.partition = int32(n)
		case "kferry.offset":
			at.offset = n
		}
	}
	return at
}
