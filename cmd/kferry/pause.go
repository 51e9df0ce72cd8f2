package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"maps"
	"os"
	"os/user"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/kferry/kferry/config"
	"github.com/kferry/kferry/internal/kafka"
	"github.com/kferry/kferry/replicator/lane"
	"github.com/kferry/kferry/replicator/policy"
	"github.com/kferry/kferry/replicator/progress"
)

// pauseTimeout bounds the few requests to the target.
const pauseTimeout = 30 * time.Second

// pauseOptions are those of pause and of resume.
type pauseOptions struct{ config, flow, topic string }

func newPauseCommand() *cobra.Command {
	return pauseCommand(pauseOptions.pause, &cobra.Command{
		Use:   "pause --flow NAME [--topic TOPIC]",
		Short: "Have a flow, or one of its topics, carry nothing for now",
		Long: `Have a flow, or one of its topics, carry nothing for now. What is on its way
arrives, then the lanes rest, in state paused; their lag stays known. "kferry
resume" has them go on where they were.

The wish is stored on the target, in the flow's progress topic. Every running
kferry heeds it within seconds, and those that start later do so too. Only the
target is asked; kferry need not run.

Exit codes: 0 paused, also when it was; 1 unexpected; 2 wrong use;
3 configuration invalid; 4 the target refuses for good.`,
		Example: `  kferry pause -c kferry.yaml --flow old-new
  kferry pause -c kferry.yaml --flow old-new --topic pizza-orders`,
	})
}

func newResumeCommand() *cobra.Command {
	return pauseCommand(pauseOptions.resume, &cobra.Command{
		Use:   "resume --flow NAME [--topic TOPIC]",
		Short: "Have a paused flow, or one of its topics, go on",
		Long: `Have what "kferry pause" paused go on where it was. A flow and each of its topics
are paused and resumed on their own: while the flow is paused all of its topics
are, and a topic that was paused stays so when the flow goes on.

Exit codes: 0 resumed, also when nothing was paused; 1 unexpected; 2 wrong use;
3 configuration invalid; 4 the target refuses for good.`,
		Example: `  kferry resume -c kferry.yaml --flow old-new
  kferry resume -c kferry.yaml --flow old-new --topic pizza-orders`,
	})
}

// pauseCommand adds to cmd what the two have in common; do is what it does.
func pauseCommand(do func(pauseOptions, context.Context, io.Writer, *progress.Store) error, cmd *cobra.Command) *cobra.Command {
	var o pauseOptions
	cmd.Args = noArguments
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		cfg, err := loadOwn(cmd, o.config)
		if err != nil {
			return err
		}
		ctx, cancel := context.WithTimeout(cmd.Context(), pauseTimeout)
		defer cancel()
		return o.onTarget(ctx, processOf(cmd), cfg, func(s *progress.Store) error { return do(o, ctx, cmd.OutOrStdout(), s) })
	}
	configFlag(cmd, &o.config)
	cmd.Flags().StringVar(&o.flow, "flow", "", "`name` of the flow")
	cmd.Flags().StringVar(&o.topic, "topic", "", "only this `topic` of the source; without it the whole flow")
	if err := cmd.MarkFlagRequired("flow"); err != nil {
		panic(err)
	}
	return cmd
}

// onTarget runs do with the progress topic of the flow.
func (o pauseOptions) onTarget(ctx context.Context, p *process, cfg *config.Config, do func(*progress.Store) error) error {
	flow, err := o.find(cfg)
	if err != nil {
		return err
	}
	return onTarget(ctx, p, cfg, flow, func(target *kafka.Cluster) error {
		s, err := progress.Open(ctx, target, flow.Name, flow.ReplicationFactor)
		if err != nil {
			return err
		}
		return do(s)
	})
}

// find checks that the configuration has the flow, and that the flow would
// carry the topic: a wish for a misspelled one would never do anything.
func (o pauseOptions) find(cfg *config.Config) (config.Flow, error) {
	flow, err := flowNamed(cfg, o.flow)
	if err != nil {
		return flow, err
	}
	filter, err := policy.NewFilter(flow.Topics, flow.TopicsExclude)
	if err != nil {
		return flow, err
	}
	if o.topic != "" && !filter.Match(o.topic) {
		return flow, usageError{fmt.Errorf("--topic %q: flow %q does not carry it, its topics are %s%s", o.topic, flow.Name,
			strings.Join(flow.Topics, " "), exceptFor(flow.TopicsExclude))}
	}
	return flow, nil
}

// what names the flow or the topic in a sentence.
func (o pauseOptions) what() string {
	if o.topic == "" {
		return fmt.Sprintf("flow %q", o.flow)
	}
	return fmt.Sprintf("topic %q of flow %q", o.topic, o.flow)
}

func (o pauseOptions) pause(ctx context.Context, w io.Writer, s *progress.Store) error {
	pauses, err := s.Pauses().Read(ctx)
	if err != nil {
		return err
	}
	if old, ok := pauses[o.topic]; ok {
		_, err := fmt.Fprintf(w, "nothing to do: %s is %s\n", o.what(), old)
		return err
	}
	if err := s.Pause(ctx, o.topic, progress.Pause{At: time.Now(), By: whoami()}); err != nil {
		return err
	}
	lanes, err := o.lanes(ctx, s)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(w, "%s is paused: %s with stored progress, which let arrive what they hold and fetch no more\n", o.what(), lanes)
	return err
}

func (o pauseOptions) resume(ctx context.Context, w io.Writer, s *progress.Store) error {
	pauses, err := s.Pauses().Read(ctx)
	if err != nil {
		return err
	}
	if _, ok := pauses[o.topic]; ok {
		if err := s.Resume(ctx, o.topic); err != nil {
			return err
		}
		lanes, err := o.lanes(ctx, s)
		if err != nil {
			return err
		}
		fmt.Fprintf(w, "%s is resumed: %s with stored progress\n", o.what(), lanes)
	} else {
		fmt.Fprintf(w, "nothing to do: %s is not paused\n", o.what())
	}
	delete(pauses, o.topic)
	for _, topic := range slices.Sorted(maps.Keys(pauses)) {
		if topic == "" || o.topic == "" {
			fmt.Fprintf(w, "%s is still %s\n", pauseOptions{flow: o.flow, topic: topic}.what(), pauses[topic])
		}
	}
	return nil
}

// lanes counts those that the wish is about, as far as the target knows them.
func (o pauseOptions) lanes(ctx context.Context, s *progress.Store) (string, error) {
	records, err := s.Load(ctx, s.All())
	if err != nil {
		return "", err
	}
	maps.DeleteFunc(records, func(id lane.ID, _ progress.Record) bool { return o.topic != "" && id.Topic != o.topic })
	return plural(len(records), "lane"), nil
}

// whoami is who runs this command, for the people who find a lane paused.
func whoami() string {
	name := "somebody"
	if u, err := user.Current(); err == nil {
		name = cmp.Or(u.Username, name)
	}
	if host, err := os.Hostname(); err == nil {
		name += "@" + host
	}
	return name
}
