package main

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"time"
	"unicode/utf8"
)

// screen shows a table that changes in place below lines that stay. Without a terminal, every table is a line per topic.
type screen struct {
	tty   bool
	begin time.Time

	mu    sync.Mutex // of all below
	w     io.Writer
	table []string          // lines on the terminal now, below everything else
	last  map[string]int64  // records by topic, at at
	rates map[string]string // records a second up to at
	at    time.Time
}

func newScreen(w io.Writer) *screen {
	_, tty := terminal(w)
	return &screen{tty: tty, begin: time.Now(), w: w}
}

// say prints a line that stays, above the table.
func (s *screen) say(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lockedErase()
	fmt.Fprintf(s.w, format+"\n", args...)
	s.lockedShow()
}

// above gives a writer to w, the same terminal perhaps, that keeps the table whole.
func (s *screen) above(w io.Writer) io.Writer {
	if !s.tty {
		return w
	}
	return &aboveTable{s, w}
}

type aboveTable struct {
	s *screen
	w io.Writer
}

func (a *aboveTable) Write(p []byte) (int, error) {
	a.s.mu.Lock()
	defer a.s.mu.Unlock()
	a.s.lockedErase()
	defer a.s.lockedShow()
	return a.w.Write(p)
}

// draw replaces the table.
func (s *screen) draw(rows []row) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	s.lockedRates(rows, now)
	if !s.tty {
		for _, r := range rows {
			fmt.Fprintf(s.w, "%4.0fs %s\n", now.Sub(s.begin).Seconds(), s.line(r))
		}
	} else {
		columns, _ := terminal(s.w)
		table := []string{fmt.Sprintf("%-14s %10s %12s %10s %10s %10s", "topic", "partitions", "records", "bytes", "records/s", "lag")}
		for _, r := range rows {
			table = append(table, cut(s.line(r), columns-1))
		}
		s.lockedErase()
		s.table = table
		s.lockedShow()
	}
}

// lockedRates computes the rates anew when a second has passed: over less they would flicker.
func (s *screen) lockedRates(rows []row, now time.Time) {
	past := now.Sub(s.at).Seconds()
	if past < 1 {
		return
	}
	last, rates := map[string]int64{}, map[string]string{}
	for _, r := range rows {
		last[r.topic] = r.records
		if before, ok := s.last[r.topic]; ok {
			rates[r.topic] = thousands(int64(float64(r.records-before) / past))
		}
	}
	s.last, s.rates, s.at = last, rates, now
}

// end leaves the last table where it is.
func (s *screen) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.table = nil
}

// line shows a topic: in columns on a terminal, in words elsewhere.
func (s *screen) line(r row) string {
	rate, lag := s.rates[r.topic], "?"
	if r.lag >= 0 {
		lag = thousands(r.lag)
	}
	var line string
	if s.tty {
		line = fmt.Sprintf("%-14s %10d %12s %10s %10s %10s  ", r.topic, r.lanes, thousands(r.records), byteSize(r.bytes), rate, lag)
	} else {
		line = fmt.Sprintf("%s: %s records, %s, lag %s ", r.topic, thousands(r.records), byteSize(r.bytes), lag)
		if rate != "" {
			line += fmt.Sprintf("(%s/s) ", rate)
		}
	}
	return strings.TrimRight(line+r.note, " ")
}

// lockedErase removes the table: the cursor is on the line below it.
func (s *screen) lockedErase() {
	if len(s.table) > 0 {
		fmt.Fprintf(s.w, "\x1b[%dA\r\x1b[J", len(s.table))
	}
}

func (s *screen) lockedShow() {
	for _, line := range s.table {
		fmt.Fprintln(s.w, line)
	}
}

// cut shortens s to n characters, for a line that wraps would be two.
func cut(s string, n int) string {
	if n < 1 || utf8.RuneCountInString(s) <= n {
		return s
	}
	return string([]rune(s)[:n])
}
