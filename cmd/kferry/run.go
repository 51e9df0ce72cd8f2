package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/cobra"

	"github.com/kferry/kferry/config"
	"github.com/kferry/kferry/internal/web"
)

type runOptions struct {
	config       string
	drainTimeout time.Duration
}

func newRunCommand() *cobra.Command {
	var o runOptions
	cmd := &cobra.Command{
		Use:   "run [FILE]",
		Short: "Carry the flows of a configuration until stopped",
		Long: `Carry the flows of a configuration: what is there, then what comes, with new
topics and partitions as they appear, until SIGINT or SIGTERM.

The shortest configuration names two clusters and one flow:

  clusters:
    old:
      bootstrap_servers: ["old-1.example:9094"]
      tls: { enabled: true }
      sasl: { mechanism: SCRAM-SHA-512, username: alice, password: "${OLD_PASSWORD}" }
    new:
      bootstrap_servers: ["new-1.example:9092"]
  flows:
    - { source: old, target: new, topics: ["pizza-.*"] }

"kferry config check" reads a configuration without connecting. A FILE whose name
ends in .properties is one for a dedicated MirrorMaker 2: it is run as it is, and
what its keys come to is logged once; docs/from-mm2.md has the table.

While it runs, http.listen (127.0.0.1:9464) serves /metrics for Prometheus, and
/healthz and /readyz for probes; "kferry lanes" asks it, too. Progress is kept on
the target cluster: start it again, here or on another machine, and it goes on
where it was.

Flows with engine: aiven are carried by Aiven's MirrorMaker 2, and watched: their
lag is in the same metrics and on the same page, given a token (AIVEN_TOKEN). A
topic that an enabled flow at Aiven carries is not carried here as well.

The first signal stops it softly: what is under way is finished and progress is
stored. A second signal, or --drain-timeout, ends it at once; nothing is lost
by that either, the next start only takes a little longer to find its place.

Exit codes: 0 stopped as asked; 1 unexpected; 2 wrong use; 3 configuration
invalid; 4 a cluster refuses for good, such as a wrong password; 5 stopped by
force. "kferry help exit-codes" tells more.`,
		Example: `  kferry run -c kferry.yaml
  OLD_PASSWORD=... kferry run -c kferry.yaml --log-level debug
  KFERRY_HTTP_LISTEN=:9464 kferry run
  kferry run mm2.properties`,
		Args: configArgument,
		RunE: func(cmd *cobra.Command, args []string) error {
			cfg, err := loadWatching(cmd, configFile(args, o.config))
			if err != nil {
				return err
			}
			return o.run(cmd.Context(), processOf(cmd), cfg)
		},
	}
	configFlag(cmd, &o.config)
	cmd.Flags().DurationVar(&o.drainTimeout, "drain-timeout", 25*time.Second,
		"how long a stop may take; keep it below the supervisor's own limit (30s in Kubernetes)")
	return cmd
}

// loadOwn reads a configuration and leaves in it the flows that kferry itself is to carry. Their clusters have addresses.
func loadOwn(cmd *cobra.Command, path string) (*config.Config, error) {
	cfg, err := config.Load(path, loadOptions(cmd))
	if err != nil {
		return nil, err
	}
	all := len(cfg.Flows)
	cfg.Flows = cfg.CarriedBy(config.EngineKferry)
	if len(cfg.Flows) == 0 {
		return nil, cfg.ErrorAt([]string{"flows"}, "", fmt.Sprintf("have engine aiven, all %d of them: there is nothing to carry here, \"kferry aiven status\" tells about them", all))
	}
	return cfg, reachable(cfg)
}

// loadWatching is loadOwn that leaves the flows with engine aiven, too, if Aiven can be asked about them.
func loadWatching(cmd *cobra.Command, path string) (*config.Config, error) {
	cfg, err := config.Load(path, loadOptions(cmd))
	if err != nil {
		return nil, err
	}
	if cfg.Aiven.Token == "" {
		return loadOwn(cmd, path)
	}
	return cfg, reachable(cfg)
}

// reachable checks that the clusters of all flows have addresses.
func reachable(cfg *config.Config) error {
	for _, f := range cfg.Flows {
		for _, alias := range []string{f.Source, f.Target} {
			if len(cfg.Clusters[alias].BootstrapServers) == 0 {
				return cfg.ErrorAt([]string{"clusters", alias, "bootstrap_servers"}, "", "is missing: \"kferry aiven connect\" tells it once the service is there")
			}
		}
	}
	return nil
}

