package catalog

import (
	"cmp"

	"github.com/kferry/kferry/config"
	"github.com/kferry/kferry/replicator/policy"
)

// Naming is what cfg says about the topics of a flow: which ones, and what they are
// called on the target.
func Naming(cfg config.Flow) (policy.Filter, policy.Policy, error) {
	filter, err := policy.NewFilter(cfg.Topics, cfg.TopicsExclude)
	if err != nil {
		return policy.Filter{}, policy.Policy{}, err
	}
	pol, err := policy.New(policy.Options{
		Kind: policy.Kind(cfg.Policy), SourceAlias: cfg.Source, TargetAlias: cfg.Target,
		Prefix: cfg.Prefix, Suffix: cfg.Suffix, Separator: cmp.Or(cfg.MM2.Separator, cfg.Separator), StripPrefix: cfg.StripPrefix,
		Heartbeats: len(cfg.Groups) > 0 && cfg.Heartbeats.Enabled,
	})
	return filter, pol, err
}
