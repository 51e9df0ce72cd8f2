package grafana

import (
	"fmt"
	"maps"
	"regexp"
	"slices"

	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
	"github.com/grafana/grafana-foundation-sdk/go/prometheus"
)

// A Query is what a dashboard asks Prometheus, with the dashboard's variables in it.
type Query struct {
	Board, Panel string // Panel is "section/title", or "variable name"
	Ref          string // the letter of the query in its panel
	Expr         string
}

func (q Query) String() string { return fmt.Sprintf("%s: %s %s", q.Board, q.Panel, q.Ref) }

// Queries are those of all panels and variables. That of a variable, which only Grafana can read, becomes the sum that has a
// series for each of its values.
func Queries() ([]Query, error) {
	boards, err := Dashboards()
	if err != nil {
		return nil, err
	}
	var out []Query
	for _, name := range slices.Sorted(maps.Keys(boards)) {
		b := boards[name]
		for _, v := range b.Templating.List {
			if v.Query == nil || v.Type != dashboard.VariableTypeQuery {
				continue
			}
			m := labelValues.FindStringSubmatch(*v.Query.String)
			if m == nil {
				return nil, fmt.Errorf("%s: variable %s asks %s", name, v.Name, *v.Query.String)
			}
			out = append(out, Query{name, "variable " + v.Name, "A", fmt.Sprintf("sum by (%s) (%s)", m[2], m[1])})
		}
		section := ""
		for _, p := range b.Panels {
			if p.RowPanel != nil {
				section = *p.RowPanel.Title + "/"
				continue
			}
			for _, target := range p.Panel.Targets {
				q, ok := target.(prometheus.Dataquery)
				if !ok {
					return nil, fmt.Errorf("%s: %s: not a query of Prometheus", name, *p.Panel.Title)
				}
				out = append(out, Query{name, section + *p.Panel.Title, *q.RefId, q.Expr})
			}
		}
	}
	return out, nil
}

var labelValues = regexp.MustCompile(`^label_values\((.+), ([a-z]+)\)$`)
