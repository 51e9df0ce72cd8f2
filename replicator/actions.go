package replicator

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/kferry/kferry/replicator/lane"
	"github.com/kferry/kferry/replicator/progress"
)

// What a person can have a running daemon do.

var (
	// ErrUnknown is the cause of an action on a flow, topic or partition that the daemon does not have.
	ErrUnknown = errors.New("it is not known here")
	// ErrNotNow is the cause of an action that makes no sense at the moment.
	ErrNotNow = errors.New("it cannot be done now")
)

// Pause stores the wish to pause a topic of a flow, or with "" all of it, as
// "kferry pause" does: every replica heeds it within seconds.
func (d *Daemon) Pause(ctx context.Context, flow, topic, by string) error {
	return d.wish(flow, topic, func(s *progress.Store) error {
		return s.Pause(ctx, topic, progress.Pause{At: time.Now(), By: by})
	})
}

// Resume takes the wish back.
func (d *Daemon) Resume(ctx context.Context, flow, topic string) error {
	return d.wish(flow, topic, func(s *progress.Store) error { return s.Resume(ctx, topic) })
}

func (d *Daemon) wish(flow, topic string, do func(*progress.Store) error) error {
	f, err := d.flowCarried(flow)
	if err != nil {
		return err
	}
	if topic != "" && !f.Carries(topic) {
		return fmt.Errorf("flow %q does not carry topic %q: %w", flow, topic, ErrUnknown)
	}
	select {
	case <-f.placed:
		return do(f.store)
	default:
		return fmt.Errorf("flow %q is still starting: %w", flow, ErrNotNow)
	}
}

// Retry has a stopped lane try at once to go on.
func (d *Daemon) Retry(ctx context.Context, flow, topic string, partition int32) error {
	f, err := d.flowCarried(flow)
	if err != nil {
		return err
	}
	done := make(chan error, 1)
	f.helm.post(func() { done <- f.helm.retry(lane.ID{Topic: topic, Partition: partition}) })
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return fmt.Errorf("flow %q does not get round to it: %w", flow, ErrNotNow)
	}
}

func (d *Daemon) flowNamed(name string) (*flow, error) {
	for _, f := range d.flows {
		if f.cfg.Name == name {
			return f, nil
		}
	}
	return nil, fmt.Errorf("there is no flow %q: %w", name, ErrUnknown)
}

// flowCarried is a flow that is carried here.
func (d *Daemon) flowCarried(name string) (*flow, error) {
	f, err := d.flowNamed(name)
	if err == nil && f.watched != nil {
		err = fmt.Errorf("flow %q is carried by Aiven's MirrorMaker 2, and only watched here: its key aiven.enabled and \"kferry aiven apply\" stop it and have it go on: %w", name, ErrNotNow)
	}
	return f, err
}

// retry has a stopped lane due now.
func (h *helm) retry(id lane.ID) error {
	m := h.f.lanes[id]
	switch {
	case m == nil:
		return fmt.Errorf("this replica has no lane for partition %d of topic %q: %w", id.Partition, id.Topic, ErrUnknown)
	case m.lane.State() != lane.Stopped || !m.start:
		return fmt.Errorf("partition %d of topic %q is not stopped, it is %s: %w", id.Partition, id.Topic, shown(m.lane.Snapshot()), ErrNotNow)
	case h.paused(m) != "":
		return fmt.Errorf("partition %d of topic %q is %s, so it is not tried again: %w", id.Partition, id.Topic, h.paused(m), ErrNotNow)
	}
	m.due = time.Now()
	h.f.log.Info("tried again, for somebody asked for it", "topic", id.Topic, "partition", id.Partition)
	return nil
}
