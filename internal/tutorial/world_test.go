// Package tutorial runs what docs/tutorial-cloudkarafka-to-aiven.md tells: the real kferry, as a process, between two real
// Kafka clusters and a fake of Aiven's API. The source is as CloudKarafka has it (TLS, SCRAM, ACLs), the target as Aiven
// has it: its users, rights and topics come over the API. Behind the fake's MirrorMaker 2 stands a kferry of its own.
//
// Reading guide: world_test.go has the clusters, behind_test.go what stands behind the fake, page_test.go how the page is
// read and run. apply_test.go and killed_test.go are about "kferry aiven apply".
package tutorial

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/sr"
	"github.com/twmb/franz-go/pkg/sr/srfake"

	"github.com/kferry/kferry/internal/aiven/fake"
	"github.com/kferry/kferry/internal/check"
	"github.com/kferry/kferry/internal/ferrytest"
	"github.com/kferry/kferry/internal/kafkatest"
)

func TestMain(m *testing.M) { kafkatest.Main(m) }

const pageFile = "../../docs/tutorial-cloudkarafka-to-aiven.md"

// The source's users, with their passwords. Texts with hunter2 must be seen nowhere.
var sourceUsers = map[string]string{"alice": "hunter2-alice", "shop": "hunter2-shop", "kitchen": "hunter2-kitchen"}

// world is the clusters and an Aiven of a test's own.
type world struct {
	t              testing.TB
	source, target *kafkatest.Cluster
	aiven          *fake.Server
	mirrors        *mirrors
	registry       *srfake.Registry
	dir            string // where the user of the story works
	env            []string
	said           bytes.Buffer // by all commands
}

// newWorld is an Aiven with nothing in it, and a source where alice may do everything. Topics with the prefix are the
// test's own, and so are those that are named by its flows.
func newWorld(t testing.TB, prefix string, flows ...string) *world {
	t.Helper()
	w := &world{t: t, dir: t.TempDir(),
		source: kafkatest.Shared(t, kafkatest.Options{Security: kafkatest.SASLSSL, Authorizer: true, Users: sourceUsers}),
		target: kafkatest.Shared(t, kafkatest.Options{Security: kafkatest.SASLSSL, Authorizer: true}),
	}
	t.Cleanup(func() {
		for _, c := range []*kafkatest.Cluster{w.source, w.target} {
			clean(t, c, prefix, append(flows, w.mirrorName()))
		}
	})
	all := func(b *kadm.ACLBuilder) *kadm.ACLBuilder { return b.Operations(kadm.OpAll) }
	w.source.Allow(t, "alice", all(kadm.NewACLs().Topics("*")))
	w.source.Allow(t, "alice", all(kadm.NewACLs().Groups("*")))
	w.source.Allow(t, "alice", kadm.NewACLs().Clusters().Operations(kadm.OpDescribe, kadm.OpIdempotentWrite))
	w.source.Allow(t, "shop", kadm.NewACLs().Topics("pizza-").ResourcePatternType(kadm.ACLPatternPrefixed).Operations(kadm.OpWrite))
	w.source.Allow(t, "kitchen", kadm.NewACLs().Topics("pizza-orders").Operations(kadm.OpRead))
	w.source.Allow(t, "kitchen", kadm.NewACLs().Groups("pizza-kitchen").Operations(kadm.OpRead))

	w.registry = srfake.New(srfake.WithAuth("Basic " + base64.StdEncoding.EncodeToString([]byte("alice:"+sourceUsers["alice"]))))
	t.Cleanup(w.registry.Close)
	w.registry.SeedSchema("pizza-orders-value", 1, 1, sr.Schema{Schema: `{"type":"record","name":"Order","fields":[{"name":"id","type":"string"}]}`})
	w.registry.SeedSchema("pizza-clicks-value", 1, 2, sr.Schema{Schema: `{"type":"record","name":"Click","fields":[{"name":"page","type":"string"}]}`})
	w.registry.SeedSchema("pizza-orders-value", 2, 3, sr.Schema{Schema: `{"type":"record","name":"Order","fields":[{"name":"id","type":"string"},{"name":"size","type":"int","default":1}]}`})

	err := w.registry.SetCompat("pizza-orders-value", sr.CompatFull)
	if err != nil {
		t.Fatal(err)
	}

	ca, err := os.ReadFile(w.source.CAFile())
	if err == nil {
		err = os.WriteFile(filepath.Join(w.dir, "cloudkarafka-ca.pem"), ca, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	w.mirrors = &mirrors{w: w, running: map[string]*ferrytest.Ferry{}}
	w.aiven = newAiven(w)
	w.env = ferrytest.Environ("CLOUDKARAFKA_SERVER="+w.source.Bootstrap()[0], "CLOUDKARAFKA_PASSWORD="+sourceUsers["alice"],
		"CLOUDKARAFKA_REGISTRY="+w.registry.URL(), "KITCHEN_PASSWORD="+sourceUsers["kitchen"], "AIVEN_TOKEN="+fake.Token, "KFERRY_AIVEN_API="+w.aiven.URL)
	return w
}

// clean deletes the topics and groups of a test, so that it can run again.
func clean(t testing.TB, c *kafkatest.Cluster, prefix string, flows []string) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	cl, err := c.NewClient(kafkatest.AdminUser)
	if err != nil {
		t.Error(err)
		return
	}
	defer cl.Close()
	admin := kadm.NewClient(cl)
	topics, err := admin.ListTopics(ctx)
	groups, err2 := admin.ListGroups(ctx)
	if err := errors.Join(err, err2); err != nil {
		t.Error(err)
	}
	for _, name := range topics.Names() {
		own := strings.HasPrefix(name, prefix)
		for _, f := range flows {
			own = own || strings.HasPrefix(name, "kferry."+f+".")
		}
		if own {
			_, _ = admin.DeleteTopics(ctx, name) // what stays goes with the cluster
		}
	}
	for _, name := range groups.Groups() {
		if strings.HasPrefix(name, prefix) {
			_, _ = admin.DeleteGroups(ctx, name)
		}
	}
}

// newAiven is a fake that a process can ask: its services start at once, for it has no minutes.
func newAiven(w *world) *fake.Server {
	s := fake.New(w.t)
	s.Clock = fake.LiveClock()
	s.Provision, s.Restart = 0, 0
	s.Kafka = newBehind(w)
	s.Reachable = w.reachable
	s.OnFlow, s.Progress = w.mirrors.changed, w.mirrors.progress
	return s
}

// example is the configuration that the page writes down, with edits: pairs of texts, the second in the place of the first.
func (w *world) example(edits ...string) string {
	w.t.Helper()
	for _, b := range readPage(w.t) {
		if b.file == "kferry.yaml" {
			file := filepath.Join(w.dir, b.file)
			if err := os.WriteFile(file, []byte(strings.NewReplacer(edits...).Replace(b.text)), 0o600); err != nil {
				w.t.Fatal(err)
			}
			return file
		}
	}
	w.t.Fatal("the page has no kferry.yaml")
	return ""
}

// run runs a command to its end in the folder of the story, and gives what it printed.
func (w *world) run(want int, name string, args ...string) string {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), ferrytest.Patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir, cmd.Env, cmd.WaitDelay = w.dir, w.env, time.Second
	out, err := cmd.CombinedOutput()
	w.said.Write(out)
	if cmd.ProcessState == nil {
		w.t.Fatal(err)
	}
	if got := cmd.ProcessState.ExitCode(); got != want {
		w.t.Fatalf("%s: exit code %d (%v), want %d\n%s", args, got, context.Cause(ctx), want, out)
	}
	return string(out)
}

