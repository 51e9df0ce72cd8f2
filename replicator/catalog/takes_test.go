package catalog

import (
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kferry/kferry/replicator/lane"
)

func TestTakesOf(t *testing.T) {
	const (
		all     = "max.message.bytes~1000 segment.bytes~5000 cleanup.policy~delete compression.type~producer"
		forever = time.Duration(math.MaxInt64)
		endless = "9223372036854775807"
	)
	for _, c := range []struct {
		name, topic string
		want        takes
	}{
		{"nothing is told", "", takes{limit: defaultMaxMessage}},
		{"no timestamp is refused", all, takes{1000, true, forever}},
		{"a segment is smaller", all + " segment.bytes=900", takes{900, true, forever}},
		{"no segment size", "max.message.bytes~1000 cleanup.policy~delete compression.type~producer", takes{limit: 1000}},
		{"no limit", "segment.bytes~5000 cleanup.policy~delete compression.type~producer", takes{limit: 5000}},
		{"a limit that is no number", all + " max.message.bytes~x", takes{limit: 5000}},

		{"keys are needed", all + " cleanup.policy=compact", takes{limit: 1000}},
		{"keys are needed, old ones go as well", all + " cleanup.policy=compact,delete", takes{limit: 1000}},
		{"perhaps keys are needed", strings.Replace(all, "cleanup.policy~delete", "", 1), takes{limit: 1000}},
		{"compressed again", all + " compression.type=zstd", takes{limit: 1000}},
		{"perhaps compressed again", strings.Replace(all, "compression.type~producer", "", 1), takes{limit: 1000}},
		{"schemas are looked at", all + " confluent.value.schema.validation=true", takes{limit: 1000}},
		{"schemas are looked at, there", all + " redpanda.key.schema.id.validation=true", takes{limit: 1000}},
		{"schemas are not looked at", all + " confluent.value.schema.validation~false", takes{1000, true, forever}},
		{"an old format", all + " message.format.version=0.10.2-IV0", takes{limit: 1000}},
		{"a format of now", all + " message.format.version~3.0-IV1", takes{1000, true, forever}},

		{"Kafka 4", all + " message.timestamp.type~CreateTime message.timestamp.before.max.ms~" + endless + " message.timestamp.after.max.ms~3600000",
			takes{1000, true, time.Hour}},
		{"Kafka 3.6", all + " message.timestamp.difference.max.ms~" + endless + " message.timestamp.before.max.ms~" + endless + " message.timestamp.after.max.ms~" + endless,
			takes{1000, true, forever}},
		{"Kafka 3.6, the older setting counts", all + " message.timestamp.difference.max.ms=1000 message.timestamp.before.max.ms~" + endless + " message.timestamp.after.max.ms~" + endless,
			takes{limit: 1000}},
		{"before Kafka 3.6", all + " message.timestamp.difference.max.ms~" + endless, takes{1000, true, forever}},
		{"before Kafka 3.6, limited", all + " message.timestamp.difference.max.ms=86400000", takes{limit: 1000}},
		{"old records are refused", all + " message.timestamp.before.max.ms=1 message.timestamp.after.max.ms~" + endless, takes{limit: 1000}},
		{"the broker's time is taken", all + " message.timestamp.type=LogAppendTime message.timestamp.before.max.ms=1 message.timestamp.after.max.ms=1",
			takes{1000, true, forever}},
		{"only the present", all + " message.timestamp.after.max.ms=0", takes{1000, true, 0}},
	} {
		if got := takesOf(topicSettings(c.topic)); got != c.want {
			t.Errorf("%s: got %+v, want %+v", c.name, got, c.want)
		}
	}
}

func TestExpiryOf(t *testing.T) {
	for broker, want := range map[string]time.Duration{
		"":                                24 * time.Hour,
		"producer.id.expiration.ms~60000": time.Minute,
		"producer.id.expiration.ms~604800000 transactional.id.expiration.ms~1000": 168 * time.Hour,
		"producer.id.expiration.ms~9223372036854775807":                           math.MaxInt64,
		"producer.id.expiration.ms~x":                                             24 * time.Hour,
		"transactional.id.expiration.ms~604800000":                                24 * time.Hour,
		"transactional.id.expiration.ms~3600000":                                  time.Hour,
	} {
		if got := expiryOf(topicSettings(broker)); got != want {
			t.Errorf("%q: %v, want %v", broker, got, want)
		}
	}
}

