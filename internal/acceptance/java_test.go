package acceptance

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/kferry/kferry/internal/datagen"
	"github.com/kferry/kferry/internal/ferrytest"
	"github.com/kferry/kferry/internal/kafkatest"
	"github.com/kferry/kferry/internal/web"
)

// Programs that were written for MirrorMaker 2 find what they look for: Apache's own client and its console formatters read
// what kferry keeps, and it is the same that kferry shows and that is committed.
func TestJavaReadsOurs(t *testing.T) {
	t.Parallel()
	for _, policy := range []string{"identity", "default"} {
		t.Run(policy, func(t *testing.T) { javaReads(t, policy) })
	}
}

const metadata = "of the test"

func javaReads(t *testing.T, policy string) {
	p := newPair(t, kafkatest.V4)
	topic, group := p.topic("orders"), p.name+".g"
	target, properties := topic, map[string]string{
		"replication.policy.class": "org.apache.kafka.connect.mirror.IdentityReplicationPolicy", "source.cluster.alias": p.name,
	}
	if policy == "default" {
		target, properties = p.name+"."+topic, nil
	}
	p.source.CreateTopic(t, topic, 2, nil)
	// With aborted transactions: the offsets of both sides differ.
	st := p.generate(t.Context(), datagen.Options{Topic: topic, Records: size(2_000, 50_000), Transactional: true, AbortRatio: 0.3, TxnRecords: 20})
	src := readLog(t, p.source, topic)
	at := map[int32]int64{0: src[0][len(src[0])/3].offset, 1: src[1][len(src[1])-1].offset + 1}
	os := kadm.Offsets{}
	for partition, offset := range at {
		os.Add(kadm.Offset{Topic: topic, Partition: partition, At: offset, LeaderEpoch: -1, Metadata: metadata})
	}
	if err := p.admin(p.source).CommitAllOffsets(t.Context(), group, os); err != nil {
		t.Fatal(err)
	}

	s := p.settings()
	p.follow(s)
	flowOf(s)["policy"] = policy
	f := p.run(s)
	p.arrived(f, target, st.Records)
	rows := p.shown(f, group)
	for topic, n := range map[string]int64{p.syncs(): 2, p.name + ".heartbeats": 1, "heartbeats": 1} {
		p.holds(topic, n)
	}
	f.Stop()

	there, dst := p.committed(p.target, group, target), readLog(t, p.target, target)
	var offsets []string
	for _, r := range rows {
		if *r.TargetOffset != there[r.Partition] || *r.SourceOffset != at[r.Partition] || r.TargetTopic != target {
			t.Errorf("kferry shows %+v; committed are %v on the source, %v on the target", r, at, there)
		}
		offsets = append(offsets, fmt.Sprintf("offset %s-%d %d %q", target, r.Partition, there[r.Partition], metadata))
	}
	p.client(group, target, properties, offsets)
	p.formatted(topic, target, group, src, dst, at, there)
}

// holds waits until a topic of the target has n records; more may come.
func (p *pair) holds(topic string, n int64) {
	p.t.Helper()
	ferrytest.Eventually(p.t, longer(), fmt.Sprintf("%d records in %s", n, topic), func() (bool, string) {
		ends, err := p.admin(p.target).ListEndOffsets(p.t.Context(), topic)
		o, _ := ends.Lookup(topic, 0)
		return err == nil && o.Err == nil && o.Offset >= n, fmt.Sprint(o.Offset, " records ", err, o.Err)
	})
}

// shown is what "kferry offsets show" prints about a group, once it is where it shall be.
func (p *pair) shown(f *ferrytest.Ferry, group string) []web.Offset {
	p.t.Helper()
	url := f.Says(`(http://[0-9.:]+)/metrics`)
	var all web.Offsets
	ferrytest.Eventually(p.t, longer(), "the group on the target", func() (bool, string) {
		c := ferrytest.Launch(p.t, ferrytest.Binary(p.t, p.source.Dir()), ferrytest.Environ(), nil,
			[]string{"offsets", "show", "--json", "--group", group, "--url", url})
		c.Exit(0)
		all = web.Offsets{}
		if err := json.Unmarshal([]byte(c.Output()), &all); err != nil {
			p.t.Fatalf("%v: %s", err, c.Output())
		}
		synced := len(all.Offsets) == 2
		for _, r := range all.Offsets {
			synced = synced && (r.Verdict == "exact" || r.Verdict == "gap") && *r.RecordsAgain == 0
		}
		return synced, c.Output()
	})
	return all.Offsets
}

