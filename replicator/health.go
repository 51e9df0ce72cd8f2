package replicator

import (
	"context"
	"sync"
	"time"

	"github.com/kferry/kferry/internal/kafka"
)

const (
	// A cluster none of whose brokers has answered for so long is down.
	downAfter = 15 * time.Second
	// One that was not heard of for so long is asked, for nobody may have wanted
	// anything from it.
	quietFor = 5 * time.Second
)

// health is whether a cluster answers, and if not, why.
type health struct {
	cluster *kafka.Cluster

	mu    sync.Mutex
	was   bool      // up, when last looked
	since time.Time // when that began; zero: never looked
	err   error     // why it did not answer when last asked; nil: it did, or was not asked
}

func (h *health) alias() string { return h.cluster.Alias() }

// up tells whether the cluster answered lately.
func (h *health) up() bool { return time.Since(h.cluster.Heard()) < downAfter }

// failure is why the cluster does not answer; nil while it does.
func (h *health) failure() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.err
}

// ClusterStatus is how a cluster treats us.
type ClusterStatus struct {
	Alias string
	Up    bool      // it answered lately
	Since time.Time // when that began, or ended; zero: not known yet
	Err   error     // why it does not answer; nil while it does
}

// Clusters describes every cluster, sorted by alias.
func (d *Daemon) Clusters() []ClusterStatus {
	var out []ClusterStatus
	for _, h := range d.healths {
		out = append(out, h.status(time.Now()))
	}
	return out
}

// status is how the cluster is at this moment, which the next note may not have heard of yet.
func (h *health) status(now time.Time) ClusterStatus {
	h.mu.Lock()
	defer h.mu.Unlock()
	s := ClusterStatus{h.alias(), h.up(), h.since, h.err}
	if s.Up != h.was && !h.since.IsZero() {
		s.Since = now
	}
	if s.Up {
		s.Err = nil
	}
	return s
}

// watch asks the cluster when it was quiet for long, until ctx ends.
func (h *health) watch(ctx context.Context) {
	t := time.NewTicker(time.Second)
	defer t.Stop()
	for asked := (time.Time{}); ; {
		err := h.failure()
		switch {
		case time.Since(h.cluster.Heard()) <= quietFor:
			err = nil
		case time.Since(asked) >= quietFor: // no oftener: what is wrong may be a password
			asked = time.Now()
			err = h.cluster.Ping(ctx)
		}
		if ctx.Err() != nil {
			return
		}
		h.note(err)
		select {
		case <-t.C:
		case <-ctx.Done():
			return
		}
	}
}

func (h *health) note(err error) {
	up := h.up()
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.err = err; up != h.was || h.since.IsZero() {
		h.was, h.since = up, time.Now()
	}
}
