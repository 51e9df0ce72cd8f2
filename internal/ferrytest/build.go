package ferrytest

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

var build struct {
	sync.Mutex
	path string
}

// Binary builds kferry, once for all tests, into the folder of a shared cluster: that lives as long as the tests do and is
// removed even after a crash.
func Binary(t testing.TB, dir string) string {
	t.Helper()
	build.Lock()
	defer build.Unlock()
	if _, err := os.Stat(build.path); build.path != "" && err == nil {
		return build.path
	}
	path := filepath.Join(dir, "kferry")
	out, err := exec.CommandContext(t.Context(), "go", "build", "-o", path, "github.com/kferry/kferry/cmd/kferry").CombinedOutput()
	if err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	build.path = path
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
