package config

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// MirrorMaker 2's own defaults, where ours differ.
var (
	mm2TopicsExclude = []string{`mm2.*\.internal`, `.*\.replica`, `__.*`}
	mm2All           = []string{".*"}
)

// An mm2Flow is a direction that the file enables.
type mm2Flow struct {
	name           string // SOURCE->TARGET
	source, target string
	at             keyPath
}

// findFlows reads the directions that are enabled, in the order of the file. As
// in MirrorMaker 2, what is not plainly true is not enabled.
func (m *mm2Reader) findFlows() {
	var flows []mm2Flow
	for _, e := range m.inOrder() {
		source, target, rest, ok := m.pairOf(e.key)
		if !ok || rest != "enabled" || source == target {
			continue
		}
		m.resolve(e)
		switch text := strings.TrimSpace(e.plain); {
		case strings.EqualFold(text, "true"):
			f := mm2Flow{source + "->" + target, source, target, flowPath(len(flows))}
			m.enabled[f.name] = len(flows)
			m.origins[f.at.String()] = origin{m.file, e.line, f.name}
			e.used = append(e.used, f.at.String())
			flows = append(flows, f)
		case strings.EqualFold(text, "false"):
			e.used = append(e.used, "no flow")
		default:
			e.settled = true
			m.note(e, Ignored, "the flow stays disabled, for the value is not true"+commentHint(e.plain))
		}
	}
	m.origins["flows"] = origin{m.file, m.entries["clusters"].line, "flows"}
	if len(flows) == 0 {
		m.errs = append(m.errs, Error{File: m.file, Key: "SOURCE->TARGET.enabled", Problem: "is true for no two of the clusters: " + m.whyNone()})
		m.lost["flows"] = true
	}
	for _, f := range flows {
		put(m.tree, f.at, map[string]any{"source": f.source, "target": f.target})
		m.readNaming(f)
		m.readTopics(f)
		m.readSettings(f)
		m.readGroups(f)
		m.readState(f)
		m.readStart(f)
	}
}

// whyNone says what to write where no flow is enabled.
func (m *mm2Reader) whyNone() string {
	for _, e := range m.inOrder() {
		if strings.HasSuffix(e.key, ".enabled") && strings.Contains(e.key, "->") && commentHint(e.plain) != "" {
			return fmt.Sprintf("at line %d a comment needs a line of its own, behind a value it is a part of it", e.line)
		}
	}
	return "write A->B.enabled=true for a flow from cluster A to cluster B"
}

// pairOf takes SOURCE->TARGET.rest apart; false when these are no two of the clusters.
func (m *mm2Reader) pairOf(key string) (source, target, rest string, ok bool) {
	source, after, ok := strings.Cut(key, "->")
	if !ok || !m.aliases[source] {
		return "", "", "", false
	}
	target, rest = m.cutAlias(after)
	return source, target, rest, target != ""
}

// cutAlias takes ALIAS.rest apart, by the longest alias that fits; "" if none does.
func (m *mm2Reader) cutAlias(key string) (alias, rest string) {
	for i, c := range key {
		if c == '.' && m.aliases[key[:i]] {
			alias, rest = key[:i], key[i+1:]
		}
	}
	return alias, rest
}

// of is the entry of a key of the connectors for a flow.
func (m *mm2Reader) of(f mm2Flow, key string) *mm2Entry { return m.first(f.name+"."+key, key) }

// ofOld is of for a key that had another name up to 3.9.
func (m *mm2Reader) ofOld(f mm2Flow, key, old string) *mm2Entry {
	if e := m.of(f, key); e != nil {
		return e
	}
	return m.of(f, old)
}

// setOr puts a list, or what MirrorMaker 2 has where the file has none.
func (m *mm2Reader) setOr(e *mm2Entry, p keyPath, fallback []string) {
	if e == nil {
		put(m.tree, p, fallback)
		return
	}
	m.setPatterns(e, p)
}

func (m *mm2Reader) readNaming(f mm2Flow) {
	policy := "default"
	if e := m.of(f, "replication.policy.class"); e != nil {
		class := strings.TrimSpace(e.plain)
		switch class[strings.LastIndexByte(class, '.')+1:] {
		case "DefaultReplicationPolicy":
		case "IdentityReplicationPolicy":
			policy = "identity"
		default:
			m.refuse(e, f.at.child("policy"), class, "is not available: DefaultReplicationPolicy and IdentityReplicationPolicy are")
			return
		}
		m.set(e, f.at.child("policy"), policy)
	} else {
		put(m.tree, f.at.child("policy"), policy)
	}
	separator := f.at.child("separator")
	if policy == "identity" {
		separator = f.at.child("mm2").child("separator")
	}
	m.setText(m.of(f, "replication.policy.separator"), separator)
	if e := m.of(f, "replication.policy.internal.topic.separator.enabled"); e != nil {
		m.set(e, f.at.child("mm2").child("internal_dot"), fmt.Sprint(!m.flag(e, true)))
	}
}

