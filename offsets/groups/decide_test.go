package groups

import (
	"slices"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kferry/kferry/offsets"
)

func TestDecide(t *testing.T) {
	mine := func(at offsets.Source, target offsets.Target, p Place) input {
		p.TargetTopic, p.End = "x", 100
		return input{at: at, target: target, place: p, mine: true, carried: true}
	}
	exact := func(at, target int64) input {
		return mine(offsets.Source(at), offsets.Target(target), Place{Target: offsets.Target(at)})
	}
	active := func(in input) input { in.active = true; return in }
	within := func(in input, start, end offsets.Target) input {
		in.log = extent{start: start, end: end, seen: true}
		return in
	}
	floor := Place{Target: 40, Found: offsets.Floor, Again: 10}
	beyond := Place{Target: 100, Found: offsets.Beyond, Again: 20}
	before := Place{Target: 5, Found: offsets.Before}
	for _, c := range []struct {
		name       string
		in         input
		want       Verdict
		commit     offsets.Target
		again, lag int64 // before the commit
	}{
		{"never committed there", exact(30, -1), Exact, 30, -1, -1},
		{"at the beginning", exact(0, -1), Exact, 0, -1, -1},
		{"in step", exact(30, 30), Exact, none, 0, 70},
		{"behind", exact(30, 20), Exact, 30, 10, 80},
		{"at the end", exact(100, 100), Exact, none, 0, 0},
		{"went back on the source", exact(10, 30), Ahead, none, 0, 70},
		{"gap", mine(30, 20, Place{Target: 29, Found: offsets.Gap}), Gap, 29, 9, 80},
		{"floor", mine(50, 20, floor), Floor, 40, 30, 80},
		{"floor, in step", mine(50, 40, floor), Floor, none, 10, 60},
		{"floor, where it was once known better", mine(50, 50, floor), Floor, none, 0, 50},
		{"floor, ahead", mine(50, 51, floor), Ahead, none, 0, 49},
		{"beyond", mine(120, 90, beyond), NotMirrored, 100, 30, 10},
		{"beyond, at the end", mine(120, 100, beyond), NotMirrored, none, 20, 0},
		{"beyond, a longer target of old", mine(120, 130, beyond), Ahead, none, 0, 0},
		{"before", mine(3, -1, before), Before, 5, -1, -1},
		{"before, in step", mine(3, 5, before), Before, none, 0, 95},
		{"a place beyond the end", mine(300, 0, Place{Target: 300}), Exact, 100, 100, 100},
		{"a lane that does not know", mine(30, 0, Place{Target: offsets.UnknownTarget}), Unknown, none, -1, -1},
		{"the target begins behind", within(exact(30, 20), 31, 100), Removed, 30, -1, -1},
		{"the target begins behind, committed", within(exact(30, 30), 31, 100), Removed, none, -1, -1},
		{"the target begins there", within(exact(30, 30), 30, 100), Exact, none, 0, 70},
		{"the target ends before", within(exact(30, -1), 0, 29), Unknown, none, -1, -1},
		{"the target ends there", within(exact(30, -1), 0, 30), Exact, 30, -1, -1},
		{"active and behind", active(exact(30, 20)), Active, none, 10, 80},
		{"active, never committed", active(exact(30, -1)), Active, none, -1, -1},
		{"active and in step", active(exact(30, 30)), Active, none, 0, 70},
		{"active and ahead", active(exact(30, 31)), Active, none, 0, 69},
		{"nothing committed", exact(-1, 5), NoOffset, none, 0, 0},
		{"not in the flow", input{at: 5, target: -1}, NotInFlow, none, 0, 0},
		{"another replica's", input{at: 5, target: -1, carried: true}, elsewhere, none, 0, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			v, commit := decide(c.in)
			if v != c.want || commit != c.commit {
				t.Errorf("%v, commit %d; want %v, %d", v, commit, c.want, c.commit)
			}
			if a, l := c.in.again(), c.in.lag(); a != c.again || l != c.lag {
				t.Errorf("again %d, lag %d; want %d, %d", a, l, c.again, c.lag)
			}
		})
	}
}

