package config

import (
	"errors"
	"regexp"
	"regexp/syntax"
	"strings"
)

// patternProblem tells why a topic pattern cannot be used, "" if it can. What
// only Java's regular expressions have is found before Go's parser sees it: some
// of it, [a-z&&[^b]] for one, is valid in Go and means something else.
func patternProblem(pattern string) string {
	if pattern == "" {
		return "is empty: it must be a topic name or a regular expression"
	}
	if problem := scanPattern(pattern); problem != "" {
		return problem
	}
	_, err := regexp.Compile(pattern)
	if err == nil { // the anchors nest it deeper, which has a limit
		_, err = regexp.Compile(whole(pattern))
	}
	var at *syntax.Error
	switch {
	case err == nil:
		return ""
	case strings.HasPrefix(pattern, "*"):
		return "is not a regular expression: any text is .* there, not *"
	case errors.As(err, &at):
		return "is not a regular expression: " + at.Code.String() + " in " + at.Expr
	default:
		return "is not a regular expression: " + err.Error()
	}
}

// whole makes a pattern, or several with ")|(?:" between them, match whole names only.
func whole(pattern string) string { return "^(?:(?:" + pattern + "))$" }

// scanPattern goes over a pattern once, element by element.
func scanPattern(p string) (problem string) {
	for p != "" && problem == "" {
		var n int
		n, problem = scanElement(p)
		p = p[min(n, len(p)):]
	}
	return problem
}

const javaOnly = "uses Java-only syntax, "

// scanElement looks at what p begins with and tells how many bytes that is.
func scanElement(p string) (n int, problem string) {
	switch {
	case strings.HasPrefix(p, `\Q`):
		return max(strings.Index(p, `\E`), 0) + 2, ""
	case p[0] == '\\':
		return 2, javaEscape(p)
	case p[0] == '[':
		return scanClass(p)
	case p[0] == '(':
		return 1, javaGroup(p)
	case p[0] == '{': // up to its }, whose turn is next
		return max(strings.IndexByte(p, '}'), 1), ""
	case p[0] == ',':
		return 1, "has a comma, which no topic name has: write a list item for each topic"
	case len(p) > 1 && p[1] == '+' && strings.IndexByte("*+?}", p[0]) >= 0:
		return 2, javaOnly + "the possessive quantifier " + p[:2] + ": leave the + out, Go never backtracks"
	}
	return 1, ""
}

// scanClass goes over a class in brackets. A ] right after the start stands for itself.
func scanClass(p string) (n int, problem string) {
	n = 1
	if strings.HasPrefix(p[n:], "^") {
		n++
	}
	if strings.HasPrefix(p[n:], "]") {
		n++
	}
	for n < len(p) && problem == "" {
		switch rest := p[n:]; {
		case rest[0] == '\\':
			problem = javaEscape(rest)
			n += 2
		case strings.HasPrefix(rest, "[:"):
			n += max(strings.Index(rest, ":]"), 0) + 2
		case rest[0] == ']':
			return n + 1, ""
		default:
			problem = javaClass(rest)
			n++
		}
	}
	return n, problem
}

func javaClass(rest string) string {
	switch {
	case strings.HasPrefix(rest, "&&"):
		return javaOnly + "the class intersection &&: write the characters out, or use topics_exclude"
	case rest[0] == '[':
		return javaOnly + `a class inside a class: write one class, or \[ for the character itself`
	}
	return ""
}

var javaGroups = []struct{ start, problem string }{
	{"(?=", "the lookahead (?=: write the names out as (a|b)"},
	{"(?!", "the negative lookahead (?!: use topics_exclude"},
	{"(?<=", "the lookbehind (?<=: write the text before it into the pattern"},
	{"(?<!", "the negative lookbehind (?<!: use topics_exclude"},
	{"(?>", "the atomic group (?>: write (?: instead, Go never backtracks"},
}

var javaFlags = regexp.MustCompile(`^\(\?[a-zA-Z-]*[dDuUxc][a-zA-Z-]*[:)]`)

func javaGroup(rest string) string {
	for _, g := range javaGroups {
		if strings.HasPrefix(rest, g.start) {
			return javaOnly + g.problem
		}
	}
	if flags := javaFlags.FindString(rest); flags != "" && strings.Trim(flags, "(?imsU-:)") != "" {
		return javaOnly + "the flags " + flags + ": Go knows i, m, s and U"
	}
	return ""
}

// javaClasses are Java's \p{...} for ASCII, as Go has them inside [ ].
var javaClasses = map[string]string{
	"Lower": "lower", "Upper": "upper", "Alpha": "alpha", "Digit": "digit", "Alnum": "alnum", "Punct": "punct",
	"Graph": "graph", "Print": "print", "Blank": "blank", "Cntrl": "cntrl", "XDigit": "xdigit", "Space": "space",
	"ASCII": "ascii",
}

var property = regexp.MustCompile(`^\\[pP]\{\^?([A-Za-z]+)\}`)

func javaEscape(rest string) string {
	if len(rest) < 2 {
		return ""
	}
	if m := property.FindStringSubmatch(rest); m != nil {
		if posix, ok := javaClasses[m[1]]; ok {
			return javaOnly + "the class " + m[0] + ": write [[:" + posix + ":]]"
		}
		if strings.HasPrefix(m[1], "java") || strings.HasPrefix(m[1], "In") || strings.HasPrefix(m[1], "Is") {
			return javaOnly + "the class " + m[0] + `: write the characters out, or a class of Go's such as \p{L}`
		}
	}
	switch c := rest[1]; {
	case c >= '1' && c <= '9', strings.HasPrefix(rest, `\k<`):
		return javaOnly + "a backreference: write the text again"
	case c == 'Z':
		return javaOnly + `\Z: leave it out, a pattern always matches the whole name`
	case strings.IndexByte("hHRXGeNuc", c) >= 0:
		return javaOnly + rest[:2] + ": write the character itself"
	}
	return ""
}

// glob is a name in which ? stands for any one character; no topic name has a ?.
type glob string

// globOf reads a pattern that is a plain name, whose dots match any character.
// It is false for anything that needs a regular expression.
func globOf(pattern string) (glob, bool) {
	var b strings.Builder
	for i := 0; i < len(pattern); i++ {
		c := pattern[i]
		switch {
		case c == '\\' && i+1 < len(pattern) && (pattern[i+1] == '.' || pattern[i+1] == '-'):
			i++
			b.WriteByte(pattern[i])
		case c == '.':
			b.WriteByte('?')
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '_', c == '-':
			b.WriteByte(c)
		default:
			return "", false
		}
	}
	return glob(b.String()), true
}

// meets reports whether some name fits both.
func (g glob) meets(other glob) bool {
	if len(g) != len(other) {
		return false
	}
	for i := range len(g) {
		if g[i] != other[i] && g[i] != '?' && other[i] != '?' {
			return false
		}
	}
	return true
}

// name is the topic that a pattern was most likely written for.
func (g glob) name() string { return strings.ReplaceAll(string(g), "?", ".") }
