package replicator_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kferry/kferry/replicator"
)

// judged waits until the flow has exactly such reasons not to switch, by their beginnings.
func (v *virtual) judged(what string, reasons ...string) replicator.Status {
	v.t.Helper()
	var s replicator.Status
	for range 1200 {
		s = v.d.Status()
		got := s.Flows[0].Reasons
		if len(got) == len(reasons) && !slices.ContainsFunc(reasons, func(r string) bool {
			return !slices.ContainsFunc(got, func(g string) bool { return strings.HasPrefix(g, r) })
		}) {
			return s
		}
		time.Sleep(100 * time.Millisecond) // of the bubble's clock
	}
	v.t.Fatalf("%s: the reasons are %q, want %q", what, s.Flows[0].Reasons, reasons)
	return s
}

// problemsAre wants exactly such problems: severity, topic/partition and the beginning of the text.
func problemsAre(t *testing.T, what string, s replicator.Status, want ...string) {
	t.Helper()
	var got []string
	for _, p := range s.Problems {
		got = append(got, fmt.Sprintf("%s %s/%d %s", p.Severity, p.Topic, p.Partition, p.Text))
	}
	ok := len(got) == len(want)
	for i := range want {
		ok = ok && strings.HasPrefix(got[i], want[i])
	}
	if !ok {
		t.Errorf("%s: the problems are %q, want %q", what, got, want)
	}
}

// It is safe to switch when the target has all that there is and nothing is in doubt.
func TestReadiness(t *testing.T) {
	virtually(t, func(t *testing.T, v *virtual) {
		v.topic("pizza", 2)
		v.write("pizza", 0, 0, 10)
		stop := v.run(v.config("pizza"))
		defer stop()
		if got := v.d.Status().Flows[0].Reasons; !slices.Contains(got, "the flow is still starting") {
			t.Errorf("before it has started: %q", got)
		}
		s := v.judged("caught up")
		problemsAre(t, "caught up", s)
		if f := s.Flows[0]; !f.Leads || f.Partitions != 2 || f.Others != 0 || f.Records != 10 || f.Lag != 0 || len(f.Topics) != 1 || f.Topics[0].Lag != 0 {
			t.Errorf("caught up: %+v", f)
		}

		v.target.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Topic: "pizza", Err: kerr.TopicAuthorizationFailed, Count: 1})
		v.write("pizza", 0, 10, 3)
		s = v.judged("stopped", `1 lane is stopped: "pizza" partition 0`, "3 records are not on the target yet; the oldest is ")
		problemsAre(t, "stopped", s, "error pizza/0 stopped: writing to the target: ")
		v.judged("tried again")

		if err := v.d.Pause(t.Context(), "flow", "", "ann"); err != nil {
			t.Fatal(err)
		}
		s = v.judged("paused", `2 lanes are paused: "pizza" partition 0, "pizza" partition 1`)
		problemsAre(t, "paused", s, "warning /-1 paused by ann at ")
		if p := s.Flows[0].Paused; p == nil || p.By != "ann" {
			t.Errorf("paused: %+v", p)
		}
		if err := v.d.Resume(t.Context(), "flow", ""); err != nil {
			t.Fatal(err)
		}
		v.judged("resumed")

		v.gates[v.source].set(true)
		s = v.judged("source away", `cluster "old" does not answer`, "2 lanes are waiting: ", "of 2 lanes it is not known what the target lacks: ",
			"of 2 lanes the source has not told lately where it ends: ")
		for _, want := range []string{`cluster "old" does not answer: connect localhost:9092: nothing listens there`, "not served at the moment, trying on (old broker ",
			"2 lanes are waiting: waiting for the source: ", "of 2 lanes the source has not told lately where it ends"} {
			if !slices.ContainsFunc(s.Problems, func(p replicator.Problem) bool { return strings.HasPrefix(p.Text, want) }) {
				t.Errorf("source away: no problem says %q: %+v", want, s.Problems)
			}
		}
		if s.Problems[0].Severity != replicator.Failing {
			t.Errorf("source away: the errors are not first: %+v", s.Problems)
		}
		v.gates[v.source].set(false)
		s = v.judged("source back")
		for i := 0; i < 1200 && len(s.Problems) > 0; i++ { // each broker is heard of on its own
			time.Sleep(100 * time.Millisecond) // of the bubble's clock
			s = v.d.Status()
		}
		problemsAre(t, "source back", s)

		events := v.d.Events(0)
		for _, want := range []string{"connected", "lanes added", "lane stopped", "lane goes on", "paused", "resumed", "recovered"} {
			if !slices.ContainsFunc(events, func(e replicator.Event) bool { return strings.HasPrefix(e.Text, want) }) {
				t.Errorf("no event says %q", want)
			}
		}
		if len(v.d.History("flow", "pizza")) == 0 || len(v.d.History("flow", "none")) != 0 || v.d.History("other", "pizza") != nil {
			t.Error("the history is not that of the flow's topics")
		}
	})
}

