package config

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
)

// otherKeys says what could have been meant by an unknown key of a struct.
func otherKeys(key string, t reflect.Type) string {
	var names []string
	for _, f := range fieldsOf(t) {
		names = append(names, f.key)
	}
	if hint := Nearest(key, names); hint != "" {
		return strings.TrimPrefix(hint, ", ")
	}
	if place := placeOf(key, configType, ""); place != "" {
		return "it belongs at " + place
	}
	return "allowed are " + listOf(names)
}

// placeOf finds a key anywhere in the schema.
func placeOf(key string, t reflect.Type, at string) string {
	for _, f := range fieldsOf(t) {
		if f.key == key {
			return at + f.key
		}
		below := f.typ
		next := at + f.key
		switch shapeOf(f.typ) {
		case table:
		case named:
			below, next = below.Elem(), next+".ALIAS"
		case tables:
			below, next = below.Elem(), next+"[]"
		default:
			continue
		}
		if place := placeOf(key, below, next+"."); place != "" {
			return place
		}
	}
	return ""
}

// Nearest gives ", did you mean X?" when one of the names is close.
func Nearest(given string, names []string) string {
	best, least := "", len(given)/3+1
	for _, name := range slices.Sorted(slices.Values(names)) {
		if d := distance(given, name); d < least {
			best, least = name, d
		}
	}
	if best == "" {
		return ""
	}
	return fmt.Sprintf(", did you mean %s?", best)
}

// distance is how many characters must be put in, taken out or changed to make b of a.
func distance(a, b string) int {
	const longest = 200 // of a key; no name of ours is as long
	if len(a) > longest || len(b) > longest {
		return longest
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		before := row[0] // of the row above, one to the left
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			before, row[j+1] = row[j+1], min(before+cost, row[j+1]+1, row[j]+1)
		}
	}
	return row[len(b)]
}

// listOf writes names for a message.
func listOf(names []string) string {
	if len(names) == 0 {
		return "none"
	}
	return strings.Join(names, ", ")
}
