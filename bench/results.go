package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// Results are what is written as JSON.
type Results struct {
	Started   time.Time      `json:"started"`
	CPUs      int            `json:"cpus"`
	Machine   string         `json:"machine"`
	Data      string         `json:"data"` // where the brokers' data is
	Go        string         `json:"go"`
	Kafka     string         `json:"kafka"`    // of brokers and MirrorMaker 2
	Revision  string         `json:"revision"` // of kferry
	Workloads []WorkloadInfo `json:"workloads"`
	Runs      []Run          `json:"runs"` // in the order they were made
	Latencies []Latency      `json:"latencies,omitempty"`
	Idle      []Idle         `json:"idle,omitempty"`
	Answers   []Answers      `json:"answers,omitempty"`
	Profiles  []Profile      `json:"profiles,omitempty"`
	Failures  []string       `json:"failures,omitempty"`
}

// WorkloadInfo describes a workload, over one link.
type WorkloadInfo struct {
	Name           string   `json:"name"`
	Contestants    []string `json:"contestants"`
	What           string   `json:"what"`
	Records        int64    `json:"records"`
	Bytes          int64    `json:"bytes"`   // of keys and values
	Batches        int64    `json:"batches"` // on the source
	StoredBytes    int64    `json:"stored_bytes"`
	BytesPerSecond int64    `json:"link_bytes_per_second"` // of the link between; 0: there is none
	Fresh          string   `json:"fresh,omitempty"`       // the workload that differs by the age of its records alone
}

func (w WorkloadInfo) String() string {
	return fmt.Sprintf("%s: %d records in %d batches, %s, %.0f MB stored", w.Name, w.Records, w.Batches, w.What, float64(w.StoredBytes)/1e6)
}

// Run is what was measured in one run. CPU and memory are the contestant's alone; brokers stand apart.
type Run struct {
	Workload      string  `json:"workload"`
	Contestant    string  `json:"contestant"`
	Number        int     `json:"number"` // from 1; below are those that warm the brokers up
	Records       int64   `json:"records"`
	Bytes         int64   `json:"bytes"`         // of keys and values
	Batches       int64   `json:"batches"`       // on the target
	StoredBytes   int64   `json:"stored_bytes"`  // on the target
	Cut           bool    `json:"cut"`           // its time was over before all records were there
	Seconds       float64 `json:"seconds"`       // from the start of the process to all records on the target
	FirstSeconds  float64 `json:"first_seconds"` // from the start of the process to the first record
	SteadyRate    float64 `json:"steady_rate"`   // records a second from the first record to the last
	SecondRate    float64 `json:"second_rate"`   // of the second half alone
	StopSeconds   float64 `json:"stop_seconds"`  // from SIGTERM to the end of the process
	Unclaimed     bool    `json:"unclaimed"`     // CPU and memory are left out: it is no program for use
	UserSeconds   float64 `json:"user_seconds"`
	SystemSeconds float64 `json:"system_seconds"`
	WorkCPU       float64 `json:"work_cpu_seconds"` // of both, what came after the first record was there
	PeakBytes     int64   `json:"peak_bytes"`       // resident
	SourceCPU     float64 `json:"source_broker_cpu_seconds"`
	TargetCPU     float64 `json:"target_broker_cpu_seconds"`
	OtherCPU      float64 `json:"other_cpu_seconds"`   // of everything else on the machine; much of it spoils the run
	Skew          float64 `json:"skew"`                // halfway: what was left of the partition with most over what was left of the middle one; 0: nothing
	FeedRate      float64 `json:"feed_rate,omitempty"` // records a second that were written to the source meanwhile
	profiles      []Profile
}

func (r Run) cpu() float64        { return r.UserSeconds + r.SystemSeconds }
func (r Run) megabytes() float64  { return r.SteadyRate * float64(r.Bytes) / float64(r.Records) / 1e6 }
func (r Run) perGB() float64      { return r.WorkCPU / float64(r.Bytes) * 1e9 }
func (r Run) perMillion() float64 { return r.WorkCPU / float64(r.Records) * 1e6 }
func (r Run) brokers() float64    { return (r.SourceCPU + r.TargetCPU) / float64(r.Bytes) * 1e9 }

