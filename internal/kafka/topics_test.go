package kafka

import (
	"bytes"
	"errors"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"

	"github.com/kferry/kferry/config"
)

// An answer is the same until something about the topics changes, or other names are asked for.
func TestTopicReader(t *testing.T) {
	f := fake(t, kfake.SeedTopics(1, "a"))
	c := open(t, cluster(f, config.SASL{}), Options{})
	r := c.TopicReader()
	read := func(what string, wantSame bool, partitions int, names ...string) {
		t.Helper()
		topics, same, err := r.Read(t.Context(), names)
		n := 0
		for _, topic := range topics {
			n += len(topic.Partitions)
		}
		if err != nil || same != wantSame || n != partitions {
			t.Errorf("%s: %d partitions, same %t, %v", what, n, same, err)
		}
	}
	read("first", false, 1)
	read("again", true, 0)
	read("by name, all the same", false, 1, "a")
	read("by name again", true, 0, "a")
	read("another name", false, 0, "b")
	if _, err := c.Admin().CreateTopic(t.Context(), 1, 1, nil, "b"); err != nil {
		t.Fatal(err)
	}
	read("there now", false, 1, "b")
	read("all", false, 2)
	if _, err := c.Admin().DeleteTopic(t.Context(), "b"); err != nil {
		t.Fatal(err)
	}
	read("gone", false, 1)
	f.ControlKey(kmsg.Metadata.Int16(), func(kmsg.Request) (kmsg.Response, error, bool) {
		return nil, errors.New("close it"), true
	})
	read("after a connection broke", true, 0)
}

// Brokers before 2.4 tell epochs that are not to be relied on.
func TestTopicReaderEpochs(t *testing.T) {
	for max, want := range map[*kversion.Versions]int32{kversion.V2_3_0(): -1, kversion.V2_4_0(): 0} {
		c := open(t, cluster(fake(t, kfake.SeedTopics(1, "a"), kfake.MaxVersions(max)), config.SASL{}), Options{})
		topics, _, err := c.TopicReader().Read(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		if got := topics[0].Partitions[0].LeaderEpoch; got != want {
			t.Errorf("%s: epoch %d, want %d", max.VersionGuess(), got, want)
		}
	}
}

// An error for all of it is no answer, and what comes next is not compared with it.
func TestTopicReaderRefused(t *testing.T) {
	f := fake(t, kfake.SeedTopics(1, "a"))
	r := open(t, cluster(f, config.SASL{}), Options{}).TopicReader()
	refuse := func(req kmsg.Request) (kmsg.Response, error, bool) {
		if len(req.(*kmsg.MetadataRequest).Topics) == 0 && req.(*kmsg.MetadataRequest).Topics != nil {
			f.KeepControl() // kgo's own, for the brokers
			return nil, nil, false
		}
		resp := req.ResponseKind().(*kmsg.MetadataResponse)
		resp.ErrorCode = kerr.ClusterAuthorizationFailed.Code
		return resp, nil, true
	}
	f.ControlKey(kmsg.Metadata.Int16(), refuse)
	if _, _, err := r.Read(t.Context(), nil); !errors.Is(err, kerr.ClusterAuthorizationFailed) {
		t.Fatal(err)
	}
	if topics, same, err := r.Read(t.Context(), nil); err != nil || same || len(topics) != 1 {
		t.Errorf("%d topics, same %t, %v", len(topics), same, err)
	}
}

// In every version what is compared begins where the topics do: who is controller is not in it, and what a topic has is.
func TestTopicsAnswer(t *testing.T) {
	answer := func(version int16, change func(*kmsg.MetadataResponse)) *topicsAnswer {
		t.Helper()
		resp := kmsg.NewPtrMetadataResponse()
		resp.Version, resp.ClusterID, resp.ControllerID = version, kmsg.StringPtr("cluster"), 1
		for id := range int32(3) {
			resp.Brokers = append(resp.Brokers, kmsg.MetadataResponseBroker{NodeID: id, Host: "here", Port: 9092, Rack: kmsg.StringPtr("r")})
		}
		topic := kmsg.NewMetadataResponseTopic()
		topic.Topic = kmsg.StringPtr("a")
		topic.Partitions = append(topic.Partitions, kmsg.NewMetadataResponseTopicPartition())
		resp.Topics = append(resp.Topics, topic)
		change(resp)
		whole := resp.AppendTo(nil)
		a := topicsRequest{&kmsg.MetadataRequest{Version: version}}.ResponseKind().(*topicsAnswer)
		if err := a.ReadFrom(whole); err != nil {
			t.Fatalf("version %d: %v", version, err)
		}
		for n := range len(whole) - len(a.topics) {
			cut := &topicsAnswer{MetadataResponse: &kmsg.MetadataResponse{Version: version}}
			if cut.ReadFrom(whole[:n]) == nil {
				t.Errorf("version %d: no error for the first %d bytes of %d", version, n, len(whole))
			}
		}
		return a
	}
	for version := range kmsg.NewPtrMetadataRequest().MaxVersion() + 1 {
		as := answer(version, func(*kmsg.MetadataResponse) {})
		for what, c := range map[string]struct {
			change          func(*kmsg.MetadataResponse)
			brokers, topics bool
		}{
			"controller": {func(r *kmsg.MetadataResponse) { r.ControllerID = 2 }, true, true},
			"throttle":   {func(r *kmsg.MetadataResponse) { r.ThrottleMillis = 7 }, true, true},
			"port":       {func(r *kmsg.MetadataResponse) { r.Brokers[1].Port++ }, false, true},
			"broker":     {func(r *kmsg.MetadataResponse) { r.Brokers = r.Brokers[:2] }, false, true},
			"leader":     {func(r *kmsg.MetadataResponse) { r.Topics[0].Partitions[0].Leader = 2 }, true, false},
			"topic":      {func(r *kmsg.MetadataResponse) { r.Topics = nil }, true, false},
		} {
			b := answer(version, c.change)
			if bytes.Equal(as.brokers, b.brokers) != c.brokers || bytes.Equal(as.topics, b.topics) != c.topics {
				t.Errorf("version %d: after a change of the %s the brokers are the same: %t, and the topics: %t", version, what,
					bytes.Equal(as.brokers, b.brokers), bytes.Equal(as.topics, b.topics))
			}
		}
	}
}
