package progress

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/kferry/kferry/internal/kafka"
	"github.com/kferry/kferry/replicator/lane"
)

// Slots is how many partitions a new progress topic gets. Lanes hash to slots
// by their key (murmur2, as Java's producer does), and replicas of the daemon
// share the slots, so there can be as many replicas. More would cost hosts that
// count partitions, and make the first start slower.
const Slots = 8

// writeTimeout bounds a write: others wait for it to end.
const writeTimeout = 5 * time.Second

// Store is the progress topic of one flow. Safe for concurrent use.
type Store struct {
	cl    *kafka.Cluster
	topic string
	slots int  // partitions of the topic
	made  bool // by Open, just now

	mu sync.Mutex
	// ends are where our knowledge of each loaded slot ends: we have read, or
	// written ourselves, every record below. What a write lands beyond tells
	// that another replica wrote in between: see Claim.
	ends map[int32]int64
	// begun is all that is known of where lanes begin or go on: their record, or
	// the claim that counts. It holds what was read or written in passing, too: a
	// claim that lies below an end would otherwise not be seen again, and its lane
	// be claimed a second time. The lanes' offset maps are left out.
	begun map[lane.ID]Record
}

// Topic is the name of the progress topic of a flow.
func Topic(flow string) string { return "kferry." + flow + ".progress" }

// Open makes the progress topic of flow on the target cl if it is missing;
// replication 0 leaves the factor to the target.
func Open(ctx context.Context, cl *kafka.Cluster, flow string, replication int16) (*Store, error) {
	s, err := find(ctx, cl, flow)
	if err != nil || s.slots > 0 {
		return s, err
	}
	s.slots = Slots
	if s.made, err = cl.MakeCompacted(ctx, s.topic, Slots, replication); err != nil {
		return nil, fmt.Errorf("cannot make the progress topic %q on the target %q: %w: allow our user to, or make it by hand with cleanup.policy=compact and %d partitions",
			s.topic, cl.Alias(), err, Slots)
	}
	if s.made {
		for slot := range int32(Slots) {
			s.ends[slot] = 0 // nobody had written when it was made
		}
	}
	return s, nil
}

// ErrNone means that a flow has no progress topic.
var ErrNone = errors.New("no kferry has carried the flow to there, or our user may not see it")

// Find is Open for those who only look; ErrNone if there is no such topic.
func Find(ctx context.Context, cl *kafka.Cluster, flow string) (*Store, error) {
	s, err := find(ctx, cl, flow)
	if err == nil && s.slots == 0 {
		err = fmt.Errorf("%s has no topic %q: %w", cl.Alias(), s.topic, ErrNone)
	}
	return s, err
}

// find returns a store with no slots if there is no topic.
func find(ctx context.Context, cl *kafka.Cluster, flow string) (*Store, error) {
	s := &Store{cl: cl, topic: Topic(flow), ends: map[int32]int64{}, begun: map[lane.ID]Record{}}
	ts, err := cl.Admin().ListTopics(ctx, s.topic)
	if err != nil {
		return nil, kafka.Explain(cl.Alias(), err)
	}
	if ts.Has(s.topic) && ts[s.topic].Err == nil {
		s.slots = len(ts[s.topic].Partitions)
		return s, s.compacted(ctx)
	}
	return s, nil
}

// Made tells that Open made the topic: nobody has asked for anything yet.
func (s *Store) Made() bool { return s.made }

// All are the slots of the flow.
func (s *Store) All() []int32 {
	all := make([]int32, s.slots)
	for i := range all {
		all[i] = int32(i)
	}
	return all
}

// byKey places records that have a key, and keeps nothing of them: it serves all stores at once.
var byKey = kgo.StickyKeyPartitioner(nil).ForTopic("")

// Slot is where the records of a lane are.
func (s *Store) Slot(id lane.ID) int32 {
	return int32(byKey.Partition(&kgo.Record{Key: []byte(Key(id))}, s.slots))
}

