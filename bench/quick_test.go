package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/kferry/kferry/internal/kafkatest"
)

// TestQuick runs the smallest form of everything, so that the harness cannot rot. Each run is verified; what it measures means nothing.
func TestQuick(t *testing.T) {
	kafkatest.Need(t)
	dir := t.TempDir()
	binary := filepath.Join(dir, "bench") // contestants are other commands of it
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", binary, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	cmd := exec.CommandContext(t.Context(), binary, "-quick", "-out", dir)
	cmd.Dir = ".." // of the tree that kferry is built from
	// Java's second compiler would take more CPU from so short a run than all the rest.
	cmd.Env = append(os.Environ(), "JAVA_TOOL_OPTIONS=-XX:TieredStopAtLevel=1")
	cmd.Stdout, cmd.Stderr = t.Output(), t.Output()
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) } // it ends its brokers
	if err := cmd.Run(); err != nil {
		t.Fatal(err)
	}
	for _, kind := range []string{"results-*.json", "results-*.md", "*.svg"} {
		if files, err := filepath.Glob(filepath.Join(dir, kind)); err != nil || len(files) == 0 {
			t.Errorf("no %s (%v)", kind, err)
		}
	}
}
