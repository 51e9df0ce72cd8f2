package check

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/kferry/kferry/config"
)

func TestFromConfigLogsIn(t *testing.T) {
	const user, password = "alice", "s3cret"
	for _, mechanism := range []string{"PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"} {
		fake, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(1, "t"), kfake.EnableSASL(), kfake.Superuser(mechanism, user, password))
		if err != nil {
			t.Fatal(err)
		}
		defer fake.Close()
		conn, err := FromConfig(config.Cluster{
			BootstrapServers: fake.ListenAddrs(),
			SASL:             config.SASL{Mechanism: mechanism, Username: user, Password: password},
		})
		if err != nil {
			t.Fatal(err)
		}
		if n, err := WaitCaughtUp(t.Context(), conn, "t", WaitOptions{Poll: time.Millisecond}); err != nil || n != 0 {
			t.Errorf("%s: %d, %v", mechanism, n, err)
		}
	}
}

func TestFromConfigRefuses(t *testing.T) {
	empty := filepath.Join(t.TempDir(), "empty.pem")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for want, c := range map[string]config.Cluster{
		`mechanism "GSSAPI"`:       {SASL: config.SASL{Mechanism: "GSSAPI"}},
		"holds no PEM certificate": {TLS: config.TLS{Enabled: true, CAFile: empty}},
		"no such file":             {TLS: config.TLS{Enabled: true, CAFile: empty + "x"}},
		"no such file or dir":      {TLS: config.TLS{Enabled: true, CertFile: empty + "x", KeyFile: empty + "y"}},
	} {
		c.Alias = "prod"
		if _, err := FromConfig(c); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "cluster prod") {
			t.Errorf("error %v does not name the cluster and %q", err, want)
		}
	}
}