func TestVerdictsHaveNamesAndSentences(t *testing.T) {
	seen := map[string]bool{}
	for _, v := range Verdicts() {
		r := Row{Verdict: v, Again: 7, Detail: "because"}
		if seen[v.String()] || v.String() == "" || !strings.HasSuffix(r.Reason(), ": because") || len(sentences[v]) < 10 {
			t.Errorf("%v: %q", v, r.Reason())
		}
		seen[v.String()] = true
	}
	if len(seen) != 17 || Verdict(99).String() != "verdict_99" {
		t.Errorf("%v", seen)
	}
	if r := (Row{Verdict: Floor, Again: 7}); r.Reason() != "synced to the nearest earlier place that is known; at most 7 records are read again" {
		t.Errorf("%q", r.Reason())
	}
}

func TestFilter(t *testing.T) {
	f, err := newFilter([]string{"pizza-.*", `bar\.x`, "plain", "kferry.flow"}, []string{"pizza-test"})
	if err != nil {
		t.Fatal(err)
	}
	for group, want := range map[string]bool{
		"pizza-a": true, "pizza-test": false, "a-pizza-a": false, "plain": true, "plain2": false, "bar.x": true, "barxx": false,
		"kferry.flow": false, "": false,
	} {
		if f.match(group) != want {
			t.Errorf("%q: %v", group, !want)
		}
	}
	if want := []string{"bar.x", "plain"}; !slices.Equal(f.names, want) {
		t.Errorf("names %q", f.names)
	}
	listed := func(names ...string) (gs []kmsg.ListGroupsResponseGroup) {
		for _, n := range names {
			gs = append(gs, kmsg.ListGroupsResponseGroup{Group: n})
		}
		return gs
	}
	for _, c := range []struct {
		groups []kmsg.ListGroupsResponseGroup
		want   []string
	}{
		{nil, []string{"pizza-.*"}}, {listed("plain", "kferry.flow"), []string{"pizza-.*"}},
		{listed("pizza-a"), nil}, {listed("pizza-test"), nil}, // which is left out, but may be seen
	} {
		if got := f.unmatched(c.groups); !slices.Equal(got, c.want) {
			t.Errorf("%v: unmatched %q, want %q", c.groups, got, c.want)
		}
	}
	if _, err := newFilter([]string{"("}, nil); err == nil {
		t.Error("a broken pattern is taken")
	}
	for _, c := range []struct {
		protocol, kind string
		want           bool
	}{
		{"consumer", "", true}, {"", "", true}, {"consumer", "classic", true}, {"consumer", "consumer", true}, {"consumer", "Consumer", true},
		{"connect", "classic", false}, {"share", "share", false}, {"streams", "streams", false}, {"consumer", "streams", false},
	} {
		if followed(c.protocol, c.kind) != c.want {
			t.Errorf("%+v", c)
		}
	}
}

// TestDue has MirrorMaker 2's rule.
func TestDue(t *testing.T) {
	for _, c := range []struct {
		what       string
		last, next mark
		want       bool
	}{
		{"again", mark{5, 5}, mark{5, 5}, false},
		{"both on", mark{5, 5}, mark{6, 6}, true},
		{"on, in a gap", mark{5, 5}, mark{6, 5}, false},
		{"better translated", mark{5, 5}, mark{5, 6}, true},
		{"worse translated", mark{5, 5}, mark{5, 4}, false},
		{"on, but worse translated", mark{5, 5}, mark{6, 4}, false},
		{"went back", mark{5, 5}, mark{4, 4}, true},
		{"went back within a gap", mark{5, 5}, mark{4, 5}, true},
	} {
		if due(c.last, c.next) != c.want {
			t.Errorf("%s: %v", c.what, !c.want)
		}
	}
}
