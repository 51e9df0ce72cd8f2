package image

import (
	"bytes"
	"crypto/x509"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/validate"
	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/kferry/kferry/internal/ferrytest"
)

const (
	version  = "v9.8.7-test"
	sizeMost = 16 << 20 // bytes of the image as it is pulled
	nobody   = 65532
)

// TestImage builds the image, reads it back from the archive that an engine would load, and runs what is in it.
func TestImage(t *testing.T) {
	if testing.Short() || runtime.GOOS != "linux" {
		t.Skip("it builds the whole program, and runs it as Linux does")
	}
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	img := archived(t, build(t, filepath.Join(root, "Dockerfile"), root, map[string]string{"VERSION": version, "REVISION": "abc"}))
	if err := validate.Image(img); err != nil {
		t.Fatal(err)
	}
	file, err := img.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	c := &container{t: t, config: file.Config, root: t.TempDir()}
	t.Run("configuration", func(t *testing.T) { checkConfig(t, file.Config) })
	t.Run("size", func(t *testing.T) { checkSize(t, img) })
	unpack(t, img, c.root)
	t.Run("files", func(t *testing.T) { checkFiles(t, c.root) })
	t.Run("version", func(t *testing.T) {
		out, err := c.command("/kferry", "version").CombinedOutput()
		if err != nil || !strings.HasPrefix(string(out), "kferry "+version+" ") {
			t.Errorf("%v: %s", err, out)
		}
	})
	t.Run("run", c.checkRun)
}

// archived is the image as "docker load" would get it.
func archived(t *testing.T, img v1.Image) v1.Image {
	t.Helper()
	tag, err := name.NewTag("kferry:test")
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "image.tar")
	if err := tarball.WriteToFile(file, tag, img); err != nil {
		t.Fatal(err)
	}
	back, err := tarball.ImageFromPath(file, &tag)
	if err != nil {
		t.Fatal(err)
	}
	return back
}

func checkConfig(t *testing.T, c v1.Config) {
	want := map[string]string{
		"user":       "65532:65532",
		"entrypoint": "[/kferry]",
		"cmd":        "[run -c /etc/kferry/kferry.yaml]",
		"env":        "[KFERRY_HTTP_LISTEN=0.0.0.0:9464]",
		"health":     "[CMD /kferry health --url http://127.0.0.1:9464]",
		"ports":      "map[9464/tcp:{}]",
		"version":    version,
		"revision":   "abc",
		"licenses":   "Apache-2.0",
		"title":      "kferry",
	}
	const label = "org.opencontainers.image."
	for what, got := range map[string]string{
		"user": c.User, "entrypoint": fmt.Sprint(c.Entrypoint), "cmd": fmt.Sprint(c.Cmd), "env": fmt.Sprint(c.Env), "health": fmt.Sprint(c.Healthcheck.Test),
		"ports": fmt.Sprint(c.ExposedPorts), "version": c.Labels[label+"version"], "revision": c.Labels[label+"revision"],
		"licenses": c.Labels[label+"licenses"], "title": c.Labels[label+"title"],
	} {
		if got != want[what] {
			t.Errorf("%s: got %q, want %q", what, got, want[what])
		}
	}
}

func checkSize(t *testing.T, img v1.Image) {
	layers, err := img.Layers()
	if err != nil {
		t.Fatal(err)
	}
	all := int64(0)
	for _, l := range layers {
		n, err := l.Size()
		if err != nil {
			t.Fatal(err)
		}
		all += n
	}
	t.Logf("%.1f MB compressed", float64(all)/1e6)
	if all > sizeMost {
		t.Errorf("%d bytes, at most %d are small", all, sizeMost)
	}
}

// checkFiles: the binary, the certificates and nothing else.
func checkFiles(t *testing.T, root string) {
	var files []string
	if err := filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			files = append(files, strings.TrimPrefix(p, root))
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	if want := []string{"/etc/ssl/certs/ca-certificates.crt", "/kferry"}; !slices.Equal(files, want) {
		t.Errorf("got %q, want %q", files, want)
	}
	pem, err := os.ReadFile(filepath.Join(root, "etc/ssl/certs/ca-certificates.crt"))
	if err != nil || !x509.NewCertPool().AppendCertsFromPEM(pem) {
		t.Errorf("no certificate authority: %v", err)
	}
}

// container runs commands on an unpacked image.
type container struct {
	t      *testing.T
	config v1.Config
	root   string
}

// command is a command of the image, with nothing but the image: its root, its user, who may write nowhere, its environment and more.
// Only root may change the root; anybody else runs the same binary where it is.
func (c *container) command(args ...string) *exec.Cmd {
	cmd := exec.CommandContext(c.t.Context(), args[0], args[1:]...) //nolint:gosec // what we built
	cmd.Env = c.config.Env
	if os.Geteuid() == 0 {
		cmd.Dir = "/"
		cmd.SysProcAttr = &syscall.SysProcAttr{Chroot: c.root, Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
		return cmd
	}
	for i, a := range cmd.Args {
		if strings.HasPrefix(a, "/") {
			cmd.Args[i] = filepath.Join(c.root, a)
		}
	}
	cmd.Path = cmd.Args[0]
	return cmd
}

// checkRun runs the image's own command between two clusters, and its health check.
func (c *container) checkRun(t *testing.T) {
	c.t = t
	conf := "clusters:\n"
	for _, alias := range []string{"old", "new"} {
		cl, err := kfake.NewCluster(kfake.NumBrokers(1))
		if err != nil {
			t.Fatal(err)
		}
		defer cl.Close()
		conf += fmt.Sprintf("  %s: { bootstrap_servers: [%q] }\n", alias, cl.ListenAddrs()[0])
	}
	conf += "flows:\n  - { source: old, target: new, topics: [\"pizza-.*\"] }\n"
	mount := filepath.Join(c.root, "etc/kferry")
	if err := os.MkdirAll(mount, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(mount, "kferry.yaml"), []byte(conf), 0o644); err != nil {
		t.Fatal(err)
	}
	if out, err := c.health("127.0.0.1:1").CombinedOutput(); err == nil {
		t.Errorf("healthy before it runs: %s", out)
	}

	cmd := c.command(slices.Concat(c.config.Entrypoint, c.config.Cmd)...)
	cmd.Env = append(slices.Clone(cmd.Env), "KFERRY_HTTP_LISTEN=127.0.0.1:0") // others may have the port
	var log output
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	listens := regexp.MustCompile(`http://(127\.0\.0\.1:\d+)/metrics`)
	ferrytest.Eventually(t, ferrytest.Patience, "the health check succeeds", func() (bool, string) {
		addr := listens.FindStringSubmatch(log.String())
		if addr == nil {
			return false, log.String()
		}
		out, err := c.health(addr[1]).CombinedOutput()
		return err == nil && strings.Contains(string(out), "ready"), string(out) + log.String()
	})
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; err != nil {
		t.Errorf("%v: %s", err, log.String())
	}
}

// health is the image's health check, for a kferry that listens at addr.
func (c *container) health(addr string) *exec.Cmd {
	args := slices.Clone(c.config.Healthcheck.Test[1:])
	for i := range args {
		args[i] = strings.Replace(args[i], "127.0.0.1:9464", addr, 1)
	}
	return c.command(args...)
}

// output is what a process prints.
type output struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String()
}
