// Package compose checks the demonstration of compose.yaml, and runs what it runs without an engine.
package compose

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/compose-spec/compose-go/v2/loader"
	"github.com/compose-spec/compose-go/v2/types"
	"go.yaml.in/yaml/v3"

	"github.com/kferry/kferry/internal/ferrytest"
	"github.com/kferry/kferry/internal/kafkatest"
)

func TestMain(m *testing.M) { kafkatest.Main(m) }

// project reads compose.yaml as "docker compose" does: it must be as the schema of the Compose specification says.
func project(t *testing.T) *types.Project {
	t.Helper()
	dir, err := filepath.Abs(".")
	if err != nil {
		t.Fatal(err)
	}
	p, err := loader.LoadWithContext(t.Context(), types.ConfigDetails{
		WorkingDir: dir, ConfigFiles: []types.ConfigFile{{Filename: filepath.Join(dir, "compose.yaml")}}, Environment: types.Mapping{},
	})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// Where what other folders of deploy bring is expected.
var mounted = map[string][]string{
	"prometheus": {"/etc/prometheus/prometheus.yml", "/etc/prometheus/kferry.rules.yml"},
	"grafana":    {"/etc/grafana/provisioning", "/var/lib/grafana/dashboards"},
}

func TestCompose(t *testing.T) {
	p := project(t)
	if got := p.ServiceNames(); !slices.Equal(got, []string{"backlog", "datagen", "grafana", "kferry", "prometheus", "source", "target"}) {
		t.Errorf("services %q", got)
	}
	for name, s := range p.Services {
		for _, port := range s.Ports {
			if port.HostIP != "127.0.0.1" {
				t.Errorf("%s: port %s is open to others", name, port.Published)
			}
		}
		for _, v := range s.Volumes {
			if _, err := os.Stat(v.Source); err != nil || !v.ReadOnly {
				t.Errorf("%s: %s is mounted at %s, read only %v: %v", name, v.Source, v.Target, v.ReadOnly, err)
			}
		}
		for other := range s.DependsOn {
			if _, ok := p.Services[other]; !ok {
				t.Errorf("%s depends on %s", name, other)
			}
		}
		if s.Image == "kferry" && (!s.ReadOnly || !slices.Equal(s.CapDrop, []string{"ALL"}) || s.Build == nil) {
			t.Errorf("%s may do more than it needs: %+v", name, s)
		}
	}
	for name, want := range mounted {
		for _, at := range want {
			if !slices.ContainsFunc(p.Services[name].Volumes, func(v types.ServiceVolumeConfig) bool { return v.Target == at }) {
				t.Errorf("%s: nothing is mounted at %s", name, at)
			}
		}
	}
}

// TestMountedFiles: Prometheus asks the kferry of this project, and Grafana this Prometheus.
func TestMountedFiles(t *testing.T) {
	var scrape struct {
		Rules []string `yaml:"rule_files"`
		Jobs  []struct {
			Static []struct{ Targets []string } `yaml:"static_configs"`
		} `yaml:"scrape_configs"`
	}
	read(t, "../prometheus/prometheus.yml", &scrape)
	targets := []string{}
	for _, j := range scrape.Jobs {
		for _, s := range j.Static {
			targets = append(targets, s.Targets...)
		}
	}
	if !slices.Contains(targets, "kferry:9464") {
		t.Errorf("Prometheus asks %q", targets)
	}
	if !slices.ContainsFunc(scrape.Rules, func(r string) bool { return r == "kferry.rules.yml" || r == "/etc/prometheus/kferry.rules.yml" }) {
		t.Errorf("the rules are %q", scrape.Rules)
	}
	var sources struct {
		Datasources []struct{ Type, URL string }
	}
	read(t, one(t, "../grafana/provisioning/datasources/*.y*ml"), &sources)
	if s := sources.Datasources; len(s) != 1 || s[0].URL != "http://prometheus:9090" {
		t.Errorf("data sources %+v", s)
	}
	var boards struct {
		Providers []struct{ Options struct{ Path string } }
	}
	read(t, one(t, "../grafana/provisioning/dashboards/*.y*ml"), &boards)
	if b := boards.Providers; len(b) != 1 || b[0].Options.Path != "/var/lib/grafana/dashboards" {
		t.Errorf("dashboards %+v", b)
	}
}

func one(t *testing.T, pattern string) string {
	t.Helper()
	files, err := filepath.Glob(pattern)
	if err != nil || len(files) != 1 {
		t.Fatalf("%s: %q, %v", pattern, files, err)
	}
	return files[0]
}

func read(t *testing.T, file string, into any) {
	t.Helper()
	b, err := os.ReadFile(file)
	if err == nil {
		err = yaml.Unmarshal(b, into)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// TestLagFalls runs the services that are ours as compose.yaml has them: the brokers with the same settings and users, kferry with the
// same configuration, commands and environment. Other than there are the addresses, and how much the backlog is.
func TestLagFalls(t *testing.T) {
	p := project(t)
	source, target := broker(t, p.Services["source"]), broker(t, p.Services["target"])
	binary := ferrytest.Binary(t, source.Dir())
	run := func(service string) *ferrytest.Ferry {
		s := p.Services[service]
		env := ferrytest.Environ("KFERRY_HTTP_LISTEN=127.0.0.1:0", // which the image sets
			"KFERRY_CLUSTERS_SOURCE_BOOTSTRAP_SERVERS="+strings.Join(source.Bootstrap(), ","),
			"KFERRY_CLUSTERS_TARGET_BOOTSTRAP_SERVERS="+strings.Join(target.Bootstrap(), ","))
		var secrets []string
		for name, value := range s.Environment {
			env, secrets = append(env, name+"="+*value), append(secrets, *value)
		}
		args := slices.Clone([]string(s.Command))
		if len(args) == 0 {
			args = []string{"run", "-c", "/etc/kferry/kferry.yaml"} // as the image has it
		}
		for i := range args {
			args[i] = strings.NewReplacer("/etc/kferry/kferry.yaml", "kferry.yaml", "1000000", "60000").Replace(args[i])
		}
		return ferrytest.Launch(t, binary, env, secrets, args)
	}
	run("backlog").Exit(0)
	ferry := run("kferry")
	most := 0.0
	ferrytest.Eventually(t, ferrytest.Patience, "the lag is seen", func() (bool, string) {
		most = ferry.Metric("kferry_lag_records")
		return most > 0, ""
	})
	writer := run("datagen")
	ferry.Ready()
	ferrytest.Eventually(t, ferrytest.Patience, "the lag falls to 0", func() (bool, string) {
		lag, carried := ferry.Metric("kferry_lag_records"), ferry.Metric("kferry_records_total")
		most = max(most, lag)
		return lag == 0 && carried > 60_000, fmt.Sprintf("lag %v, carried %v, most %v", lag, carried, most)
	})
	t.Logf("the lag was %v and fell to 0", most)
	ask(t, binary, ferry)
	writer.Stop()
	ferry.Stop()
}

// ask asks the running kferry with the commands that people have for it.
func ask(t *testing.T, binary string, ferry *ferrytest.Ferry) {
	t.Helper()
	url := ferry.Says(`(http://[0-9.:]+)/metrics`)
	for args, want := range map[string]string{
		"health": "ready",
		"status": "healthy\n",
		"top":    "pizza-orders",
		"events": "created topic",
		"lanes":  "6 lanes: 6 running",
		"trace --topic pizza-orders --partition 0 --offset 1000":     "the target has it, at offset 1000",
		"trace --topic pizza-orders --partition 0 --offset 99999999": "beyond_end",
		"trace --topic __consumer_offsets --partition 0 --offset 1":  "not_carried",
	} {
		cmd := exec.CommandContext(t.Context(), binary, append(strings.Fields(args), "--url", url)...) //nolint:gosec // the binary that we built
		if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), want) {
			t.Errorf("kferry %s: %v\n%s", args, err, out)
		}
	}
}

// broker starts a cluster as a service has it.
func broker(t *testing.T, s types.ServiceConfig) *kafkatest.Cluster {
	t.Helper()
	b, err := os.ReadFile("server.properties")
	if err != nil {
		t.Fatal(err)
	}
	settings := map[string]string{}
	for line := range strings.Lines(string(b)) {
		if k, v, ok := strings.Cut(strings.TrimSpace(line), "="); ok && !strings.HasPrefix(k, "#") {
			settings[k] = v
		}
	}
	for _, place := range []string{"listeners", "controller.quorum.voters", "log.dirs", "node.id"} {
		if settings[place] == "" {
			t.Errorf("server.properties lacks %s", place)
		}
		delete(settings, place)
	}
	return kafkatest.Start(t, kafkatest.Options{
		Security: kafkatest.SASLPlaintext, Config: settings, Users: map[string]string{*s.Environment["CLIENT_USER"]: *s.Environment["CLIENT_PASSWORD"]},
	})
}
