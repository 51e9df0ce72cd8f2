package main

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/kferry/kferry/replicator"
)

// TestDemo is the whole program: two clusters with SCRAM, writers, the ferry, and the count at the end.
func TestDemo(t *testing.T) {
	code, stdout, stderr := kferry(t, "demo", "--for", "6s", "--rate", "300", "--backlog", "5000")
	if code != 0 {
		t.Fatalf("exit code %d: %s%s", code, stdout, stderr)
	}
	for _, want := range []string{
		`look at it: http://127\.0\.0\.1:\d+/, or kferry top`,
		`pizza-orders: [\d,]+ records, .* lag 0`,
		`pizza-orders ([\d,]+) of ([\d,]+) records arrived, pizza-clicks ([\d,]+) of ([\d,]+) records arrived`,
	} {
		m := regexp.MustCompile(want).FindStringSubmatch(stdout)
		if m == nil {
			t.Errorf("no line like %s in:\n%s", want, stdout)
			continue
		}
		for i := 1; i+1 < len(m); i += 2 {
			if m[i] != m[i+1] || m[i] == "0" {
				t.Errorf("arrived %s of %s", m[i], m[i+1])
			}
		}
	}
	if stderr != "" {
		t.Errorf("stderr: %s", stderr)
	}
}

func TestTopicRows(t *testing.T) {
	lane := func(topic string, records, lag int64, reason string) replicator.LaneStatus {
		return replicator.LaneStatus{Topic: topic, State: "stopped", Records: records, Bytes: records * 10, Lag: lag, Reason: reason}
	}
	got := topicRows(replicator.Status{Flows: []replicator.FlowStatus{{Lanes: []replicator.LaneStatus{
		lane("b", 1, 2, ""), lane("a", 10, 5, ""), lane("b", 3, -1, "no leader"), lane("b", 3, 7, ""), lane("a", 20, 6, ""),
	}}}})
	want := []row{
		{topic: "a", lanes: 2, records: 30, bytes: 300, lag: 11},
		{topic: "b", lanes: 3, records: 7, bytes: 70, lag: -1, note: "stopped: no leader"},
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

// display is as much of a terminal as the screen uses: lines, "up n", "erase below".
type display struct {
	lines []string // the last one is where the cursor is
	t     *testing.T
}

var control = regexp.MustCompile(`^\x1b\[(\d*)([AJ])`)

func (d *display) Write(p []byte) (int, error) {
	if d.lines == nil {
		d.lines = []string{""}
	}
	at := len(d.lines) - 1
	for s := string(p); s != ""; {
		switch m := control.FindStringSubmatch(s); {
		case m != nil && m[2] == "A":
			var n int
			if _, err := fmt.Sscan(m[1], &n); err != nil || n > at {
				d.t.Fatalf("cursor up %q from line %d", m[1], at)
			}
			at -= n
			s = s[len(m[0]):]
		case m != nil:
			d.lines = d.lines[:at+1]
			d.lines[at] = ""
			s = s[len(m[0]):]
		case s[0] == '\r':
			s = s[1:]
		case s[0] == '\n':
			d.lines = append(d.lines, "")
			at = len(d.lines) - 1
			s = s[1:]
		default:
			d.lines[at] += s[:1]
			s = s[1:]
		}
	}
	return len(p), nil
}

// TestScreen: after any number of tables and lines, the terminal shows all lines in order and one table below them.
func TestScreen(t *testing.T) {
	d := &display{t: t}
	s := newScreen(d)
	s.tty = true
	s.say("first")
	for i := range 5 {
		s.draw([]row{{topic: "orders", records: int64(i), lag: 3}})
	}
	s.say("second")
	fmt.Fprintln(s.above(d), "from the log")
	s.draw([]row{{topic: "clicks", lag: -1, note: "stopped: no leader"}, {topic: "orders", records: 1234567}})
	s.draw([]row{{topic: "orders", records: 1234568}})
	s.say("third")
	s.end()
	s.say("after the table")
	want := []string{"first", "second", "from the log", "third", "topic", "orders 1,234,568", "after the table", ""}
	if len(d.lines) != len(want) {
		t.Fatalf("got %d lines, want %d:\n%s", len(d.lines), len(want), strings.Join(d.lines, "\n"))
	}
	for i, line := range d.lines {
		for _, word := range strings.Fields(want[i]) {
			if !strings.Contains(line, word) {
				t.Errorf("line %d: got %q, want %q", i, line, want[i])
			}
		}
	}
}

func TestRates(t *testing.T) {
	s := newScreen(&display{t: t})
	begin := time.Unix(100, 0)
	s.lockedRates([]row{{topic: "a", records: 10}}, begin)
	s.lockedRates([]row{{topic: "a", records: 15}}, begin.Add(500*time.Millisecond)) // too soon to say
	if r := s.rates["a"]; r != "" {
		t.Errorf("rate %q from nothing", r)
	}
	s.lockedRates([]row{{topic: "a", records: 5010}, {topic: "b", records: 9}}, begin.Add(2*time.Second))
	if s.rates["a"] != "2,500" || s.rates["b"] != "" {
		t.Errorf("rates %v", s.rates)
	}
}

func TestCut(t *testing.T) {
	for _, c := range []struct {
		s    string
		n    int
		want string
	}{{"abc", 5, "abc"}, {"abc", 2, "ab"}, {"äöü", 2, "äö"}, {"abc", 0, "abc"}, {"abc", -1, "abc"}} {
		if got := cut(c.s, c.n); got != c.want {
			t.Errorf("%q to %d: got %q", c.s, c.n, got)
		}
	}
}

func TestDatagenCommand(t *testing.T) {
	c, err := kfake.NewCluster(kfake.NumBrokers(1))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	cfg := file(t, "kferry.yaml", strings.ReplaceAll(twoClusters, "127.0.0.1:1", c.ListenAddrs()[0]))
	base := []string{"datagen", "-c", cfg, "--topic", "load", "--cluster", "a"}
	for _, x := range []struct {
		args string
		code int
		want string
	}{
		{"--records 10", 1, "--create-topic"},
		{"--records 1000 --rate 0 --codec lz4 --create-topic --partitions 2 --topic-config retention.ms=60000", 0, "1,000 records"},
		{"--records 50 --rate 0 --transactional --batch 5", 0, "50 records"},
		{"--records 10 --codec rar", 2, `"rar"`},
		{"--records 10 --subject sushi", 2, `"sushi"`},
		{"--cluster c", 2, "a, b"},
		{"--cluster b", 1, `"b"`},
	} {
		code, stdout, stderr := kferry(t, append(base, strings.Fields(x.args)...)...)
		if code != x.code || !strings.Contains(stdout+stderr, x.want) {
			t.Errorf("datagen %s: exit code %d, want %d with %q: %s%s", x.args, code, x.code, x.want, stdout, stderr)
		}
	}
}
