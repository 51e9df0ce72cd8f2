package kafkatest

import (
	"archive/zip"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
)

// Profiler samples what a JVM of this machine spends CPU on.
type Profiler struct{ library string }

// NewProfiler unpacks async-profiler into dir, which must last as long as it is used.
func NewProfiler(ctx context.Context, dir string) (*Profiler, error) {
	folder, err := jars(ctx, "profiler-3.0")
	if err != nil {
		return nil, err
	}
	jar, err := zip.OpenReader(filepath.Join(folder, "async-profiler-3.0.jar"))
	if err != nil {
		return nil, fmt.Errorf("kafkatest: %w", err)
	}
	defer jar.Close() //nolint:errcheck // it was only read
	arch := map[string]string{"amd64": "x64"}[runtime.GOARCH]
	if arch == "" {
		arch = runtime.GOARCH
	}
	name := runtime.GOOS + "-" + arch + "/libasyncProfiler.so"
	b, err := fs.ReadFile(jar, name)
	if err != nil {
		return nil, fmt.Errorf("kafkatest: no profiler for this machine: %w", err)
	}
	p := &Profiler{library: filepath.Join(dir, "libasyncProfiler.so")}
	return p, os.WriteFile(p.library, b, 0o700)
}

// Start has the JVM with that process id take a sample of each thread that runs, for every millisecond of its CPU time.
func (p *Profiler) Start(ctx context.Context, pid string) error {
	return p.tell(ctx, pid, "start,event=ctimer,interval=1ms,cstack=fp")
}

// Stop ends it and writes the stacks to file: a line has the functions from the outermost one in, with semicolons
// between, a space, and how many samples had it.
func (p *Profiler) Stop(ctx context.Context, pid, file string) error {
	return p.tell(ctx, pid, "stop,collapsed,file="+file)
}

func (p *Profiler) tell(ctx context.Context, pid, what string) error {
	// In quotes, for jcmd reads a=b otherwise as an option of its own.
	out, err := exec.CommandContext(ctx, "jcmd", pid, "JVMTI.agent_load", p.library, strconv.Quote(what)).CombinedOutput()
	if err == nil && !bytes.Contains(out, []byte("return code: 0")) {
		err = errors.New("refused")
	}
	if err != nil {
		return fmt.Errorf("kafkatest: profiler: %w\n%s", err, tail(out))
	}
	return nil
}
