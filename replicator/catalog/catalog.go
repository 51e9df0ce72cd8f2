// Package catalog knows the topics of both clusters: it reads both sides, works
// out what the target lacks (diff.go, pure), and makes it. It never shrinks and
// never deletes anything, and writes nothing to the source.
package catalog

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kferry/kferry/internal/kafka"
	"github.com/kferry/kferry/replicator/lane"
	"github.com/kferry/kferry/replicator/policy"
)

// Kafka's own default of max.message.bytes, in bytes.
const defaultMaxMessage = 1048588

// Options say which topics a flow has and how they are made.
type Options struct {
	Source, Target    *kafka.Cluster
	Filter            policy.Filter
	Policy            policy.Policy
	Exclude           []string // settings not copied, besides the built-in list
	InStep            bool     // settings are kept as on the source, not only copied when a topic is made
	ReplicationFactor int16    // of topics we make; 0: the target's default
}

// Place is where a lane's two partitions are, and what limits them.
type Place struct {
	TargetTopic                string
	SourceID, TargetID         [16]byte
	SourceLeader, TargetLeader int32       // broker ids; -1: none at the moment
	SourceEpoch, TargetEpoch   lane.Leader // of these as the leaders; 0: not known
	Limit                      int         // bytes of the largest batch that the target topic takes
	Exact                      bool        // the source is not compacted: offsets never go missing
	// Foretold tells that a batch's header alone shows whether the target topic takes
	// it: it is not above Limit, and its newest timestamp is at most Ahead
	// (math.MaxInt64: any time) ahead of the broker's clock.
	Foretold bool
	Ahead    time.Duration
	// Expiry is how long the target remembers a producer, counted from the newest
	// timestamp of the last batch that it took of it.
	Expiry time.Duration
	// Unequal tells by which settings the target topic does not keep what the source
	// keeps, or not its timestamps; "": none are known.
	Unequal string
	// Delay tells why the lane has to wait: its topic or partition could not be made on
	// the target, for a reason that passes. nil: it has not.
	Delay error
	// Problem tells why the lane cannot run: its topic or partition cannot be
	// made on the target. nil: it can.
	Problem error
}

// View is all lanes of a flow at one moment.
type View map[lane.ID]Place

// Event is something a user would like to read once in the log.
type Event struct {
	Topic, Text string
	Err         error
}

// Catalog keeps what it has read of settings; it is for one goroutine.
type Catalog struct {
	o              Options
	source, target side
	settings       map[string]*settings // by source topic
	events         []Event              // not told yet

	sourceTopics, sourceNamed, targetTopics reading

	expiry     time.Duration // as Place has it
	expiryDue  time.Time     // when it is read next
	expirySaid bool          // that it may not be read
	alterAgain time.Time     // when to try again to alter settings; zero: the target is not too old for it

	last    View // of the last Refresh, if it found nothing to do; nil: the next one is news
	changed bool // what settings say for the data path, since the last View

	owners owners

	mu    sync.Mutex
	stale []string // source topics whose settings are to be read again; guarded by mu
}

// New makes a Catalog.
func New(o Options) *Catalog {
	return &Catalog{o: o, settings: map[string]*settings{}, expiry: defaultExpiry, owners: owners{by: map[string]string{}},
		sourceTopics: reading{TopicReader: o.Source.TopicReader()}, sourceNamed: reading{TopicReader: o.Source.TopicReader()},
		targetTopics: reading{TopicReader: o.Target.TopicReader()},
		source: side{cl: o.Source, allowed: map[string]bool{}, costs: "new topics are made with the target's defaults, " +
			"settings are not kept in step, and the topics are taken for compacted ones"},
		target: side{cl: o.Target, allowed: map[string]bool{}, costs: "settings are not kept in step, and for the largest batch Kafka's default is assumed " +
			"until the target refuses one"},
	}
}

