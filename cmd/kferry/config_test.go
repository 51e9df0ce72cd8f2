package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kferry/kferry/config"
)

const twoFlows = `
clusters:
  old:
    bootstrap_servers: ["old-1.example:9094", "old-2.example:9094"]
    tls: { enabled: true }
    sasl: { mechanism: SCRAM-SHA-512, username: alice, password: "${OLD_PASSWORD}" }
    connections: 2
  new:
    bootstrap_servers: ["new-1.example:9092"]
flows:
  - { source: old, target: new, topics: ["pizza-.*", clicks], topics_exclude: ["pizza-test"], start: 2026-01-31 }
`

const mm2Properties = `clusters = old, new
bootstrap.servers = old-1.example:9092
old->new.enabled = true
old.security.protocol = SASL_PLAINTEXT
old.sasl.mechanism = PLAIN
old.sasl.jaas.config = org.apache.kafka.common.security.plain.PlainLoginModule required username="alice" password="hunter2";
tasks.max = 3
`

func writeConfig(t *testing.T, content string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "kferry.yaml")
	if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestConfigCheck(t *testing.T) {
	file := writeConfig(t, twoFlows)
	var out bytes.Buffer
	if err := runConfigCheck(&out, []string{file}, config.LoadOptions{Environ: []string{"OLD_PASSWORD=hunter2"}}); err != nil {
		t.Fatal(err)
	}
	want := file + `: ok, 2 clusters, 1 flow
  cluster new: new-1.example:9092, plaintext, connections per broker by the round trip
  cluster old: old-1.example:9094 old-2.example:9094, TLS, SCRAM-SHA-512 as alice, 2 connections per broker
  flow old-new: old -> new, topics pizza-.* clicks except pizza-test, policy identity, start 2026-01-31T00:00:00Z
  advice: producer.id.expiration.ms above the age of the oldest record, on the brokers of new, lets them refuse late copies of old records
`
	if out.String() != want {
		t.Errorf("got\n%s\nwant\n%s", out.String(), want)
	}
}

func TestConfigCommands(t *testing.T) {
	good, bad := writeConfig(t, twoFlows), writeConfig(t, "htp: 1\nlog: { level: loud }\n")
	mm2 := file(t, "mm2.properties", mm2Properties)
	environ := []string{"OLD_PASSWORD=hunter2"}
	for _, c := range []struct {
		args     []string
		code     int
		out, err []string // parts of stdout and stderr
	}{
		{[]string{"check", "-c", good}, 0, []string{good + ": ok"}, nil},
		{[]string{"check", good, bad}, 3, []string{good + ": ok"}, []string{bad + ":1: htp: is not a known key", bad + `:2: log.level: "loud"`, bad + ": clusters: is missing"}},
		{[]string{"check", "-c", good, "--log-level", "loud"}, 3, nil, []string{`flag: log.level: "loud"`}},
		{[]string{"check", "-c", good + ".none"}, 3, nil, []string{"cannot be read: no such file"}},
		{[]string{"show", "-c", good, "--log-level", "debug"}, 0, []string{"password: '[redacted]'", "level: debug", "listen: 127.0.0.1:9464", "old-1.example:9094"}, nil},
		{[]string{"show", "-c", bad}, 3, nil, []string{"htp: is not a known key"}},
		{[]string{"show", good}, 0, []string{"password: '[redacted]'"}, nil},
		{[]string{"show", good, bad}, 2, nil, []string{"takes one configuration file"}},
		{[]string{"show", "-c", good, bad}, 2, nil, []string{"keep one"}},
		{[]string{"check", mm2}, 0, []string{mm2 + ": ok, 2 clusters, 1 flow", "flow old-new: old -> new, topics .* except", "line 7: tasks.max: otherwise in kferry: "}, nil},
		{[]string{"show", "-c", mm2}, 0, []string{"policy: default", "password: '[redacted]'"}, nil},
		{[]string{"convert", mm2}, 0, []string{"#   line 7: tasks.max: otherwise in kferry: ", "takeover: mm2", "password: ${CLUSTERS_OLD_PASSWORD} # "}, nil},
		{[]string{"convert", good}, 3, nil, []string{"must end in .properties"}},
		{[]string{"convert"}, 2, nil, []string{"accepts 1 arg"}},
		{[]string{"check", "--colour"}, 2, nil, []string{"unknown flag"}},
		{[]string{"frobnicate"}, 2, nil, []string{"unknown command"}},
	} {
		var out, errs bytes.Buffer
		code := run(context.Background(), append([]string{"config"}, c.args...), strings.NewReader(""), &out, &errs, environ)
		if code != c.code {
			t.Errorf("%v: exit code %d, want %d: %s", c.args, code, c.code, errs.String())
		}
		for _, part := range c.out {
			if !strings.Contains(out.String(), part) {
				t.Errorf("%v: %q is not in stdout:\n%s", c.args, part, out.String())
			}
		}
		for _, part := range c.err {
			if !strings.Contains(errs.String(), part) {
				t.Errorf("%v: %q is not in stderr:\n%s", c.args, part, errs.String())
			}
		}
		if strings.Contains(out.String()+errs.String(), "hunter2") {
			t.Errorf("%v shows the password", c.args)
		}
	}
}
