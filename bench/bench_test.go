package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
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
		{"", 1_000_000, 3, ""},
		{"-quick", quickRecords, 1, ""},
		{"-quick -records 500 -runs 4", 500, 4, ""},
		{"-parts wan,idle", 1_000_000, 3, ""},
		{"-parts wan,walk", 0, 0, `no part "walk": want some of throughput`},
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
			continue
		}
		if err != nil || o.records != c.records || o.runs != c.runs {
			t.Errorf("%q: got %d records, %d runs, %v", c.args, o.records, o.runs, err)
		}
		if _, err := pick(plain(o), o.workloads); err != nil {
			t.Errorf("%q: %v", c.args, err)
		}
	}
}

func TestChoose(t *testing.T) {
	ws, err := pick(plain(options{records: 1_000_000}), "one,zstd")
	if err != nil || len(ws) != 2 || ws[0].name != "one" || ws[0].count != 300_000 || ws[1].name != "zstd" {
		t.Errorf("got %v, %v", ws, err)
	}
	if _, err := pick(plain(options{}), "zstd,zero"); err == nil || !strings.Contains(err.Error(), `no workload "zero": want some of zstd,`) {
		t.Errorf("error %v does not name what is allowed", err)
	}
	if _, err := choose("contestant", contestants, "kferry,nobody", options{}); err == nil || !strings.Contains(err.Error(), `no contestant "nobody": want some of kferry,kferry2,mm2`) {
		t.Errorf("error %v does not name what is allowed", err)
	}
}

