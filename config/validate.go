package config

import (
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
)

var nameChars = regexp.MustCompile(`^[a-zA-Z0-9._-]+$`)

// maxAlias leaves room for two aliases in a flow's name and for that in a topic name.
const maxAlias = 100

// validate checks what one value alone does not show, and fills in what follows
// from other values: aliases, flow names, passwords from files, file names.
func validate(r *report, c *Config, path string) {
	if len(c.Clusters) == 0 {
		r.require(keyPath{"clusters"}, "is missing: name the source and the target cluster")
	}
	for _, alias := range sortedKeys(c.Clusters) {
		cl := c.Clusters[alias]
		cl.Alias = alias
		checkCluster(r, &cl, keyPath{"clusters", alias}, filepath.Dir(path), alias == c.Aiven.Cluster)
		c.Clusters[alias] = cl
	}
	checkHTTP(r, &c.HTTP, keyPath{"http"}, filepath.Dir(path))
	checkFlows(r, c)
	checkAiven(r, c, filepath.Dir(path))
}

// leastToken is the least length of a token: what is shorter can be guessed over the
// network.
const leastToken = 16

func checkHTTP(r *report, h *HTTP, at keyPath, dir string) {
	checkListen(r, h.Listen, at.child("listen"))
	h.ActionsTokenFile = beside(dir, h.ActionsTokenFile)
	readSecret(r, &h.ActionsToken, h.ActionsTokenFile, at, "actions_token")
	token := h.ActionsToken.Reveal()
	if token == "" {
		return
	}
	given := at.child("actions_token")
	if h.ActionsTokenFile != "" {
		given = at.child("actions_token" + fileSuffix)
	}
	switch {
	case len(token) < leastToken:
		r.add(given, "", "has fewer than %d characters: take a random one, as \"openssl rand -hex 20\" makes", leastToken)
	case strings.ContainsFunc(token, func(c rune) bool { return c <= ' ' || c > '~' }):
		r.add(given, "", "has characters that an HTTP header cannot carry: letters, digits and ASCII signs are allowed")
	}
}

func checkListen(r *report, listen string, at keyPath) {
	if listen == "" || listen == "off" {
		return
	}
	if host, problem := splitAddress(listen, 0); problem != "" {
		r.add(at, listen, "%s, or off for no server", problem)
	} else if host != "" && !hostChars.MatchString(host) && !isIP(host) {
		r.add(at, listen, "has a host that is neither a name nor an IP address")
	}
}

// checkCluster checks one cluster; that of a service which is still to be made has no address yet.
func checkCluster(r *report, c *Cluster, at keyPath, dir string, atAiven bool) {
	if !nameChars.MatchString(c.Alias) || len(c.Alias) > maxAlias {
		r.add(at, "", "is not a usable alias: allowed are a-z A-Z 0-9 . _ - and at most %d of them", maxAlias)
	}
	servers := at.child("bootstrap_servers")
	if len(c.BootstrapServers) == 0 && !r.failedBelow(servers) && !atAiven {
		r.require(servers, "is missing: give at least one broker as host:port")
	}
	for i, s := range c.BootstrapServers {
		checkBootstrap(r, s, servers.item(i))
	}
	if c.ClientID == "" {
		r.require(at.child("client_id"), "is empty: leave the key out for kferry")
	}
	if v := c.MaxVersions; v != "" && !kafkaVersion.MatchString(v) {
		r.add(at.child("max_versions"), v, "must be a version of Kafka from 0.11.0 on, such as \"3.7\"")
	}
	checkTLS(r, &c.TLS, at.child("tls"), dir)
	checkSASL(r, &c.SASL, at.child("sasl"), dir)
	checkRegistry(r, &c.SchemaRegistry, at.child("schema_registry"), dir)
}

// kafkaVersion is a version from the first on that has what exactly-once writing needs.
var kafkaVersion = regexp.MustCompile(`^(0\.11\.0|[1-9]\.[0-9]+)$`)

var hostChars = regexp.MustCompile(`^[a-zA-Z0-9_]([a-zA-Z0-9._-]*[a-zA-Z0-9_.])?$`)

