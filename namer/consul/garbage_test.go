package consul

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"argosy/dtab"
	"argosy/internal/backoff"
	"argosy/internal/blockq"
	"argosy/internal/consulclient"
	"argosy/internal/settings"
	"argosy/namer"
)

// scripted is a Consul that answers every request with what say does.
type scripted struct {
	*httptest.Server
	say    atomic.Pointer[http.HandlerFunc]
	moved  chan struct{} // closed when say changes, so that what blocks is answered
	mu     sync.Mutex
	asked  atomic.Int64
	client *Namer
	said   []string // all answers, in their order
}

// good is one instance of web at that port.
func good(port int) string {
	return fmt.Sprintf(`[{"Node":{"Node":"n","Address":"10.0.0.1","Datacenter":"dc1"},"Service":{"ID":"w%d","Service":"web","Port":%[1]d}}]`, port)
}

func script(t *testing.T, o Options, say http.HandlerFunc) *scripted {
	t.Helper()
	s := &scripted{moved: make(chan struct{})}
	s.say.Store(&say)
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.asked.Add(1)
		s.mu.Lock()
		moved := s.moved
		s.mu.Unlock()
		(*s.say.Load())(w, r.WithContext(context.WithValue(r.Context(), scriptKey{}, moved)))
	}))
	t.Cleanup(func() { s.CloseClientConnections(); s.Close() })
	client, err := consulclient.New(settings.Consul{Address: s.URL})
	if err != nil {
		t.Fatal(err)
	}
	s.client = New(client, o, hclog.NewNullLogger(), nil)
	s.client.query = blockq.Options{
		Timeout: 10 * time.Second, Rate: 1000, Backoff: backoff.New(time.Millisecond, 5*time.Millisecond),
	}
	return s
}

type scriptKey struct{}

// change has everything answered by say from now on.
func (s *scripted) change(say http.HandlerFunc) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.say.Store(&say)
	close(s.moved)
	s.moved = make(chan struct{})
}

// answers gives a body with an index, and blocks while nothing changes.
func answers(body string, index int) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Get("index") == fmt.Sprint(index) {
			wait, _ := time.ParseDuration(r.URL.Query().Get("wait"))
			select {
			case <-r.Context().Value(scriptKey{}).(chan struct{}):
			case <-r.Context().Done():
			case <-time.After(wait):
			}
		}
		w.Header().Set("X-Consul-Index", fmt.Sprint(index))
		w.Write([]byte(body))
	}
}

func says(code int, body string, index ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-Consul-Index", append(index, "9")[0])
		w.WriteHeader(code)
		w.Write([]byte(body))
	}
}

// watch follows web, and returns what stands last.
func (s *scripted) watch(t *testing.T) (last func() string) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		s.client.Watch(ctx, dtab.Path{"#", "c"}, dtab.Path{"dc1", "web"}, func(a namer.Answer) {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.said = append(s.said, show(a))
		})
	})
	t.Cleanup(func() { cancel(); wg.Wait() })
	return func() string {
		s.mu.Lock()
		defer s.mu.Unlock()
		if len(s.said) == 0 {
			return "pending"
		}
		return s.said[len(s.said)-1]
	}
}

// neverNothing sees that the name has always stood for something.
func (s *scripted) neverNothing(t *testing.T) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if slices.Contains(s.said, "~") {
		t.Errorf("said %q", s.said)
	}
}

func wantSoon(t *testing.T, last func() string, want string) {
	t.Helper()
	if !waitFor(func() bool { return last() == want }) {
		t.Fatalf("got %q, want %q", last(), want)
	}
}

// waitFor returns when ok is true, or after a long time.
func waitFor(ok func() bool) bool {
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		if ok() {
			return true
		}
	}
	return false
}

