package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/kferry/kferry/config"
	"github.com/kferry/kferry/internal/aiven"
	"github.com/kferry/kferry/internal/kafka"
	"github.com/kferry/kferry/replicator"
)

type handoverOptions struct {
	config, to     string
	dryRun, yes    bool
	noWrite, twice bool
	timeout        time.Duration
}

func newAivenHandoverCommand() *cobra.Command {
	var o handoverOptions
	cmd := &cobra.Command{
		Use:   "handover FLOW --to kferry|aiven",
		Short: "Move a flow from Aiven's MirrorMaker 2 to kferry, or back",
		Long: `Move a flow from one engine to the other, which goes on where the first got to.
The two never carry it at the same time.

To kferry: the flow is disabled at Aiven; the command waits until MirrorMaker 2
stands still, which its tasks' states and the offsets on the target tell, and
compares in each partition the last record on the target with the one that
MirrorMaker 2's position names. Then the flow's engine in the configuration
becomes kferry, with takeover: aiven. Start kferry, or start it again.

To aiven: stop kferry first; the command waits for it. What is missing at Aiven is
made, with the flow disabled; kferry's progress is written as MirrorMaker 2's
positions; the engine in the configuration becomes aiven; the flow is enabled.

It may be interrupted anywhere, and run again: each step looks first whether it is
done. While it is under way nobody carries the flow. Records are not lost by that,
they come later.

Our users need what kferry needs, and besides on the target Read on
mm2-offsets.SOURCE.internal and mm2-status.SOURCE.internal (without the latter it
waits a minute longer), Write on the former for the way back, and Read on the
offset syncs, where those are.

Exit codes: 0 done; 7 there is something to do (--dry-run); 1 refused, with the
reason, or the answer was no, or the time is over; 2 wrong use; 3 configuration
invalid; 4 a cluster, or Aiven, refuses for good.`,
		Example: `  kferry aiven handover clicks --to kferry --dry-run
  kferry aiven handover clicks --to kferry && kferry run
  kferry aiven handover clicks --to aiven --yes`,
		Args: oneFlow,
		RunE: func(cmd *cobra.Command, args []string) error {
			if o.to != config.EngineKferry && o.to != config.EngineAiven {
				return usageError{fmt.Errorf("--to %q: it must be kferry or aiven", o.to)}
			}
			h, err := newHandover(cmd, o, args[0])
			if err != nil {
				return err
			}
			defer h.close()
			ctx, cancel := context.WithTimeout(cmd.Context(), o.timeout)
			defer cancel()
			return h.run(ctx)
		},
	}
	configFlag(cmd, &o.config)
	cmd.Flags().StringVar(&o.to, "to", "", "the `engine` that is to carry the flow: kferry or aiven")
	cmd.Flags().BoolVar(&o.dryRun, "dry-run", false, "show what would be done, and do nothing")
	cmd.Flags().BoolVar(&o.yes, "yes", false, "do not ask")
	cmd.Flags().BoolVar(&o.noWrite, "no-write", false, "say what to change in the configuration, and leave the file as it is")
	cmd.Flags().BoolVar(&o.twice, "allow-duplicates", false, "go on also where records may be twice, or where that cannot be told")
	cmd.Flags().DurationVar(&o.timeout, "timeout", 30*time.Minute, "how long it may take")
	return cmd
}

func oneFlow(cmd *cobra.Command, args []string) error {
	if len(args) != 1 {
		return fmt.Errorf("%q takes the name of one flow, but was given %d", cmd.CommandPath(), len(args))
	}
	return nil
}

// handover is one flow on its way.
type handover struct {
	o              handoverOptions
	stdin          io.Reader
	stdout, stderr io.Writer
	clock          aiven.Clock
	client         *aiven.Client
	now            *config.Config // as the file is
	then           *config.Config // as it is to be
	content        []byte         // of the file then
	flow           config.Flow    // as it is to be
	source, target *kafka.Cluster
}

func newHandover(cmd *cobra.Command, o handoverOptions, name string) (*handover, error) {
	p := processOf(cmd)
	h := &handover{o: o, stdin: cmd.InOrStdin(), stdout: cmd.OutOrStdout(), stderr: cmd.ErrOrStderr(), clock: p.clock}
	var err error
	if h.now, h.client, err = aivenOf(cmd, o.config); err != nil {
		return nil, err
	}
	if h.now.Aiven.MirrorMaker.Name == "" {
		return nil, h.now.ErrorAt([]string{"aiven", "mirrormaker"}, "", "is missing: it says which service at Aiven carries the flow, or is to")
	}
	if _, err := flowNamed(h.now, name); err != nil {
		return nil, err
	}
	if err := h.change(loadOptions(cmd), name); err != nil {
		return nil, err
	}
	if h.flow, err = flowNamed(h.then, name); err != nil {
		return nil, err
	}
	if err := reachable(&config.Config{Clusters: h.then.Clusters, Flows: []config.Flow{h.flow}}); err != nil {
		return nil, err
	}
	log, err := newLogger(p.stderr, h.now.Log)
	if err != nil {
		return nil, err
	}
	if h.source, err = kafka.Open(h.then.Clusters[h.flow.Source], kafka.Options{Logger: log}); err != nil {
		return nil, err
	}
	if h.target, err = kafka.Open(h.then.Clusters[h.flow.Target], kafka.Options{Logger: log}); err != nil {
		h.source.Close()
	}
	return h, err
}

func (h *handover) close() {
	h.source.Close()
	h.target.Close()
}

// change works out what the configuration is to be.
func (h *handover) change(o config.LoadOptions, name string) error {
	content, err := os.ReadFile(h.o.config)
	if err != nil {
		return err
	}
	n := slices.IndexFunc(h.now.Flows, func(f config.Flow) bool { return f.Name == name })
	if h.content, err = config.SetEngine(content, n, h.o.to, h.takeover()); err != nil {
		return fmt.Errorf("%s %w", h.o.config, err)
	}
	if h.then, err = config.Parse(h.o.config, h.content, o); err != nil {
		return err
	}
	if h.then.Flows[n].Engine != h.o.to {
		return h.then.ErrorAt(append(h.then.FlowPath(name), "engine"), h.then.Flows[n].Engine, "comes from elsewhere than the file: change it there")
	}
	return nil
}

// takeover is what the flow's key of that name is to be.
func (h *handover) takeover() string {
	if h.o.to == config.EngineAiven {
		return ""
	}
	return "aiven"
}

func (h *handover) tell(format string, args ...any) {
	fmt.Fprintln(h.stderr, oneLine(fmt.Sprintf(format, args...)))
}

func (h *handover) run(ctx context.Context) error {
	for _, c := range []*kafka.Cluster{h.source, h.target} {
		if err := c.Ping(ctx); err != nil {
			return err
		}
	}
	left, err := replicator.ReadLeft(ctx, h.source, h.target, h.asOurs())
	if err != nil {
		return fmt.Errorf("what MirrorMaker 2 has left behind cannot be read, so nothing was done: %w", err)
	}
	if h.o.to == config.EngineAiven {
		return h.toAiven(ctx)
	}
	return h.toKferry(ctx, left)
}

// asOurs is the flow as kferry carries it after Aiven.
func (h *handover) asOurs() config.Flow {
	f := h.flow
	f.Engine, f.Takeover = config.EngineKferry, "aiven"
	return f
}

// service is the MirrorMaker 2 service.
func (h *handover) service() string { return h.now.Aiven.MirrorMaker.Name }

// already tells whether the file says what it is to say.
func (h *handover) already() bool {
	i := slices.IndexFunc(h.now.Flows, func(f config.Flow) bool { return f.Name == h.flow.Name })
	return h.now.Flows[i].Engine == h.flow.Engine && h.now.Flows[i].Takeover == h.flow.Takeover
}

// enabled tells whether Aiven's MirrorMaker 2 carries the flow.
func (h *handover) enabled(ctx context.Context) (bool, error) {
	flows, err := h.client.Replications(ctx, h.service())
	for _, f := range flows {
		if f.Source == h.flow.Source && f.Target == h.flow.Target && f.Enabled {
			return true, err
		}
	}
	return false, err
}

func (h *handover) toKferry(ctx context.Context, left *replicator.Left) error {
	on, err := h.enabled(ctx)
	if err != nil {
		return err
	}
	if !on && h.already() && left.Ours() {
		h.tell("kferry carries the flow already; nothing to do")
		return nil
	}
	err = h.agree(left, "disable the flow at Aiven, and wait until its MirrorMaker 2 stands still",
		"compare its positions with the records on both sides", "have kferry forget what it stored of partitions that MirrorMaker 2 has carried on",
		h.fileStep())
	if err != nil {
		return err
	}
	h.tell("flow %s -> %s of service %s: disable", h.flow.Source, h.flow.Target, h.service())
	if err := h.client.Disable(ctx, h.service(), h.flow.Source, h.flow.Target, h.o.timeout); err != nil {
		return err
	}
	if left, err = h.stand(ctx); err != nil {
		return err
	}
	if err := h.compare(ctx, left); err != nil {
		return err
	}
	if behind := left.Behind(); len(behind) > 0 {
		h.tell("what kferry stored of %s is of before: forget it", plural(len(behind), "partition"))
		if err := replicator.Forget(ctx, h.target, h.flow, behind); err != nil {
			return err
		}
	}
	if err := h.write(); err != nil {
		return err
	}
	_, err = fmt.Fprintf(h.stdout, "kferry carries %s from its next start on: kferry run -c %s\n", h.flow.Name, h.o.config)
	return err
}