// run carries the flows of cfg until ctx ends.
func (o runOptions) run(ctx context.Context, p *process, cfg *config.Config) error {
	if o.drainTimeout <= 0 {
		return usageError{fmt.Errorf("--drain-timeout %v: must be above 0", o.drainTimeout)}
	}
	level := new(slog.LevelVar)
	log, err := newLoggerAt(level, p.stderr, cfg.Log)
	if err != nil {
		return err
	}
	logNotes(log, cfg.Notes)
	if cfg.Aiven.MirrorMaker.Name != "" && cfg.Aiven.Token == "" {
		log.Warn("Aiven cannot be asked: flows with engine aiven are not watched, and whether its MirrorMaker 2 carries a topic of ours as well is not noticed. Set AIVEN_TOKEN, or aiven.token_file")
	}
	if _, set := lookup(p.environ, "GOMEMLIMIT"); !set {
		debug.SetMemoryLimit(memoryLimit(cfg.MemoryBudget))
	}
	if _, set := lookup(p.environ, "GOGC"); !set {
		// Most garbage is large buffers, so the collector has little to mark for each round: some more rounds take less CPU
		// than they spare memory.
		debug.SetGCPercent(65)
	}
	reg := prometheus.NewRegistry()
	d, err := p.openDaemon(cfg, log, reg)
	if err != nil {
		return err
	}
	srv, err := listen(cfg.HTTP, acting{d, level}, reg, log)
	if err != nil {
		return err
	}
	log.Info("kferry starts", "version", buildVersion().version, "flows", len(cfg.Flows), "memory_budget", cfg.MemoryBudget.String())
	return serve(ctx, d, srv, o.drainTimeout, log)
}

// logNotes tells what became of the keys of a file for MirrorMaker 2.
func logNotes(log *slog.Logger, notes []config.Note) {
	for _, n := range notes {
		level := slog.LevelInfo
		switch {
		case n.Fate == config.Used:
			level = slog.LevelDebug
		case n.Warns():
			level = slog.LevelWarn
		}
		log.Log(context.Background(), level, "configuration of MirrorMaker 2", "key", n.Key, "line", n.Line, "fate", string(n.Fate), "text", n.Text)
	}
}

// memoryLimit is what the garbage collector aims to stay below. Without one it lets the heap grow to twice of what
// lives, and what lives is the budget: bytes fetched and not yet acked. On top of it come the responses that are being
// read, which count only once they are split, the copies in kgo's write buffers and what the slow path builds; together
// they stay below the budget again. 64 MiB is for everything that does not grow with it: code, stacks, metadata, maps.
// The limit is soft: a heap that must be larger costs time in the collector, no data.
func memoryLimit(budget config.Bytes) int64 {
	const fixed = 64 << 20
	return 2*int64(budget) + fixed
}

// listen opens the web server, or returns nil when the configuration turns it off.
func listen(cfg config.HTTP, d acting, reg *prometheus.Registry, log *slog.Logger) (*web.Server, error) {
	if cfg.Listen == "" || cfg.Listen == "off" {
		return nil, nil
	}
	srv, err := web.New(web.Options{
		Listen: cfg.Listen, Source: shown{d.daemon}, Registry: reg, More: d.WriteLanes, Logger: log, Actor: d, Token: cfg.ActionsToken.Reveal(),
		Pprof: cfg.Pprof,
	})
	if err != nil {
		return nil, err
	}
	log.Info("listening", "page", "http://"+srv.Addr()+"/", "metrics", "http://"+srv.Addr()+"/metrics", "actions", cfg.ActionsToken != "")
	return srv, nil
}

// serve runs the daemon, and beside it the web server (which may be nil), until ctx ends or one of them fails.
// The web server answers until the daemon has ended, so that a drain can be watched.
func serve(ctx context.Context, d daemon, srv *web.Server, drain time.Duration, log *slog.Logger) error {
	work, stopWork := context.WithCancelCause(ctx)
	defer stopWork(nil)
	daemonEnd := start(work, d.Run)

	var webEnd <-chan error // never delivers without a server
	webCtx, stopWeb := context.WithCancel(context.WithoutCancel(ctx))
	defer stopWeb()
	if srv != nil {
		webEnd = start(webCtx, srv.Run)
	}

	var failed error
	select {
	case err := <-daemonEnd:
		stopWeb()
		if srv != nil {
			err = errors.Join(err, <-webEnd)
		}
		return err
	case failed = <-webEnd: // nobody asked it to stop
		srv = nil
		stopWork(failed)
		log.Error("the web server failed; stopping", "err", failed)
	case <-ctx.Done():
		log.Info("stopping: finishing what is under way", "cause", context.Cause(ctx), "at_most", drain.String())
	}

	err := await(daemonEnd, drain)
	stopWeb()
	if srv != nil {
		failed = <-webEnd
	}
	if err == nil && failed == nil {
		log.Info("stopped as asked")
	}
	return errors.Join(err, failed)
}

// start runs f on a goroutine of its own, delivers its result once, and nil ever after.
func start(ctx context.Context, f func(context.Context) error) <-chan error {
	end := make(chan error, 1)
	go func() {
		end <- f(ctx)
		close(end)
	}()
	return end
}

// await waits for the end of a daemon that was told to stop, at most for limit.
func await(end <-chan error, limit time.Duration) error {
	t := time.NewTimer(limit)
	defer t.Stop()
	select {
	case err := <-end:
		return err
	case <-t.C:
		return fmt.Errorf("%w: the drain took longer than %v; the next start finds its place from the target", errForced, limit)
	}
}
