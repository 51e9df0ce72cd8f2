package aiven

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/aiven/go-client-codegen/handler/kafkamirrormaker"

	"github.com/kferry/kferry/config"
)

// Want is what there is to be at Aiven. Values of type config.Secret in it are shown nowhere.
type Want struct {
	Services     []Service // Kafka's first
	Endpoints    []Endpoint
	Integrations []Integration
	Flows        []Flow
}

// Service is one of Aiven's. Of an existing one only Name and Type are known.
type Service struct {
	Name, Type  string
	Key         string `json:"-"` // where the configuration has it: aiven.kafka
	Existing    bool
	Plan, Cloud string
	VPC         string
	Protected   bool
	UserConfig  map[string]any
}

// Endpoint is a cluster outside of Aiven, as Aiven is to know it.
type Endpoint struct {
	Name, Alias string
	UserConfig  map[string]any
}

// Integration lets a MirrorMaker 2 service use a cluster: a service, or an endpoint.
type Integration struct {
	Alias             string
	Service, Endpoint string // the cluster's name, one of them
	Dest              string
	UserConfig        map[string]any
}

// Flow is one replication flow of a MirrorMaker 2 service.
type Flow struct {
	Name    string // in the configuration
	Service string
	In      kafkamirrormaker.ServiceKafkaMirrorMakerCreateReplicationFlowIn
}

// The types of services that kferry makes.
const (
	kafkaType  = "kafka"
	mirrorType = "kafka_mirrormaker"
)

// WantOf is what a configuration says. An error is of type config.Errors and has everything that cannot be had at Aiven.
func WantOf(cfg *config.Config) (*Want, error) {
	b := &builder{cfg: cfg, want: &Want{}}
	a := &cfg.Aiven
	b.service(&a.Kafka, kafkaType, "kafka", nil)
	if a.MirrorMaker.Name == "" {
		return b.done()
	}
	flows := cfg.CarriedBy(config.EngineAiven)
	b.service(&a.MirrorMaker, mirrorType, "mirrormaker", b.shared(flows))
	for _, alias := range aliases(flows) {
		b.cluster(alias, flows)
	}
	for i := range flows {
		b.flow(&flows[i])
	}
	return b.done()
}

// With is w with one of its flows enabled or not.
func (w *Want) With(flow string, enabled bool) *Want {
	out := *w
	out.Flows = slices.Clone(w.Flows)
	for i := range out.Flows {
		if out.Flows[i].Name == flow {
			out.Flows[i].In.Enabled = enabled
		}
	}
	return &out
}

