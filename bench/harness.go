package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/kferry/kferry/internal/check"
	"github.com/kferry/kferry/internal/faults"
	"github.com/kferry/kferry/internal/kafkatest"
)

// Contestant is a program that copies a topic.
type Contestant interface {
	Name() string
	// Prepare is called once, before the first run; dir is a folder for what it builds.
	Prepare(ctx context.Context, dir string) error
	// Commands are the processes of one run, not started. They must go on until SIGTERM and then end by themselves within
	// stopLimit. The target topic exists.
	Commands(ctx context.Context, j Job) ([]*exec.Cmd, error)
}

// choosy is a contestant that cannot carry everything.
type choosy interface{ Takes(w *workload) bool }

// holder is a contestant whose one process prepares, says ready on a line of its own, and begins when its input ends. What it
// uses is not reported.
type holder interface{ Holds() bool }

// accompanied is a contestant beside which something goes on in each run, until stop is called.
type accompanied interface {
	Beside(ctx context.Context) (stop func())
}

// gathering is a contestant that has something to arrange before it begins: Gather is called before its processes start, and
// begin when they run. What is measured begins when begin returns.
type gathering interface {
	Gather(ctx context.Context, j Job) (begin func(context.Context) error, err error)
}

func takes(c Contestant, w *workload) bool {
	x, ok := c.(choosy)
	return !ok || x.Takes(w)
}

// onlyFirst is for contestants that carry nothing else in a quick bench: MirrorMaker 2 takes ten seconds for each start.
func onlyFirst(w *workload) bool { return w.name == "zstd" }

func holds(c Contestant) bool {
	x, ok := c.(holder)
	return ok && x.Holds()
}

// Job is what one run is to copy.
type Job struct {
	Name           string // unique, made of letters, digits and dashes; TargetTopic is Name + "." + Topic
	Source, Target string // a bootstrap address each
	Topic          string
	TargetTopic    string
	Codec          string
	Dir            string // an empty folder of its own
	Profile        string // the address where a Go process serves its profiles; "": nowhere
}

var contestants = []named[Contestant]{
	{"kferry", func(options) Contestant { return &kferry{} }},
	{"kferry2", func(o options) Contestant { return &kferry{replicas: 2, once: o.quick} }},
	{"mm2", func(o options) Contestant { return mm2{once: o.quick} }},
	{"mm2-tuned", func(o options) Contestant { return mm2{tuned: true, once: o.quick} }},
	{"loop", func(options) Contestant { return loop{} }},
	{"ceiling", func(options) Contestant { return ceiling{} }},
}

// harness owns the brokers and a temporary folder.
type harness struct {
	o              options
	dir            string
	source, target *broker
	profiler       *kafkatest.Profiler // nil: nothing is profiled
}

