package catalog

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kferry/kferry/replicator/lane"
	"github.com/kferry/kferry/replicator/policy"
)

// minutes refreshes every five seconds for so long: the settings of each topic are read once a minute.
func (w *world) minutes(n int) (v View, said []string) {
	w.t.Helper()
	for range 12 * n {
		time.Sleep(3 * time.Second)
		var s []string
		v, s = w.refresh()
		said = append(said, s...)
	}
	slices.Sort(said)
	return v, said
}

// set gives a topic settings by hand: "key=value", or "key" to take one away.
func (w *world) set(f *kfake.Cluster, topic string, settings ...string) {
	w.t.Helper()
	var as []kadm.AlterConfig
	for _, s := range settings {
		a := kadm.AlterConfig{Op: kadm.DeleteConfig, Name: s}
		if k, v, ok := strings.Cut(s, "="); ok {
			a = kadm.AlterConfig{Op: kadm.SetConfig, Name: k, Value: &v}
		}
		as = append(as, a)
	}
	rs, err := w.hands[f].AlterTopicConfigs(w.t.Context(), as, topic)
	if err == nil {
		_, err = rs.On(topic, func(r *kadm.AlterConfigsResponse) error { return r.Err })
	}
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) wantSettings(topic string, want ...string) {
	w.t.Helper()
	var got []string
	for k, v := range w.settings(w.target, topic) {
		got = append(got, k+"="+v)
	}
	slices.Sort(got)
	if !slices.Equal(got, want) {
		w.t.Errorf("%s has %v, want %v", topic, got, want)
	}
}

// altered watches for requests that change settings of the target: "topic: key, key" each.
func (w *world) altered() *[]string {
	got := new([]string)
	w.target.ControlKey(kmsg.IncrementalAlterConfigs.Int16(), func(r kmsg.Request) (kmsg.Response, error, bool) {
		w.target.KeepControl()
		for _, rr := range r.(*kmsg.IncrementalAlterConfigsRequest).Resources {
			var keys []string
			for _, c := range rr.Configs {
				keys = append(keys, c.Name)
			}
			*got = append(*got, rr.ResourceName+": "+strings.Join(keys, ", "))
		}
		return nil, nil, false
	})
	return got
}

// The target follows the source's topic settings, and a request names only what differs.
func TestSettingsAreKeptInStep(t *testing.T) {
	refreshing(t, identity, func(t *testing.T, w *world) {
		w.set(w.source, "a", "retention.ms=1000", "segment.bytes=9000000", "segment.ms=5")
		w.refresh()
		w.wantSettings("a", "retention.ms=1000", "segment.bytes=9000000")
		w.set(w.target, "a", "delete.retention.ms=77", "segment.ms=6")
		asked := w.altered()
		v, said := w.minutes(1)
		wantEvents(t, said, `: settings that only the target's topics have stay as they are: a (delete.retention.ms)`)
		w.wantPlace(v, "a", 0, "a", defaultMaxMessage, true)

		w.set(w.source, "a", "retention.ms=2000", "cleanup.policy=compact", "max.message.bytes=3000000")
		v, said = w.minutes(1)
		w.wantSettings("a", "cleanup.policy=compact", "delete.retention.ms=77", "max.message.bytes=3000000", "retention.ms=2000", "segment.bytes=9000000", "segment.ms=6")
		w.wantPlace(v, "a", 1, "a", 3000000, false)
		w.wantPlace(v, "b", 0, "b", defaultMaxMessage, true)
		wantEvents(t, said, `a: target topic "a" has the source's settings again: cleanup.policy delete -> compact, max.message.bytes 1048588 -> 3000000, retention.ms 1000 -> 2000`)

		w.set(w.source, "a", "retention.ms", "max.message.bytes=2000000", "cleanup.policy=delete")
		v, said = w.minutes(1)
		w.wantSettings("a", "cleanup.policy=delete", "delete.retention.ms=77", "max.message.bytes=3000000", "segment.bytes=9000000", "segment.ms=6")
		w.wantPlace(v, "a", 1, "a", 3000000, false) // what was compacted away stays away
		wantEvents(t, said, `a: target topic "a" has the source's settings again: cleanup.policy compact -> delete, retention.ms 2000 -> default 604800000`)
		if want := []string{"a: cleanup.policy, max.message.bytes, retention.ms", "a: cleanup.policy, retention.ms"}; !slices.Equal(*asked, want) {
			t.Errorf("requests %q, want %q", *asked, want)
		}
	})
}

