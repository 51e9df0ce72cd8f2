package fake

import (
	"net/http"
	"slices"
	"time"
)

func (s *Server) createEndpoint(_ *http.Request, in object) (any, *failure) {
	name := text(in, "endpoint_name")
	for _, e := range s.endpoints.all(time.Time{}) {
		if e.Name == name {
			return nil, fail(http.StatusConflict, "", "Integration endpoint %s already exists", name)
		}
	}
	e := &Endpoint{ID: s.id(), Name: name, Type: text(in, "endpoint_type"), UserConfig: config(in)}
	s.endpoints.set(e.ID, s.Clock.Now(), e)
	return object{"service_integration_endpoint": showEndpoint(e, true)}, nil
}

func showEndpoint(e *Endpoint, secrets bool) object {
	shown := merge(nil, e.UserConfig)
	for _, key := range []string{"sasl_plain_password", "ssl_client_key"} {
		if _, ok := shown[key]; ok && !secrets {
			shown[key] = hidden
		}
	}
	return object{"endpoint_id": e.ID, "endpoint_name": e.Name, "endpoint_type": e.Type, "endpoint_config": object{}, "user_config": shown}
}

func (s *Server) listEndpoints(*http.Request, object) (any, *failure) {
	out := []any{}
	for _, e := range s.endpoints.all(s.seen()) {
		out = append(out, showEndpoint(e, false))
	}
	return object{"service_integration_endpoints": out}, nil
}

func (s *Server) getEndpoint(r *http.Request, _ object) (any, *failure) {
	e := s.endpoints.get(r.PathValue("id"), s.seen())
	if e == nil {
		return nil, fail(http.StatusNotFound, "", "Integration endpoint not found")
	}
	return object{"service_integration_endpoint": showEndpoint(e, r.URL.Query().Get("include_secrets") == "true")}, nil
}

func (s *Server) updateEndpoint(r *http.Request, in object) (any, *failure) {
	e := s.endpoints.get(r.PathValue("id"), time.Time{})
	if e == nil {
		return nil, fail(http.StatusNotFound, "", "Integration endpoint not found")
	}
	v := *e
	v.UserConfig = config(in)
	s.endpoints.set(v.ID, s.Clock.Now(), &v)
	return object{"service_integration_endpoint": showEndpoint(&v, true)}, nil
}

func (s *Server) deleteEndpoint(r *http.Request, _ object) (any, *failure) {
	e := s.endpoints.get(r.PathValue("id"), time.Time{})
	if e == nil {
		return nil, fail(http.StatusNotFound, "", "Integration endpoint not found")
	}
	for _, i := range s.integrations.all(time.Time{}) {
		if i.Endpoint == e.ID {
			return nil, fail(http.StatusConflict, "", "Integration endpoint is in use")
		}
	}
	s.endpoints.set(e.ID, s.Clock.Now(), nil)
	return object{}, nil
}

// createIntegration makes one more each time it is asked: that there are no two is the caller's business.
func (s *Server) createIntegration(_ *http.Request, in object) (any, *failure) {
	i := &Integration{ID: s.id(), Type: text(in, "integration_type"), Source: text(in, "source_service"), Endpoint: text(in, "source_endpoint_id"),
		Dest: text(in, "dest_service"), UserConfig: config(in)}
	for _, name := range []string{i.Source, i.Dest} {
		if name != "" && s.services.get(name, s.seen()) == nil {
			return nil, fail(http.StatusNotFound, "service_not_found", "Service %s does not exist", name)
		}
	}
	if i.Endpoint != "" && s.endpoints.get(i.Endpoint, s.seen()) == nil {
		return nil, fail(http.StatusNotFound, "", "Integration endpoint not found")
	}
	s.integrations.set(i.ID, s.Clock.Now(), i)
	s.restart(i.Dest)
	return object{"service_integration": s.showIntegration(i)}, nil
}

func (s *Server) showIntegration(i *Integration) object {
	out := object{"service_integration_id": i.ID, "integration_type": i.Type, "active": true, "enabled": true, "description": "",
		"source_project": Project, "dest_project": Project, "dest_service": i.Dest, "dest_service_type": "kafka_mirrormaker",
		"source_service": nil, "source_service_type": "kafka", "user_config": i.UserConfig}
	state, words, cause := "running", "Running", any(nil)
	errors := []any{}
	if i.Source != "" {
		out["source_service"] = i.Source
	}
	if e := s.endpoints.get(i.Endpoint, time.Time{}); e != nil {
		out["source_endpoint"], out["source_endpoint_id"], out["source_service_type"] = e.Name, e.ID, "external_kafka"
		if err := s.Reachable(e.UserConfig); err != nil {
			state, words, cause, errors = "failed", "Connecting to the source failed", "source", []any{err.Error()}
		}
	}
	out["integration_status"] = object{"status_user_desc": words, "state": object{"status": state, "errors": errors, "likely_error_cause": cause, "nodes": object{}}}
	return out
}

