package replicator_test

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/kferry/kferry/config"
	"github.com/kferry/kferry/internal/check"
	"github.com/kferry/kferry/internal/kafka"
	"github.com/kferry/kferry/internal/kafkatest"
	"github.com/kferry/kferry/replicator"
	"github.com/kferry/kferry/replicator/deadletter"
	"github.com/kferry/kferry/replicator/progress"
)

// What a target forgets or loses. A broker judges the age of a producer by the newest timestamp among the records of
// its last batch, each producer.id.expiration.check.interval.ms (10 minutes) and whenever it reads a snapshot, so at
// each orderly start. After a day it forgets the producer, also one that writes old records at that moment.

// forgetful are options of a target that looks each second for producers to forget.
var forgetful = kafkatest.Options{Config: map[string]string{"producer.id.expiration.check.interval.ms": "1000"}}

// ordinary are those of a target with Kafka's defaults, which is another cluster than the source.
var ordinary = kafkatest.Options{Config: map[string]string{"num.io.threads": "4"}}

// The ages of records.
const (
	fresh     = time.Duration(0)
	threeDays = 3 * 24 * time.Hour
	fourDays  = threeDays + 24*time.Hour
	sixDays   = 2 * threeDays
)

// memory is a topic of one partition on a source, which is carried to a target that may forget.
type memory struct {
	t              *testing.T
	topic          string
	source, target *kafkatest.Cluster
	cl             *kgo.Client // of the source
	from, to       *kadm.Client
}

func remember(t *testing.T, o kafkatest.Options) *memory {
	t.Helper()
	m := &memory{t: t, source: kafkatest.Shared(t, kafkatest.Options{}), target: kafkatest.Shared(t, o)}
	m.topic = strings.NewReplacer("/", ".", "_", "-").Replace(strings.TrimPrefix(t.Name(), "Test"))
	m.source.CreateTopic(t, m.topic, 1, map[string]string{"retention.ms": "-1"})
	m.cl = m.source.Client(t, "", kgo.DefaultProduceTopic(m.topic))
	m.from, m.to = m.source.Admin(t), m.target.Admin(t)
	return m
}

func (m *memory) config() *config.Config {
	return &config.Config{
		Clusters: map[string]config.Cluster{"old": m.source.Config("old", ""), "new": m.target.Config("new", "")},
		Flows: []config.Flow{{
			Name: m.topic, Source: "old", Target: "new", Topics: []string{m.topic}, Policy: "identity",
			RefreshInterval: time.Second,
		}},
		MemoryBudget: 64 << 20,
	}
}

// put writes n records of an age, with numbers from first on.
func (m *memory) put(first, n int, age time.Duration) {
	m.t.Helper()
	var rs []*kgo.Record
	for i := first; i < first+n; i++ {
		rs = append(rs, &kgo.Record{Timestamp: time.Now().Add(-age), Key: []byte("k"), Value: fmt.Append(nil, i)})
	}
	if err := m.cl.ProduceSync(m.t.Context(), rs...).FirstErr(); err != nil {
		m.t.Fatal(err)
	}
}

// end is where the target's log ends.
func (m *memory) end() int64 {
	m.t.Helper()
	ends, err := m.to.ListEndOffsets(m.t.Context(), m.topic)
	if err != nil {
		m.t.Fatal(err)
	}
	o, _ := ends.Lookup(m.topic, 0)
	return o.Offset
}

func (m *memory) await(what string, done func() (bool, string)) {
	m.t.Helper()
	for limit := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		ok, state := done()
		if ok {
			return
		}
		if time.Now().After(limit) {
			m.t.Fatalf("not within a minute: %s: %s", what, state)
		}
	}
}

// forgotten waits until the target knows no producer of the topic.
func (m *memory) forgotten() {
	m.t.Helper()
	m.await("the target has forgotten the producer", func() (bool, string) {
		got, err := m.to.DescribeProducers(m.t.Context(), kadm.TopicsSet{m.topic: {0: {}}})
		if err != nil {
			return false, err.Error()
		}
		known := got[m.topic].Partitions[0].ActiveProducers
		return len(known) == 0, fmt.Sprint(len(known), " are known")
	})
}

// restarted has the target's broker started anew, as its service manager does it.
func (m *memory) restarted() {
	m.t.Helper()
	if err := m.target.ShutDown(0); err != nil {
		m.t.Fatal(err)
	}
	if err := m.target.Restart(0); err != nil {
		m.t.Fatal(err)
	}
}

// deaf is a way to a cluster whose answers can be lost: from then on a connection ends when something comes back, and
// none is made anew.
type deaf struct{ atomic.Bool }

func (d *deaf) options(alias string) kafka.Options {
	if alias != "new" {
		return kafka.Options{}
	}
	return kafka.Options{Dialer: func(ctx context.Context, network, addr string) (net.Conn, error) {
		if d.Load() {
			return nil, &net.OpError{Op: "dial", Net: network, Err: syscall.ECONNREFUSED}
		}
		c, err := new(net.Dialer).DialContext(ctx, network, addr)
		return deafConn{c, d}, err
	}}
}

