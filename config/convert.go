package config

import (
	"bytes"
	"fmt"
	"path/filepath"
	"reflect"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Convert gives the file for a MirrorMaker 2 at path as a file of ours, which
// Load reads to the same Config. What became of keys that are not simply used
// stands above it as comments. A password stays a ${NAME} or password_file where
// a config provider gave it so; for any other a ${NAME} is put, which is to be
// set before the file is used. Errors are those of Load.
func Convert(path string, o LoadOptions) ([]byte, error) {
	if !isProperties(path) {
		return nil, Errors{{File: path, Problem: "is no file for MirrorMaker 2: its name must end in .properties"}}
	}
	content, err := readAll(path)
	if err != nil {
		return nil, Errors{{File: path, Problem: "cannot be read: " + reason(err)}}
	}
	return convertMM2(path, content, o)
}

// convertMM2 is Convert for content that is in memory.
func convertMM2(path string, content []byte, o LoadOptions) ([]byte, error) {
	if _, err := Parse(path, content, o); err != nil {
		return nil, err
	}
	m := newMM2Reader(&layers{report: newReport(path), environ: environment(o.Environ)})
	m.references = true
	tree, _ := m.read(content)
	n := m.treeNode(tree, configType)
	n.HeadComment = convertedHead(filepath.Base(path), m.notes)
	var b bytes.Buffer
	e := yaml.NewEncoder(&b)
	e.SetIndent(2)
	if err := e.Encode(n); err != nil {
		return nil, err
	}
	return b.Bytes(), e.Close()
}

func convertedHead(file string, notes []Note) string {
	var b strings.Builder
	fmt.Fprintf(&b, "# Made from %s by kferry config convert. Keys that are not simply used:\n", file)
	for _, n := range notes {
		if n.Fate != Used {
			fmt.Fprintf(&b, "#   %s\n", oneLine(n.String()))
		}
	}
	return b.String()
}

// oneLine keeps a key with control characters from ending the comment.
func oneLine(text string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r == 0x85 || r == 0x2028 || r == 0x2029 || r == 0xfeff {
			return '?'
		}
		return r
	}, text)
}

// treeNode writes what is in a tree, in the order of the struct.
func (m *mm2Reader) treeNode(tree map[string]any, t reflect.Type) *yaml.Node {
	n := &yaml.Node{Kind: yaml.MappingNode}
	for _, f := range fieldsOf(t) {
		value, ok := tree[f.key]
		if !ok {
			continue
		}
		n.Content = append(n.Content, textNode(f.key), m.valueNode(value, f.typ))
	}
	return n
}

func (m *mm2Reader) valueNode(value any, t reflect.Type) *yaml.Node {
	n := &yaml.Node{Kind: yaml.MappingNode}
	switch shapeOf(t) {
	case table:
		return m.treeNode(value.(map[string]any), t)
	case named:
		of := value.(map[string]any)
		for _, alias := range keys(of) {
			n.Content = append(n.Content, textNode(alias), m.valueNode(of[alias], t.Elem()))
		}
	case tables:
		n.Kind = yaml.SequenceNode
		of := value.(map[string]any)
		for _, index := range keys(of) {
			n.Content = append(n.Content, m.valueNode(of[index], t.Elem()))
		}
	case list:
		n.Kind, n.Style = yaml.SequenceNode, yaml.FlowStyle
		for _, item := range value.([]string) {
			n.Content = append(n.Content, textNode(item))
		}
	default:
		return m.scalarNode(value.(string), t)
	}
	return n
}

func (m *mm2Reader) scalarNode(text string, t reflect.Type) *yaml.Node {
	if t.Kind() != reflect.String {
		return &yaml.Node{Kind: yaml.ScalarNode, Value: text}
	}
	n := textNode(text)
	if t == secretType && m.placeholders[strings.Trim(text, "${}")] != "" {
		n.LineComment = "the password was in the file itself, or in one with more than it: set this variable"
	}
	return n
}
