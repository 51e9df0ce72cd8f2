package config

import (
	"errors"
	"maps"
	"regexp"
	"slices"
	"strings"
)

// maxFlowName leaves room for kferry.<name>.dead_letter in the 249 characters of a topic name.
const maxFlowName = 249 - len("kferry..dead_letter")

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

func flowPath(i int) keyPath { return keyPath{"flows"}.item(i) }

func checkFlows(r *report, c *Config) {
	if len(c.Flows) == 0 {
		r.require(keyPath{"flows"}, "is missing: give at least one flow with source, target and topics")
	}
	byName := map[string]int{}
	for i := range c.Flows {
		f, at := &c.Flows[i], flowPath(i)
		checkEnds(r, f, at, c.Clusters)
		checkTopics(r, f, at)
		checkStartOffsets(r, f, at)
		checkNaming(r, f, at)
		checkGroups(r, f, at)
		if f.Name == "" {
			f.Name = f.Source + "-" + f.Target
		}
		first, double := byName[f.Name]
		switch {
		case double:
			r.add(at.child("name"), f.Name, "is the name of flows[%d] too: give this one a name of its own", first)
		case r.isSet(at.child("name")) && (!nameChars.MatchString(f.Name) || len(f.Name) > maxFlowName):
			r.add(at.child("name"), f.Name, "is not allowed: a-z A-Z 0-9 . _ - are, and at most %d of them", maxFlowName)
		}
		byName[f.Name] = i
	}
	sound := soundFlows(r, c.Flows)
	checkCollisions(r, sound)
	checkCycles(r, sound)
}

// A sound flow has no problem of its own, so its patterns compile.
type soundFlow struct {
	*Flow
	at               keyPath
	include, exclude *regexp.Regexp
	reads, writes    []glob // what its patterns stand for on the source and on the target
	plain            bool   // reads and writes are all there is; otherwise some pattern is no glob
}

// newSoundFlow fails only when patterns that are good alone are too large together.
func newSoundFlow(f *Flow, at keyPath) (soundFlow, error) {
	s := soundFlow{Flow: f, at: at, plain: true}
	var err, excludeErr error
	s.include, err = anyOf(f.Topics)
	s.exclude, excludeErr = anyOf(f.TopicsExclude)
	for _, p := range f.Topics {
		in, ok := globOf(p)
		if ok {
			s.reads = append(s.reads, in)
			var out glob
			out, ok = f.output(in)
			s.writes = append(s.writes, out)
		}
		s.plain = s.plain && ok
	}
	return s, errors.Join(err, excludeErr)
}

// anyOf matches what one of the patterns matches as a whole; nothing if there is none.
func anyOf(patterns []string) (*regexp.Regexp, error) {
	if len(patterns) == 0 {
		return regexp.Compile(`[^\x00-\x{10FFFF}]`)
	}
	return regexp.Compile(whole(strings.Join(patterns, ")|(?:")))
}

// soundFlows leaves out those with a problem of their own: what they have to do
// with others would be a guess, and their patterns may not compile.
func soundFlows(r *report, flows []Flow) []soundFlow {
	var out []soundFlow
	for i := range flows {
		at := flowPath(i)
		if r.failed[at.String()] || r.failedUnder(at) {
			continue
		}
		if s, err := newSoundFlow(&flows[i], at); err != nil {
			r.add(at.child("topics"), "", "and topics_exclude hold more than a regular expression can: use fewer or simpler patterns")
		} else {
			out = append(out, s)
		}
	}
	return out
}

func checkEnds(r *report, f *Flow, at keyPath, clusters map[string]Cluster) {
	for _, end := range []struct{ key, alias string }{{"source", f.Source}, {"target", f.Target}} {
		p := at.child(end.key)
		if end.alias == "" {
			r.require(p, "is missing: it must be one of the clusters %s", listOf(sortedKeys(clusters)))
		} else if _, ok := clusters[end.alias]; !ok {
			r.add(p, end.alias, "is not a cluster: it must be one of %s", listOf(sortedKeys(clusters)))
		}
	}
	if f.Source != "" && f.Source == f.Target {
		r.add(at.child("target"), f.Target, "is the source as well: a flow needs two clusters")
	}
}