// client wants MirrorMaker 2's client to find the flow, and these lines about the group's offsets. The cluster may have more, of
// other tests.
func (p *pair) client(group, target string, properties map[string]string, offsets []string) {
	p.t.Helper()
	got := p.target.MirrorRead(p.t, p.name, group, properties)
	for _, want := range []string{
		"upstreamCluster " + p.name, "replicationHops " + p.name + " 1", "heartbeatTopic heartbeats", "heartbeatTopic " + p.name + ".heartbeats",
		"checkpointTopic " + p.name + ".checkpoints.internal", "remoteTopic " + target, "remoteTopicOf " + p.name + " " + target,
	} {
		if !slices.Contains(got, want) {
			p.t.Errorf("MirrorClient does not find %q; it finds\n%s", want, strings.Join(got, "\n"))
		}
	}
	found := slices.DeleteFunc(slices.Clone(got), func(l string) bool { return !strings.HasPrefix(l, "offset ") })
	if slices.Sort(offsets); !slices.Equal(found, offsets) {
		p.t.Errorf("MirrorClient translates\n%s\nwant\n%s", strings.Join(found, "\n"), strings.Join(offsets, "\n"))
	}
}

// formatted wants the console formatters to print heartbeats of the flow, syncs of records that are the same on both sides, and
// as the last checkpoint of each partition where the group is.
func (p *pair) formatted(topic, target, group string, src, dst map[int32][]entry, at, there map[int32]int64) {
	t := p.t
	t.Helper()
	printed := func(formatter, topic string) []string {
		return p.target.Formatted(t, formatter, topic, len(p.target.Records(t, topic)))
	}
	beat := fmt.Sprintf("Heartbeat{sourceClusterAlias=%s, targetClusterAlias=new, timestamp=", p.name)
	for _, line := range printed("Heartbeat", p.name+".heartbeats") {
		if !strings.HasPrefix(line, beat) {
			t.Errorf("%q, want %s", line, beat)
		}
	}

	last := map[int32]string{}
	for _, line := range printed("Checkpoint", p.name+".checkpoints.internal") {
		for partition := range at {
			if strings.Contains(line, fmt.Sprintf("topicPartition=%s-%d,", target, partition)) {
				last[partition] = line
			}
		}
	}
	for partition := range at {
		want := fmt.Sprintf("Checkpoint{consumerGroupId=%s, topicPartition=%s-%d, upstreamOffset=%d, downstreamOffset=%d, metadata=%s}",
			group, target, partition, at[partition], there[partition], metadata)
		if last[partition] != want {
			t.Errorf("last checkpoint %q, want %q", last[partition], want)
		}
	}

	sync := regexp.MustCompile(`^OffsetSync\{topicPartition=` + regexp.QuoteMeta(topic) + `-(\d+), upstreamOffset=(\d+), downstreamOffset=(\d+)\}$`)
	for _, line := range printed("OffsetSync", p.syncs()) {
		m := sync.FindStringSubmatch(line)
		if m == nil {
			t.Errorf("sync %q", line)
			continue
		}
		var n [3]int64
		for i := range n {
			n[i], _ = strconv.ParseInt(m[i+1], 10, 64) // digits
		}
		a, b := held(src[int32(n[0])], n[1]), held(dst[int32(n[0])], n[2])
		if a == nil || b == nil || a.id != b.id {
			t.Errorf("sync %q: it is %v on the source, %v on the target", line, a, b)
		}
	}
}

// held is the record at an offset; nil if there is none.
func held(log []entry, offset int64) *entry {
	i, ok := slices.BinarySearchFunc(log, offset, func(e entry, at int64) int { return int(e.offset - at) })
	if !ok {
		return nil
	}
	return &log[i]
}
