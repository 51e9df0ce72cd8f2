package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"time"

	"github.com/kferry/kferry/internal/check"
)

// Workload is data on the source.
type Workload interface {
	Name() string
	Describe() string // one line
	Topic() string    // on the source
	Codec() string    // of its batches: none, gzip, snappy, lz4 or zstd
	Records() int64
	// Load creates the topic and fills it. It is called once.
	Load(ctx context.Context, source *broker) error
}

// Contestant is a program that copies a topic.
type Contestant interface {
	Name() string
	// Prepare is called once, before the first run; dir is a folder for what it builds.
	Prepare(ctx context.Context, dir string) error
	// Command is the process of one run, not started. It must go on until SIGTERM and then end by itself within
	// stopLimit. The target topic exists.
	Command(ctx context.Context, j Job) (*exec.Cmd, error)
}

// Job is what one run is to copy.
type Job struct {
	Name           string // unique, made of letters, digits and dashes; TargetTopic is Name + "." + Topic
	Source, Target string // a bootstrap address each
	Topic          string
	TargetTopic    string
	Codec          string
	Dir            string // an empty folder of its own
}

var (
	contestants = []named[Contestant]{
		{"kferry", func(options) Contestant { return &kferry{} }},
		{"loop", func(options) Contestant { return loop{} }},
	}
	workloads = []named[Workload]{
		{"zstd", newZstd},
		{"one", newOne},
	}
)

// harness owns the brokers and a temporary folder.
type harness struct {
	o              options
	dir            string
	source, target *broker
}

func newHarness(ctx context.Context, o options) (*harness, error) {
	dir, err := os.MkdirTemp("", "kferry-bench-")
	if err != nil {
		return nil, err
	}
	h := &harness{o: o, dir: dir}
	fmt.Println("starting two brokers")
	if h.source, err = startBroker(ctx); err == nil {
		h.target, err = startBroker(ctx)
	}
	if err != nil {
		h.close()
		return nil, err
	}
	return h, nil
}

func (h *harness) close() {
	h.source.stop()
	h.target.stop()
	if h.o.keep {
		fmt.Println("kept", h.dir)
		return
	}
	os.RemoveAll(h.dir) //nolint:errcheck // a temporary folder
}

// all runs everything. What was measured before an error is returned with it.
func (h *harness) all(ctx context.Context, ws []Workload, cs []Contestant) (Results, error) {
	r := Results{Started: time.Now().UTC().Truncate(time.Second), CPUs: runtime.NumCPU(), Go: runtime.Version()}
	for _, c := range cs {
		r.Contestants = append(r.Contestants, c.Name())
		dir := filepath.Join(h.dir, c.Name())
		if err := errors.Join(os.Mkdir(dir, 0o700), c.Prepare(ctx, dir)); err != nil {
			return r, fmt.Errorf("preparing %s: %w", c.Name(), err)
		}
	}
	for _, w := range ws {
		if err := h.workload(ctx, w, cs, &r); err != nil {
			return r, fmt.Errorf("workload %s: %w", w.Name(), err)
		}
	}
	return r, nil
}

// workload loads w, lets each contestant warm the brokers up once, and then measures.
func (h *harness) workload(ctx context.Context, w Workload, cs []Contestant, r *Results) error {
	begin := time.Now()
	if err := w.Load(ctx, h.source); err != nil {
		return fmt.Errorf("loading: %w", err)
	}
	stored, err := h.source.stored(ctx, w.Topic())
	if err != nil {
		return err
	}
	info := WorkloadInfo{Name: w.Name(), What: w.Describe(), Records: w.Records(), StoredBytes: stored}
	r.Workloads = append(r.Workloads, info)
	fmt.Printf("%s (loaded in %.1f s)\n", info, time.Since(begin).Seconds())
	for n := range h.o.runs + 1 {
		for _, c := range cs {
			run, err := h.run(ctx, w, c, n)
			if err != nil {
				return fmt.Errorf("%s, run %d: %w", c.Name(), n, err)
			}
			fmt.Println(run)
			if n > 0 {
				r.Runs = append(r.Runs, run)
			}
		}
	}
	return h.source.drop(ctx, w.Topic())
}

// run is one run of c. Run 0 is the warm-up: instead of being reported, its target is compared record by record.
func (h *harness) run(ctx context.Context, w Workload, c Contestant, n int) (Run, error) {
	name := fmt.Sprintf("%s-%s-%d", w.Name(), c.Name(), n)
	j := Job{
		Name: name, Source: h.source.addr(), Target: h.target.addr(), Topic: w.Topic(), TargetTopic: name + "." + w.Topic(),
		Codec: w.Codec(), Dir: filepath.Join(h.dir, name),
	}
	if err := os.Mkdir(j.Dir, 0o700); err != nil {
		return Run{}, err
	}
	want, err := h.source.ends(ctx, j.Topic)
	if err != nil {
		return Run{}, err
	}
	if err := h.target.create(ctx, j.TargetTopic, len(want)); err != nil {
		return Run{}, err
	}
	syscall.Sync() // what earlier runs left to be written to disk is not for this one to pay
	out := Run{Workload: w.Name(), Contestant: c.Name(), Number: n, Records: w.Records()}
	if err := h.measure(ctx, c, j, &out); err != nil {
		return out, err
	}
	got, err := h.target.ends(ctx, j.TargetTopic)
	if err != nil {
		return out, err
	}
	for p, end := range want {
		if got[p] != end {
			return out, fmt.Errorf("partition %d of the target holds %d records, the source %d", p, got[p], end)
		}
	}
	if n == 0 {
		if err := h.compare(ctx, j); err != nil {
			return out, err
		}
	}
	return out, h.target.drop(ctx, j.TargetTopic)
}

// compare reads both topics back.
func (h *harness) compare(ctx context.Context, j Job) error {
	begin := time.Now()
	rep, err := check.Compare(ctx, check.Plain(j.Source), check.Plain(j.Target), check.Options{Topic: j.Topic, TargetTopic: j.TargetTopic})
	if err == nil {
		err = rep.Err()
	}
	if err != nil {
		return err
	}
	took, n := time.Since(begin).Seconds(), rep.Total().Source
	fmt.Printf("compared %d records with their copies in %.1f s (%.0f a second): equal\n", n, took, float64(n)/took)
	return nil
}
