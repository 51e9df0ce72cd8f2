package aiven

import (
	"context"
	"fmt"
	"net"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/aiven/go-client-codegen/handler/kafka"
	"github.com/aiven/go-client-codegen/handler/service"

	"github.com/kferry/kferry/config"
	"github.com/kferry/kferry/offsets/mm2"
)

// Connection is how kferry reaches the Kafka service. With a Mechanism it is by user and password, else by certificate.
type Connection struct {
	Servers   []string
	CA        string // PEM; "" = the system's roots
	Mechanism string
	Username  string
	Password  config.Secret
	Cert      string // PEM
	Key       config.Secret
}

// Connect makes a user of that name with the rights that the flows with engine kferry need on the Kafka service,
// unless they are there, and tells how to connect as that user.
func (c *Client) Connect(ctx context.Context, cfg *config.Config, user string, tell func(line string)) (*Connection, error) {
	name := cfg.Aiven.Kafka.Name
	out, err := c.Login(ctx, name, user, tell)
	if err != nil {
		return nil, err
	}
	if err := c.grant(ctx, name, rights(cfg, user), tell); err != nil {
		return nil, c.about(err, "rights of "+user)
	}
	return out, nil
}

// Login makes a user of a Kafka service, unless it is there, and tells how to connect as that user. It gives no rights.
func (c *Client) Login(ctx context.Context, name, user string, tell func(line string)) (*Connection, error) {
	s, err := c.services.ServiceGet(ctx, c.Project, name)
	if err != nil {
		return nil, c.about(err, "service "+name)
	}
	if s.State != service.ServiceStateTypeRunning {
		return nil, fmt.Errorf("service %s is %s: try again when it runs", name, stateOf(s))
	}
	u, err := c.user(ctx, name, user, tell)
	if err != nil {
		return nil, c.about(err, "user "+user)
	}
	out, ca := reach(s, u)
	if out == nil {
		return nil, fmt.Errorf("service %s tells no address for Kafka: try again in a minute", name)
	}
	if ca {
		if out.CA, err = c.projects.ProjectKmsGetCA(ctx, c.Project); err != nil {
			return nil, c.about(err, "certificate authority")
		}
	}
	return out, nil
}

// user finds a user of a service, or makes it.
func (c *Client) user(ctx context.Context, name, user string, tell func(string)) (*service.ServiceUserGetOut, error) {
	get := func() (*service.ServiceUserGetOut, error) {
		u, err := c.services.ServiceUserGet(ctx, c.Project, name, user, service.ServiceUserGetIncludeSecrets(true))
		if err == nil {
			c.hide(u.Password)
			if u.AccessKey != nil {
				c.hide(*u.AccessKey)
			}
		}
		return u, err
	}
	u, err := get()
	if !isNotFound(err) {
		return u, err
	}
	tell("user " + user + ": create")
	_, err = c.services.ServiceUserCreate(ctx, c.Project, name, &service.ServiceUserCreateIn{Username: user})
	if err != nil && !isThere(err) && !isUnclear(err) {
		return nil, err
	}
	for until := c.clock.Now().Add(patience); ; {
		if u, err = get(); !isNotFound(err) || c.clock.Now().After(until) {
			return u, err
		}
		if err := c.clock.Sleep(ctx, poll); err != nil {
			return nil, err
		}
	}
}

// reach finds the best address of Kafka: with a password if the service has that, else with a certificate. ca says
// whether the brokers' certificates are of the project's own authority.
func reach(s *service.ServiceGetOut, u *service.ServiceUserGetOut) (out *Connection, ca bool) {
	var best *service.ComponentOut
	for i := range s.Components {
		k := &s.Components[i]
		if k.Component != "kafka" || k.Route != service.RouteTypeDynamic {
			continue
		}
		if best == nil || k.KafkaAuthenticationMethod == service.KafkaAuthenticationMethodTypeSasl {
			best = k
		}
	}
	if best == nil {
		return nil, false
	}
	out = &Connection{Servers: []string{net.JoinHostPort(best.Host, strconv.Itoa(best.Port))}}
	if best.KafkaAuthenticationMethod == service.KafkaAuthenticationMethodTypeSasl {
		out.Mechanism, out.Username, out.Password = "SCRAM-SHA-512", u.Username, config.Secret(u.Password)
	} else {
		if u.AccessCert != nil {
			out.Cert = *u.AccessCert
		}
		if u.AccessKey != nil {
			out.Key = config.Secret(*u.AccessKey)
		}
	}
	return out, best.KafkaSslCa != service.KafkaSslCaTypeLetsencrypt
}

