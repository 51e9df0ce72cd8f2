package kafka

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"

	"github.com/kferry/kferry/config"
)

const (
	// MaxReadBytes is the most bytes of a fetch response. One holds at least a whole
	// batch however large, so this also bounds the largest batch that can be carried.
	MaxReadBytes = 256 << 20
	// Below the ten minutes after which brokers, and the six after which cloud
	// load balancers, drop an idle connection; above kgo's 30 s, which would
	// make a quiet lane pay a new TLS and SCRAM handshake for each batch.
	connIdle = 5 * time.Minute
	// kgo retries what may be sent twice (metadata, offsets, configs) this long.
	retryTimeout = 30 * time.Second
	// kgo answers from metadata up to this old, and refreshes it at most this
	// often. Its default of 5 s would hide a topic made a moment ago.
	metadataMinAge = 20 * time.Millisecond
	// kgo's pauses between its own retries: short at first, since what we wait
	// for at a start (a leader of a new topic) takes tens of milliseconds.
	leastRetryPause, mostRetryPause = 10 * time.Millisecond, 2 * time.Second
	// Links, where the configuration does not say how many: a TCP connection carries
	// about its window, some MB, in a round trip, and a broker answers one request
	// per connection at a time. Beside the broker two keep each other's pauses busy.
	leastLinks, mostLinks = 2, 8
	tripPerLink           = 20 * time.Millisecond
)

// Options are the parts of a cluster that do not come from the configuration.
type Options struct {
	Logger    *slog.Logger // nil discards
	Hooks     []kgo.Hook   // on all clients of the cluster, links included
	Dialer    DialFunc     // nil = net.Dialer; TLS goes on top of what it returns
	ExtraOpts []kgo.Opt    // for tests; after all others, so these win
}

// Cluster is one Kafka cluster: a client for administration and the links for
// records. Nothing here writes to it by itself: no topic is created by asking
// for it, no client metrics are pushed, no group is joined. Safe for concurrent use.
type Cluster struct {
	cfg    config.Cluster
	opts   []kgo.Opt // of every client; SASL is in auth
	auth   []kgo.Opt
	dial   DialFunc
	client *kgo.Client
	admin  *kadm.Client
	links  []*Link
	bulk   *tickets // of the requests with records
	conns  *conns
	width  func() int // how many of links are used
	heard  heard
}

// Open prepares the clients of cfg. It does not dial; it fails for a
// configuration that cannot work: an unreadable certificate, an unknown
// mechanism, no bootstrap server.
func Open(cfg config.Cluster, o Options) (*Cluster, error) {
	log := o.Logger
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	log = log.With("cluster", cfg.Alias)
	c := &Cluster{cfg: cfg, bulk: newTickets(), conns: newConns()}
	if err := c.configure(o, log); err != nil {
		return nil, fmt.Errorf("cluster %q: %w", cfg.Alias, err)
	}
	n := cfg.Connections
	if n == 0 {
		n = mostLinks
	}
	c.width = sync.OnceValue(func() int {
		if cfg.Connections > 0 {
			return cfg.Connections
		}
		return int(min(leastLinks+c.Trip()/tripPerLink, mostLinks))
	})
	// What is produced through Client names its partition itself and may be there
	// twice. kgo never gives up an idempotent record that was sent, whatever its
	// context says, and a stop would wait for a broker that fails for ever.
	own := []kgo.Opt{kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.DisableIdempotentWrite()}
	for i := range n + 1 {
		cl, err := kgo.NewClient(slices.Concat(c.opts, c.auth, own)...)
		if err != nil {
			c.Close()
			return nil, fmt.Errorf("cluster %q: %w", cfg.Alias, err)
		}
		if i == 0 {
			c.client, c.admin = cl, kadm.NewClient(cl)
			continue
		}
		c.links = append(c.links, &Link{cl, c.bulk})
	}
	return c, nil
}

func (c *Cluster) configure(o Options, log *slog.Logger) error {
	if len(c.cfg.BootstrapServers) == 0 {
		return errors.New("bootstrap_servers is empty: name at least one host:port")
	}
	d, err := newDialer(c.cfg.TLS, o.Dialer, c.conns, log)
	if err != nil {
		return err
	}
	m, err := newMechanism(c.cfg.SASL, log)
	if err != nil {
		return err
	}
	if m != nil {
		c.auth = append(c.auth, kgo.SASL(m))
	}
	c.dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := d.open(ctx, network, addr)
		return c.dialed(conn, addr, err)
	}
	c.opts = []kgo.Opt{
		kgo.SeedBrokers(c.cfg.BootstrapServers...),
		kgo.ClientID(c.cfg.ClientID),
		kgo.WithLogger(&kgoLogger{log}),
		kgo.WithHooks(slices.Concat(o.Hooks, []kgo.Hook{&c.heard})...),
		kgo.Dialer(c.dial),
		kgo.ConnIdleTimeout(connIdle),
		kgo.RetryTimeout(retryTimeout),
		kgo.MetadataMinAge(metadataMinAge),
		kgo.RetryBackoffFn(func(fails int) time.Duration {
			return min(leastRetryPause<<min(max(fails-1, 0), 10), mostRetryPause)
		}),
		kgo.ProducerLinger(0), // only progress goes through kgo's producer, in one call
		kgo.BrokerMaxReadBytes(MaxReadBytes),
		kgo.RequiredAcks(kgo.AllISRAcks()),
		kgo.DisableClientMetrics(),
	}
	if c.cfg.MaxVersions != "" {
		v := kversion.FromString(c.cfg.MaxVersions)
		if v == nil {
			return fmt.Errorf("max_versions %q is no version of Kafka that is known here: take an older one, such as 3.7", c.cfg.MaxVersions)
		}
		c.opts = append(c.opts, kgo.MaxVersions(v))
	}
	c.opts = append(c.opts, o.ExtraOpts...)
	return nil
}

