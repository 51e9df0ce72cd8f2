package aiven

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/aiven/go-client-codegen/handler/kafkamirrormaker"
	"github.com/aiven/go-client-codegen/handler/service"

	"github.com/kferry/kferry/config"
)

// An Action is what is to be done about one resource.
type Action string

// Actions. Those up to Adopt are to be done.
const (
	Create  Action = "create"
	Change  Action = "change" // the configuration wants something else than before
	Drift   Action = "drift"  // somebody else changed what kferry made; it is changed back
	Adopt   Action = "adopt"  // somebody else made it, and kferry is told to take it over
	Keep    Action = "keep"
	Left    Action = "left"    // there, and not in the configuration; nothing is done
	Differs Action = "differs" // there, and not as wanted; nothing is done
	Blocked Action = "blocked" // a person must decide
)

// Todo says whether something is to be done.
func (a Action) Todo() bool { return a == Create || a == Change || a == Drift || a == Adopt }

// A Field is one difference. Values are JSON; those of secrets are "(secret)".
type Field struct {
	Name string `json:"name"`
	From string `json:"from,omitempty"` // "" = not set
	To   string `json:"to"`
}

// A Step is what a plan says about one resource.
type Step struct {
	Kind   string  `json:"kind"` // service, endpoint, integration, flow; topic, right, schema
	Name   string  `json:"name"`
	Action Action  `json:"action"`
	Fields []Field `json:"fields,omitempty"`
	Cost   string  `json:"cost,omitempty"`   // what restarts
	Reason string  `json:"reason,omitempty"` // why it is left or blocked
	do     func(context.Context) error
}

// String gives service target-kafka.
func (s *Step) String() string { return s.Kind + " " + s.Name }

// Plan is what there is to do, in order.
type Plan struct {
	Steps []*Step `json:"steps"`
	mark  bool    // whether the mark of the last apply is that of what is wanted
}

// Todo counts the steps that do something.
func (p *Plan) Todo() (n int) {
	for _, s := range p.Steps {
		if s.Action.Todo() {
			n++
		}
	}
	return n
}

// BlockedError tells what a person must decide before anything is done.
type BlockedError struct{ Steps []*Step }

// Error has one line per resource.
func (e *BlockedError) Error() string {
	var lines []string
	for _, s := range e.Steps {
		lines = append(lines, s.String()+": "+s.Reason)
	}
	return strings.Join(lines, "\n")
}

// Blocked is an error of type *BlockedError, or nil.
func (p *Plan) Blocked() error {
	var steps []*Step
	for _, s := range p.Steps {
		if s.Action == Blocked {
			steps = append(steps, s)
		}
	}
	if len(steps) == 0 {
		return nil
	}
	return &BlockedError{steps}
}

// Plan compares what is wanted with what there is, and changes nothing. With adopt services that somebody else made
// are taken over.
func (c *Client) Plan(ctx context.Context, w *Want, adopt bool) (*Plan, error) {
	return c.plan(ctx, w, adopt, everything)
}

// plan is Plan for one kind of resources, or for all.
func (c *Client) plan(ctx context.Context, w *Want, adopt bool, kind string) (*Plan, error) {
	h, err := c.look(ctx, w, kind)
	if err != nil {
		return nil, err
	}
	p := &planner{c: c, w: w, h: h, adopt: adopt, plan: &Plan{}}
	p.steps(kind)
	if kind == everything {
		if err := c.offered(ctx, w, p.plan); err != nil {
			return nil, err
		}
	}
	return p.plan, nil
}

type planner struct {
	c     *Client
	w     *Want
	h     *Have
	adopt bool
	plan  *Plan
}

func (p *planner) steps(kind string) {
	all := kind == everything
	for i := 0; i < len(p.w.Services) && (all || kind == serviceKind); i++ {
		p.service(&p.w.Services[i])
	}
	for i := 0; i < len(p.w.Endpoints) && (all || kind == endpointKind); i++ {
		p.endpoint(&p.w.Endpoints[i])
	}
	if all || kind == integrationKind {
		p.integrations()
	}
	if all || kind == flowKind {
		p.flows()
	}
	p.drift()
}

