package hop

import "testing"

func TestCut(t *testing.T) {
	for _, c := range []struct {
		topic, separator, alias, rest string
		ok                            bool
	}{
		{"a.t", ".", "a", "t", true},
		{"b.a.t", ".", "b", "a.t", true},
		{"a__b_t", "__", "a", "b_t", true},
		{".a", ".", "", "a", true},
		{"a..b", ".", "a", ".b", true},
		{"a___", "__", "a", "_", true},
		{"t", ".", "", "", false},
		{"", ".", "", "", false},
		{"a.", ".", "", "", false},
		{"a..", ".", "", "", false},
		{"..", ".", "", "", false},
	} {
		alias, rest, ok := Cut(c.topic, c.separator)
		if alias != c.alias || rest != c.rest || ok != c.ok {
			t.Errorf("Cut(%q, %q) = %q, %q, %v", c.topic, c.separator, alias, rest, ok)
		}
		if ok && Add(alias, c.separator, rest) != c.topic {
			t.Errorf("Add does not undo Cut of %q", c.topic)
		}
	}
}