func checkTopics(r *report, f *Flow, at keyPath) {
	topics := at.child("topics")
	if len(f.Topics) == 0 && !r.failedBelow(topics) {
		r.require(topics, `is missing or empty: list topic names or regular expressions, ".*" for all topics`)
	}
	checkPatterns(r, topics, f.Topics)
	checkPatterns(r, at.child("topics_exclude"), f.TopicsExclude)
	for i, setting := range f.ConfigExclude {
		if !nameChars.MatchString(setting) {
			r.add(at.child("config_exclude").item(i), setting, "must be the name of a topic setting, such as retention.ms")
		}
	}
}

func checkPatterns(r *report, at keyPath, patterns []string) {
	for i, pattern := range patterns {
		if problem := patternProblem(pattern); problem != "" {
			r.add(at.item(i), pattern, "%s", problem)
		}
	}
}

// checkGroups also fills in which groups are left out.
func checkGroups(r *report, f *Flow, at keyPath) {
	if !r.isSet(at.child("groups_exclude")) {
		f.GroupsExclude = DefaultGroupsExclude
	}
	checkPatterns(r, at.child("groups"), f.Groups)
	checkPatterns(r, at.child("groups_exclude"), f.GroupsExclude)
	targets := map[string]string{}
	for i, pair := range f.GroupNames {
		p := at.child("group_names").item(i)
		source, target, ok := strings.Cut(pair, "=")
		switch other, taken := targets[target]; {
		case !ok || source == "" || target == "":
			r.add(p, pair, "must be the group's name on the source, =, and its name on the target")
		case taken && other != source:
			r.add(p, pair, "gives the group the name that %q has: offsets of two groups would be mixed", other)
		default:
			targets[target] = source
		}
	}
	checkMM2(r, f, at.child("mm2"))
}

func checkMM2(r *report, f *Flow, at keyPath) {
	if f.MM2.Separator != "" && !nameChars.MatchString(f.MM2.Separator) {
		r.add(at.child("separator"), f.MM2.Separator, "has characters that topic names cannot have: allowed are a-z A-Z 0-9 . _ -")
	}
	if f.Policy == "default" && f.MM2.Separator != "" && f.MM2.Separator != f.Separator {
		r.add(at.child("separator"), f.MM2.Separator, "is not the flow's separator %q: MirrorMaker 2 has one for all, leave it out", f.Separator)
	}
	if t := f.MM2.OffsetsTopic; t != "" && !nameChars.MatchString(t) {
		r.add(at.child("offsets_topic"), t, "is not the name of a topic: allowed are a-z A-Z 0-9 . _ -")
	}
}

// TargetGroup is the name on the target of a group of the source.
func (f *Flow) TargetGroup(group string) string {
	for _, pair := range f.GroupNames {
		if source, target, _ := strings.Cut(pair, "="); source == group {
			return target
		}
	}
	return group
}

// checkStartOffsets refuses topics that the flow does not copy: a misspelled one
// would begin somewhere else without a word.
func checkStartOffsets(r *report, f *Flow, at keyPath) {
	s, err := newSoundFlow(f, at)
	if err != nil || len(f.Topics) == 0 {
		return // told already
	}
	for _, topic := range sortedKeys(f.StartOffsets) {
		switch p := at.child("start_offsets").child(topic); {
		case !s.copies(topic):
			r.add(p, "", "is no topic of this flow: topics and topics_exclude leave it out")
		case len(f.StartOffsets[topic]) == 0 && !r.failedUnder(p):
			r.require(p, "names no partition: give at least one with its offset, or leave the topic out")
		}
	}
}

