package groups

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kferry/kferry/config"
	"github.com/kferry/kferry/internal/kafka"
	"github.com/kferry/kferry/offsets"
)

const (
	// A round that takes longer ends; the next one goes on.
	roundLimit = time.Minute
	// Offsets on the target are read anew so often though the goal has not
	// changed: somebody may have reset or deleted them.
	rereadEvery = time.Minute
	// A group that the source has no more is still reported for so long.
	goneFor = time.Hour
)

// Options are what a Follower works with.
type Options struct {
	Source, Target *kafka.Cluster
	Flow           config.Flow // its Groups, GroupsExclude, GroupNames and SyncGroupOffsets
	Lanes          Lanes
	Checkpoints    Checkpointer // nil = none are kept
}

// Follower follows the groups of one flow, for the lanes that this replica has.
// Several replicas do so at once, each for its own; nobody needs to lead.
type Follower struct {
	opts           Options
	filter         filter
	source, target *side

	round   sync.Mutex // held by Round; guards what follows
	groups  map[string]*group
	unseen  []unseen        // of the last list
	said    map[string]bool // subjects of notices that hold
	log     notebook
	notices []string

	last atomic.Pointer[Report]
}

// group is a followed group. In a round one goroutine at a time has it.
type group struct {
	name, target string
	listed       bool   // by the source; else it was asked for by its name
	active       bool   // has members on the target
	parts        []part // by topic and partition
	whole        bool   // verdict and detail hold for all of the group
	verdict      Verdict
	detail       string
	seen         time.Time // when its offsets on the target were read
	gone         time.Time // since when the source has it no more; zero = it has
	commits      int       // partitions, in this round
}

// unseen is a pattern that no group of the source's list matches, and why not.
type unseen struct{ pattern, detail string }

// part is a partition of a group.
type part struct {
	topic     string
	partition int32
	input
	metadata *string
	read     offsets.Target // the goal when the target was read; none = it was not
	rest     time.Time      // a refused commit is not tried before
	verdict  Verdict
	detail   string
}

// New makes a Follower; it asks nothing yet.
func New(o Options) (*Follower, error) {
	f, err := newFilter(o.Flow.Groups, o.Flow.GroupsExclude)
	if err != nil {
		return nil, err
	}
	return &Follower{
		opts: o, filter: f, source: newSide(o.Source), target: newSide(o.Target),
		groups: map[string]*group{}, said: map[string]bool{}, log: notebook{keeper: o.Checkpoints},
	}, nil
}

// Report is the last round's; nil before the first ends. Safe for concurrent use.
func (f *Follower) Report() *Report { return f.last.Load() }

// Round reads where the groups are on the source and commits on the target what
// is missing there. A group that fails stops no other: its rows say why. The
// error is a cluster's that did not answer, or the checkpoints'; the report holds
// all the same.
func (f *Follower) Round(ctx context.Context) (*Report, error) {
	f.round.Lock()
	defer f.round.Unlock()
	begin := time.Now()
	ctx, cancel := context.WithTimeout(ctx, roundLimit)
	defer cancel()
	f.notices = nil
	err := f.find(ctx, begin)
	f.readSource(ctx)
	f.commit(ctx, begin)
	complete := err == nil
	if e := f.log.write(ctx, f.groups); e != nil {
		err = errors.Join(err, fmt.Errorf("checkpoints: %w", e))
	}
	r := f.report(begin)
	r.Complete = complete && r.Counts[Failed] == 0
	f.last.Store(r)
	return r, err
}

// find learns which groups there are on the source, and which of them are in use
// on the target.
func (f *Follower) find(ctx context.Context, now time.Time) error {
	var (
		wait                 sync.WaitGroup
		there, states        []kmsg.ListGroupsResponseGroup
		whole                bool
		sourceErr, targetErr error
	)
	wait.Go(func() { there, whole, sourceErr = f.source.list(ctx) })
	wait.Go(func() { states, _, targetErr = f.target.list(ctx) })
	wait.Wait()

	alive := map[string]bool{}
	for _, g := range there {
		if f.filter.match(g.Group) {
			alive[g.Group] = followed(g.ProtocolType, g.GroupType)
		}
	}
	for _, name := range f.filter.names {
		if _, ok := alive[name]; !ok {
			alive[name] = true // not listed: there is none, or we may not see it
		}
	}
	f.keep(alive, whole, now)
	f.mark(there, states)
	f.look(there, sourceErr)
	// A list that is denied takes nothing from a commit: the coordinator knows who is a member.
	return errors.Join(outage(f.opts.Source, sourceErr), outage(f.opts.Target, targetErr))
}

