// Package lint holds the rules of the source tree that the compiler does not know: who may import whom,
// and who may read the environment. .golangci.yml says the same to an editor; this copy needs nothing but `go test`.
package lint

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/kferry/kferry"

// levels orders the packages of the module: a package imports only packages of a lower level.
// A new package gets its line here, which is the moment to think about where it belongs.
var levels = map[string]int{
	"offsets":           0,
	"replicator/batch":  0,
	"offsets/hop":       0,
	"config":            0,
	"replicator/budget": 0,
	"offsets/patterns":  0,

	"offsets/mm2":       1,
	"replicator/policy": 1,
	"replicator/lane":   1,
	"replicator/clock":  1,
	"replicator/recode": 1,
	"internal/kafka":    1,

	"replicator/fetch":       2,
	"replicator/produce":     2,
	"replicator/catalog":     2,
	"replicator/progress":    2,
	"replicator/deadletter":  2,
	"replicator/readback":    2,
	"offsets/groups":         2,
	"offsets/beat":           2,
	"internal/datagen":       2,
	"internal/kafkatest":     2,
	"internal/check":         2,
	"internal/faults":        2,
	"internal/ferrytest":     2,
	"internal/kafka/wirelog": 0,
	"internal/aiven":         2,
	"internal/aiven/fake":    1,

	"replicator":       3,
	"internal/migrate": 3, // and every package below it
	"internal/web":     3,

	"deploy/grafana": 0,

	"bench": 4, // and every package below it

	"cmd/kferry": 5,
}

// level is the level of a package, or of the nearest package above it in the tree.
func level(pkg string) (int, bool) {
	for p := pkg; p != "."; p = path.Dir(p) {
		if n, ok := levels[p]; ok && (p == pkg || p == "internal/migrate" || p == "bench") {
			return n, true
		}
	}
	return 0, false
}

// A ban says that the packages in (and those below them, without except) may not import banned (nor what is below it).
type ban struct {
	in     []string
	banned []string
	why    string
	except []string
}

var bans = []ban{
	{
		[]string{"offsets", "replicator/batch", "replicator/policy", "config", "replicator/lane"},
		[]string{"github.com/twmb/franz-go", "log"},
		"it is plain data and arithmetic: IO and logs are the business of its callers",
		[]string{"offsets/groups", "offsets/beat"},
	},
	{
		[]string{"replicator/batch", "replicator/policy", "replicator/lane"},
		[]string{"time", "net", "os"},
		"it has no clock and does no IO, so its tests wait for nothing",
		nil,
	},
	{
		[]string{"offsets"},
		[]string{module + "/replicator"},
		"offsets is a library that the replicator uses, never the other way round",
		nil,
	},
	{
		[]string{"internal/aiven"},
		[]string{module + "/internal/aiven/fake", "github.com/getkin/kin-openapi", "testing", "github.com/twmb/franz-go", "log"},
		"the fake is for tests; and what goes on is told to whoever called",
		[]string{"internal/aiven/fake"},
	},
	{[]string{"replicator/fetch"}, []string{module + "/replicator/produce"}, "only package replicator joins the two", nil},
	{[]string{"replicator/produce"}, []string{module + "/replicator/fetch"}, "only package replicator joins the two", nil},
	{[]string{"internal/web"}, []string{module}, "the web server sees an interface, not the daemon", nil},
	{
		[]string{"offsets", "config", "replicator", "internal/kafka", "internal/datagen", "internal/web", "internal/migrate", "cmd"},
		[]string{module + "/internal/kafkatest", module + "/internal/kafka/wirelog", module + "/internal/check", module + "/internal/faults", module + "/internal/ferrytest", module + "/internal/aiven/fake", module + "/deploy", "testing", "github.com/stretchr/testify"},
		"it is for tests and the bench; the product must not carry it",
		nil,
	},
}

// below says whether pkg is tree or lies in it.
func below(pkg, tree string) bool {
	return pkg == tree || strings.HasPrefix(pkg, tree+"/")
}

