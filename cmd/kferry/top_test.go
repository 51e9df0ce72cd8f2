package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/creack/pty"
	"go.uber.org/goleak"
	"golang.org/x/term"

	"github.com/kferry/kferry/internal/ferrytest"
	"github.com/kferry/kferry/internal/web"
	"github.com/kferry/kferry/replicator"
)

// Without a terminal there is one frame, and no escape sequence in it.
func TestTopOnce(t *testing.T) {
	defer goleak.VerifyNone(t)
	t.Run("", func(t *testing.T) { // its clean-up ends before the check for leaks
		st := aStatus("a")
		for range 5 {
			st.Problems = append(st.Problems, replicator.Problem{Severity: replicator.Failing, Flow: "old-new", Topic: "t\x1b", Partition: 1, Text: "stopped\x1b[31m"})
		}
		url := served(t, &fakeDaemon{status: st, history: []replicator.Point{{At: noon.Unix() - 3000, Lag: 3000}, {At: noon.Unix(), Lag: 1500}}})
		code, stdout, stderr := kferry(t, "top", "--url", url)
		want := `kferry v1.2.3 (instance a, up 2h3m): NOT healthy    12:00:00 UTC
error  old-new, topic "t\x1b", partition 1: stopped?[31m
error  old-new, topic "t\x1b", partition 1: stopped?[31m
error  old-new, topic "t\x1b", partition 1: stopped?[31m
and 2 more: kferry status

FLOW     LANES      LAG    BEHIND  GONE IN  RECORDS/S  BYTES/S  SAFE TO SWITCH
old-new  4 running  1,500  1m30s   2m0s     1,000      2.0 MB   no: 1500 records are not on the target yet

TOPIC             LANES      LAG    BEHIND  RECORDS/S  BYTES/S  LAG, LAST HOUR
pizza -> x.pizza  4 running  1,500  1m30s   1,000      2.0 MB       █                        ▄
idle              4 running  0      0s      0          0 B          █                        ▄
`
		if code != 0 || stdout != want || stderr != "" {
			t.Errorf("exit code %d, %s\ngot\n%s\nwant\n%s", code, stderr, stdout, want)
		}
		for _, c := range []struct {
			args string
			code int
			want string
		}{
			{"--url http://127.0.0.1:1", 1, "no kferry answers"},
			{"--interval 1ms --url " + url, 2, "--interval 1ms: must be 100ms or above"},
			{"-c missing.yaml", 3, "missing.yaml"},
		} {
			if code, _, stderr := kferry(t, append([]string{"top"}, strings.Fields(c.args)...)...); code != c.code || !strings.Contains(stderr, c.want) {
				t.Errorf("kferry top %s: exit code %d, want %d: %s", c.args, code, c.code, stderr)
			}
		}
	})
}

// watched is kferry top on a terminal of its own.
type watched struct {
	t      *testing.T
	keys   *os.File // the other end of the terminal
	tty    *os.File
	screen *syncBuffer
	before *term.State
	stop   context.CancelFunc
	end    chan int
}

func watch(t *testing.T, url string, columns, rows uint16) *watched {
	t.Helper()
	keys, tty, err := pty.Open()
	if err != nil {
		t.Skipf("no terminal is to be had: %v", err)
	}
	w := &watched{t: t, keys: keys, tty: tty, screen: new(syncBuffer), end: make(chan int, 1)}
	t.Cleanup(func() {
		keys.WriteString("q\n") // for a reader that a signal left waiting
		keys.Close()
		tty.Close()
	})
	go func() { _, _ = io.Copy(w.screen, keys) }()
	w.resize(columns, rows)
	if w.before, err = term.GetState(int(tty.Fd())); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	w.stop = cancel
	p := &process{stdin: tty, stdout: tty, stderr: new(syncBuffer)}
	go func() { w.end <- p.execute(ctx, []string{"top", "--interval", "100ms", "--url", url}) }()
	return w
}

func (w *watched) resize(columns, rows uint16) {
	w.t.Helper()
	if err := pty.Setsize(w.keys, &pty.Winsize{Cols: columns, Rows: rows}); err != nil {
		w.t.Fatal(err)
	}
}

// frame is the last that was drawn to its end.
func (w *watched) frame() []string {
	all := strings.Split(w.screen.String(), "\x1b[H")
	for i := len(all) - 1; i > 0; i-- {
		if f, _, ok := strings.Cut(all[i], "\x1b[J"); ok {
			return strings.Split(strings.ReplaceAll(f, "\x1b[K", ""), "\r\n")
		}
	}
	return nil
}

func (w *watched) until(what string, done func(frame []string) bool) {
	w.t.Helper()
	ferrytest.Eventually(w.t, ferrytest.Patience, what, func() (bool, string) {
		f := w.frame()
		return done(f), fmt.Sprintf("%q", f)
	})
}

