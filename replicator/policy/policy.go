// Package policy names topics: which source topics a flow copies (Filter), what
// they are called on the target and back (Policy), and which of them have come
// from the target already (Cycle).
//
// Words: an alias is the name of a cluster in the configuration; a hop is one
// "<alias><separator>" at the front of a name, put there by the default policy.
package policy

import (
	"errors"
	"fmt"
	"strings"

	"github.com/kferry/kferry/offsets/hop"
)

// Kind is how a policy names.
type Kind string

// The kinds of policy.
const (
	Identity Kind = "identity" // the same name, but for StripPrefix, Prefix and Suffix
	Default  Kind = "default"  // alias, separator, name: MirrorMaker 2's DefaultReplicationPolicy
)

// Options describe a policy. The zero Separator is ".".
type Options struct {
	Kind                     Kind
	SourceAlias, TargetAlias string // needed by Default
	Prefix, Suffix           string // Identity only
	Separator                string // Default only
	StripPrefix              string // removed from the source name first, where it is there
	// Heartbeats has MirrorMaker 2's heartbeats topics carried, named by alias under
	// either kind: its clients read from those names which clusters are upstream.
	Heartbeats bool
}

// Policy is immutable and safe for concurrent use.
type Policy struct {
	head, tail string // Target is head + stripped source name + tail
	strip      string
	hop        string // "<target alias><separator>"
	byAlias    bool   // names tell where topics have come from
	beats      string // before the names of heartbeats topics; "" = they are topics like others
	separator  string
}

// New checks the options. The zero Kind is an error: a default belongs to the
// configuration.
func New(o Options) (Policy, error) {
	if o.Separator == "" {
		o.Separator = "."
	}
	for _, part := range []struct{ name, text string }{
		{"prefix", o.Prefix}, {"suffix", o.Suffix}, {"separator", o.Separator}, {"strip prefix", o.StripPrefix},
		{"source alias", o.SourceAlias}, {"target alias", o.TargetAlias},
	} {
		if r, ok := illegalRune(part.text); ok {
			return Policy{}, fmt.Errorf("policy: %s %q has %q, allowed in topic names are a-z A-Z 0-9 . _ -", part.name, part.text, r)
		}
	}
	switch o.Kind {
	case Identity, Default:
	default:
		return Policy{}, fmt.Errorf("policy: kind %q is not known, allowed are %s and %s", o.Kind, Identity, Default)
	}
	byAlias := o.Kind == Default
	switch {
	case (byAlias || o.Heartbeats) && (o.SourceAlias == "" || o.TargetAlias == ""):
		return Policy{}, errors.New("policy: kind default, or heartbeats, needs the source and the target alias")
	case byAlias && (o.Prefix != "" || o.Suffix != ""):
		return Policy{}, errors.New("policy: prefix and suffix need kind identity, kind default names by alias")
	}
	p := Policy{
		head: o.Prefix, tail: o.Suffix, strip: o.StripPrefix, separator: o.Separator,
		hop: hop.Add(o.TargetAlias, o.Separator, ""), byAlias: byAlias,
	}
	if byAlias {
		p.head = hop.Add(o.SourceAlias, o.Separator, "")
	}
	if o.Heartbeats {
		p.beats = hop.Add(o.SourceAlias, o.Separator, "")
	}
	return p, nil
}

// heartbeats is what such topics are called on the cluster where they are written.
const heartbeats = "heartbeats"

// Heartbeats reports whether a source topic is one of MirrorMaker 2's heartbeats
// topics that this policy has carried, whatever the filter says.
func (p Policy) Heartbeats(sourceTopic string) bool {
	if p.beats == "" {
		return false
	}
	for name := sourceTopic; ; {
		if name == heartbeats {
			return true
		}
		var ok bool
		if _, name, ok = hop.Cut(name, p.separator); !ok {
			return false
		}
	}
}

// Target is the name of a source topic on the target. It may be one that Kafka
// refuses (too long, ".."): check it with Legal before creating it.
func (p Policy) Target(sourceTopic string) string {
	if p.Heartbeats(sourceTopic) {
		return p.beats + sourceTopic
	}
	return p.head + strings.TrimPrefix(sourceTopic, p.strip) + p.tail
}

// Source is the inverse of Target; false for a name that Target never gives.
// With StripPrefix two source topics, with and without it, share a target
// name; Source then gives the one with the prefix.
func (p Policy) Source(targetTopic string) (string, bool) {
	if rest, ok := strings.CutPrefix(targetTopic, p.beats); ok && p.Heartbeats(rest) {
		return rest, true
	}
	rest, ok := strings.CutPrefix(targetTopic, p.head)
	if !ok {
		return "", false
	}
	rest, ok = strings.CutSuffix(rest, p.tail)
	if rest = p.strip + rest; !ok || rest == "" {
		return "", false
	}
	return rest, true
}

// Cycle reports whether a source topic has come from the target before, however
// many hops ago, and so must not be copied back. It reads hops from the front of
// the name as MirrorMaker 2 does. Identity keeps no trace of the origin, so there
// only heartbeats are a cycle; the configuration refuses such flows instead.
func (p Policy) Cycle(sourceTopic string) bool {
	if !p.byAlias && !p.Heartbeats(sourceTopic) {
		return false
	}
	for name := sourceTopic; ; {
		// Comparing with the whole hop, not with the text before the first
		// separator, also finds an alias that contains the separator.
		if rest, ok := strings.CutPrefix(name, p.hop); ok && hop.Names(rest, p.separator) {
			return true
		}
		_, rest, ok := hop.Cut(name, p.separator)
		if !ok {
			return false
		}
		name = rest
	}
}

// maxName is the limit of Kafka brokers, in bytes: 255 of a file name less the
// partition number.
const maxName = 249

// Legal tells why Kafka would refuse a topic of this name; nil if it would not.
func Legal(topic string) error {
	switch {
	case topic == "":
		return errors.New("a topic name cannot be empty")
	case topic == "." || topic == "..":
		return fmt.Errorf("topic name %q is reserved", topic)
	case len(topic) > maxName:
		return fmt.Errorf("topic name %.40q... has %d characters, at most %d are allowed", topic, len(topic), maxName)
	}
	if r, ok := illegalRune(topic); ok {
		return fmt.Errorf("topic name %q has %q, allowed are a-z A-Z 0-9 . _ -", topic, r)
	}
	return nil
}

// illegalRune is the first character that no topic name has.
func illegalRune(s string) (rune, bool) {
	for _, r := range s {
		letter := r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9'
		if !letter && r != '.' && r != '_' && r != '-' {
			return r, true
		}
	}
	return 0, false
}