// rights are the least that the flows with engine kferry need on the Kafka service (README, "What the users need"), and
// what it takes to watch those with engine aiven and to hand flows over.
func rights(cfg *config.Config, user string) []Right {
	r := &granter{principal: "User:" + user}
	for i := range cfg.Flows {
		f := &cfg.Flows[i]
		if f.Target == cfg.Aiven.Cluster && (f.Engine == config.EngineAiven || f.Takeover == "aiven") {
			r.mirrored(f)
		}
		if f.Engine != config.EngineKferry {
			continue
		}
		if f.Target == cfg.Aiven.Cluster {
			r.target(f)
		}
		if f.Source == cfg.Aiven.Cluster {
			r.source(f)
		}
	}
	return r.rights
}

type granter struct {
	principal string
	rights    []Right
}

func (g *granter) allow(kind kafka.ResourceType, name string, pattern kafka.PatternType, operations ...kafka.OperationType) {
	for _, o := range operations {
		one := Right{Principal: g.principal, ResourceType: kind, ResourceName: name, PatternType: pattern, Operation: o, PermissionType: kafka.ServiceKafkaNativeAclPermissionTypeAllow}
		if !slices.Contains(g.rights, one) {
			g.rights = append(g.rights, one)
		}
	}
}

func (g *granter) topic(name string, operations ...kafka.OperationType) {
	g.allow(kafka.ResourceTypeTopic, name, kafka.PatternTypeLiteral, operations...)
}

func (g *granter) target(f *config.Flow) {
	operations := []kafka.OperationType{kafka.OperationTypeRead, kafka.OperationTypeWrite, kafka.OperationTypeCreate, kafka.OperationTypeAlter, kafka.OperationTypeDescribeConfigs}
	if f.SyncTopicConfigs {
		operations = append(operations, kafka.OperationTypeAlterConfigs)
	}
	for _, p := range f.Topics {
		name, pattern := resource(p)
		switch {
		case f.Policy == "default":
			name, pattern = f.Source+f.Separator, kafka.PatternTypePrefixed
		case f.StripPrefix != "":
			name, pattern = "*", kafka.PatternTypeLiteral
		case name == "*" && f.Prefix != "":
			name, pattern = f.Prefix, kafka.PatternTypePrefixed
		case name != "*":
			name = f.Prefix + name
			if pattern == kafka.PatternTypeLiteral {
				name += f.Suffix
			}
		}
		g.allow(kafka.ResourceTypeTopic, name, pattern, operations...)
	}
	g.topic("kferry."+f.Name+".progress", kafka.OperationTypeCreate, kafka.OperationTypeRead, kafka.OperationTypeWrite)
	if f.OnRefused == "dead_letter" {
		g.topic("kferry."+f.Name+".dead_letter", kafka.OperationTypeCreate, kafka.OperationTypeWrite)
	}
	g.allow(kafka.ResourceTypeGroup, "kferry."+f.Name, kafka.PatternTypeLiteral, kafka.OperationTypeRead)
	g.groups(f, kafka.OperationTypeRead)
	if len(f.Groups) > 0 {
		own := []kafka.OperationType{kafka.OperationTypeCreate, kafka.OperationTypeRead, kafka.OperationTypeWrite}
		if f.Checkpoints.Enabled {
			g.topic(f.Source+".checkpoints.internal", own...)
		}
		if f.OffsetSyncs.Location == "target" {
			g.topic("mm2-offset-syncs."+f.Source+".internal", own...)
		}
		if f.Heartbeats.Enabled {
			g.topic("heartbeats", own...)
			g.topic(f.Source+".heartbeats", own...)
		}
	}
}

