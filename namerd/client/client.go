// Package client is a store.Store over the HTTP API of a namerd: this project's, or Namerd 1.x.
package client

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/hashicorp/go-hclog"

	"argosy/dtab"
	"argosy/internal/namerdhttp"
	"argosy/internal/settings"
	"argosy/namerd/store"
)

const (
	requestTimeout = namerdhttp.RequestTimeout
	maxAnswer      = 64 << 20 // bytes; of histories, mostly
)

// ErrTrouble: namerd has failed itself. It cannot read its store, or what is there is no table.
var ErrTrouble = errors.New("500 Internal Server Error")

// ErrUnauthorized: namerd does not know who is asking.
var ErrUnauthorized = errors.New("401 Unauthorized")

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
	peer    *namerdhttp.Peer
}

// New makes a client for a base URL such as http://127.0.0.1:4180; it may have a path.
func New(baseURL string, o Options) (*Client, error) {
	if o.Logger == nil {
		o.Logger = hclog.NewNullLogger()
	}
	if o.Refresh <= 0 {
		o.Refresh = 30 * time.Second
	}
	peer, err := namerdhttp.New(baseURL, namerdhttp.Options{
		TokenFile: o.TokenFile, Token: o.Token, CAFile: o.CAFile, CertFile: o.CertFile, KeyFile: o.KeyFile, Logger: o.Logger,
	})
	if err != nil {
		return nil, err
	}
	return &Client{base: peer.Base, peer: peer, options: o, refresh: o.Refresh, logger: o.Logger}, nil
}

// Close gives up connections that are idle.
func (c *Client) Close() { c.peer.Close() }

// answer sends a request and reads the whole of its answer.
func (c *Client) answer(ctx context.Context, method, path string, header map[string]string, body []byte) (*http.Response, []byte, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	r, err := c.peer.Do(ctx, method, path, header, body)
	if err != nil {
		return nil, nil, err
	}
	defer r.Body.Close()
	text, err := io.ReadAll(io.LimitReader(r.Body, maxAnswer))
	if err != nil {
		return nil, nil, c.peer.Unreachable(err)
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
	status := errors.New(r.Status)
	switch r.StatusCode {
	case http.StatusInternalServerError:
		status = ErrTrouble
	case http.StatusUnauthorized:
		status = ErrUnauthorized
	}
	if text == "" {
		return fmt.Errorf("%s: namerd at %s answers %w", what, c.base, status)
	}
	return fmt.Errorf("%s: namerd at %s answers %w: %s", what, c.base, status, text)
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

// Get returns ErrMissing for a namespace that does not exist.
func (c *Client) Get(ctx context.Context, ns string) (store.Entry, error) {
	if err := store.CheckName(ns); err != nil {
		return store.Entry{}, err
	}
	what := "read " + ns
	r, body, err := c.answer(ctx, http.MethodGet, "dtabs/"+ns, map[string]string{"Accept": "application/json"}, nil)
	if err != nil {
		return store.Entry{}, fmt.Errorf("%s: %w", what, err)
	}
	if r.StatusCode == http.StatusNotFound && len(body) > 0 { // namerd's own has no body; this is no reason to take a table away
		return store.Entry{}, fmt.Errorf("%s: what answers 404 at %s is not namerd: %.200q", what, c.base, body)
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
	if err := store.CheckName(ns); err != nil {
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
