// Package prometheus holds the recording rules and the alerts against Prometheus' own tools, and against what kferry exports.
// internal/acceptance has them fire in real faults.
package prometheus

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"
	"go.yaml.in/yaml/v3"

	"github.com/kferry/kferry/deploy/grafana"
	"github.com/kferry/kferry/internal/ferrytest"
)

// rule is one of kferry.rules.yml.
type rule struct {
	Record, Alert, Expr string
	Labels, Annotations map[string]string
}

func rules(t *testing.T) (out []rule) {
	t.Helper()
	var file struct{ Groups []struct{ Rules []rule } }
	read(t, "kferry.rules.yml", &file)
	for _, g := range file.Groups {
		out = append(out, g.Rules...)
	}
	if len(out) < 20 {
		t.Fatalf("only %d rules", len(out))
	}
	return out
}

func read(t *testing.T, file string, into any) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err == nil {
		err = yaml.Unmarshal(text, into)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// promtool runs Prometheus' own tool in a folder that has our files.
func promtool(t *testing.T, dir string, args ...string) (string, error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), ferrytest.Monitoring(t, "promtool"), args...) //nolint:gosec // our own arguments
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// TestPromtool: Prometheus takes the files, and the rules do what kferry.rules.test.yml says.
func TestPromtool(t *testing.T) {
	for _, args := range []string{"check config --lint=all --lint-fatal prometheus.yml", "check rules --lint=all --lint-fatal kferry.rules.yml", "test rules kferry.rules.test.yml"} {
		if out, err := promtool(t, ".", strings.Fields(args)...); err != nil {
			t.Errorf("promtool %s: %v\n%s", args, err, out)
		}
	}
}

// TestRulesAreTried: kferry.rules.test.yml has every alert fire and every record have a value, for it fails if one of them finds
// nothing. promtool itself says nothing of a rule that no test asks for.
func TestRulesAreTried(t *testing.T) {
	text, err := os.ReadFile("kferry.rules.test.yml")
	if err != nil {
		t.Fatal(err)
	}
	shipped, err := os.ReadFile("kferry.rules.yml")
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range rules(t) {
		t.Run(r.Alert+r.Record+strings.ReplaceAll(r.Labels["reason"], " ", "-"), func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			for name, content := range map[string][]byte{"kferry.rules.test.yml": text, "kferry.rules.yml": without(t, shipped, r)} {
				if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			if out, err := promtool(t, dir, "test", "rules", "kferry.rules.test.yml"); err == nil {
				t.Errorf("the tests pass though the rule finds nothing:\n%s", out)
			} else if !strings.Contains(out, "FAILED") {
				t.Errorf("promtool: %v\n%s", err, out)
			}
		})
	}
}

