package acceptance

import (
	"fmt"
	"hash/fnv"
	"maps"
	"sort"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/kferry/kferry/internal/datagen"
	"github.com/kferry/kferry/internal/ferrytest"
	"github.com/kferry/kferry/internal/kafkatest"
)

// follow has the flow follow the test's groups, and gives both users the rights for that. The source's alias becomes the test's
// name: so what is named by it, as checkpoints are, is the test's own.
func (p *pair) follow(s tree) {
	p.t.Helper()
	p.source.Allow(p.t, reader, kadm.NewACLs().Groups(p.name+".").ResourcePatternType(kadm.ACLPatternPrefixed).Operations(kadm.OpDescribe))
	p.target.Allow(p.t, writer, kadm.NewACLs().Groups(p.name+".").ResourcePatternType(kadm.ACLPatternPrefixed).Operations(kadm.OpRead))
	p.target.Allow(p.t, writer, kadm.NewACLs().Topics("heartbeats", p.syncs()).Operations(kadm.OpCreate, kadm.OpWrite, kadm.OpRead))
	clusters, f := at(s, "clusters"), flowOf(s)
	clusters[p.name], f["source"] = clusters["old"], p.name
	delete(clusters, "old")
	f["groups"], f["groups_interval"] = []string{p.name + `\..*`}, "1s"
}

// syncs is the topic of a followed flow's offset syncs, on the target.
func (p *pair) syncs() string { return "mm2-offset-syncs." + p.name + ".internal" }

// Groups that stand all over a topic with the gaps of transactions and of compaction go on at the target where they were:
// they miss nothing and read nothing again. MirrorMaker 2 does the same job beside it, and is shown for comparison.
func TestGroups(t *testing.T) {
	t.Parallel()
	const partitions, places = 2, 40
	p := newPair(t, kafkatest.V4)
	topic := p.topic("orders")
	gappy(p, topic, partitions, size(20_000, 1_000_000))

	src := readLog(t, p.source, topic)
	committed := placesIn(src, places)
	for group, at := range committed {
		p.commit(p.source, p.name+"."+group, topic, at)
	}
	s := p.settings()
	p.follow(s)
	f := p.run(s)
	f.Carries()
	records := int64(0)
	for _, es := range src {
		records += int64(len(es))
	}
	p.arrived(f, topic, records)
	p.settled(topic, committed)

	dst := readLog(t, p.target, topic)
	ours := compare(src, dst, committed, func(group string) map[int32]int64 { return p.committed(p.target, p.name+"."+group, topic) })
	f.Stop()
	t.Logf("kferry: %s", ours)
	if ours.skipped > 0 || ours.again > 0 || ours.unknown > 0 {
		t.Errorf("groups do not go on where they were: %s", ours)
	}

	// The same from what is stored, without a running kferry.
	there := p.committed(p.target, p.name+".g-20", topic)
	said := p.command(0, "offsets", "translate", "--stored", "--json", "-c", p.file(s),
		"--topic", topic, "--partition", "1", "--offset", fmt.Sprint(committed["g-20"][1]))
	if !strings.Contains(said, fmt.Sprintf(`"target_offset": %d,`, there[1])) {
		t.Errorf("stored: group g-20 is at %d on the target", there[1])
	}

	theirs := p.mirrored(topic, src, committed)
	t.Logf("MirrorMaker 2: %s", theirs)
	if theirs.skipped > 0 {
		t.Errorf("this test counts wrongly, or MirrorMaker 2 loses records: %s", theirs)
	}
}

// gappy fills a topic of the source by transactions, three of ten aborted, has it compacted until many of its offsets
// have gone, and then keeps it as it is.
func gappy(p *pair, topic string, partitions int32, records int64) {
	t := p.t
	t.Helper()
	p.source.CreateTopic(t, topic, partitions, map[string]string{
		"cleanup.policy": "compact", "segment.ms": "200", "min.cleanable.dirty.ratio": "0.01", "min.compaction.lag.ms": "0",
	})
	// A target that is cleaned as well would hide what came twice.
	p.target.CreateTopic(t, topic, partitions, map[string]string{"cleanup.policy": "compact", "min.compaction.lag.ms": "36000000"})
	p.generate(t.Context(), datagen.Options{Topic: topic, Records: records, Codec: datagen.Zstd, Transactional: true, AbortRatio: 0.3, TxnRecords: 50})
	seed := uint64(0)
	ferrytest.Eventually(t, ferrytest.Patience, "gaps in the source", func() (bool, string) {
		// Only a segment that is closed can be cleaned, and only a write closes it.
		seed++
		p.generate(t.Context(), datagen.Options{Topic: topic, Records: 20, Transactional: true, TxnRecords: 2, Seed: seed})
		n, held := int64(0), offsetsHeld(t, p.source, topic)
		readAll(t, p.source, topic, func(*kgo.Record) { n++ }, kgo.FetchIsolationLevel(kgo.ReadCommitted()))
		return n < held*6/10, fmt.Sprintf("%d records in %d offsets", n, held)
	})
	alter(t, p.source, topic, "min.compaction.lag.ms=36000000")
}

// entry is one committed record: where it is, and a sum that tells it from all others.
type entry struct {
	offset int64
	id     uint64
}

