package chaos

import (
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/kferry/kferry/internal/ferrytest"
)

// silence is how long lanes may wait or be stopped with nothing in the log. kferry itself says it after a second or two.
const silence = 15 * time.Second

// warned matches a line that tells of trouble.
var warned = regexp.MustCompile(`level=(WARN|ERROR)`)

// watch looks at the lanes of all replicas until it is stopped, and finds those that are stuck without a word.
type watch struct {
	t     testing.TB
	end   chan struct{}
	once  sync.Once
	works sync.WaitGroup

	mu      sync.Mutex
	waiting int           // most lanes at once that were waiting
	stopped int           // or stopped
	longest time.Duration // that some lane of a replica was either
}

func newWatch(t testing.TB) *watch {
	w := &watch{t: t, end: make(chan struct{})}
	t.Cleanup(w.stop)
	return w
}

func (w *watch) stop() {
	w.once.Do(func() { close(w.end) })
	w.works.Wait()
}

// add watches f for as long as it lives.
func (w *watch) add(f *ferrytest.Ferry) {
	w.works.Go(func() {
		var since time.Time // when the lanes of f began to be stuck; zero when none is
		said := 0           // length of the log then
		tick := time.NewTicker(200 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
			case <-f.Done:
				return
			case <-w.end:
				return
			}
			stuck, ok := w.look(f)
			switch {
			case !ok:
			case !stuck:
				since = time.Time{}
			case since.IsZero():
				// What is said first may be said before metrics are read.
				since, said = time.Now(), max(0, len(f.Output())-4096)
			default:
				w.stuck(f, since, said)
			}
		}
	})
}

// look tells whether lanes of f are waiting or stopped; ok is false when f does not answer: it is frozen, or starts.
func (w *watch) look(f *ferrytest.Ferry) (stuck, ok bool) {
	code, body, err := f.Peek("/metrics")
	if err != nil || code != http.StatusOK {
		return false, false
	}
	waiting, stopped := lanes(body, "waiting"), lanes(body, "stopped")
	w.mu.Lock()
	defer w.mu.Unlock()
	w.waiting, w.stopped = max(w.waiting, waiting), max(w.stopped, stopped)
	return waiting+stopped > 0, true
}

func (w *watch) stuck(f *ferrytest.Ferry, since time.Time, said int) {
	lasts := time.Since(since)
	w.mu.Lock()
	w.longest = max(w.longest, lasts)
	w.mu.Unlock()
	if lasts > silence && !warned.MatchString(f.Output()[said:]) {
		w.t.Errorf("lanes are waiting or stopped for %v, and the log does not say why", lasts.Round(time.Second))
	}
}

func (w *watch) summary() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return fmt.Sprintf("at most %d lanes waiting and %d stopped, for %v at most", w.waiting, w.stopped, w.longest.Round(100*time.Millisecond))
}

func lanes(page, state string) int {
	return int(ferrytest.Sample(page, "kferry_lanes", `state="`+state+`"`))
}

// loud wants some replica to have lanes waiting or stopped, and a line in its log that matches pattern and tells of
// trouble; since is where the logs were when the fault began.
func (w *world) loud(since []int, pattern string) {
	w.t.Helper()
	re := regexp.MustCompile(`level=(WARN|ERROR).*` + pattern)
	seen, said := false, false
	w.eventually("kferry shows and says what is wrong", func() (bool, string) {
		var pages []string
		for i, f := range w.replicas {
			_, body, err := f.Peek("/metrics")
			seen = seen || err == nil && lanes(body, "waiting")+lanes(body, "stopped") > 0
			said = said || re.MatchString(f.Output()[since[i]:])
			pages = append(pages, body)
		}
		return seen && said, fmt.Sprintf("in /metrics: %v, in the log: %v\n%s", seen, said, strings.Join(pages, "\n"))
	})
}

// logs is where the logs of the replicas are.
func (w *world) logs() (at []int) {
	for _, f := range w.replicas {
		at = append(at, len(f.Output()))
	}
	return at
}

// laneView is a lane as /api/v1/lanes has it.
type laneView struct {
	Topic        string `json:"topic"`
	Partition    int32  `json:"partition"`
	State        string `json:"state"`
	Reason       string `json:"reason"`
	SourceOffset int64  `json:"source_offset"`
}

// lanes are those of all replicas that answer.
func (w *world) lanes() (all []laneView) {
	for _, f := range w.replicas {
		_, body, err := f.Peek("/api/v1/lanes?limit=1000")
		var view struct {
			Lanes []laneView `json:"lanes"`
		}
		if err == nil && json.Unmarshal([]byte(body), &view) == nil {
			all = append(all, view.Lanes...)
		}
	}
	return all
}
