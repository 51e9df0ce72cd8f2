package groups

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/kferry/kferry/offsets"
)

// Report is one round. Nothing changes it after the round.
type Report struct {
	At       time.Time     // the round's beginning
	Took     time.Duration // and length
	Groups   int           // followed, gone ones not counted
	Rows     []Row         // by group, topic, partition
	Counts   [verdicts]int // of rows, by Verdict
	Commits  int           // partitions committed on the target in this round
	Notices  []string      // for the log; each is said once, and again only after it had ended
	Complete bool          // both clusters told all that was asked
}

// Row is one partition of one group. What holds for a whole group of which no
// partition is known has an empty Topic and Partition -1; of a pattern that no group
// matches, Group is the pattern.
type Row struct {
	Group, TargetGroup string
	Topic, TargetTopic string // TargetTopic is "" where this replica has no lane
	Partition          int32
	Source             offsets.Source // committed there; -1 = nothing is
	Target             offsets.Target // where a consumer would begin on the target now; -1 = by its auto.offset.reset
	Verdict            Verdict
	Again              int64  // records that the group has read and would read again on the target, at most; -1 = by its auto.offset.reset
	Lag                int64  // records that it would find on the target; -1 likewise
	Detail             string // of a refusal: the right that is missing, the broker's error
}

// Reason is a sentence for a person.
func (r Row) Reason() string {
	s := sentences[r.Verdict]
	if r.Verdict == Floor || r.Verdict == NotMirrored {
		s += fmt.Sprintf("; at most %d records are read again", max(r.Again, 0))
	}
	if r.Detail != "" {
		s += ": " + r.Detail
	}
	return s
}

// report makes the report of a round.
func (f *Follower) report(begin time.Time) *Report {
	r := &Report{At: begin}
	n := 0
	for _, g := range f.groups {
		n += max(len(g.parts), 1)
	}
	r.Rows = make([]Row, 0, n)
	for _, g := range f.groups {
		if g.gone.IsZero() {
			r.Groups++
		}
		r.Commits += g.commits
		r.Rows = g.rows(r.Rows)
	}
	for _, u := range f.unseen {
		r.Rows = append(r.Rows, Row{
			Group: u.pattern, TargetGroup: u.pattern, Partition: -1, Source: -1, Target: none, Verdict: NotListed, Again: -1, Lag: -1, Detail: u.detail,
		})
	}
	slices.SortFunc(r.Rows, func(a, b Row) int {
		return cmp.Or(cmp.Compare(a.Group, b.Group), cmp.Compare(a.Topic, b.Topic), cmp.Compare(a.Partition, b.Partition))
	})
	for i := range r.Rows {
		r.Counts[r.Rows[i].Verdict]++
	}
	f.rights(r.Rows)
	r.Notices, r.Took = f.notices, time.Since(begin)
	return r
}

// rows appends those of a group.
func (g *group) rows(to []Row) []Row {
	if len(g.parts) == 0 {
		r := Row{Group: g.name, TargetGroup: g.target, Partition: -1, Source: -1, Target: none, Verdict: NoOffset}
		if g.whole {
			r.Verdict, r.Detail = g.verdict, g.detail
		}
		return append(to, r)
	}
	for i := range g.parts {
		p := &g.parts[i]
		if v, _ := p.goal(); v == elsewhere {
			continue
		}
		r := Row{
			Group: g.name, TargetGroup: g.target, Topic: p.topic, TargetTopic: p.place.TargetTopic, Partition: p.partition,
			Source: p.at, Target: p.target, Verdict: p.verdict, Again: p.again(), Lag: p.lag(), Detail: p.detail,
		}
		if g.whole {
			r.Verdict, r.Detail = g.verdict, g.detail
		}
		to = append(to, r)
	}
	return to
}

// rights notes which rights are missing.
func (f *Follower) rights(rows []Row) {
	var missing []string
	for i := range rows {
		if r := &rows[i]; r.Verdict == Denied && !slices.Contains(missing[max(0, len(missing)-1):], r.Detail) {
			missing = append(missing, r.Detail)
		}
	}
	slices.Sort(missing)
	f.say(Denied.String(), len(missing) > 0, "groups are not followed for lack of rights: %s", few(slices.Compact(missing)))
}

// few lists some of many.
func few(all []string) string {
	const most = 5
	if len(all) <= most {
		return strings.Join(all, "; ")
	}
	return fmt.Sprintf("%s; and %d more", strings.Join(all[:most], "; "), len(all)-most)
}