func TestActions(t *testing.T) {
	virtually(t, func(t *testing.T, v *virtual) {
		v.topic("pizza", 1)
		v.write("pizza", 0, 0, 10)
		stop := v.run(v.config("pizza"))
		defer stop()
		if err := v.d.Pause(t.Context(), "flow", "", "ann"); !errors.Is(err, replicator.ErrNotNow) {
			t.Errorf("pause before the flow has started: %v", err)
		}
		v.await("pizza", 0, "running", 0)
		for name, err := range map[string]error{
			"pause a flow":   v.d.Pause(t.Context(), "other", "", "ann"),
			"pause a topic":  v.d.Pause(t.Context(), "flow", "pasta", "ann"),
			"resume a topic": v.d.Resume(t.Context(), "flow", "pasta"),
			"retry a flow":   v.d.Retry(t.Context(), "other", "pizza", 0),
			"retry a lane":   v.d.Retry(t.Context(), "flow", "pizza", 1),
		} {
			if !errors.Is(err, replicator.ErrUnknown) {
				t.Errorf("%s that is not there: %v", name, err)
			}
		}
		if err := v.d.Retry(t.Context(), "flow", "pizza", 0); !errors.Is(err, replicator.ErrNotNow) || !strings.Contains(err.Error(), "running") {
			t.Errorf("retry of a lane that runs: %v", err)
		}

		v.target.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Topic: "pizza", Err: kerr.TopicAuthorizationFailed, Count: 1})
		v.write("pizza", 0, 10, 3)
		v.await("pizza", 0, "stopped", 3)
		asked := time.Now()
		if err := v.d.Retry(t.Context(), "flow", "pizza", 0); err != nil {
			t.Fatal(err)
		}
		v.await("pizza", 0, "running", 0)
		if took := time.Since(asked); took > 5*time.Second { // of the bubble's clock
			t.Errorf("it went on after %v, as without being asked", took)
		}

		if !slices.ContainsFunc(v.d.Events(0), func(e replicator.Event) bool {
			return strings.HasPrefix(e.Text, "tried again") && e.Topic == "pizza" && e.Partition == 0
		}) {
			t.Error("no event tells of the retry")
		}

		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := v.d.Pause(ctx, "flow", "pizza", "ann"); err == nil || errors.Is(err, replicator.ErrNotNow) || errors.Is(err, replicator.ErrUnknown) {
			t.Errorf("the target did not take the wish: %v", err)
		}
	})
}

// A target topic that keeps less than the source is no copy to switch to.
func TestTopicThatKeepsLess(t *testing.T) {
	virtually(t, func(t *testing.T, v *virtual) {
		v.topic("pizza", 1)
		v.write("pizza", 0, 0, 10)
		if err := v.target.CreateTopic("pizza", 1, map[string]string{"retention.ms": "86400000"}); err != nil {
			t.Fatal(err)
		}
		stop := v.run(v.config("pizza"))
		defer stop()
		const text = `1 target topic will not stay an equal copy of the source's: "pizza" (retention.ms is 86400000, on the source 604800000): set the same on the target topic`
		s := v.judged("keeps less", text)
		problemsAre(t, "keeps less", s, "warning /-1 "+text)
		alter := kadm.AlterConfig{Op: kadm.DeleteConfig, Name: "retention.ms"}
		if _, err := kadm.NewClient(v.to).AlterTopicConfigs(t.Context(), []kadm.AlterConfig{alter}, "pizza"); err != nil {
			t.Fatal(err)
		}
		problemsAre(t, "mended", v.judged("mended"))
	})
}
