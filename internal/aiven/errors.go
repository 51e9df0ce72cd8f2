package aiven

import (
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"strings"
)

// Error is a request that Aiven did not answer as hoped.
type Error struct {
	Operation string // Aiven's name of it
	Status    int    // of HTTP; 0 = there was no answer
	Code      string // Aiven's error_code, mostly absent
	Text      string // what Aiven says, fit to be shown
	About     string // what it was about: service target-kafka
	Remedy    string // what a person can do
	Lasting   bool   // the same request again will not do better
	method    string
	cause     error
}

// Error gives what it was about, what Aiven says and the remedy.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString("Aiven: ")
	if e.About != "" {
		b.WriteString(e.About + ": ")
	}
	switch {
	case e.Status == 0:
		fmt.Fprintf(&b, "no answer to %s: %s", e.Operation, e.Text)
	default:
		fmt.Fprintf(&b, "%s (%s, %d)", e.Text, e.Operation, e.Status)
	}
	if e.Remedy != "" {
		b.WriteString(": " + e.Remedy)
	}
	return b.String()
}

// Unwrap gives what kept the answer away, if anything did.
func (e *Error) Unwrap() error { return e.cause }

// again says whether the request may be sent once more as it is.
func (e *Error) again(method string) bool {
	switch {
	case e.Status == http.StatusTooManyRequests:
		return true
	case method == http.MethodPost:
		// A service that was just made is not known everywhere at once; nothing was done.
		return e.Status == http.StatusNotFound && strings.Contains(e.Text, "does not exist") && strings.HasPrefix(e.Text, "Service ")
	case e.Status == http.StatusRequestTimeout:
		return true
	default:
		return e.Unclear()
	}
}

// Unclear says that the request may have been carried out all the same.
func (e *Error) Unclear() bool {
	return e.Status == 0 && !e.refusedByUs() || e.Status >= 500 || e.Status == http.StatusRequestTimeout
}

// refusedByUs is a certificate that this machine does not trust: nothing was sent.
func (e *Error) refusedByUs() bool {
	var unknown x509.UnknownAuthorityError
	var invalid x509.CertificateInvalidError
	var name x509.HostnameError
	return errors.As(e.cause, &unknown) || errors.As(e.cause, &invalid) || errors.As(e.cause, &name)
}

func statusOf(err error) int {
	var e *Error
	if errors.As(err, &e) {
		return e.Status
	}
	return 0
}

func isNotFound(err error) bool { return statusOf(err) == http.StatusNotFound }

// isThere says that what was to be made is there. Aiven answers 409 for other reasons too.
func isThere(err error) bool {
	var e *Error
	return errors.As(err, &e) && e.Status == http.StatusConflict && (strings.Contains(e.Text, "already exists") || strings.HasSuffix(e.Code, "already_exists"))
}

func isUnclear(err error) bool {
	var e *Error
	return errors.As(err, &e) && e.Unclear()
}

// about puts what a request was about, and the remedy, into its error.
func (c *Client) about(err error, about string) error {
	var e *Error
	if !errors.As(err, &e) {
		return err
	}
	if e.About == "" {
		e.About = about
	}
	if e.Remedy == "" {
		e.Remedy, e.Lasting = c.remedy(e)
	}
	return err
}

const goesOn = "what is done stays done, run it again and it goes on from there"

// remedy says what to do about an error, and whether a person must.
func (c *Client) remedy(e *Error) (string, bool) {
	text := strings.ToLower(e.Text)
	has := func(parts ...string) bool {
		for _, part := range parts {
			if strings.Contains(text, part) {
				return true
			}
		}
		return false
	}
	skew := c.Skew()
	switch {
	case e.refusedByUs():
		if skew == "" {
			skew = "check the clock of this machine, and whether something between it and Aiven opens TLS"
		}
		return skew, true
	case e.Status == 0 || e.Status >= 500:
		return "the API is away or could not be reached; " + goesOn, false
	case e.Status == http.StatusTooManyRequests:
		return "too many requests from this account; wait a minute, " + goesOn, false
	case e.Status == http.StatusUnauthorized:
		remedy := "the token is expired, revoked or mistyped: make a new one at the console (User information, Tokens) and set AIVEN_TOKEN; " + goesOn
		if skew != "" {
			remedy += ". Besides, " + skew
		}
		return remedy, true
	case has("quota", "limit of services", "service limit", "trial", "credit"):
		return "the project may not have more: delete what is not needed, or ask Aiven to raise the limit; " + goesOn, true
	case has("not available in cloud", "not available in the cloud", "plan ") && e.Status == http.StatusBadRequest:
		return "choose another plan or cloud in the section aiven; \"kferry aiven plan\" lists what is offered", true
	case e.Status == http.StatusForbidden && has("terminat"):
		return "set termination_protection: false and apply, or turn it off at the console, if it really is to go", true
	case e.Status == http.StatusForbidden:
		return "the token's user has no right to do this in project " + c.Project + ": give it the role operator or admin there", true
	case e.Status == http.StatusConflict && has("in use", "already exists"):
		return "somebody has that name already, perhaps in a state that is not shown yet: choose another in the section aiven, or try again in some minutes", true
	case e.Status == http.StatusNotFound && e.Operation == "ProjectGet":
		return "the token's user sees no project " + c.Project + ": check aiven.project, and whether the token belongs to a member of it", true
	case e.Status == http.StatusBadRequest:
		return "Aiven does not take what the section aiven asks for: correct what it names", true
	}
	return goesOn, false
}
