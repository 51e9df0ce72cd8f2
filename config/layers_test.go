package config

import (
	"errors"
	"maps"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

const twoClusters = `
clusters:
  a: { bootstrap_servers: ["a.example:9092"] }
  b: { bootstrap_servers: ["b.example:9092"] }
flows:
  - { source: a, target: b, topics: [t] }
`

// load parses content as if it were the file testdata/x.yaml.
func load(t *testing.T, content string, o LoadOptions) *Config {
	t.Helper()
	c, err := Parse("testdata/x.yaml", []byte(content), o)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func wantErrors(t *testing.T, content string, o LoadOptions, want ...string) {
	t.Helper()
	c, err := Parse("testdata/x.yaml", []byte(content), o)
	var list Errors
	errors.As(err, &list)
	if c != nil || len(list) != len(want) {
		t.Fatalf("got %v and %d errors, want %d:\n%v", c, len(list), len(want), err)
	}
	for i := range want {
		if !strings.Contains(list[i].Error(), want[i]) {
			t.Errorf("got  %v\nwant %s", list[i], want[i])
		}
	}
}

func TestDefaults(t *testing.T) {
	c := load(t, twoClusters, LoadOptions{})
	if c.HTTP.Listen != "127.0.0.1:9464" || c.Log != (Log{"info", "auto"}) || c.MemoryBudget != 256<<20 {
		t.Errorf("got %+v", c)
	}
	if a := c.Clusters["a"]; a.Alias != "a" || a.ClientID != "kferry" || a.Connections != 0 || a.TLS.Enabled || a.SASL != (SASL{}) {
		t.Errorf("got %+v", a)
	}
	f := c.Flows[0]
	if f.Name != "a-b" || f.Policy != "identity" || f.Separator != "." || f.Start != (Start{}) || f.RefreshInterval != 5*time.Second || f.ReplicationFactor != 0 {
		t.Errorf("got %+v", f)
	}
}

func TestLaterLayersWin(t *testing.T) {
	file := twoClusters + "log: { level: warn, format: text }\nhttp: { listen: ':1' }\n"
	c := load(t, file, LoadOptions{
		Environ:   []string{"KFERRY_LOG_LEVEL=error", "KFERRY_HTTP_LISTEN=:2", "PATH=/bin", "KFERRY_FLOWS_A_B_REFRESH_INTERVAL=1m"},
		Overrides: map[string]string{"http.listen": ":3", "flows[0].start": "latest", "clusters.b.connections": "4"},
	})
	if c.Log != (Log{"error", "text"}) || c.HTTP.Listen != ":3" {
		t.Errorf("got %+v %+v", c.Log, c.HTTP)
	}
	if f := c.Flows[0]; f.RefreshInterval != time.Minute || f.Start.Kind != StartLatest || f.Topics[0] != "t" {
		t.Errorf("got %+v", f)
	}
	if c.Clusters["a"].Connections != 0 || c.Clusters["b"].Connections != 4 {
		t.Errorf("got %+v", c.Clusters)
	}
}

// A secret of a later layer wins, whichever of its two keys that gives.
func TestLaterSecretWins(t *testing.T) {
	file := twoClusters + "http: { actions_token_file: /none/at/all }\n"
	c := load(t, file, LoadOptions{Environ: []string{"KFERRY_HTTP_ACTIONS_TOKEN=0123456789abcdef"}})
	if c.HTTP.ActionsToken.Reveal() != "0123456789abcdef" || c.HTTP.ActionsTokenFile != "" {
		t.Errorf("got %q, %q", c.HTTP.ActionsToken.Reveal(), c.HTTP.ActionsTokenFile)
	}
}

// Every key has a variable, and it sets that key and no other.
func TestEveryKeyHasItsVariable(t *testing.T) {
	file := strings.ReplaceAll(twoClusters, " a:", " New_York-1.x:")
	file = strings.ReplaceAll(file, "source: a", "name: Main-Flow, source: New_York-1.x")
	l := &layers{report: newReport("x.yaml")}
	tree, ok := l.readFile([]byte(file))
	if !ok {
		t.Fatal(l.err())
	}
	known := variables(tree)
	if len(known) != len(leaves(tree)) {
		t.Errorf("%d variables for %d keys", len(known), len(leaves(tree)))
	}
	for name, key := range map[string]string{
		"KFERRY_INSTANCE_ID":                         "instance_id",
		"KFERRY_MEMORY_BUDGET":                       "memory_budget",
		"KFERRY_CLUSTERS_NEW_YORK_1_X_SASL_PASSWORD": "clusters.New_York-1.x.sasl.password",
		"KFERRY_CLUSTERS_B_TLS_INSECURE_SKIP_VERIFY": "clusters.b.tls.insecure_skip_verify",
		"KFERRY_FLOWS_MAIN_FLOW_TOPICS":              "flows[0].topics",
	} {
		if got := known[name]; len(got) != 1 || got[0].path.String() != key {
			t.Errorf("%s sets %v, want %s", name, got, key)
		}
	}
	for name := range known {
		l := &layers{report: newReport("x.yaml"), environ: map[string]string{name: "v"}}
		tree := l.readEnvironment(tree)
		if len(l.errs) > 0 || len(l.origins) != 1 || !l.isSet(known[name][0].path) || len(tree) != 1 {
			t.Errorf("%s: set %v, %v", name, slices.Collect(maps.Keys(l.origins)), l.errs)
		}
	}
}

func TestUnknownVariables(t *testing.T) {
	wantErrors(t, twoClusters, LoadOptions{Environ: []string{
		"KFERRY_CLUSTERS_C_SASL_PASSWORD=hunter2", "KFERRY_FLOWS_X_START=latest", "KFERRY_HTP_LISTEN=:1", "KFERRY_LOG_LEVEL=loud",
	}},
		"KFERRY_CLUSTERS_C_SASL_PASSWORD: is not a setting, did you mean KFERRY_CLUSTERS_A_SASL_PASSWORD?; clusters in testdata/x.yaml: a, b",
		"KFERRY_FLOWS_X_START: is not a setting",
		"KFERRY_HTP_LISTEN: is not a setting, did you mean KFERRY_HTTP_LISTEN?",
		"environment variable KFERRY_LOG_LEVEL: log.level: \"loud\" is not allowed",
	)
	load(t, twoClusters, LoadOptions{Environ: []string{
		"KFERRY_REQUIRE_KAFKA=1", "KFERRY_REQUIRE_BROWSER=1", "KFERRY_REQUIRE_MONITORING=1", "KFERRY_KAFKA_CACHE=/x", "KFERRY_TEST_ANY=1", "KFERRYBOAT=1", "kferry_http_listen=x",
		"KFERRY_SERVICE_HOST=10.0.0.1", "KFERRY_SERVICE_PORT=9464", "KFERRY_SERVICE_PORT_HTTP=9464", "KFERRY_PORT=tcp://10.0.0.1:9464",
		"KFERRY_PORT_9464_TCP=x", "KFERRY_PORT_9464_TCP_PROTO=tcp", "KFERRY_PORT_9464_TCP_ADDR=x", "KFERRY_METRICS_SERVICE_HOST=x", "KFERRY_METRICS_PORT_80_TCP_PORT=80",
	}})
}

func TestVariableOfTwoKeys(t *testing.T) {
	file := twoClusters + "  - { name: a.b, source: a, target: b, topics: [u] }\n"
	load(t, file, LoadOptions{})
	wantErrors(t, file, LoadOptions{Environ: []string{"KFERRY_FLOWS_A_B_START=latest"}},
		"environment: KFERRY_FLOWS_A_B_START: could be flows[0].start or flows[1].start: rename one of them")
}

func TestUnknownOverride(t *testing.T) {
	wantErrors(t, twoClusters, LoadOptions{Overrides: map[string]string{"log.levle": "debug", "memory_budget": "1"}},
		"flag: log.levle: is not a known key, did you mean log.level?", `flag: memory_budget: "1" is too small`)
}

func TestListsFromOutside(t *testing.T) {
	c := load(t, twoClusters, LoadOptions{
		Environ:   []string{`KFERRY_FLOWS_A_B_TOPICS=a{1,2}, [b,] ,(c|d),e\.f`, "KFERRY_FLOWS_A_B_TOPICS_EXCLUDE="},
		Overrides: map[string]string{"clusters.a.bootstrap_servers": "[::1]:1,x:2"},
	})
	if got := c.Flows[0].Topics; !slices.Equal(got, []string{"a{1,2}", "[b,]", "(c|d)", `e\.f`}) {
		t.Errorf("got %q", got)
	}
	if got := c.Clusters["a"].BootstrapServers; !slices.Equal(got, []string{"[::1]:1", "x:2"}) {
		t.Errorf("got %q", got)
	}
	wantErrors(t, twoClusters, LoadOptions{Environ: []string{"KFERRY_FLOWS_A_B_TOPICS=t,*"}},
		"environment variable KFERRY_FLOWS_A_B_TOPICS: flows[0].topics[1]: \"*\"")
}

func TestExpand(t *testing.T) {
	o := LoadOptions{Environ: []string{"A=one", "EMPTY=", "YAML=x\", connections: 9, client_id: \"y", "NESTED=${A}"}}
	for in, want := range map[string]string{
		"${A}": "one", "-${A}${A}-": "-oneone-", "$${A}": "${A}", "$$${A}": "$${A}", "$A $ {A}": "$A $ {A}", "x${EMPTY}": "x",
		"${YAML}": "x\", connections: 9, client_id: \"y", "${NESTED}": "${A}", "${A}$": "one$",
	} {
		c := load(t, strings.Replace(twoClusters, `9092"] }`, `9092"], client_id: "`+in+`" }`, 1), o)
		if a := c.Clusters["a"]; a.ClientID != want || a.Connections != 0 {
			t.Errorf("%s: got %q, want %q", in, a.ClientID, want)
		}
	}
	c := load(t, twoClusters, LoadOptions{Environ: []string{"KFERRY_CLUSTERS_A_CLIENT_ID=${A}"}})
	if got := c.Clusters["a"].ClientID; got != "${A}" {
		t.Errorf("a variable's content was expanded: %q", got)
	}
}

func TestPasswordAndPasswordFile(t *testing.T) {
	dir := t.TempDir()
	write := func(name, content string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("unix", "from a file\n")
	write("dos", "from a file\r\n")
	write("bare", "from a file")
	write("two", "first\nsecond\n\n")
	for file, want := range map[string]Secret{"unix": "from a file", "dos": "from a file", "bare": "from a file", "two": "first\nsecond\n"} {
		write("kferry.yaml", strings.Replace(twoClusters, `9092"] }`, `9092"], sasl: { mechanism: PLAIN, username: u, password_file: `+file+` } }`, 1))
		c, err := Load(filepath.Join(dir, "kferry.yaml"), LoadOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if got := c.Clusters["a"].SASL.Password.Reveal(); got != want.Reveal() {
			t.Errorf("%s: got %q, want %q", file, got, want.Reveal())
		}
	}
	// A later layer replaces the one by the other.
	c, err := Load(filepath.Join(dir, "kferry.yaml"), LoadOptions{Environ: []string{"KFERRY_CLUSTERS_A_SASL_PASSWORD=other"}})
	if err != nil {
		t.Fatal(err)
	}
	if got := c.Clusters["a"].SASL; got.Password.Reveal() != "other" || got.PasswordFile != "" {
		t.Errorf("got %q, %q", got.Password.Reveal(), got.PasswordFile)
	}
	text := strings.Replace(twoClusters, `9092"] }`, `9092"], sasl: { mechanism: PLAIN, username: u, password: x } }`, 1)
	c = load(t, text, LoadOptions{Overrides: map[string]string{"clusters.a.sasl.password_file": "password.txt"}})
	if got := c.Clusters["a"].SASL.Password.Reveal(); got != "from-a-file" {
		t.Errorf("got %q", got)
	}
	wantErrors(t, text, LoadOptions{Environ: []string{"KFERRY_CLUSTERS_A_SASL_PASSWORD=x", "KFERRY_CLUSTERS_A_SASL_PASSWORD_FILE=password.txt"}},
		"environment variable KFERRY_CLUSTERS_A_SASL_PASSWORD_FILE: clusters.a.sasl.password_file: \"testdata/password.txt\" cannot be given beside password")
}

func TestFilesOfTheFile(t *testing.T) {
	if _, err := Load("testdata/nowhere.yaml", LoadOptions{}); err == nil || err.Error() != "testdata/nowhere.yaml: cannot be read: no such file or directory" {
		t.Errorf("got %v", err)
	}
	if _, err := Load("testdata", LoadOptions{}); err == nil {
		t.Error("a folder was read")
	}
	c := load(t, strings.Replace(twoClusters, `9092"] }`, `9092"], tls: { enabled: true, ca_file: ca.pem } }`, 1), LoadOptions{})
	if got := c.Clusters["a"].TLS.CAFile; got != "testdata/ca.pem" {
		t.Errorf("got %q", got)
	}
	big := filepath.Join(t.TempDir(), "big.yaml")
	if err := os.WriteFile(big, []byte(strings.Repeat("#\n", maxFile)), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(big, LoadOptions{}); err == nil || !strings.Contains(err.Error(), "larger than 1 MiB") {
		t.Errorf("got %v", err)
	}
}

// What aliases unfold to is bounded, in lists and through <<.
func TestAliasBombs(t *testing.T) {
	topics := "topics: &t [" + strings.Repeat("x,", 1000) + "x]"
	wantErrors(t, "flows:\n  - &f { source: a, "+topics+" }\n"+strings.Repeat("  - *f\n", 1000), LoadOptions{}, "unfolds to more than 100000 values")
	var b strings.Builder
	b.WriteString("clusters:\n  c0: &c0 { client_id: x }\n")
	for i := 1; i < 10; i++ {
		ref := "*c" + string(rune('0'+i-1))
		b.WriteString("  c" + string(rune('0'+i)) + ": &c" + string(rune('0'+i)) + " { <<: [" + strings.Repeat(ref+",", 20) + ref + "] }\n")
	}
	if _, err := Parse("x.yaml", []byte(b.String()), LoadOptions{}); err == nil || !strings.Contains(err.Error(), "<<") {
		t.Errorf("got %v", err)
	}
	wantErrors(t, "clusters: &a { <<: *a }\n", LoadOptions{}, "flows: is missing", "includes too much through <<")
}

func TestManyFlowsKeepTheirOrder(t *testing.T) {
	var b strings.Builder
	b.WriteString(twoClusters)
	var want []string
	for i := range 25 {
		name := "f" + string(rune('a'+i))
		want = append(want, name)
		b.WriteString("  - { name: " + name + ", source: a, target: b, topics: [" + name + "] }\n")
	}
	var got []string
	for _, f := range load(t, b.String(), LoadOptions{Overrides: map[string]string{"flows[12].start": "latest"}}).Flows[1:] {
		got = append(got, f.Name)
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %q", got)
	}
}

func TestStartOffsets(t *testing.T) {
	c, err := Load("testdata/start-offsets.good.yml", LoadOptions{})
	if err != nil {
		t.Fatal(err)
	}
	want := StartOffsets{"pizza.orders": {0: 0, 12: math.MaxInt64}, "pizza-clicks": {3: 5}, "1234": {0: 1}}
	if got := c.Flows[0].StartOffsets; !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if got := c.Flows[1].StartOffsets; len(got) != 0 {
		t.Errorf("got %v, want none", got)
	}
}

func TestGroups(t *testing.T) {
	c, err := Load("testdata/groups.good.yml", LoadOptions{})
	if err != nil {
		t.Fatal(err)
	}
	f := &c.Flows[0]
	if got := f.GroupsExclude; !reflect.DeepEqual(got, DefaultGroupsExclude) {
		t.Errorf("groups_exclude left out gives %q", got)
	}
	if got := c.Flows[1].GroupsExclude; len(got) != 0 {
		t.Errorf("groups_exclude: [] gives %q", got)
	}
	for group, want := range map[string]string{"orders": "orders-v2", "billing": "billing"} {
		if got := f.TargetGroup(group); got != want {
			t.Errorf("group %q is %q on the target, want %q", group, got, want)
		}
	}
}