// Refresh reads both sides and, if this replica leads, makes what the target
// lacks and keeps settings in step; lead is asked only when it matters. Without news
// the view is that of the last time; nobody may change it. An error means that a cluster could not be
// read at all; what concerns one topic is in its lanes' Problem. Events are what
// changed since the last Refresh that went well.
func (c *Catalog) Refresh(ctx context.Context, lead func() bool) (v View, news bool, _ []Event, _ error) {
	c.takeStale()
	last := c.last
	c.last = nil // where this one fails, the next does not know what was read before
	sources, sameSources, err := c.sources(ctx)
	if err != nil {
		return nil, false, nil, kafka.Explain(c.o.Source.Alias(), err)
	}
	pairs := c.pairs(sources, lead)
	targets, sameTargets, err := c.targets(ctx, pairs)
	if err != nil {
		return nil, false, nil, kafka.Explain(c.o.Target.Alias(), err)
	}
	d := diff(pairs, targets)
	lacks := len(d.create)+len(d.grow) > 0
	follow := lacks && !lead()
	if !follow && c.create(ctx, d.create)+c.grow(ctx, d.grow) > 0 {
		if targets, err = c.settled(ctx, pairs); err != nil {
			return nil, false, nil, kafka.Explain(c.o.Target.Alias(), err)
		}
	}
	c.source.forget(sources)
	c.target.forget(targets)
	c.readSettings(ctx, pairs, targets, lead)
	c.readExpiry(ctx, targets)
	events := c.events
	c.events = nil
	v = last
	if news = lacks || !sameSources || !sameTargets || c.changed || last == nil; news {
		v = c.view(pairs, targets, follow)
		c.changed = false
	}
	if !lacks && !v.troubled() {
		c.last = v
	}
	return v, news, events, nil
}

// troubled tells that some lane cannot run: whoever carries it is told again each time.
func (v View) troubled() bool {
	for _, p := range v {
		if p.Problem != nil || p.Delay != nil {
			return true
		}
	}
	return false
}

// Look reads both sides and makes nothing: for topics that somebody else carries.
// A target partition that is missing has no leader.
func (c *Catalog) Look(ctx context.Context) (View, error) {
	c.last = nil
	sources, _, err := c.sources(ctx)
	if err != nil {
		return nil, kafka.Explain(c.o.Source.Alias(), err)
	}
	pairs := c.pairs(sources, nil)
	targets, _, err := c.targets(ctx, pairs)
	if err != nil {
		return nil, kafka.Explain(c.o.Target.Alias(), err)
	}
	return c.view(pairs, targets, true), nil
}

// Reread has the settings of a topic read again at the next Refresh: the target
// refused a batch that they allow. It may be called while Refresh runs.
func (c *Catalog) Reread(sourceTopic string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stale = append(c.stale, sourceTopic)
}

// takeStale has the settings that are to be read again read now.
func (c *Catalog) takeStale() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, t := range c.stale {
		if s := c.settings[t]; s != nil {
			s.due = time.Time{}
		}
	}
	c.stale = nil
}

func (c *Catalog) event(topic, text string, err error) {
	c.events = append(c.events, Event{topic, text, err})
}

// pair is a source topic of the flow and what it is called on the target.
type pair struct {
	source  kadm.TopicDetail
	target  string
	problem error // why none of its lanes can run
	stuck   error // why the target topic cannot get the partitions it lacks
	delay   error // why it, or partitions of it, could not be made just now
	// made are the settings that we made the target topic with, just now.
	made map[string]*string
}

// pairs picks the topics of the flow. Where two of them would have one name, lead is
// asked: it waits for stored progress, which tells whose it is.
func (c *Catalog) pairs(sources kadm.TopicDetails, lead func() bool) []*pair {
	var ps []*pair
	for _, t := range sources.Sorted() {
		if t.Err != nil || t.IsInternal || !c.o.Filter.Match(t.Topic) && !c.o.Policy.Heartbeats(t.Topic) || c.o.Policy.Cycle(t.Topic) {
			continue
		}
		ps = append(ps, &pair{source: t, target: c.o.Policy.Target(t.Topic)})
	}
	if lead != nil && contested(ps) && !c.owners.knows() {
		lead()
	}
	c.changed = c.owners.changed() || c.changed
	c.allot(ps)
	return ps
}

// targets describes the target topics of pairs; those that do not exist are left
// out. same: they are those of the last call.
func (c *Catalog) targets(ctx context.Context, pairs []*pair) (ts kadm.TopicDetails, same bool, err error) {
	names := make([]string, 0, len(pairs))
	for _, p := range pairs {
		if p.problem == nil {
			names = append(names, p.target)
		}
	}
	if len(names) == 0 {
		return kadm.TopicDetails{}, false, nil
	}
	ts, same, err = c.targetTopics.read(ctx, names)
	maps.DeleteFunc(ts, func(_ string, t kadm.TopicDetail) bool {
		return errors.Is(t.Err, kerr.UnknownTopicOrPartition)
	})
	return ts, same, err
}

// sources lists the source's topics; same: they are those of the last call. Some
// hosts let a user see what it may read but not list it: topics that the flow names
// are asked for by name then.
func (c *Catalog) sources(ctx context.Context) (ts kadm.TopicDetails, same bool, err error) {
	ts, same, err = c.sourceTopics.read(ctx, nil)
	if err != nil && !refusal(err) || len(ts) > 0 {
		return ts, same, err
	}
	if names := c.o.Filter.Names(); len(names) > 0 {
		return c.sourceNamed.read(ctx, names)
	}
	if err != nil {
		return nil, false, fmt.Errorf("listing the topics is refused: allow our user to Describe them, or give their names one by one in the flow's topics: %w", err)
	}
	return ts, same, nil
}

