package main

import (
	"cmp"
	"context"
	"encoding/csv"
	"fmt"
	"io"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"

	"github.com/spf13/cobra"

	"github.com/kferry/kferry/internal/web"
	"github.com/kferry/kferry/replicator"
)

// Offsets implements web.Source.
func (s shown) Offsets() []web.Offset {
	rows := s.daemon.Offsets()
	out := make([]web.Offset, len(rows))
	for i := range rows {
		r := &rows[i]
		out[i] = web.Offset{
			Flow: r.Flow, Group: r.Group, TargetGroup: r.TargetGroup, Topic: r.Topic, TargetTopic: r.TargetTopic, Partition: r.Partition,
			SourceOffset: known(r.SourceOffset), TargetOffset: known(r.TargetOffset), Verdict: r.Verdict, Reason: r.Reason,
			RecordsAgain: known(r.RecordsAgain), LagRecords: known(r.Lag), At: r.At,
		}
	}
	return out
}

// Translate implements web.Source.
func (s shown) Translate(q web.Lookup) (out []web.Translation) {
	for _, t := range s.daemon.Translate(replicator.Lookup(q)) {
		out = append(out, shownTranslation(t))
	}
	return out
}

func shownTranslation(t replicator.Translation) web.Translation {
	return web.Translation{
		Flow: t.Flow, Topic: t.Topic, TargetTopic: t.TargetTopic, Partition: t.Partition,
		SourceOffset: t.SourceOffset, TargetOffset: t.TargetOffset, Found: t.Found, RecordsAgain: t.RecordsAgain, Text: t.Text,
	}
}

func newOffsetsCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "offsets",
		Short: "Where consumer groups are on both sides, and what an offset is on the other one",
		Long: `Ask a running kferry where consumer groups are on both sides, and what an offset
of one side is on the other.

A flow follows the groups that its key groups names: every groups_interval it
translates where they are on the source, and commits that on the target. So a
consumer that is stopped on the source and started on the target goes on where
it was. docs/offsets.md has the steps, and what each verdict means.

Replicas that share flows each answer for their own lanes: give --url once for
each of them.`,
	}
	cmd.AddCommand(newOffsetsShowCommand(), newOffsetsTranslateCommand(), newOffsetsExportCommand())
	return cmd
}

type offsetsShowOptions struct {
	asked
	flow, group, topic string
	verdicts           []string
	json, csv          bool
}

func newOffsetsShowCommand() *cobra.Command {
	var o offsetsShowOptions
	cmd := &cobra.Command{
		Use:   "show",
		Short: "List where consumer groups are on both sides, with a verdict for each partition",
		Long: `List where the consumer groups of the kferry that runs beside are on both sides,
partition by partition, as of the last round of the flow, and count them by
verdict. A verdict says how a consumer of the group would go on if it was stopped
on the source and started on the target now:

` + verdictHelp() + `
TARGET OFFSET is where it would begin (-: by its own auto.offset.reset), RECORDS
AGAIN how many records at most it would read again, and LAG how many it would
still have to read there.

It asks the address of http.listen in the configuration, or --url, which needs
no configuration. Replicas that share flows each answer for their own lanes: give
--url once for each of them, or what the others have is missing.

Exit codes: 0 listed, also when there is none; 1 no kferry answers there;
2 wrong use; 3 configuration invalid.`,
		Example: `  kferry offsets show -c kferry.yaml
  kferry offsets show --group billing
  kferry offsets show --verdict not_mirrored_yet,ahead_on_target,target_refuses
  kferry offsets show --url http://10.0.0.7:9464 --url http://10.0.0.8:9464 --csv`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := o.find(cmd); err != nil {
				return err
			}
			return o.run(cmd.Context(), cmd.OutOrStdout())
		},
	}
	o.flags(cmd)
	f := cmd.Flags()
	f.StringVar(&o.flow, "flow", "", "only the flow with this `name`")
	f.StringVar(&o.group, "group", "", "only the group with this `name` on the source")
	f.StringVar(&o.topic, "topic", "", "only the topic with this `name` on the source")
	f.StringSliceVar(&o.verdicts, "verdict", nil, "only rows with one of these `verdicts`, separated by commas")
	f.BoolVar(&o.json, "json", false, "print JSON, as docs/api.md describes it")
	f.BoolVar(&o.csv, "csv", false, "print CSV, with the names of the JSON in the first line")
	cmd.MarkFlagsMutuallyExclusive("json", "csv")
	return cmd
}

