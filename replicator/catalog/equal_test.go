package catalog

import (
	"maps"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kferry/kferry/replicator/lane"
)

func TestUnequal(t *testing.T) {
	const day, week = "86400000", "604800000"
	for _, c := range []struct{ name, source, target, exclude, want string }{
		{name: "nothing is told"},
		{name: "equal", source: "cleanup.policy~delete retention.ms~" + week + " retention.bytes~-1", target: "cleanup.policy~delete retention.ms=" + week + " retention.bytes~-1"},
		{name: "the source keeps for ever", source: "cleanup.policy~delete retention.ms~-1", target: "cleanup.policy~delete retention.ms~" + week,
			want: "retention.ms is " + week + ", on the source -1"},
		{name: "the source keeps longer", source: "cleanup.policy~delete retention.ms~" + week, target: "cleanup.policy~delete retention.ms=" + day,
			want: "retention.ms is " + day + ", on the source " + week},
		{name: "the source keeps shorter", source: "cleanup.policy~delete retention.ms~" + day, target: "cleanup.policy~delete retention.ms~" + week},
		{name: "the target keeps for ever", source: "cleanup.policy~delete retention.ms~" + day, target: "cleanup.policy~delete retention.ms~-1"},
		{name: "the source keeps more", source: "cleanup.policy~delete retention.bytes~-1", target: "cleanup.policy~delete retention.bytes~1000",
			want: "retention.bytes is 1000, on the source -1"},
		{name: "both", source: "cleanup.policy~delete retention.bytes~5 retention.ms~5", target: "cleanup.policy~delete retention.bytes~4 retention.ms~4",
			want: "retention.ms is 4, on the source 5; retention.bytes is 4, on the source 5"},
		{name: "meant so", source: "cleanup.policy~delete retention.bytes~5 retention.ms~5", target: "cleanup.policy~delete retention.bytes~4 retention.ms~4",
			exclude: "retention.ms", want: "retention.bytes is 4, on the source 5"},
		{name: "one side does not tell", source: "cleanup.policy~delete retention.ms~5", target: "cleanup.policy~delete"},

		{name: "the target compacts", source: "cleanup.policy~delete", target: "cleanup.policy=compact", want: "cleanup.policy is compact, on the source delete"},
		{name: "the target compacts as well", source: "cleanup.policy~delete retention.ms~5", target: "cleanup.policy=compact,delete retention.ms=4",
			want: "cleanup.policy is compact,delete, on the source delete; retention.ms is 4, on the source 5"},
		{name: "the target removes what is old", source: "cleanup.policy=compact", target: "cleanup.policy~delete retention.ms~5", want: "cleanup.policy is delete, on the source compact"},
		{name: "the target would remove, but nothing is old", source: "cleanup.policy=compact", target: "cleanup.policy~delete retention.ms~-1 retention.bytes~-1"},
		{name: "the target only compacts", source: "cleanup.policy=compact,delete retention.ms~5", target: "cleanup.policy=compact retention.ms~4"},
		{name: "the target does not compact", source: "cleanup.policy=compact,delete retention.ms~5", target: "cleanup.policy=delete retention.ms~5"},
		{name: "compaction is meant so", source: "cleanup.policy~delete", target: "cleanup.policy=compact", exclude: "cleanup.policy"},

		{name: "the target's times", source: "message.timestamp.type~CreateTime", target: "message.timestamp.type~LogAppendTime",
			want: "message.timestamp.type is LogAppendTime, on the source CreateTime"},
		{name: "the source's times are kept", source: "message.timestamp.type~LogAppendTime", target: "message.timestamp.type~CreateTime"},
		{name: "times of either", source: "message.timestamp.type~LogAppendTime", target: "message.timestamp.type~LogAppendTime"},
	} {
		if got := differing(unequal(topicSettings(c.source), topicSettings(c.target), strings.Fields(c.exclude))); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

// inheriting has the brokers of f say that topics inherit these settings.
func inheriting(f *kfake.Cluster, settings string) {
	f.ControlKey(kmsg.DescribeConfigs.Int16(), func(r kmsg.Request) (kmsg.Response, error, bool) {
		f.KeepControl()
		req := r.(*kmsg.DescribeConfigsRequest)
		if req.Resources[0].ResourceType != kmsg.ConfigResourceTypeTopic {
			return nil, nil, false
		}
		resp := r.ResponseKind().(*kmsg.DescribeConfigsResponse)
		for _, rr := range req.Resources {
			st := kmsg.NewDescribeConfigsResponseResource()
			st.ResourceType, st.ResourceName = rr.ResourceType, rr.ResourceName
			inherited := maps.Clone(kafkaDefaults)
			maps.Copy(inherited, topicSettings(settings))
			own := f.TopicInfo(rr.ResourceName).Configs
			for k, s := range inherited {
				c := kmsg.NewDescribeConfigsResponseResourceConfig()
				c.Name, c.Value, c.Source = k, &s.Value, kmsg.ConfigSourceStaticBrokerConfig
				if v, ok := own[k]; ok {
					c.Value, c.Source = v, kmsg.ConfigSourceDynamicTopicConfig
				}
				syn := kmsg.NewDescribeConfigsResponseResourceConfigConfigSynonym()
				syn.Name, syn.Value, syn.Source = k, &s.Value, kmsg.ConfigSourceStaticBrokerConfig
				c.ConfigSynonyms = append(c.ConfigSynonyms, syn)
				st.Configs = append(st.Configs, c)
			}
			resp.Resources = append(resp.Resources, st)
		}
		return resp, nil, true
	})
}

// What the source's broker says of a topic is set on the target topic, where the target's broker would keep less; and
// stays so. Where the source keeps less or nothing differs nothing is set.
func TestNewTopicsKeepAsMuch(t *testing.T) {
	for _, c := range []struct {
		name   string
		source []string // of topic a
		target string   // what its broker says
		step   bool
		want   []string
	}{
		{"the target's broker keeps less", nil, "retention.ms~1000", true, []string{"retention.ms=604800000"}},
		{"settings are not kept in step", nil, "retention.ms~1000", false, []string{"retention.ms=604800000"}},
		{"it puts its own times", nil, "message.timestamp.type~LogAppendTime", true, []string{"message.timestamp.type=CreateTime"}},
		{"it keeps more", nil, "retention.ms~-1", true, nil},
		{"the topic's own setting", []string{"retention.ms=5000"}, "retention.ms~1000 retention.bytes~7", true, []string{"retention.bytes=-1", "retention.ms=5000"}},
	} {
		refreshing(t, identity, func(t *testing.T, w *world) {
			w.c.o.InStep = c.step
			inheriting(w.target, c.target)
			w.set(w.source, "a", c.source...)
			v, _ := w.refresh()
			w.wantSettings("a", c.want...)
			if p := v[lane.ID{Topic: "a"}]; p.Unequal != "" {
				t.Errorf("%s: %s", c.name, p.Unequal)
			}
			asked := w.altered()
			_, said := w.minutes(3)
			wantEvents(t, said)
			w.wantSettings("a", c.want...)
			if len(*asked) > 0 {
				t.Errorf("%s: altered again: %q", c.name, *asked)
			}
		})
	}
	for _, excluded := range []bool{false, true} {
		for name, settings := range map[string]map[string]setting{
			"by Kafka's defaults": topicSettings("cleanup.policy~delete retention.ms~-1"),
			"of a compacted one":  topicSettings("cleanup.policy~compact"),
		} {
			want := map[string]string{"by Kafka's defaults": "retention.ms -1", "of a compacted one": "cleanup.policy compact"}[name]
			var exclude []string
			if excluded {
				exclude, want = []string{"retention.ms", "cleanup.policy"}, ""
			}
			var got []string
			for k, v := range first(settings, exclude) {
				got = append(got, k+" "+*v)
			}
			if strings.Join(got, ", ") != want {
				t.Errorf("%s: made with %q, want %q", name, got, want)
			}
		}
	}
}

// A target topic that was there and keeps less is left as it is, and that is said once.
func TestTopicThatKeepsLess(t *testing.T) {
	refreshing(t, identity, func(t *testing.T, w *world) {
		w.make(w.target, "a", 2, map[string]string{"retention.ms": "1000"})
		v, said := w.refresh()
		wantEvents(t, said, `: settings that only the target's topics have`, `: target topics will not stay equal copies of the source's: a (retention.ms is 1000, on the source 604800000)`, `b: created`)
		if p := v[lane.ID{Topic: "a", Partition: 1}]; p.Unequal != "retention.ms is 1000, on the source 604800000" || p.Problem != nil {
			t.Errorf("%+v", p)
		}
		_, said = w.minutes(2)
		wantEvents(t, said)
		w.wantSettings("a", "retention.ms=1000")
		w.set(w.target, "a", "retention.ms=-1")
		v, said = w.minutes(1)
		wantEvents(t, said)
		if p := v[lane.ID{Topic: "a"}]; p.Unequal != "" {
			t.Errorf("mended, and %+v", p)
		}
	})
}

// What was set for a topic to keep as much is taken away again when the source keeps less.
func TestKeepingIsNoLongerNeeded(t *testing.T) {
	for _, c := range []struct{ name, source, target, ours, want string }{
		{"needed", "retention.ms~9 cleanup.policy~delete", "retention.ms=9~5 cleanup.policy~delete", "retention.ms=9", ""},
		{"needed more", "retention.ms~11 cleanup.policy~delete", "retention.ms=9~5 cleanup.policy~delete", "retention.ms=9", "retention.ms 9 -> 11"},
		{"not needed", "retention.ms~4 cleanup.policy~delete", "retention.ms=9~5 cleanup.policy~delete", "retention.ms=9", "retention.ms 9 -> default 5"},
		{"nobody tells the default", "retention.ms~-1 cleanup.policy~delete", "retention.ms=-1 cleanup.policy~delete", "retention.ms=-1", ""},
		{"somebody else's", "retention.ms~9 cleanup.policy~delete", "retention.ms=9~5 cleanup.policy~delete", "", ""},
	} {
		ours := map[string]string{}
		for k, s := range topicSettings(c.ours) {
			ours[k] = s.Value
		}
		changes, _ := inStep(topicSettings(c.source), topicSettings(c.target), nil, ours)
		var got []string
		for _, ch := range changes {
			got = append(got, ch.String())
		}
		if strings.Join(got, ", ") != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}
