package config

import (
	"regexp"
	"strings"
)

var envName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// expand puts the environment's values in the place of ${NAME}. It works on
// values after parsing, so a variable that holds YAML stays one piece of text,
// and what a variable holds is not expanded again. $${ stands for ${.
func (l *layers) expand(text string, at keyPath) (any, bool) {
	var b strings.Builder
	ok := true
	for {
		i := strings.Index(text, "${")
		if i < 0 {
			b.WriteString(text)
			return b.String(), ok
		}
		if i > 0 && text[i-1] == '$' {
			b.WriteString(text[:i] + "{")
			text = text[i+2:]
			continue
		}
		b.WriteString(text[:i])
		name, rest, closed := strings.Cut(text[i+2:], "}")
		if !closed || !envName.MatchString(name) {
			// The name is not repeated: it may be a part of a password.
			l.add(at, "", "has ${ without the name of an environment variable and }: write $${ for the two characters themselves")
			return nil, false
		}
		value, found := l.environ[name]
		if !found {
			l.add(at, "", "needs the environment variable %s, which is not set", name)
			ok = false
		}
		b.WriteString(value)
		text = rest
	}
}
