package main

import (
	"context"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/kferry/kferry/config"
	"github.com/kferry/kferry/internal/web"
	"github.com/kferry/kferry/replicator"
)

var someOffsets = []replicator.OffsetRow{
	{Flow: "a-b", Group: "billing", TargetGroup: "pay", Topic: "t", TargetTopic: "x.t", SourceOffset: 120400, TargetOffset: 120377,
		Verdict: "exact", Lag: 1500, At: time.Date(2026, 11, 23, 10, 15, 30, 0, time.UTC)},
	{Flow: "a-b", Group: "billing", TargetGroup: "pay", Topic: "t", TargetTopic: "x.t", Partition: 1, SourceOffset: 7, TargetOffset: 4,
		Verdict: "floor", Reason: "the map\nis coarse, \"there\"", RecordsAgain: 3, Lag: 3, At: time.Date(2026, 11, 23, 10, 15, 30, 0, time.UTC)},
	{Flow: "a-b", Group: "odd\x1b[31m", TargetGroup: "odd\x1b[31m", Partition: -1, SourceOffset: -1, TargetOffset: -1,
		Verdict: "not_authorised", Reason: "allow Describe", RecordsAgain: -1, Lag: -1, At: time.Date(2026, 11, 23, 10, 15, 29, 0, time.UTC)},
	{Flow: "b-a", Group: "billing", TargetGroup: "billing", Topic: "u", TargetTopic: "u", SourceOffset: 9, TargetOffset: -1,
		Verdict: "not_mirrored_yet", Reason: "wait", Lag: -1, At: time.Date(2026, 11, 23, 10, 15, 31, 0, time.UTC)},
}

// served runs the web server over a daemon, and returns its URL.
func served(t *testing.T, f *fakeDaemon) string {
	t.Helper()
	return servedUntil(t, f, new(context.CancelFunc))
}