// has wants parts in a text.
func (w *world) has(text string, parts ...string) {
	w.t.Helper()
	for _, part := range parts {
		if !strings.Contains(text, part) {
			w.t.Errorf("no %q in\n%s", part, text)
		}
	}
}

// same wants a topic to be on both sides, record for record.
func (w *world) same(topic string) {
	w.t.Helper()
	ferrytest.Eventually(w.t, ferrytest.Patience, "topic "+topic+" is carried", func() (bool, string) {
		ends := func(c *kafkatest.Cluster) (n int64) {
			offsets, err := c.Admin(w.t).ListEndOffsets(w.t.Context(), topic)
			if err != nil {
				return -1
			}
			offsets.Each(func(o kadm.ListedOffset) { n += max(o.Offset, 0) })
			return n
		}
		have, want := ends(w.target), ends(w.source)
		return have >= want && want > 0, ""
	})
	rep, err := check.Compare(w.t.Context(), w.conn(w.source), w.conn(w.target), check.Options{Topic: topic})
	if err == nil {
		err = rep.Err()
	}
	if err != nil {
		w.t.Errorf("topic %s: %v", topic, err)
	}
}

func (w *world) conn(c *kafkatest.Cluster) check.Conn {
	w.t.Helper()
	conn, err := check.FromConfig(c.Config("c", kafkatest.AdminUser))
	if err != nil {
		w.t.Fatal(err)
	}
	return conn
}

// mayHold are the files that hold a secret on purpose: those that kferry writes for that, and the user's own.
var mayHold = regexp.MustCompile(`-(password\.txt|key\.pem)$|\.properties$`)

// noSecrets looks for secrets in whatever was printed or left on disk, and at who may read the files that hold one.
func (w *world) noSecrets() {
	w.t.Helper()
	written := map[string][]byte{"output": w.said.Bytes()}
	err := filepath.WalkDir(w.dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		if info, err := d.Info(); err != nil || strings.HasSuffix(path, "-password.txt") && info.Mode().Perm() != 0o600 {
			w.t.Errorf("%s: %v, %v", path, info.Mode(), err)
		}
		if !mayHold.MatchString(path) {
			written[path], err = os.ReadFile(path)
		}
		return err
	})
	if err != nil {
		w.t.Fatal(err)
	}
	for name, content := range written {
		for _, secret := range []string{"hunter2", "PRIVATE KEY"} {
			if bytes.Contains(content, []byte(secret)) {
				w.t.Errorf("%s has %q", name, secret)
			}
		}
	}
}
