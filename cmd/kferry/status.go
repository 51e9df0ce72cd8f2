package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/kferry/kferry/config"
	"github.com/kferry/kferry/internal/web"
)

// errUnhealthy is what a status ends with that has an error among its problems.
var errUnhealthy = errors.New("not healthy")

type statusOptions struct {
	asked
	json bool
}

func newStatusCommand() *cobra.Command {
	var o statusOptions
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Say how a running kferry is, and whether it is safe to switch",
		Long: `Say how the kferry that runs beside is: whether it is healthy and what is wrong,
its clusters, and of each flow the lanes by state, throughput, lag, when the lag
will be gone, the consumer groups, and whether producers and consumers can switch
to the target now, and if not, why.

It is healthy if nothing is wrong that keeps records from being carried: such
problems are marked error. A warning is for somebody to know. Healthy is not the
same as safe to switch: while records are on their way it is the one and not yet
the other.

It asks the address of http.listen in the configuration, or --url, which needs
no configuration. Replicas that share flows each answer for their own lanes: give
--url once for each of them, and their answers are put together. One that does
not answer is an error then.

Exit codes: 0 healthy; 6 not healthy; 1 no kferry answers there; 2 wrong use;
3 configuration invalid.`,
		Example: `  kferry status -c kferry.yaml
  kferry status --url http://10.0.0.7:9464 --url http://10.0.0.8:9464
  kferry status --json | jq '.flows[].switch'`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := o.find(cmd); err != nil {
				return err
			}
			return o.run(cmd.Context(), cmd.OutOrStdout())
		},
	}
	o.flags(cmd)
	cmd.Flags().BoolVar(&o.json, "json", false, "print JSON, as docs/api.md describes it")
	return cmd
}

func (o statusOptions) run(ctx context.Context, w io.Writer) error {
	st, err := o.askStatus(ctx)
	if err != nil {
		return err
	}
	if o.json {
		err = writeJSON(w, st)
	} else {
		err = writeStatus(w, st)
	}
	if err == nil && !st.Healthy {
		errs := slices.DeleteFunc(slices.Clone(st.Problems), func(p web.Problem) bool { return p.Severity != "error" })
		err = fmt.Errorf("%w: %s", errUnhealthy, plural(len(errs), "error"))
	}
	return err
}