func newHarness(ctx context.Context, o options) (*harness, error) {
	dir, err := os.MkdirTemp("", "kferry-bench-")
	if err != nil {
		return nil, err
	}
	h := &harness{o: o, dir: dir}
	fmt.Println("starting two brokers")
	var g errgroup.Group
	var forgets map[string]string
	if o.old {
		forgets = forgetful
	}
	g.Go(func() (err error) { h.source, err = startBroker(ctx, nil); return err })
	g.Go(func() (err error) { h.target, err = startBroker(ctx, forgets); return err })
	if o.profile {
		g.Go(func() (err error) { h.profiler, err = kafkatest.NewProfiler(ctx, dir); return err })
	}
	if err := g.Wait(); err != nil {
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

// prepare has the contestants build what they need.
func (h *harness) prepare(ctx context.Context, cs []Contestant) error {
	for _, c := range cs {
		dir := filepath.Join(h.dir, c.Name())
		if err := errors.Join(os.Mkdir(dir, 0o700), c.Prepare(ctx, dir)); err != nil {
			return fmt.Errorf("preparing %s: %w", c.Name(), err)
		}
	}
	return nil
}

func begin() Results {
	return Results{
		Started: time.Now().UTC().Truncate(time.Second), CPUs: runtime.NumCPU(), Machine: machine(), Data: dataOn(), Go: runtime.Version(),
		Kafka: kafkaVersion, Revision: revision(),
	}
}

// some are those of cs with these names.
func some(cs []Contestant, names ...string) []Contestant {
	return slices.DeleteFunc(slices.Clone(cs), func(c Contestant) bool { return !slices.Contains(names, c.Name()) })
}

// throughput runs every workload. What fails is told at once and in r, and the others go on.
func (h *harness) throughput(ctx context.Context, ws []*workload, cs []Contestant, r *Results) error {
	var errs []error
	for _, w := range ws {
		if err := h.workload(ctx, w, cs, r); err != nil {
			errs = append(errs, fmt.Errorf("workload %s: %w", w.name, err))
			r.Failures = append(r.Failures, errs[len(errs)-1].Error())
		}
		if ctx.Err() != nil {
			break
		}
	}
	return errors.Join(errs...)
}

// workload loads w, and what is to be carried in turns with it, and lets the contestants carry them over each link of w.
func (h *harness) workload(ctx context.Context, w *workload, cs []Contestant, r *Results) (err error) {
	ws := []*workload{w}
	if h.o.old && w.feed == 0 { // what comes meanwhile is fresh
		ws = append(ws, w.old())
	}
	var ls []*loaded
	for _, w := range ws {
		defer func() { err = errors.Join(err, h.source.drop(context.WithoutCancel(ctx), w.topic())) }()
		l, err := h.load(ctx, w, cs)
		if err != nil {
			return fmt.Errorf("loading: %w", err)
		}
		ls = append(ls, l)
	}
	links := w.links
	if links == nil {
		links = []link{{}}
	}
	if err = h.warmUp(ctx, ls[0], cs); err != nil {
		cs = cs[1:] // the first would most likely fail again
	}
	for _, way := range links {
		for _, l := range ls {
			r.Workloads = append(r.Workloads, l.over(way))
		}
		if e := h.turns(ctx, ls, way, cs, r); e != nil {
			err = errors.Join(err, e)
		}
		if ctx.Err() != nil {
			break
		}
	}
	return err
}

// loaded is a workload that is on the source.
type loaded struct {
	*workload
	row     string // name of the workload and the link
	content content
	info    WorkloadInfo
}

// load puts w on the source, and says so.
func (h *harness) load(ctx context.Context, w *workload, cs []Contestant) (l *loaded, err error) {
	begin := time.Now()
	if err := w.load(ctx, h.source); err != nil {
		return nil, err
	}
	l = &loaded{workload: w}
	if l.content, err = h.source.digest(ctx, w.topic(), nil); err != nil {
		return nil, err
	}
	stored, err := h.source.stored(ctx, w.topic())
	if err != nil {
		return nil, err
	}
	l.info = WorkloadInfo{Name: w.name, What: w.String(), StoredBytes: stored, Batches: l.content.batches}
	l.info.Records, l.info.Bytes = l.content.total()
	fmt.Printf("%s (loaded in %.1f s)\n", l.info, time.Since(begin).Seconds())
	for _, c := range cs {
		if takes(c, w) {
			l.info.Contestants = append(l.info.Contestants, c.Name())
		}
	}
	return l, nil
}

// over has the runs that come be of l over a link, and describes them.
func (l *loaded) over(way link) WorkloadInfo {
	at := l.info
	at.Name, at.BytesPerSecond = l.name+way.suffix(), way.bytesPerSecond
	if way.suffix() != "" {
		at.What += ", " + way.String()
	}
	if l.fresh != nil {
		at.Fresh = l.fresh.name + way.suffix()
	}
	l.row = at.Name
	return at
}

// warmUp lets the first contestant carry l again and again, which is not reported: brokers compile what they have done
// thousands of times, and have used up to three times the CPU until then.
func (h *harness) warmUp(ctx context.Context, l *loaded, cs []Contestant) error {
	if h.o.warm == 0 || !takes(cs[0], l.workload) {
		return nil
	}
	l.row = l.name
	for n, begin := 0, time.Now(); n == 0 || time.Since(begin) < h.o.warm; n-- {
		if _, err := h.turn(ctx, l, link{}, cs[0], n); err != nil {
			return err
		}
	}
	return nil
}

// inTurn is all in the order of run n, from 1: another one begins each time, for brokers get faster by and by.
func inTurn[T any](all []T, n int) []T {
	first := (n - 1) % max(len(all), 1)
	return slices.Concat(all[first:], all[:first])
}

// turns is all runs over one link: whatever is compared comes one after the other. What failed is returned when all had their turn.
func (h *harness) turns(ctx context.Context, ls []*loaded, way link, cs []Contestant, r *Results) error {
	var errs []error
	end, err := h.through(way)
	if err != nil {
		return err
	}
	defer end()
	type pair struct {
		c Contestant
		l *loaded
	}
	var all []pair
	for _, c := range cs {
		for _, l := range ls {
			if takes(c, l.workload) {
				all = append(all, pair{c, l})
			}
		}
	}
	broken := map[pair]bool{}
	for n := 1; n <= h.lastRun(); n++ {
		for _, p := range inTurn(all, n) {
			if broken[p] {
				continue
			}
			run, err := h.turn(ctx, p.l, way, p.c, n)
			if err != nil {
				errs, broken[p] = append(errs, err), true // it would most likely fail again
				if ctx.Err() != nil {
					return errors.Join(errs...)
				}
				continue
			}
			if n <= h.o.runs {
				r.Runs = append(r.Runs, run)
			}
			r.Profiles = append(r.Profiles, run.profiles...)
		}
	}
	return errors.Join(errs...)
}

// turn is run n of c, and prints how it went.
func (h *harness) turn(ctx context.Context, l *loaded, way link, c Contestant, n int) (Run, error) {
	run, err := h.run(ctx, l, way, c, n)
	if err != nil {
		err = fmt.Errorf("%s %s, run %d: %w", l.row, c.Name(), n, err)
		fmt.Println("FAILED:", err)
		return run, err
	}
	fmt.Println(run)
	return run, nil
}

// lastRun is the number of the last run of a contestant. One that is profiled comes after all others: a profiler costs
// something, so that run does not count.
func (h *harness) lastRun() int {
	if h.o.profile {
		return h.o.runs + 1
	}
	return h.o.runs
}

// through puts the link between the contestants and the brokers.
func (h *harness) through(way link) (end func(), err error) {
	b := h.target
	if way.source {
		b = h.source
	}
	if way.suffix() == "" {
		return func() {}, nil
	}
	d := b.cluster.Detours()[0]
	n, err := faults.NewNetwork([]faults.Route{{Listen: d.Advertised, Broker: d.Broker}})
	if err != nil {
		return nil, err
	}
	if err := n.Set(way.faults()...); err != nil {
		n.Close()
		return nil, err
	}
	return n.Close, nil
}

// job is run n of c on topic.
func (h *harness) job(name, topic, codec string, way link) (Job, error) {
	j := Job{
		Name: name, Source: h.source.addr(), Target: h.target.addr(), Topic: topic, TargetTopic: name + "." + topic,
		Codec: codec, Dir: filepath.Join(h.dir, name),
	}
	if way.suffix() != "" {
		if way.source {
			j.Source = h.source.cluster.Detours()[0].Advertised
		} else {
			j.Target = h.target.cluster.Detours()[0].Advertised
		}
	}
	return j, os.Mkdir(j.Dir, 0o700)
}

// run is one run of c. The target is read back after it.
func (h *harness) run(ctx context.Context, l *loaded, way link, c Contestant, n int) (out Run, err error) {
	j, err := h.job(fmt.Sprintf("%s-%s-%d", l.row, c.Name(), n), l.topic(), l.codec, way)
	if err != nil {
		return Run{}, err
	}
	if err := h.target.create(ctx, j.TargetTopic, len(l.content.parts), nil); err != nil {
		return Run{}, err
	}
	defer func() { err = errors.Join(err, h.sweep(context.WithoutCancel(ctx), j.Name)) }()
	syscall.Sync() // what earlier runs left to be written to disk is not for this one to pay
	out = Run{Workload: l.row, Contestant: c.Name(), Number: n}
	if n > h.o.runs {
		if j.Profile, err = freeAddr(); err != nil {
			return out, err
		}
	}
	if err := h.measure(ctx, c, j, l, &out); err != nil {
		return out, err
	}
	if l.feed > 0 { // there is more than before
		if l.content, err = h.source.digest(ctx, j.Topic, nil); err != nil {
			return out, err
		}
	}
	return out, h.verify(ctx, j, l, &out)
}

// verify reads the target back: it must hold what the source does, or, where the run was cut off, what the source begins with.
func (h *harness) verify(ctx context.Context, j Job, l *loaded, out *Run) error {
	got, err := h.target.digest(ctx, j.TargetTopic, nil)
	if err != nil {
		return err
	}
	want := l.content
	if out.Cut {
		if want, err = h.source.digest(ctx, j.Topic, got.parts); err != nil {
			return err
		}
	}
	if out.StoredBytes, err = h.target.stored(ctx, j.TargetTopic); err != nil {
		return err
	}
	records, bytes := got.total()
	part := float64(out.Records) / float64(records) // of a run that was cut off more came than was counted
	out.Bytes, out.StoredBytes = int64(float64(bytes)*part), int64(float64(out.StoredBytes)*part)
	out.Batches = got.batches
	if err = differ(want, got); err == nil || out.Cut {
		return err
	}
	rep, e := check.Compare(ctx, check.Plain(j.Source), check.Plain(j.Target),
		check.Options{Topic: j.Topic, TargetTopic: j.TargetTopic, Codec: check.AnyCodec, IsolationReadCommitted: true})
	return fmt.Errorf("%w: %w", err, errors.Join(e, rep.Err()))
}

// sweep removes what a run has left on both sides.
func (h *harness) sweep(ctx context.Context, name string) error {
	return errors.Join(h.source.sweep(ctx, name), h.target.sweep(ctx, name))
}
