package main

import (
	"context"
	"io"
	"log/slog"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/kferry/kferry/config"
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
	d, err := replicator.New(cfg, replicator.Options{
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
