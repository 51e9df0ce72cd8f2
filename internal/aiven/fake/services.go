package fake

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"time"
)

// Service is one of them, with what tests look at.
type Service struct {
	Name, Type, Plan, Cloud string
	VPC                     string // "" = none
	Protected, Off          bool
	UserConfig              map[string]any
	Tags                    map[string]any
	created, ready          time.Time
}

// Endpoint is one of a cluster outside of Aiven.
type Endpoint struct {
	ID, Name, Type string
	UserConfig     map[string]any
}

// Integration is one between a cluster and a MirrorMaker 2 service.
type Integration struct {
	ID, Type               string
	Source, Endpoint, Dest string // services' names and an endpoint's id
	UserConfig             map[string]any
}

// Flow is a replication flow of a service.
type Flow struct {
	Service, Source, Target string
	Fields                  map[string]any // as sent
	Deleted                 bool
}

type user struct{ service, name, password string }

type subject struct {
	service, name string
	schemas       []object // versions from 1
	compatibility string
}

func (s *Server) routes() map[string]handler {
	return map[string]handler{
		"GET ":                                                  s.getProject,
		"GET /service-types/{type}/plans":                       s.listPlans,
		"POST /service":                                         s.createService,
		"GET /service":                                          s.listServices,
		"GET /service/{service}":                                s.getService,
		"PUT /service/{service}":                                s.updateService,
		"DELETE /service/{service}":                             s.deleteService,
		"PATCH /service/{service}/tags":                         s.patchTags,
		"POST /integration_endpoint":                            s.createEndpoint,
		"GET /integration_endpoint":                             s.listEndpoints,
		"GET /integration_endpoint/{id}":                        s.getEndpoint,
		"PUT /integration_endpoint/{id}":                        s.updateEndpoint,
		"DELETE /integration_endpoint/{id}":                     s.deleteEndpoint,
		"POST /integration":                                     s.createIntegration,
		"PUT /integration/{id}":                                 s.updateIntegration,
		"DELETE /integration/{id}":                              s.deleteIntegration,
		"GET /service/{service}/integration":                    s.listIntegrations,
		"GET /service/{service}/mirrormaker/replication-flows":  s.listFlows,
		"POST /service/{service}/mirrormaker/replication-flows": s.createFlow,
		"PUT /service/{service}/mirrormaker/replication-flows/{source}/{target}":    s.updateFlow,
		"DELETE /service/{service}/mirrormaker/replication-flows/{source}/{target}": s.deleteFlow,
		"GET /kms/ca":                                                               s.getCA,
		"POST /service/{service}/user":                                              s.createUser,
		"GET /service/{service}/user/{user}":                                        s.getUser,
		"POST /service/{service}/acl":                                               s.addACL,
		"GET /service/{service}/acl":                                                s.listACLs,
		"DELETE /service/{service}/acl/{id}":                                        s.deleteACL,
		"POST /service/{service}/kafka/acl":                                         s.addNative,
		"GET /service/{service}/kafka/acl":                                          s.listNatives,
		"POST /service/{service}/topic":                                             s.createTopic,
		"GET /service/{service}/topic":                                              s.listTopics,
		"GET /service/{service}/topic/{topic}":                                      s.getTopic,
		"GET /service/{service}/kafka/schema/subjects":                              s.listSubjects,
		"POST /service/{service}/kafka/schema/subjects/{subject}/versions":          s.addSchema,
		"GET /service/{service}/kafka/schema/subjects/{subject}/versions":           s.listVersions,
		"GET /service/{service}/kafka/schema/subjects/{subject}/versions/{version}": s.getVersion,
		"PUT /service/{service}/kafka/schema/config/{subject}":                      s.setCompatibility,
		"GET /service/{service}/kafka/schema/config/{subject}":                      s.getCompatibility,
		"POST /service/{service}/connectors":                                        s.createConnector,
		"PUT /service/{service}/connectors/{connector}":                             s.editConnector,
		"DELETE /service/{service}/connectors/{connector}":                          s.deleteConnector,
		"GET /service/{service}/connectors/{connector}/status":                      s.getConnectorStatus,
	}
}

