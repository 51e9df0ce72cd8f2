// Package fake is a part of Aiven's API for tests: services, endpoints, integrations, replication flows, users, ACLs,
// topics and schemas of one project. Requests and responses are held against Aiven's OpenAPI document. It has a clock
// of its own, so services take minutes to start and no test waits; and it fails on demand, at every request.
package fake

import (
	"bytes"
	"context"
	_ "embed" // the document
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/gorillamux"
)

//go:embed testdata/openapi.json
var document []byte

// Project and Token are the only ones there are.
const (
	Project = "pizza-project"
	Token   = "hunter2-api-token"
)

// Server is the fake. Its fields may be set before the first request, and then through Set.
type Server struct {
	URL       string // without /v1
	Clock     *Clock
	Lag       time.Duration                      // reads show what was there this long ago
	Provision time.Duration                      // how long a new service is REBUILDING
	Restart   time.Duration                      // how long a changed one is
	Skew      time.Duration                      // how far its clock differs from Clock
	Plans     map[string]map[string][]string     // by service type and plan: clouds
	Taken     map[string]bool                    // service names that somebody else has
	Quota     int                                // how many services there may be; 0 = any number
	Intercept func(n int, r *http.Request) Fault // for the nth request, from 1; nil = none fails
	Reachable func(config map[string]any) error  // whether a cluster of this endpoint config can be reached; it must not ask the fake
	OnFlow    func(Flow)                         // called after a flow was made, changed or deleted, before the answer
	Progress  func(Flow) float64                 // replication_progress of a flow, 0 to 1; it must not ask the fake
	Kafka     Kafka                              // stands behind the Kafka services; nil = nothing does

	t        testing.TB
	router   routers.Router
	mu       sync.Mutex
	count    int
	requests []string
	ids      int
	changed  []Flow // for OnFlow

	services     shelf[Service]
	endpoints    shelf[Endpoint]
	integrations shelf[Integration]
	flows        shelf[Flow]
	users        shelf[user]
	acls         shelf[object]
	natives      shelf[object]
	topics       shelf[object]
	schemas      shelf[subject]
	connectors   shelf[object]
}

type object = map[string]any

// A Fault is what happens to a request instead of its answer. The zero value is none.
type Fault struct {
	Status  int // to answer with
	Message string
	Header  http.Header
	Drop    bool // close the connection without an answer
	After   bool // carry the request out first
}

// router finds what the document says about a request; it takes long to make.
var router = sync.OnceValue(func() routers.Router {
	doc, err := openapi3.NewLoader().LoadFromData(document)
	if err != nil {
		panic(err)
	}
	r, err := gorillamux.NewRouter(doc)
	if err != nil {
		panic(err)
	}
	return r
})

// New starts a fake that the test ends. What goes against the document fails the test.
func New(t testing.TB) *Server {
	t.Helper()
	s := &Server{
		t: t, router: router(), Clock: NewClock(), Provision: 5 * time.Minute, Restart: time.Minute,
		Plans: map[string]map[string][]string{
			"kafka":             {"startup-2": {"google-europe-west1", "aws-eu-west-1"}, "business-4": {"google-europe-west1", "aws-eu-west-1"}},
			"kafka_mirrormaker": {"startup-4": {"google-europe-west1"}, "business-8": {"google-europe-west1", "aws-eu-west-1"}},
		},
		Taken:     map[string]bool{},
		Reachable: func(map[string]any) error { return nil },
		OnFlow:    func(Flow) {},
		Progress:  func(Flow) float64 { return 0.5 },
	}
	mux := http.NewServeMux()
	for pattern, h := range s.routes() {
		method, path, _ := strings.Cut(pattern, " ")
		mux.HandleFunc(method+" /v1/project/{project}"+path, s.endpoint(h))
	}
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	s.URL = server.URL
	return s
}

// Set changes fields between two requests, or while one is intercepted.
func (s *Server) Set(change func(*Server)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change(s)
}

// Requests lists what was asked, as METHOD path.
func (s *Server) Requests() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.requests...)
}

// Writes counts the requests that would change something, since the nth.
func (s *Server) Writes(since int) (n int) {
	for _, r := range s.Requests()[since:] {
		if !strings.HasPrefix(r, "GET ") {
			n++
		}
	}
	return n
}