// Alias is the cluster's name in the configuration.
func (c *Cluster) Alias() string { return c.cfg.Alias }

// Client is for everything but the records of lanes: metadata, offsets,
// configs, the group and the progress topic.
func (c *Cluster) Client() *kgo.Client { return c.client }

// Admin is Client with kadm's methods.
func (c *Cluster) Admin() *kadm.Client { return c.admin }

// Links returns the parallel links. Where the configuration does not say how many,
// the first call settles it, by the round trip: it should come after an answer.
func (c *Cluster) Links() []*Link { return c.links[:c.width()] }

// Trip is the shortest time that an answer took so far, so about a round trip to
// the nearest broker; 0 before the first answer.
func (c *Cluster) Trip() time.Duration { return time.Duration(c.heard.trip.Load()) }

// Aside is a link for looking at logs beside the data path. A broker answers one
// request per connection at a time, and those of Links are held, half a second at
// a time, by fetches that wait for records.
func (c *Cluster) Aside() *Link { return &Link{c.client, c.bulk} }

// Heard is when a broker last answered a request, on any connection; zero: none
// ever did. What belongs to making a connection is no answer: it comes before a
// login is refused.
func (c *Cluster) Heard() time.Time {
	if ns := c.heard.at.Load(); ns != 0 {
		return time.Unix(0, ns)
	}
	return time.Time{}
}

// heard is a hook that takes note of answers.
type heard struct {
	at   atomic.Int64 // of the last, ns since 1970
	trip atomic.Int64 // of the fastest, ns; 0: none came
}

// OnBrokerE2E implements kgo.HookBrokerE2E.
func (h *heard) OnBrokerE2E(_ kgo.BrokerMetadata, key int16, e2e kgo.BrokerE2E) {
	if e2e.Err() == nil {
		h.took(e2e.DurationE2E())
	}
	switch kmsg.Key(key) {
	case kmsg.ApiVersions, kmsg.SASLHandshake, kmsg.SASLAuthenticate:
	default:
		if e2e.Err() == nil {
			h.at.Store(time.Now().UnixNano())
		}
	}
}

func (h *heard) took(d time.Duration) {
	for old := h.trip.Load(); old == 0 || int64(d) < old; old = h.trip.Load() {
		if h.trip.CompareAndSwap(old, max(int64(d), 1)) {
			return
		}
	}
}

// Ping asks one bootstrap server after the other for the cluster's brokers and
// returns nil with the first answer. Nothing is retried, so a wrong password is
// tried once per server; a server that drops packets costs ten seconds. The
// error is an *Error: the first fatal one, otherwise the first server's.
func (c *Cluster) Ping(ctx context.Context) error {
	var first *Error
	for i, seed := range c.client.SeedBrokers() {
		err := c.ping(ctx, seed, i)
		if err == nil {
			return nil
		}
		if first == nil || err.Fatal && !first.Fatal {
			first = err
		}
		if ctx.Err() != nil {
			break
		}
	}
	if first == nil {
		return nil
	}
	return first
}

// ping asks the bootstrap server number i.
func (c *Cluster) ping(ctx context.Context, seed *kgo.Broker, i int) *Error {
	req := kmsg.NewPtrMetadataRequest()
	req.Topics = []kmsg.MetadataRequestTopic{} // none; nil would be all
	_, err := seed.Request(ctx, req)
	if err == nil {
		return nil
	}
	if errors.Is(err, kerr.UnsupportedSaslMechanism) {
		err = &mechanismError{asked: c.cfg.SASL.Mechanism, offered: c.mechanisms(ctx, i), err: err}
	}
	e := explain(c.cfg.Alias, err)
	if e.Addr == "" {
		e.Addr = c.cfg.BootstrapServers[i]
	}
	return e
}

// mechanisms asks the bootstrap server number i what SASL mechanisms it offers,
// by a handshake for one that exists nowhere; nil when that fails as well.
func (c *Cluster) mechanisms(ctx context.Context, i int) []string {
	cl, err := kgo.NewClient(c.opts...)
	if err != nil {
		return nil
	}
	defer cl.Close()
	req := kmsg.NewPtrSASLHandshakeRequest()
	req.Mechanism = "NONE"
	resp, err := cl.SeedBrokers()[i].Request(ctx, req)
	if err != nil {
		return nil
	}
	return slices.Sorted(slices.Values(resp.(*kmsg.SASLHandshakeResponse).SupportedMechanisms))
}

// Close ends all connections; requests in flight fail with context.Canceled.
func (c *Cluster) Close() {
	for _, l := range c.links {
		l.client.Close()
	}
	if c.client != nil {
		c.client.Close()
	}
}

// kgoLogger lets kgo's messages through at debug level only: a client repeats
// them for every retry, and the daemon reports an outage once, in its own words.
type kgoLogger struct{ log *slog.Logger }

func (l *kgoLogger) Level() kgo.LogLevel {
	if l.log.Enabled(context.Background(), slog.LevelDebug) {
		return kgo.LogLevelDebug
	}
	return kgo.LogLevelNone
}

func (l *kgoLogger) Log(level kgo.LogLevel, msg string, keyvals ...any) {
	l.log.With(keyvals...).Debug("kgo: "+msg, "kgo_level", level.String())
}
