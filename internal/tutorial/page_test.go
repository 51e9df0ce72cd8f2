package tutorial

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/kferry/kferry/internal/ferrytest"
	"github.com/kferry/kferry/internal/kafkatest"
)

// A block is what stands between two fences of the page. What is to be done with it says a comment before it, which a
// reader does not see:
//
//	<!-- yours -->        a person's own values: not run; it must set what the test's environment has
//	<!-- file: NAME -->   the content of a file
//	<!-- terminal N -->   a command that goes on in a terminal of its own, until <!-- stop N -->
//	<!-- exit N -->       a command that ends with N
//
// A block sh without a comment is run and must end with 0. A block text after it is what it prints: line by line, with a
// line "..." for any lines and "..." inside a line for any text; a number of two digits or more stands for any number.
type block struct {
	line     int // in the page
	language string
	text     string
	yours    bool
	file     string
	terminal string
	exit     int
	stop     []string // terminals, before the block
}

var comment = regexp.MustCompile(`^<!-- (yours|file: (\S+)|terminal (\d)|exit (\d)|stop (\d)) -->$`)

// readPage takes the page apart.
func readPage(t testing.TB) (blocks []block) {
	t.Helper()
	page, err := os.ReadFile(pageFile)
	if err != nil {
		t.Fatal(err)
	}
	next, inside := block{}, false
	for i, line := range strings.Split(string(page), "\n") {
		language, fence := strings.CutPrefix(line, "```")
		m := comment.FindStringSubmatch(line)
		switch {
		case fence && !inside:
			next.line, next.language, inside = i+1, language, true
		case fence:
			blocks = append(blocks, next)
			next, inside = block{}, false
		case inside:
			next.text += line + "\n"
		case m != nil && m[1] == "yours":
			next.yours = true
		case m != nil && m[5] != "":
			next.stop = append(next.stop, m[5])
		case m != nil:
			next.file, next.terminal = m[2], m[3]
			_, _ = fmt.Sscan(m[4], &next.exit) // "" leaves 0
		case strings.HasPrefix(line, "<!-- "):
			t.Errorf("%s:%d: unknown comment %s", pageFile, i+1, line)
		}
	}
	return blocks
}

// inOneShell runs a block as if all were typed in one shell: what one exports the next ones have.
const inOneShell = `
set -euo pipefail
[ ! -f KEPT ] || . KEPT
trap 'export -p > KEPT' EXIT
BLOCK`

// The page's story, as it stands there.
func TestPage(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "pizza-", "orders")
	kferry := ferrytest.Hurried(t, w.source.Dir())
	w.env = append(w.env, "PATH="+filepath.Dir(kferry)+":"+kafkatest.Tools(t)+":"+os.Getenv("PATH"), "KFERRY_HTTP_LISTEN="+freeAddress(t))
	terminals, printed, kept := map[string]*terminal{}, "", filepath.Join(t.TempDir(), "kept")
	for _, b := range readPage(t) {
		for _, n := range b.stop {
			terminals[n].interrupt()
		}
		at := fmt.Sprintf("%s:%d", pageFile, b.line)
		switch {
		case b.yours:
			for _, m := range regexp.MustCompile(`(?m)^export (\w+)=`).FindAllStringSubmatch(b.text, -1) {
				if !slices.ContainsFunc(w.env, func(e string) bool { return strings.HasPrefix(e, m[1]+"=") }) {
					t.Errorf("%s: the test does not set %s", at, m[1])
				}
			}
		case b.file != "":
			if err := os.WriteFile(filepath.Join(w.dir, b.file), []byte(b.text), 0o600); err != nil {
				t.Fatal(err)
			}
		case b.terminal != "":
			terminals[b.terminal] = w.open(b.text)
		case b.language == "sh":
			began := time.Now()
			printed = w.run(b.exit, "bash", "-c", strings.NewReplacer("KEPT", kept, "BLOCK", b.text).Replace(inOneShell))
			t.Logf("%s: %v\n%s%s", at, time.Since(began).Round(100*time.Millisecond), b.text, printed)
		case b.language == "text":
			if problem := shows(b.text, printed); problem != "" {
				t.Fatalf("%s: %s; it printed\n%s", at, problem, printed)
			}
		default:
			t.Errorf("%s: a block of %q: is it a file, a command, or what one prints?", at, b.language)
		}
	}
	w.same("pizza-clicks")
	w.noSecrets()
	if n := len(w.aiven.Services()); n != 1 || len(w.aiven.Flows())+len(w.aiven.Endpoints())+len(w.aiven.Integrations()) != 0 {
		t.Errorf("%d services are left, and %v %v", n, w.aiven.Flows(), w.aiven.Endpoints())
	}
}

