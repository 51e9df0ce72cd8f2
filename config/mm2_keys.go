package config

import (
	"slices"
	"strings"
)

// An mm2Place is where MirrorMaker 2 reads a key.
type mm2Place int

const (
	atTop     mm2Place = 1 << iota // key
	atCluster                      // ALIAS.key
	atFlow                         // SOURCE->TARGET.key

	connector = atTop | atFlow // a declared key of its connectors
	client    = atTop | atCluster
)

// refused keys change what is copied or where, so the file cannot be run without what they ask for.
const refused Fate = "refused"

// An mm2Key is a key that MirrorMaker 2, Connect or Kafka's clients have.
type mm2Key struct {
	name  string // * at the end stands for any text
	read  mm2Place
	fate  Fate
	text  string
	plain string // the value that asks for what kferry does anyway, or for nothing; of a class the last part
}

const (
	noConnect  = "it is a setting of Connect, which kferry does not use"
	ownClients = "kferry has clients of its own, which need no tuning"
	ownTLS     = "kferry has TLS 1.2 and 1.3 with the ciphers that are safe"
	noTopic    = "kferry has topics of its own for its progress, with the target's default replication factor"
	noRest     = "replicas need no REST: start kferry again with the same file, and the two share the work"
	onceText   = "every record is written exactly once, always"
	noMetrics  = "/metrics has them for Prometheus (http.listen)"
	noLogin    = "PLAIN and SCRAM with username and password are what kferry can do"
	oneWay     = "kferry reaches a cluster in one way from everywhere: write it as ALIAS.key, without the name of a client"
)

