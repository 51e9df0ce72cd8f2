package main

import (
	"context"
	"io"
	"log/slog"
	"sync"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/kferry/kferry/config"
	"github.com/kferry/kferry/internal/aiven"
	"github.com/kferry/kferry/internal/kafka"
	"github.com/kferry/kferry/replicator"
)

// daemon is what the commands need of replicator.Daemon.
type daemon interface {
	Run(ctx context.Context) error // until ctx ends; nil after a clean drain
	Ready() error
	Status() replicator.Status
	Offsets() []replicator.OffsetRow
	Translate(q replicator.Lookup) []replicator.Translation
	Trace(q replicator.Lookup) []replicator.Trace
	WriteLanes(w io.Writer) error // the metrics of lanes
	History(flow, topic string) []replicator.Point
	Events(after uint64) []replicator.Event
	Pause(ctx context.Context, flow, topic, by string) error
	Resume(ctx context.Context, flow, topic string) error
	Retry(ctx context.Context, flow, topic string, partition int32) error
}

// openDaemon makes the real daemon. It does not connect; Run does.
func openDaemon(cfg *config.Config, log *slog.Logger, reg prometheus.Registerer) (daemon, error) {
	carrier, err := carrierOf(cfg)
	if err != nil {
		return nil, err
	}
	d, err := replicator.New(cfg, replicator.Options{
		Carrier:        carrier,
		Logger:         log,
		Registerer:     reg,
		Version:        buildVersion().version,
		ClusterOptions: func(string) kafka.Options { return kafka.Options{Logger: log} },
	})
	if err != nil {
		return nil, err // a nil *replicator.Daemon would make a daemon that is not nil
	}
	return d, nil
}

// carrierOf is Aiven's MirrorMaker 2 as the daemon asks it; nil where there is none, or no token to ask with.
func carrierOf(cfg *config.Config) (replicator.Carrier, error) {
	service := cfg.Aiven.MirrorMaker.Name
	if service == "" || cfg.Aiven.Token == "" {
		return nil, nil
	}
	c, err := aiven.NewClient(cfg, buildVersion().version, aiven.SystemClock{})
	return &mirrorMaker{client: c, service: service}, err
}

// mirrorMaker is a MirrorMaker 2 service at Aiven.
type mirrorMaker struct {
	service string
	mu      sync.Mutex // guards client, which is for one goroutine
	client  *aiven.Client
}

// Flows implements replicator.Carrier.
func (m *mirrorMaker) Flows(ctx context.Context) ([]replicator.Carried, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	flows, err := m.client.Replications(ctx, m.service)
	var out []replicator.Carried
	for _, f := range flows {
		c := replicator.Carried{Source: f.Source, Target: f.Target, Enabled: f.Enabled, Progress: -1, Identity: f.Identity, Topics: f.Topics, Exclude: f.Exclude}
		if f.Progress != nil {
			c.Progress = *f.Progress
		}
		out = append(out, c)
	}
	return out, err
}
