package replicator

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"log/slog"
	"maps"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/kferry/kferry/config"
	"github.com/kferry/kferry/internal/kafka"
	"github.com/kferry/kferry/offsets"
	"github.com/kferry/kferry/replicator/budget"
	"github.com/kferry/kferry/replicator/catalog"
	"github.com/kferry/kferry/replicator/clock"
	"github.com/kferry/kferry/replicator/deadletter"
	"github.com/kferry/kferry/replicator/fetch"
	"github.com/kferry/kferry/replicator/lane"
	"github.com/kferry/kferry/replicator/policy"
	"github.com/kferry/kferry/replicator/produce"
	"github.com/kferry/kferry/replicator/progress"
	"github.com/twmb/franz-go/pkg/kmsg"
)

const (
	storeEvery = time.Second
	// How long a stop waits for what is on its way. Nothing is lost beyond it:
	// the next start asks the target what arrived.
	drainFor = 10 * time.Second
	// What a lane may hold at least before it fetches no more, in bytes, and is then
	// asked for: thousands that are behind come along together, not one after the other.
	leastShare = 32 << 10
	// A lane that is alone may bring so many bytes a second over a long way, within
	// these bounds in a round trip: the least is what keeps a broker beside it busy.
	// Twice as much was not faster, and the processor's cache held less of it: 150 MB
	// instead of 67, and a tenth more CPU where batches are joined.
	reachPerSecond        = 75_000_000
	leastReach, mostReach = 1 << 20, 8 << 20
	// Backoff of a lane that failed, and of a lane that was stopped.
	leastBackoff, mostBackoff = 100 * time.Millisecond, 2 * time.Second
	stoppedRetry              = 30 * time.Second
)

// flow is one direction between two clusters.
type flow struct {
	cfg            config.Flow
	log            *slog.Logger
	source, target *kafka.Cluster
	filter         policy.Filter
	policy         policy.Policy
	catalog        *catalog.Catalog
	budget         *budget.Budget
	rate           *fetch.Rate
	siblings       int // flows that share the budget, this one included
	metrics        *metrics
	outages        *outages
	ready          atomic.Bool

	instance  string // of the daemon; "": no static membership
	store     *progress.Store
	group     *progress.Group // nil: not joined
	saving    chan struct{}   // holds one token while progress is written: see save
	producer  kmsg.InitProducerIDResponse
	slots     atomic.Int64  // that this replica owns
	leads     atomic.Bool   // this replica owns slot 0 and does what is done once for the flow
	placed    chan struct{} // closed once it is known which slots this replica has
	lease     *progress.Lease
	alone     atomic.Bool            // this replica may not use the group, and carries everything
	gone      atomic.Bool            // the progress topic was deleted, and is not whole again
	before    atomic.Int64           // lanes that this process began on a target that had records
	identity  identity               // for followPauses alone
	agreed    chan struct{}          // closed once the flow may be carried by this process
	strange   atomic.Pointer[string] // that the flow's name is another source's; nil: it is not
	unlike    atomic.Pointer[string] // that replicas have other settings; nil: none have
	left      map[lane.ID]left       // what could not be stored of lanes that were let go; guarded by saving
	released  chan struct{}          // closed once nothing is sent or stored any more
	letters   *deadletter.Store
	taken     *taken                     // nil: not read yet; for the starter alone
	positions map[lane.ID]offsets.Source // of Aiven's MirrorMaker 2; nil: not read yet; for the starter alone
	carrier   *carrierWatch              // somebody else who may carry its topics; nil: nobody
	watched   *watched                   // that one carries the flow, and here it is only watched; nil: it is carried here

	view  atomic.Pointer[catalog.View] // as last read; never changed once stored
	signs signs                        // of life, for metrics

	paused  atomic.Pointer[map[string]progress.Pause] // as last heeded; never changed once stored
	history history
	sorted  sorting

	mu      sync.Mutex // guards what follows for readers; only the helm writes
	lanes   map[lane.ID]*member
	changed uint64    // counts the changes of lanes
	all     []*member // the lanes, as they were when changed was allAt; never changed once made
	allAt   uint64
	retired map[string]*lane.Stats // by topic: what lanes have counted that are no longer here

	follower  *follower                   // nil: no groups are followed
	groupRows atomic.Pointer[[]OffsetRow] // of the last round over the groups, sorted; never changed once stored
	groupView atomic.Pointer[groupView]   // what they come to

	helm      *helm
	refresh   chan struct{} // one token: read the catalog now
	io        context.Context
	fetchers  map[link]*fetch.Fetcher
	producers map[link]*produce.Producer
	work      sync.WaitGroup // fetchers and producers
	fetchCtx  context.Context
	sendCtx   context.Context
}

