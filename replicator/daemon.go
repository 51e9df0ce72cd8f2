// Package replicator runs the flows of a configuration: it is the one place
// that wires fetchers, lanes, producers, the catalog and progress together.
//
// Reading guide: Daemon opens the clusters and runs one flow each; a flow's helm
// (helm.go) is the single goroutine that decides what happens to lanes, and
// failure.go what it does about those that failed; start.go finds where a lane
// goes on; the data path itself is in the packages below.
package replicator

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"github.com/kferry/kferry/config"
	"github.com/kferry/kferry/internal/kafka"
	"github.com/kferry/kferry/replicator/budget"
)

// Options are the parts of a daemon that do not come from the configuration.
type Options struct {
	Logger     *slog.Logger          // nil discards
	Registerer prometheus.Registerer // of the metrics but those of WriteLanes; nil: none
	Version    string                // of this build, for metrics
	// ClusterOptions gives the options of the connections to a cluster; nil: none.
	ClusterOptions func(alias string) kafka.Options
	// Carrier carries the flows with engine aiven, which the daemon watches, and
	// maybe others; nil: nobody, and there are no such flows.
	Carrier Carrier
}

// Daemon runs the flows of one configuration.
type Daemon struct {
	log      *slog.Logger
	clusters map[string]*kafka.Cluster
	flows    []*flow
	carrier  *carrierWatch // nil: nobody else carries anything
	away     *outages      // clusters that were not reached yet
	healths  []*health
	budget   *budget.Budget
	events   *events
	version  string
	instance string
	started  time.Time
	page     *lanePage
}

// New opens the clusters that flows use. It does not connect; Run does.
func New(cfg *config.Config, o Options) (*Daemon, error) {
	d := &Daemon{clusters: map[string]*kafka.Cluster{}, events: new(events), version: o.Version, instance: cfg.InstanceID, started: time.Now()}
	log := slog.DiscardHandler
	if o.Logger != nil {
		log = o.Logger.Handler()
	}
	d.log = slog.New(&recorder{Handler: log, events: d.events})
	d.away = newOutages(d.log, 0)
	b := budget.New(int64(cfg.MemoryBudget))
	d.budget = b
	m := newMetrics(cfg.Metrics, o.Version)
	if o.Carrier != nil {
		d.carrier = newCarrierWatch(o.Carrier, newOutages(d.log, 0))
		m.carrier = d.carrier
	}
	own := len(cfg.Flows) - len(cfg.CarriedBy(config.EngineAiven))
	for _, fc := range cfg.Flows {
		for _, alias := range []string{fc.Source, fc.Target} {
			if err := d.open(cfg.Clusters[alias], o); err != nil {
				d.close()
				return nil, err
			}
		}
		var f *flow
		var err error
		if fc.Engine == config.EngineAiven {
			f, err = newWatched(fc, d.clusters[fc.Source], d.clusters[fc.Target], d.leading, d.log)
		} else {
			f, err = newFlow(fc, cfg.InstanceID, d.clusters[fc.Source], d.clusters[fc.Target], b, own, m, d.log)
		}
		if err != nil {
			d.close()
			return nil, err
		}
		f.carrier = d.carrier
		d.flows = append(d.flows, f)
	}
	for _, alias := range slices.Sorted(maps.Keys(d.clusters)) {
		d.healths = append(d.healths, &health{cluster: d.clusters[alias]})
	}
	d.page = newLanePage(cfg.Metrics, d.flows)
	if o.Registerer != nil {
		if err := m.register(o.Registerer, d.flows, d.healths, b); err != nil {
			d.close()
			return nil, err
		}
	}
	return d, nil
}

func (d *Daemon) open(cfg config.Cluster, o Options) error {
	if d.clusters[cfg.Alias] != nil {
		return nil
	}
	var ko kafka.Options
	if o.ClusterOptions != nil {
		ko = o.ClusterOptions(cfg.Alias)
	}
	cl, err := kafka.Open(cfg, ko)
	if err != nil {
		return err
	}
	d.clusters[cfg.Alias] = cl
	return nil
}

func (d *Daemon) close() {
	for _, c := range d.clusters {
		c.Close()
	}
}

// Run carries until ctx ends, then lets what is under way arrive, stores
// progress and returns nil. It returns an error at once if a cluster refuses us
// for a reason that waiting does not mend (a wrong password, an unknown CA); an
// unreachable cluster is waited for.
func (d *Daemon) Run(ctx context.Context) error {
	defer d.close()
	g, gctx := errgroup.WithContext(ctx)
	for _, c := range d.clusters {
		g.Go(func() error { return d.reach(gctx, c) })
	}
	if err := g.Wait(); err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return err
	}
	g, gctx = errgroup.WithContext(ctx)
	for _, h := range d.healths {
		g.Go(func() error {
			h.watch(gctx)
			return nil
		})
	}
	if d.carrier != nil {
		g.Go(func() error {
			d.carrier.run(gctx)
			return nil
		})
	}
	for _, f := range d.flows {
		g.Go(func() error {
			if f.watched != nil {
				return f.watch(gctx)
			}
			return f.run(gctx)
		})
	}
	return g.Wait()
}

// leading tells whether this replica watches the flows that others carry: the one
// that leads the first flow of our own, or each of them where there is none.
func (d *Daemon) leading() bool {
	for _, f := range d.flows {
		if f.watched == nil {
			return f.leads.Load()
		}
	}
	return true
}

// reach waits until the cluster answers.
func (d *Daemon) reach(ctx context.Context, c *kafka.Cluster) error {
	for wait := time.Second; ; wait = min(wait*2, 15*time.Second) {
		err := c.Ping(ctx)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err == nil {
			d.away.over(c.Alias())
			d.log.Info("connected", "cluster", c.Alias())
			return nil
		}
		var e *kafka.Error
		if errors.As(err, &e) && e.Fatal {
			return err
		}
		d.away.report(c.Alias(), "cluster unreachable, trying on", err)
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Ready is nil once every flow has read its progress and its topics and every
// lane that can run was started; else why not.
func (d *Daemon) Ready() error {
	if err := d.away.why(); err != nil {
		return err
	}
	for _, f := range d.flows {
		if f.ready.Load() {
			continue
		}
		if err := f.outages.why(); err != nil {
			return fmt.Errorf("flow %q is still starting: %w", f.cfg.Name, err)
		}
		return fmt.Errorf("flow %q is still starting", f.cfg.Name)
	}
	return nil
}
