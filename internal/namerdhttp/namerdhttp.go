// Package namerdhttp is how clients reach a namerd: one address, one pool of connections, one way to say who we are.
package namerdhttp

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/hashicorp/go-hclog"

	"argosy/internal/settings"
	"argosy/internal/tlsfiles"
)

// RequestTimeout is for requests that are no streams, and for the head of the answer to one that is.
const RequestTimeout = 10 * time.Second

// ErrLate is for an answer that has not come.
var ErrLate = errors.New("does not answer in time")

// Options may be left out.
type Options struct {
	TokenFile string          // holds a bearer token to send, in its first line; read at each request
	Token     settings.Secret // in place of TokenFile

	// For https addresses: the CA certificates (PEM) that namerd's certificate is checked against, the system's unless set,
	// and a certificate with its key to show. Changed files are used without a restart.
	CAFile, CertFile, KeyFile string

	Logger hclog.Logger
}

// Peer is a namerd. Its methods may be called from any goroutine.
type Peer struct {
	Base string // without a slash at its end

	options Options
	http    *http.Client
}

// New makes a peer of a base URL such as http://127.0.0.1:4180; it may have a path.
func New(baseURL string, o Options) (*Peer, error) {
	u, err := url.Parse(baseURL)
	switch {
	case baseURL == "":
		return nil, errors.New("address of namerd is empty: give a URL such as http://127.0.0.1:4180")
	case err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "":
		return nil, fmt.Errorf("address of namerd %q is no URL: give one such as http://127.0.0.1:4180", baseURL)
	case u.RawQuery != "" || u.Fragment != "":
		return nil, fmt.Errorf("address of namerd %q has a query or fragment", baseURL)
	}
	files, err := tlsfiles.New(o.CertFile, o.KeyFile, o.CAFile)
	if err != nil {
		return nil, err
	}
	if o.Logger != nil {
		files.SetLogger(o.Logger)
	}
	// Streams are silent for as long as nothing changes, so a peer that is gone is noticed by keepalive, not by a timeout.
	dialer := net.Dialer{Timeout: 5 * time.Second, KeepAliveConfig: net.KeepAliveConfig{
		Enable: true, Idle: 15 * time.Second, Interval: 5 * time.Second, Count: 3}}
	return &Peer{
		Base:    strings.TrimRight(baseURL, "/"),
		options: o,
		http: &http.Client{
			Transport: &http.Transport{
				Proxy:                 http.ProxyFromEnvironment,
				DialContext:           dialer.DialContext,
				TLSClientConfig:       files.Client(u.Hostname()),
				TLSHandshakeTimeout:   5 * time.Second,
				ForceAttemptHTTP2:     true, // streams then share connections
				HTTP2:                 &http.HTTP2Config{SendPingTimeout: 15 * time.Second, PingTimeout: 5 * time.Second},
				DisableCompression:    true, // it would hold back the documents of a stream
				ResponseHeaderTimeout: RequestTimeout,
				MaxIdleConnsPerHost:   16,
				IdleConnTimeout:       time.Minute,
			},
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}, nil
}

// Close gives up connections that are idle.
func (p *Peer) Close() { p.http.CloseIdleConnections() }

// Do sends one request to a path below /api/1/. The answer's body is to be closed.
func (p *Peer) Do(ctx context.Context, method, path string, header map[string]string, body []byte) (*http.Response, error) {
	r, err := http.NewRequestWithContext(ctx, method, p.Base+"/api/1/"+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	for k, v := range header {
		r.Header.Set(k, v)
	}
	if err := p.authorize(r); err != nil {
		return nil, err
	}
	answer, err := p.http.Do(r)
	if err != nil {
		return nil, p.Unreachable(err)
	}
	return answer, nil
}

// authorize says who we are.
func (p *Peer) authorize(r *http.Request) error {
	token := p.options.Token
	if p.options.TokenFile != "" {
		var err error
		if token, err = settings.TokenFromFile(p.options.TokenFile); err != nil {
			return fmt.Errorf("token file: %w", err)
		}
	}
	if !token.IsZero() {
		r.Header.Set("Authorization", "Bearer "+token.Reveal())
	}
	return nil
}

// Unreachable words a failed request, without what differs from attempt to attempt: who follows something is woken when
// its error changes.
func (p *Peer) Unreachable(err error) error {
	var timeout interface{ Timeout() bool }
	if errors.Is(err, context.DeadlineExceeded) || errors.As(err, &timeout) && timeout.Timeout() {
		return fmt.Errorf("namerd at %s %w", p.Base, ErrLate)
	}
	var request *url.Error
	if errors.As(err, &request) {
		err = request.Err
	}
	var op *net.OpError
	if errors.As(err, &op) {
		err = fmt.Errorf("%s: %w", op.Op, op.Err)
	}
	return fmt.Errorf("namerd at %s cannot be reached: %w", p.Base, err)
}
