package aiven

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aiven/go-client-codegen/handler/kafka"
	"github.com/aiven/go-client-codegen/handler/kafkaschemaregistry"

	"github.com/kferry/kferry/internal/aiven/fake"
)

func TestTopicsACLsSchemas(t *testing.T) {
	s := fake.New(t)
	s.Lag = 5 * time.Second
	apply(t, s, load(t, s))
	c, ctx := newApplier(t, s, load(t, s)).Client, context.Background()
	topic := Topic{Name: "pizza-orders", Partitions: 6, Replication: 3, Config: map[string]string{"retention.ms": "1000", "preallocate": "true", "cleanup.policy": "compact", "min.cleanable.dirty.ratio": "0.5"}}
	for range 2 {
		if err := c.CreateTopic(ctx, "target-kafka", topic); err != nil {
			t.Fatal(err)
		}
	}
	if got := fmt.Sprint(s.Topics("target-kafka")); !strings.Contains(got, "retention_ms:1000") || strings.Count(got, "topic_name") != 1 {
		t.Errorf("got %s", got)
	}
	if names, err := c.Topics(ctx, "target-kafka"); err != nil || !slices.Equal(names, []string{"pizza-orders"}) {
		t.Errorf("%v %v", names, err)
	}
	for setting, want := range map[string]string{"leader.replication.throttled.replicas": "leave it out", "retention.ms": "not of its kind"} {
		topic.Config = map[string]string{setting: "x"}
		if err := c.CreateTopic(ctx, "target-kafka", topic); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", setting, err)
		}
	}
	acl := kafka.ServiceKafkaNativeAclAddIn{Principal: "User:bob", ResourceType: kafka.ResourceTypeTopic, ResourceName: "pizza-", PatternType: kafka.PatternTypePrefixed,
		Operation: kafka.OperationTypeRead, PermissionType: kafka.ServiceKafkaNativeAclPermissionTypeAllow}
	for range 2 {
		if err := c.AllowTopics(ctx, "target-kafka", "bob", "pizza-*", kafka.PermissionTypeRead); err != nil {
			t.Fatal(err)
		}
		if err := c.Allow(ctx, "target-kafka", []kafka.ServiceKafkaNativeAclAddIn{acl}); err != nil {
			t.Fatal(err)
		}
		_ = s.Clock.Sleep(ctx, time.Minute)
	}
	if own, native := s.ACLs("target-kafka"); len(own) != 1 || len(native) != 1 {
		t.Errorf("%v %v", own, native)
	}
	s.Intercept = func(n int, r *http.Request) fake.Fault {
		if r.Method == http.MethodPost {
			s.Set(func(s *fake.Server) { s.Intercept = nil })
			return fake.Fault{Drop: true, After: true}
		}
		return fake.Fault{}
	}
	in := &kafkaschemaregistry.ServiceSchemaRegistrySubjectVersionPostIn{Schema: `"string"`, SchemaType: kafkaschemaregistry.SchemaTypeAvro}
	if id, err := c.RegisterSchema(ctx, "target-kafka", "pizza-value", in); err != nil || id != 1 {
		t.Errorf("%d %v", id, err)
	}
	if err := c.SetCompatibility(ctx, "target-kafka", "pizza-value", kafkaschemaregistry.CompatibilityTypeFull); err != nil {
		t.Fatal(err)
	}
	_ = s.Clock.Sleep(ctx, time.Minute)
	if names, err := c.Subjects(ctx, "target-kafka"); err != nil || !slices.Equal(names, []string{"pizza-value"}) {
		t.Errorf("%v %v", names, err)
	}
}

