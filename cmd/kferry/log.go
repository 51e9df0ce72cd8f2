package main

import (
	"fmt"
	"io"
	"log/slog"
	"os"

	"golang.org/x/term"

	"github.com/kferry/kferry/config"
)

// newLogger writes to w as cfg says; format auto is text when w is a terminal, else JSON.
func newLogger(w io.Writer, cfg config.Log) (*slog.Logger, error) {
	return newLoggerAt(new(slog.LevelVar), w, cfg)
}

// newLoggerAt has the level in a variable, which begins as cfg says.
func newLoggerAt(at *slog.LevelVar, w io.Writer, cfg config.Log) (*slog.Logger, error) {
	level, err := logLevel(cfg.Level)
	if err != nil {
		return nil, fmt.Errorf("log.level %w", err)
	}
	at.Set(level)
	o := &slog.HandlerOptions{Level: at}
	text := cfg.Format == "text"
	if cfg.Format == "auto" {
		_, text = terminal(w)
	}
	if text {
		return slog.New(slog.NewTextHandler(w, o)), nil
	}
	return slog.New(slog.NewJSONHandler(w, o)), nil
}

// logLevel is the level of that name.
func logLevel(name string) (level slog.Level, err error) {
	switch name {
	case "debug", "info", "warn", "error":
		return level, level.UnmarshalText([]byte(name))
	}
	return level, fmt.Errorf("%q: must be debug, info, warn or error", name)
}

// terminal tells whether w is one, and how many columns it has.
func terminal(w io.Writer) (columns int, ok bool) {
	f, isFile := w.(*os.File)
	if !isFile || !term.IsTerminal(int(f.Fd())) {
		return 0, false
	}
	columns, _, err := term.GetSize(int(f.Fd()))
	if err != nil || columns <= 0 {
		columns = 80
	}
	return columns, true
}
