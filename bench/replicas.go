package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/kferry/kferry/replicator/progress"
)

// manyPartitions can be shared fairly: lanes are hashed to eight slots, of which two replicas get four each, whichever those
// are. Of these partitions any four slots have 87 to 105; of six partitions one replica has four.
const manyPartitions = 192

// replicas measures how two replicas share the work where brokers are not the limit: the brokers are embedded in this
// process and keep everything in memory, each replica has one core, as on a machine of its own, and the batches are
// compressed and so small that kferry opens and joins them.
func (h *harness) replicas(ctx context.Context, r *Results) error {
	inner := &harness{o: h.o, dir: filepath.Join(h.dir, "replicas")}
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
	inner.target.pids = nil // it is the same process, whose CPU must not count twice
	cs := []Contestant{&sharing{kferry{replicas: 2, cores: 1}}, &sharing{kferry{replicas: 1, cores: 1}}}
	if err := inner.prepare(ctx, cs); err != nil {
		return err
	}
	w := &workload{name: "replicas", codec: "zstd", count: h.o.records, partitions: manyPartitions, size: h.o.size, batch: 4}
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

// sharing is kferry that carries nothing before its replicas have shared the lanes. Of two that start together the first takes
// all, and ten seconds pass until the other one has its part: what is measured then is mostly a replica alone. So the flow is
// paused beforehand, and goes on when each has its slots.
type sharing struct{ kferry }

// Gather implements gathering.
func (s *sharing) Gather(ctx context.Context, j Job) (begin func(context.Context) error, err error) {
	s.listens = nil
	if j.Profile != "" {
		s.listens = []string{j.Profile} // of the first replica
	}
	for len(s.listens) < s.replicas {
		addr, err := freeAddr()
		if err != nil {
			return nil, err
		}
		s.listens = append(s.listens, addr)
	}
	target, err := open(j.Target)
	if err != nil {
		return nil, err
	}
	store, err := progress.Open(ctx, target, j.Name, 1)
	if err == nil {
		err = store.Pause(ctx, "", progress.Pause{At: time.Now(), By: "bench"})
	}
	if err != nil {
		target.Close()
		return nil, err
	}
	return func(ctx context.Context) error {
		defer target.Close()
		if err := s.shared(ctx); err != nil {
			return err
		}
		return store.Resume(ctx, "")
	}, nil
}

// shared waits until each replica has its part of the slots, and all their lanes rest.
func (s *sharing) shared(ctx context.Context) error {
	for _, addr := range s.listens {
		var lanes, paused int
		for slots := 0; slots != progress.Slots/s.replicas || lanes == 0 || paused != lanes; {
			var err error
			if slots, lanes, paused, err = replicaAt(ctx, addr); err != nil && ctx.Err() != nil {
				return fmt.Errorf("the replicas do not share the slots: %w", err)
			}
			if err := pause(ctx, 10*tick); err != nil {
				return fmt.Errorf("the replicas do not share the slots: the one at %s has %d, and of %d lanes %d are paused: %w", addr, slots, lanes, paused, err)
			}
		}
	}
	return nil
}

// replicaAt tells how many slots the replica has that serves its status at addr, how many lanes, and how many of them are paused.
func replicaAt(ctx context.Context, addr string) (slots, lanes, paused int, err error) {
	var got struct {
		Flows []struct {
			Slots int            `json:"slots"`
			Lanes map[string]int `json:"lanes"`
		} `json:"flows"`
	}
	err = get(ctx, http.DefaultClient, "http://"+addr+"/api/v1/status", func(body io.Reader) error { return json.NewDecoder(body).Decode(&got) })
	if err != nil {
		return 0, 0, 0, err
	}
	if len(got.Flows) != 1 {
		return 0, 0, 0, errors.New("it has not one flow")
	}
	for _, n := range got.Flows[0].Lanes {
		lanes += n
	}
	return got.Flows[0].Slots, lanes, got.Flows[0].Lanes["paused"], nil
}
