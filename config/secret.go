package config

import (
	"fmt"
	"io"
)

const redacted = "[redacted]"

// Secret is a text that no formatting, marshalling or logging shows. The empty
// Secret prints as "", so that "no password" can be told from "a password".
type Secret string

// Reveal gives the value. Only the code that authenticates calls it.
func (s Secret) Reveal() string { return string(s) }

// String gives "[redacted]", or "" for the empty secret.
func (s Secret) String() string {
	if s == "" {
		return ""
	}
	return redacted
}

// GoString covers %#v outside of package fmt.
func (s Secret) GoString() string { return fmt.Sprintf("%q", s.String()) }

// Format covers every verb: a Stringer alone would still leak through a verb
// that does not suit a string, for fmt prints %!d(config.Secret=value) then.
func (s Secret) Format(f fmt.State, verb rune) {
	if verb == 'q' || verb == 'v' && f.Flag('#') {
		_, _ = io.WriteString(f, s.GoString())
		return
	}
	_, _ = io.WriteString(f, s.String())
}

// MarshalText covers JSON and YAML.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }
