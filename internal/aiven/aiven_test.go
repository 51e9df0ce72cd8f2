package aiven

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kferry/kferry/config"
	"github.com/kferry/kferry/internal/aiven/fake"
)

// tutorial is the example of a move from a hosted cluster to Aiven.
const tutorial = `
clusters:
  cloudkarafka:
    bootstrap_servers: ["rocket-01.example:9094"]
    tls: { enabled: true }
    sasl: { mechanism: SCRAM-SHA-512, username: alice, password: "${SOURCE_PASSWORD}" }
  aiven: {}
flows:
  - { source: cloudkarafka, target: aiven, topics: ["pizza-.*"], groups: [".*"], engine: aiven }
aiven:
  project: pizza-project
  token: ${AIVEN_TOKEN}
  api: API
  cloud: google-europe-west1
  cluster: aiven
  kafka:
    service: target-kafka
    plan: business-4
    user_config:
      kafka_rest: true
      schema_registry: true
      kafka_authentication_methods: { sasl: true }
      kafka: { auto_create_topics_enable: true }
  mirrormaker: { service: pizza-mm2, plan: startup-4 }
`

var environ = []string{"SOURCE_PASSWORD=hunter2-source", "AIVEN_TOKEN=" + fake.Token}

// load reads a configuration for a fake; each edit is a pair of texts, the second in the place of the first.
func load(t *testing.T, s *fake.Server, edits ...string) *config.Config {
	t.Helper()
	c, err := tryLoad(t, s, edits...)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func tryLoad(t *testing.T, s *fake.Server, edits ...string) (*config.Config, error) {
	t.Helper()
	text := strings.Replace(tutorial, "api: API", "api: "+s.URL, 1)
	for i := 0; i < len(edits); i += 2 {
		if !strings.Contains(text, edits[i]) {
			t.Fatalf("there is no %q", edits[i])
		}
		text = strings.Replace(text, edits[i], edits[i+1], 1)
	}
	file := filepath.Join(t.TempDir(), "kferry.yaml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return config.Load(file, config.LoadOptions{Environ: environ})
}

// an applier has what a command has.
type applier struct {
	*Apply
	log strings.Builder
}

func newApplier(t *testing.T, s *fake.Server, cfg *config.Config) *applier {
	t.Helper()
	w, err := WantOf(cfg)
	if err != nil {
		t.Fatal(err)
	}
	c, err := NewClient(cfg, "test", s.Clock)
	if err != nil {
		t.Fatal(err)
	}
	a := &applier{}
	a.Apply = &Apply{Client: c, Want: w, Timeout: time.Hour, Tell: func(line string) { fmt.Fprintln(&a.log, line) }}
	return a
}

func apply(t *testing.T, s *fake.Server, cfg *config.Config) *applier {
	t.Helper()
	a := newApplier(t, s, cfg)
	if _, err := a.Run(context.Background()); err != nil {
		t.Fatalf("%v\n%s", err, a.log.String())
	}
	if strings.Contains(a.log.String(), "hunter2") {
		t.Errorf("shows a secret:\n%s", a.log.String())
	}
	return a
}

// wantTutorial checks that all of the tutorial is there, once.
func wantTutorial(t *testing.T, s *fake.Server) {
	t.Helper()
	if got := s.Services(); len(got) != 2 || got[0].UserConfig["kafka_rest"] != true || got[1].Type != "kafka_mirrormaker" || got[1].Tags["kferry-applied"] == nil {
		t.Errorf("services: %+v", got)
	}
	if got := s.Endpoints(); len(got) != 1 || got[0].UserConfig["sasl_plain_password"] != "hunter2-source" || got[0].UserConfig["security_protocol"] != "SASL_SSL" {
		t.Errorf("endpoints: %+v", got)
	}
	if got := s.Integrations(); len(got) != 2 || got[0].Source != "target-kafka" || got[0].UserConfig["cluster_alias"] != "aiven" || got[1].UserConfig["cluster_alias"] != "cloudkarafka" {
		t.Errorf("integrations: %+v", got)
	}
	if got := s.Flows(); len(got) != 1 || got[0].Fields["enabled"] != true || fmt.Sprint(got[0].Fields["topics"]) != "[pizza-.*]" {
		t.Errorf("flows: %+v", got)
	}
}

func TestApplyMakesTheTutorial(t *testing.T) {
	for _, lag := range []time.Duration{0, 4 * time.Second, 9 * time.Second} {
		t.Run(lag.String(), func(t *testing.T) {
			s := fake.New(t)
			s.Lag = lag
			var seen []fake.Flow
			s.OnFlow = func(f fake.Flow) { seen = append(seen, f) }
			cfg := load(t, s)
			a := apply(t, s, cfg)
			wantTutorial(t, s)
			if len(seen) != 1 || seen[0].Source != "cloudkarafka" {
				t.Errorf("flows began: %+v", seen)
			}
			if !strings.Contains(a.log.String(), "REBUILDING (1 of 3 nodes run)") {
				t.Errorf("no progress:\n%s", a.log.String())
			}
			before := len(s.Requests())
			if p, err := newApplier(t, s, cfg).Run(context.Background()); err != nil || p.Todo() != 0 || s.Writes(before) != 0 {
				t.Errorf("the second apply: %v, %d to do, wrote %d", err, p.Todo(), s.Writes(before))
			}
		})
	}
}

// undisturbed lists the requests of an apply that nothing goes wrong in.
func undisturbed(t *testing.T, lag time.Duration) []string {
	t.Helper()
	s := fake.New(t)
	s.Lag, s.Provision = lag, time.Minute
	apply(t, s, load(t, s))
	return s.Requests()
}

// left tells which requests are not disturbed with -short, which goes with the race detector: all that is different from one to
// the next is the state at Aiven.
func left(n int) bool { return testing.Short() && n%9 != 0 }

// Killed at every request, after Aiven has carried it out (and where it would change something, also before), and run
// again: the result is the same, and nothing is there twice.
func TestApplyGoesOnAfterBeingKilled(t *testing.T) {
	for _, lag := range []time.Duration{0, 9 * time.Second} {
		requests := undisturbed(t, lag)
		for n, request := range requests {
			for _, after := range []bool{false, true} {
				if writes := !strings.HasPrefix(request, "GET"); !writes && (!after || lag == 0) || left(n) {
					continue // as the request before, after
				}
				s := fake.New(t)
				s.Lag, s.Provision = lag, time.Minute
				cfg := load(t, s)
				ctx, kill := context.WithCancel(context.Background())
				s.Intercept = func(i int, _ *http.Request) fake.Fault {
					if i <= n {
						return fake.Fault{}
					}
					kill()
					return fake.Fault{Drop: true, After: after && i == n+1}
				}
				if _, err := newApplier(t, s, cfg).Run(ctx); err == nil {
					t.Error("it was not killed")
				}
				s.Set(func(s *fake.Server) { s.Intercept = nil })
				apply(t, s, cfg)
				wantTutorial(t, s)
				if t.Failed() {
					t.Fatalf("lag %v, killed at request %d, after %v: %s", lag, n+1, after, request)
				}
			}
		}
	}
}

// Each request fails once and apply gets by; those that would change something fail in each way.
func TestApplySurvivesFailures(t *testing.T) {
	faults := []fake.Fault{
		{Status: 500, Message: "Internal error"},
		{Status: 502, Message: "Bad gateway", After: true},
		{Status: 501, Message: "Not yet"},
		{Status: 429, Message: "Slow down", Header: http.Header{"Retry-After": {"7"}}},
		{Drop: true},
		{Drop: true, After: true},
	}
	const lag = 4 * time.Second
	for n, request := range undisturbed(t, lag) {
		for i, fault := range faults {
			if strings.HasPrefix(request, "GET") && i != n%len(faults) || left(n) {
				continue
			}
			s := fake.New(t)
			s.Lag, s.Provision = lag, time.Minute
			s.Intercept = func(i int, _ *http.Request) fake.Fault {
				if i == n+1 {
					return fault
				}
				return fake.Fault{}
			}
			apply(t, s, load(t, s))
			wantTutorial(t, s)
			if t.Failed() {
				t.Fatalf("request %d failed with %+v: %s", n+1, fault, request)
			}
		}
	}
}

func TestPlanTellsDifferences(t *testing.T) {
	s := fake.New(t)
	cfg := load(t, s)
	plan := func(cfg *config.Config, adopt bool) string {
		t.Helper()
		a := newApplier(t, s, cfg)
		before := len(s.Requests())
		p, err := a.Client.Plan(context.Background(), a.Want, adopt)
		if err != nil {
			t.Fatal(err)
		}
		if n := s.Writes(before); n != 0 {
			t.Errorf("a plan wrote %d times", n)
		}
		var b strings.Builder
		for _, step := range p.Steps {
			fmt.Fprintf(&b, "%s %s %v %s %s\n", step.Action, step, step.Fields, step.Cost, step.Reason)
		}
		return b.String()
	}
	has := func(got string, want ...string) {
		t.Helper()
		for _, w := range want {
			if !strings.Contains(got, w) {
				t.Errorf("no %q in\n%s", w, got)
			}
		}
	}
	has(plan(cfg, false), "create service target-kafka", "create service pizza-mm2", "create endpoint kferry-pizza-mm2-cloudkarafka",
		"{sasl_plain_password  (secret)}", "create integration cloudkarafka -> pizza-mm2", "create flow cloudkarafka -> aiven")
	apply(t, s, cfg)
	if got := plan(cfg, false); strings.Count(got, "keep ") != 6 {
		t.Errorf("got\n%s", got)
	}
	// Somebody changes things by hand; what the file does not mention stays.
	s.Edit("target-kafka", func(v *fake.Service) { v.UserConfig["kafka_rest"], v.UserConfig["public_access"] = false, true })
	s.EditFlow("pizza-mm2", "cloudkarafka", "aiven", func(f map[string]any) { f["topics"] = []any{".*"} })
	has(plan(cfg, false), "drift service target-kafka [{user_config.kafka_rest false true}] brokers may restart", `drift flow cloudkarafka -> aiven [{topics [".*"] ["pizza-.*"]}] connectors of this flow restart`)
	apply(t, s, cfg)
	if got := s.Services()[0].UserConfig; got["kafka_rest"] != true || got["public_access"] != true {
		t.Errorf("got %v", got)
	}
	// The file changes.
	wider := load(t, s, `"pizza-.*"`, `"pizza-.*", "clicks"`, "plan: business-4", "plan: startup-2", "${SOURCE_PASSWORD}", "${AIVEN_TOKEN}")
	has(plan(wider, false), `change service target-kafka [{plan "business-4" "startup-2"}] every node is replaced`, `change flow`, `change endpoint kferry-pizza-mm2-cloudkarafka [{sasl_plain_password (another secret) (secret)}]`)
	sameButPassword := load(t, s, "${SOURCE_PASSWORD}", "${AIVEN_TOKEN}")
	if got := plan(sameButPassword, false); !strings.Contains(got, "change endpoint kferry-pizza-mm2-cloudkarafka") {
		t.Errorf("another password is no drift:\n%s", got)
	}
	apply(t, s, wider)
	// A flow that the file no longer has is left alone.
	other := load(t, s, "source: cloudkarafka, target: aiven", "name: back, source: aiven, target: cloudkarafka")
	has(plan(other, false), "left flow cloudkarafka -> aiven", "create flow aiven -> cloudkarafka")
}

// What kferry did not make it does not touch.
func TestOthersServices(t *testing.T) {
	s := fake.New(t)
	s.PutService(fake.Service{Name: "target-kafka", Type: "kafka", Plan: "business-4", Cloud: "google-europe-west1", VPC: "11111111-2222-3333-4444-555555555555"})
	cfg := load(t, s)
	a := newApplier(t, s, cfg)
	_, err := a.Run(context.Background())
	var blocked *BlockedError
	if !errors.As(err, &blocked) || !strings.Contains(err.Error(), "kferry did not make it") || s.Writes(0) != 0 {
		t.Fatalf("got %v, %d writes", err, s.Writes(0))
	}
	// Used as it is.
	existing := load(t, s, "plan: business-4\n    user_config:\n      kafka_rest: true\n      schema_registry: true\n      kafka_authentication_methods: { sasl: true }\n      kafka: { auto_create_topics_enable: true }", "existing: true")
	apply(t, s, existing)
	if got := s.Services()[0]; len(got.UserConfig) != 0 || len(got.Tags) != 0 {
		t.Errorf("changed: %+v", got)
	}
	// Taken over; the fake fails the test if the service leaves its VPC.
	a = newApplier(t, s, cfg)
	a.Adopt = true
	if _, err := a.Run(context.Background()); err != nil {
		t.Fatal(err)
	}
	if got := s.Services()[0]; got.UserConfig["kafka_rest"] != true || got.Tags["kferry"] != "managed" || got.VPC == "" {
		t.Errorf("got %+v", got)
	}
	elsewhere := load(t, s, "plan: business-4", "plan: business-4\n    cloud: aws-eu-west-1")
	if _, err := newApplier(t, s, elsewhere).Run(context.Background()); err == nil || !strings.Contains(err.Error(), "never moves a service out of its VPC") {
		t.Errorf("got %v", err)
	}
}

func TestBadInput(t *testing.T) {
	for name, c := range map[string]struct {
		set   func(*fake.Server)
		edits []string
		want  []string
	}{
		"expired token":  {edits: []string{"${AIVEN_TOKEN}", "${SOURCE_PASSWORD}"}, want: []string{"Invalid token", "expired, revoked or mistyped", "AIVEN_TOKEN"}},
		"wrong project":  {edits: []string{"project: pizza-project", "project: other"}, want: []string{"sees no such project", "check aiven.project"}},
		"plan not there": {edits: []string{"plan: startup-4", "plan: business-8, cloud: azure-westeurope"}, want: []string{"does not offer plan business-8 in cloud azure-westeurope", "aws-eu-west-1, google-europe-west1"}},
		"unknown plan":   {edits: []string{"plan: startup-4", "plan: gigantic"}, want: []string{"does not offer plan gigantic", "business-8, startup-4"}},
		"name taken":     {set: func(s *fake.Server) { s.Taken["pizza-mm2"] = true }, want: []string{"pizza-mm2", "choose another in the section aiven"}},
		"quota":          {set: func(s *fake.Server) { s.Quota = 1 }, want: []string{"service pizza-mm2", "reached its limit", "ask Aiven to raise the limit", "goes on from there"}},
		"clock skew":     {set: func(s *fake.Server) { s.Skew = -time.Hour }, edits: []string{"${AIVEN_TOKEN}", "${SOURCE_PASSWORD}"}, want: []string{"this machine's clock is 1h0m0s ahead of Aiven's"}},
		"endpoint refused": {set: func(s *fake.Server) {
			s.Intercept = func(_ int, r *http.Request) fake.Fault {
				if r.Method == http.MethodPost && strings.HasSuffix(r.URL.Path, "integration_endpoint") {
					return fake.Fault{Status: 400, Message: "Invalid 'user_config': 'hunter2-source' is not allowed"}
				}
				return fake.Fault{}
			}
		}, want: []string{"endpoint kferry-pizza-mm2-cloudkarafka", "'[redacted]' is not allowed", "correct what it names"}},
		"API down": {set: func(s *fake.Server) {
			s.Intercept = func(n int, _ *http.Request) fake.Fault { return fake.Fault{Drop: n > 12} }
		}, want: []string{"no answer to", "goes on from there"}},
		"no rights": {set: func(s *fake.Server) {
			s.Intercept = func(_ int, r *http.Request) fake.Fault {
				if r.Method == http.MethodPost {
					return fake.Fault{Status: 403, Message: "Not allowed"}
				}
				return fake.Fault{}
			}
		}, want: []string{"give it the role operator or admin"}},
	} {
		t.Run(name, func(t *testing.T) {
			s := fake.New(t)
			if c.set != nil {
				c.set(s)
			}
			_, err := newApplier(t, s, load(t, s, c.edits...)).Run(context.Background())
			if err == nil {
				t.Fatal("it went well")
			}
			for _, want := range c.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("no %q in: %v", want, err)
				}
			}
			if strings.Contains(err.Error(), "hunter2") {
				t.Errorf("shows a secret: %v", err)
			}
			// The state is one from which apply goes on.
			s.Set(func(s *fake.Server) { s.Taken, s.Quota, s.Intercept, s.Skew = map[string]bool{}, 0, nil, 0 })
			apply(t, s, load(t, s))
			wantTutorial(t, s)
		})
	}
}