// writeStatus prints one part after the other, what is wrong first.
func writeStatus(w io.Writer, st web.Status) error {
	var b strings.Builder
	fmt.Fprintln(&b, headline(st))
	for _, p := range st.Problems {
		fmt.Fprintf(&b, "  %-8s %s\n", p.Severity, problemText(p))
	}
	fmt.Fprintln(&b)
	writeClusters(&b, st)
	for i := range st.Flows {
		fmt.Fprintln(&b)
		writeFlow(&b, &st.Flows[i])
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// headline: "kferry v1.2.3 (instance a, up 2h3m): healthy".
func headline(st web.Status) string {
	health := "healthy"
	switch {
	case !st.Healthy:
		health = "NOT healthy"
	case len(st.Problems) > 0:
		health = "healthy, with warnings"
	}
	return fmt.Sprintf("kferry %s (instance %s, up %s): %s", plain(st.Version), plain(cmp.Or(st.Instance, "-")), span(st.Now.Sub(st.StartedAt)), health)
}

// problemText begins with what the problem is about.
func problemText(p web.Problem) string {
	return strings.TrimPrefix(about(p.Flow, p.Topic, p.Partition)+": "+oneLine(p.Text), ": ")
}

// about names flow, topic and partition as far as they are known.
func about(flow, topic string, partition *int32) string {
	var parts []string
	if flow != "" {
		parts = append(parts, plain(flow))
	}
	if topic != "" {
		parts = append(parts, "topic "+plain(topic))
	}
	if partition != nil {
		parts = append(parts, fmt.Sprintf("partition %d", *partition))
	}
	return strings.Join(parts, ", ")
}

func writeClusters(w io.Writer, st web.Status) {
	tab := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tab, "CLUSTER\tSTATE\tFOR")
	for _, c := range st.Clusters {
		state, since := "not asked yet", "-"
		if c.Since != nil {
			since = span(st.Now.Sub(*c.Since))
			state = "does not answer: " + oneLine(c.Error)
		}
		if c.Up {
			state = "answers"
		}
		fmt.Fprintf(tab, "%s\t%s\t%s\n", plain(c.Alias), state, since)
	}
	_ = tab.Flush() // into memory
	fmt.Fprintf(w, "memory for records: %s of %s\n", byteSize(st.Memory.Used), byteSize(st.Memory.Limit))
}

func writeFlow(w io.Writer, f *web.Flow) {
	fmt.Fprintf(w, "flow %s: %s -> %s\n", plain(f.Name), plain(f.Source), plain(f.Target))
	say := func(what, format string, args ...any) {
		fmt.Fprintf(w, "  %-9s %s\n", what, fmt.Sprintf(format, args...))
	}
	if p := f.Paused; p != nil {
		say("paused", "by %s since %s", oneLine(p.By), p.Since.UTC().Format(time.RFC3339))
	}
	say("lanes", "%s", cmp.Or(countStates(f.Lanes), "none"))
	if f.Engine == config.EngineAiven {
		say("engine", "%s", aivenText(f.Aiven))
	} else {
		say("carried", "%s records, %s; now %s records/s, %s/s", thousands(f.Records), byteSize(f.Bytes), thousands(int64(f.RecordsPerSecond)), byteSize(int64(f.BytesPerSecond)))
	}
	say("lag", "%s", lagText(f))
	if f.LostOffsets > 0 || f.PossibleDuplicates > 0 || f.DeadLetters > 0 {
		say("inexact", "%s offsets lost, at most %s records twice, %s set aside", thousands(f.LostOffsets), thousands(f.PossibleDuplicates), thousands(f.DeadLetters))
	}
	if len(f.Groups.Partitions) > 0 {
		say("groups", "partitions: %s; %d not in sync", countNamed(f.Groups.Partitions, slices.Sorted(maps.Keys(f.Groups.Partitions))), f.Groups.Unsynced)
	}
	if f.Switch.Safe {
		say("switch", "safe: the target has all that the source has at this moment")
		return
	}
	say("switch", "not safe, because")
	for _, r := range f.Switch.Reasons {
		fmt.Fprintf(w, "            - %s\n", oneLine(r))
	}
}

// aivenText: "Aiven's MirrorMaker 2, enabled, progress 50%".
func aivenText(f *web.AivenFlow) string {
	text := "Aiven's MirrorMaker 2"
	switch {
	case f == nil:
		return text + ", which does not have the flow, or does not say"
	case !f.Enabled:
		return text + ", disabled"
	case f.Progress == nil:
		return text + ", enabled"
	}
	return fmt.Sprintf("%s, enabled, progress %.0f%%", text, *f.Progress*100)
}

// lagText: "1,500 records, the oldest 1m30s old; gone in about 2m0s".
func lagText(f *web.Flow) string {
	text := "not known"
	if f.LagRecords != nil {
		text = thousands(*f.LagRecords) + " records"
		if *f.LagRecords > 0 && f.LagSeconds != nil {
			text += ", the oldest " + span(seconds(*f.LagSeconds)) + " old"
		}
		if *f.LagRecords > 0 && f.ETASeconds != nil {
			text += "; gone in about " + span(seconds(*f.ETASeconds))
		}
	}
	if f.StaleLanes > 0 {
		text += fmt.Sprintf("; stale in %s", plural(f.StaleLanes, "lane"))
	}
	return text
}

// countStates: "2 running, 1 stopped", without those that no lane is in.
func countStates(lanes map[string]int) string { return countNamed(lanes, laneStates()) }

func countNamed(counts map[string]int, order []string) string {
	var parts []string
	for _, name := range order {
		if n := counts[name]; n > 0 {
			parts = append(parts, fmt.Sprintf("%s %s", thousands(int64(n)), name))
		}
	}
	return strings.Join(parts, ", ")
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }

// span rounds a duration to what people want to know.
func span(d time.Duration) string {
	switch {
	case d < 0:
		return "0s"
	case d >= 48*time.Hour:
		return fmt.Sprintf("%dd%dh", d/(24*time.Hour), d%(24*time.Hour)/time.Hour)
	case d >= time.Hour:
		return strings.TrimSuffix(d.Round(time.Minute).String(), "0s")
	}
	return d.Round(time.Second).String()
}