// verdictWords say what each verdict means, in a few words.
var verdictWords = map[string]string{
	"exact":             "at the very record it would read next on the source",
	"gap":               "the same, though the source has no record at that offset",
	"floor":             "before that record: some are read again, none is left out",
	"not_mirrored_yet":  "at the end of what is mirrored: the group is ahead of that",
	"before_first":      "at the first record that was carried: the group is before it",
	"removed_on_target": "the target has removed records that it has not read",
	"not_known":         "its lane does not tell where it is; the reason says why",
	"target_active":     "the group is in use on the target: left alone",
	"ahead_on_target":   "the group is further on the target: never moved back",
	"not_in_flow":       "the flow does not carry the topic",
	"no_commit":         "the group has no offset on the source",
	"not_authorised":    "kferry lacks a right on the group; the reason says which",
	"not_listed":        "the source shows no group that the pattern matches",
	"target_refuses":    "the target does not take the offset; the reason says why",
	"gone":              "the source has the group no more; on the target it stays",
	"failed":            "a cluster did not answer; the next round tries again",
	"not_committed":     "the flow commits nothing: sync_group_offsets is false",
}

func verdictHelp() string {
	var b strings.Builder
	for _, v := range replicator.Verdicts {
		fmt.Fprintf(&b, "  %-18s%s\n", v, verdictWords[v])
	}
	return b.String()
}

func (o offsetsShowOptions) run(ctx context.Context, w io.Writer) error {
	for _, v := range o.verdicts {
		if !slices.Contains(replicator.Verdicts, v) {
			return usageError{fmt.Errorf("--verdict %q: must be of %s", v, strings.Join(replicator.Verdicts, ", "))}
		}
	}
	rows, err := o.askOffsets(ctx, o.flow, o.group, o.topic)
	if err != nil {
		return err
	}
	if len(o.verdicts) > 0 {
		rows = slices.DeleteFunc(rows, func(r web.Offset) bool { return !slices.Contains(o.verdicts, r.Verdict) })
	}
	switch {
	case o.json:
		return writeJSON(w, web.Offsets{Offsets: rows})
	case o.csv:
		return writeOffsetsCSV(w, rows)
	}
	return writeOffsets(w, rows)
}

// askOffsets puts together the rows of all daemons; "" asks for every flow, group or topic.
func (a *asked) askOffsets(ctx context.Context, flow, group, topic string) ([]web.Offset, error) {
	query := url.Values{}
	for name, v := range map[string]string{"flow": flow, "group": group, "topic": topic} {
		if v != "" {
			query.Set(name, v)
		}
	}
	rows := []web.Offset{}
	for _, base := range a.urls {
		var one web.Offsets
		if err := ask(ctx, base, web.OffsetsPath, query, &one); err != nil {
			return nil, err
		}
		rows = append(rows, one.Offsets...)
	}
	if len(a.urls) > 1 { // one alone is sorted, by flow as configured
		rows = mergeOffsets(rows)
	}
	return rows, nil
}

// mergeOffsets sorts the rows of several replicas. Where two have the same, because a lane has moved from one to the
// other, the later one counts.
func mergeOffsets(rows []web.Offset) []web.Offset {
	place := func(a, b web.Offset) int {
		return cmp.Or(cmp.Compare(a.Flow, b.Flow), cmp.Compare(a.Group, b.Group), cmp.Compare(a.Topic, b.Topic), cmp.Compare(a.Partition, b.Partition))
	}
	slices.SortFunc(rows, func(a, b web.Offset) int { return cmp.Or(place(a, b), b.At.Compare(a.At)) })
	return slices.CompactFunc(rows, func(a, b web.Offset) bool { return place(a, b) == 0 })
}

