package kafkatest

import (
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"unicode/utf16"

	"github.com/kferry/kferry/config"
)

// Tests of this file need no Java.

func TestNormalOptions(t *testing.T) {
	o, err := Options{Users: map[string]string{"alice": "x"}}.normal()
	if err != nil || o.Version != V4 || o.Brokers != 1 || o.HeapMB != 512 || o.Users[AdminUser] != AdminPassword || o.Users["alice"] != "x" {
		t.Errorf("defaults: %+v, %v", o, err)
	}
	if o, _ = (Options{Users: map[string]string{AdminUser: "own"}}).normal(); o.Users[AdminUser] != "own" {
		t.Errorf("own admin password: %q", o.Users[AdminUser])
	}
	for want, o := range map[string]Options{
		`version "2.8.0"`:    {Version: "2.8.0"},
		"2 brokers":          {Brokers: 2},
		"unknown security":   {Security: 7},
		"authorizer needs":   {Authorizer: true},
		"unknown security -": {Security: -1},
	} {
		if _, err := o.normal(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: got %v, want %q", o, err, want)
		}
	}
	for heap, o := range map[int]Options{320: {Brokers: 3}, 1024: {Bench: true}, 99: {HeapMB: 99, Bench: true}} {
		if o, err := o.normal(); err != nil || o.HeapMB != heap {
			t.Errorf("heap %d, %v; want %d", o.HeapMB, err, heap)
		}
	}
}

// javaProperty reads one line as java.util.Properties does.
func javaProperty(t *testing.T, line string) (key, value string) {
	t.Helper()
	key, rest, _ := strings.Cut(line, "=")
	rest = strings.TrimLeft(rest, " \t\f")
	var units []uint16
	for len(rest) > 0 {
		if rest[0] >= 0x80 {
			t.Fatalf("byte %#x: not ASCII", rest[0])
		}
		if rest[0] != '\\' {
			units, rest = append(units, uint16(rest[0])), rest[1:]
			continue
		}
		if rest[1] != 'u' {
			units, rest = append(units, uint16(rest[1])), rest[2:]
			continue
		}
		u, err := strconv.ParseUint(rest[2:6], 16, 16)
		if err != nil {
			t.Fatal(err)
		}
		units, rest = append(units, uint16(u)), rest[6:]
	}
	return key, string(utf16.Decode(units))
}

func TestEncodeProperties(t *testing.T) {
	for _, v := range []string{"", "plain", " leading", "a = b # c", `C:\new\u0041`, "line\nline\ttab", "ü€😀", oddPassword} {
		text := string(encodeProperties(map[string]string{"key.x": v}))
		line, rest, _ := strings.Cut(text, "\n")
		if rest != "" {
			t.Errorf("%q is more than a line: %q", v, text)
		}
		if key, got := javaProperty(t, line); key != "key.x" || got != v {
			t.Errorf("%q reads back as %q = %q", v, key, got)
		}
	}
}

func TestTail(t *testing.T) {
	var log strings.Builder
	for i := range 100 {
		fmt.Fprintln(&log, i)
	}
	got := strings.Fields(string(tail([]byte(log.String()))))
	if len(got) != 25 || got[0] != "75" || got[24] != "99" {
		t.Errorf("tail of 100 lines: %q", got)
	}
	for _, s := range []string{"", "one", "one\ntwo"} {
		if got := tail([]byte(s + "\n")); string(got) != s {
			t.Errorf("tail of %q: %q", s, got)
		}
	}
}

// fakePath makes dir, with the scripts given, the whole PATH but for the
// system's own folder with a shell.
func fakePath(t *testing.T, scripts map[string]string) {
	t.Helper()
	dir := t.TempDir()
	for name, body := range scripts {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\n"+body), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", dir)
}

