package main

import (
	"encoding/json"
	"net"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"

	"github.com/kferry/kferry/internal/web"
	"github.com/kferry/kferry/replicator"
)

var someLanes = replicator.Status{Flows: []replicator.FlowStatus{
	{Name: "a-b", Lanes: []replicator.LaneStatus{
		{Topic: "t", TargetTopic: "t", State: "running", Records: 1234, Bytes: 2_000_000, Position: 50, TargetPosition: 60, Lag: 1500, LagSeconds: 90.4},
		{Topic: "t", TargetTopic: "t", Partition: 1, State: "stopped", Reason: "the target refused\nthe batch", Lag: -1},
	}},
	{Name: "b-a", Lanes: []replicator.LaneStatus{{Topic: "u", TargetTopic: "b.u", State: "running", Lag: 0}}},
}}

// TestLanesOfARunningDaemon: the command asks what `kferry run` serves.
func TestLanesOfARunningDaemon(t *testing.T) {
	f := newFake()
	f.status = someLanes
	cancel, stderr, end := launch(t, f, twoClusters)
	<-f.running
	url := regexp.MustCompile(`(http://[0-9.:]+)/metrics`).FindStringSubmatch(stderr.String())[1]
	conf := file(t, "k.yaml", strings.Replace(twoClusters, "127.0.0.1:0", strings.TrimPrefix(url, "http://"), 1))
	for _, c := range []struct {
		args, want string
	}{
		{"-c " + conf, "3 lanes: 2 running, 1 stopped; 1,500 records behind\n"},
		{"-c " + conf, "FLOW  TOPIC     PARTITION  STATE    SOURCE OFFSET  TARGET OFFSET  LAG    BEHIND  RECORDS  BYTES   REASON\n" +
			"a-b   t         0          running  50             60             1,500  1m30s   1,234    2.0 MB  \n" +
			"a-b   t         1          stopped  0              0              ?      ?       0        0 B     the target refused the batch\n" +
			"b-a   u -> b.u  0          running  0              0              0      0s      0        0 B     \n"},
		{"--state stopped --url " + url, "1 lane: 1 stopped; 0 records behind\n"},
		{"--flow b-a --url " + url + "/", "1 lane: 1 running; 0 records behind\n"},
		{"--flow b-a --state paused --url " + url, "0 lanes\n"},
	} {
		code, stdout, stderr := kferry(t, append([]string{"lanes"}, strings.Fields(c.args)...)...)
		if code != 0 || !strings.Contains(stdout, c.want) {
			t.Errorf("kferry lanes %s: exit code %d, %s\n%s\nwant\n%s", c.args, code, stderr, stdout, c.want)
		}
	}
	if code, stdout, _ := kferry(t, "lanes", "--url", url, "--url", url); code != 0 || !strings.HasSuffix(stdout, "6 lanes: 4 running, 2 stopped; 3,000 records behind\n") {
		t.Errorf("two replicas: exit code %d, %s", code, stdout)
	}
	code, stdout, _ := kferry(t, "lanes", "--json", "--state", "stopped", "--url", url)
	var got web.Lanes
	if err := json.Unmarshal([]byte(stdout), &got); err != nil || code != 0 || len(got.Lanes) != 1 || got.Lanes[0].Partition != 1 || got.Lanes[0].LagRecords != nil {
		t.Errorf("exit code %d, %v: %s", code, err, stdout)
	}
	cancel()
	<-end
}

func TestLanesWithoutADaemon(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	free := ln.Addr().String()
	ln.Close()
	other := httptest.NewServer(http.NotFoundHandler())
	defer other.Close()
	nonsense := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("<html>")) }))
	defer nonsense.Close()
	for _, c := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"-c", file(t, "k.yaml", strings.Replace(twoClusters, "127.0.0.1:0", free, 1))}, 1, `is "kferry run" running there?`},
		{[]string{"-c", file(t, "k.yaml", strings.Replace(twoClusters, "127.0.0.1:0", "off", 1))}, 1, "http.listen is off"},
		{[]string{"--url", other.URL}, 1, "it is no kferry, or one older than this command"},
		{[]string{"--url", nonsense.URL}, 1, "does not answer as kferry does"},
		{[]string{"--url", "localhost"}, 2, "must be http://host:port"},
		{[]string{"--url", other.URL, "--state", "odd"}, 2, "must be one of starting, running"},
		{[]string{"-c", "missing.yaml"}, 3, "missing.yaml"},
	} {
		code, stdout, stderr := kferry(t, append([]string{"lanes"}, c.args...)...)
		if code != c.code || !strings.Contains(stderr, c.want) || stdout != "" {
			t.Errorf("kferry lanes %s: exit code %d, want %d: %s", c.args, code, c.code, stderr)
		}
	}
}

func TestDaemonURL(t *testing.T) {
	for listen, want := range map[string]string{
		"127.0.0.1:9464": "http://127.0.0.1:9464", ":9464": "http://localhost:9464", "0.0.0.0:1": "http://localhost:1",
		"[::]:1": "http://localhost:1", "[::1]:1": "http://[::1]:1", "kferry.example:80": "http://kferry.example:80",
	} {
		if got, err := daemonURL(listen); got != want || err != nil {
			t.Errorf("%s: got %q, %v, want %q", listen, got, err, want)
		}
	}
}
