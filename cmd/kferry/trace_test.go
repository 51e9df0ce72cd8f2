package main

import (
	"encoding/json"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/kferry/kferry/internal/web"
	"github.com/kferry/kferry/replicator"
)

func TestTraceCommand(t *testing.T) {
	defer goleak.VerifyNone(t)
	t.Run("", func(t *testing.T) { // its clean-up ends before the check for leaks
		carried := replicator.Trace{Flow: "a-b", Topic: "t", TargetTopic: "x.t", Partition: 3, Offset: 5, Where: "carried", TargetOffset: 7, Exact: true,
			State: "running", Text: "the target has it, at offset 7"}
		one := func(f func(q replicator.Lookup) replicator.Trace) string {
			return served(t, &fakeDaemon{trace: func(q replicator.Lookup) []replicator.Trace { return []replicator.Trace{f(q)} }})
		}
		has := one(func(q replicator.Lookup) replicator.Trace {
			if (q != replicator.Lookup{Topic: "t", Partition: 3, Offset: 5}) {
				t.Errorf("asked for %+v", q)
			}
			return carried
		})
		hasNot := one(func(replicator.Lookup) replicator.Trace {
			return replicator.Trace{Where: "unknown", TargetOffset: -1, Text: "ask the others"}
		})
		other := served(t, new(fakeDaemon))
		hostile := one(func(q replicator.Lookup) replicator.Trace {
			return replicator.Trace{Topic: q.Topic, Where: "not_carried", TargetOffset: -1, Text: "no\x1b[31m\ntopic"}
		})
		both := served(t, &fakeDaemon{trace: func(replicator.Lookup) []replicator.Trace { return []replicator.Trace{{Flow: "a-b"}, {Flow: "a-c"}} }})
		const place = " --topic t --partition 3 --offset 5"
		for _, c := range []struct {
			args           string
			code           int
			stdout, stderr string
		}{
			{"--url " + has + place, 0, "topic t, partition 3, offset 5: carried\nthe target has it, at offset 7\nflow a-b, topic on the target x.t, lane running\n", ""},
			{"--url " + other + " --url " + hasNot + " --url " + has + place, 0, "offset 5: carried\n", ""},
			{"--url " + other + " --url " + hasNot + place, 0, "offset 0: not_carried\nno flow carries it\n", ""},
			{"--url " + hasNot + place, 1, "", hasNot + ": ask the others"},
			{"--url " + hostile + " --topic t --partition 3 --offset 5", 0, "not_carried\nno?[31m topic\n", ""},
			{"--url " + both + place, 2, "", "flow is one of a-b, a-c"},
			{"--url " + has + " --topic t --partition 3", 2, "", `"offset" not set`},
			{"--url " + has + " --topic t --partition -3 --offset 1", 2, "", "--partition -3: must be 0 or above"},
			{"--url " + has + " --topic t --partition 3 --offset -1", 2, "", "--offset -1: must be 0 or above"},
			{"--url " + has + " --topic= --partition 3 --offset 1", 2, "", "--topic is empty"},
			{"-c missing.yaml" + place, 3, "", "missing.yaml"},
		} {
			code, stdout, stderr := kferry(t, append([]string{"trace"}, strings.Fields(c.args)...)...)
			if code != c.code || !strings.Contains(stdout, c.stdout) || !strings.Contains(stderr, c.stderr) || (c.stderr == "") != (stderr == "") {
				t.Errorf("kferry trace %s: exit code %d, want %d\n%s%s", c.args, code, c.code, stdout, stderr)
			}
		}
		_, stdout, _ := kferry(t, "trace", "--json", "--url", has, "--topic", "t", "--partition", "3", "--offset", "5")
		var got web.Trace
		if err := json.Unmarshal([]byte(stdout), &got); err != nil || got.Where != "carried" || got.TargetOffset == nil || *got.TargetOffset != 7 || !got.Exact {
			t.Errorf("%v: %s", err, stdout)
		}
	})
}