func (s *Server) updateIntegration(r *http.Request, in object) (any, *failure) {
	i := s.integrations.get(r.PathValue("id"), time.Time{})
	if i == nil {
		return nil, fail(http.StatusNotFound, "", "Service integration not found")
	}
	v := *i
	v.UserConfig = config(in)
	s.integrations.set(v.ID, s.Clock.Now(), &v)
	s.restart(v.Dest)
	return object{"service_integration": s.showIntegration(&v)}, nil
}

func (s *Server) deleteIntegration(r *http.Request, _ object) (any, *failure) {
	i := s.integrations.get(r.PathValue("id"), time.Time{})
	if i == nil {
		return nil, fail(http.StatusNotFound, "", "Service integration not found")
	}
	s.integrations.set(i.ID, s.Clock.Now(), nil)
	s.restart(i.Dest)
	return object{}, nil
}

func (s *Server) listIntegrations(r *http.Request, _ object) (any, *failure) {
	v, failure := s.find(r, s.seen())
	if failure != nil {
		return nil, failure
	}
	out := []any{}
	for _, i := range s.integrations.all(s.seen()) {
		if i.Source == v.Name || i.Dest == v.Name {
			out = append(out, s.showIntegration(i))
		}
	}
	return object{"service_integrations": out}, nil
}

// serving finds a MirrorMaker 2 service that has started; until then its own API is not there.
func (s *Server) serving(r *http.Request, at time.Time) (*Service, *failure) {
	v, failure := s.find(r, at)
	switch {
	case failure != nil:
		return nil, failure
	case v.Off:
		return nil, fail(http.StatusConflict, "not_powered", "Service is powered off")
	case s.Clock.Now().Before(v.created.Add(s.Provision)):
		return nil, fail(http.StatusServiceUnavailable, "kafka_service_unavailable", "Service is not ready")
	}
	return v, nil
}

var spellings = []string{"topics.blacklist", "topics.exclude", "topics_exclude"}

func (s *Server) createFlow(r *http.Request, in object) (any, *failure) {
	v, failure := s.serving(r, time.Time{})
	if failure != nil {
		return nil, failure
	}
	f := &Flow{Service: v.Name, Source: text(in, "source_cluster"), Target: text(in, "target_cluster"), Fields: in}
	key := f.Service + "/" + f.Source + "/" + f.Target
	if s.flows.get(key, time.Time{}) != nil {
		return nil, fail(http.StatusConflict, "", "Replication flow already exists")
	}
	// An alias that no integration has is taken all the same, as the real one does.
	s.flows.set(key, s.Clock.Now(), f)
	s.restart(v.Name)
	s.changed = append(s.changed, *f)
	return object{"message": "Completed"}, nil
}

func (s *Server) showFlow(f *Flow) object {
	out := merge(nil, f.Fields)
	for _, spelling := range spellings {
		if excluded, ok := out[spelling]; ok {
			delete(out, spelling)
			out["topics.blacklist"] = excluded
		}
	}
	out["replication_progress"] = s.Progress(*f)
	return out
}

func (s *Server) listFlows(r *http.Request, _ object) (any, *failure) {
	v, failure := s.serving(r, s.seen())
	if failure != nil {
		return nil, failure
	}
	out := []any{}
	for _, f := range s.flows.all(s.seen()) {
		if f.Service == v.Name {
			out = append(out, s.showFlow(f))
		}
	}
	return object{"replication_flows": out}, nil
}

func (s *Server) findFlow(r *http.Request) (*Flow, *failure) {
	if _, failure := s.serving(r, time.Time{}); failure != nil {
		return nil, failure
	}
	f := s.flows.get(r.PathValue("service")+"/"+r.PathValue("source")+"/"+r.PathValue("target"), time.Time{})
	if f == nil {
		return nil, fail(http.StatusNotFound, "", "Replication flow not found")
	}
	return f, nil
}

func (s *Server) updateFlow(r *http.Request, in object) (any, *failure) {
	f, failure := s.findFlow(r)
	if failure != nil {
		return nil, failure
	}
	v := *f
	v.Fields = merge(nil, f.Fields)
	for key, value := range in {
		if slices.Contains(spellings, key) {
			for _, spelling := range spellings {
				delete(v.Fields, spelling)
			}
		}
		v.Fields[key] = value
	}
	s.flows.set(v.Service+"/"+v.Source+"/"+v.Target, s.Clock.Now(), &v)
	s.restart(v.Service)
	s.changed = append(s.changed, v)
	return object{"replication_flow": s.showFlow(&v)}, nil
}

func (s *Server) deleteFlow(r *http.Request, _ object) (any, *failure) {
	f, failure := s.findFlow(r)
	if failure != nil {
		return nil, failure
	}
	s.drop(f)
	return object{}, nil
}

func (s *Server) drop(f *Flow) {
	v := *f
	v.Deleted = true
	s.flows.set(f.Service+"/"+f.Source+"/"+f.Target, s.Clock.Now(), nil)
	s.changed = append(s.changed, v)
}
