package chaos

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.yaml.in/yaml/v3"
	"golang.org/x/sync/errgroup"

	"github.com/kferry/kferry/internal/check"
	"github.com/kferry/kferry/internal/datagen"
	"github.com/kferry/kferry/internal/faults"
	"github.com/kferry/kferry/internal/ferrytest"
	"github.com/kferry/kferry/internal/kafka"
	"github.com/kferry/kferry/internal/kafkatest"
)

const (
	// replicas is how many kferry processes carry the flow.
	replicas = 3

	brokers    = 3
	partitions = 12
	rate       = 5000 // records a second
)

// The users that kferry logs in as.
const (
	reader, readerSecret = "alice", "Reader-4kP8vN"
	writer, writerSecret = "bob", "Writer-m2Yc7R"
	nextSecret           = "Next-w6Dj3B" // of the writer, once rotated
)

// side is a cluster and the only way that kferry has to its brokers.
type side struct {
	*kafkatest.Cluster
	t     testing.TB
	net   *faults.Network
	admin *kadm.Client
}

// quickly has a target forget each second, and not each ten minutes, the producers whose last record is more than a day old.
var quickly = map[string]string{"producer.id.expiration.check.interval.ms": "1000"}

func newSide(t testing.TB, user, secret string, config map[string]string) *side {
	t.Helper()
	// What is acknowledged is on two brokers, as in production; what is deleted makes room soon.
	all := map[string]string{"min.insync.replicas": "2", "log.segment.delete.delay.ms": "1000"}
	maps.Copy(all, config)
	s := &side{t: t, Cluster: kafkatest.Shared(t, kafkatest.Options{
		Brokers: brokers, Security: kafkatest.SASLPlaintext, Authorizer: true, Detour: true, Users: map[string]string{user: secret},
		Config: all,
	})}
	s.admin = s.Admin(t)
	var routes []faults.Route
	for _, d := range s.Detours() {
		routes = append(routes, faults.Route{Listen: d.Advertised, Broker: d.Broker})
	}
	var err error
	if s.net, err = faults.NewNetwork(routes); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.net.Close)
	return s
}

// kill ends broker i as kill -9 does.
func (s *side) kill(i int) {
	s.t.Helper()
	s.net.Down(i)
	if err := s.Kill(i); err != nil {
		s.t.Fatal(err)
	}
}

// shutDown ends broker i as its service manager does. What knocks meanwhile meets a broker that ends, and then nobody.
func (s *side) shutDown(i int) {
	s.t.Helper()
	if err := s.ShutDown(i); err != nil {
		s.t.Fatal(err)
	}
	s.net.Down(i)
}

// restart brings brokers back, together: alone none of them may have a quorum.
func (s *side) restart(which ...int) {
	s.t.Helper()
	var g errgroup.Group
	for _, i := range which {
		g.Go(func() error { return s.Restart(i) })
	}
	if err := g.Wait(); err != nil {
		s.t.Fatal(err)
	}
	for _, i := range which {
		if err := s.net.Up(i); err != nil {
			s.t.Fatal(err)
		}
	}
}

func (s *side) set(f ...faults.Fault) {
	s.t.Helper()
	if err := s.net.Set(f...); err != nil {
		s.t.Fatal(err)
	}
}

// held counts the offsets of topics that begin with prefix.
func (s *side) held(ctx context.Context, prefix string) (n int64, err error) {
	topics, err := s.admin.ListTopics(ctx)
	if err != nil {
		return 0, err
	}
	for _, name := range topics.Names() {
		if !strings.HasPrefix(name, prefix) {
			continue
		}
		starts, err := s.admin.ListStartOffsets(ctx, name)
		if err == nil {
			err = starts.Error()
		}
		if err != nil {
			return 0, err
		}
		ends, err := s.admin.ListEndOffsets(ctx, name)
		if err == nil {
			err = ends.Error()
		}
		if err != nil {
			return 0, err
		}
		ends.Each(func(o kadm.ListedOffset) {
			start, _ := starts.Lookup(name, o.Partition)
			n += o.Offset - start.Offset
		})
	}
	return n, nil
}

