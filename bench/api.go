package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"
)

// Answers is how long a path of the status server took to answer, asked again and again by one client.
type Answers struct {
	Path      string  `json:"path"`
	Lanes     int     `json:"lanes"`
	Number    int     `json:"number"`
	Asked     int     `json:"asked"`
	Bytes     int64   `json:"bytes"` // of one answer
	P50       float64 `json:"p50_ms"`
	P99       float64 `json:"p99_ms"`
	WorstWait float64 `json:"max_ms"`
}

func (a Answers) String() string {
	return fmt.Sprintf("%s at %d lanes, run %d: %d answers of %d bytes, p50 %.2f ms, p99 %.2f ms, max %.2f ms", a.Path, a.Lanes, a.Number, a.Asked, a.Bytes, a.P50, a.P99, a.WorstWait)
}

const (
	viewers = 200
	// viewerPause is what the status page waits between two looks.
	viewerPause = 3 * time.Second
)

// apiPaths are asked for their time.
var apiPaths = []string{"/api/v1/status", "/api/v1/lanes", "/api/v1/lanes?limit=100&sort=lag_records&order=desc", "/", "/metrics"}

// watchedKferry is kferry with its page served, and with viewers of it or without.
type watchedKferry struct {
	kferry
	viewers int
}

func (k *watchedKferry) Name() string {
	if k.viewers > 0 {
		return "kferry-watched"
	}
	return "kferry-unwatched"
}

// Beside has the viewers look until stop is called.
func (k *watchedKferry) Beside(ctx context.Context) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	var all sync.WaitGroup
	cl := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: viewers}}
	for n := range k.viewers {
		all.Go(func() {
			// They do not come all at once.
			if pause(ctx, viewerPause*time.Duration(n)/time.Duration(k.viewers)) != nil {
				return
			}
			for {
				for _, path := range []string{"/", "/api/v1/status"} {
					_, _ = ask(ctx, cl, k.listens[0], path) // it may not listen yet
				}
				if pause(ctx, viewerPause) != nil {
					return
				}
			}
		})
	}
	return func() {
		cancel()
		all.Wait()
		cl.CloseIdleConnections()
	}
}

// ask returns how many bytes the answer has.
func ask(ctx context.Context, cl *http.Client, addr, path string) (n int64, err error) {
	err = get(ctx, cl, "http://"+addr+path, func(body io.Reader) (err error) {
		n, err = io.Copy(io.Discard, body)
		return err
	})
	return n, err
}

// get has read take the answer of an HTTP server.
func get(ctx context.Context, cl *http.Client, url string, read func(body io.Reader) error) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	resp, err := cl.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close() //nolint:errcheck // it was only read
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", url, resp.Status)
	}
	return read(resp.Body)
}

// freeAddr is a loopback address that nobody has now.
func freeAddr() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}

// api measures the answers at many lanes, and what viewers cost the data path.
func (h *harness) api(ctx context.Context, r *Results) error {
	counts, err := h.o.laneCounts()
	if err != nil {
		return err
	}
	addr, err := freeAddr()
	if err != nil {
		return err
	}
	quiet := &watchedKferry{kferry: kferry{listens: []string{addr}}}
	if err := h.prepare(ctx, []Contestant{quiet}); err != nil {
		return err
	}
	many := slices.Max(counts)
	w := &workload{name: fmt.Sprint("api-", many), codec: "none", count: int64(many), partitions: many, size: leastOrder}
	if err := w.load(ctx, h.source); err != nil {
		return err
	}
	j, err := h.job(w.name+"-kferry", w.topic(), w.codec, link{})
	if err != nil {
		return err
	}
	err = h.caughtUp(ctx, w, quiet, j, func(*contestantRun) error {
		for n := 1; n <= h.o.runs; n++ {
			for _, path := range apiPaths {
				a, err := h.answers(ctx, addr, path, many, n)
				if err != nil {
					return err
				}
				fmt.Println(a)
				r.Answers = append(r.Answers, a)
			}
		}
		return nil
	})
	if err = errors.Join(err, h.source.drop(ctx, w.topic())); err != nil {
		r.Failures = append(r.Failures, "api: "+err.Error())
		return err
	}
	// Long enough for each viewer to look several times.
	pairs := &workload{name: "viewers", codec: "zstd", count: 3 * h.o.records, partitions: h.o.partitions, size: h.o.size}
	return h.throughput(ctx, []*workload{pairs}, []Contestant{&watchedKferry{kferry: quiet.kferry, viewers: viewers}, quiet}, r)
}

func (h *harness) answers(ctx context.Context, addr, path string, lanes, n int) (Answers, error) {
	a := Answers{Path: path, Lanes: lanes, Number: n, Asked: 300}
	if h.o.quick {
		a.Asked = 20
	}
	cl := &http.Client{}
	defer cl.CloseIdleConnections()
	var took []float64
	for range a.Asked {
		begin := time.Now()
		bytes, err := ask(ctx, cl, addr, path)
		if err != nil {
			return a, err
		}
		took = append(took, time.Since(begin).Seconds()*1000)
		a.Bytes = bytes
	}
	slices.Sort(took)
	a.P50, a.P99, a.WorstWait = took[len(took)/2], took[len(took)*99/100], took[len(took)-1]
	return a, nil
}

// answersTable has a row for each path.
func (r Results) answersTable() table {
	t := table{title: "answers of the status server; min / median / max of the runs", rows: [][]string{{"path", "lanes", "runs", "bytes", "p50 ms", "p99 ms", "max ms"}}}
	for _, v := range grouped(r.Answers, func(a Answers) string { return a.Path }) {
		t.rows = append(t.rows, []string{
			v[0].Path, fmt.Sprint(v[0].Lanes), fmt.Sprint(len(v)), fmt.Sprint(v[0].Bytes),
			spreadOf(each(v, func(a Answers) float64 { return a.P50 })).cell("%.2f"),
			spreadOf(each(v, func(a Answers) float64 { return a.P99 })).cell("%.2f"),
			spreadOf(each(v, func(a Answers) float64 { return a.WorstWait })).cell("%.2f"),
		})
	}
	return t
}