// drift tells what somebody else changed from what the configuration changed.
func (p *planner) drift() {
	if s := p.h.services[p.w.marked()]; s != nil {
		p.plan.mark = s.Tags[tagApplied] == p.w.Mark()
	}
	for _, s := range p.plan.Steps {
		// The mark has no secrets in it, so another one in the configuration is no drift.
		if s.Action == Change && p.plan.mark && slices.ContainsFunc(s.Fields, func(f Field) bool { return f.To != secretField }) {
			s.Action = Drift
		}
	}
}

// marked is the service that has the mark of the last apply: the last one that is not somebody else's. "" = none.
func (w *Want) marked() string {
	for i := len(w.Services) - 1; i >= 0; i-- {
		if !w.Services[i].Existing {
			return w.Services[i].Name
		}
	}
	return ""
}

func (p *planner) add(s *Step) { p.plan.Steps = append(p.plan.Steps, s) }

func (p *planner) service(s *Service) {
	step := &Step{Kind: serviceKind, Name: s.Name, Action: Keep}
	p.add(step)
	have := p.h.services[s.Name]
	block := func(reason string, args ...any) { step.Action, step.Reason = Blocked, fmt.Sprintf(reason, args...) }
	switch {
	case have == nil && s.Existing:
		block("is not there, though %s says existing: correct its name, or leave existing out and give a plan", s.Key)
	case have == nil:
		step.Action = Create
		step.Fields = append([]Field{{"plan", "", short(s.Plan)}, {"cloud", "", short(s.Cloud)}}, diff(s.UserConfig, nil, serviceSchemas()[s.Type], "user_config")...)
		step.Cost = "Aiven bills it from now on; it takes some minutes to start"
		step.do = func(ctx context.Context) error { return p.c.createService(ctx, s) }
	case have.ServiceType != s.Type:
		block("is there, but of type %s and not %s: choose another name in %s", p.c.clean(have.ServiceType), s.Type, s.Key)
	case s.Existing:
	case !made(have) && !p.adopt:
		block("is there, and kferry did not make it: say existing: true in %s to use it as it is (a Kafka service), or --adopt to let kferry take it over and change it", s.Key)
	case s.VPC != "" && have.ProjectVpcId != s.VPC:
		block("is not in the VPC %s: kferry never moves a service, do that at the console or correct project_vpc_id in %s", s.VPC, s.Key)
	default:
		p.change(step, s, have, block)
	}
}

// change finds what is to be changed about a service that is there.
func (p *planner) change(step *Step, s *Service, have *service.ServiceGetOut, block func(string, ...any)) {
	in := &service.ServiceUpdateIn{}
	var costs []string
	if have.ProjectVpcId != "" {
		in.ProjectVpcId = &have.ProjectVpcId // or it would be moved out
	}
	if have.Plan != s.Plan {
		step.Fields, in.Plan = append(step.Fields, Field{"plan", short(have.Plan), short(s.Plan)}), &s.Plan
		costs = append(costs, "every node is replaced, one after the other, and its data is moved; the price changes")
	}
	if have.CloudName != s.Cloud {
		if have.ProjectVpcId != "" {
			block("is in a VPC and in the cloud %s, not %s: kferry never moves a service out of its VPC, do that at the console or correct the cloud in %s", p.c.clean(have.CloudName), s.Cloud, s.Key)
			return
		}
		step.Fields, in.Cloud = append(step.Fields, Field{"cloud", short(have.CloudName), short(s.Cloud)}), &s.Cloud
		costs = append(costs, "the whole service is moved to another region")
	}
	if have.TerminationProtection != s.Protected {
		step.Fields, in.TerminationProtection = append(step.Fields, Field{"termination_protection", short(have.TerminationProtection), short(s.Protected)}), &s.Protected
	}
	if on := true; have.State == service.ServiceStateTypePoweroff {
		step.Fields, in.Powered = append(step.Fields, Field{"powered", "false", "true"}), &on
		costs = append(costs, "Aiven bills it again; a MirrorMaker 2 service has lost its flows by that, they are made anew")
	}
	if fields := diff(s.UserConfig, have.UserConfig, serviceSchemas()[s.Type], "user_config"); len(fields) > 0 {
		step.Fields = append(step.Fields, fields...)
		settings := reveal(s.UserConfig).(map[string]any)
		in.UserConfig = &settings
		costs = append(costs, map[string]string{kafkaType: "brokers may restart, one after the other", mirrorType: "all workers, connectors and tasks restart"}[s.Type])
	}
	step.Cost = strings.Join(costs, "; ")
	switch {
	case !made(have):
		step.Action = Adopt
	case len(step.Fields) > 0:
		step.Action = Change
	}
	step.do = func(ctx context.Context) error {
		if len(step.Fields) > 0 {
			if _, err := p.c.services.ServiceUpdate(ctx, p.c.Project, s.Name, in); err != nil {
				return p.c.about(err, step.String())
			}
		}
		if made(have) {
			return nil
		}
		return p.c.tag(ctx, s.Name, tagMade, managed)
	}
}

