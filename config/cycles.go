package config

import (
	"slices"
	"strings"
)

// checkCycles refuses flows that would carry a record round for ever.
//
// Flow f feeds flow g when g reads where f writes and may copy what f wrote. A
// ring of flows that feed each other is safe only where all have policy default
// and one separator: each hop then stays in the name, and package policy leaves
// out what would come home. An unsafe ring has an unsafe step, so it is enough
// to look for a way back from each of those.
func checkCycles(r *report, flows []soundFlow) {
	feed := feedMatrix(flows)
	told := map[int]bool{} // each flow is told in one ring, or n of them would make n*n messages
	for i, f := range flows {
		for j, g := range flows {
			if !feed[i][j] || traced(f.Flow, g.Flow) || told[i] && told[j] {
				continue
			}
			ring := wayBack(feed, j, i)
			if ring == nil {
				continue
			}
			slices.Sort(ring)
			for _, k := range ring {
				told[k] = true
			}
			r.add(flows[ring[len(ring)-1]].at, "", "closes a cycle of flows (%s) in which a record would go round for ever: %s",
				describe(flows, ring), cycleRemedy)
		}
	}
}

// feedMatrix tells for each pair of flows whether the first feeds the second.
func feedMatrix(flows []soundFlow) [][]bool {
	m := make([][]bool, len(flows))
	for i, f := range flows {
		m[i] = make([]bool, len(flows))
		for j, g := range flows {
			m[i][j] = f.feeds(g)
		}
	}
	return m
}

const cycleRemedy = "only policy default, with one separator, shows in the name where a record came from. " +
	"Set that on all of them, or list plain topic names that do not meet (regular expressions count as meeting)"

func describe(flows []soundFlow, ring []int) string {
	var out []string
	for _, i := range ring {
		out = append(out, flows[i].Name+": "+flows[i].Source+" -> "+flows[i].Target)
	}
	return strings.Join(out, ", ")
}

// traced reports whether g can read the hop that f left in a name.
func traced(f, g *Flow) bool {
	return f.Policy == "default" && g.Policy == "default" && f.Separator == g.Separator
}

// wayBack is the shortest chain of flows from one to another, both included;
// nil if there is none.
func wayBack(feed [][]bool, from, to int) []int {
	queue := [][]int{{from}}
	seen := map[int]bool{from: true}
	for ; len(queue) > 0; queue = queue[1:] {
		chain := queue[0]
		last := chain[len(chain)-1]
		if last == to {
			return chain
		}
		for next, feeds := range feed[last] {
			if feeds && !seen[next] {
				seen[next] = true
				queue = append(queue, append(slices.Clone(chain), next))
			}
		}
	}
	return nil
}

// feeds reports whether g may copy what f writes. In doubt it does.
func (f soundFlow) feeds(g soundFlow) bool {
	if f.Target != g.Source {
		return false
	}
	if !f.plain || !g.plain {
		return true
	}
	for _, out := range f.writes {
		if slices.ContainsFunc(g.reads, out.meets) {
			return true
		}
	}
	return false
}

// output is what a flow makes of the names that fit g; false when that is not one glob.
func (f *Flow) output(g glob) (glob, bool) {
	if f.StripPrefix != "" && g.mayStart(f.StripPrefix) {
		if !strings.HasPrefix(string(g), f.StripPrefix) {
			return "", false // some names would lose the prefix, some would not
		}
		g = g[len(f.StripPrefix):]
	}
	return glob(f.head()) + g + glob(f.Suffix), true
}

// mayStart reports whether some name that fits starts with prefix.
func (g glob) mayStart(prefix string) bool {
	return len(g) >= len(prefix) && g[:len(prefix)].meets(glob(prefix))
}