// Whatever comes instead of an answer, the last good set stays, and a good answer is taken up again.
func TestGarbageKeepsTheLastGoodSet(t *testing.T) {
	t.Parallel()
	const one, two = "10.0.0.1:1", "10.0.0.1:2"
	for name, garbage := range map[string]http.HandlerFunc{
		"html":           says(200, "<html><body>log in</body></html>"),
		"no json":        says(200, "[{"),
		"an object":      says(200, `{"error": "x"}`),
		"wrong types":    says(200, `[{"Node": 7, "Service": "web"}]`),
		"nothing":        says(200, ""),
		"a number":       says(200, "17"),
		"500":            says(500, "No cluster leader"),
		"403":            says(403, "Permission denied"),
		"404":            says(404, "no such page"),
		"429":            says(429, "Your IP is issuing too many concurrent connections"),
		"a port as text": says(200, strings.Replace(good(7), ":7", `:"7"`, 1)),
		"hangs":          func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() },
		"hangs in the middle": func(w http.ResponseWriter, r *http.Request) {
			w.Write([]byte("[{"))
			w.(http.Flusher).Flush()
			<-r.Context().Done()
		},
		"closes":              func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
		"empty without index": func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte("[]")) },
		"empty with index 1":  says(200, "[]", "1"), // no leader
		"null without index":  func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte("null")) },
		"filtered": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("X-Consul-Results-Filtered-By-ACLs", "true")
			w.Header().Set("X-Consul-Index", "9")
			w.Header().Set("X-Consul-Lastcontact", "0") // without which the client does not read on
			w.Write([]byte("[]"))
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := script(t, Options{}, answers(good(1), 5))
			if strings.HasPrefix(name, "hangs") {
				s.client.options.Seats.short, s.client.query.Timeout = 100*time.Millisecond, 300*time.Millisecond
			}
			last := s.watch(t)
			wantSoon(t, last, one)
			s.change(garbage)
			wantSoon(t, last, one+" stale")
			time.Sleep(50 * time.Millisecond) // more of it
			if last() != one+" stale" {
				t.Errorf("got %q", last())
			}
			s.change(answers(good(2), 6))
			wantSoon(t, last, two)
		})
	}
}

// An index that goes backwards comes from a Consul that was restored, or has no leader: what it says is asked again.
func TestIndexGoesBackwards(t *testing.T) {
	t.Parallel()
	s := script(t, Options{}, answers(good(1), 50))
	last := s.watch(t)
	wantSoon(t, last, "10.0.0.1:1")
	var lied atomic.Int64
	s.change(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Has("index") && lied.Add(1) == 1 {
			w.Header().Set("X-Consul-Index", "1") // as without a leader
			w.Write([]byte("[]"))
			return
		}
		answers(good(1), 3)(w, r)
	})
	waitFor(func() bool { return lied.Load() > 0 })
	time.Sleep(50 * time.Millisecond)
	s.neverNothing(t)
	if lied.Load() == 0 {
		t.Error("there was no lie")
	}
	s.change(answers(good(2), 4))
	wantSoon(t, last, "10.0.0.1:2")
}

// Empty out of the blue: asked again without blocking before it is believed.
func TestEmptyIsMadeSureOf(t *testing.T) {
	t.Parallel()
	s := script(t, Options{}, answers(good(1), 5))
	last := s.watch(t)
	wantSoon(t, last, "10.0.0.1:1")
	var plain atomic.Int64
	s.change(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Get("index") == "5" {
			answers("[]", 6)(w, r)
			return
		}
		plain.Add(1)
		answers(good(1), 7)(w, r)
	})
	waitFor(func() bool { return plain.Load() > 0 })
	time.Sleep(50 * time.Millisecond)
	s.neverNothing(t)
	if plain.Load() == 0 {
		t.Error("it was not asked again")
	}
	s.change(answers("[]", 9))
	wantSoon(t, last, "~")
}

// An answer from the Consul agent's cache is stale while the agent cannot ask its servers.
func TestAgeOfCachedAnswers(t *testing.T) {
	t.Parallel()
	aged := func(age string, index int) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			if !r.URL.Query().Has("cached") {
				t.Errorf("asked %s", r.URL)
			}
			for k, v := range map[string]string{"X-Cache": "HIT", "Age": age, "X-Consul-Lastcontact": "0"} {
				w.Header().Set(k, v)
			}
			answers(good(1), index)(w, r)
		}
	}
	s := script(t, Options{Cached: true}, aged("0", 5))
	last := s.watch(t)
	wantSoon(t, last, "10.0.0.1:1")
	s.change(aged("7", 6))
	wantSoon(t, last, "10.0.0.1:1 stale")
	s.change(aged("0", 7))
	wantSoon(t, last, "10.0.0.1:1")
}

// Names that differ in letter case have one watch, and ids as they are written.
func TestNamesShareAWatch(t *testing.T) {
	t.Parallel()
	s := script(t, Options{}, answers(good(1), 5))
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	var ids sync.Map
	for _, name := range []string{"web", "Web", "WEB"} {
		wg.Go(func() {
			s.client.Watch(ctx, dtab.Path{"#", "c"}, dtab.Path{"dc1", name}, func(a namer.Answer) { ids.Store(a.Tree.Leaf.Bound.ID.String(), true) })
		})
	}
	count := func() (n int) { ids.Range(func(_, _ any) bool { n++; return true }); return n }
	waitFor(func() bool { return count() == 3 })
	time.Sleep(50 * time.Millisecond)
	if n := s.asked.Load(); count() != 3 || n > 2 {
		t.Errorf("%d ids, %d requests", count(), n)
	}
	cancel()
	wg.Wait()
	if len(s.client.sets.live) != 0 {
		t.Error("the watch goes on")
	}
}
