package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// TestMain lets a test start this program for real: with the variable set, the test binary is kferry.
func TestMain(m *testing.M) {
	if os.Getenv("KFERRY_TEST_MAIN") != "" {
		main()
	}
	os.Exit(m.Run())
}

// syncBuffer is a bytes.Buffer for several goroutines.
type syncBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// kferry runs a command line in this process.
func kferry(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs syncBuffer
	code = run(t.Context(), args, strings.NewReader(""), &out, &errs, []string{"LANG=C"})
	return code, out.String(), errs.String()
}

// file writes a file that is gone after the test.
func file(t *testing.T, name, content string) string {
	t.Helper()
	p := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(p, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return p
}

func TestCommandLines(t *testing.T) {
	bad := file(t, "bad.yaml", "clusters:\n  a: { bootstrap_servers: [\"h:1\"] }\nflows:\n  - { source: a, target: nowhere, topics: [\"x\"] }\n")
	for _, c := range []struct {
		args   string
		code   int
		stdout string
		stderr string
	}{
		{"", 0, "kferry demo", ""},
		{"--help", 0, "Additional help topics", ""},
		{"version", 0, "kferry ", ""},
		{"--version", 0, "kferry ", ""},
		{"help exit-codes", 0, "stopped by force", ""},
		{"exit-codes", 0, "stopped by force", ""},
		{"help run", 0, "bootstrap_servers", ""},
		{"help config check", 0, "Exit codes", ""},
		{"completion bash", 0, "__start_kferry", ""},
		{"completion fish", 0, "complete -c kferry", ""},

		{"sail", 2, "", `unknown command "sail"`},
		{"help sail", 2, "", `"sail"`},
		{"config sail", 2, "", `unknown command "sail" for "kferry config"`},
		{"run one.yaml two.yaml", 2, "", "takes one configuration file"},
		{"version now", 2, "", "takes no arguments"},
		{"run --fast", 2, "", "unknown flag: --fast"},
		{"run --drain-timeout soon", 2, "", "--drain-timeout"},
		{"datagen --cluster a", 2, "", `"topic" not set`},
		{"demo --rate 0", 2, "", "--rate"},
		{"demo --for -1s", 2, "", "--for"},
		{"demo --log-level loud", 2, "", "debug, info, warn or error"},

		{"run -c " + bad, 3, "", "nowhere"},
		{"run -c missing.yaml", 3, "", "missing.yaml"},
		{"config check -c " + bad, 3, "", "nowhere"},
		{"datagen --cluster a --topic t -c " + bad, 3, "", "nowhere"},
		{"run --log-level loud -c " + bad, 3, "", "log.level"},
	} {
		code, stdout, stderr := kferry(t, strings.Fields(c.args)...)
		if code != c.code {
			t.Errorf("kferry %s: exit code %d, want %d: %s", c.args, code, c.code, stderr)
		}
		if !strings.Contains(stdout, c.stdout) || (c.stdout == "") != (stdout == "") {
			t.Errorf("kferry %s: stdout %.300q, want %q", c.args, stdout, c.stdout)
		}
		if !strings.Contains(stderr, c.stderr) || (c.stderr == "") != (stderr == "") {
			t.Errorf("kferry %s: stderr %q, want %q", c.args, stderr, c.stderr)
		}
		for line := range strings.Lines(stderr) {
			if !strings.HasPrefix(line, "kferry: ") && !strings.HasPrefix(line, "Run 'kferry") {
				t.Errorf("kferry %s: stray line on stderr: %q", c.args, line)
			}
		}
	}
}

// TestHelpTeaches: every command explains itself, with its exit codes and an example.
func TestHelpTeaches(t *testing.T) {
	for _, c := range newRootCommand(new(process)).Commands() {
		if !c.IsAvailableCommand() || c.Name() == "completion" {
			continue
		}
		commands := c.Commands()
		if len(commands) == 0 {
			commands = append(commands, c)
		}
		for _, sub := range commands {
			if !strings.Contains(sub.Long, "Exit codes:") {
				t.Errorf("%s: the help does not tell the exit codes", sub.CommandPath())
			}
			if sub.Example == "" {
				t.Errorf("%s: no example", sub.CommandPath())
			}
		}
	}
}

func TestSignals(t *testing.T) {
	signals := make(chan os.Signal)
	ctx, stop := context.WithCancelCause(t.Context())
	exited := make(chan int)
	var stderr syncBuffer
	go watchSignals(signals, stop, &stderr, func(code int) { exited <- code })
	signals <- syscall.SIGTERM
	<-ctx.Done()
	var s signalled
	if !errors.As(context.Cause(ctx), &s) || s.Signal != syscall.SIGTERM {
		t.Errorf("cause %v", context.Cause(ctx))
	}
	signals <- os.Interrupt
	if code := <-exited; code != exitForced {
		t.Errorf("exit code %d, want %d", code, exitForced)
	}
	if !strings.Contains(stderr.String(), "by force") {
		t.Errorf("stderr %q", stderr.String())
	}
}

// TestProcessStopsOnSignal: the wiring of the real process, with the demo as the thing that lasts.
func TestProcessStopsOnSignal(t *testing.T) {
	for _, sig := range []os.Signal{os.Interrupt, syscall.SIGTERM} {
		cmd := exec.CommandContext(t.Context(), os.Args[0], "demo", "--backlog", "100")
		cmd.Env = append(os.Environ(), "KFERRY_TEST_MAIN=1")
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewReader(out)
		for {
			line, err := lines.ReadString('\n')
			if err != nil {
				t.Fatalf("the demo ended early: %v: %s", err, stderr.String())
			}
			if strings.Contains(line, "Ctrl-C ends it") {
				break
			}
		}
		if err := cmd.Process.Signal(sig); err != nil {
			t.Fatal(err)
		}
		rest, err := io.ReadAll(lines)
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Wait(); err != nil || !bytes.Contains(rest, []byte("records arrived")) {
			t.Errorf("after %v: %v: %s%s", sig, err, rest, stderr.String())
		}
	}
}
