package deadletter

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kferry/kferry/config"
	"github.com/kferry/kferry/internal/kafka"
)

func world(t *testing.T) (*kfake.Cluster, *Store) {
	t.Helper()
	fake, err := kfake.NewCluster(kfake.NumBrokers(1))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(fake.Close)
	cl, err := kafka.Open(config.Cluster{Alias: "new", BootstrapServers: fake.ListenAddrs(), ClientID: "test", Connections: 1}, kafka.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cl.Close)
	s := New(cl, "flow", 1)
	t.Cleanup(s.Close)
	return fake, s
}

func letter(bytesOf int) *kgo.Record { return &kgo.Record{Value: bytes.Repeat([]byte("x"), bytesOf)} }

// The topic is made for the record at hand and raised for a larger one.
func TestWriteLarge(t *testing.T) {
	fake, s := world(t)
	for _, size := range []int{10, 2 << 20, 100, 6 << 20} {
		if err := s.Write(t.Context(), []*kgo.Record{letter(size), letter(1)}); err != nil {
			t.Fatalf("%d bytes: %v", size, err)
		}
	}
	if n := fake.PartitionInfo(Topic("flow"), 0).HighWatermark; n != 8 {
		t.Errorf("%d letters, want 8", n)
	}
}

// What waiting does not mend is told apart.
func TestWriteRefused(t *testing.T) {
	for _, c := range []struct {
		key     kmsg.Key
		err     *kerr.Error
		settled bool
	}{
		{kmsg.Produce, kerr.PolicyViolation, true},
		{kmsg.Produce, kerr.TopicAuthorizationFailed, true},
		{kmsg.CreateTopics, kerr.TopicAuthorizationFailed, true},
		{kmsg.CreateTopics, kerr.NotController, false},
	} {
		t.Run(fmt.Sprint(c.key.Name(), " ", c.err.Message), func(t *testing.T) {
			fake, s := world(t)
			f := fake.Fault(kfake.Fault{Keys: []kmsg.Key{c.key}, Topic: Topic("flow"), Err: c.err, Count: -1})
			ctx, cancel := context.WithTimeout(t.Context(), patience/5)
			defer cancel()
			if err := s.Write(ctx, []*kgo.Record{letter(1)}); err == nil || errors.Is(err, ErrSettled) != c.settled {
				t.Errorf("%v", err)
			}
			f.Remove()
			if err := s.Write(t.Context(), []*kgo.Record{letter(1)}); err != nil {
				t.Error(err)
			}
		})
	}
}

// Null and empty are different things.
func TestLettersKeepNull(t *testing.T) {
	fake, s := world(t)
	if err := s.Write(t.Context(), []*kgo.Record{{Key: nil, Value: []byte{}}, {Key: []byte{}, Value: nil}}); err != nil {
		t.Fatal(err)
	}
	cl, err := kgo.NewClient(kgo.SeedBrokers(fake.ListenAddrs()...), kgo.ConsumeTopics(Topic("flow")), kgo.ConsumeStartOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	rs := cl.PollFetches(t.Context()).Records()
	if len(rs) != 2 || rs[0].Key != nil || rs[0].Value == nil || rs[1].Key == nil || rs[1].Value != nil {
		t.Errorf("%+v", rs)
	}
}