// link names one connection: a broker, and which of the parallel clients.
type link struct {
	broker int32
	n      int
}

// newFlow makes a flow that is carried here.
func newFlow(cfg config.Flow, instance string, source, target *kafka.Cluster, b *budget.Budget, siblings int, m *metrics, log *slog.Logger) (*flow, error) {
	f, err := bareFlow(cfg, source, target, log)
	if err != nil {
		return nil, err
	}
	f.instance, f.budget, f.siblings, f.metrics, f.rate = instance, b, siblings, m, fetch.NewRate(int64(cfg.RateLimit))
	f.letters = deadletter.New(target, cfg.Name, cfg.ReplicationFactor)
	f.helm = newHelm(f)
	if f.follower, err = newFollower(f); err != nil {
		return nil, fmt.Errorf("flow %q: %w", cfg.Name, err)
	}
	return f, nil
}

// bareFlow makes a flow that knows its topics and their lanes, and does nothing.
func bareFlow(cfg config.Flow, source, target *kafka.Cluster, log *slog.Logger) (*flow, error) {
	filter, pol, err := catalog.Naming(cfg)
	if err != nil {
		return nil, fmt.Errorf("flow %q: %w", cfg.Name, err)
	}
	f := &flow{
		cfg: cfg, log: log.With("flow", cfg.Name), source: source, target: target, filter: filter, policy: pol,
		lanes: map[lane.ID]*member{}, retired: map[string]*lane.Stats{}, refresh: make(chan struct{}, 1), placed: make(chan struct{}), released: make(chan struct{}), agreed: make(chan struct{}), left: map[lane.ID]left{}, saving: make(chan struct{}, 1),
		fetchers: map[link]*fetch.Fetcher{}, producers: map[link]*produce.Producer{},
	}
	f.outages = newOutages(f.log, outageGrace)
	f.lease = progress.NewLease(clock.Now)
	f.catalog = catalog.New(catalog.Options{
		Source: source, Target: target, Filter: filter, Policy: pol, Exclude: cfg.ConfigExclude, InStep: cfg.SyncTopicConfigs,
		ReplicationFactor: cfg.ReplicationFactor,
	})
	return f, nil
}

