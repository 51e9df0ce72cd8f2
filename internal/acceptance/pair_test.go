package acceptance

import (
	"context"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.yaml.in/yaml/v3"

	"github.com/kferry/kferry/config"
	"github.com/kferry/kferry/internal/check"
	"github.com/kferry/kferry/internal/ferrytest"
	"github.com/kferry/kferry/internal/kafkatest"
)

// The users that kferry logs in as. Neither may do anything but what a test allows it.
const (
	reader, readerSecret = "alice", "Reader-7hQ2mZ"
	writer, writerSecret = "bob", "Writer-x9Lw4T"
)

// versions are the Kafka versions that the first promises are made for.
var versions = []string{kafkatest.V4, kafkatest.V3}

// pair is two clusters, with TLS, SCRAM and an authorizer, and the names that a test has for itself on both: topics that
// begin with its name and a dot, a flow of its name.
type pair struct {
	t              testing.TB
	name           string
	source, target *kafkatest.Cluster
	admins         map[*kafkatest.Cluster]*kadm.Client
	runs           []*ferrytest.Ferry // by instance id
	nameless       bool               // they have none: one that is stopped leaves the group at once
}

// A right is what a user may do with topics that begin with a prefix.
type right = kadm.ACLOperation

// What kferry needs on the source, and on the target for the topics that it carries and for its progress topic.
var (
	sourceRights   = []right{kadm.OpRead, kadm.OpDescribe}
	targetRights   = []right{kadm.OpCreate, kadm.OpWrite, kadm.OpRead, kadm.OpDescribe, kadm.OpAlter, kadm.OpDescribeConfigs}
	progressRights = []right{kadm.OpCreate, kadm.OpWrite, kadm.OpRead, kadm.OpDescribe, kadm.OpDescribeConfigs}
)

// newPair takes the clusters of a version and gives both users what kferry needs for this test's topics.
func newPair(t testing.TB, version string) *pair {
	t.Helper()
	p := barePair(t, version)
	p.allow()
	return p
}

// allow gives both users what kferry needs for this test's topics.
func (p *pair) allow() {
	t := p.t
	t.Helper()
	p.source.Allow(t, reader, p.acls(p.name+".", sourceRights...))
	p.target.Allow(t, writer, p.acls(p.name+".", targetRights...))
	p.target.Allow(t, writer, p.acls("kferry."+p.name+".", progressRights...))
	p.target.Allow(t, writer, kadm.NewACLs().Groups("kferry."+p.name).Operations(kadm.OpRead))
}

// barePair is a pair whose users may do nothing yet.
func barePair(t testing.TB, version string) *pair {
	t.Helper()
	return pairOf(t, sharedSource(t, version), sharedTarget(t, version))
}

// The clusters that most tests share.
func sharedSource(t testing.TB, version string) *kafkatest.Cluster {
	t.Helper()
	return kafkatest.Shared(t, options(version, map[string]string{reader: readerSecret}))
}

func sharedTarget(t testing.TB, version string) *kafkatest.Cluster {
	t.Helper()
	return kafkatest.Shared(t, options(version, map[string]string{writer: writerSecret}))
}

func options(version string, users map[string]string) kafkatest.Options {
	return kafkatest.Options{
		Version: version, Security: kafkatest.SASLSSL, Authorizer: true, Users: users,
		Bench: full, // the quick-starting JVM is slow where much is encrypted
	}
}

// pairOf is a pair of these clusters, whose users may do nothing yet.
func pairOf(t testing.TB, source, target *kafkatest.Cluster) *pair {
	t.Helper()
	name := strings.NewReplacer("/", "-", "_", "-").Replace(strings.TrimPrefix(t.Name(), "Test"))
	p := &pair{
		t: t, name: fmt.Sprintf("%s-%d", strings.ToLower(name), time.Now().UnixNano()%1e6),
		source: source, target: target, admins: map[*kafkatest.Cluster]*kadm.Client{},
	}
	t.Cleanup(func() {
		p.clear(p.source)
		p.clear(p.target)
	})
	return p
}

// admin is a client of the administrator, for the goroutine of the test.
func (p *pair) admin(c *kafkatest.Cluster) *kadm.Client {
	p.t.Helper()
	if p.admins[c] == nil {
		p.admins[c] = c.Admin(p.t)
	}
	return p.admins[c]
}

// clear deletes the test's topics, which may take gigabytes. What stays is litter, and goes with the cluster.
func (p *pair) clear(c *kafkatest.Cluster) {
	cl, err := c.NewClient(kafkatest.AdminUser)
	if err != nil {
		return
	}
	defer cl.Close()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	admin := kadm.NewClient(cl)
	topics, err := admin.ListTopics(ctx)
	if err != nil {
		return
	}
	topics.FilterInternal()
	for _, name := range topics.Names() {
		if strings.HasPrefix(name, p.name+".") || strings.HasPrefix(name, "kferry."+p.name+".") || name == p.syncs() {
			_, _ = admin.DeleteTopics(ctx, name)
		}
	}
}