// look finds the patterns that stand for no group, as far as the source tells: to its
// list a right that is missing looks as if there were none. From a list that is not
// whole for another reason nothing follows; the next one tells.
func (f *Follower) look(there []kmsg.ListGroupsResponseGroup, err error) {
	alias := f.opts.Source.Alias()
	if outage(f.opts.Source, err) != nil {
		return
	}
	detail := fmt.Sprintf("grant Describe on these groups of cluster %q to our user, or take the pattern out of groups if there are none", alias)
	if err != nil {
		detail = fmt.Sprintf("cluster %q does not let our user list groups (%s): before Kafka 2.1 that takes Describe on the cluster, so grant it, or give the names of the groups "+
			"one by one in groups", alias, denial(err))
	}
	f.unseen = f.unseen[:0]
	for _, p := range f.filter.unmatched(there) {
		f.unseen = append(f.unseen, unseen{p, detail})
	}
	var names []string
	for _, u := range f.unseen {
		names = append(names, fmt.Sprintf("%q", u.pattern))
	}
	f.say("list", len(names) > 0, "the source shows no consumer groups that match %s, so none is followed; %s", strings.Join(names, ", "), detail)
}

// denial is the name of an error code, without the words of the client.
func denial(err error) string {
	if k := new(kerr.Error); errors.As(err, &k) {
		return k.Message
	}
	return err.Error()
}

func outage(cl *kafka.Cluster, err error) error {
	if err == nil || kafka.Denied(err) {
		return nil
	}
	return fmt.Errorf("groups: %w", kafka.Explain(cl.Alias(), err))
}

// keep has the groups that are alive, and those that were until goneFor is over.
// With a list that is not whole, a group that is missing may still be there.
func (f *Follower) keep(alive map[string]bool, whole bool, now time.Time) {
	for name, ok := range alive {
		switch g := f.groups[name]; {
		case ok && g == nil:
			f.groups[name] = &group{name: name, target: f.opts.Flow.TargetGroup(name)}
		case ok:
			g.gone = time.Time{}
		}
	}
	for name, g := range f.groups {
		switch {
		case alive[name] || !whole:
		case g.gone.IsZero():
			g.gone = now
			f.source.forget(name)
		case now.Sub(g.gone) > goneFor:
			f.target.forget(g.target)
			delete(f.groups, name)
		}
	}
}

// mark tells which groups the source lists, and which have members on the target.
// Those that the target does not list are tried: its coordinator refuses a commit
// for a group with members.
func (f *Follower) mark(there, states []kmsg.ListGroupsResponseGroup) {
	listed, active := map[string]bool{}, map[string]bool{}
	for _, g := range there {
		listed[g.Group] = true
	}
	for _, g := range states {
		switch g.GroupState {
		case "", "Empty", "Dead": // "" is of a broker before 2.6
		default:
			active[g.Group] = true
		}
	}
	for _, g := range f.groups {
		was := g.active
		g.listed, g.active = listed[g.name], active[g.target]
		if was != g.active {
			g.seen = time.Time{} // who left has committed, most likely
		}
	}
}

// living are the groups that the source has, by name. Of two with one name on the
// target none is followed, unless exactly one was given that name by group_names.
func (f *Follower) living() []*group {
	takers := map[string][]*group{}
	for _, g := range f.groups {
		if g.gone.IsZero() {
			takers[g.target] = append(takers[g.target], g)
		}
	}
	var out []*group
	for _, gs := range takers {
		if len(gs) > 1 {
			for _, g := range gs {
				if g.name != g.target {
					gs = []*group{g} // config allows one such pair
				}
			}
		}
		out = append(out, gs...)
	}
	slices.SortFunc(out, func(a, b *group) int { return cmp.Compare(a.name, b.name) })
	return out
}

// say notes a notice about subject if holds, unless it did so before.
func (f *Follower) say(subject string, holds bool, format string, args ...any) {
	if holds && !f.said[subject] {
		f.notices = append(f.notices, fmt.Sprintf(format, args...))
	}
	f.said[subject] = holds
}
