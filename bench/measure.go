package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
)

const (
	// tick is the time between two looks at the target and at the memory of the contestant.
	tick = 20 * time.Millisecond
	// stopLimit is how long a contestant may take to end after SIGTERM.
	stopLimit = 30 * time.Second
)

// measure starts the contestant, waits until the target holds everything, stops it, and fills r.
func (h *harness) measure(ctx context.Context, c Contestant, j Job, r *Run) (err error) {
	ctx, cancel := context.WithTimeout(ctx, h.o.runTimeout)
	defer cancel()
	cmd, err := c.Command(ctx, j)
	if err != nil {
		return err
	}
	log, err := os.Create(filepath.Join(j.Dir, "log"))
	if err != nil {
		return err
	}
	defer log.Close() //nolint:errcheck // only the child writes to it
	cmd.Stdout, cmd.Stderr, cmd.SysProcAttr = log, log, childAttr()
	src0, dst0, all0 := h.source.cpu(), h.target.cpu(), machineCPU()
	begin := time.Now()
	if err := cmd.Start(); err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	err = h.watch(ctx, cmd.Process.Pid, j, begin, ended, r)
	stopping := time.Now()
	err = errors.Join(err, stop(cmd, ended))
	if err != nil {
		return fmt.Errorf("%w; the end of its log:\n%s", err, lastLines(log.Name()))
	}
	r.StopSeconds = time.Since(stopping).Seconds()
	use := cmd.ProcessState.SysUsage().(*syscall.Rusage)
	r.UserSeconds, r.SystemSeconds = seconds(use.Utime), seconds(use.Stime)
	r.SourceCPU, r.TargetCPU = h.source.cpu()-src0, h.target.cpu()-dst0
	r.OtherCPU = max(0, machineCPU()-all0-r.SourceCPU-r.TargetCPU-r.cpu())
	return nil
}

func seconds(t syscall.Timeval) float64 { return float64(t.Sec) + float64(t.Usec)/1e6 }

var errEnded = errors.New("the process ended by itself before all records were on the target")

// watch polls until the target holds everything. The first record is seen by the first poll that finds any; what that
// poll finds is left out of the steady rate.
func (h *harness) watch(ctx context.Context, pid int, j Job, begin time.Time, ended chan error, r *Run) error {
	var first time.Duration
	var head int64
	t := time.NewTicker(tick)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return fmt.Errorf("%d of %d records on the target: %w", head, r.Records, ctx.Err())
		case err := <-ended:
			ended <- err // for stop
			return errors.Join(errEnded, err)
		case <-t.C:
		}
		r.PeakBytes = max(r.PeakBytes, peakMemory(pid))
		ends, err := h.target.ends(ctx, j.TargetTopic)
		if err != nil {
			if kerr.IsRetriable(err) {
				continue
			}
			return err
		}
		var have int64
		for _, end := range ends {
			have += end
		}
		now := time.Since(begin)
		if have > 0 && head == 0 {
			first, head = now, have
			r.FirstSeconds = now.Seconds()
		}
		if have >= r.Records {
			r.Seconds = now.Seconds()
			if steady := (now - first).Seconds(); steady > 0 {
				r.SteadyRate = float64(r.Records-head) / steady
			}
			return nil
		}
	}
}

// stop ends the process softly, then hard. ended is where its Wait reports.
func stop(cmd *exec.Cmd, ended chan error) error {
	_ = cmd.Process.Signal(syscall.SIGTERM) // it may have ended already
	select {
	case err := <-ended:
		if err != nil {
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
func peakMemory(pid int) int64 {
	b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	_, b, ok := bytes.Cut(b, []byte("VmHWM:"))
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
