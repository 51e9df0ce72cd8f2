package ferrytest

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

var built struct {
	sync.Mutex
	paths map[string]string // by build tag
}

// Binary builds kferry, once for all tests, into the folder of a shared cluster: that lives as long as the tests do and is
// removed even after a crash.
func Binary(t testing.TB, dir string) string { return build(t, dir, "") }

// Hurried is Binary for one that waits for Aiven a five-hundredth of the time, and is the same in all else.
func Hurried(t testing.TB, dir string) string { return build(t, dir, "hurry") }

func build(t testing.TB, dir, tag string) string {
	t.Helper()
	built.Lock()
	defer built.Unlock()
	if path, ok := built.paths[tag]; ok {
		if _, err := os.Stat(path); err == nil {
			return path
		}
	}
	path := filepath.Join(dir, "bin"+tag, "kferry")
	out, err := exec.CommandContext(t.Context(), "go", "build", "-tags", tag, "-o", path, "github.com/kferry/kferry/cmd/kferry").CombinedOutput()
	if err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	if built.paths == nil {
		built.paths = map[string]string{}
	}
	built.paths[tag] = path
	return path
}

// Environ is the environment of a kferry process: ours without the variables that mean something to kferry, and more.
func Environ(more ...string) []string {
	var out []string
	for _, e := range os.Environ() {
		if !strings.HasPrefix(e, "KFERRY_") {
			out = append(out, e)
		}
	}
	return append(out, more...)
}