// PowerOff turns a service off as a person at the console would: its flows are gone.
func (s *Server) PowerOff(name string) {
	s.Edit(name, func(v *Service) { v.Off = true })
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, f := range s.flows.all(time.Time{}) {
		if f.Service == name {
			s.drop(f)
		}
	}
}

// Services are those that are there now.
func (s *Server) Services() []Service { return values(s, &s.services) }

// Endpoints are those that are there now.
func (s *Server) Endpoints() []Endpoint { return values(s, &s.endpoints) }

// Integrations are those that are there now.
func (s *Server) Integrations() []Integration { return values(s, &s.integrations) }

// Flows are those that are there now.
func (s *Server) Flows() []Flow { return values(s, &s.flows) }

func values[T any](s *Server, of *shelf[T]) (out []T) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, v := range of.all(time.Time{}) {
		out = append(out, *v)
	}
	return out
}

// PutService lets a service be there, made by somebody else and running.
func (s *Server) PutService(v Service) {
	s.mu.Lock()
	defer s.mu.Unlock()
	long := s.Clock.Now().Add(-24 * time.Hour)
	v.created, v.ready = long, long
	if v.UserConfig == nil {
		v.UserConfig = map[string]any{}
	}
	if v.Tags == nil {
		v.Tags = map[string]any{}
	}
	s.services.set(v.Name, long, &v)
}

// Edit changes a service as a person at the console would.
func (s *Server) Edit(name string, edit func(*Service)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	v := *s.services.get(name, time.Time{})
	v.UserConfig, v.Tags = maps.Clone(v.UserConfig), maps.Clone(v.Tags)
	edit(&v)
	s.services.set(name, s.Clock.Now(), &v)
}

// EditFlow changes a flow as a person at the console would.
func (s *Server) EditFlow(service, source, target string, edit func(fields map[string]any)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	key := service + "/" + source + "/" + target
	v := *s.flows.get(key, time.Time{})
	v.Fields = maps.Clone(v.Fields)
	edit(v.Fields)
	s.flows.set(key, s.Clock.Now(), &v)
}

func (s *Server) getProject(*http.Request, object) (any, *failure) {
	return object{"project": object{
		"project_name": Project, "account_id": "a1", "organization_id": "org1", "billing_address": "", "billing_emails": []any{},
		"billing_group_id": s.id(), "billing_group_name": "g", "country": "", "country_code": "", "default_cloud": "google-europe-west1",
		"estimated_balance": "0.00", "payment_method": "no_payment_expected", "vat_id": "",
	}}, nil
}

func (s *Server) listPlans(r *http.Request, _ object) (any, *failure) {
	plans := []any{}
	of := s.Plans[r.PathValue("type")]
	for _, plan := range slices.Sorted(maps.Keys(of)) {
		regions := object{}
		for _, cloud := range of[plan] {
			regions[cloud] = object{"price_usd": "1.0"}
		}
		plans = append(plans, object{"service_plan": plan, "service_type": r.PathValue("type"), "regions": regions,
			"backup_config": object{"interval": 24, "max_count": 1, "recovery_mode": "basic"}})
	}
	return object{"service_plans": plans}, nil
}

func text(in object, key string) string {
	v, _ := in[key].(string)
	return v
}

func config(in object) map[string]any {
	v, _ := in["user_config"].(map[string]any)
	return merge(nil, v)
}

// merge lays the keys of b over a, deeply.
func merge(a, b map[string]any) map[string]any {
	out := maps.Clone(a)
	if out == nil {
		out = map[string]any{}
	}
	for key, v := range b {
		below, isMap := v.(map[string]any)
		under, wasMap := out[key].(map[string]any)
		if isMap && wasMap {
			v = merge(under, below)
		}
		out[key] = v
	}
	return out
}

