package kafkatest

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// Tests of this file read /proc.

func TestFreezeThaw(t *testing.T) {
	c := secured(t)
	cl := c.Client(t, AdminUser)
	if err := cl.Ping(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := c.Freeze(0); err != nil {
		t.Fatal(err)
	}
	answered := make(chan error, 1)
	go func() { answered <- cl.Ping(t.Context()) }()
	waitState(t, c.nodes[0].proc.pid, "T")
	select {
	case err := <-answered:
		t.Fatalf("a frozen broker answered: %v", err)
	default:
	}
	if err := c.Thaw(0); err != nil {
		t.Fatal(err)
	}
	if err := <-answered; err != nil {
		t.Fatalf("after the thaw: %v", err)
	}
}

// TestOnlyLoopback looks up what the brokers listen on in the kernel's tables.
func TestOnlyLoopback(t *testing.T) {
	c := secured(t)
	sockets := map[string]bool{} // "socket:[inode]" of the brokers
	for _, n := range c.nodes {
		fds, err := filepath.Glob("/proc/" + strconv.Itoa(n.proc.pid) + "/fd/*")
		if err != nil || len(fds) == 0 {
			t.Fatalf("open files of broker %d: %d, %v", n.id, len(fds), err)
		}
		for _, fd := range fds {
			if to, err := os.Readlink(fd); err == nil {
				sockets[to] = true
			}
		}
	}
	listening := 0
	for _, table := range []string{"/proc/net/tcp", "/proc/net/tcp6"} {
		text, err := os.ReadFile(table)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		for line := range strings.Lines(string(text)) {
			f := strings.Fields(line)
			if f[3] != "0A" || !sockets["socket:["+f[9]+"]"] { // 0A: LISTEN
				continue
			}
			listening++
			if addr, _, _ := strings.Cut(f[1], ":"); addr != "0100007F" && !strings.HasSuffix(addr, "FFFF00000100007F") {
				t.Errorf("a broker listens on %s (%s)", f[1], table)
			}
		}
	}
	if want := 3 * len(c.nodes); listening != want {
		t.Errorf("%d listening sockets, want %d", listening, want)
	}
}

// waitState waits until the kernel shows a process in one of states: letters of
// /proc/PID/stat, X when there is no such process.
func waitState(t *testing.T, pid int, states string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			stat = []byte("(gone) X")
		}
		_, after, _ := bytes.Cut(stat, []byte(") "))
		if len(after) > 0 && strings.ContainsRune(states, rune(after[0])) {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("process %d: %s, want state %q", pid, stat, states)
		}
	}
}

// TestChildDiesWithParent kills a copy of this program that has a child.
func TestChildDiesWithParent(t *testing.T) {
	const role = "KAFKATEST_PARENT"
	if os.Getenv(role) != "" {
		p, err := launch(exec.Command("sleep", "600"))
		if err != nil {
			t.Fatal(err)
		}
		fmt.Println("child", p.pid)
		<-p.done
		return
	}
	parent := exec.Command(os.Args[0], "-test.run=^TestChildDiesWithParent$")
	parent.Env = append(os.Environ(), role+"=1")
	out, err := parent.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := parent.Start(); err != nil {
		t.Fatal(err)
	}
	defer parent.Wait()
	child := 0
	for lines := bufio.NewScanner(out); child == 0 && lines.Scan(); {
		fmt.Sscanf(lines.Text(), "child %d", &child)
	}
	if err := parent.Process.Kill(); err != nil || child == 0 {
		t.Fatalf("child %d, kill: %v", child, err)
	}
	waitState(t, child, "XZ")
}
