package config

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Error is one problem of a configuration.
type Error struct {
	File    string // the file, or what else set the key: "environment variable X", "flag"
	Line    int    // in File, from 1; 0 = unknown
	Key     string // key path: clusters.aiven.sasl.mechanism, flows[0].topics[1]; "" = all of File
	Value   string // as given; "" = empty, absent, a list, a secret or under a key that might have been meant for one
	Problem string // what is wrong and what is allowed
}

// Error gives file, line, key, value and problem on one line.
func (e Error) Error() string {
	var b strings.Builder
	b.WriteString(e.File)
	if e.Line > 0 {
		fmt.Fprintf(&b, ":%d", e.Line)
	}
	b.WriteString(": ")
	if e.Key != "" {
		b.WriteString(e.Key + ": ")
	}
	if e.Value != "" {
		fmt.Fprintf(&b, "%q ", shorten(e.Value))
	}
	b.WriteString(e.Problem)
	return b.String()
}

// Errors are all problems of a configuration: those of the file by line first.
type Errors []Error

// Error gives one problem per line.
func (e Errors) Error() string {
	lines := make([]string, len(e))
	for i, one := range e {
		lines[i] = one.Error()
	}
	return strings.Join(lines, "\n")
}

// Unwrap lets errors.As reach a single Error.
func (e Errors) Unwrap() []error {
	errs := make([]error, len(e))
	for i, one := range e {
		errs[i] = one
	}
	return errs
}

// shorten keeps a message readable when somebody pasted a file into a value.
func shorten(s string) string {
	const most = 120
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "..."
}

// An origin is where a value came from.
type origin struct {
	file string
	line int
	key  string // as the file has it, where that is no key path
}

// A report collects problems and knows where each key was set.
type report struct {
	file    string
	origins map[string]origin // by key path; a key that has its default is absent
	failed  map[string]bool   // key paths with a problem, so that one mistake is told once
	lost    map[string]bool   // key paths whose content was of the wrong shape and not read
	errs    Errors
}

func newReport(file string) *report {
	return &report{file: file, origins: map[string]origin{}, failed: map[string]bool{}, lost: map[string]bool{}}
}

// add tells a problem of the value at p. Secrets are left out here, once, by type.
func (r *report) add(p keyPath, value, problem string, args ...any) {
	if t, ok := typeAt(p); !ok || t == secretType {
		value = ""
	}
	if len(args) > 0 {
		problem = fmt.Sprintf(problem, args...)
	}
	from, below := r.from(p)
	r.failed[p.String()] = true
	r.errs = append(r.errs, Error{File: from.file, Line: from.line, Key: from.name(p, below), Value: value, Problem: problem})
}

// require tells that a key is missing, unless what was given there or around it
// failed already.
func (r *report) require(p keyPath, problem string, args ...any) {
	for i := 1; i <= len(p); i++ {
		if r.lost[p[:i].String()] {
			return
		}
	}
	if !r.failed[p.String()] {
		r.add(p, "", problem, args...)
	}
}

// from is the origin of the value at p, or of the nearest thing around it, and
// the number of segments of p below that.
func (r *report) from(p keyPath) (o origin, below int) {
	for n := len(p); n > 0; n-- {
		if o, ok := r.origins[p[:n].String()]; ok {
			return o, len(p) - n
		}
	}
	return origin{file: r.file}, len(p)
}

// name is how the file calls the value at p, which is that many segments below o.
func (o origin) name(p keyPath, below int) string {
	if o.key == "" {
		return p.String()
	}
	return append(keyPath{o.key}, p[len(p)-below:]...).String()
}

// isSet reports whether some layer above the defaults gave the key.
func (r *report) isSet(p keyPath) bool {
	_, ok := r.origins[p.String()]
	return ok
}

// err is nil when nothing was added.
func (r *report) err() error {
	if len(r.errs) == 0 {
		return nil
	}
	slices.SortStableFunc(r.errs, func(a, b Error) int {
		if a, b := a.File != r.file, b.File != r.file; a != b {
			if a {
				return 1
			}
			return -1
		}
		return cmp.Compare(a.Line, b.Line)
	})
	return r.errs
}
