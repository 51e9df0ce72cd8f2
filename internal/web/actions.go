package web

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"mime"
	"net"
	"net/http"
	"strings"
	"time"
)

// Paths of what a person can have the process do.
const (
	PausePath    = "/api/v1/pause"
	ResumePath   = "/api/v1/resume"
	RetryPath    = "/api/v1/retry"
	LogLevelPath = "/api/v1/log-level"
)

const (
	actionMost  = 4 << 10 // bytes of a request
	actionLimit = 20 * time.Second
)

// Actor does what is asked for. Its errors are for the person who asked.
type Actor interface {
	Pause(ctx context.Context, flow, topic, by string) error // topic "": the whole flow
	Resume(ctx context.Context, flow, topic string) error
	Retry(ctx context.Context, flow, topic string, partition int32) error
	SetLogLevel(level string) error
}

var (
	// ErrUnknown is the cause of an action on what is not there.
	ErrUnknown = errors.New("unknown")
	// ErrNotNow is the cause of an action that makes no sense at the moment.
	ErrNotNow = errors.New("not now")
)

// Action is the body of a request; each path takes some of the fields.
type Action struct {
	Flow      string `json:"flow"`
	Topic     string `json:"topic"`
	Partition *int32 `json:"partition"`
	Level     string `json:"level"`
}

// Done is the answer to an action.
type Done struct {
	Text string `json:"text"`
}

const actionsOff = "actions are off: set http.actions_token or http.actions_token_file to allow them"

// action answers a request to do something. What it needs it refuses to go
// without, in this order: that actions are on; the token; that no page of another
// origin asked; JSON. Every attempt is logged.
func (s *site) action(log *slog.Logger, name string, do func(ctx context.Context, a Action, by string) (string, error)) http.HandlerFunc {
	origins := http.NewCrossOriginProtection()
	return func(w http.ResponseWriter, r *http.Request) {
		remote, _, err := net.SplitHostPort(r.RemoteAddr)
		if err != nil {
			remote = r.RemoteAddr
		}
		say := func(text string) { log.Warn("action refused", "action", name, "remote", remote, "reason", text) }
		refuse := func(code int, text string) {
			say(text)
			answer(w, code, Failure{text})
		}
		switch {
		case s.actor == nil || s.token == "":
			answer(w, http.StatusNotFound, Failure{actionsOff})
			return
		case !s.authorized(r):
			// Anybody can cause this line, so not one for each attempt.
			s.strangers.Do(func() { say("the token is missing or wrong") })
			w.Header().Set("WWW-Authenticate", `Bearer realm="kferry"`)
			answer(w, http.StatusUnauthorized, Failure{"the token is missing or wrong: send Authorization: Bearer TOKEN"})
			return
		case origins.Check(r) != nil:
			refuse(http.StatusForbidden, "a page of another origin asks for this")
			return
		}
		a, code, err := readAction(w, r)
		if err != nil {
			refuse(code, err.Error())
			return
		}
		ctx, cancel := context.WithTimeout(r.Context(), actionLimit)
		defer cancel()
		text, err := do(ctx, a, "the API, from "+remote)
		if err != nil {
			refuse(codeOf(err), err.Error())
			return
		}
		log.Info("action done", "action", name, "remote", remote, "what", text)
		answer(w, http.StatusOK, Done{text})
	}
}

// authorized compares in constant time, whatever the lengths are.
func (s *site) authorized(r *http.Request) bool {
	scheme, given, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	want, got := sha256.Sum256([]byte(s.token)), sha256.Sum256([]byte(given))
	return subtle.ConstantTimeCompare(want[:], got[:]) == 1 && strings.EqualFold(scheme, "Bearer")
}

// readAction reads the body strictly: a field that was misspelt would widen what
// is asked for.
func readAction(w http.ResponseWriter, r *http.Request) (a Action, code int, err error) {
	if t, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || t != "application/json" {
		return a, http.StatusUnsupportedMediaType, errors.New("the body must be JSON: send Content-Type: application/json")
	}
	d := json.NewDecoder(http.MaxBytesReader(w, r.Body, actionMost))
	d.DisallowUnknownFields()
	if err := d.Decode(&a); err != nil {
		return a, http.StatusBadRequest, fmt.Errorf("the body cannot be read: %w", err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return a, http.StatusBadRequest, errors.New("the body must be one JSON object")
	}
	return a, 0, nil
}

func codeOf(err error) int {
	var wrong wrongAction
	switch {
	case errors.As(err, &wrong):
		return http.StatusBadRequest
	case errors.Is(err, ErrUnknown):
		return http.StatusNotFound
	case errors.Is(err, ErrNotNow):
		return http.StatusConflict
	}
	return http.StatusBadGateway // the cluster that it needs does not go along
}

// wrongAction is a request that says too little or too much.
type wrongAction string

func (w wrongAction) Error() string { return string(w) }

func (s *site) pause(ctx context.Context, a Action, by string) (string, error) {
	if err := a.only(a.Flow != "" && a.Partition == nil && a.Level == "", "flow, and topic if not the whole flow is meant"); err != nil {
		return "", err
	}
	return a.what() + " is paused; every replica heeds it within seconds", s.actor.Pause(ctx, a.Flow, a.Topic, by)
}

func (s *site) resume(ctx context.Context, a Action, _ string) (string, error) {
	if err := a.only(a.Flow != "" && a.Partition == nil && a.Level == "", "flow, and topic if not the whole flow is meant"); err != nil {
		return "", err
	}
	return a.what() + " is resumed; every replica heeds it within seconds", s.actor.Resume(ctx, a.Flow, a.Topic)
}

func (s *site) retry(ctx context.Context, a Action, _ string) (string, error) {
	if err := a.only(a.Flow != "" && a.Topic != "" && a.Partition != nil && a.Level == "", "flow, topic and partition"); err != nil {
		return "", err
	}
	return fmt.Sprintf("partition %d of %s is tried again", *a.Partition, a.what()), s.actor.Retry(ctx, a.Flow, a.Topic, *a.Partition)
}

func (s *site) logLevel(_ context.Context, a Action, _ string) (string, error) {
	if err := a.only(a.Level != "" && a.Flow == "" && a.Topic == "" && a.Partition == nil, "level"); err != nil {
		return "", err
	}
	if err := s.actor.SetLogLevel(a.Level); err != nil {
		return "", wrongAction(err.Error())
	}
	return "the log level is " + a.Level, nil
}

func (a Action) only(ok bool, wants string) error {
	if !ok {
		return wrongAction("the body must have " + wants + ", and nothing else")
	}
	return nil
}

// what names the flow or the topic in a sentence.
func (a Action) what() string {
	if a.Topic == "" {
		return fmt.Sprintf("flow %q", a.Flow)
	}
	return fmt.Sprintf("topic %q of flow %q", a.Topic, a.Flow)
}