// run carries until ctx ends, drains and stores progress.
func (f *flow) run(ctx context.Context) error {
	defer f.letters.Close()
	var steering sync.WaitGroup
	defer steering.Wait()
	// Topics are read while progress is; the helm takes what it is posted later.
	steering.Go(func() { f.readCatalog(ctx) })
	if !f.open(ctx) {
		return nil
	}
	// Three lifetimes, each ends before the next: reading (ctx), steering and
	// sending (after the drain), requests on the wire (io).
	io, endIO := context.WithCancel(context.WithoutCancel(ctx))
	defer endIO()
	steer, endSteer := context.WithCancel(io)
	defer endSteer()
	f.io, f.fetchCtx, f.sendCtx = io, ctx, steer
	steering.Go(func() { f.helm.run(steer) })
	steering.Go(func() { f.storeLoop(steer) })
	steering.Go(func() { f.share(ctx) })
	steering.Go(func() { f.shorten(ctx) })
	steering.Go(func() { f.followPauses(ctx) })
	steering.Go(func() { f.readBack(ctx) })
	steering.Go(func() { newSurveyor(f).run(ctx) })
	steering.Go(func() { f.blame(ctx) })
	steering.Go(func() { f.keepHistory(ctx) })
	if f.follower != nil {
		steering.Go(func() { f.follower.run(ctx) })
	}

	<-ctx.Done()
	f.log.Info("stopping: letting what is on its way arrive")
	f.drain()
	endSteer()
	steering.Wait() // after it nobody starts a fetcher or producer
	f.work.Wait()
	err := f.lastSave(io)
	close(f.released)
	if f.identity.agreed {
		_ = f.store.SetSettings(io, f.identity.settings, false) // else it is old news in a while
	}
	if f.group != nil {
		f.group.Leave(io) // after the save: the next owner then finds what we reached
	}
	return err
}

// open makes the progress topic if it is missing and takes a producer id for
// the lanes that this process begins, trying until the target lets it; false if ctx ended before.
func (f *flow) open(ctx context.Context) bool {
	return f.persist(ctx, "cannot open stored progress, trying on", func() (err error) {
		if f.store, err = progress.Open(ctx, f.target, f.cfg.Name, f.cfg.ReplicationFactor); err != nil {
			return err
		}
		f.producer, err = f.newProducer(ctx)
		return err
	})
}

// shorten has little to be read at the next start.
func (f *flow) shorten(ctx context.Context) {
	if err := f.store.Shorten(ctx); err != nil && ctx.Err() == nil {
		f.log.Warn("the progress topic may become long", "err", err)
	}
}

// persist tries until it succeeds; false if ctx ended before.
func (f *flow) persist(ctx context.Context, msg string, try func() error) bool {
	for wait := leastBackoff; ; wait = min(2*wait, mostBackoff) {
		err := try()
		if err == nil {
			f.outages.over("progress")
			return true
		}
		if ctx.Err() == nil {
			f.outages.report("progress", msg, err)
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return false
		}
	}
}

// newProducer has the target give out a producer id. Each lane's own record
// tells, for good, which id its records carry.
func (f *flow) newProducer(ctx context.Context) (kmsg.InitProducerIDResponse, error) {
	req := kmsg.NewPtrInitProducerIDRequest()
	resp, err := req.RequestWith(ctx, f.target.Client())
	if err == nil {
		if v, why := kafka.ProduceVerdict(resp.ErrorCode); v != kafka.Keep {
			err = fmt.Errorf("error code %d: %s", resp.ErrorCode, why)
		}
	}
	if err != nil {
		return kmsg.InitProducerIDResponse{}, fmt.Errorf("no producer id from the target: %w", kafka.Needs(f.target.Alias(), "to write each record once", "0.11", err))
	}
	return *resp, nil
}

// readCatalog reads both sides every refresh interval, and sooner when asked to.
func (f *flow) readCatalog(ctx context.Context) {
	if f.carrier != nil {
		f.carrier.wait(ctx) // nothing starts before
	}
	said := map[string]string{}
	t := time.NewTicker(f.cfg.RefreshInterval)
	defer t.Stop()
	for {
		view, news, events, err := f.catalog.Refresh(ctx, func() bool { return f.leading(ctx) })
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			f.outages.report("topics", "cannot read topics, trying on", err)
		} else {
			f.outages.over("topics")
			f.logEvents(events, said)
			f.show(view, news)
		}
		select {
		case <-t.C:
		case <-f.refresh:
			// Not more often than this, however many lanes ask.
			select {
			case <-time.After(leastBackoff):
			case <-ctx.Done():
			}
		case <-ctx.Done():
			return
		}
	}
}

