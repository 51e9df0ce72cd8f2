// Package aiven makes at Aiven what the section aiven of a configuration says: a Kafka service, a MirrorMaker 2
// service, the outside clusters that it reads, and its replication flows.
//
// Want is what there is to be, as the configuration says it; Have is what Aiven has; a Plan is the difference, step by
// step. Nothing is kept on disk: what kferry made is known by a tag on its services and by the names it gives. So any
// command may be interrupted anywhere, and the next one goes on from what it finds.
package aiven

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/aiven/go-client-codegen/handler/kafka"
	"github.com/aiven/go-client-codegen/handler/kafkaconnect"
	"github.com/aiven/go-client-codegen/handler/kafkamirrormaker"
	"github.com/aiven/go-client-codegen/handler/kafkaschemaregistry"
	"github.com/aiven/go-client-codegen/handler/kafkatopic"
	"github.com/aiven/go-client-codegen/handler/project"
	"github.com/aiven/go-client-codegen/handler/service"

	"github.com/kferry/kferry/config"
)

// Clock is the time, and how it is waited for. Sleep returns early when ctx ends, with its error.
type Clock interface {
	Now() time.Time
	Sleep(ctx context.Context, d time.Duration) error
}

// SystemClock is the real one.
type SystemClock struct{}

// Now is the time.
func (SystemClock) Now() time.Time { return time.Now() }

// Sleep waits.
func (SystemClock) Sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Client speaks with Aiven's API about one project. The types of requests and answers, and the paths, are those of
// Aiven's own Go client; sending is done here, for that client reads settings from the environment, sends a POST again
// that may have been carried out, and puts answers with secrets in them into its errors.
type Client struct {
	Project string
	// Waiting is told when a request failed for the first time and will be sent again, for a minute at most. nil: nobody
	// is waiting for it.
	Waiting      func(cause error)
	services     service.ServiceHandler
	projects     project.ProjectHandler
	mirrors      kafkamirrormaker.KafkaMirrorMakerHandler
	acls         kafka.KafkaHandler
	topics       kafkatopic.KafkaTopicHandler
	schemas      kafkaschemaregistry.KafkaSchemaRegistryHandler
	connectors   kafkaconnect.KafkaConnectHandler
	clock        Clock
	base, agent  string
	token        config.Secret
	http         *http.Client
	secrets      []string // what no message may show
	skew         time.Duration
	skewMeasured bool
	projectSeen  bool
}

// NewClient makes a client for the project that the configuration names. Nothing is sent yet. Any secret of cfg is
// cut out of what Aiven answers.
func NewClient(cfg *config.Config, version string, clock Clock) (*Client, error) {
	if cfg.Aiven.Project == "" {
		return nil, cfg.ErrorAt([]string{"aiven"}, "", "is missing: it says what is to be at Aiven (docs/aiven.md)")
	}
	if cfg.Aiven.Token == "" {
		return nil, cfg.ErrorAt([]string{"aiven", "token"}, "", "is missing: set the environment variable AIVEN_TOKEN, or name a file as token_file")
	}
	c := &Client{Project: cfg.Aiven.Project, clock: clock, base: strings.TrimSuffix(cfg.Aiven.API, "/"), agent: "kferry/" + version,
		token: cfg.Aiven.Token, http: &http.Client{Timeout: time.Minute, CheckRedirect: func(*http.Request, []*http.Request) error {
			return errors.New("the API must not redirect: the token would follow")
		}}}
	c.services, c.projects, c.mirrors = service.NewHandler(c), project.NewHandler(c), kafkamirrormaker.NewHandler(c)
	c.acls, c.topics, c.schemas = kafka.NewHandler(c), kafkatopic.NewHandler(c), kafkaschemaregistry.NewHandler(c)
	c.connectors = kafkaconnect.NewHandler(c)
	c.hide(cfg.Aiven.Token.Reveal())
	for _, cl := range cfg.Clusters {
		c.hide(cl.SASL.Password.Reveal())
		c.hide(cl.SchemaRegistry.Password.Reveal())
	}
	return c, nil
}

// hide cuts a secret out of all messages from now on. One of several lines is cut out line by line, since messages
// may break it otherwise.
func (c *Client) hide(secret string) {
	for line := range strings.Lines(secret) {
		if line = strings.TrimSpace(line); len(line) >= 4 && !strings.HasPrefix(line, "-----") {
			c.secrets = append(c.secrets, line)
		}
	}
	// The longest first: one may be a part of another.
	slices.SortFunc(c.secrets, func(a, b string) int { return len(b) - len(a) })
}

// hideIn hides the secrets of a user_config.
func (c *Client) hideIn(v any) {
	switch v := v.(type) {
	case map[string]any:
		for _, one := range v {
			c.hideIn(one)
		}
	case []any:
		for _, one := range v {
			c.hideIn(one)
		}
	case config.Secret:
		c.hide(v.Reveal())
	}
}

