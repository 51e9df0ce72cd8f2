package policy

import (
	"strings"

	"github.com/kferry/kferry/offsets/patterns"
)

// Filter chooses source topics. It is immutable and safe for concurrent use; the
// zero Filter matches nothing.
type Filter struct {
	include, exclude patterns.List
	names            []string
}

// NewFilter takes Go regular expressions that must match a whole name. A plain
// topic name is one that matches itself: of the characters of names only the dot
// means something in a regular expression, and it also matches a dot.
func NewFilter(include, exclude []string) (Filter, error) {
	in, err := patterns.Compile("topic", include)
	if err != nil {
		return Filter{}, err
	}
	out, err := patterns.Compile("topic", exclude)
	f := Filter{include: in, exclude: out}
	for _, p := range include {
		if name := strings.ReplaceAll(p, `\.`, "."); Legal(name) == nil {
			f.names = append(f.names, name)
		}
	}
	return f, err
}

// Names are the patterns that are plain names, for clusters that do not list topics.
func (f Filter) Names() []string { return f.names }

// Match reports whether a source topic is to be copied: some include matches, no
// exclude does, and it is not Internal.
func (f Filter) Match(topic string) bool {
	return !Internal(topic) && f.include.Match(topic) && !f.exclude.Match(topic)
}

// Refusal tells why Match does not match a topic; "" if it does.
func (f Filter) Refusal(topic string) string {
	switch {
	case Internal(topic):
		return "it belongs to the machinery of a cluster, of MirrorMaker 2 or of kferry"
	case !f.include.Match(topic):
		return "no pattern of topics matches it"
	case f.exclude.Match(topic):
		return "a pattern of topics_exclude matches it"
	}
	return ""
}

// Internal reports whether a topic belongs to the machinery of a cluster, of
// MirrorMaker 2 or of kferry. Such topics are never copied, whatever the filter
// says. Other names that end in "internal" are the user's.
func Internal(topic string) bool {
	switch {
	case strings.HasPrefix(topic, "__"), strings.HasPrefix(topic, "."):
		return true
	case strings.HasPrefix(topic, "mm2") && (strings.HasSuffix(topic, ".internal") || strings.HasSuffix(topic, "-internal")):
		return true
	}
	for _, tail := range []string{".progress", ".dead_letter"} {
		if strings.HasPrefix(topic, "kferry.") && strings.HasSuffix(topic, tail) && len(topic) > len("kferry.")+len(tail) {
			return true
		}
	}
	return separated(topic)
}

// separated finds the two internal topics of MirrorMaker 2 that follow its
// separator setting, for any separator: <alias>S checkpoints S internal and
// mm2-offset-syncs S <alias> S internal (without the blanks).
func separated(topic string) bool {
	front, ok := strings.CutSuffix(topic, "internal")
	if !ok {
		return false
	}
	bare := strings.TrimRight(front, separatorChars)
	sep := front[len(bare):]
	if sep == "" {
		return false
	}
	if alias, ok := strings.CutSuffix(bare, sep+"checkpoints"); ok {
		return alias != ""
	}
	alias, ok := strings.CutPrefix(bare, "mm2-offset-syncs"+sep)
	return ok && alias != ""
}

const separatorChars = "._-"
