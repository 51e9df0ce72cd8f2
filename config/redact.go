package config

import (
	"bytes"
	"cmp"
	"fmt"
	"reflect"
	"slices"

	"go.yaml.in/yaml/v3"
)

// Redacted gives the configuration as YAML: every key, with defaults filled in
// and secrets as "[redacted]".
func (c *Config) Redacted() ([]byte, error) {
	var b bytes.Buffer
	e := yaml.NewEncoder(&b)
	e.SetIndent(2)
	if err := e.Encode(nodeOf(reflect.ValueOf(c).Elem())); err != nil {
		return nil, err
	}
	return b.Bytes(), e.Close()
}

func nodeOf(v reflect.Value) *yaml.Node {
	n := &yaml.Node{Kind: yaml.MappingNode}
	switch shapeOf(v.Type()) {
	case table:
		for _, f := range fieldsOf(v.Type()) {
			n.Content = append(n.Content, textNode(f.key), nodeOf(v.Field(f.index)))
		}
	case named:
		keys := v.MapKeys()
		slices.SortFunc(keys, func(a, b reflect.Value) int { return cmp.Compare(a.String(), b.String()) })
		for _, k := range keys {
			n.Content = append(n.Content, textNode(k.String()), nodeOf(v.MapIndex(k)))
		}
	case free:
		if err := n.Encode(v.Interface()); err != nil {
			panic(err) // it came from YAML
		}
	case numbers:
		keys := v.MapKeys()
		slices.SortFunc(keys, func(a, b reflect.Value) int { return cmp.Compare(fmt.Sprint(a), fmt.Sprint(b)) })
		for _, k := range keys {
			n.Content = append(n.Content, textNode(fmt.Sprint(k)), nodeOf(v.MapIndex(k)))
		}
	case list, tables:
		n.Kind = yaml.SequenceNode
		if v.Len() == 0 {
			n.Style = yaml.FlowStyle
		}
		for i := range v.Len() {
			n.Content = append(n.Content, nodeOf(v.Index(i)))
		}
	default:
		return scalarNode(v)
	}
	return n
}

// scalarNode writes a value in the form that the file takes. Numbers and
// booleans go without quotes.
func scalarNode(v reflect.Value) *yaml.Node {
	text := fmt.Sprint(v.Interface())
	if v.Kind() == reflect.String {
		return textNode(text)
	}
	return &yaml.Node{Kind: yaml.ScalarNode, Value: text}
}

func textNode(text string) *yaml.Node {
	var n yaml.Node
	n.SetString(text)
	return &n
}
