package main

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kfake"
	"golang.org/x/sync/errgroup"

	"github.com/kferry/kferry/config"
	"github.com/kferry/kferry/internal/datagen"
	"github.com/kferry/kferry/internal/kafka"
)

const (
	demoSource, demoTarget = "source", "target"
	demoOrders, demoClicks = "pizza-orders", "pizza-clicks"

	demoBrokers   = 3               // of each cluster
	demoRefresh   = time.Second     // between two looks for new topics
	demoLater     = 4 * time.Second // until the second topic appears
	demoRedraw    = 100 * time.Millisecond
	demoPlainLine = 2 * time.Second // without a terminal
	demoArrive    = 10 * time.Second
	demoDrain     = 10 * time.Second
	demoListen    = "127.0.0.1:9464"
	demoAnyListen = "127.0.0.1:0" // when that port is taken
)

// The embedded clusters keep everything in memory, so an endless topic needs a bound: bytes of a partition.
var demoRetention, demoSegment = "8388608", "1048576"

type demoOptions struct {
	duration time.Duration // 0 = until stopped
	rate     float64
	backlog  int64
}

func newDemoCommand() *cobra.Command {
	var o demoOptions
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Watch kferry work between two embedded clusters",
		Long: `Start two embedded Kafka clusters on this machine (in this process, with
SASL/SCRAM-SHA-512 on both), write pizza orders to the first without end, and
carry them to the second. It begins with a backlog, so that the lag can be seen
going down to 0, and some seconds later a second topic appears by itself.

Nothing but this program is needed, and nothing is left behind. Ctrl-C ends it:
the writers stop, what they wrote arrives, and a last line tells whether the
target has every record.

Exit codes: 0 every record arrived; 1 unexpected, or records are missing;
2 wrong use; 5 stopped by force.`,
		Example: `  kferry demo
  kferry demo --for 10s --rate 5000`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			log := config.Log{Level: "warn", Format: "auto"}
			over := loadOptions(cmd).Overrides
			if level, ok := over["log.level"]; ok {
				log.Level = level
			}
			if format, ok := over["log.format"]; ok {
				log.Format = format
			}
			return o.run(cmd.Context(), processOf(cmd), log)
		},
	}
	cmd.Flags().DurationVar(&o.duration, "for", 0, "end by itself after this time; 0 = until stopped")
	cmd.Flags().Float64Var(&o.rate, "rate", 500, "orders a second")
	cmd.Flags().Int64Var(&o.backlog, "backlog", 200_000, "orders that are there before kferry starts")
	return cmd
}

// demo is a running demo.
type demo struct {
	o      demoOptions
	cfg    *config.Config
	source *kafka.Cluster // what the writers use
	target *kafka.Cluster // to count what arrived
	daemon daemon
	screen *screen
	log    *slog.Logger
}

func (o demoOptions) run(ctx context.Context, p *process, logging config.Log) error {
	if o.rate <= 0 || o.backlog < 0 || o.duration < 0 {
		return usageError{errors.New("--rate must be above 0, --backlog and --for 0 or more")}
	}
	scr := newScreen(p.stdout)
	if _, tty := terminal(p.stderr); tty && logging.Format == "auto" {
		logging.Format = "text" // the logger will see the screen, and not the terminal behind it
	}
	log, err := newLogger(scr.above(p.stderr), logging)
	if err != nil {
		return usageError{err}
	}
	d := &demo{o: o, screen: scr, log: log}
	cfg, stop, err := startClusters()
	if err != nil {
		return err
	}
	defer stop()
	d.cfg = cfg
	for alias, c := range map[string]**kafka.Cluster{demoSource: &d.source, demoTarget: &d.target} {
		if *c, err = kafka.Open(cfg.Clusters[alias], kafka.Options{Logger: log}); err != nil {
			return err
		}
		defer (*c).Close()
	}
	return d.run(ctx, p)
}

// startClusters makes the two clusters and the configuration for a ferry between them.
func startClusters() (*config.Config, func(), error) {
	cfg := &config.Config{
		Clusters: map[string]config.Cluster{},
		Flows: []config.Flow{{
			Name: demoSource + "-" + demoTarget, Source: demoSource, Target: demoTarget, Topics: []string{"pizza-.*"},
			Policy: "identity", Separator: ".", RefreshInterval: demoRefresh,
		}},
		HTTP:         config.HTTP{Listen: demoListen},
		MemoryBudget: 64 << 20,
	}
	var stops []func()
	stop := func() {
		for _, f := range stops {
			f()
		}
	}
	for _, alias := range []string{demoSource, demoTarget} {
		password := rand.Text()
		c, err := kfake.NewCluster(
			kfake.NumBrokers(demoBrokers),
			kfake.EnableSASL(),
			kfake.Superuser("SCRAM-SHA-512", alias+"-user", password),
			kfake.BrokerConfigs(map[string]string{"log.cleaner.backoff.ms": "10000"}),
		)
		if err != nil {
			stop()
			return nil, nil, fmt.Errorf("start the embedded cluster %s: %w", alias, err)
		}
		stops = append(stops, c.Close)
		cfg.Clusters[alias] = config.Cluster{
			Alias: alias, BootstrapServers: c.ListenAddrs(), ClientID: "kferry-demo", Connections: 1,
			SASL: config.SASL{Mechanism: "SCRAM-SHA-512", Username: alias + "-user", Password: config.Secret(password)},
		}
	}
	return cfg, stop, nil
}

