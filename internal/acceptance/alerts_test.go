package acceptance

import (
	"context"
	"fmt"
	"maps"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/kferry/kferry/deploy/grafana"
	"github.com/kferry/kferry/internal/datagen"
	"github.com/kferry/kferry/internal/faults"
	"github.com/kferry/kferry/internal/ferrytest"
	"github.com/kferry/kferry/internal/kafkatest"
)

// duty is a test's two clusters, its kferry processes and the Prometheus that watches them. Two replicas, a and b, carry the flow
// main, with groups; odd has the topics to which things happen; slow reaches its target over a network that can be slow.
type duty struct {
	*pair
	prom            *prometheus
	a, b, odd, slow *ferrytest.Ferry
	oddFile         string // its configuration
	net             *faults.Network
	names           *strings.Replacer // of what tables call NAME, B and SLOW
	fired           map[string]bool   // names of alerts that fired as they should
	besides         []string          // patterns of alerts that fire on, or may
}

// TestAlerts is Prometheus with the shipped rules, made faster, over real faults: while all is well no alert fires and every query of
// the dashboards has an answer; then each alert fires in its fault, and no other does. Two things are left to promtool, in
// deploy/prometheus: a certificate that is rejected, since none expires in time, and the times that ship.
func TestAlerts(t *testing.T) {
	t.Parallel()
	binary := ferrytest.Monitoring(t, "prometheus")
	d := newDuty(t)
	d.prom = watchBy(t, binary, d.a, d.b, d.odd, d.slow)
	d.quiet()
	d.dashboards(true)

	d.breakTopics()
	d.slowDown()
	d.keepNothing()
	d.groupAhead()
	d.besides = append(d.besides, `KferryLagGrowing\{flow=NAME\.odd .*`) // of lanes that are stopped
	d.fire("faults of topics, rights, groups and speed",
		"KferryLaneStopped{flow=NAME.odd}", "KferryRefused{flow=NAME.odd side=target}", "KferryRejected{cause=authorization cluster=new}",
		"KferryRecordsLost{flow=NAME.odd}", "KferryGroupNotSynced{flow=NAME.main group=NAME.main.ahead}",
		"KferryLagGrowing{flow=NAME.slow topic=NAME.slow.orders}", "KferryMemoryNearBudget{instance=SLOW}", "KferryProgressNotStored{flow=NAME.slow}",
	)
	d.dashboards(false)
	d.b.Kill()
	d.fire("a replica is killed", "KferryDown{instance=B}", "KferryNoOwner{flow=NAME.main}")
	d.awayAndBack()
	d.allFired()
}

// The topics of TestAlerts. All have two partitions but the first, which both replicas must have a share of, and the second,
// whose lanes together must be able to hold all that lanes may of the least memory budget.
const orders, slowOrders, gone, large, denied, lost = "main.orders", "slow.orders", "odd.gone", "odd.large", "odd.denied", "odd.lost"

const sharedPartitions, slowPartitions = 16, 8

