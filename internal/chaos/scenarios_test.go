package chaos

import (
	"context"
	"errors"
	"fmt"
	"syscall"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/kferry/kferry/internal/faults"
)

// scenarios is the matrix. docs/reliability.md has the same rows.
var scenarios = []scenario{
	{name: "kill a replica", full: dose{times: 20}, short: dose{times: 3}, old: true, fault: killReplica},
	{name: "add a replica", full: dose{times: 5}, replicas: 2, old: true, fault: addReplica},
	{name: "rolling restart", full: dose{times: 3}, old: true, fault: rollingRestart},
	{name: "freeze a replica", full: dose{10, time.Minute}, old: true, fault: freezeReplica},
	{name: "kill a source broker", full: dose{times: 6}, short: dose{times: 1}, old: true, fault: killBroker(true, false)},
	{
		name: "kill a target broker", full: dose{times: 6}, short: dose{times: 1},
		old: true, shortOld: dose{times: 2}, fault: killBroker(false, true),
	},
	{name: "restart a target broker", full: dose{times: 6}, old: true, shortOld: dose{times: 2}, fault: restartBroker},
	{name: "kill a broker of each", full: dose{times: 3}, old: true, fault: killBroker(true, true)},
	{
		name: "all target brokers down", full: dose{2, 2 * time.Minute}, short: dose{1, 15 * time.Second},
		old: true, fault: allDown(theTarget),
	},
	{name: "all source brokers down", full: dose{2, 2 * time.Minute}, fault: allDown(theSource)},
	{
		name: "connections cut", full: dose{1, 5 * time.Minute}, short: dose{1, 20 * time.Second},
		old: true, shortOld: dose{1, 10 * time.Second}, fault: cutConnections,
	},
	{
		name: "latency", full: dose{1, 2 * time.Minute},
		old: true, fault: slow(faults.Latency(200*time.Millisecond), faults.SlowClose(time.Second)),
	},
	{name: "little bandwidth", full: dose{1, 2 * time.Minute}, plain: true, old: true, fault: starve},
	{name: "silent network", full: dose{1, 2 * time.Minute}, old: true, fault: slow(faults.Silence())},
	{name: "flipped bits", full: dose{times: 5}, short: dose{times: 1}, plain: true, fault: flipBits},
	{name: "topics and partitions appear", full: dose{times: 10}, short: dose{times: 1}, fault: grow},
	{name: "settings change", full: dose{times: 10}, fault: changeSettings},
	{name: "rights taken", full: dose{times: 3}, fault: takeRights},
	{name: "password rotated", full: dose{times: 3}, fault: rotatePassword},
	{name: "topic made anew", full: dose{times: 3}, short: dose{times: 1}, fault: makeAnew},
	{name: "retention overtakes", full: dose{times: 3}, short: dose{times: 1}, fault: overtake},
	{name: "log truncated", full: dose{times: 3}, fault: truncate},
	{name: "disk full", full: dose{2, time.Minute}, old: true, fault: fillDisk},
}

func theSource(w *world) *side { return w.source }
func theTarget(w *world) *side { return w.target }

// moment lets time pass, so that a fault comes at another stage each time.
func (w *world) moment() { time.Sleep(time.Duration(w.rng.Int64N(int64(1500 * time.Millisecond)))) }

// nextBroker takes one broker after the other, from a random one on.
func (w *world) nextBroker() int {
	w.broker = (w.broker + 1) % brokers
	return w.broker
}

// last lets a fault last: its length is the point, nothing is waited for.
func (w *world) last(d time.Duration) {
	select {
	case <-time.After(d):
	case <-w.t.Context().Done():
	}
}

func killReplica(w *world, _ dose) {
	i := w.rng.IntN(len(w.replicas))
	w.moment()
	w.replicas[i].Kill()
	w.start(i)
}

