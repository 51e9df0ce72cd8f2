package config

import (
	"bufio"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// mm2Environ is the environment of the samples.
var mm2Environ = []string{"A_PASSWORD=hunter2", "NOBODY=bob", "TOPIC=${NOT}"}

// mm2File is a file for a MirrorMaker 2 with the clusters A, B and C, and more lines.
func mm2File(lines ...string) []byte {
	return []byte("clusters = A, B, C\nA.bootstrap.servers = a:1\nB.bootstrap.servers = b:1\nC.bootstrap.servers = c:1\n" + strings.Join(lines, "\n"))
}

func loadMM2(t *testing.T, lines ...string) *Config {
	t.Helper()
	c, err := Parse("testdata/mm2.properties", mm2File(lines...), LoadOptions{Environ: mm2Environ})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// flowNames are the names of the flows, "A-B C-B".
func flowNames(c *Config) string {
	var out []string
	for _, f := range c.Flows {
		out = append(out, f.Name)
	}
	return strings.Join(out, " ")
}

// fates are those of a key, in the order of its lines.
func fates(c *Config, key string) []Fate {
	var out []Fate
	for _, n := range c.Notes {
		if n.Key == key {
			out = append(out, n.Fate)
		}
	}
	return out
}

func TestEveryMM2KeyHasAFate(t *testing.T) {
	for _, file := range mm2Samples(t) {
		content, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		c, err := Load(file, LoadOptions{Environ: mm2Environ})
		if err != nil {
			t.Fatal(err)
		}
		entries, _, err := readProperties(content)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			if !slices.ContainsFunc(c.Notes, func(n Note) bool { return n.Line == e.line && n.Key == e.key && n.Text != "" }) {
				t.Errorf("%s:%d: no note about %s", file, e.line, e.key)
			}
		}
	}
}

func mm2Samples(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob("testdata/*.good.properties")
	if err != nil || len(files) == 0 {
		t.Fatalf("%q, %v", files, err)
	}
	return files
}

// What a sample says, in the words of kferry: the two flows that matter and their clusters.
func TestMM2Sample(t *testing.T) {
	c, err := Load("testdata/mm2-all.good.properties", LoadOptions{Environ: mm2Environ})
	if err != nil {
		t.Fatal(err)
	}
	old, fresh, spare := c.Clusters["old-dc"], c.Clusters["new_dc"], c.Clusters["spare"]
	if !old.TLS.Enabled || old.TLS.CAFile != filepath.Join("testdata", "ca.pem") || old.TLS.InsecureSkipVerify || old.ClientID != "ferry" ||
		old.SASL.Username != "alice" || old.SASL.Password.Reveal() != "hunter2" || old.SASL.Mechanism != "SCRAM-SHA-512" {
		t.Errorf("old-dc: %+v", old)
	}
	if fresh.TLS.Enabled || fresh.SASL.Username != "alice" || fresh.SASL.Password.Reveal() != "hunter2" || fresh.SASL.PasswordFile == "" {
		t.Errorf("new_dc: %+v", fresh)
	}
	if spare.SASL.Username != "bob" || spare.SASL.Password.Reveal() != `hunter2-"${x}` || spare.BootstrapServers[0] != "spare.example:9092" {
		t.Errorf("spare: %+v", spare)
	}
	f := c.Flows[0]
	f.MM2.Connector = ""
	want := Flow{
		Name: "old-dc-new_dc", Source: "old-dc", Target: "new_dc", Policy: "identity", Separator: ".", OnRefused: "stop",
		Topics: []string{"pizza-.*", `clicks\.(eu|us)`, "${NOT}"}, TopicsExclude: []string{".*-tmp"}, Start: Start{Kind: StartLatest},
		RefreshInterval: 600e9, ConfigExclude: []string{"follower.replication.throttled.replicas", "leader.replication.throttled.replicas", "retention.ms"},
		Groups: []string{"pizza.*"}, GroupsExclude: []string{}, SyncGroupOffsets: true, GroupsInterval: 10e9, StartOffsets: StartOffsets{},
		OffsetSyncs: OffsetSyncs{"source"}, Checkpoints: Checkpoints{true}, Heartbeats: Heartbeats{false, 5e9}, Takeover: "mm2_if_any",
		MM2:    MM2{Separator: "_", InternalDot: true, OffsetsTopic: "mm2-offsets", Group: "our-mm2"},
		Engine: EngineKferry, Aiven: FlowAiven{Enabled: true, ExactlyOnce: true, OffsetLagMax: 100},
	}
	if !reflect.DeepEqual(f, want) {
		t.Errorf("got  %+v\nwant %+v", f, want)
	}
	g := c.Flows[1]
	if len(c.Flows) != 2 || g.Policy != "default" || !slices.Equal(g.Topics, []string{".*"}) || !slices.Equal(g.TopicsExclude, mm2TopicsExclude) ||
		len(g.Groups) != 0 || g.OffsetSyncs.Location != "off" || g.ReplicationFactor != 0 || g.SyncGroupOffsets {
		t.Errorf("%d flows, %+v", len(c.Flows), g)
	}
}

func TestMM2Fates(t *testing.T) {
	c, err := Load("testdata/mm2-all.good.properties", LoadOptions{Environ: mm2Environ})
	if err != nil {
		t.Fatal(err)
	}
	for key, want := range map[string][]Fate{
		"clusters":          {Used},
		"bootstrap.servers": {Used},
		"config.providers.dir.param.allowed.paths":         {Replaced},
		"old-dc.ssl.endpoint.identification.algorithm":     {Unavailable},
		"old-dc.ssl.truststore.location":                   {Replaced, Used}, // the first is about its folder
		"old-dc.consumer.max.poll.records":                 {Replaced},
		"old-dc.consumer.sasl.mechanism":                   {Unavailable},
		"new_dc.offset.storage.topic":                      {Ignored},
		"new_dc.exactly.once.source.support":               {Replaced},
		"old-dc->new_dc.topics.blacklist":                  {Used},
		"old-dc->new_dc.use.defaults.from":                 {Unavailable},
		"old-dc->new_dc.transforms":                        {Used},
		"old-dc->new_dc.emit.checkpoints.interval.seconds": {Used},
		"new_dc->spare.groups":                             {Ignored},
		"spare->old-dc.enabled":                            {Used},
		"spare->old-dc.topics":                             {Ignored},
		"spare->gone.enabled":                              {Ignored},
		"sync.topic.acls.enabled":                          {Ignored, Unavailable}, // the last of two counts
		"producer.compression.type":                        {Ignored},
		"use.defaults.from":                                {Ignored},
		"group.id":                                         {Ignored},
		"offset.lag.max":                                   {Replaced},
		"toppics":                                          {Unknown},
		"takeover":                                         {Assumed},
		"topics":                                           {Assumed},
		"replication.factor":                               {Assumed},
	} {
		got := fates(c, key)
		slices.Sort(got)
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Errorf("%s: got %q, want %q", key, got, want)
		}
	}
	for _, n := range c.Notes {
		if strings.Contains(n.String(), "hunter2") {
			t.Errorf("shows a secret: %v", n)
		}
		if n.Key == "toppics" && !strings.Contains(n.Text, "did you mean topics?") {
			t.Errorf("no hint: %v", n)
		}
	}
}

