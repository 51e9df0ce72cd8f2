package web

import (
	"compress/gzip"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

// TestProfiles: they are there if they are asked for, and only then.
func TestProfiles(t *testing.T) {
	quiet := slog.NewLogLogger(slog.DiscardHandler, slog.LevelWarn)
	for _, on := range []bool{false, true} {
		o := options(new(source))
		o.Pprof = on
		h := handler(o, quiet)
		for path, want := range map[string]string{
			"/debug/pprof/": "full goroutine stack dump", "/debug/pprof/goroutine?debug=1": "goroutine profile:", "/debug/pprof/cmdline": "", "/debug/pprof/heap?debug=1": "heap profile:",
		} {
			code, body := get(t, h, "GET", path)
			if on != (code == 200) || on && !strings.Contains(body, want) || !on && code != 404 {
				t.Errorf("pprof %v, %s: got %d %.80q", on, path, code, body)
			}
		}
	}
}

// TestProfileOfTheServer: a profile of the CPU, over the wire.
func TestProfileOfTheServer(t *testing.T) {
	defer goleak.VerifyNone(t)
	o := options(new(source))
	o.Pprof = true
	addr, cancel, end := start(t, o)
	tr := &http.Transport{}
	defer tr.CloseIdleConnections()
	resp, err := (&http.Client{Transport: tr}).Get("http://" + addr + "/debug/pprof/profile?seconds=1")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	z, err := gzip.NewReader(resp.Body)
	if err != nil {
		t.Fatalf("%d: %v", resp.StatusCode, err)
	}
	if b, err := io.ReadAll(z); err != nil || len(b) == 0 || resp.StatusCode != 200 {
		t.Errorf("%d, %d bytes, %v", resp.StatusCode, len(b), err)
	}
	cancel()
	if err := <-end; err != nil {
		t.Error(err)
	}
}