func (p *pair) acls(prefix string, ops ...right) *kadm.ACLBuilder {
	return kadm.NewACLs().Topics(prefix).ResourcePatternType(kadm.ACLPatternPrefixed).Operations(ops...)
}

// topic is the full name of one of the test's topics.
func (p *pair) topic(short string) string { return p.name + "." + short }

// tree is a configuration file: a test changes what it wants to have otherwise.
type tree = map[string]any

// settings is the configuration of a flow for all topics of the test. It looks for new ones every second.
func (p *pair) settings() tree {
	return tree{
		"clusters": tree{
			"old": login(p.source.Config("old", reader), tree{"password": "${OLD_PASSWORD}"}),
			"new": login(p.target.Config("new", writer), tree{"password_file": "new.password"}),
		},
		"flows": []tree{{
			"name": p.name, "source": "old", "target": "new", "topics": []string{regexp.QuoteMeta(p.name+".") + ".*"}, "refresh_interval": "1s",
		}},
		"http": tree{"listen": "127.0.0.1:0"},
		"log":  tree{"format": "text"},
	}
}

func login(c config.Cluster, password tree) tree {
	sasl := tree{"mechanism": c.SASL.Mechanism, "username": c.SASL.Username}
	maps.Copy(sasl, password)
	return tree{
		"bootstrap_servers": c.BootstrapServers,
		"tls":               tree{"enabled": true, "ca_file": c.TLS.CAFile},
		"sasl":              sasl,
	}
}

// at is the part of a configuration below a path of keys.
func at(s tree, path ...string) tree {
	for _, key := range path {
		s = s[key].(tree)
	}
	return s
}

// flowOf is the first flow of a configuration.
func flowOf(s tree) tree { return s["flows"].([]tree)[0] }

// run starts "kferry run" with a configuration, under the name of one that is no more: of one that was killed it need not
// wait for the session to end.
func (p *pair) run(s tree) *ferrytest.Ferry {
	p.t.Helper()
	n := slices.IndexFunc(p.runs, func(f *ferrytest.Ferry) bool { return !f.Running() })
	if n < 0 {
		n = len(p.runs)
		p.runs = append(p.runs, nil)
	}
	env := []string{"OLD_PASSWORD=" + readerSecret}
	if !p.nameless {
		env = append(env, fmt.Sprint("KFERRY_INSTANCE_ID=ferry-", n))
	}
	p.runs[n] = ferrytest.Launch(p.t, ferrytest.Binary(p.t, p.source.Dir()), ferrytest.Environ(env...),
		[]string{readerSecret, writerSecret, wrongSecret}, []string{"run", "-c", p.file(s)})
	return p.runs[n]
}

// command runs kferry with args to its end, wants that exit code and returns what it printed.
func (p *pair) command(code int, args ...string) string {
	p.t.Helper()
	cmd := exec.Command(ferrytest.Binary(p.t, p.source.Dir()), args...) //nolint:gosec // the binary that we built
	cmd.Env = ferrytest.Environ("OLD_PASSWORD=" + readerSecret)
	out, _ := cmd.CombinedOutput()
	p.t.Logf("%s: exit code %d\n%s", args, cmd.ProcessState.ExitCode(), out)
	if got := cmd.ProcessState.ExitCode(); got != code {
		p.t.Fatalf("exit code %d, want %d", got, code)
	}
	return string(out)
}

// file writes a configuration, with what belongs to it, and returns its name.
func (p *pair) file(s tree) string {
	p.t.Helper()
	dir := p.t.TempDir()
	text, err := yaml.Marshal(s)
	if err != nil {
		p.t.Fatal(err)
	}
	file := filepath.Join(dir, "kferry.yaml")
	for name, content := range map[string][]byte{file: text, filepath.Join(dir, "new.password"): []byte(writerSecret + "\n")} {
		if err := os.WriteFile(name, content, 0o600); err != nil {
			p.t.Fatal(err)
		}
	}
	return file
}

// conn is how the judge reads a cluster: as its administrator.
func (p *pair) conn(c *kafkatest.Cluster) check.Conn {
	p.t.Helper()
	conn, err := check.FromConfig(c.Config("check", kafkatest.AdminUser))
	if err != nil {
		p.t.Fatal(err)
	}
	// Topics appear while the judge looks: kgo would not believe it for seconds.
	return append(conn, kgo.MetadataMinAge(50*time.Millisecond))
}