// newDuty returns when all of it is ready and records flow.
func newDuty(t *testing.T) *duty {
	options := kafkatest.Options{Security: kafkatest.SASLSSL, Authorizer: true, Detour: true, Users: map[string]string{reader: readerSecret, writer: writerSecret}}
	d := &duty{
		pair: &pair{
			t: t, name: fmt.Sprintf("alerts-%d", time.Now().UnixNano()%1e6), admins: map[*kafkatest.Cluster]*kadm.Client{},
			source: kafkatest.Start(t, options), target: kafkatest.Start(t, options),
		},
		fired: map[string]bool{},
	}
	d.source.Allow(t, reader, d.acls(d.name+".", kadm.OpRead, kadm.OpDescribeConfigs))
	for _, flow := range []string{"main", "odd", "slow"} {
		d.target.Allow(t, writer, d.acls("kferry."+d.topic(flow)+".", progressRights...))
	}
	d.target.Allow(t, writer, kadm.NewACLs().Groups("kferry."+d.name+".").ResourcePatternType(kadm.ACLPatternPrefixed).Operations(kadm.OpRead))
	d.target.Allow(t, writer, d.acls(d.name+".checkpoints.internal", targetRights...))
	d.target.Allow(t, writer, d.acls(d.name+".heartbeats", targetRights...))
	for _, topic := range []string{orders, slowOrders, gone, large, denied, lost} {
		d.target.Allow(t, writer, d.acls(d.topic(topic), targetRights...))
		settings, n := map[string]string{}, int32(partitions)
		switch topic {
		case orders:
			n = sharedPartitions
		case slowOrders:
			n = slowPartitions
		case large:
			settings["max.message.bytes"] = largeLimit
			d.target.CreateTopic(t, d.topic(topic), partitions, nil)
		}
		d.source.CreateTopic(t, d.topic(topic), n, settings)
		d.put(d.topic(topic), 0, 20, 100)
		d.put(d.topic(topic), 1, 20, 100)
	}
	d.startAll()
	d.trickle(d.topic(orders))
	d.consume()
	d.commit(d.source, d.topic("main.ahead"), d.topic(orders), map[int32]int64{0: 5, 1: 5})
	return d
}

// flow is the configuration of one of the flows.
func (d *duty) flow(name string) tree {
	s := d.settings()
	f := flowOf(s)
	f["name"], f["topics"] = d.topic(name), []string{regexp.QuoteMeta(d.topic(name)) + `\..*`}
	return s
}

func (d *duty) startAll() {
	t, s := d.t, d.flow("main")
	d.follow(s)
	d.a = d.run(s)
	d.a.Ready()
	d.b = d.run(s)
	s = d.flow("odd")
	flowOf(s)["sync_topic_configs"] = false // it would raise the target's limit
	d.oddFile = d.file(s)
	d.odd = d.run(s)

	detour := d.target.Detours()[0]
	var err error
	if d.net, err = faults.NewNetwork([]faults.Route{{Listen: detour.Advertised, Broker: detour.Broker}}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.net.Close)
	s = d.flow("slow")
	s["memory_budget"] = "16MiB"
	at(s, "clusters", "new")["bootstrap_servers"] = []string{detour.Advertised}
	d.slow = d.run(s)
	for _, f := range []*ferrytest.Ferry{d.b, d.odd, d.slow} {
		f.Ready()
	}
	d.names = strings.NewReplacer("NAME", d.name, "SLOW", instance(d.slow), "B}", instance(d.b)+"}")
}

// consume is a consumer group of the source at work.
func (d *duty) consume() {
	cl := d.source.Client(d.t, kafkatest.AdminUser, kgo.ConsumerGroup(d.topic("main.readers")), kgo.ConsumeTopics(d.topic(orders)), kgo.AutoCommitInterval(time.Second))
	ferrytest.InBackground(d.t, func(ctx context.Context) (n int64, err error) {
		for ctx.Err() == nil {
			n += int64(cl.PollFetches(ctx).NumRecords())
		}
		return n, nil
	})
}

// quiet waits until all processes have been looked at for a while and no alert was even pending in that time.
func (d *duty) quiet() {
	const while = 20 // seconds
	ferrytest.Eventually(d.t, ferrytest.Patience, "no alert while all is well", func() (bool, string) {
		alerts, err := d.prom.alerts("firing|pending", while)
		seen, err2 := d.prom.ask(fmt.Sprintf("min_over_time(up[%ds]) == 1 and count_over_time(up[%ds]) > %d", while, while, while-4))
		safe, err3 := d.prom.ask("count(flow:kferry_switch_blockers)")
		return err == nil && err2 == nil && err3 == nil && len(alerts) == 0 && len(seen) == 4 && len(safe) == 1, fmt.Sprint(alerts, seen, safe, err, err2, err3)
	})
	d.t.Logf("all is well: no alert was firing or pending for %d s", while)
}

