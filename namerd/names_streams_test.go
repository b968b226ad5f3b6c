package namerd_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"argosy/dtab"
	"argosy/internal/watch"
	"argosy/namer"
	"argosy/namer/manual"
	"argosy/namer/static"
	"argosy/namerd"
	"argosy/namerd/store"
	"argosy/namerd/wire"
)

const fooID = "/#/io.l5d.namer/foo"

func TestWatchBind(t *testing.T) {
	t.Parallel()
	w := newWorld(t, namerd.Options{})
	const target = "/api/1/bind/default?path=/foo&watch=true"
	first := open(t, w.address, target)
	if r := first.response; r.StatusCode != 200 || r.Header["Content-Type"] != nil || r.TransferEncoding[0] != "chunked" || r.Header.Get("Content-Length") != "" {
		t.Errorf("head: %+v", r)
	}
	first.next(leaf(set("127.0.0.1:1"), fooID, "/"))
	must(t, w.tables.Put(t.Context(), "default", parse("/foo=>~")))
	first.next(neg)
	must(t, w.tables.Put(t.Context(), "default", parse("/foo=>/#/io.l5d.namer/bar")))
	first.next(leaf(set("127.0.0.1:2"), "/#/io.l5d.namer/bar", "/"))

	// Addresses alone are no change; but who comes later gets those of then.
	w.namer.SetEndpoints("bar", "127.0.0.1:3")
	await(t, func() bool {
		return strings.Contains(bodyOf(t, w.address, "/api/1/bind/default?path=/foo"), `"port":3`)
	})
	first.silent()
	late := open(t, w.address, target)
	late.next(leaf(set("127.0.0.1:3"), "/#/io.l5d.namer/bar", "/"))

	// What fails is silent; the stream stays and goes on.
	w.namer.Fail("bar", errors.New("no cluster leader"))
	must(t, w.tables.Put(t.Context(), "default", parse("/foo=>/foo/x")))
	first.silent()
	must(t, w.tables.Put(t.Context(), "default", parse("/foo=>/#/io.l5d.namer/bar|/#/io.l5d.namer/foo")))
	first.silent()
	w.namer.SetEndpoints("bar", "127.0.0.1:4")
	first.silent() // bound as it was last told
	w.namer.Remove("bar")
	first.next(leaf(set("127.0.0.1:1"), fooID, "/"))
	late.next(leaf(set("127.0.0.1:1"), fooID, "/"))

	must(t, w.tables.Delete(t.Context(), "default"))
	first.next(neg) // no namespace is the empty table
	must(t, w.tables.Create(t.Context(), "default", parse("/foo=>9*/#/io.l5d.namer/foo & /$/nil")))
	first.next(`{"type":"union","union":[{"weight":9.0,"tree":` + leaf(`{"type":"bound","addrs":[{"ip":"127.0.0.1","port":1,"meta":{}}],"meta":{"namer_nametree_weight":9.0}}`, fooID, "/") +
		`},{"weight":1.0,"tree":{"type":"empty"}}]}`)
	must(t, w.tables.Put(t.Context(), "default", parse("/foo=>9*/#/io.l5d.namer/foo & /$/nil ; /other => /x"))) // another table, the same tree
	first.silent()
}

func bodyOf(t *testing.T, address, target string) string {
	_, body := send(t, address, "GET", target, "")
	return body
}

func await(t *testing.T, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !done(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("it does not come")
		}
	}
}

// What fails from the beginning, or is not known, has a head and silence until it is.
func TestWatchFromFailure(t *testing.T) {
	t.Parallel()
	w := newWorld(t, namerd.Options{})
	w.namer.Fail("broken", errors.New("no cluster leader"))
	var streams []*stream
	for _, target := range []string{"bind/default?path=/%23/io.l5d.namer/broken", "addr/default?path=/%23/io.l5d.namer/broken", "resolve/default?path=/%23/io.l5d.namer/broken",
		"bind/default?path=/%23/io.l5d.namer/later", "addr/default?path=/%23/io.l5d.namer/later", "resolve/default?path=/%23/io.l5d.namer/later"} {
		streams = append(streams, open(t, w.address, "/api/1/"+target+"&watch=1"))
	}
	for _, s := range streams {
		s.silent()
	}
	w.namer.SetEndpoints("broken", "127.0.0.1:5")
	w.namer.SetEndpoints("later", "127.0.0.1:6")
	for i, want := range []string{leaf(set("127.0.0.1:5"), "/#/io.l5d.namer/broken", "/"), set("127.0.0.1:5"), set("127.0.0.1:5"),
		leaf(set("127.0.0.1:6"), "/#/io.l5d.namer/later", "/"), set("127.0.0.1:6"), set("127.0.0.1:6")} {
		streams[i].next(want)
	}
}

