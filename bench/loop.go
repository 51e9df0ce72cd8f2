package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net/http"
	_ "net/http/pprof" // for -pprof
	"os"
	"os/exec"

	"github.com/twmb/franz-go/pkg/kgo"
)

// loopCommand makes this binary be the process of contestant loop.
const loopCommand = "loop"

// loop is what one would write in an afternoon: franz-go's PollFetches, and Produce of each record, tuned for throughput.
type loop struct{}

func (loop) Name() string { return "loop" }

func (loop) Prepare(context.Context, string) error { return nil }

func (loop) Commands(ctx context.Context, j Job) ([]*exec.Cmd, error) {
	return itself(ctx, loopCommand, j, "-codec", j.Codec, "-pprof", j.Profile)
}

// itself is this binary as a contestant: another command of it.
func itself(ctx context.Context, command string, j Job, more ...string) ([]*exec.Cmd, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	args := append([]string{command, "-source", j.Source, "-target", j.Target, "-topic", j.Topic, "-target-topic", j.TargetTopic}, more...)
	return []*exec.Cmd{exec.CommandContext(ctx, self, args...)}, nil
}

// runLoop copies until ctx ends.
func runLoop(ctx context.Context, args []string) error {
	fs := flag.NewFlagSet(loopCommand, flag.ContinueOnError)
	source, target := fs.String("source", "", "address"), fs.String("target", "", "address")
	topic, to := fs.String("topic", "", "name"), fs.String("target-topic", "", "name")
	codec := fs.String("codec", "none", "of the produced batches")
	profiles := fs.String("pprof", "", "address to serve profiles at")
	if err := fs.Parse(args); err != nil {
		return err
	}
	if *profiles != "" {
		go http.ListenAndServe(*profiles, nil) //nolint:errcheck,gosec // loopback, and it ends with the process
	}
	compression, err := kgoCodec(*codec)
	if err != nil {
		return err
	}
	src, err := kgo.NewClient(freshMetadata, kgo.SeedBrokers(*source), kgo.ConsumeTopics(*topic),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchMaxPartitionBytes(8<<20))
	if err != nil {
		return err
	}
	defer src.Close()
	dst, err := kgo.NewClient(freshMetadata, kgo.SeedBrokers(*target), kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.ProducerBatchCompression(compression), kgo.ProducerBatchMaxBytes(1<<20))
	if err != nil {
		return err
	}
	defer dst.Close()
	return copyAll(ctx, src, dst, *to)
}

func copyAll(ctx context.Context, src, dst *kgo.Client, to string) error {
	failed := make(chan error, 1)
	promise := func(_ *kgo.Record, err error) {
		if err != nil {
			select {
			case failed <- err:
			default:
			}
		}
	}
	for {
		fetches := src.PollFetches(ctx)
		if ctx.Err() != nil {
			return dst.Flush(context.WithoutCancel(ctx))
		}
		if err := fetches.Err(); err != nil {
			return err
		}
		// The records of a partition come in order, and are produced in order.
		fetches.EachRecord(func(r *kgo.Record) {
			r.Topic = to
			dst.Produce(context.WithoutCancel(ctx), r, promise)
		})
		select {
		case err := <-failed:
			return fmt.Errorf("produce: %w", err)
		default:
		}
	}
}

func kgoCodec(name string) (kgo.CompressionCodec, error) {
	switch name {
	case "none":
		return kgo.NoCompression(), nil
	case "gzip":
		return kgo.GzipCompression(), nil
	case "snappy":
		return kgo.SnappyCompression(), nil
	case "lz4":
		return kgo.Lz4Compression(), nil
	case "zstd":
		return kgo.ZstdCompression(), nil
	}
	return kgo.CompressionCodec{}, errors.New("codec " + name + ": want none, gzip, snappy, lz4 or zstd")
}
