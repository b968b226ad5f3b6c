package consulclient

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
)

// transport sends requests of different kinds over separate connections, with deadlines and the newest token.
type transport struct {
	watches  *http.Transport // requests that wait for a change of the catalog: there can be very many
	steady   *http.Transport // other requests that wait: the configuration says how many
	shared   *http.Transport // both, where they can share connections
	plain    *http.Transport // requests that are answered at once
	reserved *http.Transport // those by which services are registered and kept alive

	token   *tokenFile // nil: the token that the request has
	timeout time.Duration
	link    *Link
	turns   chan struct{} // taken by large answers
	alarm   *alarm        // may be nil
}

// RoundTrip implements http.RoundTripper. A request that waits moves to a new token as soon as there is one: then it does
// not wait any longer, but asks for what the new token may see.
func (t *transport) RoundTrip(r *http.Request) (*http.Response, error) {
	r = withParams(r)
	if t.token == nil {
		return t.send(r)
	}
	if !waits(r) {
		return t.send(withToken(r, t.token.current()))
	}
	ctx, cancel := context.WithCancelCause(r.Context())
	token, done := t.token.wait(cancel)
	resp, err := t.send(withToken(r.WithContext(ctx), token))
	done()
	if context.Cause(ctx) == errOtherToken && r.Context().Err() == nil {
		if err == nil {
			resp.Body.Close()
		}
		cancel(nil)
		return t.send(withToken(withoutWait(r), t.token.current()))
	}
	if err != nil {
		cancel(nil)
		return nil, err
	}
	resp.Body = &cancelling{resp.Body, func() { cancel(nil) }}
	return resp, nil
}

// asPost makes a POST of a request that the library can only make as a PUT.
func asPost(r *http.Request) *http.Request {
	r = r.Clone(r.Context())
	r.Method = http.MethodPost
	return r
}

// waits reports whether Consul is to hold a request back until something has changed.
func waits(r *http.Request) bool {
	q := r.URL.Query()
	return q.Has("index") || q.Has("hash")
}

func withToken(r *http.Request, token string) *http.Request {
	if token == r.Header.Get("X-Consul-Token") {
		return r
	}
	r = r.Clone(r.Context())
	r.Header.Set("X-Consul-Token", token)
	return r
}

// withoutWait is r as a request that is answered at once.
func withoutWait(r *http.Request) *http.Request {
	r = r.Clone(r.Context())
	q := r.URL.Query()
	for _, name := range []string{"index", "hash", "wait"} {
		q.Del(name)
	}
	r.URL.RawQuery = q.Encode()
	return r
}

// through is the pool of connections for a request.
func (t *transport) through(path string, waits bool) *http.Transport {
	kind := kindOf(path)
	switch {
	case waits && t.link.Multiplexed():
		return t.shared
	case waits && (kind == kindCatalog || kind == kindResolver):
		return t.watches
	case waits:
		return t.steady
	case kind == kindRegister:
		return t.reserved
	}
	return t.plain
}

// send sends a request once.
func (t *transport) send(r *http.Request) (*http.Response, error) {
	path, cancel := pathOf(r), context.CancelFunc(nil)
	waits := waits(r)
	if path == rightsPath || path == authorizePath {
		r = asPost(r)
	}
	if _, bounded := r.Context().Deadline(); !waits && !bounded {
		var ctx context.Context
		ctx, cancel = context.WithTimeoutCause(r.Context(), t.timeout, fmt.Errorf("no answer within %v", t.timeout))
		r = r.WithContext(ctx)
	}
	resp, err := t.through(path, waits).RoundTrip(r)
	if err != nil {
		if cause := context.Cause(r.Context()); cancel != nil && cause != nil && errors.Is(err, context.DeadlineExceeded) {
			err = fmt.Errorf("%w: %w", cause, err)
		}
		if cancel != nil {
			cancel()
		}
		return nil, err
	}
	if multiplexed := resp.ProtoMajor >= 2; multiplexed != t.link.Multiplexed() {
		t.link.multiplexed.Store(multiplexed)
	}
	resp.Body = &bounded{ReadCloser: resp.Body, ctx: r.Context(), turns: t.turns}
	if wait, ok := retryAfter(resp); ok {
		text, _ := io.ReadAll(io.LimitReader(resp.Body, 512))
		resp.Body.Close()
		if cancel != nil {
			cancel()
		}
		return nil, &BusyError{Code: resp.StatusCode, Text: strings.TrimSpace(string(text)), After: wait}
	}
	t.alarm.note(r.Method, path, resp.StatusCode, explain(path, resp))
	if cancel != nil {
		resp.Body = &cancelling{resp.Body, cancel}
	}
	return resp, nil
}

// CloseIdleConnections is called by http.Client.CloseIdleConnections.
func (t *transport) CloseIdleConnections() {
	for _, pool := range []*http.Transport{t.watches, t.steady, t.shared, t.plain, t.reserved} {
		pool.CloseIdleConnections()
	}
}
