package config

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

func TestSecretsAreNeverShown(t *testing.T) {
	c := load(t, strings.Replace(twoClusters, `9092"] }`, `9092"], sasl: { mechanism: PLAIN, username: u, password: "${P}" } }`, 1),
		LoadOptions{Environ: []string{"P=hunter2"}})
	sasl := c.Clusters["a"].SASL
	c.HTTP.ActionsToken = "hunter2 of http"
	if sasl.Password.Reveal() != "hunter2" {
		t.Fatalf("got %q", sasl.Password.Reveal())
	}
	shown := map[string]string{}
	for _, v := range []any{c, *c, c.Clusters, c.HTTP, &c.HTTP, sasl, &sasl, sasl.Password, &sasl.Password, []Secret{sasl.Password}, map[string]Secret{"x": sasl.Password}} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%t", "%08.3f", "%T", "%U", "%c"} {
			shown[fmt.Sprintf("%s of %T", verb, v)] = fmt.Sprintf(verb, v)
		}
		shown[fmt.Sprintf("Sprint of %T", v)] = fmt.Sprint(v)
		js, err := json.Marshal(v)
		shown[fmt.Sprintf("JSON of %T", v)] = fmt.Sprint(string(js), err)
		ym, err := yaml.Marshal(v)
		shown[fmt.Sprintf("YAML of %T", v)] = fmt.Sprint(string(ym), err)
		var log bytes.Buffer
		slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "v", v)
		slog.New(slog.NewTextHandler(&log, nil)).Info("x", "v", v)
		shown[fmt.Sprintf("slog of %T", v)] = log.String()
	}
	redactedText, err := c.Redacted()
	shown["Redacted"] = fmt.Sprint(string(redactedText), err)
	shown["GoString"] = sasl.Password.GoString()
	hexed := fmt.Sprintf("%x", "hunter2")
	for how, text := range shown {
		if strings.Contains(text, "hunter2") || strings.Contains(strings.ToLower(text), hexed) {
			t.Errorf("%s shows it: %s", how, text)
		}
	}
	for _, how := range []string{"Redacted", "%+v of config.SASL", "JSON of config.SASL", "YAML of *config.Config", "slog of config.Secret"} {
		if !strings.Contains(shown[how], redacted) {
			t.Errorf("%s does not say that it left something out: %s", how, shown[how])
		}
	}
	if got := fmt.Sprintf("%v%s%q", Secret(""), Secret(""), Secret("")); got != `""` {
		t.Errorf("the empty secret shows as %s", got)
	}
}

// A redacted configuration is a configuration, and the same one but for secrets.
func TestRedactedLoadsAgain(t *testing.T) {
	files := map[string]string{"plain": twoClusters, "rich": twoClusters + `
    policy: default
    separator: "_"
    start: 2026-01-31T10:00:00.5+01:00
    start_offsets: { t: { 10: 7, 9: 0 }, '12': { 0: 5 } }
    topics_exclude: ['x"y', "#z", ' ', '\.']
http: { listen: "off" }
memory_budget: 1GB
`}
	files["rich"] = strings.Replace(files["rich"], "- { source: a, target: b, topics: [t] }", "- source: a\n    target: b\n    topics: [t, 'true', '12']", 1)
	for name, file := range files {
		first := load(t, file, LoadOptions{})
		text, err := first.Redacted()
		if err != nil {
			t.Fatal(err)
		}
		again, err := load(t, string(text), LoadOptions{}).Redacted()
		if err != nil || !bytes.Equal(again, text) {
			t.Errorf("%s: first\n%s\nthen %v\n%s", name, text, err, again)
		}
	}
}
