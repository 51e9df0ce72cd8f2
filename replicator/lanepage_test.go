package replicator

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"github.com/kferry/kferry/config"
	"github.com/kferry/kferry/offsets"
	"github.com/kferry/kferry/offsets/mm2"
	"github.com/kferry/kferry/replicator/budget"
	"github.com/kferry/kferry/replicator/catalog"
	"github.com/kferry/kferry/replicator/lane"
)

// laneFlow is a flow without clusters.
func laneFlow(name string) *flow {
	return &flow{
		cfg:   config.Flow{Name: name, Source: "old", Target: "new"},
		lanes: map[lane.ID]*member{}, retired: map[string]*lane.Stats{}, outages: newOutages(slog.New(slog.DiscardHandler), 0),
	}
}

// carry adds a lane that has carried a batch of 10 records that were an hour old,
// half a second ago, and lacks lag records.
func (f *flow) carry(topic string, partition int32, lag int64) *lane.Lane {
	now := time.Now().UnixMilli()
	l := lane.New(lane.ID{Topic: topic, Partition: partition}, "old."+topic)
	l.Start(lane.Plan{}, 0, nil)
	gen, _, _, _, _ := l.Fetch()
	l.Put(gen, []lane.Item{{Bytes: make([]byte, 100), Next: 10, Records: 10, Time: now - 3_600_000}}, 10, 0, 0, now-500)
	w, _ := l.Next(0)
	l.Send(w.Gen, w.Items[0], 1)
	l.Ack(0, now)
	l.Ends(offsets.Source(10+lag), now)
	f.add(l)
	return l
}

func (f *flow) add(l *lane.Lane) {
	f.lanes[l.ID] = &member{lane: l}
	f.changed++
}

// page is what p writes, as Prometheus' own parser reads it: series to value.
func page(t *testing.T, p *lanePage) map[string]float64 {
	t.Helper()
	var b bytes.Buffer
	if err := p.write(&b); err != nil {
		t.Fatal(err)
	}
	parser := expfmt.NewTextParser(model.LegacyValidation)
	families, err := parser.TextToMetricFamilies(&b)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]float64{}
	for name, f := range families {
		for _, m := range f.GetMetric() {
			var ls []string
			for _, l := range m.GetLabel() {
				ls = append(ls, l.GetName()+"="+strconv.Quote(l.GetValue()))
			}
			key := name + "{" + strings.Join(ls, ",") + "}"
			if _, ok := out[key]; ok {
				t.Errorf("%s is there twice", key)
			}
			out[key] = valueOf(m)
		}
	}
	return out
}

func valueOf(m *dto.Metric) float64 {
	return m.GetGauge().GetValue() + m.GetCounter().GetValue()
}

func want(t *testing.T, got, want map[string]float64) {
	t.Helper()
	for key, v := range want {
		if x, ok := got[key]; !ok {
			t.Errorf("no %s", key)
		} else if x != v {
			t.Errorf("%s is %v, want %v", key, x, v)
		}
	}
	if len(got) != len(want) {
		for key, v := range got {
			if _, ok := want[key]; !ok {
				t.Errorf("%s %v was not asked for", key, v)
			}
		}
	}
}

func BenchmarkScrape(b *testing.B) {
	f := laneFlow("flow")
	for topic := range 100 {
		for p := range int32(100) {
			f.carry(fmt.Sprintf("shop-%03d.orders.placed", topic), p, int64(p))
		}
	}
	for _, c := range []struct {
		name string
		cfg  config.Metrics
	}{
		{"all", config.Metrics{Compatibility: true}},
		{"own", config.Metrics{}},
		{"topic", config.Metrics{Detail: detailTopic, Compatibility: true}},
		{"flow", config.Metrics{Detail: detailFlow, Compatibility: true}},
	} {
		b.Run(c.name, func(b *testing.B) {
			reg := prometheus.NewRegistry()
			if err := newMetrics(c.cfg, "v1").register(reg, []*flow{f}, nil, budget.New(1<<20)); err != nil {
				b.Fatal(err)
			}
			p := newLanePage(c.cfg, []*flow{f})
			var n counting
			b.ReportAllocs()
			for b.Loop() {
				n = 0
				families, err := reg.Gather()
				if err != nil {
					b.Fatal(err)
				}
				for _, mf := range families {
					if _, err := expfmt.MetricFamilyToText(&n, mf); err != nil {
						b.Fatal(err)
					}
				}
				if err := p.write(&n); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(n), "page-bytes")
		})
	}
}