// compacted refuses a topic that forgets: progress older than its retention
// would be lost without a word. Where settings cannot be read it has to trust.
func (s *Store) compacted(ctx context.Context) error {
	rcs, err := s.cl.Admin().DescribeTopicConfigs(ctx, s.topic)
	if err != nil {
		return nil //nolint:nilerr // not allowed to look; the topic may well be right
	}
	for _, rc := range rcs {
		for _, c := range rc.Configs {
			if v := c.MaybeValue(); c.Key == "cleanup.policy" && v != "compact" {
				return fmt.Errorf("the progress topic %q on the target %q has cleanup.policy=%s and would forget positions: set it to compact", s.topic, s.cl.Alias(), v)
			}
		}
	}
	return nil
}

// Load reads slots to their ends: the last record of every lane, or where a
// replica that went away before it stored one claimed to begin.
func (s *Store) Load(ctx context.Context, slots []int32) (map[lane.ID]Record, error) {
	from := map[int32]int64{}
	for _, slot := range slots {
		if end, ok := s.end(slot); !ok || end > 0 {
			from[slot] = 0
		}
	}
	c := newContent()
	if err := s.scan(ctx, from, c); err != nil {
		return nil, err
	}
	return c.begun(), nil
}

// scan reads the slots in from, each from that offset to its present end.
func (s *Store) scan(ctx context.Context, from map[int32]int64, into *content) error {
	if len(from) == 0 {
		return nil
	}
	ends, err := s.cl.Ends(ctx, s.topic)
	if err != nil {
		return fmt.Errorf("progress topic %q: %w", s.topic, kafka.Explain(s.cl.Alias(), err))
	}
	todo := map[int32]int64{}
	at := map[int32]kgo.Offset{}
	ends.Each(func(o kadm.ListedOffset) {
		if start, ok := from[o.Partition]; ok && o.Offset > start {
			todo[o.Partition] = o.Offset
			at[o.Partition] = kgo.NewOffset().At(start)
		}
	})
	if len(todo) > 0 {
		cl, err := s.cl.NewClient(kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{s.topic: at}),
			kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.KeepControlRecords(), kgo.FetchMaxWait(100*time.Millisecond))
		if err != nil {
			return err
		}
		defer cl.Close()
		if err := s.read(ctx, cl, maps.Clone(todo), into); err != nil {
			return err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for slot, start := range from {
		s.ends[slot] = max(s.ends[slot], start, todo[slot])
	}
	s.learn(into)
	return nil
}

// learn keeps what was read. The caller holds mu.
func (s *Store) learn(c *content) {
	for id, r := range c.claims {
		if _, ok := s.begun[id]; !ok {
			s.begun[id] = r
		}
	}
	maps.Copy(s.begun, c.lanes)
}

func (s *Store) end(slot int32) (int64, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	end, ok := s.ends[slot]
	return end, ok
}

// read consumes until every partition in todo has reached its offset.
func (s *Store) read(ctx context.Context, cl *kgo.Client, todo map[int32]int64, into *content) error {
	var starts kadm.ListedOffsets
	for len(todo) > 0 {
		poll, cancel := context.WithTimeout(ctx, time.Second)
		fs := cl.PollFetches(poll)
		cancel()
		if ctx.Err() != nil {
			return ctx.Err()
		}
		var bad error
		fs.EachError(func(_ string, _ int32, err error) {
			if !errors.Is(err, context.DeadlineExceeded) {
				bad = err
			}
		})
		if bad != nil {
			return fmt.Errorf("progress topic %q: %w", s.topic, kafka.Explain(s.cl.Alias(), bad))
		}
		fs.EachRecord(func(r *kgo.Record) {
			if err := into.keep(r); err != nil {
				bad = err
			}
			if end, ok := todo[r.Partition]; ok && r.Offset+1 >= end {
				delete(todo, r.Partition)
			}
		})
		if bad != nil {
			return fmt.Errorf("progress topic %q: %w", s.topic, bad)
		}
		if fs.NumRecords() > 0 {
			continue
		}
		// A partition whose last offsets hold no record (all compacted away)
		// never shows its end.
		var err error
		if starts, err = s.cl.Admin().ListStartOffsets(ctx, s.topic); err != nil {
			return err
		}
		starts.Each(func(o kadm.ListedOffset) {
			if end, ok := todo[o.Partition]; ok && o.Offset >= end {
				delete(todo, o.Partition)
			}
		})
	}
	return nil
}

// content is what some stretch of the topic says.
type content struct {
	lanes  map[lane.ID]Record   // the last record of each
	claims map[lane.ID]Record   // the first claim of each
	maps   map[lane.ID]*Offsets // the last of each
}

func newContent() *content {
	return &content{lanes: map[lane.ID]Record{}, claims: map[lane.ID]Record{}, maps: map[lane.ID]*Offsets{}}
}

// begun are the lanes that have a place to go on from: their last record with
// their offset map, or else the claim that came first.
func (c *content) begun() map[lane.ID]Record {
	out := maps.Clone(c.claims)
	for id, r := range c.lanes {
		out[id] = r.with(c.maps[id])
	}
	return out
}

// with gives r its offset map. One that was taken after r tells the later position
// as well: it ends there, and what it says is not to be learned again, for records
// that it knows would count twice.
func (r Record) with(o *Offsets) Record {
	if o == nil || o.SourceID != r.SourceID || o.TargetTopic != r.TargetTopic {
		return r
	}
	r.Offsets = o
	if p := o.Position; p.Producer == r.Position.Producer && p.Epoch == r.Position.Epoch && p.Source > r.Position.Source {
		r.Position = p
	}
	return r
}

// keep takes one record of the topic.
func (c *content) keep(r *kgo.Record) error {
	if r.Attrs.IsControl() {
		return nil
	}
	if _, ok := parsePauseKey(string(r.Key)); ok {
		return nil // not about a lane: see Pauses
	}
	if of, ok := strings.CutPrefix(string(r.Key), mapPrefix); ok {
		return c.keepMap(lanePrefix+of, r.Value)
	}
	key, claim := strings.CutPrefix(string(r.Key), claimPrefix)
	if claim {
		key = lanePrefix + key
	}
	if r.Value == nil {
		id, ok := parseKey(key)
		switch {
		case ok && claim:
			delete(c.claims, id)
		case ok:
			delete(c.lanes, id)
		}
		return nil
	}
	rec, err := decode(key, r.Value)
	if err != nil {
		return err
	}
	if !claim {
		c.lanes[rec.Lane] = rec
	} else if _, ok := c.claims[rec.Lane]; !ok {
		c.claims[rec.Lane] = rec
	}
	return nil
}

// keepMap takes the offset map of the lane with that key.
func (c *content) keepMap(key string, value []byte) error {
	id, ok := parseKey(key)
	if value == nil {
		if ok {
			delete(c.maps, id)
		}
		return nil
	}
	o, err := decodeOffsets(key, value)
	if err == nil {
		c.maps[o.Lane] = &o
	}
	return err
}

// Save writes records and offset maps, and returns once the target has them all,
// or the first error. The claims of lanes in begun are withdrawn with it: a record
// counts more. A map goes before its lane's record: it may be the first that is
// true of a source that was made anew.
func (s *Store) Save(ctx context.Context, records []Record, maps []Offsets, begun ...lane.ID) error {
	out := make([]*kgo.Record, 0, len(maps)+len(records)+len(begun))
	for _, o := range maps {
		v, err := o.encode()
		if err != nil {
			return err
		}
		out = append(out, s.record(o.Lane, mapKey, v))
	}
	lanes, err := s.produced(Key, records)
	if err != nil {
		return err
	}
	out = append(out, lanes...)
	for _, id := range begun {
		out = append(out, s.record(id, claimKey, nil))
	}
	if _, err := s.write(ctx, out); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range records {
		r.Offsets = nil
		s.begun[r.Lane] = r
	}
	return nil
}

// Forget has lanes begin anew: all that is stored of them is taken away. Nobody may
// carry them meanwhile.
func (s *Store) Forget(ctx context.Context, lanes ...lane.ID) error {
	out := make([]*kgo.Record, 0, 3*len(lanes))
	for _, id := range lanes {
		for _, key := range []func(lane.ID) string{mapKey, claimKey, Key} {
			out = append(out, s.record(id, key, nil))
		}
	}
	_, err := s.write(ctx, out)
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, id := range lanes {
		delete(s.begun, id)
	}
	return err
}

// Claim settles where lanes begin that nobody has begun. Two replicas may try at
// the same time with different positions, and records of both under the same
// sequence numbers would be lost as duplicates. So each writes its claim, and
// the one that the log has first counts for all. It returns the records to go on
// from, by lane: the caller's own, or another replica's.
func (s *Store) Claim(ctx context.Context, records []Record) (map[lane.ID]Record, error) {
	fresh := slices.DeleteFunc(slices.Clone(records), func(r Record) bool { return s.has(r.Lane) })
	out, err := s.produced(claimKey, fresh)
	if err != nil {
		return nil, err
	}
	before, err := s.write(ctx, out)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	for _, r := range fresh {
		_, foreign := before[s.Slot(r.Lane)]
		// Nobody wrote to its slot in between, unless that was read while ours was on its way.
		if _, read := s.begun[r.Lane]; !foreign && !read {
			s.begun[r.Lane] = r
		}
	}
	s.mu.Unlock()
	if err := s.scan(ctx, before, newContent()); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	all := map[lane.ID]Record{}
	for _, r := range records {
		settled, ok := s.begun[r.Lane]
		if !ok {
			return nil, fmt.Errorf("progress topic %q: the claim of topic %q partition %d was written and cannot be read back yet", s.topic, r.Lane.Topic, r.Lane.Partition)
		}
		all[r.Lane] = settled
	}
	return all, nil
}

func (s *Store) has(id lane.ID) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, ok := s.begun[id]
	return ok
}