// over wants the terminal to be as it was.
func (w *watched) over() {
	w.t.Helper()
	if code := <-w.end; code != 0 {
		w.t.Errorf("exit code %d", code)
	}
	ferrytest.Eventually(w.t, ferrytest.Patience, "the screen is given back", func() (bool, string) {
		s := w.screen.String()
		return strings.HasSuffix(s, liveEnd), s[max(0, len(s)-40):]
	})
	after, err := term.GetState(int(w.tty.Fd()))
	if err != nil || !reflect.DeepEqual(after, w.before) {
		w.t.Errorf("the terminal is left as %+v and was %+v: %v", after, w.before, err)
	}
	if !strings.HasPrefix(w.screen.String(), liveBegin) {
		w.t.Error("it drew over what was there before")
	}
}

func TestTopOnATerminal(t *testing.T) {
	st := aStatus("a")
	for i := range 50 {
		st.Flows[0].Topics = append(st.Flows[0].Topics, replicator.TopicStatus{Topic: fmt.Sprintf("topic-%02d", i), Tally: replicator.Tally{Lag: int64(i)}})
	}
	url := served(t, &fakeDaemon{status: st})
	for name, quit := range map[string]func(*watched){
		"q":      func(w *watched) { w.keys.WriteString("xq") },
		"Ctrl-C": func(w *watched) { w.keys.WriteString("\x03") },
		"signal": func(w *watched) { w.stop() },
	} {
		t.Run(name, func(t *testing.T) {
			w := watch(t, url, 120, 20)
			fits := func(columns, rows int) func([]string) bool {
				return func(f []string) bool {
					for _, l := range f {
						if utf8.RuneCountInString(l) > columns {
							return false
						}
					}
					return len(f) == rows && strings.HasPrefix(f[0], "kferry v1.2.3") && strings.HasPrefix(f[rows-1], "and ")
				}
			}
			w.until("a frame fills the terminal", fits(120, 20))
			w.resize(40, 12)
			w.until("the frame is as small as the terminal", fits(40, 12))
			w.resize(100, 30)
			w.until("and grows with it", fits(100, 30))
			quit(w)
			w.over()
		})
	}
}

// A kferry that goes away is waited for, and what was last known stays.
func TestTopWhileNobodyAnswers(t *testing.T) {
	daemon := &fakeDaemon{status: aStatus("a")}
	var gone context.CancelFunc
	t.Run("", func(t *testing.T) {
		url := servedUntil(t, daemon, &gone)
		w := watch(t, url, 120, 20)
		w.until("a frame", func(f []string) bool { return len(f) > 3 })
		gone()
		w.until("the error is shown above the last answer", func(f []string) bool {
			return len(f) > 3 && strings.HasPrefix(f[0], "kferry v1.2.3") && strings.HasPrefix(f[1], "no answer now: no kferry answers")
		})
		w.keys.WriteString("q")
		w.over()
	})
}

func TestGraph(t *testing.T) {
	at := func(ago int64) int64 { return noon.Unix() - ago }
	for _, c := range []struct {
		history []web.Point
		want    string
	}{
		{nil, ""},
		{[]web.Point{{at(0), 0}}, strings.Repeat(" ", 29) + "▁"},
		{[]web.Point{{at(3599), 8}, {at(1800), 4}, {at(0), 1}}, "█" + strings.Repeat(" ", 13) + "▄" + strings.Repeat(" ", 14) + "▁"},
		{[]web.Point{{at(3600), 8}, {at(-10), 4}, {at(5), -1}}, ""},
	} {
		if got := graph(c.history, noon); got != c.want {
			t.Errorf("%v: got %q, want %q", c.history, got, c.want)
		}
	}
}

// What replicas have of a topic is added up, and what is not known comes first.
func TestMergeTopics(t *testing.T) {
	n := func(x int64) *int64 { return &x }
	s := func(x float64) *float64 { return &x }
	got := mergeTopics([]web.Topics{
		{Topics: []web.Topic{{Flow: "f", Topic: "a", Lanes: map[string]int{"running": 1}, LagRecords: n(3), LagSeconds: s(1), RecordsPerSecond: 1, History: []web.Point{{100, 3}, {110, 5}}}, {Flow: "f", Topic: "b", LagRecords: n(9)}}},
		{Topics: []web.Topic{{Flow: "f", Topic: "a", Lanes: map[string]int{"running": 2}, LagRecords: n(4), LagSeconds: s(7), RecordsPerSecond: 2, History: []web.Point{{104, 4}}}, {Flow: "f", Topic: "c"}}},
	})
	if len(got) != 3 || got[0].Topic != "c" || got[1].Topic != "b" || got[2].Topic != "a" {
		t.Fatalf("got %+v", got)
	}
	if a := got[2]; *a.LagRecords != 7 || *a.LagSeconds != 7 || a.RecordsPerSecond != 3 || a.Lanes["running"] != 3 || !reflect.DeepEqual(a.History, []web.Point{{100, 7}, {110, 5}}) {
		t.Errorf("got %+v", a)
	}
}
