package main

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"runtime/pprof"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/google/pprof/profile"

	"github.com/kferry/kferry/internal/kafkatest"
)

// Profile tells what a process spent its CPU on while a run went on.
type Profile struct {
	Workload   string             `json:"workload"`
	Contestant string             `json:"contestant"`
	Process    string             `json:"process"` // contestant, source broker or target broker
	Shares     map[string]float64 `json:"shares"`  // of its CPU time, by kind of cost
	Top        []Function         `json:"top"`     // those that took most
}

// Function is one with what it took by itself, as a share of all.
type Function struct {
	Name  string  `json:"name"`
	Share float64 `json:"share"`
}

// stacks count samples by stack: functions from the outermost one in, with semicolons between.
type stacks map[string]int64

// kind is a kind of cost. A stack is of the first kind that fits.
type kind struct {
	name     string
	anywhere []string // parts of the name of any function in the stack
	last     []string // parts of the name of the innermost one
}

// kinds are for Go and for JVMs with their native code.
var kinds = []kind{
	{name: "compiling", anywhere: []string{"CompileBroker::", "compileBroker", "Interpreter::"}},
	{name: "garbage", anywhere: []string{"runtime.gcBgMarkWorker", "runtime.gcAssist", "runtime.bgsweep", "runtime.bgscavenge", "WorkerThread::", "GangWorker", "G1", "VMThread"}},
	{name: "codec", anywhere: []string{"klauspost/compress", "pierrec/lz4", "compress/", "ZSTD_", "HUF_", "FSE_", "luben/zstd", "LZ4", "nappy", "deflate", "inflate"}},
	{name: "checksums", anywhere: []string{"crc32", "CRC32", "Crc32"}},
	{name: "system calls", last: []string{"syscall.", "Syscall", "send", "recv", "write", "read64", "__read", "libc_read", "poll", "fsync", "futex", "pthread_cond", "usleep", "sched_yield", "mmap", "madvise"}},
	{name: "copying", last: []string{"memmove", "memcpy", "arraycopy", "copyMemory", "copy_"}},
	{name: "clearing", last: []string{"memclr", "memset"}},
	{name: "scheduling and allocating", last: []string{"runtime.", "sync.", "internal/runtime"}},
}

const otherKind = "its own code"

func kindOf(stack string) string {
	last := stack[strings.LastIndexByte(stack, ';')+1:]
	for _, k := range kinds {
		in := func(text string) func(string) bool {
			return func(part string) bool { return strings.Contains(text, part) }
		}
		if slices.ContainsFunc(k.anywhere, in(stack)) || slices.ContainsFunc(k.last, in(last)) {
			return k.name
		}
	}
	return otherKind
}

// profile sums s up.
func (s stacks) profile() (p Profile) {
	var all int64
	shares, by := map[string]int64{}, map[string]int64{}
	for stack, n := range s {
		all += n
		shares[kindOf(stack)] += n
		by[stack[strings.LastIndexByte(stack, ';')+1:]] += n
	}
	p.Shares = map[string]float64{}
	for name, n := range shares {
		p.Shares[name] = float64(n) / float64(all)
	}
	for name, n := range by {
		p.Top = append(p.Top, Function{name, float64(n) / float64(all)})
	}
	slices.SortFunc(p.Top, func(a, b Function) int { return cmp.Or(cmp.Compare(b.Share, a.Share), cmp.Compare(a.Name, b.Name)) })
	p.Top = p.Top[:min(len(p.Top), 10)]
	return p
}

// sampler takes samples of one process from start on.
type sampler interface {
	start(ctx context.Context) error
	stop(ctx context.Context) (stacks, error)
}

// goSampler asks a Go process that serves its profiles, second by second; what is left when it ends is lost.
type goSampler struct {
	addr string
	file string // for go tool pprof, where -keep keeps it
	done context.CancelFunc
	work sync.WaitGroup
	got  []*profile.Profile
}

func (g *goSampler) start(ctx context.Context) error {
	ctx, g.done = context.WithCancel(ctx)
	g.work.Go(func() {
		for ctx.Err() == nil {
			p, err := fetchProfile(ctx, "http://"+g.addr+"/debug/pprof/profile?seconds=1")
			if err != nil {
				return
			}
			g.got = append(g.got, p)
		}
	})
	return nil
}

func fetchProfile(ctx context.Context, url string) (p *profile.Profile, err error) {
	err = get(ctx, http.DefaultClient, url, func(body io.Reader) (err error) {
		p, err = profile.Parse(body)
		return err
	})
	return p, err
}

func (g *goSampler) stop(context.Context) (stacks, error) {
	g.done()
	g.work.Wait()
	return stacksOf(g.got), g.save()
}

