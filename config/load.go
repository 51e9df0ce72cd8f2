package config

import (
	"errors"
	"io"
	"os"
	"reflect"

	"github.com/knadh/koanf/providers/confmap"
	"github.com/knadh/koanf/v2"
)

// maxFile bounds what is read of any file that the configuration consists of, in bytes.
const maxFile = 1 << 20

// delimiter joins key paths inside koanf. An alias may contain a dot.
const delimiter = "\x00"

// Load reads the file at path, then the environment, then the overrides, and
// checks the result. A file whose name ends in .properties is one for a dedicated
// MirrorMaker 2, and Config.Notes tells what became of its keys. An error is of
// type Errors and has every problem found.
func Load(path string, o LoadOptions) (*Config, error) {
	b, err := readAll(path)
	if err != nil {
		return nil, Errors{{File: path, Problem: "cannot be read: " + reason(err)}}
	}
	return Parse(path, b, o)
}

// Parse is Load for content that is in memory; path says where it would be.
func Parse(path string, content []byte, o LoadOptions) (*Config, error) {
	l := &layers{report: newReport(path), environ: environment(o.Environ)}
	read := l.readFile
	if isProperties(path) {
		read = newMM2Reader(l).read
	}
	file, ok := read(content)
	if !ok {
		return nil, l.err()
	}
	ko := koanf.New(delimiter)
	l.merge(ko, defaultsFor(file, configType))
	l.merge(ko, file)
	l.merge(ko, l.readEnvironment(file))
	l.merge(ko, l.readOverrides(file, o.Overrides))
	cfg := &Config{Notes: l.notes, report: l.report}
	l.decode(ko.Raw(), reflect.ValueOf(cfg).Elem(), nil)
	validate(l.report, cfg, path)
	if err := l.err(); err != nil {
		return nil, err
	}
	if cfg.Aiven.given() && cfg.Aiven.Token == "" {
		cfg.Aiven.Token = Secret(l.environ[tokenVariable])
	}
	return cfg, nil
}

// layers turns each source of settings into a tree of the same form: maps by
// key, text for single values and lists of text.
type layers struct {
	*report
	environ map[string]string
	nodes   int    // YAML nodes visited, aliases as often as they are used
	notes   []Note // of a file for MirrorMaker 2
}

func (l *layers) merge(ko *koanf.Koanf, tree map[string]any) {
	for alias := range branch(tree, "clusters") {
		l.replaceTwin(ko, tree, keyPath{"clusters", alias, "sasl", "password"})
		l.replaceTwin(ko, tree, keyPath{"clusters", alias, "schema_registry", "password"})
	}
	l.replaceTwin(ko, tree, keyPath{"http", "actions_token"})
	l.replaceTwin(ko, tree, keyPath{"aiven", "token"})
	// confmap only copies: it has no way to fail.
	_ = ko.Load(confmap.Provider(tree, ""), nil)
}

// replaceTwin drops the secret at a path that a lower layer gave as a file when
// this layer gives it as text, and the other way round. Both in one layer stay, and
// are an error.
func (l *layers) replaceTwin(ko *koanf.Koanf, tree map[string]any, at keyPath) {
	given, key := tree, at[len(at)-1]
	for _, segment := range at[:len(at)-1] {
		given = branch(given, segment)
	}
	_, text := given[key]
	_, file := given[key+fileSuffix]
	if text == file {
		return
	}
	other := at
	if text {
		other = at[:len(at)-1].child(key + fileSuffix)
	}
	ko.Delete(other.join())
	delete(l.origins, other.String())
}

// defaultsFor gives the defaults of the fixed keys and of each cluster and flow in tree.
func defaultsFor(tree map[string]any, t reflect.Type) map[string]any {
	out := map[string]any{}
	for _, f := range fieldsOf(t) {
		switch shapeOf(f.typ) {
		case scalar:
			if f.defaults {
				out[f.key] = f.fallback
			}
		case table:
			out[f.key] = defaultsFor(branch(tree, f.key), f.typ)
		case named, tables:
			each := map[string]any{}
			for key := range branch(tree, f.key) {
				each[key] = defaultsFor(branch(branch(tree, f.key), key), f.typ.Elem())
			}
			out[f.key] = each
		case list, numbers, free: // they start empty
		}
	}
	return out
}

// put sets the value at p, with the maps above it.
func put(tree map[string]any, p keyPath, value any) {
	for _, segment := range p[:len(p)-1] {
		next, ok := tree[segment].(map[string]any)
		if !ok {
			next = map[string]any{}
			tree[segment] = next
		}
		tree = next
	}
	tree[p[len(p)-1]] = value
}

// readAll reads a file of at most maxFile bytes.
func readAll(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	b, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err == nil && len(b) > maxFile {
		err = errors.New("it is larger than 1 MiB")
	}
	return b, err
}

// reason is err without the operation and path that the message names anyway.
func reason(err error) string {
	var at *os.PathError
	if errors.As(err, &at) {
		return at.Err.Error()
	}
	return err.Error()
}
