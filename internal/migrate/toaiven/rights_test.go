package toaiven

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/kferry/kferry/config"
	"github.com/kferry/kferry/internal/aiven"
	"github.com/kferry/kferry/replicator/catalog"
	"github.com/kferry/kferry/replicator/policy"
)

// Rights on the flow's topics go with it, and what else their users have; nothing of others.
func TestCarry(t *testing.T) {
	all := []acl{
		{"User:shop", "*", "TOPIC", "alice-pizza-orders", "LITERAL", "WRITE", "ALLOW"},
		{"User:shop", "*", "TOPIC", "other", "LITERAL", "WRITE", "ALLOW"},
		{"User:shop", "*", "TRANSACTIONAL_ID", "shop-", "PREFIXED", "WRITE", "ALLOW"},
		{"User:shop", "*", "CLUSTER", "kafka-cluster", "LITERAL", "CREATE", "ALLOW"},
		{"User:kitchen", "10.0.0.7", "TOPIC", "alice-pizza-", "PREFIXED", "READ", "ALLOW"},
		{"User:kitchen", "*", "GROUP", "kitchen", "LITERAL", "READ", "ALLOW"},
		{"User:../../etc", "*", "TOPIC", "*", "LITERAL", "READ", "DENY"},
		{"User:alice", "*", "TOPIC", "*", "LITERAL", "ALL", "ALLOW"},
		{"User:else", "*", "TOPIC", "other", "LITERAL", "READ", "ALLOW"},
		{"User:else", "*", "GROUP", "else", "LITERAL", "READ", "ALLOW"},
	}
	for _, c := range []struct {
		strip  string
		rights []string
		left   []string
	}{
		{"", []string{"User:shop Topic alice-pizza-orders LITERAL Write ALLOW *", "User:shop TransactionalId shop- PREFIXED Write ALLOW *", "User:kitchen Topic alice-pizza- PREFIXED Read ALLOW 10.0.0.7",
			"User:kitchen Group cooks LITERAL Read ALLOW *", "User:../../etc Topic * LITERAL Read DENY *"}, []string{"kferry itself is this user", "Aiven's own business"}},
		{"alice-", []string{"User:shop Topic pizza-orders LITERAL Write ALLOW *", "User:shop TransactionalId shop- PREFIXED Write ALLOW *",
			"User:kitchen Group cooks LITERAL Read ALLOW *", "User:../../etc Topic * LITERAL Read DENY *"}, []string{"kferry itself is this user", "Aiven's own business", "this prefix comes to is not certain"}},
	} {
		pol, err := policy.New(policy.Options{Kind: policy.Identity, StripPrefix: c.strip})
		if err != nil {
			t.Fatal(err)
		}
		s := scope{config.Flow{Policy: "identity", StripPrefix: c.strip, GroupNames: []string{"kitchen=cooks"}}, pol, []catalog.Wanted{{Source: "alice-pizza-orders"}}}
		rights, left := s.carry(all, "User:alice")
		var got []string
		for _, r := range rights {
			got = append(got, fmt.Sprint(r.Principal, " ", r.ResourceType, " ", r.ResourceName, " ", r.PatternType, " ", r.Operation, " ", r.PermissionType, " ", *r.Host))
		}
		if !slices.Equal(got, c.rights) {
			t.Errorf("strip %q: got\n%s", c.strip, strings.Join(got, "\n"))
		}
		for i, want := range c.left {
			if len(left) != len(c.left) || !strings.Contains(left[i], want) {
				t.Errorf("strip %q: left %q", c.strip, left)
			}
		}
		if users := Users(rights, []aiven.Grant{{User: "a*"}, {User: "zoe"}}); !slices.Equal(users, []string{"kitchen", "shop", "zoe"}) {
			t.Errorf("users %q", users)
		}
	}
}
