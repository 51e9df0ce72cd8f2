package kafka

import (
	"errors"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kferry/kferry/config"
)

// settings are those that somebody has set for the topic.
func settings(t *testing.T, f *kfake.Cluster, topic string) map[string]string {
	t.Helper()
	out := map[string]string{}
	for k, v := range f.TopicInfo(topic).Configs {
		out[k] = *v
	}
	return out
}

func TestMakeCompacted(t *testing.T) {
	f := fake(t)
	cl := open(t, cluster(f, config.SASL{}), Options{})
	for i, want := range []bool{true, false} {
		if made, err := cl.MakeCompacted(t.Context(), "t", 2, 1); err != nil || made != want {
			t.Errorf("time %d: %v, %v", i, made, err)
		}
	}
	got := settings(t, f, "t")
	for k, want := range map[string]string{
		"cleanup.policy": "compact", "segment.ms": "300000", "segment.bytes": "16777216", "min.cleanable.dirty.ratio": "0.1",
	} {
		if got[k] != want {
			t.Errorf("%s=%s, want %s", k, got[k], want)
		}
	}
}

// A host may not let topics have other segments than its own.
func TestMakeCompactedWhereThatIsNotAllowed(t *testing.T) {
	for _, refusal := range []*kerr.Error{kerr.PolicyViolation, kerr.InvalidConfig} {
		f := fake(t)
		cl := open(t, cluster(f, config.SASL{}), Options{})
		f.ControlKey(kmsg.CreateTopics.Int16(), func(r kmsg.Request) (kmsg.Response, error, bool) {
			f.KeepControl()
			ct := r.(*kmsg.CreateTopicsRequest).Topics[0]
			if len(ct.Configs) == 1 {
				return nil, nil, false
			}
			resp := r.ResponseKind().(*kmsg.CreateTopicsResponse)
			st := kmsg.NewCreateTopicsResponseTopic()
			st.Topic, st.ErrorCode = ct.Topic, refusal.Code
			resp.Topics = append(resp.Topics, st)
			return resp, nil, true
		})
		made, err := cl.MakeCompacted(t.Context(), "t", 2, 1)
		if got := settings(t, f, "t"); err != nil || !made || len(got) != 1 || got["cleanup.policy"] != "compact" {
			t.Errorf("%v: %v, %v, %v", refusal, made, err, got)
		}
	}
}

// Only what nobody has set is set.
func TestKeepCompacted(t *testing.T) {
	f := fake(t)
	cl := open(t, cluster(f, config.SASL{}), Options{})
	compact := kadm.StringPtr("compact")
	for topic, with := range map[string]map[string]*string{
		"old":  {"cleanup.policy": compact},
		"said": {"cleanup.policy": compact, "segment.ms": kadm.StringPtr("86400000")},
	} {
		if _, err := cl.Admin().CreateTopic(t.Context(), 1, 1, with, topic); err != nil {
			t.Fatal(err)
		}
		if err := cl.KeepCompacted(t.Context(), topic); err != nil {
			t.Fatal(err)
		}
	}
	if got := settings(t, f, "old"); got["segment.ms"] != "300000" || got["segment.bytes"] != "16777216" || got["cleanup.policy"] != "compact" {
		t.Errorf("old: %v", got)
	}
	if got := settings(t, f, "said"); got["segment.ms"] != "86400000" || got["segment.bytes"] != "16777216" {
		t.Errorf("said: %v", got)
	}
	if _, err := cl.Admin().CreateTopic(t.Context(), 1, 1, nil, "refused"); err != nil {
		t.Fatal(err)
	}
	f.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.IncrementalAlterConfigs}, Resource: "refused", Count: -1, Err: kerr.TopicAuthorizationFailed})
	if err := cl.KeepCompacted(t.Context(), "refused"); !errors.Is(err, kerr.TopicAuthorizationFailed) || !strings.Contains(err.Error(), `"refused"`) {
		t.Errorf("%v", err)
	}
}