// For a setting that the source's topic has, the source wins. Whoever goes on changing it is told once.
func TestSourceWins(t *testing.T) {
	refreshing(t, identity, func(t *testing.T, w *world) {
		w.set(w.source, "a", "retention.ms=1000")
		w.refresh()
		for i := range 3 {
			w.set(w.target, "a", "retention.ms=5")
			_, said := w.minutes(1)
			w.wantSettings("a", "retention.ms=1000")
			if i == 0 {
				wantEvents(t, said, `a: target topic "a" has the source's settings again: retention.ms 5 -> 1000 (it was changed on the target; config_exclude leaves`)
			} else {
				wantEvents(t, said)
			}
		}
	})
}

// After a restart nobody knows who set what the source does not set: it stays, and that is said once.
func TestSettingsOfBeforeStay(t *testing.T) {
	refreshing(t, identity, func(t *testing.T, w *world) {
		w.set(w.source, "a", "retention.ms=1000", "segment.bytes=9000")
		w.refresh()
		w.c = New(w.o)
		_, said := w.minutes(1)
		wantEvents(t, said)
		w.set(w.source, "a", "retention.ms")
		_, said = w.minutes(1)
		wantEvents(t, said, `: settings that only the target's topics have stay as they are: a (retention.ms)`,
			`: target topics will not stay equal copies of the source's: a (retention.ms is 1000, on the source 604800000): set the same on the target topic`)
		w.wantSettings("a", "retention.ms=1000", "segment.bytes=9000")

		w.set(w.source, "a", "segment.bytes=8000") // from here on it is ours
		w.minutes(1)
		w.set(w.source, "a", "segment.bytes")
		_, said = w.minutes(1)
		wantEvents(t, said, `a: target topic "a" has the source's settings again: segment.bytes 8000 -> default`)
		w.wantSettings("a", "retention.ms=1000")
	})
}

// A source topic that was made anew says nothing about the copy of the old one: a shorter retention would remove it.
func TestSettingsOfTopicMadeAnew(t *testing.T) {
	refreshing(t, identity, func(t *testing.T, w *world) {
		w.set(w.source, "a", "retention.ms=1000", "segment.bytes=9000")
		w.refresh()
		if _, err := w.hands[w.source].DeleteTopics(t.Context(), "a"); err != nil {
			t.Fatal(err)
		}
		w.make(w.source, "a", 2, map[string]string{"retention.ms": "1"})
		_, said := w.minutes(2)
		wantEvents(t, said, `a: source topic "a" was deleted and made anew: the settings of target topic "a" are left as they are`)
		w.wantSettings("a", "retention.ms=1000", "segment.bytes=9000")
	})
}

// Thousands of changes must not keep the lanes waiting: each refresh makes some.
func TestManyChanges(t *testing.T) {
	refreshing(t, identity, func(t *testing.T, w *world) {
		const topics = 30
		for i := range topics {
			w.make(w.source, fmt.Sprint("t", i), 1, map[string]string{"retention.ms": "1"})
			w.make(w.target, fmt.Sprint("t", i), 1, nil)
		}
		w.target.ControlKey(kmsg.IncrementalAlterConfigs.Int16(), func(kmsg.Request) (kmsg.Response, error, bool) {
			w.target.KeepControl()
			w.target.SleepControl(func() { time.Sleep(400 * time.Millisecond) })
			return nil, nil, false
		})
		begin := time.Now()
		v, _ := w.refresh()
		if took := time.Since(begin); took > 2*alterFor+4*time.Second { // kfake makes two topics besides
			t.Errorf("the first refresh took %v", took)
		}
		if len(v) != topics+3 {
			t.Errorf("%d lanes", len(v))
		}
		w.minutes(5)
		for i := range topics {
			w.wantSettings(fmt.Sprint("t", i), "retention.ms=1")
		}
	})
}