// A comment behind a value is part of it: the flow is not enabled, as in MirrorMaker 2, and that is told.
func TestCommentBehindValue(t *testing.T) {
	c := loadMM2(t, "A->B.enabled = true", "A->C.enabled = true   # replicate", "A->B.topics = x, y # both")
	if flowNames(c) != "A-B" {
		t.Errorf("got %s", flowNames(c))
	}
	for _, key := range []string{"A->C.enabled", "A->B.topics"} {
		if !slices.Contains(fates(c, key), Ignored) {
			t.Errorf("%s: %q in %v", key, fates(c, key), c.Notes)
		}
	}
}

var placeholder = regexp.MustCompile(`\$\{(CLUSTERS_[A-Z0-9_]+_PASSWORD_*)\}`)

func TestConvertGivesTheSameConfig(t *testing.T) {
	for _, file := range mm2Samples(t) {
		text, err := Convert(file, LoadOptions{Environ: mm2Environ})
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(text), "hunter2") {
			t.Errorf("%s: shows a secret:\n%s", file, text)
		}
		want, err := Load(file, LoadOptions{Environ: mm2Environ})
		if err != nil {
			t.Fatal(err)
		}
		environ := slices.Clone(mm2Environ)
		for _, m := range placeholder.FindAllStringSubmatch(string(text), -1) {
			environ = append(environ, m[1]+`=hunter2-"${x}`)
		}
		got, err := Parse("testdata/converted.yaml", text, LoadOptions{Environ: environ})
		if err != nil {
			t.Fatalf("%v in\n%s", err, text)
		}
		want.Notes = nil
		got.report, want.report = nil, nil // other lines
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s: got  %+v\nwant %+v\nby\n%s", file, got, want, text)
		}
	}
}

