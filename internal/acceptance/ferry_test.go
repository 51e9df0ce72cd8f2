package acceptance

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// The exit codes of kferry, as "kferry help exit-codes" lists them.
const (
	exitOK      = 0
	exitFailure = 1
	exitConfig  = 3
	exitConnect = 4
)

// ferry is one kferry process.
type ferry struct {
	t       testing.TB
	out     *output
	pid     int
	done    chan struct{} // closed when it has ended and is reaped
	code    int           // exit code, or -1 after a signal; read only after done
	began   time.Time
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

// launch starts kferry with args. When the test ends, the process is killed if it still runs, its output must hold none
// of secrets, and it is shown if the test failed.
func launch(t testing.TB, path string, env, secrets, args []string) *ferry {
	t.Helper()
	f := &ferry{t: t, out: &output{}, done: make(chan struct{}), began: time.Now(), secrets: secrets}
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
		f.code = cmd.ProcessState.ExitCode()
		close(f.done)
	}()
	if err := <-started; err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.cleanup)
	return f
}

func (f *ferry) cleanup() {
	f.kill()
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

func (f *ferry) running() bool {
	select {
	case <-f.done:
		return false
	default:
		return true
	}
}

func (f *ferry) signal(s syscall.Signal) {
	if f.running() {
		_ = syscall.Kill(f.pid, s) // it may have ended at this moment
	}
}

// kill ends the process as kill -9 does.
func (f *ferry) kill() {
	f.signal(syscall.SIGKILL)
	<-f.done
}

// exit waits for the process to end by itself and wants this exit code.
func (f *ferry) exit(want int) {
	f.t.Helper()
	select {
	case <-f.done:
	case <-time.After(patience):
		f.t.Fatalf("kferry still runs after %v", patience)
	}
	if f.code != want {
		f.t.Errorf("exit code %d, want %d", f.code, want)
	}
}

// stop asks the process to end, and wants it to end cleanly.
func (f *ferry) stop() {
	f.t.Helper()
	f.signal(syscall.SIGTERM)
	f.exit(exitOK)
}

// says waits until the output holds what pattern matches, and returns what its first group matched.
func (f *ferry) says(pattern string) string {
	f.t.Helper()
	re := regexp.MustCompile(pattern)
	var found []string
	eventually(f.t, patience, "kferry prints "+pattern, func() (bool, string) {
		ended := !f.running()
		if found = re.FindStringSubmatch(f.out.String()); found == nil && ended {
			f.t.Fatalf("kferry ended with %d and did not print %s", f.code, pattern)
		}
		return found != nil, ""
	})
	return found[len(found)-1]
}

// quiet wants the output to hold nothing that pattern matches.
func (f *ferry) quiet(pattern string) {
	f.t.Helper()
	if m := regexp.MustCompile(pattern).FindString(f.out.String()); m != "" {
		f.t.Errorf("kferry printed %q", m)
	}
}

// get asks kferry's own web server for a path.
func (f *ferry) get(path string) (code int, body string, err error) {
	base := f.says(`(http://[0-9.:]+)/metrics`)
	ctx, cancel := context.WithTimeout(f.t.Context(), 10*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, base+path, nil)
	if err != nil {
		return 0, "", err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(b), err
}

// ready waits until /readyz says yes.
func (f *ferry) ready() {
	f.t.Helper()
	eventually(f.t, patience, "/readyz answers 200", func() (bool, string) {
		code, body, err := f.get("/readyz")
		return code == http.StatusOK, fmt.Sprint(code, " ", body, err)
	})
}

// metric sums the samples of name that have all of labels, each as label="value".
func (f *ferry) metric(name string, labels ...string) float64 {
	f.t.Helper()
	_, body, err := f.get("/metrics")
	if err != nil {
		f.t.Fatalf("/metrics: %v", err)
	}
	return sample(body, name, labels...)
}

func sample(body, name string, labels ...string) (sum float64) {
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

// lanes waits until that many lanes are in state.
func (f *ferry) lanes(state string, want int) {
	f.t.Helper()
	eventually(f.t, patience, fmt.Sprintf("%d lanes %s", want, state), func() (bool, string) {
		got := f.metric("kferry_lanes", `state="`+state+`"`)
		return int(got) == want, fmt.Sprintf("%v lanes are %s", got, state)
	})
}

// carries waits until the target has acknowledged something.
func (f *ferry) carries() {
	f.t.Helper()
	eventually(f.t, patience, "kferry carries", func() (bool, string) {
		return f.metric("kferry_records_total") > 0, ""
	})
}
