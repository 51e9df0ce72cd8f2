package web

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"html/template"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

//go:embed page
var pageFiles embed.FS

// assets are the files beside the page, by the name that it asks for.
var assets = func() map[string]asset {
	out := map[string]asset{}
	for file, contentType := range map[string]string{
		"page.css": "text/css; charset=utf-8", "page.js": "text/javascript; charset=utf-8", "icon.svg": "image/svg+xml",
	} {
		body, err := pageFiles.ReadFile("page/" + file)
		if err != nil {
			panic("web: " + err.Error()) // it is embedded
		}
		sum := sha256.Sum256(body)
		out[file] = asset{"/static/" + file + "?" + hex.EncodeToString(sum[:6]), contentType, body}
	}
	return out
}()

// asset is a file that never changes under its link.
type asset struct {
	link, contentType string
	body              []byte
}

var pageTemplate = template.Must(template.New("page.html").Funcs(template.FuncMap{
	"asset": func(file string) string { return assets[file].link },
	"name":  name, "count": countAny, "known": known, "short": short, "bytes": byteSize, "byterate": byteRate, "rate": perSecond, "span": span, "eta": etaText,
	"percent": func(share *float64) string { return fmt.Sprintf("%.0f%%", *share*100) },
	"age":     age, "stamp": stamp, "clock": clock, "moment": moment,
}).ParseFS(pageFiles, "page/page.html"))

func countAny(n any) (string, error) {
	switch n := n.(type) {
	case int:
		return count(n), nil
	case int64:
		return count(n), nil
	}
	return "", fmt.Errorf("%T is no count", n)
}

// The page brings all it needs, and nothing else runs on it.
const contentPolicy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
	"form-action 'self'; base-uri 'none'; frame-ancestors 'none'"

func secure(h http.Header) {
	h.Set("Content-Security-Policy", contentPolicy)
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("X-Frame-Options", "DENY")
}

func static(w http.ResponseWriter, r *http.Request) {
	a, ok := assets[r.PathValue("file")]
	if !ok {
		http.NotFound(w, r)
		return
	}
	h := w.Header()
	secure(h)
	h.Set("Content-Type", a.contentType)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cache-Control", "public, max-age=31536000, immutable")
	_, _ = w.Write(a.body) // a reader that went away
}

// What the page shows of a list that may be long.
const (
	pageLanes     = 50
	pageLanesMost = 500 // if somebody asks: a browser is slow with more
	pageTopics    = 20
	pageGroups    = 50
	pageEvents    = 30
	pageProblems  = 10
)

func (s *site) page(w http.ResponseWriter, r *http.Request) {
	values, err := readQuery(r.URL.RawQuery)
	var q laneQuery
	if err == nil {
		q, err = readLaneQuery(values, laneQuery{sort: "state", limit: pageLanes}, pageLanesMost)
	}
	if err != nil {
		text(w, http.StatusBadRequest, err.Error()+"\n")
		return
	}
	p := s.get(fmt.Sprintf("/\x00%#v", q), func() ([]byte, error) {
		var b bytes.Buffer
		err := pageTemplate.Execute(&b, s.pageData(q))
		return b.Bytes(), err
	})
	if p.err != nil {
		text(w, http.StatusServiceUnavailable, p.err.Error()+"\n")
		return
	}
	secure(w.Header())
	p.send(w, r, "text/html; charset=utf-8")
}

// pageData is what the template shows.
type pageData struct {
	*View
	Title        string
	Actions      bool
	Verdict      verdict
	Problems     []Problem
	MoreProblems int
	Flows        []flowCard
	ManyFlows    bool

	Chart       *chart
	Topics      []topicRow
	TopicsTotal int

	Query                laneForm
	StateNames           []string
	Columns              []column
	Lanes                []Lane
	LanesFrom, LanesTo   int // counted from 1
	LanesTotal, AnyLanes int
	NoLanes              string // why there are none
	Before, Behind       string // links

	FollowsGroups bool
	Groups        []groupRow
	GroupsTotal   int
	Events        []Event // the newest first
}

// verdict is the whole in one line.
type verdict struct{ Class, Title, Text string }

// tally is a number of things of a kind.
type tally struct {
	Name string
	N    int
}

type flowCard struct {
	F                Flow
	States, Verdicts []tally
	Bar              []bar
}