type counting int64

func (c *counting) Write(p []byte) (int, error) {
	*c += counting(len(p))
	return len(p), nil
}

// ages leaves out what depends on the moment.
func ages(series map[string]float64) map[string]float64 {
	for key := range series {
		if strings.Contains(key, "_ms") || strings.Contains(key, "lag_seconds") || strings.Contains(key, "_rate") {
			delete(series, key)
		}
	}
	return series
}

func TestLanePage(t *testing.T) {
	f := laneFlow("flow")
	f.carry("a", 0, 5)
	f.carry("a", 1, 0)
	f.add(lane.New(lane.ID{Topic: "b"}, "old.b")) // nothing is known of it
	for _, c := range []struct {
		detail string
		want   map[string]float64
	}{
		{"partition", map[string]float64{
			`kferry_records_total{flow="flow",topic="a",partition="0"}`: 10,
			`kferry_records_total{flow="flow",topic="a",partition="1"}`: 10,
			`kferry_records_total{flow="flow",topic="b",partition="0"}`: 0,
			`kferry_bytes_total{flow="flow",topic="a",partition="0"}`:   100,
			`kferry_bytes_total{flow="flow",topic="a",partition="1"}`:   100,
			`kferry_bytes_total{flow="flow",topic="b",partition="0"}`:   0,
			`kferry_lag_records{flow="flow",topic="a",partition="0"}`:   5,
			`kferry_lag_records{flow="flow",topic="a",partition="1"}`:   0,

			`kafka_mirrormaker_summary_replication_lag{replication_flow="old->new",topic="a",partition="0"}`: 5,
			`kafka_mirrormaker_summary_replication_lag{replication_flow="old->new",topic="a",partition="1"}`: 0,

			mirrorSource + `record_count{source="old",target="new",topic="old.a",partition="0"}`: 10,
			mirrorSource + `record_count{source="old",target="new",topic="old.a",partition="1"}`: 10,
			mirrorSource + `record_count{source="old",target="new",topic="old.b",partition="0"}`: 0,
			mirrorSource + `byte_count{source="old",target="new",topic="old.a",partition="0"}`:   100,
			mirrorSource + `byte_count{source="old",target="new",topic="old.a",partition="1"}`:   100,
			mirrorSource + `byte_count{source="old",target="new",topic="old.b",partition="0"}`:   0,
		}},
		{"topic", map[string]float64{
			`kferry_records_total{flow="flow",topic="a"}`: 20,
			`kferry_records_total{flow="flow",topic="b"}`: 0,
			`kferry_bytes_total{flow="flow",topic="a"}`:   200,
			`kferry_bytes_total{flow="flow",topic="b"}`:   0,
			`kferry_lag_records{flow="flow",topic="a"}`:   5,

			`kafka_mirrormaker_summary_replication_lag{replication_flow="old->new",topic="a"}`: 5,

			mirrorSource + `record_count{source="old",target="new",topic="old.a"}`: 20,
			mirrorSource + `record_count{source="old",target="new",topic="old.b"}`: 0,
			mirrorSource + `byte_count{source="old",target="new",topic="old.a"}`:   200,
			mirrorSource + `byte_count{source="old",target="new",topic="old.b"}`:   0,
		}},
		{"flow", map[string]float64{
			`kferry_records_total{flow="flow"}`:                                      20,
			`kferry_bytes_total{flow="flow"}`:                                        200,
			`kferry_lag_records{flow="flow"}`:                                        5,
			`kafka_mirrormaker_summary_replication_lag{replication_flow="old->new"}`: 5,
			mirrorSource + `record_count{source="old",target="new"}`:                 20,
			mirrorSource + `byte_count{source="old",target="new"}`:                   200,
		}},
	} {
		t.Run(c.detail, func(t *testing.T) {
			p := newLanePage(config.Metrics{Detail: c.detail, Compatibility: true}, []*flow{f})
			got := page(t, p)
			for name, least := range map[string]float64{
				"kferry_lag_seconds": -1, mirrorSource + "record_rate": 10.0 / 60, mirrorSource + "byte_rate": 100.0 / 60,
				mirrorSource + "record_age_ms": 3.5e6, mirrorSource + "record_age_ms_avg": 3.5e6, mirrorSource + "replication_latency_ms_max": 3.6e6,
				mirrorSource + "replication_latency_ms_min": 3.6e6,
			} {
				most, n := -1.0, 0
				for key, v := range got {
					if strings.HasPrefix(key, name+"{") {
						most, n = max(most, v), n+1
					}
				}
				if n == 0 || most < least || most > 3.7e6 {
					t.Errorf("%s: %d series, the largest %v", name, n, most)
				}
			}
			want(t, ages(got), c.want)
		})
	}
}