// addReplica has one more for a while.
func addReplica(w *world, _ dose) {
	w.replicas = append(w.replicas, nil)
	w.start(replicas)
	added := w.replicas[replicas]
	w.eventually("the new replica has its share", func() (bool, string) {
		_, body, err := added.Peek("/metrics")
		return err == nil && lanes(body, "running") > 0, fmt.Sprint(err)
	})
	w.moment()
	w.catchUp()
	w.replicas[replicas].Stop()
	w.replicas = w.replicas[:replicas]
}

func rollingRestart(w *world, _ dose) {
	for i, f := range w.replicas {
		w.moment()
		f.Stop()
		w.start(i)
		w.catchUp()
	}
}

func freezeReplica(w *world, d dose) {
	f := w.replicas[w.rng.IntN(len(w.replicas))]
	w.moment()
	f.Signal(syscall.SIGSTOP)
	w.last(d.lasts)
	f.Signal(syscall.SIGCONT)
}

func killBroker(source, target bool) func(*world, dose) {
	return func(w *world, _ dose) {
		var hit []*side
		if source {
			hit = append(hit, w.source)
		}
		if target {
			hit = append(hit, w.target)
		}
		i := w.nextBroker()
		w.moment()
		for _, s := range hit {
			s.kill(i)
		}
		w.moment()
		for _, s := range hit {
			s.restart(i)
		}
	}
}

// restartBroker starts a target broker anew as its service manager does it: the broker hands its partitions over, and forgets at
// its start whoever wrote old records.
func restartBroker(w *world, _ dose) {
	i := w.nextBroker()
	w.moment()
	w.target.shutDown(i)
	w.moment()
	w.target.restart(i)
}

func allDown(which func(*world) *side) func(*world, dose) {
	return func(w *world, d dose) {
		s, logs := which(w), w.logs()
		for i := range brokers {
			s.kill(i)
		}
		w.loud(logs, `nothing listens|connection refused`)
		w.last(d.lasts)
		s.restart(0, 1, 2)
	}
}

func cutConnections(w *world, d dose) {
	for _, s := range []*side{w.source, w.target} {
		s.set(faults.Cut(w.rng.Uint64(), 10, time.Second))
	}
	w.last(d.lasts)
	for _, s := range []*side{w.source, w.target} {
		s.set()
	}
	w.eventually("kferry has noticed cuts", func() (bool, string) {
		n := 0.0
		for _, f := range w.replicas {
			n += f.Metric("kferry_request_errors_total")
		}
		return n > 0, fmt.Sprint(n, " failed requests")
	})
}

func slow(f ...faults.Fault) func(*world, dose) {
	return func(w *world, d dose) {
		for _, s := range []*side{w.source, w.target} {
			s.set(f...)
		}
		w.last(d.lasts)
		for _, s := range []*side{w.source, w.target} {
			s.set()
		}
	}
}

// starve leaves the records of each cluster 1 MB/s, over all connections that carry them. The load is more than twice that:
// were it less, nothing would be tried, so the target must have fallen behind.
func starve(w *world, d dose) {
	const links = 2 // per broker, kferry's default
	limit := faults.Bandwidth(1000 / (brokers * links))
	for _, s := range []*side{w.source, w.target} {
		s.set(limit)
	}
	w.last(d.lasts)
	w.eventually("the target falls behind", func() (bool, string) {
		from, err1 := w.source.held(w.t.Context(), w.name+".")
		to, err2 := w.target.held(w.t.Context(), w.name+".")
		return err1 == nil && err2 == nil && from-to > 10*rate, fmt.Sprintf("source %d, target %d: %v %v", from, to, err1, err2)
	})
	for _, s := range []*side{w.source, w.target} {
		s.set()
	}
}

// flipBits spoils records on their way from the source, then on their way to the target.
func flipBits(w *world, _ dose) {
	const bits = 5
	for _, s := range []*side{w.source, w.target} {
		f := &faults.Flipper{Mark: []byte("application/json"), Every: 1 + w.rng.IntN(20), Most: bits}
		s.set(faults.Damage(f))
		w.eventually("bits are turned over", func() (bool, string) { return f.Flipped() == bits, fmt.Sprint(f.Flipped(), " of ", bits) })
		w.catchUp() // while the flipper is in the way: no spoilt piece may be cut off by its removal
		s.set()
	}
}

