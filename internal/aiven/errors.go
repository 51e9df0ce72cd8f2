package aiven

import (
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"
)

// Error is a request that Aiven did not answer as hoped.
type Error struct {
	Operation string        // Aiven's name of it
	Status    int           // of HTTP; 0 = there was no answer
	Code      string        // Aiven's error_code, mostly absent
	Text      string        // what Aiven says, fit to be shown
	About     string        // what it was about: service target-kafka
	Remedy    string        // what a person can do
	Lasting   bool          // the same request again will not do better
	After     time.Duration // how long Aiven wants to be left alone
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
	if e.Status == 0 {
		fmt.Fprintf(&b, "no answer to %s: %s", e.Operation, e.Text)
	} else {
		fmt.Fprintf(&b, "%s (%s, %d)", e.Text, e.Operation, e.Status)
	}
	if e.Remedy != "" {
		b.WriteString(": " + e.Remedy)
	}
	return b.String()
}

// Unwrap gives what kept the answer away, if anything did.
func (e *Error) Unwrap() error { return e.cause }

// RetryAfter is how long to wait before anything is asked again, at least.
func (e *Error) RetryAfter() time.Duration { return e.After }

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

// goesOn is said wherever a command can be run again.
const goesOn = "what is done stays done, run it again and it goes on from there"

// A remedy is what a person can do about an answer. The first that fits counts.
type remedy struct {
	status    int // 0 = any of 400 and above
	operation string
	parts     []string // one of them is in the text, in lower case; none = any text
	text      string
	lasting   bool
}

var remedies = []remedy{
	{http.StatusTooManyRequests, "", nil, "too many requests from this account; wait a minute, " + goesOn, false},
	{http.StatusUnauthorized, "", nil, "the token is expired, revoked or mistyped: make a new one at the console (User information, Tokens) and set AIVEN_TOKEN; " + goesOn, true},
	{0, "", []string{"quota", "limit of services", "service limit", "trial", "credit"},
		"the project may not have more: delete what is not needed, or ask Aiven to raise the limit; " + goesOn, true},
	{http.StatusBadRequest, "", []string{"not available in cloud", "not available in the cloud", "plan "},
		"choose another plan or cloud in the section aiven; \"kferry aiven plan\" lists what is offered", true},
	{http.StatusForbidden, "", []string{"terminat"}, "set termination_protection: false and apply, or turn it off at the console, if it really is to go", true},
	{http.StatusForbidden, "", nil, "the token's user has no right to do this in the project: give it the role operator or admin there", true},
	{http.StatusConflict, "", []string{"in use", "already exists"},
		"somebody has that name already, perhaps in a state that is not shown yet: choose another in the section aiven, or try again in some minutes", true},
	{http.StatusNotFound, "ProjectGet", nil, "the token's user sees no such project: check aiven.project, and whether the token belongs to a member of it", true},
	{http.StatusBadRequest, "", nil, "Aiven does not take what the section aiven asks for: correct what it names", true},
}

// remedy says what to do about an error, and whether a person must.
func (c *Client) remedy(e *Error) (string, bool) {
	skew := c.Skew()
	switch {
	case e.refusedByUs() && skew != "":
		return skew, true
	case e.refusedByUs():
		return "check the clock of this machine, and whether something between it and Aiven opens TLS", true
	case e.Status == 0 || e.Status >= 500:
		return "the API is away or could not be reached; " + goesOn, false
	}
	text := strings.ToLower(e.Text)
	for _, r := range remedies {
		if r.status != 0 && r.status != e.Status || r.operation != "" && r.operation != e.Operation || !containsAny(text, r.parts) {
			continue
		}
		if e.Status == http.StatusUnauthorized && skew != "" {
			return r.text + ". Besides, " + skew, true
		}
		return r.text, r.lasting
	}
	return goesOn, false
}

// containsAny is also true if there are no parts.
func containsAny(text string, parts []string) bool {
	for _, part := range parts {
		if strings.Contains(text, part) {
			return true
		}
	}
	return len(parts) == 0
}
