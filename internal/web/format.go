package web

import (
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode"
)

// What is not known is shown so.
const unknown = "–"

// name makes a text safe to look at: signs that cannot be seen, or that turn the
// text around them, are replaced. That it is no HTML the template sees to.
func name(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return unicode.ReplacementChar
	}, s)
}

// count writes 1234567 as 1,234,567.
func count[N int | int64](n N) string {
	s := strconv.FormatInt(int64(n), 10)
	start := 0
	if n < 0 {
		start = 1
	}
	for i := len(s) - 3; i > start; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

func known(n *int64) string {
	if n == nil {
		return unknown
	}
	return count(*n)
}

// scaled writes n with the largest of the units that are each base times the one before.
func scaled(n, base float64, units ...string) string {
	i := 0
	for ; n >= base && i < len(units)-1; i++ {
		n /= base
	}
	digits := 0
	if i > 0 && n < 100 {
		digits = 1
	}
	return strings.TrimSuffix(strconv.FormatFloat(n, 'f', digits, 64), ".0") + units[i]
}

func short(n int64) string { return scaled(float64(n), 1000, "", "k", "M", "G", "T") }

func byteSize(n int64) string {
	return scaled(float64(n), 1024, " B", " KiB", " MiB", " GiB", " TiB")
}

func byteRate(n float64) string { return byteSize(int64(n)) + "/s" }

func perSecond(n float64) string {
	if n > 0 && n < 10 {
		return strconv.FormatFloat(n, 'f', 1, 64)
	}
	return count(int64(n + 0.5))
}

// span writes seconds as people say them.
func span(seconds *float64) string {
	if seconds == nil {
		return unknown
	}
	switch s := *seconds; {
	case s < 10:
		return strings.TrimSuffix(strconv.FormatFloat(s, 'f', 1, 64), ".0") + " s"
	case s < 120:
		return fmt.Sprintf("%.0f s", s)
	case s < 2*3600:
		return fmt.Sprintf("%.0f min", s/60)
	case s < 2*86400:
		return fmt.Sprintf("%.0f h", s/3600)
	default:
		return count(int64(s/86400+0.5)) + " d"
	}
}

// etaText says what an ETA is about.
func etaText(f Flow) string {
	switch {
	case f.LagRecords != nil && *f.LagRecords == 0:
		return "nothing is missing"
	case f.ETASeconds != nil:
		return "at the pace of the last minute"
	case f.LagRecords == nil:
		return "not known"
	}
	return "the lag does not shrink"
}

func age(from any, to time.Time) string {
	var t time.Time
	switch x := from.(type) {
	case time.Time:
		t = x
	case *time.Time:
		t = *x
	}
	s := max(0, to.Sub(t).Truncate(time.Second).Seconds())
	return span(&s)
}

func stamp(t time.Time) string  { return t.UTC().Format(time.RFC3339) }
func clock(t time.Time) string  { return t.UTC().Format(time.TimeOnly) }
func moment(t time.Time) string { return t.UTC().Format(time.DateTime) }
