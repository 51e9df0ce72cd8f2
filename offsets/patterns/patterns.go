// Package patterns matches names against lists of regular expressions, each of
// which must match a whole name.
package patterns

import (
	"fmt"
	"regexp"
)

// List matches what one of its patterns matches; the zero List nothing. Safe for
// concurrent use.
type List []*regexp.Regexp

// Compile makes a List of Go regular expressions. Errors say what the patterns
// are of: "topic pattern ...".
func Compile(of string, patterns []string) (List, error) {
	l := make(List, 0, len(patterns))
	for _, p := range patterns {
		// Alone first: "a)(?:b" is broken but would compile inside the anchors.
		if _, err := regexp.Compile(p); err != nil {
			return nil, fmt.Errorf("%s pattern %q: %w", of, p, err)
		}
		re, err := regexp.Compile("^(?:" + p + ")$")
		if err != nil {
			return nil, fmt.Errorf("%s pattern %q: %w", of, p, err)
		}
		l = append(l, re)
	}
	return l, nil
}

// Match tells whether some pattern matches the whole name.
func (l List) Match(name string) bool {
	for _, re := range l {
		if re.MatchString(name) {
			return true
		}
	}
	return false
}