func (s *Server) createService(_ *http.Request, in object) (any, *failure) {
	name, kind, plan, cloud := text(in, "service_name"), text(in, "service_type"), text(in, "plan"), text(in, "cloud")
	if s.services.get(name, time.Time{}) != nil || s.Taken[name] {
		return nil, fail(http.StatusConflict, "service_already_exists", "Service name %s is already in use: it already exists", name)
	}
	if !slices.Contains(s.Plans[kind][plan], cloud) {
		return nil, fail(http.StatusBadRequest, "", "Plan %s for service type %s is not available in cloud %s", plan, kind, cloud)
	}
	if s.Quota > 0 && len(s.services.all(time.Time{})) >= s.Quota {
		return nil, fail(http.StatusForbidden, "", "Project has reached its limit of services")
	}
	now := s.Clock.Now()
	protected, _ := in["termination_protection"].(bool)
	tags, _ := in["tags"].(map[string]any)
	v := &Service{Name: name, Type: kind, Plan: plan, Cloud: cloud, VPC: text(in, "project_vpc_id"), Protected: protected,
		UserConfig: config(in), Tags: merge(nil, tags), created: now, ready: now.Add(s.Provision)}
	s.services.set(name, now, v)
	return object{"service": s.show(v, true)}, nil
}

func (s *Server) find(r *http.Request, at time.Time) (*Service, *failure) {
	v := s.services.get(r.PathValue("service"), at)
	if v == nil {
		return nil, fail(http.StatusNotFound, "service_not_found", "Service %s does not exist", r.PathValue("service"))
	}
	return v, nil
}

func (s *Server) getService(r *http.Request, _ object) (any, *failure) {
	v, failure := s.find(r, s.seen())
	if failure != nil {
		return nil, failure
	}
	return object{"service": s.show(v, r.URL.Query().Get("include_secrets") == "true")}, nil
}

func (s *Server) listServices(*http.Request, object) (any, *failure) {
	out := []any{}
	for _, v := range s.services.all(s.seen()) {
		out = append(out, s.show(v, false))
	}
	return object{"services": out}, nil
}

func (s *Server) updateService(r *http.Request, in object) (any, *failure) {
	old, failure := s.find(r, time.Time{})
	if failure != nil {
		return nil, failure
	}
	v := *old
	if to, ok := in["project_vpc_id"]; ok && v.VPC != "" && to != v.VPC {
		s.t.Errorf("fake: service %s would leave its VPC", v.Name)
	}
	if p := text(in, "plan"); p != "" {
		v.Plan = p
	}
	if c := text(in, "cloud"); c != "" {
		v.Cloud = c
	}
	if !slices.Contains(s.Plans[v.Type][v.Plan], v.Cloud) {
		return nil, fail(http.StatusBadRequest, "", "Plan %s for service type %s is not available in cloud %s", v.Plan, v.Type, v.Cloud)
	}
	if on, ok := in["powered"].(bool); ok {
		v.Off = !on
		if !on {
			for _, f := range s.flows.all(time.Time{}) {
				s.drop(f) // as the real one does
			}
		}
	}
	if p, ok := in["termination_protection"].(bool); ok {
		v.Protected = p
	}
	v.UserConfig = merge(v.UserConfig, config(in))
	v.ready = s.Clock.Now().Add(s.Restart)
	s.services.set(v.Name, s.Clock.Now(), &v)
	return object{"service": s.show(&v, true)}, nil
}

