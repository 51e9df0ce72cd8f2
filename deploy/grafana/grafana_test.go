package grafana

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
	"github.com/grafana/grafana-foundation-sdk/go/prometheus"
)

var update = flag.Bool("update", false, "write the files of the dashboards")

// TestFiles: the files are what the code makes, and there are no others.
func TestFiles(t *testing.T) {
	made, err := Dashboards()
	if err != nil {
		t.Fatal(err)
	}
	for name, d := range made {
		var text bytes.Buffer
		e := json.NewEncoder(&text)
		e.SetEscapeHTML(false) // so that a change of a query can be read
		e.SetIndent("", " ")
		if err := e.Encode(d); err != nil {
			t.Fatal(err)
		}
		file := filepath.Join("dashboards", name)
		if *update {
			if err := os.WriteFile(file, text.Bytes(), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if is, err := os.ReadFile(file); err != nil || !bytes.Equal(is, text.Bytes()) {
			t.Errorf("%s is not what the code makes (%v): go test ./deploy/grafana -update", file, err)
		}
	}
	files, err := os.ReadDir("dashboards")
	if err != nil || len(files) != len(made) {
		t.Errorf("%d files of dashboards, the code makes %d (%v)", len(files), len(made), err)
	}
}

// TestDashboards holds what no schema says: each panel tells what it shows and in which unit, and takes the data source that
// the reader chose; a dashboard keeps its address.
func TestDashboards(t *testing.T) {
	boards, err := Dashboards()
	if err != nil {
		t.Fatal(err)
	}
	for name, d := range boards {
		if want := "kferry-" + name[:len(name)-len(".json")]; d.Uid == nil || *d.Uid != want {
			t.Errorf("%s: the uid is not %s", name, want)
		}
		if d.Id != nil {
			t.Errorf("%s: a dashboard's own id belongs to one Grafana", name)
		}
		variables := map[string]bool{"__rate_interval": true}
		for _, v := range d.Templating.List {
			variables[v.Name] = true
		}
		if !variables["datasource"] {
			t.Errorf("%s: the data source cannot be chosen", name)
		}
		ids, titles := map[uint32]bool{}, map[string]bool{}
		section := ""
		for _, p := range d.Panels {
			if p.RowPanel != nil {
				section = *p.RowPanel.Title
				continue
			}
			title := section + "/" + *p.Panel.Title
			if ids[*p.Panel.Id] || titles[title] {
				t.Errorf("%s: two panels %s, or with its id", name, title)
			}
			ids[*p.Panel.Id], titles[title] = true, true
			checkPanel(t, name+": "+title, p.Panel, variables)
		}
	}
}

var variable = regexp.MustCompile(`\$\{?([a-z_]+)`)

func checkPanel(t *testing.T, name string, p *dashboard.Panel, variables map[string]bool) {
	if p.Description == nil || len(*p.Description) < 10 {
		t.Errorf("%s: no description", name)
	}
	if p.FieldConfig == nil || p.FieldConfig.Defaults.Unit == nil {
		t.Errorf("%s: no unit", name)
	}
	if p.Datasource == nil || p.Datasource.Uid == nil || *p.Datasource.Uid != "${datasource}" {
		t.Errorf("%s: not the data source that was chosen", name)
	}
	if len(p.Targets) == 0 {
		t.Errorf("%s: no query", name)
	}
	refs := map[string]bool{}
	for _, target := range p.Targets {
		q := target.(prometheus.Dataquery)
		ref := *q.RefId
		if refs[ref] {
			t.Errorf("%s: two queries %s", name, ref)
		}
		refs[ref] = true
		for _, v := range variable.FindAllStringSubmatch(q.Expr, -1) {
			if !variables[v[1]] {
				t.Errorf("%s: there is no variable %s", name, v[0])
			}
		}
		if len(p.Targets) > 1 && p.Type == "timeseries" && q.LegendFormat == nil {
			t.Errorf("%s: query %s has no legend", name, ref)
		}
	}
}
