package acceptance

import (
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/kferry/kferry/internal/check"
	"github.com/kferry/kferry/internal/ferrytest"
	"github.com/kferry/kferry/internal/kafkatest"
)

// Brokers of other versions than the one of most tests are sources and targets, and what is promised holds there, too.
// docs/compatibility.md has these rows.
func TestVersions(t *testing.T) {
	for _, version := range []string{kafkatest.V28, kafkatest.V3, kafkatest.V44} {
		t.Run(version, func(t *testing.T) {
			other := kafkatest.Start(t, options(version, map[string]string{reader: readerSecret, writer: writerSecret}))
			for name, c := range map[string]crossing{
				"source": {from: other, to: sharedTarget(t, kafkatest.V4), settings: version != kafkatest.V28},
				"target": {from: sharedSource(t, kafkatest.V4), to: other, settings: true},
			} {
				t.Run(name, func(t *testing.T) {
					t.Parallel()
					c.run(t)
				})
			}
		})
	}
}

// crossing is a row: which cluster is carried from and to which.
type crossing struct {
	from, to *kafkatest.Cluster
	// settings tells whether our user may read those of topics on the source. Without, he is what a customer may be on a host of
	// many: he reads topics and groups with a prefix of his own, and no more.
	settings bool
}

// run has kferry carry a mixture and its groups and kills it meanwhile; in the end it stops as asked.
func (c crossing) run(t *testing.T) {
	const partitions, kills = 3, 3
	p, rng := pairOf(t, c.from, c.to), ferrytest.Random(t)
	p.allowLeast()
	if c.settings {
		p.source.Allow(t, reader, p.acls(p.name+".", kadm.OpDescribeConfigs))
	}
	mixtures := map[string]mixture{p.topic("orders"): {}}
	p.source.CreateTopic(t, p.topic("orders"), partitions, nil)
	if !c.settings {
		mixtures[p.topic("old")] = mixture{old: true}
		p.source.CreateTopic(t, p.topic("old"), partitions, map[string]string{"message.format.version": "0.10.2"})
	}
	writing := map[string]*ferrytest.Live{}
	for topic, m := range mixtures {
		m.topic, m.partitions = topic, partitions
		writing[topic] = p.mix(m, rng)
	}
	s := p.settings()
	p.follow(s)
	for range kills {
		f := p.run(s)
		f.Carries()
		time.Sleep(time.Duration(rng.Int64N(int64(time.Second)))) // the moment is the point, nothing is waited for
		f.Kill()
	}
	f := p.run(s)
	f.Carries()
	f.Stop() // while the group waits for those that were killed
	ends, err := p.admin(p.source).ListEndOffsets(t.Context(), slices.Collect(maps.Keys(mixtures))...)
	if err != nil {
		t.Fatal(err)
	}
	f = p.run(s)
	f.Carries()
	if c.settings {
		ends = nil
	}
	for topic := range mixtures {
		p.arrived(f, topic, writing[topic].Stop(t))
		p.goOnWhereTheyWere(topic, ends[topic])
	}
	f.Stop()
	for topic := range mixtures {
		p.same(check.Options{Topic: topic, IsolationReadCommitted: true})
	}
}

// allowLeast gives the users what README has for a flow with groups; follow adds what is about groups.
func (p *pair) allowLeast() {
	p.t.Helper()
	p.grant(leastRights())
	p.source.Allow(p.t, reader, p.acls(p.name+".", kadm.OpDescribe))
	p.source.Allow(p.t, reader,
		kadm.NewACLs().Groups(p.name+".").ResourcePatternType(kadm.ACLPatternPrefixed).Operations(kadm.OpRead))
	p.target.Allow(p.t, writer, kadm.NewACLs().Groups("kferry."+p.name).Operations(kadm.OpRead))
}

// goOnWhereTheyWere commits groups all over a topic of the source, and waits until all are on the target: those at offsets from
// exact on where they were, the others nowhere that would have them miss a record.
func (p *pair) goOnWhereTheyWere(topic string, exact map[int32]kadm.ListedOffset) {
	p.t.Helper()
	const places = 10
	src, dst := readLog(p.t, p.source, topic), readLog(p.t, p.target, topic)
	early, late := map[string]map[int32]int64{}, map[string]map[int32]int64{}
	for i := range int64(places) {
		before, after := map[int32]int64{}, map[int32]int64{}
		for partition, es := range src {
			from, end := exact[partition].Offset, es[len(es)-1].offset+1
			before[partition], after[partition] = from*i/places, from+(end-from)*i/(places-1)
		}
		early[fmt.Sprint("early-", i)], late[fmt.Sprint("late-", i)] = before, after
	}
	for _, groups := range []map[string]map[int32]int64{early, late} {
		for group, at := range groups {
			p.commit(p.source, p.name+"."+group, topic, at)
		}
	}
	on := func(group string) map[int32]int64 { return p.committed(p.target, p.name+"."+group, topic) }
	ferrytest.Eventually(p.t, ferrytest.Patience, "groups on the target to be where they are on the source", func() (bool, string) {
		e, l := compare(src, dst, early, on), compare(src, dst, late, on)
		return e.unknown+l.unknown == 0 && e.skipped+l.skipped == 0 && l.again == 0, fmt.Sprintf("early: %s\nlate: %s", e, l)
	})
}
