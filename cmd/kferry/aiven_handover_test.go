package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/kferry/kferry/config"
	"github.com/kferry/kferry/internal/aiven/fake"
	"github.com/kferry/kferry/offsets"
	"github.com/kferry/kferry/offsets/mm2"
)

const handoverFile = `
clusters:
  old: { bootstrap_servers: [OLD] }
  new: { bootstrap_servers: [NEW] }
flows:
  # kept
  - { name: pizzas, source: old, target: new, topics: ["pizza-.*"], engine: ENGINE }
` + atAivenIs

// crossing is Aiven's API, a cluster of either side, and a file.
type crossing struct {
	*at
	old, new *kgo.Client
}

const (
	crossed   = "pizza-orders"
	positions = "mm2-offsets.old.internal"
)

func newCrossing(t *testing.T, engine string) *crossing {
	t.Helper()
	c := &crossing{}
	var servers []string
	for _, hand := range []**kgo.Client{&c.old, &c.new} {
		cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(1, crossed))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(cluster.Close)
		servers = append(servers, cluster.ListenAddrs()[0])
		if *hand, err = kgo.NewClient(kgo.SeedBrokers(cluster.ListenAddrs()...), kgo.RecordPartitioner(kgo.ManualPartitioner())); err != nil {
			t.Fatal(err)
		}
		t.Cleanup((*hand).Close)
	}
	c.at = atAiven(t)
	text := strings.NewReplacer("OLD", servers[0], "NEW", servers[1], "API", c.fake.URL, "ENGINE", engine).Replace(handoverFile)
	if err := os.WriteFile(c.file(), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := kadm.NewClient(c.new).CreateTopics(t.Context(), 5, 1, nil, positions); err != nil {
		t.Fatal(err)
	}
	return c
}

// write puts the numbers [from, to) into the topic.
func (c *crossing) write(hand *kgo.Client, from, to int) {
	c.t.Helper()
	for i := from; i < to; i++ {
		r := &kgo.Record{Topic: crossed, Value: fmt.Append(nil, i), Timestamp: time.UnixMilli(int64(1_700_000_000_000 + i))}
		if err := hand.ProduceSync(c.t.Context(), r).FirstErr(); err != nil {
			c.t.Fatal(err)
		}
	}
}

// mirror does what Aiven's MirrorMaker 2 does with [from, to), and stores its position.
func (c *crossing) mirror(from, to int) {
	c.t.Helper()
	c.write(c.new, from, to)
	key, err := mm2.SourceKey{Connector: mm2.SourceConnector, Cluster: "old", Topic: crossed}.Encode()
	if err != nil {
		c.t.Fatal(err)
	}
	value, err := mm2.EncodePosition(offsets.Source(to))
	if err != nil {
		c.t.Fatal(err)
	}
	if err := c.new.ProduceSync(c.t.Context(), &kgo.Record{Topic: positions, Partition: mm2.Partition(key, 5), Key: key, Value: value}).FirstErr(); err != nil {
		c.t.Fatal(err)
	}
}

// position is where MirrorMaker 2 would go on.
func (c *crossing) position() (next offsets.Source) {
	c.t.Helper()
	for _, r := range c.read(positions) {
		next, _, _ = mm2.DecodePosition(r.Value)
	}
	return next
}

// read is all that a topic of the target has.
func (c *crossing) read(topic string) (out []*kgo.Record) {
	c.t.Helper()
	ends, err := kadm.NewClient(c.new).ListEndOffsets(c.t.Context(), topic)
	if err != nil {
		c.t.Fatal(err)
	}
	from, left := map[int32]kgo.Offset{}, int64(0)
	for p, end := range ends[topic] {
		from[p], left = kgo.NewOffset().AtStart(), left+end.Offset
	}
	cl, err := kgo.NewClient(kgo.SeedBrokers(c.new.OptValue(kgo.SeedBrokers).([]string)...), kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: from}))
	if err != nil {
		c.t.Fatal(err)
	}
	defer cl.Close()
	for int64(len(out)) < left {
		out = append(out, cl.PollFetches(c.t.Context()).Records()...)
	}
	return out
}

