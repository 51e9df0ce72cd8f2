package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
)

const (
	// tick is the least time between two looks at the target and at the memory of the contestant. A look costs the target
	// something for each partition, so the next one waits looks times as long as one took.
	tick  = 20 * time.Millisecond
	looks = 8
	// stopLimit is how long a contestant may take to end after SIGTERM.
	stopLimit = 30 * time.Second
)

// contestantRun is the processes of a contestant.
type contestantRun struct {
	cmds  []*exec.Cmd
	ended []chan error // where their Wait reports
	log   *os.File     // of all
	input io.Closer    // nil: it is not held
}

// launch starts c.
func launch(ctx context.Context, c Contestant, j Job) (*contestantRun, error) {
	cmds, err := c.Commands(ctx, j)
	if err != nil {
		return nil, err
	}
	log, err := os.OpenFile(filepath.Join(j.Dir, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	r := &contestantRun{cmds: cmds, log: log}
	if holds(c) {
		if r.input, err = cmds[0].StdinPipe(); err != nil {
			return nil, err
		}
	}
	for _, cmd := range cmds {
		cmd.Stdout, cmd.Stderr, cmd.SysProcAttr = log, log, childAttr()
		if err := cmd.Start(); err != nil {
			return nil, errors.Join(err, r.stop())
		}
		ended := make(chan error, 1)
		go func() { ended <- cmd.Wait() }()
		r.ended = append(r.ended, ended)
	}
	return r, nil
}

// hold waits until it says that it is ready, and has it begin.
func (r *contestantRun) hold(ctx context.Context) error {
	t := time.NewTicker(tick)
	defer t.Stop()
	for {
		if b, err := os.ReadFile(r.log.Name()); err != nil || bytes.Contains(b, []byte("ready\n")) {
			return errors.Join(err, r.input.Close())
		}
		if err := r.alive(); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-t.C:
		}
	}
}

// alive fails when one of the processes has ended.
func (r *contestantRun) alive() error {
	for _, ended := range r.ended {
		select {
		case err := <-ended:
			ended <- err // for stop
			return errors.Join(errEnded, err)
		default:
		}
	}
	return nil
}

// stop ends all of them, at the same time, and closes the log.
func (r *contestantRun) stop() error {
	var errs []error
	for i := range r.ended {
		_ = r.cmds[i].Process.Signal(syscall.SIGTERM) // it may have ended already
	}
	for i, ended := range r.ended {
		errs = append(errs, await(r.cmds[i], ended))
	}
	return errors.Join(append(errs, r.log.Close())...)
}

// cpu is what they have used by now, in seconds.
func (r *contestantRun) cpu() float64 {
	var sum float64
	for _, c := range r.cmds {
		sum += processCPU(strconv.Itoa(c.Process.Pid))
	}
	return sum
}

// peak is the sum of their peaks, in bytes.
func (r *contestantRun) peak() int64 {
	var sum int64
	for _, c := range r.cmds {
		sum += peakMemory(c.Process.Pid)
	}
	return sum
}

// measure starts the contestant, waits until the target holds everything, or the time of a run is over, stops it, and fills r.
func (h *harness) measure(ctx context.Context, c Contestant, j Job, l *loaded, r *Run) (err error) {
	ctx, cancel := context.WithTimeout(ctx, h.o.runTimeout)
	defer cancel()
	run, err := h.ready(ctx, c, j)
	if err != nil {
		return err
	}
	if a, ok := c.(accompanied); ok {
		defer a.Beside(ctx)()
	}
	src0, dst0, all0, own0 := h.source.cpu(), h.target.cpu(), machineCPU(), run.cpu()
	w := &watch{h: h, l: l, j: j, run: run, r: r, begin: time.Now()}
	if j.Profile != "" {
		w.profiling = h.samplers(run, j)
	}
	err = w.all(ctx)
	if w.head > 0 {
		r.profiles = w.profiling.stop(ctx, r.Workload, r.Contestant)
	}
	r.SourceCPU, r.TargetCPU = h.source.cpu()-src0, h.target.cpu()-dst0
	r.OtherCPU = max(0, machineCPU()-all0-r.SourceCPU-r.TargetCPU-run.cpu()+own0)
	stopping := time.Now()
	if err = errors.Join(err, run.stop()); err != nil {
		return fmt.Errorf("%w; the end of its log:\n%s", err, lastLines(run.log.Name()))
	}
	r.StopSeconds = time.Since(stopping).Seconds()
	for _, cmd := range run.cmds {
		use := cmd.ProcessState.SysUsage().(*syscall.Rusage)
		r.UserSeconds, r.SystemSeconds = r.UserSeconds+seconds(use.Utime), r.SystemSeconds+seconds(use.Stime)
	}
	if r.Unclaimed = holds(c); r.Unclaimed {
		r.PeakBytes, r.UserSeconds, r.SystemSeconds, r.WorkCPU = 0, 0, 0, 0
	}
	return nil
}

// ready starts c, and returns when what it does is to be measured.
func (h *harness) ready(ctx context.Context, c Contestant, j Job) (run *contestantRun, err error) {
	begin := func(context.Context) error { return nil }
	if g, ok := c.(gathering); ok {
		if begin, err = g.Gather(ctx, j); err != nil {
			return nil, err
		}
	}
	if run, err = launch(ctx, c, j); err != nil {
		return nil, err
	}
	if holds(c) {
		begin = run.hold
	}
	if err := begin(ctx); err != nil {
		return nil, fmt.Errorf("%w; the end of its log:\n%s", errors.Join(err, run.stop()), lastLines(run.log.Name()))
	}
	return run, nil
}

func seconds(t syscall.Timeval) float64 { return float64(t.Sec) + float64(t.Usec)/1e6 }

var errEnded = errors.New("the process ended by itself before all records were on the target")

// watch looks at the target until it holds everything.
type watch struct {
	h     *harness
	l     *loaded
	j     Job
	run   *contestantRun
	r     *Run
	begin time.Time
	feed  *feeding

	want     int64
	first    time.Duration // when any record was seen
	head     int64         // what was there then; it is left out of the rate
	firstCPU float64
	middle   time.Duration // when half of it was there; 0: not yet
	halfway  int64         // what was there then

	profiling profiling // from the first record on
}

func (w *watch) all(ctx context.Context) (err error) {
	w.want, _ = w.l.content.total()
	if w.l.feed > 0 {
		if w.feed, err = w.l.feedTo(ctx, w.h.source.addr()); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, w.fedUp()) }()
	}
	pause := time.NewTimer(tick)
	defer pause.Stop()
	for {
		select {
		case <-ctx.Done():
			return fmt.Errorf("%d of %d records on the target: %w", w.r.Records, w.want, ctx.Err())
		case <-pause.C:
		}
		if err := w.run.alive(); err != nil {
			return err
		}
		w.r.PeakBytes = max(w.r.PeakBytes, w.run.peak())
		begin := time.Now()
		ends, err := w.h.target.ends(ctx, w.j.TargetTopic)
		switch {
		case err != nil && !kerr.IsRetriable(err):
			return err
		case err == nil:
			if done, err := w.look(ctx, ends); done || err != nil {
				return err
			}
		}
		pause.Reset(max(tick, looks*time.Since(begin)))
	}
}

