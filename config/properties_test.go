package config

import (
	"bufio"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"strings"
	"testing"
	"unicode/utf16"
)

// TestPropertiesAsInJava: testdata/java/PropertiesGolden.java made the golden file with Java's own class.
func TestPropertiesAsInJava(t *testing.T) {
	f, err := os.Open("testdata/properties.golden.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	n := 0
	for lines := bufio.NewScanner(f); lines.Scan(); n++ {
		var c struct {
			File    string
			Entries map[string]string
		}
		if err := json.Unmarshal(lines.Bytes(), &c); err != nil {
			t.Fatal(err)
		}
		entries, _, err := readProperties(latin1(c.File))
		if (err != nil) != (c.Entries == nil) {
			t.Errorf("%q: got %v, Java got %q", c.File, err, c.Entries)
			continue
		}
		delete(c.Entries, "") // left out on purpose
		got := map[string]string{}
		for _, p := range entries {
			got[p.key] = p.value
		}
		if err == nil && !maps.Equal(got, c.Entries) {
			t.Errorf("%q: got %q, Java got %q", c.File, got, c.Entries)
		}
	}
	if n < 500 {
		t.Errorf("%d cases", n)
	}
}

func latin1(s string) []byte {
	var b []byte
	for _, r := range s {
		b = append(b, byte(r))
	}
	return b
}

func TestPropertyLines(t *testing.T) {
	entries, _, err := readProperties([]byte("# one\na=b\n\nc=d\\\n  e\r\n\rf\n\\\n\\\ng=h"))
	if err != nil {
		t.Fatal(err)
	}
	want := []entry{{"a", "b", 2}, {"c", "de", 4}, {"f", "", 7}, {"g", "h", 10}}
	for i, p := range entries {
		if i >= len(want) || p != want[i] {
			t.Errorf("entry %d: got %v", i, p)
		}
	}
	if _, line, err := readProperties([]byte("a=b\nc=\\\n\\u12")); err == nil || line != 2 || !strings.Contains(err.Error(), "hexadecimal") {
		t.Errorf("got line %d, %v", line, err)
	}
}

// FuzzProperties: what is written with every character escaped is read back, and bytes of any kind are read or refused.
func FuzzProperties(f *testing.F) {
	f.Add("a->b.topics", "foo\\.bar, x", []byte("a=b\\\n c"))
	f.Fuzz(func(t *testing.T, key, value string, content []byte) {
		_, _, _ = readProperties(content)
		key, value = strings.ToValidUTF8(key, "?"), strings.ToValidUTF8(value, "?")
		if key == "" {
			return
		}
		got, _, err := readProperties([]byte("# before\n" + escapedProperty(key) + "=" + escapedProperty(value) + "\n"))
		if err != nil || len(got) != 1 || got[0] != (entry{key, value, 2}) {
			t.Errorf("%q=%q: got %v, %v", key, value, got, err)
		}
	})
}

// escapedProperty writes every UTF-16 unit as \uXXXX.
func escapedProperty(s string) string {
	var b strings.Builder
	for _, unit := range utf16.Encode([]rune(s)) {
		fmt.Fprintf(&b, `\u%04x`, unit)
	}
	return b.String()
}
