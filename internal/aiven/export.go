package aiven

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math/big"
	"regexp"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/hashicorp/hcl/v2/hclwrite"
	"github.com/zclconf/go-cty/cty"

	"github.com/kferry/kferry/config"
)

// Terraform writes what is wanted as resources of the provider aiven/aiven. Secrets become variables, which the file
// declares and does not set; certificates and keys are read from the files that the configuration names.
func (w *Want) Terraform(out io.Writer, cfg *config.Config) error {
	t := &terraform{file: hclwrite.NewEmptyFile(), project: cfg.Aiven.Project, files: filesOf(cfg), addresses: map[string]string{}}
	required := t.block("terraform").AppendNewBlock("required_providers", nil).Body()
	required.SetAttributeValue("aiven", cty.ObjectVal(map[string]cty.Value{"source": cty.StringVal("aiven/aiven"), "version": cty.StringVal(">= 4.30.0")}))
	for i := range w.Services {
		t.service(&w.Services[i])
	}
	for i := range w.Endpoints {
		t.endpoint(&w.Endpoints[i])
	}
	for i := range w.Integrations {
		t.integration(&w.Integrations[i])
	}
	for i := range w.Flows {
		t.flow(&w.Flows[i], w.Integrations)
	}
	for _, name := range slices.Sorted(maps.Keys(t.variables)) {
		b := t.block("variable", name)
		b.SetAttributeRaw("type", hclwrite.TokensForIdentifier("string"))
		b.SetAttributeValue("sensitive", cty.True)
	}
	_, err := out.Write(hclwrite.Format(t.file.Bytes()))
	return err
}

type terraform struct {
	file      *hclwrite.File
	project   string
	files     map[string]string // by alias and key of an endpoint: where its content is
	addresses map[string]string // by name of a service, endpoint or alias: the resource
	variables map[string]bool
}

// filesOf finds the files whose content goes into endpoints.
func filesOf(cfg *config.Config) map[string]string {
	out := map[string]string{}
	for alias, c := range cfg.Clusters {
		for key, file := range map[string]string{"ssl_ca_cert": c.TLS.CAFile, "ssl_client_cert": c.TLS.CertFile, "ssl_client_key": c.TLS.KeyFile} {
			if file != "" {
				out[alias+"/"+key] = file
			}
		}
	}
	return out
}

func (t *terraform) block(kind string, labels ...string) *hclwrite.Body {
	if len(t.file.Body().Blocks()) > 0 {
		t.file.Body().AppendNewline()
	}
	return t.file.Body().AppendNewBlock(kind, labels).Body()
}

var notIdentifier = regexp.MustCompile(`[^a-zA-Z0-9_]`)

// identifier makes a name of Terraform of one of ours.
func identifier(name string) string {
	id := notIdentifier.ReplaceAllString(name, "_")
	if !hclsyntax.ValidIdentifier(id) {
		id = "n_" + id
	}
	return id
}

func (t *terraform) resource(kind, name string) *hclwrite.Body {
	id := identifier(name)
	for slices.Contains(slices.Collect(maps.Values(t.addresses)), kind+"."+id) {
		id += "_" // a-b and a_b
	}
	t.addresses[name] = kind + "." + id
	b := t.block("resource", kind, id)
	b.SetAttributeValue("project", cty.StringVal(t.project))
	return b
}

// refer sets an attribute to that of another resource, or to the plain value where there is no such resource.
func (t *terraform) refer(b *hclwrite.Body, attribute, name, of string) {
	address, ok := t.addresses[name]
	if !ok {
		b.SetAttributeValue(attribute, cty.StringVal(name))
		return
	}
	kind, id, _ := strings.Cut(address, ".")
	b.SetAttributeTraversal(attribute, hcl.Traversal{hcl.TraverseRoot{Name: kind}, hcl.TraverseAttr{Name: id}, hcl.TraverseAttr{Name: of}})
}

func (t *terraform) service(s *Service) {
	if s.Existing {
		return
	}
	kind := map[string]string{kafkaType: "aiven_kafka", mirrorType: "aiven_kafka_mirrormaker"}[s.Type]
	b := t.resource(kind, s.Name)
	b.SetAttributeValue("cloud_name", cty.StringVal(s.Cloud))
	b.SetAttributeValue("plan", cty.StringVal(s.Plan))
	b.SetAttributeValue("service_name", cty.StringVal(s.Name))
	if s.VPC != "" {
		b.SetAttributeValue("project_vpc_id", cty.StringVal(t.project+"/"+s.VPC))
	}
	if s.Protected {
		b.SetAttributeValue("termination_protection", cty.True)
	}
	t.settings(b, s.Type+"_user_config", s.UserConfig, s.Name)
}

func (t *terraform) endpoint(e *Endpoint) {
	b := t.resource("aiven_service_integration_endpoint", e.Name)
	b.SetAttributeValue("endpoint_name", cty.StringVal(e.Name))
	b.SetAttributeValue("endpoint_type", cty.StringVal("external_kafka"))
	t.settings(b, "external_kafka_user_config", e.UserConfig, e.Alias)
}