// numbers wants the target to have the numbers below n, each once and in order.
func (c *crossing) numbers(n int) {
	c.t.Helper()
	rs := c.read(crossed)
	for i, r := range rs {
		if string(r.Value) != fmt.Sprint(i) {
			c.t.Fatalf("record %d of the target is %s", i, r.Value)
		}
	}
	if len(rs) != n {
		c.t.Errorf("the target has %d records, want %d", len(rs), n)
	}
}

// carry runs kferry until the target has n records.
func (c *crossing) carry(n int64) {
	c.t.Helper()
	cfg, err := config.Load(c.file(), config.LoadOptions{Environ: c.environ})
	if err != nil {
		c.t.Fatal(err)
	}
	d, err := openDaemon(cfg, slog.New(slog.DiscardHandler), prometheus.NewRegistry())
	if err != nil {
		c.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(c.t.Context())
	done := start(ctx, d.Run)
	defer func() {
		cancel()
		if err := <-done; err != nil {
			c.t.Error(err)
		}
	}()
	for limit := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		ends, err := kadm.NewClient(c.new).ListEndOffsets(c.t.Context(), crossed)
		if err != nil {
			c.t.Fatal(err)
		}
		if ends[crossed][0].Offset >= n && len(d.Status().Flows[0].Reasons) == 0 {
			return
		}
		if time.Now().After(limit) {
			c.t.Fatalf("after a minute: %+v", d.Status().Flows)
		}
	}
}

func (c *crossing) enabled() bool {
	flows := c.fake.Flows()
	return len(flows) == 1 && flows[0].Fields["enabled"] == true
}

func (c *crossing) content() string {
	c.t.Helper()
	b, err := os.ReadFile(c.file())
	if err != nil {
		c.t.Fatal(err)
	}
	return string(b)
}

// A flow goes to kferry, back to Aiven, and to kferry again: every record is there once.
func TestAivenHandover(t *testing.T) {
	c := newCrossing(t, "aiven")
	c.want(0, "aiven apply")
	c.write(c.old, 0, 30)
	c.mirror(0, 20)
	before := len(c.fake.Requests())
	c.want(7, "aiven handover pizzas --to kferry --dry-run", "pizza-orders  0          20", "disable the flow", "set engine: kferry and takeover: aiven")
	c.want(1, "aiven handover pizzas --to kferry", "nothing was changed")
	if c.fake.Writes(before) > 0 || !strings.Contains(c.content(), "engine: aiven") {
		t.Errorf("changed:\n%s", c.content())
	}
	c.want(0, "aiven handover pizzas --to kferry --yes", "whether the tasks of MirrorMaker 2 have ended cannot be seen", "compared: in each partition", "kferry carries pizzas from its next start on")
	if c.enabled() || !strings.Contains(c.content(), "# kept") || !strings.Contains(c.content(), "engine: kferry, takeover: aiven") {
		t.Errorf("%+v\n%s", c.fake.Flows(), c.content())
	}
	c.carry(30)
	c.want(0, "aiven handover pizzas --to kferry --yes", "kferry carries the flow already")

	c.want(7, "aiven handover pizzas --to aiven --dry-run", "write kferry's progress")
	c.want(0, "aiven handover pizzas --to aiven --yes", "1 position written for connector MirrorSourceConnector", "carries pizzas")
	if !c.enabled() || c.position() != 30 || !strings.Contains(c.content(), "engine: aiven") || strings.Contains(c.content(), "takeover") {
		t.Errorf("at %d, %+v\n%s", c.position(), c.fake.Flows(), c.content())
	}
	c.write(c.old, 30, 50)
	c.mirror(30, 45)
	c.want(0, "aiven handover pizzas --to aiven --yes", "carries the flow already")

	// What MirrorMaker 2 has written, and not stored its position for, would be twice.
	c.write(c.new, 45, 47)
	c.want(1, "aiven handover pizzas --to kferry --yes", "the target has 2 records that MirrorMaker 2 has not stored its position for", "--allow-duplicates")
	if c.enabled() || !strings.Contains(c.content(), "engine: aiven") {
		t.Errorf("%+v\n%s", c.fake.Flows(), c.content())
	}
	c.mirror(47, 50)
	c.want(0, "aiven handover pizzas --to kferry --yes", "what kferry stored of 1 partition is of before")
	c.write(c.old, 50, 60)
	c.carry(60)
	c.numbers(60)

	c.want(2, "aiven handover pizzas --to both", "it must be kferry or aiven")
	c.want(2, "aiven handover nothing --to kferry", `--flow "nothing"`)
	c.want(2, "aiven handover --to kferry", "takes the name of one flow")
	noSecrets(t, c.at)
}

