package config

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestBadFiles: the comment lines that a file begins with are the errors
// expected of it, one each, in their order and no others. All values that are
// meant to be secret in these files contain hunter2.
func TestBadFiles(t *testing.T) {
	files, err := filepath.Glob("testdata/*.bad.*")
	if err != nil || len(files) < 30 {
		t.Fatalf("%d files found, %v", len(files), err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			content, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			cfg, err := Load(file, LoadOptions{})
			var list Errors
			ok := errors.As(err, &list)
			if cfg != nil || !ok {
				t.Fatalf("got %v, %T %v, want Errors alone", cfg, err, err)
			}
			want := expected(string(content))
			for i := range max(len(want), len(list)) {
				switch {
				case i >= len(list):
					t.Errorf("error %d is missing: %q", i, want[i])
				case i >= len(want):
					t.Errorf("error %d is too much: %q", i, list[i])
				case !strings.Contains(list[i].Error(), want[i]):
					t.Errorf("error %d:\n got %s\nwant %s", i, list[i].Error(), want[i])
				}
			}
			if !strings.HasPrefix(list[0].Error(), file) {
				t.Errorf("%q does not begin with the file", list[0])
			}
			if strings.Contains(err.Error(), "hunter2") {
				t.Errorf("shows a secret: %v", err)
			}
		})
	}
}

func expected(content string) []string {
	var want []string
	for line := range strings.Lines(content) {
		text, ok := strings.CutPrefix(line, "# ")
		if !ok {
			break
		}
		want = append(want, strings.TrimSuffix(text, "\n"))
	}
	return want
}

func TestGoodFiles(t *testing.T) {
	files, err := filepath.Glob("testdata/*.good.*")
	if err != nil || len(files) == 0 {
		t.Fatalf("%d files found, %v", len(files), err)
	}
	for _, file := range files {
		if _, err := Load(file, LoadOptions{Environ: mm2Environ}); err != nil {
			t.Error(err)
		}
	}
}