// answerless are the queries that have no answer while all is well, with the reason.
var answerless = map[string]string{
	"overview.json: What is wrong/Alerts A": "alerts are what it shows",
}

// dashboards wants an answer to each query, with the variables chosen: to all of them while it is well, and to those of
// answerless in a fault.
func (d *duty) dashboards(well bool) {
	d.t.Helper()
	queries, err := grafana.Queries()
	if err != nil {
		d.t.Fatal(err)
	}
	fill := strings.NewReplacer("$flow", d.topic("main"), "$topic", d.topic(orders), "$instance", ".+", "$__rate_interval", "10s")
	asked := 0
	for _, q := range queries {
		if _, without := answerless[q.String()]; without == well {
			continue
		}
		asked++
		found, err := d.prom.ask(fill.Replace(q.Expr))
		if err != nil || !slices.ContainsFunc(found, func(s series) bool { return !math.IsNaN(s.value) }) {
			d.t.Errorf("%s has no answer: %v %v\n%s", q, found, err, q.Expr)
		}
	}
	if asked == 0 || len(queries) < 60 {
		d.t.Errorf("%d of %d queries were asked", asked, len(queries))
	}
	d.t.Logf("%d of %d queries of dashboards have answers", asked, len(queries))
}

// breakTopics has one thing happen to each topic of the odd flow.
func (d *duty) breakTopics() {
	t := d.t
	d.command(0, "pause", "-c", d.oddFile, "--flow", d.topic("odd"), "--topic", d.topic(lost))
	d.odd.Lanes("paused", partitions)
	d.put(d.topic(lost), 0, 20, 100)
	removed := kadm.Offsets{}
	removed.AddOffset(d.topic(lost), 0, 40, -1)
	if _, err := d.admin(d.source).DeleteRecords(t.Context(), removed); err != nil {
		t.Fatal(err)
	}
	d.command(0, "resume", "-c", d.oddFile, "--flow", d.topic("odd"), "--topic", d.topic(lost))

	d.target.Disallow(t, writer, d.acls(d.topic(denied), targetRights...))
	d.put(d.topic(denied), 0, 1, 100)
	d.put(d.topic(large), 0, 1, largeRecord)
	if _, err := d.admin(d.source).DeleteTopics(t.Context(), d.topic(gone)); err != nil {
		t.Fatal(err)
	}
	d.source.CreateTopic(t, d.topic(gone), partitions, nil)
}

// slowDown writes more to the slow flow than its network can bear.
func (d *duty) slowDown() {
	if err := d.net.Set(faults.Bandwidth(200)); err != nil {
		d.t.Fatal(err)
	}
	d.keepWriting(datagen.Options{Topic: d.topic(slowOrders), Rate: 2000, Size: 1024})
}

// keepNothing takes the right to store progress, of a flow that makes some. While a whole cluster is away there is none to store.
func (d *duty) keepNothing() {
	d.target.Disallow(d.t, writer, d.acls("kferry."+d.topic("slow")+".", kadm.OpWrite))
}

// groupAhead moves a group on the target beyond where it is on the source, as somebody does who resets it there.
func (d *duty) groupAhead() {
	d.commit(d.target, d.topic("main.ahead"), d.topic(orders), map[int32]int64{0: 15, 1: 15})
}