// bar is a share of 100.
type bar struct{ Name, X, Width string }

type topicRow struct {
	T      Topic
	States []tally
	Spark  []string
	Paused bool
}

type groupRow struct {
	G        Group
	Verdicts []tally
}

// laneForm is what the form shows.
type laneForm struct{ Topic, Flow, State, Sort, Order string }

// column is one by which lanes can be sorted.
type column struct{ Key, Title, Class, Link, Sorted, Arrow string }

func (s *site) pageData(q laneQuery) *pageData {
	v := s.view()
	d := &pageData{View: v, Actions: s.actor != nil && s.token != "", StateNames: states, ManyFlows: len(v.Status.Flows) > 1}
	d.judge()
	for _, f := range v.Status.Flows {
		d.Flows = append(d.Flows, flowCard{f, tallies(f.Lanes), tallies(f.Groups.Partitions), bars(f.Lanes)})
		d.FollowsGroups = d.FollowsGroups || len(f.Groups.Partitions) > 0
	}
	d.chooseTopics(s.source)
	d.chooseLanes(q)
	d.chooseGroups()
	d.Events = s.source.Events(0)
	slices.Reverse(d.Events)
	d.Events = d.Events[:min(len(d.Events), pageEvents)]
	return d
}

// judge fills in the headline and what is wrong.
func (d *pageData) judge() {
	all := d.Status.Problems
	errs := 0
	for _, p := range all {
		if p.Severity == "error" {
			errs++
		}
	}
	warnings := len(all) - errs
	switch {
	case errs > 0:
		d.Verdict = verdict{"error", number(errs, "thing needs", "things need") + " somebody", "Something is not carried, or a cluster does not answer."}
	case warnings > 0:
		d.Verdict = verdict{"warning", "Running, with " + number(warnings, "warning", "warnings"), "Nothing has failed; what follows is worth a look."}
	case d.starting():
		d.Verdict = verdict{"rest", "Starting", "Not everything is under way yet."}
	case d.behind() > 0:
		d.Verdict = verdict{"rest", "Catching up", number(int(d.behind()), "record is", "records are") + " still to be carried; nothing is wrong."}
	default:
		d.Verdict = verdict{"ok", "All is well", "Every lane is carried, and both sides answer."}
	}
	d.Title = d.Verdict.Title + " · kferry"
	d.Problems = all[:min(len(all), pageProblems)]
	d.MoreProblems = len(all) - len(d.Problems)
}

// starting tells that some flow does not carry all it will.
func (d *pageData) starting() bool {
	return slices.ContainsFunc(d.Status.Flows, func(f Flow) bool {
		all := 0
		for _, n := range f.Lanes {
			all += n
		}
		return all == 0 || f.Lanes["starting"] > 0
	})
}

// behindFor is the age of a lag, in seconds, that is worth the headline.
const behindFor = 60

// behind is the lag of the flows where some of it is old.
func (d *pageData) behind() (sum int64) {
	for _, f := range d.Status.Flows {
		if f.LagRecords != nil && f.LagSeconds != nil && *f.LagSeconds > behindFor {
			sum += *f.LagRecords
		}
	}
	return sum
}

// number is a number with the words that go with it.
func number(n int, one, more string) string {
	if n == 1 {
		return "1 " + one
	}
	return count(n) + " " + more
}

// tallies leaves out what there is none of; lanes the worst first, others by number.
func tallies(by map[string]int) (out []tally) {
	for _, k := range slices.Sorted(maps.Keys(by)) {
		if by[k] > 0 {
			out = append(out, tally{k, by[k]})
		}
	}
	slices.SortStableFunc(out, func(a, b tally) int {
		return cmp.Or(cmp.Compare(slices.Index(states, a.Name), slices.Index(states, b.Name)), cmp.Compare(b.N, a.N))
	})
	return out
}

func bars(lanes map[string]int) (out []bar) {
	all, at := 0, 0.0
	for _, n := range lanes {
		all += n
	}
	for _, t := range tallies(lanes) {
		width := 100 * float64(t.N) / float64(all)
		out = append(out, bar{t.Name, coordinate(at), coordinate(width)})
		at += width
	}
	return out
}

