package web

import (
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

func TestOffsets(t *testing.T) {
	from, to, lag, again := int64(5), int64(7), int64(17), int64(2)
	at := time.Date(2026, 11, 23, 10, 15, 30, 0, time.UTC)
	s := &source{offsets: []Offset{
		{Flow: "a-b", Group: "billing", TargetGroup: "pay", Topic: "t", TargetTopic: "x.t", Partition: 3, SourceOffset: &from, TargetOffset: &to,
			Verdict: "floor", Reason: "the map is coarse", RecordsAgain: &again, LagRecords: &lag, At: at},
		{Flow: "a-b", Group: "odd&=\"", TargetGroup: "odd", Partition: -1, Verdict: "not_authorised", Reason: `give "Describe"`, At: at},
		{Flow: "b-a", Group: "billing", TargetGroup: "billing", Topic: "u", TargetTopic: "u", Verdict: "no_commit", At: at},
	}}
	billing := `{"flow":"a-b","group":"billing","target_group":"pay","topic":"t","target_topic":"x.t","partition":3,"source_offset":5,"target_offset":7,` +
		`"verdict":"floor","reason":"the map is coarse","records_again":2,"lag_records":17,"at":"2026-11-23T10:15:30Z"}`
	odd := `{"flow":"a-b","group":"odd\u0026=\"","target_group":"odd","topic":"","target_topic":"","partition":-1,"source_offset":null,"target_offset":null,` +
		`"verdict":"not_authorised","reason":"give \"Describe\"","records_again":null,"lag_records":null,"at":"2026-11-23T10:15:30Z"}`
	back := `{"flow":"b-a","group":"billing","target_group":"billing","topic":"u","target_topic":"u","partition":0,"source_offset":null,"target_offset":null,` +
		`"verdict":"no_commit","reason":"","records_again":null,"lag_records":null,"at":"2026-11-23T10:15:30Z"}`
	h := handler(options(s), slog.NewLogLogger(slog.DiscardHandler, slog.LevelWarn))
	for _, c := range []struct {
		query string
		code  int
		want  string
	}{
		{"", 200, `{"offsets":[` + billing + "," + odd + "," + back + `]}`},
		{"?flow=a-b", 200, `{"offsets":[` + billing + "," + odd + `]}`},
		{"?group=billing", 200, `{"offsets":[` + billing + "," + back + `]}`},
		{"?group=odd%26%3D%22", 200, `{"offsets":[` + odd + `]}`},
		{"?group=billing&topic=u", 200, `{"offsets":[` + back + `]}`},
		{"?flow=none", 200, `{"offsets":[]}`},
		{"?group=%zz", 400, `{"error":"the query cannot be read: invalid URL escape \"%zz\""}`},
	} {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest("GET", OffsetsPath+c.query, nil))
		if got := w.Body.String(); got != c.want+"\n" || w.Code != c.code || w.Header().Get("Content-Type") != "application/json" {
			t.Errorf("%s: got %d %s\nwant %d %s", c.query, w.Code, got, c.code, c.want)
		}
	}
}

func TestTranslate(t *testing.T) {
	one := []Translation{{Flow: "a-b", Topic: "t", TargetTopic: "x.t", Partition: 3, SourceOffset: 5, TargetOffset: 7, Found: "floor", RecordsAgain: 2, Text: "so and so"}}
	for _, c := range []struct {
		query string
		found []Translation
		code  int
		want  string
		asked Lookup
	}{
		{"topic=t&partition=3&offset=5", one, 200, `{"flow":"a-b","topic":"t","target_topic":"x.t","partition":3,"source_offset":5,"target_offset":7,` +
			`"found":"floor","records_again":2,"text":"so and so"}`, Lookup{Topic: "t", Partition: 3, Offset: 5}},
		{"flow=a-b&topic=x.t&partition=3&offset=7&reverse=true", []Translation{{Found: "before"}}, 200, `{"flow":"","topic":"","target_topic":"","partition":0,` +
			`"source_offset":0,"target_offset":0,"found":"before","records_again":0,"text":""}`, Lookup{Flow: "a-b", Topic: "x.t", Partition: 3, Offset: 7, Reverse: true}},
		{"topic=t&partition=2147483647&offset=9223372036854775807&reverse=false", nil, 404,
			`{"error":"no lane of this kferry has partition 2147483647 of topic \"t\": the topic is carried by no flow here, another replica has the partition, or the lane has not started yet"}`,
			Lookup{Topic: "t", Partition: 1<<31 - 1, Offset: 1<<63 - 1}},
		{"topic=t&partition=3&offset=5", []Translation{{Flow: "a-b"}, {Flow: "a-c"}}, 400,
			`{"error":"several flows have partition 3 of topic \"t\": say which, flow is one of a-b, a-c"}`, Lookup{Topic: "t", Partition: 3, Offset: 5}},
		{"partition=3&offset=5", one, 400, `{"error":"topic is missing: topic, partition and offset say what is looked for"}`, Lookup{}},
		{"topic=t&offset=5", one, 400, `{"error":"partition is \"\": must be a number from 0 to 2147483647"}`, Lookup{}},
		{"topic=t&partition=-1&offset=5", one, 400, `{"error":"partition is \"-1\": must be a number from 0 to 2147483647"}`, Lookup{}},
		{"topic=t&partition=2147483648&offset=5", one, 400, `{"error":"partition is \"2147483648\": must be a number from 0 to 2147483647"}`, Lookup{}},
		{"topic=t&partition=0", one, 400, `{"error":"offset is \"\": must be a number from 0 to 9223372036854775807"}`, Lookup{}},
		{"topic=t&partition=0&offset=9223372036854775808", one, 400, `{"error":"offset is \"9223372036854775808\": must be a number from 0 to 9223372036854775807"}`, Lookup{}},
		{"topic=t&partition=0&offset=1&reverse=back", one, 400, `{"error":"reverse is \"back\": must be true or false"}`, Lookup{}},
		{"topic=t;partition=0&offset=1", one, 400, `{"error":"the query cannot be read: invalid semicolon separator in query"}`, Lookup{}},
	} {
		s := &source{translations: c.found}
		h := handler(options(s), slog.NewLogLogger(slog.DiscardHandler, slog.LevelWarn))
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, TranslatePath+"?"+c.query, nil))
		if got := strings.TrimSpace(w.Body.String()); got != c.want || w.Code != c.code || w.Header().Get("Content-Type") != "application/json" {
			t.Errorf("%s: got %d %s\nwant %d %s", c.query, w.Code, got, c.code, c.want)
		}
		if s.asked != c.asked {
			t.Errorf("%s: asked for %+v, want %+v", c.query, s.asked, c.asked)
		}
	}
}
