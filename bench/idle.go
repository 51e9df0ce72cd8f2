package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Idle is what a contestant uses that has nothing to do.
type Idle struct {
	Contestant string  `json:"contestant"`
	Partitions int     `json:"partitions"`
	Number     int     `json:"number"`
	CPU        float64 `json:"cpu_percent"` // of one core
	Bytes      int64   `json:"bytes"`       // resident, at the end
	PeakBytes  int64   `json:"peak_bytes"`
	BrokerCPU  float64 `json:"brokers_cpu_percent"` // of one core, both brokers
}

func (i Idle) String() string {
	return fmt.Sprintf("idle, %d partitions, %s run %d: %.2f %% of a core, %.0f MB (peak %.0f MB), brokers %.1f %%",
		i.Partitions, i.Contestant, i.Number, i.CPU, float64(i.Bytes)/1e6, float64(i.PeakBytes)/1e6, i.BrokerCPU)
}

// laneCounts reads -lanes.
func (o options) laneCounts() ([]int, error) {
	var out []int
	for text := range strings.SplitSeq(o.lanes, ",") {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 {
			return nil, fmt.Errorf("-lanes: %q is no number of partitions", text)
		}
		out = append(out, n)
	}
	return out, nil
}

// idle measures each number of partitions: a topic with a record in each, all of them carried.
func (h *harness) idle(ctx context.Context, cs []Contestant, r *Results) error {
	counts, err := h.o.laneCounts()
	if err != nil {
		return err
	}
	var errs []error
	for _, n := range counts {
		w := &workload{name: fmt.Sprint("idle-", n), codec: "none", count: int64(n), partitions: n, size: leastOrder}
		if err := w.load(ctx, h.source); err != nil {
			return err
		}
		for number := 1; number <= h.lastRun(); number++ {
			for _, c := range cs {
				i, err := h.idleOf(ctx, w, c, number, r)
				if err != nil {
					errs = append(errs, fmt.Errorf("idle with %d partitions, %s, run %d: %w", n, c.Name(), number, err))
					r.Failures = append(r.Failures, errs[len(errs)-1].Error())
					continue
				}
				fmt.Println(i)
				if number <= h.o.runs {
					r.Idle = append(r.Idle, i)
				}
			}
		}
		if err := h.source.drop(ctx, w.topic()); err != nil {
			return err
		}
	}
	return errors.Join(errs...)
}

func (h *harness) idleOf(ctx context.Context, w *workload, c Contestant, number int, r *Results) (out Idle, err error) {
	out = Idle{Contestant: c.Name(), Partitions: w.partitions, Number: number}
	j, err := h.job(fmt.Sprintf("%s-%s-%d", w.name, c.Name(), number), w.topic(), w.codec, link{})
	if err == nil && number > h.o.runs {
		j.Profile, err = freeAddr()
	}
	if err != nil {
		return out, err
	}
	err = h.caughtUp(ctx, w, c, j, func(run *contestantRun) error {
		if err := pause(ctx, time.Duration(settle*float64(h.o.window))); err != nil {
			return err
		}
		if j.Profile != "" {
			p := h.samplers(run, j)
			p.start(ctx)
			defer func() { r.Profiles = append(r.Profiles, p.stop(ctx, w.name, c.Name())...) }()
		}
		begin, own, brokers := time.Now(), run.cpu(), h.source.cpu()+h.target.cpu()
		if err := pause(ctx, h.o.window); err != nil {
			return err
		}
		percent := 100 / time.Since(begin).Seconds()
		out.CPU, out.BrokerCPU = (run.cpu()-own)*percent, (h.source.cpu()+h.target.cpu()-brokers)*percent
		out.PeakBytes = run.peak()
		for _, cmd := range run.cmds {
			out.Bytes += memory(cmd.Process.Pid, "VmRSS:")
		}
		return run.alive()
	})
	return out, err
}

// caughtUp runs c on w until all is carried, calls then, and stops it.
func (h *harness) caughtUp(ctx context.Context, w *workload, c Contestant, j Job, then func(*contestantRun) error) (err error) {
	defer func() { err = errors.Join(err, h.sweep(context.WithoutCancel(ctx), j.Name)) }()
	if err := h.target.create(ctx, j.TargetTopic, w.partitions, nil); err != nil {
		return err
	}
	limited, cancel := context.WithTimeout(ctx, h.o.runTimeout)
	defer cancel()
	run, err := launch(limited, c, j)
	if err != nil {
		return err
	}
	defer func() {
		if e := run.stop(); err != nil || e != nil {
			err = fmt.Errorf("%w; the end of its log:\n%s", errors.Join(err, e), lastLines(run.log.Name()))
		}
	}()
	for have := int64(0); have < w.count; {
		if err := errors.Join(pause(limited, 10*tick), run.alive()); err != nil {
			return fmt.Errorf("%d of %d records on the target: %w", have, w.count, err)
		}
		ends, err := h.target.ends(limited, j.TargetTopic)
		if err != nil {
			continue // limited ends this
		}
		have = 0
		for _, end := range ends {
			have += end
		}
	}
	return then(run)
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

// idleTable has a row for each number of partitions and contestant.
func (r Results) idleTable() table {
	t := table{title: "idle; min / median / max of the runs", rows: [][]string{
		{"partitions", "contestant", "runs", "CPU % of a core", "memory MB", "peak MB", "brokers' CPU %"},
	}}
	type key struct {
		parts int
		name  string
	}
	for _, v := range grouped(r.Idle, func(i Idle) key { return key{i.Partitions, i.Contestant} }) {
		t.rows = append(t.rows, []string{
			fmt.Sprint(v[0].Partitions), v[0].Contestant, fmt.Sprint(len(v)),
			spreadOf(each(v, func(i Idle) float64 { return i.CPU })).cell("%.2f"),
			spreadOf(each(v, func(i Idle) float64 { return float64(i.Bytes) / 1e6 })).cell("%.0f"),
			spreadOf(each(v, func(i Idle) float64 { return float64(i.PeakBytes) / 1e6 })).cell("%.0f"),
			spreadOf(each(v, func(i Idle) float64 { return i.BrokerCPU })).cell("%.1f"),
		})
	}
	return t
}
