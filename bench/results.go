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
	Started     time.Time      `json:"started"`
	CPUs        int            `json:"cpus"`
	Go          string         `json:"go"`
	Contestants []string       `json:"contestants"`
	Workloads   []WorkloadInfo `json:"workloads"`
	Runs        []Run          `json:"runs"` // in the order they were made
}

// WorkloadInfo describes a workload.
type WorkloadInfo struct {
	Name        string `json:"name"`
	What        string `json:"what"`
	Records     int64  `json:"records"`
	StoredBytes int64  `json:"stored_bytes"` // on the source's disk
}

func (w WorkloadInfo) String() string {
	return fmt.Sprintf("%s: %d records, %s, %.0f MB stored", w.Name, w.Records, w.What, float64(w.StoredBytes)/1e6)
}

// Run is what was measured in one run. CPU and memory are the contestant's alone; brokers stand apart.
type Run struct {
	Workload      string  `json:"workload"`
	Contestant    string  `json:"contestant"`
	Number        int     `json:"number"` // from 1; 0 is the warm-up
	Records       int64   `json:"records"`
	Seconds       float64 `json:"seconds"`       // from the start of the process to all records on the target
	FirstSeconds  float64 `json:"first_seconds"` // from the start of the process to the first record
	SteadyRate    float64 `json:"steady_rate"`   // records a second from the first record to the last
	StopSeconds   float64 `json:"stop_seconds"`  // from SIGTERM to the end of the process
	UserSeconds   float64 `json:"user_seconds"`
	SystemSeconds float64 `json:"system_seconds"`
	PeakBytes     int64   `json:"peak_bytes"` // resident
	SourceCPU     float64 `json:"source_broker_cpu_seconds"`
	TargetCPU     float64 `json:"target_broker_cpu_seconds"`
	OtherCPU      float64 `json:"other_cpu_seconds"` // of everything else on the machine; much of it spoils the run
}

func (r Run) rate() float64 { return float64(r.Records) / r.Seconds }
func (r Run) cpu() float64  { return r.UserSeconds + r.SystemSeconds }

func (r Run) String() string {
	return fmt.Sprintf("%s %s run %d: %.2f s (first record after %.2f s, then %.0f a second), CPU %.2f s, peak %.0f MB, brokers' CPU %.1f + %.1f s, others' %.1f s, stopped in %.2f s",
		r.Workload, r.Contestant, r.Number, r.Seconds, r.FirstSeconds, r.SteadyRate, r.cpu(), float64(r.PeakBytes)/1e6, r.SourceCPU, r.TargetCPU, r.OtherCPU, r.StopSeconds)
}

// metrics are the columns of a table.
var metrics = []struct {
	name, format string
	of           func(Run) float64
}{
	{"total s", "%.2f", func(r Run) float64 { return r.Seconds }},
	{"records/s", "%.0f", Run.rate},
	{"steady records/s", "%.0f", func(r Run) float64 { return r.SteadyRate }},
	{"CPU s", "%.2f", Run.cpu},
	{"peak MB", "%.0f", func(r Run) float64 { return float64(r.PeakBytes) / 1e6 }},
	{"brokers' CPU s", "%.1f", func(r Run) float64 { return r.SourceCPU + r.TargetCPU }},
	{"others' CPU s", "%.1f", func(r Run) float64 { return r.OtherCPU }},
}

// ratios are what is compared pair by pair.
var ratios = metrics[1:5]

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
		for _, m := range ratios {
			q.rows[0] = append(q.rows[0], m.name)
		}
		first := r.runs(w.Name, r.Contestants[0])
		for i, name := range r.Contestants {
			runs := r.runs(w.Name, name)
			row := []string{name, fmt.Sprint(len(runs))}
			for _, m := range metrics {
				row = append(row, spreadOf(each(runs, m.of)).cell(m.format))
			}
			t.rows = append(t.rows, row)
			if i > 0 {
				q.rows = append(q.rows, ratioRow(r.Contestants[0]+"/"+name, first, runs))
			}
		}
		out = append(out, t)
		if len(q.rows) > 1 {
			out = append(out, q)
		}
	}
	return out
}

func ratioRow(name string, a, b []Run) []string {
	row := []string{name}
	for _, m := range ratios {
		var v []float64
		for i := range min(len(a), len(b)) {
			v = append(v, m.of(a[i])/m.of(b[i]))
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

func each(runs []Run, of func(Run) float64) []float64 {
	var out []float64
	for _, r := range runs {
		out = append(out, of(r))
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
	return b.String()
}

// Markdown is the same for a page.
func (r Results) Markdown() string {
	var b strings.Builder
	fmt.Fprintf(&b, "# Bench of %s\n\n%d CPUs shared with both brokers, %s.\n", r.Started.Format(time.RFC3339), r.CPUs, r.Go)
	for _, t := range r.tables() {
		fmt.Fprintf(&b, "\n%s\n\n", t.title)
		for i, row := range t.rows {
			fmt.Fprintf(&b, "| %s |\n", strings.Join(row, " | "))
			if i == 0 {
				fmt.Fprintln(&b, strings.Repeat("|---", len(row))+"|")
			}
		}
	}
	return b.String()
}

// write makes results-<time>.json and .md in dir.
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
	if err == nil {
		fmt.Println("written:", base+".json and .md")
	}
	return err
}
