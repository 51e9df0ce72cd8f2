package web

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
)

// browser starts a headless Chromium that ends with the test. Without one on the
// machine the test is skipped, unless KFERRY_REQUIRE_BROWSER is set.
func browser(t *testing.T) context.Context {
	t.Helper()
	path := os.Getenv("KFERRY_TEST_BROWSER")
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome", "chrome"} {
		if found, err := exec.LookPath(name); err == nil && path == "" {
			path = found
		}
	}
	switch {
	case path != "":
	case os.Getenv("KFERRY_REQUIRE_BROWSER") != "":
		t.Fatal("no Chromium on this machine, and KFERRY_REQUIRE_BROWSER is set")
	default:
		t.Skip("no Chromium on this machine: the status page is not looked at (KFERRY_TEST_BROWSER names one)")
	}
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(path), chromedp.NoSandbox)
	ctx, cancel := chromedp.NewExecAllocator(t.Context(), options...)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewContext(ctx)
	t.Cleanup(cancel)
	if err := chromedp.Do(ctx); err != nil {
		t.Fatal(err)
	}
	return ctx
}

// tab is a page that is open.
type tab struct {
	t   *testing.T
	ctx context.Context

	mu    sync.Mutex
	wrong []string // what the console said, and what failed to load
}

func openTab(t *testing.T, browser context.Context, width int64, dark bool, url string) *tab {
	t.Helper()
	ctx, cancel := chromedp.NewContext(browser)
	t.Cleanup(cancel)
	ctx, cancel = context.WithTimeout(ctx, 2*time.Minute)
	t.Cleanup(cancel)
	x := &tab{t: t, ctx: ctx}
	messages := chromedp.Console(ctx)
	go func() {
		for m, err := range messages {
			if err != nil {
				return
			}
			x.mu.Lock()
			x.wrong = append(x.wrong, m.String())
			x.mu.Unlock()
		}
	}()
	scheme := "light"
	if dark {
		scheme = "dark"
	}
	if _, err := chromedp.Call(ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
		Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}},
	}); err != nil {
		t.Fatal(err)
	}
	x.do(chromedp.EmulateViewport(width, 900, chromedp.EmulateScale(1)), chromedp.Navigate(url))
	return x
}

func (x *tab) do(actions ...chromedp.Action[chromedp.Void]) {
	x.t.Helper()
	if err := chromedp.Do(x.ctx, actions...); err != nil {
		x.t.Fatal(err)
	}
}

// eval runs an expression, which may be a promise, and returns its value.
func eval[T any](x *tab, expression string) T {
	x.t.Helper()
	v, err := chromedp.Run(x.ctx, chromedp.Evaluate[T](expression, chromedp.EvalAwaitPromise))
	if err != nil {
		x.t.Fatal(err)
	}
	return v
}

// await waits until an expression is true.
func (x *tab) await(expression string) {
	x.t.Helper()
	for !eval[bool](x, expression) {
		select {
		case <-time.After(20 * time.Millisecond):
		case <-x.ctx.Done():
			x.t.Fatalf("it never came true: %s", expression)
		}
	}
}

// quiet wants nothing to have gone wrong.
func (x *tab) quiet() {
	x.t.Helper()
	x.mu.Lock()
	defer x.mu.Unlock()
	if len(x.wrong) > 0 {
		x.t.Errorf("the browser complains: %s", strings.Join(x.wrong, "\n"))
	}
}

// fits wants the page to be no wider than the window.
func (x *tab) fits(width int64) {
	x.t.Helper()
	if wide := eval[int64](x, "document.documentElement.scrollWidth"); wide > width {
		x.t.Errorf("the page is %d wide in a window of %d: %s", wide, width, eval[string](x,
			`[...document.querySelectorAll("body *")].filter(e => e.getBoundingClientRect().right > innerWidth && !e.closest(".scroll")).slice(0, 5).map(e => e.outerHTML.slice(0, 150)).join("\n")`))
	}
}

// accessible wants axe-core to find nothing serious.
func (x *tab) accessible() {
	x.t.Helper()
	axe, err := os.ReadFile(filepath.Join("testdata", "axe-core-4.14.1", "axe.min.js"))
	if err != nil {
		x.t.Fatal(err)
	}
	found := eval[string](x, string(axe)+`; axe.run(document).then(r => JSON.stringify(r.violations.map(
		v => ({id: v.id, impact: v.impact, help: v.help, at: v.nodes.slice(0, 5).map(n => n.html.slice(0, 200) + " " + n.failureSummary)}))))`)
	var violations []struct {
		ID, Impact, Help string
		At               []string
	}
	if err := json.Unmarshal([]byte(found), &violations); err != nil {
		x.t.Fatal(err)
	}
	for _, v := range violations {
		if v.Impact == "serious" || v.Impact == "critical" {
			x.t.Errorf("axe-core: %s %s: %s\n%s", v.Impact, v.ID, v.Help, strings.Join(v.At, "\n"))
		} else {
			x.t.Logf("axe-core: %s %s: %s\n%s", v.Impact, v.ID, v.Help, strings.Join(v.At, "\n"))
		}
	}
}

// picture keeps a screenshot of the whole page where KFERRY_TEST_PICTURES says.
func (x *tab) picture(name string) {
	x.t.Helper()
	folder := os.Getenv("KFERRY_TEST_PICTURES")
	if folder == "" {
		return
	}
	png, err := chromedp.Run(x.ctx, chromedp.FullScreenshot(100))
	if err != nil {
		x.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(folder, name+".png"), png, 0o644); err != nil { //nolint:gosec // pictures are to be looked at
		x.t.Fatal(err)
	}
}

// open serves s.
func open(t *testing.T, o Options) (url string) {
	t.Helper()
	srv := httptest.NewServer(handler(o, slog.NewLogLogger(slog.DiscardHandler, slog.LevelWarn)))
	t.Cleanup(srv.Close)
	return srv.URL
}

// The page in its states, on a desk and on a phone, by day and by night.
func TestPageInABrowser(t *testing.T) {
	b := browser(t)
	for _, world := range []struct {
		name string
		make func() *source
		says string
	}{
		{"healthy", healthy, "Safe to switch: yes."}, {"lagging", lagging, "Safe to switch: no,"}, {"stopped", stopped, "2 things need somebody"}, {"empty", empty, "No lanes yet: the flow is still starting"},
		{"hostile", hostile, "Recent events"},
	} {
		for _, width := range []int64{1280, 390} {
			for _, dark := range []bool{false, true} {
				name := fmt.Sprintf("%s-%d", world.name, width)
				if dark {
					name += "-dark"
				}
				t.Run(name, func(t *testing.T) {
					o := options(world.make())
					o.Actor, o.Token = new(actor), token
					x := openTab(t, b, width, dark, open(t, o)+"/")
					body, title := eval[string](x, "document.body.innerText"), eval[string](x, "document.title")
					if !strings.Contains(body, world.says) || title == "owned" {
						t.Errorf("%q, %q", title, body)
					}
					x.fits(width)
					x.accessible()
					x.quiet()
					x.picture(name)
				})
			}
		}
	}
}
