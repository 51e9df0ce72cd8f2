package check

import (
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"
)

// Kind is a way in which a target differs.
type Kind int

// The kinds of difference.
const (
	Lost       Kind = iota // a source record that the target does not have
	Twice                  // a target record too many, of one that was copied
	OutOfOrder             // a record that would have to move to restore the source's order
	Damaged                // a pair whose key, value, headers, timestamp, timestamp type or codec differ
	Extra                  // a target record that no source record is like
	Moved                  // a record that belongs to another partition; counted where it was found
)

func (k Kind) String() string {
	return [...]string{"lost", "twice", "out of order", "damaged", "extra", "wrong partition"}[k]
}

// Difference is an example of a kind.
type Difference struct {
	Kind           Kind
	Source, Target int64 // offsets; -1 where there is no such record
	What           string
}

func (d Difference) String() string {
	return fmt.Sprintf("%v: source offset %s, target offset %s: %s", d.Kind, offset(d.Source), offset(d.Target), d.What)
}

func offset(o int64) string {
	if o < 0 {
		return "-"
	}
	return fmt.Sprint(o)
}

// Partition holds the counts of one partition, in records.
type Partition struct {
	Partition                                      int32
	Source, Target                                 int64 // data records read; Target is without foreign ones
	Foreign                                        int64
	Aside                                          int64 // source records that must not be on the target; not in Source
	Lost, Twice, OutOfOrder, Damaged, Extra, Moved int64
	First                                          []Difference // the first of each kind
}

// count is where the records of a kind are counted.
func (p *Partition) count(k Kind) *int64 {
	return [...]*int64{&p.Lost, &p.Twice, &p.OutOfOrder, &p.Damaged, &p.Extra, &p.Moved}[k]
}

// note counts one record and keeps the first of its kind.
func (p *Partition) note(k Kind, source, target int64, what string) {
	n := p.count(k)
	if *n++; !slices.ContainsFunc(p.First, func(d Difference) bool { return d.Kind == k }) {
		p.First = append(p.First, Difference{k, source, target, what})
	}
}

// settled drops the examples of kinds of which none is left.
func (p *Partition) settled() Partition {
	p.First = slices.DeleteFunc(p.First, func(d Difference) bool { return *p.count(d.Kind) == 0 })
	return *p
}

// Differences is the number of records that are not as they should be.
func (p *Partition) Differences() int64 {
	return p.Lost + p.Twice + p.OutOfOrder + p.Damaged + p.Extra + p.Moved
}

// Report is the outcome of a comparison, by partition in ascending order.
type Report struct {
	Topic, TargetTopic string
	Partitions         []Partition
}

// Total sums the partitions up; its Partition is -1 and First is empty.
func (r Report) Total() Partition {
	t := Partition{Partition: -1}
	for i := range r.Partitions {
		p := &r.Partitions[i]
		t.Source, t.Target, t.Foreign, t.Aside = t.Source+p.Source, t.Target+p.Target, t.Foreign+p.Foreign, t.Aside+p.Aside
		for k := Lost; k <= Moved; k++ {
			*t.count(k) += *p.count(k)
		}
	}
	return t
}

// OK reports whether the target holds every record once, in order and unchanged.
func (r Report) OK() bool {
	t := r.Total()
	return t.Differences() == 0
}

// Err is nil for an OK report, else it holds the whole table.
func (r Report) Err() error {
	if r.OK() {
		return nil
	}
	return fmt.Errorf("check: the target differs\n%s", r)
}

// String is a table with one line for each partition, a sum, and the first differences.
func (r Report) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s -> %s\n", r.Topic, r.TargetTopic)
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "partition\tsource\ttarget\tforeign\taside\tlost\ttwice\tout of order\tdamaged\textra\twrong partition\t")
	row := func(name string, p Partition) {
		fmt.Fprintf(w, "%s\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t\n",
			name, p.Source, p.Target, p.Foreign, p.Aside, p.Lost, p.Twice, p.OutOfOrder, p.Damaged, p.Extra, p.Moved)
	}
	for _, p := range r.Partitions {
		row(fmt.Sprint(p.Partition), p)
	}
	row("all", r.Total())
	w.Flush() //nolint:errcheck // a strings.Builder never fails
	for _, p := range r.Partitions {
		for _, d := range p.First {
			fmt.Fprintf(&b, "partition %d: first %v\n", p.Partition, d)
		}
	}
	return b.String()
}