// servedUntil is served for a server that stops when stop is called, or the test ends.
func servedUntil(t *testing.T, f *fakeDaemon, stop *context.CancelFunc) string {
	t.Helper()
	srv, err := listen(config.HTTP{Listen: "127.0.0.1:0"}, acting{daemon: f}, prometheus.NewRegistry(), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	end := start(ctx, srv.Run)
	*stop = cancel
	t.Cleanup(func() {
		cancel()
		if err := <-end; err != nil {
			t.Error(err)
		}
	})
	return "http://" + srv.Addr()
}

func TestOffsetsShow(t *testing.T) {
	defer goleak.VerifyNone(t)
	t.Run("", func(t *testing.T) { // its clean-up ends before the check for leaks
		url := served(t, &fakeDaemon{offsets: someOffsets})
		conf := file(t, "k.yaml", strings.Replace(twoClusters, "127.0.0.1:0", strings.TrimPrefix(url, "http://"), 1))
		for _, c := range []struct {
			args, want string
		}{
			{"-c " + conf, `FLOW  GROUP           TOPIC     PARTITION  VERDICT           SOURCE OFFSET  TARGET OFFSET  RECORDS AGAIN  LAG    REASON
a-b   billing -> pay  t -> x.t  0          exact             120400         120377         0              1,500  
a-b   billing -> pay  t -> x.t  1          floor             7              4              3              3      the map is coarse, "there"
a-b   "odd\x1b[31m"   -         -          not_authorised    -              -              ?              ?      allow Describe
b-a   billing         u         0          not_mirrored_yet  9              -              0              ?      wait
4 partitions of 3 groups: 1 exact, 1 floor, 1 not_mirrored_yet, 1 not_authorised; after switching 1,503 records to read, at most 3 of them again, not known for 2 partitions; as of 2026-11-23T10:15:29Z
`},
			{"--flow a-b --group billing --topic t --verdict gap,exact --url " + url, `FLOW  GROUP           TOPIC     PARTITION  VERDICT  SOURCE OFFSET  TARGET OFFSET  RECORDS AGAIN  LAG    REASON
a-b   billing -> pay  t -> x.t  0          exact    120400         120377         0              1,500  
1 partition of 1 group: 1 exact; after switching 1,500 records to read; as of 2026-11-23T10:15:30Z
`},
			{"--group bill --url " + url, "0 partitions of groups; a flow follows those that its key groups names\n"},
			{"--csv --url " + url, `flow,group,target_group,topic,target_topic,partition,source_offset,target_offset,verdict,reason,records_again,lag_records,at
a-b,billing,pay,t,x.t,0,120400,120377,exact,,0,1500,2026-11-23T10:15:30Z
a-b,billing,pay,t,x.t,1,7,4,floor,"the map
is coarse, ""there""",3,3,2026-11-23T10:15:30Z
a-b,` + "odd\x1b[31m,odd\x1b[31m" + `,,,-1,,,not_authorised,allow Describe,,,2026-11-23T10:15:29Z
b-a,billing,billing,u,u,0,9,,not_mirrored_yet,wait,0,,2026-11-23T10:15:31Z
`},
			{"--csv --flow none --url " + url, "flow,group,target_group,topic,target_topic,partition,source_offset,target_offset,verdict,reason,records_again,lag_records,at\n"},
			{"--json --flow none --url " + url, "{\n  \"offsets\": []\n}\n"},
		} {
			code, stdout, stderr := kferry(t, append([]string{"offsets", "show"}, strings.Fields(c.args)...)...)
			if code != 0 || stdout != c.want {
				t.Errorf("kferry offsets show %s: exit code %d, %s\n%s\nwant\n%s", c.args, code, stderr, stdout, c.want)
			}
		}
		code, stdout, _ := kferry(t, "offsets", "show", "--json", "--url", url)
		var got web.Offsets
		if err := json.Unmarshal([]byte(stdout), &got); err != nil || code != 0 || len(got.Offsets) != 4 {
			t.Fatalf("exit code %d, %v: %s", code, err, stdout)
		}
		if r := got.Offsets[1]; *r.SourceOffset != 7 || *r.TargetOffset != 4 || *r.LagRecords != 3 || *r.RecordsAgain != 3 || r.Reason != "the map\nis coarse, \"there\"" {
			t.Errorf("got %+v", r)
		}
		if r := got.Offsets[2]; r.SourceOffset != nil || r.TargetOffset != nil || r.LagRecords != nil || r.RecordsAgain != nil || r.Partition != -1 {
			t.Errorf("got %+v", r)
		}
	})
}

// A topic that the flow does not carry has no name on the target.
func TestOffsetsNotInFlow(t *testing.T) {
	url := served(t, &fakeDaemon{offsets: []replicator.OffsetRow{{Flow: "a-b", Group: "g", TargetGroup: "g", Topic: "t", SourceOffset: 3, TargetOffset: -1, Verdict: "not_in_flow"}}})
	if code, stdout, stderr := kferry(t, "offsets", "show", "--url", url); code != 0 || !strings.Contains(stdout, "\na-b   g      t      0 ") {
		t.Errorf("exit code %d, %s%s", code, stdout, stderr)
	}
}

// Several replicas are put together; where two have the same row, the later one counts, whoever is asked first.
func TestOffsetsOfReplicas(t *testing.T) {
	later := someOffsets[0]
	later.At, later.TargetOffset = later.At.Add(time.Second), 120380
	one := served(t, &fakeDaemon{offsets: someOffsets[:2]})
	other := served(t, &fakeDaemon{offsets: []replicator.OffsetRow{later, someOffsets[3]}})
	for _, urls := range [][]string{{one, other}, {other, one}} {
		code, stdout, stderr := kferry(t, "offsets", "show", "--csv", "--url", urls[0], "--url", urls[1])
		rows, err := csv.NewReader(strings.NewReader(stdout)).ReadAll()
		if err != nil || code != 0 || len(rows) != 4 {
			t.Fatalf("exit code %d, %v: %s%s", code, err, stdout, stderr)
		}
		if rows[1][7] != "120380" || rows[2][5] != "1" || rows[3][0] != "b-a" {
			t.Errorf("got %s", stdout)
		}
	}
}

func TestOffsetsTranslate(t *testing.T) {
	lanes := func(flows ...string) *fakeDaemon {
		return &fakeDaemon{translate: func(q replicator.Lookup) (out []replicator.Translation) {
			for _, f := range flows {
				if (q.Flow == "" || q.Flow == f) && q.Partition == 3 {
					tr := replicator.Translation{Flow: f, Topic: "t", TargetTopic: "x.t", Partition: 3, SourceOffset: 1207, TargetOffset: 1200, Found: "floor",
						RecordsAgain: 1007, Text: "where offset 1207 is, or at most 1007 records before"}
					if q.Reverse {
						tr.SourceOffset, tr.Found, tr.Text = 0, "before", fmt.Sprintf("before the first record: %s %d", q.Topic, q.Offset)
					}
					out = append(out, tr)
				}
			}
			return out
		}, offsets: someOffsets}
	}
	ab, none, both, ac := served(t, lanes("a-b")), served(t, lanes()), served(t, lanes("a-b", "a-c")), served(t, lanes("a-c"))
	const forward = "FLOW  TOPIC     PARTITION  SOURCE OFFSET  TARGET OFFSET  FOUND  RECORDS AGAIN\n" +
		"a-b   t -> x.t  3          1207           1200           floor  1,007\n" +
		"where offset 1207 is, or at most 1007 records before\n"
	for _, c := range []struct {
		args   string
		code   int
		stdout string
		stderr string
	}{
		{"--topic t --partition 3 --offset 1207 --url " + ab, 0, forward, ""},
		{"--topic t --partition 3 --offset 1207 --url " + none + " --url http://127.0.0.1:1 --url " + ab, 0, forward, ""},
		{"--flow a-b --topic t --partition 3 --offset 1207 --url " + both, 0, forward, ""},
		{"--topic x.t --partition 3 --offset 0 --reverse --url " + ab, 0, "FLOW  TOPIC     PARTITION  SOURCE OFFSET  TARGET OFFSET  FOUND   RECORDS AGAIN\n" +
			"a-b   t -> x.t  3          0              1200           before  1,007\nbefore the first record: x.t 0\n", ""},
		{"--topic t --partition 3 --offset 1207 --json --url " + ab, 0, `{
  "flow": "a-b",
  "topic": "t",
  "target_topic": "x.t",
  "partition": 3,
  "source_offset": 1207,
  "target_offset": 1200,
  "found": "floor",
  "records_again": 1007,
  "text": "where offset 1207 is, or at most 1007 records before"
}
`, ""},
		{"--group billing --flow b-a --url " + ab, 0, "FLOW  GROUP    TOPIC  PARTITION  VERDICT           SOURCE OFFSET  TARGET OFFSET  RECORDS AGAIN  LAG  REASON\n" +
			"b-a   billing  u      0          not_mirrored_yet  9              -              0              ?    wait\n" +
			"1 partition of 1 group: 1 not_mirrored_yet; after switching 0 records to read, not known for 1 partition; as of 2026-11-23T10:15:31Z\n", ""},

		{"--topic t --partition 4 --offset 1 --url " + ab + " --url " + none, 1, "", ab + `: no lane of this kferry has partition 4 of topic "t"`},
		{"--topic t --partition 4 --offset 1 --url " + ab + " --url " + none, 1, "", none + `: no lane of this kferry has partition 4 of topic "t"`},
		{"--topic t --partition 3 --offset 1 --url " + both, 2, "", "say which, flow is one of a-b, a-c"},
		{"--topic t --partition 3 --offset 1 --url " + ab + " --url " + ac, 2, "", `flows "a-b" and "a-c" both have partition 3 of topic "t": say which with --flow`},
	} {
		code, stdout, stderr := kferry(t, append([]string{"offsets", "translate"}, strings.Fields(c.args)...)...)
		if code != c.code || stdout != c.stdout || !strings.Contains(stderr, c.stderr) || (c.stderr == "") != (stderr == "") {
			t.Errorf("kferry offsets translate %s: exit code %d, want %d: %s\n%s\nwant\n%s", c.args, code, c.code, stderr, stdout, c.stdout)
		}
	}
}

func TestOffsetsErrors(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	free := ln.Addr().String()
	ln.Close()
	conf := func(listen string) string {
		return file(t, "k.yaml", strings.Replace(twoClusters, "127.0.0.1:0", listen, 1))
	}
	older := httptest.NewServer(http.NotFoundHandler())
	defer older.Close()
	nonsense := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "<html>") }))
	defer nonsense.Close()
	one := served(t, &fakeDaemon{offsets: someOffsets})
	const place = "translate --topic t --partition 3 --offset 1 "
	for _, c := range []struct {
		args string
		code int
		want string
	}{
		{"", 0, ""},
		{"sail", 2, `unknown command "sail" for "kferry offsets"`},
		{"show now", 2, "takes no arguments"},
		{"show --json --csv --url " + older.URL, 2, "[json csv]"},
		{"show --verdict fine --url " + older.URL, 2, "must be of exact, gap, floor"},
		{"show --url localhost", 2, "must be http://host:port"},
		{"show -c missing.yaml", 3, "missing.yaml"},
		{"show -c " + conf("off"), 1, "http.listen is off"},
		{"show -c " + conf(free), 1, `is "kferry run" running there?`},
		{"show --url " + older.URL, 1, "it is no kferry, or one older than this command"},
		{"show --url " + nonsense.URL, 1, "does not answer as kferry does"},
		{"show --url " + one + " --url http://" + free, 1, "http://" + free}, // half a list would look like all of it
		{"translate", 2, "give --topic, --partition and --offset, or --group"},
		{"translate --topic t --partition 3", 2, "give --topic, --partition and --offset, or --group"},
		{"translate --group g --offset 3 --reverse", 2, "leave out --offset"},
		{"translate --topic t --partition -1 --offset 1", 2, "--partition -1: must be 0 or above"},
		{"translate --topic t --partition 1 --offset -1", 2, "--offset -1: must be 0 or above"},
		{"translate --topic t --partition x --offset 1", 2, "--partition"},
		{place + "-c missing.yaml", 3, "missing.yaml"},
		{place + "--url " + older.URL, 1, "it is no kferry, or one older than this command"},
		{place + "--url http://" + free, 1, `is "kferry run" running there?`},
		{place + "--url localhost", 2, "must be http://host:port"},
	} {
		code, stdout, stderr := kferry(t, append([]string{"offsets"}, strings.Fields(c.args)...)...)
		if code != c.code || !strings.Contains(stderr, c.want) || code != 0 && stdout != "" {
			t.Errorf("kferry offsets %s: exit code %d, want %d: %s%s", c.args, code, c.code, stdout, stderr)
		}
	}
}

