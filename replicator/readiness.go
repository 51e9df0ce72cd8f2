package replicator

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/kferry/kferry/offsets/groups"
	"github.com/kferry/kferry/replicator/catalog"
	"github.com/kferry/kferry/replicator/lane"
)

// Severity is how bad a problem is.
type Severity int8

// The severities. With an error something is not carried, and with a warning
// somebody should know.
const (
	Warning Severity = iota
	Failing
)

func (s Severity) String() string { return [...]string{"warning", "error"}[s] }

// Problem is something that is not as it should be.
type Problem struct {
	Severity    Severity
	Flow, Topic string // "": of none, or of several
	Partition   int32  // -1: of none, or of several
	Text        string
}

const (
	// What lasts longer than this does not seem to mend itself.
	troubleLasts = time.Minute
	// Of problems of one kind in a flow so many are told one by one.
	problemsTold = 20
	// Groups that were not followed for so many of their intervals are old news.
	groupsOld = 3
	leastOld  = 30 * time.Second
)

func clusterProblems(cs []ClusterStatus) (out []Problem) {
	for _, c := range cs {
		if c.Up || c.Since.IsZero() {
			continue // it answers, or was not asked yet
		}
		text := fmt.Sprintf("cluster %q does not answer", c.Alias)
		if c.Err != nil {
			text += ": " + strings.TrimPrefix(c.Err.Error(), fmt.Sprintf("cluster %q: ", c.Alias))
		}
		out = append(out, Problem{Failing, "", "", -1, text})
	}
	return out
}

// reasons are why consumers and producers of the flow cannot switch to the target
// now. It says nothing of what was lost for good: waiting would not bring it back.
func (f *flow) reasons(fs *FlowStatus, clusters []ClusterStatus, now time.Time) (out []string) {
	add := func(format string, args ...any) { out = append(out, fmt.Sprintf(format, args...)) }
	for _, c := range clusters {
		if !c.Up && !c.Since.IsZero() && (c.Alias == fs.Source || c.Alias == fs.Target) {
			add("cluster %q does not answer", c.Alias)
		}
	}
	switch {
	case fs.Partitions < 0 || !fs.Ready:
		add("the flow is still starting")
	case fs.Partitions == 0:
		add("the flow carries nothing yet: no topic of the source matches its filter")
	}
	for _, s := range []lane.State{lane.Stopped, lane.Waiting, lane.Paused, lane.Starting} {
		if n := fs.States[s]; n > 0 {
			add("%s %s: %s", lanesAre(n), s, namesOf(fs.Lanes, func(l *LaneStatus) bool { return l.State == s.String() }))
		}
	}
	out = append(out, lagReasons(fs)...)
	out = append(out, f.unequal()...)
	out = append(out, f.groupReasons(fs, now)...)
	switch {
	case fs.Watched && !fs.Leads:
		out = []string{"another replica watches this flow, or will soon: ask that one"}
	case fs.Others > 0:
		add("%d of the flow's %s are not with this replica: ask the replicas that have them", fs.Others, partitions(fs.Partitions))
	}
	return out
}

// unequal tells of target topics that do not keep what the source keeps, if there are any.
func (f *flow) unequal() []string {
	view := f.view.Load()
	if view == nil {
		return nil
	}
	odd := map[string]string{}
	for _, p := range *view {
		if p.Unequal != "" {
			odd[p.TargetTopic] = p.Unequal
		}
	}
	if len(odd) == 0 {
		return nil
	}
	var names []string
	for _, topic := range slices.Sorted(maps.Keys(odd)) {
		names = append(names, fmt.Sprintf("%q (%s)", topic, odd[topic]))
	}
	return []string{fmt.Sprintf("%s not stay an equal copy of the source's: %s: %s",
		many(len(odd), "target topic will", "target topics will"), some(names), catalog.EqualRemedy)}
}

// lagReasons are what the target lacks, and what is not known of it.
func lagReasons(fs *FlowStatus) (out []string) {
	add := func(format string, args ...any) { out = append(out, fmt.Sprintf(format, args...)) }
	if fs.Lag > 0 {
		add("%s on the target yet%s", many(fs.Lag, "record is not", "records are not"), oldest(fs.LagSeconds))
	}
	if fs.Undecided > 0 {
		add("%s held up by open transactions on the source: %s", lanesAre(fs.Undecided), namesOf(fs.Lanes, func(l *LaneStatus) bool { return l.Undecided }))
	}
	if fs.Unknown > 0 {
		add("of %s it is not known what the target lacks: %s", lanes(fs.Unknown), namesOf(fs.Lanes, func(l *LaneStatus) bool { return l.Lag < 0 }))
	}
	if fs.Stale > 0 {
		add("of %s the source has not told lately where it ends: %s", lanes(fs.Stale), namesOf(fs.Lanes, func(l *LaneStatus) bool { return l.LagStale }))
	}
	return out
}

