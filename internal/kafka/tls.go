package kafka

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"time"

	"github.com/kferry/kferry/config"
)

// Dial and TLS handshake together may take this long.
const dialTimeout = 10 * time.Second

// DialFunc opens a plain TCP connection; TLS is added on top of it.
type DialFunc func(ctx context.Context, network, addr string) (net.Conn, error)

// dialer opens a cluster's connections, with TLS when that is enabled.
type dialer struct {
	tls   config.TLS
	dial  DialFunc
	conns *conns
}

// newDialer checks that the files of c can be used now, so that a wrong path is
// an error of the start and not of the first connection.
func newDialer(c config.TLS, dial DialFunc, conns *conns, log *slog.Logger) (*dialer, error) {
	if dial == nil {
		dial = new(net.Dialer).DialContext
	}
	d := &dialer{tls: c, dial: dial, conns: conns}
	if !c.Enabled {
		return d, nil
	}
	if _, err := tlsConfig(c, ""); err != nil {
		return nil, err
	}
	if c.InsecureSkipVerify {
		log.Warn("tls.insecure_skip_verify is set: anybody between here and the brokers can read and change all data and take the password")
	}
	return d, nil
}

// open returns a connection to addr (host:port), its TLS handshake done.
func (d *dialer) open(ctx context.Context, network, addr string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	conn, err := d.dial(ctx, network, addr)
	if err != nil || !d.tls.Enabled {
		return conn, err
	}
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		host = addr
	}
	c, err := tlsConfig(d.tls, host)
	if err != nil {
		return nil, errors.Join(&handshakeError{addr, err}, conn.Close())
	}
	t := tls.Client(conn, c)
	if err := t.HandshakeContext(ctx); err != nil {
		_ = conn.Close() // the handshake's error is the one that tells
		return nil, &handshakeError{addr, d.conns.ended(conn.RemoteAddr().String(), err)}
	}
	return t, nil
}

// tlsConfig reads the files of c anew, for every connection: certificates are
// rotated in place and a long-running daemon has to pick them up. host is the
// name to verify unless c has one.
func tlsConfig(c config.TLS, host string) (*tls.Config, error) {
	t := &tls.Config{
		MinVersion:         tls.VersionTLS12,
		ServerName:         c.ServerName,
		InsecureSkipVerify: c.InsecureSkipVerify, // warned about in newDialer
	}
	if t.ServerName == "" {
		t.ServerName = host
	}
	if c.CAFile != "" {
		pem, err := os.ReadFile(c.CAFile)
		if err != nil {
			return nil, &fileError{"tls.ca_file", err}
		}
		t.RootCAs = x509.NewCertPool()
		if !t.RootCAs.AppendCertsFromPEM(pem) {
			return nil, &fileError{"tls.ca_file", fmt.Errorf("%s holds no PEM certificate", c.CAFile)}
		}
	}
	if (c.CertFile == "") != (c.KeyFile == "") {
		return nil, &fileError{"tls", errors.New("cert_file and key_file need each other")}
	}
	if c.CertFile != "" {
		pair, err := tls.LoadX509KeyPair(c.CertFile, c.KeyFile)
		if err != nil {
			return nil, &fileError{"tls.cert_file, tls.key_file", err}
		}
		t.Certificates = []tls.Certificate{pair}
	}
	return t, nil
}

// handshakeError is a failure between the TCP connection and the first Kafka
// byte; it tells Explain that the trouble is TLS even where err is a bare EOF.
type handshakeError struct {
	addr string
	err  error
}

func (e *handshakeError) Error() string {
	return fmt.Sprintf("tls handshake with %s: %v", e.addr, e.err)
}
func (e *handshakeError) Unwrap() error { return e.err }

// fileError is a certificate or key file that cannot be used.
type fileError struct {
	key string // of the configuration
	err error
}

func (e *fileError) Error() string { return e.key + ": " + e.err.Error() }
func (e *fileError) Unwrap() error { return e.err }