// run starts the ferry and the writers, shows them, and stops them in the order that lets everything arrive.
func (d *demo) run(ctx context.Context, p *process) error {
	if d.o.backlog > 0 {
		d.screen.say("writing a backlog of %s orders ...", thousands(d.o.backlog))
		if _, err := d.write(ctx, demoOrders, d.o.backlog, 0, 1); err != nil {
			return err
		}
	}
	reg := prometheus.NewRegistry()
	var err error
	if d.daemon, err = p.openDaemon(d.cfg, d.log, reg); err != nil {
		return err
	}
	srv, err := listen(d.cfg.HTTP, acting{daemon: d.daemon}, reg, d.log)
	if err != nil {
		// Another demo, or a real kferry. The port is not what this is about.
		if srv, err = listen(config.HTTP{Listen: demoAnyListen}, acting{daemon: d.daemon}, reg, d.log); err != nil {
			return err
		}
	}
	d.screen.say("two embedded clusters: %s %s -> %s %s", demoSource, d.cfg.Clusters[demoSource].BootstrapServers[0],
		demoTarget, d.cfg.Clusters[demoTarget].BootstrapServers[0])
	d.screen.say("look at it: http://%s/, or kferry top in another terminal    Ctrl-C ends it", srv.Addr())

	begin := time.Now()
	ferryCtx, stopFerry := context.WithCancel(context.WithoutCancel(ctx))
	defer stopFerry()
	ferry := start(ferryCtx, func(ctx context.Context) error { return serve(ctx, d.daemon, srv, demoDrain, d.log) })

	writeCtx, stopWriters := context.WithCancel(ctx)
	defer stopWriters()
	writers := start(writeCtx, d.writers)

	err = d.watch(ctx, ferry, writers)
	stopWriters()
	if err != nil {
		return err
	}
	d.screen.say("stopping: the writers end, what they wrote still arrives")
	if err := <-writers; err != nil {
		return err
	}
	left := d.arrive(ctx)
	stopFerry()
	if err := <-ferry; err != nil {
		return err
	}
	d.screen.draw(topicRows(d.daemon.Status()))
	d.screen.end()
	d.screen.say("after %v: %s", time.Since(begin).Round(100*time.Millisecond), left)
	if left.missing() > 0 {
		return fmt.Errorf("%s records did not arrive within %v", thousands(left.missing()), demoArrive)
	}
	return nil
}

// write makes orders, or clicks for the other topic.
func (d *demo) write(ctx context.Context, topic string, records int64, rate float64, seed uint64) (datagen.Stats, error) {
	o := datagen.Options{
		Topic: topic, Subject: datagen.Pizza, Records: records, Rate: rate, Seed: seed, Codec: datagen.Zstd,
		CreateTopic: true, Partitions: 6, TopicConfigs: map[string]*string{
			"retention.bytes": &demoRetention, "segment.bytes": &demoSegment,
		},
	}
	if topic == demoClicks {
		o.Subject, o.Partitions = datagen.Clicks, 3
	}
	return datagen.Run(ctx, d.source, o)
}

// writers writes orders, and after a while clicks as well, until ctx ends.
func (d *demo) writers(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		_, err := d.write(ctx, demoOrders, 0, d.o.rate, 2)
		return err
	})
	g.Go(func() error {
		wait := demoLater
		if d.o.duration > 0 {
			wait = min(wait, d.o.duration/3)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(wait):
		}
		d.screen.say("a new topic, %s, appears on the source; kferry finds it by itself", demoClicks)
		_, err := d.write(ctx, demoClicks, 0, d.o.rate/4, 3)
		return err
	})
	return g.Wait()
}

// watch draws until ctx ends, the time is over, or something fails.
func (d *demo) watch(ctx context.Context, ferry, writers <-chan error) error {
	every := demoRedraw
	if !d.screen.tty {
		every = demoPlainLine
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	var over <-chan time.Time
	if d.o.duration > 0 {
		over = time.After(d.o.duration)
	}
	for {
		d.screen.draw(topicRows(d.daemon.Status()))
		select {
		case <-tick.C:
		case <-over:
			return nil
		case <-ctx.Done():
			return nil
		case err := <-ferry:
			return fmt.Errorf("the ferry ended: %w", cmp.Or(err, errUnasked))
		case err := <-writers:
			if ctx.Err() != nil {
				return err
			}
			return fmt.Errorf("the writers ended: %w", cmp.Or(err, errUnasked))
		}
	}
}

var errUnasked = errors.New("nobody asked it to")
