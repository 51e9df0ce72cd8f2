package config

import (
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strings"
)

const envPrefix = "KFERRY_"

// otherVariables are not settings: those other parts of kferry read, and those
// Kubernetes sets in every pod beside a service whose name begins with kferry.
var otherVariables = regexp.MustCompile(`^KFERRY_(REQUIRE_KAFKA|REQUIRE_BROWSER|REQUIRE_MONITORING|KAFKA_CACHE|TEST_.*|` +
	`(.+_)?(SERVICE_HOST|SERVICE_PORT(_.+)?|PORT(_[0-9]+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?))$`)

func environment(environ []string) map[string]string {
	m := make(map[string]string, len(environ))
	for _, kv := range environ {
		if name, value, ok := strings.Cut(kv, "="); ok {
			m[name] = value
		}
	}
	return m
}

// variables gives the name of the environment variable of every key that could
// be set for the clusters and flows of file. Two keys can share a name, for
// aliases such as a-b and a_b; setting that variable is an error.
func variables(file map[string]any) map[string][]leaf {
	out := map[string][]leaf{}
	for _, lf := range leaves(file) {
		name := "KFERRY"
		for i, segment := range lf.path {
			if i == 1 && lf.path[0] == "flows" {
				segment = flowName(branch(branch(file, "flows"), segment))
			}
			name += "_" + variableWord(segment)
		}
		out[name] = append(out[name], lf)
	}
	return out
}

// flowName is the name of a flow that is still text.
func flowName(flow map[string]any) string {
	if name, ok := flow["name"].(string); ok && name != "" {
		return name
	}
	source, _ := flow["source"].(string)
	target, _ := flow["target"].(string)
	return source + "-" + target
}

func variableWord(s string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' {
			return r
		}
		return '_'
	}, strings.ToUpper(s))
}

// readEnvironment gives what KFERRY_ variables set. Names are compared with
// those of the known keys, never taken apart, for keys and aliases contain
// underscores.
func (l *layers) readEnvironment(file map[string]any) map[string]any {
	tree := map[string]any{}
	known := variables(file)
	for _, name := range slices.Sorted(maps.Keys(l.environ)) {
		if !strings.HasPrefix(name, envPrefix) {
			continue
		}
		switch found := known[name]; {
		case len(found) == 1:
			l.set(tree, found[0], l.environ[name], "environment variable "+name)
		case len(found) > 1:
			l.errs = append(l.errs, Error{File: "environment", Key: name,
				Problem: "could be " + found[0].path.String() + " or " + found[1].path.String() + ": rename one of them"})
		case !otherVariables.MatchString(name):
			l.errs = append(l.errs, Error{File: "environment", Key: name,
				Problem: "is not a setting" + Nearest(name, slices.Collect(maps.Keys(known))) + l.scope(name, file)})
		}
	}
	return tree
}

// scope lists what a variable may name when it is about a cluster or flow.
func (l *layers) scope(name string, file map[string]any) string {
	switch {
	case strings.HasPrefix(name, "KFERRY_CLUSTERS_"):
		return "; clusters in " + l.file + ": " + listOf(keys(branch(file, "clusters")))
	case strings.HasPrefix(name, "KFERRY_FLOWS_"):
		var names []string
		for _, key := range keys(branch(file, "flows")) {
			names = append(names, flowName(branch(branch(file, "flows"), key)))
		}
		return "; flows in " + l.file + ": " + listOf(names)
	default:
		return ""
	}
}

// readOverrides gives what flags set, by key path.
func (l *layers) readOverrides(file map[string]any, overrides map[string]string) map[string]any {
	tree := map[string]any{}
	known := map[string]leaf{}
	for _, lf := range leaves(file) {
		known[lf.path.String()] = lf
	}
	for _, key := range slices.Sorted(maps.Keys(overrides)) {
		if lf, ok := known[key]; ok {
			l.set(tree, lf, overrides[key], "flag")
			continue
		}
		l.errs = append(l.errs, Error{File: "flag", Key: key,
			Problem: "is not a known key" + Nearest(key, slices.Collect(maps.Keys(known)))})
	}
	return tree
}

// set puts one text from outside of the file into tree.
func (l *layers) set(tree map[string]any, lf leaf, text, from string) {
	for key := range l.origins { // the items of the list that this one replaces
		if strings.HasPrefix(key, lf.path.String()+"[") {
			delete(l.origins, key)
		}
	}
	l.origins[lf.path.String()] = origin{file: from}
	if lf.typ.Kind() == reflect.Slice {
		put(tree, lf.path, splitList(text))
		return
	}
	put(tree, lf.path, text)
}

// splitList takes a list apart at its commas, but not within (), [] or {}, where
// regular expressions and IPv6 addresses use them or might. "" is the empty list.
func splitList(text string) []string {
	out := []string{}
	if strings.TrimSpace(text) == "" {
		return out
	}
	depth, start := 0, 0
	for i := 0; i < len(text); i++ {
		switch text[i] {
		case '\\':
			i++
		case '(', '[', '{':
			depth++
		case ')', ']', '}':
			depth--
		case ',':
			if depth <= 0 {
				out = append(out, strings.TrimSpace(text[start:i]))
				start = i + 1
			}
		}
	}
	return append(out, strings.TrimSpace(text[start:]))
}
