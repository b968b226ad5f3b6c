package consulclient

import (
	"context"
	"encoding/pem"
	"errors"
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

	"github.com/hashicorp/consul/api"

	"argosy/internal/settings"
)

// clearEnv makes a test independent of where it runs.
func clearEnv(t *testing.T) {
	for _, v := range os.Environ() {
		if name, value, _ := strings.Cut(v, "="); strings.HasPrefix(name, "CONSUL_") {
			os.Unsetenv(name)
			t.Cleanup(func() { os.Setenv(name, value) })
		}
	}
}

// leader asks something short, and returns the token that the server saw.
func leader(t *testing.T, c *api.Client) {
	t.Helper()
	if _, err := c.Status().Leader(); err != nil {
		t.Fatal(err)
	}
}

func fakeConsul(t *testing.T, h http.HandlerFunc) *httptest.Server {
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s
}

func TestTokenFileIsReadAgain(t *testing.T) {
	clearEnv(t)
	var token atomic.Value
	s := fakeConsul(t, func(w http.ResponseWriter, r *http.Request) {
		token.Store(r.Header.Get("X-Consul-Token"))
		w.Write([]byte(`"127.0.0.1:8300"`))
	})
	path := filepath.Join(t.TempDir(), "token")
	write := func(text string) {
		t.Helper()
		next := path + ".new"
		if err := os.WriteFile(next, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(next, path); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := New(settings.Consul{Address: s.URL, TokenFile: path}); err == nil {
		t.Fatal("a missing token file was accepted")
	}
	write("first\n")
	c, err := New(settings.Consul{Address: s.URL, TokenFile: path, Token: settings.NewSecret("other")})
	if err != nil {
		t.Fatal(err)
	}
	for _, step := range []struct{ text, want string }{{"first", "first"}, {" second\n", "second"}, {"", "second"}} {
		write(step.text)
		leader(t, c)
		if got := token.Load(); got != step.want {
			t.Errorf("sent token %q, want %q", got, step.want)
		}
	}
	os.Remove(path)
	leader(t, c)
	if got := token.Load(); got != "second" {
		t.Errorf("sent token %q when the file was gone", got)
	}
}

func TestEnvironmentFillsWhatIsNotConfigured(t *testing.T) {
	clearEnv(t)
	var token atomic.Value
	s := fakeConsul(t, func(w http.ResponseWriter, r *http.Request) {
		token.Store(r.Header.Get("X-Consul-Token"))
		w.Write([]byte(`""`))
	})
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte("from-env-file"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("CONSUL_HTTP_ADDR", strings.TrimPrefix(s.URL, "http://"))
	for _, c := range []struct {
		name string
		env  map[string]string
		s    settings.Consul
		want string
	}{
		{"nothing", nil, settings.Consul{}, ""},
		{"token", map[string]string{"CONSUL_HTTP_TOKEN": "env"}, settings.Consul{}, "env"},
		{"configured token", map[string]string{"CONSUL_HTTP_TOKEN": "env"}, settings.Consul{Token: settings.NewSecret("mine")}, "mine"},
		{"file", map[string]string{"CONSUL_HTTP_TOKEN": "env", "CONSUL_HTTP_TOKEN_FILE": file}, settings.Consul{}, "from-env-file"},
		{"configured over file", map[string]string{"CONSUL_HTTP_TOKEN_FILE": file}, settings.Consul{Token: settings.NewSecret("mine")}, "mine"},
	} {
		t.Run(c.name, func(t *testing.T) {
			for k, v := range c.env {
				t.Setenv(k, v)
			}
			client, err := New(c.s)
			if err != nil {
				t.Fatal(err)
			}
			leader(t, client)
			if got := token.Load(); got != c.want {
				t.Errorf("sent token %q, want %q", got, c.want)
			}
		})
	}
}

// What stands before Consul may want a password, also from requests with a token.
func TestPasswordFromTheEnvironment(t *testing.T) {
	clearEnv(t)
	var got atomic.Value
	s := fakeConsul(t, func(w http.ResponseWriter, r *http.Request) {
		user, password, _ := r.BasicAuth()
		got.Store(user + " " + password + " " + r.Header.Get("X-Consul-Token"))
		w.Write([]byte(`""`))
	})
	t.Setenv("CONSUL_HTTP_AUTH", "me:a:b")
	c, err := New(settings.Consul{Address: s.URL, Token: settings.NewSecret("mine")})
	if err != nil {
		t.Fatal(err)
	}
	if leader(t, c); got.Load() != "me a:b mine" {
		t.Errorf("the server saw %v", got.Load())
	}
}

func TestUnixSocket(t *testing.T) {
	clearEnv(t)
	path := filepath.Join(t.TempDir(), "consul.sock")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.Write([]byte(`"x"`)) }))
	s.Listener = l
	s.Start()
	t.Cleanup(s.Close)
	c, err := New(settings.Consul{Address: "unix://" + path})
	if err != nil {
		t.Fatal(err)
	}
	leader(t, c)
}

