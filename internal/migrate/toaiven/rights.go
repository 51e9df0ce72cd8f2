package toaiven

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kferry/kferry/config"
	"github.com/kferry/kferry/internal/aiven"
	"github.com/kferry/kferry/internal/kafka"
	"github.com/kferry/kferry/replicator/catalog"
)

// Rights are what users may do with the topics of the flows to the Kafka service, and with groups and transactions, as
// far as the source's ACLs say it. left are those of these users that they do not get there, and why.
func Rights(ctx context.Context, cfg *config.Config) (rights []aiven.Right, left []string, err error) {
	err = eachFlow(ctx, cfg, func(source *kafka.Cluster, s scope, _ []string) error {
		acls, err := acls(ctx, source)
		if err != nil {
			return err
		}
		r, l := s.carry(acls, "User:"+cfg.Clusters[s.flow.Source].SASL.Username)
		rights, left = append(rights, r...), append(left, l...)
		return nil
	})
	slices.Sort(left)
	return rights, slices.Compact(left), err
}

// userName is what Aiven takes as the name of a user. A principal may be more: a pattern, or a certificate's subject.
var userName = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}$`)

// Users are those who have a right and can be users at Aiven.
func Users(rights []aiven.Right, grants []aiven.Grant) (out []string) {
	for _, r := range rights {
		out = append(out, strings.TrimPrefix(r.Principal, "User:"))
	}
	for _, g := range grants {
		out = append(out, g.User)
	}
	slices.Sort(out)
	return slices.DeleteFunc(slices.Compact(out), func(name string) bool { return !userName.MatchString(name) })
}

// An acl is one of the source.
type acl struct {
	principal, host, resource, name, pattern, operation, permission string
}

// acls reads all that the source has.
func acls(ctx context.Context, source *kafka.Cluster) ([]acl, error) {
	req := kmsg.NewPtrDescribeACLsRequest()
	req.ResourceType, req.ResourcePatternType = kmsg.ACLResourceTypeAny, kmsg.ACLResourcePatternTypeAny
	req.Operation, req.PermissionType = kmsg.ACLOperationAny, kmsg.ACLPermissionTypeAny
	resp, err := req.RequestWith(ctx, source.Client())
	if err == nil {
		err = kerr.ErrorForCode(resp.ErrorCode)
	}
	switch {
	case errors.Is(err, kerr.ClusterAuthorizationFailed), errors.Is(err, kerr.SecurityDisabled), errors.Is(err, kerr.UnsupportedVersion):
		return nil, fmt.Errorf("cluster %s does not tell its ACLs: allow the user to Describe the cluster, or give the rights yourself, as in --grant 'shop=readwrite:pizza-*': %w", source.Alias(), err)
	case err != nil:
		return nil, kafka.Explain(source.Alias(), err)
	}
	var out []acl
	for _, r := range resp.Resources {
		for _, a := range r.ACLs {
			out = append(out, acl{a.Principal, a.Host, r.ResourceType.String(), r.ResourceName, r.ResourcePatternType.String(), a.Operation.String(), a.PermissionType.String()})
		}
	}
	slices.SortFunc(out, func(a, b acl) int {
		return cmp.Or(cmp.Compare(a.principal, b.principal), cmp.Compare(b.resource, a.resource), cmp.Compare(a.name, b.name), cmp.Compare(a.operation, b.operation))
	})
	return out, nil
}

// carry picks the ACLs about the topics of a flow, and what else the same users have; own is who kferry is at the source.
func (s scope) carry(all []acl, own string) (rights []aiven.Right, left []string) {
	users := map[string]bool{}
	for _, a := range all {
		users[a.principal] = users[a.principal] || s.concerns(a)
	}
	if users[own] {
		users[own] = false
		left = append(left, own+": kferry itself is this user at the source, and has its own at Aiven. If others are it, too, give them rights by --grant")
	}
	for _, a := range all {
		if !users[a.principal] || a.resource == "TOPIC" && !s.concerns(a) {
			continue
		}
		name, err := s.named(a)
		var r aiven.Right
		if err == nil {
			r, err = aiven.RightOf(a.principal, a.host, a.resource, name, a.pattern, a.operation, a.permission)
		}
		if err != nil {
			left = append(left, fmt.Sprintf("%s %s %s on %s %s: %v", a.principal, a.permission, a.operation, a.resource, a.name, err))
			continue
		}
		rights = append(rights, r)
	}
	return rights, left
}

// concerns says whether an ACL is about a topic of the flow.
func (s scope) concerns(a acl) bool {
	return a.resource == "TOPIC" && slices.ContainsFunc(s.topics, func(t catalog.Wanted) bool {
		return a.name == "*" || a.name == t.Source || a.pattern == "PREFIXED" && strings.HasPrefix(t.Source, a.name)
	})
}

// named is what an ACL's resource is called at Aiven.
func (s scope) named(a acl) (string, error) {
	f := &s.flow
	renames := f.Policy != "identity" || f.Prefix+f.Suffix+f.StripPrefix != ""
	switch {
	case a.resource == "GROUP" && a.pattern == "LITERAL":
		return f.TargetGroup(a.name), nil
	case a.resource != "TOPIC" || !renames || a.name == "*":
		return a.name, nil
	case a.pattern == "LITERAL":
		return s.policy.Target(a.name), nil
	}
	return "", errors.New("the flow renames topics, and what this prefix comes to is not certain: give the right yourself, by --grant or at the console")
}
