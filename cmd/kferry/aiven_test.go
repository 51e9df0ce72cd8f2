package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kferry/kferry/internal/aiven/fake"
)

const aivenFile = `
clusters:
  old: { bootstrap_servers: ["old.example:9094"], tls: { enabled: true }, sasl: { mechanism: SCRAM-SHA-512, username: alice, password: "${OLD_PASSWORD}" } }
  new: {}
flows:
  - { source: old, target: new, topics: ["pizza-.*"], engine: aiven }
` + atAivenIs

// atAivenIs is what these tests have at Aiven.
const atAivenIs = `aiven:
  project: pizza-project
  api: API
  cloud: google-europe-west1
  cluster: new
  kafka: { service: target-kafka, plan: business-4 }
  mirrormaker: { service: pizza-mm2, plan: startup-4 }
`

// at runs command lines against a fake, with its clock.
type at struct {
	t       *testing.T
	fake    *fake.Server
	dir     string
	environ []string
	all     bytes.Buffer // whatever was printed
}

func atAiven(t *testing.T, edits ...string) *at {
	t.Helper()
	a := &at{t: t, fake: fake.New(t), dir: t.TempDir(), environ: []string{"OLD_PASSWORD=hunter2-old", "AIVEN_TOKEN=" + fake.Token}}
	text := strings.NewReplacer(append(edits, "API", a.fake.URL)...).Replace(aivenFile)
	if err := os.WriteFile(filepath.Join(a.dir, "kferry.yaml"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return a
}

func (a *at) file() string { return filepath.Join(a.dir, "kferry.yaml") }

func (a *at) run(stdin string, args ...string) (code int, stdout, stderr string) {
	var out, errs bytes.Buffer
	p := &process{stdin: strings.NewReader(stdin), stdout: &out, stderr: &errs, environ: a.environ, clock: a.fake.Clock}
	code = p.execute(a.t.Context(), append(args, "-c", a.file()))
	a.all.Write(out.Bytes())
	a.all.Write(errs.Bytes())
	return code, out.String(), errs.String()
}

func (a *at) want(wantCode int, args string, parts ...string) string {
	a.t.Helper()
	code, stdout, stderr := a.run("", strings.Fields(args)...)
	if code != wantCode {
		a.t.Errorf("%s: exit code %d, want %d\n%s%s", args, code, wantCode, stdout, stderr)
	}
	for _, part := range parts {
		if !strings.Contains(stdout+stderr, part) {
			a.t.Errorf("%s: no %q in\n%s%s", args, part, stdout, stderr)
		}
	}
	return stdout
}

// Who waits for an API that is away is told so at once, once, and at the end that it did not come.
func TestAivenAway(t *testing.T) {
	a := atAiven(t)
	a.fake.Intercept = func(int, *http.Request) fake.Fault { return fake.Fault{Drop: true} }
	code, stdout, stderr := a.run("", "aiven", "plan")
	const wait, end = "trying again for about a minute: Aiven: no answer to ", "kferry: Aiven: project pizza-project: no answer to "
	if code != 1 || stdout != "" || strings.Count(stderr, wait) != 1 || !strings.Contains(stderr, end) || strings.Index(stderr, wait) > strings.Index(stderr, end) {
		t.Errorf("exit code %d\n%s%s", code, stdout, stderr)
	}
}

// The whole life of an installation, and no secret in anything that was written meanwhile.
func TestAiven(t *testing.T) {
	a := atAiven(t)
	a.want(7, "aiven plan", "+ create  service target-kafka", "sasl_plain_password: (secret)", "+ create  flow old -> new", "kferry: there is something to do: 6 steps")
	a.want(7, "aiven apply --dry-run", "+ create  service pizza-mm2")
	if n := a.fake.Writes(0); n != 0 {
		t.Errorf("a plan wrote %d times", n)
	}
	a.want(6, "aiven status", "target-kafka", "absent", "problem: service target-kafka is not there")
	a.want(0, "aiven apply", "service target-kafka: create", "REBUILDING (1 of 3 nodes run)", "done: 6 steps")
	before := len(a.fake.Requests())
	a.want(0, "aiven apply", "done: 0 steps")
	a.want(0, "aiven plan", "= keep    service target-kafka")
	if n := a.fake.Writes(before); n != 0 {
		t.Errorf("the second apply wrote %d times", n)
	}
	a.want(0, "aiven status", "RUNNING", "old -> new", "enabled", "50%")
	a.fake.Reachable = func(config map[string]any) error {
		return errors.New("SaslAuthenticationException: Authentication failed for user alice with " + config["sasl_plain_password"].(string))
	}
	a.want(6, "aiven status", "problem: cluster old: it refuses the user or the password. Correct clusters.old.sasl and apply again")
	var plan struct {
		Steps []struct{ Kind, Action string }
	}
	if err := json.Unmarshal([]byte(a.want(0, "aiven plan --json")), &plan); err != nil || len(plan.Steps) != 6 || plan.Steps[0].Action != "keep" {
		t.Errorf("%v %+v", err, plan)
	}
	a.want(6, "aiven status --json", `"healthy": false`)
	a.want(3, "run", "clusters.new.bootstrap_servers: is missing") // it is to be watched
	a.want(0, "config check", "ok")
	a.want(0, "config show", "project: pizza-project")
	a.want(7, "aiven destroy --dry-run", "- delete  service pizza-mm2", "= stays   service target-kafka: it has the data")
	if code, _, stderr := a.run("no\n", "aiven", "destroy"); code != 1 || !strings.Contains(stderr, "nothing was deleted") {
		t.Errorf("%d %s", code, stderr)
	}
	if code, _, stderr := a.run("yes\n", "aiven", "destroy"); code != 0 || len(a.fake.Services()) != 1 {
		t.Errorf("%d %s", code, stderr)
	}
	a.want(0, "aiven destroy --yes --delete-data", "service target-kafka: delete")
	a.want(0, "aiven destroy --yes --delete-data", "there is nothing")

	// What goes wrong, with secrets in Aiven's answers.
	a.fake.Intercept = func(_ int, r *http.Request) fake.Fault {
		if r.Method == http.MethodPost {
			return fake.Fault{Status: 400, Message: "Bad config: hunter2-old, token " + fake.Token + "\x1b[31m"}
		}
		return fake.Fault{}
	}
	a.want(4, "aiven apply", "Bad config: [redacted], token [redacted]")
	a.fake.Set(func(s *fake.Server) { s.Intercept = nil })
	a.environ[1] = "AIVEN_TOKEN=hunter2-expired"
	a.want(4, "aiven plan", "expired, revoked or mistyped")
	a.environ = a.environ[:1]
	a.want(3, "aiven plan", "aiven.token: is missing: set the environment variable AIVEN_TOKEN")
	noSecrets(t, a)
}

// noSecrets looks for secrets in whatever was printed or left on disk.
func noSecrets(t *testing.T, a *at) {
	t.Helper()
	written := map[string][]byte{"output": a.all.Bytes()}
	err := filepath.WalkDir(a.dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			written[path], err = os.ReadFile(path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range written {
		for _, secret := range []string{"hunter2", "PRIVATE KEY", "\x1b"} {
			if bytes.Contains(content, []byte(secret)) {
				t.Errorf("%s has %q", name, secret)
			}
		}
	}
}

func TestAivenUsage(t *testing.T) {
	a := atAiven(t, "engine: aiven", "engine: aiven, rate_limit: 1MiB")
	a.want(3, "config check", "kferry.yaml:6: flows[0].rate_limit: cannot be had with engine aiven")
	a.want(3, "aiven plan", "kferry.yaml:6: flows[0].rate_limit: cannot be had with engine aiven")
	if code, _, stderr := kferry(t, "aiven", "nothing"); code != 2 || !strings.Contains(stderr, `unknown command "nothing"`) {
		t.Errorf("exit code %d: %s", code, stderr)
	}
	a.want(2, "aiven plan --apply")
	ctx, cancel := context.WithCancel(t.Context()) // ended: what an interrupt comes to
	cancel()
	b := atAiven(t)
	var errs bytes.Buffer
	p := &process{stdin: strings.NewReader(""), stdout: &errs, stderr: &errs, environ: b.environ, clock: b.fake.Clock}
	if code := p.execute(ctx, []string{"aiven", "apply", "-c", b.file()}); code != 1 || !strings.Contains(errs.String(), "run it again and it goes on") {
		t.Errorf("exit code %d: %s", code, errs.String())
	}
}

func TestAivenExport(t *testing.T) {
	a := atAiven(t)
	a.want(0, "aiven export", `resource "aiven_kafka" "target_kafka"`)
	a.want(0, "aiven export --format avn", "avn service create")
	a.want(2, "aiven export --format xml", "it must be terraform or avn")
	if len(a.fake.Requests()) != 0 {
		t.Error("Aiven was asked")
	}
	noSecrets(t, a)
}

// Addresses and certificates come from Aiven, and the file loads with them.
func TestAivenConnect(t *testing.T) {
	a := atAiven(t, "engine: aiven", "# kept\n    engine: kferry, groups: [\".*\"]", "plan: business-4 }", "plan: business-4, user_config: { kafka_authentication_methods: { sasl: true } } }")
	a.want(1, "aiven connect", "service target-kafka")
	a.want(3, "run", "clusters.new.bootstrap_servers: is missing")
	a.want(0, "aiven apply")
	a.fake.Lag = 4e9
	a.want(0, "aiven connect", "user kferry: create", "User:kferry may Write Topic pizza-", "target-kafka-pizza-project.example:12702", "password_file: new-password.txt", "ca_file: new-ca.pem")
	_, natives := a.fake.ACLs("target-kafka")
	if len(natives) < 15 {
		t.Errorf("rights: %v", natives)
	}
	_ = a.fake.Clock.Sleep(t.Context(), 1e10)
	a.want(0, "aiven connect --write", "cluster new is filled in")
	if _, again := a.fake.ACLs("target-kafka"); len(again) != len(natives) {
		t.Errorf("%d rights became %d", len(natives), len(again))
	}
	a.want(0, "config check", "cluster new: target-kafka-pizza-project.example:12702, TLS, SCRAM-SHA-512")
	content, err := os.ReadFile(a.file())
	if err != nil || !bytes.Contains(content, []byte("# kept")) {
		t.Errorf("%v\n%s", err, content)
	}
	info, err := os.Stat(filepath.Join(a.dir, "new-password.txt"))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v %v", info, err)
	}
	if err := os.Remove(filepath.Join(a.dir, "new-password.txt")); err != nil { // the one place where it must be
		t.Fatal(err)
	}
	noSecrets(t, a)
}

// Without SASL the user has a certificate.
func TestAivenConnectByCertificate(t *testing.T) {
	a := atAiven(t, "engine: aiven", "engine: kferry")
	a.want(0, "aiven apply")
	a.want(0, "aiven connect --write --user carrier", "User:carrier may Write", "cluster new is filled in")
	a.want(0, "config check", "cluster new: target-kafka-pizza-project.example:12691")
	if err := os.Remove(filepath.Join(a.dir, "new-key.pem")); err != nil {
		t.Fatal(err)
	}
	noSecrets(t, a)
}

// The example of the page is a valid one, and can be applied.
func TestAivenPage(t *testing.T) {
	page, err := os.ReadFile("../../docs/aiven.md")
	if err != nil {
		t.Fatal(err)
	}
	_, text, _ := strings.Cut(string(page), "```yaml\n")
	text, _, ok := strings.Cut(text, "```")
	if !ok {
		t.Fatal("the page has no example")
	}
	a := atAiven(t)
	a.environ = append(a.environ, "CLOUDKARAFKA_PASSWORD=hunter2-source")
	text = strings.Replace(text, "project: pizza-project", "project: pizza-project\n  api: "+a.fake.URL, 1)
	if err := os.WriteFile(a.file(), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	a.want(0, "config check", "carried by Aiven's MirrorMaker 2", "cluster aiven: no address yet")
	a.want(0, "aiven apply", "done: 6 steps")
	a.want(0, "aiven connect", "User:kferry may Read Topic pizza-")
}
