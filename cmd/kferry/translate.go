package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/kferry/kferry/internal/kafka"
	"github.com/kferry/kferry/internal/web"
	"github.com/kferry/kferry/replicator"
)

type offsetsTranslateOptions struct {
	asked
	spot
	reverse bool
	group   string
	stored  bool
	json    bool
}

func newOffsetsTranslateCommand() *cobra.Command {
	var o offsetsTranslateOptions
	cmd := &cobra.Command{
		Use:   "translate {--topic TOPIC --partition N --offset N | --group GROUP} [--reverse]",
		Short: "Say what an offset of the source is on the target, or the other way round",
		Long: `Say what an offset of the source is on the target: where a consumer that would
read that record next has to begin there. With --reverse topic and offset are
those of the target, and the answer is for the source. FOUND is

  exact     the very record, or the end, where the next one will be
  gap       no record that was carried has that offset; it is the next one
  floor     a place before the record: at most RECORDS AGAIN are read again from it
  before    the offset is before the first record that was carried: that one
  beyond    the offset is not carried yet: the end of what was

With --group it lists where that group is on both sides, as "kferry offsets show"
does; with --reverse too, where on the source the group goes on that has been
used on the target: set it there with the tool of your choice to go back.

It asks the address of http.listen in the configuration, or --url, which needs
no configuration. Replicas that share flows each answer for their own lanes: give
--url once for each of them, and the one that has the partition answers.

With --stored no kferry need run: the answer comes from what it has stored on the
target, which is at most ten seconds old.

Exit codes: 0 answered, whatever was found; 1 no kferry answers there, or none of
those asked has the partition; 2 wrong use; 3 configuration invalid; 4 the target
refuses for good.`,
		Example: `  kferry offsets translate --topic pizza-orders --partition 3 --offset 120400
  kferry offsets translate --flow old-new --topic pizza-orders --partition 3 --offset 120377 --reverse
  kferry offsets translate --group billing --json
  kferry offsets translate --group billing --reverse`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := o.check(cmd); err != nil {
				return err
			}
			if o.stored {
				return o.runStored(cmd)
			}
			if err := o.find(cmd); err != nil {
				return err
			}
			return o.run(cmd.Context(), cmd.OutOrStdout())
		},
	}
	o.asked.flags(cmd)
	o.spot.flags(cmd, "where the offset is", "offset")
	f := cmd.Flags()
	f.BoolVar(&o.reverse, "reverse", false, "topic and offset are on the target, the answer is for the source")
	f.StringVar(&o.group, "group", "", "where the group with this `name` is, instead of an offset")
	f.BoolVar(&o.stored, "stored", false, "answer from what kferry has stored on the target, without asking a running one")
	f.BoolVar(&o.json, "json", false, "print JSON, as docs/api.md describes it")
	return cmd
}

// check finds what is wrong with the flags together.
func (o offsetsTranslateOptions) check(cmd *cobra.Command) error {
	given := func(names ...string) (out []string) {
		for _, n := range names {
			if cmd.Flag(n).Changed {
				out = append(out, "--"+n)
			}
		}
		return out
	}
	place := given("topic", "partition", "offset")
	switch {
	case o.stored && (o.group != "" || len(o.urls) > 0):
		return usageError{errors.New("--stored goes with --topic, --partition and --offset alone: where groups are only a running kferry tells")}
	case o.group != "":
		if len(place) > 0 {
			return usageError{fmt.Errorf("--group lists where a group is: leave out %s", strings.Join(place, ", "))}
		}
	case o.topic == "" || len(place) < 3:
		return usageError{errors.New("give --topic, --partition and --offset, or --group")}
	default:
		return o.spot.check()
	}
	return nil
}

func (o offsetsTranslateOptions) run(ctx context.Context, w io.Writer) error {
	if o.group != "" && o.reverse {
		return o.groupBack(ctx, w)
	}
	if o.group != "" {
		return offsetsShowOptions{asked: o.asked, flow: o.flow, group: o.group, json: o.json}.run(ctx, w)
	}
	t, err := o.askTranslation(ctx)
	if err != nil {
		return err
	}
	if o.json {
		return writeJSON(w, t)
	}
	return writeTranslations(w, []web.Translation{t})
}

