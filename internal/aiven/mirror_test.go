package aiven

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/kferry/kferry/internal/aiven/fake"
)

func TestReplications(t *testing.T) {
	s := fake.New(t)
	cfg := load(t, s)
	c, err := NewClient(cfg, "test", s.Clock)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := c.Replications(t.Context(), "pizza-mm2"); err != nil || got != nil {
		t.Errorf("without a service: %v %+v", err, got)
	}
	apply(t, s, cfg)
	got, err := c.Replications(t.Context(), "pizza-mm2")
	if err != nil || len(got) != 1 {
		t.Fatalf("%v %+v", err, got)
	}
	r := got[0]
	if r.Source != "cloudkarafka" || r.Target != "aiven" || !r.Enabled || !r.Identity || r.Progress == nil || *r.Progress != 0.5 ||
		strings.Join(r.Topics, " ") != "pizza-.*" || len(r.Exclude) != len(neverMirrored) {
		t.Errorf("%+v", r)
	}
	// It is asked once, whatever the answer; and the answer says how long to wait.
	began, at := s.Clock.Now(), len(s.Requests())
	s.Set(func(s *fake.Server) {
		s.Intercept = func(int, *http.Request) fake.Fault {
			return fake.Fault{Status: http.StatusTooManyRequests, Message: "slow down, " + fake.Token, Header: http.Header{"Retry-After": {"90"}}}
		}
	})
	_, err = c.Replications(t.Context(), "pizza-mm2")
	var failed *Error
	if !errors.As(err, &failed) || failed.RetryAfter() != 90*time.Second || strings.Contains(err.Error(), fake.Token) {
		t.Errorf("%v", err)
	}
	if n := len(s.Requests()) - at; n != 1 || s.Clock.Now() != began {
		t.Errorf("%d requests, %v later", n, s.Clock.Now().Sub(began))
	}
}

// A flow is disabled once, however late it shows, and its absence is as good.
func TestDisable(t *testing.T) {
	for _, lag := range []time.Duration{0, 9 * time.Second} {
		s := fake.New(t)
		cfg := load(t, s)
		apply(t, s, cfg)
		s.Lag = lag
		c, err := NewClient(cfg, "test", s.Clock)
		if err != nil {
			t.Fatal(err)
		}
		before := len(s.Requests())
		for range 2 {
			if err := c.Disable(t.Context(), "pizza-mm2", "cloudkarafka", "aiven", time.Minute); err != nil {
				t.Fatal(err)
			}
		}
		if n := s.Writes(before); n != 1 || s.Flows()[0].Fields["enabled"] != false || len(s.Flows()[0].Fields) < 5 {
			t.Errorf("%d writes, %+v", n, s.Flows())
		}
		if err := c.Disable(t.Context(), "pizza-mm2", "nobody", "aiven", time.Minute); err != nil {
			t.Errorf("of no flow: %v", err)
		}
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		if err := c.Disable(ended, "pizza-mm2", "cloudkarafka", "aiven", time.Minute); err == nil {
			t.Error("it does not end")
		}
	}
}

// Aiven that takes the request and never shows it is not waited for without an end.
func TestDisableNeverShows(t *testing.T) {
	s := fake.New(t)
	cfg := load(t, s)
	apply(t, s, cfg)
	s.Lag = time.Hour
	c, err := NewClient(cfg, "test", s.Clock)
	if err != nil {
		t.Fatal(err)
	}
	_ = s.Clock.Sleep(t.Context(), time.Hour)
	if err := c.Disable(t.Context(), "pizza-mm2", "cloudkarafka", "aiven", 5*time.Minute); err == nil || !strings.Contains(err.Error(), "does not show that it is disabled") {
		t.Errorf("%v", err)
	}
}
