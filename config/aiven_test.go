package config

import (
	"os"
	"reflect"
	"strings"
	"testing"
)

// What Aiven defines keeps its types, and a text that the environment has a part in is a secret.
func TestSettings(t *testing.T) {
	content, err := os.ReadFile("testdata/aiven-all.good.yml")
	if err != nil {
		t.Fatal(err)
	}
	text := strings.Replace(string(content), "m, plan: startup-4", "m, plan: startup-4, user_config: { a: [1, 2.5, true, null, x], b: { c: 'pre-${SECRET}' } }", 1)
	c := load(t, text, LoadOptions{Environ: []string{"SECRET=hunter2", "AIVEN_TOKEN=hunter3"}})
	want := Settings{"a": []any{int64(1), 2.5, true, nil, "x"}, "b": Settings{"c": Secret("pre-hunter2")}}
	if got := c.Aiven.MirrorMaker.UserConfig; !reflect.DeepEqual(got, want) {
		t.Errorf("got  %#v\nwant %#v", got, want)
	}
	if got := c.Aiven.Kafka.UserConfig["kafka"]; !reflect.DeepEqual(got, Settings{"num_partitions": int64(3), "log_cleaner_min_cleanable_ratio": 0.5}) {
		t.Errorf("got %#v", got)
	}
	if c.Aiven.Token.Reveal() != "hunter3" || c.Aiven.Kafka.Cloud != "google-europe-west1" {
		t.Errorf("got %+v", c.Aiven)
	}
	shown, err := c.Redacted()
	if err != nil || strings.Contains(string(shown), "hunter") || !strings.Contains(string(shown), "num_partitions: 3") {
		t.Errorf("%v\n%s", err, shown)
	}
	if e := c.ErrorAt([]string{"aiven", "kafka", "user_config", "kafka", "num_partitions"}, "3", "is odd"); e.Error() != `testdata/x.yaml:10: aiven.kafka.user_config.kafka.num_partitions: "3" is odd` {
		t.Errorf("got %s", e.Error())
	}
}

// Only engine and takeover of the one flow change.
func TestSetEngine(t *testing.T) {
	const before = "flows:\n  # first\n  - { name: a, source: x, target: y, topics: [t], takeover: mm2 } # of old\n  - name: b # second\n    source: x\n    engine: aiven\n"
	for _, x := range []struct {
		n                int
		engine, takeover string
		old, new         string
	}{
		{0, "aiven", "", "takeover: mm2 }", "engine: aiven }"},
		{0, "kferry", "aiven", "takeover: mm2 }", "takeover: aiven, engine: kferry }"},
		{1, "kferry", "aiven", "engine: aiven\n", "engine: kferry\n    takeover: aiven\n"},
		{1, "aiven", "", "", ""},
	} {
		got, err := SetEngine([]byte(before), x.n, x.engine, x.takeover)
		want := strings.Replace(before, x.old, x.new, 1)
		want = strings.Replace(want, "{ name: a, source: x, target: y, topics: [t], ", "{name: a, source: x, target: y, topics: [t], ", 1)
		want = strings.Replace(want, " } #", "} #", 1)
		if err != nil || string(got) != want {
			t.Errorf("%v\n%s\nwant\n%s", err, got, want)
		}
	}
	for _, content := range []string{"", "flows: 3", "flows: []", "flows: [a, b]", "\t"} {
		if got, err := SetEngine([]byte(content), 0, "kferry", "aiven"); err == nil {
			t.Errorf("%q became %q", content, got)
		}
	}
}

// Whether Aiven's MirrorMaker 2 has stopped must be asked somewhere.
func TestTakeoverAivenNeedsAiven(t *testing.T) {
	wantErrors(t, "clusters:\n  a: { bootstrap_servers: [\"a:1\"] }\n  b: { bootstrap_servers: [\"b:1\"] }\nflows:\n  - { source: a, target: b, topics: [t], takeover: aiven }\n",
		LoadOptions{}, `testdata/x.yaml:5: flows[0].takeover: "aiven" needs the section aiven with mirrormaker: it says which service is to be asked whether it has stopped`)
}
