package catalog

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

const cleanupPolicy = "cleanup.policy"

// kafkaDefaults are what a new topic has where neither it nor its broker says otherwise.
var kafkaDefaults = map[string]setting{
	cleanupPolicy: {Value: "delete"}, "retention.ms": {Value: "604800000"}, "retention.bytes": {Value: "-1"}, timestampType: {Value: "CreateTime"},
}

// unequal are the settings, be they the topics' own or their brokers', by which a
// target topic would not stay an equal copy: it may remove what the source keeps, or
// puts times of its own on the records. What a side does not tell is left out.
func unequal(source, target map[string]setting, exclude []string) (changes []change) {
	differs := func(key string, worse func(from, to string) bool) bool {
		from, to := source[key].Value, target[key].Value
		if from == "" || to == "" || slices.Contains(exclude, key) || !worse(from, to) {
			return false
		}
		changes = append(changes, change{key: key, from: to, to: from})
		return true
	}
	removes := strings.Contains(target[cleanupPolicy].Value, "delete") // what is old, or too much
	if differs(cleanupPolicy, func(from, to string) bool {
		compacts := strings.Contains(to, "compact") && !strings.Contains(from, "compact")
		return compacts || removes && bounded(target) && !strings.Contains(from, "delete")
	}) {
		removes = true // as the source does, once it is mended
	}
	if removes && strings.Contains(source[cleanupPolicy].Value, "delete") {
		differs("retention.ms", less)
		differs("retention.bytes", less)
	}
	differs(timestampType, func(from, to string) bool { return to == logAppendTime && from != logAppendTime })
	return changes
}

// less tells that a topic with the limit to keeps less than one with from; below 0 is no limit.
func less(from, to string) bool {
	f, errF := strconv.ParseInt(from, 10, 64)
	t, errT := strconv.ParseInt(to, 10, 64)
	return errF == nil && errT == nil && t >= 0 && (f < 0 || t < f)
}

// bounded tells that a topic that removes what is old has a limit to go by.
func bounded(topic map[string]setting) bool {
	return less("-1", topic["retention.ms"].Value) || less("-1", topic["retention.bytes"].Value)
}

// differing are changes in words: what is, and what the source has.
func differing(changes []change) string {
	var out []string
	for _, ch := range changes {
		out = append(out, fmt.Sprintf("%s is %s, on the source %s", ch.key, ch.from, ch.to))
	}
	return strings.Join(out, "; ")
}

// first picks the settings that a target topic is made with: those carried, and
// those of the source's broker without which Kafka's defaults would keep less.
func first(source map[string]setting, exclude []string) map[string]*string {
	with := carried(source, exclude)
	target := maps.Clone(kafkaDefaults)
	for k, v := range with {
		target[k] = setting{Value: *v}
	}
	for _, ch := range unequal(source, target, exclude) {
		with[ch.key] = &ch.to
	}
	return with
}

// wanted are the settings that a target topic should have: those carried, and those
// that we have set on it to keep as much as the source, while that needs them.
func wanted(source, target map[string]setting, exclude []string, ours map[string]string) map[string]*string {
	want := carried(source, exclude)
	bare := maps.Clone(target)
	for k, v := range ours {
		if is := target[k]; is.own && is.Value == v && unset(source, k) {
			bare[k] = setting{Value: cmp.Or(is.fallback, kafkaDefaults[k].Value)}
		}
	}
	for _, ch := range unequal(source, bare, exclude) {
		if is := target[ch.key]; is.own && is.Value == ours[ch.key] {
			want[ch.key] = &ch.to
		}
	}
	return want
}

// equal has a topic that we have just made keep what the source keeps, where the
// target's brokers have other defaults than Kafka.
func (c *Catalog) equal(ctx context.Context, p *pair, s *settings, source, target map[string]setting) {
	if !s.fresh || source == nil || target == nil {
		return
	}
	s.fresh = false
	if changes := unequal(source, target, c.o.Exclude); len(changes) > 0 {
		c.apply(ctx, p, s, changes, source, target)
	}
}

// tellUnequal warns, once, of target topics that are not equal copies.
func (c *Catalog) tellUnequal(due []*pair) {
	var names []string
	for _, p := range due {
		s := c.settings[p.source.Topic]
		if s.unequal != "" && s.said["unequal"] != s.unequal {
			names = append(names, fmt.Sprintf("%s (%s)", p.target, s.unequal))
		}
		s.said["unequal"] = s.unequal
	}
	if len(names) > 0 {
		c.event("", "target topics will not stay equal copies of the source's", fmt.Errorf("%s: %s", few(names), EqualRemedy))
	}
}

// EqualRemedy is what to do about a target topic that does not keep what the source keeps.
const EqualRemedy = "set the same on the target topic, or add the setting to config_exclude if it is meant to differ"
