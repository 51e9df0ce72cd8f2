package aiven

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/aiven/go-client-codegen/handler/kafka"
)

// A Right is one of Kafka's own ACLs, as Aiven takes it.
type Right = kafka.ServiceKafkaNativeAclAddIn

// RightOf gives one of Kafka's ACLs in Aiven's words; Kafka's own are as its protocol names them: PREFIXED,
// DESCRIBE_CONFIGS. What Aiven has no place for is an error that says why.
func RightOf(principal, host, resource, name, pattern, operation, permission string) (Right, error) {
	r := Right{Principal: principal, Host: &host, ResourceType: kafka.ResourceType(camel(resource)), ResourceName: name,
		PatternType: kafka.PatternType(pattern), Operation: kafka.OperationType(camel(operation)), PermissionType: kafka.ServiceKafkaNativeAclPermissionType(permission)}
	switch {
	case !strings.HasPrefix(principal, "User:"):
		return r, fmt.Errorf("Aiven has rights of users alone, and %s is none", principal) //nolint:staticcheck // a name
	case r.ResourceType == kafka.ResourceTypeCluster:
		return r, fmt.Errorf("rights on the cluster are Aiven's own business")
	case !slices.Contains(kafka.ResourceTypeChoices(), string(r.ResourceType)), !slices.Contains(kafka.OperationTypeChoices(), string(r.Operation)),
		!slices.Contains(kafka.PatternTypeChoices(), pattern):
		return r, fmt.Errorf("Aiven knows no %s on %s %s", operation, pattern, resource) //nolint:staticcheck // a name
	}
	return r, nil
}

// camel gives DescribeConfigs for DESCRIBE_CONFIGS.
func camel(words string) string {
	var b strings.Builder
	for word := range strings.SplitSeq(strings.ToLower(words), "_") {
		if word != "" {
			b.WriteString(strings.ToUpper(word[:1]) + word[1:])
		}
	}
	return b.String()
}

// keyOf is the same for two rights that do the same.
func keyOf(r *Right) string {
	host := "*"
	if r.Host != nil {
		host = *r.Host
	}
	return fmt.Sprint(r.Principal, r.ResourceType, r.ResourceName, r.PatternType, r.Operation, r.PermissionType, host)
}

// inWords gives User:kferry may Read Topic pizza-*.
func inWords(r *Right) string {
	may, name := "may", r.ResourceName
	if r.PermissionType == kafka.ServiceKafkaNativeAclPermissionTypeDeny {
		may = "may not"
	}
	if r.PatternType == kafka.PatternTypePrefixed {
		name += "*"
	}
	text := fmt.Sprintf("%s %s %s %s %s", r.Principal, may, r.Operation, r.ResourceType, name)
	if r.Host != nil && *r.Host != "*" {
		text += " from " + *r.Host
	}
	return text
}

// rightsThere are Kafka's own ACLs of a service, by keyOf.
func (c *Client) rightsThere(ctx context.Context, name string) (map[string]bool, error) {
	have, err := c.acls.ServiceKafkaNativeAclList(ctx, c.Project, name)
	if err != nil {
		return nil, err
	}
	there := map[string]bool{}
	for _, a := range have.KafkaAcl {
		there[keyOf(&Right{Principal: a.Principal, Host: &a.Host, ResourceType: a.ResourceType, ResourceName: a.ResourceName,
			PatternType: a.PatternType, Operation: a.Operation, PermissionType: kafka.ServiceKafkaNativeAclPermissionType(a.PermissionType)})] = true
	}
	return there, nil
}

// A Grant is an ACL of Aiven's own kind: it has * and ? in the name of topics, and brings all consumer groups with it.
type Grant struct {
	User, Topics string
	Permission   string // admin, read, readwrite, write
}

// ParseGrant reads USER=PERMISSION:TOPICS.
func ParseGrant(text string) (Grant, error) {
	user, rest, ok := strings.Cut(text, "=")
	permission, topics, both := strings.Cut(rest, ":")
	if !ok || !both || user == "" || topics == "" {
		return Grant{}, fmt.Errorf("%q is not USER=PERMISSION:TOPICS, such as shop=readwrite:pizza-*", text)
	}
	if !slices.Contains(kafka.PermissionTypeChoices(), permission) {
		return Grant{}, fmt.Errorf("%q is no permission of Aiven's: it must be one of %s", permission, strings.Join(kafka.PermissionTypeChoices(), ", "))
	}
	return Grant{User: user, Permission: permission, Topics: topics}, nil
}

// PlanRights compares rights of both kinds with those of a service. What is there besides stays.
func (c *Client) PlanRights(ctx context.Context, service string, rights []Right, grants []Grant) (*Plan, error) {
	there, err := c.rightsThere(ctx, service)
	if err != nil {
		return nil, c.about(err, "ACLs of "+service)
	}
	p, planned := &Plan{Steps: []*Step{}}, map[string]bool{}
	for i := range rights {
		r := &rights[i]
		if planned[keyOf(r)] {
			continue // flows from one source want the same
		}
		planned[keyOf(r)] = true
		p.add("right", inWords(r), there[keyOf(r)], func(ctx context.Context) error {
			return c.about(c.allow(ctx, service, r), "rights of "+r.Principal)
		})
	}
	if len(grants) == 0 {
		return p, nil
	}
	have, err := c.acls.ServiceKafkaAclList(ctx, c.Project, service)
	if err != nil {
		return nil, c.about(err, "ACLs of "+service)
	}
	for _, g := range grants {
		is := slices.ContainsFunc(have, func(a kafka.ServiceKafkaAclListOut) bool {
			return a.Username == g.User && a.Topic == g.Topics && string(a.Permission) == g.Permission
		})
		p.add("right", fmt.Sprintf("%s: %s on %s", g.User, g.Permission, g.Topics), is, func(ctx context.Context) error {
			_, err := c.acls.ServiceKafkaAclAdd(ctx, c.Project, service, &kafka.ServiceKafkaAclAddIn{Username: g.User, Topic: g.Topics, Permission: kafka.PermissionType(g.Permission)})
			return c.about(err, "rights of "+g.User)
		})
	}
	return p, nil
}

// add adds a step that makes something, unless it is there.
func (p *Plan) add(kind, name string, there bool, do func(context.Context) error) *Step {
	s := &Step{Kind: kind, Name: name, Action: Create, do: do}
	if there {
		s.Action = Keep
	}
	p.Steps = append(p.Steps, s)
	return s
}

// Do does the steps of a plan about topics, rights or schemas, in order, and tells of each. After an error what is done
// stays done.
func (p *Plan) Do(ctx context.Context, tell func(line string)) error {
	for _, s := range p.Steps {
		if !s.Action.Todo() {
			continue
		}
		tell(fmt.Sprintf("%s: %s", s, s.Action))
		if err := s.do(ctx); err != nil {
			return err
		}
	}
	return nil
}

// Differ counts what is there and not as wanted.
func (p *Plan) Differ() (n int) {
	for _, s := range p.Steps {
		if s.Action == Differs {
			n++
		}
	}
	return n
}
