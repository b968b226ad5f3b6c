package remote

import (
	"context"
	"math"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"
	"time"

	"argosy/dtab"
	"argosy/namer"
)

func TestFollowsTreesAndAddresses(t *testing.T) {
	s := startScripted(t, (*httptest.Server).Start)
	in := open(t, s, Options{Local: mustDtab(t, "/svc/x => /svc/y;/a=>/b")})
	r := in.Bind(t.Context(), path("/svc/redis"))
	if b, _ := r.Load(); b.Status != namer.Pending {
		t.Errorf("at first: %s", show(b))
	}
	tree := s.stream("bind", "/svc/redis")
	tree.send(leafJSON("/#/fs/redis1", "/rest", pendingJSON) + "\n")
	addr1 := s.stream("addr", "/#/fs/redis1")
	s.want(r, "{/#/fs/redis1 + /rest pending}")
	addr1.send(addrJSON("10.0.0.1:6379") + "\n")
	s.want(r, "{/#/fs/redis1 + /rest ok 10.0.0.1:6379}")
	addr1.send(`{"type":"bound","addrs":[{"ip":"10.0.0.1","port":1,"meta":{"endpoint_addr_weight":2.5,"nodeName":"n"}},{"ip":"::1","port":2,"meta":{"o":{"p":1}}}],"meta":{"authority":"a"}}` + "\n")
	b := s.want(r, "{/#/fs/redis1 + /rest ok 10.0.0.1:1*2.5 [::1]:2}")
	if len(b.Clusters) != 1 || b.Clusters[0].Share != 1 || b.Clusters[0].Residual.String() != "/rest" {
		t.Errorf("clusters %+v", b.Clusters)
	}

	// A union: weights are shares, and the stream of the cluster that stays is kept.
	tree.send(`{"type":"union","union":[{"weight":9.0,"tree":` + leafJSON("/#/fs/redis1", "/", addrJSON("9.9.9.9:9")) +
		`},{"weight":1.0,"tree":` + leafJSON("/#/fs/redis2", "/", addrJSON("10.0.0.2:6379")) + "}]}\n")
	// The addresses that came with the tree serve until the stream has others.
	b = s.want(r, "9.00*{/#/fs/redis1 ok 10.0.0.1:1*2.5 [::1]:2} & {/#/fs/redis2 ok 10.0.0.2:6379}")
	if len(b.Clusters) != 2 || math.Abs(b.Clusters[0].Share-0.9) > 1e-9 || math.Abs(b.Clusters[1].Share-0.1) > 1e-9 {
		t.Errorf("clusters %+v", b.Clusters)
	}
	addr2 := s.stream("addr", "/#/fs/redis2")
	addr2.send(addrJSON() + "\n")
	s.want(r, "9.00*{/#/fs/redis1 ok 10.0.0.1:1*2.5 [::1]:2} & {/#/fs/redis2 ok}")
	if n := len(s.asked("GET /api/1/addr/default?path=%2F%23%2Ffs%2Fredis1")); n != 1 {
		t.Errorf("%d streams of redis1", n)
	}

	// Being nothing is an answer, and gives up the addresses; the same id may come back.
	for _, c := range []struct{ sent, want string }{{`{"type":"neg"}`, "~"}, {`{"type":"fail"}`, "!"}, {`{"type":"empty"}`, "$"}} {
		tree.send(c.sent + "\n")
		s.want(r, c.want)
	}
	for _, gone := range []*scriptedStream{addr1, addr2} {
		select {
		case <-gone.gone:
		case <-time.After(10 * time.Second):
			t.Fatal("a stream nobody needs stays open")
		}
	}
	tree.send(leafJSON("/#/fs/redis1", "/", pendingJSON) + "\n")
	again := s.stream("addr", "/#/fs/redis1")
	again.send(`{"type":"neg"}` + "\n")
	s.want(r, "{/#/fs/redis1 neg}")
	again.send(`{"type":"failed","cause":"malformed address: x"}` + "\n")
	s.want(r, "{/#/fs/redis1 failed malformed address: x}")
	again.send(addrJSON("10.0.0.3:1") + "\n")
	s.want(r, "{/#/fs/redis1 ok 10.0.0.3:1}")
	again.send(`{"type":"failed","cause":"x"}` + "\n") // the last good ones stay
	s.want(r, "{/#/fs/redis1 ok 10.0.0.3:1 stale}")

	want := "GET /api/1/bind/default?path=%2Fsvc%2Fredis&watch=1&dtab=%2Fsvc%2Fx%3D%3E%2Fsvc%2Fy%3B%2Fa%3D%3E%2Fb "
	if got := s.asked("GET /api/1/bind"); len(got) != 1 || got[0] != want {
		t.Errorf("asked %q, want %q", got, want)
	}
}

