package web

import (
	"encoding/json"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// Whatever comes from outside is text, and can be seen.
func TestHostileNames(t *testing.T) {
	h := handlerOf(hostile())
	_, page := get(t, h, "GET", "/")
	page = regexp.MustCompile(`value="[^"]*"`).ReplaceAllString(page, "") // what is sent back must be what it was
	for _, raw := range []string{"<script>document", "<img src=x", "\x00", "\x1b", "\u202e", "\xff"} {
		if strings.Contains(page, raw) {
			t.Errorf("the page has %q as it is", raw)
		}
	}
	if n := strings.Count(page, "&lt;script&gt;"); n < 50 {
		t.Errorf("the page shows the names %d times", n)
	}
	for _, path := range []string{StatusPath, TopicsPath, LanesPath, EventsPath} {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest("GET", path, nil))
		if body := w.Body.String(); !json.Valid([]byte(body)) || strings.ContainsAny(body, "<>\x00\x1b") || w.Header().Get("Content-Type") != "application/json" ||
			w.Header().Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%s: %v %.200s", path, w.Header(), body)
		}
	}
	for _, query := range []string{"topic", "flow"} {
		w := httptest.NewRecorder()
		r := httptest.NewRequest("GET", "/", nil)
		r.URL.RawQuery = query + "=%22%3E%3Cscript%3Edocument.title%3D1%3C/script%3E"
		h.ServeHTTP(w, r)
		if strings.Contains(w.Body.String(), "<script>document") || w.Code != 200 {
			t.Errorf("%s is echoed: %d", query, w.Code)
		}
	}
}

// Nothing but what the page brings runs on it, and nothing on it is from elsewhere.
func TestPagePolicy(t *testing.T) {
	h := handlerOf(stopped())
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest("GET", "/", nil))
	page := w.Body.String()
	for name, want := range map[string]string{
		"Content-Security-Policy": contentPolicy, "X-Content-Type-Options": "nosniff", "Cache-Control": "no-store", "Referrer-Policy": "no-referrer",
		"X-Frame-Options": "DENY", "Cross-Origin-Opener-Policy": "same-origin", "Content-Type": "text/html; charset=utf-8",
	} {
		if got := w.Header().Get(name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	if found := regexp.MustCompile(`(?i)(src|href|action)="?(https?:|//)|style=|<style|javascript:|\son[a-z]+=`).FindString(page); found != "" {
		t.Errorf("the page has %q", found)
	}
	links := regexp.MustCompile(`/static/[^"]+`).FindAllString(page, -1)
	if len(links) != 3 {
		t.Errorf("assets: %q", links)
	}
	for _, link := range links {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest("GET", link, nil))
		if w.Code != 200 || w.Body.Len() == 0 || !strings.Contains(w.Header().Get("Cache-Control"), "immutable") || w.Header().Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%s: %d %v", link, w.Code, w.Header())
		}
		if regexp.MustCompile(`https?://[^w]`).MatchString(w.Body.String()) {
			t.Errorf("%s asks elsewhere", link)
		}
	}
}

// Without JavaScript lanes are chosen by the form, sorted by the heads of columns
// and turned over by links.
func TestPageWithoutScript(t *testing.T) {
	h := handlerOf(large(1000))
	_, page := get(t, h, "GET", "/?topic=orders-00&state=running&sort=lag_records&order=desc&offset=50")
	for _, want := range []string{
		`name="topic" value="orders-00"`, `<option selected>running</option>`, `<input type="hidden" name="sort" value="lag_records">`,
		`51–100 of 998 lanes`, `aria-sort="descending"`,
		`href="/?order=asc&amp;sort=lag_records&amp;state=running&amp;topic=orders-00#lanes"`,  // sorts the other way round
		`href="/?order=desc&amp;sort=lag_records&amp;state=running&amp;topic=orders-00#lanes"`, // the page before
		`href="/?offset=100&amp;order=desc&amp;sort=lag_records&amp;state=running&amp;topic=orders-00#lanes"`,
	} {
		if !strings.Contains(page, want) {
			t.Errorf("the page has no %s", want)
		}
	}
	if n := strings.Count(page, "aria-sort"); n != 1 {
		t.Errorf("%d columns say that they are sorted", n)
	}
	_, page = get(t, h, "GET", "/?topic=nothing")
	if !strings.Contains(page, "None of the 1,000 lanes are like that") {
		t.Error("the page does not say that nothing was found")
	}
}