// fileStep says what becomes of the configuration.
func (h *handover) fileStep() string {
	what := fmt.Sprintf("set engine: %s", h.o.to)
	if t := h.takeover(); t != "" {
		what += " and takeover: " + t
	} else {
		what += ", without takeover,"
	}
	what += fmt.Sprintf(" for the flow %s in %s", h.flow.Name, h.o.config)
	if h.o.noWrite {
		what = "leave it to you to " + what
	}
	return what
}

// agree shows what is going to be done, and asks.
func (h *handover) agree(left *replicator.Left, steps ...string) error {
	var b strings.Builder
	fmt.Fprintf(&b, "flow %s, %s -> %s, to %s:\n", h.flow.Name, h.flow.Source, h.flow.Target, h.o.to)
	for i, s := range steps {
		fmt.Fprintf(&b, "  %d. %s\n", i+1, s)
	}
	if left != nil {
		t := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
		fmt.Fprintln(t, "TOPIC\tPARTITION\tMIRRORMAKER 2 AT\tKFERRY AT\tTARGET ENDS")
		for _, l := range left.Lanes {
			fmt.Fprintf(t, "%s\t%d\t%s\t%s\t%s\n", plain(l.Topic), l.Partition, offsetText(l.Next), offsetText(l.Own), offsetText(l.End))
		}
		if err := t.Flush(); err != nil {
			return err
		}
	}
	if _, err := io.WriteString(h.stdout, b.String()); err != nil {
		return err
	}
	switch {
	case h.o.dryRun:
		return fmt.Errorf("%w: %s", errTodo, plural(len(steps), "step"))
	case !h.o.yes && !agreed(h.stdin, h.stderr, fmt.Sprintf("Hand %s over to %s?", h.flow.Name, h.o.to)):
		return errors.New("nothing was changed: the answer was not yes")
	}
	return nil
}

func offsetText(n int64) string {
	if n < 0 {
		return "-"
	}
	return thousands(n)
}

const (
	standPoll  = 2 * time.Second
	standLooks = 3                // so many looks without a change, where the tasks' states tell that they have ended
	standQuiet = 60 * time.Second // without a change, where nothing tells
)

// stand waits until MirrorMaker 2, which was told to stop, stands still.
func (h *handover) stand(ctx context.Context) (*replicator.Left, error) {
	var last *replicator.Left
	since, looks, told := h.clock.Now(), 0, ""
	for {
		left, err := replicator.ReadLeft(ctx, h.source, h.target, h.asOurs())
		if err != nil {
			return nil, err
		}
		now := h.clock.Now()
		if looks++; !left.Same(last) {
			since, looks = now, 1
		}
		last = left
		var why string
		switch {
		case left.Working > 0:
			why = fmt.Sprintf("%s of MirrorMaker 2 may still write", plural(left.Working, "task"))
		case left.Open > 0:
			why = fmt.Sprintf("transactions are open in %s of the target; its brokers end those that nobody ends", plural(left.Open, "partition"))
		case left.Working < 0 && now.Sub(since) < standQuiet:
			why = fmt.Sprintf("whether the tasks of MirrorMaker 2 have ended cannot be seen (%v): no offset must move for %v", left.Why, standQuiet)
		case looks < standLooks:
			why = "offsets must not move"
		default:
			return left, nil
		}
		if why != told {
			h.tell("waiting: %s", why)
			told = why
		}
		if err := h.sleep(ctx, why); err != nil {
			return nil, err
		}
	}
}

// sleep waits a little; its error says for what.
func (h *handover) sleep(ctx context.Context, why string) error {
	if err := h.clock.Sleep(ctx, standPoll); err != nil {
		return fmt.Errorf("%s: %w; what is done stays done, run it again and it goes on from there", why, err)
	}
	return nil
}

// compare refuses where records would be twice.
func (h *handover) compare(ctx context.Context, left *replicator.Left) error {
	doubts, err := left.Doubts(ctx, h.source, h.target)
	if err != nil {
		return err
	}
	for _, d := range doubts {
		h.tell("topic %s partition %d: %s", d.Topic, d.Partition, d.Text)
	}
	switch {
	case len(doubts) == 0:
		h.tell("compared: in each partition the target ends with the record that MirrorMaker 2's position names")
	case h.o.twice:
		h.tell("going on all the same (--allow-duplicates)")
	default:
		return fmt.Errorf("in %s records may be twice, so the flow stays where it is, disabled: have MirrorMaker 2 store its positions by enabling the flow (kferry aiven apply) and run this again once it has caught up, or go on with --allow-duplicates",
			plural(len(doubts), "partition"))
	}
	return nil
}

