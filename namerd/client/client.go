// Package client is a store.Store over the HTTP API of a namerd: this project's, or Namerd 1.x.
package client

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/hashicorp/go-hclog"

	"argosy/dtab"
	"argosy/internal/settings"
	"argosy/internal/tlsfiles"
	"argosy/namerd/store"
)

const (
	requestTimeout = 10 * time.Second
	maxAnswer      = 64 << 20 // bytes; of histories, mostly
)

// Options may be left out.
type Options struct {
	Logger    hclog.Logger
	TokenFile string          // holds a bearer token to send; read at each request
	Token     settings.Secret // in place of TokenFile

	// For https addresses: the CA certificates (PEM) that namerd's certificate is checked against, the system's unless set,
	// and a certificate with its key to show. Changed files are used without a restart.
	CAFile, CertFile, KeyFile string

	// From is who makes changes, for namerd's history, and Message why. An author in a call's context goes before them.
	From, Message string

	// Refresh is how often an observed namespace is read again even though its stream says nothing: 30s unless set.
	// Namerd 1.x does not announce deletions.
	Refresh time.Duration
}

// Client talks to one namerd. Its methods may be called from any goroutine.
type Client struct {
	base    string // without a slash at its end
	options Options
	refresh time.Duration
	logger  hclog.Logger
	http    *http.Client
}