// show hands on what was read. Without news nobody has to look at each lane's place
// again; but somebody else may have begun to carry some.
func (f *flow) show(view catalog.View, news bool) {
	if !news && f.carrier == nil {
		f.helm.post(f.helm.unchanged)
		return
	}
	view = f.barred(view)
	f.view.Store(&view)
	f.helm.post(func() { f.helm.seen(view) })
}

// logEvents says each event once, until it changes.
func (f *flow) logEvents(events []catalog.Event, said map[string]string) {
	now := map[string]string{}
	for _, e := range events {
		key, text := e.Topic+"\x00"+e.Text, fmt.Sprint(e.Err)
		now[key] = text
		if old, ok := said[key]; ok && old == text {
			continue
		}
		log := f.log
		if e.Topic != "" {
			log = log.With("topic", e.Topic)
		}
		if e.Err != nil {
			log.Warn(e.Text, "err", e.Err)
		} else {
			log.Info(e.Text)
		}
	}
	clear(said)
	maps.Copy(said, now)
}

func (f *flow) askRefresh() {
	select {
	case f.refresh <- struct{}{}:
	default:
	}
}

// retire keeps what a lane has counted that is no longer here: a sum over lanes
// must not shrink.
func (f *flow) retire(l *lane.Lane) {
	sum := f.retired[l.Topic]
	if sum == nil {
		sum = new(lane.Stats)
		f.retired[l.Topic] = sum
	}
	s := l.Snapshot().Stats
	sum.Add(&s)
}

// members is for readers outside the helm; nobody may change it.
func (f *flow) members() []*member {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.all == nil || f.allAt != f.changed {
		f.all, f.allAt = make([]*member, 0, len(f.lanes)), f.changed
		for _, m := range f.lanes {
			f.all = append(f.all, m)
		}
	}
	return f.all
}

// storeLoop stores progress about once a second.
func (f *flow) storeLoop(ctx context.Context) {
	t := time.NewTicker(storeEvery)
	defer t.Stop()
	for {
		select {
		case <-t.C:
			if !f.owns() {
				continue // the lanes may be another replica's, whose progress is further
			}
			switch saved, err := f.save(ctx, false); {
			case err != nil && ctx.Err() == nil:
				f.outages.report("progress", "progress is not stored; records are carried all the same", err)
			case saved: // where nothing moved, nothing tells that it would be stored
				f.outages.over("progress")
			}
		case <-ctx.Done():
			return
		}
	}
}

// save stores the progress of every lane that moved since it was last stored,
// and the offset maps that are due; last is for lanes that are let go.
//
// It must never overwrite what a start has stored meanwhile: a position and a
// sequence that do not belong together would make the next resume skip records
// that nobody carried. Hence one lock over looking and writing, and lanes that
// start or are stopped are left alone: whoever starts one set its state first.
func (f *flow) save(ctx context.Context, last bool) (saved bool, err error) {
	f.saving <- struct{}{}
	defer func() { <-f.saving }()
	var out []progress.Record
	var maps []progress.Offsets
	var stored []func() // takes note of it
	now := time.Now()
	for _, m := range f.members() {
		if !last && m.resting(now) {
			continue
		}
		moves := m.lane.Moves()
		s := m.lane.Snapshot()
		if s.State != lane.Running && s.State != lane.Waiting && s.State != lane.Paused {
			continue
		}
		moved := m.stored.Position != s.Position
		if moved {
			r := m.stored
			r.Position, r.At = s.Position, now
			out, stored = append(out, r), append(stored, func() { m.stored = r })
		}
		if o, mark, err := m.mapToStore(now, last); err != nil {
			return false, err
		} else if mark != m.mapped {
			maps, stored = append(maps, o), append(stored, func() { m.mapped = mark })
		} else if !moved {
			m.lull(&s, moves, now)
		}
	}
	if err := f.store.Save(ctx, out, maps); err != nil {
		return false, err
	}
	for _, note := range stored {
		note()
	}
	f.signs.progress.Store(now.UnixMilli())
	return len(out) > 0, nil
}