func checkNaming(r *report, f *Flow, at keyPath) {
	for _, part := range []struct{ key, text string }{
		{"prefix", f.Prefix}, {"suffix", f.Suffix}, {"separator", f.Separator}, {"strip_prefix", f.StripPrefix},
	} {
		if part.text != "" && !nameChars.MatchString(part.text) {
			r.add(at.child(part.key), part.text, "has characters that topic names cannot have: allowed are a-z A-Z 0-9 . _ -")
		}
	}
	switch {
	case f.Policy == "identity" && f.Separator != ".":
		r.add(at.child("separator"), f.Separator, "has no use in policy identity: it needs policy default, or leave it out")
	case f.Policy == "default" && f.Separator == "":
		r.add(at.child("separator"), "", "is empty: policy default needs one, leave the key out for a dot")
	}
	if f.Policy == "default" && f.Prefix != "" {
		r.add(at.child("prefix"), f.Prefix, "has no use in policy default, which names by alias: it needs policy identity")
	}
	if f.Policy == "default" && f.Suffix != "" {
		r.add(at.child("suffix"), f.Suffix, "has no use in policy default, which names by alias: it needs policy identity")
	}
}

// failedBelow reports whether an item of the list at p has a problem.
func (r *report) failedBelow(p keyPath) bool {
	for key := range r.failed {
		if strings.HasPrefix(key, p.String()+"[") {
			return true
		}
	}
	return false
}

// failedUnder reports whether a key below p has a problem.
func (r *report) failedUnder(p keyPath) bool {
	for key := range r.failed {
		if strings.HasPrefix(key, p.String()+".") {
			return true
		}
	}
	return false
}

// head is what a flow puts before a name.
func (f *Flow) head() string {
	if f.Policy == "default" {
		return f.Source + f.Separator
	}
	return f.Prefix
}

// targetName is the name on the target, as package policy gives it.
func (f *Flow) targetName(topic string) string {
	return f.head() + strings.TrimPrefix(topic, f.StripPrefix) + f.Suffix
}

func (f soundFlow) copies(topic string) bool {
	return f.include.MatchString(topic) && !f.exclude.MatchString(topic)
}

// literals are the topics that a flow's plain names were written for and that it copies.
func (f soundFlow) literals() []string {
	var out []string
	for _, g := range f.reads {
		if f.copies(g.name()) {
			out = append(out, g.name())
		}
	}
	return out
}

// checkCollisions refuses two flows that are sure to write to one topic from the
// same source: each record would be there twice, or two topics would be mixed.
func checkCollisions(r *report, flows []soundFlow) {
	for j, g := range flows {
		for _, f := range flows[:j] {
			if f.Source != g.Source || f.Target != g.Target {
				continue
			}
			if a, b, ok := collide(f, g); ok {
				r.add(g.at.child("topics"), "",
					"copies %q to %q on %s, where %s (%s) writes %q too: leave it out of one, or name it otherwise",
					b, g.targetName(b), g.Target, f.at, f.Name, a)
			}
		}
	}
}

// collide finds a topic of f and one of g that get the same name. Only plain
// names and equal patterns are compared; other overlaps show when topics do.
func collide(f, g soundFlow) (a, b string, ok bool) {
	inF, inG := f.literals(), g.literals()
	for _, t := range inF {
		if g.copies(t) {
			inG = append(inG, t)
		}
	}
	for _, t := range inG {
		if f.copies(t) {
			inF = append(inF, t)
		}
	}
	for _, p := range f.Topics {
		if slices.Contains(g.Topics, p) && slices.Equal(f.TopicsExclude, g.TopicsExclude) && f.targetName(p) == g.targetName(p) {
			return p, p, true
		}
	}
	writer := map[string]string{} // by topic on the target
	for _, t := range inF {
		writer[f.targetName(t)] = t
	}
	for _, b := range inG {
		if a, ok := writer[g.targetName(b)]; ok {
			return a, b, true
		}
	}
	return "", "", false
}
