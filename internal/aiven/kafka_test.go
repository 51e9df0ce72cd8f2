package aiven

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/kferry/kferry/internal/aiven/fake"
)

// do makes what a plan says, and gives its steps as they were before.
func do(t *testing.T, p *Plan, err error) string {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for _, s := range p.Steps {
		fmt.Fprintf(&b, "%s %s %v %s\n", s.Action, s, s.Fields, s.Reason)
	}
	if err := p.Do(context.Background(), func(string) {}); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func has(t *testing.T, got string, parts ...string) {
	t.Helper()
	for _, part := range parts {
		if !strings.Contains(got, part) {
			t.Errorf("no %q in\n%s", part, got)
		}
	}
}

// later lets reads show what was written.
func later(s *fake.Server) { _ = s.Clock.Sleep(context.Background(), time.Minute) }

func TestTopics(t *testing.T) {
	s := fake.New(t)
	s.Lag = 5 * time.Second
	apply(t, s, load(t, s))
	c, ctx := newApplier(t, s, load(t, s)).Client, context.Background()
	topic := Topic{Name: "pizza-orders", Partitions: 6, Replication: 3, Config: map[string]string{"retention.ms": "1000", "preallocate": "true", "cleanup.policy": "compact", "min.cleanable.dirty.ratio": "0.5"}}
	p, err := c.PlanTopics(ctx, "target-kafka", []Topic{topic})
	has(t, do(t, p, err), "create topic pizza-orders [{partitions  6} {replication  3} {cleanup.policy  compact}")
	if err := c.CreateTopic(ctx, "target-kafka", topic); err != nil { // it is there, and that is no error
		t.Fatal(err)
	}
	if got := fmt.Sprint(s.Topics("target-kafka")); !strings.Contains(got, "retention_ms:1000") || strings.Count(got, "topic_name") != 1 {
		t.Errorf("got %s", got)
	}
	before := len(s.Requests())
	p, err = c.PlanTopics(ctx, "target-kafka", []Topic{topic})
	has(t, do(t, p, err), "keep topic pizza-orders [] ")
	more := topic
	more.Partitions, more.Config = 9, map[string]string{"retention.ms": "2000"}
	p, err = c.PlanTopics(ctx, "target-kafka", []Topic{more})
	has(t, do(t, p, err), "differs topic pizza-orders [{partitions 6 9} {retention.ms 1000 2000}]")
	if s.Writes(before) != 0 || p.Differ() != 1 {
		t.Errorf("%d writes, %d differ", s.Writes(before), p.Differ())
	}
	for setting, want := range map[string]string{"leader.replication.throttled.replicas": "leave it out", "retention.ms": "not of its kind"} {
		p, err = c.PlanTopics(ctx, "target-kafka", []Topic{{Name: "other", Partitions: 1, Config: map[string]string{setting: "x"}}})
		if err != nil || p.Blocked() == nil || !strings.Contains(p.Blocked().Error(), want) {
			t.Errorf("%s: %v %v", setting, err, p.Blocked())
		}
	}
}

func TestRightsOfBothKinds(t *testing.T) {
	s := fake.New(t)
	apply(t, s, load(t, s))
	c, ctx := newApplier(t, s, load(t, s)).Client, context.Background()
	r, err := RightOf("User:bob", "*", "TOPIC", "pizza-", "PREFIXED", "DESCRIBE_CONFIGS", "ALLOW")
	if err != nil {
		t.Fatal(err)
	}
	g, err := ParseGrant("shop=readwrite:pizza-*")
	if err != nil {
		t.Fatal(err)
	}
	for _, action := range []string{"create", "keep"} {
		p, err := c.PlanRights(ctx, "target-kafka", []Right{r, r}, []Grant{g})
		got := do(t, p, err)
		has(t, got, action+" right User:bob may DescribeConfigs Topic pizza-*", action+" right shop: readwrite on pizza-*")
		later(s)
	}
	if own, native := s.ACLs("target-kafka"); len(own) != 1 || len(native) != 1 {
		t.Errorf("%v %v", own, native)
	}
	for _, bad := range [][]string{{"Group:x", "TOPIC", "LITERAL", "READ", "users alone"}, {"User:x", "CLUSTER", "LITERAL", "ALTER", "own business"}, {"User:x", "TOPIC", "MATCH", "READ", "knows no"}} {
		if _, err := RightOf(bad[0], "*", bad[1], "n", bad[2], bad[3], "ALLOW"); err == nil || !strings.Contains(err.Error(), bad[4]) {
			t.Errorf("%v: %v", bad, err)
		}
	}
	for _, bad := range []string{"", "a", "a=b", "=read:x", "a=read:", "a=own:x"} {
		if _, err := ParseGrant(bad); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
}

// Schemas keep the ids that records name, or are not registered.
func TestSchemas(t *testing.T) {
	s := fake.New(t)
	apply(t, s, load(t, s))
	c, ctx := newApplier(t, s, load(t, s)).Client, context.Background()
	subjects := []Subject{
		{Name: "orders-value", Compatibility: "FULL", Versions: []Schema{{Version: 1, ID: 1, Type: "AVRO", Text: `{"type":"string"}`}, {Version: 2, ID: 3, Type: "JSON", Text: `{}`}}},
		{Name: "orders-key", Versions: []Schema{{Version: 1, ID: 1, Type: "AVRO", Text: `{"type": "string"}`}, {Version: 2, ID: 2, Type: "AVRO", Text: `"int"`, References: []Reference{{"r", "orders-value", 1}}}}},
	}
	s.Intercept = func(_ int, r *http.Request) fake.Fault {
		if r.Method == http.MethodPost {
			s.Set(func(s *fake.Server) { s.Intercept = nil })
			return fake.Fault{Drop: true, After: true}
		}
		return fake.Fault{}
	}
	subjects[1].Versions[0].Text = subjects[0].Versions[0].Text
	for _, action := range []string{"create", "keep"} {
		p, err := c.PlanSchemas(ctx, "target-kafka", subjects, false)
		has(t, do(t, p, err), action+" schema orders-value version 1", action+" schema orders-key version 1", action+" schema orders-key version 2", action+" schema orders-value version 2", action+" schema orders-value compatibility")
		later(s)
	}
	other := func(version, id int) []Subject {
		return []Subject{{Name: "clicks-value", Versions: []Schema{{Version: version, ID: id, Type: "AVRO", Text: `"long"`}}}}
	}
	p, err := c.PlanSchemas(ctx, "target-kafka", other(1, 77), false)
	if err != nil || p.Blocked() == nil || !strings.Contains(p.Blocked().Error(), "it would get the id 4, and has 77") {
		t.Errorf("%v %v", err, p.Blocked())
	}
	p, err = c.PlanSchemas(ctx, "target-kafka", other(1, 2), false)
	if err != nil || p.Blocked() == nil {
		t.Errorf("a schema would get the id of another: %v", err)
	}
	p, err = c.PlanSchemas(ctx, "target-kafka", other(1, 77), true)
	do(t, p, err)
	later(s)
	p, err = c.PlanSchemas(ctx, "target-kafka", other(1, 77), false)
	has(t, do(t, p, err), "differs schema clicks-value version 1 [] its id there is 4, and 77")
	// Somebody else registers one in between.
	p, err = c.PlanSchemas(ctx, "target-kafka", []Subject{{Name: "x-value", Versions: []Schema{{Version: 1, ID: 5, Type: "AVRO", Text: `"float"`}}}}, false)
	if err != nil {
		t.Fatal(err)
	}
	q, err := c.PlanSchemas(ctx, "target-kafka", []Subject{{Name: "y-value", Versions: []Schema{{Version: 1, ID: 5, Type: "AVRO", Text: `"double"`}}}}, false)
	do(t, q, err)
	if err := p.Do(ctx, func(string) {}); err == nil || !strings.Contains(err.Error(), "it got the id 6, and has 5") {
		t.Errorf("got %v", err)
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