// Chunks are no documents.
func TestChunksCutAnywhere(t *testing.T) {
	s := startScripted(t, (*httptest.Server).Start)
	r := open(t, s, Options{Mode: Stream}).Bind(t.Context(), path("/svc/redis"))
	tree := s.stream("bind", "/svc/redis")
	document := leafJSON("/#/fs/redis", "/", addrJSON("10.0.0.1:1")) + "\n"
	for _, b := range []byte(document) {
		tree.send(string(b))
	}
	s.want(r, "{/#/fs/redis ok 10.0.0.1:1}")
	addr := s.stream("addr", "/#/fs/redis")
	addr.send(addrJSON("10.0.0.2:2") + addrJSON("10.0.0.3:3") + "\n\n" + addrJSON("10.0.0.4:4")[:20])
	s.want(r, "{/#/fs/redis ok 10.0.0.3:3}")
	addr.send(addrJSON("10.0.0.4:4")[20:]) // complete without its newline
	s.want(r, "{/#/fs/redis ok 10.0.0.4:4}")
}

// A text that is not JSON ends its stream. What is known stays, and the stream is opened again.
func TestErrorsInStreams(t *testing.T) {
	s := startScripted(t, (*httptest.Server).Start)
	r := open(t, s, Options{Mode: Stream}).Bind(t.Context(), path("/svc/redis"))
	s.stream("bind", "/svc/redis").fail("Max recursion level: 100 reached\tin Namer lookup\nmore\n")
	s.want(r, "failed: namerd at URL: Max recursion level: 100 reached in Namer lookup")
	tree := s.stream("bind", "/svc/redis")
	tree.send(leafJSON("/#/fs/redis", "/", pendingJSON) + "\n")
	addr := s.stream("addr", "/#/fs/redis")
	addr.send(addrJSON("10.0.0.1:1") + "\n")
	s.want(r, "{/#/fs/redis ok 10.0.0.1:1}")

	tree.fail("error\n")
	for i := range 4 {
		text := []string{"error", `{"type":"what"}`, `{"type":"leaf"}`, "[1]"}[i]
		s.stream("bind", "/svc/redis").fail(text + "\n")
		s.wantMatch(r, "stale beside "+text, func(b namer.Binding) bool {
			return b.Status == namer.OK && b.Err != nil && strings.HasPrefix(show(b), "{/#/fs/redis ok 10.0.0.1:1}: ")
		})
	}
	s.stream("bind", "/svc/redis").send(leafJSON("/#/fs/redis", "/rest", addrJSON("10.0.0.9:9")) + "\n")
	s.want(r, "{/#/fs/redis + /rest ok 10.0.0.1:1}") // the addresses of the tree are older than those of the stream

	addr.send(addrJSON("10.0.0.2:2") + "\n")
	s.want(r, "{/#/fs/redis + /rest ok 10.0.0.2:2}")
	addr.fail("name tree failed\n")
	for range 4 {
		s.stream("addr", "/#/fs/redis").fail(`{"type":"bound","addrs":[{"ip":"nowhere","port":1,"meta":{}}],"meta":{}}`)
	}
	s.want(r, "{/#/fs/redis + /rest ok 10.0.0.2:2 stale}")
	s.stream("addr", "/#/fs/redis").send(addrJSON("10.0.0.3:3") + "\n")
	s.want(r, "{/#/fs/redis + /rest ok 10.0.0.3:3}")
}

// A stream that breaks and is back at once is nothing to tell.
func TestReconnectsQuietly(t *testing.T) {
	s := startScripted(t, (*httptest.Server).Start)
	in := open(t, s, Options{Mode: Stream})
	in.times.patience = 5 * time.Second
	r := in.Bind(t.Context(), path("/svc/redis"))
	for range 5 {
		tree := s.stream("bind", "/svc/redis")
		tree.send(leafJSON("/#/fs/redis", "/", addrJSON("10.0.0.1:1")) + "\n")
		b := s.want(r, "{/#/fs/redis ok 10.0.0.1:1}")
		close(tree.over)
		s.never(r, func(now namer.Binding) bool { return !now.Equal(b) })
	}
}

