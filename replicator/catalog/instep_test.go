package catalog

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// topicSettings reads "key=value" for a topic's own settings and "key~value" for inherited ones; "key=value~default"
// has both.
func topicSettings(text string) map[string]setting {
	m := map[string]setting{}
	for _, f := range strings.Fields(text) {
		if k, rest, ok := strings.Cut(f, "="); ok {
			v, fallback, _ := strings.Cut(rest, "~")
			m[k] = setting{Value: v, own: true, fallback: fallback}
		} else {
			k, v, _ := strings.Cut(f, "~")
			m[k] = setting{Value: v, fallback: v}
		}
	}
	return m
}

func TestInStep(t *testing.T) {
	for _, c := range []struct {
		name, source, target, ours, exclude string
		want, alone                         string
	}{
		{name: "nothing differs", source: "retention.ms=1 segment.ms~7", target: "retention.ms=1 segment.ms~8"},
		{name: "the value is the target's default", source: "retention.ms=1", target: "retention.ms~1"},
		{name: "another value", source: "retention.ms=2", target: "retention.ms=1", want: "retention.ms 1 -> 2"},
		{name: "not set on the target", source: "retention.ms=2", target: "retention.ms~7", want: "retention.ms 7 -> 2"},
		{name: "not known on the target", source: "new.key=2", target: "", want: "new.key unset -> 2"},
		{name: "changed by a user: the source wins", source: "retention.ms=2", target: "retention.ms=9", ours: "retention.ms=2", want: "retention.ms 9 -> 2"},
		{name: "inherited on the source", source: "retention.ms~2", target: "retention.ms~1"},
		{name: "in order", source: "b=1 a=1 c=1", target: "a=2 b=2 c=2", want: "a 2 -> 1, b 2 -> 1, c 2 -> 1"},
		{name: "excluded by us", source: "min.insync.replicas=2", target: "min.insync.replicas=1"},
		{name: "excluded by the flow", source: "retention.ms=2 segment.ms~1", target: "retention.ms=1 segment.ms=9", exclude: "retention.ms segment.ms"},

		{name: "no longer set, and ours", source: "retention.ms~7", target: "retention.ms=1~5", ours: "retention.ms=1", want: "retention.ms 1 -> default 5"},
		{name: "no longer set, ours, default unknown", source: "retention.ms~7", target: "retention.ms=1", ours: "retention.ms=1", want: "retention.ms 1 -> default"},
		{name: "no longer set, not known to be ours", source: "retention.ms~7", target: "retention.ms=1~5", alone: "retention.ms"},
		{name: "no longer set, changed since", source: "retention.ms~7", target: "retention.ms=3~5", ours: "retention.ms=1", alone: "retention.ms"},
		{name: "no longer set, gone already", source: "retention.ms~7", target: "retention.ms~5", ours: "retention.ms=1"},
		{name: "the source does not name it", source: "", target: "retention.ms=1~5", ours: "retention.ms=1", alone: "retention.ms"},
		{name: "excluded since", source: "retention.ms~7", target: "retention.ms=1~5", ours: "retention.ms=1", exclude: "retention.ms"},
		{name: "a user's own", source: "retention.ms~7 segment.ms=1", target: "retention.ms=1~5 segment.ms=1 flush.ms=2", alone: "flush.ms, retention.ms"},

		{name: "a larger limit", source: "max.message.bytes=2000", target: "max.message.bytes~1000", want: "max.message.bytes 1000 -> 2000"},
		{name: "a lower limit", source: "max.message.bytes=1000", target: "max.message.bytes~2000"},
		{name: "a limit that we set was lowered", source: "max.message.bytes=1000", target: "max.message.bytes=2000", ours: "max.message.bytes=2000"},
		{name: "a larger limit, inherited", source: "max.message.bytes~2000000", target: "max.message.bytes=5000", want: "max.message.bytes 5000 -> 2000000"},
		{name: "the default limit, inherited", source: "max.message.bytes~1048588", target: "max.message.bytes=5000", alone: "max.message.bytes"},
		{name: "a limit that is no number", source: "max.message.bytes=2000", target: "max.message.bytes=x", want: "max.message.bytes x -> 2000"},
		{name: "a limit no longer set, below the default", source: "max.message.bytes~1048588", target: "max.message.bytes=1000~1048588",
			ours: "max.message.bytes=1000", want: "max.message.bytes 1000 -> default 1048588"},
		{name: "a limit no longer set, above the default", source: "max.message.bytes~1048588", target: "max.message.bytes=2000000~1048588",
			ours: "max.message.bytes=2000000", alone: "max.message.bytes"},
		{name: "a limit no longer set, default unknown", source: "max.message.bytes~1048588", target: "max.message.bytes=1000",
			ours: "max.message.bytes=1000", alone: "max.message.bytes"},
	} {
		ours := map[string]string{}
		for k, s := range topicSettings(c.ours) {
			ours[k] = s.Value
		}
		changes, alone := inStep(topicSettings(c.source), topicSettings(c.target), strings.Fields(c.exclude), ours)
		var got []string
		for _, ch := range changes {
			got = append(got, ch.String())
		}
		if strings.Join(got, ", ") != c.want || strings.Join(alone, ", ") != c.alone {
			t.Errorf("%s: changes %q, alone %q, want %q, %q", c.name, got, alone, c.want, c.alone)
		}
	}
}