func TestWatchAddr(t *testing.T) {
	t.Parallel()
	w := newWorld(t, namerd.Options{})
	s := open(t, w.address, "/api/1/addr/default?path=/%23/io.l5d.namer/foo&watch=true")
	if s.response.Header["Content-Type"] != nil {
		t.Error(s.response.Header)
	}
	s.next(set("127.0.0.1:1"))
	w.namer.SetEndpoints("foo", "127.0.0.1:1", "127.0.0.1:2")
	s.next(set("127.0.0.1:1", "127.0.0.1:2"))
	w.namer.SetAddr("foo", namer.Addr{Status: namer.OK, Stale: true, Endpoints: []namer.Endpoint{{Addr: "127.0.0.1:1", Weight: 1}, {Addr: "127.0.0.1:2", Weight: 1}}})
	s.silent() // the same to a reader
	w.namer.Remove("foo")
	s.next(neg)
	w.namer.SetEndpoints("foo", "127.0.0.1:3")
	s.next(set("127.0.0.1:3"))
	w.namer.Fail("foo", errors.New("no cluster leader"))
	w.namer.Forget("foo")
	s.silent()
	w.namer.SetAddr("foo", namer.Addr{Status: namer.Failed, Err: errors.New("malformed address: x")})
	s.next(`{"type":"failed","cause":"malformed address: x"}`)
	w.namer.SetEndpoints("foo")
	s.next(set())
}

func TestWatchResolve(t *testing.T) {
	t.Parallel()
	w := newWorld(t, namerd.Options{})
	s := open(t, w.address, "/api/1/resolve/default?path=/yeezy&dtab=/yeezy=>/foo&watch=true")
	if got := s.response.Header.Get("Content-Type"); got != "application/json" {
		t.Error(got)
	}
	s.next(set("127.0.0.1:1"))
	w.namer.SetEndpoints("foo", "127.0.0.1:1", "127.0.0.1:2")
	s.next(set("127.0.0.1:1", "127.0.0.1:2"))
	w.namer.Remove("foo")
	s.next(neg)
	must(t, w.tables.Put(t.Context(), "default", parse("/foo=>/#/io.l5d.namer/bar")))
	s.next(set("127.0.0.1:2"))
	must(t, w.tables.Put(t.Context(), "default", parse("/foo=>!")))
	s.next(neg)
	must(t, w.tables.Put(t.Context(), "default", parse("/foo=>$")))
	s.silent()
}

// Each reader, and each poll, draws one leaf by weight.
func TestResolveDraws(t *testing.T) {
	t.Parallel()
	source := rand.New(rand.NewPCG(1, 2))
	w := newWorld(t, namerd.Options{Random: source.Float64})
	must(t, w.tables.Put(t.Context(), "default", parse("/x=>4*/#/io.l5d.namer/foo & 5*(/#/io.l5d.namer/bar & 4*/#/io.l5d.namer/none) & 1*$ & 7*/nope")))
	w.namer.SetEndpoints("none")
	count := map[string]int{}
	const n = 1000
	for range n {
		count[strings.TrimSpace(bodyOf(t, w.address, "/api/1/resolve/default?path=/x"))]++
	}
	for body, share := range map[string]float64{set("127.0.0.1:1"): 0.4, set("127.0.0.1:2"): 0.1, set(): 0.4, neg: 0.1} {
		if got := float64(count[body]) / n; got < share-0.06 || got > share+0.06 {
			t.Errorf("%s: %v of all, want %v", body, got, share)
		}
	}
}