// world is all that a scenario plays in.
type world struct {
	t              testing.TB
	rng            *rand.Rand
	name           string // of the flow; its topics begin with it and a dot
	source, target *side
	secret         string // the writer's, at present
	replicas       []*ferrytest.Ferry
	watch          *watch
	load           []*ferrytest.Live
	codec          datagen.Codec
	age            func(n int64) time.Duration // of the load's records; nil: they are fresh
	topics         []string
	broker         int            // the last that nextBroker chose
	flow           map[string]any // more settings of the flow
	config         string         // the file of the replica that was started last
	compared       bool           // the two sides were
	lost           int            // topics that were made to lose records
	lostOffsets    float64
}

// newWorld returns when the load is being carried.
func newWorld(t testing.TB, s scenario) *world {
	t.Helper()
	w := emptyWorld(t, s.name, quickly)
	if s.plain {
		w.codec = datagen.None
	}
	if s.aged {
		w.age = ages
	}
	w.newTopic("orders", partitions, rate)
	w.launch(replicas)
	w.catchUp()
	return w
}

// emptyWorld has no topics yet, and nobody carries anything. config is of the target's brokers, beside what all have.
func emptyWorld(t testing.TB, name string, config map[string]string) *world {
	t.Helper()
	name = regexp.MustCompile(`[^a-z0-9]+`).ReplaceAllString(strings.ToLower(name), "-")
	w := &world{
		t: t, name: fmt.Sprintf("%s-%d", name, time.Now().UnixNano()%1e6), secret: writerSecret, codec: datagen.Zstd,
		source: newSide(t, reader, readerSecret, nil), target: newSide(t, writer, writerSecret, config),
	}
	w.rng = ferrytest.Random(t)
	w.broker = w.rng.IntN(brokers)
	t.Cleanup(w.clear)
	t.Cleanup(w.autopsy)
	w.source.Allow(t, reader, w.sourceRights())
	w.target.Allow(t, writer, w.targetRights())
	w.target.Allow(t, writer, prefixed(kadm.NewACLs().Topics("kferry."+w.name+".")).Operations(kadm.OpAll))
	w.target.Allow(t, writer, prefixed(kadm.NewACLs().Groups("kferry."+w.name)).Operations(kadm.OpAll))
	for _, s := range []struct {
		*side
		user string
	}{{w.source, reader}, {w.target, writer}} {
		s.Allow(t, s.user, prefixed(kadm.NewACLs().Topics(w.lossPrefix())).Operations(kadm.OpAll))
	}
	w.watch = newWatch(t)
	return w
}

func prefixed(b *kadm.ACLBuilder) *kadm.ACLBuilder {
	return b.ResourcePatternType(kadm.ACLPatternPrefixed)
}

// launch starts n replicas and returns when they have shared the lanes out: at first each carries everything.
func (w *world) launch(n int) {
	w.t.Helper()
	for i := range n {
		w.replicas = append(w.replicas, nil)
		w.start(i)
	}
	for _, f := range w.replicas {
		f.Says(`(slots owned|slots added)`)
	}
}

// ages has a second of fresh records, and then some of three days and of three years ago, in turns.
func ages(n int64) time.Duration {
	const day = 24 * time.Hour
	return [...]time.Duration{0, 3 * day, 3 * 365 * day, 3 * day}[n/rate%4]
}

func (w *world) sourceRights() *kadm.ACLBuilder {
	return kadm.NewACLs().Topics(w.name+".").ResourcePatternType(kadm.ACLPatternPrefixed).Operations(kadm.OpRead, kadm.OpDescribe, kadm.OpDescribeConfigs)
}

func (w *world) targetRights() *kadm.ACLBuilder {
	return kadm.NewACLs().Topics(w.name + ".").ResourcePatternType(kadm.ACLPatternPrefixed).Operations(kadm.OpAll)
}

