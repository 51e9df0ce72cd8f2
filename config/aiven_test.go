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
