package config

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

// FuzzLoad: bytes of any kind give a configuration or Errors, never a panic; and
// what was accepted can be shown.
func FuzzLoad(f *testing.F) {
	files, err := filepath.Glob("testdata/*.yml")
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range append(files, reference) {
		b, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b, "KFERRY_CLUSTERS_A_SASL_PASSWORD", "x", "flows[0].topics")
	}
	f.Fuzz(func(t *testing.T, content []byte, name, value, key string) {
		o := LoadOptions{Environ: []string{name + "=" + value, "KFERRY_" + name + "=" + value}, Overrides: map[string]string{key: value}}
		c, err := parse("testdata/x.yaml", content, o)
		if err == nil {
			if _, err := c.Redacted(); err != nil {
				t.Error(err)
			}
			return
		}
		var list Errors
		ok := errors.As(err, &list)
		if !ok || len(list) == 0 || c != nil {
			t.Fatalf("got %v and %T %v", c, err, err)
		}
		for _, one := range list {
			if one.File == "" || one.Problem == "" {
				t.Errorf("an error without place or problem: %+v", one)
			}
		}
	})
}
