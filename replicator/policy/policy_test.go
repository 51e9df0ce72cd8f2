package policy

import (
	"math/rand/v2"
	"strings"
	"testing"
)

func mustNew(t *testing.T, o Options) Policy {
	t.Helper()
	p, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestTargetAndSource(t *testing.T) {
	for _, c := range []struct {
		o              Options
		source, target string
	}{
		{Options{Kind: Identity}, "t", "t"},
		{Options{Kind: Identity}, "myheartbeats", "myheartbeats"}, // MirrorMaker 2 renames this one
		{Options{Kind: Identity, Prefix: "p-", Suffix: ".s"}, "t", "p-t.s"},
		{Options{Kind: Identity, StripPrefix: "alice-"}, "alice-pizza", "pizza"},
		{Options{Kind: Identity, StripPrefix: "alice-"}, "alice-alice-x", "alice-x"},
		{Options{Kind: Identity, StripPrefix: "alice-", Prefix: "old."}, "alice-pizza", "old.pizza"},
		{Options{Kind: Default, SourceAlias: "a", TargetAlias: "b"}, "t", "a.t"},
		{Options{Kind: Default, SourceAlias: "a", TargetAlias: "b"}, "c.t", "a.c.t"},
		{Options{Kind: Default, SourceAlias: "a", TargetAlias: "b", Separator: "__"}, "t", "a__t"},
		{Options{Kind: Default, SourceAlias: "a.x", TargetAlias: "b"}, "t", "a.x.t"},
		{Options{Kind: Default, SourceAlias: "a", TargetAlias: "b", StripPrefix: "alice-"}, "alice-pizza", "a.pizza"},
	} {
		p := mustNew(t, c.o)
		if got := p.Target(c.source); got != c.target {
			t.Errorf("%+v: Target(%q) = %q, want %q", c.o, c.source, got, c.target)
		}
		if got, ok := p.Source(c.target); !ok || got != c.source {
			t.Errorf("%+v: Source(%q) = %q, %v, want %q", c.o, c.target, got, ok, c.source)
		}
	}
	lacks := mustNew(t, Options{Kind: Identity, StripPrefix: "alice-"})
	if got := lacks.Target("bob-pizza"); got != "bob-pizza" {
		t.Errorf("a topic without the prefix became %q", got)
	}
}

func TestNoSource(t *testing.T) {
	byAlias := Options{Kind: Default, SourceAlias: "a", TargetAlias: "b"}
	fixed := Options{Kind: Identity, Prefix: "p-", Suffix: "-s"}
	for _, c := range []struct {
		o      Options
		target string
	}{{byAlias, "t"}, {byAlias, "b.t"}, {byAlias, "a."}, {byAlias, "ab.t"}, {fixed, "t"}, {fixed, "p-t"}, {fixed, "t-s"}, {fixed, "p-s"}, {fixed, "p--s"}, {Options{Kind: Identity}, ""}} {
		if got, ok := mustNew(t, c.o).Source(c.target); ok {
			t.Errorf("%+v: Source(%q) = %q, want none", c.o, c.target, got)
		}
	}
}

func TestSourceOfTarget(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 5000 {
		o := Options{Kind: Identity, SourceAlias: word(r, 1, 3), TargetAlias: word(r, 1, 3), StripPrefix: word(r, 0, 2)}
		if r.IntN(2) == 0 {
			o.Kind, o.Separator = Default, word(r, 0, 2)
		} else {
			o.Prefix, o.Suffix = word(r, 0, 3), word(r, 0, 3)
		}
		p := mustNew(t, o)
		topic := o.StripPrefix + word(r, 1, 6)
		if got, ok := p.Source(p.Target(topic)); !ok || got != topic {
			t.Fatalf("%+v: %q became %q, and that %q, %v", o, topic, p.Target(topic), got, ok)
		}
		// The other way round, as far as there is one.
		name := word(r, 1, 8)
		if source, ok := p.Source(name); ok && p.Target(source) != name {
			t.Fatalf("%+v: %q is said to come from %q, which becomes %q", o, name, source, p.Target(source))
		}
	}
}

// word is made of few characters, so that parts of names meet by chance.
func word(r *rand.Rand, least, most int) string {
	const chars = "ab._-"
	b := make([]byte, least+r.IntN(most-least+1))
	for i := range b {
		b[i] = chars[r.IntN(len(chars))]
	}
	return string(b)
}

func TestNewRefuses(t *testing.T) {
	for want, o := range map[string]Options{
		`kind "" is not known`:                      {},
		`kind "prefix" is not known`:                {Kind: "prefix"},
		"needs the source and the target alias":     {Kind: Default, SourceAlias: "a"},
		"prefix and suffix need kind identity":      {Kind: Default, SourceAlias: "a", TargetAlias: "b", Suffix: "x"},
		`prefix "a/b" has '/'`:                      {Kind: Identity, Prefix: "a/b"},
		`separator " " has ' '`:                     {Kind: Default, SourceAlias: "a", TargetAlias: "b", Separator: " "},
		`target alias "ü" has 'ü'`:                  {Kind: Default, SourceAlias: "a", TargetAlias: "ü"},
		"allowed in topic names are a-z A-Z 0-9 . ": {Kind: Identity, StripPrefix: "\xff"},
	} {
		if _, err := New(o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: got %v, want %s", o, err, want)
		}
	}
}

// The vectors of MirrorMaker 2's own tests, for a flow from source to target.
func TestCycle(t *testing.T) {
	dots := Options{Kind: Default, SourceAlias: "source", TargetAlias: "target"}
	bars := Options{Kind: Default, SourceAlias: "source", TargetAlias: "target", Separator: "__"}
	odd := Options{Kind: Default, SourceAlias: "source", TargetAlias: "us.west"}
	for _, c := range []struct {
		o     Options
		cycle string
		free  string
	}{
		{dots, "target.t target.source.t source.target.t other.target.t target.target.t target..t target.t.", "t source.t source.source.t other.t targe.t targets.t xtarget.t t.target target. target.. .target target_t"},
		{dots, ".target.t", ".t . .."},
		{bars, "target__t source__target__t", "target.t target_t t__target target__ source__t"},
		// An alias with a separator in it: MirrorMaker 2 would let it go round.
		{odd, "us.west.t source.us.west.t", "us.t west.t us.east.t us.west us.west."},
		{Options{Kind: Identity, SourceAlias: "source", TargetAlias: "target"}, "", "t target.t target.source.t source.target.t"},
	} {
		p := mustNew(t, c.o)
		for _, topic := range strings.Fields(c.cycle) {
			if !p.Cycle(topic) {
				t.Errorf("%+v: %q is not seen as a cycle", c.o, topic)
			}
		}
		for _, topic := range strings.Fields(c.free) {
			if p.Cycle(topic) {
				t.Errorf("%+v: %q is seen as a cycle", c.o, topic)
			}
		}
	}
}

// isCycle is MirrorMaker 2's algorithm, hop by hop as in its source connector.
func isCycle(topic, separator, target string) bool {
	parts := strings.Split(topic, separator)
	for len(parts) > 0 && parts[len(parts)-1] == "" { // as Java's split
		parts = parts[:len(parts)-1]
	}
	if len(parts) < 2 {
		return false
	}
	return parts[0] == target || isCycle(topic[len(parts[0])+len(separator):], separator, target)
}

func TestCycleAgainstMirrorMaker(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	cycles := 0
	for range 20000 {
		o := Options{Kind: Default, SourceAlias: "a", TargetAlias: "b", Separator: []string{".", "_", "-", "__", "._"}[r.IntN(5)]}
		topic := word(r, 1, 10)
		got, want := mustNew(t, o).Cycle(topic), isCycle(topic, o.Separator, o.TargetAlias)
		if got != want {
			t.Fatalf("separator %q, %q: got %v, want %v", o.Separator, topic, got, want)
		}
		if got {
			cycles++
		}
	}
	if cycles < 100 {
		t.Errorf("only %d cycles among the names: the test shows little", cycles)
	}
}

// MirrorMaker 2 has a name for what came from the target, too; there is nothing of it to be carried.
func TestMM2DownstreamTopicRenaming(t *testing.T) {
	for _, c := range []struct{ source, target, topic, want string }{
		{"source1", "target2", "topic3", "source1.topic3"},
		{"source1", "target2", "target2.topic3", ""}, // "topic3" there
		{"source1", "target2", "source6.topic7", "source1.source6.topic7"},
	} {
		p, got := mustNew(t, Options{Kind: Default, SourceAlias: c.source, TargetAlias: c.target}), ""
		if !p.Cycle(c.topic) {
			got = p.Target(c.topic)
		}
		if got != c.want {
			t.Errorf("%s->%s: %q is called %q, want %q", c.source, c.target, c.topic, got, c.want)
		}
	}
}

// Flows between three clusters, all with policy default: copying until nothing
// is new must end, with each topic once per cluster and way there.
func TestDefaultNeverGoesRound(t *testing.T) {
	clusters := []string{"a", "b", "c"}
	have := map[string]map[string]bool{"a": {"t": true}, "b": {}, "c": {}}
	for round := 0; ; round++ {
		if round > 5 {
			t.Fatalf("it goes on and on: %v", have)
		}
		news := false
		for _, from := range clusters {
			for _, to := range clusters {
				if from == to {
					continue
				}
				p := mustNew(t, Options{Kind: Default, SourceAlias: from, TargetAlias: to})
				for topic := range have[from] {
					if name := p.Target(topic); !p.Cycle(topic) && !have[to][name] {
						have[to][name], news = true, true
					}
				}
			}
		}
		if !news {
			break
		}
	}
	for cluster, topics := range have {
		for topic := range topics {
			if strings.Contains(topic, cluster+".") {
				t.Errorf("%s has its own topic back as %s", cluster, topic)
			}
		}
	}
}

func TestLegal(t *testing.T) {
	for _, topic := range []string{"a", "A-z_0.9", "...", strings.Repeat("x", 249)} {
		if err := Legal(topic); err != nil {
			t.Errorf("%q: %v", topic, err)
		}
	}
	for _, topic := range []string{"", ".", "..", "a b", "a/b", "ä", "a\x00", strings.Repeat("x", 250)} {
		if Legal(topic) == nil {
			t.Errorf("%q is taken for legal", topic)
		}
	}
}

// MirrorMaker 2's clients read from the names of heartbeats topics which clusters
// are upstream, and how far.
func TestHeartbeats(t *testing.T) {
	for _, kind := range []Kind{Identity, Default} {
		p, err := New(Options{Kind: kind, SourceAlias: "a", TargetAlias: "b", Heartbeats: true})
		if err != nil {
			t.Fatal(err)
		}
		for topic, want := range map[string]bool{
			"heartbeats": true, "c.heartbeats": true, "d.c.heartbeats": true, "b.heartbeats": true,
			"myheartbeats": false, "c.myheartbeats": false, "heartbeats.c": false, "t": false,
		} {
			if got := p.Heartbeats(topic); got != want {
				t.Errorf("%s: heartbeats %q: %v", kind, topic, got)
			}
			target := p.Target(topic)
			if want && target != "a."+topic {
				t.Errorf("%s: %q is called %q", kind, topic, target)
			}
			if back, ok := p.Source(target); !ok || back != topic {
				t.Errorf("%s: %q comes back as %q, %v", kind, target, back, ok)
			}
		}
		if !p.Cycle("b.heartbeats") || !p.Cycle("c.b.heartbeats") || p.Cycle("c.heartbeats") || p.Cycle("b.t") != (kind == Default) {
			t.Errorf("%s: cycles", kind)
		}
	}
	p, _ := New(Options{Kind: Identity})
	if p.Heartbeats("heartbeats") || p.Target("heartbeats") != "heartbeats" {
		t.Error("heartbeats are carried without being asked for")
	}
}
