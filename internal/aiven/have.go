package aiven

import (
	"context"
	"encoding/json"
	"net/http"

	"github.com/aiven/go-client-codegen/handler/kafkamirrormaker"
	"github.com/aiven/go-client-codegen/handler/service"
)

// Have is what Aiven has of what is wanted.
type Have struct {
	services     map[string]*service.ServiceGetOut // by name; absent = not there
	endpoints    map[string]endpoint               // by name; those that kferry made
	integrations []service.ServiceIntegrationOut   // of the MirrorMaker 2 service
	flows        []kafkamirrormaker.ReplicationFlowOut
	flowsUnread  bool // the service is there, and cannot tell yet
}

type endpoint struct {
	id         string
	userConfig map[string]any
}

// Kinds of resources; everything stands for all of them.
const (
	everything      = ""
	serviceKind     = "service"
	endpointKind    = "endpoint"
	integrationKind = "integration"
	flowKind        = "flow"
)

// look reads what there is of what is wanted, or what is needed to speak of one kind.
func (c *Client) look(ctx context.Context, w *Want, kind string) (*Have, error) {
	if !c.projectSeen {
		for _, s := range w.Services {
			c.hideIn(s.UserConfig)
		}
		for _, e := range w.Endpoints {
			c.hideIn(e.UserConfig)
		}
		if _, err := c.projects.ProjectGet(ctx, c.Project); err != nil {
			return nil, c.about(err, "project "+c.Project)
		}
		c.projectSeen = true
	}
	h := &Have{services: map[string]*service.ServiceGetOut{}, endpoints: map[string]endpoint{}}
	for _, s := range w.Services {
		if kind == endpointKind || (kind == integrationKind || kind == flowKind) && s.Type != mirrorType {
			continue
		}
		if err := c.lookService(ctx, s, h, kind); err != nil {
			return nil, c.about(err, "service "+s.Name)
		}
	}
	if kind == serviceKind || kind == flowKind {
		return h, nil
	}
	return h, c.lookEndpoints(ctx, w, h)
}

func (c *Client) lookService(ctx context.Context, s Service, h *Have, kind string) error {
	out, err := c.services.ServiceGet(ctx, c.Project, s.Name)
	if err != nil {
		return ignore(err)
	}
	h.services[s.Name] = out
	if s.Type != mirrorType || out.ServiceType != mirrorType || kind == serviceKind {
		return nil
	}
	return c.lookInside(ctx, s.Name, h, kind)
}

// lookInside reads the integrations and flows of a MirrorMaker 2 service.
func (c *Client) lookInside(ctx context.Context, name string, h *Have, kind string) error {
	if kind == flowKind {
		return c.lookFlows(ctx, name, h)
	}
	all, err := c.services.ServiceIntegrationList(ctx, c.Project, name)
	if err != nil && !isNotFound(err) {
		return err
	}
	for _, i := range all {
		if i.IntegrationType == service.IntegrationTypeKafkaMirrormaker && i.DestService != nil && *i.DestService == name {
			h.integrations = append(h.integrations, i)
		}
	}
	if kind == integrationKind {
		return nil
	}
	return c.lookFlows(ctx, name, h)
}

func (c *Client) lookFlows(ctx context.Context, name string, h *Have) (err error) {
	if h.services[name].State == service.ServiceStateTypePoweroff {
		return nil
	}
	settled := h.services[name].State == service.ServiceStateTypeRunning
	if !settled {
		ctx = context.WithValue(ctx, onceKey{}, true)
	}
	h.flows, err = c.mirrors.ServiceKafkaMirrorMakerGetReplicationFlows(ctx, c.Project, name)
	if status := statusOf(err); err != nil && (status == http.StatusNotFound || status == http.StatusConflict || status >= 500 && !settled) {
		h.flowsUnread = true
		return nil
	}
	return err
}

// lookEndpoints reads those that kferry made, with their secrets, or nothing could be said about them.
func (c *Client) lookEndpoints(ctx context.Context, w *Want, h *Have) error {
	if len(w.Endpoints) == 0 {
		return nil
	}
	all, err := c.services.ServiceIntegrationEndpointList(ctx, c.Project)
	if err != nil {
		return c.about(err, "integration endpoints")
	}
	for _, e := range w.Endpoints {
		for _, one := range all {
			if one.EndpointName != e.Name {
				continue
			}
			out, err := c.services.ServiceIntegrationEndpointGet(ctx, c.Project, one.EndpointId, service.ServiceIntegrationEndpointGetIncludeSecrets(true))
			if err != nil && !isNotFound(err) {
				return c.about(err, "endpoint "+e.Name)
			}
			if err == nil {
				h.endpoints[e.Name] = endpoint{out.EndpointId, out.UserConfig}
			}
		}
	}
	return nil
}

// Tags of the services that kferry made.
const (
	tagMade    = "kferry"
	tagApplied = "kferry-applied" // Want.Mark as of the last apply that came to its end
	managed    = "managed"
)

func made(s *service.ServiceGetOut) bool { return s.Tags[tagMade] == managed }

// fields gives a flow as its fields on the wire, with one spelling for what is excluded.
func fields(flow any) map[string]any {
	b, err := json.Marshal(flow)
	if err != nil {
		panic(err) // it is plain data
	}
	out := map[string]any{}
	if err := json.Unmarshal(b, &out); err != nil {
		panic(err)
	}
	if excluded, ok := out["topics_exclude"]; ok {
		out["topics.blacklist"] = excluded
	}
	for _, key := range []string{"topics_exclude", "source_cluster", "target_cluster", "replication_progress"} {
		delete(out, key)
	}
	return out
}
