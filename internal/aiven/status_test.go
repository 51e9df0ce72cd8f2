package aiven

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/kferry/kferry/internal/aiven/fake"
)

func status(t *testing.T, s *fake.Server) *Status {
	t.Helper()
	a := newApplier(t, s, load(t, s))
	st, err := a.Client.Status(context.Background(), a.Want)
	if err != nil {
		t.Fatal(err)
	}
	return st
}

func TestStatusSaysWhy(t *testing.T) {
	s := fake.New(t)
	if st := status(t, s); st.Healthy || len(st.Problems) != 5 || st.Services[0].State != "absent" {
		t.Errorf("before apply: %+v", st)
	}
	apply(t, s, load(t, s))
	st := status(t, s)
	if !st.Healthy || *st.Flows[0].Progress != 0.5 || st.Flows[0].State != "enabled" || st.Services[0].State != "RUNNING" {
		t.Errorf("after apply: %+v", st)
	}
	for said, want := range map[string]string{
		"org.apache.kafka.common.errors.SaslAuthenticationException: Authentication failed for hunter2-source": "it refuses the user or the password. Correct clusters.cloudkarafka.sasl",
		"org.apache.kafka.common.errors.SslAuthenticationException: SSL handshake failed":                      "its certificate is not trusted",
		"TimeoutException: Timed out waiting for a node assignment":                                            "Aiven cannot reach it",
		"ConfigException: No resolvable bootstrap urls given":                                                  "its name is not known to Aiven",
		"TopicAuthorizationException: Not authorized to access topics":                                         "it denies the user a right",
		"something \x1b[31m odd": "its log in the console tells more",
	} {
		s.Set(func(s *fake.Server) { s.Reachable = func(map[string]any) error { return errors.New(said) } })
		st := status(t, s)
		if st.Healthy || len(st.Problems) != 1 || !strings.Contains(st.Problems[0], want) {
			t.Errorf("%s: %q", said, st.Problems)
		}
		if text := fmt.Sprintf("%+v", st); strings.Contains(text, "hunter2") || strings.Contains(text, "\x1b") {
			t.Errorf("shows what it must not: %s", text)
		}
	}
}

func destroyer(t *testing.T, s *fake.Server, data bool, edits ...string) *Destroy {
	t.Helper()
	a := newApplier(t, s, load(t, s, edits...))
	return &Destroy{Client: a.Client, Want: a.Want, DeleteData: data, Timeout: time.Hour, Tell: func(string) {}}
}

func TestDestroy(t *testing.T) {
	s := fake.New(t)
	s.Lag = 4 * time.Second
	apply(t, s, load(t, s))
	s.PutService(fake.Service{Name: "others", Type: "kafka"})
	d := destroyer(t, s, false)
	before := len(s.Requests())
	doomed, err := d.List(context.Background())
	if err != nil || s.Writes(before) != 0 {
		t.Fatal(err)
	}
	want := "[{flow cloudkarafka -> aiven  } {integration aiven  } {integration cloudkarafka  } {service pizza-mm2  } {endpoint kferry-pizza-mm2-cloudkarafka  00000000-0000-4000-8000-000000000002} " +
		"{service target-kafka it has the data: --delete-data takes it away with all its records }]"
	if got := fmt.Sprint(doomed); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if err := d.Run(context.Background()); err != nil {
		t.Fatal(err)
	}
	if len(s.Services()) != 2 || len(s.Endpoints())+len(s.Integrations())+len(s.Flows()) != 0 {
		t.Errorf("left: %+v %+v", s.Services(), s.Endpoints())
	}
	s.Edit("target-kafka", func(v *fake.Service) { v.Protected = true })
	_ = s.Clock.Sleep(context.Background(), time.Minute)
	if err := destroyer(t, s, true).Run(context.Background()); err != nil || len(s.Services()) != 2 {
		t.Errorf("protection: %v, %+v", err, s.Services())
	}
	s.Edit("target-kafka", func(v *fake.Service) { v.Protected = false })
	_ = s.Clock.Sleep(context.Background(), time.Minute)
	for range 2 { // the second finds nothing to do
		if err := destroyer(t, s, true).Run(context.Background()); err != nil {
			t.Fatal(err)
		}
	}
	if got := s.Services(); len(got) != 1 || got[0].Name != "others" {
		t.Errorf("left: %+v", got)
	}
}

// Killed at every request and run again, destroy comes to the same end.
func TestDestroyGoesOnAfterBeingKilled(t *testing.T) {
	for n := 1; ; n++ {
		s := fake.New(t)
		s.Lag, s.Provision = 4*time.Second, time.Minute
		apply(t, s, load(t, s))
		began := len(s.Requests())
		ctx, kill := context.WithCancel(context.Background())
		dead := false
		s.Intercept = func(i int, _ *http.Request) fake.Fault {
			if i < began+n {
				return fake.Fault{}
			}
			first := !dead
			dead = true
			kill()
			return fake.Fault{Drop: true, After: first}
		}
		err := destroyer(t, s, true).Run(ctx)
		kill()
		s.Set(func(s *fake.Server) { s.Intercept = nil })
		if err := destroyer(t, s, true).Run(context.Background()); err != nil {
			t.Fatalf("killed at %d: %v", n, err)
		}
		if len(s.Services())+len(s.Endpoints())+len(s.Integrations()) != 0 {
			t.Fatalf("killed at %d: left %+v %+v", n, s.Services(), s.Endpoints())
		}
		if !dead {
			if err != nil || n < 10 {
				t.Errorf("%d requests, %v", n, err)
			}
			return
		}
	}
}

// A service that was turned off has lost its flows; apply turns it on and makes them again.
func TestPoweredOff(t *testing.T) {
	s := fake.New(t)
	apply(t, s, load(t, s))
	s.PowerOff("pizza-mm2")
	if st := status(t, s); st.Healthy || !strings.Contains(fmt.Sprint(st.Problems), "POWEROFF") {
		t.Errorf("got %+v", st)
	}
	apply(t, s, load(t, s))
	wantTutorial(t, s)
	if st := status(t, s); !st.Healthy {
		t.Errorf("got %+v", st)
	}
}
