package main

import (
	"context"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/kferry/kferry/internal/kafka"
	"github.com/kferry/kferry/replicator"
)

// storedTimeout bounds the reading and writing of what is stored on the target.
const storedTimeout = 2 * time.Minute

type offsetsExportOptions struct {
	config, flow string
	dry          bool
}

func newOffsetsExportCommand() *cobra.Command {
	var o offsetsExportOptions
	cmd := &cobra.Command{
		Use:   "export-mm2 [--flow NAME] [--dry-run]",
		Short: "Hand a flow over to MirrorMaker 2, which goes on where kferry got to",
		Long: `Write how far a flow is to where MirrorMaker 2 keeps its own positions on the
target, so that it goes on there: nothing is left out, and nothing is carried
again. The key mm2 of the flow says how that MirrorMaker 2 is set up.

Stop kferry first, by SIGTERM; then export; then start MirrorMaker 2. The command
refuses while one of the two runs, and where kferry was killed, since what it
had stored then is behind what the target has.

The way from MirrorMaker 2 to kferry is the key takeover.

Exit codes: 0 exported; 1 refused, with the reason, or unexpected; 2 wrong use;
3 configuration invalid; 4 the target refuses for good.`,
		Example: `  kferry offsets export-mm2 -c kferry.yaml --flow old-new --dry-run
  kferry offsets export-mm2 -c kferry.yaml --flow old-new`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := loadOwn(cmd, o.config)
			if err != nil {
				return err
			}
			if o.flow == "" && len(cfg.Flows) == 1 {
				o.flow = cfg.Flows[0].Name
			}
			flow, err := flowNamed(cfg, o.flow)
			if err != nil {
				return err
			}
			ctx, cancel := context.WithTimeout(cmd.Context(), storedTimeout)
			defer cancel()
			return onTarget(ctx, processOf(cmd), cfg, flow, func(target *kafka.Cluster) error {
				e, err := replicator.ExportMM2(ctx, target, flow, o.dry)
				if err != nil {
					return err
				}
				return o.write(cmd.OutOrStdout(), e)
			})
		},
	}
	configFlag(cmd, &o.config)
	cmd.Flags().StringVar(&o.flow, "flow", "", "`name` of the flow; needed where the configuration has several")
	cmd.Flags().BoolVar(&o.dry, "dry-run", false, "show what would be written, and write nothing")
	return cmd
}

func (o offsetsExportOptions) write(w io.Writer, e replicator.Exported) error {
	tab := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	if len(e.Lanes) > 0 {
		fmt.Fprintln(tab, "TOPIC\tPARTITION\tGOES ON AT")
	}
	for _, l := range e.Lanes {
		fmt.Fprintf(tab, "%s\t%d\t%d\n", l.Topic, l.Partition, l.Next)
	}
	if err := tab.Flush(); err != nil {
		return err
	}
	done := "written"
	if o.dry {
		done = "would be written"
	}
	_, err := fmt.Fprintf(w, "%s for connector %s %s to topic %s\n", plural(len(e.Lanes), "position"), e.Connector, done, e.Topic)
	if n := len(e.Empty); n > 0 && err == nil {
		_, err = fmt.Fprintf(w, "%s carried nothing yet: MirrorMaker 2 begins them as its auto.offset.reset says\n", plural(n, "lane"))
	}
	return err
}
