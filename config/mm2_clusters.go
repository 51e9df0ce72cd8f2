package config

import (
	"fmt"
	"path"
	"path/filepath"
	"regexp"
	"strings"
)

func (m *mm2Reader) findClusters() bool {
	e := m.first("clusters")
	if e == nil {
		m.errs = append(m.errs, Error{File: m.file, Key: "clusters", Problem: "is missing: list the aliases of the clusters"})
		return false
	}
	e.used = append(e.used, "clusters")
	m.warnOfComment(e)
	m.origins["clusters"] = origin{m.file, e.line, e.key}
	for _, alias := range javaList(e.plain) {
		if m.aliases[alias] {
			continue
		}
		m.aliases[alias] = true
		at := keyPath{"clusters", alias}
		m.origins[at.String()] = origin{m.file, e.line, alias}
		put(m.tree, at, map[string]any{})
		m.readCluster(alias, at)
	}
	return true
}

// client is the entry of a key of Kafka's clients for a cluster.
func (m *mm2Reader) client(alias, key string) *mm2Entry {
	return m.first(alias+"."+key, key)
}

func (m *mm2Reader) readCluster(alias string, at keyPath) {
	if e := m.client(alias, "bootstrap.servers"); e != nil {
		m.setList(e, at.child("bootstrap_servers"))
	} else {
		m.missing(alias+".bootstrap.servers", at.child("bootstrap_servers"), "is missing: give at least one broker as host:port")
	}
	m.setText(m.first(alias+".client.id"), at.child("client_id"))
	protocol := "PLAINTEXT"
	e := m.client(alias, "security.protocol")
	if e != nil {
		protocol = strings.ToUpper(strings.TrimSpace(e.text))
	}
	encrypt := at.child("tls").child("enabled")
	switch protocol {
	case "PLAINTEXT", "SASL_PLAINTEXT":
		m.setProtocol(e, encrypt, "false")
	case "SSL", "SASL_SSL":
		m.setProtocol(e, encrypt, "true")
		m.readTLS(alias, at.child("tls"))
	default:
		m.refuse(e, encrypt, e.text, "is not allowed: it must be one of PLAINTEXT, SSL, SASL_PLAINTEXT, SASL_SSL%s", commentHint(e.text))
	}
	if strings.HasPrefix(protocol, "SASL_") {
		m.readSASL(alias, at.child("sasl"))
	}
}

func (m *mm2Reader) setProtocol(e *mm2Entry, p keyPath, encrypted string) {
	if e != nil {
		m.set(e, p, encrypted)
	}
}

func (m *mm2Reader) readTLS(alias string, at keyPath) {
	ca, pair := at.child("ca_file"), at.child("cert_file")
	for _, inline := range []struct {
		key string
		p   keyPath
	}{{"ssl.truststore.certificates", ca}, {"ssl.keystore.certificate.chain", pair}, {"ssl.keystore.key", at.child("key_file")}} {
		if e := m.client(alias, inline.key); e != nil {
			m.refuse(e, inline.p, "", "has PEM text, which kferry takes from a file only: write it there, and give ssl.%s.location and ssl.%s.type=PEM",
				strings.Split(inline.key, ".")[1], strings.Split(inline.key, ".")[1])
		}
	}
	if e := m.store(alias, "ssl.truststore", ca, "keytool -list -rfc -keystore %s > ca.pem", "ca.pem"); e != nil {
		m.setFile(e, ca)
	}
	e := m.store(alias, "ssl.keystore", pair, "keytool -importkeystore -srckeystore %s -destkeystore client.p12 -deststoretype PKCS12, then "+
		"openssl pkcs12 -in client.p12 -nodes -out client.pem", "client.pem")
	if e == nil {
		return
	}
	m.setFile(e, pair)
	m.setFile(e, at.child("key_file"))
	if secret := m.client(alias, "ssl.key.password"); secret != nil {
		m.refuse(secret, at.child("key_file"), "", "is for an encrypted private key, which kferry cannot read: "+
			"openssl pkey -in %s -out client.key writes it plain; put that and the certificates into one file, readable by kferry alone", e.plain)
	}
}