// clean makes a text of Aiven's fit to be shown: no secret, no control characters, not endless.
func (c *Client) clean(text string) string {
	for _, secret := range c.secrets {
		text = strings.ReplaceAll(text, secret, "[redacted]")
	}
	text = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(text, "?"))
	const most = 500
	if len(text) > most {
		text = strings.ToValidUTF8(text[:most], "") + "..."
	}
	return text
}

const (
	tries    = 7
	maxSleep = 30 * time.Second
	maxBody  = 64 << 20
)

// onceKey marks a context in which 500 and above is an answer.
type onceKey struct{}

// patientKey marks a context of somebody who asks again anyway, later.
type patientKey struct{}

// Do sends one request for the handlers and gives the body of the answer. What may be sent again is, with growing
// pauses: everything after 429; after a failure on the way or of the server, all but POST, which may have been carried
// out: then the error says so (Error.Unclear) and whoever made the request looks. It is no API of this package.
func (c *Client) Do(ctx context.Context, operation, method, path string, in any, query ...[2]string) ([]byte, error) {
	var body []byte
	if in != nil {
		var err error
		if body, err = json.Marshal(in); err != nil {
			return nil, err
		}
	}
	values := url.Values{}
	for _, q := range query {
		values.Add(q[0], q[1])
	}
	if method == http.MethodGet {
		values.Set("limit", "999") // some lists come in pages otherwise
	}
	pause := time.Second
	for try := 1; ; try++ {
		answer, err := c.once(ctx, operation, method, path+"?"+values.Encode(), body)
		if err == nil {
			return answer, nil
		}
		if try == tries || patient(ctx, err) || !err.again(method) || ctx.Err() != nil {
			return nil, err
		}
		if try == 1 && c.Waiting != nil {
			c.Waiting(err)
		}
		if err := c.clock.Sleep(ctx, max(min(pause, maxSleep), err.After)); err != nil {
			return nil, err
		}
		pause *= 2
	}
}

// patient tells that whoever asks in ctx wants to know of the failure now.
func patient(ctx context.Context, err *Error) bool {
	return ctx.Value(patientKey{}) != nil || err.Status >= 500 && ctx.Value(onceKey{}) != nil
}

// once sends a request and reads its answer.
func (c *Client) once(ctx context.Context, operation, method, path string, body []byte) (answer []byte, failed *Error) {
	fail := func(status int, code, text string) *Error {
		return &Error{Operation: operation, Status: status, Code: code, Text: c.clean(text), method: method}
	}
	req, err := http.NewRequestWithContext(ctx, method, c.base+path, bytes.NewReader(body))
	if err != nil {
		return nil, fail(0, "", err.Error())
	}
	req.Header.Set("Authorization", "aivenv1 "+c.token.Reveal())
	req.Header.Set("User-Agent", c.agent)
	if len(body) > 0 {
		req.Header.Set("Content-Type", "application/json")
	}
	rsp, err := c.http.Do(req)
	if err != nil {
		f := fail(0, "", reason(err))
		f.cause = err
		return nil, f
	}
	defer func() { _ = rsp.Body.Close() }()
	if date, err := http.ParseTime(rsp.Header.Get("Date")); err == nil {
		c.skew, c.skewMeasured = date.Sub(c.clock.Now()), true
	}
	answer, err = io.ReadAll(io.LimitReader(rsp.Body, maxBody))
	if err != nil {
		return nil, fail(0, "", reason(err))
	}
	if rsp.StatusCode < http.StatusBadRequest {
		return answer, nil
	}
	seconds, _ := strconv.Atoi(rsp.Header.Get("Retry-After"))
	code, text := envelope(answer)
	if text == "" {
		text = http.StatusText(rsp.StatusCode)
	}
	failed = fail(rsp.StatusCode, code, text)
	failed.After = time.Duration(seconds) * time.Second
	return nil, failed
}

// envelope reads what an answer says that is none.
func envelope(answer []byte) (code, text string) {
	var e struct {
		Message string `json:"message"`
		Errors  []struct {
			Message string `json:"message"`
			Code    string `json:"error_code"`
		} `json:"errors"`
	}
	if json.Unmarshal(answer, &e) != nil {
		return "", ""
	}
	text = e.Message
	for _, one := range e.Errors {
		if code == "" {
			code = one.Code
		}
		if text == "" {
			text = one.Message
		}
	}
	return code, text
}

// reason is err without the address and method that net/http puts before it.
func reason(err error) string {
	var at *url.Error
	if errors.As(err, &at) {
		err = at.Err
	}
	return err.Error()
}

// Skew says how far the clock of this machine is off, "" if it is not by much.
func (c *Client) Skew() string {
	const most = 5 * time.Minute
	switch {
	case !c.skewMeasured || c.skew.Abs() < most:
		return ""
	case c.skew > 0:
		return fmt.Sprintf("this machine's clock is %v behind Aiven's: set it right, certificates and tokens may count as not valid yet", c.skew.Round(time.Second))
	default:
		return fmt.Sprintf("this machine's clock is %v ahead of Aiven's: set it right, certificates and tokens may count as expired", -c.skew.Round(time.Second))
	}
}
