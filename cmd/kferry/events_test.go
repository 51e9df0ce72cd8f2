package main

import (
	"context"
	"encoding/json"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/kferry/kferry/internal/ferrytest"
	"github.com/kferry/kferry/internal/web"
	"github.com/kferry/kferry/replicator"
)

// happened are n events of a daemon, one a second from from on.
func happened(flow string, from time.Time, n *atomic.Int64) func(uint64) []replicator.Event {
	return func(after uint64) (out []replicator.Event) {
		for seq := after + 1; seq <= uint64(n.Load()); seq++ {
			out = append(out, replicator.Event{Seq: seq, At: from.Add(time.Duration(seq) * time.Second), Level: slog.LevelWarn, Flow: flow, Topic: "t\x1b", Partition: 3,
				Text: "lane\nstopped\x1b[31m"})
		}
		return out
	}
}

func TestEvents(t *testing.T) {
	defer goleak.VerifyNone(t)
	t.Run("", func(t *testing.T) { // its clean-up ends before the check for leaks
		var two, none atomic.Int64
		two.Store(2)
		a, b := served(t, &fakeDaemon{events: happened("a-b", noon, &two)}), served(t, &fakeDaemon{events: happened("b-a", noon.Add(500*time.Millisecond), &two)})
		empty := served(t, &fakeDaemon{events: happened("", noon, &none)})
		line := func(second, flow string) string {
			return "2026-11-26 12:00:0" + second + "Z  warn   " + flow + ", topic \"t\\x1b\", partition 3: lane stopped?[31m\n"
		}
		for _, c := range []struct {
			args string
			code int
			want string
		}{
			{"--url " + a, 0, line("1", "a-b") + line("2", "a-b")},
			{"--url " + b + " --url " + a, 0, line("1", "a-b") + line("1", "b-a") + line("2", "a-b") + line("2", "b-a")},
			{"--flow b-a --url " + a + " --url " + b, 0, line("1", "b-a") + line("2", "b-a")},
			{"--url " + empty, 0, ""},
			{"--url http://127.0.0.1:1 --url " + a, 1, line("1", "a-b") + line("2", "a-b")},
			{"--follow --url http://127.0.0.1:1", 1, ""},
			{"--url nowhere", 2, ""},
			{"-c missing.yaml", 3, ""},
		} {
			code, stdout, stderr := kferry(t, append([]string{"events"}, strings.Fields(c.args)...)...)
			if code != c.code || stdout != c.want {
				t.Errorf("kferry events %s: exit code %d, want %d, %s\n%s\nwant\n%s", c.args, code, c.code, stderr, stdout, c.want)
			}
		}
		_, stdout, _ := kferry(t, "events", "--json", "--url", a)
		first, _, _ := strings.Cut(stdout, "\n")
		var got web.Event
		if err := json.Unmarshal([]byte(first), &got); err != nil || got.Seq != 1 || got.Topic != "t\x1b" || *got.Partition != 3 || strings.Count(stdout, "\n") != 2 {
			t.Errorf("%v: %s", err, stdout)
		}
	})
}

// What comes is printed once, and a signal ends it cleanly.
func TestEventsFollow(t *testing.T) {
	var n atomic.Int64
	n.Store(1)
	url := served(t, &fakeDaemon{events: happened("a-b", noon, &n)})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var stdout, stderr syncBuffer
	end := make(chan int, 1)
	go func() {
		end <- run(ctx, []string{"events", "--follow", "--url", url}, strings.NewReader(""), &stdout, &stderr, nil)
	}()
	for want := 1; want <= 3; want++ {
		ferrytest.Eventually(t, ferrytest.Patience, "the event is printed", func() (bool, string) {
			return strings.Count(stdout.String(), "\n") == want, stdout.String() + stderr.String()
		})
		n.Add(1)
	}
	cancel()
	if code := <-end; code != 0 || stderr.String() != "" {
		t.Errorf("exit code %d: %s", code, stderr.String())
	}
	for i, l := range strings.Split(strings.TrimSpace(stdout.String()), "\n") {
		if want := noon.Add(time.Duration(i+1) * time.Second).Format("15:04:05Z"); !strings.Contains(l, want) {
			t.Errorf("line %d is %q, want %s", i, l, want)
		}
	}
}
