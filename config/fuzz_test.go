package config

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
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
		c, err := Parse("testdata/x.yaml", content, o)
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

// FuzzMM2: the same for bytes of a file for a MirrorMaker 2; what was accepted is the same
// configuration as a file of ours, which shows no password.
func FuzzMM2(f *testing.F) {
	files, err := filepath.Glob("testdata/*.properties")
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, content []byte) {
		o := LoadOptions{Environ: mm2Environ}
		want, err := Parse("testdata/x.properties", content, o)
		var list Errors
		if err != nil {
			if !errors.As(err, &list) || len(list) == 0 || want != nil {
				t.Fatalf("got %v and %T %v", want, err, err)
			}
			return
		}
		text, err := convertMM2("testdata/x.properties", content, o)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range placeholder.FindAllStringSubmatch(string(text), -1) {
			o.Environ = append(o.Environ, m[1]+"=x")
		}
		got, err := Parse("testdata/x.yaml", text, o)
		if err != nil {
			t.Fatalf("%v in\n%s", err, text)
		}
		want.Notes = nil
		for alias, c := range got.Clusters {
			c.SASL.Password = want.Clusters[alias].SASL.Password
			got.Clusters[alias] = c
		}
		got.report, want.report = nil, nil // other lines
		if !reflect.DeepEqual(got, want) {
			t.Errorf("got  %+v\nwant %+v\nby\n%s", got, want, text)
		}
	})
}