// drain waits until no running lane holds anything, or drainFor has passed.
func (f *flow) drain() {
	t := time.NewTicker(10 * time.Millisecond)
	defer t.Stop()
	for end := time.Now().Add(drainFor); time.Now().Before(end); <-t.C {
		held := int64(0)
		for _, m := range f.members() {
			if s := m.lane.Snapshot(); s.State == lane.Running {
				held += s.Held
			}
		}
		if held == 0 {
			return
		}
	}
	f.log.Warn("stopping without waiting longer; the next start finds out what arrived")
}

func (f *flow) lastSave(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, drainFor)
	defer cancel()
	if len(f.members()) > 0 && !f.owns() {
		return fmt.Errorf("flow %q: progress is not stored, others may carry the lanes: %w (nothing is lost: the next start finds out what arrived)", f.cfg.Name, errUnheard)
	}
	if _, err := f.save(ctx, true); err != nil {
		return fmt.Errorf("flow %q: %w (nothing is lost: the next start finds out what arrived)", f.cfg.Name, err)
	}
	f.log.Info("stopped, progress stored")
	return nil
}

// pin is the link that a lane uses on a cluster: always the same one, because
// order holds within a connection only.
func pin(id lane.ID, links int) int {
	h := fnv.New32a()
	_, _ = h.Write([]byte(id.Topic))
	return int((h.Sum32() + uint32(id.Partition)) % uint32(links))
}

// reach is how many bytes of one lane are on their way over a round trip, at most.
func reach(trip time.Duration) int64 {
	return min(max(int64(trip.Seconds()*reachPerSecond), leastReach), mostReach)
}

// fetcher returns the Fetcher for a broker, started on first use.
func (f *flow) fetcher(at link) *fetch.Fetcher {
	if x := f.fetchers[at]; x != nil {
		return x
	}
	key := fmt.Sprintf("%s broker %d", f.source.Alias(), at.broker)
	x := fetch.New(fetch.Options{
		Link: f.source.Links()[at.n], Broker: at.broker, Budget: f.budget, Reach: int32(reach(f.source.Trip())), Rate: f.rate,
		Failed: func(l *lane.Lane, v kafka.Verdict, cause error) {
			f.helm.post(func() { f.helm.fetchFailed(l, v, cause, key) })
		},
		Fetched: func(took time.Duration, err error) {
			f.metrics.fetched(f.cfg.Name, took, err)
			if err == nil {
				f.outages.over(key)
			}
		},
	})
	f.fetchers[at] = x
	f.work.Go(func() { x.Run(f.fetchCtx, f.sendCtx) })
	return x
}

// sender returns the Producer for a broker, started on first use.
func (f *flow) sender(at link) *produce.Producer {
	if x := f.producers[at]; x != nil {
		return x
	}
	key := fmt.Sprintf("%s broker %d", f.target.Alias(), at.broker)
	x := produce.New(produce.Options{
		Link: f.target.Links()[at.n], Broker: at.broker, Trip: f.target.Trip(), Owns: f.owns,
		Failed: func(l *lane.Lane, v kafka.Verdict, cause error) {
			f.helm.post(func() { f.helm.produceFailed(l, v, cause, key) })
		},
		Produced: func(took time.Duration, err error) {
			f.metrics.produced(f.cfg.Name, took, err)
			if err == nil {
				f.outages.over(key)
			}
		},
	})
	f.producers[at] = x
	f.work.Go(func() { x.Run(f.sendCtx, f.io) })
	return x
}

// backoff grows with the number of failures in a row, with jitter so that
// thousands of lanes do not return at once.
func backoff(tries int) time.Duration {
	d := min(leastBackoff<<min(tries, 10), mostBackoff)
	return d/2 + rand.N(d/2+1)
}

var errGone = errors.New("the topic is no longer seen on the source: it was deleted, or our user may not describe it any more")