// chooseTopics takes those with the most lag, and draws what it was.
func (d *pageData) chooseTopics(source Source) {
	at := make([]*Topic, len(d.View.Topics))
	for i := range d.View.Topics {
		at[i] = &d.View.Topics[i]
	}
	slices.SortStableFunc(at, func(a, b *Topic) int { return compareKnown(b.LagRecords, a.LagRecords) })
	d.TopicsTotal = len(at)
	paused := map[string]bool{}
	for _, f := range d.Status.Flows {
		paused[f.Name] = f.Paused != nil
	}
	var all []series
	for _, t := range at[:min(len(at), pageTopics)] {
		s := series{topic: t, points: source.History(t.Flow, t.Topic)}
		for _, p := range s.points {
			s.most = max(s.most, p[1])
		}
		all = append(all, s)
		d.Topics = append(d.Topics, topicRow{*t, tallies(t.Lanes), spark(s), t.Lanes["paused"] > 0 && !paused[t.Flow]})
	}
	d.Chart = drawChart(all)
}

func (d *pageData) chooseGroups() {
	groups := slices.Clone(d.View.Groups)
	slices.SortStableFunc(groups, func(a, b Group) int { return cmp.Compare(b.Unsynced, a.Unsynced) })
	d.GroupsTotal = len(groups)
	d.FollowsGroups = d.FollowsGroups || len(groups) > 0
	for _, g := range groups[:min(len(groups), pageGroups)] {
		d.Groups = append(d.Groups, groupRow{g, tallies(g.Verdicts)})
	}
}

// chooseLanes takes a page of the lanes that were asked for.
func (d *pageData) chooseLanes(q laneQuery) {
	d.Query = laneForm{q.topic, q.flow, q.state, q.sort, q.order()}
	d.Lanes, d.LanesTotal = q.choose(d.View.Lanes)
	d.AnyLanes = len(d.View.Lanes)
	d.LanesFrom, d.LanesTo = q.offset+1, q.offset+len(d.Lanes)
	if q.offset > 0 {
		d.Before = q.link(func(q *laneQuery) { q.offset = max(0, q.offset-q.limit) })
	}
	if d.LanesTo < d.LanesTotal {
		d.Behind = q.link(func(q *laneQuery) { q.offset += q.limit })
	}
	for _, c := range []column{
		{Key: "topic", Title: "Topic"}, {Key: "partition", Title: "Partition", Class: "right wide"}, {Key: "state", Title: "State"},
		{Key: "lag_records", Title: "Lag", Class: "right"}, {Key: "lag_seconds", Title: "Behind", Class: "right wide"},
		{Key: "records_per_second", Title: "Records/s", Class: "right wide"}, {Key: "records", Title: "Carried", Class: "right wide"},
		{Key: "source_offset", Title: "Source offset", Class: "right wide"},
	} {
		d.Columns = append(d.Columns, q.sortable(c))
	}
	d.NoLanes = noLanes(&d.Status)
}

func noLanes(s *Status) string {
	for _, f := range s.Flows {
		if len(f.Switch.Reasons) > 0 {
			return f.Switch.Reasons[0]
		}
	}
	return "no flow carries anything"
}

// sortable adds to a column how it is sorted, and the link that sorts by it: numbers
// the largest first.
func (q laneQuery) sortable(c column) column {
	next := strings.Contains(c.Class, "right")
	if c.Key == q.sort {
		next = !q.descending
		c.Sorted, c.Arrow = "ascending", "↑"
		if q.descending {
			c.Sorted, c.Arrow = "descending", "↓"
		}
	}
	c.Link = q.link(func(q *laneQuery) { q.sort, q.descending, q.offset = c.Key, next, 0 })
	return c
}

func (q laneQuery) order() string {
	if q.descending {
		return "desc"
	}
	return "asc"
}

// link is to the page with the query changed.
func (q laneQuery) link(change func(*laneQuery)) string {
	change(&q)
	v := url.Values{"sort": {q.sort}, "order": {q.order()}}
	for key, value := range map[string]string{"flow": q.flow, "topic": q.topic, "state": q.state} {
		if value != "" {
			v.Set(key, value)
		}
	}
	if q.offset > 0 {
		v.Set("offset", strconv.Itoa(q.offset))
	}
	if q.limit != pageLanes {
		v.Set("limit", strconv.Itoa(q.limit))
	}
	return "/?" + v.Encode() + "#lanes"
}