// Every verdict is told in the help and in the document, and no other one.
func TestVerdictsAreTold(t *testing.T) {
	doc, err := os.ReadFile("../../docs/offsets.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range replicator.Verdicts {
		if verdictWords[v] == "" {
			t.Errorf("%s has no words", v)
		}
		if !strings.Contains(string(doc), "\n| `"+v+"` |") {
			t.Errorf("docs/offsets.md does not have %s", v)
		}
	}
	for v := range verdictWords {
		if !slices.Contains(replicator.Verdicts, v) {
			t.Errorf("%q is no verdict", v)
		}
	}
}

// A daemon that is newer may have verdicts of which this command does not know.
func TestCountVerdicts(t *testing.T) {
	got := countVerdicts(map[string]int{"zoo": 1, "gone": 2, "apt": 3, "exact": 4})
	if want := "4 exact, 2 gone, 3 apt, 1 zoo"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// A group that goes back to the source gets an answer for each partition where it is on the target.
func TestTranslateGroupBack(t *testing.T) {
	url := served(t, &fakeDaemon{offsets: someOffsets, translate: func(q replicator.Lookup) []replicator.Translation {
		if !q.Reverse || q.Flow != "a-b" || q.Topic != "x.t" {
			t.Errorf("asked for %+v", q)
		}
		return []replicator.Translation{{Flow: q.Flow, Topic: "t", TargetTopic: q.Topic, Partition: q.Partition, SourceOffset: q.Offset + 20,
			TargetOffset: q.Offset, Found: "exact"}}
	}})
	for args, want := range map[string]string{
		"--group billing": "FLOW  TOPIC     PARTITION  SOURCE OFFSET  TARGET OFFSET  FOUND  RECORDS AGAIN\n" +
			"a-b   t -> x.t  0          120397         120377         exact  0\n" +
			"a-b   t -> x.t  1          24             4              exact  0\n",
		"--group nobody":             "group \"nobody\" has no offset on the target\n",
		"--group billing --flow b-a": "group \"billing\" has no offset on the target\n",
	} {
		code, stdout, stderr := kferry(t, append([]string{"offsets", "translate", "--reverse", "--url", url}, strings.Fields(args)...)...)
		if code != 0 || stdout != want {
			t.Errorf("%s: exit code %d, got\n%s%s\nwant\n%s", args, code, stdout, stderr, want)
		}
	}
}