func (c *Client) createService(ctx context.Context, s *Service) error {
	settings := reveal(s.UserConfig).(map[string]any)
	in := &service.ServiceCreateIn{ServiceName: s.Name, ServiceType: s.Type, Plan: s.Plan, Cloud: &s.Cloud, UserConfig: &settings,
		Tags: &map[string]string{tagMade: managed}, TerminationProtection: &s.Protected}
	if s.VPC != "" {
		in.ProjectVpcId = &s.VPC
	}
	_, err := c.services.ServiceCreate(ctx, c.Project, in)
	return c.about(err, "service "+s.Name)
}

func (c *Client) tag(ctx context.Context, name, key, value string) error {
	err := c.services.ProjectServiceTagsUpdate(ctx, c.Project, name, &service.ProjectServiceTagsUpdateIn{Tags: map[string]string{key: value}})
	return c.about(err, "service "+name)
}

func (p *planner) endpoint(e *Endpoint) {
	step := &Step{Kind: endpointKind, Name: e.Name, Action: Keep}
	p.add(step)
	settings := reveal(e.UserConfig).(map[string]any)
	have, ok := p.h.endpoints[e.Name]
	if !ok {
		step.Action, step.Fields = Create, diff(e.UserConfig, nil, endpointSchemas()["external_kafka"], "")
		step.do = func(ctx context.Context) error {
			_, err := p.c.services.ServiceIntegrationEndpointCreate(ctx, p.c.Project, &service.ServiceIntegrationEndpointCreateIn{
				EndpointName: e.Name, EndpointType: service.EndpointTypeExternalKafka, UserConfig: settings})
			return p.c.about(err, step.String())
		}
		return
	}
	if step.Fields = diff(e.UserConfig, have.userConfig, endpointSchemas()["external_kafka"], ""); len(step.Fields) > 0 {
		step.Action, step.Cost = Change, "workers, connectors and tasks of the MirrorMaker 2 service restart"
		step.do = func(ctx context.Context) error {
			_, err := p.c.services.ServiceIntegrationEndpointUpdate(ctx, p.c.Project, have.id, &service.ServiceIntegrationEndpointUpdateIn{UserConfig: settings})
			return p.c.about(err, step.String())
		}
	}
}

// sourceOf is the name of the cluster that an integration is about.
func sourceOf(i *service.ServiceIntegrationOut) string {
	if i.SourceEndpoint != nil {
		return *i.SourceEndpoint
	}
	return i.SourceService
}

func (p *planner) integrations() {
	taken := map[string]bool{} // by id
	for n := range p.w.Integrations {
		want := &p.w.Integrations[n]
		source := want.Service + want.Endpoint
		step := &Step{Kind: integrationKind, Name: want.Alias + " -> " + want.Dest, Action: Create,
			Cost: "workers, connectors and tasks of " + want.Dest + " restart"}
		p.add(step)
		step.Fields = diff(want.UserConfig, nil, integrationSchemas()[mirrorType], "")
		step.do = func(ctx context.Context) error { return p.c.createIntegration(ctx, want, p.h, step.String()) }
		for i := range p.h.integrations {
			have := &p.h.integrations[i]
			alias, _ := have.UserConfig["cluster_alias"].(string)
			if taken[have.ServiceIntegrationId] || sourceOf(have) != source && alias != want.Alias {
				continue
			}
			taken[have.ServiceIntegrationId] = true
			p.integration(step, want, have, source)
			break
		}
	}
	for i := range p.h.integrations {
		if have := &p.h.integrations[i]; !taken[have.ServiceIntegrationId] {
			alias, _ := have.UserConfig["cluster_alias"].(string)
			p.add(&Step{Kind: integrationKind, Name: p.c.clean(alias), Action: Left, Reason: "the configuration has no flow with engine aiven that uses it; nothing is done about it"})
		}
	}
}

