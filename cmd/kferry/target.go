package main

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/kferry/kferry/config"
	"github.com/kferry/kferry/internal/kafka"
)

// onTarget runs do with the target of a flow, for commands that need no running kferry.
func onTarget(ctx context.Context, p *process, cfg *config.Config, flow config.Flow, do func(*kafka.Cluster) error) error {
	log, err := newLogger(p.stderr, cfg.Log)
	if err != nil {
		return err
	}
	target, err := kafka.Open(cfg.Clusters[flow.Target], kafka.Options{Logger: log})
	if err != nil {
		return err
	}
	defer target.Close()
	if err := target.Ping(ctx); err != nil {
		return err
	}
	return do(target)
}

// flowNamed finds the flow that --flow names.
func flowNamed(cfg *config.Config, name string) (config.Flow, error) {
	i := slices.IndexFunc(cfg.Flows, func(f config.Flow) bool { return f.Name == name })
	if i < 0 {
		var names []string
		for _, f := range cfg.Flows {
			names = append(names, f.Name)
		}
		return config.Flow{}, usageError{fmt.Errorf("--flow %q: the configuration has %s", name, strings.Join(names, ", "))}
	}
	return cfg.Flows[i], nil
}
