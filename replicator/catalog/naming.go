package catalog

import (
	"cmp"
	"fmt"
	"sync"

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

// owners tell which source topic each target topic is a copy of. Whoever has a name
// keeps it: records of another topic would be mixed into its copy.
type owners struct {
	mu   sync.Mutex
	told bool              // by stored progress
	by   map[string]string // source topics by target topic
	news bool              // since last looked at
}

// Carried tells the catalog what stored progress says: which source topic is carried
// to each target topic. It counts more than what the catalog has seen itself. It may
// be called while Refresh runs.
func (c *Catalog) Carried(sources map[string]string) {
	o := &c.owners
	o.mu.Lock()
	defer o.mu.Unlock()
	o.told = true
	for target, source := range sources {
		o.news = o.news || o.by[target] != source
		o.by[target] = source
	}
}

// changed tells, once, that stored progress named other owners than were known.
func (o *owners) changed() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	news := o.news
	o.news = false
	return news
}

// knows tells that stored progress was heard.
func (o *owners) knows() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.told
}

// of is the owner of a target topic: source, if it had none.
func (o *owners) of(target, source string) string {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.by[target] == "" {
		o.by[target] = source
	}
	return o.by[target]
}

// allot gives each pair the name that it has on the target, or a problem.
func (c *Catalog) allot(ps []*pair) {
	present := map[string]bool{}
	for _, p := range ps {
		present[p.source.Topic] = true
	}
	for _, p := range ps {
		if err := policy.Legal(p.target); err != nil {
			p.problem = fmt.Errorf("topic %q would be called %q on the target, which Kafka does not allow: %w", p.source.Topic, p.target, err)
		} else if owner := c.owners.of(p.target, p.source.Topic); owner != p.source.Topic {
			p.problem = Taken(p.source.Topic, owner, p.target, present[owner])
		}
	}
}

// contested tells that two pairs would have the same name.
func contested(ps []*pair) bool {
	seen := map[string]bool{}
	for _, p := range ps {
		if seen[p.target] {
			return true
		}
		seen[p.target] = true
	}
	return false
}

// Taken is the problem of a topic whose target topic is a copy of another one, owner;
// there: the source has that still.
func Taken(topic, owner, target string, there bool) error {
	if there {
		return fmt.Errorf("topics %q and %q would both be called %q on the target, which is a copy of %q: exclude one of them", owner, topic, target, owner)
	}
	return fmt.Errorf("topic %q would be called %q on the target, which is a copy of source topic %q: exclude %q from the flow, "+
		"or forget the stored progress of %q, see \"To forget a lane\" in docs/progress.md", topic, target, owner, topic, owner)
}