func TestRetryAfterBecomesAnError(t *testing.T) {
	clearEnv(t)
	header := "7"
	s := fakeConsul(t, func(w http.ResponseWriter, r *http.Request) {
		if header != "" {
			w.Header().Set("Retry-After", header)
		}
		http.Error(w, "Your IP is issuing too many concurrent connections", http.StatusTooManyRequests)
	})
	c, err := New(settings.Consul{Address: s.URL})
	if err != nil {
		t.Fatal(err)
	}
	_, _, err = c.KV().Get("x", nil)
	var busy *BusyError
	if !errors.As(err, &busy) || busy.RetryAfter() != 7*time.Second {
		t.Errorf("got %v", err)
	}
	header = ""
	_, _, err = c.KV().Get("x", nil)
	var status api.StatusError
	if !errors.As(err, &status) || status.Code != 429 {
		t.Errorf("without the header: got %v", err)
	}
}

func TestShortRequestsHaveADeadline(t *testing.T) {
	clearEnv(t)
	hang := make(chan struct{})
	s := fakeConsul(t, func(w http.ResponseWriter, r *http.Request) {
		select {
		case <-hang:
		case <-r.Context().Done():
		}
	})
	t.Cleanup(func() { close(hang) })
	c, err := New(settings.Consul{Address: s.URL, Timeout: 50 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Status().Leader(); err == nil || !strings.Contains(err.Error(), "no answer within 50ms") {
		t.Errorf("got %v", err)
	}
	// A blocking query is bounded by its own context only.
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	start := time.Now()
	q := (&api.QueryOptions{WaitIndex: 1, WaitTime: time.Minute}).WithContext(ctx)
	if _, _, err := c.KV().Get("x", q); err == nil || time.Since(start) < 300*time.Millisecond {
		t.Errorf("a blocking query ended after %v: %v", time.Since(start), err)
	}
}

// However many watches there are, a registration still goes through, and Consul's limit on connections is kept.
func TestBlockingQueriesLeaveRoom(t *testing.T) {
	clearEnv(t)
	release := make(chan struct{})
	released := sync.OnceFunc(func() { close(release) })
	var open, most atomic.Int64
	s := fakeConsul(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Has("index") {
			if n := open.Add(1); n > most.Load() {
				most.Store(n)
			}
			defer open.Add(-1)
			<-release
		}
		w.Header().Set("X-Consul-Index", "2")
		w.Write([]byte(`[]`))
	})
	t.Cleanup(released)
	c, err := New(settings.Consul{Address: s.URL})
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for range maxWatches + 20 {
		wg.Go(func() {
			if _, _, err := c.Health().Service("x", "", false, (&api.QueryOptions{WaitIndex: 1}).WithContext(t.Context())); err != nil {
				t.Error(err)
			}
		})
	}
	until := func(n int64) {
		t.Helper()
		for deadline := time.Now().Add(10 * time.Second); open.Load() < n; time.Sleep(time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("%d blocking queries at once, not %d", open.Load(), n)
			}
		}
	}
	until(maxWatches)
	// What a table or an identity waits for has a connection all the same.
	wg.Go(func() {
		if _, _, err := c.KV().Get("x", (&api.QueryOptions{WaitIndex: 1}).WithContext(t.Context())); err != nil {
			t.Error(err)
		}
	})
	until(maxWatches + 1)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if _, _, err := c.KV().Get("x", (&api.QueryOptions{}).WithContext(ctx)); err != nil {
		t.Error(err)
	}
	if err := c.Agent().ServiceRegisterOpts(&api.AgentServiceRegistration{Name: "x"}, api.ServiceRegisterOpts{}.WithContext(ctx)); err != nil {
		t.Error(err)
	}
	released()
	wg.Wait()
	if most.Load() != maxWatches+1 {
		t.Errorf("%d blocking queries at once", most.Load())
	}
}

