package kafka

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"syscall"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// Error is a failure to talk to a cluster, in words a person can act on.
type Error struct {
	Cluster string // alias
	Addr    string // host:port where known
	Op      string // what was tried: "connect", "tls", "login", "request"
	Err     error  // as it came
	Cause   string // what is wrong
	Remedy  string // what to do; "" when waiting is all there is
	// Fatal tells a mistake in a configuration, ours or the cluster's, from an
	// outage: it does not heal by waiting.
	Fatal bool
	// Rejects tells what the two sides do not accept of each other; "": they are
	// not at odds, or nobody knows.
	Rejects Rejection
}

// Rejection is what a person must give us, or the cluster, before we are served.
type Rejection string

// The kinds of rejection.
const (
	RejectsPassword      Rejection = "password"      // the login, whatever of it is wrong
	RejectsCertificate   Rejection = "certificate"   // ours or the broker's
	RejectsAuthorization Rejection = "authorization" // a right is missing
)

// Rejections are all kinds.
var Rejections = []Rejection{RejectsPassword, RejectsCertificate, RejectsAuthorization}

func (e *Error) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "cluster %q: %s", e.Cluster, e.Op)
	if e.Addr != "" {
		b.WriteString(" " + e.Addr)
	}
	b.WriteString(": " + e.Cause)
	if e.Remedy != "" {
		b.WriteString("; " + e.Remedy)
	}
	s := e.Err.Error()
	if first := new(kgo.ErrFirstReadEOF); errors.As(e.Err, &first) {
		s = first.Unwrap().Error() // kgo's guess at the cause is in ours
	}
	if !strings.Contains(e.Cause, s) {
		b.WriteString(" (" + s + ")")
	}
	return b.String()
}

func (e *Error) Unwrap() error { return e.Err }

// Explain turns an error of a cluster's client into an *Error. nil, an *Error
// and context.Canceled, which explains itself, come back as they are.
func Explain(alias string, err error) error {
	var e *Error
	if err == nil || errors.As(err, &e) || errors.Is(err, context.Canceled) {
		return err
	}
	return explain(alias, err)
}

// explain asks the narrow explanations before the wide ones: an EOF within a
// TLS handshake is about TLS, one without is about the network.
func explain(alias string, err error) *Error {
	for _, f := range []func(error) *Error{explainCrowded, explainLogin, explainFile, explainCertificate, explainTLS, explainDial, explainStream} {
		if e := f(err); e != nil {
			e.Cluster, e.Err = alias, err
			if e.Addr == "" {
				e.Addr = address(err)
			}
			if e.Op == "connect" && errors.As(err, new(*advertisedError)) {
				e.Cause += ", and the brokers advertise this address: it is not in bootstrap_servers"
				e.Remedy = "check the brokers' advertised.listeners: it must be an address that is reached from here; else " + e.Remedy
			}
			return e
		}
	}
	return &Error{Cluster: alias, Addr: address(err), Op: "request", Err: err, Cause: err.Error()}
}

// address digs the broker's address out of err.
func address(err error) string {
	var h *handshakeError
	if errors.As(err, &h) {
		return h.addr
	}
	var op *net.OpError
	if errors.As(err, &op) && op.Op == "dial" && op.Addr != nil {
		return op.Addr.String()
	}
	return ""
}

// explainCrowded is about a broker that takes some of our connections and no more.
func explainCrowded(err error) *Error {
	var c *crowdedError
	if !errors.As(err, &c) {
		return nil
	}
	return &Error{
		Op: "connect", Addr: c.addr,
		Cause:  fmt.Sprintf("the broker closes new connections, while %d from here are in use", c.open),
		Remedy: "if it stays so raise max.connections.per.ip or max.connections of the broker, or set connections: 1 for the cluster, to need fewer",
	}
}

// mechanismError adds to UNSUPPORTED_SASL_MECHANISM what the broker would take.
type mechanismError struct {
	asked   string
	offered []string // empty when it did not say
	err     error
}

func (e *mechanismError) Error() string { return e.err.Error() }
func (e *mechanismError) Unwrap() error { return e.err }

