package nomad

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/nomad/api"

	"argosy/dtab"
	"argosy/internal/nomadclient"
	"argosy/internal/settings"
	"argosy/namer"
	"argosy/namer/namertest"
)

// fake is a Nomad that has one service, and answers as it is told.
type fake struct {
	*httptest.Server

	mu      sync.Mutex
	changed chan struct{}
	index   uint64
	entries []*api.ServiceRegistration
	answer  func(w http.ResponseWriter, r *http.Request) bool // in place of the list, where it returns true
	asked   []string                                          // queries, in short
	waiting int                                               // blocking queries now
	most    int
}

func newFake(t *testing.T, entries ...*api.ServiceRegistration) *fake {
	f := &fake{changed: make(chan struct{}), index: 10, entries: entries}
	f.Server = httptest.NewServer(f)
	t.Cleanup(f.Close)
	t.Cleanup(f.CloseClientConnections) // first, so that nobody waits for those that block
	return f
}

// set changes what the fake has.
func (f *fake) set(change func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change()
	close(f.changed)
	f.changed = make(chan struct{})
}

func (f *fake) list(index uint64, entries ...*api.ServiceRegistration) {
	f.set(func() { f.index, f.entries, f.answer = index, entries, nil })
}

func (f *fake) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	after, _ := strconv.ParseUint(q.Get("index"), 10, 64)
	wait, _ := time.ParseDuration(q.Get("wait"))
	f.mu.Lock()
	defer f.mu.Unlock()
	f.asked = append(f.asked, fmt.Sprintf("%s ns=%s filter=%s index=%d", r.URL.Path, q.Get("namespace"), q.Get("filter"), after))
	limit := time.After(wait)
	if after > 0 {
		f.waiting++
		f.most = max(f.most, f.waiting)
	}
	for over := false; !over && after > 0 && f.index == after && f.answer == nil; {
		changed := f.changed
		f.mu.Unlock()
		select {
		case <-changed:
		case <-limit:
			over = true
		case <-r.Context().Done():
			over = true
		}
		f.mu.Lock()
	}
	if after > 0 {
		f.waiting--
	}
	if f.answer != nil && f.answer(w, r) {
		return
	}
	if strings.HasSuffix(r.URL.Path, "/web") {
		reply(w, f.index, f.entries)
	} else {
		reply(w, f.index, nil)
	}
}

func reply(w http.ResponseWriter, index uint64, entries []*api.ServiceRegistration) {
	w.Header().Set("X-Nomad-Index", strconv.FormatUint(index, 10))
	w.Header().Set("X-Nomad-LastContact", "0")
	w.Header().Set("X-Nomad-KnownLeader", "true")
	json.NewEncoder(w).Encode(entries)
}

// once makes the fake answer with an empty list at that index, for one time, and afterwards with what it has then.
func (f *fake) once(empty, index uint64, entries ...*api.ServiceRegistration) {
	f.set(func() {
		f.answer = func(w http.ResponseWriter, _ *http.Request) bool {
			f.answer, f.index, f.entries = nil, index, entries
			reply(w, empty, nil)
			return true
		}
	})
}

func (f *fake) namer(t *testing.T, o Options) *Namer {
	client, err := nomadclient.New(settings.Nomad{Address: f.URL})
	if err != nil {
		t.Fatal(err)
	}
	n := New(client, o, hclog.NewNullLogger(), nil)
	n.query.Rate, n.query.Burst = 1000, 1000
	return n
}

func TestContract(t *testing.T) {
	namertest.Run(t, func(t *testing.T) namertest.Fixture {
		f := newFake(t, inst("a", "10.0.0.1", 80), inst("b", "10.0.0.1", 81))
		return namertest.Fixture{
			Namer: f.namer(t, Options{HoldEmpty: 5 * time.Second}), Name: dtab.Path{"default", "web"}, Missing: dtab.Path{"default", "nothing"},
			Change: func() { f.list(11, inst("c", "10.0.0.2", 82)) },
			Trouble: func() {
				f.set(func() {
					f.answer = func(w http.ResponseWriter, _ *http.Request) bool {
						http.Error(w, "No cluster leader", http.StatusInternalServerError)
						return true
					}
				})
			},
		}
	})
}

