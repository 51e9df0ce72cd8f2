package groups

import (
	"regexp"
	"strings"

	"github.com/kferry/kferry/offsets/patterns"
)

// filter chooses groups of the source.
type filter struct {
	include, exclude patterns.List
	names            []string // of include, those that are plain names
}

// newFilter takes Go regular expressions that must match a whole name.
func newFilter(include, exclude []string) (filter, error) {
	in, err := patterns.Compile("group", include)
	if err != nil {
		return filter{}, err
	}
	out, err := patterns.Compile("group", exclude)
	f := filter{include: in, exclude: out}
	for _, p := range include {
		name := strings.ReplaceAll(p, `\.`, ".")
		if strings.ReplaceAll(regexp.QuoteMeta(name), `\.`, ".") == name && f.match(name) {
			f.names = append(f.names, name)
		}
	}
	return f, err
}

// match leaves out our own groups, which say who has which lanes.
func (f filter) match(group string) bool {
	return group != "" && !strings.HasPrefix(group, "kferry.") && f.include.Match(group) && !f.exclude.Match(group)
}

// followed tells whether a listed group can be followed: those that commit
// offsets of consumers. A protocol type of "" is a group that only commits.
func followed(protocolType, groupType string) bool {
	switch strings.ToLower(groupType) {
	case "", "classic", "consumer":
		return protocolType == "" || protocolType == "consumer"
	}
	return false
}
