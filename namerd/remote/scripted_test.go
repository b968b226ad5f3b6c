package remote

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"argosy/dtab"
	"argosy/internal/watch"
	"argosy/namer"
)

// scripted is a Namerd 1.x whose every word a test says: heads at once and without a content type, documents cut into
// chunks as the test likes, errors as text, ends of streams.
type scripted struct {
	t    *testing.T
	http *httptest.Server

	mu       sync.Mutex
	streams  map[string]chan *scriptedStream // by kind and path: those not taken by the test yet
	plain    map[string]func(w http.ResponseWriter)
	refuse   func(w http.ResponseWriter) // what streams get instead
	requests []string
	protocol string
}

type scriptedStream struct {
	text chan string
	over chan struct{} // closed by the test
	gone <-chan struct{}
}

func startScripted(t *testing.T, start func(*httptest.Server)) *scripted {
	s := &scripted{t: t, streams: map[string]chan *scriptedStream{}, plain: map[string]func(http.ResponseWriter){}}
	s.http = httptest.NewUnstartedServer(s)
	start(s.http)
	t.Cleanup(func() {
		s.http.CloseClientConnections()
		s.http.Close()
	})
	return s
}

func (s *scripted) waiting(key string) chan *scriptedStream {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.streams[key] == nil {
		s.streams[key] = make(chan *scriptedStream, 10_000)
	}
	return s.streams[key]
}

func (s *scripted) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	kind, ok := strings.CutPrefix(r.URL.Path, "/api/1/")
	kind, namespace, _ := strings.Cut(kind, "/")
	if !ok || namespace != "default" {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	key := kind + " " + r.URL.Query().Get("path")
	s.mu.Lock()
	s.requests = append(s.requests, r.Method+" "+r.URL.RequestURI()+" "+r.Header.Get("Authorization"))
	s.protocol = r.Proto
	plain, refuse := s.plain[key], s.refuse
	s.mu.Unlock()
	w.Header()["Content-Type"] = nil
	if r.URL.Query().Get("watch") == "" {
		if plain == nil { // not known yet: no answer and no timeout
			<-r.Context().Done()
			return
		}
		plain(w)
		return
	}
	if refuse != nil {
		refuse(w)
		return
	}
	flush := http.NewResponseController(w).Flush
	w.WriteHeader(http.StatusOK)
	_ = flush()
	stream := &scriptedStream{text: make(chan string), over: make(chan struct{}), gone: r.Context().Done()}
	s.waiting(key) <- stream
	for {
		select {
		case text := <-stream.text:
			fmt.Fprint(w, text)
			_ = flush()
		case <-stream.over:
			return
		case <-r.Context().Done():
			return
		}
	}
}

// stream waits for the next stream of a name.
func (s *scripted) stream(kind, path string) *scriptedStream {
	s.t.Helper()
	select {
	case stream := <-s.waiting(kind + " " + path):
		return stream
	case <-time.After(10 * time.Second):
		s.t.Fatalf("no stream of %s %s", kind, path)
		return nil
	}
}

// send writes one chunk.
func (st *scriptedStream) send(text string) {
	select {
	case st.text <- text:
	case <-st.gone:
	}
}

// say ends the stream as Namerd does after an error.
func (st *scriptedStream) fail(text string) {
	st.send(text)
	close(st.over)
}

func (s *scripted) answer(kind, path string, status int, body string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.plain[kind+" "+path] = func(w http.ResponseWriter) {
		w.WriteHeader(status)
		fmt.Fprint(w, body)
	}
}

func (s *scripted) refuseStreams(f func(w http.ResponseWriter)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refuse = f
}

// asked are the requests that start so.
func (s *scripted) asked(start string) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []string
	for _, r := range s.requests {
		if strings.HasPrefix(r, start) {
			all = append(all, r)
		}
	}
	return all
}

// quick are times for tests.
var quick = times{shortest: 5 * time.Millisecond, longest: 50 * time.Millisecond, patience: 50 * time.Millisecond, poll: 20 * time.Millisecond}

func open(t *testing.T, s *scripted, o Options) *Interpreter {
	t.Helper()
	o.Address = s.http.URL
	in, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	in.times = quick
	t.Cleanup(in.Close)
	return in
}

// show is a binding in one line.
func show(b namer.Binding) string {
	text := b.Status.String()
	if b.Status == namer.OK {
		text = dtab.Show(b.Tree, func(l namer.Bound) string {
			leaf := l.ID.String()
			if len(l.Residual) > 0 {
				leaf += " + " + l.Residual.String()
			}
			leaf += " " + l.Addr.Status.String()
			for _, e := range l.Addr.Endpoints {
				leaf += " " + e.Addr
				if e.Weight != 1 {
					leaf += fmt.Sprintf("*%v", e.Weight)
				}
			}
			if l.Addr.Err != nil {
				leaf += " " + l.Addr.Err.Error()
			}
			if l.Addr.Stale {
				leaf += " stale"
			}
			return "{" + leaf + "}"
		})
	}
	if b.Err != nil {
		text += ": " + b.Err.Error()
	}
	return text
}

// want waits until the binding is what is wanted; URL stands for the address of the server.
func (s *scripted) want(r watch.Reader[namer.Binding], want string) namer.Binding {
	s.t.Helper()
	return s.wantMatch(r, want, func(b namer.Binding) bool { return s.plainText(b) == want })
}

func (s *scripted) plainText(b namer.Binding) string {
	return strings.ReplaceAll(show(b), s.http.URL, "URL")
}

func (s *scripted) wantMatch(r watch.Reader[namer.Binding], what string, ok func(namer.Binding) bool) namer.Binding {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	var last namer.Binding
	for b := range watch.Values(ctx, r) {
		if last = b; ok(b) {
			return b
		}
	}
	s.t.Fatalf("got  %s\nwant %s", s.plainText(last), what)
	return last
}

// never checks that the binding stays as it is for a while.
func (s *scripted) never(r watch.Reader[namer.Binding], bad func(namer.Binding) bool) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
	defer cancel()
	for b := range watch.Values(ctx, r) {
		if bad(b) {
			s.t.Fatalf("is %s", s.plainText(b))
		}
	}
}

func path(text string) dtab.Path { return dtab.MustParsePath(text) }

func leafJSON(id, residual, addr string) string {
	return fmt.Sprintf(`{"type":"leaf","bound":{"addr":%s,"id":%q,"path":%q}}`, addr, id, residual)
}

func addrJSON(addrs ...string) string {
	var parts []string
	for _, a := range addrs {
		ip, port, _ := strings.Cut(a, ":")
		parts = append(parts, fmt.Sprintf(`{"ip":%q,"port":%s,"meta":{}}`, ip, port))
	}
	return `{"type":"bound","addrs":[` + strings.Join(parts, ",") + `],"meta":{}}`
}

const pendingJSON = `{"type":"pending"}`

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not in time: %s", what)
		}
	}
}
