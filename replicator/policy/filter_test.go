package policy

import (
	"regexp"
	"slices"
	"strings"
	"testing"
)

func TestFilter(t *testing.T) {
	for _, c := range []struct {
		include, exclude string
		match, refuse    string
	}{
		{"", "", "", "t a"},
		{".*", "", "t a.b _schemas connect-configs x.internal my-internal kferry", "__consumer_offsets .hidden mm2-offsets.C.internal a.checkpoints.internal kferry.a-b.progress"},
		{"pizza.orders", "", "pizza.orders pizza-orders", "pizza.orders2 xpizza.orders pizza..orders"},
		{"pizza-.* clicks", "", "pizza- pizza-1 clicks", "pizza clicks2 my-clicks"},
		{"a|b", "", "a b", "ab ax xb"},
		{".*", "test-.* x", "y xx test", "x test- test-1"},
		{"t", "t", "", "t"},
		{"(?i)abc", "", "abc ABC", "abcd"},
		{"__consumer_offsets", "", "", "__consumer_offsets"},
		{`\Qa.b\E`, "", "a.b", "a-b"},
	} {
		f, err := NewFilter(strings.Fields(c.include), strings.Fields(c.exclude))
		if err != nil {
			t.Fatal(err)
		}
		for _, topic := range strings.Fields(c.match + " " + c.refuse) {
			if f.Match(topic) != (f.Refusal(topic) == "") {
				t.Errorf("%q without %q: match is %v, refusal is %q", c.include, c.exclude, f.Match(topic), f.Refusal(topic))
			}
		}
		for _, topic := range strings.Fields(c.match) {
			if !f.Match(topic) {
				t.Errorf("%q without %q does not match %q", c.include, c.exclude, topic)
			}
		}
		for _, topic := range strings.Fields(c.refuse) {
			if f.Match(topic) {
				t.Errorf("%q without %q matches %q", c.include, c.exclude, topic)
			}
		}
	}
	if new(Filter).Match("t") {
		t.Error("the zero filter matches")
	}
}

func TestRefusal(t *testing.T) {
	f, err := NewFilter([]string{"pizza-.*"}, []string{".*-test"})
	if err != nil {
		t.Fatal(err)
	}
	for topic, want := range map[string]string{
		"__consumer_offsets": "machinery", "clicks": "pattern of topics matches", "pizza-test": "topics_exclude", "pizza-orders": "",
	} {
		if got := f.Refusal(topic); !strings.Contains(got, want) || (want == "") != (got == "") {
			t.Errorf("%s: %q, want %q", topic, got, want)
		}
	}
}

func TestFilterErrors(t *testing.T) {
	for _, p := range []string{"(", "*", "a)(?:b", "a{2,1}", "[z-a]", `\`} {
		if _, err := NewFilter([]string{"ok", p}, nil); err == nil || !strings.Contains(err.Error(), "topic pattern") {
			t.Errorf("include %q: got %v", p, err)
		}
		if _, err := NewFilter([]string{"ok"}, []string{p}); err == nil {
			t.Errorf("exclude %q is taken", p)
		}
	}
}

func TestInternal(t *testing.T) {
	internal := `__x __consumer_offsets __transaction_state .x .checkpoints.internal
		mm2-offsets.C.internal mm2-configs.C.internal mm2-status.C.internal mm2-offset-syncs.C.internal mm2-x-internal
		mm2-offset-syncs__B__internal mm2-offset-syncs-B-internal mm2-offset-syncs_a.b_internal
		C.checkpoints.internal A__checkpoints__internal a.b.checkpoints.internal a-checkpoints-internal
		kferry.a-b.progress kferry.x.y.progress kferry.a-b.dead_letter`
	users := `x _schemas x.internal x-internal heartbeats a.heartbeats mm2 mm2-internals mm2-offsets_C_internal
		checkpoints.internal checkpoints-internal a.checkpoints-internal a.checkpointsinternal a.checkpoints internal
		mm2-offset-syncs_internal mm2-offset-syncs_x__internal kferry.progress kferry..progress kferry.x.progress2 kferry-x.progress mykferry.x.progress kferry..dead_letter`
	for _, topic := range strings.Fields(internal) {
		if !Internal(topic) {
			t.Errorf("%q is not seen as internal", topic)
		}
	}
	for _, topic := range strings.Fields(users) {
		if Internal(topic) {
			t.Errorf("%q is seen as internal", topic)
		}
	}
}

// FuzzFilter compares whole-name matching with the longest match from the start.
func FuzzFilter(f *testing.F) {
	for _, s := range [][2]string{{"pizza-.*", "pizza-1"}, {"a|ab", "ab"}, {"(?m)^a$", "a\nb"}, {"", ""}, {"a)(?:b", "ab"}, {`\b`, "x"}, {"(?U)a+", "aa"}} {
		f.Add(s[0], s[1])
	}
	f.Fuzz(func(t *testing.T, pattern, topic string) {
		re, err := regexp.Compile(pattern)
		filter, filterErr := NewFilter([]string{pattern}, nil)
		if err != nil {
			if filterErr == nil {
				t.Fatalf("%q is taken, but %v", pattern, err)
			}
			return
		}
		if filterErr != nil {
			return // the anchors made it too large
		}
		re.Longest()
		at := re.FindStringIndex(topic)
		want := at != nil && at[0] == 0 && at[1] == len(topic) && !Internal(topic)
		if got := filter.Match(topic); got != want {
			t.Fatalf("%q on %q: got %v, want %v", pattern, topic, got, want)
		}
	})
}

func TestFilterNames(t *testing.T) {
	f, err := NewFilter([]string{"orders", `a\.b`, "c.d", "x.*", "a|b", `\d`, "[ab]"}, []string{"orders"})
	if err != nil {
		t.Fatal(err)
	}
	if got := f.Names(); !slices.Equal(got, []string{"orders", "a.b", "c.d"}) {
		t.Errorf("names %q", got)
	}
}
