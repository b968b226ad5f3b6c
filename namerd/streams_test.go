package namerd_test

import (
	"bufio"
	"context"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"argosy/namerd"
	"argosy/namerd/store"
)

type ctx = context.Context

func contextOf(t *testing.T) (context.Context, context.CancelFunc) {
	return context.WithCancel(context.WithoutCancel(t.Context()))
}

// stream is an open watch.
type stream struct {
	t        *testing.T
	response *http.Response
	lines    chan string // closed at the end of the stream
}

func open(t *testing.T, address, target string, header ...string) *stream {
	t.Helper()
	r, err := http.NewRequest("GET", "http://"+address+target, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, h := range header {
		k, v, _ := strings.Cut(h, ": ")
		r.Header.Set(k, v)
	}
	transport := &http.Transport{ResponseHeaderTimeout: 10 * time.Second} // the head has to come at once, whatever there is to say
	response, err := (&http.Client{Transport: transport}).Do(r)
	if err != nil {
		t.Fatal(err)
	}
	s := &stream{t, response, make(chan string, 100)}
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer close(s.lines)
		for lines := bufio.NewScanner(response.Body); lines.Scan(); {
			s.lines <- lines.Text()
		}
	}()
	t.Cleanup(func() {
		response.Body.Close()
		<-done
		transport.CloseIdleConnections()
	})
	return s
}

func (s *stream) next(want string) {
	s.t.Helper()
	select {
	case got, ok := <-s.lines:
		if !ok || got != want {
			s.t.Errorf("got %q (open: %v), want %q", got, ok, want)
		}
	case <-time.After(10 * time.Second):
		s.t.Errorf("nothing came, want %q", want)
	}
}

