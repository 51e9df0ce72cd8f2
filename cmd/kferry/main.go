// Command kferry carries topics from one Kafka cluster to another.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
)

// main is the only place that reads arguments, environment and signals, and that ends the process.
func main() {
	ctx, stop := context.WithCancelCause(context.Background())
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	go watchSignals(signals, stop, os.Stderr, os.Exit)
	os.Exit(run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr, os.Environ()))
}

// watchSignals asks for a clean stop at the first signal and ends the process at the second.
func watchSignals(signals <-chan os.Signal, stop context.CancelCauseFunc, stderr io.Writer, exit func(int)) {
	stop(signalled{<-signals})
	fmt.Fprintf(stderr, "kferry: %v again: stopped by force\n", <-signals)
	exit(exitForced)
}

// signalled is the cause of a context that a signal ended.
type signalled struct{ os.Signal }

func (s signalled) Error() string { return "signal: " + s.String() }

// run is the whole program: it returns the exit code. When ctx ends, commands that last stop cleanly.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer, environ []string) int {
	return (&process{stdin: stdin, stdout: stdout, stderr: stderr, environ: environ, clock: aivenClock, openDaemon: openDaemon}).execute(ctx, args)
}
