package catalog

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/kferry/kferry/internal/kafka"
)

// excluded are settings that belong to a cluster rather than to the data:
// MirrorMaker 2's list, and the remote (tiered) storage that not every host has.
var excluded = []string{
	"follower.replication.throttled.replicas",
	"leader.replication.throttled.replicas",
	"message.timestamp.difference.max.ms",
	"message.timestamp.before.max.ms",
	"message.timestamp.after.max.ms",
	"message.timestamp.type",
	"unclean.leader.election.enable",
	"min.insync.replicas",
	"message.format.version",
	"message.downconversion.enable",
	"remote.storage.enable",
	"local.retention.ms",
	"local.retention.bytes",
	"remote.log.copy.disable",
	"remote.log.delete.on.disable",
}

// carried picks the settings that a target topic gets: those set on the
// source topic itself but for the excluded ones, and a limit on the size of
// batches that is above Kafka's default wherever it was set, without which
// large batches would be refused.
func carried(source map[string]setting, exclude []string) map[string]*string {
	out := map[string]*string{}
	for k, s := range source {
		if s.own && !slices.Contains(excluded, k) && !slices.Contains(exclude, k) {
			out[k] = kadm.StringPtr(s.Value)
		}
	}
	if n, err := strconv.Atoi(source[maxMessage].Value); err == nil && n > defaultMaxMessage && !slices.Contains(exclude, maxMessage) {
		out[maxMessage] = kadm.StringPtr(source[maxMessage].Value)
	}
	return out
}

// Wanted is a topic of the flow as the target is to have it.
type Wanted struct {
	Source, Target string
	Partitions     int32
	Settings       map[string]string
}

// Wanted reads what topics the source has for the flow, and how the target would get them. The target is not asked.
// notes say what could not be read.
func (c *Catalog) Wanted(ctx context.Context) (topics []Wanted, notes []Event, err error) {
	sources, _, err := c.sources(ctx)
	if err != nil {
		return nil, nil, kafka.Explain(c.o.Source.Alias(), err)
	}
	pairs := c.pairs(sources, nil)
	configs, err := c.source.describe(ctx, namesOf(pairs, func(p *pair) string { return p.source.Topic }))
	if err != nil {
		return nil, nil, err
	}
	for _, p := range pairs {
		if p.problem != nil {
			return nil, nil, p.problem
		}
		w := Wanted{Source: p.source.Topic, Target: p.target, Partitions: int32(len(p.source.Partitions)), Settings: map[string]string{}}
		for key, v := range first(configs[p.source.Topic], c.o.Exclude) {
			w.Settings[key] = *v
		}
		topics = append(topics, w)
	}
	c.tellRights(&c.source)
	notes, c.events = c.events, nil
	return topics, notes, nil
}

// create makes the topics of ps and returns how many it made. What cannot be
// made becomes the pair's problem, or its delay if that passes.
func (c *Catalog) create(ctx context.Context, ps []*pair) (made int) {
	if len(ps) == 0 {
		return 0
	}
	configs, err := c.source.describe(ctx, namesOf(ps, func(p *pair) string { return p.source.Topic }))
	if err != nil {
		c.event("", "settings of source topics cannot be read: topics are made with the target's defaults", err)
	}
	rf := c.o.ReplicationFactor
	if rf == 0 {
		rf = -1
	}
	for _, p := range ps {
		n := int32(len(p.source.Partitions))
		with := first(configs[p.source.Topic], c.o.Exclude)
		resp, err := c.o.Target.Admin().CreateTopic(ctx, n, rf, with, p.target)
		if len(with) > 0 && c.o.InStep && (errors.Is(err, kerr.InvalidConfig) || errors.Is(err, kerr.PolicyViolation)) {
			// The host does not allow some setting; those that it does allow
			// come when the topic is brought in step.
			with = map[string]*string{}
			resp, err = c.o.Target.Admin().CreateTopic(ctx, n, rf, nil, p.target)
		}
		if errors.Is(err, kerr.TopicAlreadyExists) {
			made++ // somebody else was faster
			continue
		}
		if err != nil {
			p.problem, p.delay = c.unmade("create", p, n, err, resp.ErrMessage)
			continue
		}
		made++
		p.made = with
		c.event(p.source.Topic, fmt.Sprintf("created topic %q with %d partitions on the target", p.target, n), nil)
	}
	return made
}

// grow adds the partitions that the target topics of ps lack and returns how
// many topics it changed. Where it cannot, the partitions that are there are
// carried all the same.
func (c *Catalog) grow(ctx context.Context, ps []*pair) (changed int) {
	for _, p := range ps {
		n := len(p.source.Partitions)
		rs, err := c.o.Target.Admin().UpdatePartitions(ctx, n, p.target)
		msg := ""
		if r, ok := rs[p.target]; ok && err == nil {
			err, msg = r.Err, r.ErrMessage
		}
		if err != nil {
			p.stuck, p.delay = c.unmade("add partitions to", p, int32(n), err, msg)
			continue
		}
		changed++
		c.event(p.source.Topic, fmt.Sprintf("target topic %q now has %d partitions", p.target, n), nil)
	}
	return changed
}

// unmade says why the target topic of p is not as it should be: what stays so, and
// what passes.
func (c *Catalog) unmade(what string, p *pair, n int32, err error, msg string) (lasting, passing error) {
	if msg != "" {
		err = fmt.Errorf("%w (%s)", err, msg)
	}
	alias := c.o.Target.Alias()
	why := kafka.Unmade(alias, fmt.Sprintf("%s topic %q on the target %q", what, p.target, alias), fmt.Sprintf("with %d partitions", n), err)
	if kafka.Passing(err) {
		c.event("", "target topics cannot be made, or not grow, at the moment; trying on", kafka.Explain(alias, err))
		return nil, why
	}
	return why, nil
}