// store is the location of a PEM file with keys or certificates; nil when there
// is none, or one of another type, which is told with the command that makes a PEM file.
func (m *mm2Reader) store(alias, key string, at keyPath, command, pem string) *mm2Entry {
	location, kind := m.client(alias, key+".location"), m.client(alias, key+".type")
	if location == nil || strings.TrimSpace(location.plain) == "" {
		return nil
	}
	is := "JKS, MirrorMaker 2's default"
	if kind != nil {
		is = strings.TrimSpace(kind.plain)
		kind.used = append(kind.used, at.String())
	}
	if is == "PEM" {
		return location
	}
	m.refuse(location, at, "", "is of type %s, and kferry reads PEM: %s makes one; then give %s.location=%s and %s.type=PEM",
		is, fmt.Sprintf(command, location.plain), key, pem, key)
	return nil
}

// setFile puts a file name.
func (m *mm2Reader) setFile(e *mm2Entry, p keyPath) {
	m.setText(e, p)
	if name := strings.TrimSpace(e.plain); !filepath.IsAbs(name) {
		m.note(e, Replaced, "a relative name is looked for beside this file, where MirrorMaker 2 takes its working directory")
	}
}

func (m *mm2Reader) readSASL(alias string, at keyPath) {
	if e := m.client(alias, "sasl.mechanism"); e != nil {
		m.setText(e, at.child("mechanism"))
	} else {
		m.missing(alias+".sasl.mechanism", at.child("mechanism"),
			"is missing, and MirrorMaker 2's default, GSSAPI, is not available: it must be one of PLAIN, SCRAM-SHA-256, SCRAM-SHA-512")
	}
	password := at.child("password")
	e := m.client(alias, "sasl.jaas.config")
	if e == nil {
		m.lost[at.String()] = true
		m.missing(alias+".sasl.jaas.config", password, "is missing: "+jaasForm)
		return
	}
	given, problem := parseJAAS(e.plain)
	if e.broken || problem != "" {
		m.lost[at.String()] = true
		if !e.broken {
			m.refuse(e, password, "", "%s", problem)
		}
		e.used = append(e.used, at.String())
		return
	}
	if file, ok := m.passwordFile(e); ok {
		m.set(e, at.child("password_file"), file)
	} else if m.references {
		m.set(e, password, m.secretReference(alias, e, password))
	} else {
		m.set(e, password, given.options["password"])
	}
	username := given.options["username"]
	if m.references {
		username = asFileValue(username)
		if kept, problem := parseJAAS(e.text); problem == "" {
			username = kept.options["username"]
		}
	}
	m.set(e, at.child("username"), username)
}

// passwordFile is the file with nothing but the password, where a DirectoryConfigProvider gives it.
func (m *mm2Reader) passwordFile(e *mm2Entry) (string, bool) {
	raw, problem := parseJAAS(e.value)
	if problem != "" {
		return "", false
	}
	ref, ok := m.wholeReference(raw.options["password"])
	return path.Join(ref.path, ref.key), ok && ref.class == directoryProvider
}

var variableReference = regexp.MustCompile(`^\$\{[A-Za-z_][A-Za-z0-9_]*\}$`)

// secretReference is what stands for a password in a converted file, never the password.
func (m *mm2Reader) secretReference(alias string, e *mm2Entry, p keyPath) string {
	if kept, problem := parseJAAS(e.text); problem == "" && variableReference.MatchString(kept.options["password"]) {
		return kept.options["password"]
	}
	name := "CLUSTERS_" + variableWord(alias) + "_PASSWORD"
	for m.placeholders[name] != "" {
		name += "_"
	}
	m.placeholders[name] = p.String()
	return "${" + name + "}"
}
