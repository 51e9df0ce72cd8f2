package replicator

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write docs/metrics.md anew")

// docs/metrics.md is made from what the code says of each metric.
func TestMetricsAreDocumented(t *testing.T) {
	const file = "../docs/metrics.md"
	want := document()
	if *update {
		if err := os.WriteFile(file, []byte(want), 0o644); err != nil { //nolint:gosec // it is for everybody to read
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != want {
		t.Errorf("%s is out of date: go test ./replicator -run TestMetricsAreDocumented -update", file)
	}
}

const documentHead = `# Metrics

<!-- made by: go test ./replicator -run TestMetricsAreDocumented -update -->

What kferry serves at ` + "`/metrics`" + ` of ` + "`http.listen`" + `, in Prometheus' text format. Each replica exports the lanes that it has and no others, so over
all replicas each lane is there once, and so is its lag. A counter begins at 0 when the process does, one of a lane when the lane comes to the replica.
10,000 busy lanes are about 22 MB with all names (1 MB compressed, which a scrape asks for), a sixth of that without
` + "`metrics.compatibility`" + `, and a few kB with ` + "`metrics.detail: flow`" + `.

**Lag** is what the target lacks. In records it is the end of the source partition less what the target has acknowledged, where each offset counts, also those
of transaction markers. In seconds it is the age of the oldest record that is not on the target yet, whether it was fetched or not. The end of each
partition is confirmed about once a second, by the fetches that run anyway, or by asking for it where none does: of lanes that are stopped, paused, waiting or full. A lane
whose end was not confirmed for 15 s is stale. What was last known of its lag is still exported, if it was not 0: the real lag can only be larger, unless the source
was truncated. That it was 0 is exported for 5 s only; then the lane has no series of lag, since nobody knows whether it is still 0. So an alert on lag
wants one on ` + "`kferry_lag_stale_lanes`" + ` beside it.
`

func document() string {
	var b strings.Builder
	b.WriteString(documentHead)
	for _, s := range families {
		fmt.Fprintf(&b, "\n## %s\n\n", s.title)
		if s.text != "" {
			b.WriteString(s.text + "\n\n")
		}
		b.WriteString("| name | type | labels | unit | meaning |\n|---|---|---|---|---|\n")
		for _, f := range s.families {
			ls := "`" + strings.Join(f.labels, "`, `") + "`"
			if len(f.labels) == 0 {
				ls = ""
			}
			fmt.Fprintf(&b, "| `%s` | %s | %s | %s | %s |\n", f.name, f.kind, ls, f.unit, f.help)
		}
	}
	return b.String()
}

// Names, labels and units keep to Prometheus' habits, but for those of others.
func TestFamilies(t *testing.T) {
	seen := map[string]bool{}
	for _, s := range families {
		for _, f := range s.families {
			if seen[f.name] {
				t.Errorf("%s is there twice", f.name)
			}
			seen[f.name] = true
			if f.help == "" || !strings.HasSuffix(f.help, ".") || strings.ContainsAny(f.help, "|\\\n") || f.unit == "" {
				t.Errorf("%s: unit %q, %q", f.name, f.unit, f.help)
			}
			if !strings.HasPrefix(f.name, "kferry_") {
				continue
			}
			if (f.kind == counter) != strings.HasSuffix(f.name, "_total") {
				t.Errorf("%s is a %s", f.name, f.kind)
			}
		}
	}
	if len(seen) < 40 {
		t.Errorf("only %d", len(seen))
	}
}