func TestSettingsAreNotKeptInStep(t *testing.T) {
	refreshing(t, identity, func(t *testing.T, w *world) {
		w.c.o.InStep = false
		w.set(w.source, "a", "retention.ms=1000")
		w.refresh()
		w.wantSettings("a", "retention.ms=1000")
		asked := w.altered()
		w.set(w.source, "a", "retention.ms=2000", "cleanup.policy=compact")
		v, said := w.minutes(1)
		wantEvents(t, said, `: target topics will not stay equal copies of the source's: a (cleanup.policy is delete, on the source compact)`)
		w.wantSettings("a", "retention.ms=1000")
		w.wantPlace(v, "a", 0, "a", defaultMaxMessage, false) // the data path knows all the same
		if len(*asked) > 0 {
			t.Errorf("requests %q", *asked)
		}
	})
}

// The settings of a topic are read again when asked to, and for a topic made anew.
func TestSettingsAreReread(t *testing.T) {
	refreshing(t, identity, func(t *testing.T, w *world) {
		w.set(w.source, "a", "retention.ms=1")
		v, _ := w.refresh()
		w.wantPlace(v, "a", 0, "a", defaultMaxMessage, true)
		w.set(w.target, "a", "max.message.bytes=7000")
		w.set(w.source, "a", "retention.ms=2")
		v, _ = w.refresh()
		w.wantPlace(v, "a", 0, "a", defaultMaxMessage, true)
		w.wantSettings("a", "max.message.bytes=7000", "retention.ms=1")
		w.c.Reread("a")
		v, _ = w.refresh()
		w.wantPlace(v, "a", 0, "a", 7000, true)
		w.wantSettings("a", "max.message.bytes=7000", "retention.ms=2")
		if _, err := w.hands[w.target].DeleteTopics(t.Context(), "a"); err != nil {
			t.Fatal(err)
		}
		v, said := w.refresh()
		w.wantPlace(v, "a", 1, "a", defaultMaxMessage, true)
		wantEvents(t, said, `created topic "a"`)
	})
}

// Not allowed to change settings: that is said once per topic and tried again when the source's value changes, or after
// an hour. The lanes do not notice.
func TestAlterNotAllowed(t *testing.T) {
	may := func(op kmsg.ACLOperation) kfake.ACL {
		return kfake.ACL{Resource: kmsg.ACLResourceTypeTopic, Name: "*", Pattern: kmsg.ACLResourcePatternTypeLiteral, Operation: op, Allow: true}
	}
	refreshingAs(t, identity, plain("limited", "secret"), func(t *testing.T, w *world) {
		w.make(w.target, "a", 2, map[string]string{"retention.ms": "1"})
		w.make(w.target, "b", 1, nil)
		w.set(w.source, "a", "retention.ms=2", "segment.bytes=3")
		w.set(w.source, "b", "retention.ms=2")
		asked := w.altered()
		_, said := w.refresh()
		wantEvents(t, said, `: our user may not read how long the brokers of "new" remember producers`,
			`: target topics will not stay equal copies of the source's: a (retention.ms is 1, on the source 2)`,
			`a: target topic "a" cannot be given the source's settings (retention.ms 1 -> 2, segment.bytes`, `b: target topic "b" cannot be given`)
		if !strings.Contains(said[2], "AlterConfigs") || !strings.Contains(said[2], "TOPIC_AUTHORIZATION_FAILED") {
			t.Errorf("no remedy in %q", said[2])
		}
		v, said := w.minutes(50)
		wantEvents(t, said)
		w.wantPlace(v, "a", 1, "a", defaultMaxMessage, true)
		if want := []string{"a: retention.ms, segment.bytes", "b: retention.ms"}; !slices.Equal(*asked, want) {
			t.Errorf("requests %q, want %q", *asked, want)
		}
		*asked = nil
		w.set(w.source, "b", "retention.ms=3")
		_, said = w.minutes(1)
		wantEvents(t, said, `b: target topic "b" cannot be given the source's settings (retention.ms 604800000 -> 3)`)
		if want := []string{"b: retention.ms"}; !slices.Equal(*asked, want) {
			t.Errorf("requests %q, want %q", *asked, want)
		}
		acl := kadm.NewACLs().Topics("a").ResourcePatternType(kadm.ACLPatternLiteral).Operations(kadm.OpAlterConfigs).Allow("User:limited").AllowHosts()
		if _, err := w.hands[w.target].CreateACLs(t.Context(), acl); err != nil {
			t.Fatal(err)
		}
		_, said = w.minutes(11)
		wantEvents(t, said, `a: target topic "a" has the source's settings again: retention.ms 1 -> 2, segment.bytes`)
		w.wantSettings("a", "retention.ms=2", "segment.bytes=3")
		w.wantSettings("b")
	}, kfake.EnableSASL(), kfake.EnableACLs(), kfake.Superuser("PLAIN", "admin", "secret"),
		kfake.User("PLAIN", "limited", "secret", may(kmsg.ACLOperationDescribe), may(kmsg.ACLOperationDescribeConfigs)))
}