// expire has the brokers of f say that they remember producers for so many
// milliseconds; "" denies to tell. asked are the requests.
func expire(f *kfake.Cluster, ms *string) (asked *int) {
	asked = new(int)
	f.ControlKey(kmsg.DescribeConfigs.Int16(), func(r kmsg.Request) (kmsg.Response, error, bool) {
		f.KeepControl()
		req := r.(*kmsg.DescribeConfigsRequest)
		if req.Resources[0].ResourceType != kmsg.ConfigResourceTypeBroker {
			return nil, nil, false
		}
		*asked++
		resp := r.ResponseKind().(*kmsg.DescribeConfigsResponse)
		st := kmsg.NewDescribeConfigsResponseResource()
		st.ResourceType, st.ResourceName = req.Resources[0].ResourceType, req.Resources[0].ResourceName
		if c := kmsg.NewDescribeConfigsResponseResourceConfig(); *ms == "" {
			st.ErrorCode = kerr.ClusterAuthorizationFailed.Code
		} else if slices.Contains(req.Resources[0].ConfigNames, "producer.id.expiration.ms") {
			c.Name, c.Value = "producer.id.expiration.ms", ms
			st.Configs = append(st.Configs, c)
		}
		resp.Resources = append(resp.Resources, st)
		return resp, nil, true
	})
	return asked
}

// How long the target remembers a producer is asked every ten minutes; who may not know takes Kafka's default.
func TestExpiry(t *testing.T) {
	refreshing(t, identity, func(t *testing.T, w *world) {
		var said []string
		want := func(d time.Duration) {
			t.Helper()
			later()
			v, _, events, err := w.c.Refresh(t.Context(), lead)
			if err != nil {
				t.Fatal(err)
			}
			for _, e := range events {
				if strings.Contains(e.Text, "producers") {
					said = append(said, e.Text)
				}
			}
			if got := v[lane.ID{Topic: "b"}].Expiry; got != d {
				t.Errorf("%v, want %v", got, d)
			}
		}
		ms := ""
		asked := expire(w.target, &ms)
		want(24 * time.Hour)
		for range 10 {
			want(24 * time.Hour)
		}
		if *asked != 1 {
			t.Errorf("asked %d times in a minute", *asked)
		}
		ms = "3600000"
		time.Sleep(expiryEvery)
		want(time.Hour)
		ms = ""
		time.Sleep(expiryEvery)
		want(time.Hour) // nothing else is known
		wantEvents(t, said, `remember producers: a day, Kafka's default, is assumed; if producer.id.expiration.ms is less there, grant DescribeConfigs on the cluster`)
	})
}

// What we set on a topic ourselves counts at once, and so does what can no longer be read.
func TestForetold(t *testing.T) {
	refreshing(t, identity, func(t *testing.T, w *world) {
		foretold := func(v View, topic string, want bool) {
			t.Helper()
			if p := v[lane.ID{Topic: topic}]; p.Foretold != want {
				t.Errorf("%s: foretold %t, %+v", topic, p.Foretold, p)
			}
		}
		w.set(w.source, "b", "segment.bytes=9000")
		v, _ := w.refresh()
		foretold(v, "a", true)
		w.wantPlace(v, "b", 0, "b", 9000, true)

		w.set(w.source, "a", "cleanup.policy=compact")
		w.c.Reread("a")
		v, _ = w.refresh()
		foretold(v, "a", false)
		foretold(v, "b", true)

		deny(w.target, func(string) bool { return true })
		w.c.Reread("b")
		v, _ = w.refresh()
		foretold(v, "b", false)
		w.wantPlace(v, "b", 0, "b", 9000, true)
	})
}