func (m *mm2Reader) readTopics(f mm2Flow) {
	e := m.of(f, "topics")
	if e == nil {
		m.assume("topics", "all topics are copied, as MirrorMaker 2 does")
	}
	m.setOr(e, f.at.child("topics"), mm2All)
	m.setOr(m.ofOld(f, "topics.exclude", "topics.blacklist"), f.at.child("topics_exclude"), mm2TopicsExclude)
}

func (m *mm2Reader) readSettings(f mm2Flow) {
	if e := m.of(f, "replication.factor"); e == nil {
		m.assume("replication.factor", "topics that kferry creates get the target's own default, not 2")
	} else {
		text := strings.TrimSpace(e.text)
		if text == "-1" {
			text = "0"
		}
		m.set(e, f.at.child("replication_factor"), text)
	}
	m.setSeconds(m.of(f, "refresh.topics.interval.seconds"), f.at.child("refresh_interval"))
	m.setFlag(m.of(f, "sync.topic.configs.enabled"), f.at.child("sync_topic_configs"))
	if e := m.ofOld(f, "config.properties.exclude", "config.properties.blacklist"); e != nil {
		m.warnOfComment(e)
		m.set(e, f.at.child("config_exclude"), m.settingNames(e))
	}
	if e := m.of(f, "sync.topic.acls.enabled"); e == nil {
		m.notes = append(m.notes, Note{Key: "sync.topic.acls.enabled", Fate: Unavailable, Text: aclText})
	}
}

const aclText = "ACLs are not copied, which MirrorMaker 2 does unless it is false: set those of the target yourself"

var settingName = regexp.MustCompile(`^[a-z.]+$`)

// topicSettings are those that Kafka has, up to 4.3.
var topicSettings = strings.Fields(`cleanup.policy compression.gzip.level compression.lz4.level compression.type compression.zstd.level
	delete.retention.ms errors.deadletterqueue.group.enable file.delete.delay.ms flush.messages flush.ms
	follower.replication.throttled.replicas index.interval.bytes leader.replication.throttled.replicas local.retention.bytes
	local.retention.ms max.compaction.lag.ms max.message.bytes message.downconversion.enable message.format.version
	message.timestamp.after.max.ms message.timestamp.before.max.ms message.timestamp.difference.max.ms message.timestamp.type
	min.cleanable.dirty.ratio min.compaction.lag.ms min.insync.replicas preallocate remote.log.copy.disable
	remote.log.delete.on.disable remote.storage.enable retention.bytes retention.ms segment.bytes segment.index.bytes
	segment.jitter.ms segment.ms unclean.leader.election.enable`)

// settingNames are the names of topic settings that the expressions of e stand for.
func (m *mm2Reader) settingNames(e *mm2Entry) []string {
	var out []string
	for _, pattern := range javaList(e.text) {
		if name := strings.ReplaceAll(pattern, `\.`, "."); settingName.MatchString(name) {
			out = append(out, name)
			continue
		}
		if problem := patternProblem(pattern); problem != "" {
			m.wrong(e, "holds %q, which %s", pattern, problem)
			continue
		}
		matches := regexp.MustCompile(whole(pattern)).MatchString
		for _, name := range topicSettings {
			if matches(name) {
				out = append(out, name)
			}
		}
	}
	slices.Sort(out)
	return append([]string{}, slices.Compact(out)...)
}