// picky has the target refuse to create or alter topics with some setting.
func (w *world) picky(key string) {
	w.target.ControlKey(kmsg.IncrementalAlterConfigs.Int16(), func(r kmsg.Request) (kmsg.Response, error, bool) {
		w.target.KeepControl()
		rr := r.(*kmsg.IncrementalAlterConfigsRequest).Resources[0]
		for _, c := range rr.Configs {
			if c.Name == key {
				st := kmsg.NewIncrementalAlterConfigsResponseResource()
				st.ResourceType, st.ResourceName, st.ErrorCode, st.ErrorMessage = rr.ResourceType, rr.ResourceName, kerr.InvalidConfig.Code, kadm.StringPtr("not here")
				resp := r.ResponseKind().(*kmsg.IncrementalAlterConfigsResponse)
				resp.Resources = append(resp.Resources, st)
				return resp, nil, true
			}
		}
		return nil, nil, false
	})
	w.target.ControlKey(kmsg.CreateTopics.Int16(), func(r kmsg.Request) (kmsg.Response, error, bool) {
		w.target.KeepControl()
		rt := r.(*kmsg.CreateTopicsRequest).Topics[0]
		for _, c := range rt.Configs {
			if c.Name == key {
				st := kmsg.NewCreateTopicsResponseTopic()
				st.Topic, st.ErrorCode = rt.Topic, kerr.InvalidConfig.Code
				resp := r.ResponseKind().(*kmsg.CreateTopicsResponse)
				resp.Topics = append(resp.Topics, st)
				return resp, nil, true
			}
		}
		return nil, nil, false
	})
}

// A host that does not allow one setting gets all the others, for a topic that it has and for one that it has not.
func TestOneSettingRefused(t *testing.T) {
	refreshing(t, identity, func(t *testing.T, w *world) {
		w.picky("segment.bytes")
		w.make(w.target, "a", 2, nil)
		for _, topic := range []string{"a", "b"} {
			w.set(w.source, topic, "retention.bytes=1", "retention.ms=2", "segment.bytes=3")
		}
		v, said := w.refresh()
		refusal := `cannot be given the source's settings (segment.bytes`
		wantEvents(t, said, "a: target topic \"a\" "+refusal, `a: target topic "a" has the source's settings again: retention.bytes -1 -> 1, retention.ms 604800000 -> 2`,
			`b: created topic "b"`, "b: target topic \"b\" "+refusal, `b: target topic "b" has the source's settings again`)
		if !strings.Contains(said[0], "INVALID_CONFIG") || !strings.Contains(said[0], "(not here)") || !strings.Contains(said[0], "config_exclude") {
			t.Errorf("no cause and remedy in %q", said[0])
		}
		w.wantPlace(v, "a", 0, "a", defaultMaxMessage, true)
		w.wantPlace(v, "b", 0, "b", defaultMaxMessage, true)
		asked := w.altered()
		for _, topic := range []string{"a", "b"} {
			w.wantSettings(topic, "retention.bytes=1", "retention.ms=2")
		}
		_, said = w.minutes(50)
		wantEvents(t, said)
		if len(*asked) > 0 {
			t.Errorf("asked again: %q", *asked)
		}
	})
}

// A target that does not answer is asked again, and nothing is taken for refused.
func TestAlterFails(t *testing.T) {
	refreshing(t, identity, func(t *testing.T, w *world) {
		w.refresh()
		w.set(w.source, "a", "retention.ms=2")
		fault := w.target.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.IncrementalAlterConfigs}, Resource: "a", Count: -1, Err: kerr.UnknownTopicOrPartition})
		_, said := w.minutes(1)
		wantEvents(t, said, `a: settings of target topic "a" cannot be changed at the moment, trying on`)
		_, said = w.minutes(1)
		wantEvents(t, said)
		fault.Remove()
		_, said = w.minutes(1)
		wantEvents(t, said, `a: target topic "a" has the source's settings again`)
		w.wantSettings("a", "retention.ms=2")
	})
}