// A flow that Aiven never had is made there, disabled until positions are written.
func TestAivenHandoverAnew(t *testing.T) {
	c := newCrossing(t, "kferry")
	var began []string
	c.fake.OnFlow = func(f fake.Flow) { began = append(began, fmt.Sprint(f.Fields["enabled"], c.position())) }
	c.write(c.old, 0, 10)
	c.carry(10)
	c.want(7, "aiven handover pizzas --to aiven --yes --no-write", "change "+c.file()+": set engine: aiven", "change the configuration, and run this again")
	if got := strings.Join(began, ", "); got != "false 0" || strings.Contains(c.content(), "engine: aiven") {
		t.Errorf("%s\n%s", got, c.content())
	}
	c.want(0, "aiven handover pizzas --to aiven --yes")
	if got := strings.Join(began, ", "); got != "false 0, true 10" {
		t.Errorf("%s", got)
	}
	noSecrets(t, c.at)
}

// Wherever it is cut off, it is run again and goes on. With -short, which goes with the race detector, only at some requests:
// all that is different from one to the next is the state at Aiven.
func TestAivenHandoverCutOff(t *testing.T) {
	step := 1
	if testing.Short() {
		step = 7
	}
	for _, to := range []string{config.EngineKferry, config.EngineAiven} {
		for n, done := 1, false; !done; n += step {
			t.Run(fmt.Sprintf("%s at request %d", to, n), func(t *testing.T) {
				c := newCrossing(t, "aiven")
				c.want(0, "aiven apply")
				c.write(c.old, 0, 20)
				c.mirror(0, 20)
				if to == config.EngineAiven {
					c.want(0, "aiven handover pizzas --to kferry --yes")
					c.write(c.old, 20, 30)
					c.carry(30)
				}
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				at := len(c.fake.Requests()) + n
				c.fake.Set(func(s *fake.Server) {
					s.Intercept = func(m int, _ *http.Request) fake.Fault {
						if m == at {
							cancel()
							return fake.Fault{Drop: true, After: true}
						}
						return fake.Fault{}
					}
				})
				args := []string{"aiven", "handover", "pizzas", "--to", to, "--yes", "-c", c.file()}
				var out bytes.Buffer
				p := &process{stdin: strings.NewReader(""), stdout: io.Discard, stderr: &out, environ: c.environ, clock: c.fake.Clock}
				if done = p.execute(ctx, args) == 0; done && n < 4 {
					t.Fatalf("only %d requests", n)
				}
				if c.enabled() && strings.Contains(c.content(), "engine: kferry") {
					t.Error("both carry it")
				}
				c.want(0, "aiven handover pizzas --to "+to+" --yes")
				if c.enabled() != (to == config.EngineAiven) || !strings.Contains(c.content(), "engine: "+to) {
					t.Errorf("%+v\n%s\n%s", c.fake.Flows(), c.content(), out.String())
				}
				if to == config.EngineAiven && c.position() != 30 {
					t.Errorf("MirrorMaker 2 goes on at %d", c.position())
				}
			})
		}
	}
}