func (r Run) String() string {
	cut := ""
	if r.Cut {
		cut = ", cut off"
	}
	if r.FeedRate > 0 {
		cut += fmt.Sprintf(", while %.0f a second more came; skew %.1f", r.FeedRate, r.Skew)
	}
	return fmt.Sprintf("%s %s run %d: %.2f s (first record after %.2f s, then %.0f a second%s), CPU %.2f s, peak %.0f MB, brokers' CPU %.1f + %.1f s, others' %.1f s, stopped in %.2f s",
		r.Workload, r.Contestant, r.Number, r.Seconds, r.FirstSeconds, r.SteadyRate, cut, r.cpu(), float64(r.PeakBytes)/1e6, r.SourceCPU, r.TargetCPU, r.OtherCPU, r.StopSeconds)
}

// metric is a column of a table.
type metric struct {
	name, format string
	of           func(Run) float64
	own          bool // it is of the contestant's process, and not shown where that is unclaimed
}

var metrics = []metric{
	{"records/s", "%.0f", func(r Run) float64 { return r.SteadyRate }, false},
	{"MB/s", "%.1f", Run.megabytes, false},
	{"first record s", "%.2f", func(r Run) float64 { return r.FirstSeconds }, true},
	{"total s", "%.2f", func(r Run) float64 { return r.Seconds }, false},
	{"CPU s/GB", "%.2f", Run.perGB, true},
	{"CPU s/M records", "%.2f", Run.perMillion, true},
	{"CPU s with start", "%.2f", Run.cpu, true},
	{"peak MB", "%.0f", func(r Run) float64 { return float64(r.PeakBytes) / 1e6 }, true},
	{"target MB", "%.0f", func(r Run) float64 { return float64(r.StoredBytes) / 1e6 }, false},
	{"brokers' CPU s/GB", "%.2f", Run.brokers, false},
	{"others' CPU s", "%.1f", func(r Run) float64 { return r.OtherCPU }, false},
	{"skew", "%.1f", func(r Run) float64 { return r.Skew }, false},
	{"second half records/s", "%.0f", func(r Run) float64 { return r.SecondRate }, false},
}

// ratios are what is compared pair by pair.
var ratios = []metric{metrics[0], metrics[2], metrics[4], metrics[6], metrics[7], metrics[12]}

// spread is the least, the middle and the greatest of some values.
type spread [3]float64

func spreadOf(v []float64) spread {
	if len(v) == 0 {
		return spread{}
	}
	v = slices.Sorted(slices.Values(v))
	mid := (v[(len(v)-1)/2] + v[len(v)/2]) / 2
	return spread{v[0], mid, v[len(v)-1]}
}

func (s spread) cell(format string) string {
	return fmt.Sprintf(format+" / "+format+" / "+format, s[0], s[1], s[2])
}

// table is a header and rows, for both forms of the report.
type table struct {
	title string
	rows  [][]string
}

// tables has two for each workload: the contestants, and the ratios of the first contestant to each other one.
func (r Results) tables() []table {
	var out []table
	for _, w := range r.Workloads {
		t := table{title: w.String() + "; min / median / max of the runs", rows: [][]string{{"contestant", "runs"}}}
		q := table{title: w.Name + ": ratios, run by run", rows: [][]string{{"ratio"}}}
		for _, m := range metrics {
			t.rows[0] = append(t.rows[0], m.name)
		}
		if w.BytesPerSecond > 0 {
			t.rows[0] = append(t.rows[0], "share of the link")
		}
		for _, m := range ratios {
			q.rows[0] = append(q.rows[0], m.name)
		}
		first := r.runs(w.Name, w.Contestants[0])
		for i, name := range w.Contestants {
			runs := r.runs(w.Name, name)
			if len(runs) == 0 {
				continue
			}
			t.rows = append(t.rows, w.row(name, runs))
			if i > 0 && len(first) > 0 {
				q.rows = append(q.rows, ratioRow(w.Contestants[0]+"/"+name, first, runs))
			}
		}
		out = append(out, t)
		if len(q.rows) > 1 {
			out = append(out, q)
		}
		if t := r.ageTable(w); len(t.rows) > 1 {
			out = append(out, t)
		}
	}
	for _, t := range []table{r.latencyTable(), r.idleTable(), r.answersTable(), r.profileTable()} {
		if len(t.rows) > 1 {
			out = append(out, t)
		}
	}
	return out
}

// ageTable has the ratios of a workload to the same with fresh records.
func (r Results) ageTable(w WorkloadInfo) table {
	t := table{title: w.Name + " to " + w.Fresh + ": ratios of old records to fresh ones, run by run", rows: [][]string{{"ratio"}}}
	for _, m := range ratios {
		t.rows[0] = append(t.rows[0], m.name)
	}
	for _, c := range w.Contestants {
		if old, fresh := r.runs(w.Name, c), r.runs(w.Fresh, c); min(len(old), len(fresh)) > 0 {
			t.rows = append(t.rows, ratioRow(c, old, fresh))
		}
	}
	return t
}

