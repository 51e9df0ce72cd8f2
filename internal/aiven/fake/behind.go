package fake

import (
	"fmt"
	"maps"
	"net"
	"slices"
	"strconv"
	"strings"
)

// Kafka is a cluster behind the Kafka services: what is made over the API is there for Kafka's own clients, and topics
// that they make are there for the API. It must not ask the fake. An error fails the test.
type Kafka interface {
	Address() string   // host:port of the listener with SASL
	Authority() string // PEM of who signed its certificate
	PutUser(name, password string) error
	Allow(ACL) error
	CreateTopic(Topic) error
	Topics() ([]Topic, error)
}

// ACL is one of Kafka's own, in the words of the API.
type ACL struct{ Principal, Host, ResourceType, ResourceName, PatternType, Operation, PermissionType string }

// Topic is one with the settings that it has itself, by Kafka's names.
type Topic struct {
	Name                    string
	Partitions, Replication int // 0 = the cluster's default
	Settings                map[string]string
}

// did fails the test if what stands behind did not do its part.
func (s *Server) did(err error) {
	if err != nil {
		s.t.Errorf("fake: the cluster behind it: %v", err)
	}
}

// address is where SASL is spoken.
func (s *Server) address(host string) (string, int) {
	const usual = 12702
	if s.Kafka == nil {
		return host, usual
	}
	at, port, err := net.SplitHostPort(s.Kafka.Address())
	s.did(err)
	n, err := strconv.Atoi(port)
	s.did(err)
	return at, n
}

// allow gives the cluster an ACL of one of the two kinds.
func (s *Server) allow(sh *shelf[object], in object) {
	switch {
	case s.Kafka == nil:
	case sh == &s.natives:
		s.did(s.Kafka.Allow(ACL{text(in, "principal"), text(in, "host"), text(in, "resource_type"), text(in, "resource_name"),
			text(in, "pattern_type"), text(in, "operation"), text(in, "permission_type")}))
	default:
		for _, a := range natives(in) {
			s.did(s.Kafka.Allow(a))
		}
	}
}

// operations are those on topics that a permission of Aiven's comes to.
var operations = map[string][]string{"read": {"Read"}, "write": {"Write"}, "readwrite": {"Read", "Write"}, "admin": {"All"}}

// natives are what an ACL of Aiven's comes to, with all groups.
func natives(in object) []ACL {
	user, name, pattern := "User:"+text(in, "username"), text(in, "topic"), "LITERAL"
	if prefix, ok := strings.CutSuffix(name, "*"); ok && prefix != "" {
		name, pattern = prefix, "PREFIXED"
	}
	out := []ACL{{user, "*", "Group", "*", "LITERAL", "Read", "ALLOW"}}
	for _, o := range operations[text(in, "permission")] {
		out = append(out, ACL{user, "*", "Topic", name, pattern, o, "ALLOW"})
	}
	return out
}

// topicOf reads a request to create a topic.
func topicOf(in object) Topic {
	t := Topic{Name: text(in, "topic_name"), Partitions: int(number(in, "partitions", 0)), Replication: int(number(in, "replication", 0)), Settings: map[string]string{}}
	settings, _ := in["config"].(map[string]any)
	for name, v := range settings {
		if n, ok := v.(float64); ok {
			v = strconv.FormatFloat(n, 'f', -1, 64)
		}
		t.Settings[strings.ReplaceAll(name, "_", ".")] = fmt.Sprint(v)
	}
	return t
}

// mirrorTopics puts the topics of the cluster behind a service on its shelf.
func (s *Server) mirrorTopics(service string) {
	if s.Kafka == nil {
		return
	}
	topics, err := s.Kafka.Topics()
	s.did(err)
	for _, t := range topics {
		settings := object{}
		for _, name := range slices.Sorted(maps.Keys(t.Settings)) {
			settings[strings.ReplaceAll(name, ".", "_")] = typed(t.Settings[name])
		}
		in := object{"topic_name": t.Name, "partitions": float64(t.Partitions), "replication": float64(t.Replication), "config": settings}
		s.topics.set(service+"/"+t.Name, s.Clock.Now().Add(-s.Lag), &in)
	}
}

// typed gives a setting the type that the API shows.
func typed(text string) any {
	if n, err := strconv.ParseFloat(text, 64); err == nil {
		return n
	}
	if b, err := strconv.ParseBool(text); err == nil {
		return b
	}
	return text
}
