package mm2

import (
	"strings"

	"github.com/kferry/kferry/offsets/hop"
)

// Location is the side that has the offset syncs: offset-syncs.topic.location.
type Location string

// The locations. The source is MirrorMaker 2's default.
const (
	OnSource Location = "source"
	OnTarget Location = "target"
)

// Names are MirrorMaker 2's names for the flow Source->Target, as its version 4.3
// gives them. The zero Separator is ".".
type Names struct {
	Source, Target string // aliases
	Separator      string // replication.policy.separator
	DotInternal    bool   // replication.policy.internal.topic.separator.enabled=false: internal topics have dots all the same
	Identity       bool   // IdentityReplicationPolicy; else DefaultReplicationPolicy
}

const heartbeats = "heartbeats"

func (n Names) separator() string {
	if n.Separator == "" {
		return "."
	}
	return n.Separator
}

// internalSeparator is between the words of an internal topic.
func (n Names) internalSeparator() string {
	if n.DotInternal {
		return "."
	}
	return n.separator()
}

func (n Names) internalSuffix() string { return n.internalSeparator() + "internal" }

func (n Names) checkpointsSuffix() string {
	return n.internalSeparator() + "checkpoints" + n.internalSuffix()
}

// OffsetSyncs is the topic of offset syncs on the side at, named by the other side's alias.
func (n Names) OffsetSyncs(at Location) string {
	other := n.Target
	if at == OnTarget {
		other = n.Source
	}
	return "mm2-offset-syncs" + n.internalSeparator() + other + n.internalSuffix()
}

// Checkpoints is the topic of checkpoints, on the target.
func (n Names) Checkpoints() string { return n.Source + n.checkpointsSuffix() }

// Heartbeats is the topic that heartbeats of this flow are written to, on the target.
func (n Names) Heartbeats() string { return heartbeats }

// RemoteHeartbeats is the mirror of the source's heartbeats, on the target.
func (n Names) RemoteHeartbeats() string { return n.Remote(heartbeats) }

// ConnectOffsets is where MirrorMaker 2 keeps its positions when it runs by
// itself, on the target. The separator has no part in it.
func (n Names) ConnectOffsets() string { return "mm2-offsets." + n.Source + ".internal" }

// ConnectStatus is where Connect keeps the states of its tasks then, on the target.
func (n Names) ConnectStatus() string { return "mm2-status." + n.Source + ".internal" }

// Remote is the name of a source topic on the target (formatRemoteTopic). Identity
// keeps it, unless it ends with "heartbeats".
func (n Names) Remote(topic string) string {
	if n.keeps(topic) {
		return topic
	}
	return hop.Add(n.Source, n.separator(), topic)
}

// keeps reports whether the topic has the same name on both sides.
func (n Names) keeps(topic string) bool {
	return n.Identity && !strings.HasSuffix(topic, heartbeats)
}

// TopicSource is the alias that a topic has come from; false where its name does
// not tell. For Identity it is always the source.
func (n Names) TopicSource(topic string) (alias string, ok bool) {
	if n.keeps(topic) {
		return n.Source, true
	}
	alias, _, ok = hop.Cut(topic, n.separator())
	return alias, ok
}

// Upstream is what the topic is called where it has come from (upstreamTopic);
// false where its name does not tell.
func (n Names) Upstream(topic string) (name string, ok bool) {
	if n.keeps(topic) {
		return topic, true
	}
	_, name, ok = hop.Cut(topic, n.separator())
	return name, ok
}

// Original is what the topic is called where it was first (originalTopic).
func (n Names) Original(topic string) string {
	for {
		up, ok := n.Upstream(topic)
		if !ok || up == topic {
			return topic
		}
		topic = up
	}
}

// IsHeartbeats reports whether the topic has heartbeats, of whatever cluster.
func (n Names) IsHeartbeats(topic string) bool { return n.Original(topic) == heartbeats }

// IsCheckpoints reports whether the topic has checkpoints, of whatever cluster.
func (n Names) IsCheckpoints(topic string) bool {
	return strings.HasSuffix(topic, n.checkpointsSuffix())
}

// IsInternal reports whether MirrorMaker 2 takes the topic for its own or Kafka's,
// and so never mirrors it.
func (n Names) IsInternal(topic string) bool {
	return strings.HasPrefix(topic, "mm2") && strings.HasSuffix(topic, n.internalSuffix()) || n.IsCheckpoints(topic) ||
		strings.HasPrefix(topic, "__") || strings.HasPrefix(topic, ".")
}