// groupReasons are why the flow's groups would not go on in the right place.
func (f *flow) groupReasons(fs *FlowStatus, now time.Time) (out []string) {
	if f.watched != nil && f.watched.groups {
		return []string{"Aiven's MirrorMaker 2 follows the consumer groups, and where they would go on is not watched"}
	}
	if len(f.cfg.Groups) == 0 {
		return nil
	}
	at := time.UnixMilli(f.signs.groups.Load())
	switch old := max(groupsOld*f.cfg.GroupsInterval, leastOld); {
	case f.signs.groups.Load() == 0:
		out = append(out, "consumer groups were not compared yet")
	case now.Sub(at) > old:
		out = append(out, fmt.Sprintf("consumer groups were last compared %s ago", now.Sub(at).Round(time.Second)))
	}
	if f.outages.has(groupsOutage) {
		out = append(out, "not all consumer groups can be followed at the moment")
	}
	return append(out, wrongGroups(fs)...)
}

// wrongGroups are those that would not go on in the right place.
func wrongGroups(fs *FlowStatus) (out []string) {
	var names, unseen []string
	wrong := 0
	for i := range fs.Groups {
		switch g := &fs.Groups[i]; {
		case g.Verdicts[notListed] > 0:
			unseen = append(unseen, fmt.Sprintf("%q", g.Group))
		case g.Unsynced > 0:
			names = append(names, fmt.Sprintf("%q", g.Group))
			wrong += g.Unsynced
		}
	}
	if len(unseen) > 0 {
		out = append(out, fmt.Sprintf("the source shows no consumer group that matches %s: there is none, or our user may not see it", some(unseen)))
	}
	if wrong > 0 {
		out = append(out, fmt.Sprintf("%s would not go on in the right place, in %s: %s", many(len(names), "consumer group", "consumer groups"), partitions(wrong), some(names)))
	}
	return out
}

// discord is what is wrong between this process, its progress topic and others that carried or carry.
func (f *flow) discord() (out []Problem) {
	add := func(s Severity, text string) { out = append(out, Problem{s, f.cfg.Name, "", -1, text}) }
	for _, text := range []*string{f.strange.Load(), f.unlike.Load()} {
		if text != nil {
			add(Failing, *text)
		}
	}
	if f.gone.Load() {
		add(Failing, errProgressGone.Error())
	}
	if n := f.before.Load(); n > 0 {
		add(Warning, fmt.Sprintf("the target already had records of %s when this flow began: if kferry or something else carried them before, they are there twice", partitions(int(n))))
	}
	return out
}

// problems are what is wrong with the flow.
func (f *flow) problems(fs *FlowStatus, now time.Time) (out []Problem) {
	add := func(s Severity, text string) { out = append(out, Problem{s, f.cfg.Name, "", -1, text}) }
	if !fs.Ready {
		add(Warning, "the flow is still starting")
	}
	out = append(out, f.discord()...)
	for _, o := range f.outages.lasting(now) {
		severity := Warning
		if now.Sub(o.began) > troubleLasts {
			severity = Failing
		}
		add(severity, fmt.Sprintf("%s (%s, since %s): %v", o.msg, o.key, o.began.UTC().Format(time.RFC3339), o.last))
	}
	if fs.Carried != nil && !fs.Carried.Enabled {
		add(Warning, "the flow is disabled at Aiven: nobody carries it")
	}
	out = append(out, stoppedLanes(fs)...)
	if n := fs.States[lane.Waiting]; n > 0 {
		i := slices.IndexFunc(fs.Lanes, func(l LaneStatus) bool { return l.State == lane.Waiting.String() })
		add(Warning, fmt.Sprintf("%s waiting: %s", lanesAre(n), fs.Lanes[i].Reason))
	}
	if fs.Undecided > 0 {
		i := slices.IndexFunc(fs.Lanes, func(l LaneStatus) bool { return l.Undecided })
		l := &fs.Lanes[i]
		out = append(out, Problem{Warning, fs.Name, l.Topic, l.Partition, fmt.Sprintf("%s held up by open transactions: %s", lanesAre(fs.Undecided), l.Reason)})
	}
	if fs.Stale > 0 {
		add(Warning, fmt.Sprintf("of %s the source has not told lately where it ends: what is said of their lag is old", lanes(fs.Stale)))
	}
	pauses := f.pausesNow()
	for _, topic := range slices.Sorted(maps.Keys(pauses)) {
		out = append(out, Problem{Warning, f.cfg.Name, topic, -1, pauses[topic].String()})
	}
	out = append(out, warnings(fs.Name, f.unequal())...)
	if fs.Ready && fs.Partitions == 0 {
		add(Warning, "no topic of the source matches the flow's filter, or our user may not see any")
	}
	if fs.Lost > 0 {
		add(Warning, fmt.Sprintf("%s removed by the source before they could be carried", many(fs.Lost, "offset was", "offsets were")))
	}
	if fs.Twice > 0 {
		add(Warning, fmt.Sprintf("at most %s may be on the target twice", many(fs.Twice, "record", "records")))
	}
	if fs.Aside > 0 {
		add(Warning, fmt.Sprintf("%s set aside in the dead letter topic", many(fs.Aside, "record was", "records were")))
	}
	return append(out, groupProblems(fs)...)
}

