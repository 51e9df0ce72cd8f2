package web

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"go.uber.org/goleak"
)

type source struct {
	err          atomic.Pointer[error]
	seen         View
	histories    map[string][]Point
	events       []Event
	offsets      []Offset
	translations []Translation
	traces       []Trace
	asked        Lookup
}

func (s *source) View() *View                     { return &s.seen }
func (s *source) History(_, topic string) []Point { return s.histories[topic] }
func (s *source) Offsets() []Offset               { return slices.Clone(s.offsets) }

func (s *source) Events(after uint64) []Event {
	return slices.DeleteFunc(slices.Clone(s.events), func(e Event) bool { return e.Seq <= after })
}

func (s *source) Translate(q Lookup) []Translation {
	s.asked = q
	return s.translations
}

func (s *source) Ready() error {
	if p := s.err.Load(); p != nil {
		return *p
	}
	return nil
}

func (s *source) set(err error) { s.err.Store(&err) }

func options(s Source) Options {
	return Options{
		Listen:   "127.0.0.1:0",
		Source:   s,
		Registry: prometheus.NewRegistry(),
		Logger:   slog.New(slog.DiscardHandler),
	}
}

func get(t *testing.T, h http.Handler, method, path string) (int, string) {
	t.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(method, path, nil))
	return w.Code, w.Body.String()
}

func TestPaths(t *testing.T) {
	o := options(new(source))
	if err := registerProcess(o.Registry); err != nil {
		t.Fatal(err)
	}
	n := prometheus.NewCounter(prometheus.CounterOpts{Name: "kferry_test_total", Help: "of this test"})
	o.Registry.MustRegister(n)
	n.Add(3)
	h := handler(o, slog.NewLogLogger(slog.DiscardHandler, slog.LevelWarn))
	for _, c := range []struct {
		method, path string
		code         int
		want         string
	}{
		{"GET", "/", 200, "/readyz"},
		{"GET", "/healthz", 200, "ok"},
		{"HEAD", "/healthz", 200, ""},
		{"GET", "/readyz", 200, "ready"},
		{"GET", "/metrics", 200, "kferry_test_total 3"},
		{"GET", "/metrics", 200, "go_goroutines"},
		{"GET", "/metrics", 200, "process_resident_memory_bytes"},
		{"GET", "/api/v1/lanes", 200, `{"lanes":[],"total":0}`},
		{"GET", "/api/v1/status", 200, `"healthy":false`},
		{"GET", "/api/v1/topics", 200, `{"topics":[]}`},
		{"GET", "/api/v1/events", 200, `{"events":[],"next":0}`},
		{"GET", "/api/v1/offsets", 200, `{"offsets":[]}`},
		{"POST", "/api/v1/translate", 405, ""},
		{"GET", "/api/v1/other", 404, ""},
		{"POST", "/api/v1/lanes", 405, ""},
		{"GET", "/other", 404, ""},
		{"POST", "/readyz", 405, ""},
		{"DELETE", "/metrics", 405, ""},
	} {
		code, body := get(t, h, c.method, c.path)
		if code != c.code || !strings.Contains(body, c.want) {
			t.Errorf("%s %s: got %d %.200q, want %d with %q", c.method, c.path, code, body, c.code, c.want)
		}
	}
}

func TestReadyTellsWhyNot(t *testing.T) {
	s := new(source)
	h := handler(options(s), slog.NewLogLogger(slog.DiscardHandler, slog.LevelWarn))
	s.set(errors.New("flow a-b: cluster b does not answer"))
	if code, body := get(t, h, "GET", "/readyz"); code != 503 || !strings.Contains(body, "cluster b does not answer") {
		t.Errorf("got %d %q", code, body)
	}
	if code, _ := get(t, h, "GET", "/healthz"); code != 200 {
		t.Errorf("not ready, so not healthy: got %d", code)
	}
	s.set(nil)
	if code, body := get(t, h, "GET", "/readyz"); code != 200 || body != "ready\n" {
		t.Errorf("got %d %q", code, body)
	}
}

func TestLanes(t *testing.T) {
	lag, age := int64(17), 2.5
	s := &source{seen: View{Lanes: []Lane{
		{Flow: "a-b", Topic: "t", TargetTopic: "x.t", Partition: 3, State: "running", SourceOffset: 5, TargetOffset: 7, LagRecords: &lag, LagSeconds: &age, LagStale: true,
			Records: 1, Bytes: 2, RecordsPerSecond: 0.5, BytesPerSecond: 1.5},
		{Flow: "a-b", Topic: "u", TargetTopic: "x.u", State: "stopped", Reason: `topic "u" is gone`},
	}}}
	w := httptest.NewRecorder()
	handler(options(s), slog.NewLogLogger(slog.DiscardHandler, slog.LevelWarn)).ServeHTTP(w, httptest.NewRequest("GET", LanesPath, nil))
	want := `{"lanes":[{"flow":"a-b","topic":"t","target_topic":"x.t","partition":3,"state":"running","reason":"","source_offset":5,"target_offset":7,` +
		`"lag_records":17,"lag_seconds":2.5,"lag_stale":true,"records":1,"bytes":2,"records_per_second":0.5,"bytes_per_second":1.5},` +
		`{"flow":"a-b","topic":"u","target_topic":"x.u","partition":0,"state":"stopped","reason":"topic \"u\" is gone","source_offset":0,"target_offset":0,` +
		`"lag_records":null,"lag_seconds":null,"lag_stale":false,"records":0,"bytes":0,"records_per_second":0,"bytes_per_second":0}],"total":2}` + "\n"
	if got := w.Body.String(); got != want || w.Header().Get("Content-Type") != "application/json" {
		t.Errorf("got %s\nwant %s", got, want)
	}
}