// clear deletes the scenario's topics; what stays is litter, and goes with the cluster.
func (w *world) clear() {
	for _, s := range []*side{w.source, w.target} {
		cl, err := s.NewClient(kafkatest.AdminUser)
		if err != nil {
			continue
		}
		defer cl.Close()
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		_, _ = kadm.NewClient(cl).DeleteTopics(ctx, append(w.topics, "kferry."+w.name+".progress", w.letters())...)
	}
}

// letters is the flow's dead letter topic.
func (w *world) letters() string { return "kferry." + w.name + ".dead_letter" }

// newTopic makes a topic on the source and writes to it beside the test.
func (w *world) newTopic(short string, partitions int32, perSecond float64) string {
	w.t.Helper()
	topic := w.name + "." + short
	w.source.CreateTopic(w.t, topic, partitions, map[string]string{"retention.ms": "-1"})
	w.topics = append(w.topics, topic)
	w.write(topic, perSecond)
	return topic
}

// write writes to the source without a break. A generator gives up when a broker is away for long; then a new one goes on,
// and it does not matter what of the last batches is there: the source's log is what the target must be like.
func (w *world) write(topic string, perSecond float64) {
	seed := w.rng.Uint64()
	w.load = append(w.load, ferrytest.InBackground(w.t, func(ctx context.Context) (n int64, err error) {
		for ; ctx.Err() == nil; seed++ {
			cl, err := kafka.Open(w.source.Config("source", kafkatest.AdminUser), kafka.Options{})
			if err != nil {
				return n, err
			}
			st, _ := datagen.Run(ctx, cl, datagen.Options{Topic: topic, Rate: perSecond, Codec: w.codec, Seed: seed, Age: w.age})
			cl.Close()
			n += st.Records
			select {
			case <-time.After(100 * time.Millisecond):
			case <-ctx.Done():
			}
		}
		return n, nil
	}))
}

// start runs replica i.
func (w *world) start(i int) {
	w.t.Helper()
	type tree = map[string]any
	login := func(d *side, user, secret string) tree {
		var at []string
		for _, d := range d.Detours() {
			at = append(at, d.Advertised)
		}
		return tree{"bootstrap_servers": at, "sasl": tree{"mechanism": "SCRAM-SHA-512", "username": user, "password": secret}}
	}
	flow := tree{
		"name": w.name, "source": "old", "target": "new", "refresh_interval": "1s",
		"topics": []string{regexp.QuoteMeta(w.name+".") + ".*", regexp.QuoteMeta(w.lossPrefix()) + ".*"},
	}
	maps.Copy(flow, w.flow)
	text, err := yaml.Marshal(tree{
		"clusters": tree{"old": login(w.source, reader, "${OLD_PASSWORD}"), "new": login(w.target, writer, "${NEW_PASSWORD}")},
		"flows":    []tree{flow},
		"http":     tree{"listen": "127.0.0.1:0"},
		"log":      tree{"format": "text"},
	})
	if err != nil {
		w.t.Fatal(err)
	}
	file := filepath.Join(w.t.TempDir(), "kferry.yaml")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		w.t.Fatal(err)
	}
	w.config = file
	env := ferrytest.Environ("OLD_PASSWORD="+readerSecret, "NEW_PASSWORD="+w.secret, fmt.Sprint("KFERRY_INSTANCE_ID=r", i+1))
	f := ferrytest.Launch(w.t, ferrytest.Binary(w.t, w.source.Dir()), env, []string{readerSecret, writerSecret, nextSecret}, []string{"run", "-c", file})
	w.replicas[i] = f
	w.watch.add(f)
}

