package fake

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"maps"
	"math/big"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Identity is a certificate with its key, both in PEM: that of the authority and of every user.
var Identity = sync.OnceValues(func() (certificate, key string) {
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Date(2099, 1, 1, 0, 0, 0, 0, time.UTC)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, k.Public(), k)
	if err != nil {
		panic(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		panic(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})), string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8}))
})

func (s *Server) getCA(*http.Request, object) (any, *failure) {
	certificate, _ := Identity()
	if s.Kafka != nil {
		certificate = s.Kafka.Authority()
	}
	return object{"certificate": certificate}, nil
}

// UserPassword is the one that every user of a service gets.
const UserPassword = "hunter2-generated"

func (u *user) show(secrets bool) object {
	certificate, key := Identity()
	out := object{"username": u.name, "type": "normal", "password": hidden, "access_cert": certificate, "access_key": nil}
	if secrets {
		out["password"], out["access_key"] = u.password, key
	}
	return out
}

func (s *Server) createUser(r *http.Request, in object) (any, *failure) {
	v, failure := s.find(r, time.Time{})
	if failure != nil {
		return nil, failure
	}
	key := v.Name + "/" + text(in, "username")
	if s.users.get(key, time.Time{}) != nil {
		return nil, fail(http.StatusConflict, "", "Service user already exists")
	}
	u := &user{v.Name, text(in, "username"), UserPassword}
	if s.Kafka != nil {
		s.did(s.Kafka.PutUser(u.name, u.password))
	}
	s.users.set(key, s.Clock.Now(), u)
	return object{"user": u.show(true)}, nil
}

func (s *Server) getUser(r *http.Request, _ object) (any, *failure) {
	u := s.users.get(r.PathValue("service")+"/"+r.PathValue("user"), s.seen())
	if u == nil {
		return nil, fail(http.StatusNotFound, "", "Service user does not exist")
	}
	return object{"user": u.show(r.URL.Query().Get("include_secrets") == "true")}, nil
}

// of lists the things on a shelf whose keys begin with the service's name.
func of(sh *shelf[object], service string, at time.Time) []any {
	out := []any{}
	for _, key := range sh.keys {
		if v := sh.get(key, at); v != nil && strings.HasPrefix(key, service+"/") {
			out = append(out, *v)
		}
	}
	return out
}

func (s *Server) add(r *http.Request, sh *shelf[object], in object) (object, *failure) {
	v, failure := s.find(r, time.Time{})
	if failure != nil {
		return nil, failure
	}
	one := maps.Clone(in)
	one["id"] = "acl" + s.id()
	if _, ok := one["host"]; !ok && sh == &s.natives {
		one["host"] = "*"
	}
	sh.set(v.Name+"/"+one["id"].(string), s.Clock.Now(), &one)
	s.allow(sh, one)
	return one, nil
}

func (s *Server) addACL(r *http.Request, in object) (any, *failure) {
	if _, failure := s.add(r, &s.acls, in); failure != nil {
		return nil, failure
	}
	return object{"acl": of(&s.acls, r.PathValue("service"), time.Time{})}, nil
}

func (s *Server) listACLs(r *http.Request, _ object) (any, *failure) {
	return object{"acl": of(&s.acls, r.PathValue("service"), s.seen())}, nil
}

func (s *Server) deleteACL(r *http.Request, _ object) (any, *failure) {
	key := r.PathValue("service") + "/" + r.PathValue("id")
	if s.acls.get(key, time.Time{}) == nil {
		return nil, fail(http.StatusNotFound, "service_acl_not_found", "ACL not found")
	}
	s.acls.set(key, s.Clock.Now(), nil)
	return object{"acl": of(&s.acls, r.PathValue("service"), time.Time{})}, nil
}

func (s *Server) addNative(r *http.Request, in object) (any, *failure) {
	one, failure := s.add(r, &s.natives, in)
	if failure != nil {
		return nil, failure
	}
	return object{"acl": one}, nil
}

func (s *Server) listNatives(r *http.Request, _ object) (any, *failure) {
	return object{"acl": of(&s.acls, r.PathValue("service"), s.seen()), "kafka_acl": of(&s.natives, r.PathValue("service"), s.seen())}, nil
}

// ACLs are Aiven's and Kafka's own, as they are now.
func (s *Server) ACLs(service string) (aiven, native []any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return of(&s.acls, service, time.Time{}), of(&s.natives, service, time.Time{})
}