// A service that never gets ready ends the wait, with what to do.
func TestTimeout(t *testing.T) {
	s := fake.New(t)
	s.Provision = 3 * time.Hour
	cfg := load(t, s)
	_, err := newApplier(t, s, cfg).Run(context.Background())
	if err == nil || !strings.Contains(err.Error(), "target-kafka REBUILDING (1 of 3 nodes run)") || !strings.Contains(err.Error(), "1h0m0s are over") {
		t.Fatalf("got %v", err)
	}
	a := newApplier(t, s, cfg)
	a.Timeout = 5 * time.Hour
	if _, err := a.Run(context.Background()); err != nil {
		t.Fatal(err)
	}
	wantTutorial(t, s)
}

func TestRefusals(t *testing.T) {
	s := fake.New(t)
	flow := `topics: ["pizza-.*"], groups: [".*"], engine: aiven`
	for _, c := range []struct{ from, to, want string }{
		{flow, flow + ", prefix: x-", "prefix: cannot be had with engine aiven"},
		{flow, flow + ", start: 2026-01-01", "start: cannot be had with engine aiven: it begins at earliest or latest"},
		{flow, flow + ", start_offsets: { pizza-x: { 0: 1 } }", "start_offsets: cannot be had"},
		{flow, flow + ", rate_limit: 1MiB", "rate_limit: cannot be had"},
		{flow, flow + ", on_refused: dead_letter", "on_refused: cannot be had"},
		{flow, flow + ", groups_interval: 1500ms", `groups_interval: "1.5s" is not a number of whole seconds`},
		{flow, flow + ", refresh_interval: 1m", "refresh_topics_interval_seconds instead"},
		{flow, flow + ", group_names: [a=b]", "group_names: cannot be had"},
		{`"pizza-.*"`, `"pizza-[[:alpha:]]+"`, `topics[0]: "pizza-[[:alpha:]]+" uses what only Go's regular expressions have`},
		{`"pizza-.*"`, `"pizza-(?P<x>a)"`, "the named group"},
		{`"pizza-.*"`, `"pizza-a{1,2}"`, "has a comma"},
		{"rocket-01.example:9094", strings.Repeat("a", 256) + ":9094", "Aiven takes 256: name three brokers"},
		{"tls: { enabled: true }", "tls: { enabled: true, insecure_skip_verify: true }", "tls.insecure_skip_verify"},
		{"tls: { enabled: true }", "tls: { enabled: true, server_name: x.example }", "tls.server_name"},
		{"kafka_rest: true", "kafka_rst: true", "aiven.kafka.user_config.kafka_rst: is no setting that Aiven knows, did you mean kafka_rest?"},
		{"kafka_rest: true", "kafka_rest: yes please", `kafka_rest: "yes please" is a text, it must be true or false`},
		{"auto_create_topics_enable: true", "num_partitions: 5000", `num_partitions: "5000" is too large: at most 1000`},
		{"plan: startup-4", "plan: startup-4, user_config: { kafka_mirrormaker: { groups: a } }", "is not what the flows say"},
		{"mirrormaker: {", "integrations: { cloudkarafka: { settings: { consumer_fetch_min_byte: 1 } } }\n  mirrormaker: {", "aiven.integrations.cloudkarafka.settings.consumer_fetch_min_byte"},
		{"cluster: aiven\n", "cluster: nobody\n", `aiven.cluster: "nobody" is not a cluster`},
		{"source: cloudkarafka,", "source: cloudkarafkaa,", "is not a cluster"},
	} {
		cfg, err := tryLoad(t, s, c.from, c.to)
		if err == nil {
			_, err = WantOf(cfg)
		}
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s:\n got %v\nwant %s", c.to, err, c.want)
		}
		var list config.Errors
		if errors.As(err, &list) && !slices.ContainsFunc(list, func(e config.Error) bool { return e.Line > 0 }) {
			t.Errorf("%s: no line in %v", c.to, err)
		}
	}
}

