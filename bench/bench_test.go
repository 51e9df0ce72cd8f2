package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/kferry/kferry/internal/check"
)

func TestParse(t *testing.T) {
	for _, c := range []struct {
		args    string
		records int64
		runs    int
		problem string
	}{
		{"", 2_000_000, 3, ""},
		{"-quick", 200_000, 2, ""},
		{"-quick -records 500 -runs 4", 500, 4, ""},
		{"-size 599", 0, 0, "-size 599"},
		{"-runs 0", 0, 0, "-runs"},
		{"-partitions 0", 0, 0, "-partitions"},
		{"all", 0, 0, `argument "all"`},
	} {
		o, err := parse(strings.Fields(c.args))
		if c.problem != "" {
			if err == nil || !strings.Contains(err.Error(), c.problem) {
				t.Errorf("%q: error %v does not name %s", c.args, err, c.problem)
			}
		} else if err != nil || o.records != c.records || o.runs != c.runs {
			t.Errorf("%q: got %d records, %d runs, %v", c.args, o.records, o.runs, err)
		}
	}
}

func TestChoose(t *testing.T) {
	ws, err := choose("workload", workloads, "one,zstd", options{records: 2_000_000})
	if err != nil || len(ws) != 2 || ws[0].Name() != "one" || ws[0].Records() != 300_000 || ws[1].Name() != "zstd" {
		t.Errorf("got %v, %v", ws, err)
	}
	if _, err := choose("contestant", contestants, "kferry,nobody", options{}); err == nil || !strings.Contains(err.Error(), `no contestant "nobody": want some of kferry,loop`) {
		t.Errorf("error %v does not name what is allowed", err)
	}
}

func TestOrder(t *testing.T) {
	g := generator{rng: rand.New(rand.NewPCG(1, 2))}
	var all []byte
	for _, size := range []int{600, 1000, 1001, 5000} {
		for i := range int64(300) {
			b := g.order(size, i)
			if len(b) != size || !json.Valid(b) {
				t.Fatalf("%d bytes of %d, or no JSON: %s", len(b), size, b)
			}
			if size == 1000 {
				all = append(all, b...)
			}
		}
	}
	z, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	if ratio := float64(len(all)) / float64(len(z.EncodeAll(all, nil))); ratio < 4 || ratio > 6.5 {
		t.Errorf("zstd shrinks the orders %.1f to 1, want about 5 to 1", ratio)
	}
}

func TestSpread(t *testing.T) {
	for _, c := range []struct {
		in   []float64
		want spread
	}{{nil, spread{}}, {[]float64{3}, spread{3, 3, 3}}, {[]float64{9, 1, 4}, spread{1, 4, 9}}, {[]float64{4, 1, 2, 8}, spread{1, 3, 8}}} {
		if got := spreadOf(c.in); got != c.want {
			t.Errorf("%v: got %v, want %v", c.in, got, c.want)
		}
	}
}

func TestReport(t *testing.T) {
	r := Results{Contestants: []string{"kferry", "loop"}, Workloads: []WorkloadInfo{{Name: "zstd", Records: 100}}}
	for n := 1; n <= 2; n++ {
		r.Runs = append(r.Runs,
			Run{Workload: "zstd", Contestant: "kferry", Number: n, Records: 100, Seconds: float64(n), UserSeconds: 1, SystemSeconds: 1, SteadyRate: 30, PeakBytes: 1e6},
			Run{Workload: "zstd", Contestant: "loop", Number: n, Records: 100, Seconds: 4, UserSeconds: 20, SteadyRate: 10, PeakBytes: 4e6})
	}
	// records/s 100 and 50 against 25; steady 30 to 10; CPU 2 to 20; memory 1 to 4.
	want := []string{"kferry/loop", "2.000 / 3.000 / 4.000", "3.000 / 3.000 / 3.000", "0.100 / 0.100 / 0.100", "0.250 / 0.250 / 0.250"}
	if got := r.tables()[1].rows[1]; strings.Join(got, "|") != strings.Join(want, "|") {
		t.Errorf("ratios\n got %q\nwant %q", got, want)
	}
	dir := filepath.Join(t.TempDir(), "new")
	if err := r.write(dir); err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(dir, "results-*"))
	if err != nil || len(files) != 2 {
		t.Fatalf("got files %v, %v", files, err)
	}
	b, err := os.ReadFile(files[0])
	var back Results
	if err != nil || json.Unmarshal(b, &back) != nil || len(back.Runs) != 4 || back.Runs[1].cpu() != 20 {
		t.Errorf("%s does not read back: %v %+v", files[0], err, back)
	}
	if md, err := os.ReadFile(files[1]); err != nil || !strings.Contains(string(md), "| kferry/loop | "+want[1]+" |") {
		t.Errorf("%s has no ratios: %v\n%s", files[1], err, md)
	}
}

