package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"net"
	"net/http"
	"regexp"
	"runtime/debug"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/kferry/kferry/config"
	"github.com/kferry/kferry/internal/kafka"
	"github.com/kferry/kferry/replicator"
)

// fakeDaemon ends when its context does and release is closed (nil: at once), or when fail delivers an error.
type fakeDaemon struct {
	running chan struct{} // closed by Run
	release chan struct{}
	fail    chan error
	ready   error
	status  replicator.Status
	offsets []replicator.OffsetRow
	// translate answers for lanes; nil: there is none.
	translate func(replicator.Lookup) []replicator.Translation
	trace     func(replicator.Lookup) []replicator.Trace
	history   []replicator.Point
	events    func(after uint64) []replicator.Event
}

func newFake() *fakeDaemon {
	return &fakeDaemon{running: make(chan struct{}), fail: make(chan error, 1)}
}

func (f *fakeDaemon) Run(ctx context.Context) error {
	close(f.running)
	select {
	case err := <-f.fail:
		return err
	case <-ctx.Done():
	}
	if f.release != nil {
		<-f.release
	}
	return nil
}

func (f *fakeDaemon) Ready() error              { return f.ready }
func (f *fakeDaemon) Status() replicator.Status { return f.status }

func (f *fakeDaemon) Offsets() []replicator.OffsetRow { return f.offsets }

func (f *fakeDaemon) Translate(q replicator.Lookup) []replicator.Translation {
	if f.translate == nil {
		return nil
	}
	return f.translate(q)
}

func (f *fakeDaemon) Trace(q replicator.Lookup) []replicator.Trace {
	if f.trace == nil {
		return []replicator.Trace{{Topic: q.Topic, Where: replicator.TraceNotCarried, TargetOffset: -1, Text: "no flow carries it"}}
	}
	return f.trace(q)
}

func (f *fakeDaemon) WriteLanes(io.Writer) error                { return nil }
func (f *fakeDaemon) History(string, string) []replicator.Point { return f.history }

func (f *fakeDaemon) Events(after uint64) []replicator.Event {
	if f.events == nil {
		return nil
	}
	return f.events(after)
}

func (f *fakeDaemon) Pause(context.Context, string, string, string) error { return nil }
func (f *fakeDaemon) Resume(context.Context, string, string) error        { return nil }
func (f *fakeDaemon) Retry(context.Context, string, string, int32) error  { return nil }

const twoClusters = `
clusters:
  a: { bootstrap_servers: ["127.0.0.1:1"] }
  b: { bootstrap_servers: ["127.0.0.1:2"] }
flows:
  - { source: a, target: b, topics: ["x"] }
http: { listen: "127.0.0.1:0" }
memory_budget: 32MiB
`

// launch runs `kferry run` with a fake daemon; the channel delivers the exit code.
func launch(t *testing.T, f *fakeDaemon, config string, args ...string) (cancel context.CancelFunc, stderr *syncBuffer, end <-chan int) {
	t.Helper()
	p, stderr := fakeProcess(f)
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	args = append([]string{"run", "-c", file(t, "kferry.yaml", config)}, args...)
	codes := make(chan int, 1)
	go func() { codes <- p.execute(ctx, args) }()
	return cancel, stderr, codes
}

func fakeProcess(f *fakeDaemon) (*process, *syncBuffer) {
	stderr := new(syncBuffer)
	return &process{
		stdin: strings.NewReader(""), stdout: io.Discard, stderr: stderr, environ: []string{"GOMEMLIMIT=1TiB"},
		openDaemon: func(*config.Config, *slog.Logger, prometheus.Registerer) (daemon, error) { return f, nil },
	}, stderr
}

func TestRunUntilStopped(t *testing.T) {
	defer goleak.VerifyNone(t)
	f := newFake()
	f.release = make(chan struct{})
	f.ready = errors.New("flow a-b has not read its progress")
	cancel, stderr, end := launch(t, f, twoClusters)
	<-f.running
	addr := regexp.MustCompile(`http://([0-9.:]+)/metrics`).FindStringSubmatch(stderr.String())
	if addr == nil {
		t.Fatalf("the log does not tell the address: %s", stderr)
	}
	cancel()
	// The drain goes on until release; the server answers meanwhile.
	tr := new(http.Transport)
	defer tr.CloseIdleConnections()
	resp, err := (&http.Client{Transport: tr}).Get("http://" + addr[1] + "/readyz")
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(resp.Body)
	resp.Body.Close()
	if err != nil || resp.StatusCode != 503 || !strings.Contains(string(body), "has not read its progress") {
		t.Errorf("readyz: %d %q %v", resp.StatusCode, body, err)
	}
	close(f.release)
	if code := <-end; code != 0 || !strings.Contains(stderr.String(), "stopped as asked") {
		t.Errorf("exit code %d: %s", code, stderr)
	}
}

func TestRunFails(t *testing.T) {
	for _, c := range []struct {
		err  error
		code int
		want string
	}{
		{errors.New("flow a-b: out of luck"), 1, "out of luck"},
		{&kafka.Error{Cluster: "a", Op: "login", Cause: "wrong password", Err: errors.New("sasl"), Fatal: true}, 4, "wrong password"},
	} {
		f := newFake()
		f.fail <- c.err
		_, stderr, end := launch(t, f, twoClusters)
		if code := <-end; code != c.code || !strings.Contains(stderr.String(), "kferry: ") || !strings.Contains(stderr.String(), c.want) {
			t.Errorf("%v: exit code %d, want %d: %s", c.err, code, c.code, stderr)
		}
	}
}