// A server that ends every stream is not hammered.
func TestNoTightLoop(t *testing.T) {
	for _, text := range []string{"", "error\n", leafJSON("/#/fs/redis", "/", addrJSON("10.0.0.1:1")) + "\n"} {
		s := startScripted(t, (*httptest.Server).Start)
		s.refuseStreams(func(w http.ResponseWriter) { _, _ = w.Write([]byte(text)) })
		in := open(t, s, Options{Mode: Stream})
		in.times.shortest, in.times.longest = 50*time.Millisecond, 200*time.Millisecond
		in.Bind(t.Context(), path("/svc/redis"))
		time.Sleep(time.Second)
		if n := len(s.asked("GET /api/1/bind")); n < 3 || n > 21 {
			t.Errorf("%q: %d streams in a second", text, n)
		}
	}
}

func TestNamesShareAddressStreams(t *testing.T) {
	s := startScripted(t, (*httptest.Server).Start)
	in := open(t, s, Options{Mode: Stream})
	ctx, cancel := context.WithCancel(t.Context())
	one, two := in.Bind(ctx, path("/svc/a")), in.Bind(t.Context(), path("/svc/b"))
	for _, name := range []string{"/svc/a", "/svc/b"} {
		s.stream("bind", name).send(leafJSON("/#/fs/redis", "/", pendingJSON))
	}
	addr := s.stream("addr", "/#/fs/redis")
	addr.send(addrJSON("10.0.0.1:1"))
	s.want(one, "{/#/fs/redis ok 10.0.0.1:1}")
	s.want(two, "{/#/fs/redis ok 10.0.0.1:1}")
	if n := in.Streams(); n != 3 {
		t.Errorf("%d streams", n)
	}
	cancel()
	eventually(t, "two streams are left", func() bool { return in.Streams() == 2 })
	addr.send(addrJSON("10.0.0.2:2"))
	s.want(two, "{/#/fs/redis ok 10.0.0.2:2}")
	if b, _ := one.Load(); show(b) != "{/#/fs/redis ok 10.0.0.1:1}" {
		t.Errorf("a binding that has ended goes on: %s", show(b))
	}
}

func TestCap(t *testing.T) {
	s := startScripted(t, (*httptest.Server).Start)
	in := open(t, s, Options{Mode: Stream, MaxStreams: 1})
	in.Bind(t.Context(), path("/svc/a"))
	s.stream("bind", "/svc/a")
	r := in.Bind(t.Context(), path("/svc/b"))
	s.want(r, "failed: too many streams are open: raise max_streams, or use mode = \"poll\"")

	// In auto mode the name is polled.
	s.answer("resolve", "/svc/c", 200, addrJSON("10.0.0.1:1"))
	in = open(t, s, Options{MaxStreams: 1})
	in.Bind(t.Context(), path("/svc/d"))
	s.stream("bind", "/svc/d")
	s.want(in.Bind(t.Context(), path("/svc/c")), "{/svc/c ok 10.0.0.1:1}")
}

func TestBoundedDocuments(t *testing.T) {
	s := startScripted(t, (*httptest.Server).Start)
	sent := 0
	s.refuseStreams(func(w http.ResponseWriter) {
		filler := []byte(strings.Repeat("x", 1<<16))
		_, _ = w.Write([]byte(`"`))
		for sent < 10*maxDocument {
			if _, err := w.Write(filler); err != nil {
				return
			}
			sent += len(filler)
		}
	})
	in := open(t, s, Options{Mode: Stream})
	in.times.shortest = time.Hour
	in.times.longest = time.Hour
	s.want(in.Bind(t.Context(), path("/svc/a")), "failed: namerd at URL: a document of a stream has more than 16777216 bytes")
	if _, err := takeTree([]byte(`{"type":"union","union":[`+strings.Repeat(`{"weight":1.0,"tree":{"type":"neg"}},`, 9)+
		`{"weight":1.0,"tree":{"type":"neg"}}]}`), state[answer]{}); err != nil {
		t.Error(err)
	}
	var many []string
	for i := range maxLeaves + 1 {
		many = append(many, `{"weight":1.0,"tree":`+leafJSON("/#/"+strings.Repeat("x", i+1), "/", pendingJSON)+`}`)
	}
	if _, err := takeTree([]byte(`{"type":"union","union":[`+strings.Join(many, ",")+`]}`), state[answer]{}); err == nil {
		t.Error("no limit of leaves")
	}
}

