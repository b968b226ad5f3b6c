package web

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/hashicorp/go-hclog"

	"argosy/demo/redisd"
	"argosy/internal/devca"
)

// forwarder is a stand-in for the proxies: each connection goes to the address that is set when it comes.
type forwarder struct {
	net.Listener
	mu    sync.Mutex
	to    string
	conns []net.Conn
}

func forward(t *testing.T, l net.Listener) *forwarder {
	f := &forwarder{Listener: l}
	var all sync.WaitGroup
	t.Cleanup(func() { f.Close(); f.cut(); all.Wait() })
	all.Go(func() {
		for {
			in, err := f.Accept()
			if err != nil {
				return
			}
			f.mu.Lock()
			out, err := net.Dial("tcp", f.to)
			if err != nil {
				in.Close()
				f.mu.Unlock()
				continue
			}
			f.conns = append(f.conns, in, out)
			f.mu.Unlock()
			all.Go(func() { io.Copy(in, out); in.Close() })
			all.Go(func() { io.Copy(out, in); out.Close() })
		}
	})
	return f
}

func (f *forwarder) set(to string) { f.mu.Lock(); f.to = to; f.mu.Unlock() }

// cut closes all connections.
func (f *forwarder) cut() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, c := range f.conns {
		c.Close()
	}
	f.conns = nil
}

func redis(t *testing.T, name string) string {
	m := miniredis.RunT(t)
	m.Set(redisd.Marker, name)
	return m.Addr()
}

func fast() Config {
	c := Defaults()
	c.Lifetime, c.Jitter, c.Idle = 200*time.Millisecond, 20*time.Millisecond, 100*time.Millisecond
	c.HoldMin, c.HoldMax, c.Work = time.Millisecond, 2*time.Millisecond, 5*time.Millisecond
	return c
}

func get(t *testing.T, url string) (int, string) {
	t.Helper()
	res, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, strings.TrimSpace(string(b))
}

func statsOf(t *testing.T, url string) Stats {
	t.Helper()
	_, body := get(t, url+"/stats")
	var s Stats
	if err := json.Unmarshal([]byte(body), &s); err != nil {
		t.Fatal(err)
	}
	return s
}

func TestFollowsTheProxiesWithoutAFailure(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f := forward(t, l)
	one, two := redis(t, "redis1"), redis(t, "redis2")
	f.set(one)
	c := fast()
	c.Redis = f.Addr().String()
	s := New(c, hclog.NewNullLogger())
	defer s.Close()
	h := httptest.NewServer(s.Handler())
	defer h.Close()

	ask := func(n int) {
		t.Helper()
		var all sync.WaitGroup
		for range 4 {
			all.Go(func() {
				for range n {
					if code, body := get(t, h.URL); code != 200 || body != "hello" {
						t.Errorf("got %d %q", code, body)
					}
				}
			})
		}
		all.Wait()
	}
	ask(20)
	if st := statsOf(t, h.URL); st.Backends["redis1"].Requests != 80 || len(st.Backends) != 1 || st.Hits < 70 {
		t.Errorf("before the shift: %+v", st)
	}
	f.set(two)
	opened := statsOf(t, h.URL).Backends["redis1"].Opened
	moved := time.Now()
	for statsOf(t, h.URL).Backends["redis1"].Open > 0 { // the lifetime ends them
		ask(1)
		if time.Since(moved) > 10*time.Second {
			t.Fatal("connections stay for ever")
		}
	}
	if st := statsOf(t, h.URL); st.Backends["redis2"].Requests == 0 || st.Backends["redis1"].Opened > opened {
		t.Errorf("after the shift: %+v, with %d connections to redis1 before it", st, opened)
	}
	if o, err := Whoami(t.Context(), c.Redis, nil, time.Second); err != nil || o.Backend != "redis2" || o.Arrived.Before(o.Began) {
		t.Errorf("who am I? %+v, %v", o, err)
	}

	// Connections that die while idle are no failure either.
	ask(5)
	f.cut()
	ask(5)
	if st := statsOf(t, h.URL); st.Retried == 0 || st.Failed != 0 {
		t.Errorf("after the cut: %d retried, %d failed (%s)", st.Retried, st.Failed, st.LastFail)
	}
	deadline := time.Now().Add(10 * time.Second)
	for statsOf(t, h.URL).Backends["redis2"].Open != 0 {
		if time.Now().After(deadline) {
			t.Fatal("idle connections stay open")
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func TestFailureIsReported(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := fast()
	c.Redis = l.Addr().String()
	l.Close()
	s := New(c, hclog.NewNullLogger())
	defer s.Close()
	h := httptest.NewServer(s.Handler())
	defer h.Close()
	if code, body := get(t, h.URL); code != http.StatusBadGateway || !strings.Contains(body, "refused") {
		t.Errorf("got %d %q", code, body)
	}
	if st := statsOf(t, h.URL); st.Failed != 1 || st.Redialed != 2 {
		t.Errorf("got %+v", st)
	}
}

func TestMutualTLS(t *testing.T) {
	ca, err := devca.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	files, err := ca.Write(dir, "web")
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := ca.Issue("redis")
	if err != nil {
		t.Fatal(err)
	}
	pair, err := tls.X509KeyPair(leaf.Cert, leaf.Key)
	if err != nil {
		t.Fatal(err)
	}
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{pair}, ClientAuth: tls.RequireAnyClientCert})
	if err != nil {
		t.Fatal(err)
	}
	f := forward(t, l)
	f.set(redis(t, "redis1"))

	for service, want := range map[string]int{"redis": http.StatusOK, "postgres": http.StatusBadGateway} {
		c := fast()
		c.Redis = f.Addr().String()
		if c.TLS, err = LoadTLS(files.Cert, files.Key, files.CA, service); err != nil {
			t.Fatal(err)
		}
		s := New(c, hclog.NewNullLogger())
		r := httptest.NewRecorder()
		s.Handler().ServeHTTP(r, httptest.NewRequest("GET", "/", nil).WithContext(context.Background()))
		if r.Code != want {
			t.Errorf("expecting %s: got %d %s", service, r.Code, r.Body)
		}
		s.Close()
	}
}