func checkBootstrap(r *report, address string, at keyPath) {
	if scheme, _, ok := strings.Cut(address, "://"); ok {
		r.add(at, address, "must be host:port without %s://, tls and sasl say how to connect", scheme)
		return
	}
	if strings.Contains(address, ",") {
		r.add(at, address, "must be one host:port: write a list item for each broker")
		return
	}
	host, problem := splitAddress(address, 1)
	switch {
	case strings.Contains(address, "@"): // perhaps with a password before it
		r.add(at, "", "must be host:port without a user")
	case problem != "":
		r.add(at, address, "%s", problem)
	case !hostChars.MatchString(host) && !isIP(host):
		r.add(at, address, "has a host that is neither a name nor an IP address")
	}
}

// splitAddress takes host:port or [IPv6]:port apart and checks the port.
func splitAddress(address string, leastPort int) (host, problem string) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return "", "must be host:port, or [address]:port for IPv6"
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil || int(n) < leastPort {
		return "", fmt.Sprintf("must be host:port with a port from %d to 65535", leastPort)
	}
	return host, ""
}

func isIP(host string) bool {
	_, err := netip.ParseAddr(host)
	return err == nil
}

func checkTLS(r *report, t *TLS, at keyPath, dir string) {
	if !t.Enabled && !r.isSet(at.child("enabled")) {
		for _, f := range []struct {
			key string
			set bool
		}{
			{"ca_file", t.CAFile != ""}, {"cert_file", t.CertFile != ""}, {"key_file", t.KeyFile != ""},
			{"server_name", t.ServerName != ""}, {"insecure_skip_verify", t.InsecureSkipVerify},
		} {
			if f.set {
				r.require(at.child("enabled"), "is missing beside %s: set it to true, or to false for plaintext", f.key)
				break
			}
		}
	}
	for _, file := range []*string{&t.CAFile, &t.CertFile, &t.KeyFile} {
		*file = beside(dir, *file)
	}
	if strings.ContainsAny(t.ServerName, ":/ ") {
		r.add(at.child("server_name"), t.ServerName, "must be a host name alone, as in the certificate")
	}
	checkCA(r, t.CAFile, at.child("ca_file"))
	checkKeyPair(r, t.CertFile, t.KeyFile, at)
}

func checkSASL(r *report, s *SASL, at keyPath, dir string) {
	s.PasswordFile = beside(dir, s.PasswordFile)
	readSecret(r, &s.Password, s.PasswordFile, at, "password")
	if s.Mechanism == "" {
		if s.Username != "" || s.Password != "" {
			r.require(at.child("mechanism"), "is missing beside username and password: it must be one of PLAIN, SCRAM-SHA-256, SCRAM-SHA-512")
		}
		return
	}
	if r.failed[at.child("mechanism").String()] {
		return
	}
	if s.Username == "" {
		r.require(at.child("username"), "is missing: mechanism %s needs it", s.Mechanism)
	}
	if s.Password == "" && !r.failed[at.child("password_file").String()] {
		r.require(at.child("password"), "is missing: mechanism %s needs password or password_file", s.Mechanism)
	}
}

func checkRegistry(r *report, s *Registry, at keyPath, dir string) {
	s.PasswordFile = beside(dir, s.PasswordFile)
	readSecret(r, &s.Password, s.PasswordFile, at, "password")
	u, err := url.Parse(s.URL)
	switch {
	case s.URL == "" && (s.Username != "" || s.Password != ""):
		r.require(at.child("url"), "is missing beside username and password: it is the address of the registry")
	case s.URL == "":
	case err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http":
		r.add(at.child("url"), "", "must be http:// or https:// with a host")
	case u.User != nil:
		r.add(at.child("url"), "", "must be without a user: give username and password as keys of their own")
	case u.Scheme == "http" && s.Password != "" && !isLoopback(u):
		r.add(at.child("url"), s.URL, "must be https://: the password would be readable on the way")
	case (s.Username == "") != (s.Password == "") && !r.failed[at.child("password_file").String()]:
		r.require(at, "has only one of username and password: give both, or none")
	}
}

// beside makes a file name relative to the folder of the configuration.
func beside(dir, file string) string {
	if file == "" || filepath.IsAbs(file) {
		return file
	}
	return filepath.Join(dir, file)
}