// The loader must make the batches that the workload promises, and the loop must copy them without a difference.
func TestLoadAndLoop(t *testing.T) {
	fake, err := kfake.NewCluster(kfake.NumBrokers(1))
	if err != nil {
		t.Fatal(err)
	}
	defer fake.Close()
	addr := fake.ListenAddrs()[0]
	cl, err := kgo.NewClient(kgo.SeedBrokers(addr))
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	b := &broker{client: cl, admin: kadm.NewClient(cl)}
	for _, w := range []*records{
		{name: "many", codec: "zstd", count: 1000, partitions: 3, size: 1000},
		{name: "one", codec: "none", count: 100, partitions: 3, size: 600, single: true},
	} {
		opts, err := w.options(addr)
		if err != nil {
			t.Fatal(err)
		}
		if err := b.create(t.Context(), w.Topic(), w.partitions); err != nil {
			t.Fatal(err)
		}
		counted := &batchSizes{}
		for n := range int64(2) {
			if err := w.load(t.Context(), append(opts, kgo.WithHooks(counted)), n, 2); err != nil {
				t.Fatal(err)
			}
		}
		// The loaders are closed, but their goroutines are not awaited: the last may be counted late.
		records, largest := counted.seen()
		for end := time.Now().Add(time.Minute); records < int(w.count) && time.Now().Before(end); records, largest = counted.seen() {
			time.Sleep(time.Millisecond)
		}
		if records != int(w.count) || w.single != (largest == 1) {
			t.Errorf("%s: %d records in batches of up to %d", w.name, records, largest)
		}
		loopCopies(t, b, w, addr)
	}
}

// loopCopies runs contestant loop in this process.
func loopCopies(t *testing.T, b *broker, w *records, addr string) {
	t.Helper()
	to := "copy." + w.Topic()
	if err := b.create(t.Context(), to, w.partitions); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		done <- runLoop(ctx, []string{"-source", addr, "-target", addr, "-topic", w.Topic(), "-target-topic", to, "-codec", w.codec})
	}()
	if _, err := check.WaitCaughtUp(t.Context(), check.Plain(addr), to, check.WaitOptions{Records: w.count}); err != nil {
		t.Fatal(err)
	}
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	rep, err := check.Compare(t.Context(), check.Plain(addr), check.Plain(addr), check.Options{Topic: w.Topic(), TargetTopic: to})
	if err != nil || rep.Err() != nil || rep.Total().Source != w.count {
		t.Errorf("%s: %v\n%s", w.name, err, rep)
	}
}

// batchSizes is a hook; a client calls it for several requests at once.
type batchSizes struct {
	mu               sync.Mutex
	records, largest int
}

func (s *batchSizes) seen() (records, largest int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.records, s.largest
}

func (s *batchSizes) OnProduceBatchWritten(_ kgo.BrokerMetadata, _ string, _ int32, m kgo.ProduceBatchMetrics) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.records, s.largest = s.records+m.NumRecords, max(s.largest, m.NumRecords)
}

func TestKferryConfig(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("KFERRY_LOG_LEVEL", "debug")
	cmd, err := (&kferry{binary: "/bin/kferry"}).Command(t.Context(), Job{
		Name: "zstd-kferry-1", Source: "127.0.0.1:1", Target: "127.0.0.1:2", Topic: "orders-zstd", TargetTopic: "zstd-kferry-1.orders-zstd", Dir: dir,
	})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "kferry.yaml")
	if got := strings.Join(cmd.Args[1:], " "); got != "run -c "+file {
		t.Errorf("arguments %s", got)
	}
	if strings.Contains(strings.Join(cmd.Env, " "), "KFERRY_") {
		t.Error("settings of the environment reach the contestant")
	}
	conf, err := os.ReadFile(file)
	for _, want := range []string{`"127.0.0.1:1"`, `"127.0.0.1:2"`, `topics: ["orders-zstd"]`, `prefix: "zstd-kferry-1."`, `name: "zstd-kferry-1"`} {
		if err != nil || !bytes.Contains(conf, []byte(want)) {
			t.Errorf("%v: no %s in\n%s", err, want, conf)
		}
	}
}

// script starts a shell as a contestant's process would be.
func script(t *testing.T, text string) (*exec.Cmd, chan error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "sh", "-c", text)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := fmt.Fscanln(out, new(string)); err != nil { // it says when its trap is set
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	return cmd, ended
}

func TestStop(t *testing.T) {
	for _, c := range []struct {
		text, problem string
	}{
		{`trap 'exit 0' TERM; echo ready; while :; do sleep 0.01; done`, ""},
		{`trap 'exit 3' TERM; echo ready; while :; do sleep 0.01; done`, "exit status 3"},
	} {
		err := stop(script(t, c.text))
		if c.problem == "" && err != nil || c.problem != "" && (err == nil || !strings.Contains(err.Error(), c.problem)) {
			t.Errorf("%s: %v, want %q", c.text, err, c.problem)
		}
	}
}

// What /proc tells of this process must look like it.
func TestProc(t *testing.T) {
	if _, err := os.Stat("/proc/self/stat"); err != nil {
		t.Skip("no /proc")
	}
	if peak := peakMemory(os.Getpid()); peak < 1<<20 || peak > 8<<30 {
		t.Errorf("peak memory of %d bytes", peak)
	}
	pids, err := processes(os.Args[0])
	if err != nil {
		t.Fatal(err)
	}
	b := &broker{pids: pids}
	before, all := b.cpu(), machineCPU()
	for begin := time.Now(); b.cpu() < before+0.05; {
		math.Sqrt(before)
		if time.Since(begin) > time.Minute {
			t.Fatalf("a minute of work shows as %.2f s of CPU", b.cpu()-before)
		}
	}
	if used := machineCPU() - all; used < 0.04 {
		t.Errorf("the machine used %.2f s of CPU, this process alone 0.05 s", used)
	}
	if _, err := processes(fmt.Sprint("nobody is called ", time.Now().UnixNano())); err == nil {
		t.Error("a process was found that does not exist")
	}
}
