package ferrytest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// Ferry is one kferry process.
type Ferry struct {
	t       testing.TB
	out     *output
	pid     int
	Done    chan struct{} // closed when it has ended and is reaped
	Code    int           // exit code, or -1 after a signal; read only after Done
	Began   time.Time
	secrets []string
}

// output collects what a process prints.
type output struct {
	mu   sync.Mutex
	text []byte
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.text = append(o.text, p...)
	return len(p), nil
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return string(o.text)
}

// Launch starts kferry with args. When the test ends, the process is killed if it still runs, its output must hold none
// of secrets, and it is shown if the test failed.
func Launch(t testing.TB, path string, env, secrets, args []string) *Ferry {
	t.Helper()
	f := &Ferry{t: t, out: &output{}, Done: make(chan struct{}), Began: time.Now(), secrets: secrets}
	cmd := exec.Command(path, args...) //nolint:gosec // the binary that we built
	cmd.Env, cmd.Stdout, cmd.Stderr, cmd.SysProcAttr = env, f.out, f.out, childAttr()
	started := make(chan error)
	go func() {
		// The kernel watches the thread that forked, so it must live as long as the child does.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		if err := cmd.Start(); err != nil {
			started <- err
			return
		}
		f.pid = cmd.Process.Pid
		started <- nil
		_ = cmd.Wait() // the state tells
		f.Code = cmd.ProcessState.ExitCode()
		close(f.Done)
	}()
	if err := <-started; err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.cleanup)
	return f
}

func (f *Ferry) cleanup() {
	f.Kill()
	text := f.out.String()
	for _, s := range f.secrets {
		if strings.Contains(text, s) {
			f.t.Errorf("a secret is in the output of kferry: %q", s)
		}
	}
	if f.t.Failed() || os.Getenv("KFERRY_TEST_OUTPUT") != "" {
		const most = 16 << 10
		f.t.Logf("output of kferry %d:\n%s", f.pid, text[max(0, len(text)-most):])
	}
}

// Running tells whether the process lives; a frozen one does.
func (f *Ferry) Running() bool {
	select {
	case <-f.Done:
		return false
	default:
		return true
	}
}

// Signal sends s to the process, if it still runs.
func (f *Ferry) Signal(s syscall.Signal) {
	if f.Running() {
		_ = syscall.Kill(f.pid, s) // it may have ended at this moment
	}
}

// Kill ends the process as kill -9 does.
func (f *Ferry) Kill() {
	f.Signal(syscall.SIGKILL)
	<-f.Done
}

// Exit waits for the process to end by itself and wants one of these exit codes.
func (f *Ferry) Exit(want ...int) {
	f.t.Helper()
	select {
	case <-f.Done:
	case <-time.After(Patience):
		f.t.Fatalf("kferry still runs after %v", Patience)
	}
	if !slices.Contains(want, f.Code) {
		f.t.Errorf("exit code %d, want %v", f.Code, want)
	}
}

// Stop asks the process to end, and wants it to end cleanly.
func (f *Ferry) Stop() {
	f.t.Helper()
	f.Signal(syscall.SIGTERM)
	f.Exit(0)
}

// Says waits until the output holds what pattern matches, and returns what its first group matched.
func (f *Ferry) Says(pattern string) string {
	f.t.Helper()
	re := regexp.MustCompile(pattern)
	var found []string
	Eventually(f.t, Patience, "kferry prints "+pattern, func() (bool, string) {
		ended := !f.Running()
		if found = re.FindStringSubmatch(f.out.String()); found == nil && ended {
			f.t.Fatalf("kferry ended with %d and did not print %s", f.Code, pattern)
		}
		return found != nil, ""
	})
	return found[len(found)-1]
}

// Quiet wants the output to hold nothing that pattern matches.
func (f *Ferry) Quiet(pattern string) {
	f.t.Helper()
	if m := regexp.MustCompile(pattern).FindString(f.out.String()); m != "" {
		f.t.Errorf("kferry printed %q", m)
	}
}

// Output is what the process has printed until now.
func (f *Ferry) Output() string { return f.out.String() }

var page = regexp.MustCompile(`(http://[0-9.:]+)/metrics`)

// Get asks kferry's own web server for a path.
func (f *Ferry) Get(path string) (code int, body string, err error) {
	f.Says(page.String())
	return f.ask(path, Patience)
}

// Peek is Get without waiting for the web server to be there; any goroutine may call it.
func (f *Ferry) Peek(path string) (code int, body string, err error) {
	return f.ask(path, 10*time.Second)
}

func (f *Ferry) ask(path string, limit time.Duration) (code int, body string, err error) {
	found := page.FindStringSubmatch(f.Output())
	if found == nil {
		return 0, "", errors.New("kferry has not said yet where its web server is")
	}
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, found[1]+path, nil)
	if err != nil {
		return 0, "", err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer func() { _ = resp.Body.Close() }() // it was only read
	b, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(b), err
}

// Ready waits until /readyz says yes.
func (f *Ferry) Ready() {
	f.t.Helper()
	Eventually(f.t, Patience, "/readyz answers 200", func() (bool, string) {
		code, body, err := f.Get("/readyz")
		return code == http.StatusOK, fmt.Sprint(code, " ", body, err)
	})
}

// Metric sums the samples of name that have all of labels, each as label="value".
func (f *Ferry) Metric(name string, labels ...string) float64 {
	f.t.Helper()
	sum, err := f.metric(name, labels...)
	if err != nil {
		f.t.Fatalf("/metrics: %v", err)
	}
	return sum
}

// metric is Metric for one who asks again.
func (f *Ferry) metric(name string, labels ...string) (float64, error) {
	_, body, err := f.Get("/metrics")
	return Sample(body, name, labels...), err
}

// Sample is Metric for a page that was read before.
func Sample(body, name string, labels ...string) (sum float64) {
lines:
	for line := range strings.Lines(body) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		own, rest, _ := strings.Cut(key, "{")
		if own != name {
			continue
		}
		for _, l := range labels {
			if !strings.Contains(rest, l) {
				continue lines
			}
		}
		if n, err := strconv.ParseFloat(value, 64); err == nil {
			sum += n
		}
	}
	return sum
}

// Lanes waits until that many lanes are in state.
func (f *Ferry) Lanes(state string, want int) {
	f.t.Helper()
	Eventually(f.t, Patience, fmt.Sprintf("%d lanes %s", want, state), func() (bool, string) {
		got, err := f.metric("kferry_lanes", `state="`+state+`"`)
		return err == nil && int(got) == want, fmt.Sprintf("%v lanes are %s; %v", got, state, err)
	})
}

// Carries waits until the target has acknowledged something.
func (f *Ferry) Carries() {
	f.t.Helper()
	Eventually(f.t, Patience, "kferry carries", func() (bool, string) {
		records, err := f.metric("kferry_records_total")
		return err == nil && records > 0, fmt.Sprint(err)
	})
}
