//go:build servers

package e2e

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// mischief is a proxy before Consul, or a namerd, that may answer in its stead. It starts honest.
type mischief struct {
	Addr     string // host:port
	Requests atomic.Int64

	server *httptest.Server
	honest http.HandlerFunc
	mu     sync.Mutex
	do     http.HandlerFunc // nil: honest
}

func startMischief(t *testing.T, before string) *mischief {
	t.Helper()
	target, err := url.Parse(before)
	if err != nil {
		t.Fatal(err)
	}
	honest := httputil.NewSingleHostReverseProxy(target)
	honest.FlushInterval = -1
	honest.Transport = &http.Transport{MaxIdleConnsPerHost: 100}
	honest.ErrorHandler = func(w http.ResponseWriter, _ *http.Request, err error) { panic(http.ErrAbortHandler) }
	m := &mischief{honest: honest.ServeHTTP}
	m.server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		m.Requests.Add(1)
		m.mu.Lock()
		do := m.do
		m.mu.Unlock()
		if do == nil {
			do = m.honest
		}
		body, err := io.ReadAll(r.Body) // else the end of a connection is not noticed
		if err != nil {
			panic(http.ErrAbortHandler)
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		do(w, r)
	}))
	m.server.Config.ErrorLog = nil
	m.server.Start()
	m.Addr = m.server.Listener.Addr().String()
	t.Cleanup(func() { m.server.CloseClientConnections(); m.server.Close() })
	return m
}

// become changes what is answered. Requests that wait at Consul are cut off, as they are when anything happens to it.
func (m *mischief) become(do http.HandlerFunc) {
	m.mu.Lock()
	m.do = do
	m.mu.Unlock()
	m.server.CloseClientConnections()
}

// answer is an answer that comes at once, with an index unless that is empty.
func answer(code int, index, kind, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", kind)
		if index != "" {
			w.Header().Set("X-Consul-Index", index)
			w.Header().Set("X-Consul-Knownleader", "true")
			w.Header().Set("X-Consul-Lastcontact", "0")
		}
		w.WriteHeader(code)
		io.WriteString(w, body)
	}
}

// endless is a body that never ends.
func endless(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("X-Consul-Index", "7")
	chunk := append([]byte(`{"Node":{"Node":"`), bytes.Repeat([]byte("x"), 64<<10)...)
	io.WriteString(w, "[")
	for r.Context().Err() == nil {
		if _, err := w.Write(append(chunk, `"}},`...)); err != nil {
			return
		}
	}
}

// drip is a body of which a byte comes every now and then.
func drip(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("X-Consul-Index", "7")
	for r.Context().Err() == nil {
		if _, err := io.WriteString(w, " "); err != nil {
			return
		}
		w.(http.Flusher).Flush()
		select {
		case <-r.Context().Done():
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// mischiefs are the ways in which a Consul, or what stands before it, is not itself.
func mischiefs() map[string]http.HandlerFunc {
	const text, json = "text/plain", "application/json"
	back := &atomic.Int64{}
	back.Store(40)
	return map[string]http.HandlerFunc{
		"403":             answer(403, "", text, "Permission denied"),
		"404":             answer(404, "", "text/html", "<html>no such page</html>"),
		"empty, index 1":  answer(200, "1", json, "[]"),
		"html with index": answer(200, "77", "text/html", "<html>log in</html>"),
		"null":            answer(200, "", json, "null"),
		"truncated": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Length", "1000")
			answer(200, "9", json, `[{"Node": {`)(w, r)
		},
		"stall": func(w http.ResponseWriter, r *http.Request) { <-r.Context().Done() },
		"index going backwards": func(w http.ResponseWriter, r *http.Request) {
			answer(200, fmt.Sprint(max(back.Add(-1), 2)), json, "[]")(w, r)
		},
		"endless": endless,
		"drip":    drip,
	}
}
