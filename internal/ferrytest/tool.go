package ferrytest

import (
	"os"
	"os/exec"
	"testing"
)

// Monitoring finds a program that dashboards and alerts are tested with: promtool, prometheus, node or npm. Without it the test
// is skipped, unless KFERRY_REQUIRE_MONITORING is set; -short skips it as well.
func Monitoring(t testing.TB, name string) string {
	t.Helper()
	if testing.Short() {
		t.Skipf("skipped: -short leaves out what %s does", name)
	}
	path, err := exec.LookPath(name)
	switch {
	case err == nil:
		return path
	case os.Getenv("KFERRY_REQUIRE_MONITORING") != "":
		t.Fatalf("KFERRY_REQUIRE_MONITORING is set, but %v", err)
	default:
		t.Skipf("skipped: %v", err)
	}
	return ""
}