func (s *Server) deleteService(r *http.Request, _ object) (any, *failure) {
	v, failure := s.find(r, time.Time{})
	switch {
	case failure != nil:
		return nil, failure
	case v.Protected:
		return nil, fail(http.StatusForbidden, "", "Service is protected against termination")
	}
	now := s.Clock.Now()
	s.services.set(v.Name, now, nil)
	for _, i := range s.integrations.all(time.Time{}) {
		if i.Source == v.Name || i.Dest == v.Name {
			s.integrations.set(i.ID, now, nil)
		}
	}
	for _, f := range s.flows.all(time.Time{}) {
		if f.Service == v.Name {
			s.drop(f)
		}
	}
	return object{}, nil
}

func (s *Server) patchTags(r *http.Request, in object) (any, *failure) {
	old, failure := s.find(r, time.Time{})
	if failure != nil {
		return nil, failure
	}
	v := *old
	tags, _ := in["tags"].(map[string]any)
	v.Tags = merge(v.Tags, tags)
	s.services.set(v.Name, s.Clock.Now(), &v)
	return object{}, nil
}

// restart is what a change costs a service.
func (s *Server) restart(name string) {
	if old := s.services.get(name, time.Time{}); old != nil {
		v := *old
		if ready := s.Clock.Now().Add(s.Restart); ready.After(v.ready) {
			v.ready = ready
		}
		s.services.set(name, s.Clock.Now(), &v)
	}
}

func (s *Server) state(v *Service) string {
	switch {
	case v.Off:
		return "POWEROFF"
	case s.Clock.Now().Before(v.ready):
		return "REBUILDING"
	default:
		return "RUNNING"
	}
}

const hidden = "<redacted>"

// show gives a service as the API does.
func (s *Server) show(v *Service, secrets bool) object {
	nodes := []any{}
	for i := range 3 {
		state := "running"
		if s.state(v) == "REBUILDING" && i > 0 {
			state = "setting_up_vm"
		}
		nodes = append(nodes, object{"name": fmt.Sprintf("%s-%d", v.Name, i+1), "state": state, "availability_zone": "b"})
	}
	host := v.Name + "-" + Project + ".example"
	connection, components, users := object{}, []any{}, []any{}
	if v.Type == "kafka" {
		connection["kafka"] = []any{host + ":12691"}
		components = append(components, component("kafka", host, 12691, "certificate"))
		if methods, _ := v.UserConfig["kafka_authentication_methods"].(map[string]any); methods["sasl"] == true {
			at, port := s.address(host)
			components = append(components, component("kafka", at, port, "sasl"))
		}
		password, key := hidden, any(nil)
		if secrets {
			password, key = "hunter2-avnadmin", "-----BEGIN PRIVATE KEY-----\nhunter2avnadminhunter2avnadmin\n-----END PRIVATE KEY-----\n"
		}
		users = append(users, object{"username": "avnadmin", "type": "primary", "password": password, "access_cert": nil, "access_key": key})
	}
	var vpc, uri any
	if v.VPC != "" {
		vpc = v.VPC
	}
	if s.state(v) == "RUNNING" {
		uri = host + ":12691"
	}
	var integrations []any
	for _, i := range s.integrations.all(s.seen()) {
		if i.Source == v.Name || i.Dest == v.Name {
			integrations = append(integrations, s.showIntegration(i))
		}
	}
	return object{
		"service_name": v.Name, "service_type": v.Type, "plan": v.Plan, "cloud_name": v.Cloud, "state": s.state(v),
		"create_time": v.created.Format(time.RFC3339), "update_time": s.Clock.Now().Format(time.RFC3339), "group_list": []any{"default"},
		"project_vpc_id": vpc, "service_uri": uri, "service_integrations": append([]any{}, integrations...), "termination_protection": v.Protected,
		"user_config": v.UserConfig, "tags": v.Tags, "node_states": nodes, "node_count": 3, "components": components, "connection_info": connection, "users": users,
	}
}

func component(name, host string, port int, method string) object {
	return object{"component": name, "host": host, "port": port, "route": "dynamic", "usage": "primary", "kafka_authentication_method": method, "kafka_ssl_ca": "project_ca"}
}