func (s *stream) silent() {
	s.t.Helper()
	select {
	case got, ok := <-s.lines:
		s.t.Errorf("got %q (open: %v), want silence", got, ok)
	case <-time.After(50 * time.Millisecond):
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestWatchTable(t *testing.T) {
	t.Parallel()
	s := fixture()
	address := serve(t, s, namerd.Options{})
	asJSON := open(t, address, "/api/1/dtabs/yeezus?watch=true")
	asText := open(t, address, "/api/1/dtabs/yeezus?watch=T", "Accept: text/plain")
	if r := asJSON.response; r.StatusCode != 200 || r.Header.Get("Content-Type") != "application/json" || r.Header.Get("ETag") != "" ||
		r.ContentLength != -1 || r.TransferEncoding[0] != "chunked" {
		t.Errorf("head: %+v", r)
	}
	if got := asText.response.Header.Get("Content-Type"); got != "text/plain" {
		t.Error(got)
	}
	asJSON.next(`[{"prefix":"/yeezy","dst":"/yeezus"}]`)
	asText.next(`/yeezy=>/yeezus`)
	must(t, s.Put(t.Context(), "yeezus", parse("/yeezy=>/kanye")))
	asJSON.next(`[{"prefix":"/yeezy","dst":"/kanye"}]`)
	asText.next(`/yeezy=>/kanye`)
	must(t, s.Put(t.Context(), "tlop", parse("/other=>/table")))
	asText.silent()
	must(t, s.Put(t.Context(), "yeezus", parse("/yeezy=>/kanye"))) // the same text, another version
	asText.next(`/yeezy=>/kanye`)
	must(t, s.Delete(t.Context(), "yeezus"))
	asText.silent()
	must(t, s.Create(t.Context(), "yeezus", parse("/yeezy=>/kanye")))
	asText.next(`/yeezy=>/kanye`)
}

func TestWatchTableCreatedLater(t *testing.T) {
	t.Parallel()
	s := fixture()
	address := serve(t, s, namerd.Options{})
	plain, absent := open(t, address, "/api/1/dtabs/graduation?watch=1"), open(t, address, "/api/1/dtabs/graduation?watch=1;absent=1")
	if plain.response.StatusCode != 200 {
		t.Fatal(plain.response.Status)
	}
	absent.next("null")
	plain.silent()
	if r, _ := send(t, address, "POST", "/api/1/dtabs/graduation", "/a=>/b", "Content-Type: application/dtab"); r.StatusCode != 204 {
		t.Fatal(r.Status)
	}
	plain.next(`[{"prefix":"/a","dst":"/b"}]`)
	absent.next(`[{"prefix":"/a","dst":"/b"}]`)
	send(t, address, "DELETE", "/api/1/dtabs/graduation", "")
	absent.next("null")
	plain.silent()
}

func TestWatchNames(t *testing.T) {
	t.Parallel()
	s := fixture()
	address := serve(t, s, namerd.Options{NamesInterval: 20 * time.Millisecond})
	names := open(t, address, "/api/1/dtabs?watch=true")
	names.next(`["tlop","yeezus"]`)
	must(t, s.Create(t.Context(), "graduation", nil)) // behind the server's back
	names.next(`["graduation","tlop","yeezus"]`)
	must(t, s.Put(t.Context(), "graduation", parse("/a=>/b")))
	names.silent()
	must(t, s.Delete(t.Context(), "graduation"))
	names.next(`["tlop","yeezus"]`)
}

// A change through the API is not waited for.
func TestWatchNamesAtOnce(t *testing.T) {
	t.Parallel()
	address := serve(t, store.NewMemory(nil), namerd.Options{NamesInterval: time.Hour})
	names := open(t, address, "/api/1/dtabs/?watch=true")
	names.next(`[]`)
	send(t, address, "PUT", "/api/1/dtabs/hello", "/a=>/b", "Content-Type: application/dtab")
	names.next(`["hello"]`)
}

func TestWatchOfBadName(t *testing.T) {
	t.Parallel()
	address := serve(t, fixture(), namerd.Options{})
	if r, _ := send(t, address, "GET", "/api/1/dtabs/a%20b?watch=true", ""); r.StatusCode != 400 {
		t.Error(r.Status)
	}
}

// counted counts the observers that a store has.
type counted struct {
	*store.Memory
	now, ever atomic.Int32
}

func (c *counted) Observe(ctx context.Context, ns string, publish func(store.Observation)) {
	c.ever.Add(1)
	c.now.Add(1)
	defer c.now.Add(-1)
	c.Memory.Observe(ctx, ns, publish)
}

// Any number of readers cost the store one observer, and none when they are gone.
func TestReadersShareAnObserver(t *testing.T) {
	t.Parallel()
	s := &counted{Memory: fixture()}
	address := serve(t, s, namerd.Options{})
	var streams []*stream
	for range 5 {
		streams = append(streams, open(t, address, "/api/1/dtabs/yeezus?watch=true"))
	}
	for _, st := range streams {
		st.next(`[{"prefix":"/yeezy","dst":"/yeezus"}]`)
	}
	if n := s.ever.Load(); n != 1 {
		t.Errorf("%d observers", n)
	}
	for _, st := range streams {
		st.response.Body.Close()
	}
	for deadline := time.Now().Add(10 * time.Second); s.now.Load() > 0; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the observer stays when all readers are gone")
		}
	}
}

// A server that is told to stop ends its streams cleanly, and with open streams stops at once.
func TestStopEndsStreams(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	ctx, stop := contextOf(t)
	done := make(chan error, 1)
	go func() { done <- namerd.NewServer(fixture(), namerd.Options{}).Run(ctx, l) }()
	table := open(t, l.Addr().String(), "/api/1/dtabs/yeezus?watch=true")
	table.next(`[{"prefix":"/yeezy","dst":"/yeezus"}]`)
	names := open(t, l.Addr().String(), "/api/1/dtabs?watch=true")
	names.next(`["tlop","yeezus"]`)
	begun := time.Now()
	stop()
	must(t, <-done)
	if took := time.Since(begun); took > 5*time.Second {
		t.Errorf("stopping took %v", took)
	}
	for _, s := range []*stream{table, names} {
		if line, ok := <-s.lines; ok {
			t.Errorf("got %q", line)
		}
	}
}
