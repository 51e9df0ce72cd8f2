package web

import (
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func handlerOf(s Source) http.Handler {
	return handler(options(s), slog.NewLogLogger(slog.DiscardHandler, slog.LevelWarn))
}

// The form of the answer is part of the interface: docs/api.md.
func TestStatus(t *testing.T) {
	s := stopped()
	s.seen.Status.Problems = s.seen.Status.Problems[1:3]
	s.seen.Status.Problems[0].Text = "stopped: why"
	s.seen.Status.Clusters[1].Error = "away"
	s.seen.Status.Flows[0].Switch.Reasons = []string{"1 lane is stopped"}
	s.seen.Status.Flows[0].Paused = &Paused{By: "ann", Since: worldTime}
	want := `{"version":"v0.6.0","started_at":"2026-11-26T09:00:30Z","now":"2026-11-26T10:15:30Z","instance":"ferry-1","healthy":false,` +
		`"problems":[{"severity":"error","flow":"cloudkarafka-aiven","topic":"pizza-payments","partition":1,"text":"stopped: why"},` +
		`{"severity":"warning","flow":"cloudkarafka-aiven","topic":"pizza-deliveries","partition":null,"text":"paused by ann@laptop at 2026-11-26T10:02:11Z"}],` +
		`"clusters":[{"alias":"aiven","up":true,"error":"","since":"2026-11-26T09:00:30Z"},{"alias":"cloudkarafka","up":false,"error":"away","since":"2026-11-26T10:13:55Z"}],` +
		`"memory":{"used_bytes":3145728,"limit_bytes":268435456},` +
		`"flows":[{"name":"cloudkarafka-aiven","source":"cloudkarafka","target":"aiven","engine":"kferry","aiven":null,"leads":true,"slots":8,"partitions":12,` +
		`"lanes":{"paused":3,"running":5,"starting":0,"stopped":1,"waiting":3},"records":48211930,"bytes":61234567890,"records_per_second":1843.2,"bytes_per_second":2311000,` +
		`"lag_records":412877,"lag_seconds":1934,"stale_lanes":3,"eta_seconds":null,"lost_offsets":12,"possible_duplicates":0,"dead_letters":0,` +
		`"groups":{"partitions":{"exact":7,"not_mirrored_yet":5},"unsynced":5},"switch":{"safe":false,"reasons":["1 lane is stopped"],"others":0},` +
		`"paused":{"by":"ann","since":"2026-11-26T10:15:30Z"}}]}` + "\n"
	if code, got := get(t, handlerOf(s), "GET", StatusPath); code != 200 || got != want {
		t.Errorf("got %d %s\nwant %s", code, got, want)
	}
}

func TestTopics(t *testing.T) {
	s := healthy()
	s.histories = map[string][]Point{"clicks": {{1000, 5}, {1010, 0}}}
	other := s.seen.Topics[3]
	other.Flow = "b-a"
	s.seen.Topics = []Topic{s.seen.Topics[3], other}
	want := `{"topics":[{"flow":"cloudkarafka-aiven","topic":"clicks","target_topic":"clicks","lanes":{"running":3},"lag_records":0,"lag_seconds":0,` +
		`"records_per_second":115.2,"bytes_per_second":0,"history":[[1000,5],[1010,0]]}]}` + "\n"
	h := handlerOf(s)
	if _, got := get(t, h, "GET", TopicsPath+"?flow=cloudkarafka-aiven"); got != want {
		t.Errorf("got %s\nwant %s", got, want)
	}
	for query, n := range map[string]int{"": 2, "?flow=b-a": 1, "?flow=none": 0} {
		if _, got := get(t, h, "GET", TopicsPath+query); strings.Count(got, `"flow"`) != n {
			t.Errorf("%s: got %s, want %d topics", query, got, n)
		}
	}
	if s.seen.Topics[0].History != nil {
		t.Error("the view was changed")
	}
}

func TestChooseLanes(t *testing.T) {
	s := &source{}
	for i, l := range []Lane{
		{Topic: "Orders", State: "running", LagRecords: at(int64(5)), LagSeconds: at(1.5), Records: 9},
		{Topic: "Orders", Partition: 1, State: "stopped"},
		{Topic: "orders-old", State: "waiting", LagRecords: at(int64(7)), LagSeconds: at(0.5), SourceOffset: 3},
		{Topic: "clicks", Flow: "b", State: "running", LagRecords: at(int64(0)), LagSeconds: at(0.0), Bytes: 7, RecordsPerSecond: 2, BytesPerSecond: 3},
		{Topic: "a&b", State: "running", LagRecords: at(int64(5)), LagSeconds: at(3.0)},
	} {
		l.TargetOffset = int64(i)
		if l.Flow == "" {
			l.Flow = "a"
		}
		s.seen.Lanes = append(s.seen.Lanes, l)
	}
	h := handlerOf(s)
	for _, c := range []struct {
		query string
		total int
		want  []int64 // target offsets
	}{
		{"", 5, []int64{0, 1, 2, 3, 4}},
		{"flow=b", 1, []int64{3}},
		{"topic=ORD", 3, []int64{0, 1, 2}},
		{"topic=a%26b", 1, []int64{4}},
		{"topic=none", 0, nil},
		{"state=stopped", 1, []int64{1}},
		{"topic=ord&state=running&flow=a", 1, []int64{0}},
		{"limit=2", 5, []int64{0, 1}},
		{"limit=2&offset=4", 5, []int64{4}},
		{"offset=5", 5, nil},
		{"offset=2147483647&limit=10000", 5, nil},
		{"sort=topic", 5, []int64{0, 1, 4, 3, 2}},
		{"sort=state", 5, []int64{1, 2, 0, 3, 4}},
		{"sort=lag_records", 5, []int64{3, 0, 4, 2, 1}},
		{"sort=lag_records&order=desc", 5, []int64{1, 2, 0, 4, 3}},
		{"sort=lag_seconds&order=desc&limit=2", 5, []int64{1, 4}},
		{"sort=partition&order=desc&limit=1", 5, []int64{1}},
		{"sort=records&order=desc&limit=1", 5, []int64{0}},
		{"sort=bytes&order=desc&limit=1", 5, []int64{3}},
		{"sort=records_per_second&order=desc&limit=1", 5, []int64{3}},
		{"sort=bytes_per_second&order=desc&limit=1", 5, []int64{3}},
		{"sort=source_offset&order=desc&limit=1", 5, []int64{2}},
	} {
		code, body := get(t, h, "GET", LanesPath+"?"+c.query)
		var got Lanes
		if err := json.Unmarshal([]byte(body), &got); err != nil || code != 200 {
			t.Fatalf("%s: %d %s", c.query, code, body)
		}
		var at []int64
		for _, l := range got.Lanes {
			at = append(at, l.TargetOffset)
		}
		if !slices.Equal(at, c.want) || got.Total != c.total {
			t.Errorf("%s: got %v of %d, want %v of %d", c.query, at, got.Total, c.want, c.total)
		}
	}
}

// What cannot be meant is refused, and says what may be.
func TestBadQueries(t *testing.T) {
	h := handlerOf(stopped())
	for _, c := range []struct {
		path string
		code int
		want string
	}{
		{LanesPath + "?state=happy", 400, "must be one of stopped, waiting"},
		{LanesPath + "?sort=<b>", 400, "must be one of bytes"},
		{LanesPath + "?order=up", 400, "must be asc or desc"},
		{LanesPath + "?limit=0", 400, "a number from 1 to 10000"},
		{LanesPath + "?limit=10001", 400, "a number from 1 to 10000"},
		{LanesPath + "?limit=1e3", 400, "a number from 1 to 10000"},
		{LanesPath + "?offset=-1", 400, "a number from 0"},
		{LanesPath + "?offset=99999999999999999999", 400, "a number from 0"},
		{LanesPath + "?topic=%zz", 400, "cannot be read"},
		{LanesPath + "?topic=a;b", 400, "cannot be read"},
		{StatusPath + "?a=%zz", 400, "cannot be read"},
		{TopicsPath + "?a=%zz", 400, "cannot be read"},
		{EventsPath + "?after=-1", 400, "a number from 0"},
		{EventsPath + "?limit=1001", 400, "a number from 1 to 1000"},
		{EventsPath + "?after=%zz", 400, "cannot be read"},
		{"/?limit=501", 400, "a number from 1 to 500"},
		{"/?state=<script>", 400, "must be one of stopped"},
		{"/?topic=%zz", 400, "cannot be read"},
		{LanesPath + "?topic=" + strings.Repeat("x", queryMost), 414, "longer than"},
		{"/?" + strings.Repeat("a&", queryMost), 414, "longer than"},
		{"/static/none", 404, ""},
		{"/static/page.html", 404, ""},
		{"/static/..%2fpage.go", 404, ""},
	} {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest("GET", c.path, nil))
		if w.Code != c.code || !strings.Contains(w.Body.String(), c.want) {
			t.Errorf("%.80s: got %d %.200s, want %d %s", c.path, w.Code, w.Body, c.code, c.want)
		}
		if ct := w.Header().Get("Content-Type"); strings.Contains(ct, "html") || w.Header().Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%.80s: an error of type %q could run in a browser", c.path, ct)
		}
	}
}