func (t *terraform) integration(i *Integration) {
	b := t.resource("aiven_service_integration", "cluster-"+i.Alias)
	b.SetAttributeValue("integration_type", cty.StringVal(mirrorType))
	if i.Service != "" {
		t.refer(b, "source_service_name", i.Service, "service_name")
	} else {
		t.refer(b, "source_endpoint_id", i.Endpoint, "id")
	}
	t.refer(b, "destination_service_name", i.Dest, "service_name")
	t.settings(b, "kafka_mirrormaker_user_config", i.UserConfig, i.Alias)
}

// flowNames are the fields that Terraform calls otherwise than the API.
var flowNames = map[string]string{"enabled": "enable", "topics.blacklist": "topics_blacklist"}

func (t *terraform) flow(f *Flow, integrations []Integration) {
	b := t.resource("aiven_mirrormaker_replication_flow", f.Name)
	t.refer(b, "service_name", f.Service, "service_name")
	b.SetAttributeValue("source_cluster", cty.StringVal(f.In.SourceCluster))
	b.SetAttributeValue("target_cluster", cty.StringVal(f.In.TargetCluster))
	all := fields(f.In)
	if csv, ok := all["config_properties_exclude"].(string); ok {
		var items []any
		for _, item := range strings.Split(csv, ",") {
			items = append(items, item)
		}
		all["config_properties_exclude"] = items
	}
	for _, name := range slices.Sorted(maps.Keys(all)) {
		attribute := flowNames[name]
		if attribute == "" {
			attribute = name
		}
		b.SetAttributeValue(attribute, value(all[name]))
	}
	// Aiven takes a flow whose clusters it does not know yet, and does nothing with it.
	var tokens []hclwrite.Tokens
	for _, i := range integrations {
		if i.Alias == f.In.SourceCluster || i.Alias == f.In.TargetCluster {
			tokens = append(tokens, hclwrite.TokensForIdentifier(t.addresses["cluster-"+i.Alias]))
		}
	}
	b.SetAttributeRaw("depends_on", hclwrite.TokensForTuple(tokens))
}

// settings writes a user_config: objects are blocks, and so are lists of them.
func (t *terraform) settings(parent *hclwrite.Body, name string, settings map[string]any, owner string) {
	if len(settings) == 0 {
		return
	}
	b := parent.AppendNewBlock(name, nil).Body()
	for _, key := range slices.Sorted(maps.Keys(settings)) {
		switch v := settings[key].(type) {
		case nil:
		case map[string]any:
			t.settings(b, key, v, owner)
		case []any:
			t.list(b, key, v, owner)
		case config.Secret:
			b.SetAttributeRaw(key, t.secret(owner, key))
		default:
			if file, ok := t.files[owner+"/"+key]; ok {
				b.SetAttributeRaw(key, fileTokens(file))
				continue
			}
			b.SetAttributeValue(key, value(v))
		}
	}
}

func (t *terraform) list(b *hclwrite.Body, key string, items []any, owner string) {
	plain := []any{}
	for _, item := range items {
		if one, ok := item.(map[string]any); ok {
			t.settings(b, key+"_object", one, owner) // ip_filter_object
			continue
		}
		plain = append(plain, item)
	}
	if len(plain) > 0 {
		b.SetAttributeValue(key, value(plain))
	}
}

func (t *terraform) secret(owner, key string) hclwrite.Tokens {
	if file, ok := t.files[owner+"/"+key]; ok {
		return fileTokens(file)
	}
	name := identifier(owner + "_" + key)
	if t.variables == nil {
		t.variables = map[string]bool{}
	}
	t.variables[name] = true
	return hclwrite.TokensForTraversal(hcl.Traversal{hcl.TraverseRoot{Name: "var"}, hcl.TraverseAttr{Name: name}})
}

func fileTokens(path string) hclwrite.Tokens {
	return hclwrite.TokensForFunctionCall("file", hclwrite.TokensForValue(cty.StringVal(path)))
}

// value gives a value of JSON or YAML the type that HCL has for it.
func value(v any) cty.Value {
	switch v := v.(type) {
	case bool:
		return cty.BoolVal(v)
	case int64:
		return cty.NumberIntVal(v)
	case float64:
		return cty.NumberVal(new(big.Float).SetFloat64(v))
	case []any:
		if len(v) == 0 {
			return cty.ListValEmpty(cty.String)
		}
		var items []cty.Value
		for _, item := range v {
			items = append(items, value(item))
		}
		return cty.TupleVal(items)
	default:
		return cty.StringVal(fmt.Sprint(v))
	}
}