func aliases(flows []config.Flow) []string {
	var out []string
	for _, f := range flows {
		out = append(out, f.Source, f.Target)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// A builder collects what is wanted and what is wrong with it.
type builder struct {
	cfg  *config.Config
	want *Want
	errs config.Errors
}

func (b *builder) done() (*Want, error) {
	if len(b.errs) > 0 {
		return nil, b.errs
	}
	return b.want, nil
}

func (b *builder) refuse(path []string, value, problem string, args ...any) {
	b.errs = append(b.errs, b.cfg.ErrorAt(path, value, fmt.Sprintf(problem, args...)))
}

func path(base []string, below ...string) []string { return append(slices.Clone(base), below...) }

// check holds a user_config against Aiven's schema; at is where the configuration has it.
func (b *builder) check(s *schema, v map[string]any, at []string) {
	for _, f := range s.check(v, nil) {
		b.refuse(path(at, f.path...), f.value, "%s", f.problem)
	}
}

// service adds a service, with what kferry itself sets below what the file says.
func (b *builder) service(s *config.AivenService, kind, key string, own map[string]any) {
	at := []string{"aiven", key}
	settings := plain(s.UserConfig).(map[string]any)
	if len(own) > 0 {
		given, _ := settings[mirrorType].(map[string]any)
		for name, v := range own {
			if theirs, ok := given[name]; ok && short(theirs) != short(v) {
				b.refuse(path(at, "user_config", mirrorType, name), short(theirs), "is not what the flows say, which is %s: leave it out here", short(v))
			}
		}
		settings = maps.Clone(settings)
		both := maps.Clone(given)
		if both == nil {
			both = map[string]any{}
		}
		maps.Copy(both, own)
		settings[mirrorType] = both
	}
	b.check(serviceSchemas()[kind], settings, path(at, "user_config"))
	b.want.Services = append(b.want.Services, Service{Name: s.Name, Type: kind, Key: "aiven." + key, Existing: s.Existing, Plan: s.Plan, Cloud: s.Cloud,
		VPC: s.ProjectVPC, Protected: s.TerminationProtection, UserConfig: settings})
}

// shared are the settings that Aiven has once for all flows of a service: they must agree.
func (b *builder) shared(flows []config.Flow) map[string]any {
	out := map[string]any{}
	set := func(f *config.Flow, key, name string, v any) {
		if old, ok := out[name]; ok && short(old) != short(v) {
			b.refuse(path(b.cfg.FlowPath(f.Name), key), "", "is not as in the flows before, and Aiven has it once for all: make them the same, or use engine kferry for one")
			return
		}
		out[name] = v
	}
	for i := range flows {
		f := &flows[i]
		set(f, "sync_topic_configs", "sync_topic_configs_enabled", f.SyncTopicConfigs)
		if len(f.Groups) > 0 {
			set(f, "groups", "groups", strings.Join(f.Groups, ","))
			if len(f.GroupsExclude) > 0 {
				set(f, "groups_exclude", "groups_exclude", strings.Join(f.GroupsExclude, ","))
			}
			set(f, "checkpoints", "emit_checkpoints_enabled", f.Checkpoints.Enabled)
		}
	}
	return out
}

// cluster adds what makes one cluster known to Aiven's MirrorMaker 2.
func (b *builder) cluster(alias string, flows []config.Flow) {
	a := &b.cfg.Aiven
	i := Integration{Alias: alias, Dest: a.MirrorMaker.Name, UserConfig: map[string]any{"cluster_alias": alias}}
	settings := plain(a.Integrations[alias].Settings).(map[string]any)
	if start, ok := b.start(alias, flows); ok {
		settings = maps.Clone(settings)
		settings["consumer_auto_offset_reset"] = start
	}
	if len(settings) > 0 {
		i.UserConfig[mirrorType] = settings
	}
	b.check(integrationSchemas()[mirrorType].at(mirrorType), settings, []string{"aiven", "integrations", alias, "settings"})
	if alias == a.Cluster {
		i.Service = a.Kafka.Name
	} else {
		e := b.endpoint(alias)
		i.Endpoint = e.Name
		b.want.Endpoints = append(b.want.Endpoints, e)
	}
	b.want.Integrations = append(b.want.Integrations, i)
}

// start is where the flows from a cluster begin, if that is not at its first records.
func (b *builder) start(alias string, flows []config.Flow) (string, bool) {
	latest := 0
	of := 0
	for _, f := range flows {
		if f.Source != alias {
			continue
		}
		of++
		if f.Start.Kind == config.StartLatest {
			latest++
		}
	}
	if latest > 0 && latest < of {
		b.refuse([]string{"flows"}, "", "from %s begin at different ends, and Aiven has one start for each source: make them the same, or use engine kferry for one", alias)
	}
	return "latest", latest > 0
}

// endpoint is a cluster of the file as Aiven's external_kafka.
func (b *builder) endpoint(alias string) Endpoint {
	cl, at := b.cfg.Clusters[alias], []string{"clusters", alias}
	c := map[string]any{"bootstrap_servers": strings.Join(cl.BootstrapServers, ",")}
	if n := len(c["bootstrap_servers"].(string)); n > 256 {
		b.refuse(path(at, "bootstrap_servers"), "", "are %d characters together, Aiven takes 256: name three brokers, the others are found from there", n)
	}
	protocol := map[[2]bool]string{{false, false}: "PLAINTEXT", {false, true}: "SASL_PLAINTEXT", {true, false}: "SSL", {true, true}: "SASL_SSL"}
	c["security_protocol"] = protocol[[2]bool{cl.TLS.Enabled, cl.SASL.Mechanism != ""}]
	if cl.SASL.Mechanism != "" {
		c["sasl_mechanism"], c["sasl_plain_username"], c["sasl_plain_password"] = cl.SASL.Mechanism, cl.SASL.Username, cl.SASL.Password
	}
	if cl.TLS.InsecureSkipVerify {
		b.refuse(path(at, "tls", "insecure_skip_verify"), "true", "cannot be had at Aiven for a flow with engine aiven: give the certificate authority as ca_file")
	}
	if cl.TLS.ServerName != "" {
		b.refuse(path(at, "tls", "server_name"), cl.TLS.ServerName, "cannot be had at Aiven, which checks the name that it dials: use bootstrap_servers that are in the certificate")
	}
	if cl.TLS.Enabled {
		c["ssl_endpoint_identification_algorithm"] = "https"
	}
	for _, file := range []struct {
		key, path, name string
		secret          bool
	}{
		{"ssl_ca_cert", cl.TLS.CAFile, "ca_file", false}, {"ssl_client_cert", cl.TLS.CertFile, "cert_file", false}, {"ssl_client_key", cl.TLS.KeyFile, "key_file", true},
	} {
		if !cl.TLS.Enabled || file.path == "" {
			continue
		}
		content, err := os.ReadFile(file.path)
		if err != nil {
			b.refuse(path(at, "tls", file.name), file.path, "cannot be read")
		}
		c[file.key] = string(content)
		if file.secret {
			c[file.key] = config.Secret(content)
		}
	}
	for _, f := range endpointSchemas()["external_kafka"].check(c, nil) {
		b.refuse(at, "", "cannot be an endpoint at Aiven: %s %s", strings.Join(f.path, "."), f.problem)
	}
	return Endpoint{Name: endpointName(b.cfg.Aiven.MirrorMaker.Name, alias), Alias: alias, UserConfig: c}
}

// endpointName is the mark of an endpoint that kferry made for a MirrorMaker 2 service. Aiven takes 40 characters.
func endpointName(mirror, alias string) string {
	name := "kferry-" + mirror + "-" + alias
	const most = 40
	if len(name) <= most {
		return name
	}
	sum := sha256.Sum256([]byte(name))
	return name[:most-9] + "-" + hex.EncodeToString(sum[:4])
}

var policies = map[string]kafkamirrormaker.ReplicationPolicyClassType{
	"identity": kafkamirrormaker.ReplicationPolicyClassTypeIdentity,
	"default":  kafkamirrormaker.ReplicationPolicyClassTypeDefault,
}

// neverMirrored is what MirrorMaker 2 leaves out on its own, as long as nothing else is to be left out.
var neverMirrored = []string{`.*[\-\.]internal`, `.*\.replica`, `__.*`, `kferry\..*`}

// flow adds a flow, or refuses it with all that Aiven's MirrorMaker 2 has no place for.
func (b *builder) flow(f *config.Flow) {
	at := b.cfg.FlowPath(f.Name)
	b.refuseOptions(f, at)
	for key, patterns := range map[string][]string{"topics": f.Topics, "topics_exclude": f.TopicsExclude, "groups": f.Groups} {
		for i, p := range patterns {
			if problem := notJava(p); problem != "" {
				b.refuse(path(at, key, fmt.Sprintf("[%d]", i)), p, "%s", problem)
			}
		}
	}
	seconds := int(f.GroupsInterval / time.Second)
	if f.GroupsInterval%time.Second != 0 || seconds < 1 {
		b.refuse(path(at, "groups_interval"), f.GroupsInterval.String(), "is not a number of whole seconds, which Aiven needs")
	}
	excluded := append(slices.Clone(f.TopicsExclude), neverMirrored...)
	sync := f.SyncGroupOffsets && len(f.Groups) > 0
	in := kafkamirrormaker.ServiceKafkaMirrorMakerCreateReplicationFlowIn{
		SourceCluster: f.Source, TargetCluster: f.Target, Enabled: f.Aiven.Enabled, Topics: &f.Topics, TopicsBlacklist: &excluded,
		ReplicationPolicyClass: policies[f.Policy], SyncGroupOffsetsEnabled: &sync, SyncGroupOffsetsIntervalSeconds: &seconds,
		EmitHeartbeatsEnabled: &f.Heartbeats.Enabled, EmitBackwardHeartbeatsEnabled: &f.Aiven.BackwardHeartbeats,
		OffsetSyncsTopicLocation: kafkamirrormaker.OffsetSyncsTopicLocationType(f.OffsetSyncs.Location),
		OffsetLagMax:             &f.Aiven.OffsetLagMax, ExactlyOnceDeliveryEnabled: &f.Aiven.ExactlyOnce,
	}
	if f.ReplicationFactor > 0 {
		n := int(f.ReplicationFactor)
		in.ReplicationFactor = &n
	}
	if len(f.ConfigExclude) > 0 {
		csv := strings.Join(f.ConfigExclude, ",")
		if len(csv) > 2048 {
			b.refuse(path(at, "config_exclude"), "", "is longer than the 2048 characters that Aiven takes: use fewer names")
		}
		in.ConfigPropertiesExclude = &csv
	}
	b.want.Flows = append(b.want.Flows, Flow{Name: f.Name, Service: b.cfg.Aiven.MirrorMaker.Name, In: in})
}

// refuseOptions refuses what only kferry itself can do.
func (b *builder) refuseOptions(f *config.Flow, at []string) {
	for _, o := range []struct {
		key string
		set bool
		why string
	}{
		{"prefix", f.Prefix != "", "names of topics stay as they are there, or get the source's alias (policy default)"},
		{"suffix", f.Suffix != "", "names of topics stay as they are there, or get the source's alias (policy default)"},
		{"strip_prefix", f.StripPrefix != "", "names of topics stay as they are there, or get the source's alias (policy default)"},
		{"separator", f.Separator != ".", "its separator is a dot"},
		{"start", f.Start.Kind == config.StartTime, "it begins at earliest or latest"},
		{"start_offsets", len(f.StartOffsets) > 0, "it begins at earliest or latest"},
		{"on_refused", f.OnRefused != "stop", "it has no dead letter topic"},
		{"rate_limit", f.RateLimit > 0, "it has no limit; a quota on the source's user has the same effect"},
		{"on_source_loss", f.OnSourceLoss == "stop", "it goes on after a loss without a word"},
		{"group_names", len(f.GroupNames) > 0, "groups keep their names there"},
		{"refresh_interval", b.cfg.IsSet(path(at, "refresh_interval")), "set aiven.mirrormaker.user_config.kafka_mirrormaker.refresh_topics_interval_seconds instead"},
		{"heartbeats", f.Heartbeats.Interval != time.Second, "its heartbeats come every second"},
		{"offset_syncs", f.OffsetSyncs.Location == "off", "it needs the topic: its location is target or source"},
	} {
		if o.set {
			b.refuse(path(at, o.key), "", "cannot be had with engine aiven: %s; leave it out, or use engine kferry", o.why)
		}
	}
}

var goOnly = []struct {
	what *regexp.Regexp
	why  string
}{
	{regexp.MustCompile(`\[\[:|\[\^?[^\]]*\[:`), "the class [:...:]: write the characters out, such as [a-z]"},
	{regexp.MustCompile(`\(\?P<`), "the named group (?P<: write ( instead"},
	{regexp.MustCompile(`\(\?[a-z-]*U`), "the flag U, which means something else in Java: leave it out"},
	{regexp.MustCompile(`\[\^?\]`), `a ] first in a class: write \]`},
	{regexp.MustCompile(`\\[pP]\{\^?[A-Za-z]{3,}\}`), "a script's name as a class, which has another name in Java: write the characters out"},
	{regexp.MustCompile(`\\C`), `\C: write . instead`},
}

// notJava tells why a pattern is none for Java, whose regular expressions Aiven's MirrorMaker 2 takes. What only Java
// has was refused when the file was read.
func notJava(pattern string) string {
	for _, g := range goOnly {
		if g.what.MatchString(pattern) {
			return "uses what only Go's regular expressions have, and Aiven's are Java's: " + g.why
		}
	}
	if strings.Contains(pattern, ",") {
		return "has a comma, at which MirrorMaker 2 would cut it in two: write a list item for each, or a(b|bb) for ab{1,2}"
	}
	return ""
}

// plain gives Settings the types of JSON; Secrets stay what they are.
func plain(v any) any { return tree(v, func(leaf any) any { return leaf }) }

// reveal gives a user_config as it is sent.
func reveal(v any) any {
	return tree(v, func(leaf any) any {
		if s, ok := leaf.(config.Secret); ok {
			return s.Reveal()
		}
		return leaf
	})
}

// tree gives maps and lists the types of JSON, and for each leaf what is made of it.
func tree(v any, leaf func(any) any) any {
	switch v := v.(type) {
	case config.Settings:
		return tree(map[string]any(v), leaf)
	case map[string]any:
		out := make(map[string]any, len(v))
		for key, one := range v {
			out[key] = tree(one, leaf)
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i := range v {
			out[i] = tree(v[i], leaf)
		}
		return out
	default:
		return leaf(v)
	}
}

// short gives a value as JSON on one line, cut to what fits; a Secret is not shown.
func short(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		return "?"
	}
	const most = 200
	if len(b) > most {
		return strings.ToValidUTF8(string(b[:most]), "") + "..."
	}
	return string(b)
}

// Mark is a digest of all that is wanted and no secret.
func (w *Want) Mark() string {
	b, err := json.Marshal(w)
	if err != nil {
		panic(err) // it is made of plain data
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:8])
}