// Whatever both sides have: once the changes are made nothing differs, what the source does not set is as it was unless
// it was ours, and no limit was lowered.
func TestInStepSettles(t *testing.T) {
	r := rand.New(rand.NewPCG(rand.Uint64(), 1))
	keys := []string{"a", "b", "c", "min.insync.replicas", "left", maxMessage}
	random := func() map[string]setting {
		m := map[string]setting{}
		for _, k := range keys {
			v, fallback := fmt.Sprint(r.IntN(3)*1048588), fmt.Sprint(r.IntN(3)*1048588)
			switch r.IntN(3) {
			case 0:
				m[k] = setting{Value: v, own: true, fallback: fallback}
			case 1:
				m[k] = setting{Value: fallback, fallback: fallback}
			}
		}
		return m
	}
	for range 20000 {
		source, before, ours := random(), random(), map[string]string{}
		for _, k := range keys {
			if s := before[k]; s.own && r.IntN(2) == 0 {
				ours[k] = s.Value
			}
		}
		exclude := []string{"left"}
		after, had := maps.Clone(before), maps.Clone(ours)
		changes, alone := inStep(source, before, exclude, ours)
		want := carried(source, exclude)
		for _, ch := range changes {
			s := after[ch.key]
			if ch.from != s.Value || ch.reset && (had[ch.key] != s.Value || source[ch.key].own) {
				t.Fatalf("%+v of %+v, source %+v, ours %v", ch, before, source, had)
			}
			if ch.reset {
				after[ch.key] = setting{Value: s.fallback, fallback: s.fallback}
				delete(ours, ch.key)
			} else {
				after[ch.key] = setting{Value: ch.to, own: true, fallback: s.fallback}
				ours[ch.key] = ch.to
			}
		}
		if again, left := inStep(source, after, exclude, ours); len(again) > 0 || !slices.Equal(left, alone) {
			t.Fatalf("source %+v, target %+v, ours %v: after %v still %v; alone %v, then %v", source, before, had, changes, again, alone, left)
		}
		for _, k := range keys {
			if _, mine := had[k]; want[k] == nil && !mine && after[k] != before[k] {
				t.Fatalf("%s of %+v became %+v, source %+v, ours %v", k, before, after, source, had)
			}
		}
		if below(after[maxMessage].Value, before[maxMessage].Value) {
			t.Fatalf("the limit of %+v became %+v", before, after)
		}
	}
}
