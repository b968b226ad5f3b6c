package client_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"argosy/dtab"
	"argosy/namerd"
	"argosy/namerd/client"
	"argosy/namerd/store"
	"argosy/namerd/store/storetest"
)

func serve(t *testing.T, s store.Store) (url string) {
	t.Helper()
	api := namerd.NewServer(s, namerd.Options{})
	server := httptest.NewServer(api.Handler())
	t.Cleanup(func() { api.Close(); server.Close() })
	return server.URL
}

func dial(t *testing.T, url string, o client.Options) *client.Client {
	t.Helper()
	c, err := client.New(url, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func table(t *testing.T, text string) dtab.Dtab {
	t.Helper()
	d, err := dtab.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestContract(t *testing.T) {
	storetest.Run(t, func(t *testing.T) store.Store { return dial(t, serve(t, store.NewMemory(nil)), client.Options{}) })
}

// follow observes until the test ends.
func follow(t *testing.T, c *client.Client, ns string) <-chan store.Observation {
	ctx, cancel := context.WithCancel(context.Background())
	news := make(chan store.Observation, 1000)
	var wg sync.WaitGroup
	wg.Go(func() { c.Observe(ctx, ns, func(o store.Observation) { news <- o }) })
	t.Cleanup(func() { cancel(); wg.Wait() })
	return news
}

func until(t *testing.T, what string, news <-chan store.Observation, f func(store.Observation) bool) store.Observation {
	t.Helper()
	deadline := time.After(15 * time.Second)
	for {
		select {
		case o := <-news:
			if f(o) {
				return o
			}
		case <-deadline:
			t.Fatal("not seen: " + what)
		}
	}
}

func shows(text string) func(store.Observation) bool {
	return func(o store.Observation) bool { return o.Exists && o.Err == nil && o.Entry.Dtab.String() == text }
}

// The server goes away and comes back at the same address with another table: the last good one stays in between.
func TestServerRestarts(t *testing.T) {
	t.Parallel()
	start := func(address, text string) (*httptest.Server, func()) {
		l, err := net.Listen("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		api := namerd.NewServer(store.NewMemory(map[string]dtab.Dtab{"default": table(t, text)}), namerd.Options{})
		server := httptest.NewUnstartedServer(api.Handler())
		server.Listener.Close()
		server.Listener = l
		server.Start()
		return server, func() { api.Close(); server.Close() }
	}
	server, stop := start("127.0.0.1:0", "/a=>/1")
	news := follow(t, dial(t, server.URL, client.Options{Refresh: time.Hour}), "default")
	until(t, "the table", news, shows("/a=>/1"))
	stop()
	down := until(t, "the failure", news, func(o store.Observation) bool { return o.Err != nil })
	if !down.Known || !down.Exists || down.Entry.Dtab.String() != "/a=>/1" {
		t.Errorf("while the server is down: %+v", down)
	}
	_, stop = start(server.Listener.Addr().String(), "/a=>/2")
	defer stop()
	until(t, "the new table", news, shows("/a=>/2"))
}

// After an outage changes come at once: the stream is back as soon as namerd is, and does not sit out its own pause.
func TestStreamIsBackWithTheServer(t *testing.T) {
	t.Parallel()
	memory := store.NewMemory(map[string]dtab.Dtab{"default": table(t, "/a=>/1")})
	api := namerd.NewServer(memory, namerd.Options{})
	var down atomic.Bool
	streams := make(chan struct{}, 100)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		watched := strings.Contains(r.URL.RawQuery, "watch")
		if down.Load() {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		if watched {
			streams <- struct{}{}
		}
		api.Handler().ServeHTTP(w, r)
	}))
	t.Cleanup(func() { api.Close(); server.Close() })
	down.Store(true)
	news := follow(t, dial(t, server.URL, client.Options{Refresh: time.Hour}), "default")
	until(t, "the failure", news, func(o store.Observation) bool { return o.Err != nil })
	time.Sleep(2 * time.Second) // the pauses have grown
	down.Store(false)
	until(t, "the table", news, shows("/a=>/1"))
	select {
	case <-streams:
	case <-time.After(100 * time.Millisecond):
		t.Error("there is no stream yet")
	}
}

// Streams that go dumb, as through a proxy that lost the other side, are found out by reading again.
func TestDumbStream(t *testing.T) {
	t.Parallel()
	memory := store.NewMemory(map[string]dtab.Dtab{"default": table(t, "/a=>/1")})
	api := namerd.NewServer(memory, namerd.Options{})
	var streams atomic.Int32
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.Contains(r.URL.RawQuery, "watch") && streams.Add(1) == 1 {
			w.(http.Flusher).Flush()
			<-r.Context().Done()
			return
		}
		api.Handler().ServeHTTP(w, r)
	}))
	t.Cleanup(func() { api.Close(); server.Close() })
	news := follow(t, dial(t, server.URL, client.Options{Refresh: 300 * time.Millisecond}), "default")
	until(t, "the table", news, shows("/a=>/1"))
	for i := 2; streams.Load() < 2; i++ { // the first change may be seen because the stream has just begun
		if i == 10 {
			t.Fatal("the dumb stream was not replaced")
		}
		text := fmt.Sprintf("/a=>/%d", i)
		if err := memory.Put(t.Context(), "default", table(t, text)); err != nil {
			t.Fatal(err)
		}
		until(t, "the change", news, shows(text))
		time.Sleep(100 * time.Millisecond)
	}
}

