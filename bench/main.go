// Command bench measures kferry against other ways to copy topics, on two real brokers of this machine.
//
//	go run ./bench                      # everything: some hours on two cores
//	go run ./bench -quick               # all of it in its smallest form, under three minutes
//	go run ./bench -parts throughput -workloads one,zstd -runs 6 -contestants kferry,loop
//	go run ./bench -groups 1000         # only how long it takes to follow so many consumer groups
//
// Words: a workload is the data on the source, loaded once; a contestant is a program that copies it; a run is one
// start of a contestant, from its beginning to all records on a fresh target topic. Contestants take turns, so that what
// the machine does meanwhile strikes all alike, and run n of one is compared with run n of the other. A part is one kind
// of question: throughput, latency, wan (throughput over a long link), replicas, idle, api (what the status page costs).
//
// A contestant is one file that implements Contestant, and a line in contestants; a workload is a line in plain or wide.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// options are the flags.
type options struct {
	records     int64 // of workload zstd; the others scale with it
	partitions  int
	size        int // bytes of a record value
	feed        int // records a second that workload catchup writes meanwhile
	thin        int // the same of workload thin
	runs        int // measured runs of each contestant and workload
	parts       string
	workloads   string
	wan         string
	contestants string
	out         string        // folder of the results
	dir         string        // folder of the brokers' data and all else that is temporary
	timeout     time.Duration // of the whole
	runTimeout  time.Duration // of one run
	limit       time.Duration // of one run, since its first record; then it is cut off
	groups      int           // instead of all else: consumer groups to follow
	warm        time.Duration
	quick, keep bool
	profile     bool
	old         bool
	lanes       string        // of part idle, and of part api the last
	window      time.Duration // of a measurement of part latency or idle
	rates       string        // of part latency
}

const (
	allParts     = "throughput,latency,wan,replicas,idle,api"
	quickOnes    = "zstd,batch16,one,1mb,hot,transactional,compacted,catchup"
	quickRecords = 20_000
)

func flags(o *options) *flag.FlagSet {
	fs := flag.NewFlagSet("bench", flag.ContinueOnError)
	fs.Int64Var(&o.records, "records", 1_000_000, "records of workload zstd; the other workloads scale with it")
	fs.IntVar(&o.partitions, "partitions", 6, "partitions of each topic, where the workload is not about that")
	fs.IntVar(&o.size, "size", 1000, "bytes of a record value, at least 600, where the workload is not about that")
	fs.IntVar(&o.feed, "feed", 5000, "records a second that workload catchup writes meanwhile")
	fs.IntVar(&o.thin, "thin", 20_000, "records a second that workload thin writes meanwhile")
	fs.IntVar(&o.runs, "runs", 3, "measured runs of each contestant")
	fs.StringVar(&o.parts, "parts", allParts, "comma-separated")
	fs.StringVar(&o.workloads, "workloads", "", "of part throughput, comma-separated; all, or with -quick some of: "+workloadNames(plain(options{})))
	fs.StringVar(&o.wan, "wan", "", "workloads of part wan, comma-separated; all, or with -quick one of: "+workloadNames(wide(options{})))
	fs.StringVar(&o.contestants, "contestants", names(contestants), "comma-separated; ratios are of the first to each other one")
	fs.StringVar(&o.out, "out", filepath.Join("bench", "results"), "folder for results-<time>.json, .md and -<workload>.svg")
	fs.StringVar(&o.dir, "dir", "", "folder for the brokers' data and all else that is temporary; by default memory ("+inMemory+"), if there is room, and else the system's folder")
	fs.DurationVar(&o.timeout, "timeout", 8*time.Hour, "end everything after this time")
	fs.DurationVar(&o.runTimeout, "run-timeout", 10*time.Minute, "a run that takes longer has failed")
	fs.DurationVar(&o.limit, "limit", time.Minute, "cut a run off so long after its first record; its rate and what it has carried by then count")
	fs.IntVar(&o.groups, "groups", 0, "instead of all else, follow so many consumer groups of 100 partitions each")
	fs.StringVar(&o.lanes, "lanes", "6,1000,10000", "partitions of part idle, comma-separated; part api has as many as the last")
	fs.StringVar(&o.rates, "rates", "10,1000,50000", "records a second of part latency, comma-separated")
	fs.DurationVar(&o.window, "window", time.Minute, "how long parts latency and idle measure")
	fs.DurationVar(&o.warm, "warm", 15*time.Second, "have the first contestant carry each workload for so long before anything counts, and at least once; 0: not at all")
	fs.BoolVar(&o.quick, "quick", false, "the smallest form of everything, unless other flags say otherwise; its figures mean nothing")
	fs.BoolVar(&o.old, "old", false, "have each workload carried with records of three days ago as well, in turns, and tell the ratios of old to fresh; the target then forgets each second whom it need not remember")
	fs.BoolVar(&o.profile, "profile", false, "profile each contestant and both brokers in one more run of each workload, which does not count; let runs take some seconds")
	fs.BoolVar(&o.keep, "keep", false, "keep the folder with configurations and logs of the contestants")
	return fs
}