func TestWatchBoundNames(t *testing.T) {
	t.Parallel()
	tables := fixture()
	n, err := static.New(map[string][]string{"web": {"127.0.0.1:1"}, `\x61\x20\x62\x22\xff`: {}, "db": {"127.0.0.1:2"}})
	must(t, err)
	mounts := []namer.Mount{{Prefix: dtab.MustParsePath("/#/s"), Namer: n}, {Prefix: dtab.MustParsePath("/#/r"), Namer: n}, {Prefix: dtab.MustParsePath("/#/m"), Namer: manual.New(1)}}
	address := serve(t, tables, namerd.Options{Names: naming(t, tables, namer.Options{Mounts: mounts}), NamesInterval: 10 * time.Millisecond})
	const want = `["/#/r/\\x61\\x20\\x62\\x22\\xff","/#/r/db","/#/r/web","/#/s/\\x61\\x20\\x62\\x22\\xff","/#/s/db","/#/s/web"]`
	if got := bodyOf(t, address, "/api/1/bound-names"); got != want+"\n" {
		t.Error(got)
	}
	s := open(t, address, "/api/1/bound-names?watch=true")
	s.next(want)
	s.silent()
}

// TestServiceResurrection does what Linkerd's client does, as its own end-to-end test has it: it follows the tree of a
// name, and the addresses of the id that it finds there.
func TestServiceResurrection(t *testing.T) {
	t.Parallel()
	tables := store.NewMemory(map[string]dtab.Dtab{"default": parse("/svc => /io.l5d.w00t")})
	n := manual.New(1)
	address := serve(t, tables, namerd.Options{Names: naming(t, tables, namer.Options{Mounts: []namer.Mount{{Prefix: dtab.MustParsePath("/io.l5d.w00t"), Namer: n}}})})
	const id = "/io.l5d.w00t/foo"
	tree := open(t, address, "/api/1/bind/default?path=/svc/foo&watch=1&dtab=")
	tree.silent() // pending
	n.SetEndpoints("foo")
	tree.next(leaf(set(), id, "/"))
	addr := open(t, address, "/api/1/addr/default?path=/io.l5d.w00t/foo&watch=1")
	addr.next(set())
	n.SetAddr("foo", namer.Addr{Status: namer.OK, Meta: map[string]string{"authority": "acme.co"}, Endpoints: []namer.Endpoint{{Addr: "127.0.0.1:1", Weight: 1}}})
	addr.next(`{"type":"bound","addrs":[{"ip":"127.0.0.1","port":1,"meta":{}}],"meta":{"authority":"acme.co"}}`)
	n.SetEndpoints("foo", "127.0.0.1:1", "127.0.0.1:2")
	addr.next(set("127.0.0.1:1", "127.0.0.1:2"))
	tree.silent()
	n.Remove("foo")
	tree.next(neg)
	addr.next(neg)
	n.SetEndpoints("foo", "127.0.0.1:3")
	tree.next(leaf(set("127.0.0.1:3"), id, "/"))
	addr.next(set("127.0.0.1:3"))
	n.SetEndpoints("foo", "127.0.0.1:4")
	addr.next(set("127.0.0.1:4"))

	// "use last good bind data": nothing comes that would take it away.
	n.Fail("foo", errors.New("error"))
	tree.silent()
	addr.silent()
}