func grow(w *world, _ dose) {
	n := len(w.topics)
	topic := w.newTopic(fmt.Sprint("new-", n), 3, 100)
	w.moment()
	if _, err := w.source.admin.UpdatePartitions(w.t.Context(), 6, topic); err != nil {
		w.t.Fatal(err)
	}
	// A generator keeps to the partitions that it began with.
	w.eventually("the new partitions are there", func() (bool, string) {
		ts, err := w.source.admin.ListTopics(w.t.Context(), topic)
		return err == nil && len(ts[topic].Partitions) == 6, fmt.Sprint(err)
	})
	w.write(topic, 100)
}

func changeSettings(w *world, _ dose) {
	value := fmt.Sprint(1<<20 + w.rng.IntN(1<<20))
	_, err := w.source.admin.AlterTopicConfigs(w.t.Context(), []kadm.AlterConfig{
		{Op: kadm.SetConfig, Name: "max.message.bytes", Value: &value},
		{Op: kadm.SetConfig, Name: "segment.bytes", Value: kadm.StringPtr("2097152")},
		{Op: kadm.SetConfig, Name: "retention.ms", Value: kadm.StringPtr("-1")},
	}, w.topics...)
	if err != nil {
		w.t.Fatal(err)
	}
	w.moment()
}

// takeRights takes a right of kferry's and gives it back when kferry has said what it lacks.
func takeRights(w *world, _ dose) {
	logs := w.logs()
	w.target.Disallow(w.t, writer, w.targetRights())
	w.loud(logs, `lane stopped.*(allow|not allowed)`)
	w.target.Allow(w.t, writer, w.targetRights())
	w.catchUp()

	logs = w.logs()
	w.source.Disallow(w.t, reader, w.sourceRights())
	w.loud(logs, `lane stopped`)
	w.source.Allow(w.t, reader, w.sourceRights())
}

func rotatePassword(w *world, _ dose) {
	w.t.Cleanup(func() { w.setSecret(context.Background(), writerSecret) }) // others share the cluster
	next := nextSecret
	if w.secret == nextSecret {
		next = writerSecret
	}
	w.setSecret(w.t.Context(), next)
	w.moment()
	for i, f := range w.replicas {
		// One that cannot store its last progress any more says that it is refused;
		// the next start asks the target.
		f.Signal(syscall.SIGTERM)
		f.Exit(0, 4)
		w.start(i)
		w.catchUp()
	}
}

// setSecret alters the writer's password on the target.
func (w *world) setSecret(ctx context.Context, secret string) {
	cl, err := w.target.NewClient("admin")
	if err != nil {
		w.t.Fatal(err)
	}
	defer cl.Close()
	_, err = kadm.NewClient(cl).AlterUserSCRAMs(ctx, nil, []kadm.UpsertSCRAM{
		{User: writer, Mechanism: kadm.ScramSha512, Iterations: 4096, Password: secret},
	})
	if err != nil {
		w.t.Fatal(err)
	}
	w.secret = secret
}

// fillDisk gives one target broker a small disk and fills it: Kafka then ends that broker. It comes back when there is
// room again.
func fillDisk(w *world, d dose) {
	i := w.nextBroker()
	w.target.kill(i)
	disk, err := faults.NewDisk(w.target.DataDir(i), 1<<30)
	if errors.Is(err, faults.ErrNoMount) {
		w.target.restart(i)
		w.t.Skipf("not run: %v", err)
	}
	if err != nil {
		w.t.Fatal(err)
	}
	defer func() {
		_ = w.target.Kill(i) // it may be dead
		if err := disk.Remove(); err != nil {
			w.t.Error(err)
		}
		w.target.restart(i)
	}()
	w.target.restart(i)
	w.catchUp()
	if err := disk.Fill(); err != nil {
		w.t.Fatal(err)
	}
	w.last(d.lasts)
	w.catchUp() // the other brokers carry on
	if err := disk.Free(); err != nil {
		w.t.Fatal(err)
	}
	w.target.restart(i)
	w.catchUp()
}