// readGroups: MirrorMaker 2 follows groups to emit checkpoints, and commits their
// offsets only if it is told so.
func (m *mm2Reader) readGroups(f mm2Flow) {
	emit, commit := m.of(f, "emit.checkpoints.enabled"), m.of(f, "sync.group.offsets.enabled")
	m.setFlag(emit, f.at.child("checkpoints").child("enabled"))
	if commit == nil {
		m.assume("sync.group.offsets.enabled", "offsets are not committed on the target, as in MirrorMaker 2: set it to true if consumers are to move")
		put(m.tree, f.at.child("sync_group_offsets"), "false")
	}
	m.setFlag(commit, f.at.child("sync_group_offsets"))
	if m.flag(emit, true) || m.flag(commit, false) {
		m.setOr(m.of(f, "groups"), f.at.child("groups"), mm2All)
		if e := m.ofOld(f, "groups.exclude", "groups.blacklist"); e != nil {
			m.setPatterns(e, f.at.child("groups_exclude"))
		}
		m.readGroupsInterval(f)
	}
	m.setFlag(m.of(f, "emit.heartbeats.enabled"), f.at.child("heartbeats").child("enabled"))
	m.setSeconds(m.of(f, "emit.heartbeats.interval.seconds"), f.at.child("heartbeats").child("interval"))
}

// readGroupsInterval takes the shorter of two intervals for our one.
func (m *mm2Reader) readGroupsInterval(f mm2Flow) {
	p := f.at.child("groups_interval")
	a, b := m.of(f, "emit.checkpoints.interval.seconds"), m.of(f, "sync.group.offsets.interval.seconds")
	m.setSeconds(a, p)
	m.setSeconds(b, p)
	if a != nil && b != nil && !a.broken && !b.broken {
		x, errX := strconv.Atoi(strings.TrimSpace(a.plain))
		y, errY := strconv.Atoi(strings.TrimSpace(b.plain))
		if errX == nil && (errY != nil || x < y) {
			m.setSeconds(a, p)
		}
	}
}

// readState says where the MirrorMaker 2 of this file keeps its state.
func (m *mm2Reader) readState(f mm2Flow) {
	location := f.at.child("offset_syncs").child("location")
	syncs, where := m.of(f, "emit.offset-syncs.enabled"), m.of(f, "offset-syncs.topic.location")
	switch {
	case syncs != nil && !m.flag(syncs, true):
		m.set(syncs, location, "off")
	case where != nil:
		m.setText(where, location)
	default:
		m.assume("offset-syncs.topic.location", "the topic is kept on the target, so that nothing is written to the source; MirrorMaker 2's default is source")
	}
	if syncs != nil && len(syncs.used) == 0 {
		syncs.used = append(syncs.used, location.String())
	}
	// The top level wins here, as in MirrorMaker 2.
	m.setText(m.first("offset.storage.topic", f.target+".offset.storage.topic"), f.at.child("mm2").child("offsets_topic"))
	m.setText(m.first(f.target+".group.id"), f.at.child("mm2").child("group"))
	put(m.tree, f.at.child("takeover"), "mm2_if_any")
	m.assume("takeover", "partitions that kferry has no progress for begin where MirrorMaker 2 got to, or at start where it never ran (takeover: mm2_if_any); stop it first")
}

func (m *mm2Reader) readStart(f mm2Flow) {
	const reset = "consumer.auto.offset.reset"
	e := m.first(f.name+".source."+reset, f.source+"."+reset, f.name+"."+reset)
	if e == nil {
		return
	}
	switch text := strings.TrimSpace(e.plain); text {
	case "earliest", "latest":
		m.set(e, f.at.child("start"), text)
	default:
		m.refuse(e, f.at.child("start"), text, "is not available: earliest and latest are; in a kferry file a time is, too (kferry config convert)")
	}
}

// setPatterns puts names and expressions. MirrorMaker 2 cuts a list at every
// comma and joins it with |, so (a,b) is (a|b) there, and x{1,3} is an error.
func (m *mm2Reader) setPatterns(e *mm2Entry, p keyPath) {
	m.warnOfComment(e)
	out := []string{}
	for _, part := range javaList(e.text) {
		if n := len(out); n > 0 && isOpen(out[n-1]) {
			out[n-1] += "|" + part
			continue
		}
		out = append(out, part)
	}
	for _, pattern := range out {
		if torn.MatchString(pattern) {
			m.refuse(e, p, pattern, "has a comma within { }, and MirrorMaker 2 cuts the list there: write the repetition out")
			return
		}
	}
	m.set(e, p, out)
}

// torn is a repetition that lost its end to a comma.
var torn = regexp.MustCompile(`\{\d*($|\|)`)

// isOpen reports whether a ( or [ is not closed.
func isOpen(pattern string) bool {
	depth, class := 0, false
	for i := 0; i < len(pattern); i++ {
		switch c := pattern[i]; {
		case c == '\\':
			i++
		case class:
			class = c != ']'
		case c == '[':
			class = true
		case c == '(':
			depth++
		case c == ')':
			depth--
		}
	}
	return class || depth > 0
}