// Topics are those of a service, as they were asked for.
func (s *Server) Topics(service string) []any {
	s.mu.Lock()
	defer s.mu.Unlock()
	return of(&s.topics, service, time.Time{})
}

func (s *Server) createTopic(r *http.Request, in object) (any, *failure) {
	v, failure := s.find(r, time.Time{})
	if failure != nil {
		return nil, failure
	}
	if s.state(v) == "REBUILDING" && s.Clock.Now().Before(v.created.Add(s.Provision)) {
		return nil, fail(http.StatusConflict, "", "Cluster does not have enough brokers yet")
	}
	s.mirrorTopics(v.Name)
	key := v.Name + "/" + text(in, "topic_name")
	if s.topics.get(key, time.Time{}) != nil {
		return nil, fail(http.StatusConflict, "kafka_topic_already_exists", "Topic '%s' already exists", text(in, "topic_name"))
	}
	if s.Kafka != nil {
		s.did(s.Kafka.CreateTopic(topicOf(in)))
	}
	s.topics.set(key, s.Clock.Now(), &in)
	return object{}, nil
}

func number(in object, key string, otherwise float64) float64 {
	if n, ok := in[key].(float64); ok {
		return n
	}
	return otherwise
}

func (s *Server) listTopics(r *http.Request, _ object) (any, *failure) {
	s.mirrorTopics(r.PathValue("service"))
	out := []any{}
	for _, one := range of(&s.topics, r.PathValue("service"), s.seen()) {
		in := one.(object)
		out = append(out, object{"topic_name": in["topic_name"], "partitions": number(in, "partitions", 1), "replication": number(in, "replication", 3),
			"cleanup_policy": "delete", "min_insync_replicas": 2, "retention_bytes": -1, "retention_hours": 168, "state": "ACTIVE", "remote_storage_enable": false,
			"owner_user_group_id": nil, "topic_description": nil, "tags": []any{}})
	}
	return object{"topics": out}, nil
}

// getTopic answers as the real one does right after a topic was made: 404, then 501.
func (s *Server) getTopic(r *http.Request, _ object) (any, *failure) {
	s.mirrorTopics(r.PathValue("service"))
	key := r.PathValue("service") + "/" + r.PathValue("topic")
	in := s.topics.get(key, s.seen())
	if in == nil && s.topics.get(key, time.Time{}) != nil && s.Clock.Now().Second()%2 == 1 {
		return nil, fail(http.StatusNotImplemented, "", "Failed to fetch Kafka topic")
	}
	if in == nil {
		return nil, fail(http.StatusNotFound, "kafka_topic_not_found", "Topic '%s' does not exist", r.PathValue("topic"))
	}
	partitions := []any{}
	for i := range int(number(*in, "partitions", 1)) {
		partitions = append(partitions, object{"partition": i, "isr": 3, "size": 0, "earliest_offset": 0, "latest_offset": 0, "consumer_groups": []any{}})
	}
	settings := object{}
	given, _ := (*in)["config"].(map[string]any)
	for name, v := range given {
		settings[name] = object{"value": v, "source": "topic_config", "synonyms": []any{}}
	}
	return object{"topic": object{"topic_name": (*in)["topic_name"], "config": settings, "partitions": partitions, "replication": number(*in, "replication", 3),
		"state": "ACTIVE", "tags": []any{}, "min_insync_replicas": 2, "cleanup_policy": "delete", "retention_bytes": -1, "retention_hours": 168,
		"owner_user_group_id": nil, "topic_description": nil}}, nil
}

func (s *Server) listSubjects(r *http.Request, _ object) (any, *failure) {
	out := []any{}
	for _, v := range s.schemas.all(s.seen()) {
		if v.service == r.PathValue("service") {
			out = append(out, v.name)
		}
	}
	return object{"subjects": out}, nil
}

func (s *Server) subject(r *http.Request) (*subject, string) {
	key := r.PathValue("service") + "/" + r.PathValue("subject")
	v := subject{service: r.PathValue("service"), name: r.PathValue("subject")}
	if old := s.schemas.get(key, time.Time{}); old != nil {
		v = *old
		v.schemas = slices.Clone(old.schemas)
	}
	return &v, key
}