// Certificates and keys go into the endpoint, and no plan shows them.
func TestCertificates(t *testing.T) {
	s := fake.New(t)
	dir := t.TempDir()
	cert, key := fake.Identity()
	for name, content := range map[string]string{"ca.pem": cert, "key.pem": key} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	tls := strings.NewReplacer("DIR", dir).Replace("tls: { enabled: true, ca_file: DIR/ca.pem, cert_file: DIR/ca.pem, key_file: DIR/key.pem }")
	cfg := load(t, s, "tls: { enabled: true }", tls, `    sasl: { mechanism: SCRAM-SHA-512, username: alice, password: "${SOURCE_PASSWORD}" }`, "")
	a := newApplier(t, s, cfg)
	p, err := a.Client.Plan(context.Background(), a.Want, false)
	if err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(p.Steps[2].Fields); got != `[{bootstrap_servers  "rocket-01.example:9094"} {security_protocol  "SSL"} {ssl_ca_cert  (certificate)} {ssl_client_cert  (certificate)} {ssl_client_key  (secret)} {ssl_endpoint_identification_algorithm  "https"}]` {
		t.Errorf("got %s", got)
	}
	s.Set(func(s *fake.Server) {
		s.Intercept = func(_ int, r *http.Request) fake.Fault {
			if r.Method == http.MethodPost {
				return fake.Fault{Status: 400, Message: "not a key: " + strings.ReplaceAll(key, "\n", `\n`)}
			}
			return fake.Fault{}
		}
	})
	if _, err := a.Run(context.Background()); err == nil || strings.Contains(err.Error(), strings.Split(key, "\n")[1]) {
		t.Errorf("shows the key: %v", err)
	}
	s.Set(func(s *fake.Server) { s.Intercept = nil })
	apply(t, s, cfg)
	if e := s.Endpoints()[0].UserConfig; e["ssl_client_key"] != key || e["ssl_ca_cert"] != cert || e["security_protocol"] != "SSL" {
		t.Errorf("got %v", e)
	}
	var tf, sh strings.Builder
	if err := errors.Join(a.Want.Terraform(&tf, cfg), a.Want.Avn(&sh, cfg)); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(tf.String(), `file("`+dir+`/key.pem")`) || !strings.Contains(sh.String(), "--rawfile ssl_client_key") || strings.Contains(tf.String()+sh.String(), "BEGIN") {
		t.Errorf("got\n%s\n%s", tf.String(), sh.String())
	}
}