const noFigure = "-"

func (w WorkloadInfo) row(contestant string, runs []Run) []string {
	row := []string{contestant, fmt.Sprint(len(runs))}
	for _, m := range metrics {
		if m.own && runs[0].Unclaimed {
			row = append(row, noFigure)
			continue
		}
		row = append(row, spreadOf(each(runs, m.of)).cell(m.format))
	}
	if w.BytesPerSecond > 0 {
		row = append(row, spreadOf(each(runs, w.share)).cell("%.2f"))
	}
	return row
}

// share of the link that a run took: of what the batches take as the target has them, which is what passes on its side.
func (w WorkloadInfo) share(r Run) float64 {
	return r.SteadyRate * float64(r.StoredBytes) / float64(r.Records) / float64(w.BytesPerSecond)
}

func ratioRow(name string, a, b []Run) []string {
	row := []string{name}
	for _, m := range ratios {
		var v []float64
		for i := range min(len(a), len(b)) {
			v = append(v, m.of(a[i])/m.of(b[i]))
		}
		if m.own && (a[0].Unclaimed || b[0].Unclaimed) {
			row = append(row, noFigure)
			continue
		}
		row = append(row, spreadOf(v).cell("%.3f"))
	}
	return row
}

func (r Results) runs(workload, contestant string) []Run {
	var out []Run
	for _, run := range r.Runs {
		if run.Workload == workload && run.Contestant == contestant {
			out = append(out, run)
		}
	}
	return out
}

func each[T any](runs []T, of func(T) float64) []float64 {
	var out []float64
	for _, r := range runs {
		out = append(out, of(r))
	}
	return out
}

// grouped puts together what has the same key, in the order in which the keys come.
func grouped[T any, K comparable](runs []T, key func(T) K) (out [][]T) {
	at := map[K]int{} // in out
	for _, r := range runs {
		k := key(r)
		n, ok := at[k]
		if !ok {
			n = len(out)
			at[k], out = n, append(out, nil)
		}
		out[n] = append(out[n], r)
	}
	return out
}

// Text is the report for a terminal.
func (r Results) Text() string {
	var b strings.Builder
	for _, t := range r.tables() {
		fmt.Fprintln(&b, t.title)
		w := tabwriter.NewWriter(&b, 0, 0, 3, ' ', 0)
		for _, row := range t.rows {
			fmt.Fprintln(w, "  "+strings.Join(row, "\t"))
		}
		w.Flush() //nolint:errcheck // a strings.Builder never fails
		fmt.Fprintln(&b)
	}
	for _, f := range r.Failures {
		fmt.Fprintln(&b, "FAILED:", f)
	}
	return b.String()
}

// Markdown is the same for a page.
func (r Results) Markdown() string {
	var b strings.Builder
	fmt.Fprintf(&b, "# Bench of %s\n\n%s, shared with both brokers, whose data is in %s. kferry %s, %s, Kafka and MirrorMaker 2 %s.\n",
		r.Started.Format(time.RFC3339), r.Machine, r.Data, r.Revision, r.Go, r.Kafka)
	for _, t := range r.tables() {
		fmt.Fprintf(&b, "\n%s\n\n", t.title)
		for i, row := range t.rows {
			fmt.Fprintf(&b, "| %s |\n", strings.Join(row, " | "))
			if i == 0 {
				fmt.Fprintln(&b, strings.Repeat("|---", len(row))+"|")
			}
		}
	}
	for _, f := range r.Failures {
		fmt.Fprintf(&b, "\nFailed: %s\n", strings.ReplaceAll(f, "\n", " "))
	}
	return b.String()
}

// write makes results-<time>.json, .md and the plots in dir.
func (r Results) write(dir string) error {
	b, err := json.MarshalIndent(r, "", "  ")
	if err == nil {
		err = os.MkdirAll(dir, 0o755)
	}
	if err != nil {
		return err
	}
	base := filepath.Join(dir, "results-"+r.Started.Format("20060102-150405"))
	err = errors.Join(os.WriteFile(base+".json", append(b, '\n'), 0o644), os.WriteFile(base+".md", []byte(r.Markdown()), 0o644))
	for _, p := range r.plots() {
		err = errors.Join(err, os.WriteFile(base+"-"+p.name+".svg", p.svg(), 0o644))
	}
	if err == nil {
		fmt.Println("written:", base+".json, .md and .svg")
	}
	return err
}