// A file for MirrorMaker 2 is run as it is; what its keys come to is logged, once and by weight.
func TestRunMM2(t *testing.T) {
	f := newFake()
	p, stderr := fakeProcess(f)
	p.environ = append(p.environ, "KFERRY_HTTP_LISTEN=off")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	end := make(chan int, 1)
	go func() {
		end <- p.execute(ctx, []string{"run", file(t, "mm2.properties", mm2Properties+"producer.acks = 1\n"), "--log-format", "text"})
	}()
	<-f.running
	cancel()
	if code := <-end; code != 0 {
		t.Errorf("exit code %d: %s", code, stderr)
	}
	for _, want := range []string{`level=INFO .*key=tasks.max line=7 fate="otherwise in kferry"`, `level=WARN .*key=producer.acks line=8 fate="no effect"`} {
		if n := len(regexp.MustCompile(want).FindAllString(stderr.String(), -1)); n != 1 {
			t.Errorf("%s is there %d times in\n%s", want, n, stderr)
		}
	}
	if strings.Contains(stderr.String(), "hunter2") || strings.Contains(stderr.String(), "fate=used") {
		t.Errorf("shows too much: %s", stderr)
	}
}

func TestDrainDeadline(t *testing.T) {
	f := newFake()
	f.release = make(chan struct{})
	defer close(f.release)
	cancel, stderr, end := launch(t, f, twoClusters, "--drain-timeout", "1ms")
	<-f.running
	cancel()
	if code := <-end; code != exitForced || !strings.Contains(stderr.String(), "longer than 1ms") {
		t.Errorf("exit code %d: %s", code, stderr)
	}
	if code, _, stderr := kferry(t, "run", "--drain-timeout", "0s", "-c", file(t, "k.yaml", twoClusters)); code != exitUsage {
		t.Errorf("--drain-timeout 0s: exit code %d: %s", code, stderr)
	}
}

func TestPortTaken(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	_, stderr, end := launch(t, newFake(), strings.Replace(twoClusters, "127.0.0.1:0", ln.Addr().String(), 1))
	if code := <-end; code != exitFailure || !strings.Contains(stderr.String(), "http.listen") {
		t.Errorf("exit code %d: %s", code, stderr)
	}
}

func TestNoServer(t *testing.T) {
	for _, off := range []string{"off", ""} {
		f := newFake()
		cancel, stderr, end := launch(t, f, strings.Replace(twoClusters, "127.0.0.1:0", off, 1))
		<-f.running
		cancel()
		if code := <-end; code != 0 || strings.Contains(stderr.String(), "/metrics") {
			t.Errorf("listen %q: exit code %d: %s", off, code, stderr)
		}
	}
}

func TestLogFlags(t *testing.T) {
	f := newFake()
	cancel, stderr, end := launch(t, f, twoClusters, "--log-level", "error", "--log-format", "text")
	<-f.running
	cancel()
	if code := <-end; code != 0 || stderr.String() != "" {
		t.Errorf("exit code %d, and at level error the log should be empty: %s", code, stderr)
	}
	f = newFake()
	cancel, stderr, end = launch(t, f, twoClusters+"log: { level: error }\n", "--log-level", "info", "--log-format", "text")
	<-f.running
	cancel()
	if code := <-end; code != 0 || !strings.Contains(stderr.String(), "level=INFO") {
		t.Errorf("exit code %d, and the flag should win over the file: %s", code, stderr)
	}
}

func TestMemoryLimit(t *testing.T) {
	defer debug.SetMemoryLimit(debug.SetMemoryLimit(-1))
	cfg := &config.Config{MemoryBudget: 32 << 20, Log: config.Log{Level: "error", Format: "json"}}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	o := runOptions{drainTimeout: time.Hour}
	for _, c := range []struct {
		environ []string
		want    int64
	}{
		{nil, 128 << 20},
		{[]string{"GOMEMLIMIT=1GiB"}, math.MaxInt64},
	} {
		debug.SetMemoryLimit(math.MaxInt64)
		p, _ := fakeProcess(newFake())
		p.environ = c.environ
		if err := o.run(ctx, p, cfg); err != nil {
			t.Fatal(err)
		}
		if got := debug.SetMemoryLimit(-1); got != c.want {
			t.Errorf("%q: limit %d, want %d", c.environ, got, c.want)
		}
	}
}

func TestLookup(t *testing.T) {
	env := []string{"A=1", "EMPTY=", "A=2", "B=x=y", "ODD"}
	for name, want := range map[string]struct {
		value string
		ok    bool
	}{"A": {"2", true}, "EMPTY": {"", true}, "B": {"x=y", true}, "ODD": {}, "C": {}} {
		if v, ok := lookup(env, name); v != want.value || ok != want.ok {
			t.Errorf("%s: got %q, %v", name, v, ok)
		}
	}
}

// Profiles are served if the configuration says so.
func TestRunServesProfiles(t *testing.T) {
	for _, on := range []bool{false, true} {
		f := newFake()
		cancel, stderr, end := launch(t, f, strings.Replace(twoClusters, `"127.0.0.1:0" }`, fmt.Sprintf(`"127.0.0.1:0", pprof: %v }`, on), 1))
		<-f.running
		url := regexp.MustCompile(`(http://[0-9.:]+)/metrics`).FindStringSubmatch(stderr.String())[1]
		resp, err := http.Get(url + "/debug/pprof/cmdline")
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if on != (resp.StatusCode == 200) {
			t.Errorf("pprof %v: %s", on, resp.Status)
		}
		cancel()
		<-end
	}
}
