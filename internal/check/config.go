package check

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl"
	"github.com/twmb/franz-go/pkg/sasl/plain"
	"github.com/twmb/franz-go/pkg/sasl/scram"

	"github.com/kferry/kferry/config"
)

// FromConfig makes a Conn of a configured cluster, with TLS and SASL as franz-go does them by itself.
func FromConfig(c config.Cluster) (Conn, error) {
	conn := Plain(c.BootstrapServers...)
	if c.TLS.Enabled {
		conf, err := tlsConfig(c.TLS)
		if err != nil {
			return nil, fmt.Errorf("check: cluster %s: %w", c.Alias, err)
		}
		conn = append(conn, kgo.DialTLSConfig(conf))
	}
	auth := scram.Auth{User: c.SASL.Username, Pass: c.SASL.Password.Reveal()}
	var m sasl.Mechanism
	switch c.SASL.Mechanism {
	case "":
		return conn, nil
	case "PLAIN":
		m = plain.Auth{User: auth.User, Pass: auth.Pass}.AsMechanism()
	case "SCRAM-SHA-256":
		m = auth.AsSha256Mechanism()
	case "SCRAM-SHA-512":
		m = auth.AsSha512Mechanism()
	default:
		return nil, fmt.Errorf("check: cluster %s: mechanism %q: want PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512", c.Alias, c.SASL.Mechanism)
	}
	return append(conn, kgo.SASL(m)), nil
}

func tlsConfig(c config.TLS) (*tls.Config, error) {
	conf := &tls.Config{ServerName: c.ServerName, InsecureSkipVerify: c.InsecureSkipVerify} //nolint:gosec // as configured
	if c.CAFile != "" {
		pem, err := os.ReadFile(c.CAFile)
		if err != nil {
			return nil, err
		}
		conf.RootCAs = x509.NewCertPool()
		if !conf.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("%s holds no PEM certificate", c.CAFile)
		}
	}
	if c.CertFile != "" {
		cert, err := tls.LoadX509KeyPair(c.CertFile, c.KeyFile)
		if err != nil {
			return nil, err
		}
		conf.Certificates = []tls.Certificate{cert}
	}
	return conf, nil
}
