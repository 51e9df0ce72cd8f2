package config

import (
	"path"
	"path/filepath"
	"regexp"
	"strings"
)

// providerReference is ${provider:path:key} or ${provider:key}, as Kafka's ConfigTransformer reads it.
var providerReference = regexp.MustCompile(`\$\{([^}]*?):(?:([^}]*?):)?([^}]*?)\}`)

// A providedValue names a value that a config provider has.
type providedValue struct {
	class     string // simple class name
	path, key string
}

const (
	envProvider       = "EnvVarConfigProvider"
	fileProvider      = "FileConfigProvider"
	directoryProvider = "DirectoryConfigProvider"
)

// findProviders learns which config providers the file declares.
func (m *mm2Reader) findProviders() {
	e := m.first("config.providers")
	if e == nil {
		return
	}
	e.used = append(e.used, "config providers")
	for _, name := range javaList(e.text) {
		class := m.first("config.providers." + name + ".class")
		if class == nil {
			m.wrong(e, "names %s, which has no config.providers.%s.class", name, name)
			continue
		}
		class.used = append(class.used, "config providers")
		switch simple := strings.TrimSpace(class.text[strings.LastIndexByte(class.text, '.')+1:]); simple {
		case envProvider, fileProvider, directoryProvider:
			m.providers[name] = simple
		default:
			m.wrong(class, "is %s, which kferry does not have: it has %s, %s and %s", simple, envProvider, fileProvider, directoryProvider)
		}
	}
}

// resolve puts what config providers have into the text of e. With m.references
// an environment variable stays a ${NAME}, and the whole has the form of a value
// in a kferry file.
func (m *mm2Reader) resolve(e *mm2Entry) {
	if e.resolved {
		return
	}
	e.resolved = true
	var text, kept strings.Builder
	rest := e.value
	for {
		at := providerReference.FindStringSubmatchIndex(rest)
		if at == nil {
			break
		}
		literal := rest[:at[0]]
		ref, known := m.referenceAt(rest, at)
		value := rest[at[0]:at[1]]
		if known {
			value = m.fetch(e, ref)
		} else {
			m.note(e, Ignored, "no config provider of that name is declared, so its ${ is text: see config.providers")
		}
		text.WriteString(literal + value)
		kept.WriteString(asFileValue(literal))
		if known && ref.class == envProvider && envName.MatchString(ref.key) {
			kept.WriteString("${" + ref.key + "}")
		} else {
			kept.WriteString(asFileValue(value))
		}
		rest = rest[at[1]:]
	}
	e.plain = text.String() + rest
	e.text = e.plain
	if m.references {
		e.text = kept.String() + asFileValue(rest)
	}
}

// asFileValue writes a text so that ${NAME} in it is not looked up.
func asFileValue(text string) string { return strings.ReplaceAll(text, "${", "$${") }

func (m *mm2Reader) referenceAt(text string, at []int) (ref providedValue, known bool) {
	ref = providedValue{class: m.providers[text[at[2]:at[3]]], key: text[at[6]:at[7]]}
	if at[4] >= 0 {
		ref.path = text[at[4]:at[5]]
	}
	return ref, ref.class != ""
}

// wholeReference is the one reference that a text consists of.
func (m *mm2Reader) wholeReference(text string) (ref providedValue, ok bool) {
	at := providerReference.FindStringSubmatchIndex(text)
	if at == nil || at[0] != 0 || at[1] != len(text) {
		return ref, false
	}
	return m.referenceAt(text, at)
}

// fetch asks a config provider. A value that is not there is an error: MirrorMaker 2 would take the ${ as text.
func (m *mm2Reader) fetch(e *mm2Entry, ref providedValue) string {
	if ref.class == envProvider {
		value, ok := m.environ[ref.key]
		if !ok {
			m.wrong(e, "needs the environment variable %s, which is not set", ref.key)
		}
		return value
	}
	file := ref.path
	if ref.class == directoryProvider {
		file = path.Join(ref.path, ref.key)
	}
	content, err := readRegular(beside(filepath.Dir(m.file), file))
	if err != nil {
		m.wrong(e, "needs the file %s, which cannot be read: %s", file, reason(err))
		return ""
	}
	if ref.class == directoryProvider {
		return strings.TrimSuffix(strings.TrimSuffix(string(content), "\n"), "\r")
	}
	entries, line, err := readProperties(content)
	if err != nil {
		m.wrong(e, "needs the file %s, whose line %d %s", file, line, err)
		return ""
	}
	for i := len(entries) - 1; i >= 0; i-- {
		if entries[i].key == ref.key {
			return entries[i].value
		}
	}
	m.wrong(e, "needs the key %s, which is not in the file %s", ref.key, file)
	return ""
}