// catchUp waits until the load runs, for a second's worth at least, and the target holds as much as the source did then.
// A generator that still waits for its broker would have the next fault hit nothing.
func (w *world) catchUp() {
	w.t.Helper()
	began, want := int64(-1), int64(-1)
	w.eventually("the load runs", func() (bool, string) {
		n, err := w.source.held(w.t.Context(), w.name+".")
		switch {
		case err != nil:
		case began < 0:
			began = n
		case n >= began+rate:
			want = n
		}
		return want >= 0, fmt.Sprintf("the source holds %d, and %d at first: %v", n, began, err)
	})
	w.eventually("the target catches up", func() (bool, string) {
		w.hopeful()
		n, err := w.target.held(w.t.Context(), w.name+".")
		return err == nil && n >= want, fmt.Sprintf("%d of %d: %v", n, want, err)
	})
}

// forGood matches reasons that stay until a person acts.
var forGood = regexp.MustCompile(`To forget a lane|another kferry runs this flow`)

// hopeful ends the test when a lane has stopped for a reason that only a person can mend: it never catches up.
func (w *world) hopeful() {
	w.t.Helper()
	for _, l := range w.lanes() {
		if l.State == "stopped" && strings.HasPrefix(l.Topic, w.name+".") && forGood.MatchString(l.Reason) {
			w.t.Fatalf("%+v", l)
		}
	}
}

// autopsy compares what there is when the test has ended early. What was still on its way counts as lost.
func (w *world) autopsy() {
	if !w.t.Failed() || w.compared {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	w.t.Log("the test ended early; what is lost below may have been on its way")
	for _, topic := range w.topics {
		r, err := check.Compare(ctx, w.conn(w.source), w.conn(w.target), check.Options{Topic: topic})
		w.t.Logf("%s: %v\n%s", topic, err, r)
	}
}

// settle ends the load and waits until all of it arrived and nothing moves any more. More than all of it is for compare to
// tell about.
func (w *world) settle() {
	w.t.Helper()
	for _, l := range w.load {
		l.Stop(w.t)
	}
	last := int64(-1)
	tick := time.NewTicker(time.Second) // a record of the load may still be on its way into the source
	defer tick.Stop()
	w.eventually("all is carried", func() (bool, string) {
		<-tick.C
		from, err1 := w.source.held(w.t.Context(), w.name+".")
		to, err2 := w.target.held(w.t.Context(), w.name+".")
		still := from == last
		last = from
		return err1 == nil && err2 == nil && still && from <= to, fmt.Sprintf("source %d, target %d: %v %v", from, to, err1, err2)
	})
}

// eventually is ferrytest.Eventually for what needs a kferry that lives.
func (w *world) eventually(what string, done func() (bool, string)) {
	w.t.Helper()
	ferrytest.Eventually(w.t, patience(), what, func() (bool, string) {
		for i, f := range w.replicas {
			if !f.Running() {
				w.t.Fatalf("replica r%d ended by itself with %d", i+1, f.Code)
			}
		}
		return done()
	})
}

// compare stops the replicas and wants the target to be like the source.
func (w *world) compare() {
	w.t.Helper()
	w.compared = true
	for name, want := range map[string]float64{"kferry_lost_offsets_total": w.lostOffsets, "kferry_possible_duplicates_total": 0} {
		if n := w.sum(name); n != want {
			w.t.Errorf("%s is %v, want %v", name, n, want)
		}
	}
	w.watch.stop()
	for _, f := range w.replicas {
		f.Stop()
	}
	for _, topic := range w.topics {
		w.same(check.Options{Topic: topic})
	}
}

// same wants a topic of the target to be like the source's.
func (w *world) same(o check.Options) {
	w.t.Helper()
	r, err := check.Compare(w.t.Context(), w.conn(w.source), w.conn(w.target), o)
	if err == nil {
		err = r.Err()
	}
	if err != nil {
		w.t.Errorf("%s: %v", o.Topic, err)
	}
	if r.Total().Source == 0 {
		w.t.Errorf("nothing was compared in %s", o.Topic)
	}
	w.t.Logf("%s", r)
}

func (w *world) conn(s *side) check.Conn {
	w.t.Helper()
	conn, err := check.FromConfig(s.Config("check", kafkatest.AdminUser))
	if err != nil {
		w.t.Fatal(err)
	}
	return append(conn, kgo.MetadataMinAge(50*time.Millisecond))
}
