// Package image builds the image of the Dockerfile without a container engine, and runs what is in it.
package image

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
	"github.com/moby/buildkit/frontend/dockerfile/shell"
)

// stage is one FROM of a Dockerfile at work. Instead of a base image it stands on this machine: RUN runs here, in the folder that
// WORKDIR names below root, and what a later stage copies from it and it did not make is this machine's.
type stage struct {
	t       testing.TB
	context string // what COPY copies from
	root    string // what the stage has made
	workdir string // as in the image
	args    map[string]string
	config  v1.Config
	layers  []v1.Layer // of COPY
}

// build builds the last stage of a Dockerfile. BuildKit's own parser reads it; an instruction that is not known here fails the test.
func build(t testing.TB, dockerfile, context string, args map[string]string) v1.Image {
	t.Helper()
	text, err := os.ReadFile(dockerfile)
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := parser.Parse(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	stages, _, err := instructions.Parse(parsed.AST, nil)
	if err != nil {
		t.Fatal(err)
	}
	made := map[string]*stage{}
	var s *stage
	for i, in := range stages {
		s = &stage{t: t, context: context, root: t.TempDir(), workdir: "/", args: map[string]string{}, config: v1.Config{Labels: map[string]string{}}}
		for _, c := range in.Commands {
			if e, ok := c.(instructions.SupportsSingleWordExpansion); ok {
				if err := e.Expand(s.expand); err != nil {
					t.Fatalf("%s: %v", c, err)
				}
			}
			s.do(c, args, made)
		}
		made[in.Name] = s
		if i == len(stages)-1 && in.BaseName != "scratch" {
			t.Fatalf("the last stage is from %q: it would have files that are not built here", in.BaseName)
		}
	}
	img, err := mutate.AppendLayers(empty.Image, s.layers...)
	if err == nil {
		img, err = mutate.ConfigFile(img, &v1.ConfigFile{OS: "linux", Architecture: goarch(t), Config: s.config, RootFS: rootFS(t, img)})
	}
	if err != nil {
		t.Fatal(err)
	}
	return img
}

func rootFS(t testing.TB, img v1.Image) v1.RootFS {
	t.Helper()
	c, err := img.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	return c.RootFS
}

func goarch(t testing.TB) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "go", "env", "GOARCH").Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(out))
}

// do follows one instruction.
func (s *stage) do(c instructions.Command, args map[string]string, made map[string]*stage) {
	s.t.Helper()
	switch c := c.(type) {
	case *instructions.WorkdirCommand:
		s.workdir = path.Join(s.workdir, c.Path)
		s.must(os.MkdirAll(s.here(s.workdir), 0o755))
	case *instructions.ArgCommand:
		for _, a := range c.Args {
			s.args[a.Key] = a.ValueString()
			if v, ok := args[a.Key]; ok {
				s.args[a.Key] = v
			}
		}
	case *instructions.EnvCommand:
		for _, e := range c.Env {
			s.config.Env = append(s.config.Env, e.String())
		}
	case *instructions.LabelCommand:
		for _, l := range c.Labels {
			s.config.Labels[l.Key] = l.Value
		}
	case *instructions.CopyCommand:
		s.copy(c, made)
	case *instructions.RunCommand:
		s.run(c)
	case *instructions.UserCommand:
		s.config.User = c.User
	case *instructions.ExposeCommand:
		s.config.ExposedPorts = map[string]struct{}{}
		for _, p := range c.Ports {
			s.config.ExposedPorts[p+"/tcp"] = struct{}{}
		}
	case *instructions.HealthCheckCommand:
		h := c.Health
		s.config.Healthcheck = &v1.HealthConfig{Test: h.Test, Interval: h.Interval, Timeout: h.Timeout, StartPeriod: h.StartPeriod, Retries: h.Retries}
	case *instructions.EntrypointCommand:
		s.config.Entrypoint = c.CmdLine
	case *instructions.CmdCommand:
		s.config.Cmd = c.CmdLine
	default:
		s.t.Fatalf("this builder does not know %q: teach it", c)
	}
}