// breach is what is wrong with package from (relative to the module) importing the package to (a full import path), or "".
func breach(from, to string) string {
	for _, b := range bans {
		if slices.ContainsFunc(b.except, func(tree string) bool { return below(from, tree) }) {
			continue
		}
		for _, in := range b.in {
			if !below(from, in) {
				continue
			}
			for _, banned := range b.banned {
				if below(to, banned) {
					return b.why
				}
			}
		}
	}
	own, ok := strings.CutPrefix(to, module+"/")
	if !ok {
		return ""
	}
	lower, known := level(own)
	upper, _ := level(from)
	if known && lower >= upper {
		return "it is not on a lower level (" + strconv.Itoa(upper) + " imports " + strconv.Itoa(lower) + ")"
	}
	return ""
}

// A source is one file that goes into the product: no test, no generated example.
type source struct {
	pkg  string // directory relative to the module's root, with slashes
	name string // file, relative to the root
	file *ast.File
}

func sources(t *testing.T) []source {
	t.Helper()
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(root, "go.mod")); err != nil {
		t.Fatalf("the module's root is not two folders up: %v", err)
	}
	var out []source
	err = filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if p != root && (strings.HasPrefix(d.Name(), ".") || strings.HasPrefix(d.Name(), "_") || d.Name() == "testdata") {
				return filepath.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(p, ".go") || strings.HasSuffix(p, "_test.go") {
			return nil
		}
		f, err := parser.ParseFile(token.NewFileSet(), p, nil, 0)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, p)
		if err != nil {
			return err
		}
		rel = filepath.ToSlash(rel)
		out = append(out, source{pkg: path.Dir(rel), name: rel, file: f})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(out) == 0 {
		t.Fatal("no Go files found: the rules would hold for nothing")
	}
	return out
}

// slogValue is what config may take from log/slog: a Secret says how it looks in a log, and logs nothing.
var slogValue = []string{"Value", "StringValue", "LogValuer"}

func TestLayers(t *testing.T) {
	for _, s := range sources(t) {
		if _, ok := level(s.pkg); !ok {
			t.Errorf("%s: package %s has no level; give it one in internal/lint", s.name, s.pkg)
		}
		for _, imp := range s.file.Imports {
			to, err := strconv.Unquote(imp.Path.Value)
			if err != nil {
				t.Fatal(err)
			}
			if s.pkg == "config" && to == "log/slog" && onlyUses(s.file, "slog", slogValue) {
				continue
			}
			if why := breach(s.pkg, to); why != "" {
				t.Errorf("%s must not import %s: %s", s.name, to, why)
			}
		}
	}
}

// TestBatchIsStandardLibraryOnly keeps the byte format readable, and reusable, without any dependency.
func TestBatchIsStandardLibraryOnly(t *testing.T) {
	for _, s := range sources(t) {
		if s.pkg != "replicator/batch" {
			continue
		}
		for _, imp := range s.file.Imports {
			if first, _, _ := strings.Cut(strings.Trim(imp.Path.Value, `"`), "/"); strings.Contains(first, ".") {
				t.Errorf("%s imports %s, which is not in the standard library", s.name, imp.Path.Value)
			}
		}
	}
}

// TestOneReaderOfTheEnvironment: arguments, environment and the end of the process belong to main,
// so that everything else runs in a test as it runs in a container.
func TestOneReaderOfTheEnvironment(t *testing.T) {
	banned := []string{"Args", "Environ", "Getenv", "LookupEnv", "ExpandEnv", "Exit"}
	ofTests := []string{"internal/kafkatest", "internal/ferrytest"}
	for _, s := range sources(t) {
		if s.name == "cmd/kferry/main.go" || below(s.pkg, "bench") || slices.Contains(ofTests, s.pkg) {
			continue
		}
		for _, use := range uses(s.file, "os") {
			if slices.Contains(banned, use) {
				t.Errorf("%s uses os.%s; only cmd/kferry/main.go may", s.name, use)
			}
		}
	}
}