// write puts the new content into the configuration, or says what it is.
func (h *handover) write() error {
	switch {
	case h.already():
		return nil
	case h.o.noWrite:
		_, err := fmt.Fprintf(h.stdout, "change %s: %s\n", h.o.config, strings.TrimPrefix(h.fileStep(), "leave it to you to "))
		return err
	}
	if err := replaceFile(h.o.config, h.content); err != nil {
		return fmt.Errorf("the configuration cannot be written (%w): %s yourself, the rest is done", err, h.fileStep())
	}
	h.tell("%s: engine: %s", h.o.config, h.o.to)
	return nil
}

// mayGo checks how the flow is at Aiven before it goes there; done: it is there.
func (h *handover) mayGo(ctx context.Context) (done bool, err error) {
	if !h.flow.Aiven.Enabled {
		return false, h.then.ErrorAt(append(h.then.FlowPath(h.flow.Name), "aiven", "enabled"), "false", "would leave the flow to nobody: take it out")
	}
	on, err := h.enabled(ctx)
	switch {
	case err != nil || !on:
		return false, err
	case h.already():
		h.tell("Aiven's MirrorMaker 2 carries the flow already; nothing to do")
		return true, nil
	}
	return false, fmt.Errorf("the flow %s -> %s is enabled at Aiven, though the configuration has engine kferry for its topics %s: \"kferry aiven handover %s --to kferry\" sets that right first",
		h.flow.Source, h.flow.Target, strings.Join(h.flow.Topics, ", "), h.flow.Name)
}

func (h *handover) toAiven(ctx context.Context) error {
	want, err := aiven.WantOf(h.then)
	if err != nil {
		return err
	}
	if done, err := h.mayGo(ctx); done || err != nil {
		return err
	}
	resting := want.With(h.flow.Name, false)
	plan, err := h.client.Plan(ctx, resting, false)
	if err == nil {
		err = plan.Blocked()
	}
	if err != nil {
		return err
	}
	err = h.agree(nil, "wait until kferry, which you stop, carries the flow no more",
		fmt.Sprintf("make at Aiven what is missing (%s), with the flow disabled", plural(plan.Todo(), "step")),
		"write kferry's progress as MirrorMaker 2's positions", h.fileStep(), "enable the flow at Aiven")
	if err != nil {
		return err
	}
	if err := h.apply(ctx, resting); err != nil {
		return err
	}
	if err := h.export(ctx); err != nil {
		return err
	}
	if err := h.write(); err != nil {
		return err
	}
	if h.o.noWrite && !h.already() {
		return fmt.Errorf("%w: change the configuration, and run this again: it enables the flow then", errTodo)
	}
	if err := h.apply(ctx, want); err != nil {
		return err
	}
	_, err = fmt.Fprintf(h.stdout, "Aiven's MirrorMaker 2 carries %s: kferry aiven status -c %s\n", h.flow.Name, h.o.config)
	return err
}

func (h *handover) apply(ctx context.Context, want *aiven.Want) error {
	run := aiven.Apply{Client: h.client, Want: want, Timeout: h.o.timeout, Tell: func(line string) { h.tell("%s", line) }}
	_, err := run.Run(ctx)
	return err
}

// export waits until kferry has stopped, and hands its progress over.
func (h *handover) export(ctx context.Context) error {
	for told := false; ; told = true {
		left, err := h.stand(ctx)
		if err != nil {
			return err
		}
		e, err := replicator.ExportAiven(ctx, h.target, h.asOurs(), left, false)
		if err == nil {
			h.exported(e)
			return nil
		}
		if !errors.Is(err, replicator.ErrCarried) {
			return err
		}
		if !told {
			h.tell("waiting: %v", err)
		}
		if err := h.sleep(ctx, err.Error()); err != nil {
			return err
		}
	}
}

func (h *handover) exported(e replicator.Exported) {
	h.tell("%s written for connector %s to topic %s", plural(len(e.Lanes), "position"), e.Connector, e.Topic)
	if n := len(e.Later); n > 0 {
		h.tell("%s where MirrorMaker 2 has carried since kferry did: its own position stays", plural(n, "partition"))
	}
	if n := len(e.Empty); n > 0 {
		h.tell("%s carried nothing yet: MirrorMaker 2 begins where it always does", plural(n, "lane"))
	}
}