// TestDelegationEndToEnd is the delegation of the same test.
func TestDelegationEndToEnd(t *testing.T) {
	t.Parallel()
	tables := store.NewMemory(map[string]dtab.Dtab{"default": parse("/srv => /io.l5d.w00t; /host => /srv; /svc => /host")})
	n := manual.New(1)
	n.SetEndpoints("woop", "127.0.0.1:9000")
	n.Remove("poop")
	address := serve(t, tables, namerd.Options{Names: naming(t, tables, namer.Options{Mounts: []namer.Mount{{Prefix: dtab.MustParsePath("/io.l5d.w00t"), Namer: n}}})})
	got := bodyOf(t, address, "/api/1/delegate/default?path=/svc/poop&dtab=/host/poop=>/srv/woop")
	const want = `{"type":"delegate","path":"/svc/poop","delegate":{"type":"alt","path":"/host/poop","dentry":{"prefix":"/svc","dst":"/host"},"alt":[` +
		`{"type":"delegate","path":"/srv/woop","dentry":{"prefix":"/host/poop","dst":"/srv/woop"},"delegate":{"type":"leaf","path":"/io.l5d.w00t/woop","dentry":{"prefix":"/srv","dst":"/io.l5d.w00t"},` +
		`"bound":{"addr":{"type":"bound","addrs":[{"ip":"127.0.0.1","port":9000,"meta":{}}],"meta":{}},"id":"/io.l5d.w00t/woop","path":"/"}}},` +
		`{"type":"delegate","path":"/srv/poop","dentry":{"prefix":"/host","dst":"/srv"},"delegate":{"type":"neg","path":"/io.l5d.w00t/poop","dentry":{"prefix":"/srv","dst":"/io.l5d.w00t"}}}]}}`
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if _, err := wire.DecodeDelegation([]byte(got)); err != nil {
		t.Error(err)
	}
}

// Readers of the same name cost one binding, and none when they are gone.
func TestReadersShareABinding(t *testing.T) {
	t.Parallel()
	w := newWorld(t, namerd.Options{})
	w.namer.SetEndpoints("only", "127.0.0.1:7")
	var streams []*stream
	for range 20 {
		for _, route := range []string{"bind", "resolve", "addr"} {
			streams = append(streams, open(t, w.address, "/api/1/"+route+"/default?watch=1&path=/%23/io.l5d.namer/only"))
		}
	}
	for _, s := range streams {
		if line := <-s.lines; !strings.Contains(line, `"port":7`) {
			t.Error(line)
		}
	}
	if n := w.namer.Opened("only"); n != 1 {
		t.Errorf("%d watches", n)
	}
	for _, s := range streams {
		s.response.Body.Close()
	}
	await(t, func() bool { return len(w.namer.Watching()) == 0 })
	if body := bodyOf(t, w.address, "/metrics"); !strings.Contains(body, `argosy_namerd_watchers{route="bind"} 0`) {
		await(t, func() bool {
			return strings.Contains(bodyOf(t, w.address, "/metrics"), `argosy_namerd_watchers{route="bind"} 0`)
		})
	}
}

// A store that is in trouble takes nothing away.
func TestWatchThroughTrouble(t *testing.T) {
	t.Parallel()
	s := &scripted{cell: watch.New(store.Observation{}, nil)}
	n := manual.New(1)
	n.SetEndpoints("foo", "127.0.0.1:1")
	address := serve(t, s, namerd.Options{Names: naming(t, s, namer.Options{Mounts: []namer.Mount{{Prefix: dtab.MustParsePath("/#/io.l5d.namer"), Namer: n}}})})
	var streams []*stream
	for _, target := range []string{"bind/default?path=/foo", "resolve/default?path=/foo", "dtabs/default?"} {
		streams = append(streams, open(t, address, "/api/1/"+target+"&watch=1"))
	}
	silent := func() {
		for _, st := range streams {
			st.silent()
		}
	}
	silent()
	s.cell.Set(store.Observation{Err: errors.New("no cluster leader")})
	silent()
	good := store.Observation{Known: true, Exists: true, Entry: store.Entry{Dtab: parse("/foo=>/#/io.l5d.namer/foo"), Version: "1"}}
	s.cell.Set(good)
	for i, want := range []string{leaf(set("127.0.0.1:1"), fooID, "/"), set("127.0.0.1:1"), `[{"prefix":"/foo","dst":"/#/io.l5d.namer/foo"}]`} {
		streams[i].next(want)
	}
	good.Err = errors.New("value does not parse")
	s.cell.Set(good)
	silent()
	good.Err = nil
	s.cell.Set(good)
	silent()
}

// scripted is a store that shows its watchers what the test sets.
type scripted struct {
	store.Memory
	cell *watch.Cell[store.Observation]
}

func (s *scripted) List(ctx) ([]string, error) { return nil, fmt.Errorf("not asked for") }

func (s *scripted) Observe(ctx ctx, ns string, publish func(store.Observation)) {
	for o := range watch.Values(ctx, s.cell) {
		publish(o)
	}
}
