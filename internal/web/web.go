// Package web serves what operators and their tools read from a running process:
//
//	/                  the status page, for people
//	/metrics           Prometheus metrics
//	/healthz           200 while the process answers at all: a liveness probe
//	/readyz            200 when the work is under way, else 503 and the reason: a readiness probe
//	/api/v1/...        the same as the page has, as JSON, and actions: see docs/api.md
package web

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"syscall"
	"time"

	"github.com/klauspost/compress/gzhttp"
	"github.com/klauspost/compress/gzip"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/prometheus/common/expfmt"
)

// Limits of one connection. The answers are small and local; what takes longer is a stuck or hostile peer.
const (
	headerTimeout = 5 * time.Second
	readTimeout   = 10 * time.Second
	writeTimeout  = 30 * time.Second // a scrape of some 10,000 series over a slow link
	idleTimeout   = 2 * time.Minute  // above the usual scrape interval, so that scrapes reuse their connection
	maxHeader     = 64 << 10         // bytes
	stopTimeout   = 5 * time.Second  // answers under way when the server is told to stop
)

// Source is what the server shows. Its methods must be cheap and safe to call from several goroutines.
type Source interface {
	Ready() error                       // nil when the work is under way, else why it is not
	View() *View                        // all but what follows; asked once a second at most
	History(flow, topic string) []Point // the lag of the last hour, the oldest first
	Offsets() []Offset                  // every group and partition, sorted; the caller owns the slice
	Translate(q Lookup) []Translation   // one for each lane that has the partition
	Trace(q Lookup) []Trace             // one for each flow that carries the topic, or one that says why none does
	Events(after uint64) []Event        // those behind after that are remembered, the oldest first
}

// Options of a server. All fields are required where nothing else is said.
type Options struct {
	Listen   string                // host:port; port 0 takes a free one
	Source   Source                // asked at each /readyz and each request of /api/v1
	Registry *prometheus.Registry  // New adds the Go and process collectors to it
	More     func(io.Writer) error // metrics besides those of Registry, in Prometheus' text format; nil: none
	Logger   *slog.Logger          // failed scrapes, broken connections, actions
	Actor    Actor                 // does what is asked for by POST; nil: actions are off
	Token    string                // whoever has it may act; "": actions are off
	Pprof    bool                  // serve profiles of the process
}

// Server listens from New on and answers from Run on.
type Server struct {
	ln  net.Listener
	srv *http.Server
}

// New listens on o.Listen. Its error names the setting http.listen and what to do.
func New(o Options) (*Server, error) {
	if err := registerProcess(o.Registry); err != nil {
		return nil, err
	}
	ln, err := net.Listen("tcp", o.Listen)
	if err != nil {
		return nil, listenError(o.Listen, err)
	}
	logs := slog.NewLogLogger(o.Logger.Handler(), slog.LevelWarn)
	return &Server{ln: ln, srv: &http.Server{
		Handler:           handler(o, logs),
		ReadHeaderTimeout: headerTimeout,
		ReadTimeout:       readTimeout,
		WriteTimeout:      writeTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeader,
		ErrorLog:          logs,
	}}, nil
}

// registerProcess adds what the runtime and the kernel know about this process. Finding them there already is fine.
func registerProcess(r prometheus.Registerer) error {
	for _, c := range []prometheus.Collector{
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	} {
		if err := r.Register(c); err != nil && !errors.As(err, new(prometheus.AlreadyRegisteredError)) {
			return fmt.Errorf("web: register process metrics: %w", err)
		}
	}
	return nil
}

// Addr is where the server listens, as host:port with the real port.
func (s *Server) Addr() string { return s.ln.Addr().String() }

// Run answers until ctx ends, then lets answers under way finish for stopTimeout. It returns nil on such an end.
// It must be called once, and closes the listener in any case.
func (s *Server) Run(ctx context.Context) error {
	served := make(chan error, 1)
	go func() { served <- s.srv.Serve(s.ln) }()
	select {
	case err := <-served:
		return fmt.Errorf("web: serve on %s: %w", s.Addr(), err)
	case <-ctx.Done():
	}
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
	defer cancel()
	if err := s.srv.Shutdown(grace); err != nil {
		// A reader that does not take its answer is no reason to fail a clean stop.
		err = s.srv.Close()
		<-served
		return err
	}
	<-served
	return nil
}