type deafConn struct {
	net.Conn
	way *deaf
}

func (c deafConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if err == nil && c.way.Load() {
		_ = c.Close() // it fails for the reader in any case
		return 0, net.ErrClosed
	}
	return n, err
}

// The target has stored a batch and its answer is lost. Meanwhile the target forgets the producer, or not.
func TestRealAnswerLost(t *testing.T) {
	restarts, forgets := (*memory).restarted, (*memory).forgotten
	for name, c := range map[string]struct {
		target    kafkatest.Options
		age       time.Duration
		meanwhile func(*memory)
	}{
		"fresh records, restarted": {ordinary, fresh, restarts},
		"old records, restarted":   {ordinary, threeDays, restarts},
		"old records, forgotten":   {forgetful, threeDays, forgets},
	} {
		t.Run(strings.ReplaceAll(name, ",", ""), func(t *testing.T) {
			m := remember(t, c.target)
			m.put(0, 10, c.age)
			way := &deaf{}
			d, stop := startWith(t, m.config(), replicator.Options{ClusterOptions: way.options})
			carried(t, d, m.from, m.topic)
			way.Store(true)
			m.put(10, 50, c.age)
			m.await("the target has all records", func() (bool, string) { return m.end() == 60, fmt.Sprint(m.end()) })
			c.meanwhile(m)
			way.Store(false)
			carried(t, d, m.from, m.topic)
			if s := d.Status().Flows[0]; s.Twice != 0 || s.Lost != 0 {
				t.Errorf("%d records count as possibly twice and %d as lost", s.Twice, s.Lost)
			}
			stop()
			same(t, pairOf{m.source, m.target}, check.Options{Topic: m.topic})
		})
	}
}

// The target has forgotten the producer, and would take a batch with any sequence. Two batches wait: it refuses the
// first for good.
func TestRealRefusedBeforeGood(t *testing.T) {
	for _, onRefused := range []string{"stop", "dead_letter"} {
		t.Run(onRefused, func(t *testing.T) {
			m := remember(t, forgetful)
			m.target.CreateTopic(t, m.topic, 1, map[string]string{"retention.ms": "-1", oldest: millis(fourDays)})
			cfg := m.config()
			cfg.Flows[0].OnRefused = onRefused
			m.put(0, 10, threeDays)
			d, stop := start(t, cfg)
			carried(t, d, m.from, m.topic)
			m.forgotten()
			m.together(sixDays, threeDays)
			if onRefused == "stop" {
				m.stopsAndGoesOn(cfg, d, stop)
				return
			}
			carried(t, d, m.from, m.topic)
			stop()
			refused := func(r *kgo.Record) bool { return time.Since(r.Timestamp) > fourDays }
			same(t, pairOf{m.source, m.target}, check.Options{Topic: m.topic, Aside: refused})
			letters := deadletter.Topic(m.topic)
			ends, err := m.to.ListEndOffsets(t.Context(), letters)
			if err != nil || ends.Error() != nil || ends[letters][0].Offset == 0 {
				t.Fatalf("the refused record is neither on the target nor a dead letter: %v %v", err, ends)
			}
			if rs := readReal(t, m.target, letters); len(rs) != 1 || !strings.HasPrefix(string(rs[0].Value), "0 ") {
				t.Errorf("%d dead letters, want the one that was refused", len(rs))
			}
		})
	}
}

// oldest is the setting that bounds the age of records.
const oldest = "message.timestamp.before.max.ms"

// millis is d as settings have it.
func millis(d time.Duration) string { return fmt.Sprint(d.Milliseconds()) }

// together writes a record of each age, in a batch of its own, that can all be read from the same moment on.
func (m *memory) together(ages ...time.Duration) {
	m.t.Helper()
	cl := m.source.Client(m.t, "", kgo.TransactionalID("tx-"+m.topic), kgo.DefaultProduceTopic(m.topic),
		kgo.ProducerBatchCompression(kgo.NoCompression()))
	if err := cl.BeginTransaction(); err != nil {
		m.t.Fatal(err)
	}
	for i, age := range ages { // too large to be joined with its neighbours
		value := fmt.Append(nil, i, " ", strings.Repeat("x", 700<<10))
		r := &kgo.Record{Timestamp: time.Now().Add(-age), Key: []byte("k"), Value: value}
		if err := cl.ProduceSync(m.t.Context(), r).FirstErr(); err != nil {
			m.t.Fatal(err)
		}
	}
	if err := cl.EndTransaction(m.t.Context(), kgo.TryCommit); err != nil {
		m.t.Fatal(err)
	}
}

