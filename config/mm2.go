package config

import (
	"fmt"
	"regexp"
	"strings"
)

// isProperties tells a file of MirrorMaker 2's from one of ours.
func isProperties(path string) bool { return strings.HasSuffix(path, ".properties") }

// An mm2Reader turns the file of a dedicated MirrorMaker 2 into the tree that
// our own file would give, and notes what became of each key.
//
// A key is read at one of three places: at the top, below a cluster as
// ALIAS.key, or below a flow as SOURCE->TARGET.key. Which of them MirrorMaker 2
// looks at differs from key to key (mm2Keys), and it says nothing about the rest.
type mm2Reader struct {
	*layers
	tree      map[string]any
	entries   map[string]*mm2Entry // by key
	aliases   map[string]bool
	enabled   map[string]int    // flow, as SOURCE->TARGET, to its index
	providers map[string]string // config provider to its class

	references   bool              // for a file of ours: keep environment variables, and no secret
	placeholders map[string]string // environment variable that stands for a secret to the key path
}

// An mm2Entry is one key of the file and what is known of it.
type mm2Entry struct {
	entry
	plain    string   // the value with what config providers have in the place of references
	text     string   // plain, or for a file of ours: see resolve
	resolved bool     // plain and text are set
	broken   bool     // told as an error
	settled  bool     // a note says what becomes of it
	used     []string // what it sets: key paths of ours
}

func newMM2Reader(l *layers) *mm2Reader {
	return &mm2Reader{
		layers: l, tree: map[string]any{}, entries: map[string]*mm2Entry{}, aliases: map[string]bool{},
		enabled: map[string]int{}, providers: map[string]string{}, placeholders: map[string]string{},
	}
}

// read is readFile for a file of MirrorMaker 2's.
func (m *mm2Reader) read(content []byte) (map[string]any, bool) {
	entries, line, err := readProperties(content)
	if err != nil {
		m.errs = append(m.errs, Error{File: m.file, Line: line, Problem: err.Error()})
		return nil, false
	}
	for _, one := range entries {
		e := &mm2Entry{entry: one}
		if before, ok := m.entries[e.key]; ok {
			m.note(before, Ignored, fmt.Sprintf("line %d gives it again, and the last one counts", e.line))
		}
		m.entries[e.key] = e
	}
	m.findProviders()
	if !m.findClusters() {
		return nil, false
	}
	m.findFlows()
	m.settle()
	m.notes = sortNotes(m.notes)
	return m.tree, true
}

func (m *mm2Reader) note(e *mm2Entry, fate Fate, text string) {
	m.notes = append(m.notes, Note{Line: e.line, Key: e.key, Fate: fate, Text: text})
}

// assume notes what a key that is not in the file leads to.
func (m *mm2Reader) assume(key, text string) {
	m.notes = append(m.notes, Note{Key: key, Fate: Assumed, Text: text})
}

// wrong tells an error of an entry as such, once; its value is not shown.
func (m *mm2Reader) wrong(e *mm2Entry, problem string, args ...any) {
	if !e.broken {
		m.errs = append(m.errs, Error{File: m.file, Line: e.line, Key: e.key, Problem: fmt.Sprintf(problem, args...)})
	}
	e.broken = true
}

// first is the first of the keys that the file has, nil if it has none.
func (m *mm2Reader) first(keys ...string) *mm2Entry {
	for _, key := range keys {
		if e, ok := m.entries[key]; ok {
			m.resolve(e)
			return e
		}
	}
	return nil
}

// set puts a value that e gives into the tree.
func (m *mm2Reader) set(e *mm2Entry, p keyPath, value any) {
	m.place(e, p)
	if e.broken {
		m.failed[p.String()] = true
		m.lost[p.String()] = true
		return
	}
	put(m.tree, p, value)
}

// place says that e is about the key at p.
func (m *mm2Reader) place(e *mm2Entry, p keyPath) {
	e.used = append(e.used, p.String())
	m.origins[p.String()] = origin{m.file, e.line, e.key}
}

// refuse tells, once for e, that what it gives for the key at p cannot be had.
func (m *mm2Reader) refuse(e *mm2Entry, p keyPath, value, problem string, args ...any) {
	m.place(e, p)
	m.lost[p.String()], m.failed[p.String()] = true, true
	if !e.broken {
		m.add(p, value, problem, args...)
	}
	e.broken = true
}

// missing tells that a key is needed for the one at p.
func (m *mm2Reader) missing(key string, p keyPath, problem string) {
	m.lost[p.String()] = true
	m.origins[p.String()] = origin{m.file, m.entries["clusters"].line, key}
	m.add(p, "", "%s", problem)
}

// setText, setList, setFlag and setSeconds put the value of e at p, if there is an e.
func (m *mm2Reader) setText(e *mm2Entry, p keyPath) {
	if e != nil {
		m.set(e, p, strings.TrimSpace(e.text))
	}
}

func (m *mm2Reader) setList(e *mm2Entry, p keyPath) {
	if e != nil {
		m.warnOfComment(e)
		m.set(e, p, javaList(e.text))
	}
}

func (m *mm2Reader) setFlag(e *mm2Entry, p keyPath) {
	if e != nil {
		m.set(e, p, fmt.Sprint(m.flag(e, false)))
	}
}

func (m *mm2Reader) setSeconds(e *mm2Entry, p keyPath) {
	if e == nil {
		return
	}
	text := strings.TrimSpace(e.text)
	if !digits.MatchString(text) {
		m.wrong(e, "must be a whole number of seconds%s", commentHint(e.text))
	}
	m.set(e, p, text+"s")
}

var digits = regexp.MustCompile(`^[0-9]+$`)

// flag is the value of a switch, fallback if there is no e.
func (m *mm2Reader) flag(e *mm2Entry, fallback bool) bool {
	if e == nil {
		return fallback
	}
	text := strings.TrimSpace(e.text)
	if !strings.EqualFold(text, "true") && !strings.EqualFold(text, "false") && !e.broken {
		m.wrong(e, "must be true or false%s", commentHint(e.text))
	}
	return strings.EqualFold(text, "true")
}

// trailingComment is what people write who think that a comment can follow a value.
var trailingComment = regexp.MustCompile(`\s#`)

func commentHint(value string) string {
	if trailingComment.MatchString(value) {
		return ": a comment needs a line of its own, behind a value it is a part of it"
	}
	return ""
}

func (m *mm2Reader) warnOfComment(e *mm2Entry) {
	if trailingComment.MatchString(e.text) {
		m.note(e, Ignored, "the # and what follows is part of the value: a comment needs a line of its own")
	}
}

var javaComma = regexp.MustCompile(`\s*,\s*`)

// javaList cuts a list as Kafka does: at every comma, wherever it is.
func javaList(text string) []string {
	text = strings.TrimSpace(text)
	if text == "" {
		return []string{}
	}
	return javaComma.Split(text, -1)
}
