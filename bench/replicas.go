package main

import (
	"context"
	"os"
	"path/filepath"
	"strconv"

	"github.com/twmb/franz-go/pkg/kfake"
)

// replicas measures how two replicas share the work where brokers are not the limit: the brokers are embedded in this
// process and keep everything in memory, each replica has one core, as on a machine of its own, and the batches are
// small and compressed, so that kferry opens and joins them. Replicas that begin need some seconds to share: what counts
// is the second half.
func (h *harness) replicas(ctx context.Context, r *Results) error {
	inner := &harness{o: h.o, dir: filepath.Join(h.dir, "replicas")}
	inner.o.profile = false // these brokers are no JVMs
	err := os.Mkdir(inner.dir, 0o700)
	if err != nil {
		return err
	}
	for _, b := range []**broker{&inner.source, &inner.target} {
		if *b, err = embedded(); err != nil {
			return err
		}
		defer (*b).stop()
	}
	cs := []Contestant{&kferry{replicas: 2, cores: 1}, &kferry{cores: 1}}
	if err := inner.prepare(ctx, cs); err != nil {
		return err
	}
	w := &workload{name: "replicas", codec: "zstd", count: 3 * h.o.records, partitions: 100, size: h.o.size, batch: 16}
	return inner.throughput(ctx, []*workload{w}, cs, r)
}

// embedded starts a cluster of one broker in this process.
func embedded() (*broker, error) {
	fake, err := kfake.NewCluster(kfake.NumBrokers(1))
	if err != nil {
		return nil, err
	}
	return (&broker{end: fake.Close, at: fake.ListenAddrs()[0], pids: []string{strconv.Itoa(os.Getpid())}}).looked()
}
