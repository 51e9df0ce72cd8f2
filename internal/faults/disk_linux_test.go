package faults

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

func TestDisk(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	if err := os.MkdirAll(filepath.Join(dir, "orders-0"), 0o700); err != nil {
		t.Fatal(err)
	}
	log := filepath.Join(dir, "orders-0", "log")
	if err := os.WriteFile(log, []byte("old"), 0o600); err != nil {
		t.Fatal(err)
	}
	d, err := NewDisk(dir, 1<<20)
	if errors.Is(err, ErrNoMount) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { syscall.Unmount(dir, syscall.MNT_DETACH) }) // fails when all went well
	has := func(want string) {
		t.Helper()
		if got, err := os.ReadFile(log); err != nil || string(got) != want {
			t.Errorf("%q, %v; want %q", got, err, want)
		}
	}
	has("old")
	if err := d.Fill(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(log+"2", bytes.Repeat([]byte("x"), 10_000), 0o600); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("writing to the full disk: %v", err)
	}
	if err := d.Free(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(log, []byte("new"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := d.Remove(); err != nil {
		t.Fatal(err)
	}
	has("new")
	if left, _ := filepath.Glob(filepath.Join(filepath.Dir(dir), "saved-*")); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
}
