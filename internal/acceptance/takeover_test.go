package acceptance

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/kferry/kferry/internal/check"
	"github.com/kferry/kferry/internal/datagen"
	"github.com/kferry/kferry/internal/ferrytest"
	"github.com/kferry/kferry/internal/kafkatest"
)

// MirrorMaker 2 carries the first part of a topic, kferry takes over and carries the second, and hands back for the third:
// every record is on the target once. While MirrorMaker 2 runs, kferry does not begin.
func TestTakeover(t *testing.T) {
	t.Parallel()
	p := newPair(t, kafkatest.V4)
	p.nameless = true // or the group would be taken for that of a running kferry for the length of a session
	topic, records := p.topic("orders"), size(3_000, 300_000)
	p.source.CreateTopic(t, topic, 3, nil)
	write := func(seed uint64) {
		p.generate(t.Context(), datagen.Options{Topic: topic, Records: records, Seed: seed, Codec: datagen.LZ4})
	}
	// Names of the test's own, since what MirrorMaker 2 keeps goes by them.
	from, to := p.name+"-a", p.name+"-b"
	props := kafkatest.MM2Properties(t, map[string]*kafkatest.Cluster{from: p.source, to: p.target})
	maps.Copy(props, map[string]string{
		from + "->" + to + ".enabled": "true", from + "->" + to + ".topics": topic, "emit.heartbeats.enabled": "false",
		"replication.policy.class": "org.apache.kafka.connect.mirror.IdentityReplicationPolicy",
	})
	s := p.settings()
	clusters := at(s, "clusters")
	clusters[from], clusters[to] = clusters["old"], clusters["new"]
	delete(clusters, "old")
	delete(clusters, "new")
	flow := flowOf(s)
	flow["source"], flow["target"], flow["takeover"] = from, to, "mm2"
	p.target.Allow(t, writer, p.acls("mm2-offsets."+p.name, targetRights...))
	p.source.Allow(t, reader, p.acls("mm2-offset-syncs."+p.name, sourceRights...))
	p.target.Allow(t, writer, p.acls("mm2-offset-syncs."+p.name, targetRights...))
	p.target.Allow(t, writer, kadm.NewACLs().Groups(from+"-mm2").Operations(kadm.OpDescribe))

	write(1)
	m := kafkatest.StartMM2(t, props)
	m.WaitRecords(p.target, topic, records)

	f := p.run(s)
	f.Says("MirrorMaker 2 still runs")
	m.Stop()
	f.Stop() // a stopped lane is tried again every 30 s: begin at once instead
	f = p.run(s)
	f.Lanes("running", 3)
	write(2)
	p.arrived(f, topic, 2*records)
	if twice := f.Metric("kferry_possible_duplicates_total"); twice > 0 {
		t.Errorf("kferry counts %.0f possible duplicates", twice)
	}
	p.command(1, "offsets", "export-mm2", "-c", p.file(s)) // kferry runs: refused
	f.Stop()
	p.same(check.Options{Topic: topic, Codec: check.AnyCodec}) // MirrorMaker 2 does not keep it

	p.command(0, "offsets", "export-mm2", "-c", p.file(s))
	write(3)
	m = kafkatest.StartMM2(t, props)
	m.WaitRecords(p.target, topic, 3*records)
	m.Stop()
	p.same(check.Options{Topic: topic, Codec: check.AnyCodec})
}

// The file of a MirrorMaker 2 runs as it is.
func TestRunProperties(t *testing.T) {
	t.Parallel()
	p := newPair(t, kafkatest.V4)
	topic, records := p.topic("orders"), int64(2_000)
	p.source.CreateTopic(t, topic, 3, nil)
	p.generate(t.Context(), datagen.Options{Topic: topic, Records: records})
	src := readLog(t, p.source, topic)
	groups := placesIn(src, 3)
	for group, at := range groups {
		p.commit(p.source, p.name+"."+group, topic, at)
	}

	from, to := p.name+"-a", p.name+"-b"
	props := kafkatest.MM2Properties(t, map[string]*kafkatest.Cluster{from: p.source, to: p.target})
	maps.Copy(props, map[string]string{
		from + "->" + to + ".enabled": "true", "topics": strings.ReplaceAll(p.name, ".", `\.`) + `\..*`, "groups": p.name + `\..*`,
		"sync.group.offsets.enabled": "true",
	})
	var text strings.Builder
	for k, v := range props {
		fmt.Fprintf(&text, "%s = %s\n", k, strings.ReplaceAll(v, `\`, `\\`))
	}
	file := filepath.Join(t.TempDir(), "mm2.properties")
	if err := os.WriteFile(file, []byte(text.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	f := ferrytest.Launch(t, ferrytest.Binary(t, p.source.Dir()), append(ferrytest.Environ(), "KFERRY_HTTP_LISTEN=127.0.0.1:0"), nil, []string{"run", file})
	remote := from + "." + topic
	p.arrived(f, remote, records)
	p.settled(remote, groups)
	o := compare(src, readLog(t, p.target, remote), groups, func(group string) map[int32]int64 { return p.committed(p.target, p.name+"."+group, remote) })
	f.Stop()
	if t.Logf("%s", o); o.skipped+o.again > 0 || o.unknown > 0 {
		t.Errorf("groups do not go on where they were: %s", o)
	}
	p.same(check.Options{Topic: topic, TargetTopic: remote})
	_, _ = p.target.Admin(t).DeleteTopics(t.Context(), remote, "kferry."+from+"-"+to+".progress", from+".checkpoints.internal", from+".heartbeats",
		"mm2-offset-syncs."+from+".internal")
}
