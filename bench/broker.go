package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/kferry/kferry/internal/kafkatest"
)

// freshMetadata is an option of every client: with kgo's own five seconds a topic that was just made is long unknown.
var freshMetadata = kgo.MetadataMinAge(50 * time.Millisecond)

// broker is a cluster of one, and a client for looking at it.
type broker struct {
	cluster *kafkatest.Cluster // nil: it is embedded
	end     func()
	at      string // its address
	client  *kgo.Client
	admin   *kadm.Client
	pids    []string // of its JVM
}

// forgetful is for a target that looks each second, and not each ten minutes, for producers that it need not remember any more:
// those whose last record is more than a day old.
var forgetful = map[string]string{"producer.id.expiration.check.interval.ms": "1000"}

// startBroker takes more settings, beside what all have.
func startBroker(ctx context.Context, more map[string]string) (*broker, error) {
	// Deleted topics leave the disk soon, not after a minute. A broker that has more to do than it can keeps its leadership: where
	// it is the only one, to lose it helps nobody.
	config := map[string]string{"log.segment.delete.delay.ms": "1000", "broker.session.timeout.ms": "120000"}
	maps.Copy(config, more)
	c, err := kafkatest.Run(ctx, kafkatest.Options{Bench: true, Detour: true, Config: config})
	if err != nil {
		return nil, err
	}
	pids, err := processes(c.Dir())
	if err != nil {
		c.Stop()
		return nil, err
	}
	return (&broker{cluster: c, end: c.Stop, at: c.Bootstrap()[0], pids: pids}).looked()
}

// looked is b with a client for looking at it.
func (b *broker) looked() (_ *broker, err error) {
	if b.client, err = kgo.NewClient(freshMetadata, kgo.SeedBrokers(b.at)); err != nil {
		b.end()
		return nil, err
	}
	b.admin = kadm.NewClient(b.client)
	return b, nil
}

// stop may be called on nil.
func (b *broker) stop() {
	if b == nil {
		return
	}
	if b.client != nil {
		b.client.Close()
	}
	b.end()
}

func (b *broker) addr() string { return b.at }

// mostAtOnce is how many partitions are asked for at a time: a controller refuses requests for close to 10,000.
const mostAtOnce = 5000

// create makes an empty topic and returns when all its partitions answer.
func (b *broker) create(ctx context.Context, topic string, partitions int, configs map[string]string) error {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Minute)
	defer cancel()
	values := map[string]*string{}
	for k, v := range configs {
		values[k] = &v
	}
	if _, err := b.admin.CreateTopic(ctx, int32(min(partitions, mostAtOnce)), 1, values, topic); err != nil {
		return err
	}
	for n := mostAtOnce; n < partitions; n += mostAtOnce {
		rs, err := b.admin.UpdatePartitions(ctx, min(n+mostAtOnce, partitions), topic)
		if err = errors.Join(err, rs.Error()); err != nil {
			return err
		}
	}
	t := time.NewTicker(tick)
	defer t.Stop()
	for {
		ends, err := b.ends(ctx, topic)
		if err == nil && len(ends) == partitions {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("topic %s does not come up: %w", topic, errors.Join(ctx.Err(), err))
		case <-t.C:
		}
	}
}

func (b *broker) drop(ctx context.Context, topic string) error {
	_, err := b.admin.DeleteTopic(ctx, topic)
	return err
}

// configure changes settings of a topic.
func (b *broker) configure(ctx context.Context, topic string, configs map[string]string) error {
	var changes []kadm.AlterConfig
	for k, v := range configs {
		changes = append(changes, kadm.AlterConfig{Op: kadm.SetConfig, Name: k, Value: &v})
	}
	rs, err := b.admin.AlterTopicConfigs(ctx, changes, topic)
	for _, r := range rs {
		err = errors.Join(err, r.Err)
	}
	return err
}

// sweep removes the topics that have name in theirs.
func (b *broker) sweep(ctx context.Context, name string) error {
	all, err := b.admin.ListTopicsWithInternal(ctx)
	if err != nil {
		return err
	}
	var old []string
	for t := range all {
		if strings.Contains(t, name) {
			old = append(old, t)
		}
	}
	if len(old) == 0 {
		return nil
	}
	rs, err := b.admin.DeleteTopics(ctx, old...)
	return errors.Join(err, rs.Error())
}

// ends are the end offsets of a topic by partition.
func (b *broker) ends(ctx context.Context, topic string) (map[int32]int64, error) {
	l, err := b.admin.ListEndOffsets(ctx, topic)
	if err == nil {
		err = l.Error()
	}
	out := make(map[int32]int64, len(l[topic]))
	for p, o := range l[topic] {
		out[p] = o.Offset
	}
	return out, err
}

// stored is the size of a topic on disk, in bytes.
func (b *broker) stored(ctx context.Context, topic string) (int64, error) {
	dirs, err := b.admin.DescribeAllLogDirs(ctx, nil)
	var n int64
	dirs.Each(func(d kadm.DescribedLogDir) {
		err = errors.Join(err, d.Err)
		for _, p := range d.Topics[topic] {
			n += p.Size
		}
	})
	return n, err
}

// processes finds those with dir in their arguments.
func processes(dir string) ([]string, error) {
	files, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		return nil, err
	}
	var out []string
	for _, f := range files {
		if b, err := os.ReadFile(f); err == nil && bytes.Contains(b, []byte(dir)) {
			out = append(out, filepath.Base(filepath.Dir(f)))
		}
	}
	if out == nil {
		return nil, fmt.Errorf("no process of the broker in %s found: its CPU cannot be measured", dir)
	}
	return out, nil
}

// cpu is what the broker has used since its start, in seconds.
func (b *broker) cpu() float64 {
	var sum float64
	for _, pid := range b.pids {
		sum += processCPU(pid)
	}
	return sum
}

// processCPU is what a process has used since its start, in seconds; 0 when it is gone.
func processCPU(pid string) float64 {
	stat, _ := os.ReadFile("/proc/" + pid + "/stat")
	// The name of the program, in parentheses, may hold anything; 11 fields after it come user and system time.
	if f := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:]); len(f) > 13 {
		return ticks(f[11:13])
	}
	return 0
}

// machineCPU is what all programs of the machine have used since it started, in seconds.
func machineCPU() float64 {
	stat, _ := os.ReadFile("/proc/stat")
	line, _, _ := bytes.Cut(stat, []byte("\n"))
	f := bytes.Fields(line) // cpu user nice system idle iowait irq softirq ...
	if len(f) < 8 {
		return 0
	}
	return ticks(f[1:4]) + ticks(f[6:8])
}

// ticks sums fields of /proc up, in seconds.
func ticks(fields [][]byte) float64 {
	const perSecond = 100 // USER_HZ, the same on every Linux that Go runs on
	var sum int64
	for _, f := range fields {
		n, _ := strconv.ParseInt(string(f), 10, 64)
		sum += n
	}
	return float64(sum) / perSecond
}
