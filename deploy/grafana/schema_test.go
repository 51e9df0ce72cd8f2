package grafana

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/kferry/kferry/internal/ferrytest"
)

// TestSchema has TypeScript hold the dashboards, as literals, against Grafana's own types. So a key that Grafana does not know, or
// a value that it does not take, is an error; but queries and overrides are open there, they may have anything.
func TestSchema(t *testing.T) {
	dir := schema(t)
	files, err := filepath.Glob("dashboards/*.json")
	if err != nil || len(files) == 0 {
		t.Fatalf("no dashboards: %v", err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if out, ok := compiles(t, dir, literal(t, string(text))); !ok {
			t.Errorf("%s: Grafana's types do not take it:\n%s", file, out)
		}
	}
	text, err := os.ReadFile("dashboards/topic.json")
	if err != nil {
		t.Fatal(err)
	}
	for right, wrong := range map[string]string{
		`"uid": "kferry-topic"`: `"uidd": "kferry-topic"`,
		`"unit": "short"`:       `"unitt": "short"`,
		`"h": 4`:                `"h": "4"`,
		`"colorMode": "b`:       `"colorMode": "x`,
		`"placement"`:           `"placed"`,
	} {
		bad := strings.Replace(string(text), right, wrong, 1)
		if bad == string(text) {
			t.Errorf("there is no %s to spoil", right)
		} else if _, ok := compiles(t, dir, literal(t, bad)); ok {
			t.Errorf("Grafana's types take %s", wrong)
		}
	}
}

// TestLockNamesNoHost: npm takes packages from where its user says, and the lock file has their checksums alone.
func TestLockNamesNoHost(t *testing.T) {
	lock, err := os.ReadFile("testdata/schema/package-lock.json")
	if err != nil || strings.Contains(string(lock), "://") || !strings.Contains(string(lock), `"integrity"`) {
		t.Errorf("package-lock.json: %v\n%s", err, lock)
	}
}

// literal is a TypeScript program that says what a dashboard and its panels are.
func literal(t *testing.T, board string) string {
	t.Helper()
	var panels struct{ Panels []map[string]json.RawMessage }
	if err := json.Unmarshal([]byte(board), &panels); err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	fmt.Fprintf(&out, "import type { Board, Kinds } from './kinds';\nexport const board: Board = %s;\n", board)
	for n, p := range panels.Panels {
		if string(p["type"]) == `"row"` {
			continue
		}
		var field struct {
			Defaults struct{ Custom json.RawMessage }
		}
		if err := json.Unmarshal(p["fieldConfig"], &field); err != nil {
			t.Fatal(err)
		}
		if len(field.Defaults.Custom) == 0 {
			field.Defaults.Custom = []byte("{}")
		}
		fmt.Fprintf(&out, "export const panel%d: Kinds[%s] = { type: %s, options: %s, fieldConfig: { defaults: { custom: %s } } };\n",
			n, p["type"], p["type"], p["options"], field.Defaults.Custom)
	}
	return out.String()
}

// compiles runs the TypeScript compiler of dir over a program and returns what it says.
func compiles(t *testing.T, dir, program string) (string, bool) {
	t.Helper()
	work, err := os.MkdirTemp(dir, "work-") // beside node_modules, where the compiler looks
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = os.RemoveAll(work) }() // else it is litter
	kinds, err := os.ReadFile("testdata/schema/kinds.ts")
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"kinds.ts": string(kinds), "dashboard.ts": program} {
		if err := os.WriteFile(filepath.Join(work, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.CommandContext(t.Context(), "node", filepath.Join(dir, "node_modules/typescript/bin/tsc"), "--noEmit", "--strict", "--skipLibCheck",
		"--module", "esnext", "--moduleResolution", "bundler", "--target", "es2022", filepath.Join(work, "dashboard.ts")) //nolint:gosec // our own arguments
	out, err := cmd.CombinedOutput()
	return string(out), err == nil
}

// schema is a folder with Grafana's types and a compiler. npm brings them the first time; what is kept has the name of its versions.
func schema(t *testing.T) string {
	t.Helper()
	ferrytest.Monitoring(t, "node")
	ferrytest.Monitoring(t, "npm")
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	lock, err := os.ReadFile("testdata/schema/package-lock.json")
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(lock)
	dir := filepath.Join(cache, "kferry-npm", hex.EncodeToString(sum[:4]))
	if _, err := os.Stat(dir); err != nil {
		install(t, dir)
	}
	return dir
}

// install makes dir with what the lock file names; it appears complete or not at all.
func install(t *testing.T, dir string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		t.Fatal(err)
	}
	tmp, err := os.MkdirTemp(filepath.Dir(dir), "incoming-")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = os.RemoveAll(tmp) }() // it is gone if all went well
	for _, name := range []string{"package.json", "package-lock.json"} {
		text, err := os.ReadFile(filepath.Join("testdata/schema", name))
		if err == nil {
			err = os.WriteFile(filepath.Join(tmp, name), text, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund")
	cmd.Dir = tmp
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("npm ci: %v\n%s", err, out)
	}
	if err := os.Rename(tmp, dir); err != nil {
		if _, there := os.Stat(dir); there != nil { // else another run was faster
			t.Fatal(err)
		}
	}
}
