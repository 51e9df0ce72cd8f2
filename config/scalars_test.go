package config

import (
	"fmt"
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/quick"
	"time"
)

func TestBytes(t *testing.T) {
	for text, want := range map[string]Bytes{"0": 0, "1": 1, "1B": 1, "1KiB": 1024, "1KB": 1000, "256MiB": 256 << 20, "1GB": 1e9, "2TiB": 2 << 40, "9223372036854775807": 1<<63 - 1} {
		if got, problem := parseBytes(text); problem != "" || got != want {
			t.Errorf("%s: got %d, %s", text, got, problem)
		}
	}
	for _, text := range []string{"", "MiB", "1M", "1mib", "1 MiB", "-1", "+1", "1_000", "0x10", "1e3", "1.0MiB", "9223372036854775808", "9007199254740992KiB"} {
		if got, problem := parseBytes(text); problem == "" {
			t.Errorf("%q: got %d, want a problem", text, got)
		}
	}
	back := func(n uint64, shift uint8) bool {
		low := shift % 48 // cleared, so that units come up
		b := Bytes(n >> 1 >> low << low)
		got, problem := parseBytes(b.String())
		return problem == "" && got == b
	}
	if err := quick.Check(back, nil); err != nil {
		t.Error(err)
	}
}

func TestStart(t *testing.T) {
	noon := time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC)
	for text, want := range map[string]Start{
		"earliest":                  {},
		"latest":                    {Kind: StartLatest},
		"2026-01-31":                {StartTime, noon.Add(-12 * time.Hour)},
		"2026-01-31T12:00:00Z":      {StartTime, noon},
		"2026-01-31T14:00:00+02:00": {StartTime, noon},
		"2026-01-31T12:00:00.25Z":   {StartTime, noon.Add(time.Second / 4)},
		"1970-01-01":                {StartTime, time.Unix(0, 0).UTC()},
	} {
		got, problem := parseStart(text)
		if problem != "" || got != want {
			t.Errorf("%s: got %v, %s", text, got, problem)
		}
		if again, _ := parseStart(got.String()); again != got {
			t.Errorf("%s: %v comes back as %v", text, got, again)
		}
	}
}

// distance against its definition.
func TestDistance(t *testing.T) {
	var slow func(a, b string) int
	slow = func(a, b string) int {
		switch {
		case a == "" || b == "":
			return len(a) + len(b)
		case a[0] == b[0]:
			return slow(a[1:], b[1:])
		}
		return 1 + min(slow(a[1:], b), slow(a, b[1:]), slow(a[1:], b[1:]))
	}
	r := rand.New(rand.NewPCG(1, 2))
	for range 2000 {
		a, b := word(r, "abc", 5), word(r, "abc", 5)
		if got, want := distance(a, b), slow(a, b); got != want {
			t.Fatalf("%q %q: got %d, want %d", a, b, got, want)
		}
	}
}

func word(r *rand.Rand, chars string, most int) string {
	var b strings.Builder
	for range r.IntN(most + 1) {
		b.WriteByte(chars[r.IntN(len(chars))])
	}
	return b.String()
}

