package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/kferry/kferry/config"
	"github.com/kferry/kferry/internal/kafka"
	"github.com/kferry/kferry/replicator/lane"
	"github.com/kferry/kferry/replicator/progress"
)

// TestPauseAndResume: the commands write what a daemon reads, and tell what they did. The source is never asked.
func TestPauseAndResume(t *testing.T) {
	target, err := kfake.NewCluster(kfake.NumBrokers(1))
	if err != nil {
		t.Fatal(err)
	}
	defer target.Close()
	cl, err := kafka.Open(config.Cluster{Alias: "b", BootstrapServers: target.ListenAddrs(), ClientID: "test"}, kafka.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	s, err := progress.Open(t.Context(), cl, "a-b", 0)
	if err != nil {
		t.Fatal(err)
	}
	var rs []progress.Record
	for n := range int32(5) {
		id := lane.ID{Topic: []string{"pizza", "clicks"}[n%2], Partition: n}
		rs = append(rs, progress.Record{Lane: id, TargetTopic: id.Topic})
	}
	if err := s.Save(t.Context(), rs, nil); err != nil {
		t.Fatal(err)
	}
	conf := file(t, "k.yaml", fmt.Sprintf(`
clusters:
  a: { bootstrap_servers: ["127.0.0.1:1"] }
  b: { bootstrap_servers: [%q] }
flows:
  - { source: a, target: b, topics: ["pizza", "click.*"], topics_exclude: ["clicks-test"] }
`, target.ListenAddrs()[0]))
	me := "paused by " + whoami() + " at 20"
	for _, c := range []struct {
		args   string
		want   string // lines of stdout begin so
		paused string
	}{
		{"resume --flow a-b", `nothing to do: flow "a-b" is not paused`, ""},
		{"pause --flow a-b --topic clicks", `topic "clicks" of flow "a-b" is paused: 2 lanes with stored progress, which let`, "clicks"},
		{"pause --flow a-b --topic clicks", `nothing to do: topic "clicks" of flow "a-b" is ` + me, "clicks"},
		{"pause --flow a-b", `flow "a-b" is paused: 5 lanes with stored progress`, ",clicks"},
		{"resume --flow a-b --topic pizza", `nothing to do: topic "pizza" of flow "a-b" is not paused|flow "a-b" is still ` + me, ",clicks"},
		{"resume --flow a-b", `flow "a-b" is resumed: 5 lanes with stored progress|topic "clicks" of flow "a-b" is still ` + me, "clicks"},
		{"resume --flow a-b --topic clicks", `topic "clicks" of flow "a-b" is resumed: 2 lanes with stored progress`, ""},
	} {
		code, stdout, stderr := kferry(t, append(strings.Fields(c.args), "-c", conf)...)
		if code != 0 || stderr != "" {
			t.Fatalf("kferry %s: exit code %d: %s", c.args, code, stderr)
		}
		lines := strings.Split(strings.TrimSpace(stdout), "\n")
		want := strings.Split(c.want, "|")
		for i := range max(len(lines), len(want)) {
			if i >= len(lines) || i >= len(want) || !strings.HasPrefix(lines[i], want[i]) {
				t.Errorf("kferry %s: got\n%swant\n%q", c.args, stdout, want)
				break
			}
		}
		pauses, err := s.Pauses().Read(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(sortedTopics(pauses), ","); got != c.paused {
			t.Errorf("after kferry %s %q is paused, want %q", c.args, got, c.paused)
		}
	}
	for _, c := range []struct {
		args string
		want string
	}{
		{"pause", `"flow" not set`},
		{"pause --flow=", `--flow "": the configuration has`},
		{"pause --flow b-a", `--flow "b-a": the configuration has a-b`},
		{"pause --flow a-b --topic pizzas", `--topic "pizzas": flow "a-b" does not carry it, its topics are pizza click.* except clicks-test`},
		{"resume --flow a-b --topic clicks-test", "does not carry it"},
		{"resume --flow a-b now", "takes no arguments"},
	} {
		code, stdout, stderr := kferry(t, append(strings.Fields(c.args), "-c", conf)...)
		if code != exitUsage || stdout != "" || !strings.Contains(stderr, c.want) {
			t.Errorf("kferry %s: exit code %d: %s%s", c.args, code, stdout, stderr)
		}
	}
}

func TestPauseWithoutTarget(t *testing.T) {
	conf := file(t, "k.yaml", twoClusters)
	if code, stdout, stderr := kferry(t, "pause", "--flow", "a-b", "-c", conf); code != exitFailure || stdout != "" || !strings.Contains(stderr, `cluster "b"`) {
		t.Errorf("exit code %d: %s%s", code, stdout, stderr)
	}
	if code, _, stderr := kferry(t, "resume", "--flow", "a-b", "-c", "missing.yaml"); code != exitConfig {
		t.Errorf("exit code %d: %s", code, stderr)
	}
}

func sortedTopics(pauses map[string]progress.Pause) []string { return slices.Sorted(maps.Keys(pauses)) }
