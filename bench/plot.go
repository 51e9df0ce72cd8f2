package main

import (
	"bytes"
	"fmt"
	"html"
)

// plot is bars: one for each contestant, in groups of workloads.
type plot struct {
	name, title string
	groups      []group
}

type group struct {
	name string
	bars []bar
}

type bar struct {
	name   string
	values spread
	format string
}

// plots are one of each figure that is worth a look, over all workloads.
func (r Results) plots() []plot {
	var out []plot
	for _, x := range []struct {
		file, title string
		m           metric
	}{
		{"throughput", "MB of records a second, more is better", metrics[1]},
		{"cpu", "CPU seconds per GB, less is better", metrics[4]},
		{"memory", "peak memory in MB, less is better", metrics[7]},
	} {
		p := plot{name: x.file, title: x.title}
		for _, w := range r.Workloads {
			g := group{name: w.Name}
			for _, c := range w.Contestants {
				if runs := r.runs(w.Name, c); len(runs) > 0 && !(x.m.own && runs[0].Unclaimed) {
					g.bars = append(g.bars, bar{c, spreadOf(each(runs, x.m.of)), x.m.format})
				}
			}
			if len(g.bars) > 0 {
				p.groups = append(p.groups, g)
			}
		}
		if len(p.groups) > 0 {
			out = append(out, p)
		}
	}
	return out
}

// Sizes in pixels.
const (
	plotWidth, plotLeft, plotRight = 820, 110, 90
	barHeight, barGap, groupHead   = 14, 4, 34
	plotHead                       = 40
)

// colours of the contestants, in the order in which they first come: distinct to a colour-blind eye, and on light and dark paper.
var colours = []string{"#0072b2", "#56b4e9", "#d55e00", "#e69f00", "#009e73", "#999999"}

// svg draws each group to its own scale, for workloads differ by hundreds: a bar is the median, the line through its end goes
// from the least to the greatest.
func (p plot) svg() []byte {
	var b bytes.Buffer
	height := plotHead
	for _, g := range p.groups {
		height += groupHead + len(g.bars)*(barHeight+barGap)
	}
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %d %d" font-family="sans-serif" font-size="12">`+"\n",
		plotWidth, height+10, plotWidth, height+10)
	fmt.Fprintf(&b, `<rect width="100%%" height="100%%" fill="#fff"/><text x="10" y="24" font-size="16">%s</text>`+"\n", html.EscapeString(p.title))
	colour := map[string]string{}
	y := plotHead
	for _, g := range p.groups {
		fmt.Fprintf(&b, `<text x="10" y="%d" font-weight="bold">%s</text>`+"\n", y+20, html.EscapeString(g.name))
		y += groupHead - 6
		most := 0.0
		for _, x := range g.bars {
			most = max(most, x.values[2])
		}
		for _, x := range g.bars {
			if colour[x.name] == "" {
				colour[x.name] = colours[len(colour)%len(colours)]
			}
			x.draw(&b, y, most, colour[x.name])
			y += barHeight + barGap
		}
		y += 6
	}
	b.WriteString("</svg>\n")
	return b.Bytes()
}

func (x bar) draw(b *bytes.Buffer, y int, most float64, colour string) {
	at := func(v float64) float64 {
		if most == 0 {
			return plotLeft
		}
		return plotLeft + v/most*(plotWidth-plotLeft-plotRight)
	}
	least, middle, greatest := at(x.values[0]), at(x.values[1]), at(x.values[2])
	fmt.Fprintf(b, `<text x="%d" y="%d" text-anchor="end">%s</text>`, plotLeft-6, y+barHeight-3, html.EscapeString(x.name))
	fmt.Fprintf(b, `<rect x="%d" y="%d" width="%.1f" height="%d" fill="%s"/>`, plotLeft, y, middle-plotLeft, barHeight, colour)
	fmt.Fprintf(b, `<path d="M%.1f %dH%.1f" stroke="#333"/>`, least, y+barHeight/2, greatest)
	fmt.Fprintf(b, `<text x="%.1f" y="%d">%s</text>`+"\n", greatest+6, y+barHeight-3, fmt.Sprintf(x.format, x.values[1]))
}