// Avn writes what is wanted as a shell script of avn commands, for jq and a POSIX shell. Secrets come from the
// environment, under the names that the script begins with, and never stand in an argument.
func (w *Want) Avn(out io.Writer, cfg *config.Config) error {
	a := &avn{project: quote(cfg.Aiven.Project), files: filesOf(cfg)}
	for i := range w.Services {
		a.service(&w.Services[i])
	}
	for _, s := range w.Services {
		a.line("avn service wait --project %s %s", a.project, quote(s.Name))
	}
	for _, e := range w.Endpoints {
		a.line("%s | avn service integration-endpoint-create --project %s --endpoint-name %s --endpoint-type external_kafka --user-config-json @/dev/stdin",
			a.json(e.UserConfig, e.Alias), a.project, quote(e.Name))
	}
	for _, i := range w.Integrations {
		source := "--source-service " + quote(i.Service)
		if i.Endpoint != "" {
			a.line("endpoint=$(avn service integration-endpoint-list --project %s --json | jq -er --arg name %s '.[] | select(.endpoint_name == $name).endpoint_id')",
				a.project, quote(i.Endpoint))
			source = `--source-endpoint-id "$endpoint"`
		}
		a.line("%s | avn service integration-create --project %s --integration-type %s %s --dest-service %s --user-config-json @/dev/stdin",
			a.json(i.UserConfig, i.Alias), a.project, mirrorType, source, quote(i.Dest))
	}
	for _, f := range w.Flows {
		a.line("%s | avn mirrormaker replication-flow create --project %s %s --source-cluster %s --target-cluster %s @/dev/stdin",
			a.json(fields(f.In), ""), a.project, quote(f.Service), quote(f.In.SourceCluster), quote(f.In.TargetCluster))
	}
	var b strings.Builder
	b.WriteString("#!/bin/sh\n# Needs avn and jq. Log in first: avn user login\nset -eu\n")
	slices.Sort(a.variables)
	for _, name := range slices.Compact(a.variables) {
		fmt.Fprintf(&b, ": \"${%s:?is not set}\"\n", name)
	}
	_, err := io.WriteString(out, b.String()+a.script.String())
	return err
}

type avn struct {
	project   string
	files     map[string]string
	variables []string
	script    strings.Builder
}

func (a *avn) line(format string, args ...any) { fmt.Fprintf(&a.script, format+"\n", args...) }

func (a *avn) service(s *Service) {
	if s.Existing {
		return
	}
	command := fmt.Sprintf("avn service create --project %s %s --service-type %s --plan %s --cloud %s%s%s", a.project, quote(s.Name), s.Type, quote(s.Plan), quote(s.Cloud),
		optional(s.VPC != "", " --project-vpc-id "+quote(s.VPC)), optional(s.Protected, " --enable-termination-protection"))
	for _, setting := range a.leaves(s.UserConfig, "") {
		command += " -c " + quote(setting)
	}
	a.line("%s", command)
}

// leaves are settings of a service as avn takes them. What it has no form for, and secrets, which would stand in an
// argument, become a remark.
func (a *avn) leaves(settings map[string]any, at string) (out []string) {
	for _, key := range slices.Sorted(maps.Keys(settings)) {
		name := at + key
		switch v := settings[key].(type) {
		case nil:
		case map[string]any:
			out = append(out, a.leaves(v, name+".")...)
		case config.Secret:
			a.line("# %s is a secret: set it at the console", name)
		case []any:
			if slices.ContainsFunc(v, func(item any) bool { _, ok := item.(map[string]any); return ok }) {
				a.line("# %s has items that avn has no form for: set it at the console", name)
				continue
			}
			out = append(out, name+"="+short(v))
		default:
			out = append(out, fmt.Sprintf("%s=%v", name, v))
		}
	}
	return out
}

func optional(is bool, text string) string {
	if is {
		return text
	}
	return ""
}

// json is a command that prints settings as JSON.
func (a *avn) json(settings map[string]any, owner string) string {
	command := "jq -n"
	plain := map[string]any{}
	var rest []string
	for _, key := range slices.Sorted(maps.Keys(settings)) {
		file, isFile := a.files[owner+"/"+key]
		_, isSecret := settings[key].(config.Secret)
		switch {
		case isFile:
			command += fmt.Sprintf(" --rawfile %s %s", key, quote(file))
			rest = append(rest, fmt.Sprintf("%s: $%s", key, key))
		case isSecret:
			name := strings.ToUpper(identifier(owner + "_" + key))
			a.variables = append(a.variables, name)
			rest = append(rest, fmt.Sprintf("%s: env.%s", key, name))
		default:
			plain[key] = settings[key] // a secret that lies deeper, which none of Aiven's is, stays hidden
		}
	}
	program, err := json.Marshal(plain)
	if err != nil {
		panic(err) // it is plain data
	}
	text := string(program)
	if len(rest) > 0 {
		text += " + {" + strings.Join(rest, ", ") + "}"
	}
	return command + " " + quote(text)
}

// quote makes one word of the shell of a text.
func quote(text string) string {
	return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'"
}