// refusal tells an answer that stays the same until somebody changes something
// from a failure that time mends.
func refusal(err error) bool { return err != nil && !kafka.Passing(err) }

// reading is topics as they were last read.
type reading struct {
	*kafka.TopicReader
	topics kadm.TopicDetails
}

// read describes topics; nil names are all that our user may see. kadm's
// ListTopics fails as a whole when one of them may not be seen, and would stop
// the lanes of all the others.
func (r *reading) read(ctx context.Context, names []string) (ts kadm.TopicDetails, same bool, err error) {
	topics, same, err := r.Read(ctx, names)
	if err != nil {
		return nil, false, err
	}
	if !same {
		r.topics = detailsOf(topics)
	}
	return r.topics, same, nil
}

func detailsOf(topics []kmsg.MetadataResponseTopic) kadm.TopicDetails {
	ts := kadm.TopicDetails{}
	for _, t := range topics {
		if t.Topic == nil {
			continue
		}
		d := kadm.TopicDetail{
			Topic: *t.Topic, ID: t.TopicID, IsInternal: t.IsInternal,
			Partitions: kadm.PartitionDetails{}, Err: kerr.ErrorForCode(t.ErrorCode),
		}
		for _, p := range t.Partitions {
			d.Partitions[p.Partition] = kadm.PartitionDetail{Topic: *t.Topic, Partition: p.Partition, Leader: p.Leader, LeaderEpoch: p.LeaderEpoch, Err: kerr.ErrorForCode(p.ErrorCode)}
		}
		ts[*t.Topic] = d
	}
	return ts
}

// settled reads the target again until new topics and partitions have leaders,
// for a few seconds at most; what is still missing comes with the next Refresh.
func (c *Catalog) settled(ctx context.Context, pairs []*pair) (kadm.TopicDetails, error) {
	for try := 0; ; try++ {
		ts, _, err := c.targets(ctx, pairs)
		if err != nil || try == 20 {
			return ts, err
		}
		d := diff(pairs, ts)
		if len(d.create)+len(d.grow) == 0 && !d.leaderless {
			return ts, nil
		}
		select {
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// lacks tells why a partition of p has no place on the target, which shows t of it.
func (p *pair) lacks(t kadm.TopicDetail, exists bool) error {
	switch {
	case !exists:
		return fmt.Errorf("target topic %q does not exist", p.target)
	case errors.Is(t.Err, kerr.TopicAuthorizationFailed):
		return fmt.Errorf("target topic %q: %w: allow our user to Describe and Write it", p.target, t.Err)
	case t.Err != nil:
		return fmt.Errorf("target topic %q: %w", p.target, t.Err)
	case p.stuck != nil:
		return p.stuck
	}
	return fmt.Errorf("target topic %q has %d partitions, the source has %d: add partitions to it", p.target, len(t.Partitions), len(p.source.Partitions))
}

// view is what was read. What is missing is a problem, unless this replica only
// follows: then it has no leader yet.
func (c *Catalog) view(pairs []*pair, targets kadm.TopicDetails, follow bool) View {
	v := View{}
	for _, p := range pairs {
		t, exists := targets[p.target]
		s := c.settings[p.source.Topic]
		if s == nil {
			s = &settings{takes: takes{limit: defaultMaxMessage}} // there is no target topic
		}
		for n, sp := range p.source.Partitions {
			pl := Place{
				TargetTopic: p.target, SourceID: p.source.ID, TargetID: t.ID,
				SourceLeader: sp.Leader, SourceEpoch: lane.LeaderOf(sp.LeaderEpoch), TargetLeader: -1,
				Limit: s.limit, Exact: s.exact, Foretold: s.foretold, Ahead: s.ahead, Expiry: c.expiry,
				Unequal: s.unequal, Problem: p.problem,
			}
			tp, ok := t.Partitions[n]
			switch missing := !exists || t.Err == nil && !ok; {
			case missing && pl.Problem == nil && p.delay != nil:
				pl.Delay = p.delay
			case pl.Problem != nil, missing && follow:
			case missing || t.Err != nil:
				pl.Problem = p.lacks(t, exists)
			default:
				pl.TargetLeader, pl.TargetEpoch = tp.Leader, lane.LeaderOf(tp.LeaderEpoch)
			}
			v[lane.ID{Topic: p.source.Topic, Partition: n}] = pl
		}
	}
	return v
}
