package replicator

import (
	"cmp"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/kferry/kferry/replicator/catalog"
	"github.com/kferry/kferry/replicator/lane"
	"github.com/kferry/kferry/replicator/progress"
)

// Status is the daemon at one moment.
type Status struct {
	Version, Instance       string
	Started, At             time.Time
	MemoryUsed, MemoryLimit int64 // bytes of records
	Clusters                []ClusterStatus
	Flows                   []FlowStatus
	Problems                []Problem // errors first
}

// FlowStatus is one flow, as far as this replica has it.
type FlowStatus struct {
	Name, Source, Target string          // the clusters by alias
	Watched              bool            // Aiven's MirrorMaker 2 carries it: nothing is counted but lanes and lag
	Carried              *Carried        // how that one has it; nil: it does not, or nobody knows
	Ready                bool            // its topics were read, and every lane that can run was started
	Leads                bool            // this replica does what is done once for the flow
	Slots                int             // that this replica owns
	Partitions           int             // of the flow over all replicas; -1: not known yet
	Others               int             // of those, the ones that this replica does not have
	Lanes                []LaneStatus    // sorted by topic and partition
	Topics               []TopicStatus   // sorted
	Groups               []GroupStatus   // sorted
	Verdicts             map[string]int  // partitions of groups; empty: no groups are followed
	Paused               *progress.Pause // the whole flow; nil: it is not
	Tally
	ETA     float64  // seconds until the lag is gone if it goes on shrinking as lately; -1: it does not, or nobody knows
	Reasons []string // why it is not safe to switch; none: it is
}

// Tally is what lanes come to together.
type Tally struct {
	States                           [lane.States]int // lanes by state
	Records, Bytes                   int64            // carried since the start
	RecordsPerSecond, BytesPerSecond float64          // in the last 30 to 60 s
	Lag                              int64            // of the lanes where it is known; -1: of none
	LagSeconds                       float64          // the largest; -1: not known
	Stale                            int              // lanes of which the lag is old
	Unknown                          int              // lanes of which the lag is not known
	Undecided                        int              // lanes that an open transaction holds up for long
	Lost, Twice, Aside               int64            // see lane.Stats
}

func newTally() Tally { return Tally{Lag: -1, LagSeconds: -1} }

// TopicStatus is a topic of a flow.
type TopicStatus struct {
	Topic, TargetTopic string
	Tally
}

// LaneStatus is one lane.
type LaneStatus struct {
	Topic, TargetTopic               string
	Partition                        int32
	State, Reason                    string
	Records, Bytes                   int64   // carried since the start
	RecordsPerSecond, BytesPerSecond float64 // in the last 30 to 60 s
	Position                         int64   // the source offset below which the target has everything
	TargetPosition                   int64   // a target offset: what follows Position is stored at it or above
	Lag                              int64   // source offsets that the target lacks; -1: not known yet
	LagSeconds                       float64 // age of the oldest of them; 0 where Lag is; -1: not known
	Undecided                        bool    // an open transaction on the source holds it up for long; Reason says which
	LagStale                         bool    // the source did not tell lately where it ends: Lag was true once
}

// Status describes the daemon: its flows with every lane, and what is wrong.
func (d *Daemon) Status() Status {
	now := time.Now()
	s := Status{
		Version: d.version, Instance: d.instance, Started: d.started, At: now,
		MemoryUsed: d.budget.Used(), MemoryLimit: d.budget.Limit(), Clusters: d.clustersNow(),
	}
	s.Problems = clusterProblems(s.Clusters)
	if d.carrier != nil {
		for _, o := range d.carrier.out.lasting(now) {
			s.Problems = append(s.Problems, Problem{Warning, "", "", -1, fmt.Sprintf("%s (since %s): %v", o.msg, o.began.UTC().Format(time.RFC3339), o.last)})
		}
	}
	for _, f := range d.flows {
		fs := f.status(now)
		fs.Reasons = f.reasons(&fs, s.Clusters, now)
		s.Problems = append(s.Problems, f.problems(&fs, now)...)
		s.Flows = append(s.Flows, fs)
	}
	slices.SortStableFunc(s.Problems, func(a, b Problem) int { return cmp.Compare(b.Severity, a.Severity) })
	return s
}

// clustersNow are the clusters, also those that were never reached.
func (d *Daemon) clustersNow() []ClusterStatus {
	out := d.Clusters()
	for _, o := range d.away.lasting(time.Now()) {
		for i := range out {
			if c := &out[i]; c.Alias == o.key {
				c.Up, c.Since, c.Err = false, o.began, o.last
			}
		}
	}
	return out
}

