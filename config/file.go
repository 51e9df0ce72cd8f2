package config

import (
	"bytes"
	"errors"
	"io"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// maxNodes bounds what YAML aliases can unfold to.
const maxNodes = 100_000

// maxMerge bounds how deep << keys may nest; one that includes itself would have no end.
const maxMerge = 16

// readFile turns YAML into a tree, telling unknown keys, double keys and wrong
// shapes by line. It is false when there is nothing to go on with.
func (l *layers) readFile(content []byte) (map[string]any, bool) {
	var doc, more yaml.Node
	d := yaml.NewDecoder(bytes.NewReader(content))
	if err := d.Decode(&doc); errors.Is(err, io.EOF) || err == nil && len(doc.Content) == 0 {
		l.add(nil, "", "is empty: clusters and flows are needed")
		return nil, false
	} else if err != nil {
		l.syntax(err)
		return nil, false
	}
	if err := d.Decode(&more); err == nil {
		l.add(nil, "", "has a second YAML document at line %d: one file is one configuration", more.Line)
		return nil, false
	} else if !errors.Is(err, io.EOF) {
		l.syntax(err)
		return nil, false
	}
	root, ok := l.convert(doc.Content[0], configType, nil)
	if !ok || l.nodes > maxNodes {
		return nil, false
	}
	return root.(map[string]any), true
}

var (
	yamlLine = regexp.MustCompile(`^line (\d+): `)
	yamlName = regexp.MustCompile(`unknown anchor '.*' referenced`)
)

// syntax tells what the YAML parser said. A password that starts with * or & and
// has no quotes is read as an alias or anchor, so such names are not repeated.
func (l *layers) syntax(err error) {
	text := strings.TrimPrefix(err.Error(), "yaml: ")
	line := 0
	if m := yamlLine.FindStringSubmatch(text); m != nil {
		line, _ = strconv.Atoi(m[1])
		text = text[len(m[0]):]
	}
	text = yamlName.ReplaceAllString(text, "a value that starts with * refers to nothing: put it in quotes")
	l.errs = append(l.errs, Error{File: l.file, Line: line, Problem: "is not YAML: " + text})
}

// convert checks that node n has the shape of t and gives its tree; false when
// the key is absent (null) or has told its problem.
func (l *layers) convert(n *yaml.Node, t reflect.Type, at keyPath) (any, bool) {
	if l.nodes++; l.nodes > maxNodes {
		if l.nodes == maxNodes+1 {
			l.add(nil, "", "unfolds to more than %d values through YAML aliases", maxNodes)
		}
		l.failed[at.String()] = true
		return nil, false
	}
	if n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	l.origins[at.String()] = origin{file: l.file, line: n.Line}
	want := shapeOf(t)
	switch {
	case n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null":
		return l.null(want, at)
	case n.Kind == yaml.ScalarNode && want == scalar:
		return l.text(n, at)
	case n.Kind == yaml.MappingNode && want.keyed():
		return l.mapping(n, t, at), true
	case n.Kind == yaml.SequenceNode && want == list:
		return l.texts(n, t, at), true
	case n.Kind == yaml.SequenceNode && want == tables:
		return l.sequence(n, t, at), true
	}
	l.lost[at.String()] = true
	l.add(at, "", "is %s, it must be %s", shapeOfNode(n), want)
	return nil, false
}

// null stands for "as if the key were not there", but an alias without settings
// is a cluster all the same, whose missing settings are to be told.
func (l *layers) null(want shape, at keyPath) (any, bool) {
	if want == table && (len(at) == 0 || len(at) == 2) {
		return map[string]any{}, true
	}
	delete(l.origins, at.String())
	return nil, false
}

func shapeOfNode(n *yaml.Node) shape {
	switch n.Kind {
	case yaml.MappingNode:
		return table
	case yaml.SequenceNode:
		return list
	default:
		return scalar
	}
}

var plainTags = []string{"!!str", "!!int", "!!float", "!!bool", "!!timestamp"}

// text takes a value as it is written, so that the password 0123 keeps its
// zero; the type of the key decides later what it means.
func (l *layers) text(n *yaml.Node, at keyPath) (any, bool) {
	if tag := n.ShortTag(); !slices.Contains(plainTags, tag) {
		l.add(at, "", "has the YAML tag %s, tags are not supported: put the value in quotes", tag)
		return nil, false
	}
	if at.String() == "aiven.token" && n.Value != "" && !strings.Contains(n.Value, "${") {
		l.add(at, "", "is written out: a file like this one is passed around. Write token: ${AIVEN_TOKEN}, or name a file as token_file")
		return nil, false
	}
	return l.expand(n.Value, at)
}

// freeMap and freeValue take what others define as it is. A text that the
// environment has a part in becomes a Secret.
func (l *layers) freeMap(n *yaml.Node, at keyPath) map[string]any {
	out := map[string]any{}
	for _, kv := range l.pairs(n, at, 0) {
		p := at.child(kv.key)
		l.origins[p.String()] = origin{file: l.file, line: kv.line}
		if v, ok := l.freeValue(kv.value, p); ok {
			out[kv.key] = v
		}
	}
	return out
}

func (l *layers) freeValue(n *yaml.Node, at keyPath) (any, bool) {
	if l.nodes++; l.nodes > maxNodes {
		return nil, false // convert tells, at the next value
	}
	if n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	switch n.Kind {
	case yaml.MappingNode:
		return l.freeMap(n, at), true
	case yaml.SequenceNode:
		out := []any{}
		for i, item := range n.Content {
			if v, ok := l.freeValue(item, at.item(i)); ok {
				out = append(out, v)
			}
		}
		return out, true
	}
	switch n.ShortTag() {
	case "!!null":
		return nil, true
	case "!!bool", "!!int", "!!float":
		var v any
		if err := n.Decode(&v); err != nil {
			l.add(at, n.Value, "is not a value that YAML can hold")
			return nil, false
		}
		if i, ok := v.(int); ok {
			v = int64(i)
		}
		return v, true
	}
	v, ok := l.text(n, at)
	if text, isText := v.(string); isText && strings.Contains(n.Value, "${") {
		return Secret(text), ok
	}
	return v, ok
}

func (l *layers) texts(n *yaml.Node, t reflect.Type, at keyPath) []string {
	out := []string{}
	for i, item := range n.Content {
		p := at.item(i)
		switch v, ok := l.convert(item, t.Elem(), p); {
		case ok:
			out = append(out, v.(string))
		case !l.failed[p.String()]:
			l.add(p, "", "is empty")
		}
	}
	return out
}

func (l *layers) sequence(n *yaml.Node, t reflect.Type, at keyPath) map[string]any {
	out := map[string]any{}
	for i, item := range n.Content {
		// An item of the wrong shape stays as an empty one, or the numbers of
		// those after it would not be those of the file.
		p := at.item(i)
		v, ok := l.convert(item, t.Elem(), p)
		if !ok {
			v = map[string]any{}
		}
		out[p[len(p)-1]] = v
	}
	return out
}

func (l *layers) mapping(n *yaml.Node, t reflect.Type, at keyPath) map[string]any {
	if shapeOf(t) == free {
		return l.freeMap(n, at)
	}
	out := map[string]any{}
	for _, kv := range l.pairs(n, at, 0) {
		p := at.child(kv.key)
		var next reflect.Type
		if s := shapeOf(t); s == named || s == numbers {
			next = t.Elem()
		} else if f, ok := fieldOf(t, kv.key); ok {
			next = f.typ
		} else {
			l.origins[p.String()] = origin{file: l.file, line: kv.line}
			l.add(p, "", "is not a known key: %s", otherKeys(kv.key, t))
			continue
		}
		if v, ok := l.convert(kv.value, next, p); ok {
			out[kv.key] = v
			l.origins[p.String()] = origin{file: l.file, line: kv.line}
		}
	}
	return out
}

type pair struct {
	key   string
	line  int
	value *yaml.Node
}

// pairs lists the keys of a mapping and then those that << brings in and the
// mapping does not have itself. A key that is given twice is told and its first
// value kept.
func (l *layers) pairs(n *yaml.Node, at keyPath, depth int) []pair {
	var out []pair
	var merged []*yaml.Node
	seen := map[string]int{} // key to line
	l.nodes += len(n.Content)
	for i := 0; i+1 < len(n.Content); i += 2 {
		k, v := n.Content[i], n.Content[i+1]
		if k.Kind == yaml.AliasNode {
			k = k.Alias
		}
		switch {
		case k.Kind != yaml.ScalarNode:
			l.add(at, "", "has a key at line %d that is not text", n.Content[i].Line)
		case k.ShortTag() == "!!merge":
			merged = append(merged, v)
		case seen[k.Value] > 0:
			l.add(at.child(k.Value), "", "is given twice, at lines %d and %d: keep one", seen[k.Value], k.Line)
		default:
			seen[k.Value] = k.Line
			out = append(out, pair{k.Value, k.Line, v})
		}
	}
	for _, m := range merged {
		for _, p := range l.included(m, at, depth+1) {
			if seen[p.key] == 0 {
				seen[p.key] = p.line
				out = append(out, p)
			}
		}
	}
	return out
}

// included lists the keys that the value of << stands for: a mapping or a list of them.
func (l *layers) included(n *yaml.Node, at keyPath, depth int) []pair {
	if l.nodes++; l.nodes > maxNodes || depth > maxMerge {
		l.require(at, "includes too much through <<")
		return nil
	}
	if n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	var out []pair
	switch n.Kind {
	case yaml.MappingNode:
		return l.pairs(n, at, depth)
	case yaml.SequenceNode:
		for _, item := range n.Content {
			out = append(out, l.included(item, at, depth+1)...)
		}
	default:
		l.add(at, "", "includes through << what is not keys and values")
	}
	return out
}