// watching is a running watch.
type watching struct {
	t    *testing.T
	mu   sync.Mutex
	last string
	all  []string
	err  error // of the last answer
}

func follow(t *testing.T, n *Namer, path string) *watching {
	t.Helper()
	key, _, ok := n.Split(dtab.MustParsePath(path))
	if !ok {
		t.Fatalf("%s is not split", path)
	}
	w := &watching{t: t, last: "pending"}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		n.Watch(ctx, dtab.Path{"#", "nomad"}, key, func(a namer.Answer) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.err = a.Err
			if w.last = show(a); len(w.all) == 0 || w.all[len(w.all)-1] != w.last {
				w.all = append(w.all, w.last)
			}
		})
	})
	t.Cleanup(func() { cancel(); wg.Wait() })
	return w
}

func (w *watching) expect(want string) {
	w.t.Helper()
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(2 * time.Millisecond) {
		w.mu.Lock()
		last, all := w.last, w.all
		w.mu.Unlock()
		if last == want {
			return
		}
		if time.Now().After(end) {
			w.t.Fatalf("got %q, want %q; so far %q", last, want, all)
		}
	}
}

// only checks all that was published so far.
func (w *watching) only(want ...string) {
	w.t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	if !slices.Equal(w.all, want) {
		w.t.Errorf("published %q, want %q", w.all, want)
	}
}

func TestTagsAndFilter(t *testing.T) {
	other := inst("x", "10.0.0.9", 9)
	other.ServiceName = "db" // as from a server that ignores what it is asked for
	f := newFake(t, inst("a", "10.0.0.1", 80, "v1"), inst("b", "10.0.0.1", 81, "v2", "canary"), other, nil)
	follow(t, f.namer(t, Options{}), "/prod/web").expect("10.0.0.1:80 10.0.0.1:81")
	n := f.namer(t, Options{IncludeTag: true, Filter: `Datacenter == "dc1"`})
	follow(t, n, "/prod/canary/web").expect("10.0.0.1:81")
	follow(t, n, "/prod/Canary/web").expect("~")
	f.mu.Lock()
	defer f.mu.Unlock()
	if want := `/v1/service/web ns=prod filter=Datacenter == "dc1" index=0`; !strings.Contains(strings.Join(f.asked, "\n"), want) {
		t.Errorf("asked %q, want %q", f.asked, want)
	}
}

// Whatever Nomad answers, the last good instances stay, and the first good answer after it counts.
func TestTrouble(t *testing.T) {
	text := func(status int, body string) func(http.ResponseWriter, *http.Request) bool {
		return func(w http.ResponseWriter, _ *http.Request) bool {
			w.Header().Set("X-Nomad-Index", "12")
			w.Header().Set("X-Nomad-LastContact", "0")
			w.Header().Set("X-Nomad-KnownLeader", "true")
			w.WriteHeader(status)
			w.Write([]byte(body))
			return true
		}
	}
	for name, answer := range map[string]func(http.ResponseWriter, *http.Request) bool{
		"no leader":     text(500, "No cluster leader"),
		"no permission": text(403, "Permission denied"),
		"busy":          text(429, "too many"),
		"HTML":          text(200, "<html>"),
		"wrong type":    text(200, `{"a": 1}`),
		"cut off":       text(200, `[{"ID": "a", `),
		"nothing":       text(200, ``),
		"leader unknown": func(w http.ResponseWriter, r *http.Request) bool {
			w.Header().Set("X-Nomad-KnownLeader", "")
			return noLeader(w)
		},
		"without headers": func(w http.ResponseWriter, _ *http.Request) bool { w.Write([]byte("[]")); return true },
		"hung up":         func(http.ResponseWriter, *http.Request) bool { panic(http.ErrAbortHandler) },
	} {
		t.Run(name, func(t *testing.T) {
			f := newFake(t, inst("a", "10.0.0.1", 80))
			n := f.namer(t, Options{HoldEmpty: time.Minute})
			w := follow(t, n, "/default/web")
			w.expect("10.0.0.1:80")
			f.set(func() { f.answer = answer })
			w.expect("10.0.0.1:80 stale")
			other := follow(t, n, "/default/other")
			other.expect("~") // so that alternatives apply
			other.mu.Lock()
			if other.err == nil {
				t.Error("it does not say why")
			}
			other.mu.Unlock()
			f.list(13, inst("b", "10.0.0.2", 80))
			w.expect("10.0.0.2:80")
		})
	}
}

