package groups

import (
	"fmt"
	"regexp"
	"strings"
)

// filter chooses groups of the source.
type filter struct {
	include, exclude []*regexp.Regexp
	names            []string // of include, those that are plain names
}

// newFilter takes Go regular expressions that must match a whole name.
func newFilter(include, exclude []string) (filter, error) {
	in, err := compile(include)
	if err != nil {
		return filter{}, err
	}
	out, err := compile(exclude)
	f := filter{include: in, exclude: out}
	for _, p := range include {
		name := strings.ReplaceAll(p, `\.`, ".")
		if strings.ReplaceAll(regexp.QuoteMeta(name), `\.`, ".") == name && f.match(name) {
			f.names = append(f.names, name)
		}
	}
	return f, err
}

func compile(patterns []string) ([]*regexp.Regexp, error) {
	var res []*regexp.Regexp
	for _, p := range patterns {
		re, err := regexp.Compile("^(?:" + p + ")$")
		if err != nil {
			return nil, fmt.Errorf("group pattern %q: %w", p, err)
		}
		res = append(res, re)
	}
	return res, nil
}

// match leaves out our own groups, which say who has which lanes.
func (f filter) match(group string) bool {
	return group != "" && !strings.HasPrefix(group, "kferry.") && matches(f.include, group) && !matches(f.exclude, group)
}

func matches(res []*regexp.Regexp, group string) bool {
	for _, re := range res {
		if re.MatchString(group) {
			return true
		}
	}
	return false
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
