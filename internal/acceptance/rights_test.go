package acceptance

import (
	"fmt"
	"maps"
	"slices"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/kferry/kferry/internal/check"
	"github.com/kferry/kferry/internal/datagen"
	"github.com/kferry/kferry/internal/kafkatest"
)

// rights are what the two users may do with this test's topics, and with the progress topic.
type rights struct{ source, target, progress []right }

// leastRights are all that kferry needs to do all that it does. Read and Write contain Describe. With DescribeConfigs on
// the source it also copies settings, and on the target it also knows the largest batch beforehand; with AlterConfigs
// there it keeps settings in step.
func leastRights() rights {
	return rights{
		source:   []right{kadm.OpRead},
		target:   []right{kadm.OpCreate, kadm.OpWrite, kadm.OpRead, kadm.OpAlter},
		progress: []right{kadm.OpCreate, kadm.OpWrite, kadm.OpRead},
	}
}

func (p *pair) grant(r rights) {
	p.t.Helper()
	for _, g := range []struct {
		c      *kafkatest.Cluster
		user   string
		prefix string
		ops    []right
	}{
		{p.source, reader, p.name + ".", r.source},
		{p.target, writer, p.name + ".", r.target},
		{p.target, writer, "kferry." + p.name + ".", r.progress},
	} {
		if len(g.ops) > 0 {
			g.c.Allow(p.t, g.user, p.acls(g.prefix, g.ops...))
		}
	}
}

// With the least rights everything works: topics and partitions are made, and a kill in the middle costs nothing. And
// on the source nothing has changed after it: no topic, no record, no group.
func TestLeastRights(t *testing.T) {
	p := barePair(t, kafkatest.V4)
	p.grant(leastRights())
	topic := p.topic("orders")
	p.source.CreateTopic(t, topic, 2, nil)
	load := p.keepWriting(datagen.Options{Topic: topic, Rate: 2_000, Codec: datagen.Zstd})
	killed := p.run(p.settings())
	killed.Carries()
	killed.Kill()
	if _, err := p.source.Admin(t).UpdatePartitions(t.Context(), 3, topic); err != nil {
		t.Fatal(err)
	}
	p.put(topic, p.lastPartition(topic), 10, 100)
	written := load.Stop(t) + 10
	before := everything(t, p.source)

	f := p.run(p.settings())
	p.arrived(f, topic, written)
	f.Lanes("running", 3)
	f.Stop()
	p.same(check.Options{Topic: topic})
	if after := everything(t, p.source); !slices.Equal(before, after) {
		t.Errorf("the source has changed:\nbefore %v\nafter  %v", before, after)
	}
	t.Logf("the source has %d topics, groups and ACLs, all as before", len(before))
}

// everything lists what a cluster has: topics with their ends, groups, ACLs.
func everything(t testing.TB, c *kafkatest.Cluster) (out []string) {
	t.Helper()
	admin := c.Admin(t)
	topics, err := admin.ListTopicsWithInternal(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	ends, err := admin.ListEndOffsets(t.Context(), topics.Names()...)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range ends.Offsets().Sorted() {
		out = append(out, fmt.Sprintf("topic %s/%d ends at %d", e.Topic, e.Partition, e.At))
	}
	groups, err := admin.ListGroups(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, g := range slices.Sorted(maps.Keys(groups)) {
		out = append(out, "group "+g)
	}
	acls, err := admin.DescribeACLs(t.Context(), kadm.NewACLs().AnyResource().ResourcePatternType(kadm.ACLPatternAny).
		Operations().Allow().Deny().AllowHosts().DenyHosts())
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range acls {
		for _, a := range r.Described {
			out = append(out, fmt.Sprintf("acl %+v", a))
		}
	}
	slices.Sort(out)
	return out
}

// Each of the least rights is needed: without it kferry says what it may not do, and ends well when it is told to.
func TestMissingRight(t *testing.T) {
	without := func(ops *[]right, op right) { *ops = slices.DeleteFunc(*ops, func(o right) bool { return o == op }) }
	for name, c := range map[string]struct {
		take func(r *rights)
		says string
	}{
		"source-nothing": {
			take: func(r *rights) { r.source = nil },
			says: `no topic on the source matches.*or our user may not see any`,
		},
		"source-Read": {
			take: func(r *rights) { r.source = []right{kadm.OpDescribe} },
			says: `lane stopped.*not allowed to read the topic: grant Read`,
		},
		"target-Write": {
			take: func(r *rights) { without(&r.target, kadm.OpWrite) },
			says: `lane stopped.*not allowed to write to the topic: grant Write`,
		},
		"progress-Create": {
			take: func(r *rights) { without(&r.progress, kadm.OpCreate) },
			says: `cannot make the progress topic.*allow our user to .*or make it by hand`,
		},
		"progress-Write": {
			take: func(r *rights) { without(&r.progress, kadm.OpWrite) },
			says: `cannot store progress.*not allowed`,
		},
		"progress-Read": {
			take: func(r *rights) { without(&r.progress, kadm.OpRead) },
			says: `cannot read what is paused.*not allowed`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := barePair(t, kafkatest.V4)
			r := leastRights()
			c.take(&r)
			p.grant(r)
			p.source.CreateTopic(t, p.topic("orders"), 1, nil)
			p.put(p.topic("orders"), 0, 1, 100)
			f := p.run(p.settings())
			f.Says(c.says)
			f.Stop()
		})
	}
}

// Read on the target is what finding one's place after a kill needs; nothing is carried twice for the lack of it.
func TestMissingRightToReadBack(t *testing.T) {
	t.Parallel()
	p := barePair(t, kafkatest.V4)
	r := leastRights()
	r.target = []right{kadm.OpCreate, kadm.OpWrite, kadm.OpAlter}
	p.grant(r)
	topic := p.topic("orders")
	p.source.CreateTopic(t, topic, 1, nil)
	load := p.keepWriting(datagen.Options{Topic: topic, Rate: 1_000})
	killed := p.run(p.settings())
	killed.Carries()
	killed.Kill()
	f := p.run(p.settings())
	f.Says(`reading back the end of target topic.*not allowed`)
	p.target.Allow(t, writer, p.acls(p.name+".", kadm.OpRead))
	p.arrived(f, topic, load.Stop(t))
	f.Stop()
	p.same(check.Options{Topic: topic})
}
