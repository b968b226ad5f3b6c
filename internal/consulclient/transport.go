package consulclient

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"
)

// transport sends blocking and other requests over separate connections, with deadlines and the newest token.
type transport struct {
	blocking, plain http.RoundTripper
	shared          http.RoundTripper // for blocking requests where they can share connections
	token           *tokenFile        // nil: the token that the request has
	timeout         time.Duration
	link            *Link
	turns           chan struct{} // taken by large answers
}

// RoundTrip implements http.RoundTripper.
func (t *transport) RoundTrip(r *http.Request) (*http.Response, error) {
	if t.token != nil {
		// A file that has become unreadable leaves the last token in use: it may still be good.
		token, changes := t.token.current()
		t.link.tokens.Store(changes)
		if token != r.Header.Get("X-Consul-Token") {
			r = r.Clone(r.Context())
			r.Header.Set("X-Consul-Token", token)
		}
	}
	through, cancel := t.plain, context.CancelFunc(nil)
	if q := r.URL.Query(); q.Has("index") || q.Has("hash") {
		through = t.blocking
		if t.link.Multiplexed() {
			through = t.shared
		}
	} else if _, bounded := r.Context().Deadline(); !bounded {
		var ctx context.Context
		ctx, cancel = context.WithTimeoutCause(r.Context(), t.timeout, fmt.Errorf("no answer within %v", t.timeout))
		r = r.WithContext(ctx)
	}
	resp, err := through.RoundTrip(r)
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
	if cancel != nil {
		resp.Body = &cancelling{resp.Body, cancel}
	}
	return resp, nil
}

// CloseIdleConnections is called by http.Client.CloseIdleConnections.
func (t *transport) CloseIdleConnections() {
	for _, rt := range []http.RoundTripper{t.blocking, t.shared, t.plain} {
		if c, ok := rt.(interface{ CloseIdleConnections() }); ok {
			c.CloseIdleConnections()
		}
	}
}

// cancelling ends a request's deadline once its answer has been read.
type cancelling struct {
	io.ReadCloser
	cancel context.CancelFunc
}

func (c *cancelling) Close() error {
	defer c.cancel()
	return c.ReadCloser.Close()
}

// bounded is the body of an answer, which fails where it goes on for too long. Beyond a small size it is read only while
// it has a turn. It is used by one goroutine at a time.
type bounded struct {
	io.ReadCloser
	ctx   context.Context
	turns chan struct{}
	read  int64
	turn  bool
}

func (b *bounded) Read(p []byte) (int, error) {
	limit := int64(smallAnswer)
	if b.read >= smallAnswer {
		if err := b.await(); err != nil {
			return 0, err
		}
		limit = largestAnswer
	}
	if b.read >= limit {
		return 0, fmt.Errorf("the answer has more than %d bytes", largestAnswer)
	}
	n, err := b.ReadCloser.Read(p[:min(int64(len(p)), limit-b.read)])
	b.read += int64(n)
	if err != nil {
		b.yield()
	}
	return n, err
}

// await waits for a turn, if b has none.
func (b *bounded) await() error {
	if b.turn {
		return nil
	}
	select {
	case b.turns <- struct{}{}:
		b.turn = true
		return nil
	case <-b.ctx.Done():
		return fmt.Errorf("read a large answer beside others: %w", b.ctx.Err())
	}
}

// yield gives the turn back.
func (b *bounded) yield() {
	if b.turn {
		b.turn = false
		<-b.turns
	}
}

// Close also gives the turn back.
func (b *bounded) Close() error {
	b.yield()
	return b.ReadCloser.Close()
}

// BusyError is an answer by which Consul asks to be left alone for a while.
type BusyError struct {
	Code  int // 429 or 503
	Text  string
	After time.Duration
}

func (e *BusyError) Error() string {
	return fmt.Sprintf("consul is busy: %d %s, retry after %v", e.Code, e.Text, e.After)
}

// RetryAfter returns for how long Consul wants to be left alone.
func (e *BusyError) RetryAfter() time.Duration { return e.After }

// retryAfter reads the header of that name (RFC 9110, section 10.2.3) from answers to which it matters.
func retryAfter(r *http.Response) (time.Duration, bool) {
	if r.StatusCode != http.StatusTooManyRequests && r.StatusCode != http.StatusServiceUnavailable {
		return 0, false
	}
	// The health endpoints for single services answer 429 and 503 with a body that matters, and without the header.
	header := r.Header.Get("Retry-After")
	if seconds, err := strconv.Atoi(header); err == nil && seconds >= 0 {
		return time.Duration(seconds) * time.Second, true
	}
	if at, err := http.ParseTime(header); err == nil {
		return max(time.Until(at), 0), true
	}
	return 0, false
}

// tokenFile is a token in a file that may be replaced while we run.
type tokenFile struct {
	path string

	mu      sync.Mutex
	token   string
	seen    os.FileInfo
	changes uint64 // of token, so far
}

// read reads the file for the first time.
func (f *tokenFile) read() (string, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	info, err := os.Stat(f.path)
	if err != nil {
		return "", err
	}
	if f.token, err = readToken(f.path); err != nil {
		return "", err
	}
	f.seen = info
	return f.token, nil
}

// current returns the newest token, and how many there were before.
func (f *tokenFile) current() (token string, changes uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	info, err := os.Stat(f.path)
	if err != nil || os.SameFile(info, f.seen) && info.ModTime().Equal(f.seen.ModTime()) && info.Size() == f.seen.Size() {
		return f.token, f.changes
	}
	if token, err := readToken(f.path); err == nil {
		if token != f.token {
			f.changes++
		}
		f.token, f.seen = token, info
	}
	return f.token, f.changes
}
