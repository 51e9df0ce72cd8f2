package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/kferry/kferry/internal/web"
	"github.com/kferry/kferry/replicator/lane"
)

type lanesOptions struct {
	asked
	flow, state string
	json        bool
}

func newLanesCommand() *cobra.Command {
	var o lanesOptions
	cmd := &cobra.Command{
		Use:   "lanes",
		Short: "List the lanes of a running kferry",
		Long: `List the lanes of the kferry that runs beside, and count them by state. A lane is
one partition on its way: its state, how far it is on both sides, how much the
target lacks, and where it cannot go on, why and what to do.

It asks the address of http.listen in the configuration, or --url, which needs
no configuration. Replicas that share flows each answer for their own lanes: give
--url once for each of them.

Exit codes: 0 listed, also when there is none; 1 no kferry answers there;
2 wrong use; 3 configuration invalid.`,
		Example: `  kferry lanes -c kferry.yaml
  kferry lanes --flow old-new --state stopped
  kferry lanes --url http://10.0.0.7:9464 --json`,
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
	f.StringVar(&o.flow, "flow", "", "only the lanes of the flow with this `name`")
	f.StringVar(&o.state, "state", "", "only lanes in this `state`: "+strings.Join(laneStates(), ", "))
	f.BoolVar(&o.json, "json", false, "print JSON, as docs/api.md describes it")
	return cmd
}

func laneStates() []string {
	names := make([]string, lane.States)
	for i := range names {
		names[i] = lane.State(i).String()
	}
	return names
}

func (o lanesOptions) run(ctx context.Context, w io.Writer) error {
	if o.state != "" && !slices.Contains(laneStates(), o.state) {
		return usageError{fmt.Errorf("--state %q: must be one of %s", o.state, strings.Join(laneStates(), ", "))}
	}
	var all web.Lanes
	for _, url := range o.urls {
		var one web.Lanes
		if err := ask(ctx, url, web.LanesPath, nil, &one); err != nil {
			return err
		}
		all.Lanes = append(all.Lanes, one.Lanes...)
	}
	if len(o.urls) > 1 { // one alone is sorted, by flow as configured
		slices.SortStableFunc(all.Lanes, func(a, b web.Lane) int {
			return cmp.Or(cmp.Compare(a.Flow, b.Flow), cmp.Compare(a.Topic, b.Topic), cmp.Compare(a.Partition, b.Partition))
		})
	}
	all.Lanes = slices.DeleteFunc(all.Lanes, func(l web.Lane) bool {
		return o.flow != "" && l.Flow != o.flow || o.state != "" && l.State != o.state
	})
	if o.json {
		return writeJSON(w, all)
	}
	return writeLanes(w, all.Lanes)
}

// writeLanes prints a line for each lane, and one that counts them by state.
func writeLanes(w io.Writer, lanes []web.Lane) error {
	tab := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	if len(lanes) > 0 {
		fmt.Fprintln(tab, "FLOW\tTOPIC\tPARTITION\tSTATE\tSOURCE OFFSET\tTARGET OFFSET\tLAG\tBEHIND\tRECORDS\tBYTES\tREASON")
	}
	for _, l := range lanes {
		topic := bothNames(l.Topic, l.TargetTopic)
		lag, behind := "?", "?"
		if l.LagRecords != nil {
			lag = thousands(*l.LagRecords)
		}
		if l.LagSeconds != nil {
			behind = (time.Duration(*l.LagSeconds * float64(time.Second))).Round(time.Second).String()
		}
		fmt.Fprintf(tab, "%s\t%s\t%d\t%s\t%d\t%d\t%s\t%s\t%s\t%s\t%s\n", l.Flow, topic, l.Partition, l.State, l.SourceOffset, l.TargetOffset,
			lag, behind, thousands(l.Records), byteSize(l.Bytes), strings.Join(strings.Fields(l.Reason), " "))
	}
	if err := tab.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintln(w, countLanes(lanes))
	return err
}

// bothNames is a name on the source and, where there is another one, on the target.
func bothNames(source, target string) string {
	if target == source || target == "" {
		return source
	}
	return source + " -> " + target
}

// countLanes is the totals on one line: "3 lanes: 2 running, 1 stopped; 1,200 records behind".
func countLanes(lanes []web.Lane) string {
	states := map[string]int{}
	lag := int64(0)
	for _, l := range lanes {
		states[l.State]++
		if l.LagRecords != nil {
			lag += *l.LagRecords
		}
	}
	if len(lanes) == 0 {
		return "0 lanes"
	}
	names := make([]string, 0, len(states))
	for name := range states {
		names = append(names, name)
	}
	slices.SortFunc(names, func(a, b string) int {
		return cmp.Compare(slices.Index(laneStates(), a), slices.Index(laneStates(), b))
	})
	for i, name := range names {
		names[i] = fmt.Sprintf("%d %s", states[name], name)
	}
	return fmt.Sprintf("%s: %s; %s behind", plural(len(lanes), "lane"), strings.Join(names, ", "), thousands(lag)+" records")
}
