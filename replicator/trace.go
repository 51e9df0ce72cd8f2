package replicator

import (
	"fmt"
	"strings"
	"time"

	"github.com/kferry/kferry/offsets"
	"github.com/kferry/kferry/replicator/catalog"
	"github.com/kferry/kferry/replicator/lane"
)

// Places that a source offset can be at. Scripts read the names: they never
// change their meaning.
const (
	TraceCarried     = "carried"
	TraceInFlight    = "in_flight"
	TraceFetched     = "fetched"
	TraceNotFetched  = "not_fetched"
	TraceBeyondEnd   = "beyond_end"
	TraceBeforeStart = "before_start"
	TraceNotCarried  = "not_carried"
	TraceUnknown     = "unknown"
)

// Trace is where one record is.
type Trace struct {
	Flow, Topic, TargetTopic string // Flow "": no flow carries the topic
	Partition                int32
	Offset                   int64  // on the source
	Where                    string // one of the constants above
	TargetOffset             int64  // there it is, or not before it; -1: it is not on the target, or nobody knows
	Exact                    bool   // it is at TargetOffset
	State, Reason            string // of the lane; "" where there is none
	Text                     string // the answer in words
}

// Trace tells where the record at q's offset of a source partition is: one answer
// for each flow that carries the topic, as far as this replica knows. If none
// does, one answer says why. q.Reverse is not for it.
func (d *Daemon) Trace(q Lookup) []Trace {
	now := time.Now()
	var out []Trace
	var why []string
	for _, f := range d.flows {
		if q.Flow != "" && q.Flow != f.cfg.Name {
			continue
		}
		if reason := f.leavesOut(q.Topic); reason != "" {
			why = append(why, fmt.Sprintf("flow %q does not carry topic %q: %s", f.cfg.Name, q.Topic, reason))
			continue
		}
		out = append(out, f.trace(q, now))
	}
	if len(out) > 0 {
		return out
	}
	if len(why) == 0 {
		why = []string{fmt.Sprintf("there is no flow %q", q.Flow)}
	}
	return []Trace{{
		Flow: q.Flow, Topic: q.Topic, Partition: q.Partition, Offset: q.Offset, TargetOffset: -1, Where: TraceNotCarried, Text: strings.Join(why, "; "),
	}}
}

// leavesOut tells why the flow does not carry a topic; "" if it does.
func (f *flow) leavesOut(topic string) string {
	if f.Carries(topic) {
		return ""
	}
	if f.policy.Cycle(topic) {
		return "its name says that it has come from the target, so it would go round in circles"
	}
	return f.filter.Refusal(topic)
}

func (f *flow) trace(q Lookup, now time.Time) Trace {
	t := Trace{Flow: f.cfg.Name, Topic: q.Topic, TargetTopic: f.policy.Target(q.Topic), Partition: q.Partition, Offset: q.Offset, TargetOffset: -1}
	id := lane.ID{Topic: q.Topic, Partition: q.Partition}
	f.mu.Lock()
	m := f.lanes[id]
	f.mu.Unlock()
	if m == nil {
		var view catalog.View
		if v := f.view.Load(); v != nil {
			view = *v
		}
		t.Where, t.Text = missing(id, view, f.ready.Load())
		return t
	}
	s := m.lane.Find(offsets.Source(q.Offset))
	t.TargetTopic, t.State, t.Reason = m.lane.TargetTopic, shown(s.Snapshot).String(), s.Reason
	t.see(&s, now)
	if why := heldUp(id, &s.Snapshot, now); why != "" && s.Stage == lane.Ahead {
		t.Reason = why
		t.Text += "; " + why
	}
	if t.State != lane.Running.String() && t.Where != TraceCarried {
		t.Text += "; its lane is " + t.State
		if t.Reason != "" {
			t.Text += ": " + t.Reason
		}
	}
	return t
}

// missing says why a replica has no lane for a partition of a topic that the flow
// carries. view is nil until both clusters were read.
func missing(id lane.ID, view catalog.View, ready bool) (where, text string) {
	if _, ok := view[id]; ok {
		if !ready {
			return TraceUnknown, "the flow is still starting, or another replica has this partition"
		}
		return TraceUnknown, "this replica does not have the partition: ask the others"
	}
	if view == nil {
		return TraceUnknown, "the flow is still starting: it has not read its topics yet"
	}
	n := 0
	for other := range view {
		if other.Topic == id.Topic {
			n++
		}
	}
	if n > 0 {
		return TraceNotCarried, fmt.Sprintf("topic %q has %s on the source, and none with the number %d", id.Topic, partitions(n), id.Partition)
	}
	return TraceNotCarried, fmt.Sprintf("the source has no topic %q, or our user may not see it", id.Topic)
}

// see puts in words where a lane has the offset.
func (t *Trace) see(s *lane.Sight, now time.Time) {
	switch s.Stage {
	case lane.Unplaced:
		t.Where, t.Text = TraceUnknown, "the lane has not started yet, and nothing is stored of it"
		if s.State == lane.Stopped {
			t.Text = "what is stored of the lane may be about another topic of that name"
		}
	case lane.Before:
		t.Where = TraceBeforeStart
		t.Text = fmt.Sprintf("it is before the first record of the lane, which began at source offset %d: it is not carried", s.Began)
	case lane.Removed:
		t.Where = TraceBeforeStart
		t.Text = fmt.Sprintf("the source's log begins at offset %d now: it is gone there, and was not carried before", s.LogStart)
	case lane.Carried:
		t.Where = TraceCarried
		t.place(s)
	case lane.InFlight:
		t.Where, t.Text = TraceInFlight, "it was sent to the target, which has not confirmed it yet"
	case lane.Held:
		t.Where, t.Text = TraceFetched, "it was fetched, and waits to be sent to the target"
	case lane.Beyond:
		t.Where = TraceBeyondEnd
		t.Text = fmt.Sprintf("the source has no such offset: its log ends at %d", s.End)
		if ago := now.Sub(time.UnixMilli(s.Confirmed)); ago >= noneFor {
			t.Text += fmt.Sprintf(", as it said %s ago; it may have more by now", ago.Round(time.Second))
		}
	default:
		t.Where = TraceNotFetched
		t.Text = fmt.Sprintf("it was not fetched yet: the target has all below source offset %d, which is %s before it", s.Source, many(t.Offset-int64(s.Source), "offset", "offsets"))
	}
}

// place puts in words where a carried offset is on the target.
func (t *Trace) place(s *lane.Sight) {
	switch {
	case !s.Mapped:
		t.Text = "the lane is past it; where it is on the target is known once the lane has started"
		if s.State == lane.Stopped {
			t.Text = "the lane is past it; where it is on the target is not told while the lane is stopped: " + s.Reason
		}
	case s.Found == offsets.Exact:
		t.TargetOffset, t.Exact = int64(s.First), true
		t.Text = fmt.Sprintf("the target has it, at offset %d", s.First)
	case s.Found == offsets.Gap:
		t.Text = "the lane is past it, and the target has no record of it: it is a marker or an aborted record of a transaction, or one that compaction or retention " +
			"removed before it was read, or that was set aside"
	case s.Last == offsets.UnknownTarget:
		t.TargetOffset = int64(s.First)
		t.Text = fmt.Sprintf("the lane is past it: if there is a record, the target has it at offset %d or behind; the exact place is not known yet", s.First)
	default:
		t.TargetOffset = int64(s.First)
		t.Text = fmt.Sprintf("the lane is past it: if there is a record, the target has it between offsets %d and %d; the exact place was not learned", s.First, s.Last)
	}
}
