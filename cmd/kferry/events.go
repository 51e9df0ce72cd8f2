package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/kferry/kferry/internal/web"
)

// How often followers ask.
const eventsEvery = time.Second

type eventsOptions struct {
	asked
	flow         string
	follow, json bool
}

func newEventsCommand() *cobra.Command {
	var o eventsOptions
	cmd := &cobra.Command{
		Use:   "events",
		Short: "List what has happened in a running kferry",
		Long: `List what has happened in the kferry that runs beside, the oldest first: lanes that
stopped or went on, topics found and made, pauses, clusters that went away and
came back, lanes that moved between replicas, losses, and what people had it do.
It remembers the last 1,000 events since it started.

With --follow it goes on with what comes, until Ctrl-C.

It asks the address of http.listen in the configuration, or --url, which needs
no configuration. Give --url several times to have the events of several replicas
together.

Exit codes: 0 listed, also when there is none, or stopped as asked; 1 no kferry
answers there; 2 wrong use; 3 configuration invalid. While it follows, a kferry
that does not answer any more is waited for.`,
		Example: `  kferry events -c kferry.yaml
  kferry events --flow old-new --follow
  kferry events --url http://10.0.0.7:9464 --json | jq 'select(.level == "error")'`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := o.find(cmd); err != nil {
				return err
			}
			return o.run(cmd.Context(), processOf(cmd))
		},
	}
	o.flags(cmd)
	f := cmd.Flags()
	f.StringVar(&o.flow, "flow", "", "only events of the flow with this `name`")
	f.BoolVarP(&o.follow, "follow", "f", false, "go on with what comes")
	f.BoolVar(&o.json, "json", false, "print each event as a line of JSON, as docs/api.md describes it")
	return cmd
}

func (o eventsOptions) run(ctx context.Context, p *process) error {
	after := make([]uint64, len(o.urls)) // the last that was seen, by daemon
	events, err := o.news(ctx, after)
	if writeErr := o.write(p.stdout, events); writeErr != nil || err != nil || !o.follow {
		return cmp.Or(writeErr, err)
	}
	t := time.NewTicker(eventsEvery)
	defer t.Stop()
	for said := false; ; {
		select {
		case <-t.C:
		case <-ctx.Done():
			return nil
		}
		events, err := o.news(ctx, after)
		if err != nil && !said && ctx.Err() == nil {
			fmt.Fprintf(p.stderr, "kferry: %s; trying on\n", oneLine(err.Error()))
		}
		said = err != nil
		if err := o.write(p.stdout, events); err != nil {
			return err
		}
	}
}

// news asks every daemon for what came after the last event that was seen of it, and takes note of that. The error is of those that do not answer.
func (o eventsOptions) news(ctx context.Context, after []uint64) (all []web.Event, err error) {
	var failed []error
	for i, base := range o.urls {
		query := url.Values{"after": {strconv.FormatUint(after[i], 10)}}
		if o.flow != "" {
			query.Set("flow", o.flow)
		}
		var one web.Events
		if err := ask(ctx, base, web.EventsPath, query, &one); err != nil {
			failed = append(failed, err)
			continue
		}
		after[i] = one.Next
		all = append(all, one.Events...)
	}
	if len(o.urls) > 1 { // one alone is in order
		slices.SortStableFunc(all, func(a, b web.Event) int { return cmp.Compare(a.At.UnixNano(), b.At.UnixNano()) })
	}
	return all, errors.Join(failed...)
}

func (o eventsOptions) write(w io.Writer, events []web.Event) error {
	var b strings.Builder
	lines := json.NewEncoder(&b)
	for _, e := range events {
		if o.json {
			if err := lines.Encode(e); err != nil {
				return err
			}
			continue
		}
		text := strings.TrimPrefix(about(e.Flow, e.Topic, e.Partition)+": "+oneLine(e.Text), ": ")
		fmt.Fprintf(&b, "%s  %-5s  %s\n", e.At.UTC().Format("2006-01-02 15:04:05Z"), e.Level, text)
	}
	_, err := io.WriteString(w, b.String())
	return err
}