// deny has a cluster refuse to describe the settings of topics, and counts how many it was asked for.
func deny(f *kfake.Cluster, denied func(topic string) bool) (asked *int) {
	asked = new(int)
	f.ControlKey(kmsg.DescribeConfigs.Int16(), func(r kmsg.Request) (kmsg.Response, error, bool) {
		f.KeepControl()
		req := r.(*kmsg.DescribeConfigsRequest)
		if req.Resources[0].ResourceType != kmsg.ConfigResourceTypeTopic {
			return nil, nil, false
		}
		resp := r.ResponseKind().(*kmsg.DescribeConfigsResponse)
		*asked += len(req.Resources)
		for _, rr := range req.Resources {
			st := kmsg.NewDescribeConfigsResponseResource()
			st.ResourceType, st.ResourceName = rr.ResourceType, rr.ResourceName
			if denied(rr.ResourceName) {
				st.ErrorCode = kerr.TopicAuthorizationFailed.Code
			} else {
				for k, v := range f.TopicInfo(rr.ResourceName).Configs {
					c := kmsg.NewDescribeConfigsResponseResourceConfig()
					c.Name, c.Value, c.Source = k, v, kmsg.ConfigSourceDynamicTopicConfig
					st.Configs = append(st.Configs, c)
				}
			}
			resp.Resources = append(resp.Resources, st)
		}
		return resp, nil, true
	})
	return asked
}

// Without DescribeConfigs on the source topics are carried on safe assumptions. That is said once, one topic in half
// a minute is asked for, and when the right comes settings are copied.
func TestSourceSettingsNotAllowed(t *testing.T) {
	refreshing(t, identity, func(t *testing.T, w *world) {
		walled := true
		asked := deny(w.source, func(string) bool { return walled })
		w.set(w.source, "a", "retention.ms=2", "cleanup.policy=delete")
		w.set(w.source, "b", "cleanup.policy=delete")
		w.make(w.target, "b", 1, map[string]string{"max.message.bytes": "5000"})
		v, said := w.refresh()
		w.wantPlace(v, "a", 0, "a", defaultMaxMessage, false)
		w.wantPlace(v, "b", 0, "b", 5000, false)
		wantEvents(t, said, `: our user may not read the settings of topics on "old" (a, b): new topics are made with the target's defaults, settings are not kept in step`, `created topic "a"`)
		if !strings.Contains(said[0], "grant DescribeConfigs") {
			t.Errorf("no remedy in %q", said[0])
		}
		w.make(w.source, "c", 1, nil)
		*asked = 0
		_, said = w.minutes(10)
		wantEvents(t, said, `created topic "c"`)
		if *asked < 10 || *asked > 21 {
			t.Errorf("the source was asked for the settings of %d topics in ten minutes", *asked)
		}
		walled = false
		v, said = w.minutes(2)
		wantEvents(t, said, `: settings that only the target's topics have stay as they are: b (max.message.bytes)`,
			`: the settings of topics on "old" can be read again`, `a: target topic "a" has the source's settings again: retention.ms 604800000 -> 2`)
		w.wantPlace(v, "a", 0, "a", defaultMaxMessage, true)
		w.wantPlace(v, "b", 0, "b", 5000, true)
		w.wantSettings("a", "retention.ms=2")
		walled = true
		_, said = w.minutes(1)
		wantEvents(t, said, `our user may not read the settings of topics on "old" (`)
		v, _ = w.minutes(2)
		w.wantPlace(v, "b", 0, "b", 5000, false)
		w.wantSettings("a", "retention.ms=2")
	})
}

func TestRightsComeBack(t *testing.T) {
	refreshing(t, identity, func(t *testing.T, w *world) {
		walled := true
		deny(w.target, func(topic string) bool { return walled || topic == "secret" })
		w.make(w.target, "b", 1, map[string]string{"max.message.bytes": "5000"})
		w.set(w.source, "b", "retention.ms=2")
		v, said := w.refresh()
		w.wantPlace(v, "b", 0, "b", defaultMaxMessage, true)
		w.wantSettings("b", "max.message.bytes=5000")
		wantEvents(t, said, `: our user may not read the settings of topics on "new" (a, b): settings are not kept in step, and for the largest batch Kafka's default`, `created topic "a"`)
		walled = false
		v, said = w.minutes(2)
		wantEvents(t, said, `: settings that only the target's topics have stay as they are: b (max.message.bytes)`,
			`: the settings of topics on "new" can be read again`, `b: target topic "b" has the source's settings again: retention.ms unset -> 2`)
		w.wantPlace(v, "b", 0, "b", 5000, true)
	})
}