// A failure is an answer of 400 and above.
type failure struct {
	status  int
	code    string
	message string
}

func fail(status int, code, format string, args ...any) *failure {
	return &failure{status, code, fmt.Sprintf(format, args...)}
}

// A handler answers one request; s.mu is held.
type handler func(r *http.Request, in object) (any, *failure)

// endpoint does for every request what is the same for all.
func (s *Server) endpoint(h handler) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			s.t.Error(err)
		}
		s.mu.Lock()
		s.count++
		s.requests = append(s.requests, r.Method+" "+r.URL.Path)
		n := s.count
		intercept, skew := s.Intercept, s.Skew
		s.mu.Unlock()
		var fault Fault
		if intercept != nil {
			fault = intercept(n, r)
		}
		var status int
		var answer []byte
		if fault.After || fault.Status == 0 && !fault.Drop {
			status, answer = s.answer(h, r, body)
		}
		if fault.Drop {
			panic(http.ErrAbortHandler)
		}
		if fault.Status != 0 {
			status, answer = fault.Status, encode(failed(fault.Status, "", fault.Message))
			maps.Copy(w.Header(), fault.Header)
		}
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Date", s.Clock.Now().Add(skew).Format(http.TimeFormat))
		w.WriteHeader(status)
		_, _ = w.Write(answer)
	}
}

// answer carries a request out, if it is one that the document allows.
func (s *Server) answer(h handler, r *http.Request, body []byte) (int, []byte) {
	r.Body = io.NopCloser(bytes.NewReader(body))
	route, params, err := s.router.FindRoute(r)
	if err != nil {
		s.t.Errorf("fake: %s %s: %v", r.Method, r.URL.Path, err)
		return http.StatusNotFound, encode(failed(http.StatusNotFound, "", "no such path"))
	}
	in := &openapi3filter.RequestValidationInput{Request: r, PathParams: params, Route: route,
		Options: &openapi3filter.Options{AuthenticationFunc: openapi3filter.NoopAuthenticationFunc, IncludeResponseStatus: true}}
	if err := openapi3filter.ValidateRequest(context.Background(), in); err != nil {
		s.t.Errorf("fake: %s %s: %v", r.Method, r.URL.Path, err)
		return http.StatusBadRequest, encode(failed(http.StatusBadRequest, "", "Input does not validate"))
	}
	content := object{}
	if len(body) > 0 {
		if err := json.Unmarshal(body, &content); err != nil {
			s.t.Errorf("fake: %s %s: %v", r.Method, r.URL.Path, err)
		}
	}
	s.mu.Lock()
	out, failure := s.authorize(r)
	if failure == nil {
		out, failure = h(r, content)
	}
	changed := s.changed
	s.changed = nil
	s.mu.Unlock()
	for _, f := range changed {
		s.OnFlow(f)
	}
	if failure != nil {
		return failure.status, encode(failed(failure.status, failure.code, failure.message))
	}
	answer := encode(out)
	response := &openapi3filter.ResponseValidationInput{RequestValidationInput: in, Status: http.StatusOK,
		Header: http.Header{"Content-Type": {"application/json"}}}
	response.SetBodyBytes(answer)
	if err := openapi3filter.ValidateResponse(context.Background(), response); err != nil {
		s.t.Errorf("fake: the answer to %s %s: %v", r.Method, r.URL.Path, err)
	}
	return http.StatusOK, answer
}

func (s *Server) authorize(r *http.Request) (any, *failure) {
	if r.Header.Get("Authorization") != "aivenv1 "+Token {
		return nil, fail(http.StatusUnauthorized, "authentication_failed", "Invalid token")
	}
	if r.PathValue("project") != Project {
		return nil, fail(http.StatusNotFound, "", "Project does not exist")
	}
	return nil, nil
}

func encode(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return b
}

func failed(status int, code, message string) object {
	one := object{"message": message, "status": status}
	if code != "" {
		one["error_code"] = code
	}
	return object{"errors": []any{one}, "message": message}
}

// seen is the time as of which reads answer.
func (s *Server) seen() time.Time { return s.Clock.Now().Add(-s.Lag) }

func (s *Server) id() string {
	s.ids++
	return fmt.Sprintf("00000000-0000-4000-8000-%012d", s.ids)
}