// readLog is what a consumer finds in a topic, by partition.
func readLog(t testing.TB, c *kafkatest.Cluster, topic string) map[int32][]entry {
	t.Helper()
	log := map[int32][]entry{}
	readAll(t, c, topic, func(r *kgo.Record) {
		h := fnv.New64a()
		fmt.Fprintf(h, "%d %q %q", r.Timestamp.UnixMilli(), r.Key, r.Value)
		log[r.Partition] = append(log[r.Partition], entry{r.Offset, h.Sum64()})
	}, kgo.FetchIsolationLevel(kgo.ReadCommitted()))
	return log
}

// placesIn spreads n groups evenly over the offsets of a topic, from its very first offset to its end.
func placesIn(log map[int32][]entry, n int) map[string]map[int32]int64 {
	at := map[string]map[int32]int64{}
	for i := range n {
		group := map[int32]int64{}
		for partition, es := range log {
			group[partition] = (es[len(es)-1].offset + 1) * int64(i) / int64(n-1)
		}
		at[fmt.Sprintf("g-%02d", i)] = group
	}
	return at
}

func (p *pair) commit(c *kafkatest.Cluster, group, topic string, at map[int32]int64) {
	p.t.Helper()
	os := kadm.Offsets{}
	for partition, offset := range at {
		os.Add(kadm.Offset{Topic: topic, Partition: partition, At: offset, LeaderEpoch: -1})
	}
	if err := p.admin(c).CommitAllOffsets(p.t.Context(), group, os); err != nil {
		p.t.Fatal(err)
	}
}

// committed is where a group is in a topic; a partition where it is nowhere is absent.
func (p *pair) committed(c *kafkatest.Cluster, group, topic string) map[int32]int64 {
	p.t.Helper()
	os, err := p.admin(c).FetchOffsets(p.t.Context(), group)
	if err != nil {
		p.t.Fatal(err)
	}
	at := map[int32]int64{}
	for partition, o := range os[topic] {
		if o.Err == nil && o.At >= 0 {
			at[partition] = o.At
		}
	}
	return at
}

// settled waits until no group has moved on the target for a while.
func (p *pair) settled(topic string, groups map[string]map[int32]int64) {
	p.t.Helper()
	const still = 8
	var last string
	same := 0
	ferrytest.Eventually(p.t, ferrytest.Patience, "groups on the target to rest", func() (bool, string) {
		now := ""
		for _, g := range sortedKeys(groups) {
			now += fmt.Sprint(g, p.committed(p.target, p.name+"."+g, topic), " ")
		}
		if same++; now != last {
			last, same = now, 0
		}
		time.Sleep(time.Second)
		return same >= still, now
	})
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range maps.Keys(m) {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	return keys
}

// outcome is what groups that go on at the target would miss and read again.
type outcome struct {
	places         int // groups times partitions
	unknown        int // that have no offset on the target
	skipped, again int64
	worst          int64 // most records read again at one place
}

func (o outcome) String() string {
	return fmt.Sprintf("%d places, %d without an offset on the target, %d records skipped, %d read again (at most %d at one place)",
		o.places, o.unknown, o.skipped, o.again, o.worst)
}

// compare follows every group from where it is on the target to the end, and holds what it reads against what it had not
// read on the source.
func compare(src, dst map[int32][]entry, groups map[string]map[int32]int64, onTarget func(group string) map[int32]int64) (o outcome) {
	origin := map[int32]map[uint64]int64{}
	for partition, es := range src {
		origin[partition] = map[uint64]int64{}
		for _, e := range es {
			origin[partition][e.id] = e.offset
		}
	}
	for group, places := range groups {
		there := onTarget(group)
		for partition, read := range places {
			o.places++
			begin, ok := there[partition]
			if !ok {
				o.unknown++
				continue
			}
			unread, again := int64(0), int64(0)
			for _, e := range src[partition] {
				if e.offset >= read {
					unread++
				}
			}
			for _, e := range dst[partition] {
				at, ok := origin[partition][e.id]
				switch {
				case e.offset < begin || !ok:
				case at < read:
					again++
				default:
					unread--
				}
			}
			o.skipped, o.again, o.worst = o.skipped+unread, o.again+again, max(o.worst, again)
		}
	}
	return o
}

// mirrored has MirrorMaker 2 do for the test's topic and groups what kferry has done.
func (p *pair) mirrored(topic string, src map[int32][]entry, groups map[string]map[int32]int64) outcome {
	p.t.Helper()
	props := kafkatest.MM2Properties(p.t, map[string]*kafkatest.Cluster{"old": p.source, "new": p.target})
	maps.Copy(props, map[string]string{
		"old->new.enabled": "true", "old->new.topics": topic, "old->new.groups": p.name + `\..*`,
		"old->new.sync.group.offsets.enabled": "true", "old.consumer.isolation.level": "read_committed",
	})
	// As for kferry: what the target's cleaner takes away could not be counted.
	p.target.CreateTopic(p.t, "old."+topic, int32(len(src)), map[string]string{"cleanup.policy": "compact", "min.compaction.lag.ms": "36000000"})
	props["old->new.sync.topic.configs.enabled"] = "false"
	m := kafkatest.StartMM2(p.t, props)
	records := int64(0)
	for _, es := range src {
		records += int64(len(es))
	}
	m.WaitRecords(p.target, "old."+topic, records)
	p.settled("old."+topic, groups)
	o := compare(src, readLog(p.t, p.target, "old."+topic), groups, func(group string) map[int32]int64 {
		return p.committed(p.target, p.name+"."+group, "old."+topic)
	})
	m.Stop()
	_, _ = p.target.Admin(p.t).DeleteTopics(p.t.Context(), "old."+topic)
	return o
}