func TestConvertKeepsReferences(t *testing.T) {
	text, err := Convert("testdata/mm2-all.good.properties", LoadOptions{Environ: mm2Environ})
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range []string{
		"password: ${A_PASSWORD}\n", "password_file: mm2-password.txt\n", "password: ${CLUSTERS_SPARE_PASSWORD} # ", "username: ${NOBODY}\n", "${TOPIC}",
		"#   line 75: toppics: unknown: neither MirrorMaker 2 nor Connect has it, did you mean topics?\n",
	} {
		if !strings.Contains(string(text), part) {
			t.Errorf("%q is not in\n%s", part, text)
		}
	}
	if _, err := Convert("testdata/shortest.good.yml", LoadOptions{}); err == nil {
		t.Error("a file of ours was converted")
	}
}

// The names are those of MirrorMakerConfigTest in MirrorMaker 2.

func TestClusterConfigProperties(t *testing.T) {
	c := loadMM2(t, "A->B.enabled = true", "security.protocol = SSL", "B.security.protocol = PLAINTEXT")
	if c.Clusters["A"].BootstrapServers[0] != "a:1" || !c.Clusters["A"].TLS.Enabled || c.Clusters["B"].TLS.Enabled {
		t.Errorf("got %+v", c.Clusters)
	}
}

func TestIncludesConnectorConfigProperties(t *testing.T) {
	c := loadMM2(t, "A->B.enabled = true", "A->C.enabled = true", "sync.topic.configs.enabled = false", "A->C.sync.topic.configs.enabled = true", "other = x")
	if c.Flows[0].SyncTopicConfigs || !c.Flows[1].SyncTopicConfigs || !slices.Equal(fates(c, "other"), []Fate{Unknown}) {
		t.Errorf("got %+v", c.Flows)
	}
}

func TestIncludesTopicFilterProperties(t *testing.T) {
	c := loadMM2(t, "A->B.enabled = true", "A->B.topics = topic1, topic2", "A->B.topics.exclude = topic3", "A->B.groups = group1", "A->B.groups.exclude = group2")
	f := c.Flows[0]
	if !slices.Equal(f.Topics, []string{"topic1", "topic2"}) || !slices.Equal(f.TopicsExclude, []string{"topic3"}) ||
		!slices.Equal(f.Groups, []string{"group1"}) || !slices.Equal(f.GroupsExclude, []string{"group2"}) {
		t.Errorf("got %+v", f)
	}
}

func TestWorkerConfigs(t *testing.T) {
	c := loadMM2(t, "A->B.enabled = true", "A->C.enabled = true", "B.offset.storage.topic = below", "offset.storage.topic = top", "B.group.id = workers", "group.id = nobody",
		"replication.policy.separator = __", "B.client.id = client-one")
	b, to := c.Flows[0], c.Flows[1]
	if b.MM2.OffsetsTopic != "top" || b.MM2.Group != "workers" || to.MM2.Group != "" || b.Separator != "__" || c.Clusters["B"].ClientID != "client-one" {
		t.Errorf("got %+v and %+v", b, to)
	}
}