// look takes note of what is on the target; done when that is all.
func (w *watch) look(ctx context.Context, ends map[int32]int64) (done bool, err error) {
	var have int64
	for _, end := range ends {
		have += end
	}
	now, r := time.Since(w.begin), w.r
	if have > 0 && w.head == 0 {
		w.first, w.head, w.firstCPU = now, have, w.run.cpu()
		r.FirstSeconds = now.Seconds()
		w.profiling.start(ctx)
	}
	if r.Records = have; w.middle == 0 && have >= w.want/2 {
		w.middle, w.halfway = now, have
		if r.Skew, err = w.skew(ctx, ends); err != nil {
			return false, err
		}
	}
	if have >= w.want && w.feed != nil {
		if err := w.caughtUp(ctx); err != nil {
			return false, err
		}
	}
	r.Cut = w.head > 0 && have < w.want && now-w.first > w.h.o.limit
	if have < w.want && !r.Cut {
		return false, nil
	}
	r.Seconds, r.WorkCPU = now.Seconds(), w.run.cpu()-w.firstCPU
	if r.SteadyRate = float64(have-w.head) / (now - w.first).Seconds(); now == w.first { // one look saw all of it
		r.SteadyRate, r.WorkCPU = float64(have)/r.Seconds, w.firstCPU
	}
	w.second(now, have)
	return true, nil
}

