package kafka

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/kferry/kferry/config"
)

// A tail gives each record once, also after an error, and all of them again where the topic is another one.
func TestTail(t *testing.T) {
	f := fake(t, kfake.SeedTopics(2, "t"))
	c := open(t, cluster(f, config.SASL{}), Options{})
	hand := open(t, cluster(f, config.SASL{}), Options{}).Client()
	write := func(values ...string) {
		t.Helper()
		for i, v := range values {
			if err := hand.ProduceSync(t.Context(), &kgo.Record{Topic: "t", Partition: int32(i % 2), Value: []byte(v)}).FirstErr(); err != nil {
				t.Fatal(err)
			}
		}
	}
	tail, anew := c.Tail("t"), 0
	read := func(fail string, want ...string) {
		t.Helper()
		var got []string
		take := func(r *kgo.Record) error {
			if string(r.Value) == fail {
				return errors.New("no")
			}
			got = append(got, string(r.Value))
			return nil
		}
		begin := func() { anew, got = anew+1, nil }
		err := tail.Read(t.Context(), begin, take)
		for errors.Is(err, kerr.UnknownTopicID) || errors.Is(err, kerr.UnknownTopicOrPartition) { // of metadata that the client has kept for 20 ms
			err = tail.Read(t.Context(), begin, take)
		}
		if slices.Sort(got); !slices.Equal(got, want) || (err != nil) != (fail != "") {
			t.Errorf("%v: %q, want %q", err, got, want)
		}
	}
	write("a", "b", "c")
	read("", "a", "b", "c")
	read("")
	write("d", "e")
	read("d")
	read("", "d", "e")
	if anew != 1 {
		t.Errorf("began %d times", anew)
	}
	admin := kadm.NewClient(c.Client())
	if _, err := admin.DeleteTopics(t.Context(), "t"); err != nil {
		t.Fatal(err)
	}
	if err := tail.Read(t.Context(), func() { anew++ }, func(*kgo.Record) error { return nil }); !errors.Is(err, kerr.UnknownTopicOrPartition) {
		t.Errorf("of no topic: %v", err)
	}
	if _, err := admin.CreateTopics(t.Context(), 2, 1, nil, "t"); err != nil {
		t.Fatal(err)
	}
	hand = open(t, cluster(f, config.SASL{}), Options{}).Client() // the other one thinks of the old topic
	for i := range 10 {
		write(fmt.Sprint(i))
	}
	read("", "0", "1", "2", "3", "4", "5", "6", "7", "8", "9")
	if anew < 2 {
		t.Errorf("began %d times", anew)
	}
}
