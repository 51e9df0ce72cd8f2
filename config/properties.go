package config

import (
	"fmt"
	"strconv"
	"strings"
	"unicode/utf16"
)

// An entry is one key with its value in a Java properties file.
type entry struct {
	key, value string
	line       int // where it begins, from 1
}

// readProperties reads what java.util.Properties.load reads, and the same of it:
// a comment has a line of its own, the separator is = or : or blanks, a \ at the
// end of a line joins it with the next, \uXXXX is a UTF-16 unit and bytes are
// ISO-8859-1. Entries are in the order of the file, doubles included. An error
// names what is wrong on the line. Entries of the empty key, which Java
// makes of a stray = or \, are left out.
func readProperties(content []byte) (entries []entry, line int, err error) {
	s := &propertyScanner{rest: content, line: 1}
	for {
		text, at, ok := s.next()
		if !ok {
			return entries, 0, nil
		}
		key, value := splitProperty(text)
		p := entry{line: at}
		if p.key, err = unescapeProperty(key); err == nil {
			p.value, err = unescapeProperty(value)
		}
		if err != nil {
			return nil, at, err
		}
		if p.key != "" {
			entries = append(entries, p)
		}
	}
}

// A propertyScanner gives logical lines.
type propertyScanner struct {
	rest []byte
	line int // of the first byte of rest
}

// next is the next logical line that is neither blank nor a comment, without
// the blanks it begins with and without the \ that joined it, and the number of
// its first line. A line joined to nothing but a \ is looked at as if it were
// the first: that is how Java has it, comments included.
func (s *propertyScanner) next() (text []byte, at int, ok bool) {
	joined := false
	for len(s.rest) > 0 {
		line, number := s.natural()
		line = trimLeftBlanks(line)
		switch {
		case len(text) == 0 && len(line) > 0 && (line[0] == '#' || line[0] == '!'):
			joined = false
			continue
		case len(text) == 0 && len(line) == 0 && !joined:
			continue
		}
		if len(text) == 0 {
			at = number
		}
		joined = endsInOddBackslashes(line)
		if !joined {
			text = append(text, line...)
			if len(text) == 0 {
				continue // a \ and then a blank line
			}
			return text, at, true
		}
		text = append(text, line[:len(line)-1]...)
	}
	return text, at, len(text) > 0
}

// natural takes one line with its end, which is \n, \r or \r\n, and gives it without.
func (s *propertyScanner) natural() (line []byte, number int) {
	number = s.line
	s.line++
	for i, c := range s.rest {
		if c != '\n' && c != '\r' {
			continue
		}
		line = s.rest[:i]
		if c == '\r' && i+1 < len(s.rest) && s.rest[i+1] == '\n' {
			i++
		}
		s.rest = s.rest[i+1:]
		return line, number
	}
	line, s.rest = s.rest, nil
	return line, number
}

func isPropertyBlank(c byte) bool { return c == ' ' || c == '\t' || c == '\f' }

func trimLeftBlanks(line []byte) []byte {
	for len(line) > 0 && isPropertyBlank(line[0]) {
		line = line[1:]
	}
	return line
}

func endsInOddBackslashes(line []byte) bool {
	n := 0
	for n < len(line) && line[len(line)-1-n] == '\\' {
		n++
	}
	return n%2 == 1
}

// splitProperty cuts a logical line at the first separator that no \ is before.
func splitProperty(text []byte) (key, value []byte) {
	end := 0
	for end < len(text) && text[end] != '=' && text[end] != ':' && !isPropertyBlank(text[end]) {
		if text[end] == '\\' {
			end++
		}
		end++
	}
	end = min(end, len(text))
	value = trimLeftBlanks(text[end:])
	if len(value) > 0 && (value[0] == '=' || value[0] == ':') {
		value = trimLeftBlanks(value[1:])
	}
	return text[:end], value
}

func unescapeProperty(text []byte) (string, error) {
	units := make([]uint16, 0, len(text))
	for i := 0; i < len(text); i++ {
		if text[i] != '\\' || i+1 == len(text) {
			units = append(units, uint16(text[i]))
			continue
		}
		i++
		if text[i] != 'u' {
			units = append(units, uint16(controlOf(text[i])))
			continue
		}
		hex := string(text[i+1 : min(i+5, len(text))])
		unit, err := strconv.ParseUint(hex, 16, 16)
		if err != nil || len(hex) < 4 || strings.HasPrefix(hex, "+") {
			return "", fmt.Errorf(`has \u without four hexadecimal digits: write \\u for the two characters themselves`)
		}
		units = append(units, uint16(unit))
		i += 4
	}
	return string(utf16.Decode(units)), nil
}

// controlOf is what an escape stands for.
func controlOf(c byte) byte {
	switch c {
	case 't':
		return '\t'
	case 'n':
		return '\n'
	case 'r':
		return '\r'
	case 'f':
		return '\f'
	}
	return c
}