// stopsAndGoesOn wants the lane to stop at the refused record, at offset 10, at each start, with nothing of what
// follows on the target; and to go on when the target takes it.
func (m *memory) stopsAndGoesOn(cfg *config.Config, d *replicator.Daemon, stop func()) {
	for range 2 {
		reasoned(m.t, d, m.topic, 0, "stopped", "source offset 10", "INVALID_TIMESTAMP", oldest)
		if end := m.end(); end != 10 {
			m.t.Errorf("the target ends at %d: it has what follows the refused record at 10", end)
		}
		stop()
		d, stop = start(m.t, cfg)
	}
	reasoned(m.t, d, m.topic, 0, "stopped", "source offset 10")
	alter := []kadm.AlterConfig{{Op: kadm.SetConfig, Name: oldest, Value: kadm.StringPtr(millis(2 * sixDays))}}
	if _, err := m.to.AlterTopicConfigs(m.t.Context(), alter, m.topic); err != nil {
		m.t.Fatal(err)
	}
	carried(m.t, d, m.from, m.topic) // a stopped lane is tried again within 30 s
	stop()
	same(m.t, pairOf{m.source, m.target}, check.Options{Topic: m.topic})
}

// The only replica of a target partition comes back without its log while kferry runs: the lane stops, and stays so.
func TestRealTargetLosesItsLog(t *testing.T) {
	for name, age := range map[string]time.Duration{"fresh records": fresh, "old records": threeDays} {
		t.Run(name, func(t *testing.T) {
			m := remember(t, ordinary)
			m.put(0, 1000, age)
			d, stop := start(t, m.config())
			carried(t, d, m.from, m.topic)
			stop() // so that the progress is stored: without it all would be carried again, and rightly so
			d, stop = start(t, m.config())
			carried(t, d, m.from, m.topic)
			if err := m.target.Kill(0); err != nil {
				t.Fatal(err)
			}
			if err := os.RemoveAll(filepath.Join(m.target.DataDir(0), m.topic+"-0")); err != nil {
				t.Fatal(err)
			}
			m.put(1000, 100, age)
			if err := m.target.Restart(0); err != nil {
				t.Fatal(err)
			}
			const lost = "lost records that it acknowledged"
			reasoned(t, d, m.topic, 0, "stopped", lost)
			stop()
			d, stop = start(t, m.config())
			reasoned(t, d, m.topic, 0, "stopped", lost)
			stop()
		})
	}
}

// kferry dies before it has stored what it carried last, the target removes all of that by its retention and forgets
// the producer: nobody can know any more what was carried. What is sent a second time is counted.
func TestRealTargetEmptied(t *testing.T) {
	const known, after = 1000, 2000
	for name, meanwhile := range map[string]func(*memory){
		"restarted": (*memory).restarted, "forgotten": (*memory).forgotten, "neither": func(*memory) {},
	} {
		t.Run(name, func(t *testing.T) {
			o, age := forgetful, threeDays
			if name == "neither" {
				o, age = ordinary, fresh
			}
			m := remember(t, o)
			m.put(0, known, age)
			d, stop := start(t, m.config())
			carried(t, d, m.from, m.topic)
			stop()
			stored := m.progress()
			m.put(known, after, age)
			d, stop = start(t, m.config())
			carried(t, d, m.from, m.topic)
			stop()
			m.store(stored)
			gone := kadm.Offsets{}
			gone.AddOffset(m.topic, 0, known+after, -1)
			if _, err := m.to.DeleteRecords(t.Context(), gone); err != nil {
				t.Fatal(err)
			}
			meanwhile(m)
			d, stop = start(t, m.config())
			carried(t, d, m.from, m.topic)
			twice, counted := m.end()-known-after, d.Status().Flows[0].Twice
			stop()
			t.Logf("%d records are there twice, %d are counted as possibly so", twice, counted)
			if twice > counted || name == "neither" && twice > 0 {
				t.Errorf("%d of %d records were sent a second time, and %d are counted", twice, after, counted)
			}
		})
	}
}

// progress is what is stored of the flow.
func (m *memory) progress() (latest []*kgo.Record) {
	m.t.Helper()
	topic := progress.Topic(m.topic)
	ends, err := m.to.ListEndOffsets(m.t.Context(), topic)
	if err != nil {
		m.t.Fatal(err)
	}
	at := map[int32]kgo.Offset{}
	left := int64(0)
	ends.Each(func(o kadm.ListedOffset) { at[o.Partition], left = kgo.NewOffset().AtStart(), left+o.Offset })
	cl := m.target.Client(m.t, "", kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: at}))
	ctx, cancel := context.WithTimeout(m.t.Context(), time.Minute)
	defer cancel()
	for seen := map[int32]int64{}; left > 0; {
		fs := cl.PollFetches(ctx)
		if err := fs.Err(); err != nil {
			m.t.Fatal(err)
		}
		for _, r := range fs.Records() {
			left -= r.Offset + 1 - seen[r.Partition] // some may be compacted away
			seen[r.Partition] = r.Offset + 1
			latest = slices.DeleteFunc(latest, func(before *kgo.Record) bool {
				return string(before.Key) == string(r.Key) && before.Partition == r.Partition
			})
			again := &kgo.Record{Topic: topic, Partition: r.Partition, Key: r.Key, Value: r.Value, Headers: r.Headers}
			latest = append(latest, again)
		}
	}
	return latest
}

// store writes progress of before, as if what came later had never been stored.
func (m *memory) store(rs []*kgo.Record) {
	m.t.Helper()
	cl := m.target.Client(m.t, "", kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err := cl.ProduceSync(m.t.Context(), rs...).FirstErr(); err != nil {
		m.t.Fatal(err)
	}
}