// One topic that is denied does not hide the others, and their reading goes on.
func TestSomeSettingsNotAllowed(t *testing.T) {
	refreshing(t, identity, func(t *testing.T, w *world) {
		deny(w.source, func(topic string) bool { return topic == "a" })
		w.set(w.source, "b", "retention.ms=2")
		_, said := w.refresh()
		wantEvents(t, said, `: our user may not read the settings of topics on "old" (a)`, `created topic "a"`, `created topic "b"`)
		w.set(w.source, "b", "retention.ms=3")
		_, said = w.minutes(1)
		wantEvents(t, said, `b: target topic "b" has the source's settings again: retention.ms 2 -> 3`)
		if _, err := w.hands[w.source].DeleteTopics(t.Context(), "a"); err != nil {
			t.Fatal(err)
		}
		_, said = w.minutes(1)
		wantEvents(t, said, `: the settings of topics on "old" can be read again`)
	})
}

// Within a minute the settings of every topic are read, and of none twice in half of one.
func TestSettingsAreReadInTurn(t *testing.T) {
	refreshing(t, identity, func(t *testing.T, w *world) {
		for i := range 100 {
			w.make(w.source, fmt.Sprint("t", i), 1, map[string]string{"cleanup.policy": "delete"})
		}
		w.refresh()
		time.Sleep(settingsEvery/2 - 7*time.Second)
		asked := deny(w.source, func(string) bool { return false })
		w.refresh()
		if *asked > 0 {
			t.Errorf("%d topics were read again soon", *asked)
		}
		most, before := 0, 0
		for range 12 {
			time.Sleep(3 * time.Second)
			w.refresh()
			most, before = max(most, *asked-before), *asked
		}
		if *asked < 102 || *asked > 204 || most > 80 {
			t.Errorf("%d topics were read in a minute, %d at once", *asked, most)
		}
	})
}

// Hosts that let a user read a topic but not list any: topics with plain names are asked for.
func TestListingNotAllowed(t *testing.T) {
	for name, answer := range map[string]func(*kmsg.MetadataResponse) error{
		"empty":   func(*kmsg.MetadataResponse) error { return nil },
		"refused": func(r *kmsg.MetadataResponse) error { r.ErrorCode = kerr.ClusterAuthorizationFailed.Code; return nil },
		"down":    func(*kmsg.MetadataResponse) error { return errors.New("close it") },
	} {
		for _, topics := range [][]string{{"a", `b\.c`, "none"}, {"a.*"}} {
			refreshing(t, identity, func(t *testing.T, w *world) {
				w.make(w.source, "b.c", 1, nil)
				filter, err := policy.NewFilter(topics, nil)
				if err != nil {
					t.Fatal(err)
				}
				w.c.o.Filter = filter
				w.source.ControlKey(kmsg.Metadata.Int16(), func(r kmsg.Request) (kmsg.Response, error, bool) {
					w.source.KeepControl()
					if req := r.(*kmsg.MetadataRequest); req.Topics != nil {
						return nil, nil, false
					}
					resp := r.ResponseKind().(*kmsg.MetadataResponse)
					err := answer(resp)
					return resp, err, true
				})
				later()
				v, _, _, err := w.c.Refresh(t.Context(), lead)
				switch {
				case name == "down" || name == "refused" && len(topics) == 1:
					if err == nil || v != nil {
						t.Errorf("%s, %v: %v, %d lanes", name, topics, err, len(v))
					}
				case err != nil:
					t.Errorf("%s, %v: %v", name, topics, err)
				case len(topics) == 1:
					if len(v) > 0 {
						t.Errorf("%s, %v: %v", name, topics, v)
					}
				default:
					if _, ok := v[lane.ID{Topic: "b.c"}]; !ok || len(v) != 3 {
						t.Errorf("%s, %v: %v", name, topics, v)
					}
				}
			})
		}
	}
}