func noLeader(w http.ResponseWriter) bool {
	w.Header().Set("X-Nomad-Index", "0")
	w.Header().Set("X-Nomad-LastContact", "0")
	w.Write([]byte("[]"))
	return true
}

// A server that takes a question and never answers is given up.
func TestSilence(t *testing.T) {
	f := newFake(t, inst("a", "10.0.0.1", 80))
	n := f.namer(t, Options{})
	n.query.Wait, n.query.Timeout = 50*time.Millisecond, 50*time.Millisecond
	w := follow(t, n, "/default/web")
	w.expect("10.0.0.1:80")
	f.set(func() {
		f.answer = func(w http.ResponseWriter, r *http.Request) bool {
			f.mu.Unlock()
			<-r.Context().Done()
			f.mu.Lock()
			return true
		}
	})
	w.expect("10.0.0.1:80 stale")
}

// An index that goes backwards is that of a Nomad that has lost its data or been restored: what came with it is read
// again, and so a list that is empty for a moment only does no harm.
func TestIndexGoesBackwards(t *testing.T) {
	f := newFake(t, inst("a", "10.0.0.1", 80))
	w := follow(t, f.namer(t, Options{}), "/default/web")
	w.expect("10.0.0.1:80")
	f.once(3, 4, inst("b", "10.0.0.2", 80))
	w.expect("10.0.0.2:80")
	w.only("10.0.0.1:80", "10.0.0.2:80")
}

// All instances gone at once are asked for a second time.
func TestAllGoneIsMadeSure(t *testing.T) {
	f := newFake(t, inst("a", "10.0.0.1", 80))
	w := follow(t, f.namer(t, Options{}), "/default/web")
	w.expect("10.0.0.1:80")
	f.once(11, 12, inst("b", "10.0.0.2", 80))
	w.expect("10.0.0.2:80")
	w.only("10.0.0.1:80", "10.0.0.2:80")
}

// More names than there may be connections all get their answers, and changes, with bounded connections.
func TestMoreNamesThanConnections(t *testing.T) {
	f := newFake(t, inst("a", "10.0.0.1", 80))
	n := f.namer(t, Options{})
	n.query.Wait = 300 * time.Millisecond
	var all []*watching
	for i := range 3 * maxBlocking {
		all = append(all, follow(t, n, fmt.Sprintf("/ns%d/web", i)))
	}
	for _, w := range all {
		w.expect("10.0.0.1:80")
	}
	f.list(11, inst("b", "10.0.0.2", 80))
	for _, w := range all {
		w.expect("10.0.0.2:80")
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.most > maxBlocking {
		t.Errorf("%d blocking queries at once, more than %d", f.most, maxBlocking)
	}
}

func TestShareOfTheWait(t *testing.T) {
	n := New(nil, Options{}, hclog.NewNullLogger(), nil)
	for _, c := range []struct {
		watches int64
		want    time.Duration
	}{{1, longestWait}, {maxBlocking, longestWait}, {maxBlocking * 2, turn / 2}, {maxBlocking * 10, turn / 10}, {1e6, shortestWait}} {
		n.watches.Store(c.watches)
		if got := n.shareOf(longestWait); got != c.want {
			t.Errorf("%d names: wait %v, want %v", c.watches, got, c.want)
		}
	}
}
