// Package hop reads and writes the aliases at the front of topic names. A hop is
// one "<alias><separator>" there: the name of a cluster that the topic has come
// from, as MirrorMaker 2's DefaultReplicationPolicy leaves it.
package hop

import "strings"

// Add is the name of a topic that has come from the cluster alias.
func Add(alias, separator, topic string) string {
	return alias + separator + topic
}

// Cut takes the first hop off a name; false where there is none. The separator
// must not be empty. "a." and "a.." are topics of nobody's, not hops: Java's split
// drops empty trailing parts. The alias may be empty: ".a" has the hop ".".
func Cut(topic, separator string) (alias, rest string, ok bool) {
	alias, rest, ok = strings.Cut(topic, separator)
	if !ok || !Names(rest, separator) {
		return "", "", false
	}
	return alias, rest, true
}

// Names reports whether rest can stand behind a hop: it is more than separators.
func Names(rest, separator string) bool {
	return strings.ReplaceAll(rest, separator, "") != ""
}