// The names of others can be left out.
func TestLanePageWithoutCompatibility(t *testing.T) {
	f := laneFlow("flow")
	f.carry("a", 0, 5)
	for key := range page(t, newLanePage(config.Metrics{}, []*flow{f})) {
		if !strings.HasPrefix(key, "kferry_") {
			t.Errorf("%s is there", key)
		}
	}
}

// A series ends with its lane, and a sum over lanes does not shrink with it.
func TestSeriesEnd(t *testing.T) {
	f := laneFlow("flow")
	f.carry("a", 0, 0)
	gone := f.carry("a", 1, 0)
	f.carry("b", 0, 0)
	pages := map[string]*lanePage{}
	for _, d := range []string{"partition", "topic", "flow"} {
		pages[d] = newLanePage(config.Metrics{Detail: d}, []*flow{f})
		page(t, pages[d])
	}
	delete(f.lanes, gone.ID)
	f.changed++
	f.retire(gone)
	if got := page(t, pages["partition"]); got[`kferry_records_total{flow="flow",topic="a",partition="0"}`] != 10 || len(got) != 8 {
		t.Errorf("%v", got)
	}
	if got := page(t, pages["topic"]); got[`kferry_records_total{flow="flow",topic="a"}`] != 20 || len(got) != 8 {
		t.Errorf("%v", got)
	}
	if got := page(t, pages["flow"]); got[`kferry_records_total{flow="flow"}`] != 30 || len(got) != 4 {
		t.Errorf("%v", got)
	}
}

// Two flows between the same clusters, and topics that would have one name on the
// target, are no two series with the same labels.
func TestNoSeriesTwice(t *testing.T) {
	one, two := laneFlow("one"), laneFlow("two")
	one.carry("a", 0, 5)
	two.carry("a", 0, 7)
	clash := lane.New(lane.ID{Topic: "z"}, "old.a")
	two.add(clash)
	for _, detail := range []string{"partition", "topic", "flow"} {
		got := page(t, newLanePage(config.Metrics{Detail: detail, Compatibility: true}, []*flow{one, two}))
		lag := 0.0
		for key, v := range got {
			if strings.HasPrefix(key, "kafka_mirrormaker_summary") {
				lag += v
			}
		}
		if lag != 12 {
			t.Errorf("%s: lag is %v, want that of both flows", detail, lag)
		}
	}
}

