package catalog

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
)

// settingsEvery is how long a change of a topic's settings may go unseen. Each
// topic has its own moment, so that ten thousand topics are not read at once.
const settingsEvery = time.Minute

// alterFor is about how long one Refresh changes settings: lanes wait for it,
// and at a first start there may be thousands of topics to change. The others
// have their turn within a minute.
const alterFor = 2 * time.Second

// settings are what we know of a topic pair's configuration. takes and exact
// are for the data path.
type settings struct {
	id     [16]byte  // of the target topic that all of this is about
	source [16]byte  // id of the source topic that it was first read for
	due    time.Time // when they are read next
	takes
	exact     bool
	unequal   string // as Place has it
	fresh     bool   // we have just made the target topic, and not looked at its settings yet
	compacted bool   // the source was compacted at some time: what that took away stays away

	ours    map[string]string  // what we have set on the target topic: the only settings that we take away again
	refused map[string]refused // by setting
	kept    string             // the target's own settings that we leave alone, as last said
	said    map[string]string  // what is in the log, by subject
}

// readSettings reads the settings of the topics that are due, and keeps the
// target's in step if this replica leads. What may not be read leaves safe assumptions: Kafka's
// default limit, and a source whose offsets may go missing.
func (c *Catalog) readSettings(ctx context.Context, pairs []*pair, targets kadm.TopicDetails, lead func() bool) {
	now := time.Now()
	due := c.due(now, pairs, targets)
	src, srcErr := c.source.describe(ctx, namesOf(due, func(p *pair) string { return p.source.Topic }))
	dst, dstErr := c.target.describe(ctx, namesOf(due, func(p *pair) string { return p.target }))
	var kept []string
	for _, p := range due {
		s := c.settings[p.source.Topic]
		from, to := src[p.source.Topic], dst[p.target]
		both := from != nil && to != nil
		if both || c.source.denied(p.source.Topic) || c.target.denied(p.target) {
			s.due = now.Add(settingsEvery/2 + rand.N(settingsEvery/2))
		} // else at the next Refresh
		c.learn(p, s, from, to)
		c.equal(ctx, p, s, from, to)
		if both && c.o.InStep && lead() && c.same(p, s) && time.Since(now) < alterFor {
			if alone := c.keep(ctx, p, s, from, to); alone != "" {
				kept = append(kept, fmt.Sprintf("%s (%s)", p.target, alone))
			}
		}
	}
	c.tellUnequal(due)
	if len(kept) > 0 {
		c.event("", "settings that only the target's topics have stay as they are: "+few(kept), nil)
	}
	for _, err := range []error{srcErr, dstErr} {
		if err != nil {
			c.event("", "topic settings cannot be read at the moment, trying on", err)
		}
	}
	c.tellRights(&c.source)
	c.tellRights(&c.target)
}

// same tells that the source topic is the one that the target topic is a copy
// of. One that was made anew says nothing about the records of the old one: a
// shorter retention could remove the last copy of them.
func (c *Catalog) same(p *pair, s *settings) bool {
	zero := [16]byte{}
	if s.source == p.source.ID || s.source == zero || p.source.ID == zero {
		return true
	}
	c.tell(p, s, "anew", fmt.Sprintf("source topic %q was deleted and made anew: the settings of target topic %q are left as they are", p.source.Topic, p.target), nil)
	return false
}

// due picks the pairs whose settings are to be read.
func (c *Catalog) due(now time.Time, pairs []*pair, targets kadm.TopicDetails) (due []*pair) {
	for _, p := range pairs {
		t, ok := targets[p.target]
		if !ok || p.problem != nil {
			continue
		}
		s := c.settings[p.source.Topic]
		if s == nil || s.id != t.ID {
			s = &settings{
				id: t.ID, source: p.source.ID, takes: takes{limit: defaultMaxMessage},
				fresh: p.made != nil,
				ours:  map[string]string{}, refused: map[string]refused{}, said: map[string]string{},
			}
			for k, v := range p.made {
				s.ours[k] = *v
			}
			c.settings[p.source.Topic], c.changed = s, true
		}
		if !now.Before(s.due) {
			due = append(due, p)
		}
	}
	return due
}

func namesOf(pairs []*pair, name func(*pair) string) []string {
	out := make([]string, len(pairs))
	for i, p := range pairs {
		out[i] = name(p)
	}
	return out
}

// learn takes from a pair's settings what the data path must know.
func (c *Catalog) learn(p *pair, s *settings, source, target map[string]setting) {
	takes, exact, odd := s.takes, s.exact, s.unequal
	defer func() { c.changed = c.changed || s.takes != takes || s.exact != exact || s.unequal != odd }()
	if source != nil && target != nil {
		s.unequal = differing(unequal(source, target, c.o.Exclude))
	}
	if v, ok := source["cleanup.policy"]; ok {
		s.compacted = s.compacted || strings.Contains(v.Value, "compact")
		s.exact = !s.compacted
	} else if c.source.denied(p.source.Topic) {
		s.exact = false // it may be compacted by now
	}
	if target != nil {
		s.takes = takesOf(target)
	} else if c.target.denied(p.target) {
		s.foretold = false // it may be otherwise by now
	}
	c.tellCodec(p, s, source, target)
}

// tellCodec says that the target undoes what whole batches save.
func (c *Catalog) tellCodec(p *pair, s *settings, source, target map[string]setting) {
	const codec = "compression.type"
	from := source[codec]
	if v := target[codec].Value; v != "" && v != "producer" && v != from.Value && !(from.own && c.o.InStep) {
		c.tell(p, s, "compression", fmt.Sprintf("target topic %q has compression.type=%s: the target will compress every batch again; "+
			"set it to producer to keep the source's batches", p.target, v), nil)
	}
}

// tell says something about a topic's settings, unless it was the last that was
// said on that subject.
func (c *Catalog) tell(p *pair, s *settings, subject, text string, err error) {
	if all := fmt.Sprint(text, err); s.said[subject] != all {
		s.said[subject] = all
		c.event(p.source.Topic, text, err)
	}
}
