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

	"github.com/aiven/go-client-codegen/handler/kafka"
	"github.com/aiven/go-client-codegen/handler/kafkaschemaregistry"
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
			return nil, fmt.Errorf("setting %s cannot be set through Aiven's API: leave it out", key)
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

// Topics are the names of the topics of a service.
func (c *Client) Topics(ctx context.Context, service string) ([]string, error) {
	all, err := c.topics.ServiceKafkaTopicList(ctx, c.Project, service)
	if err != nil {
		return nil, c.about(err, "topics of "+service)
	}
	var names []string
	for _, t := range all {
		names = append(names, t.TopicName)
	}
	return names, nil
}

// AllowTopics gives a user one of Aiven's own permissions (admin, read, readwrite, write) on topics, with * and ? in
// the name, unless it is there. With it come all consumer groups.
func (c *Client) AllowTopics(ctx context.Context, service, user, topics string, permission kafka.PermissionType) error {
	have, err := c.acls.ServiceKafkaAclList(ctx, c.Project, service)
	if err != nil {
		return c.about(err, "ACLs of "+service)
	}
	for _, a := range have {
		if a.Username == user && a.Topic == topics && string(a.Permission) == string(permission) {
			return nil
		}
	}
	_, err = c.acls.ServiceKafkaAclAdd(ctx, c.Project, service, &kafka.ServiceKafkaAclAddIn{Username: user, Topic: topics, Permission: permission})
	return c.about(err, "ACL of "+user)
}

// Allow adds Kafka's own ACLs that are not there.
func (c *Client) Allow(ctx context.Context, service string, acls []kafka.ServiceKafkaNativeAclAddIn) error {
	return c.about(c.grant(ctx, service, acls, func(string) {}), "ACLs of "+service)
}

// RegisterSchema adds a version to a subject and gives the schema's id. Aiven's API gives ids itself: they are not
// those of another registry.
func (c *Client) RegisterSchema(ctx context.Context, service, subject string, in *kafkaschemaregistry.ServiceSchemaRegistrySubjectVersionPostIn) (int, error) {
	id, err := c.schemas.ServiceSchemaRegistrySubjectVersionPost(ctx, c.Project, service, subject, in)
	if isUnclear(err) { // a schema that is there keeps its id
		id, err = c.schemas.ServiceSchemaRegistrySubjectVersionPost(ctx, c.Project, service, subject, in)
	}
	return id, c.about(err, "subject "+subject)
}

// SetCompatibility sets what new versions of a subject must fit.
func (c *Client) SetCompatibility(ctx context.Context, service, subject string, level kafkaschemaregistry.CompatibilityType) error {
	_, err := c.schemas.ServiceSchemaRegistrySubjectConfigPut(ctx, c.Project, service, subject, &kafkaschemaregistry.ServiceSchemaRegistrySubjectConfigPutIn{Compatibility: level})
	return c.about(err, "subject "+subject)
}

// Subjects are the names of the subjects of a service.
func (c *Client) Subjects(ctx context.Context, service string) ([]string, error) {
	names, err := c.schemas.ServiceSchemaRegistrySubjects(ctx, c.Project, service)
	return names, c.about(err, "subjects of "+service)
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
