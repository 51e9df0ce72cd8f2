package config

import (
	"regexp"
	"strconv"
	"strings"
)

// A login is what a sasl.jaas.config holds.
type login struct {
	module  string
	options map[string]string
}

var loginModule = regexp.MustCompile(`^[\w.$]*LoginModule$`)

// parseJAAS reads one login module, its flag and its options, as Kafka's clients
// do. The problem never has a part of the text.
func parseJAAS(text string) (l login, problem string) {
	words, ok := jaasWords(text)
	if !ok {
		return l, "has a quote without its end"
	}
	if len(words) < 3 || words[len(words)-1] != ";" {
		return l, `is not a login module, a flag and options with a ; at the end: ` + jaasForm
	}
	l = login{module: words[0], options: map[string]string{}}
	for rest := words[2 : len(words)-1]; len(rest) > 0; rest = rest[3:] {
		if len(rest) < 3 || rest[1] != "=" {
			return l, "has an option that is not name=\"value\", or a second login module: " + jaasForm
		}
		l.options[rest[0]] = rest[2]
	}
	return l, l.check()
}

const jaasForm = `it must be as in ...ScramLoginModule required username="alice" password="...";`

func (l login) check() string {
	switch {
	case !loginModule.MatchString(l.module):
		return "does not begin with the name of a login module: " + jaasForm
	case !strings.HasSuffix(l.module, ".PlainLoginModule") && !strings.HasSuffix(l.module, ".ScramLoginModule"):
		return "has the login module " + l.module + ", which kferry does not have: PlainLoginModule and ScramLoginModule are allowed"
	case strings.EqualFold(l.options["tokenauth"], "true"):
		return "has tokenauth: delegation tokens are not available, use a password"
	case l.options["username"] == "" || l.options["password"] == "":
		return "needs username and password: " + jaasForm
	}
	return ""
}

// jaasWords cuts a text as Java's StreamTokenizer does: words, quoted texts, and
// the characters = and ; alone. Comments are those of Java, or begin with a single /.
func jaasWords(text string) (words []string, ok bool) {
	for text != "" {
		n := 1
		switch c := text[0]; {
		case c <= ' ':
		case strings.HasPrefix(text, "/*"):
			n = len(text)
			if end := strings.Index(text[2:], "*/"); end >= 0 {
				n = end + 4
			}
		case c == '/':
			n = len(text)
			if end := strings.IndexAny(text, "\r\n"); end >= 0 {
				n = end
			}
		case c == '"' || c == '\'':
			var word string
			word, n = jaasQuoted(text)
			if n == 0 {
				return nil, false
			}
			words = append(words, word)
		default:
			for n < len(text) && isJAASWord(c) && isJAASWord(text[n]) {
				n++
			}
			words = append(words, text[:n])
		}
		text = text[n:]
	}
	return words, true
}

func isJAASWord(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c >= 0x80 || strings.IndexByte("._-$", c) >= 0
}

// jaasQuoted takes a quoted text apart: what it stands for and how many bytes it
// is with its quotes; 0 when it does not end on its line.
func jaasQuoted(text string) (word string, n int) {
	var b strings.Builder
	for i := 1; i < len(text); i++ {
		switch c := text[i]; {
		case c == text[0]:
			return b.String(), i + 1
		case c == '\n' || c == '\r':
			return "", 0
		case c == '\\' && i+1 < len(text):
			i++
			digits := octal(text[i:])
			if digits == "" {
				b.WriteByte(jaasEscape(text[i]))
				continue
			}
			code, _ := strconv.ParseUint(digits, 8, 16) // at most 0377
			b.WriteRune(rune(code))
			i += len(digits) - 1
		default:
			b.WriteByte(c)
		}
	}
	return "", 0
}

// octal is the octal number that text begins with: three digits up to 377, or two.
func octal(text string) string {
	n := 0
	for n < len(text) && n < 3 && text[n] >= '0' && text[n] <= '7' {
		n++
	}
	if n == 3 && text[0] > '3' {
		n = 2
	}
	return text[:n]
}

// jaasEscape is what a backslash and c stand for.
func jaasEscape(c byte) byte {
	if i := strings.IndexByte("abfnrtv", c); i >= 0 {
		return "\a\b\f\n\r\t\v"[i]
	}
	return c
}
