package main

import (
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sr"
	"github.com/twmb/franz-go/pkg/sr/srfake"
)

// moveWorld is an Aiven whose services run, and a source with a topic and a registry.
func moveWorld(t *testing.T) (a *at, registry *srfake.Registry) {
	t.Helper()
	source, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(3, "pizza-orders"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(source.Close)
	registry = srfake.New()
	t.Cleanup(registry.Close)
	cl, err := kgo.NewClient(kgo.SeedBrokers(source.ListenAddrs()...))
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	if _, err := kadm.NewClient(cl).AlterTopicConfigs(t.Context(), []kadm.AlterConfig{{Name: "retention.ms", Value: kadm.StringPtr("1000")}}, "pizza-orders"); err != nil {
		t.Fatal(err)
	}
	old := `old: { bootstrap_servers: ["old.example:9094"], tls: { enabled: true }, sasl: { mechanism: SCRAM-SHA-512, username: alice, password: "${OLD_PASSWORD}" } }`
	a = atAiven(t, old, `old: { bootstrap_servers: ["`+source.ListenAddrs()[0]+`"], schema_registry: { url: "`+registry.URL()+`" } }`,
		"plan: business-4 }", "plan: business-4, user_config: { schema_registry: true, kafka_authentication_methods: { sasl: true } } }")
	a.want(0, "aiven apply", "done: 6 steps")
	return a, registry
}

func TestAivenTopics(t *testing.T) {
	a, _ := moveWorld(t)
	before := len(a.fake.Requests())
	a.want(7, "aiven topics --dry-run", "+ create  topic pizza-orders", "partitions: 3", "retention.ms: 1000", "something to do: 1 step")
	if n := a.fake.Writes(before); n != 0 {
		t.Errorf("--dry-run wrote %d times", n)
	}
	a.want(0, "aiven topics", "topic pizza-orders: create")
	before = len(a.fake.Requests())
	a.want(0, "aiven topics", "= keep    topic pizza-orders")
	a.want(0, "aiven topics --dry-run --json", `"action": "keep"`)
	if n := a.fake.Writes(before); n != 0 {
		t.Errorf("the second time it wrote %d times", n)
	}
	b, _ := moveWorld(t)
	b.environ = append(b.environ, "KFERRY_AIVEN_API="+a.fake.URL, "KFERRY_FLOWS_OLD_NEW_REPLICATION_FACTOR=2")
	b.want(6, "aiven topics", "! differs topic pizza-orders", "replication: 3 -> 2", "1 thing there and not as at the source")
}

func TestAivenACLs(t *testing.T) {
	a, _ := moveWorld(t)
	a.want(2, "aiven acls --grant shop", "is not USER=PERMISSION:TOPICS")
	a.want(2, "aiven acls --grant shop=own:pizza-*", "must be one of admin, read, readwrite, write")
	grant := "aiven acls --grant shop=readwrite:pizza-*"
	a.want(7, grant+" --dry-run", "+ create  right shop: readwrite on pizza-*")
	a.want(0, grant, "user shop: create")
	a.want(0, grant, "= keep    right shop: readwrite on pizza-*")
	if own, _ := a.fake.ACLs("target-kafka"); len(own) != 1 {
		t.Errorf("got %v", own)
	}
}

func TestAivenSchemas(t *testing.T) {
	a, registry := moveWorld(t)
	registry.SeedSchema("orders-value", 1, 1, sr.Schema{Schema: `"string"`})
	registry.SeedSchema("orders-value", 2, 7, sr.Schema{Schema: `{"type":"record","name":"R","fields":[]}`, References: []sr.SchemaReference{}})
	before := len(a.fake.Requests())
	a.want(1, "aiven schemas", "! blocked schema orders-value version 2", "it would get the id 2, and has 7 in the source's registry", "--new-ids")
	if n := a.fake.Writes(before); n != 0 {
		t.Errorf("what cannot be done whole wrote %d times", n)
	}
	a.want(0, "aiven schemas --new-ids", "schema orders-value version 2: create")
	a.want(0, "aiven schemas --new-ids", "= keep    schema orders-value version 2")
	a.want(6, "aiven schemas", "its id there is 2, and 7 in the source's registry")
	b := atAiven(t)
	b.want(3, "aiven schemas", "clusters.old.schema_registry: is missing: it says where the schemas come from")
	c := atAiven(t, "{ source: old, target: new,", "{ source: new, target: old,")
	c.want(3, "aiven topics", "flows: have none to new")
}
