package config

import (
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
)

// decode puts a tree into a struct. The shapes are right by now; what each text
// means is found here.
func (l *layers) decode(tree map[string]any, into reflect.Value, at keyPath) {
	for _, f := range fieldsOf(into.Type()) {
		p, v := at.child(f.key), into.Field(f.index)
		switch shapeOf(f.typ) {
		case scalar:
			if text, ok := tree[f.key].(string); ok {
				l.scan(text, f, v, p)
			}
		case list:
			texts, _ := tree[f.key].([]string)
			v.Set(reflect.ValueOf(texts))
		case table:
			l.decode(branch(tree, f.key), v, p)
		case named:
			l.decodeNamed(branch(tree, f.key), v, p)
		case tables:
			l.decodeTables(branch(tree, f.key), v, p)
		case free:
			v.Set(reflect.ValueOf(settingsOf(branch(tree, f.key))))
		case numbers:
			v.Set(reflect.ValueOf(l.decodeOffsets(branch(tree, f.key), p)))
		}
	}
}

func (l *layers) decodeNamed(tree map[string]any, into reflect.Value, at keyPath) {
	into.Set(reflect.MakeMap(into.Type()))
	for _, key := range keys(tree) {
		one := reflect.New(into.Type().Elem()).Elem()
		l.decode(branch(tree, key), one, at.child(key))
		into.SetMapIndex(reflect.ValueOf(key), one)
	}
}

func (l *layers) decodeTables(tree map[string]any, into reflect.Value, at keyPath) {
	for _, key := range keys(tree) {
		one := reflect.New(into.Type().Elem()).Elem()
		l.decode(branch(tree, key), one, at.child(key))
		into.Set(reflect.Append(into, one))
	}
}

// settingsOf gives the maps of a tree their type.
func settingsOf(tree map[string]any) Settings {
	var value func(any) any
	value = func(v any) any {
		switch v := v.(type) {
		case map[string]any:
			return settingsOf(v)
		case []any:
			out := make([]any, len(v))
			for i := range v {
				out[i] = value(v[i])
			}
			return out
		default:
			return v
		}
	}
	out := Settings{}
	for key, v := range tree {
		out[key] = value(v)
	}
	return out
}

func (l *layers) decodeOffsets(tree map[string]any, at keyPath) StartOffsets {
	out := StartOffsets{}
	for _, topic := range keys(tree) {
		out[topic] = map[int32]int64{}
		of := branch(tree, topic)
		for _, partition := range keys(of) {
			text, _ := of[partition].(string)
			n, notPartition := strconv.ParseInt(partition, 10, 32)
			offset, notOffset := strconv.ParseInt(text, 10, 64)
			switch p := at.child(topic).child(partition); {
			case notPartition != nil || n < 0 || strconv.FormatInt(n, 10) != partition:
				l.add(p, "", "is not a partition: it must be its number, 0 or more")
			case notOffset != nil || offset < 0:
				l.add(p, text, "is not an offset: it must be a whole number, 0 or more")
			default:
				out[topic][int32(n)] = offset
			}
		}
	}
	return out
}

// scan parses text by the type of v and holds it against the field's tags.
func (l *layers) scan(text string, f field, v reflect.Value, at keyPath) {
	problem := scanText(text, v)
	if problem == "" {
		problem = outside(v, f.limits)
	}
	if problem == "" && len(f.choices) > 0 && !slices.Contains(f.choices, text) && (text != "" || f.defaults) {
		problem = "is not allowed: it must be one of " + listOf(f.choices)
	}
	if problem != "" {
		l.add(at, text, "%s", problem)
	}
}

// scanText sets v and gives the problem, if any.
func scanText(text string, v reflect.Value) (problem string) {
	switch v.Type() {
	case bytesType:
		var b Bytes
		b, problem = parseBytes(text)
		v.SetInt(int64(b))
		return problem
	case durationType:
		d, err := time.ParseDuration(text)
		if err != nil {
			return "is not a duration: it must be a number with its unit ms, s, m or h, as in 500ms or 1m30s"
		}
		v.SetInt(int64(d))
		return ""
	case startType:
		var s Start
		s, problem = parseStart(text)
		v.Set(reflect.ValueOf(s))
		return problem
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString(text)
	case reflect.Bool:
		if text != "true" && text != "false" {
			return "is not allowed: it must be true or false"
		}
		v.SetBool(text == "true")
	default:
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return "is not a whole number"
		}
		if v.OverflowInt(n) {
			return "is too large"
		}
		v.SetInt(n)
	}
	return ""
}

// outside holds v against limits such as 100ms..24h, both included; without the
// second there is no upper limit.
func outside(v reflect.Value, limits string) (problem string) {
	least, most, ok := strings.Cut(limits, "..")
	if !ok {
		return ""
	}
	bound := reflect.New(v.Type()).Elem()
	if scanText(least, bound); v.Int() < bound.Int() {
		return "is too small: at least " + least
	}
	if most == "" {
		return ""
	}
	if scanText(most, bound); v.Int() > bound.Int() {
		return "is too large: at most " + most
	}
	return ""
}

var units = []struct {
	name string
	size int64
}{
	{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}, {"TiB", 1 << 40},
	{"KB", 1e3}, {"MB", 1e6}, {"GB", 1e9}, {"TB", 1e12}, {"B", 1},
}

// parseBytes reads a whole number of bytes, with or without a unit.
func parseBytes(text string) (Bytes, string) {
	digits, size := text, int64(1)
	for _, u := range units {
		if front, ok := strings.CutSuffix(text, u.name); ok {
			digits, size = front, u.size
			break
		}
	}
	n, err := strconv.ParseUint(digits, 10, 63)
	if err != nil {
		return 0, "is not a size: it must be a whole number with B, KiB, MiB, GiB, TiB, KB, MB, GB, TB or no unit (bytes), as in 256MiB"
	}
	if n > uint64(math.MaxInt64/size) {
		return 0, "is too large"
	}
	return Bytes(int64(n) * size), ""
}

// parseStart reads a Start; a date is its midnight in UTC.
func parseStart(text string) (Start, string) {
	switch text {
	case "earliest":
		return Start{Kind: StartEarliest}, ""
	case "latest":
		return Start{Kind: StartLatest}, ""
	}
	t, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		t, err = time.Parse(time.DateOnly, text)
	}
	if err != nil {
		return Start{}, "is not allowed: it must be earliest, latest or a time as in 2026-01-31T09:00:00Z or 2026-01-31"
	}
	if t.UnixMilli() < 0 {
		return Start{}, "is before 1970, which no record can be"
	}
	return Start{Kind: StartTime, Time: t.UTC()}, ""
}
