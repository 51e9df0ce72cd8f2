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

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"golang.org/x/sync/errgroup"

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
	// passed are keys that were read and are not known.
	passed map[string]bool
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
		return nil, kafka.Unmade(cl.Alias(), fmt.Sprintf("make the progress topic %q on the target %q", s.topic, cl.Alias()),
			fmt.Sprintf("with cleanup.policy=compact and %d partitions", Slots), err)
	}
	if s.made {
		for slot := range int32(Slots) {
			s.ends[slot] = 0 // nobody had written when it was made
		}
	}
	return s, nil
}

// Shorten has the target compact the topic soon after it is written: one that an
// earlier kferry made holds each record of up to a week.
func (s *Store) Shorten(ctx context.Context) error {
	if err := s.cl.KeepCompacted(ctx, s.topic); err != nil {
		return fmt.Errorf("%w: where it is compacted days later, a start or taking lanes over reads for minutes: "+
			"allow our user to DescribeConfigs and AlterConfigs it, or set segment.ms=300000, segment.bytes=16777216 and min.cleanable.dirty.ratio=0.1 by hand", err)
	}
	return nil
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
	s := &Store{cl: cl, topic: Topic(flow), ends: map[int32]int64{}, begun: map[lane.ID]Record{}, passed: map[string]bool{}}
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

// home is the slot of the lane that key is about.
func (s *Store) home(key string) int32 {
	_, of, _ := strings.Cut(key, "/")
	id, _ := parseKey(lanePrefix + of)
	return s.Slot(id)
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
// replica that went away before it stored one claimed to begin. One that cannot be
// read has Err.
func (s *Store) Load(ctx context.Context, slots []int32) (map[lane.ID]Record, error) {
	from := map[int32]int64{}
	for _, slot := range slots {
		if end, ok := s.end(slot); !ok || end > 0 {
			from[slot] = 0
		}
	}
	t, err := s.scan(ctx, from)
	return t.begun(), err
}

// Passed are the keys that were read so far and are not known here.
func (s *Store) Passed() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Sorted(maps.Keys(s.passed))
}

// scan reads the slots in from, each from that offset to its present end.
func (s *Store) scan(ctx context.Context, from map[int32]int64) (told, error) {
	if len(from) == 0 {
		return told{}, nil
	}
	c := newContent()
	ends, err := s.read(ctx, from, c)
	if err != nil {
		return told{}, fmt.Errorf("progress topic %q: %w", s.topic, kafka.Explain(s.cl.Alias(), err))
	}
	t := c.tell()
	s.mu.Lock()
	defer s.mu.Unlock()
	for slot, start := range from {
		s.ends[slot] = max(s.ends[slot], start, ends[slot])
	}
	s.learn(t)
	return t, nil
}

// read takes in what slots have from those offsets on, all of them at once, and
// returns where they end.
func (s *Store) read(ctx context.Context, from map[int32]int64, into *content) (map[int32]int64, error) {
	listed, err := s.cl.Ends(ctx, s.topic)
	if err != nil {
		return nil, err
	}
	starts, err := s.cl.Admin().ListStartOffsets(ctx, s.topic)
	if err == nil {
		err = starts.Error()
	}
	if err != nil {
		return nil, err
	}
	t, err := s.place(ctx)
	if err != nil {
		return nil, err
	}
	ends := map[int32]int64{}
	var reading errgroup.Group
	parts := map[int32]*content{}
	for _, p := range t.Partitions {
		at, ok := from[p.Partition]
		end, _ := listed.Lookup(s.topic, p.Partition)
		if !ok || end.Offset <= at {
			continue
		}
		start, _ := starts.Lookup(s.topic, p.Partition)
		part := newContent()
		parts[p.Partition], ends[p.Partition] = part, end.Offset
		log := kafka.Log{Link: s.cl.Aside(), Leader: p.Leader, Topic: s.topic, TopicID: t.TopicID, Partition: p.Partition}
		reading.Go(func() error { return part.read(ctx, log, max(at, start.Offset), end.Offset) })
	}
	if err := reading.Wait(); err != nil {
		return nil, err
	}
	for slot, part := range parts {
		into.join(part, func(key string) bool { return s.home(key) == slot })
	}
	return ends, nil
}

// place asks where the topic's partitions are.
func (s *Store) place(ctx context.Context) (kmsg.MetadataResponseTopic, error) {
	req := kmsg.NewPtrMetadataRequest() // kadm would answer from what it knew a second ago
	t := kmsg.NewMetadataRequestTopic()
	t.Topic = &s.topic
	req.Topics = append(req.Topics, t)
	resp, err := req.RequestWith(ctx, s.cl.Client())
	if err != nil {
		return kmsg.MetadataResponseTopic{}, err
	}
	if len(resp.Topics) != 1 {
		return kmsg.MetadataResponseTopic{}, kerr.UnknownTopicOrPartition
	}
	return resp.Topics[0], kerr.ErrorForCode(resp.Topics[0].ErrorCode)
}

// learn keeps what was read. The caller holds mu.
func (s *Store) learn(t told) {
	for id, r := range t.claims {
		if _, ok := s.begun[id]; !ok {
			s.begun[id] = r
		}
	}
	maps.Copy(s.begun, t.lanes)
	for _, key := range t.passed {
		s.passed[key] = true
	}
}

// CatchUp reads what others have written since the slots were read last.
func (s *Store) CatchUp(ctx context.Context) error {
	from := map[int32]int64{}
	for _, slot := range s.All() {
		from[slot], _ = s.end(slot)
	}
	_, err := s.scan(ctx, from)
	return err
}

// Copies tells which source topic each target topic is a copy of, by all that is
// known of where lanes begin. Of two that were carried to one topic, before that was
// refused, it is the first by name.
func (s *Store) Copies() map[string]string {
	s.mu.Lock()
	defer s.mu.Unlock()
	of := map[string]string{}
	for id, r := range s.begun {
		if r.Err != nil {
			continue
		}
		if old, ok := of[r.TargetTopic]; !ok || id.Topic < old {
			of[r.TargetTopic] = id.Topic
		}
	}
	return of
}

func (s *Store) end(slot int32) (int64, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	end, ok := s.ends[slot]
	return end, ok
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
	if _, err := s.scan(ctx, before); err != nil {
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