func TestHeadline(t *testing.T) {
	starting := healthy()
	starting.seen.Status.Flows[0].Lanes["starting"] = 1
	warned := healthy()
	warned.seen.Status.Problems = []Problem{{Severity: "warning", Text: "so"}}
	for want, s := range map[string]*source{
		"All is well": healthy(), "Catching up": lagging(), "2 things need somebody": stopped(), "Starting": empty(), "Running, with 1 warning": warned,
	} {
		if _, page := get(t, handlerOf(s), "GET", "/"); !strings.Contains(page, "<h1 id=\"verdict-title\">"+want+"</h1>") || !strings.Contains(page, "<title>"+want+" · kferry</title>") {
			t.Errorf("the page does not say %q", want)
		}
	}
	if _, page := get(t, handlerOf(starting), "GET", "/"); !strings.Contains(page, ">Starting<") {
		t.Error("a lane that starts is not told")
	}
}

func TestChart(t *testing.T) {
	if c := drawChart([]series{{topic: &Topic{Topic: "t"}, points: []Point{{0, 1}}, most: 1}}); c != nil {
		t.Errorf("a single point makes %+v", c)
	}
	c := drawChart([]series{
		{topic: &Topic{Topic: "less"}, points: []Point{{1000, 0}, {1600, 10}}, most: 10},
		{topic: &Topic{Topic: "more", LagRecords: at(int64(30))}, points: []Point{{1000, 60}, {1010, 45}, {1590, 15}, {1600, 30}}, most: 60},
	})
	if c.Lines[0].Topic != "more" || !slices.Equal(c.Lines[0].Paths, []string{"0,0 12,45", "708,135 720,90"}) || !slices.Equal(c.Lines[1].Paths, []string{"0,180", "720,150"}) {
		t.Errorf("got %+v", c.Lines)
	}
	if !slices.Equal(c.YTicks, []string{"60", "45", "30", "15", "0"}) || !slices.Equal(c.XTicks, []string{"−10 min", "−8 min", "−5 min", "−2 min", "now"}) {
		t.Errorf("got %q and %q", c.YTicks, c.XTicks)
	}
	if want := "Lag in records over time. more: at most 60, now 30. less: at most 10, now –."; c.Label != want {
		t.Errorf("got %q", c.Label)
	}
	for n, want := range map[int64]int64{0: 4, 4: 4, 5: 8, 9: 12, 13: 16, 61: 80, 99: 100, 101: 120, 252_000: 320_000, 1 << 62: 1<<63 - 1} {
		if got := niceAbove(n); got != want {
			t.Errorf("above %d: got %d, want %d", n, got, want)
		}
	}
}

func TestFormats(t *testing.T) {
	for got, want := range map[string]string{
		count(0): "0", count(-1234): "-1,234", count(int64(1234567)): "1,234,567", count(999): "999", known(nil): "–",
		short(999): "999", short(1000): "1k", short(48_211_930): "48.2M", short(250_000): "250k",
		byteSize(0): "0 B", byteSize(1536): "1.5 KiB", byteSize(256 << 20): "256 MiB", byteRate(2_311_000): "2.2 MiB/s",
		perSecond(0): "0", perSecond(0.26): "0.3", perSecond(1843.2): "1,843",
		span(nil): "–", span(at(0.04)): "0 s", span(at(2.54)): "2.5 s", span(at(95.0)): "95 s", span(at(1934.0)): "32 min", span(at(8000.0)): "2 h", span(at(4e8)): "4,630 d",
		age(worldTime, worldTime.Add(-5)): "0 s", name("a\nb\u202ec\x7fé"): "a\ufffdb\ufffdc\ufffdé",
	} {
		if got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