func explainLogin(err error) *Error {
	e := &Error{Op: "login", Fatal: true, Rejects: RejectsPassword}
	var login *LoginError
	var mech *mechanismError
	switch {
	case errors.As(err, &login):
		e.Cause = "the broker does not keep to the " + login.Mechanism + " protocol or does not know the password"
		e.Remedy = "check bootstrap_servers: this may not be the cluster you mean; iteration counts must be from 4096 to 1048576"
	case errors.As(err, &mech) && len(mech.offered) > 0:
		e.Cause = fmt.Sprintf("the broker does not offer %s, it offers %s", mech.asked, strings.Join(mech.offered, ", "))
		e.Remedy = "set sasl.mechanism to one of these"
	case errors.Is(err, kerr.UnsupportedSaslMechanism):
		e.Cause = "the broker does not offer this SASL mechanism on this port"
		e.Remedy = "set sasl.mechanism to what the cluster offers"
	case errors.Is(err, kerr.SaslAuthenticationFailed):
		e.Cause = "the broker refused the user name or the password"
		e.Remedy = "check sasl.username, sasl.password and that the user exists for this sasl.mechanism"
	case errors.Is(err, kerr.IllegalSaslState):
		e.Cause = "the broker expects no SASL login on this port"
		e.Remedy = "remove sasl or use the port of a SASL listener"
	case Denied(err):
		e.Op, e.Rejects = "request", RejectsAuthorization
		e.Cause = "the user is logged in but not allowed to do this"
		e.Remedy = "grant the right with an ACL"
	default:
		return nil
	}
	return e
}

// Denied tells that a right is missing.
func Denied(err error) bool {
	for _, a := range []error{kerr.ClusterAuthorizationFailed, kerr.TopicAuthorizationFailed, kerr.GroupAuthorizationFailed, kerr.TransactionalIDAuthorizationFailed} {
		if errors.Is(err, a) {
			return true
		}
	}
	return false
}

// explainFile is about our own files. They were good when the cluster was
// opened, so someone is exchanging them and it heals.
func explainFile(err error) *Error {
	var f *fileError
	if !errors.As(err, &f) {
		return nil
	}
	return &Error{Op: "tls", Cause: f.Error(), Remedy: "put a readable PEM file there; it is read again for each connection"}
}

func explainCertificate(err error) *Error {
	e := &Error{Op: "tls", Fatal: true, Rejects: RejectsCertificate}
	var (
		authority x509.UnknownAuthorityError
		host      x509.HostnameError
		invalid   x509.CertificateInvalidError
		verify    *tls.CertificateVerificationError
	)
	switch {
	case errors.As(err, &authority):
		e.Cause = "the broker's certificate is signed by an authority that is not trusted here"
		e.Remedy = "set tls.ca_file to the authority's certificate (PEM)"
	case errors.As(err, &host):
		e.Cause = "the broker's certificate is for another name than " + host.Host
		e.Remedy = "set tls.server_name to a name in the certificate, or use such a name in bootstrap_servers and the brokers' advertised.listeners"
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		e.Cause = "the broker's certificate has expired or is not valid yet"
		e.Remedy = "renew it on the broker, and check the clock here"
	case errors.As(err, &verify):
		e.Cause = "the broker's certificate is not acceptable"
		e.Remedy = "have it issued anew for the broker"
	default:
		return nil
	}
	return e
}

// TLS alerts that a broker sends about our certificate (RFC 8446, section 6).
const (
	alertHandshakeFailure = tls.AlertError(40)
	alertBadCertificate   = tls.AlertError(42)
	alertExpired          = tls.AlertError(45)
	alertUnknown          = tls.AlertError(46)
	alertUnknownCA        = tls.AlertError(48)
	alertRequired         = tls.AlertError(116)
)

func explainTLS(err error) *Error {
	e := &Error{Op: "tls", Fatal: true}
	var (
		op        *net.OpError
		record    tls.RecordHeaderError
		handshake *handshakeError
	)
	switch {
	case errors.As(err, &op) && op.Op == "remote error": // crypto/tls, for an alert of the other side
		explainAlert(e, op.Err.Error())
	case errors.As(err, &record):
		e.Cause = "the broker does not speak TLS on this port"
		e.Remedy = "use the port of a TLS listener, or set tls.enabled to false"
	case errors.As(err, &handshake) && isBroken(err):
		e.Fatal = false // so it also looks when a broker behind a load balancer is down
		e.Cause = "the broker closed the connection during the TLS handshake"
		e.Remedy = "if it stays so the port is a plaintext one: use the port of a TLS listener, or set tls.enabled to false"
	case errors.As(err, &handshake) && isTimeout(err):
		e.Fatal = false
		e.Cause = "the broker did not finish the TLS handshake in time"
		e.Remedy = "if it stays so the port is a plaintext one: use the port of a TLS listener, or set tls.enabled to false"
	case strings.Contains(err.Error(), "tls alert record"): // kgo has no type for it
		e.Cause = "the broker speaks TLS on this port, we do not"
		e.Remedy = "set tls.enabled to true"
	default:
		return nil
	}
	return e
}