// Nothing that a run leaves behind may have the name of another's, for what is swept goes by it.
func TestRowNames(t *testing.T) {
	seen := map[string]bool{}
	o := options{records: 1000, partitions: 6, size: 1000, feed: 1}
	for _, w := range append(plain(o), wide(o)...) {
		for _, l := range append(w.links, link{}) {
			name := w.name + l.suffix()
			if seen[name] {
				t.Errorf("two rows are called %s", name)
			}
			seen[name] = true
		}
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
	for _, size := range []int{64, 100, 599} {
		for i := range int64(300) {
			if b := g.value(size, i); len(b) != size || !json.Valid(b) {
				t.Fatalf("%d bytes of %d, or no JSON: %s", len(b), size, b)
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
	r := Results{Workloads: []WorkloadInfo{{Name: "zstd", Contestants: []string{"kferry", "loop", "ceiling"}, BytesPerSecond: 1000}}}
	for n := 1; n <= 2; n++ {
		r.Runs = append(r.Runs,
			Run{Workload: "zstd", Contestant: "kferry", Number: n, Records: 100, Bytes: 1e9, Seconds: 1, FirstSeconds: 0.5, UserSeconds: 1, SystemSeconds: 1, WorkCPU: 1, SteadyRate: 25 * float64(n), SecondRate: 75, PeakBytes: 1e6, StoredBytes: 1000},
			Run{Workload: "zstd", Contestant: "loop", Number: n, Records: 100, Bytes: 1e9, Seconds: 4, FirstSeconds: 1, UserSeconds: 20, WorkCPU: 10, SteadyRate: 25, SecondRate: 25, PeakBytes: 4e6},
			Run{Workload: "zstd", Contestant: "ceiling", Number: n, Records: 100, Bytes: 1e9, Seconds: 4, SteadyRate: 100, SecondRate: 100, Unclaimed: true})
		r.Latencies = append(r.Latencies, Latency{Contestant: "kferry", Rate: 10, Number: n, Quantiles: [4]float64{1, 2, 3, 4}})
		r.Idle = append(r.Idle, Idle{Contestant: "kferry", Partitions: 6, CPU: float64(n)})
		r.Answers = append(r.Answers, Answers{Path: "/metrics", Lanes: 6, P99: 7})
	}
	tables := r.tables()
	// Records a second 25 and 50 against 25; first record 1/2; CPU 1 to 10 and, with the start, 2 to 20; memory 1 to 4.
	want := []string{"kferry/loop", "1.000 / 1.500 / 2.000", "0.500 / 0.500 / 0.500", "0.100 / 0.100 / 0.100", "0.100 / 0.100 / 0.100", "0.250 / 0.250 / 0.250", "3.000 / 3.000 / 3.000"}
	for i, w := range [][]string{want, {"kferry/ceiling", "0.250 / 0.375 / 0.500", "-", "-", "-", "-", "0.750 / 0.750 / 0.750"}} {
		if got := tables[1].rows[i+1]; strings.Join(got, "|") != strings.Join(w, "|") {
			t.Errorf("ratios\n got %q\nwant %q", got, w)
		}
	}
	// 25 and 50 records a second of 10 bytes each, over a link of 1000 bytes a second.
	if row := tables[0].rows[1]; row[len(row)-1] != "0.25 / 0.38 / 0.50" {
		t.Errorf("share of the link: %s", row[len(row)-1])
	}
	for i, w := range []string{"10 kferry 2 1.0 / 1.0 / 1.0", "6 kferry 2 1.00 / 1.50 / 2.00", "/metrics 6 2"} {
		if got := strings.Join(tables[2+i].rows[1], " "); !strings.HasPrefix(got, w) {
			t.Errorf("got %q, want %q first", got, w)
		}
	}
	dir := filepath.Join(t.TempDir(), "new")
	if err := r.write(dir); err != nil {
		t.Fatal(err)
	}
	files := map[string][]byte{}
	for _, end := range []string{".json", ".md", "-throughput.svg", "-cpu.svg", "-memory.svg"} {
		names, err := filepath.Glob(filepath.Join(dir, "results-*"+end))
		if err != nil || len(names) != 1 {
			t.Fatalf("%s: got files %v, %v", end, names, err)
		}
		if files[end], err = os.ReadFile(names[0]); err != nil {
			t.Fatal(err)
		}
	}
	var back Results
	if err := json.Unmarshal(files[".json"], &back); err != nil || len(back.Runs) != 6 || back.Runs[1].cpu() != 20 {
		t.Errorf("it does not read back: %v %+v", err, back)
	}
	if !bytes.Contains(files[".md"], []byte("| kferry/loop | "+want[1]+" |")) {
		t.Errorf("no ratios in\n%s", files[".md"])
	}
	bars := map[string]int{"-throughput.svg": 3, "-cpu.svg": 2, "-memory.svg": 2} // the ceiling claims neither CPU nor memory
	for name, n := range bars {
		if got := bytes.Count(files[name], []byte("<path")); got != n {
			t.Errorf("%s has %d bars, want %d", name, got, n)
		}
		if err := xml.Unmarshal(files[name], new(struct{})); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// fakeBroker is an embedded one; it stands for both sides.
func fakeBroker(t *testing.T) (*broker, string) {
	t.Helper()
	fake, err := kfake.NewCluster(kfake.NumBrokers(1))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(fake.Close)
	addr := fake.ListenAddrs()[0]
	cl, err := kgo.NewClient(kgo.SeedBrokers(addr))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cl.Close)
	return &broker{client: cl, admin: kadm.NewClient(cl), at: addr}, addr
}

// The loader must make the batches that the workload promises, and the loop and the ceiling must copy them without a difference.
func TestLoadAndCopy(t *testing.T) {
	b, addr := fakeBroker(t)
	for _, w := range []*workload{
		{name: "many", codec: "zstd", count: 1000, partitions: 3, size: 1000},
		{name: "some", codec: "lz4", count: 500, partitions: 3, size: 100, batch: 16},
		{name: "one", codec: "none", count: 100, partitions: 3, size: 600, batch: 1},
		{name: "hot", codec: "none", count: 1000, partitions: 40, size: 100, hot: true},
	} {
		opts, err := w.options(addr)
		if err != nil {
			t.Fatal(err)
		}
		if err := b.create(t.Context(), w.topic(), w.partitions, nil); err != nil {
			t.Fatal(err)
		}
		counted := &batchSizes{}
		for n := range int64(2) {
			if err := w.produce(t.Context(), append(opts, kgo.WithHooks(counted)), n, 2); err != nil {
				t.Fatal(err)
			}
		}
		// The loaders are closed, but their goroutines are not awaited: the last may be counted late.
		records, largest := counted.seen()
		for end := time.Now().Add(time.Minute); records < int(w.count) && time.Now().Before(end); records, largest = counted.seen() {
			time.Sleep(time.Millisecond)
		}
		// Before it has heard from a broker kgo counts with the longer records of old formats, so these may be a few less.
		if records != int(w.count) || w.batch > 0 && (largest > w.batch || largest < w.batch-w.batch/4) {
			t.Errorf("%s: %d records in batches of up to %d", w.name, records, largest)
		}
		all, err := b.digest(t.Context(), w.topic(), nil)
		if n, bytes := all.total(); err != nil || n != w.count || bytes <= n*int64(w.size) {
			t.Fatalf("%s: read back %d records, %d bytes, %v", w.name, n, bytes, err)
		}
		if n := all.parts[0].records + all.parts[1].records; w.hot && (n < 900 || all.parts[39].records == 0) {
			t.Errorf("two hot partitions of 40 have %d of 1000 records, the last %d", n, all.parts[39].records)
		}
		for _, how := range []string{loopCommand, ceilingCommand} {
			copies(t, b, w, how, all)
		}
	}
}

// copies runs a contestant in this process.
func copies(t *testing.T, b *broker, w *workload, how string, want content) {
	t.Helper()
	to := how + "." + w.topic()
	if err := b.create(t.Context(), to, w.partitions, nil); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := make(chan error, 1)
	go func() {
		args := []string{"-source", b.addr(), "-target", b.addr(), "-topic", w.topic(), "-target-topic", to}
		if how == loopCommand {
			done <- runLoop(ctx, append(args, "-codec", w.codec))
			return
		}
		done <- runCeiling(ctx, args, strings.NewReader(""), io.Discard)
	}()
	if _, err := check.WaitCaughtUp(t.Context(), check.Plain(b.addr()), to, check.WaitOptions{Records: w.count}); err != nil {
		t.Fatal(err)
	}
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	got, err := b.digest(t.Context(), to, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := differ(want, got); err != nil {
		t.Errorf("%s, %s: %v", w.name, how, err)
	}
}

// What writes meanwhile keeps its rate, spreads its records evenly, and says how many they are.
func TestFeed(t *testing.T) {
	b, addr := fakeBroker(t)
	for _, w := range []*workload{
		{name: "thin", codec: "zstd", partitions: 101, size: 700, feed: 1000},
		{name: "few", codec: "none", partitions: 3, size: 700, feed: 600},
		{name: "one", codec: "lz4", partitions: 1, size: 700, feed: 10},
	} {
		if err := b.create(t.Context(), w.topic(), w.partitions, nil); err != nil {
			t.Fatal(err)
		}
		in, out := newPipe(t)
		var said bytes.Buffer
		done := make(chan error, 1)
		go func() {
			done <- runFeed(t.Context(), []string{"-source", addr, "-topic", w.topic(), "-rate", fmt.Sprint(w.feed), "-batch", fmt.Sprint(w.batchOf()),
				"-size", fmt.Sprint(w.size), "-codec", w.codec}, in, &said)
		}()
		if _, err := check.WaitCaughtUp(t.Context(), check.Plain(addr), w.topic(), check.WaitOptions{Records: int64(w.feed)}); err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(out.Close(), <-done); err != nil {
			t.Fatal(err)
		}
		var got fed
		if err := json.Unmarshal(said.Bytes(), &got); err != nil {
			t.Fatal(err)
		}
		all, err := b.digest(t.Context(), w.topic(), nil)
		if err != nil {
			t.Fatal(err)
		}
		n, size := all.total()
		least, most := n, int64(0)
		for _, p := range all.parts {
			least, most = min(least, p.records), max(most, p.records)
		}
		if n != got.Records || size < n*int64(w.size) || most-least > int64(w.batchOf()) {
			t.Errorf("%s: %d records of %d bytes, %d to %d in a partition; it says %+v", w.name, n, size, least, most, got)
		}
		// A request is due at once, on each of two links, and is a twentieth of a second's records or a batch. Less than the rate
		// says nothing of the feed: this machine may do something else for a while.
		if most := (got.Seconds+0.1)*float64(w.feed) + 2*float64(w.batchOf()); float64(n) > most {
			t.Errorf("%s: %d records in %.2f s at %d a second", w.name, n, got.Seconds, w.feed)
		}
	}
}

func newPipe(t *testing.T) (*os.File, *os.File) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	return r, w
}

// A digest must see each way in which a copy can be wrong, and a part of a topic must be like the same part of another.
func TestDigest(t *testing.T) {
	b, addr := fakeBroker(t)
	cl, err := kgo.NewClient(kgo.SeedBrokers(addr), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	at := time.UnixMilli(1700000000000)
	write := func(topic string, change func([]*kgo.Record) []*kgo.Record) content {
		t.Helper()
		if err := b.create(t.Context(), topic, 2, nil); err != nil {
			t.Fatal(err)
		}
		var rs []*kgo.Record
		for i := range 6 {
			rs = append(rs, &kgo.Record{Partition: int32(i % 2), Key: []byte{byte(i)}, Value: []byte("v"), Timestamp: at, Headers: []kgo.RecordHeader{{Key: "h", Value: []byte("x")}}})
		}
		for _, r := range change(rs) {
			r.Topic = topic
			if err := cl.ProduceSync(t.Context(), r).FirstErr(); err != nil {
				t.Fatal(err)
			}
		}
		c, err := b.digest(t.Context(), topic, nil)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	want := write("want", func(rs []*kgo.Record) []*kgo.Record { return rs })
	same := write("same", func(rs []*kgo.Record) []*kgo.Record { return rs })
	if err := differ(want, same); err != nil {
		t.Error(err)
	}
	for name, change := range map[string]func([]*kgo.Record) []*kgo.Record{
		"lost":      func(rs []*kgo.Record) []*kgo.Record { return rs[:5] },
		"twice":     func(rs []*kgo.Record) []*kgo.Record { return append(rs, rs[5]) },
		"order":     func(rs []*kgo.Record) []*kgo.Record { rs[0], rs[2] = rs[2], rs[0]; return rs },
		"value":     func(rs []*kgo.Record) []*kgo.Record { rs[3].Value = []byte("w"); return rs },
		"empty":     func(rs []*kgo.Record) []*kgo.Record { rs[3].Key = nil; return rs },
		"moved":     func(rs []*kgo.Record) []*kgo.Record { rs[3].Key, rs[3].Value = nil, []byte{3, 'v'}; return rs },
		"time":      func(rs []*kgo.Record) []*kgo.Record { rs[3].Timestamp = at.Add(time.Millisecond); return rs },
		"header":    func(rs []*kgo.Record) []*kgo.Record { rs[3].Headers[0].Value = nil; return rs },
		"partition": func(rs []*kgo.Record) []*kgo.Record { rs[4].Partition, rs[5].Partition = 1, 0; return rs },
	} {
		if differ(want, write(name, change)) == nil {
			t.Errorf("%s: not seen", name)
		}
	}
	part := write("part", func(rs []*kgo.Record) []*kgo.Record { return rs[:3] })
	begin, err := b.digest(t.Context(), "want", part.parts)
	if err != nil || differ(begin, part) != nil {
		t.Errorf("a copy of the first records is not like them: %v, %v", err, differ(begin, part))
	}
}

// The clock must see a record that is missing, twice or out of order.
func TestClock(t *testing.T) {
	tick := func(p int32, n uint64) *kgo.Record {
		v := binary.BigEndian.AppendUint64(nil, uint64(time.Now().UnixNano()))
		return &kgo.Record{Partition: p, Value: binary.BigEndian.AppendUint64(v, n)}
	}
	for name, c := range map[string]struct {
		came []*kgo.Record
		good bool
	}{
		"all":     {[]*kgo.Record{tick(0, 0), tick(1, 0), tick(0, 1)}, true},
		"missing": {[]*kgo.Record{tick(0, 0), tick(1, 0), tick(0, 2)}, false},
		"twice":   {[]*kgo.Record{tick(0, 0), tick(1, 0), tick(0, 0)}, false},
		"order":   {[]*kgo.Record{tick(0, 1), tick(1, 0), tick(0, 0)}, false},
	} {
		k := &clock{next: make([]uint64, 2)}
		for _, r := range c.came {
			k.take(kgo.Fetches{{Topics: []kgo.FetchTopic{{Partitions: []kgo.FetchPartition{{Partition: r.Partition, Records: []*kgo.Record{r}}}}}}}, time.Now())
		}
		if err := k.wait(t.Context(), 3); (err == nil) != c.good {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestSkew(t *testing.T) {
	all := map[int32]int64{0: 10, 1: 10, 2: 40, 3: 0}
	for _, c := range []struct {
		ends map[int32]int64
		want float64
	}{{map[int32]int64{0: 8, 1: 5, 2: 20}, 4}, {map[int32]int64{0: 10, 1: 10, 2: 20}, 0}, {nil, 4}} {
		if got := skew(all, c.ends); got != c.want {
			t.Errorf("%v: %v, want %v", c.ends, got, c.want)
		}
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
	j := Job{Name: "zstd-kferry-1", Source: "127.0.0.1:1", Target: "127.0.0.1:2", Topic: "orders-zstd", TargetTopic: "zstd-kferry-1.orders-zstd", Dir: dir}
	cmds, err := (&kferry{binary: "/bin/kferry", replicas: 2}).Commands(t.Context(), j)
	if err != nil || len(cmds) != 2 {
		t.Fatal(len(cmds), err)
	}
	file := filepath.Join(dir, "kferry.yaml")
	if got := strings.Join(cmds[1].Args[1:], " "); got != "run -c "+file {
		t.Errorf("arguments %s", got)
	}
	if strings.Contains(strings.Join(cmds[1].Env, " "), "KFERRY_") {
		t.Error("settings of the environment reach the contestant")
	}
	conf, err := os.ReadFile(file)
	for _, want := range []string{`"127.0.0.1:1"`, `"127.0.0.1:2"`, `topics: ["orders-zstd"]`, `prefix: "zstd-kferry-1."`, `name: "zstd-kferry-1"`, `listen: "off"`} {
		if err != nil || !bytes.Contains(conf, []byte(want)) {
			t.Errorf("%v: no %s in\n%s", err, want, conf)
		}
	}
}

// The target topic must be the one that the harness looks at, and nothing of one run may be found by the next.
func TestMM2Properties(t *testing.T) {
	j := Job{Name: "zstd-mm2-1", Source: "127.0.0.1:1", Target: "127.0.0.1:2", Topic: "orders-zstd", Codec: "zstd"}
	p, tuned := mm2{}.properties(j), mm2{tuned: true}.properties(j)
	for k, want := range map[string]string{
		"zstd-mm2-1.bootstrap.servers": "127.0.0.1:1", "to-zstd-mm2-1.bootstrap.servers": "127.0.0.1:2",
		"zstd-mm2-1->to-zstd-mm2-1.enabled": "true", "zstd-mm2-1->to-zstd-mm2-1.topics": "orders-zstd", "tasks.max": "",
	} {
		if p[k] != want {
			t.Errorf("%s is %q, want %q", k, p[k], want)
		}
	}
	if tuned["to-zstd-mm2-1.producer.compression.type"] != "zstd" || tuned["tasks.max"] != "2" {
		t.Errorf("tuned: %v", tuned)
	}
}

// script starts a shell as a contestant's process would be.
func script(t *testing.T, text string) *contestantRun {
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
	log, err := os.Create(filepath.Join(t.TempDir(), "log"))
	if err != nil {
		t.Fatal(err)
	}
	return &contestantRun{cmds: []*exec.Cmd{cmd}, ended: []chan error{ended}, log: log}
}

func TestStop(t *testing.T) {
	for _, c := range []struct {
		text, problem string
	}{
		{`trap 'exit 0' TERM; echo ready; while :; do sleep 0.01; done`, ""},
		{`trap 'exit 143' TERM; echo ready; while :; do sleep 0.01; done`, ""}, // as Java does
		{`trap 'exit 3' TERM; echo ready; while :; do sleep 0.01; done`, "exit status 3"},
	} {
		err := script(t, c.text).stop()
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

// What is temporary goes where -dir says; a quick bench leaves it where it is.
func TestSettleIn(t *testing.T) {
	before := t.TempDir()
	t.Setenv("TMPDIR", before)
	if err := settleIn(options{quick: true}); err != nil || os.TempDir() != before {
		t.Errorf("quick: %s, %v; want %s", os.TempDir(), err, before)
	}
	dir := filepath.Join(before, "elsewhere")
	if err := settleIn(options{dir: dir}); err != nil || os.TempDir() != dir || dataOn() != dir {
		t.Errorf("%s, data in %s, %v; want %s", os.TempDir(), dataOn(), err, dir)
	}
	if freeBytes(dir) <= 0 || freeBytes(filepath.Join(dir, "nowhere")) != 0 {
		t.Errorf("%d bytes free, %d where there is no folder", freeBytes(dir), freeBytes(filepath.Join(dir, "nowhere")))
	}
}
