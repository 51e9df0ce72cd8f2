package aiven

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/aiven/go-client-codegen/handler/kafkatopic"
)

// Topic is a topic to be made through Aiven's API, for users to whom Kafka's own way is closed.
type Topic struct {
	Name        string
	Partitions  int
	Replication int               // 0 = the service's default
	Config      map[string]string // by Kafka's names: retention.ms
}

// CreateTopic makes a topic of a service and waits until Aiven shows it. One that is there is left as it is.
func (c *Client) CreateTopic(ctx context.Context, service string, t Topic) error {
	settings, err := topicConfig(t.Config)
	if err != nil {
		return fmt.Errorf("topic %s: %w", t.Name, err)
	}
	in := &kafkatopic.ServiceKafkaTopicCreateIn{TopicName: t.Name, Partitions: &t.Partitions, Config: settings}
	if t.Replication > 0 {
		in.Replication = &t.Replication
	}
	for until := c.clock.Now().Add(patience); ; {
		err = c.topics.ServiceKafkaTopicCreate(ctx, c.Project, service, in)
		// 409 is also what a service says whose brokers are not all there yet.
		if err == nil || isThere(err) || !isUnclear(err) && statusOf(err) != http.StatusConflict || c.clock.Now().After(until) {
			break
		}
		if err := c.clock.Sleep(ctx, slowPoll); err != nil {
			return err
		}
	}
	if err != nil && !isThere(err) {
		return c.about(err, "topic "+t.Name)
	}
	return c.topicShows(ctx, service, t.Name)
}

// topicShows waits for a topic: right after it was made Aiven says 404, 501 or 502.
func (c *Client) topicShows(ctx context.Context, service, name string) error {
	for until := c.clock.Now().Add(patience); ; {
		_, err := c.topics.ServiceKafkaTopicGet(context.WithValue(ctx, onceKey{}, true), c.Project, service, name)
		if err == nil {
			return nil
		}
		if !isNotFound(err) && !isUnclear(err) || c.clock.Now().After(until) {
			return c.about(err, "topic "+name)
		}
		if err := c.clock.Sleep(ctx, poll); err != nil {
			return err
		}
	}
}

// topicConfig gives settings Aiven's names and types.
func topicConfig(settings map[string]string) (*kafkatopic.ConfigIn, error) {
	kinds := map[string]reflect.Type{}
	for i := range reflect.TypeFor[kafkatopic.ConfigIn]().NumField() {
		f := reflect.TypeFor[kafkatopic.ConfigIn]().Field(i)
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		kinds[name] = f.Type
	}
	typed := map[string]any{}
	for _, key := range slices.Sorted(maps.Keys(settings)) {
		name, text := strings.ReplaceAll(key, ".", "_"), settings[key]
		kind, ok := kinds[name]
		if !ok {
			return nil, fmt.Errorf("setting %s cannot be set through Aiven's API: leave it out, in a flow by config_exclude", key)
		}
		var err error
		switch kind {
		case reflect.TypeFor[*int]():
			typed[name], err = strconv.ParseInt(text, 10, 64)
		case reflect.TypeFor[*bool]():
			typed[name], err = strconv.ParseBool(text)
		case reflect.TypeFor[*float64]():
			typed[name], err = strconv.ParseFloat(text, 64)
		default:
			typed[name] = text
		}
		if err != nil {
			return nil, fmt.Errorf("setting %s is %q, which is not of its kind", key, text)
		}
	}
	b, err := json.Marshal(typed)
	if err != nil {
		return nil, err
	}
	out := &kafkatopic.ConfigIn{}
	return out, json.Unmarshal(b, out)
}

// PlanTopics compares topics with those of a service. Only what is missing is to be made; what is there and differs is
// told, and stays.
func (c *Client) PlanTopics(ctx context.Context, service string, want []Topic) (*Plan, error) {
	all, err := c.topics.ServiceKafkaTopicList(ctx, c.Project, service)
	if err != nil {
		return nil, c.about(err, "topics of "+service)
	}
	there := map[string]bool{}
	for _, t := range all {
		there[t.TopicName] = true
	}
	p := &Plan{Steps: []*Step{}}
	for _, t := range want {
		s := p.add("topic", t.Name, there[t.Name], func(ctx context.Context) error { return c.CreateTopic(ctx, service, t) })
		have := Topic{Config: map[string]string{}}
		if there[t.Name] {
			if have, err = c.topic(ctx, service, t.Name); err != nil {
				return nil, err
			}
		}
		s.Fields = topicFields(have, t)
		switch {
		case s.Action == Create:
			if _, err := topicConfig(t.Config); err != nil {
				s.Action, s.Reason = Blocked, err.Error()
			}
		case len(s.Fields) > 0:
			s.Action, s.Reason = Differs, "it is there and stays as it is: who carries the flow adds partitions, and keeps settings in step (sync_topic_configs)"
		}
	}
	return p, nil
}

