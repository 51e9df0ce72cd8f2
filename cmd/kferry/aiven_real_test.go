package main

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/kferry/kferry/config"
	"github.com/kferry/kferry/internal/aiven/fake"
	"github.com/kferry/kferry/internal/check"
	"github.com/kferry/kferry/internal/kafkatest"
	"github.com/kferry/kferry/replicator"
)

// strait is two real clusters, and a real MirrorMaker 2 behind the fake of Aiven's API, which runs while the flow is
// enabled.
type strait struct {
	*at
	source, target *kafkatest.Cluster
	properties     map[string]string
	mirror         *kafkatest.MM2 // nil: it does not run
	turned         chan bool      // the flow was enabled, or disabled
}

func newStrait(t *testing.T, exactlyOnce bool) *strait {
	t.Helper()
	s := &strait{at: atAiven(t), turned: make(chan bool, 10)}
	s.source, s.target = kafkatest.Start(t, kafkatest.Options{}), kafkatest.Start(t, kafkatest.Options{})
	s.fake.OnFlow = func(f fake.Flow) { s.turned <- f.Fields["enabled"] == true }
	s.properties = kafkatest.MM2Properties(t, map[string]*kafkatest.Cluster{"old": s.source, "new": s.target})
	maps.Copy(s.properties, map[string]string{
		"old->new.enabled": "true", "old->new.topics": "pizza-.*", "emit.heartbeats.enabled": "false",
		"replication.policy.class":    "org.apache.kafka.connect.mirror.IdentityReplicationPolicy",
		"offset-syncs.topic.location": "target",
	})
	if exactlyOnce {
		maps.Copy(s.properties, map[string]string{
			"new.exactly.once.source.support": "enabled", "dedicated.mode.enable.internal.rest": "true", "old.consumer.isolation.level": "read_committed",
			"listeners": "http://127.0.0.1:0",
		})
	}
	text := strings.NewReplacer("OLD", strings.Join(s.source.Bootstrap(), ","), "NEW", strings.Join(s.target.Bootstrap(), ","), "API", s.fake.URL, "ENGINE",
		fmt.Sprintf("aiven, aiven: { exactly_once: %v }", exactlyOnce)).Replace(handoverFile)
	if err := os.WriteFile(s.file(), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return s
}

// command runs a command, and meanwhile starts and stops MirrorMaker 2 as the API was told.
func (s *strait) command(args string) {
	s.t.Helper()
	var out bytes.Buffer
	p := &process{stdin: strings.NewReader(""), stdout: &out, stderr: &out, environ: s.environ, clock: s.fake.Clock}
	end := make(chan int, 1)
	go func() { end <- p.execute(s.t.Context(), append(strings.Fields(args), "-c", s.file())) }()
	for code := -1; code < 0; {
		select {
		case on := <-s.turned:
			s.turn(on)
		case code = <-end:
			if s.t.Logf("%s: exit code %d\n%s", args, code, out.String()); code != 0 {
				s.t.FailNow()
			}
		}
	}
	for len(s.turned) > 0 {
		s.turn(<-s.turned)
	}
}

func (s *strait) turn(on bool) {
	switch {
	case on && s.mirror == nil:
		s.mirror = kafkatest.StartMM2(s.t, s.properties)
	case !on && s.mirror != nil:
		s.mirror.Stop()
		s.mirror = nil
	}
}

// ends is where the target's partitions end, together: records and markers.
func (s *strait) ends() (sum int64) {
	s.t.Helper()
	ends, err := s.target.Admin(s.t).ListEndOffsets(s.t.Context(), crossed)
	if err != nil {
		s.t.Fatal(err)
	}
	for _, end := range ends[crossed] {
		sum += end.Offset
	}
	return sum
}

// ferry runs kferry until stop is called.
func (s *strait) ferry() (d daemon, stop func()) {
	s.t.Helper()
	cfg, err := config.Load(s.file(), config.LoadOptions{Environ: s.environ})
	if err != nil {
		s.t.Fatal(err)
	}
	if d, err = openDaemon(cfg, slog.New(slog.NewTextHandler(s.t.Output(), nil)), prometheus.NewRegistry()); err != nil {
		s.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(s.t.Context())
	done := start(ctx, d.Run)
	return d, func() {
		cancel()
		if err := <-done; err != nil {
			s.t.Error(err)
		}
	}
}

// shop writes to the source until stop is called, which tells how many records it has written.
func (s *strait) shop() (wrote *atomic.Int64, stop func()) {
	s.t.Helper()
	cl := s.source.Client(s.t, kafkatest.AdminUser, kgo.DefaultProduceTopic(crossed))
	ctx, cancel := context.WithCancel(s.t.Context())
	wrote = new(atomic.Int64)
	done := make(chan error, 1)
	go func() {
		for n := 0; ctx.Err() == nil; n++ {
			r := &kgo.Record{Key: fmt.Appendf(nil, "%d", n%50), Value: fmt.Appendf(nil, "pizza %d", n)}
			if err := cl.ProduceSync(context.WithoutCancel(ctx), r).FirstErr(); err != nil {
				done <- err
				return
			}
			wrote.Add(1)
			time.Sleep(time.Millisecond)
		}
		done <- nil
	}()
	return wrote, func() {
		cancel()
		if err := <-done; err != nil {
			s.t.Error(err)
		}
	}
}

// level waits until the flow's lag is known and at most that.
func level(t *testing.T, d daemon, most int64) {
	t.Helper()
	untilFlow(t, d, func(f replicator.FlowStatus) bool { return f.Unknown == 0 && f.Lag >= 0 && f.Lag <= most })
}

// arrived waits until kferry has carried all that was written to the source. A lag of 0 does not say that: it is what was
// known at the last look at the source, which may be seconds old.
func arrived(t *testing.T, d daemon, wrote int64) {
	t.Helper()
	untilFlow(t, d, func(f replicator.FlowStatus) bool {
		missing := wrote
		for _, l := range f.Lanes {
			missing -= l.Position
		}
		return missing == 0
	})
}

func untilFlow(t *testing.T, d daemon, is func(replicator.FlowStatus) bool) {
	t.Helper()
	limit := time.Now().Add(2 * time.Minute)
	for ; ; time.Sleep(50 * time.Millisecond) {
		f := d.Status().Flows[0]
		if f.Ready && len(f.Lanes) == 3 && is(f) {
			return
		}
		if time.Now().After(limit) {
			t.Fatalf("after two minutes: %+v", f)
		}
	}
}

// A flow goes from a real MirrorMaker 2 to kferry, back, and to kferry again, while records come in without a pause. None is
// lost and none is twice, and the lag of both roads comes from one place.
func TestAivenHandoverReal(t *testing.T) {
	for name, exactlyOnce := range map[string]bool{"at least once": false, "exactly once": true} {
		t.Run(name, func(t *testing.T) {
			s := newStrait(t, exactlyOnce)
			s.source.CreateTopic(t, crossed, 3, nil)
			wrote, stopShop := s.shop()
			s.command("aiven apply")
			s.mirror.WaitRecords(s.target, crossed, 500)
			d, stop := s.ferry() // it watches
			level(t, d, 1000)
			stop()

			s.command("aiven handover pizzas --to kferry --yes")
			d, stop = s.ferry()
			level(t, d, 100)
			stop()
			s.command("aiven handover pizzas --to aiven --yes")
			s.mirror.WaitRecords(s.target, crossed, s.ends()+500)
			s.command("aiven handover pizzas --to kferry --yes")
			d, stop = s.ferry()
			level(t, d, 100)
			stopShop()
			arrived(t, d, wrote.Load())
			stop()
			r, err := check.Compare(t.Context(), check.Plain(s.source.Bootstrap()...), check.Plain(s.target.Bootstrap()...), check.Options{Topic: crossed, Codec: check.AnyCodec})
			if err == nil {
				err = r.Err()
			}
			if t.Logf("%s", r); err != nil || r.Total().Source != wrote.Load() {
				t.Errorf("%d written: %v", wrote.Load(), err)
			}
		})
	}
}
