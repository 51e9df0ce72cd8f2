package config

import (
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
)

// keyPath is the place of a value: clusters, aiven, sasl, mechanism. An index
// is a segment of its own, written [0], so that one tree of maps holds lists of
// flows as well and a later layer can reach into one of them.
type keyPath []string

func (p keyPath) child(key string) keyPath {
	return append(p[:len(p):len(p)], key)
}

func (p keyPath) item(i int) keyPath { return p.child("[" + strconv.Itoa(i) + "]") }

// join is the form that koanf takes.
func (p keyPath) join() string { return strings.Join(p, delimiter) }

// String gives clusters.aiven.sasl.mechanism or flows[0].topics[1].
func (p keyPath) String() string {
	var b strings.Builder
	for i, segment := range p {
		if i > 0 && !strings.HasPrefix(segment, "[") {
			b.WriteByte('.')
		}
		b.WriteString(segment)
	}
	return b.String()
}

// A field is one key of a configuration struct.
type field struct {
	key      string
	index    int // in the struct
	typ      reflect.Type
	fallback string // the default as text
	defaults bool   // fallback counts, even if empty
	limits   string // 1..16, 16MiB..
	choices  []string
}

// fieldsOf lists the keys of a configuration struct in their order of declaration.
func fieldsOf(t reflect.Type) []field {
	var fs []field
	for i := range t.NumField() {
		f := t.Field(i)
		if key := f.Tag.Get("koanf"); key != "-" {
			fallback, ok := f.Tag.Lookup("default")
			fs = append(fs, field{key, i, f.Type, fallback, ok, f.Tag.Get("limits"), strings.Fields(f.Tag.Get("choices"))})
		}
	}
	return fs
}

func fieldOf(t reflect.Type, key string) (field, bool) {
	for _, f := range fieldsOf(t) {
		if f.key == key {
			return f, true
		}
	}
	return field{}, false
}

// A shape is what YAML must hold for a type.
type shape int

const (
	scalar  shape = iota // text that a parser of the type's own reads
	list                 // of text
	table                // a map with known keys: a struct
	named                // a map with free keys: clusters by alias
	tables               // a list of structs: flows
	numbers              // maps with free keys, down to numbers: start offsets by topic and partition
	free                 // keys and values of any kind: what others define
)

// keyed tells whether YAML must hold a mapping.
func (s shape) keyed() bool { return s == table || s == named || s == numbers || s == free }

func (s shape) String() string {
	switch s {
	case table, named, numbers, free:
		return "keys and values"
	case list, tables:
		return "a list"
	default:
		return "a single value"
	}
}

func shapeOf(t reflect.Type) shape {
	switch {
	case t.Kind() == reflect.Map && t.Elem().Kind() == reflect.Struct:
		return named
	case t == settingsType:
		return free
	case t.Kind() == reflect.Map:
		return numbers
	case t.Kind() == reflect.Slice && t.Elem().Kind() == reflect.Struct:
		return tables
	case t.Kind() == reflect.Slice:
		return list
	case t.Kind() == reflect.Struct && t != reflect.TypeFor[Start]():
		return table
	default:
		return scalar
	}
}

var (
	configType   = reflect.TypeFor[Config]()
	secretType   = reflect.TypeFor[Secret]()
	bytesType    = reflect.TypeFor[Bytes]()
	startType    = reflect.TypeFor[Start]()
	settingsType = reflect.TypeFor[Settings]()
	durationType = reflect.TypeFor[time.Duration]()
)

// A leaf is a key that holds a value, in one particular configuration.
type leaf struct {
	path keyPath
	typ  reflect.Type
}

// leaves lists every key that a layer above the file could set for the clusters and flows that are in tree.
func leaves(tree map[string]any) []leaf {
	var out []leaf
	walk(tree, configType, nil, func(l leaf) { out = append(out, l) })
	return out
}

func walk(tree map[string]any, t reflect.Type, at keyPath, visit func(leaf)) {
	for _, f := range fieldsOf(t) {
		p := at.child(f.key)
		switch shapeOf(f.typ) {
		case scalar, list:
			visit(leaf{p, f.typ})
		case table:
			walk(branch(tree, f.key), f.typ, p, visit)
		case named, tables:
			for _, key := range keys(branch(tree, f.key)) {
				walk(branch(branch(tree, f.key), key), f.typ.Elem(), p.child(key), visit)
			}
		case numbers, free: // the file alone sets them: a variable or flag has no form for them
		}
	}
}

// typeAt is the type of the value at p; false when the schema has no such key.
// A list of text has the type of an item below it.
func typeAt(p keyPath) (reflect.Type, bool) {
	t := configType
	for _, segment := range p {
		switch shapeOf(t) {
		case table:
			f, ok := fieldOf(t, segment)
			if !ok {
				return nil, false
			}
			t = f.typ
		case scalar, free:
			return nil, false
		default:
			t = t.Elem()
		}
	}
	return t, true
}

// branch is the map under key, empty when there is none.
func branch(tree map[string]any, key string) map[string]any {
	m, _ := tree[key].(map[string]any)
	return m
}

// keys are sorted, indexes as numbers.
func keys(m map[string]any) []string {
	return slices.SortedFunc(maps.Keys(m), func(a, b string) int {
		if len(a) != len(b) && strings.HasPrefix(a, "[") && strings.HasPrefix(b, "[") {
			return len(a) - len(b)
		}
		return strings.Compare(a, b)
	})
}
