package web

import (
	"log/slog"
	"testing"
)

func (s *source) Trace(q Lookup) []Trace {
	s.asked = q
	return s.traces
}

func TestTrace(t *testing.T) {
	at := int64(7)
	carried := Trace{Flow: "a-b", Topic: "t", TargetTopic: "x.t", Partition: 3, Offset: 5, Where: "carried", TargetOffset: &at, Exact: true, State: "running", Text: "so and so"}
	for _, c := range []struct {
		query string
		found []Trace
		code  int
		want  string
		asked Lookup
	}{
		{"topic=t&partition=3&offset=5", []Trace{carried}, 200, `{"flow":"a-b","topic":"t","target_topic":"x.t","partition":3,"offset":5,"where":"carried",` +
			`"target_offset":7,"exact":true,"state":"running","reason":"","text":"so and so"}`, Lookup{Topic: "t", Partition: 3, Offset: 5}},
		{"topic=%3Cb%3E&partition=0&offset=0&flow=a", []Trace{{Topic: "<b>", Where: "not_carried"}}, 200, `{"flow":"","topic":"\u003cb\u003e","target_topic":"","partition":0,"offset":0,` +
			`"where":"not_carried","target_offset":null,"exact":false,"state":"","reason":"","text":""}`, Lookup{Flow: "a", Topic: "<b>"}},
		{"topic=t&partition=3&offset=5", []Trace{carried, {Flow: "c-d"}}, 400,
			`{"error":"several flows carry topic \"t\": say which, flow is one of a-b, c-d"}`, Lookup{Topic: "t", Partition: 3, Offset: 5}},
		{"topic=t&partition=3&offset=5&reverse=true", nil, 400, `{"error":"reverse does not go with a trace: translate the offset first"}`, Lookup{}},
		{"topic=t&partition=3", nil, 400, `{"error":"offset is \"\": must be a number from 0 to 9223372036854775807"}`, Lookup{}},
		{"partition=3&offset=1", nil, 400, `{"error":"topic is missing: topic, partition and offset say what is looked for"}`, Lookup{}},
		{"topic=t&partition=-1&offset=1", nil, 400, `{"error":"partition is \"-1\": must be a number from 0 to 2147483647"}`, Lookup{}},
	} {
		s := &source{traces: c.found}
		code, body := get(t, handler(options(s), slog.NewLogLogger(slog.DiscardHandler, slog.LevelWarn)), "GET", TracePath+"?"+c.query)
		if code != c.code || body != c.want+"\n" || s.asked != c.asked {
			t.Errorf("%s: got %d %s asked %+v\nwant %d %s", c.query, code, body, s.asked, c.code, c.want)
		}
	}
}

func (w *world) Trace(Lookup) []Trace { return nil }