// What is known outlives the namerd, and is renewed when it is back.
func TestNamerdGoes(t *testing.T) {
	s := startScripted(t, (*httptest.Server).Start)
	in := open(t, s, Options{})
	s.answer("bind", "/$/nil", 200, `{"type":"empty"}`)
	in.Start()
	eventually(t, "known", func() bool { known, _ := in.Known(); return known })
	r := in.Bind(t.Context(), path("/svc/redis"))
	s.stream("bind", "/svc/redis").send(leafJSON("/#/fs/redis", "/", pendingJSON))
	s.stream("addr", "/#/fs/redis").send(addrJSON("10.0.0.1:1"))
	s.want(r, "{/#/fs/redis ok 10.0.0.1:1}")
	s.http.Listener.Close()
	s.http.CloseClientConnections()
	s.want(r, "{/#/fs/redis ok 10.0.0.1:1 stale}: namerd at URL cannot be reached: dial: connect: connection refused")
	if known, err := in.Known(); !known || err == nil {
		t.Errorf("known %v, %v", known, err)
	}
	unheard := in.Bind(t.Context(), path("/svc/new"))
	s.want(unheard, "pending: namerd at URL cannot be reached: dial: connect: connection refused")
}

func TestRefusals(t *testing.T) {
	s := startScripted(t, (*httptest.Server).Start)
	s.refuseStreams(func(w http.ResponseWriter) {
		w.WriteHeader(http.StatusUnauthorized)
		_, _ = w.Write([]byte("a token is needed\n"))
	})
	r := open(t, s, Options{Mode: Stream}).Bind(t.Context(), path("/svc/redis"))
	s.want(r, "failed: namerd at URL answers 401 Unauthorized: a token is needed")
	in := open(t, s, Options{Mode: Stream, Namespace: "other"})
	s.want(in.Bind(t.Context(), path("/svc/redis")), "failed: namerd at URL answers 404 Not Found")
	for _, o := range []Options{{}, {Address: "127.0.0.1:4180"}, {Address: "http://a?b"}, {Address: "http://a", Namespace: "a b"},
		{Address: "http://a", Mode: "push"}, {Address: "https://a", CAFile: "/nonexistent"}, {Address: "https://a", CAFile: "remote_test.go"}} {
		if _, err := New(o); err == nil {
			t.Errorf("%+v is taken", o)
		} else {
			t.Log(err)
		}
	}
}

// After Close nothing is left, here or at the server.
func TestNothingLeaks(t *testing.T) {
	before := runtime.NumGoroutine()
	s := startScripted(t, (*httptest.Server).Start)
	s.answer("bind", "/$/nil", 200, `{"type":"empty"}`)
	for range 5 {
		in := open(t, s, Options{})
		in.Start()
		ctx, cancel := context.WithCancel(t.Context())
		for _, name := range []string{"/svc/a", "/svc/b", "/svc/c"} {
			r := in.Bind(ctx, path(name))
			s.stream("bind", name).send(leafJSON("/#/fs"+name, "/", pendingJSON))
			s.stream("addr", "/#/fs"+name).send(addrJSON("10.0.0.1:1"))
			s.want(r, "{/#/fs"+name+" ok 10.0.0.1:1}")
		}
		in.Bind(ctx, path("/svc/silent"))
		cancel()
		in.Bind(t.Context(), path("/svc/silent"))
		in.Close()
		if b, _ := in.Bind(t.Context(), path("/svc/a")).Load(); b.Err != namer.ErrClosed {
			t.Errorf("after Close: %s", show(b))
		}
		if n := in.Streams(); n != 0 {
			t.Errorf("%d streams are left", n)
		}
	}
	s.http.CloseClientConnections()
	s.http.Close()
	eventually(t, "all goroutines have ended", func() bool { return runtime.NumGoroutine() <= before+2 })
}

func mustDtab(t *testing.T, text string) dtab.Dtab {
	t.Helper()
	d, err := dtab.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return d
}