// groupBack says where on the source a group goes on that has been used on the target.
func (o offsetsTranslateOptions) groupBack(ctx context.Context, w io.Writer) error {
	rows, err := o.askOffsets(ctx, o.flow, o.group, "")
	if err != nil {
		return err
	}
	back := []web.Translation{}
	for _, r := range rows {
		if r.TargetOffset == nil || r.TargetTopic == "" {
			continue
		}
		one := offsetsTranslateOptions{
			asked: o.asked, spot: spot{r.Flow, r.TargetTopic, r.Partition, *r.TargetOffset}, reverse: true,
		}
		t, err := one.askTranslation(ctx)
		if err != nil {
			return err
		}
		back = append(back, t)
	}
	if o.json {
		return writeJSON(w, struct {
			Translations []web.Translation `json:"translations"`
		}{back})
	}
	if len(back) == 0 {
		_, err := fmt.Fprintf(w, "group %q has no offset on the target\n", o.group)
		return err
	}
	return writeTranslations(w, back)
}

// runStored answers from what is stored on the targets.
func (o offsetsTranslateOptions) runStored(cmd *cobra.Command) error {
	cfg, err := loadOwn(cmd, o.config)
	if err != nil {
		return err
	}
	if o.flow != "" {
		if _, err := flowNamed(cfg, o.flow); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithTimeout(cmd.Context(), storedTimeout)
	defer cancel()
	q := replicator.Lookup{Flow: o.flow, Topic: o.topic, Partition: o.partition, Offset: o.offset, Reverse: o.reverse}
	var found []replicator.Translation
	for _, flow := range cfg.Flows {
		if o.flow != "" && flow.Name != o.flow {
			continue
		}
		err := onTarget(ctx, processOf(cmd), cfg, flow, func(target *kafka.Cluster) error {
			ts, err := replicator.StoredTranslate(ctx, target, flow, q)
			found = append(found, ts...)
			return err
		})
		if err != nil {
			return err
		}
	}
	switch {
	case len(found) == 0:
		return fmt.Errorf("nothing is stored of partition %d of topic %q", o.partition, o.topic)
	case len(found) > 1:
		return usageError{fmt.Errorf("flows %q and %q both have partition %d of topic %q: say which with --flow", found[0].Flow, found[1].Flow, o.partition, o.topic)}
	case o.json:
		return writeJSON(cmd.OutOrStdout(), shownTranslation(found[0]))
	}
	return writeTranslations(cmd.OutOrStdout(), []web.Translation{shownTranslation(found[0])})
}

// askTranslation asks every daemon. That one does not have the partition, or does not answer, counts only if no other
// one has it.
func (o offsetsTranslateOptions) askTranslation(ctx context.Context) (t web.Translation, err error) {
	query := o.query()
	if o.reverse {
		query.Set("reverse", "true")
	}
	var found []web.Translation
	var failed []error
	for _, base := range o.urls {
		var one web.Translation
		switch err := ask(ctx, base, web.TranslatePath, query, &one); {
		case isRefusal(err, http.StatusBadRequest):
			return t, usageError{err}
		case err != nil:
			failed = append(failed, err)
		case len(found) > 0 && one.Flow != found[0].Flow:
			return t, usageError{fmt.Errorf("flows %q and %q both have partition %d of topic %q: say which with --flow", found[0].Flow, one.Flow, o.partition, o.topic)}
		default:
			found = append(found, one)
		}
	}
	if len(found) == 0 {
		return t, errors.Join(failed...)
	}
	return found[0], nil
}

func isRefusal(err error, code int) bool {
	var r refusal
	return errors.As(err, &r) && r.code == code
}

// writeTranslations prints a line for each, and what a single one means.
func writeTranslations(w io.Writer, ts []web.Translation) error {
	tab := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tab, "FLOW\tTOPIC\tPARTITION\tSOURCE OFFSET\tTARGET OFFSET\tFOUND\tRECORDS AGAIN")
	for _, t := range ts {
		fmt.Fprintf(tab, "%s\t%s\t%d\t%d\t%d\t%s\t%s\n", t.Flow, bothNames(t.Topic, t.TargetTopic), t.Partition,
			t.SourceOffset, t.TargetOffset, t.Found, thousands(t.RecordsAgain))
	}
	if err := tab.Flush(); err != nil || len(ts) != 1 {
		return err
	}
	_, err := fmt.Fprintln(w, ts[0].Text)
	return err
}