// A server that ends every stream at once, or has none, is not hammered.
func TestStreamsThatEnd(t *testing.T) {
	t.Parallel()
	memory := store.NewMemory(map[string]dtab.Dtab{"default": table(t, "/a=>/1")})
	api := namerd.NewServer(memory, namerd.Options{})
	var streams atomic.Int32
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.Contains(r.URL.RawQuery, "watch") {
			streams.Add(1)
			_, _ = w.Write([]byte("not JSON\n"))
			return
		}
		api.Handler().ServeHTTP(w, r)
	}))
	t.Cleanup(func() { api.Close(); server.Close() })
	news := follow(t, dial(t, server.URL, client.Options{}), "default")
	until(t, "the table", news, shows("/a=>/1"))
	time.Sleep(500 * time.Millisecond)
	if n := streams.Load(); n > 6 {
		t.Errorf("%d streams in half a second", n)
	}
}

func TestErrors(t *testing.T) {
	t.Parallel()
	var answer atomic.Pointer[func(http.ResponseWriter)]
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { (*answer.Load())(w) }))
	t.Cleanup(server.Close)
	c := dial(t, server.URL+"/base/", client.Options{})
	status := func(code int, body string) func(http.ResponseWriter) {
		return func(w http.ResponseWriter) {
			w.Header().Set("ETag", "MTIz")
			w.WriteHeader(code)
			_, _ = w.Write([]byte(body))
		}
	}
	get := func() error { _, err := c.Get(t.Context(), "default"); return err }
	list := func() error { _, err := c.List(t.Context()); return err }
	put := func() error { return c.Put(t.Context(), "default", nil) }
	tests := []struct {
		answer func(http.ResponseWriter)
		call   func() error
		want   string
		is     error
	}{
		{status(200, "<html>"), get, "read default: the answer of namerd at URL is no dtab: invalid character '<' looking for beginning of value", nil},
		{status(200, "[]"), get, "", nil},
		{func(w http.ResponseWriter) { _, _ = w.Write([]byte("[]")) }, get, `read default: "" is no version: versions are base64, as dtab get shows them`, nil},
		{status(404, ""), get, "read default: no such namespace", store.ErrMissing},
		{status(404, "<html>nginx"), list, "list namespaces: nothing at URL/api/1/dtabs: is that a namerd?", nil},
		{status(500, "no leader\n"), put, "put default: namerd at URL answers 500 Internal Server Error: no leader", nil},
		{status(301, ""), put, "put default: namerd at URL answers 301 Moved Permanently", nil},
		{status(403, "this namerd is read-only"), put, "put default: store is read-only: this namerd is read-only", store.ErrReadOnly},
		{status(412, ""), put, "put default: version does not match: somebody else has changed the namespace", store.ErrVersion},
		{status(200, "{}"), list, "list namespaces: the answer of URL is no list of names: json: cannot unmarshal object into Go value of type []string", nil},
	}
	for _, test := range tests {
		answer.Store(&test.answer)
		err := test.call()
		got := ""
		if err != nil {
			got = strings.ReplaceAll(err.Error(), server.URL+"/base", "URL")
		}
		if got != test.want || test.is != nil && !errors.Is(err, test.is) {
			t.Errorf("got  %s\nwant %s", got, test.want)
		}
	}
	server.Close()
	for range 2 { // the same words each time
		if err := get(); err == nil || !strings.HasSuffix(err.Error(), "cannot be reached: dial: connect: connection refused") {
			t.Error(err)
		}
	}
}

func TestBadAddress(t *testing.T) {
	t.Parallel()
	for _, address := range []string{"", "127.0.0.1:4180", "ftp://x", "http://", "http://x/?a=b", "::"} {
		if _, err := client.New(address, client.Options{}); err == nil {
			t.Errorf("%q is taken", address)
		}
	}
}

func TestToken(t *testing.T) {
	t.Parallel()
	var got atomic.Value
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got.Store(r.Header.Get("Authorization"))
		_, _ = w.Write([]byte("[]"))
	}))
	t.Cleanup(server.Close)
	file := filepath.Join(t.TempDir(), "token")
	c := dial(t, server.URL, client.Options{TokenFile: file})
	if _, err := c.List(t.Context()); err == nil || !strings.Contains(err.Error(), "token file") {
		t.Error(err)
	}
	for _, token := range []string{"one", "two"} {
		if err := os.WriteFile(file, []byte(token+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := c.List(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got.Load() != "Bearer "+token {
			t.Error(got.Load())
		}
	}
}