// topicFields are the differences between two topics.
func topicFields(have, want Topic) (out []Field) {
	field := func(name, from, to string) {
		if from != to {
			out = append(out, Field{Name: name, From: from, To: to})
		}
	}
	text := func(n int) string {
		if n == 0 {
			return ""
		}
		return strconv.Itoa(n)
	}
	field("partitions", text(have.Partitions), text(want.Partitions))
	if want.Replication > 0 {
		field("replication", text(have.Replication), text(want.Replication))
	}
	for _, key := range slices.Sorted(maps.Keys(want.Config)) {
		field(key, have.Config[key], want.Config[key])
	}
	return out
}

// topic reads a topic of a service, with the settings that are in force by Kafka's names.
func (c *Client) topic(ctx context.Context, service, name string) (Topic, error) {
	got, err := c.topics.ServiceKafkaTopicGet(ctx, c.Project, service, name)
	if err != nil {
		return Topic{}, c.about(err, "topic "+name)
	}
	t := Topic{Name: name, Partitions: len(got.Partitions), Replication: got.Replication, Config: map[string]string{}}
	b, err := json.Marshal(got.Config)
	if err != nil {
		return t, err
	}
	settings := map[string]struct {
		Value json.RawMessage `json:"value"`
	}{}
	if err := json.Unmarshal(b, &settings); err != nil {
		return t, err
	}
	for key, v := range settings {
		text := string(v.Value)
		if unquoted, err := strconv.Unquote(text); err == nil {
			text = unquoted
		}
		t.Config[strings.ReplaceAll(key, "_", ".")] = text
	}
	return t, nil
}

// Connector is how a connector is. Its texts are fit to be shown.
type Connector struct {
	State  string
	Failed []string // what its failed tasks say
}

// secretSetting finds the names of settings of connectors whose values must not be shown.
var secretSetting = regexp.MustCompile(`(?i)password|secret|token|credential|private|\bkey\b|jaas`)

// PutConnector makes a connector of a service, or gives the one of that name these settings. Their values are not
// shown in any error where the name of a setting tells that it is a secret.
func (c *Client) PutConnector(ctx context.Context, service, name string, settings map[string]string) error {
	settings = maps.Clone(settings)
	settings["name"] = name
	for key, value := range settings {
		if secretSetting.MatchString(key) {
			c.hide(value)
		}
	}
	const most = 3
	for try := 1; ; try++ {
		_, err := c.connectors.ServiceKafkaConnectEditConnector(ctx, c.Project, service, name, &settings)
		if isNotFound(err) {
			_, err = c.connectors.ServiceKafkaConnectCreateConnector(ctx, c.Project, service, &settings)
		}
		if try < most && (isUnclear(err) || isThere(err)) {
			continue // what is there now is edited
		}
		return c.about(err, "connector "+name)
	}
}

// DeleteConnector takes a connector away; one that is not there is no error.
func (c *Client) DeleteConnector(ctx context.Context, service, name string) error {
	return c.about(ignore(c.connectors.ServiceKafkaConnectDeleteConnector(ctx, c.Project, service, name)), "connector "+name)
}

// ConnectorStatus asks how a connector is.
func (c *Client) ConnectorStatus(ctx context.Context, service, name string) (*Connector, error) {
	st, err := c.connectors.ServiceKafkaConnectGetConnectorStatus(ctx, c.Project, service, name)
	if err != nil {
		return nil, c.about(err, "connector "+name)
	}
	out := &Connector{State: string(st.State)}
	for _, t := range st.Tasks {
		if t.Trace != "" {
			out.Failed = append(out.Failed, fmt.Sprintf("task %d: %s", t.Id, c.clean(t.Trace)))
		}
	}
	return out, nil
}