// addSchema gives a schema that it has the number that it has, as a registry does.
func (s *Server) addSchema(r *http.Request, in object) (any, *failure) {
	v, key := s.subject(r)
	for _, one := range v.schemas {
		if one["schema"] == in["schema"] {
			return object{"id": one["id"]}, nil
		}
	}
	in["id"] = s.schemaID(in)
	v.schemas = append(v.schemas, in)
	s.schemas.set(key, s.Clock.Now(), v)
	return object{"id": in["id"]}, nil
}

// schemaID is that of the same schema under another subject, or the next one.
func (s *Server) schemaID(in object) int {
	last := 0
	for _, other := range s.schemas.all(time.Time{}) {
		for _, one := range other.schemas {
			if one["schema"] == in["schema"] {
				return one["id"].(int)
			}
			last = max(last, one["id"].(int))
		}
	}
	return last + 1
}

func (s *Server) listVersions(r *http.Request, _ object) (any, *failure) {
	v, _ := s.subject(r)
	if len(v.schemas) == 0 {
		return nil, fail(http.StatusNotFound, "", "Subject '%s' not found.", v.name)
	}
	out := []any{}
	for i := range v.schemas {
		out = append(out, i+1)
	}
	return object{"versions": out}, nil
}

func (s *Server) getVersion(r *http.Request, _ object) (any, *failure) {
	v, _ := s.subject(r)
	n, err := strconv.Atoi(r.PathValue("version"))
	if err != nil || n < 1 || n > len(v.schemas) {
		return nil, fail(http.StatusNotFound, "", "Version %s not found.", r.PathValue("version"))
	}
	out := merge(nil, v.schemas[n-1])
	out["subject"], out["version"] = v.name, n
	return object{"version": out}, nil
}

func (s *Server) getCompatibility(r *http.Request, _ object) (any, *failure) {
	v, _ := s.subject(r)
	if v.compatibility == "" {
		return nil, fail(http.StatusNotFound, "", "Subject '%s' does not have subject-level compatibility configured", v.name)
	}
	return object{"compatibilityLevel": v.compatibility}, nil
}

func (s *Server) setCompatibility(r *http.Request, in object) (any, *failure) {
	v, key := s.subject(r)
	v.compatibility = text(in, "compatibility")
	s.schemas.set(key, s.Clock.Now(), v)
	return object{"compatibility": v.compatibility}, nil
}

// Connectors are those of a service, as they were asked for.
func (s *Server) Connectors(service string) []any {
	s.mu.Lock()
	defer s.mu.Unlock()
	return of(&s.connectors, service, time.Time{})
}

func showConnector(in object) any {
	return object{"connector": object{"name": in["name"], "config": in, "tasks": []any{}, "plugin": object{
		"author": "", "class": in["connector.class"], "docURL": "", "title": "", "type": "sink", "version": "1"}}}
}

func (s *Server) createConnector(r *http.Request, in object) (any, *failure) {
	key := r.PathValue("service") + "/" + text(in, "name")
	if s.connectors.get(key, time.Time{}) != nil {
		return nil, fail(http.StatusConflict, "", "Connector %s already exists", text(in, "name"))
	}
	s.connectors.set(key, s.Clock.Now(), &in)
	return showConnector(in), nil
}

func (s *Server) connector(r *http.Request, at time.Time) (string, *object, *failure) {
	key := r.PathValue("service") + "/" + r.PathValue("connector")
	v := s.connectors.get(key, at)
	if v == nil {
		return key, nil, fail(http.StatusNotFound, "", "Connector %s not found", r.PathValue("connector"))
	}
	return key, v, nil
}

func (s *Server) editConnector(r *http.Request, in object) (any, *failure) {
	key, _, failure := s.connector(r, time.Time{})
	if failure != nil {
		return nil, failure
	}
	s.connectors.set(key, s.Clock.Now(), &in)
	return showConnector(in), nil
}

func (s *Server) deleteConnector(r *http.Request, _ object) (any, *failure) {
	key, _, failure := s.connector(r, time.Time{})
	if failure == nil {
		s.connectors.set(key, s.Clock.Now(), nil)
	}
	return object{}, failure
}

func (s *Server) getConnectorStatus(r *http.Request, _ object) (any, *failure) {
	if _, _, failure := s.connector(r, s.seen()); failure != nil {
		return nil, failure
	}
	return object{"status": object{"state": "RUNNING", "tasks": []any{object{"id": 0, "state": "FAILED", "trace": "org.apache.kafka.connect.errors.ConnectException: no such host"}}}}, nil
}