// integration finds what is to be changed about one that is there.
func (p *planner) integration(step *Step, want *Integration, have *service.ServiceIntegrationOut, source string) {
	if sourceOf(have) != source {
		*step = Step{Kind: step.Kind, Name: step.Name, Action: Blocked,
			Reason: fmt.Sprintf("the alias is taken by %s: delete that integration, or give the cluster another alias", p.c.clean(sourceOf(have)))}
		return
	}
	if step.Fields = diff(want.UserConfig, have.UserConfig, integrationSchemas()[mirrorType], ""); len(step.Fields) == 0 {
		step.Action, step.Cost = Keep, ""
		return
	}
	step.Action = Change
	step.do = func(ctx context.Context) error {
		_, err := p.c.services.ServiceIntegrationUpdate(ctx, p.c.Project, have.ServiceIntegrationId,
			&service.ServiceIntegrationUpdateIn{UserConfig: reveal(want.UserConfig).(map[string]any)})
		return p.c.about(err, step.String())
	}
}

func (c *Client) createIntegration(ctx context.Context, want *Integration, h *Have, about string) error {
	settings := reveal(want.UserConfig).(map[string]any)
	in := &service.ServiceIntegrationCreateIn{IntegrationType: service.IntegrationTypeKafkaMirrormaker, DestService: &want.Dest, UserConfig: &settings}
	if want.Service != "" {
		in.SourceService = &want.Service
	} else {
		id := h.endpoints[want.Endpoint].id
		in.SourceEndpointId = &id
	}
	_, err := c.services.ServiceIntegrationCreate(ctx, c.Project, in)
	return c.about(err, about)
}

func (p *planner) flows() {
	taken := map[[2]string]bool{}
	for n := range p.w.Flows {
		want := &p.w.Flows[n]
		pair := [2]string{want.In.SourceCluster, want.In.TargetCluster}
		taken[pair] = true
		step := &Step{Kind: flowKind, Name: pair[0] + " -> " + pair[1], Action: Create}
		p.add(step)
		if p.h.flowsUnread {
			step.Reason = "the service cannot tell yet whether it has the flow"
		}
		step.Fields = diff(fields(want.In), map[string]any{}, nil, "")
		step.do = func(ctx context.Context) error {
			return p.c.about(p.c.mirrors.ServiceKafkaMirrorMakerCreateReplicationFlow(ctx, p.c.Project, want.Service, &want.In), step.String())
		}
		for i := range p.h.flows {
			if have := &p.h.flows[i]; have.SourceCluster == pair[0] && have.TargetCluster == pair[1] {
				p.flow(step, want, have)
			}
		}
	}
	for i := range p.h.flows {
		if f := &p.h.flows[i]; !taken[[2]string{f.SourceCluster, f.TargetCluster}] {
			p.add(&Step{Kind: flowKind, Name: p.c.clean(f.SourceCluster + " -> " + f.TargetCluster), Action: Left,
				Reason: "the configuration has no such flow with engine aiven; nothing is done about it"})
		}
	}
}

func (p *planner) flow(step *Step, want *Flow, have *kafkamirrormaker.ReplicationFlowOut) {
	there := fields(have)
	for name, v := range fields(want.In) {
		if _, ok := there[name]; !ok && nothing(v) {
			there[name] = v // what a flow does not tell is off
		}
	}
	if step.Fields = diff(fields(want.In), there, nil, ""); len(step.Fields) == 0 {
		step.Action = Keep
		return
	}
	step.Action, step.Cost = Change, "connectors of this flow restart"
	step.do = func(ctx context.Context) error {
		in := patchOf(&want.In)
		_, err := p.c.mirrors.ServiceKafkaMirrorMakerPatchReplicationFlow(ctx, p.c.Project, want.Service, want.In.SourceCluster, want.In.TargetCluster, in)
		return p.c.about(err, step.String())
	}
}

