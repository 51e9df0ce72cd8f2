package acceptance

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/kferry/kferry/internal/ferrytest"
)

// Prometheus looks, and alerts wait, so many times faster than shipped, so that a test can wait for them. Ages are compared with a
// limit that comes less close to the second in which kferry stores progress, follows groups and writes heartbeats here.
const hurry, hurryAges = 25, 15

// spans are the durations of the shipped files: intervals, how long something must last, ranges, and ages to compare with. That
// of what counts as no lag is not among them: it stands for what kferry itself knows, which no test makes faster.
var spans = regexp.MustCompile(`(?m)((?:for|interval): |\[|offset )(\d+[smh])|(seconds(?:\)|:max) [<>] )(60|120)\b`)

// hurried is a shipped file with all its spans made shorter.
func hurried(t testing.TB, file string) string {
	t.Helper()
	shipped, err := os.ReadFile(filepath.Join("..", "..", "deploy", "prometheus", file))
	if err != nil {
		t.Fatal(err)
	}
	return spans.ReplaceAllStringFunc(string(shipped), func(s string) string {
		m := spans.FindStringSubmatch(s)
		d, err := time.ParseDuration(m[2] + m[4] + map[bool]string{true: "s"}[m[4] != ""])
		if err != nil {
			t.Fatal(err)
		}
		if m[4] != "" {
			return m[3] + strconv.FormatFloat((d/hurryAges).Seconds(), 'f', -1, 64)
		}
		return m[1] + strconv.FormatInt((d/hurry).Milliseconds(), 10) + "ms"
	})
}

// TestHurried: what a test runs differs from what ships in numbers alone, and in all of those that are time.
func TestHurried(t *testing.T) {
	number := regexp.MustCompile(`\b\d+(ms|[smh])?\b`)
	for _, file := range []string{"prometheus.yml", "kferry.rules.yml"} {
		shipped, err := os.ReadFile(filepath.Join("..", "..", "deploy", "prometheus", file))
		if err != nil {
			t.Fatal(err)
		}
		fast := hurried(t, file)
		if number.ReplaceAllString(string(shipped), "N") != number.ReplaceAllString(fast, "N") {
			t.Errorf("%s: more than numbers differs", file)
		}
		for _, left := range regexp.MustCompile(`.*\b\d+[smh]\b.*|.*seconds\S* [<>] [1-9]\d+\b.*`).FindAllString(fast, -1) {
			if !strings.Contains(left, "#") && !strings.Contains(left, "lag_seconds:max < 10)") {
				t.Errorf("%s: was not made faster: %s", file, left)
			}
		}
	}
}

// prometheus is Debian's, with the shipped rules in a hurry.
type prometheus struct {
	t   testing.TB
	url string
}

// watchBy starts a Prometheus that asks fs.
func watchBy(t testing.TB, path string, fs ...*ferrytest.Ferry) *prometheus {
	t.Helper()
	const shipped = `["kferry:9464"]`
	dir, targets := t.TempDir(), []string{}
	for _, f := range fs {
		targets = append(targets, strconv.Quote(instance(f)))
	}
	config := hurried(t, "prometheus.yml")
	if strings.Count(config, shipped) != 1 {
		t.Fatalf("prometheus.yml does not have the target %s", shipped)
	}
	for name, text := range map[string]string{
		"prometheus.yml": strings.Replace(config, shipped, "["+strings.Join(targets, ", ")+"]", 1), "kferry.rules.yml": hurried(t, "kferry.rules.yml"),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	process := ferrytest.Launch(t, path, os.Environ(), nil, []string{
		"--config.file=" + filepath.Join(dir, "prometheus.yml"), "--storage.tsdb.path=" + filepath.Join(dir, "data"), "--web.listen-address=127.0.0.1:0",
	})
	p := &prometheus{t, "http://" + process.Says(`msg="?Listening on"? address=(127\.0\.0\.1:\d+)`)}
	process.Says("Server is ready to receive web requests")
	return p
}

// instance is what Prometheus calls a kferry process.
func instance(f *ferrytest.Ferry) string { return f.Says(`http://([0-9.:]+)/metrics`) }

// series is one of an answer.
type series struct {
	labels map[string]string
	value  float64
}

// ask has a query evaluated now.
func (p *prometheus) ask(query string) (out []series, err error) {
	ctx, cancel := context.WithTimeout(p.t.Context(), 10*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, p.url+"/api/v1/query?query="+url.QueryEscape(query), nil)
	if err != nil {
		return nil, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }() // it was only read
	var answer struct {
		Error string
		Data  struct {
			Result []struct {
				Metric map[string]string
				Value  [2]any
			}
		}
	}
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil {
		return nil, err
	}
	if answer.Error != "" {
		return nil, fmt.Errorf("%s: %s", query, answer.Error)
	}
	for _, r := range answer.Data.Result {
		v, err := strconv.ParseFloat(fmt.Sprint(r.Value[1]), 64)
		if err != nil {
			return nil, err
		}
		out = append(out, series{r.Metric, v})
	}
	return out, nil
}

// alerts are those in a state, as name{label=value ...}, sorted; severity says nothing here. within looks back so many seconds,
// 0 is now.
func (p *prometheus) alerts(state string, within int) (out []string, err error) {
	query := fmt.Sprintf("ALERTS{alertstate=~%q}", state)
	if within > 0 {
		query = fmt.Sprintf("present_over_time(%s[%ds])", query, within)
	}
	found, err := p.ask(query)
	for _, s := range found {
		var labels []string
		for _, name := range slices.Sorted(maps.Keys(s.labels)) {
			if !slices.Contains([]string{"__name__", "alertname", "alertstate", "severity", "job"}, name) {
				labels = append(labels, name+"="+s.labels[name])
			}
		}
		out = append(out, s.labels["alertname"]+"{"+strings.Join(labels, " ")+"}")
	}
	slices.Sort(out)
	return slices.Compact(out), err
}