// without is the file of rules in which one finds nothing.
func without(t *testing.T, file []byte, r rule) []byte {
	t.Helper()
	var doc struct {
		Groups []struct {
			Name  string
			Rules []map[string]any
		}
	}
	if err := yaml.Unmarshal(file, &doc); err != nil {
		t.Fatal(err)
	}
	changed := 0
	for _, g := range doc.Groups {
		for _, other := range g.Rules {
			if other["expr"] == r.Expr {
				other["expr"] = "absent(vector(1))"
				changed++
			}
		}
	}
	if changed != 1 {
		t.Fatalf("%d rules have the expression of %s%s", changed, r.Alert, r.Record)
	}
	text, err := yaml.Marshal(map[string]any{"groups": doc.Groups})
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// metric is a row of docs/metrics.md.
var metric = regexp.MustCompile("(?m)^\\| `([a-z_]+)` \\| ([a-z]+) \\| (.*?) \\|")

// exported are the labels of all metrics that a query may ask for, by name.
func exported(t *testing.T) map[string][]string {
	t.Helper()
	text, err := os.ReadFile("../../docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	known := map[string][]string{
		// Of Prometheus itself, and of the libraries that docs/metrics.md names in a sentence.
		"up": nil, "ALERTS": {"alertname", "alertstate"}, "scrape_samples_scraped": nil, "scrape_duration_seconds": nil,
		"process_start_time_seconds": nil, "process_cpu_seconds_total": nil, "process_resident_memory_bytes": nil, "process_open_fds": nil,
		"go_goroutines": nil, "go_memstats_heap_inuse_bytes": nil,
	}
	for _, m := range metric.FindAllStringSubmatch(string(text), -1) {
		var names []string
		for label := range strings.SplitSeq(strings.ReplaceAll(m[3], "`", ""), ", ") {
			names = append(names, label)
		}
		if m[2] == "histogram" {
			m[1] += "_bucket"
		}
		known[m[1]] = names
	}
	if len(known) < 40 {
		t.Fatalf("only %d metrics in docs/metrics.md", len(known))
	}
	for _, r := range rules(t) {
		if r.Record != "" {
			known[r.Record] = []string{"flow", "topic", "reason"}
		}
	}
	return known
}

// TestQueries: Prometheus' own parser takes every query of rules and dashboards, and each asks for metrics and labels that are there.
func TestQueries(t *testing.T) {
	known := exported(t)
	for _, r := range rules(t) {
		check(t, r.Alert+r.Record, r.Expr, known)
	}
	queries, err := grafana.Queries()
	if err != nil {
		t.Fatal(err)
	}
	fill := strings.NewReplacer("$flow", "f", "$topic", "t", "$instance", "i", "$__rate_interval", "1m")
	for _, q := range queries {
		check(t, q.String(), fill.Replace(q.Expr), known)
	}
	for _, wrong := range []string{"sum(", "kferry_no_such_metric", `kferry_lanes{topic="t"}`, "rate(kferry_records_total)"} {
		if problems(wrong, known) == nil {
			t.Errorf("%s would pass", wrong)
		}
	}
}

func check(t *testing.T, name, query string, known map[string][]string) {
	t.Helper()
	for _, p := range problems(query, known) {
		t.Errorf("%s: %s\n%s", name, p, query)
	}
}

func problems(query string, known map[string][]string) (out []string) {
	expr, err := parser.ParseExpr(query)
	if err != nil {
		return []string{err.Error()}
	}
	for _, selectors := range parser.ExtractSelectors(expr) {
		name := ""
		for _, m := range selectors {
			if m.Name == labels.MetricName {
				name = m.Value
			}
		}
		has, ok := known[name]
		if !ok {
			out = append(out, "there is no metric "+name)
		}
		for _, m := range selectors {
			if !slices.Contains(append(has, labels.MetricName, "instance", "job"), m.Name) {
				out = append(out, fmt.Sprintf("%s has no label %s", name, m.Name))
			}
		}
	}
	return out
}

// TestRunbook: every alert says how bad it is, what is wrong and where to read on, and docs/runbook.md has a section for each
// and no other.
func TestRunbook(t *testing.T) {
	text, err := os.ReadFile("../../docs/runbook.md")
	if err != nil {
		t.Fatal(err)
	}
	sections := map[string]string{}
	for _, s := range strings.Split(string(text), "\n## ")[1:] {
		title, body, _ := strings.Cut(s, "\n")
		sections[title] = body
	}
	for _, r := range rules(t) {
		if r.Alert == "" {
			continue
		}
		if got, want := r.Annotations["runbook_url"], "https://github.com/kferry/kferry/blob/main/docs/runbook.md#"+strings.ToLower(r.Alert); got != want {
			t.Errorf("%s: the runbook is at %s, want %s", r.Alert, got, want)
		}
		if s := r.Labels["severity"]; s != "critical" && s != "warning" {
			t.Errorf("%s: severity %q", r.Alert, s)
		}
		if r.Annotations["summary"] == "" || r.Annotations["description"] == "" {
			t.Errorf("%s: summary or description is missing", r.Alert)
		}
		body, ok := sections[r.Alert]
		if !ok {
			t.Errorf("docs/runbook.md has no section %s", r.Alert)
		}
		for _, part := range []string{"**Means.**", "**Look.**", "**Do.**"} {
			if !strings.Contains(body, part) {
				t.Errorf("docs/runbook.md: %s lacks %s", r.Alert, part)
			}
		}
		delete(sections, r.Alert)
	}
	for title := range sections {
		t.Errorf("docs/runbook.md has a section %s, and there is no such alert", title)
	}
}