// writeOffsets prints a line for each row, and one that counts them by verdict.
func writeOffsets(w io.Writer, rows []web.Offset) error {
	tab := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	if len(rows) > 0 {
		fmt.Fprintln(tab, "FLOW\tGROUP\tTOPIC\tPARTITION\tVERDICT\tSOURCE OFFSET\tTARGET OFFSET\tRECORDS AGAIN\tLAG\tREASON")
	}
	for _, r := range rows {
		topic, partition := bothNames(r.Topic, r.TargetTopic), strconv.Itoa(int(r.Partition))
		if r.Topic == "" { // the verdict is about the whole group
			topic, partition = "-", "-"
		}
		fmt.Fprintf(tab, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", r.Flow, bothNames(plain(r.Group), plain(r.TargetGroup)), topic, partition, r.Verdict,
			number(r.SourceOffset, "-"), number(r.TargetOffset, "-"), amount(r.RecordsAgain), amount(r.LagRecords), strings.Join(strings.Fields(r.Reason), " "))
	}
	if err := tab.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintln(w, countOffsets(rows))
	return err
}

// plain is the name of a group as it can be shown: Kafka lets it be anything, escape sequences of terminals included.
func plain(name string) string {
	if strings.ContainsFunc(name, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return strconv.Quote(name)
	}
	return name
}

// number prints n, or none where there is no number.
func number(n *int64, none string) string {
	if n == nil {
		return none
	}
	return strconv.FormatInt(*n, 10)
}

// amount prints how many records, as far as that is known.
func amount(n *int64) string {
	if n == nil {
		return "?"
	}
	return thousands(*n)
}

// countOffsets is the totals on one line: "3 partitions of 2 groups: 2 exact, 1 floor; after switching 1,200 records
// to read, at most 7 of them again; as of 2026-11-23T10:15:30Z". The time is that of the oldest row.
func countOffsets(rows []web.Offset) string {
	if len(rows) == 0 {
		return "0 partitions of groups; a flow follows those that its key groups names"
	}
	type group struct{ flow, name string }
	groups, verdicts := map[group]bool{}, map[string]int{}
	var lag, again int64
	unknown, at := 0, rows[0].At
	for _, r := range rows {
		groups[group{r.Flow, r.Group}] = true
		verdicts[r.Verdict]++
		if r.RecordsAgain != nil {
			again += *r.RecordsAgain
		}
		if r.LagRecords == nil {
			unknown++
		} else {
			lag += *r.LagRecords
		}
		if r.At.Before(at) {
			at = r.At
		}
	}
	text := fmt.Sprintf("%s of %s: %s; after switching %s records to read", plural(len(rows), "partition"), plural(len(groups), "group"),
		countVerdicts(verdicts), thousands(lag))
	if again > 0 {
		text += fmt.Sprintf(", at most %s of them again", thousands(again))
	}
	if unknown > 0 {
		text += fmt.Sprintf(", not known for %s", plural(unknown, "partition"))
	}
	return text + "; as of " + at.UTC().Format(time.RFC3339)
}

// countVerdicts lists those that occur, the known ones first: a newer kferry may have more.
func countVerdicts(n map[string]int) string {
	var parts []string
	for _, v := range replicator.Verdicts {
		if n[v] > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n[v], v))
		}
		delete(n, v)
	}
	for _, v := range slices.Sorted(maps.Keys(n)) {
		parts = append(parts, fmt.Sprintf("%d %s", n[v], v))
	}
	return strings.Join(parts, ", ")
}

// writeOffsetsCSV prints the fields of the JSON; what is null there is empty here.
func writeOffsetsCSV(w io.Writer, rows []web.Offset) error {
	c := csv.NewWriter(w)
	lines := [][]string{{"flow", "group", "target_group", "topic", "target_topic", "partition", "source_offset", "target_offset",
		"verdict", "reason", "records_again", "lag_records", "at"}}
	for _, r := range rows {
		lines = append(lines, []string{r.Flow, r.Group, r.TargetGroup, r.Topic, r.TargetTopic, strconv.Itoa(int(r.Partition)),
			number(r.SourceOffset, ""), number(r.TargetOffset, ""), r.Verdict, r.Reason, number(r.RecordsAgain, ""),
			number(r.LagRecords, ""), r.At.Format(time.RFC3339Nano)})
	}
	return c.WriteAll(lines)
}
