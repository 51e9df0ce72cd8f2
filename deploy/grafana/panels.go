// Package grafana builds kferry's dashboards. What Grafana reads are the files in the folder dashboards, which
//
//	go test ./deploy/grafana -update
//
// writes; a test holds them against the code. The queries use kferry's own metrics and what deploy/prometheus records of them.
package grafana

import (
	"fmt"
	"strings"

	"github.com/grafana/grafana-foundation-sdk/go/cog"
	"github.com/grafana/grafana-foundation-sdk/go/cog/variants"
	"github.com/grafana/grafana-foundation-sdk/go/common"
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
	"github.com/grafana/grafana-foundation-sdk/go/prometheus"
	"github.com/grafana/grafana-foundation-sdk/go/stat"
	"github.com/grafana/grafana-foundation-sdk/go/table"
	"github.com/grafana/grafana-foundation-sdk/go/timeseries"
	"github.com/grafana/grafana-foundation-sdk/go/units"
)

// Panels are placed on a grid that is 24 wide.
const (
	full, half, third, sixth = 24, 12, 8, 4
	low, high                = 4, 8 // heights
)

type panel = cog.Builder[dashboard.Panel]

// An ask is one query of a panel, and what its series are called there.
type ask struct{ expr, legend string }

func source() common.DataSourceRef {
	return common.DataSourceRef{Type: cog.ToPtr("prometheus"), Uid: cog.ToPtr("${datasource}")}
}

func query(n int, a ask) *prometheus.DataqueryBuilder {
	return prometheus.NewDataqueryBuilder().RefId(string(rune('A' + n))).Expr(a.expr).LegendFormat(a.legend)
}

func queries(asks []ask, shape func(*prometheus.DataqueryBuilder) *prometheus.DataqueryBuilder) (out []cog.Builder[variants.Dataquery]) {
	for n, a := range asks {
		out = append(out, shape(query(n, a)))
	}
	return out
}

// graph is a panel with lines over time; the legend tells the last value and the largest.
func graph(title, about, unit string, width uint32, asks ...ask) *timeseries.PanelBuilder {
	return timeseries.NewPanelBuilder().Title(title).Description(about).Datasource(source()).Span(width).Height(high).
		Unit(unit).Min(0).FillOpacity(10).ShowPoints(common.VisibilityModeNever).
		Legend(common.NewVizLegendOptionsBuilder().ShowLegend(true).DisplayMode(common.LegendDisplayModeTable).Placement(common.LegendPlacementBottom).
			Calcs([]string{"lastNotNull", "max"})).
		Tooltip(common.NewVizTooltipOptionsBuilder().Mode(common.TooltipDisplayModeMulti).Sort(common.SortOrderDescending)).
		Targets(queries(asks, (*prometheus.DataqueryBuilder).Range))
}

// stacked is a graph of parts of a whole.
func stacked(title, about, unit string, width uint32, asks ...ask) *timeseries.PanelBuilder {
	return graph(title, about, unit, width, asks...).FillOpacity(60).LineWidth(0).Stacking(common.NewStackingConfigBuilder().Mode(common.StackingModeNormal))
}

// A level is the colour of values from a number on; the first one's number does not count.
type level struct {
	from   float64
	colour string
}

// What is bad from a number on, and what is good from 1 on.
func badFrom(from float64) []level { return []level{{0, "green"}, {from, "red"}} }

var (
	good  = []level{{0, "red"}, {1, "green"}}
	plain = []level{{0, "text"}}
)

func steps(levels []level) cog.Builder[dashboard.ThresholdsConfig] {
	var out []dashboard.Threshold
	for n, l := range levels {
		t := dashboard.Threshold{Color: l.colour}
		if n > 0 {
			t.Value = &l.from
		}
		out = append(out, t)
	}
	return dashboard.NewThresholdsConfigBuilder().Mode(dashboard.ThresholdsModeAbsolute).Steps(out)
}

// number is a panel with the value of now; none says what it means that there is none.
func number(title, about, unit string, levels []level, none string, asks ...ask) *stat.PanelBuilder {
	return stat.NewPanelBuilder().Title(title).Description(about).Datasource(source()).Span(sixth).Height(low).
		Unit(unit).NoValue(none).Thresholds(steps(levels)).ColorMode(common.BigValueColorModeBackground).GraphMode(common.BigValueGraphModeNone).
		Orientation(common.VizOrientationAuto).
		ReduceOptions(common.NewReduceDataOptionsBuilder().Calcs([]string{"lastNotNull"})).
		Targets(queries(asks, (*prometheus.DataqueryBuilder).Instant))
}

