package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/kferry/kferry/config"
	"github.com/kferry/kferry/internal/web"
	"github.com/kferry/kferry/replicator/lane"
)

// lanesTimeout bounds how long a daemon may take to answer; it only reads its memory.
const lanesTimeout = 10 * time.Second

// shown is a daemon as the web server sees it.
type shown struct{ daemon }

// Lanes implements web.Source.
func (s shown) Lanes() (out []web.Lane) {
	for _, f := range s.Status().Flows {
		for _, l := range f.Lanes {
			row := web.Lane{
				Flow: f.Name, Topic: l.Topic, TargetTopic: l.TargetTopic, Partition: l.Partition, State: l.State, Reason: l.Reason,
				SourceOffset: l.Position, TargetOffset: l.TargetPosition, Records: l.Records, Bytes: l.Bytes,
			}
			if l.Lag >= 0 {
				row.LagRecords, row.LagSeconds = &l.Lag, &l.LagSeconds
			}
			out = append(out, row)
		}
	}
	return out
}

type lanesOptions struct {
	config, url string
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
no configuration.

Exit codes: 0 listed, also when there is none; 1 no kferry answers there;
2 wrong use; 3 configuration invalid.`,
		Example: `  kferry lanes -c kferry.yaml
  kferry lanes --flow old-new --state stopped
  kferry lanes --url http://10.0.0.7:9464 --json`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if o.url == "" {
				cfg, err := config.Load(o.config, loadOptions(cmd))
				if err != nil {
					return err
				}
				if o.url, err = daemonURL(cfg.HTTP.Listen); err != nil {
					return err
				}
			}
			return o.run(cmd.Context(), cmd.OutOrStdout())
		},
	}
	configFlag(cmd, &o.config)
	f := cmd.Flags()
	f.StringVar(&o.url, "url", "", "where kferry listens, http://host:port; instead of http.listen of the configuration")
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

// daemonURL is where a daemon with that http.listen answers, from the same machine.
func daemonURL(listen string) (string, error) {
	if listen == "" || listen == "off" {
		return "", errors.New("http.listen is off, so a running kferry cannot be asked: set it to a host:port and start kferry again, or give --url")
	}
	host, port, err := net.SplitHostPort(listen)
	if err != nil {
		return "", fmt.Errorf("http.listen %q: %w", listen, err)
	}
	if ip, err := netip.ParseAddr(host); host == "" || err == nil && ip.IsUnspecified() {
		host = "localhost" // it listens on every interface
	}
	return "http://" + net.JoinHostPort(host, port), nil
}

func (o lanesOptions) run(ctx context.Context, w io.Writer) error {
	if o.state != "" && !slices.Contains(laneStates(), o.state) {
		return usageError{fmt.Errorf("--state %q: must be one of %s", o.state, strings.Join(laneStates(), ", "))}
	}
	all, err := askLanes(ctx, o.url)
	if err != nil {
		return err
	}
	all.Lanes = slices.DeleteFunc(all.Lanes, func(l web.Lane) bool {
		return o.flow != "" && l.Flow != o.flow || o.state != "" && l.State != o.state
	})
	if o.json {
		e := json.NewEncoder(w)
		e.SetIndent("", "  ")
		return e.Encode(all)
	}
	return writeLanes(w, all.Lanes)
}

// askLanes asks the daemon at url.
func askLanes(ctx context.Context, url string) (web.Lanes, error) {
	var all web.Lanes
	ctx, cancel := context.WithTimeout(ctx, lanesTimeout)
	defer cancel()
	at := strings.TrimSuffix(url, "/") + web.LanesPath
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, at, nil)
	if err != nil || req.URL.Host == "" {
		return all, usageError{fmt.Errorf("--url %q: must be http://host:port", url)}
	}
	resp, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(req)
	if err != nil {
		return all, fmt.Errorf("no kferry answers: %w: is \"kferry run\" running there? http.listen of its configuration, or --url, says where it is asked", err)
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return all, fmt.Errorf("%s answers %q: it is no kferry, or one older than this command", at, resp.Status)
	}
	if err := json.NewDecoder(resp.Body).Decode(&all); err != nil {
		return all, fmt.Errorf("%s does not answer as kferry does: %w", at, err)
	}
	return all, nil
}

// writeLanes prints a line for each lane, and one that counts them by state.
func writeLanes(w io.Writer, lanes []web.Lane) error {
	tab := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	if len(lanes) > 0 {
		fmt.Fprintln(tab, "FLOW\tTOPIC\tPARTITION\tSTATE\tSOURCE OFFSET\tTARGET OFFSET\tLAG\tBEHIND\tRECORDS\tBYTES\tREASON")
	}
	for _, l := range lanes {
		topic := l.Topic
		if l.TargetTopic != topic {
			topic += " -> " + l.TargetTopic
		}
		lag, behind := "?", "?"
		if l.LagRecords != nil && l.LagSeconds != nil {
			lag = thousands(*l.LagRecords)
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
