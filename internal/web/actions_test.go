package web

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
)

const token = "a-token-of-some-length"

// actor notes what it is told.
type actor struct {
	mu   sync.Mutex
	told []string
	err  error
}

func (a *actor) note(format string, args ...any) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.told = append(a.told, fmt.Sprintf(format, args...))
	return a.err
}

func (a *actor) Pause(_ context.Context, flow, topic, by string) error {
	return a.note("pause %q %q by %s", flow, topic, by)
}
func (a *actor) Resume(_ context.Context, flow, topic string) error {
	return a.note("resume %q %q", flow, topic)
}
func (a *actor) Retry(_ context.Context, flow, topic string, partition int32) error {
	return a.note("retry %q %q %d", flow, topic, partition)
}
func (a *actor) SetLogLevel(level string) error { return a.note("level %q", level) }

func (a *actor) all() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return strings.Join(a.told, "; ")
}

// post sends a request with a token and JSON unless headers, "Name: value" or "Name:", say otherwise.
func post(h http.Handler, path, body string, headers ...string) (int, string) {
	r := httptest.NewRequest(http.MethodPost, path, strings.NewReader(body))
	r.Header.Set("Authorization", "Bearer "+token)
	r.Header.Set("Content-Type", "application/json")
	for _, header := range headers {
		name, value, _ := strings.Cut(header, ":")
		if r.Header.Del(name); value != "" {
			r.Header.Set(name, strings.TrimSpace(value))
		}
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Code, w.Body.String()
}

func TestActions(t *testing.T) {
	for _, c := range []struct {
		path, body string
		headers    []string
		err        error
		code       int
		want, told string
	}{
		{PausePath, `{"flow":"a-b"}`, nil, nil, 200, `flow \"a-b\" is paused`, `pause "a-b" "" by the API, from 192.0.2.1`},
		{PausePath, `{"flow":"a-b","topic":"t<"}`, nil, nil, 200, `topic \"t\u003c\" of flow`, `pause "a-b" "t<" by the API, from 192.0.2.1`},
		{ResumePath, `{"flow":"a-b","topic":"t"}`, nil, nil, 200, `is resumed`, `resume "a-b" "t"`},
		{RetryPath, `{"flow":"a-b","topic":"t","partition":0}`, nil, nil, 200, `partition 0 of topic`, `retry "a-b" "t" 0`},
		{LogLevelPath, `{"level":"debug"}`, nil, nil, 200, `the log level is debug`, `level "debug"`},
		{PausePath, `{"flow":"a-b"}`, []string{"Origin: http://example.com"}, nil, 200, "paused", `pause "a-b" "" by the API, from 192.0.2.1`},
		{PausePath, `{"flow":"a-b"}`, []string{"Content-Type: application/json; charset=utf-8"}, nil, 200, "paused", `pause "a-b" "" by the API, from 192.0.2.1`},

		{PausePath, `{"flow":"a-b"}`, []string{"Authorization:"}, nil, 401, "token is missing or wrong", ""},
		{PausePath, `{"flow":"a-b"}`, []string{"Authorization: Bearer"}, nil, 401, "token is missing or wrong", ""},
		{PausePath, `{"flow":"a-b"}`, []string{"Authorization: Bearer " + token + "x"}, nil, 401, "token is missing or wrong", ""},
		{PausePath, `{"flow":"a-b"}`, []string{"Authorization: Bearer " + token[1:]}, nil, 401, "token is missing or wrong", ""},
		{PausePath, `{"flow":"a-b"}`, []string{"Authorization: Basic " + token}, nil, 401, "token is missing or wrong", ""},
		{PausePath + "?token=" + token, `{"flow":"a-b"}`, []string{"Authorization:"}, nil, 401, "token is missing or wrong", ""},
		{PausePath, `{"flow":"a-b"}`, []string{"Origin: http://evil.example"}, nil, 403, "another origin", ""},
		{PausePath, `{"flow":"a-b"}`, []string{"Origin: null"}, nil, 403, "another origin", ""},
		{PausePath, `{"flow":"a-b"}`, []string{"Sec-Fetch-Site: cross-site"}, nil, 403, "another origin", ""},
		{PausePath, `flow=a-b`, []string{"Content-Type: application/x-www-form-urlencoded"}, nil, 415, "must be JSON", ""},
		{PausePath, `{"flow":"a-b"}`, []string{"Content-Type: text/plain"}, nil, 415, "must be JSON", ""},
		{PausePath, `{"flow":"a-b"}`, []string{"Content-Type:"}, nil, 415, "must be JSON", ""},

		{PausePath, ``, nil, nil, 400, "cannot be read", ""},
		{PausePath, `{"flow":"a-b","topc":"t"}`, nil, nil, 400, "unknown field", ""},
		{PausePath, `{"flow":"a-b"}{}`, nil, nil, 400, "one JSON object", ""},
		{PausePath, `{"flow":"` + strings.Repeat("x", actionMost) + `"}`, nil, nil, 400, "too large", ""},
		{PausePath, `{}`, nil, nil, 400, "must have flow", ""},
		{PausePath, `{"topic":"t"}`, nil, nil, 400, "must have flow", ""},
		{PausePath, `{"flow":"a-b","partition":1}`, nil, nil, 400, "nothing else", ""},
		{RetryPath, `{"flow":"a-b","topic":"t"}`, nil, nil, 400, "flow, topic and partition", ""},
		{RetryPath, `{"flow":"a-b","topic":"t","partition":"1"}`, nil, nil, 400, "cannot be read", ""},
		{LogLevelPath, `{"level":"debug","flow":"a-b"}`, nil, nil, 400, "must have level", ""},
		{LogLevelPath, `{"level":"loud"}`, nil, errors.New("must be debug"), 400, "must be debug", `level "loud"`},

		{PausePath, `{"flow":"x"}`, nil, fmt.Errorf("no such flow: %w", ErrUnknown), 404, "no such flow", `pause "x" "" by the API, from 192.0.2.1`},
		{RetryPath, `{"flow":"a-b","topic":"t","partition":0}`, nil, fmt.Errorf("it runs: %w", ErrNotNow), 409, "it runs", `retry "a-b" "t" 0`},
		{PausePath, `{"flow":"a-b"}`, nil, errors.New("the target is away"), 502, "the target is away", `pause "a-b" "" by the API, from 192.0.2.1`},
	} {
		var logged bytes.Buffer
		a := &actor{err: c.err}
		o := options(new(source))
		o.Actor, o.Token, o.Logger = a, token, slog.New(slog.NewJSONHandler(&logged, nil))
		h := handler(o, slog.NewLogLogger(slog.DiscardHandler, slog.LevelWarn))
		code, body := post(h, c.path, c.body, c.headers...)
		if code != c.code || !strings.Contains(body, c.want) || a.all() != c.told {
			t.Errorf("%s %.60s %q: got %d %s, told %q\nwant %d %s, told %q", c.path, c.body, c.headers, code, body, a.all(), c.code, c.want, c.told)
		}
		line := logged.String()
		if strings.Count(line, "\n") != 1 || !strings.Contains(line, `"remote":"192.0.2.1"`) || strings.Contains(line, "done") != (code == 200) {
			t.Errorf("%s %.60s: logged %s", c.path, c.body, line)
		}
		if strings.Contains(line+body, token) {
			t.Errorf("%s %.60s: the token is shown: %s %s", c.path, c.body, line, body)
		}
	}
}

// Without a token in the configuration, or without anybody to act, nothing can be done,
// whatever is sent.
func TestActionsAreOff(t *testing.T) {
	for _, o := range []Options{{Token: token}, {Actor: new(actor)}} {
		full := options(healthy())
		full.Actor, full.Token = o.Actor, o.Token
		h := handler(full, slog.NewLogLogger(slog.DiscardHandler, slog.LevelWarn))
		for _, path := range []string{PausePath, ResumePath, RetryPath, LogLevelPath} {
			for _, header := range []string{"X: y", "Authorization:", "Authorization: Bearer ", "Authorization: Bearer"} {
				if code, body := post(h, path, `{"flow":"a-b"}`, header); code != 404 || !strings.Contains(body, "actions are off") {
					t.Errorf("%s with %q: got %d %s", path, header, code, body)
				}
			}
		}
		if _, body := get(t, h, "GET", "/"); strings.Contains(body, "data-act") || strings.Contains(body, `id="act"`) {
			t.Error("the page offers actions")
		}
	}
}

// Who guesses tokens does not fill the log.
func TestGuesses(t *testing.T) {
	var logged bytes.Buffer
	o := options(new(source))
	o.Actor, o.Token, o.Logger = new(actor), token, slog.New(slog.NewTextHandler(&logged, nil))
	h := handler(o, slog.NewLogLogger(slog.DiscardHandler, slog.LevelWarn))
	for range 10_000 {
		if code, _ := post(h, PausePath, `{"flow":"a-b"}`, "Authorization: Bearer guess"); code != 401 {
			t.Fatalf("got %d", code)
		}
	}
	if n := strings.Count(logged.String(), "\n"); n < 1 || n > 1000 {
		t.Errorf("10000 guesses make %d lines", n)
	}
	if code, _ := post(h, PausePath, `{"flow":"a-b"}`); code != 200 {
		t.Errorf("after the guesses the right token gets %d", code)
	}
}
