package config

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"
)

const reference = "../docs/config.reference.yaml"

// fillReference puts the reference and the files that it names into a folder.
func fillReference(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	text, err := os.ReadFile(reference)
	if err != nil {
		t.Fatal(err)
	}
	cert, key := keyPair(t)
	for name, content := range map[string][]byte{
		"kferry.yaml": text, "ca.pem": cert, "client.pem": cert, "client.key": key, "password.txt": []byte("from a file\n"),
		"token.txt": []byte("0123456789abcdef\n"),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return filepath.Join(dir, "kferry.yaml")
}

func keyPair(t *testing.T) (cert, key []byte) {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Unix(4e9, 0)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, k.Public(), k)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8})
}

func TestReferenceLoads(t *testing.T) {
	c, err := Load(fillReference(t), LoadOptions{Environ: []string{"CLOUDKARAFKA_PASSWORD=hunter2", "AIVEN_TOKEN=hunter3"}})
	if err != nil {
		t.Fatal(err)
	}
	if got := c.Clusters["cloudkarafka"].SASL.Password.Reveal(); got != "hunter2" {
		t.Errorf("got %q", got)
	}
	if got := c.Clusters["aiven"].SASL.Password.Reveal(); got != "from a file" {
		t.Errorf("got %q", got)
	}
	if got := c.Aiven.Token.Reveal(); got != "hunter3" {
		t.Errorf("got %q", got)
	}
	if got := c.HTTP.ActionsToken.Reveal(); got != "0123456789abcdef" {
		t.Errorf("got %q", got)
	}
}

// Every key is in the reference, below a comment that states its default and
// allowed values as the struct tags have them.
func TestReferenceDocumentsEveryKey(t *testing.T) {
	text, err := os.ReadFile(reference)
	if err != nil {
		t.Fatal(err)
	}
	var doc yaml.Node
	if err := yaml.Unmarshal(text, &doc); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(string(text), "\n")
	found := map[string]string{} // pattern of a key path to the comments above its first use
	visitKeys(doc.Content[0], configType, "", func(path string, line int) {
		if found[path] == "" {
			found[path] = commentAbove(lines, line-1)
		}
	})
	visitFields(configType, "", func(path string, f field) {
		comment := found[path]
		if strings.TrimSpace(comment) == "" {
			t.Errorf("%s is not in %s, or has no comment", path, reference)
			return
		}
		for _, choice := range f.choices {
			if !regexp.MustCompile(`\b` + choice + `\b`).MatchString(comment) {
				t.Errorf("%s: the comment does not name %s:\n%s", path, choice, comment)
			}
		}
		if least, most, ok := strings.Cut(f.limits, ".."); ok && (!strings.Contains(comment, least) || !strings.Contains(comment, most)) {
			t.Errorf("%s: the comment does not name the limits %s:\n%s", path, f.limits, comment)
		}
		if f.fallback != "" && f.fallback != "." && !strings.Contains(comment, "Default: "+f.fallback) && !strings.Contains(comment, "Default:\n"+f.fallback) {
			t.Errorf("%s: the comment does not name the default %s:\n%s", path, f.fallback, comment)
		}
	})
}

// commentAbove collects the comment block above a line, across the lines of keys
// that share it: "source" and "target" below one comment.
func commentAbove(lines []string, at int) string {
	var out []string
	for i := at - 1; i >= 0; i-- {
		text, isComment := strings.CutPrefix(strings.TrimLeft(lines[i], " -"), "#")
		switch {
		case isComment:
			out = append(out, strings.TrimSpace(text))
		case len(out) > 0 || strings.TrimSpace(lines[i]) == "":
			slices.Reverse(out)
			return strings.Join(out, "\n")
		}
	}
	slices.Reverse(out)
	return strings.Join(out, "\n")
}

func visitKeys(n *yaml.Node, t reflect.Type, at string, visit func(path string, line int)) {
	for i := 0; i+1 < len(n.Content) && n.Kind == yaml.MappingNode; i += 2 {
		f, ok := fieldOf(t, n.Content[i].Value)
		if !ok {
			continue // TestReferenceLoads would have told
		}
		visit(at+f.key, n.Content[i].Line)
		switch v := n.Content[i+1]; shapeOf(f.typ) {
		case table:
			visitKeys(v, f.typ, at+f.key+".", visit)
		case named:
			for j := 1; j < len(v.Content); j += 2 {
				visitKeys(v.Content[j], f.typ.Elem(), at+f.key+".*.", visit)
			}
		case tables:
			for _, item := range v.Content {
				visitKeys(item, f.typ.Elem(), at+f.key+".*.", visit)
			}
		}
	}
}

func visitFields(t reflect.Type, at string, visit func(path string, f field)) {
	for _, f := range fieldsOf(t) {
		switch shapeOf(f.typ) {
		case table:
			visitFields(f.typ, at+f.key+".", visit)
		case named, tables:
			visit(at+f.key, f)
			visitFields(f.typ.Elem(), at+f.key+".*.", visit)
		default:
			visit(at+f.key, f)
		}
	}
}

// Every exported field of the structs can be set, and every tag is sound.
func TestTags(t *testing.T) {
	visitFields(configType, "", func(path string, f field) {
		if f.key == "" {
			t.Errorf("%s has a field without a koanf tag", path)
		}
		if shapeOf(f.typ) != scalar {
			return
		}
		v := reflect.New(f.typ).Elem()
		least, most, _ := strings.Cut(f.limits, "..")
		for _, text := range append([]string{f.fallback, least, most}, f.choices...) {
			if text == "" {
				continue
			}
			if problem := scanText(text, v); problem != "" {
				t.Errorf("%s: tag value %q %s", path, text, problem)
			}
		}
		if f.fallback != "" && len(f.choices) > 0 && !slices.Contains(f.choices, f.fallback) {
			t.Errorf("%s: the default %s is not among the choices", path, f.fallback)
		}
	})
}

func TestKeyPairs(t *testing.T) {
	dir := filepath.Dir(fillReference(t))
	_, otherKey := keyPair(t)
	if err := os.WriteFile(filepath.Join(dir, "other.key"), otherKey, 0o600); err != nil {
		t.Fatal(err)
	}
	file := strings.Replace(twoClusters, `9092"] }`, `9092"], tls: { enabled: true, cert_file: client.pem, key_file: KEY } }`, 1)
	for key, want := range map[string]string{"client.key": "", "other.key": "private key does not match public key", "none.key": "no such file"} {
		_, err := Parse(filepath.Join(dir, "x.yaml"), []byte(strings.Replace(file, "KEY", key, 1)), LoadOptions{})
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: got %v, want %s", key, err, want)
		}
	}
}
