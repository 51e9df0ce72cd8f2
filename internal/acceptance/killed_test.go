package acceptance

import (
	"math/rand/v2"
	"net/http"
	"testing"
	"time"

	"github.com/kferry/kferry/internal/check"
	"github.com/kferry/kferry/internal/datagen"
	"github.com/kferry/kferry/internal/ferrytest"
	"github.com/kferry/kferry/internal/kafkatest"
)

// killing is a story of TestKilled.
type killing struct {
	version string
	foreign bool  // somebody else writes to the target topics too
	share   int64 // of the amount of records, in percent
	kills   int64 // at least; of a pull request, not of a release
}

// kferry is killed again and again, at random moments, while it carries: nothing is lost, nothing is there twice and
// nothing is out of order.
func TestKilled(t *testing.T) {
	for name, k := range map[string]killing{
		"4.3.1":         {version: kafkatest.V4, share: 100, kills: 6},
		"4.3.1-foreign": {version: kafkatest.V4, share: 100, kills: 6, foreign: true},
		"3.9.1":         {version: kafkatest.V3, share: 50, kills: 4},
		"3.9.1-foreign": {version: kafkatest.V3, share: 25, kills: 4, foreign: true},
	} {
		t.Run(name, func(t *testing.T) { k.run(t) })
	}
}

func (k killing) run(t *testing.T) {
	const partitions = 6
	p, rng := newPair(t, k.version), ferrytest.Random(t)
	var topics []string
	var writers, intruders []*ferrytest.Live
	before := map[string]int64{}
	for _, c := range codecs {
		topic := p.topic(string(c.codec))
		topics = append(topics, topic)
		p.source.CreateTopic(t, topic, partitions, nil)
		o := datagen.Options{Topic: topic, Codec: c.codec, Size: 1024, Seed: 1, Records: size(c.short, c.release) * k.share / 100}
		before[topic] = p.generate(t.Context(), o).Records
		o.Records, o.Seed, o.Rate = 0, 2, float64(size(250, 2_000)*k.share/100)
		writers = append(writers, p.keepWriting(o))
		if k.foreign {
			p.target.CreateTopic(t, topic, partitions, nil)
			intruders = append(intruders, p.intrude(topic, partitions))
		}
	}
	k.killAgainAndAgain(t, p, rng)

	f := p.run(p.settings())
	all := int64(0)
	for i, topic := range topics {
		want, others := before[topic]+writers[i].Stop(t), int64(0)
		all += want
		if k.foreign {
			others = intruders[i].Stop(t)
		}
		p.arrived(f, topic, want+others)
		defer func() {
			r := p.same(check.Options{Topic: topic, Foreign: foreign})
			if got := r.Total(); got.Foreign != others || got.Source != want {
				t.Errorf("%s: compared %d records and %d foreign ones, want %d and %d", topic, got.Source, got.Foreign, want, others)
			}
		}()
	}
	f.Stop()
	t.Logf("%d records", all)
}

// killAgainAndAgain starts kferry and kills it: at times while it starts, mostly while it carries. It goes on until one of
// the kills came between a record's ack and the store of that progress, which the next kferry must find out: on a busy
// machine most kills come while nothing is acknowledged.
func (k killing) killAgainAndAgain(t *testing.T, p *pair, rng *rand.Rand) {
	var avoided, carried float64
	for i, end := int64(0), time.Now().Add(longer()); i < size(k.kills, 20) || avoided == 0 && time.Now().Before(end); i++ {
		f := p.run(p.settings())
		moment := time.Duration(rng.Int64N(int64(1500 * time.Millisecond)))
		if i%4 != 3 {
			f.Carries()
		}
		time.Sleep(moment) // the moment is the point, nothing is waited for
		var records, again float64
		if code, body, err := f.Get("/metrics"); err == nil && code == http.StatusOK {
			records, again = ferrytest.Sample(body, "kferry_records_total"), ferrytest.Sample(body, "kferry_duplicates_avoided_total")
		}
		f.Kill()
		t.Logf("kill %d: %v after its start; it had carried %.0f records and found %.0f on the target", i+1,
			time.Since(f.Began).Round(time.Millisecond), records, again)
		carried, avoided = carried+records, avoided+again
	}
	if carried == 0 || avoided == 0 {
		t.Errorf("%.0f records were carried before a kill and %.0f found again after one: the test has tested nothing", carried, avoided)
	}
}