// awayAndBack ends the brokers one after the other, and has the target not know kferry's password when it comes back.
func (d *duty) awayAndBack() {
	t := d.t
	if err := d.source.Kill(0); err != nil {
		t.Fatal(err)
	}
	d.besides = append(d.besides, `KferryLaneWaiting\{.*`, `KferryGroupNotSynced\{flow=NAME\.main .*`) // take longer
	d.fire("the source is away",
		"KferryClusterAway{cluster=NAME}", "KferryClusterAway{cluster=old}", "KferryLagStale{flow=NAME.main}", "KferryLagStale{flow=NAME.odd}",
		"KferryLagStale{flow=NAME.slow}", "KferryGroupsNotFollowed{flow=NAME.main}")

	// The group is on the target: a replica that hears nothing of it stores nothing, and gives its slots up.
	d.besides = append(d.besides, `KferryNoOwner\{.*`, `KferryProgressNotStored\{.*`)
	d.password(wrongSecret)
	if err := d.target.Kill(0); err != nil {
		t.Fatal(err)
	}
	d.fire("the target is away as well",
		"KferryClusterAway{cluster=new}", "KferryHeartbeatStale{flow=NAME.main}", "KferryLaneWaiting{flow=NAME.main}")

	for _, c := range []*kafkatest.Cluster{d.source, d.target} {
		if err := c.Restart(0); err != nil {
			t.Fatal(err)
		}
	}
	d.fire("the password was changed", "KferryRejected{cause=password cluster=new}")
	d.password(writerSecret)
	d.target.Allow(t, writer, d.acls("kferry."+d.topic("slow")+".", kadm.OpWrite))
	if err := d.net.Set(); err != nil {
		t.Fatal(err)
	}
	over := regexp.MustCompile("^Kferry(ClusterAway|LagStale|GroupsNotFollowed|ProgressNotStored|HeartbeatStale|LaneWaiting|NoOwner)|cause=password")
	ferrytest.Eventually(t, ferrytest.Patience, "alerts end with their faults", func() (bool, string) {
		alerts, err := d.prom.alerts("firing", 0)
		still := slices.DeleteFunc(slices.Clone(alerts), func(a string) bool { return !over.MatchString(a) })
		return err == nil && len(still) == 0, fmt.Sprint(still, err)
	})
}

// password changes that of the target's user, for connections to come.
func (d *duty) password(secret string) {
	d.t.Helper()
	_, err := d.target.Admin(d.t).AlterUserSCRAMs(d.t.Context(), nil, []kadm.UpsertSCRAM{
		{User: writer, Mechanism: kadm.ScramSha512, Iterations: 4096, Password: secret},
	})
	if err != nil {
		d.t.Fatal(err)
	}
}

// fire waits until all these alerts fire, and wants no others but those that fire on and the patterns of besides.
func (d *duty) fire(what string, want ...string) {
	d.t.Helper()
	for i := range want {
		want[i] = d.names.Replace(want[i])
		name, _, _ := strings.Cut(want[i], "{")
		d.fired[name] = true
		d.besides = append(d.besides, regexp.QuoteMeta(want[i]))
	}
	began, seen := time.Now(), map[string]time.Duration{} // some faults mend themselves while others take long
	var alerts []string
	ferrytest.Eventually(d.t, ferrytest.Patience, "alerts in "+what, func() (bool, string) {
		var err error
		alerts, err = d.prom.alerts("firing", 0)
		for _, a := range alerts {
			if _, ok := seen[a]; !ok {
				seen[a] = time.Since(began).Round(time.Second)
			}
		}
		missing := slices.DeleteFunc(slices.Clone(want), func(a string) bool { _, ok := seen[a]; return ok })
		return err == nil && len(missing) == 0, fmt.Sprintf("missing: %q\nfiring: %q\n%v", missing, alerts, err)
	})
	may := regexp.MustCompile("^(?:" + d.names.Replace(strings.Join(d.besides, "|")) + ")$")
	for _, a := range slices.Sorted(maps.Keys(seen)) {
		d.t.Logf("%s: %s fires after %v", what, a, seen[a])
		if !may.MatchString(a) {
			d.t.Errorf("%s: and should not", what)
		}
	}
}

// allFired wants every alert that ships to have fired.
func (d *duty) allFired() {
	text, err := os.ReadFile(filepath.Join("..", "..", "deploy", "prometheus", "kferry.rules.yml"))
	if err != nil {
		d.t.Fatal(err)
	}
	for _, m := range regexp.MustCompile(`- alert: (\w+)`).FindAllStringSubmatch(string(text), -1) {
		if !d.fired[m[1]] {
			d.t.Errorf("%s was not brought about", m[1])
		}
	}
}
