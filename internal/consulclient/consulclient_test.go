package consulclient

import (
	"context"
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
	c, err := New(settings.Consul{Address: s.URL})
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for range maxBlocking + 20 {
		wg.Go(func() {
			if _, _, err := c.KV().Get("x", (&api.QueryOptions{WaitIndex: 1}).WithContext(t.Context())); err != nil {
				t.Error(err)
			}
		})
	}
	for deadline := time.Now().Add(5 * time.Second); open.Load() < maxBlocking && time.Now().Before(deadline); {
		time.Sleep(time.Millisecond)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	if _, _, err := c.KV().Get("x", (&api.QueryOptions{}).WithContext(ctx)); err != nil {
		t.Error(err)
	}
	close(release)
	wg.Wait()
	if most.Load() != maxBlocking {
		t.Errorf("%d blocking queries at once", most.Load())
	}
}
