package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/spf13/cobra"

	"github.com/kferry/kferry/internal/web"
	"github.com/kferry/kferry/replicator"
)

// Trace implements web.Source.
func (s shown) Trace(q web.Lookup) (out []web.Trace) {
	for _, t := range s.daemon.Trace(replicator.Lookup(q)) {
		out = append(out, web.Trace{
			Flow: t.Flow, Topic: t.Topic, TargetTopic: t.TargetTopic, Partition: t.Partition, Offset: t.Offset, Where: t.Where,
			TargetOffset: known(t.TargetOffset), Exact: t.Exact, State: t.State, Reason: t.Reason, Text: t.Text,
		})
	}
	return out
}

type traceOptions struct {
	asked
	spot
	json bool
}

func newTraceCommand() *cobra.Command {
	var o traceOptions
	cmd := &cobra.Command{
		Use:   "trace --topic TOPIC --partition N --offset N",
		Short: "Say where one record is on its way",
		Long: `Say where the record is that has this offset on the source. It is

  carried       the target has it: at which offset, or between which two. Markers
                and aborted records of transactions are passed over: the answer
                says that the target has no record of this offset
  in_flight     sent to the target, which has not confirmed it yet
  fetched       read from the source, waits to be sent
  not_fetched   on the source, and the lane is not there yet; if the lane cannot
                go on, why
  beyond_end    the source has no such offset yet
  before_start  before the lane's first record, or gone from the source before it
                was read
  not_carried   no flow carries the topic, or the topic has no such partition; why
  unknown       this kferry does not have the partition, or is still starting

It asks the address of http.listen in the configuration, or --url, which needs
no configuration. Replicas that share flows each answer for their own lanes: give
--url once for each of them, and the one that has the partition answers.

Exit codes: 0 answered, wherever it is; 1 no kferry answers there, or none of
those asked knows; 2 wrong use; 3 configuration invalid.`,
		Example: `  kferry trace --topic pizza-orders --partition 3 --offset 120400
  kferry trace --flow old-new --topic pizza-orders --partition 3 --offset 120400 --json
  kferry trace --url http://10.0.0.7:9464 --url http://10.0.0.8:9464 --topic clicks --partition 0 --offset 0`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if o.topic == "" {
				return usageError{errors.New("--topic is empty: name a topic of the source")}
			}
			if err := o.check(); err != nil {
				return err
			}
			if err := o.find(cmd); err != nil {
				return err
			}
			return o.run(cmd.Context(), cmd.OutOrStdout())
		},
	}
	o.asked.flags(cmd)
	o.spot.flags(cmd, "on the source", "offset on the source")
	cmd.Flags().BoolVar(&o.json, "json", false, "print JSON, as docs/api.md describes it")
	for _, name := range []string{"topic", "partition", "offset"} {
		if err := cmd.MarkFlagRequired(name); err != nil {
			panic(err)
		}
	}
	return cmd
}

func (o traceOptions) run(ctx context.Context, w io.Writer) error {
	t, err := o.askTrace(ctx)
	if err != nil {
		return err
	}
	if o.json {
		return writeJSON(w, t)
	}
	return writeTrace(w, t)
}

// askTrace asks every daemon. One that has the partition knows best; one that
// carries no such topic says so, and counts only if no other says more.
func (o traceOptions) askTrace(ctx context.Context) (best web.Trace, err error) {
	query := o.query()
	var failed []error
	for _, base := range o.urls {
		var one web.Trace
		switch err := ask(ctx, base, web.TracePath, query, &one); {
		case isRefusal(err, http.StatusBadRequest):
			return best, usageError{err}
		case err != nil:
			failed = append(failed, err)
		case one.Where == replicator.TraceUnknown:
			failed = append(failed, fmt.Errorf("%s: %s", base, one.Text))
		case best.Where == "" || best.Where == replicator.TraceNotCarried:
			best = one
		}
	}
	if best.Where == "" {
		return best, errors.Join(failed...)
	}
	return best, nil
}

// writeTrace prints the answer in words, and where that is.
func writeTrace(w io.Writer, t web.Trace) error {
	var b strings.Builder
	fmt.Fprintf(&b, "topic %s, partition %d, offset %d: %s\n%s\n", plain(t.Topic), t.Partition, t.Offset, t.Where, oneLine(t.Text))
	if t.State != "" {
		fmt.Fprintf(&b, "flow %s, topic on the target %s, lane %s\n", plain(t.Flow), plain(t.TargetTopic), t.State)
	}
	_, err := io.WriteString(w, b.String())
	return err
}
