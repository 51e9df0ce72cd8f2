package aiven

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"unicode/utf8"

	"github.com/aiven/go-api-schemas/pkg/dist"
	"go.yaml.in/yaml/v3"

	"github.com/kferry/kferry/config"
)

// A schema says what a user_config may hold, as Aiven publishes it.
type schema struct {
	Type       kinds              `yaml:"type"`
	Enum       []allowed          `yaml:"enum"`
	Minimum    string             `yaml:"minimum"`
	Maximum    string             `yaml:"maximum"`
	MinLength  int                `yaml:"min_length"`
	MaxLength  int                `yaml:"max_length"`
	MaxItems   int                `yaml:"max_items"`
	Pattern    string             `yaml:"pattern"`
	UserError  string             `yaml:"user_error"`
	Required   []string           `yaml:"required"`
	Properties map[string]*schema `yaml:"properties"`
	Items      *schema            `yaml:"items"`
	OneOf      []*schema          `yaml:"one_of"`
	Secure     bool               `yaml:"_secure"`
	CreateOnly bool               `yaml:"create_only"`
}

type allowed struct {
	Value any `yaml:"value"`
}

// kinds are the types that a value may have; the file has one or a list of them.
type kinds []string

// UnmarshalYAML takes either form.
func (k *kinds) UnmarshalYAML(n *yaml.Node) error {
	if n.Kind == yaml.SequenceNode {
		return n.Decode((*[]string)(k))
	}
	*k = kinds{n.Value}
	return nil
}

// The kinds of user_config that kferry sends.
var (
	serviceSchemas     = schemasOf(dist.ServiceTypes)
	integrationSchemas = schemasOf(dist.IntegrationTypes)
	endpointSchemas    = schemasOf(dist.IntegrationEndpointTypes)
)

// schemasOf reads one of Aiven's files when it is needed.
func schemasOf(file []byte) func() map[string]*schema {
	return sync.OnceValue(func() map[string]*schema {
		var out map[string]*schema
		if err := yaml.Unmarshal(file, &out); err != nil {
			panic(err) // it is a part of the program
		}
		return out
	})
}

// A fault is one value that a schema does not allow.
type fault struct {
	path    []string
	value   string // "" if it must not be shown
	problem string
}

// check finds what is wrong with a value; at is its path.
func (s *schema) check(v any, at []string) []fault {
	if s == nil || len(s.OneOf) > 0 && len(s.Properties) == 0 {
		return nil // forms that kferry has no use for; Aiven checks them itself
	}
	hidden, secret := v.(config.Secret)
	if secret {
		v = hidden.Reveal()
	}
	problem := s.checkKind(v)
	if m, ok := v.(map[string]any); ok && problem == "" {
		return s.checkKeys(m, at)
	}
	if l, ok := v.([]any); ok && problem == "" {
		return s.checkItems(l, at)
	}
	if s.Secure && !secret && v != "" {
		problem = "is a secret and is written out: write ${NAME} and set the variable NAME"
	}
	if problem == "" {
		return nil
	}
	return []fault{{slices.Clone(at), shown(v, secret || s.Secure), problem}}
}

// shown is a value for a message; "" if it must not be shown.
func shown(v any, secret bool) string {
	text, isText := v.(string)
	switch {
	case secret && isText:
		return ""
	case isText:
		return text
	default:
		return short(v)
	}
}

// checkKind gives what is wrong with a value by itself; "" = nothing.
func (s *schema) checkKind(v any) (problem string) {
	kind := kindOf(v)
	if !s.takes(kind) {
		return fmt.Sprintf("is %s, it must be %s", words[kind], s.kinds())
	}
	switch kind {
	case "string":
		problem = s.checkText(v.(string))
	case "integer", "number":
		problem = s.checkNumber(v)
	}
	if problem == "" && v != nil {
		problem = s.checkEnum(v)
	}
	return problem
}

// takes says whether a value may be of a kind.
func (s *schema) takes(kind string) bool {
	return len(s.Type) == 0 || slices.Contains(s.Type, kind) || kind == "integer" && slices.Contains(s.Type, "number")
}

func (s *schema) checkText(v string) string {
	if n := utf8.RuneCountInString(v); n < s.MinLength || s.MaxLength > 0 && n > s.MaxLength {
		return fmt.Sprintf("has %d characters, it may have %d to %d", n, s.MinLength, s.MaxLength)
	}
	if re, err := regexp.Compile(s.Pattern); err == nil && !re.MatchString(v) { // what only other engines know is not checked
		return "does not have the form that Aiven wants: " + cmp.Or(s.UserError, s.Pattern)
	}
	return ""
}

func (s *schema) checkNumber(v any) string {
	n, _ := strconv.ParseFloat(fmt.Sprint(v), 64)
	if least, err := strconv.ParseFloat(s.Minimum, 64); err == nil && n < least {
		return "is too small: at least " + s.Minimum
	}
	if most, err := strconv.ParseFloat(s.Maximum, 64); err == nil && n > most {
		return "is too large: at most " + s.Maximum
	}
	return ""
}

func (s *schema) checkEnum(v any) string {
	var names []string
	for _, a := range s.Enum {
		names = append(names, fmt.Sprint(a.Value))
	}
	if len(names) > 0 && !slices.Contains(names, fmt.Sprint(v)) {
		return "is not allowed: it must be one of " + strings.Join(names, ", ")
	}
	return ""
}

func (s *schema) checkKeys(v map[string]any, at []string) (faults []fault) {
	if len(s.Properties) == 0 {
		return nil // anything goes
	}
	for _, key := range slices.Sorted(maps.Keys(v)) {
		below := append(slices.Clone(at), key)
		if s.Properties[key] == nil {
			names := slices.Sorted(maps.Keys(s.Properties))
			hint := config.Nearest(key, names)
			if hint == "" {
				hint = ": allowed are " + strings.Join(names, ", ")
			}
			faults = append(faults, fault{below, "", "is no setting that Aiven knows" + hint})
			continue
		}
		faults = append(faults, s.Properties[key].check(v[key], below)...)
	}
	for _, key := range s.Required {
		if _, ok := v[key]; !ok {
			faults = append(faults, fault{append(slices.Clone(at), key), "", "is missing: Aiven needs it"})
		}
	}
	return faults
}

func (s *schema) checkItems(v []any, at []string) (faults []fault) {
	if s.MaxItems > 0 && len(v) > s.MaxItems {
		return []fault{{slices.Clone(at), "", fmt.Sprintf("has %d items, at most %d are allowed", len(v), s.MaxItems)}}
	}
	for i, item := range v {
		below := slices.Clone(at)
		below = append(below, "["+strconv.Itoa(i)+"]")
		faults = append(faults, s.Items.check(item, below)...)
	}
	return faults
}

func (s *schema) kinds() string {
	var out []string
	for _, k := range s.Type {
		out = append(out, words[k])
	}
	return strings.Join(out, " or ")
}

var words = map[string]string{"object": "keys and values", "array": "a list", "string": "a text", "integer": "a whole number",
	"number": "a number", "boolean": "true or false", "null": "empty"}

func kindOf(v any) string {
	switch v := v.(type) {
	case nil:
		return "null"
	case bool:
		return "boolean"
	case int64:
		return "integer"
	case float64:
		if v == math.Trunc(v) {
			return "integer"
		}
		return "number"
	case string:
		return "string"
	case []any:
		return "array"
	default:
		return "object"
	}
}

// at is the schema of what is at a path; nil if it has none.
func (s *schema) at(key string) *schema {
	if s == nil {
		return nil
	}
	return s.Properties[key]
}
