// Package toaiven reads from the clusters that are left what is to be at Aiven besides records: topics, rights and
// schemas, in the words of package internal/aiven, which compares and makes them. Nothing is written here.
package toaiven

import (
	"context"
	"errors"
	"fmt"

	"github.com/kferry/kferry/config"
	"github.com/kferry/kferry/internal/aiven"
	"github.com/kferry/kferry/internal/kafka"
	"github.com/kferry/kferry/replicator/catalog"
	"github.com/kferry/kferry/replicator/policy"
)

// A scope is a flow to the Kafka service, whoever carries it, and the topics that its source has for it.
type scope struct {
	flow   config.Flow
	policy policy.Policy
	topics []catalog.Wanted
}

// Topics are those of all flows to the Kafka service, as they are to be there. notes say what the source did not tell.
func Topics(ctx context.Context, cfg *config.Config) (topics []aiven.Topic, notes []string, err error) {
	err = eachFlow(ctx, cfg, func(_ *kafka.Cluster, s scope, n []string) error {
		notes = append(notes, n...)
		for _, t := range s.topics {
			topics = append(topics, aiven.Topic{Name: t.Target, Partitions: int(t.Partitions), Replication: int(s.flow.ReplicationFactor), Config: t.Settings})
		}
		return nil
	})
	return topics, notes, err
}

// eachFlow reads what the source of each flow to the Kafka service has for it.
func eachFlow(ctx context.Context, cfg *config.Config, do func(source *kafka.Cluster, s scope, notes []string) error) error {
	some := false
	for _, f := range cfg.Flows {
		if f.Target != cfg.Aiven.Cluster {
			continue
		}
		some = true
		source, err := kafka.Open(cfg.Clusters[f.Source], kafka.Options{})
		if err != nil {
			return err
		}
		s, notes, err := look(ctx, source, f)
		if err == nil {
			err = do(source, s, notes)
		}
		source.Close()
		if err != nil {
			return fmt.Errorf("flow %s: %w", f.Name, err)
		}
	}
	if !some {
		return cfg.ErrorAt([]string{"flows"}, "", fmt.Sprintf("have none to %s, which is aiven.cluster: there is nothing to bring there", cfg.Aiven.Cluster))
	}
	return nil
}

func look(ctx context.Context, source *kafka.Cluster, f config.Flow) (scope, []string, error) {
	filter, pol, err := catalog.Naming(f)
	if err != nil {
		return scope{}, nil, err
	}
	if err := source.Ping(ctx); err != nil {
		return scope{}, nil, err
	}
	c := catalog.New(catalog.Options{Source: source, Target: source, Filter: filter, Policy: pol, Exclude: f.ConfigExclude})
	topics, events, err := c.Wanted(ctx)
	var notes []string
	for _, e := range events {
		notes = append(notes, e.Text)
	}
	if err == nil && len(topics) == 0 {
		err = errors.New("the source has no topic for it: check topics, and what its user may see")
	}
	return scope{f, pol, topics}, notes, err
}