// produced are records as they are written, under the keys of key.
func (s *Store) produced(key func(lane.ID) string, records []Record) ([]*kgo.Record, error) {
	out := make([]*kgo.Record, 0, len(records))
	for _, r := range records {
		v, err := r.encode()
		if err != nil {
			return nil, err
		}
		out = append(out, s.record(r.Lane, key, v))
	}
	return out, nil
}

// record is one record about a lane, in the lane's slot.
func (s *Store) record(id lane.ID, key func(lane.ID) string, value []byte) *kgo.Record {
	return &kgo.Record{Topic: s.topic, Partition: s.Slot(id), Key: []byte(key(id)), Value: value}
}

// write writes out. foreign are the slots where others wrote since we last
// looked, and from where on: nothing of theirs is known there.
func (s *Store) write(ctx context.Context, out []*kgo.Record) (foreign map[int32]int64, err error) {
	if len(out) == 0 {
		return nil, nil
	}
	within, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	results := s.cl.Client().ProduceSync(within, out...)
	if err := results.FirstErr(); err != nil {
		if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
			// The client tries again and again and forgets why: ask once more.
			if why := s.cl.Ping(ctx); why != nil {
				err = why
			}
		}
		return nil, fmt.Errorf("cannot store progress in topic %q: %w", s.topic, kafka.Explain(s.cl.Alias(), err))
	}
	return s.wrote(results), nil
}

// wrote moves ends over what we wrote, unless somebody else wrote in between:
// then all from the end that we knew is foreign. The client may cut one write
// into several batches, and another replica's claims may stand between two of
// them: ours before those must be seen again as well, or each side would take
// the other's for the first.
func (s *Store) wrote(results kgo.ProduceResults) (foreign map[int32]int64) {
	offsets := map[int32][]int64{}
	for _, r := range results {
		offsets[r.Record.Partition] = append(offsets[r.Record.Partition], r.Record.Offset)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for slot, at := range offsets {
		n := int64(len(at))
		if end := s.ends[slot]; slices.Min(at) == end && slices.Max(at) == end+n-1 {
			s.ends[slot] = end + n
			continue
		}
		if foreign == nil {
			foreign = map[int32]int64{}
		}
		foreign[slot] = s.ends[slot]
	}
	return foreign
}