// freeAddress is one that nobody listens at now.
func freeAddress(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().String()
}

var number = regexp.MustCompile(`\d[\d,.]*\d`)

// shows says what is missing of what the page shows, "" if nothing is.
func shows(page, printed string) string {
	lines := strings.Split(strings.TrimRight(printed, "\n"), "\n")
	at, gap := 0, false
	for want := range strings.Lines(page) {
		want = strings.Join(strings.Fields(want), " ")
		if want == "..." {
			gap = true
			continue
		}
		text := regexp.QuoteMeta(number.ReplaceAllString(strings.ReplaceAll(want, "...", "\x00"), "\x01"))
		re := regexp.MustCompile("^" + strings.NewReplacer("\x00", ".*", "\x01", `\d[\d,.]*`).Replace(text) + "$")
		fits := func(line string) bool { return re.MatchString(strings.Join(strings.Fields(line), " ")) }
		if gap {
			at += max(slices.IndexFunc(lines[at:], fits), 0)
		}
		if at == len(lines) || !fits(lines[at]) {
			return fmt.Sprintf("the page shows %q", want)
		}
		at, gap = at+1, false
	}
	if at < len(lines) && !gap {
		return fmt.Sprintf("the page does not show %q", lines[at])
	}
	return ""
}

func TestShows(t *testing.T) {
	for _, c := range []struct {
		page, printed string
		ok            bool
	}{
		{"a\nb\n", "a\nb\n", true},
		{"a\n", "a\nb\n", false},
		{"b\n", "a\nb\n", false},
		{"...\nb\n", "a\nb\n", true},
		{"a\n...\n", "a\nb\nc\n", true},
		{"a\n...\nc\n", "a\nb\nd\n", false},
		{"12,345 records  here\n", "7 records here\n", true},
		{"lag 0\n", "lag 10\n", false},
		{"took ... s\n", "took 1.5 s\n", true},
		{"x (y) [z]\n", "x (y) [z]\n", true},
	} {
		if got := shows(c.page, c.printed); (got == "") != c.ok {
			t.Errorf("%q, %q: %q", c.page, c.printed, got)
		}
	}
}

// A terminal has a command that goes on.
type terminal struct {
	w    *world
	cmd  *exec.Cmd
	done chan struct{}
	out  bytes.Buffer // read only after done
}

func (w *world) open(text string) *terminal {
	w.t.Helper()
	term := &terminal{w: w, cmd: exec.Command("bash", "-euo", "pipefail", "-c", text), done: make(chan struct{})}
	term.cmd.Dir, term.cmd.Env, term.cmd.Stdout, term.cmd.Stderr = w.dir, w.env, &term.out, &term.out
	term.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := term.cmd.Start(); err != nil {
		w.t.Fatal(err)
	}
	go func() {
		_ = term.cmd.Wait() // the state tells
		close(term.done)
	}()
	w.t.Cleanup(func() {
		_ = syscall.Kill(-term.cmd.Process.Pid, syscall.SIGKILL)
		<-term.done
		if w.t.Failed() {
			w.t.Logf("terminal: %s%s", text, term.out.Bytes())
		}
	})
	return term
}

// interrupt is Ctrl-C, after which the command must end well.
func (term *terminal) interrupt() {
	term.w.t.Helper()
	_ = syscall.Kill(-term.cmd.Process.Pid, syscall.SIGINT)
	select {
	case <-term.done:
	case <-time.After(ferrytest.Patience):
		term.w.t.Fatal("Ctrl-C does not end it")
	}
	term.w.said.Write(term.out.Bytes())
	// A shell that is interrupted may end by the signal; kferry itself must not.
	if s := term.cmd.ProcessState; s.ExitCode() > 0 {
		term.w.t.Errorf("after Ctrl-C: exit code %d\n%s", s.ExitCode(), term.out.Bytes())
	}
}
