package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/kferry/kferry/internal/web"
)

const (
	topProblems = 3                      // that are shown, at most
	topResize   = 200 * time.Millisecond // how soon another size of the terminal is noticed
	topGraph    = 30                     // columns of the last hour
)

type topOptions struct {
	asked
	interval time.Duration
}

func newTopCommand() *cobra.Command {
	var o topOptions
	cmd := &cobra.Command{
		Use:   "top",
		Short: "Watch a running kferry in the terminal",
		Long: `Show how the kferry that runs beside is, again and again: what is wrong, each flow
with its lanes, lag, throughput and whether it is safe to switch, and the topics
that lack most first, with their lag over the last hour. q or Ctrl-C ends it.

Where the output is no terminal it is printed once.

It asks the address of http.listen in the configuration, or --url, which needs
no configuration. Replicas that share flows each answer for their own lanes: give
--url once for each of them.

Exit codes: 0 ended, or printed; 1 no kferry answers there; 2 wrong use;
3 configuration invalid. While it shows, a kferry that does not answer is waited
for.`,
		Example: `  kferry top -c kferry.yaml
  kferry top --url http://10.0.0.7:9464 --url http://10.0.0.8:9464 --interval 5s
  kferry top --url http://10.0.0.7:9464 | head -20`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if o.interval < 100*time.Millisecond {
				return usageError{fmt.Errorf("--interval %v: must be 100ms or above", o.interval)}
			}
			if err := o.find(cmd); err != nil {
				return err
			}
			return o.run(cmd.Context(), processOf(cmd))
		},
	}
	o.flags(cmd)
	cmd.Flags().DurationVar(&o.interval, "interval", time.Second, "how often to ask")
	return cmd
}

// glance is what one frame shows.
type glance struct {
	status web.Status
	topics []web.Topic
	err    error // of the last try; the rest is of the one before
}

func (o topOptions) look(ctx context.Context) (g glance) {
	if g.status, g.err = o.askStatus(ctx); g.err != nil {
		return g
	}
	all, errs := askEach[web.Topics](ctx, o.urls, web.TopicsPath, noQuery)
	if len(all) == 0 {
		g.err = errors.Join(errs...)
	}
	g.topics = mergeTopics(all)
	return g
}

func (o topOptions) run(ctx context.Context, p *process) error {
	first := o.look(ctx)
	if first.err != nil {
		return first.err
	}
	screen, end, ok := openLive(p.stdin, p.stdout)
	if !ok {
		_, err := io.WriteString(p.stdout, strings.Join(first.lines(1<<20), "\n")+"\n")
		return err
	}
	defer end()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	looks := make(chan glance)
	go o.keepLooking(ctx, looks)
	screen.show(ctx, first, looks)
	return nil
}

// keepLooking asks beside the screen: who is slow to answer must not keep a key from working.
func (o topOptions) keepLooking(ctx context.Context, looks chan<- glance) {
	t := time.NewTicker(o.interval)
	defer t.Stop()
	for {
		select {
		case <-t.C:
		case <-ctx.Done():
			return
		}
		g := o.look(ctx)
		select {
		case looks <- g:
		case <-ctx.Done():
			return
		}
	}
}

// show draws what comes, and anew when the terminal has another size, until somebody has seen enough.
func (l *live) show(ctx context.Context, g glance, looks <-chan glance) {
	t := time.NewTicker(topResize)
	defer t.Stop()
	columns, rows := l.size()
	l.draw(g.lines(rows), columns, rows)
	for {
		select {
		case next := <-looks:
			if next.err != nil {
				g.err = next.err
			} else {
				g = next
			}
		case <-t.C:
			if c, r := l.size(); c == columns && r == rows {
				continue
			}
		case <-l.quit:
			return
		case <-ctx.Done():
			return
		}
		columns, rows = l.size()
		l.draw(g.lines(rows), columns, rows)
	}
}

// lines is the frame, rows lines at most.
func (g *glance) lines(rows int) []string {
	lines := []string{headline(g.status) + "    " + g.status.Now.UTC().Format(time.TimeOnly) + " UTC"}
	if g.err != nil {
		lines = append(lines, "no answer now: "+oneLine(g.err.Error()))
	}
	for i, p := range g.status.Problems {
		if i == topProblems {
			lines = append(lines, fmt.Sprintf("and %d more: kferry status", len(g.status.Problems)-i))
			break
		}
		lines = append(lines, p.Severity+"  "+problemText(p))
	}
	lines = append(lines, "")
	lines = append(lines, table(flowTable(g.status.Flows))...)
	lines = append(lines, "")
	room := rows - len(lines) - 2 // the titles, and the line that counts the rest
	if len(g.topics) <= room+1 {
		room = len(g.topics)
	}
	shown := g.topics[:max(0, min(room, len(g.topics)))]
	lines = append(lines, table(topicTable(shown, len(g.status.Flows) > 1, g.status.Now))...)
	if more := len(g.topics) - len(shown); more > 0 {
		lines = append(lines, fmt.Sprintf("and %s more", plural(more, "topic")))
	}
	return lines
}