// mirrored is what it takes to see how far Aiven's MirrorMaker 2 is, and to tell it where to go on.
func (g *granter) mirrored(f *config.Flow) {
	for _, p := range f.Topics {
		name, pattern := resource(p)
		if f.Policy == "default" {
			name, pattern = f.Source+f.Separator, kafka.PatternTypePrefixed
		}
		g.allow(kafka.ResourceTypeTopic, name, pattern, kafka.OperationTypeRead)
	}
	names := mm2.Names{Source: f.Source, Target: f.Target, Separator: f.Separator}
	g.topic(names.ConnectOffsets(), kafka.OperationTypeRead, kafka.OperationTypeWrite)
	g.topic(names.ConnectStatus(), kafka.OperationTypeRead)
	if f.OffsetSyncs.Location == "target" {
		g.topic(names.OffsetSyncs(mm2.OnTarget), kafka.OperationTypeRead)
	}
	g.topic("kferry."+f.Name+".progress", kafka.OperationTypeRead, kafka.OperationTypeWrite)
	g.allow(kafka.ResourceTypeGroup, "kferry."+f.Name, kafka.PatternTypeLiteral, kafka.OperationTypeRead)
}

func (g *granter) source(f *config.Flow) {
	for _, p := range f.Topics {
		name, pattern := resource(p)
		g.allow(kafka.ResourceTypeTopic, name, pattern, kafka.OperationTypeRead, kafka.OperationTypeDescribeConfigs)
	}
	g.groups(f, kafka.OperationTypeDescribe)
	if len(f.Groups) > 0 {
		g.allow(kafka.ResourceTypeCluster, "kafka-cluster", kafka.PatternTypeLiteral, kafka.OperationTypeDescribe)
	}
}

func (g *granter) groups(f *config.Flow, operation kafka.OperationType) {
	for _, p := range f.Groups {
		name, pattern := resource(p)
		if len(f.GroupNames) > 0 {
			name, pattern = "*", kafka.PatternTypeLiteral
		}
		g.allow(kafka.ResourceTypeGroup, name, pattern, operation)
	}
}

var nameThen = regexp.MustCompile(`^((?:[a-zA-Z0-9_-]|\\[.-])+)(\.\*)?$`)

// resource is what a pattern comes to in Kafka's terms: a name, a prefix, or else everything.
func resource(pattern string) (string, kafka.PatternType) {
	m := nameThen.FindStringSubmatch(pattern)
	switch {
	case m == nil:
		return "*", kafka.PatternTypeLiteral
	case m[2] != "":
		return strings.ReplaceAll(m[1], `\`, ""), kafka.PatternTypePrefixed
	default:
		return strings.ReplaceAll(m[1], `\`, ""), kafka.PatternTypeLiteral
	}
}

// grant adds those rights that are not there.
func (c *Client) grant(ctx context.Context, name string, wanted []Right, tell func(string)) error {
	there, err := c.rightsThere(ctx, name)
	if err != nil {
		return err
	}
	for i := range wanted {
		if there[keyOf(&wanted[i])] {
			continue
		}
		tell(inWords(&wanted[i]))
		if err := c.allow(ctx, name, &wanted[i]); err != nil {
			return err
		}
	}
	return nil
}

// allow adds a right. The same one twice does no harm, and one more look is dearer.
func (c *Client) allow(ctx context.Context, name string, r *Right) error {
	_, err := c.acls.ServiceKafkaNativeAclAdd(ctx, c.Project, name, r)
	if isUnclear(err) {
		_, err = c.acls.ServiceKafkaNativeAclAdd(ctx, c.Project, name, r)
	}
	if isThere(err) {
		return nil
	}
	return err
}
