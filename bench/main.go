// Command bench measures kferry against other ways to copy topics, on two real brokers of this machine.
//
//	go run ./bench                      # everything: about half an hour on two cores
//	go run ./bench -quick               # smaller, under three minutes
//	go run ./bench -workloads one -runs 6 -contestants kferry,loop
//	go run ./bench -groups 1000         # only how long it takes to follow so many consumer groups
//
// Words: a workload is the data on the source, loaded once; a contestant is a program that copies it; a run is one
// process of a contestant, from its start to all records on a fresh target topic. Contestants take turns, so that what
// the machine does meanwhile strikes all alike, and run n of one is compared with run n of the other.
//
// A contestant is one file that implements Contestant, and a line in contestants; a workload likewise.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// options are the flags.
type options struct {
	records     int64 // of workload zstd; the others scale with it
	partitions  int
	size        int // bytes of a record value
	runs        int // measured runs of each contestant and workload
	workloads   string
	contestants string
	out         string        // folder of the results
	timeout     time.Duration // of the whole
	runTimeout  time.Duration // of one run
	groups      int           // instead of all else: consumer groups to follow
	quick, keep bool
}

func parse(args []string) (options, error) {
	var o options
	fs := flag.NewFlagSet("bench", flag.ContinueOnError)
	fs.Int64Var(&o.records, "records", 2_000_000, "records of workload zstd; workload one has 3/20 of it")
	fs.IntVar(&o.partitions, "partitions", 6, "partitions of each topic")
	fs.IntVar(&o.size, "size", 1000, "bytes of a record value, at least 600")
	fs.IntVar(&o.runs, "runs", 3, "measured runs of each contestant")
	fs.StringVar(&o.workloads, "workloads", names(workloads), "comma-separated")
	fs.StringVar(&o.contestants, "contestants", names(contestants), "comma-separated; ratios are of the first to each other one")
	fs.StringVar(&o.out, "out", filepath.Join("bench", "results"), "folder for results-<time>.json and .md")
	fs.DurationVar(&o.timeout, "timeout", time.Hour, "end everything after this time")
	fs.DurationVar(&o.runTimeout, "run-timeout", 5*time.Minute, "a run that takes longer has failed")
	fs.IntVar(&o.groups, "groups", 0, "instead of all else, follow so many consumer groups of 100 partitions each")
	fs.BoolVar(&o.quick, "quick", false, "200,000 records and 2 runs, unless -records or -runs say otherwise")
	fs.BoolVar(&o.keep, "keep", false, "keep the folder with configurations and logs of the contestants")
	if err := fs.Parse(args); err != nil {
		return o, err
	}
	set := map[string]bool{}
	fs.Visit(func(f *flag.Flag) { set[f.Name] = true })
	if o.quick && !set["records"] {
		o.records = 200_000
	}
	if o.quick && !set["runs"] {
		o.runs = 2
	}
	switch {
	case fs.NArg() > 0:
		return o, fmt.Errorf("unexpected argument %q", fs.Arg(0))
	case o.size < 600:
		return o, fmt.Errorf("-size %d: want at least 600", o.size) // see records.options
	case o.records < 100 || o.partitions < 1 || o.runs < 1:
		return o, errors.New("-records must be at least 100, -partitions and -runs at least 1")
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
	var err error
	if len(os.Args) > 1 && os.Args[1] == loopCommand {
		err = runLoop(ctx, os.Args[2:])
	} else {
		err = run(ctx, os.Args[1:])
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
	ws, err := choose("workload", workloads, o.workloads, o)
	if err != nil {
		return err
	}
	cs, err := choose("contestant", contestants, o.contestants, o)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, o.timeout)
	defer cancel()
	h, err := newHarness(ctx, o)
	if err != nil {
		return err
	}
	defer h.close()
	if o.groups > 0 {
		return h.follow(ctx, o.groups)
	}
	results, err := h.all(ctx, ws, cs)
	fmt.Print("\n", results.Text())
	if len(results.Runs) > 0 {
		err = errors.Join(err, results.write(o.out))
	}
	return err
}