// TestMoreMetrics: they come behind those of the registry, as text whatever is asked for, and compressed if that is.
func TestMoreMetrics(t *testing.T) {
	o := options(new(source))
	n := prometheus.NewGauge(prometheus.GaugeOpts{Name: "kferry_first", Help: "of the registry"})
	o.Registry.MustRegister(n)
	o.More = func(w io.Writer) error {
		for i := range 1000 {
			fmt.Fprintf(w, "kferry_more{n=\"%d\"} %d\n", i, i)
		}
		return nil
	}
	h := handler(o, slog.NewLogLogger(slog.DiscardHandler, slog.LevelWarn))
	r := httptest.NewRequest("GET", "/metrics", nil)
	r.Header.Set("Accept", "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited")
	r.Header.Set("Accept-Encoding", "gzip")
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	if w.Header().Get("Content-Encoding") != "gzip" || !strings.HasPrefix(w.Header().Get("Content-Type"), "text/plain; version=0.0.4") {
		t.Fatalf("%v", w.Header())
	}
	z, err := gzip.NewReader(w.Body)
	if err != nil {
		t.Fatal(err)
	}
	page, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	parser := expfmt.NewTextParser(model.LegacyValidation)
	families, err := parser.TextToMetricFamilies(bytes.NewReader(page))
	if err != nil || len(families["kferry_first"].GetMetric()) != 1 || len(families["kferry_more"].GetMetric()) != 1000 {
		t.Errorf("%v: %.300s", err, page)
	}
}

// TestBrokenCollector: a scrape shows the good metrics although one collector fails.
func TestBrokenCollector(t *testing.T) {
	o := options(new(source))
	o.Registry.MustRegister(broken{})
	n := prometheus.NewGauge(prometheus.GaugeOpts{Name: "kferry_good", Help: "works"})
	o.Registry.MustRegister(n)
	h := handler(o, slog.NewLogLogger(slog.DiscardHandler, slog.LevelWarn))
	if code, body := get(t, h, "GET", "/metrics"); code != 200 || !strings.Contains(body, "kferry_good 0") {
		t.Errorf("got %d %q", code, body)
	}
}

type broken struct{}

func (broken) Describe(chan<- *prometheus.Desc) {}
func (broken) Collect(ch chan<- prometheus.Metric) {
	ch <- prometheus.NewInvalidMetric(prometheus.NewDesc("kferry_broken", "fails", nil, nil), errors.New("broken"))
}

func TestListenErrors(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	for _, c := range []struct{ addr, want string }{
		{taken.Addr().String(), "another process has this port"},
		{"203.0.113.7:9464", "no such address"},
		{"nonsense", "host:port"},
		{"127.0.0.1:70000", "host:port"},
	} {
		o := options(new(source))
		o.Listen = c.addr
		_, err := New(o)
		if err == nil || !strings.Contains(err.Error(), "http.listen") || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want http.listen and %q", c.addr, err, c.want)
		}
	}
}

// start runs a server and returns its address, the cancel function and what Run returns.
func start(t *testing.T, o Options) (string, context.CancelFunc, <-chan error) {
	t.Helper()
	s, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	end := make(chan error, 1)
	go func() { end <- s.Run(ctx) }()
	return s.Addr(), cancel, end
}

func TestServeAndStop(t *testing.T) {
	defer goleak.VerifyNone(t)
	addr, cancel, end := start(t, options(new(source)))
	tr := &http.Transport{}
	defer tr.CloseIdleConnections()
	cl := &http.Client{Transport: tr}
	resp, err := cl.Get("http://" + addr + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(resp.Body)
	resp.Body.Close()
	if err != nil || resp.StatusCode != 200 || !strings.Contains(string(body), "promhttp_metric_handler_errors_total") {
		t.Fatalf("got %d, %v, %.200q", resp.StatusCode, err, body)
	}
	cancel()
	if err := <-end; err != nil {
		t.Errorf("stop: %v", err)
	}
	if c, err := net.Dial("tcp", addr); err == nil {
		c.Close()
		t.Error("still listening after Run returned")
	}
}

// TestAnswerUnderWay: a stop waits for an answer that was begun.
func TestAnswerUnderWay(t *testing.T) {
	defer goleak.VerifyNone(t)
	g := &gate{asked: make(chan struct{}), open: make(chan struct{})}
	addr, cancel, end := start(t, options(g))
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	fmt.Fprintf(c, "GET /readyz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
	<-g.asked
	cancel()
	close(g.open)
	status, err := bufio.NewReader(c).ReadString('\n')
	if err != nil || !strings.Contains(status, "200") {
		t.Errorf("got %q, %v", status, err)
	}
	if err := <-end; err != nil {
		t.Errorf("stop: %v", err)
	}
}

type gate struct {
	source
	asked, open chan struct{}
}

func (g *gate) Ready() error {
	close(g.asked)
	<-g.open
	return nil
}