func stacksOf(ps []*profile.Profile) stacks {
	out := stacks{}
	for _, p := range ps {
		for _, s := range p.Sample {
			var names []string
			for _, l := range slices.Backward(s.Location) {
				for _, line := range slices.Backward(l.Line) {
					names = append(names, line.Function.Name)
				}
			}
			out[strings.Join(names, ";")] += s.Value[0]
		}
	}
	return out
}

func (g *goSampler) save() error {
	if len(g.got) == 0 {
		return nil
	}
	all, err := profile.Merge(g.got)
	if err != nil {
		return err
	}
	f, err := os.Create(g.file)
	if err != nil {
		return err
	}
	return errors.Join(all.Write(f), f.Close())
}

// ownSampler is for the brokers that are embedded in this process, and takes in all that the harness does besides.
type ownSampler struct{ b bytes.Buffer }

func (o *ownSampler) start(context.Context) error { return pprof.StartCPUProfile(&o.b) }

func (o *ownSampler) stop(context.Context) (stacks, error) {
	pprof.StopCPUProfile()
	p, err := profile.Parse(&o.b)
	if err != nil {
		return nil, err
	}
	return stacksOf([]*profile.Profile{p}), nil
}

// jvmSampler has a profiler loaded into a JVM.
type jvmSampler struct {
	profiler  *kafkatest.Profiler
	pid, file string
}

func (j *jvmSampler) start(ctx context.Context) error { return j.profiler.Start(ctx, j.pid) }

func (j *jvmSampler) stop(ctx context.Context) (stacks, error) {
	if err := j.profiler.Stop(ctx, j.pid, j.file); err != nil {
		return nil, err
	}
	f, err := os.Open(j.file)
	if err != nil {
		return nil, err
	}
	defer f.Close() //nolint:errcheck // it was only read
	out := stacks{}
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		at := strings.LastIndexByte(lines.Text(), ' ')
		n, err := strconv.ParseInt(lines.Text()[at+1:], 10, 64)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", j.file, err)
		}
		out[lines.Text()[:at]] += n
	}
	return out, lines.Err()
}

// profiling is what samples the three processes of a run.
type profiling struct {
	of  []string // Profile.Process
	all []sampler
}

// samplers are those of a run of c, which serves its profiles at addr if it is no JVM.
func (h *harness) samplers(r *contestantRun, j Job) profiling {
	java := func(pid, name string) sampler {
		return &jvmSampler{profiler: h.profiler, pid: pid, file: filepath.Join(j.Dir, name+".stacks")}
	}
	p := profiling{of: []string{"brokers"}, all: []sampler{&ownSampler{}}}
	if h.source.cluster != nil {
		p = profiling{of: []string{"source broker", "target broker"}, all: []sampler{java(h.source.pids[0], "source"), java(h.target.pids[0], "target")}}
	}
	cmd := r.cmds[0]
	switch {
	case filepath.Base(cmd.Path) == "java":
		p.of, p.all = append(p.of, "contestant"), append(p.all, java(strconv.Itoa(cmd.Process.Pid), "contestant"))
	case r.input == nil:
		p.of, p.all = append(p.of, "contestant"), append(p.all, &goSampler{addr: j.Profile, file: filepath.Join(j.Dir, "contestant.pprof")})
	}
	return p
}

func (p profiling) start(ctx context.Context) {
	for i, s := range p.all {
		if err := s.start(ctx); err != nil {
			fmt.Printf("no profile of the %s: %v\n", p.of[i], err)
		}
	}
}

// stop returns what was sampled while contestant was at workload; what failed is told.
func (p profiling) stop(ctx context.Context, workload, contestant string) (out []Profile) {
	for i, s := range p.all {
		got, err := s.stop(ctx)
		if err != nil || len(got) == 0 {
			fmt.Printf("no profile of the %s: %v\n", p.of[i], err)
			continue
		}
		x := got.profile()
		x.Workload, x.Contestant, x.Process = workload, contestant, p.of[i]
		out = append(out, x)
	}
	return out
}

// profileTable has a row for each process.
func (r Results) profileTable() table {
	t := table{title: "what CPU was spent on, percent of the process's own", rows: [][]string{{"workload", "run of", "process"}}}
	var names []string
	for _, k := range kinds {
		names = append(names, k.name)
	}
	names = append(names, otherKind)
	t.rows[0] = append(append(t.rows[0], names...), "most by itself")
	for _, p := range r.Profiles {
		row := []string{p.Workload, p.Contestant, p.Process}
		for _, name := range names {
			row = append(row, fmt.Sprintf("%.0f", 100*p.Shares[name]))
		}
		var top []string
		for _, f := range p.Top[:min(len(p.Top), 4)] {
			top = append(top, fmt.Sprintf("%s %.0f", f.Name, 100*f.Share))
		}
		t.rows = append(t.rows, append(row, strings.Join(top, ", ")))
	}
	return t
}