// explainAlert goes by the alert's text, since crypto/tls keeps its type to itself.
func explainAlert(e *Error, text string) {
	e.Cause, e.Rejects = "the broker ended the TLS handshake", RejectsCertificate
	switch text {
	case alertRequired.Error(), alertBadCertificate.Error(), alertHandshakeFailure.Error():
		e.Cause = "the broker wants a client certificate that it trusts, or shares no TLS version or cipher with us"
		e.Remedy = "set tls.cert_file and tls.key_file to a certificate from an authority that the broker trusts"
	case alertUnknown.Error(): // a broker in Java says this of an expired one too
		e.Cause = "the broker does not trust our client certificate, or it has expired"
		e.Remedy = "renew tls.cert_file if it has, it is read again for each connection; else use one from an authority in the broker's truststore"
	case alertUnknownCA.Error():
		e.Cause = "the broker does not trust our client certificate"
		e.Remedy = "use a tls.cert_file from an authority in the broker's truststore"
	case alertExpired.Error():
		e.Cause = "our client certificate has expired"
		e.Remedy = "renew tls.cert_file; it is read again for each connection"
	default:
		e.Rejects = ""
		e.Remedy = "check the TLS settings of the listener"
	}
}

// explainDial is about connections that were never made.
func explainDial(err error) *Error {
	e := &Error{Op: "connect"}
	var dns *net.DNSError
	var op *net.OpError
	switch {
	case errors.As(err, &dns) && dns.IsNotFound:
		e.Cause = fmt.Sprintf("the name %s is not known to DNS", dns.Name)
		e.Remedy = "check bootstrap_servers and the brokers' advertised.listeners"
	case errors.As(err, &dns):
		e.Cause = fmt.Sprintf("DNS gave no answer for %s", dns.Name)
		e.Remedy = "check the resolver of this machine"
	case errors.Is(err, syscall.ECONNREFUSED):
		e.Cause = "nothing listens there"
		e.Remedy = "is the broker running, and is the port right?"
	case errors.Is(err, syscall.EHOSTUNREACH) || errors.Is(err, syscall.ENETUNREACH):
		e.Cause = "there is no route to the broker"
		e.Remedy = "check network and firewall"
	case errors.As(err, &op) && op.Op == "dial" && op.Timeout():
		e.Cause = "the broker did not accept a connection in time"
		e.Remedy = "check the address and the firewall, which may be dropping packets"
	default:
		return nil
	}
	return e
}

// explainStream is about connections that broke or fell silent. What they say
// is a guess, so none is fatal.
func explainStream(err error) *Error {
	e := &Error{Op: "request"}
	var first *kgo.ErrFirstReadEOF
	switch {
	case errors.As(err, &first) && strings.Contains(first.Error(), "api versions"):
		e.Op = "connect"
		e.Cause = "the broker closed the connection at our first request"
		e.Remedy = "if it stays so the port is a TLS one: set tls.enabled to true"
	case errors.As(err, &first):
		e.Cause = "the broker closed the connection unasked"
		e.Remedy = "if it stays so it wants a login: set sasl"
	case strings.Contains(err.Error(), "'HTTP' in ascii"): // kgo has no type for it
		e.Op = "connect"
		e.Fatal = true
		e.Cause = "an HTTP server answers on this port"
		e.Remedy = "use the port of a Kafka listener"
	case isTimeout(err):
		e.Cause = "no answer in time"
		e.Remedy = "check the address and the firewall; the broker may be overloaded"
	case isBroken(err):
		e.Cause = "the connection broke"
		e.Remedy = "if it stays so check the tls and sasl settings against the listener and the broker's log"
	default:
		return nil
	}
	return e
}

func isTimeout(err error) bool {
	return errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, context.DeadlineExceeded)
}

func isBroken(err error) bool {
	for _, b := range []error{io.EOF, io.ErrUnexpectedEOF, syscall.ECONNRESET, syscall.EPIPE, net.ErrClosed} {
		if errors.Is(err, b) {
			return true
		}
	}
	return false
}