// Every name of up to three characters shows whether two globs meet, and a glob
// stands for the same names as the pattern it was made of.
func TestGlobs(t *testing.T) {
	const chars = "a.-"
	var names []string
	for _, a := range chars {
		names = append(names, string(a))
		for _, b := range chars {
			names = append(names, string(a)+string(b))
			for _, c := range chars {
				names = append(names, string(a)+string(b)+string(c))
			}
		}
	}
	r := rand.New(rand.NewPCG(3, 4))
	pattern := func() string {
		var b strings.Builder
		for range 1 + r.IntN(3) {
			b.WriteString([]string{"a", "-", ".", `\.`, `\-`}[r.IntN(5)])
		}
		return b.String()
	}
	fits := func(g glob, name string) bool { return g.meets(glob(name)) }
	for range 500 {
		p, q := pattern(), pattern()
		g, ok1 := globOf(p)
		h, ok2 := globOf(q)
		if !ok1 || !ok2 {
			t.Fatalf("%s %s: not seen as names", p, q)
		}
		if !fits(g, g.name()) {
			t.Errorf("%s: %s does not fit", p, g.name())
		}
		re, both := regexp.MustCompile("^(?:"+p+")$"), false
		for _, name := range names {
			if fits(g, name) != re.MatchString(name) {
				t.Errorf("%s %s: glob says %v", p, name, fits(g, name))
			}
			both = both || fits(g, name) && fits(h, name)
		}
		if g.meets(h) != both {
			t.Errorf("%s and %s: meets %v, but a common name: %v", p, q, g.meets(h), both)
		}
	}
	for _, p := range []string{"a*", "a+", "[a]", "a|b", "(a)", `\w`, `a\`, "a{2}", "^a", "a$"} {
		if g, ok := globOf(p); ok {
			t.Errorf("%s was seen as the name %s", p, g)
		}
	}
}

func TestNames(t *testing.T) {
	f := Flow{Source: "a", Policy: "default", Separator: "_", StripPrefix: "x-"}
	if got := f.targetName("x-t"); got != "a_t" {
		t.Errorf("got %q", got)
	}
	f = Flow{Source: "a", Policy: "identity", Separator: ".", Prefix: "p.", Suffix: ".s"}
	if got := f.targetName("x-t"); got != "p.x-t.s" {
		t.Errorf("got %q", got)
	}
}

// Patterns that are valid alone may be too deep inside of anchors, or too large together.
func TestPatternsAtTheLimit(t *testing.T) {
	const most = 2000
	valid := 0 // the deepest nesting that compiles
	for n := 1; n < most; n++ {
		if _, err := regexp.Compile(strings.Repeat("(", n) + "a" + strings.Repeat(")", n)); err != nil {
			break
		}
		valid = n
	}
	deep := strings.Repeat("(", valid) + "a" + strings.Repeat(")", valid)
	wantErrors(t, strings.Replace(twoClusters, "[t]", "['"+deep+"']", 1), LoadOptions{}, "expression nests too deeply")
	large := strings.Repeat(`"(abcdefghi){1000}", `, 375)
	wantErrors(t, strings.Replace(twoClusters, "[t]", "["+large+"]", 1), LoadOptions{}, "flows[0].topics: and topics_exclude hold more than")
}

// Cycles against a dumb model: plain names are carried along all flows, without
// any detection, and no record may arrive where it began or gain names for ever.
func TestCyclesOfPlainNames(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	refused := 0
	for range 3000 {
		clusters, topics := []string{"a", "b", "c"}, []string{"t", "u", "v"}
		var flows []Flow
		for i := range 2 + r.IntN(3) {
			from := r.IntN(3)
			f := Flow{Name: fmt.Sprint(i), Source: clusters[from], Target: clusters[(from+1+r.IntN(2))%3], Policy: "identity", Separator: "."}
			for _, topic := range topics {
				if r.IntN(2) == 0 {
					f.Topics = append(f.Topics, topic)
				}
			}
			flows = append(flows, f)
		}
		rep := newReport("x")
		checkCycles(rep, soundFlows(rep, flows))
		if loops := goesRound(flows, topics); loops && len(rep.errs) == 0 {
			t.Fatalf("a cycle was accepted: %+v", flows)
		}
		if len(rep.errs) > 0 {
			refused++
		}
	}
	if refused == 0 || refused == 3000 {
		t.Errorf("%d of 3000 refused: the test shows nothing", refused)
	}
}

// goesRound carries each topic from each cluster along all flows and reports
// whether one comes home.
func goesRound(flows []Flow, topics []string) bool {
	var visit func(cluster, topic, home string, hops int) bool
	visit = func(cluster, topic, home string, hops int) bool {
		if hops > 0 && cluster == home {
			return true
		}
		for _, f := range flows {
			if hops < 4 && f.Source == cluster && slices.Contains(f.Topics, topic) && visit(f.Target, topic, home, hops+1) {
				return true
			}
		}
		return false
	}
	for _, topic := range topics {
		for _, c := range []string{"a", "b", "c"} {
			if visit(c, topic, c, 0) {
				return true
			}
		}
	}
	return false
}
