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
	if testing.Short() {
		t.Skip("starting a browser takes long")
	}
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

func openTab(browser context.Context, t *testing.T, width int64, dark bool, url string) *tab {
	t.Helper()
	ctx, cancel := chromedp.NewContext(browser)
	t.Cleanup(cancel)
	ctx, cancel = context.WithTimeout(ctx, time.Minute)
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
		Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}, {Name: "prefers-reduced-motion", Value: "reduce"}}, // else a click misses what still scrolls
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
	for !eval[bool](x, "Boolean("+expression+")") {
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
					x := openTab(b, t, width, dark, open(t, o)+"/")
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

// world is a source that changes while it is looked at.
type world struct {
	mu  sync.Mutex
	now *source
}

func (w *world) set(s *source) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.now = s
}

func (w *world) at() *source {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.now
}

func (w *world) Ready() error                     { return nil }
func (w *world) View() *View                      { return w.at().View() }
func (w *world) History(f, t string) []Point      { return w.at().History(f, t) }
func (w *world) Offsets() []Offset                { return nil }
func (w *world) Translate(q Lookup) []Translation { return nil }
func (w *world) Events(after uint64) []Event      { return w.at().Events(after) }

// The page follows what happens, and lanes are chosen and sorted in it.
func TestPageIsLive(t *testing.T) {
	b := browser(t)
	w := &world{now: healthy()}
	x := openTab(b, t, 1280, false, open(t, options(w))+"/")
	w.set(stopped())
	x.await(`document.querySelector("h1")?.textContent === "2 things need somebody"`)

	x.do(chromedp.SendKeys(chromedp.CSS("#choose [name=topic]"), "PAY"))
	x.await(`document.querySelector(".found")?.textContent === "1–3 of 3 lanes"`)
	x.do(chromedp.Click(chromedp.CSS(`[data-key="sort-lag_records"]`)))
	x.await(`document.querySelector("[data-key=sort-lag_records]").closest("th").ariaSort === "descending"`)
	if got, want := eval[string](x, "location.search"), "?order=desc&sort=lag_records&topic=PAY"; got != want {
		t.Errorf("the address has %s, want %s", got, want)
	}
	if !eval[bool](x, `document.activeElement.dataset.key === "sort-lag_records"`) {
		t.Error("what was clicked has lost the focus")
	}
	x.do(chromedp.Click(chromedp.CSS(`[data-key="sort-lag_records"]`)))
	x.await(`document.querySelector("[data-key=sort-lag_records]").closest("th").ariaSort === "ascending"`)
	if got := eval[string](x, `[...document.querySelectorAll(".lanes tbody tr:not(.why) td:nth-child(2)")].map(e => e.textContent).join()`); got != "2,1,0" {
		t.Errorf("by lag the partitions are %s", got)
	}
	x.do(chromedp.SendKeys(chromedp.CSS("#choose [name=topic]"), "nothing"))
	x.await(`document.querySelector("#lanes .empty")?.textContent.startsWith("None of the 12 lanes are like that")`)
	x.do(chromedp.Click(chromedp.CSS(`[data-key=all]`)))
	x.await(`document.querySelector(".found")?.textContent === "1–12 of 12 lanes"`)
	x.quiet()

	// Held still, it stays as it is, and goes on when it is let.
	x.do(chromedp.Click(chromedp.CSS("#live")))
	if got := eval[string](x, `document.querySelector("#live").textContent + document.querySelector("#live").ariaPressed`); got != "Pausedfalse" {
		t.Errorf("the button is %s", got)
	}
	w.set(healthy())
	x.do(chromedp.Click(chromedp.CSS("#live")))
	x.await(`document.querySelector("h1")?.textContent === "All is well"`)
}

// The buttons are there once a token is given, and do what they say.
func TestPageActs(t *testing.T) {
	b := browser(t)
	a := new(actor)
	o := options(stopped())
	o.Actor, o.Token = a, token
	x := openTab(b, t, 1280, false, open(t, o)+"/")
	if eval[int](x, `[...document.querySelectorAll("[data-act]")].filter(e => e.checkVisibility()).length`) != 0 {
		t.Error("there are buttons before a token is given")
	}
	eval[any](x, `window.confirm = () => true`)
	for _, c := range []struct{ token, click, told string }{
		{"a wrong one", `[data-act=retry]`, ""},
		{token, `[data-act=retry]`, `retry "cloudkarafka-aiven" "pizza-payments" 1`},
		{token, `.flow [data-act=pause]`, `pause "cloudkarafka-aiven" "" by the API, from 127.0.0.1`},
		{token, `.topics [data-act=resume]`, `resume "cloudkarafka-aiven" "pizza-deliveries"`},
		{token, `#level button`, `level "info"`},
	} {
		x.do(chromedp.SendKeys(chromedp.CSS("#token [name=token]"), c.token+"\r"), chromedp.WaitVisible(chromedp.CSS(c.click)),
			chromedp.Click(chromedp.CSS(c.click)), chromedp.WaitVisible(chromedp.CSS("#said")))
		if c.told == "" {
			x.await(`document.querySelector("#said")?.textContent.startsWith("Refused: the token is missing or wrong")`)
			x.mu.Lock()
			x.wrong = nil // the browser tells of the 401
			x.mu.Unlock()
		}
		if got := a.all(); c.told != "" && !strings.HasSuffix(got, c.told) || c.told == "" && got != "" {
			t.Errorf("%s: told %q, want %q", c.click, got, c.told)
		}
		eval[any](x, `document.querySelector("#said").hidden = true`)
	}
	x.accessible()
	x.quiet()
	if got := eval[string](x, `JSON.stringify([localStorage, sessionStorage]) + document.cookie + document.documentElement.outerHTML + location`); strings.Contains(got, token) {
		t.Error("the token is kept")
	}
	x.picture("acting")
}

// Where kferry ends, the page says that what it shows is old.
func TestPageTellsThatItIsOld(t *testing.T) {
	b := browser(t)
	srv := httptest.NewServer(handler(options(healthy()), slog.NewLogLogger(slog.DiscardHandler, slog.LevelWarn)))
	x := openTab(b, t, 390, true, srv.URL+"/")
	srv.CloseClientConnections()
	srv.Close()
	x.await(`document.querySelector("#offline").checkVisibility() && document.querySelector("#offline")?.textContent.startsWith("kferry has not answered since ")`)
	x.fits(390)
	x.picture("offline")
}

// Of ten thousand lanes a page of them is shown.
func TestPageWithManyLanes(t *testing.T) {
	b := browser(t)
	url := open(t, options(large(10_000)))
	for _, query := range []string{"/", "/?sort=lag_records&order=desc", "/?topic=orders-01&offset=100", "/?limit=500"} {
		begin := time.Now()
		x := openTab(b, t, 1280, false, url+query)
		rows := eval[int](x, `document.querySelectorAll(".lanes tbody tr:not(.why)").length`)
		eval[bool](x, `new Promise(r => requestAnimationFrame(() => setTimeout(() => r(true))))`) // painted
		t.Logf("10,000 lanes: %-32s %5d rows shown after %v", query, rows, time.Since(begin).Round(time.Millisecond))
		if want := map[bool]int{false: pageLanes, true: 500}[strings.Contains(query, "limit")]; rows != want {
			t.Errorf("%s has %d rows, want %d", query, rows, want)
		}
		x.quiet()
		if query == "/" {
			x.picture("many")
		}
	}
}
