package main

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/kferry/kferry/internal/faults"
)

// workload is data on the source, made anew for each bench.
type workload struct {
	name, codec string
	count       int64
	partitions  int
	size        int  // bytes of a value
	batch       int  // most records in a batch; 0: as many as a producer puts into 1 MB
	hot         bool // nine records of ten go to the first twentieth of the partitions
	// In transactions of a hundred records or so, all committed: MirrorMaker 2 and the loop would carry aborted ones too.
	transactional bool
	compacted     bool          // keys come ten times, and the topic is compacted before the first run
	feed          int           // records a second that are written to the source until a run has caught up
	age           time.Duration // of the records
	fresh         *workload     // nil, or the same with records of now
	links         []link        // nil: the contestants are beside the brokers
}

// link is what is between the contestants and one of the clusters; the zero link is nothing.
type link struct {
	source         bool          // it is on the source's side, else on the target's
	trip           time.Duration // there and back
	bytesPerSecond int64         // each way
	loss           float64       // percent of the packets that come late
}

func (l link) suffix() string {
	if l == (link{}) {
		return ""
	}
	s := fmt.Sprintf("-%dms-%dmbit", l.trip.Milliseconds(), l.bytesPerSecond*8/1e6)
	if l.source {
		s += "-source"
	}
	if l.loss > 0 {
		s += "-loss"
	}
	return s
}

func (l link) String() string {
	side := "target"
	if l.source {
		side = "source"
	}
	s := fmt.Sprintf("%s at %v there and back, %d Mbit/s", side, l.trip, l.bytesPerSecond*8/1e6)
	if l.loss > 0 {
		s += fmt.Sprintf(", %g %% of the packets late", l.loss)
	}
	return s
}

func (l link) faults() []faults.Fault {
	out := []faults.Fault{faults.Link(l.bytesPerSecond), faults.Latency(l.trip / 2)}
	if l.loss > 0 {
		out = append(out, faults.Loss(1, l.loss, l.trip)) // a packet that is lost is noticed and sent again a round trip later
	}
	return out
}

const gigabit = 1e9 / 8

var (
	ms50   = link{trip: 50 * time.Millisecond, bytesPerSecond: gigabit}
	ms100  = link{trip: 100 * time.Millisecond, bytesPerSecond: gigabit}
	ms150  = link{trip: 150 * time.Millisecond, bytesPerSecond: gigabit}
	narrow = link{trip: 100 * time.Millisecond, bytesPerSecond: gigabit / 10}
	lossy  = link{trip: 100 * time.Millisecond, bytesPerSecond: gigabit, loss: 0.01}
	away   = link{trip: 100 * time.Millisecond, bytesPerSecond: gigabit, source: true}
)

// plain are the workloads without a link, by name: what they are, and how many records of -records.
func plain(o options) []*workload {
	n := func(share float64) int64 { return max(int64(float64(o.records)*share), 100) }
	some := func(name, codec string, share float64, change func(*workload)) *workload {
		w := &workload{name: name, codec: codec, count: n(share), partitions: o.partitions, size: o.size}
		if change != nil {
			change(w)
		}
		return w
	}
	of := func(parts int) func(*workload) { return func(w *workload) { w.partitions = parts } }
	return []*workload{
		some("zstd", "zstd", 1, nil),
		some("lz4", "lz4", 1, nil),
		some("snappy", "snappy", 1, nil),
		some("gzip", "gzip", 1, nil),
		some("none", "none", 1, nil),
		some("small", "lz4", 3, func(w *workload) { w.size = 100 }),
		some("batch16", "none", 0.5, func(w *workload) { w.batch = 16 }),
		some("batch16-zstd", "zstd", 0.5, func(w *workload) { w.batch = 16 }),
		some("one", "none", 0.3, func(w *workload) { w.batch = 1 }),
		some("64kb", "lz4", 1./64, func(w *workload) { w.size = 64 << 10 }),
		some("1mb", "none", 1./1000, func(w *workload) { w.size = 1e6 }),
		some("p1", "zstd", 1, of(1)),
		some("p100", "zstd", 1, of(100)),
		some("p1000", "zstd", 1, of(1000)),
		some("p10000", "zstd", 0.4, of(10_000)),
		some("thin", "zstd", 2, func(w *workload) { w.partitions, w.feed = 10_000, o.thin }),
		some("hot", "zstd", 1, func(w *workload) { w.partitions, w.hot = 100, true }),
		some("transactional", "zstd", 0.5, func(w *workload) { w.transactional = true }),
		some("compacted", "zstd", 1, func(w *workload) { w.compacted = true }),
		some("catchup", "zstd", 1, func(w *workload) { w.feed = o.feed }),
	}
}

// wide are the workloads of part wan: batches large and small, partitions one and many, each over several links.
func wide(o options) []*workload {
	links := []link{ms50, ms100, ms150, narrow, lossy, away}
	few := []link{ms100}
	if o.quick {
		links = few
	}
	w := func(name string, batch, parts int, links []link) *workload {
		return &workload{name: name, codec: "none", count: o.records, partitions: parts, size: o.size, batch: batch, links: links}
	}
	out := []*workload{w("wan-large", 0, o.partitions, links), w("wan-small", 16, o.partitions, links)}
	if o.quick {
		return out[1:]
	}
	return append(out, w("wan-large-p1", 0, 1, few), w("wan-small-p1", 16, 1, few), w("wan-large-p100", 0, 100, few), w("wan-small-p100", 16, 100, few))
}

// old is the same with records that are older than a broker remembers who wrote them.
func (w *workload) old() *workload {
	o := *w
	o.name, o.age, o.fresh = w.name+"-old", 3*24*time.Hour, w
	return &o
}

func (w *workload) topic() string { return "orders-" + w.name }

// String says what it is in one line.
func (w *workload) String() string {
	var s []string
	switch w.batch {
	case 0:
		s = append(s, "big batches")
	case 1:
		s = append(s, "batches of one record")
	default:
		s = append(s, fmt.Sprintf("batches of %d records", w.batch))
	}
	for _, x := range []struct {
		on   bool
		text string
	}{
		{w.hot, "nine of ten in a twentieth of the partitions"}, {w.transactional, "in transactions"}, {w.compacted, "compacted"},
		{w.feed > 0, fmt.Sprintf("%d a second more meanwhile", w.feed)},
		{w.age > 0, fmt.Sprintf("%.0f days old", w.age.Hours()/24)},
	} {
		if x.on {
			s = append(s, x.text)
		}
	}
	return fmt.Sprintf("values of %d bytes, %d partitions, codec %s, %s", w.size, w.partitions, w.codec, strings.Join(s, ", "))
}

// pick returns those that list names, in the order of list.
func pick(all []*workload, list string) ([]*workload, error) {
	var out []*workload
	for name := range strings.SplitSeq(list, ",") {
		i := slices.IndexFunc(all, func(w *workload) bool { return w.name == name })
		if i < 0 {
			return nil, fmt.Errorf("no workload %q: want some of %s", name, workloadNames(all))
		}
		out = append(out, all[i])
	}
	return out, nil
}

func workloadNames(all []*workload) string {
	var out []string
	for _, w := range all {
		out = append(out, w.name)
	}
	return strings.Join(out, ",")
}
