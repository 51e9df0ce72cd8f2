package groups

import (
	"regexp"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kferry/kferry/offsets/patterns"
)

// filter chooses groups of the source.
type filter struct {
	include, exclude patterns.List
	names            []string  // of include, those that are plain names
	wide             []pattern // the others
}

// pattern is one of those that groups names, as it was written.
type pattern struct {
	text  string
	match patterns.List
}

// newFilter takes Go regular expressions that must match a whole name.
func newFilter(include, exclude []string) (filter, error) {
	in, err := patterns.Compile("group", include)
	if err != nil {
		return filter{}, err
	}
	out, err := patterns.Compile("group", exclude)
	f := filter{include: in, exclude: out}
	for i, p := range include {
		name := strings.ReplaceAll(p, `\.`, ".")
		plain := strings.ReplaceAll(regexp.QuoteMeta(name), `\.`, ".") == name
		switch {
		case !plain:
			f.wide = append(f.wide, pattern{p, in[i : i+1]})
		case f.match(name):
			f.names = append(f.names, name)
		}
	}
	return f, err
}

func (f filter) match(group string) bool {
	return group != "" && !ours(group) && f.include.Match(group) && !f.exclude.Match(group)
}

// unmatched are the patterns that match none of the groups, be it left out or not.
func (f filter) unmatched(groups []kmsg.ListGroupsResponseGroup) (out []string) {
	for _, p := range f.wide {
		if !slices.ContainsFunc(groups, func(g kmsg.ListGroupsResponseGroup) bool { return !ours(g.Group) && p.match.Match(g.Group) }) {
			out = append(out, p.text)
		}
	}
	return out
}

// ours are kferry's own groups, which say who has which lanes.
func ours(group string) bool { return strings.HasPrefix(group, "kferry.") }

// followed tells whether a listed group can be followed: those that commit
// offsets of consumers. A protocol type of "" is a group that only commits.
func followed(protocolType, groupType string) bool {
	switch strings.ToLower(groupType) {
	case "", "classic", "consumer":
		return protocolType == "" || protocolType == "consumer"
	}
	return false
}
