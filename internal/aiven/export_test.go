package aiven

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"

	"github.com/kferry/kferry/internal/aiven/fake"
)

// exported gives both exports of an edited tutorial.
func exported(t *testing.T, edits ...string) (terraform, avn string) {
	t.Helper()
	cfg := load(t, fake.New(t), edits...)
	w, err := WantOf(cfg)
	if err != nil {
		t.Fatal(err)
	}
	var tf, sh bytes.Buffer
	if err := w.Terraform(&tf, cfg); err != nil {
		t.Fatal(err)
	}
	if err := w.Avn(&sh, cfg); err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{tf.String(), sh.String()} {
		if strings.Contains(text, "hunter2") || strings.Contains(text, "BEGIN") {
			t.Errorf("has a secret or the content of a file:\n%s", text)
		}
	}
	return tf.String(), sh.String()
}

func TestTerraform(t *testing.T) {
	got, _ := exported(t, "kafka_rest: true", `kafka_rest: true
      ip_filter: [10.0.0.0/8, { network: 10.1.0.0/16, description: "a ${SOURCE_PASSWORD}" }]`, `"pizza-.*"`, `'pizza-\w+'`)
	body := parseHCL(t, got)
	known := map[string][]string{}
	names, err := os.ReadFile("testdata/terraform-attributes.txt")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(names)) {
		if block, all, ok := strings.Cut(strings.TrimSpace(line), ": "); ok && !strings.HasPrefix(line, "#") {
			known[block] = strings.Fields(all)
		}
	}
	kinds := map[string]int{}
	var check func(name string, b *hclsyntax.Body)
	check = func(name string, b *hclsyntax.Body) {
		allowed := strings.Join(known[name], " ") + " "
		for attribute := range b.Attributes {
			if known[name] != nil && !strings.Contains(" "+allowed, " "+attribute+" ") {
				t.Errorf("%s has no attribute %s", name, attribute)
			}
		}
		for _, below := range b.Blocks {
			if known[name] != nil && !strings.Contains(" "+allowed, " "+below.Type+" ") {
				t.Errorf("%s has no block %s", name, below.Type)
			}
			check(below.Type, below.Body)
		}
	}
	for _, b := range body.Blocks {
		if b.Type == "resource" {
			kinds[b.Labels[0]]++
			check(b.Labels[0], b.Body)
		}
	}
	for kind, want := range map[string]int{"aiven_kafka": 1, "aiven_kafka_mirrormaker": 1, "aiven_service_integration": 2, "aiven_service_integration_endpoint": 1, "aiven_mirrormaker_replication_flow": 1} {
		if kinds[kind] != want {
			t.Errorf("%d of %s, want %d", kinds[kind], kind, want)
		}
	}
	for _, want := range []string{"sasl_plain_password                   = var.cloudkarafka_sasl_plain_password", `variable "cloudkarafka_sasl_plain_password"`,
		"source_endpoint_id       = aiven_service_integration_endpoint.kferry_pizza_mm2_cloudkarafka.id", "service_name                        = aiven_kafka_mirrormaker.pizza_mm2.service_name",
		`"pizza-\\w+"`, "ip_filter_object {", "depends_on"} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in\n%s", want, got)
		}
	}
}

func parseHCL(t *testing.T, text string) *hclsyntax.Body {
	t.Helper()
	f, diags := hclsyntax.ParseConfig([]byte(text), "main.tf", hcl.InitialPos)
	if diags.HasErrors() {
		t.Fatalf("%v\n%s", diags, text)
	}
	return f.Body.(*hclsyntax.Body)
}

// Names and patterns stay what they are, whatever they mean to HCL or to a shell.
func TestExportQuotes(t *testing.T) {
	tf, sh := exported(t, `"pizza-.*"`, `"a\"$${x}%{y}'b$(z)"`)
	parseHCL(t, tf)
	if !strings.Contains(tf, `$${x}%%{y}`) || !strings.Contains(sh, `'\''b$(z)`) {
		t.Errorf("got\n%s\n%s", tf, sh)
	}
	runScript(t, sh)
}

// runScript runs a script with an avn that only looks at what it is given.
func runScript(t *testing.T, script string) string {
	t.Helper()
	if _, err := exec.LookPath("jq"); err != nil {
		t.Skip("there is no jq")
	}
	dir := t.TempDir()
	stub := "#!/bin/sh\nfor a in \"$@\"; do printf '[%s] ' \"$a\"; done >> " + dir + "/log\n" +
		"case \"$*\" in *integration-endpoint-list*) echo '[{\"endpoint_name\":\"kferry-pizza-mm2-cloudkarafka\",\"endpoint_id\":\"id-1\"}]';; *@/dev/stdin*) cat >> " + dir + "/log;; esac\necho >> " + dir + "/log\n"
	if err := os.WriteFile(filepath.Join(dir, "avn"), []byte(stub), 0o700); err != nil { //nolint:gosec // it is to be run
		t.Fatal(err)
	}
	cmd := exec.Command("sh", "-c", script)
	cmd.Env = []string{"PATH=" + dir + ":" + os.Getenv("PATH"), "CLOUDKARAFKA_SASL_PLAIN_PASSWORD=hunter2-env"}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s\n%s", err, out, script)
	}
	log, err := os.ReadFile(filepath.Join(dir, "log"))
	if err != nil {
		t.Fatal(err)
	}
	return string(log)
}

func TestAvn(t *testing.T) {
	_, got := exported(t)
	log := runScript(t, got)
	for _, want := range []string{"[service] [create] [--project] [pizza-project] [target-kafka] [--service-type] [kafka] [--plan] [business-4]", "[-c] [kafka.auto_create_topics_enable=true]",
		`"sasl_plain_password": "hunter2-env"`, "[--source-endpoint-id] [id-1]", "[mirrormaker] [replication-flow] [create]", `"topics": [`} {
		if !strings.Contains(log, want) {
			t.Errorf("no %q in\n%s\nof\n%s", want, log, got)
		}
	}
	if strings.Contains(got, "hunter2") {
		t.Error("has a secret")
	}
}