// patchOf is the same flow as a change.
func patchOf(in *kafkamirrormaker.ServiceKafkaMirrorMakerCreateReplicationFlowIn) *kafkamirrormaker.ServiceKafkaMirrorMakerPatchReplicationFlowIn {
	out := &kafkamirrormaker.ServiceKafkaMirrorMakerPatchReplicationFlowIn{}
	b, err := json.Marshal(fields(in))
	if err == nil {
		err = json.Unmarshal(b, out)
	}
	if err != nil {
		panic(err) // both are the same fields
	}
	return out
}

// offered blocks the making of services that Aiven does not offer there.
func (c *Client) offered(ctx context.Context, w *Want, plan *Plan) error {
	for i, s := range w.Services {
		step := plan.Steps[i]
		changes := slices.ContainsFunc(step.Fields, func(f Field) bool { return f.Name == "plan" || f.Name == "cloud" })
		if !step.Action.Todo() || !changes {
			continue
		}
		plans, err := c.projects.ProjectServicePlanList(ctx, c.Project, s.Type)
		if err != nil {
			return c.about(err, "plans of "+s.Type)
		}
		inCloud := map[string]bool{}
		var clouds []string
		for _, p := range plans {
			if _, ok := p.Regions[s.Cloud]; ok {
				inCloud[p.ServicePlan] = true
			}
			if p.ServicePlan == s.Plan {
				clouds = slices.Sorted(maps.Keys(p.Regions))
			}
		}
		if inCloud[s.Plan] {
			continue
		}
		step.Action, step.Reason = Blocked, fmt.Sprintf("Aiven does not offer plan %s in cloud %s: choose one of the plans there (%s), or a cloud that has it (%s)",
			s.Plan, s.Cloud, some(slices.Sorted(maps.Keys(inCloud))), some(clouds))
	}
	return nil
}

func some(names []string) string {
	const most = 12
	switch {
	case len(names) == 0:
		return "there is none"
	case len(names) > most:
		return fmt.Sprintf("%s and %d more", strings.Join(names[:most], ", "), len(names)-most)
	default:
		return strings.Join(names, ", ")
	}
}

// diff tells where have differs from the keys that want has, deeply; what want does not mention stays as it is. A
// value that Aiven hides cannot be compared and counts as equal.
func diff(want, have map[string]any, s *schema, at string) (out []Field) {
	for _, key := range slices.Sorted(maps.Keys(want)) {
		name := strings.TrimPrefix(at+"."+key, ".")
		w, h := want[key], have[key]
		if below, ok := w.(map[string]any); ok {
			under, _ := h.(map[string]any)
			out = append(out, diff(below, under, s.at(key), name)...)
			continue
		}
		_, secret := w.(config.Secret)
		secret = secret || s.at(key) != nil && s.at(key).Secure
		if secret && h == "<redacted>" || same(w, h) {
			continue
		}
		f := Field{Name: name, To: brief(w)}
		if h != nil {
			f.From = brief(h)
		}
		if secret {
			f = Field{Name: name, To: secretField}
			if h != nil {
				f.From = "(another secret)"
			}
		}
		out = append(out, f)
	}
	return out
}

const secretField = "(secret)"

// brief is a value of a field that is no secret.
func brief(v any) string {
	if text, ok := v.(string); ok && isPEM(text) {
		return "(certificate)"
	}
	return short(v)
}

func isPEM(text string) bool { return strings.HasPrefix(strings.TrimSpace(text), "-----BEGIN ") }

// same compares as JSON does.
func same(a, b any) bool { return reflect.DeepEqual(canonical(a), canonical(b)) }

func canonical(v any) (out any) {
	b, err := json.Marshal(reveal(v))
	if err == nil {
		err = json.Unmarshal(b, &out)
	}
	if err != nil {
		panic(err) // it is plain data
	}
	if text, ok := out.(string); ok && isPEM(text) {
		return strings.TrimSpace(text) // a line end more or less is no difference
	}
	return out
}

func nothing(v any) bool {
	switch v := v.(type) {
	case bool:
		return !v
	case float64:
		return v == 0
	case string:
		return v == ""
	case []any:
		return len(v) == 0
	}
	return v == nil
}