func TestChooseEvents(t *testing.T) {
	s := &source{}
	for i := range 10 {
		s.events = append(s.events, Event{Seq: uint64(i + 11), Level: "info", Flow: []string{"a", "b"}[i%2], Text: "x"})
	}
	h := handlerOf(s)
	for _, c := range []struct {
		query string
		want  []uint64
		next  uint64
	}{
		{"", []uint64{11, 12, 13, 14, 15, 16, 17, 18, 19, 20}, 20},
		{"limit=2", []uint64{19, 20}, 20},
		{"after=17", []uint64{18, 19, 20}, 20},
		{"after=11&limit=2", []uint64{12, 13}, 13},
		{"after=11&limit=2&flow=b", []uint64{12, 14}, 14},
		{"after=18&flow=b", []uint64{20}, 20},
		{"after=19&flow=a", nil, 20},
		{"after=20", nil, 20},
	} {
		_, body := get(t, h, "GET", EventsPath+"?"+c.query)
		var got Events
		if err := json.Unmarshal([]byte(body), &got); err != nil {
			t.Fatal(err)
		}
		var seqs []uint64
		for _, e := range got.Events {
			seqs = append(seqs, e.Seq)
		}
		if !slices.Equal(seqs, c.want) || got.Next != c.next {
			t.Errorf("%s: got %v and %d, want %v and %d", c.query, seqs, got.Next, c.want, c.next)
		}
	}
	s.events = []Event{{Seq: 1, At: worldTime, Level: "warn", Flow: "a", Topic: "t", Partition: at(int32(3)), Text: "so"}}
	want := `{"events":[{"seq":1,"at":"2026-11-26T10:15:30Z","level":"warn","flow":"a","topic":"t","partition":3,"text":"so"}],"next":1}` + "\n"
	if _, got := get(t, h, "GET", EventsPath); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// counting counts how often it is asked, and may be slow or broken.
type counting struct {
	source
	asked, now, most atomic.Int64
	slow             time.Duration
	broken           atomic.Bool
}

func (c *counting) View() *View {
	c.asked.Add(1)
	if n := c.now.Add(1); n > c.most.Load() {
		c.most.Store(n)
	}
	defer c.now.Add(-1)
	time.Sleep(c.slow)
	if c.broken.Load() {
		panic("broken")
	}
	return &c.seen
}

// However many people look, the daemon is asked once a second.
func TestViewersShare(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &counting{slow: 100 * time.Millisecond}
		h := handlerOf(c)
		var all sync.WaitGroup
		for range 200 {
			all.Go(func() {
				for i := range 10 {
					path := []string{"/", StatusPath, LanesPath + "?limit=50", TopicsPath}[i%4]
					if code, body := get(t, h, "GET", path); code != 200 {
						t.Errorf("%s: %d %s", path, code, body)
					}
					time.Sleep(2 * time.Second)
				}
			})
		}
		all.Wait()
		if n := c.asked.Load(); n > 25 {
			t.Errorf("2000 questions in 20 s asked the daemon %d times", n)
		}
	})
}