// TestNoClockInLevelZero: config knows durations, but nothing on level 0 knows what time it is.
func TestNoClockInLevelZero(t *testing.T) {
	banned := []string{"Now", "Since", "Until", "Sleep", "After", "AfterFunc", "Tick", "NewTicker", "NewTimer"}
	for _, s := range sources(t) {
		if n, ok := level(s.pkg); !ok || n > 0 {
			continue
		}
		for _, use := range uses(s.file, "time") {
			if slices.Contains(banned, use) {
				t.Errorf("%s uses time.%s; level 0 has no clock", s.name, use)
			}
		}
	}
}

// TestEmbeddedClusterOnlyInTheDemo: kfake is for tests, the demo, and the part of the bench where brokers are not the limit.
func TestEmbeddedClusterOnlyInTheDemo(t *testing.T) {
	for _, s := range sources(t) {
		if strings.HasPrefix(s.name, "cmd/kferry/demo") || s.pkg == "internal/kafkatest" || s.name == "bench/replicas.go" {
			continue
		}
		for _, imp := range s.file.Imports {
			if strings.Trim(imp.Path.Value, `"`) == "github.com/twmb/franz-go/pkg/kfake" {
				t.Errorf("%s imports kfake", s.name)
			}
		}
	}
}

// uses lists the names that a file takes from the package called pkg in it.
func uses(f *ast.File, pkg string) []string {
	var out []string
	ast.Inspect(f, func(n ast.Node) bool {
		if sel, ok := n.(*ast.SelectorExpr); ok {
			if x, ok := sel.X.(*ast.Ident); ok && x.Name == pkg && x.Obj == nil {
				out = append(out, sel.Sel.Name)
			}
		}
		return true
	})
	return out
}

func onlyUses(f *ast.File, pkg string, allowed []string) bool {
	for _, u := range uses(f, pkg) {
		if !slices.Contains(allowed, u) {
			return false
		}
	}
	return true
}

// TestRulesBite tries the rules on imports that break them, and on some that do not.
func TestRulesBite(t *testing.T) {
	for _, c := range []struct {
		from, to string
		bad      bool
	}{
		{"replicator/batch", "github.com/twmb/franz-go/pkg/kgo", true},
		{"replicator/batch", "log/slog", true},
		{"replicator/policy", "time", true},
		{"offsets/mm2", module + "/replicator/lane", true},
		{"offsets", module + "/config", true},
		{"offsets/mm2", "github.com/twmb/franz-go/pkg/kgo", true},
		{"offsets/groups", "github.com/twmb/franz-go/pkg/kgo", false},
		{"offsets/groups", module + "/replicator/policy", true},
		{"replicator/fetch", module + "/replicator/produce", true},
		{"replicator/produce", module + "/replicator/fetch", true},
		{"replicator/produce", module + "/replicator", true},
		{"internal/web", module + "/replicator", true},
		{"internal/kafka", module + "/cmd/kferry", true},
		{"internal/migrate/verify", module + "/cmd/kferry", true},
		{"cmd/kferry", module + "/internal/kafkatest", true},
		{"cmd/kferry", module + "/deploy/grafana", true},
		{"replicator/fetch", module + "/replicator/lane", false},
		{"replicator", module + "/replicator/produce", false},
		{"offsets/mm2", module + "/offsets", false},
		{"bench", module + "/internal/kafkatest", false},
		{"cmd/kferry", module + "/internal/migrate/verify", false},
		{"config", "time", false},
	} {
		if got := breach(c.from, c.to); (got != "") != c.bad {
			t.Errorf("%s -> %s: got %q, want a breach: %v", c.from, c.to, got, c.bad)
		}
	}
	if _, ok := level("replicator/surprise"); ok {
		t.Error("an unlisted package has a level")
	}
}