func (f *flow) status(now time.Time) FlowStatus {
	fs := FlowStatus{
		Name: f.cfg.Name, Source: f.cfg.Source, Target: f.cfg.Target,
		Ready: f.ready.Load(), Leads: f.leads.Load(), Slots: int(f.slots.Load()), Partitions: -1, Tally: newTally(),
	}
	if f.watched != nil {
		fs.Watched = true
		fs.Carried, _ = f.carrier.flow(f.cfg.Source, f.cfg.Target, now)
	}
	lanes := f.sortedLanes()
	fs.Lanes = make([]LaneStatus, len(lanes))
	for i, l := range lanes {
		s := fs.Lanes[i].read(l, now)
		fs.add(&fs.Lanes[i], &s)
	}
	if view := f.view.Load(); view != nil {
		fs.Partitions, fs.Others = len(*view), f.missing(*view)
	}
	if f.watched != nil && !fs.Leads {
		fs.Others = 1 // or more: another replica looks
	}
	sum, _ := f.counted()
	fs.count(&sum)
	fs.Topics = topicsOf(fs.Lanes)
	if len(f.cfg.Groups) > 0 {
		g := f.groupsNow()
		fs.Groups, fs.Verdicts = g.list, g.verdicts
	}
	if p, ok := f.pausesNow()[""]; ok {
		fs.Paused = &p
	}
	fs.ETA = f.history.eta(now, fs.knownLag())
	return fs
}

// sorting is the lanes of a flow in order.
type sorting struct {
	mu      sync.Mutex
	changed uint64 // flow.changed when they were sorted
	lanes   []*lane.Lane
}

// sortedLanes are the lanes by topic and partition; the caller must not change the slice.
func (f *flow) sortedLanes() []*lane.Lane {
	s := &f.sorted
	s.mu.Lock()
	defer s.mu.Unlock()
	f.mu.Lock()
	defer f.mu.Unlock()
	if s.lanes != nil && s.changed == f.changed {
		return s.lanes
	}
	s.lanes, s.changed = make([]*lane.Lane, 0, len(f.lanes)), f.changed
	for _, m := range f.lanes {
		s.lanes = append(s.lanes, m.lane)
	}
	slices.SortFunc(s.lanes, func(a, b *lane.Lane) int {
		return cmp.Or(cmp.Compare(a.Topic, b.Topic), cmp.Compare(a.Partition, b.Partition))
	})
	return s.lanes
}

// missing is how many of the partitions in view this replica does not have.
func (f *flow) missing(view catalog.View) (n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for id := range view {
		if f.lanes[id] == nil {
			n++
		}
	}
	return n
}

// knownLag is the lag if that of all lanes is known; else -1.
func (t *Tally) knownLag() int64 {
	if t.Unknown > 0 {
		return -1
	}
	return t.Lag
}

// add takes in a lane, and what it has counted.
func (t *Tally) add(l *LaneStatus, s *lane.Snapshot) {
	t.addLane(l, shown(*s))
	t.count(&s.Stats)
}

// count takes in what lanes have counted.
func (t *Tally) count(s *lane.Stats) {
	t.Records += s.Records
	t.Bytes += s.Bytes
	t.Lost += s.Lost
	t.Twice += s.Twice
	t.Aside += s.Aside
}

func (t *Tally) addLane(l *LaneStatus, state lane.State) {
	t.States[state]++
	t.RecordsPerSecond += l.RecordsPerSecond
	t.BytesPerSecond += l.BytesPerSecond
	if l.Lag >= 0 {
		t.Lag = max(t.Lag, 0) + l.Lag
	} else {
		t.Unknown++
	}
	t.LagSeconds = max(t.LagSeconds, l.LagSeconds)
	if l.LagStale {
		t.Stale++
	}
	if l.Undecided {
		t.Undecided++
	}
}

// read fills in how l is now.
func (x *LaneStatus) read(l *lane.Lane, now time.Time) lane.Snapshot {
	s := l.Snapshot()
	lag := lagOf(&s, now)
	*x = LaneStatus{
		Topic: l.Topic, TargetTopic: l.TargetTopic, Partition: l.Partition,
		State: shown(s).String(), Reason: s.Reason, Position: int64(s.Source), TargetPosition: int64(s.Target),
		Records: s.Records, Bytes: s.Bytes, Lag: lag.records, LagSeconds: lag.seconds, LagStale: lag.stale,
	}
	if x.Reason == "" {
		x.Reason = heldUp(l.ID, &s, now)
		x.Undecided = x.Reason != ""
	}
	x.RecordsPerSecond, x.BytesPerSecond = l.Recent(now.UnixMilli()).Rates(now.UnixMilli())
	return s
}

// topicsOf adds up sorted lanes. What lanes lost is told of the flow alone.
func topicsOf(lanes []LaneStatus) (out []TopicStatus) {
	for i := range lanes {
		l := &lanes[i]
		if len(out) == 0 || out[len(out)-1].Topic != l.Topic {
			out = append(out, TopicStatus{l.Topic, l.TargetTopic, newTally()})
		}
		t := &out[len(out)-1]
		t.addLane(l, stateNamed[l.State])
		t.Records += l.Records
		t.Bytes += l.Bytes
	}
	return out
}

// stateNamed are the states by name.
var stateNamed = func() map[string]lane.State {
	out := map[string]lane.State{}
	for s := range lane.States {
		out[s.String()] = s
	}
	return out
}()

// shown is the state as users see it: a lane whose source is away still sends
// what it holds, but it waits.
func shown(s lane.Snapshot) lane.State {
	if s.State == lane.Running && s.Reason != "" {
		return lane.Waiting
	}
	return s.State
}