// Registrations have connections that slow requests of other kinds cannot take.
func TestRegistrationsHaveConnectionsOfTheirOwn(t *testing.T) {
	clearEnv(t)
	release := make(chan struct{})
	released := sync.OnceFunc(func() { close(release) })
	var slow atomic.Int64
	s := fakeConsul(t, func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/v1/kv/") {
			slow.Add(1)
			<-release
		}
		w.Header().Set("X-Consul-Index", "2")
		w.Write([]byte(`[]`))
	})
	t.Cleanup(released)
	c, err := New(settings.Consul{Address: s.URL, Timeout: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for range maxPlain + 5 {
		wg.Go(func() { c.KV().Get("x", (&api.QueryOptions{}).WithContext(t.Context())) })
	}
	for deadline := time.Now().Add(10 * time.Second); slow.Load() < maxPlain && time.Now().Before(deadline); {
		time.Sleep(time.Millisecond)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second) // less than the slow ones have
	defer cancel()
	if err := c.Agent().UpdateTTLOpts("service:x", "", "pass", (&api.QueryOptions{}).WithContext(ctx)); err != nil {
		t.Error(err)
	}
	released()
	wg.Wait()
}

// Over HTTPS requests that wait share connections, so that there can be more of them.
func TestHTTPSIsMultiplexed(t *testing.T) {
	clearEnv(t)
	const many = 300
	var open, conns, most atomic.Int64
	release := make(chan struct{})
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Has("index") {
			if open.Add(1) == many {
				close(release)
			}
			<-release
		}
		w.Header().Set("X-Consul-Index", "2")
		w.Write([]byte(`[]`))
	}))
	s.EnableHTTP2 = true
	s.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		switch state {
		case http.StateNew:
			if n := conns.Add(1); n > most.Load() {
				most.Store(n)
			}
		case http.StateClosed:
			conns.Add(-1)
		}
	}
	s.StartTLS()
	t.Cleanup(s.Close)
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	c, link, err := NewLinked(settings.Consul{Address: s.URL, CAFile: ca})
	if err != nil {
		t.Fatal(err)
	}
	if link.Multiplexed() {
		t.Error("known before there was an answer")
	}
	keys := func(q *api.QueryOptions) {
		if _, _, err := c.KV().List("x", q); err != nil {
			t.Error(err)
		}
	}
	keys((&api.QueryOptions{}).WithContext(t.Context()))
	if !link.Multiplexed() {
		t.Fatal("requests do not share connections")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	var wg sync.WaitGroup
	for range many {
		wg.Go(func() { keys((&api.QueryOptions{WaitIndex: 1}).WithContext(ctx)) })
	}
	wg.Wait()
	if n := most.Load(); n > 2*maxShared {
		t.Errorf("%d connections for %d requests", n, many)
	}
	t.Logf("%d connections at most for %d requests", most.Load(), many)
	plain := fakeConsul(t, func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte(`""`)) })
	c, link, err = NewLinked(settings.Consul{Address: plain.URL})
	if err != nil {
		t.Fatal(err)
	}
	if leader(t, c); link.Multiplexed() {
		t.Error("HTTP/1.1 counts as multiplexed")
	}
}

func TestAnswersAreBounded(t *testing.T) {
	clearEnv(t)
	s := fakeConsul(t, func(w http.ResponseWriter, r *http.Request) {
		block := []byte(`[` + strings.Repeat(" ", 1<<20))
		for range largestAnswer / len(block) * 2 {
			if _, err := w.Write(block); err != nil {
				return
			}
			block[0] = ' ' // one array that does not end
		}
	})
	c, err := New(settings.Consul{Address: s.URL, Timeout: 5 * time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := c.KV().List("x", nil); err == nil || !strings.Contains(err.Error(), "more than 33554432 bytes") {
		t.Errorf("got %v", err)
	}
}