// Questions that all differ wait for their turn, and are refused rather than piled up.
func TestQuestionsWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &counting{slow: time.Second}
		s := newSite(options(c))
		var all sync.WaitGroup
		var ok, refused, now, most atomic.Int64
		for i := range 100 {
			all.Go(func() {
				p := s.get(fmt.Sprint(i), func() ([]byte, error) {
					most.Store(max(most.Load(), now.Add(1)))
					time.Sleep(time.Second)
					now.Add(-1)
					return []byte("x"), nil
				})
				switch {
				case p.err == nil:
					ok.Add(1)
				case errors.Is(p.err, errBusy):
					refused.Add(1)
				}
			})
		}
		all.Wait()
		if most.Load() != atOnce || ok.Load() < 10 || ok.Load() > 12 || ok.Load()+refused.Load() != 100 {
			t.Errorf("%d at once, %d answered, %d refused", most.Load(), ok.Load(), refused.Load())
		}
		if len(s.kept) > keptMost {
			t.Errorf("%d pages are kept", len(s.kept))
		}
	})
}

// A question that ends in a panic holds up nobody.
func TestBrokenView(t *testing.T) {
	c := new(counting)
	c.broken.Store(true)
	h := handlerOf(c)
	func() {
		defer func() { _ = recover() }() // as net/http does
		get(t, h, "GET", StatusPath)
		t.Error("it did not panic")
	}()
	c.broken.Store(false)
	if code, _ := get(t, h, "GET", StatusPath); code != 200 {
		t.Errorf("after it got %d", code)
	}
}