// Names are whatever somebody chose.
func TestHostileNames(t *testing.T) {
	const name = "a\"}\n<b>\\\xff 1\r"
	f := laneFlow(name)
	f.carry(name, 0, 5)
	f.follower = &follower{checkpoints: newCheckpoints(nothing{})}
	f.follower.checkpoints.begin(time.Now())
	if err := f.follower.checkpoints.Write(t.Context(), []mm2.Checkpoint{{Group: name, Topic: name}}); err != nil {
		t.Fatal(err)
	}
	harmless := strings.ToValidUTF8(name, "?")
	got := page(t, newLanePage(config.Metrics{Compatibility: true}, []*flow{f}))
	for _, key := range []string{
		fmt.Sprintf("kferry_records_total{flow=%q,topic=%q,partition=\"0\"}", harmless, harmless),
		fmt.Sprintf("%scheckpoint_latency_ms{source=\"old\",target=\"new\",group=%q,topic=%q,partition=\"0\"}", mirrorCheckpoint, harmless, harmless),
	} {
		if _, ok := got[key]; !ok {
			t.Errorf("no %s in %v", key, got)
		}
	}
}

// nothing keeps no checkpoints.
type nothing struct{}

func (nothing) Load(context.Context) ([]mm2.Checkpoint, error) { return nil, nil }
func (nothing) Write(context.Context, []mm2.Checkpoint) error  { return nil }

// Each group has its own latency: MirrorMaker 2 shows that of another group.
func TestCheckpointLatency(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := laneFlow("flow")
		c := newCheckpoints(nothing{})
		f.follower = &follower{checkpoints: c}
		round := func(took time.Duration, group string, partition int32) {
			c.begin(time.Now())
			time.Sleep(took)
			if err := c.Write(t.Context(), []mm2.Checkpoint{{Group: group, Topic: "t", Partition: partition}}); err != nil {
				t.Fatal(err)
			}
		}
		round(100*time.Millisecond, "one", 0)
		round(300*time.Millisecond, "one", 0)
		round(7*time.Millisecond, "two", 0)
		round(9*time.Millisecond, "two", 1)
		p := newLanePage(config.Metrics{Compatibility: true}, []*flow{f})
		const name, one = mirrorCheckpoint + "checkpoint_latency_ms", `{source="old",target="new",group="one",topic="t",partition="0"}`
		two := func(partition int) string {
			return fmt.Sprintf(`{source="old",target="new",group="two",topic="t",partition="%d"}`, partition)
		}
		lately := map[string]float64{
			name + one: 300, name + "_min" + one: 100, name + "_max" + one: 300, name + "_avg" + one: 200,
		}
		for n, ms := range []float64{7, 9} {
			for _, kind := range []string{"", "_min", "_max", "_avg"} {
				lately[name+kind+two(n)] = ms
			}
		}
		want(t, page(t, p), lately)
		time.Sleep(2 * time.Minute)
		want(t, page(t, p), map[string]float64{name + one: 300, name + two(0): 7, name + two(1): 9})
		c.end([]OffsetRow{{Group: "two", TargetTopic: "t", Partition: 1}})
		want(t, page(t, p), map[string]float64{name + two(1): 9})
		topics := newLanePage(config.Metrics{Detail: "flow", Compatibility: true}, []*flow{f})
		want(t, page(t, topics), map[string]float64{name + `{source="old",target="new",group="two"}`: 9})
	})
}

// BenchmarkSurvey is a round, one a second, of a flow with nothing to do.
func BenchmarkSurvey(b *testing.B) {
	f := laneFlow("flow")
	view := catalog.View{}
	for p := range int32(10_000) {
		view[f.carry("orders", p, 0).ID] = catalog.Place{}
	}
	s, now := newSurveyor(f), time.Now()
	b.ReportAllocs()
	for b.Loop() {
		if qs := s.questions(view, now); len(qs) > 0 {
			b.Fatal(len(qs))
		}
	}
}
