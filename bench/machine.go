package main

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"strings"

	"github.com/kferry/kferry/internal/kafkatest"
)

const kafkaVersion = kafkatest.V4

// machine tells what this runs on.
func machine() string {
	model, kernel := field("/proc/cpuinfo", "model name"), "?"
	if b, err := os.ReadFile("/proc/sys/kernel/osrelease"); err == nil {
		kernel = strings.TrimSpace(string(b))
	}
	return fmt.Sprintf("%d CPUs (%s), %s of memory, %s %s", runtime.NumCPU(), model, field("/proc/meminfo", "MemTotal"), runtime.GOOS, kernel)
}

const (
	// inMemory is a folder whose files are in memory.
	inMemory = "/dev/shm"
	// leastRoom is how many bytes must be free there.
	leastRoom = 12 << 30
)

// settleIn has the brokers keep their data, and all else that is temporary go, where o says. A broker keeps four files for each
// partition: with thousands of them, or where a machine's disk is slow, all that is measured is the disk.
func settleIn(o options) error {
	dir := o.dir
	if dir == "" && !o.quick && freeBytes(inMemory) >= leastRoom {
		dir = inMemory
	}
	if dir == "" {
		return nil
	}
	return errors.Join(os.MkdirAll(dir, 0o700), os.Setenv("TMPDIR", dir))
}

// dataOn says where that is.
func dataOn() string {
	if dir := os.TempDir(); dir != inMemory {
		return dir
	}
	return "memory"
}

// field is what a file of /proc says behind name; "?" when it does not.
func field(file, name string) string {
	f, err := os.Open(file)
	if err != nil {
		return "?"
	}
	defer f.Close() //nolint:errcheck // it was only read
	for s := bufio.NewScanner(f); s.Scan(); {
		if key, value, ok := strings.Cut(s.Text(), ":"); ok && strings.TrimSpace(key) == name {
			return strings.TrimSpace(value)
		}
	}
	return "?"
}

// revision is the commit that this was built from; "?" when the build does not tell.
func revision() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "?"
	}
	rev, dirty := "?", ""
	for _, s := range info.Settings {
		switch {
		case s.Key == "vcs.revision":
			rev = s.Value[:min(len(s.Value), 12)]
		case s.Key == "vcs.modified" && s.Value == "true":
			dirty = " (changed)"
		}
	}
	return rev + dirty
}
