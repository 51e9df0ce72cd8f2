package web

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

const (
	chartWidth, chartHeight = 720, 180
	chartLines              = 5
	sparkWidth, sparkHeight = 120, 24
	leastSpan               = 10 * 60 // seconds that a chart shows at least
	gapAfter                = 25      // seconds without a point: nothing was known between
)

// chart is the lag of some topics over time.
type chart struct {
	Width, Height  int
	Label          string // for those who do not see it
	YTicks, XTicks []string
	Grid           []string
	Lines          []chartLine
}

type chartLine struct {
	N     int // which of the styles
	Topic string
	Most  int64
	Paths []string // points of SVG polylines
}

// series is the history of a topic.
type series struct {
	topic  *Topic
	points []Point
	most   int64
}

// drawChart shows the topics whose lag was largest. nil: there is nothing to show.
func drawChart(all []series) *chart {
	shown := slices.DeleteFunc(slices.Clone(all), func(s series) bool { return len(s.points) < 2 })
	if len(shown) == 0 {
		return nil
	}
	slices.SortStableFunc(shown, func(a, b series) int { return cmp.Compare(b.most, a.most) })
	shown = shown[:min(len(shown), chartLines)]
	box := frame{width: chartWidth, height: chartHeight, top: niceAbove(shown[0].most)}
	box.times(shown)
	c := &chart{Width: chartWidth, Height: chartHeight, Label: "Lag in records over time."}
	for i := 4; i >= 0; i-- {
		c.YTicks = append(c.YTicks, short(box.top*int64(i)/4))
		c.Grid = append(c.Grid, box.y(box.top*int64(i)/4))
	}
	for i := 4; i >= 1; i-- {
		ago := float64(box.to-box.from) * float64(i) / 4
		c.XTicks = append(c.XTicks, "−"+span(&ago))
	}
	c.XTicks = append(c.XTicks, "now")
	for i, s := range shown {
		c.Lines = append(c.Lines, chartLine{i, s.topic.Topic, s.most, box.paths(s.points)})
		c.Label += fmt.Sprintf(" %s: at most %s, now %s.", name(s.topic.Topic), count(s.most), known(s.topic.LagRecords))
	}
	return c
}

// spark is the same for one topic, on its own scale.
func spark(s series) []string {
	if len(s.points) < 2 || s.most == 0 {
		return nil
	}
	box := frame{width: sparkWidth, height: sparkHeight, top: s.most}
	box.times([]series{s})
	return box.paths(s.points)
}

// niceAbove is a number that is not below n and whose quarters are round.
func niceAbove(n int64) int64 {
	for p := int64(1); p < math.MaxInt64/1000; p *= 10 {
		for _, tenths := range []int64{10, 15, 20, 25, 30, 40, 50, 60, 80} {
			if quarter := p * tenths / 10; quarter*10 == p*tenths && 4*quarter >= n {
				return 4 * quarter
			}
		}
	}
	return math.MaxInt64
}

// frame places points.
type frame struct {
	width, height int
	from, to, top int64
}

// times takes in the time that the series cover.
func (f *frame) times(all []series) {
	f.from, f.to = math.MaxInt64, 0
	for _, s := range all {
		f.from = min(f.from, s.points[0][0])
		f.to = max(f.to, s.points[len(s.points)-1][0])
	}
	f.from = min(f.from, f.to-leastSpan)
}

func (f *frame) x(at int64) string {
	return coordinate(float64(at-f.from) * float64(f.width) / float64(f.to-f.from))
}

func (f *frame) y(lag int64) string {
	return coordinate(float64(f.height) * (1 - float64(lag)/float64(f.top)))
}

func coordinate(v float64) string { return strconv.FormatFloat(math.Round(v*10)/10, 'f', -1, 64) }

// paths are the points as SVG has them, one list for each stretch without a gap.
func (f *frame) paths(points []Point) (out []string) {
	var b strings.Builder
	for i, p := range points {
		if i > 0 && p[0]-points[i-1][0] > gapAfter {
			out = append(out, b.String())
			b.Reset()
		}
		if b.Len() > 0 {
			b.WriteByte(' ')
		}
		b.WriteString(f.x(p[0]) + "," + f.y(p[1]))
	}
	return append(out, b.String())
}