// The rights are those that README lists, on no more than the flow's topics.
func TestRights(t *testing.T) {
	s := fake.New(t)
	for _, c := range []struct{ to, want string }{
		{`topics: ["pizza-.*", 'a\.b'], engine: kferry`, "[Topic pizza- PREFIXED][Topic a.b LITERAL][Topic kferry.cloudkarafka-aiven.progress LITERAL][Group kferry.cloudkarafka-aiven LITERAL]"},
		{`topics: ["p(a|b)"], policy: default, engine: kferry`, "[Topic cloudkarafka. PREFIXED][Topic kferry.cloudkarafka-aiven.progress LITERAL][Group kferry.cloudkarafka-aiven LITERAL]"},
		{`topics: [".*"], prefix: x-, engine: kferry, on_refused: dead_letter`, "[Topic x- PREFIXED][Topic kferry.cloudkarafka-aiven.progress LITERAL][Topic kferry.cloudkarafka-aiven.dead_letter LITERAL][Group kferry.cloudkarafka-aiven LITERAL]"},
		{`topics: ["pizza-.*"], engine: aiven`, "[Topic pizza- PREFIXED][Topic mm2-offsets.cloudkarafka.internal LITERAL][Topic mm2-status.cloudkarafka.internal LITERAL][Topic mm2-offset-syncs.cloudkarafka.internal LITERAL][Topic kferry.cloudkarafka-aiven.progress LITERAL][Group kferry.cloudkarafka-aiven LITERAL]"},
		{`topics: ["pizza-.*"], engine: aiven, policy: default, offset_syncs: { location: source }`, "[Topic cloudkarafka. PREFIXED][Topic mm2-offsets.cloudkarafka.internal LITERAL][Topic mm2-status.cloudkarafka.internal LITERAL][Topic kferry.cloudkarafka-aiven.progress LITERAL][Group kferry.cloudkarafka-aiven LITERAL]"},
		{`topics: ["pizza-.*"], engine: kferry, takeover: aiven`, "[Topic pizza- PREFIXED][Topic mm2-offsets.cloudkarafka.internal LITERAL][Topic mm2-status.cloudkarafka.internal LITERAL][Topic mm2-offset-syncs.cloudkarafka.internal LITERAL]" +
			"[Topic kferry.cloudkarafka-aiven.progress LITERAL][Group kferry.cloudkarafka-aiven LITERAL][Topic pizza- PREFIXED][Topic kferry.cloudkarafka-aiven.progress LITERAL]"},
	} {
		var got strings.Builder
		last := ""
		for _, r := range rights(load(t, s, `topics: ["pizza-.*"], groups: [".*"], engine: aiven`, c.to), "u") {
			if one := fmt.Sprintf("[%s %s %s]", r.ResourceType, r.ResourceName, r.PatternType); one != last {
				got.WriteString(one)
				last = one
			}
		}
		if got.String() != c.want {
			t.Errorf("%s:\n got %s\nwant %s", c.to, got.String(), c.want)
		}
	}
}

func TestConnectors(t *testing.T) {
	s := fake.New(t)
	apply(t, s, load(t, s))
	c, ctx := newApplier(t, s, load(t, s)).Client, context.Background()
	settings := map[string]string{"connector.class": "io.example.Sink", "topics": "pizza-orders", "connection.password": "hunter2-sink"}
	s.Intercept = func(_ int, r *http.Request) fake.Fault {
		if r.Method == http.MethodPost {
			s.Set(func(s *fake.Server) { s.Intercept = nil })
			return fake.Fault{Status: 500, Message: "broken", After: true}
		}
		return fake.Fault{}
	}
	for range 2 {
		if err := c.PutConnector(ctx, "target-kafka", "sink", settings); err != nil {
			t.Fatal(err)
		}
		settings["topics"] = "clicks"
	}
	if got := s.Connectors("target-kafka"); len(got) != 1 || !strings.Contains(fmt.Sprint(got), "topics:clicks") {
		t.Errorf("got %v", got)
	}
	if st, err := c.ConnectorStatus(ctx, "target-kafka", "sink"); err != nil || st.State != "RUNNING" || !strings.Contains(st.Failed[0], "task 0: org.apache") {
		t.Errorf("%+v %v", st, err)
	}
	s.Intercept = func(int, *http.Request) fake.Fault { return fake.Fault{Status: 400, Message: "bad hunter2-sink"} }
	if err := c.PutConnector(ctx, "target-kafka", "sink", settings); err == nil || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("got %v", err)
	}
	s.Set(func(s *fake.Server) { s.Intercept = nil })
	for range 2 {
		if err := c.DeleteConnector(ctx, "target-kafka", "sink"); err != nil {
			t.Fatal(err)
		}
	}
}