// table lines up rows of cells.
func table(rows [][]string) []string {
	var b strings.Builder
	tab := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	for _, r := range rows {
		fmt.Fprintln(tab, strings.Join(r, "\t"))
	}
	_ = tab.Flush() // into memory
	return strings.Split(strings.TrimRight(b.String(), "\n"), "\n")
}

func flowTable(flows []web.Flow) [][]string {
	rows := [][]string{{"FLOW", "LANES", "LAG", "BEHIND", "GONE IN", "RECORDS/S", "BYTES/S", "SAFE TO SWITCH"}}
	for i := range flows {
		f := &flows[i]
		safe := "yes"
		if !f.Switch.Safe {
			safe = "no"
			if len(f.Switch.Reasons) > 0 {
				safe += ": " + oneLine(f.Switch.Reasons[0])
			}
		}
		rows = append(rows, []string{plain(f.Name), cmp.Or(countStates(f.Lanes), "none"), amount(f.LagRecords), behind(f.LagSeconds), goneIn(f),
			thousands(int64(f.RecordsPerSecond)), byteSize(int64(f.BytesPerSecond)), safe})
	}
	return rows
}

func topicTable(topics []web.Topic, several bool, now time.Time) [][]string {
	title := []string{"TOPIC", "LANES", "LAG", "BEHIND", "RECORDS/S", "BYTES/S", "LAG, LAST HOUR"}
	if several {
		title = append([]string{"FLOW"}, title...)
	}
	rows := [][]string{title}
	for i := range topics {
		t := &topics[i]
		row := []string{plain(bothNames(t.Topic, t.TargetTopic)), countStates(t.Lanes), amount(t.LagRecords), behind(t.LagSeconds), thousands(int64(t.RecordsPerSecond)),
			byteSize(int64(t.BytesPerSecond)), graph(t.History, now)}
		if several {
			row = append([]string{plain(t.Flow)}, row...)
		}
		rows = append(rows, row)
	}
	return rows
}

// goneIn is when nothing is missing any more.
func goneIn(f *web.Flow) string {
	if f.LagRecords != nil && *f.LagRecords == 0 {
		return "-"
	}
	return behind(f.ETASeconds)
}

// behind is a number of seconds; ? where it is not known.
func behind(s *float64) string {
	if s == nil {
		return "?"
	}
	return span(seconds(*s))
}

// graph draws the lag of the last hour, the newest on the right: each column the most of its time, as a share of the most of all.
// Time of which nothing is known is left blank.
func graph(history []web.Point, now time.Time) string {
	const hour = 3600
	bars := []rune("▁▂▃▄▅▆▇█")
	most := int64(1)
	columns := make([]int64, topGraph)
	for i := range columns {
		columns[i] = -1
	}
	for _, p := range history {
		ago := now.Unix() - p[0]
		if ago < 0 || ago >= hour || p[1] < 0 {
			continue
		}
		i := topGraph - 1 - int(ago*topGraph/hour)
		columns[i] = max(columns[i], p[1])
		most = max(most, p[1])
	}
	var b strings.Builder
	for _, n := range columns {
		if n < 0 {
			b.WriteByte(' ')
			continue
		}
		b.WriteRune(bars[n*int64(len(bars)-1)/most])
	}
	return strings.TrimRight(b.String(), " ")
}

// mergeTopics adds up what replicas have of the topics, those first that lack most; what is not known is most of all.
func mergeTopics(all []web.Topics) (out []web.Topic) {
	at := map[[2]string]int{} // in out, by flow and topic
	for _, one := range all {
		for _, t := range one.Topics {
			key := [2]string{t.Flow, t.Topic}
			i, ok := at[key]
			if !ok {
				at[key] = len(out)
				out = append(out, t)
				continue
			}
			x := &out[i]
			add(x.Lanes, t.Lanes)
			x.LagRecords = either(x.LagRecords, t.LagRecords, func(a, b int64) int64 { return a + b })
			x.LagSeconds = either(x.LagSeconds, t.LagSeconds, func(a, b float64) float64 { return max(a, b) })
			x.RecordsPerSecond, x.BytesPerSecond = x.RecordsPerSecond+t.RecordsPerSecond, x.BytesPerSecond+t.BytesPerSecond
			x.History = addHistory(x.History, t.History)
		}
	}
	lag := func(t *web.Topic) int64 {
		if t.LagRecords == nil {
			return 1<<63 - 1
		}
		return *t.LagRecords
	}
	slices.SortStableFunc(out, func(a, b web.Topic) int {
		return cmp.Or(cmp.Compare(lag(&b), lag(&a)), cmp.Compare(a.Flow, b.Flow), cmp.Compare(a.Topic, b.Topic))
	})
	return out
}

// addHistory adds points up that are of the same ten seconds: replicas look at different moments.
func addHistory(a, b []web.Point) []web.Point {
	const step = 10
	sum := map[int64]int64{}
	for _, p := range slices.Concat(a, b) {
		if p[1] >= 0 {
			sum[p[0]/step] += p[1]
		}
	}
	out := make([]web.Point, 0, len(sum))
	for at, n := range sum {
		out = append(out, web.Point{at * step, n})
	}
	slices.SortFunc(out, func(a, b web.Point) int { return cmp.Compare(a[0], b[0]) })
	return out
}
