package kafkatest

import (
	"bytes"
	"context"
	"errors"
	"os/exec"
	"runtime"
	"syscall"
)

// process is a started child, leader of its own process group.
type process struct {
	pid  int
	done chan struct{} // closed when the child has ended and is reaped
	err  error         // how it ended; read only after done
}

// launch starts cmd so that the kernel kills it when this program dies, even by
// SIGKILL. The kernel watches the thread that forked, not the program, so the
// starting goroutine keeps its thread for as long as the child lives.
func launch(cmd *exec.Cmd) (*process, error) {
	cmd.SysProcAttr = childAttr()
	p := &process{done: make(chan struct{})}
	started := make(chan error)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		if err != nil {
			started <- err
			return
		}
		p.pid = cmd.Process.Pid
		started <- nil
		p.err = cmd.Wait()
		close(p.done)
	}()
	if err := <-started; err != nil {
		return nil, err
	}
	return p, nil
}

// wait returns how the child ended, and kills it when ctx ends first.
func (p *process) wait(ctx context.Context) error {
	select {
	case <-p.done:
		return p.err
	case <-ctx.Done():
		p.kill()
		return context.Cause(ctx)
	}
}

func (p *process) running() bool {
	select {
	case <-p.done:
		return false
	default:
		return true
	}
}

// ended tells how the child ended, after done; a broker ends well only when told to.
func (p *process) ended() error {
	if p.err == nil {
		return errors.New("exit status 0")
	}
	return p.err
}

var errNotRunning = errors.New("not running")

// signal reaches the whole group. The child is reaped only after done, but may
// be so at any moment: a group that is gone by then is not running.
func (p *process) signal(s syscall.Signal) error {
	if !p.running() {
		return errNotRunning
	}
	if err := syscall.Kill(-p.pid, s); err != nil {
		return errNotRunning
	}
	return nil
}

// kill ends the child and waits until it is gone; SIGKILL also ends a stopped one.
func (p *process) kill() {
	if p.signal(syscall.SIGKILL) == nil {
		<-p.done
	}
}

// tail is the end of a log, for an error message.
func tail(log []byte) []byte {
	const lines = 25
	log = bytes.TrimSpace(log)
	at := len(log)
	for range lines {
		if at = bytes.LastIndexByte(log[:at], '\n'); at < 0 {
			return log
		}
	}
	return log[at+1:]
}
