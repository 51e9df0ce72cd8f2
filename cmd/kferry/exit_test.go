package main

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"testing"

	"github.com/kferry/kferry/config"
	"github.com/kferry/kferry/internal/kafka"
)

func TestExitCodes(t *testing.T) {
	in := func(err error) error { return started{fmt.Errorf("flow a: %w", err)} }
	for _, c := range []struct {
		err  error
		want int
	}{
		{nil, 0},
		{in(errors.New("disk on fire")), 1},
		{in(&kafka.Error{Cluster: "a", Err: errors.New("refused")}), 1},
		{errors.New("unknown command"), 2},
		{usageError{errors.New("unknown flag")}, 2},
		{in(usageError{errors.New("--rate")}), 2},
		{in(config.Errors{{Key: "flows"}}), 3},
		{in(config.Error{Key: "flows"}), 3},
		{in(errors.Join(config.Errors{{Key: "flows"}}, errors.New("other"))), 3},
		{in(&kafka.Error{Cluster: "a", Err: errors.New("wrong password"), Fatal: true}), 4},
		{in(errForced), 5},
		{in(errUnhealthy), 6},
		{in(errors.Join(errForced, errors.New("other"))), 5},
	} {
		if got := exitCode(c.err); got != c.want {
			t.Errorf("%v: got %d, want %d", c.err, got, c.want)
		}
	}
}

func TestLoggerFormats(t *testing.T) {
	plain, err := os.Create(filepath.Join(t.TempDir(), "log")) // a file that is no terminal
	if err != nil {
		t.Fatal(err)
	}
	defer plain.Close()
	for _, c := range []struct {
		cfg  config.Log
		want string
	}{
		{config.Log{Level: "info", Format: "text"}, `level=INFO msg="hello there"`},
		{config.Log{Level: "info", Format: "json"}, `"msg":"hello there"`},
		{config.Log{Level: "info", Format: "auto"}, `"msg":"hello there"`},
	} {
		var b syncBuffer
		log, err := newLogger(&b, c.cfg)
		if err != nil {
			t.Fatal(err)
		}
		log.Info("hello there")
		log.Debug("not shown")
		if s := b.String(); !strings.Contains(s, c.want) || strings.Contains(s, "not shown") {
			t.Errorf("%+v: got %q", c.cfg, s)
		}
	}
	if _, tty := terminal(plain); tty {
		t.Error("a plain file is taken for a terminal")
	}
	for level, want := range map[string]slog.Level{"debug": -4, "info": 0, "warn": 4, "error": 8} {
		log, err := newLogger(plain, config.Log{Level: level, Format: "json"})
		if err != nil || !log.Enabled(t.Context(), want) || log.Enabled(t.Context(), want-1) {
			t.Errorf("level %s: %v", level, err)
		}
	}
	if _, err := newLogger(plain, config.Log{Level: "loud"}); err == nil || !strings.Contains(err.Error(), "log.level") {
		t.Errorf("got %v", err)
	}
}

func TestDescribeBuild(t *testing.T) {
	vcs := func(modified string) []debug.BuildSetting {
		return []debug.BuildSetting{{Key: "vcs.revision", Value: "0123456789abcdef0123"}, {Key: "vcs.modified", Value: modified}}
	}
	for _, c := range []struct {
		stamp string
		info  debug.BuildInfo
		want  string
	}{
		{"v1.2.3", debug.BuildInfo{}, "kferry v1.2.3 go"},
		{"v1.2.3", debug.BuildInfo{Main: debug.Module{Version: "v9.9.9"}}, "kferry v1.2.3 go"},
		{"", debug.BuildInfo{Main: debug.Module{Version: "v0.4.0"}}, "kferry v0.4.0 go"},
		{"", debug.BuildInfo{Main: debug.Module{Version: "(devel)"}}, "kferry dev go"},
		{"", debug.BuildInfo{Settings: vcs("false")}, "kferry dev commit 0123456789ab go"},
		{"", debug.BuildInfo{Settings: vcs("true")}, "kferry dev commit 0123456789ab+changes go"},
	} {
		if got := describeBuild(c.stamp, &c.info).String(); !strings.HasPrefix(got, c.want) {
			t.Errorf("got %q, want %q", got, c.want)
		}
	}
}

func TestFormats(t *testing.T) {
	for n, want := range map[int64]string{
		0: "0", 7: "7", 999: "999", 1000: "1,000", 12345: "12,345", 1234567: "1,234,567", -1000: "-1,000", -999: "-999",
	} {
		if got := thousands(n); got != want {
			t.Errorf("%d: got %q, want %q", n, got, want)
		}
	}
	for n, want := range map[int64]string{
		0: "0 B", 999: "999 B", 1000: "1.0 kB", 999_949: "999.9 kB", 999_999: "1.0 MB", 2_030_000_000: "2.0 GB", 5e15: "5000.0 TB",
	} {
		if got := byteSize(n); got != want {
			t.Errorf("%d: got %q, want %q", n, got, want)
		}
	}
}