func TestAnswersAreFresh(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := healthy()
		h := handlerOf(s)
		get(t, h, "GET", StatusPath)
		s.seen.Status.Instance = "other"
		time.Sleep(freshFor)
		if _, body := get(t, h, "GET", StatusPath); !strings.Contains(body, `"instance":"other"`) {
			t.Errorf("got %s", body)
		}
	})
}

func TestAnswersAreCompressed(t *testing.T) {
	h := handlerOf(large(200))
	for _, path := range []string{"/", LanesPath} {
		_, plain := get(t, h, "GET", path)
		r := httptest.NewRequest("GET", path, nil)
		r.Header.Set("Accept-Encoding", "br, gzip;q=0.8")
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Header().Get("Content-Encoding") != "gzip" || !strings.Contains(w.Header().Get("Vary"), "Accept-Encoding") {
			t.Errorf("%s: %v", path, w.Header())
			continue
		}
		z, err := gzip.NewReader(w.Body)
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(z)
		if err != nil || string(got) != plain {
			t.Errorf("%s: %v, %d bytes of %d", path, err, len(got), len(plain))
		}
	}
	for encodings, want := range map[string]bool{"": false, "br": false, "gzip": true, "deflate, GZIP": true, "gzip;q=0": false, "gzip; q=0.0": false, "gzip;q=0.1": true, "*": false} {
		if accepts(encodings) != want {
			t.Errorf("%q: got %v", encodings, !want)
		}
	}
}

// BenchmarkLanes is how long an answer takes with 10,000 lanes: one of a page that
// is made, and that of all of them.
func BenchmarkLanes(b *testing.B) {
	s := large(10_000)
	for name, query := range map[string]string{"page": "?sort=lag_records&order=desc&limit=50&topic=orders-%d", "all": "?offset=%d"} {
		b.Run(name, func(b *testing.B) {
			h := handlerOf(s)
			var took []time.Duration
			for i := range b.N {
				begin := time.Now()
				w := httptest.NewRecorder()
				h.ServeHTTP(w, httptest.NewRequest("GET", LanesPath+fmt.Sprintf(query, i%1000), nil))
				took = append(took, time.Since(begin))
			}
			slices.Sort(took)
			b.ReportMetric(float64(took[len(took)*99/100].Microseconds())/1000, "p99-ms")
		})
	}
}