// mm2Keys is by name, except that a longer one with * comes before a shorter one.
var mm2Keys = []mm2Key{
	{"clusters", atTop, Used, "", ""},
	{"config.providers", connector, Used, "", ""},
	{"config.providers.*", connector, Replaced, "kferry does not limit which paths and variables a config provider reads", ""},
	{"dedicated.mode.enable.internal.rest", atTop, Replaced, noRest, ""},
	{"listeners*", atTop, Replaced, noRest, ""},
	{"admin.listeners*", atTop, Replaced, noRest, ""},
	{"rest.*", atTop, Replaced, noRest, ""},

	{"bootstrap.servers", client, Used, "", ""},
	{"security.protocol", client, Used, "", ""},
	{"security.providers", client, Replaced, ownTLS, ""},
	{"sasl.mechanism", client, Used, "", ""},
	{"sasl.jaas.config", client, Used, "", ""},
	{"sasl.*", client, Unavailable, noLogin, ""},
	{"ssl.truststore.location", client, Used, "", ""},
	{"ssl.truststore.type", client, Used, "", ""},
	{"ssl.truststore.certificates", client, Used, "", ""},
	{"ssl.truststore.password", client, Replaced, "a PEM file has none", ""},
	{"ssl.keystore.location", client, Used, "", ""},
	{"ssl.keystore.type", client, Used, "", ""},
	{"ssl.keystore.certificate.chain", client, Used, "", ""},
	{"ssl.keystore.key", client, Used, "", ""},
	{"ssl.keystore.password", client, Replaced, "a PEM file has none", ""},
	{"ssl.key.password", client, Used, "", ""},
	{"ssl.endpoint.identification.algorithm", client, Unavailable, "kferry always checks the name in a broker's certificate; " +
		"if it is another one, give it as KFERRY_CLUSTERS_ALIAS_TLS_SERVER_NAME or as tls.server_name in a kferry file", "https"},
	{"ssl.*", client, Replaced, ownTLS, ""},

	{"enabled", atFlow, Used, "", ""},
	{"topics", connector, Used, "", ""},
	{"topics.exclude", connector, Used, "", ""},
	{"topics.blacklist", connector, Used, "", ""},
	{"groups", connector, Used, "", ""},
	{"groups.exclude", connector, Used, "", ""},
	{"groups.blacklist", connector, Used, "", ""},
	{"config.properties.exclude", connector, Used, "", ""},
	{"config.properties.blacklist", connector, Used, "", ""},
	{"replication.policy.class", connector, Used, "", ""},
	{"replication.policy.separator", connector, Used, "", ""},
	{"replication.policy.internal.topic.separator.enabled", connector, Used, "", ""},
	{"replication.factor", connector, Used, "", ""},
	{"refresh.topics.interval.seconds", connector, Used, "", ""},
	{"refresh.topics.enabled", connector, Unavailable, "new topics that match are always copied: list the names in topics", "true"},
	{"refresh.groups.enabled", connector, Unavailable, "new groups that match are always followed: list the names in groups", "true"},
	{"refresh.groups.interval.seconds", connector, Replaced, "new groups are found whenever groups are looked at", ""},
	{"sync.topic.configs.enabled", connector, Used, "", ""},
	{"sync.topic.configs.interval.seconds", connector, Replaced, "a change on the source is on the target within a minute", ""},
	{"sync.topic.acls.enabled", connector, Unavailable, aclText, "false"},
	{"sync.topic.acls.interval.seconds", connector, Replaced, aclText, ""},
	{"sync.group.offsets.enabled", connector, Used, "", ""},
	{"sync.group.offsets.interval.seconds", connector, Used, "", ""},
	{"emit.checkpoints.enabled", connector, Used, "", ""},
	{"emit.checkpoints.interval.seconds", connector, Used, "", ""},
	{"emit.heartbeats.enabled", connector, Used, "", ""},
	{"emit.heartbeats.interval.seconds", connector, Used, "", ""},
	{"emit.offset-syncs.enabled", connector, Used, "", ""},
	{"offset-syncs.topic.location", connector, Used, "", ""},
	{"offset-syncs.topic.replication.factor", connector, Replaced, noTopic, ""},
	{"checkpoints.topic.replication.factor", connector, Replaced, noTopic, ""},
	{"heartbeats.topic.replication.factor", connector, Replaced, noTopic, ""},
	{"heartbeats.replication.enabled", connector, Replaced, "heartbeats topics of the source are copied by flows that write heartbeats", "true"},
	{"offset.lag.max", connector, Replaced, "offsets are translated exactly, however far a group is behind", ""},
	{"topic.filter.class", connector, refused, "is Java code, which kferry cannot run: list what it lets pass in topics and topics.exclude", "DefaultTopicFilter"},
	{"group.filter.class", connector, refused, "is Java code, which kferry cannot run: list what it lets pass in groups and groups.exclude", "DefaultGroupFilter"},
	{"config.property.filter.class", connector, refused, "is Java code, which kferry cannot run: list what it leaves out in config.properties.exclude", "DefaultConfigPropertyFilter"},
	{"forwarding.admin.class", connector, Unavailable, "kferry makes topics itself; make them beforehand where it has no right to", "ForwardingAdmin"},
	{"use.defaults.from", atFlow, Unavailable, "settings that the source topic does not set itself are left to the target", "target"},
	{"tasks.max", connector, Replaced, "one process uses all processors, and a second one takes its share", ""},
	{"tasks.max.enforce", connector, Replaced, noConnect, ""},
	{"transforms", connector, refused, "asks for a change of records, which kferry copies as they are: take it out if the copy may be without it", ""},
	{"transforms.*", atFlow, Replaced, "records are copied as they are", ""},
	{"predicates", connector, Replaced, "records are copied as they are", ""},
	{"predicates.*", atFlow, Replaced, "records are copied as they are", ""},
	{"errors.tolerance", connector, Unavailable, "what becomes of records that the target refuses is on_refused in a kferry file: dead_letter sets them aside, none is skipped", "none"},
	{"errors.*", connector, Replaced, noConnect, ""},
	{"exactly.once.support", atFlow, Replaced, onceText, ""},
	{"transaction.boundary*", atFlow, Replaced, onceText, ""},
	{"metric.reporters", connector, Replaced, noMetrics, ""},
	{"metric.names.formats", connector, Replaced, noMetrics, ""},
	{"add.source.alias.to.metrics", connector, Replaced, noMetrics, ""},
	{"auto.include.jmx.reporter", connector, Replaced, noMetrics, ""},
	{"use.incremental.alter.configs", connector, Replaced, "settings are always altered one by one", ""},
	{"admin.timeout.ms", connector, Replaced, ownClients, ""},
	{"consumer.poll.timeout.ms", connector, Replaced, ownClients, ""},
	{"source.cluster.alias", connector, refused, "is not available: an alias is what clusters has", ""},
	{"target.cluster.alias", connector, refused, "is not available: an alias is what clusters has", ""},
	{"source.cluster.*", atFlow, refused, "is not available: " + oneWay, ""},
	{"target.cluster.*", atFlow, refused, "is not available: " + oneWay, ""},
	{"source.consumer.auto.offset.reset", atFlow, Used, "", ""},
	{"source.*", atFlow, Replaced, ownClients, ""},
	{"target.*", atFlow, Replaced, ownClients, ""},
	{"producer.override.*", atFlow, Replaced, ownClients + "; codecs and batches stay as they are on the source", ""},
	{"offset-syncs-*", connector, Replaced, ownClients, ""},
	{"name", connector, Replaced, noConnect, ""},
	{"connector.*", connector, Replaced, noConnect, ""},
	{"config.action.reload", connector, Replaced, noConnect, ""},
	{"topic.creation.*", connector, Replaced, noConnect, ""},
	{"offsets.storage.topic", connector, Replaced, noConnect, ""},

	{"consumer.auto.offset.reset", atCluster | atFlow, Used, "", ""},
	{"consumer.isolation.level", atCluster | atFlow, Unavailable, "records of aborted transactions are never copied", "read_committed"},
	{"consumer.*", atCluster | atFlow, Replaced, ownClients, ""},
	{"producer.*", atCluster | atFlow, Replaced, ownClients + "; codecs and batches stay as they are on the source", ""},
	{"admin.*", atCluster | atFlow, Replaced, ownClients, ""},

	{"client.id", atCluster, Used, "", ""},
	{"group.id", atCluster, Used, "", ""},
	{"offset.storage.topic", client, Used, "", ""},
	{"offset.storage.*", client, Replaced, noTopic, ""},
	{"config.storage.*", client, Replaced, noTopic, ""},
	{"status.storage.*", client, Replaced, noTopic, ""},
	{"key.converter", client | atFlow, refused, "is not available: records are copied as they are", "ByteArrayConverter"},
	{"value.converter", client | atFlow, refused, "is not available: records are copied as they are", "ByteArrayConverter"},
	{"header.converter", client | atFlow, refused, "is not available: records are copied as they are", "ByteArrayConverter"},
	{"key.converter.*", client | atFlow, Replaced, noConnect, ""},
	{"value.converter.*", client | atFlow, Replaced, noConnect, ""},
	{"header.converter.*", client | atFlow, Replaced, noConnect, ""},
	{"exactly.once.source.support", atCluster, Replaced, onceText, ""},
	{"task.*", client, Replaced, noConnect, ""},
	{"task.shutdown.graceful.timeout.ms", client, Replaced, noConnect, ""},
	{"worker.*", client, Replaced, noConnect, ""},
	{"offset.flush.*", atCluster, Replaced, "progress is stored every second", ""},
	{"plugin.*", atCluster, Replaced, noConnect, ""},
	{"connector.client.config.override.policy", atCluster, Replaced, noConnect, ""},
	{"connect.protocol", atCluster, Replaced, noConnect, ""},
	{"heartbeat.interval.ms", atCluster, Replaced, noConnect, ""},
	{"rebalance.timeout.ms", atCluster, Replaced, noConnect, ""},
	{"session.timeout.ms", atCluster, Replaced, noConnect, ""},
	{"scheduled.rebalance.max.delay.ms", atCluster, Replaced, noConnect, ""},
	{"inter.worker.*", atCluster, Replaced, noConnect, ""},
	{"topic.tracking.*", atCluster, Replaced, noConnect, ""},
	{"topic.creation.enable", atCluster, Replaced, noConnect, ""},
	{"response.http.headers.config", atTop, Replaced, noRest, ""},
	{"access.control.*", atTop, Replaced, noRest, ""},
	{"metrics.*", atCluster, Replaced, noMetrics, ""},
	{"client.*", atCluster, Replaced, ownClients, ""},
	{"connections.max.idle.ms", atCluster, Replaced, ownClients, ""},
	{"default.api.timeout.ms", atCluster, Replaced, ownClients, ""},
	{"enable.metrics.push", atCluster, Replaced, ownClients, ""},
	{"metadata.*", atCluster, Replaced, ownClients, ""},
	{"receive.buffer.bytes", atCluster, Replaced, ownClients, ""},
	{"reconnect.*", atCluster, Replaced, ownClients, ""},
	{"request.timeout.ms", atCluster, Replaced, ownClients, ""},
	{"retries", atCluster, Replaced, ownClients, ""},
	{"retry.*", atCluster, Replaced, ownClients, ""},
	{"send.buffer.bytes", atCluster, Replaced, ownClients, ""},
	{"socket.*", atCluster, Replaced, ownClients, ""},
}