// New makes a client for a base URL such as http://127.0.0.1:4180; it may have a path.
func New(baseURL string, o Options) (*Client, error) {
	u, err := url.Parse(baseURL)
	switch {
	case baseURL == "":
		return nil, errors.New("address of namerd is empty: give a URL such as http://127.0.0.1:4180")
	case err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "":
		return nil, fmt.Errorf("address of namerd %q is no URL: give one such as http://127.0.0.1:4180", baseURL)
	case u.RawQuery != "" || u.Fragment != "":
		return nil, fmt.Errorf("address of namerd %q has a query or fragment", baseURL)
	}
	if o.Logger == nil {
		o.Logger = hclog.NewNullLogger()
	}
	if o.Refresh <= 0 {
		o.Refresh = 30 * time.Second
	}
	files, err := tlsfiles.New(o.CertFile, o.KeyFile, o.CAFile)
	if err != nil {
		return nil, err
	}
	files.SetLogger(o.Logger)
	// Streams are silent for as long as nothing changes, so a peer that is gone is noticed by keepalive, not by a timeout.
	dialer := net.Dialer{Timeout: 5 * time.Second, KeepAliveConfig: net.KeepAliveConfig{
		Enable: true, Idle: 15 * time.Second, Interval: 5 * time.Second, Count: 3}}
	return &Client{
		base:    strings.TrimRight(baseURL, "/"),
		options: o,
		refresh: o.Refresh,
		logger:  o.Logger,
		http: &http.Client{
			Transport: &http.Transport{
				Proxy:                 http.ProxyFromEnvironment,
				DialContext:           dialer.DialContext,
				TLSClientConfig:       files.Client(u.Hostname()),
				TLSHandshakeTimeout:   5 * time.Second,
				ResponseHeaderTimeout: requestTimeout,
				IdleConnTimeout:       time.Minute,
			},
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}, nil
}

// Close gives up connections that are idle.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// do sends one request to a path below /api/1/. The answer's body is to be closed.
func (c *Client) do(ctx context.Context, method, path string, header map[string]string, body []byte) (*http.Response, error) {
	r, err := http.NewRequestWithContext(ctx, method, c.base+"/api/1/"+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	for k, v := range header {
		r.Header.Set(k, v)
	}
	if err := c.authorize(r); err != nil {
		return nil, err
	}
	answer, err := c.http.Do(r)
	if err != nil {
		return nil, c.unreachable(err)
	}
	return answer, nil
}

// authorize says who we are.
func (c *Client) authorize(r *http.Request) error {
	token := c.options.Token
	if c.options.TokenFile != "" {
		var err error
		if token, err = settings.SecretFromFile(c.options.TokenFile); err != nil {
			return fmt.Errorf("token file: %w", err)
		}
	}
	if !token.IsZero() {
		r.Header.Set("Authorization", "Bearer "+token.Reveal())
	}
	return nil
}

// unreachable words a failed request, without what differs from attempt to attempt: a reader of an observation is woken
// when the error changes.
func (c *Client) unreachable(err error) error {
	if errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("namerd at %s does not answer in time", c.base)
	}
	var request *url.Error
	if errors.As(err, &request) {
		err = request.Err
	}
	var op *net.OpError
	if errors.As(err, &op) {
		err = fmt.Errorf("%s: %w", op.Op, op.Err)
	}
	return fmt.Errorf("namerd at %s cannot be reached: %w", c.base, err)
}

// answer sends a request and reads the whole of its answer.
func (c *Client) answer(ctx context.Context, method, path string, header map[string]string, body []byte) (*http.Response, []byte, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	r, err := c.do(ctx, method, path, header, body)
	if err != nil {
		return nil, nil, err
	}
	defer r.Body.Close()
	text, err := io.ReadAll(io.LimitReader(r.Body, maxAnswer))
	if err != nil {
		return nil, nil, c.unreachable(err)
	}
	return r, text, nil
}

// refused makes an error of an answer that is not a success. The text of the server, where there is one, is in it.
func (c *Client) refused(what string, r *http.Response, body []byte) error {
	text := strings.TrimSpace(string(body))
	if len(text) > 500 {
		text = text[:500] + "..."
	}
	detail := func(err error) error {
		if text == "" || text == err.Error() {
			return fmt.Errorf("%s: %w", what, err)
		}
		return fmt.Errorf("%s: %w: %s", what, err, text)
	}
	switch r.StatusCode {
	case http.StatusNotFound:
		return fmt.Errorf("%s: %w", what, store.ErrMissing)
	case http.StatusConflict:
		return fmt.Errorf("%s: %w", what, store.ErrExists)
	case http.StatusPreconditionFailed:
		return fmt.Errorf("%s: %w", what, store.ErrVersion)
	case http.StatusRequestEntityTooLarge:
		return detail(store.ErrLarge)
	case http.StatusForbidden:
		return detail(store.ErrReadOnly)
	case http.StatusUnauthorized:
		if text == "" {
			text = "it wants a token or a certificate"
		}
	}
	if text == "" {
		return fmt.Errorf("%s: namerd at %s answers %s", what, c.base, r.Status)
	}
	return fmt.Errorf("%s: namerd at %s answers %s: %s", what, c.base, r.Status, text)
}

// List returns the names in sorted order.
func (c *Client) List(ctx context.Context) ([]string, error) {
	r, body, err := c.answer(ctx, http.MethodGet, "dtabs", map[string]string{"Accept": "application/json"}, nil)
	switch {
	case err != nil:
		return nil, fmt.Errorf("list namespaces: %w", err)
	case r.StatusCode == http.StatusNotFound:
		return nil, fmt.Errorf("list namespaces: nothing at %s/api/1/dtabs: is that a namerd?", c.base)
	case r.StatusCode != http.StatusOK:
		return nil, c.refused("list namespaces", r, body)
	}
	var names []string
	if err := json.Unmarshal(body, &names); err != nil {
		return nil, fmt.Errorf("list namespaces: the answer of %s is no list of names: %w", c.base, err)
	}
	return names, nil
}

func check(ns string) error {
	if !store.ValidName(ns) {
		return fmt.Errorf("%w: %q", store.ErrName, ns)
	}
	return nil
}

// Get returns ErrMissing for a namespace that does not exist.
func (c *Client) Get(ctx context.Context, ns string) (store.Entry, error) {
	if err := check(ns); err != nil {
		return store.Entry{}, err
	}
	what := "read " + ns
	r, body, err := c.answer(ctx, http.MethodGet, "dtabs/"+ns, map[string]string{"Accept": "application/json"}, nil)
	if err != nil {
		return store.Entry{}, fmt.Errorf("%s: %w", what, err)
	}
	if r.StatusCode != http.StatusOK {
		return store.Entry{}, c.refused(what, r, body)
	}
	var e store.Entry
	if err := json.Unmarshal(body, &e.Dtab); err != nil {
		return store.Entry{}, fmt.Errorf("%s: the answer of namerd at %s is no dtab: %w", what, c.base, err)
	}
	if e.Version, err = DecodeVersion(r.Header.Get("ETag")); err != nil {
		return store.Entry{}, fmt.Errorf("%s: %w", what, err)
	}
	return e, nil
}

// DecodeVersion reads a version as the API and its tools show it: base64, perhaps with what proxies do to an ETag.
func DecodeVersion(etag string) (store.Version, error) {
	text := strings.Trim(strings.TrimPrefix(strings.TrimSpace(etag), "W/\""), `"`)
	v, err := base64.StdEncoding.DecodeString(text)
	if err != nil || text == "" {
		return "", fmt.Errorf("%q is no version: versions are base64, as dtab get shows them", etag)
	}
	return store.Version(v), nil
}

// EncodeVersion shows a version as the API does.
func EncodeVersion(v store.Version) string { return base64.StdEncoding.EncodeToString([]byte(v)) }

// write sends a table, or without one a request to delete.
func (c *Client) write(ctx context.Context, what, method, ns string, d dtab.Dtab, header map[string]string) error {
	if err := check(ns); err != nil {
		return err
	}
	what += " " + ns
	var body []byte
	header = c.signed(ctx, header)
	if method != http.MethodDelete {
		header["Content-Type"] = "application/dtab"
		body = []byte(d.String())
	}
	r, answer, err := c.answer(ctx, method, "dtabs/"+ns, header, body)
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	if r.StatusCode/100 != 2 {
		return c.refused(what, r, answer)
	}
	return nil
}

// Create returns ErrExists for a namespace that does.
func (c *Client) Create(ctx context.Context, ns string, d dtab.Dtab) error {
	return c.write(ctx, "create", http.MethodPost, ns, d, nil)
}

// Update replaces the table if v is its current version, else returns ErrVersion; ErrMissing where there is no table.
func (c *Client) Update(ctx context.Context, ns string, d dtab.Dtab, v store.Version) error {
	return c.write(ctx, "update", http.MethodPut, ns, d, map[string]string{"If-Match": EncodeVersion(v)})
}

// Put replaces or creates.
func (c *Client) Put(ctx context.Context, ns string, d dtab.Dtab) error {
	return c.write(ctx, "put", http.MethodPut, ns, d, nil)
}

// Delete returns ErrMissing for a namespace that does not exist.
func (c *Client) Delete(ctx context.Context, ns string) error {
	return c.write(ctx, "delete", http.MethodDelete, ns, nil, nil)
}
