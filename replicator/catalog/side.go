package catalog

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kferry/kferry/internal/kafka"
)

// describeAtOnce is how many topics one request asks for: the answer has some
// kilobytes for each.
const describeAtOnce = 500

// setting is one entry of a topic's configuration.
type setting struct {
	Value    string
	own      bool   // set on the topic itself
	fallback string // what it is without that; "" where the broker does not say
}

// side is a cluster as a place to read settings from.
type side struct {
	cl    *kafka.Cluster
	costs string // what it costs not to be allowed to

	allowed map[string]bool // topics that were asked for: may we read their settings?
	why     error           // of the last topic that we may not
	said    bool            // that it is not allowed
	probe   time.Time       // when to ask again, where no topic is allowed
}

// forget leaves out topics that are no longer there.
func (s *side) forget(there kadm.TopicDetails) {
	maps.DeleteFunc(s.allowed, func(t string, _ bool) bool { return !there.Has(t) })
}

// walled tells that every topic that was asked for was denied.
func (s *side) walled() bool {
	for _, ok := range s.allowed {
		if ok {
			return false
		}
	}
	return len(s.allowed) > 0
}

// denied tells that we may not read the settings of a topic.
func (s *side) denied(topic string) bool {
	ok, known := s.allowed[topic]
	return known && !ok
}

// describe reads the settings of topics. Those without an answer are left out,
// denied tells why; an error is the cluster's.
func (s *side) describe(ctx context.Context, topics []string) (map[string]map[string]setting, error) {
	if s.walled() {
		topics = s.probing(topics)
	}
	out := map[string]map[string]setting{}
	for some := range slices.Chunk(topics, describeAtOnce) {
		if err := s.ask(ctx, some, out); err != nil {
			return out, err
		}
	}
	return out, nil
}

// probing leaves of topics those that were never asked for, and one of the
// others every now and then: a broker's log has a line for each denial.
func (s *side) probing(topics []string) []string {
	now := time.Now()
	return slices.DeleteFunc(topics, func(t string) bool {
		_, known := s.allowed[t]
		if known && !now.Before(s.probe) {
			s.probe = now.Add(settingsEvery / 2)
			return false
		}
		return known
	})
}

// ask sends one request. kadm's DescribeTopicConfigs ends at the first topic
// that is denied, and says nothing of those after it.
func (s *side) ask(ctx context.Context, topics []string, out map[string]map[string]setting) error {
	req := kmsg.NewPtrDescribeConfigsRequest()
	req.IncludeSynonyms = true
	for _, t := range topics {
		r := kmsg.NewDescribeConfigsRequestResource()
		r.ResourceType, r.ResourceName = kmsg.ConfigResourceTypeTopic, t
		req.Resources = append(req.Resources, r)
	}
	resp, err := req.RequestWith(ctx, s.cl.Client())
	if kafka.TooOld(err) {
		s.why = kafka.Needs(s.cl.Alias(), "to read settings", "0.11", err)
		for _, t := range topics {
			s.allowed[t] = false
		}
		return nil
	}
	if err != nil {
		return kafka.Explain(s.cl.Alias(), err)
	}
	for _, r := range resp.Resources {
		switch err := kerr.ErrorForCode(r.ErrorCode); {
		case err == nil:
			s.allowed[r.ResourceName] = true
			out[r.ResourceName] = settingsOf(resp.Version, r.Configs)
		case refusal(err):
			s.allowed[r.ResourceName], s.why = false, err
		} // else the broker does not know the topic yet
	}
	return nil
}

// settingsOf reads an answer of that version. Brokers before Kafka 1.1 say of a setting
// that it is not a default, and no more.
func settingsOf(version int16, configs []kmsg.DescribeConfigsResponseResourceConfig) map[string]setting {
	m := map[string]setting{}
	for _, c := range configs {
		if c.Value == nil {
			continue
		}
		s := setting{Value: *c.Value, own: own(c.Source) || version == 0 && !c.IsDefault}
		for _, syn := range c.ConfigSynonyms {
			if syn.Value != nil && !own(syn.Source) {
				s.fallback = *syn.Value
				break
			}
		}
		m[c.Name] = s
	}
	return m
}

func own(s kmsg.ConfigSource) bool { return s == kmsg.ConfigSourceDynamicTopicConfig }

// tellRights says, once, what we may not read on a cluster, and when we may again.
func (c *Catalog) tellRights(s *side) {
	var denied []string
	for t, ok := range s.allowed {
		if !ok {
			denied = append(denied, t)
		}
	}
	switch {
	case len(denied) > 0 && !s.said && kafka.TooOld(s.why):
		c.event("", fmt.Sprintf("the settings of topics on %q cannot be read: %s", s.cl.Alias(), s.costs), s.why)
	case len(denied) > 0 && !s.said:
		slices.Sort(denied)
		c.event("", fmt.Sprintf("our user may not read the settings of topics on %q (%s): %s; to change that, grant DescribeConfigs on the topics",
			s.cl.Alias(), few(denied), s.costs), s.why)
	case len(denied) == 0 && s.said:
		c.event("", fmt.Sprintf("the settings of topics on %q can be read again", s.cl.Alias()), nil)
	}
	s.said = len(denied) > 0
}

// few lists some of many.
func few(all []string) string {
	const most = 5
	if len(all) <= most {
		return strings.Join(all, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(all[:most], ", "), len(all)-most)
}
