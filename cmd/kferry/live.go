package main

import (
	"io"
	"os"
	"strings"

	"golang.org/x/term"
)

// live is a terminal that shows one frame after the other, and takes keys. What was on it before comes back at its end.
type live struct {
	out  *os.File
	in   *os.File      // nil: keys are not read, for they are no terminal's
	was  *term.State   // of in
	quit chan struct{} // closed by q or Ctrl-C
}

// Of every terminal since the VT100's successors: another page, no cursor, and lines that are too long end at the edge.
const (
	liveBegin = "\x1b[?1049h\x1b[?25l\x1b[?7l"
	liveEnd   = "\x1b[?7h\x1b[?25h\x1b[?1049l"
)

// openLive takes over the terminal; false if out is none. end gives it back.
func openLive(in io.Reader, out io.Writer) (l *live, end func(), ok bool) {
	if _, ok := terminal(out); !ok {
		return nil, nil, false
	}
	l = &live{out: out.(*os.File), quit: make(chan struct{})}
	if f, ok := in.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		// Keys come at once and unseen, and Ctrl-C is one of them.
		if was, err := term.MakeRaw(int(f.Fd())); err == nil {
			l.in, l.was = f, was
			go l.readKeys()
		}
	}
	_, _ = io.WriteString(l.out, liveBegin) // a terminal that is gone ends the process otherwise
	return l, l.end, true
}

func (l *live) end() {
	_, _ = io.WriteString(l.out, liveEnd)
	if l.in != nil {
		_ = term.Restore(int(l.in.Fd()), l.was)
	}
}

// readKeys waits for q, Ctrl-C or Ctrl-D. It may end with the process only: a read from a terminal cannot be called off.
func (l *live) readKeys() {
	key := make([]byte, 1)
	for {
		if n, err := l.in.Read(key); err != nil || n == 1 && strings.IndexByte("qQ\x03\x04", key[0]) >= 0 {
			close(l.quit)
			return
		}
	}
}

// size is that of the terminal now: it may be another one each time.
func (l *live) size() (columns, rows int) {
	columns, rows, err := term.GetSize(int(l.out.Fd()))
	if err != nil || columns <= 0 || rows <= 0 {
		return 80, 24
	}
	return columns, rows
}

// draw shows lines, as many as there is room for.
func (l *live) draw(lines []string, columns, rows int) {
	var b strings.Builder
	b.WriteString("\x1b[H")
	for i, line := range lines[:min(len(lines), rows)] {
		if i > 0 {
			b.WriteString("\r\n")
		}
		b.WriteString(cut(line, columns) + "\x1b[K")
	}
	b.WriteString("\x1b[J")
	_, _ = io.WriteString(l.out, b.String())
}