func (s *stage) must(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

// here is where a path of the image is on this machine.
func (s *stage) here(p string) string {
	return filepath.Join(s.root, filepath.FromSlash(path.Join("/", p)))
}

// expand puts the values of ARG and ENV into a word.
func (s *stage) expand(word string) (string, error) {
	var env []string
	for k, v := range s.args {
		env = append(env, k+"="+v)
	}
	out, _, err := shell.NewLex('\\').ProcessWord(word, shell.EnvsFromSlice(append(env, s.config.Env...)))
	return out, err
}

func (s *stage) run(c *instructions.RunCommand) {
	s.t.Helper()
	line := c.CmdLine
	if c.PrependShell {
		line = []string{"/bin/sh", "-c", strings.Join(line, " ")}
	}
	cmd := exec.CommandContext(s.t.Context(), line[0], line[1:]...) //nolint:gosec // our Dockerfile
	cmd.Dir, cmd.Env = s.here(s.workdir), append(os.Environ(), s.config.Env...)
	for k, v := range s.args {
		cmd.Env = append(cmd.Env, k+"="+v)
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		s.t.Fatalf("%s: %v\n%s", c, err, out)
	}
}

// copy copies into the stage's root, and as a layer of its own.
func (s *stage) copy(c *instructions.CopyCommand, made map[string]*stage) {
	s.t.Helper()
	files := map[string]string{} // path in the image to file on this machine
	into := path.Join(s.workdir, c.DestPath)
	if path.IsAbs(c.DestPath) {
		into = path.Clean(c.DestPath)
	}
	folder := strings.HasSuffix(c.DestPath, "/") || c.DestPath == "."
	for _, from := range c.SourcePaths {
		file := filepath.Join(s.context, from)
		if c.From != "" {
			if file = made[c.From].here(from); !exists(file) {
				file = from // of the base image, for which this machine stands
			}
		}
		switch info, err := os.Stat(file); {
		case err != nil:
			s.t.Fatalf("%s: %v", c, err)
		case info.IsDir():
			s.tree(file, into, c.From == "", files)
		case folder:
			files[path.Join(into, path.Base(from))] = file
		default:
			files[into] = file
		}
	}
	for to, from := range files {
		b, err := os.ReadFile(from)
		s.must(err)
		info, err := os.Stat(from)
		s.must(err)
		s.must(os.MkdirAll(filepath.Dir(s.here(to)), 0o755))
		s.must(os.WriteFile(s.here(to), b, info.Mode().Perm()))
	}
	s.layers = append(s.layers, s.layer(files))
}

func exists(file string) bool {
	_, err := os.Stat(file)
	return !errors.Is(err, fs.ErrNotExist)
}

// tree adds the files below dir; of the build's context without what .dockerignore names.
func (s *stage) tree(dir, into string, ofContext bool, files map[string]string) {
	s.t.Helper()
	var ignored []string
	if ofContext {
		text, err := os.ReadFile(filepath.Join(s.context, ".dockerignore"))
		s.must(err)
		ignored = strings.Fields(string(text))
		if i := slices.IndexFunc(ignored, func(p string) bool { return strings.ContainsAny(p, "*?[!#") }); i >= 0 {
			s.t.Fatalf(".dockerignore: this builder does not know the pattern %q", ignored[i])
		}
	}
	s.must(filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		rel, relErr := filepath.Rel(dir, p)
		switch {
		case err != nil || relErr != nil:
			return errors.Join(err, relErr)
		case slices.Contains(ignored, filepath.ToSlash(rel)) && d.IsDir():
			return filepath.SkipDir
		case d.Type().IsRegular() && !slices.Contains(ignored, filepath.ToSlash(rel)):
			files[path.Join(into, filepath.ToSlash(rel))] = p
		}
		return nil
	}))
}

// layer packs files with the folders that they need, all of them root's.
func (s *stage) layer(files map[string]string) v1.Layer {
	s.t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	folders := map[string]bool{"/": true}
	for _, to := range slices.Sorted(maps.Keys(files)) {
		for dir := "/"; dir != path.Dir(to); {
			rest, _, _ := strings.Cut(strings.TrimPrefix(strings.TrimPrefix(to, dir), "/"), "/")
			if dir = path.Join(dir, rest); !folders[dir] {
				folders[dir] = true
				s.must(w.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: dir[1:] + "/", Mode: 0o755}))
			}
		}
		content, err := os.ReadFile(files[to])
		s.must(err)
		info, err := os.Stat(files[to])
		s.must(err)
		s.must(w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: to[1:], Mode: int64(info.Mode().Perm()), Size: int64(len(content))}))
		_, err = w.Write(content)
		s.must(err)
	}
	s.must(w.Close())
	l, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(b.Bytes())), nil })
	s.must(err)
	return l
}

// unpack writes the file system of an image to a folder, as an engine would mount it.
func unpack(t testing.TB, img v1.Image, root string) {
	t.Helper()
	content := mutate.Extract(img)
	defer content.Close()
	for r := tar.NewReader(content); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return
		}
		if err == nil {
			err = unpackOne(r, h, filepath.Join(root, path.Join("/", h.Name)))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

func unpackOne(r io.Reader, h *tar.Header, to string) error {
	switch h.Typeflag {
	case tar.TypeDir:
		return os.MkdirAll(to, h.FileInfo().Mode().Perm())
	case tar.TypeReg:
		b, err := io.ReadAll(r)
		if err != nil {
			return err
		}
		return os.WriteFile(to, b, h.FileInfo().Mode().Perm())
	}
	return fmt.Errorf("%s: of type %q", h.Name, h.Typeflag)
}