func parse(args []string) (options, error) {
	var o options
	fs := flags(&o)
	if err := fs.Parse(args); err != nil {
		return o, err
	}
	set := map[string]bool{}
	fs.Visit(func(f *flag.Flag) { set[f.Name] = true })
	if o.quick {
		for name, value := range map[string]string{
			"records": fmt.Sprint(quickRecords), "runs": "1", "warm": "0", "limit": "10s", "workloads": quickOnes,
			"lanes": "100", "rates": "1000", "window": "3s",
		} {
			if !set[name] {
				_ = fs.Set(name, value) // they are right
			}
		}
	}
	if o.workloads == "" {
		o.workloads = workloadNames(plain(o))
	}
	if o.wan == "" {
		o.wan = workloadNames(wide(o))
	}
	switch {
	case fs.NArg() > 0:
		return o, fmt.Errorf("unexpected argument %q", fs.Arg(0))
	case o.size < leastOrder:
		return o, fmt.Errorf("-size %d: want at least %d", o.size, leastOrder)
	case o.records < 100 || o.partitions < 1 || min(o.runs, o.feed, o.thin) < 1:
		return o, errors.New("-records must be at least 100, -partitions, -runs, -feed and -thin at least 1")
	}
	for part := range strings.SplitSeq(o.parts, ",") {
		if !slices.Contains(strings.Split(allParts, ","), part) {
			return o, fmt.Errorf("no part %q: want some of %s", part, allParts)
		}
	}
	return o, nil
}

// named is an entry of a registry.
type named[T any] struct {
	name string
	make func(options) T
}

func names[T any](all []named[T]) string {
	var out []string
	for _, n := range all {
		out = append(out, n.name)
	}
	return strings.Join(out, ",")
}

// choose makes the entries that list names, in the order of list.
func choose[T any](what string, all []named[T], list string, o options) ([]T, error) {
	var out []T
next:
	for name := range strings.SplitSeq(list, ",") {
		for _, n := range all {
			if n.name == name {
				out = append(out, n.make(o))
				continue next
			}
		}
		return nil, fmt.Errorf("no %s %q: want some of %s", what, name, names(all))
	}
	return out, nil
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	command, args := "", os.Args[1:]
	if len(args) > 0 {
		command = args[0]
	}
	var err error
	switch command {
	case loopCommand:
		err = runLoop(ctx, args[1:])
	case feedCommand:
		err = runFeed(ctx, args[1:], os.Stdin, os.Stdout)
	case ceilingCommand:
		err = runCeiling(ctx, args[1:], os.Stdin, os.Stdout)
	default:
		err = run(ctx, args)
	}
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	o, err := parse(args)
	if err != nil {
		return err
	}
	ws, err := pick(plain(o), o.workloads)
	if err != nil {
		return err
	}
	far, err := pick(wide(o), o.wan)
	if err != nil {
		return err
	}
	cs, err := choose("contestant", contestants, o.contestants, o)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, o.timeout)
	defer cancel()
	if err := settleIn(o); err != nil {
		return err
	}
	h, err := newHarness(ctx, o)
	if err != nil {
		return err
	}
	defer h.close()
	if o.groups > 0 {
		return h.follow(ctx, o.groups)
	}
	if err := h.prepare(ctx, cs); err != nil {
		return err
	}
	results := begin()
	err = h.all(ctx, ws, far, cs, &results)
	fmt.Print("\n", results.Text())
	return errors.Join(err, results.write(o.out))
}

// all does the parts that were asked for, each although another failed.
func (h *harness) all(ctx context.Context, ws, far []*workload, cs []Contestant, r *Results) error {
	still := []string{"kferry", "mm2"}
	if h.o.quick {
		still = still[:1]
	}
	parts := map[string]func() error{
		"throughput": func() error { return h.throughput(ctx, ws, cs, r) },
		"latency":    func() error { return h.latency(ctx, some(cs, "kferry", "mm2", "loop"), r) },
		"wan": func() error {
			return h.throughput(ctx, far, some(cs, "kferry", "kferry2", "mm2", "mm2-tuned", "loop"), r)
		},
		"replicas": func() error { return h.replicas(ctx, r) },
		"idle":     func() error { return h.idle(ctx, some(cs, still...), r) },
		"api":      func() error { return h.api(ctx, r) },
	}
	var errs []error
	for part := range strings.SplitSeq(h.o.parts, ",") {
		begin := time.Now()
		errs = append(errs, parts[part]())
		fmt.Printf("part %s took %.0f s\n", part, time.Since(begin).Seconds())
		if ctx.Err() != nil {
			break
		}
	}
	return errors.Join(errs...)
}
