package datagen

import (
	"os"
	"strconv"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/kferry/kferry/internal/kafka"
	"github.com/kferry/kferry/internal/kafkatest"
)

func TestMain(m *testing.M) { kafkatest.Main(m) }

// realCluster connects to a real broker.
func realCluster(t *testing.T, version string) *kafka.Cluster {
	t.Helper()
	c, err := kafka.Open(kafkatest.Shared(t, kafkatest.Options{Version: version}).Config("real", ""), kafka.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// TestRealBroker: a real broker looks into every batch, a fake one does not.
func TestRealBroker(t *testing.T) {
	c := realCluster(t, kafkatest.V4)
	for _, codec := range []Codec{None, Gzip, Snappy, LZ4, Zstd} {
		for _, txn := range []bool{false, true} {
			o := Options{
				Topic: "orders-" + string(codec) + "-" + strconv.FormatBool(txn), Records: 3000, Seed: 11, Codec: codec,
				CreateTopic: true, Partitions: 4, ReplicationFactor: 1,
			}
			if txn {
				o.Transactional, o.TxnRecords, o.AbortRatio = true, 200, 0.3
			}
			st, err := Run(t.Context(), c, o)
			if err != nil {
				t.Fatalf("%s: %v", o.Topic, err)
			}
			if st.Records+st.Aborted != o.Records || txn && st.Aborted == 0 {
				t.Errorf("%s: %+v", o.Topic, st)
			}
			expect(t, o, 4, consume(t, c, o.Topic, int(o.Records)))
			n := 0
			for _, rs := range consume(t, c, o.Topic, int(st.Records), kgo.FetchIsolationLevel(kgo.ReadCommitted())) {
				n += len(rs)
			}
			if n != int(st.Records) {
				t.Errorf("%s: %d committed, want %d", o.Topic, n, st.Records)
			}
		}
	}
}

// TestOneRecordBatches writes the load that replicators hate; KFERRY_FULL=1 writes 300,000 of them.
func TestOneRecordBatches(t *testing.T) {
	c := realCluster(t, kafkatest.V4)
	o := Options{Topic: "ones", Records: 20_000, Batch: 1, Seed: 12, CreateTopic: true, Partitions: 6, ReplicationFactor: 1}
	if os.Getenv("KFERRY_FULL") != "" {
		o.Records = 300_000
	}
	st, err := Run(t.Context(), c, o)
	if err != nil || st.Batches != o.Records {
		t.Fatalf("%+v, %v", st, err)
	}
	t.Logf("%d batches in %v", st.Batches, st.Elapsed)
	expect(t, o, 6, consume(t, c, o.Topic, int(o.Records)))
}