// second takes note of the rate since half of it was there; where one look saw all of that, the rate of the whole stands for it.
func (w *watch) second(now time.Duration, have int64) {
	if w.r.SecondRate = w.r.SteadyRate; w.middle > 0 && w.middle < now {
		w.r.SecondRate = float64(have-w.halfway) / (now - w.middle).Seconds()
	}
}

// caughtUp: what was written meanwhile is all that is left.
func (w *watch) caughtUp(ctx context.Context) error {
	if err := w.fedUp(); err != nil {
		return err
	}
	w.feed = nil
	all, err := w.h.source.ends(ctx, w.j.Topic)
	w.want = 0
	for _, end := range all {
		w.want += end
	}
	return err
}

// fedUp ends what writes meanwhile, and takes note of how much it wrote.
func (w *watch) fedUp() error {
	rate, err := w.feed.stop()
	if rate > 0 {
		w.r.FeedRate = rate
	}
	return err
}

// skew is that of what the target lacks now.
func (w *watch) skew(ctx context.Context, ends map[int32]int64) (float64, error) {
	all := map[int32]int64{}
	for p, d := range w.l.content.parts {
		all[p] = d.records
	}
	if w.feed != nil { // there is more by now
		var err error
		if all, err = w.h.source.ends(ctx, w.j.Topic); err != nil {
			return 0, err
		}
	}
	return skew(all, ends), nil
}

// skew tells how evenly the partitions are carried: the most that is left of one, of so many records, over what is left of the
// middle one. 0: the middle one is done.
func skew(all, ends map[int32]int64) float64 {
	var left []int64
	for p, n := range all {
		if n > 0 {
			left = append(left, n-ends[p])
		}
	}
	if len(left) == 0 {
		return 0
	}
	slices.Sort(left)
	middle := left[len(left)/2]
	if middle <= 0 {
		return 0
	}
	return float64(left[len(left)-1]) / float64(middle)
}

// await awaits the end of a process that was told to end, and then ends it hard. ended is where its Wait reports.
func await(cmd *exec.Cmd, ended chan error) error {
	const java = 128 + int(syscall.SIGTERM) // how a JVM that SIGTERM has ended in good order says so
	select {
	case err := <-ended:
		if err != nil && cmd.ProcessState.ExitCode() != java {
			return fmt.Errorf("after SIGTERM: %w", err)
		}
		return nil
	case <-time.After(stopLimit):
		_ = cmd.Process.Kill()
		<-ended
		return fmt.Errorf("it did not end within %v of SIGTERM", stopLimit)
	}
}

// peakMemory is the highest resident set of a process so far, in bytes; 0 when it is gone. The rusage of a child is no
// use here: it starts at the peak of the process that forked it.
func peakMemory(pid int) int64 { return memory(pid, "VmHWM:") }

// memory is a line of a process's status, in bytes; 0 when it is gone.
func memory(pid int, field string) int64 {
	b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	_, b, ok := bytes.Cut(b, []byte(field))
	if f := bytes.Fields(b); ok && len(f) > 0 {
		kb, _ := strconv.ParseInt(string(f[0]), 10, 64)
		return kb << 10
	}
	return 0
}

// lastLines is the end of a contestant's log.
func lastLines(file string) []byte {
	const limit = 2000
	b, err := os.ReadFile(file)
	if err != nil {
		return []byte(err.Error())
	}
	return b[max(0, len(b)-limit):]
}