func TestMissing(t *testing.T) {
	const java17 = `echo 'openjdk version "17.0.15" 2025-04-15' >&2`
	for want, scripts := range map[string]map[string]string{
		"":                                {"java": java17, "mvn": ""},
		"(not found: mvn)":                {"java": java17},
		"(not found: java 17+)":           {"mvn": ""},
		"(not found: java 17+, mvn)":      {"java": `echo 'java version "1.8.0_402"' >&2`},
		"ng: java 17+ and mvn on PATH (n": {"java": `echo broken; exit 1`},
	} {
		fakePath(t, scripts)
		err := missing()
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(strings.Replace(err.Error(), "need ", "ng: ", 1), want)) {
			t.Errorf("%v: got %v, want %q", scripts, err, want)
		}
	}
}

func TestJarsDownloadOnce(t *testing.T) {
	cache := t.TempDir()
	t.Setenv("KFERRY_KAFKA_CACHE", cache)
	count := filepath.Join(t.TempDir(), "count")
	fakePath(t, map[string]string{"mvn": `echo run >>` + count + `
for a; do case $a in -DoutputDirectory=*) dir=${a#*=};; esac; done
/bin/mkdir "$dir" && echo jar >"$dir/kafka.jar"`})
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			dir, err := jars(t.Context(), V4)
			if err != nil {
				t.Error(err)
				return
			}
			if _, err := os.Stat(filepath.Join(dir, "kafka.jar")); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if runs, err := os.ReadFile(count); err != nil || string(runs) != "run\n" {
		t.Errorf("maven runs: %q, %v; want one", runs, err)
	}
	left, err := filepath.Glob(filepath.Join(cache, V4, "incoming-*"))
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestJarsFail(t *testing.T) {
	cache := t.TempDir()
	t.Setenv("KFERRY_KAFKA_CACHE", cache)
	fakePath(t, map[string]string{"mvn": `echo no route to repository; exit 1`})
	if _, err := jars(t.Context(), V3); err == nil || !strings.Contains(err.Error(), "no route to repository") {
		t.Errorf("got %v, want maven's output", err)
	}
	left, err := filepath.Glob(filepath.Join(cache, V3, "*"))
	if err != nil || len(left) != 1 || !strings.HasSuffix(left[0], ".lock") {
		t.Errorf("left behind: %v, %v; want the lock only", left, err)
	}
	if _, err := jars(t.Context(), "1.0.0"); err == nil || !strings.Contains(err.Error(), "no pom") {
		t.Errorf("unknown version: %v", err)
	}
}

func TestPortsAreHeld(t *testing.T) {
	root := t.TempDir()
	seen := map[int]bool{}
	for range 50 {
		p, err := freePort(root)
		if err != nil {
			t.Fatal(err)
		}
		defer p.held.Close()
		if seen[p.number] {
			t.Fatalf("port %d given twice", p.number)
		}
		seen[p.number] = true
		if _, err := lockFile(p.held.Name(), false); !errors.Is(err, errLocked) {
			t.Fatalf("lock of a held port: %v", err)
		}
		l, err := net.Listen("tcp4", p.addr())
		if err != nil {
			t.Fatalf("port %d is not free: %v", p.number, err)
		}
		l.Close()
	}
}

func TestDirsOfTheDeadAreRemoved(t *testing.T) {
	root := t.TempDir()
	dead, lock, err := newDir(root)
	if err != nil {
		t.Fatal(err)
	}
	living, held, err := newDir(root)
	if err != nil {
		t.Fatal(err)
	}
	defer held.Close()
	if err := os.WriteFile(filepath.Join(dead, "data"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	lock.Close() // as the kernel does for a killed program
	_, own, err := newDir(root)
	if err != nil {
		t.Fatal(err)
	}
	defer own.Close()
	if _, err := os.Stat(dead); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the dead one's folder: %v", err)
	}
	if _, err := os.Stat(living); err != nil {
		t.Errorf("the living one's folder: %v", err)
	}
}

func TestCertificates(t *testing.T) {
	dir := t.TempDir()
	key, cert, err := makeCerts(dir)
	if err != nil {
		t.Fatal(err)
	}
	ca, err := os.ReadFile(filepath.Join(dir, caFile))
	if err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]string{string(ca): "CERTIFICATE", key: "PRIVATE KEY", cert: "CERTIFICATE"} {
		var kinds []string
		for b, rest := pem.Decode([]byte(text)); b != nil; b, rest = pem.Decode(rest) {
			kinds = append(kinds, b.Type)
		}
		if got := strings.Join(kinds, " "); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

func TestConfig(t *testing.T) {
	users := map[string]string{"alice": "alice-secret"}
	for _, security := range []Security{Plaintext, SASLPlaintext, SASLSSL} {
		c := &Cluster{opts: Options{Security: security, Users: users}, dir: "/d", nodes: []*node{{client: port{number: 20001}}, {client: port{number: 20002}}}}
		got := c.Config("west", "alice")
		want := config.Cluster{Alias: "west", ClientID: "kferry", Connections: 1, BootstrapServers: []string{"127.0.0.1:20001", "127.0.0.1:20002"}}
		if security != Plaintext {
			want.SASL = config.SASL{Mechanism: "SCRAM-SHA-512", Username: "alice", Password: "alice-secret"}
		}
		if security == SASLSSL {
			want.TLS = config.TLS{Enabled: true, CAFile: "/d/ca.pem"}
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s:\n got %+v\nwant %+v", security.protocol(), got, want)
		}
	}
	defer func() {
		if err, ok := recover().(error); !ok || !strings.Contains(err.Error(), `no user "eve"`) {
			t.Errorf("unknown user: %v", err)
		}
	}()
	(&Cluster{opts: Options{Security: SASLSSL, Users: users}}).Config("west", "eve")
}

func TestLaunchFails(t *testing.T) {
	if _, err := launch(exec.Command(filepath.Join(t.TempDir(), "none"))); err == nil {
		t.Error("a program that does not exist started")
	}
	p, err := launch(exec.Command("sh", "-c", "exit 3"))
	if err != nil {
		t.Fatal(err)
	}
	if err := p.wait(t.Context()); err == nil || err.Error() != "exit status 3" {
		t.Errorf("got %v", err)
	}
	if err := p.signal(syscall.SIGTERM); !errors.Is(err, errNotRunning) {
		t.Errorf("signal after the end: %v", err)
	}
}

func TestDetourProperties(t *testing.T) {
	o, err := Options{Security: SASLPlaintext, Detour: true}.normal()
	if err != nil {
		t.Fatal(err)
	}
	n := &node{client: port{number: 1}, broker: port{number: 2}, controller: port{number: 3}, detour: port{number: 4}, advertised: port{number: 5}}
	c := &Cluster{opts: o, nodes: []*node{n}}
	p := c.properties(n)
	for key, want := range map[string]string{
		"listeners":                                    "CLIENT://127.0.0.1:1,BROKER://127.0.0.1:2,CONTROLLER://127.0.0.1:3,DETOUR://127.0.0.1:4",
		"advertised.listeners":                         "CLIENT://127.0.0.1:1,BROKER://127.0.0.1:2,DETOUR://127.0.0.1:5",
		"listener.security.protocol.map":               "CLIENT:SASL_PLAINTEXT,BROKER:PLAINTEXT,CONTROLLER:PLAINTEXT,DETOUR:SASL_PLAINTEXT",
		"listener.name.detour.sasl.enabled.mechanisms": p["listener.name.client.sasl.enabled.mechanisms"],
	} {
		if p[key] != want {
			t.Errorf("%s is %q, want %q", key, p[key], want)
		}
	}
	if got := c.Detours(); !reflect.DeepEqual(got, []Detour{{Advertised: "127.0.0.1:5", Broker: "127.0.0.1:4"}}) {
		t.Errorf("detours: %v", got)
	}
	c.opts.Detour = false
	if p := c.properties(n); len(c.Detours()) != 0 || p["advertised.listeners"] != "" || strings.Contains(p["listeners"], "DETOUR") {
		t.Errorf("a detour that nobody asked for: %q", p["listeners"])
	}
}