// keyOfMM2 finds a key: that of the name itself, else the longest with * that fits.
func keyOfMM2(name string) (best mm2Key, ok bool) {
	for _, k := range mm2Keys {
		front, open := strings.CutSuffix(k.name, "*")
		if k.name == name {
			return k, true
		}
		if open && strings.HasPrefix(name, front) && len(k.name) > len(best.name) {
			best, ok = k, true
		}
	}
	return best, ok
}

// inOrder lists the entries by line.
func (m *mm2Reader) inOrder() []*mm2Entry {
	out := make([]*mm2Entry, 0, len(m.entries))
	for _, e := range m.entries {
		out = append(out, e)
	}
	slices.SortFunc(out, func(a, b *mm2Entry) int { return a.line - b.line })
	return out
}

// settle notes what became of each entry.
func (m *mm2Reader) settle() {
	for _, e := range m.inOrder() {
		if e.settled {
			continue
		}
		if len(e.used) > 0 {
			slices.Sort(e.used)
			m.note(e, Used, strings.Join(slices.Compact(e.used), ", "))
			continue
		}
		m.settleUnused(e)
	}
}

func (m *mm2Reader) settleUnused(e *mm2Entry) {
	place, rest, problem := m.placeOf(e.key)
	key, known := keyOfMM2(rest)
	switch {
	case problem != "":
		m.note(e, Ignored, problem)
	case !known:
		m.note(e, Unknown, "neither MirrorMaker 2 nor Connect has it"+Nearest(rest, mm2Names()))
	case rest == "enabled" && place == atTop:
		m.wrong(e, "is not available at the top, where MirrorMaker 2 takes it for every two clusters whose heartbeats are on: write SOURCE->TARGET.enabled for each flow")
	case key.read&place == 0:
		m.note(e, Ignored, "MirrorMaker 2 does not read it here: write it as "+key.places(rest))
	case m.hasPlain(e, key):
		m.note(e, Used, "as kferry always does")
	case isConnection(rest):
		m.note(e, Unavailable, oneWay)
	case key.fate == refused:
		m.wrong(e, "%s", key.text)
	case key.fate == Used:
		m.note(e, Ignored, "another key wins over it, or what it is for is off")
	default:
		m.note(e, key.fate, key.text)
	}
}

