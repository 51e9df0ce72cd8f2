package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/kferry/kferry/config"
	"github.com/kferry/kferry/internal/web"
)

// askTimeout bounds how long a daemon may take to answer; it only reads its memory.
const askTimeout = 10 * time.Second

// asked is which running daemons a command asks.
type asked struct {
	config string
	urls   []string // after find at least one
}

// flags adds those that say whom to ask.
func (a *asked) flags(cmd *cobra.Command) {
	configFlag(cmd, &a.config)
	cmd.Flags().StringArrayVar(&a.urls, "url", nil,
		"where kferry listens, `http://host:port`; instead of http.listen of the configuration, and several times to ask several replicas")
}

// find asks the configuration where the daemon is, unless --url says it.
func (a *asked) find(cmd *cobra.Command) error {
	if len(a.urls) > 0 {
		return nil
	}
	cfg, err := config.Load(a.config, loadOptions(cmd))
	if err != nil {
		return err
	}
	base, err := daemonURL(cfg.HTTP.Listen)
	if err != nil {
		return err
	}
	a.urls = []string{base}
	return nil
}

// daemonURL is where a daemon with that http.listen answers, from the same machine.
func daemonURL(listen string) (string, error) {
	if listen == "" || listen == "off" {
		return "", errors.New("http.listen is off, so a running kferry cannot be asked: set it to a host:port and start kferry again, or give --url")
	}
	host, port, err := net.SplitHostPort(listen)
	if err != nil {
		return "", fmt.Errorf("http.listen %q: %w", listen, err)
	}
	if ip, err := netip.ParseAddr(host); host == "" || err == nil && ip.IsUnspecified() {
		host = "localhost" // it listens on every interface
	}
	return "http://" + net.JoinHostPort(host, port), nil
}

// refusal is what a daemon answers that has understood the question and has no answer.
type refusal struct {
	code int // of HTTP
	text string
}

func (r refusal) Error() string { return r.text }

// get asks the daemon at base (http://host:port) for a path. The caller closes the body.
func get(ctx context.Context, base, path string, query url.Values) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimSuffix(base, "/")+path, nil)
	if err != nil || req.URL.Host == "" {
		return nil, usageError{fmt.Errorf("--url %q: must be http://host:port", base)}
	}
	req.URL.RawQuery = query.Encode()
	resp, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(req)
	if err != nil {
		return nil, fmt.Errorf("no kferry answers: %w: is \"kferry run\" running there? http.listen of its configuration, or --url, says where it is asked", err)
	}
	return resp, nil
}

// ask gets a path of the daemon at base into answer. Its error is a refusal where the daemon said why.
func ask(ctx context.Context, base, path string, query url.Values, answer any) error {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	resp, err := get(ctx, base, path, query)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	at := strings.TrimSuffix(base, "/") + path
	if resp.StatusCode != http.StatusOK {
		var failure web.Failure
		if err := json.NewDecoder(resp.Body).Decode(&failure); err == nil && failure.Error != "" {
			return refusal{resp.StatusCode, fmt.Sprintf("%s: %s", base, failure.Error)}
		}
		return fmt.Errorf("%s answers %q: it is no kferry, or one older than this command", at, resp.Status)
	}
	if err := json.NewDecoder(resp.Body).Decode(answer); err != nil {
		return fmt.Errorf("%s does not answer as kferry does: %w", at, err)
	}
	return nil
}

// writeJSON prints what docs/api.md describes, for people and scripts.
func writeJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(v)
}
