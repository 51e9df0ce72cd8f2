package main

import (
	"fmt"
	"strconv"
	"strings"
	"unicode"
)

// thousands prints n with a comma between groups of three digits.
func thousands(n int64) string {
	s := strconv.FormatInt(n, 10)
	digits := 0
	for i := len(s) - 1; i > 0 && s[i-1] != '-'; i-- {
		if digits++; digits%3 == 0 {
			s = s[:i] + "," + s[i:]
		}
	}
	return s
}

// oneLine is a sentence from elsewhere as it can be shown: what it quotes may hold line ends, and escape sequences of
// terminals.
func oneLine(text string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, strings.Join(strings.Fields(text), " "))
}

// byteSize prints a number of bytes in decimal units with three digits or so.
func byteSize(n int64) string {
	if n < 1000 {
		return fmt.Sprintf("%d B", n)
	}
	f := float64(n)
	for _, unit := range []string{"kB", "MB", "GB"} {
		if f /= 1000; f < 999.95 {
			return fmt.Sprintf("%.1f %s", f, unit)
		}
	}
	return fmt.Sprintf("%.1f TB", f/1000)
}