// hasPlain reports whether e asks for nothing that kferry does not do anyway.
func (m *mm2Reader) hasPlain(e *mm2Entry, key mm2Key) bool {
	if key.plain == "" && key.fate != refused {
		return false
	}
	m.resolve(e)
	value := strings.TrimSpace(e.plain)
	return strings.EqualFold(value[strings.LastIndexByte(value, '.')+1:], key.plain)
}

// isConnection reports whether a key says for one client alone how it connects.
func isConnection(key string) bool {
	for _, role := range []string{"consumer.", "producer.", "admin."} {
		if i := strings.Index(key, role); i >= 0 {
			key = key[i+len(role):]
			return key == "bootstrap.servers" || key == "security.protocol" || strings.HasPrefix(key, "ssl.") || strings.HasPrefix(key, "sasl.")
		}
	}
	return false
}

// placeOf tells where a key stands and what it is there; or why nothing stands there.
func (m *mm2Reader) placeOf(key string) (place mm2Place, rest, problem string) {
	if strings.Contains(key, "->") {
		source, target, rest, ok := m.pairOf(key)
		switch _, enabled := m.enabled[source+"->"+target]; {
		case !ok:
			return 0, "", "it names a cluster that clusters does not have"
		case source == target:
			return 0, "", "a flow needs two clusters"
		case !enabled:
			return 0, "", "the flow is not enabled, and kferry does nothing for it: " + source + "->" + target + ".enabled=true"
		}
		return atFlow, rest, ""
	}
	if alias, rest := m.cutAlias(key); alias != "" {
		return atCluster, rest, ""
	}
	return atTop, key, ""
}

// places is where a key may be written.
func (k mm2Key) places(name string) string {
	var out []string
	for _, p := range []struct {
		place mm2Place
		front string
	}{{atTop, ""}, {atCluster, "ALIAS."}, {atFlow, "SOURCE->TARGET."}} {
		if k.read&p.place != 0 {
			out = append(out, p.front+name)
		}
	}
	return strings.Join(out, " or ")
}

func mm2Names() []string {
	var out []string
	for _, k := range mm2Keys {
		if !strings.HasSuffix(k.name, "*") {
			out = append(out, k.name)
		}
	}
	return out
}