// A pair without enabled has heartbeats in MirrorMaker 2, and nothing here.
func TestClusterPairs(t *testing.T) {
	for want, lines := range map[string][]string{
		"A-B":         {"A->B.enabled = true"},
		"A-B C-B":     {"A->B.enabled = TRUE", "C->B.enabled=true ", "B->C.enabled = false", "B->B.enabled = true"},
		"A-B B-C C-A": {"emit.heartbeats.enabled = false", "A->B.enabled = true", "B->C.enabled = true", "C->A.enabled = true", "replication.policy.class = DefaultReplicationPolicy"},
	} {
		if got := flowNames(loadMM2(t, lines...)); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
	_, err := Parse("testdata/mm2.properties", mm2File("emit.heartbeats.enabled = false"), LoadOptions{})
	if err == nil || !strings.Contains(err.Error(), "SOURCE->TARGET.enabled: is true for no two of the clusters") {
		t.Errorf("got %v", err)
	}
}

func TestInvalidSecurityProtocol(t *testing.T) {
	_, err := Parse("x.properties", mm2File("A->B.enabled = true", "A.security.protocol = abc"), LoadOptions{})
	var one Error
	if !errors.As(err, &one) || one.Key != "A.security.protocol" || one.Line != 6 {
		t.Errorf("got %v", err)
	}
}

func TestCaseInsensitiveSecurityProtocol(t *testing.T) {
	if c := loadMM2(t, "A->B.enabled = true", "security.protocol = ssl"); !c.Clusters["C"].TLS.Enabled {
		t.Errorf("got %+v", c.Clusters)
	}
}

func TestAllConfigNames(t *testing.T) {
	names, err := os.ReadFile("testdata/mm2-keys.txt")
	if err != nil {
		t.Fatal(err)
	}
	for name := range strings.FieldsSeq(string(names)) {
		if k, ok := keyOfMM2(name); !ok || k.read&atFlow == 0 && !strings.HasPrefix(name, "ssl.") && !strings.HasPrefix(name, "sasl.") && k.name != "security.protocol" {
			t.Errorf("%s is a key of a connector, and not known as one", name)
		}
	}
}

// Every key of the table is in the page about it.
func TestDocumentsEveryMM2Key(t *testing.T) {
	page, err := os.ReadFile("../docs/from-mm2.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range mm2Keys {
		if !strings.Contains(string(page), "`"+k.name+"`") {
			t.Errorf("`%s` is not in docs/from-mm2.md", k.name)
		}
	}
}

func TestAutoOffsetReset(t *testing.T) {
	for _, c := range []struct {
		lines []string
		want  StartKind
	}{
		{nil, StartEarliest},
		{[]string{"consumer.auto.offset.reset = latest"}, StartEarliest}, // MirrorMaker 2 does not read it there
		{[]string{"A->B.consumer.auto.offset.reset = latest"}, StartLatest},
		{[]string{"A->B.consumer.auto.offset.reset = latest", "A.consumer.auto.offset.reset = earliest"}, StartEarliest},
		{[]string{"A->B.source.consumer.auto.offset.reset = latest", "A.consumer.auto.offset.reset = earliest"}, StartLatest},
		{[]string{"B.consumer.auto.offset.reset = latest"}, StartEarliest},
	} {
		if got := loadMM2(t, append(c.lines, "A->B.enabled = true")...).Flows[0].Start.Kind; got != c.want {
			t.Errorf("%q: got %v, want %v", c.lines, got, c.want)
		}
	}
}

// MirrorMaker 2 cuts at every comma and joins with |.
func TestMM2Patterns(t *testing.T) {
	for given, want := range map[string][]string{
		"a , b":             {"a", "b"},
		"":                  {},
		"(a,b)c, d":         {"(a|b)c", "d"},
		"[a,b]c,((x,y),z)":  {"[a|b]c", "((x|y)|z)"},
		`\\(a, \\[b, [(],c`: {`\(a`, `\[b`, "[(]", "c"},
		"x{3}, y{2}z":       {"x{3}", "y{2}z"},
	} {
		c, err := Parse("x.properties", mm2File("A->B.enabled = true", "A->B.topics.exclude = "+given), LoadOptions{})
		if err != nil || !slices.Equal(c.Flows[0].TopicsExclude, want) {
			t.Errorf("%q: got %v, want %q", given, c, want)
		}
	}
	for _, given := range []string{"x{1,3}", "(x{1,},y)", "x{,3}"} {
		if _, err := Parse("x.properties", mm2File("A->B.enabled = true", "A->B.topics.exclude = "+given), LoadOptions{}); err == nil || !strings.Contains(err.Error(), "has a comma within { }") {
			t.Errorf("%q: got %v", given, err)
		}
	}
}

// The layers above the file are the same as over a file of ours.
func TestEnvironmentOverMM2(t *testing.T) {
	c, err := Parse("x.properties", mm2File("A->B.enabled = true", "A->B.topics = x"), LoadOptions{
		Environ: []string{"KFERRY_FLOWS_A_B_TOPICS=y", "KFERRY_CLUSTERS_A_TLS_ENABLED=true", "KFERRY_CLUSTERS_A_TLS_SERVER_NAME=broker.example", "KFERRY_FLOWS_A_B_TAKEOVER="},
	})
	if err != nil {
		t.Fatal(err)
	}
	if c.Flows[0].Topics[0] != "y" || c.Clusters["A"].TLS.ServerName != "broker.example" || c.Flows[0].Takeover != "" {
		t.Errorf("got %+v", c)
	}
}

func TestJAAS(t *testing.T) {
	const module = "org.apache.kafka.common.security.plain.PlainLoginModule"
	for text, want := range map[string]string{ // username and password, or a part of the problem
		module + ` required username="a" password="b";`:                          "a b",
		module + "\trequired\n username = a\tpassword='b c' serviceName=kafka ;": "a b c",
		module + ` required username="a\"\\\t\x" password="\101\1012\400";`:      "a\"\\\tx AA2 0",
		module + " required // one\n username=a /* two */ password=b; # more":    "is not a login module",
		module + ` required username="a" password="b"`:                           "at the end",
		module + ` required username="a" password="b`:                            "without its end",
		module + ` required username="a";`:                                       "needs username and password",
		module + ` required username="a" password="b" x;`:                        "has an option",
		`"hunter2"`: "is not a login module",
		`org.example.Other required username="a" password="b";`:             "does not begin with the name",
		`org.example.Krb5LoginModule required username="a" password="b";`:   "has the login module org.example.Krb5LoginModule",
		`x.ScramLoginModule required username=a password=b tokenauth=true;`: "delegation tokens",
	} {
		l, problem := parseJAAS(text)
		got := l.options["username"] + " " + l.options["password"]
		if problem != "" {
			got = problem
		}
		if got != want && (problem == "" || !strings.Contains(problem, want)) {
			t.Errorf("%s: got %q, want %q", text, got, want)
		}
	}
}

// TestMM2Layers: testdata/java/MirrorLayers.java made the golden file with MirrorMaker 2's own driver.
func TestMM2Layers(t *testing.T) {
	f, err := os.Open("testdata/mm2-layers.golden.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	n := 0
	for lines := bufio.NewScanner(f); lines.Scan(); {
		var c struct {
			File  map[string]string
			Flows []map[string]string
		}
		if err := json.Unmarshal(lines.Bytes(), &c); err != nil {
			t.Fatal(err)
		}
		if len(c.Flows) == 0 {
			continue // an error here
		}
		var file strings.Builder
		for key, value := range c.File {
			file.WriteString(key + "=" + value + "\n")
		}
		cfg, err := Parse("x.properties", []byte(file.String()), LoadOptions{})
		if err != nil {
			t.Errorf("%s: %v", &file, err)
			continue
		}
		if len(cfg.Flows) != len(c.Flows) {
			t.Errorf("%s: got %s, want %v", &file, flowNames(cfg), c.Flows)
		}
		for _, want := range c.Flows {
			n++
			for key, got := range effective(cfg, want["flow"]) {
				if !strings.EqualFold(got, cmp.Or(want[key], mm2Default[key])) {
					t.Errorf("%s: %s %s: got %q, want %q", &file, want["flow"], key, got, want[key])
				}
			}
		}
	}
	if n < 20 {
		t.Errorf("%d flows", n)
	}
}

// mm2Default is what kferry has where MirrorMaker 2's driver says nothing.
var mm2Default = map[string]string{
	"topics": ".*", "groups": ".*", "replication.factor": "0", "replication.policy.separator": ".", "refresh.topics.interval.seconds": "5",
	"sync.topic.configs.enabled": "true", "sync.group.offsets.enabled": "false", "source security.protocol": "PLAINTEXT", "target security.protocol": "PLAINTEXT",
}

// effective gives a flow in the words of MirrorMaker 2.
func effective(c *Config, name string) map[string]string {
	i := slices.IndexFunc(c.Flows, func(f Flow) bool { return f.Source+"->"+f.Target == name })
	if i < 0 {
		return map[string]string{"flow": "none"}
	}
	f := c.Flows[i]
	protocol := map[bool]string{false: "PLAINTEXT", true: "ssl"}
	return map[string]string{
		"topics": strings.Join(f.Topics, ","), "groups": strings.Join(f.Groups, ","), "replication.factor": fmt.Sprint(f.ReplicationFactor),
		"replication.policy.separator": f.Separator, "refresh.topics.interval.seconds": fmt.Sprint(f.RefreshInterval.Seconds()),
		"sync.topic.configs.enabled": fmt.Sprint(f.SyncTopicConfigs), "sync.group.offsets.enabled": fmt.Sprint(f.SyncGroupOffsets),
		"reset": f.Start.String(), "source bootstrap.servers": c.Clusters[f.Source].BootstrapServers[0], "target bootstrap.servers": c.Clusters[f.Target].BootstrapServers[0],
		"source security.protocol": protocol[c.Clusters[f.Source].TLS.Enabled], "target security.protocol": protocol[c.Clusters[f.Target].TLS.Enabled],
		"offset.storage.topic": cmp.Or(f.MM2.OffsetsTopic, "mm2-offsets."+f.Source+".internal"), "group.id": cmp.Or(f.MM2.Group, f.Source+"-mm2"),
	}
}
