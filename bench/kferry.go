package main

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// kferry is this project's daemon with its defaults, built from the tree; with more than one replica they share the work.
type kferry struct {
	replicas int
	cores    int  // of each process; 0: all
	once     bool // see onlyFirst
	binary   string
	listens  []string // where each replica serves its page; those without one: nowhere
}

func (k *kferry) Name() string {
	if k.replicas > 1 {
		return fmt.Sprint("kferry", k.replicas)
	}
	return "kferry"
}

// Takes implements choosy.
func (k *kferry) Takes(w *workload) bool { return !k.once || onlyFirst(w) }

func (k *kferry) Prepare(ctx context.Context, dir string) error {
	k.binary = filepath.Join(dir, "kferry")
	build := exec.CommandContext(ctx, "go", "build", "-trimpath", "-o", k.binary, "github.com/kferry/kferry/cmd/kferry")
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("go build: %w\n%s", err, out)
	}
	return nil
}

func (k *kferry) Commands(ctx context.Context, j Job) ([]*exec.Cmd, error) {
	file := filepath.Join(j.Dir, "kferry.yaml")
	listens := make([]string, max(k.replicas, 1))
	copy(listens, k.listens)
	listens[0] = cmp.Or(listens[0], j.Profile)
	// The name gives each run its own progress topic, so none resumes what another did.
	conf := fmt.Sprintf(`clusters:
  src: { bootstrap_servers: [%q] }
  dst: { bootstrap_servers: [%q] }
flows:
  - name: %q
    source: src
    target: dst
    topics: [%q]
    policy: identity
    prefix: %q
http: { listen: %q, pprof: %t }
`, j.Source, j.Target, j.Name, j.Topic, j.Name+".", cmp.Or(listens[0], "off"), j.Profile != "")
	if err := os.WriteFile(file, []byte(conf), 0o600); err != nil {
		return nil, err
	}
	var out []*exec.Cmd
	for _, listen := range listens {
		cmd := exec.CommandContext(ctx, k.binary, "run", "-c", file)
		cmd.Env = slices.DeleteFunc(os.Environ(), func(s string) bool { return strings.HasPrefix(s, "KFERRY_") })
		if listen != listens[0] {
			cmd.Env = append(cmd.Env, "KFERRY_HTTP_LISTEN="+cmp.Or(listen, "off"))
		}
		if k.cores > 0 {
			cmd.Env = append(cmd.Env, fmt.Sprint("GOMAXPROCS=", k.cores))
		}
		out = append(out, cmd)
	}
	return out, nil
}
