package aiven

import (
	"context"
	"fmt"
	"strings"

	"github.com/aiven/go-client-codegen/handler/service"
)

// Status is how all that is wanted is at Aiven. Its texts are fit to be shown.
type Status struct {
	Healthy      bool                `json:"healthy"` // nothing is in Problems
	Problems     []string            `json:"problems"`
	Services     []ServiceStatus     `json:"services"`
	Integrations []IntegrationStatus `json:"integrations"`
	Flows        []FlowStatus        `json:"flows"`
}

// ServiceStatus is one service; State is "absent" for one that is not there.
type ServiceStatus struct {
	Name  string `json:"name"`
	Type  string `json:"type"`
	Plan  string `json:"plan,omitempty"`
	Cloud string `json:"cloud,omitempty"`
	State string `json:"state"`
}

// IntegrationStatus is how a MirrorMaker 2 service gets along with one cluster.
type IntegrationStatus struct {
	Alias  string   `json:"alias"`
	State  string   `json:"state"` // running, failed, ... as Aiven has it; absent
	Says   string   `json:"says,omitempty"`
	Errors []string `json:"errors,omitempty"` // Aiven's
	Means  string   `json:"means,omitempty"`  // what that comes to, and what to do
}

// FlowStatus is one replication flow.
type FlowStatus struct {
	Source   string   `json:"source"`
	Target   string   `json:"target"`
	State    string   `json:"state"`    // enabled, disabled, absent, unknown
	Progress *float64 `json:"progress"` // of all topics, 0 to 1; null = Aiven does not say
}

const absent = "absent"

// Status asks for everything once.
func (c *Client) Status(ctx context.Context, w *Want) (*Status, error) {
	h, err := c.look(ctx, w, everything)
	if err != nil {
		return nil, err
	}
	st := &Status{Problems: []string{}, Services: []ServiceStatus{}, Integrations: []IntegrationStatus{}, Flows: []FlowStatus{}}
	for _, s := range w.Services {
		st.Services = append(st.Services, c.serviceStatus(s, h, st))
	}
	for i := range w.Integrations {
		st.Integrations = append(st.Integrations, c.integrationStatus(&w.Integrations[i], h, st))
	}
	for i := range w.Flows {
		st.Flows = append(st.Flows, flowStatus(&w.Flows[i], h, st))
	}
	if skew := c.Skew(); skew != "" {
		st.problem("%s", skew)
	}
	st.Healthy = len(st.Problems) == 0
	return st, nil
}

func (st *Status) problem(text string, args ...any) {
	st.Problems = append(st.Problems, fmt.Sprintf(text, args...))
}

func (c *Client) serviceStatus(s Service, h *Have, st *Status) ServiceStatus {
	have := h.services[s.Name]
	if have == nil {
		st.problem("service %s is not there: \"kferry aiven apply\" makes it", s.Name)
		return ServiceStatus{Name: s.Name, Type: s.Type, State: absent}
	}
	if have.State != service.ServiceStateTypeRunning {
		st.problem("service %s is %s", s.Name, stateOf(have))
	}
	return ServiceStatus{Name: s.Name, Type: c.clean(have.ServiceType), Plan: c.clean(have.Plan), Cloud: c.clean(have.CloudName), State: stateOf(have)}
}

func (c *Client) integrationStatus(want *Integration, h *Have, st *Status) IntegrationStatus {
	out := IntegrationStatus{Alias: want.Alias, State: absent}
	for i := range h.integrations {
		have := &h.integrations[i]
		if alias, _ := have.UserConfig["cluster_alias"].(string); alias != want.Alias {
			continue
		}
		out.State = "unknown"
		if s := have.IntegrationStatus; s != nil {
			out.State, out.Says = string(s.State.Status), c.clean(s.StatusUserDesc)
			for _, text := range s.State.Errors {
				out.Errors = append(out.Errors, c.clean(text))
			}
		}
	}
	switch {
	case out.State == absent:
		st.problem("cluster %s is not known to %s: \"kferry aiven apply\" makes the integration", want.Alias, want.Dest)
	case out.State == string(service.IntegrationStatusTypeFailed) || len(out.Errors) > 0:
		out.Means = meaning(want.Alias, strings.Join(append(out.Errors, out.Says), " "))
		st.problem("cluster %s: %s", want.Alias, out.Means)
	}
	return out
}

// meanings are what clients of Kafka say, and what it comes to. The first that fits counts.
var meanings = []struct {
	parts []string
	means string
}{
	{[]string{"saslauthentication", "authentication failed", "invalid credentials", "sasl_authentication_failed"},
		"it refuses the user or the password. Correct clusters.%s.sasl and apply again"},
	{[]string{"unsupported mechanism", "unsupported sasl", "illegal sasl"},
		"it does not offer that mechanism. Correct clusters.%s.sasl.mechanism and apply again"},
	{[]string{"certificate_required", "bad_certificate"},
		"it wants a client certificate, or another one. Give clusters.%s.tls.cert_file and key_file and apply again"},
	{[]string{"no subject alternative", "hostname", "pkix", "unable to find valid certification", "ssl handshake", "sslhandshake", "certificate"},
		"its certificate is not trusted, or not for that name. Give the authority as clusters.%s.tls.ca_file, use names that are in the certificate, and apply again"},
	{[]string{"authorization", "not authorized", "access denied"},
		"it denies the user a right that MirrorMaker 2 needs: clusters.%s.sasl.username must be allowed to read and describe the topics, and their settings"},
	{[]string{"unknownhost", "no resolvable", "not resolve", "name or service not known"},
		"its name is not known to Aiven. Correct clusters.%s.bootstrap_servers: they must be names of the public DNS, or of the peered network"},
	{[]string{"timeout", "timed out", "refused", "disconnected", "not available", "could not be established", "unreachable"},
		"Aiven cannot reach it. Let the service's addresses through its firewall, and check clusters.%s.bootstrap_servers"},
}

// meaning says in plain words what keeps a cluster from being used.
func meaning(alias, text string) string {
	text = strings.ToLower(text)
	for _, m := range meanings {
		if containsAny(text, m.parts) {
			return fmt.Sprintf(m.means, alias)
		}
	}
	return "the service cannot use it; its log in the console tells more"
}

func flowStatus(want *Flow, h *Have, st *Status) FlowStatus {
	out := FlowStatus{Source: want.In.SourceCluster, Target: want.In.TargetCluster, State: absent}
	if h.flowsUnread {
		out.State = "unknown"
		return out
	}
	for i := range h.flows {
		f := &h.flows[i]
		if f.SourceCluster != out.Source || f.TargetCluster != out.Target {
			continue
		}
		out.Progress, out.State = f.ReplicationProgress, "disabled"
		if f.Enabled {
			out.State = "enabled"
		}
		return out
	}
	st.problem("the flow %s -> %s is not there: \"kferry aiven apply\" makes it", out.Source, out.Target)
	return out
}