// groupProblems are what is wrong with consumer groups and does not mend itself.
func groupProblems(fs *FlowStatus) (out []Problem) {
	add := func(text string) { out = append(out, Problem{Warning, fs.Name, "", -1, text}) }
	if n := verdictsOf(fs.Verdicts, needsSomebody); n > 0 {
		add("consumer groups: " + needed(fs.Verdicts))
	}
	for i := range fs.Groups {
		if g := &fs.Groups[i]; g.Verdicts[notListed] > 0 {
			add(fmt.Sprintf("consumer groups %q: %s", g.Group, g.Reason))
		}
	}
	return out
}

// notListed is the verdict on a pattern that no group of the source matches.
var notListed = groups.NotListed.String()

// warnings are texts about a flow as problems.
func warnings(flow string, texts []string) (out []Problem) {
	for _, text := range texts {
		out = append(out, Problem{Warning, flow, "", -1, text})
	}
	return out
}

// needsSomebody are verdicts that waiting does not change.
var needsSomebody = []string{"not_authorised", "target_refuses", "ahead_on_target", "removed_on_target"}

func verdictsOf(verdicts map[string]int, of []string) (n int) {
	for _, v := range of {
		n += verdicts[v]
	}
	return n
}

func needed(verdicts map[string]int) string {
	var parts []string
	for _, v := range needsSomebody {
		if n := verdicts[v]; n > 0 {
			parts = append(parts, fmt.Sprintf("%s in %s", v, partitions(n)))
		}
	}
	return strings.Join(parts, ", ")
}

// stoppedLanes tells of those, of several in a topic with one reason once.
func stoppedLanes(fs *FlowStatus) (out []Problem) {
	type cause struct{ topic, reason string }
	at := map[cause]int{} // in out
	more := 0
	for i := range fs.Lanes {
		l := &fs.Lanes[i]
		if l.State != lane.Stopped.String() {
			continue
		}
		c := cause{l.Topic, l.Reason}
		switch n, ok := at[c]; {
		case ok:
			out[n].Partition = -1
		case len(out) == problemsTold:
			more++
		default:
			at[c] = len(out)
			out = append(out, Problem{Failing, fs.Name, l.Topic, l.Partition, "stopped: " + l.Reason})
		}
	}
	if more > 0 {
		out = append(out, Problem{Failing, fs.Name, "", -1, fmt.Sprintf("%s stopped, too", lanesAre(more))})
	}
	return out
}

// namesOf names the first lanes that are meant, and counts the others.
func namesOf(lanes []LaneStatus, meant func(*LaneStatus) bool) string {
	var names []string
	for i := range lanes {
		if l := &lanes[i]; meant(l) {
			names = append(names, fmt.Sprintf("%q partition %d", l.Topic, l.Partition))
		}
	}
	return some(names)
}

// some lists the first names, and counts the others.
func some(names []string) string {
	const told = 3
	if len(names) <= told {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(names[:told], ", "), len(names)-told)
}

// many is a number, 0 or more, with the word or words that go with it.
func many[N int | int64](n N, one, more string) string {
	if n == 1 {
		return "1 " + one
	}
	digits := strconv.FormatInt(int64(n), 10) // 1234567 is written 1,234,567
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return digits + " " + more
}

func lanes(n int) string      { return many(n, "lane", "lanes") }
func lanesAre(n int) string   { return many(n, "lane is", "lanes are") }
func partitions(n int) string { return many(n, "partition", "partitions") }

func oldest(seconds float64) string {
	if seconds < 0 {
		return ""
	}
	return fmt.Sprintf("; the oldest is %s old", (time.Duration(seconds * float64(time.Second))).Round(time.Second))
}