// saying has values shown as words.
func saying(words map[string]string) []dashboard.ValueMapping {
	results := map[string]dashboard.ValueMappingResult{}
	for value, word := range words {
		results[value] = dashboard.ValueMappingResult{Text: &word}
	}
	return []dashboard.ValueMapping{{ValueMap: &dashboard.ValueMap{Type: dashboard.MappingTypeValueToText, Options: results}}}
}

// A column of a list is one query, which has the same labels as those of the other columns.
type column struct {
	name, unit, expr string
	levels           []level // nil: no colour
	words            map[string]string
}

// list is a panel with a row for each set of labels; key names the labels that are shown, in their order.
func list(title, about string, width uint32, key []string, columns ...column) *table.PanelBuilder {
	p := table.NewPanelBuilder().Title(title).Description(about).Datasource(source()).Span(width).Height(high).NoValue("nothing").Unit(units.Short)
	order, names, hidden := map[string]int{}, map[string]string{}, map[string]bool{"Time": true}
	for n, k := range key {
		order[k] = n
	}
	for n, c := range columns {
		value := "Value"
		if len(columns) > 1 {
			value = fmt.Sprintf("Value #%c", 'A'+n)
		}
		order[value], names[value] = len(key)+n, c.name
		// The sum takes away all labels but the key, the metric's name among them: rows of different names would not meet.
		p.WithTarget(query(n, ask{expr: "sum by (" + strings.Join(key, ", ") + ") (" + c.expr + ")"}).Instant().Format(prometheus.PromQueryFormatTable))
		look := []dashboard.DynamicConfigValue{{Id: "unit", Value: c.unit}}
		if c.levels != nil {
			look = append(look, dashboard.DynamicConfigValue{Id: "thresholds", Value: must(steps(c.levels).Build())},
				dashboard.DynamicConfigValue{Id: "custom.cellOptions", Value: map[string]string{"type": "color-text"}})
		}
		if c.words != nil {
			look = append(look, dashboard.DynamicConfigValue{Id: "mappings", Value: saying(c.words)})
		}
		p.OverrideByName(c.name, look)
	}
	if len(columns) > 1 {
		p.WithTransformation(dashboard.DataTransformerConfig{Id: "merge", Options: map[string]any{}})
	}
	return p.WithTransformation(dashboard.DataTransformerConfig{
		Id: "organize", Options: map[string]any{"indexByName": order, "renameByName": names, "excludeByName": hidden},
	})
}

// must is for builders that cannot fail: they take constants of this package.
func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// choice is a variable of a dashboard: a label's values, of which several can be chosen with many.
func choice(name, title, about, values string, many bool) *dashboard.QueryVariableBuilder {
	v := dashboard.NewQueryVariableBuilder(name).Label(title).Description(about).Datasource(source()).
		Query(dashboard.StringOrMap{String: &values}).Refresh(dashboard.VariableRefreshOnTimeRangeChanged).Sort(dashboard.VariableSortNaturalAsc)
	if many {
		v.Multi(true).IncludeAll(true).Current(dashboard.VariableOption{
			Text:  dashboard.StringOrArrayOfString{ArrayOfString: []string{"All"}},
			Value: dashboard.StringOrArrayOfString{ArrayOfString: []string{"$__all"}},
		})
	}
	return v
}

// board begins a dashboard; every one links to the others and lets its reader choose the data source.
func board(uid, title, about string, variables ...cog.Builder[dashboard.VariableModel]) *dashboard.DashboardBuilder {
	b := dashboard.NewDashboardBuilder(title).Uid(uid).Description(about).Tags([]string{tag}).Timezone("browser").Readonly().
		Time("now-1h", "now").Refresh("15s").Tooltip(dashboard.DashboardCursorSyncCrosshair).
		Link(dashboard.NewDashboardLinkBuilder("kferry").Type(dashboard.DashboardLinkTypeDashboards).Tags([]string{tag}).IncludeVars(true).KeepTime(true)).
		WithVariable(dashboard.NewDatasourceVariableBuilder("datasource").Label("Data source").Description("The Prometheus that has kferry's metrics.").Type("prometheus"))
	for _, v := range variables {
		b.WithVariable(v)
	}
	return b
}

const tag = "kferry"

// section puts panels below a heading.
func section(b *dashboard.DashboardBuilder, title string, panels ...panel) {
	b.WithRow(dashboard.NewRowBuilder(title))
	for _, p := range panels {
		b.WithPanel(p)
	}
}
