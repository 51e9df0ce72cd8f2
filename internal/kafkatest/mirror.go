package kafkatest

import (
	_ "embed"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// JavaClient are the properties of a Java client of the cluster that logs in as user.
func (c *Cluster) JavaClient(t testing.TB, user string) map[string]string {
	t.Helper()
	p := map[string]string{"bootstrap.servers": strings.Join(c.Bootstrap(), ",")}
	if c.opts.Security == Plaintext {
		return p
	}
	password, err := c.password(user)
	if err != nil {
		t.Fatal(err)
	}
	p["security.protocol"] = c.opts.Security.protocol()
	p["sasl.mechanism"] = "SCRAM-SHA-512"
	p["sasl.jaas.config"] = fmt.Sprintf("org.apache.kafka.common.security.scram.ScramLoginModule required username=%s password=%s;",
		quote(user), quote(password))
	if c.opts.Security == SASLSSL {
		p["ssl.truststore.type"] = "PEM"
		p["ssl.truststore.location"] = c.CAFile()
	}
	return p
}

// MM2Properties are the properties of a MirrorMaker 2 that knows these clusters by their aliases, logs in as AdminUser, and
// does every second what it usually does every minute or ten. No flow is enabled; all heartbeats are.
func MM2Properties(t testing.TB, clusters map[string]*Cluster) map[string]string {
	t.Helper()
	p := map[string]string{"clusters": strings.Join(slices.Sorted(maps.Keys(clusters)), ",")}
	for alias, c := range clusters {
		for k, v := range c.JavaClient(t, AdminUser) {
			p[alias+"."+k] = v
		}
		p[alias+".offset.flush.interval.ms"] = "1000"
		// Not by looking at every class of every jar, again for each two clusters: that takes most of a start.
		p[alias+".plugin.discovery"] = "service_load"
	}
	for _, k := range []string{"", "offset-syncs.topic.", "checkpoints.topic.", "heartbeats.topic.", "offset.storage.", "config.storage.", "status.storage."} {
		p[k+"replication.factor"] = "-1" // the cluster's default: a replica on every broker
	}
	for _, k := range []string{"refresh.topics", "refresh.groups", "sync.topic.configs", "sync.topic.acls", "sync.group.offsets", "emit.checkpoints"} {
		p[k+".interval.seconds"] = "1"
	}
	return p
}

// MM2 is Apache's MirrorMaker 2 in a process of its own.
type MM2 struct {
	t    testing.TB
	proc *process
	log  string
	told bool // to end
}

// StartMM2 runs MirrorMaker 2 of V4 with mm2.properties of this content until the test ends; see MM2Properties. It does not
// wait until anything is mirrored: see WaitRecords. It skips and fails like Start. A MirrorMaker 2 that ends by itself fails the
// test; the end of its log is shown when the test fails.
func StartMM2(t testing.TB, properties map[string]string) *MM2 {
	t.Helper()
	Need(t)
	log, err := os.Create(filepath.Join(t.TempDir(), "mm2.log"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = log.Close() }() // the child has its own
	j := mirrorJVM(t, log, log)
	file := propertiesFile(t, j.dir, properties)
	m := &MM2{t: t, log: log.Name()}
	if m.proc, err = j.start("mm2", []string{"org.apache.kafka.connect.mirror.MirrorMaker", file}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.cleanup)
	return m
}

func (m *MM2) cleanup() {
	m.t.Helper()
	if !m.told && !m.proc.running() {
		m.t.Errorf("MirrorMaker 2 ended by itself: %v", m.proc.ended())
	}
	m.Kill()
	if m.t.Failed() {
		m.t.Logf("log of MirrorMaker 2:\n%s", m.logTail())
	}
}

// LogFile is where it logs; the file is removed with the test.
func (m *MM2) LogFile() string { return m.log }

func (m *MM2) logTail() []byte {
	log, err := os.ReadFile(m.log)
	if err != nil {
		return []byte(err.Error())
	}
	return tail(log)
}

// Wait asks done until it says yes, and fails the test when MirrorMaker 2 has ended or has taken far too long; state says then
// how things are.
func (m *MM2) Wait(what string, done func() (ok bool, state string)) {
	m.t.Helper()
	limit := time.NewTimer(startLimit)
	defer limit.Stop()
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for {
		ok, state := done()
		if ok {
			return
		}
		select {
		case <-tick.C:
		case <-m.proc.done:
			m.t.Fatalf("MirrorMaker 2 has ended (%v), and not yet: %s\n%s", m.proc.ended(), what, state)
		case <-limit.C:
			m.t.Fatalf("after %v not yet: %s\n%s", startLimit, what, state)
		}
	}
}

// WaitRecords waits until topic is there on c and at least n records have been written to it.
func (m *MM2) WaitRecords(c *Cluster, topic string, n int64) {
	m.t.Helper()
	admin := c.Admin(m.t)
	m.Wait(fmt.Sprintf("%d records in %s", n, topic), func() (bool, string) {
		ends, err := admin.ListEndOffsets(m.t.Context(), topic)
		if err = errors.Join(err, ends.Error()); err != nil {
			return false, err.Error()
		}
		var sum int64
		for _, partition := range ends[topic] {
			sum += partition.Offset
		}
		return sum >= n && len(ends[topic]) > 0, strconv.FormatInt(sum, 10) + " records"
	})
}

// Stop ends it as its users do, by SIGTERM, and returns when it has stored its positions and is gone.
func (m *MM2) Stop() {
	m.t.Helper()
	m.told = true
	if err := m.proc.signal(syscall.SIGTERM); err != nil {
		m.t.Fatalf("stop MirrorMaker 2: %v", err)
	}
	select {
	case <-m.proc.done: // by a signal: its exit code tells nothing
	case <-time.After(startLimit):
		m.t.Fatalf("MirrorMaker 2 still runs %v after SIGTERM", startLimit)
	}
}

// Kill ends it as kill -9 does and returns when it is gone.
func (m *MM2) Kill() {
	m.told = true
	m.proc.kill()
}

//go:embed MirrorRead.java
var mirrorRead []byte

// MirrorRead is what MirrorMaker 2's own client (MirrorClient, and RemoteClusterUtils alike) finds on the cluster: about the
// cluster alias, and where group of it goes on. The lines are those of MirrorRead.java. properties choose the policy: they are
// replication.policy.class and the like. Skips and fails like RunJava.
func (c *Cluster) MirrorRead(t testing.TB, alias, group string, properties map[string]string) []string {
	t.Helper()
	Need(t, compiler)
	dir := t.TempDir()
	program := filepath.Join(dir, "MirrorRead.java")
	if err := os.WriteFile(program, mirrorRead, 0o600); err != nil {
		t.Fatal(err)
	}
	all := c.JavaClient(t, AdminUser)
	maps.Copy(all, properties)
	return lines(runJava(t, []string{program, propertiesFile(t, dir, all), alias, group}))
}

// Formatted is what a formatter of MirrorMaker 2 (OffsetSync, Checkpoint or Heartbeat) prints on the console for the first n
// records in partition 0 of topic. Skips and fails like Start.
func (c *Cluster) Formatted(t testing.TB, formatter, topic string, n int) []string {
	t.Helper()
	Need(t)
	return lines(runJava(t, []string{
		"org.apache.kafka.tools.consumer.ConsoleConsumer", "--bootstrap-server", strings.Join(c.Bootstrap(), ","),
		"--command-config", propertiesFile(t, t.TempDir(), c.JavaClient(t, AdminUser)),
		"--topic", topic, "--partition", "0", "--offset", "earliest", "--max-messages", strconv.Itoa(n), "--timeout-ms", "60000",
		"--formatter", "org.apache.kafka.connect.mirror.formatters." + formatter + "Formatter",
	}))
}

func propertiesFile(t testing.TB, dir string, properties map[string]string) string {
	t.Helper()
	file := filepath.Join(dir, "client.properties")
	if err := os.WriteFile(file, encodeProperties(properties), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// lines are those of a program's output.
func lines(out string) []string {
	return strings.FieldsFunc(out, func(r rune) bool { return r == '\n' })
}

// Records are all that a topic has when it is called, in the order of each partition; none when it is empty.
func (c *Cluster) Records(t testing.TB, topic string) []*kgo.Record {
	t.Helper()
	admin := c.Admin(t)
	starts, err1 := admin.ListStartOffsets(t.Context(), topic)
	ends, err2 := admin.ListEndOffsets(t.Context(), topic)
	if err := errors.Join(err1, err2, starts.Error(), ends.Error()); err != nil {
		t.Fatalf("bounds of %s: %v", topic, err)
	}
	open := map[int32]int64{} // partition to its end, until that is reached
	from := map[int32]kgo.Offset{}
	for id, end := range ends[topic] {
		if start := starts[topic][id].Offset; start < end.Offset {
			from[id], open[id] = kgo.NewOffset().At(start), end.Offset
		}
	}
	if len(open) == 0 {
		return nil
	}
	// Markers of transactions may be the last of a partition.
	cl := c.Client(t, AdminUser, kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: from}), kgo.KeepControlRecords())
	defer cl.Close()
	var out []*kgo.Record
	for len(open) > 0 {
		fetches := cl.PollFetches(t.Context())
		if err := fetches.Err(); err != nil {
			t.Fatalf("read %s: %v", topic, err)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			end, ok := open[r.Partition]
			if !ok {
				return
			}
			if r.Offset < end && !r.Attrs.IsControl() {
				out = append(out, r)
			}
			if r.Offset+1 >= end {
				delete(open, r.Partition)
			}
		})
	}
	return out
}