// listenError explains the failures that a person can mend.
func listenError(addr string, err error) error {
	remedy := `set it to a host:port of this machine, or to "off"`
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		remedy = `another process has this port: choose another one, or "off"`
	case errors.Is(err, syscall.EACCES):
		remedy = "this user may not open this port: choose one above 1023"
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		remedy = `this machine has no such address: use one of its own, or ":9464" for all of them`
	}
	return fmt.Errorf("http.listen %q: %w (%s)", addr, err, remedy)
}

func handler(o Options, logs promhttp.Logger) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { text(w, http.StatusOK, "ok\n") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		if err := o.Source.Ready(); err != nil {
			text(w, http.StatusServiceUnavailable, "not ready: "+err.Error()+"\n")
			return
		}
		text(w, http.StatusOK, "ready\n")
	})
	s := newSite(o)
	mux.HandleFunc("GET /{$}", s.page)
	mux.HandleFunc("GET /static/{file}", static)
	mux.HandleFunc("GET "+StatusPath, s.status)
	mux.HandleFunc("GET "+TopicsPath, s.topics)
	mux.HandleFunc("GET "+LanesPath, s.lanes)
	mux.HandleFunc("GET "+EventsPath, s.events)
	mux.HandleFunc("GET "+OffsetsPath, offsets(o.Source))
	mux.HandleFunc("GET "+TranslatePath, translate(o.Source))
	mux.HandleFunc("GET "+TracePath, trace(o.Source))
	mux.Handle("GET /metrics", packed(metrics(o, logs)))
	if o.Pprof {
		profiles(mux)
	}
	mux.HandleFunc("POST "+PausePath, s.action(o.Logger, "pause", s.pause))
	mux.HandleFunc("POST "+ResumePath, s.action(o.Logger, "resume", s.resume))
	mux.HandleFunc("POST "+RetryPath, s.action(o.Logger, "retry", s.retry))
	mux.HandleFunc("POST "+LogLevelPath, s.action(o.Logger, "log-level", s.logLevel))
	return bounded(mux)
}

// metrics serves what the registry has, and More behind it. That is in the text
// format alone, so no other is offered.
func metrics(o Options, logs promhttp.Logger) http.Handler {
	// One broken collector must not take the other metrics away.
	registry := promhttp.HandlerFor(o.Registry, promhttp.HandlerOpts{
		ErrorLog: logs, ErrorHandling: promhttp.ContinueOnError, Registry: o.Registry, DisableCompression: true,
	})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.Header.Set("Accept", string(expfmt.NewFormat(expfmt.TypeTextPlain)))
		registry.ServeHTTP(w, r)
		if o.More != nil {
			_ = o.More(w) // a reader that went away
		}
	})
}

// packed compresses answers, as fast as can be: metrics of many lanes are megabytes
// that say nearly the same again and again.
func packed(h http.Handler) http.Handler {
	wrap, err := gzhttp.NewWrapper(gzhttp.CompressionLevel(gzip.BestSpeed))
	if err != nil {
		panic("web: " + err.Error()) // the options are constant
	}
	return wrap(h)
}

// bounded refuses questions that are longer than any that makes sense.
func bounded(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if len(r.URL.RawQuery) > queryMost {
			answer(w, http.StatusRequestURITooLong, Failure{fmt.Sprintf("the query is longer than %d bytes", queryMost)})
			return
		}
		h.ServeHTTP(w, r)
	})
}

func text(w http.ResponseWriter, code int, body string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(code)
	_, _ = io.WriteString(w, body) // a reader that went away
}

// Failure is the answer of /api/v1 with any other code than 200.
type Failure struct {
	Error string `json:"error"` // what is wrong and what to do
}

// answer writes body as JSON.
func answer(w http.ResponseWriter, code int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(body) // a reader that went away
}
