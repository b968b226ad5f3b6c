package suite

import (
	"context"
	"errors"
	"net"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"argosy/agent/relay"
)

// small is a configuration that makes the suite quick.
func small(p *proxy) Config {
	return Config{
		Target: p.listener.Addr().String(), Backend: p.backend,
		Bulk: 4 << 20, Many: 30, Patience: 20 * time.Millisecond, Limit: 30 * time.Second,
	}
}

// results runs all cases and checks that they leave nothing of their own behind: no test may run beside it.
func results(t *testing.T, c Config) map[string]Result {
	t.Helper()
	before, _ := sockets([]int{os.Getpid()})
	goroutines := runtime.NumGoroutine()
	all := runOnly(t, c, nil)
	// The proxy is in this process, and may still be ending connections.
	deadline := time.Now().Add(10 * time.Second)
	for {
		now, _ := sockets([]int{os.Getpid()})
		if runtime.NumGoroutine() <= goroutines && now <= before {
			break
		}
		if time.Now().After(deadline) {
			stacks := make([]byte, 1<<16)
			t.Errorf("%d goroutines and %d sockets before, %d and %d after:\n%s", goroutines, before,
				runtime.NumGoroutine(), now, stacks[:runtime.Stack(stacks, true)])
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	return all
}

// variants are the ways in which TLS may be on either side.
func variants(t *testing.T) map[string]func(*Config, *proxy) {
	server, client := certificates(t)
	in := func(c *Config, p *proxy) {
		p.secure(server, nil)
		c.TargetTLS = client
	}
	out := func(c *Config, p *proxy) {
		p.secure(nil, client)
		c.BackendTLS = server
	}
	return map[string]func(*Config, *proxy){
		"plain":   func(*Config, *proxy) {},
		"TLS in":  in,
		"TLS out": out,
		"both":    func(c *Config, p *proxy) { in(c, p); out(c, p) },
	}
}

func TestGoodProxyPasses(t *testing.T) {
	for name, secure := range variants(t) {
		t.Run(name, func(t *testing.T) {
			p := startProxy(t, nil, nil, flawed{}.serve)
			c := small(p)
			secure(&c, p)
			if name != "both" { // of which the others are parts
				t.Parallel()
				allPass(t, runOnly(t, c, nil))
				return
			}
			allPass(t, results(t, c))
		})
	}
}

func TestOwnRelaysPass(t *testing.T) {
	t.Run("goroutines", func(t *testing.T) {
		t.Parallel()
		r := relay.New()
		p := startProxy(t, nil, nil, joined(r))
		t.Cleanup(r.Wait)
		allPass(t, runOnly(t, small(p), nil))
	})
	t.Run("loop", func(t *testing.T) {
		t.Parallel()
		r, err := relay.NewLoop(relay.LoopOptions{Workers: 1})
		if errors.Is(err, errors.ErrUnsupported) {
			t.Skip(err)
		}
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { r.Wait(); r.Close() })
		allPass(t, runOnly(t, small(startProxy(t, nil, nil, joined(r))), nil))
	})
}

func TestUnixSockets(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	l, err := net.Listen("unix", dir+"/target")
	if err != nil {
		t.Fatal(err)
	}
	c := small(runProxy(t, &proxy{listener: l, backend: "unix:" + dir + "/backend", serve: flawed{}.serve}))
	c.Target = "unix:" + dir + "/target"
	passed := 0
	for _, r := range runOnly(t, c, nil) {
		if r.Status == Fail {
			t.Errorf("%s: %s", r.Case, r.Note)
		}
		if r.Status == Pass {
			passed++
		}
	}
	if passed < 15 {
		t.Errorf("only %d cases were run", passed)
	}
}

func allPass(t *testing.T, all map[string]Result) {
	t.Helper()
	passed := 0
	for _, r := range all {
		switch r.Status {
		case Fail:
			t.Errorf("%s: %s", r.Case, r.Note)
		case Pass:
			passed++
		}
	}
	if passed < 27 {
		t.Errorf("only %d cases were run", passed)
	}
}

func TestFlawedProxyFails(t *testing.T) {
	for name, c := range map[string]struct {
		flaw flawed
		want []string // cases that must see it
		fine []string // cases that must not
	}{
		"none":          {flawed{}, nil, []string{"exchange", "half-close-client", "half-close-server", "reset-request", "no-reader-client", "bulk"}},
		"no half-close": {flawed{noHalfClose: true}, []string{"half-close-client", "half-close-server", "half-close-both"}, []string{"server-first", "reset-request"}},
		"resets as ends": {flawed{endsReset: true}, []string{"reset-connect", "reset-request", "reset-answer", "reset-half-client", "reset-half-server"},
			[]string{"exchange", "half-close-client", "bulk"}},
		"hoards": {flawed{hoards: true}, []string{"no-reader-client", "no-reader-server"}, []string{"exchange", "half-close-client"}},
		"corrupts a byte": {flawed{change: func(piece []byte, before int64) []byte {
			if at := 2_000_000 - before; at >= 0 && at < int64(len(piece)) {
				piece[at] ^= 1
			}
			return piece
		}}, []string{"bulk", "half-close-client", "half-close-server"}, []string{"exchange", "reset-request"}},
		"drops bytes": {flawed{change: func(piece []byte, before int64) []byte {
			if len(piece) > 0 && before < 300_000 && before+int64(len(piece)) >= 300_000 {
				return piece[:len(piece)-1]
			}
			return piece
		}}, []string{"bulk", "half-close-client"}, []string{"server-first", "single-bytes"}},
		"adds bytes": {flawed{change: func(piece []byte, before int64) []byte {
			if before == 0 && len(piece) > 0 {
				return append(slices.Clone(piece), '!')
			}
			return piece
		}}, []string{"exchange", "half-close-client"}, []string{"reset-connect"}},
		"keeps open": {flawed{keepsOpen: true}, []string{"half-close-client", "half-close-empty", "exchange"}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			config := small(startProxy(t, nil, nil, c.flaw.serve))
			if name == "keeps open" {
				config.Limit = 3 * time.Second // for each case takes it
			}
			got := runOnly(t, config, append(slices.Clone(c.want), c.fine...))
			for _, n := range c.want {
				if got[n].Status != Fail {
					t.Errorf("%s: %s, and the proxy is flawed", n, got[n].Status)
				}
			}
			for _, n := range c.fine {
				if got[n].Status != Pass {
					t.Errorf("%s: %s: %s", n, got[n].Status, got[n].Note)
				}
			}
		})
	}
}

// runOnly runs the cases of these names, or all.
func runOnly(t *testing.T, c Config, names []string) map[string]Result {
	t.Helper()
	s, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	got := map[string]Result{}
	for _, one := range s.Cases() {
		if len(names) == 0 || slices.Contains(names, one.Name) {
			got[one.Name] = s.Run(t.Context(), one)
		}
	}
	return got
}

// dropsTail withholds the last bytes before the end of an output.
func TestDroppedTailIsSeen(t *testing.T) {
	p := startProxy(t, nil, nil, func(client, server net.Conn) {
		flawed{change: func(piece []byte, before int64) []byte {
			// The end of what halfClose sends last.
			if over := before + int64(len(piece)) - (longer - 10); over > 0 {
				return piece[:max(0, int64(len(piece))-over)]
			}
			return piece
		}}.serve(client, server)
	})
	c := small(p)
	c.Limit = 3 * time.Second
	for name, r := range runOnly(t, c, []string{"half-close-client", "half-close-server"}) {
		if r.Status != Fail || !strings.Contains(r.Note, "of 3000001 bytes: nothing moves") {
			t.Errorf("%s: %s: %s", name, r.Status, r.Note)
		}
	}
}

// A proxy that takes what comes after the end of TLS for an orderly end, and one that sends garbage on.
func TestFlawsOfTLSAreSeen(t *testing.T) {
	server, client := certificates(t)
	t.Run("cut is an end", func(t *testing.T) {
		p := startProxy(t, server, client, flawed{endsReset: true, trustsCuts: true}.serve)
		c := small(p)
		c.TargetTLS, c.BackendTLS = client, server
		// Under TLS on both sides an orderly end is passed on with close_notify.
		for name, r := range runOnly(t, c, []string{"tls-cut-client", "tls-cut-server", "tls-broken-client", "tls-broken-server"}) {
			if r.Status != Fail {
				t.Errorf("%s: %s: %s", name, r.Status, r.Note)
			}
		}
	})
	t.Run("no close_notify", func(t *testing.T) {
		p := startProxy(t, server, client, flawed{lax: true, endsReset: true}.serve)
		c := small(p)
		c.TargetTLS, c.BackendTLS = client, server
		got := runOnly(t, c, []string{"close-notify-client", "close-notify-server", "exchange", "half-close-client", "reset-request"})
		for name, want := range map[string]Status{"close-notify-client": Fail, "close-notify-server": Fail, "exchange": Pass, "half-close-client": Pass, "reset-request": Fail} {
			if got[name].Status != want {
				t.Errorf("%s: %s: %s", name, got[name].Status, got[name].Note)
			}
		}
	})
	t.Run("garbage is passed on", func(t *testing.T) {
		p := startProxy(t, nil, nil, flawed{}.serve) // without TLS at all, so that the backend is the one who speaks it
		c := small(p)
		c.TargetTLS = client
		c.Limit = 3 * time.Second
		if r := runOnly(t, c, []string{"tls-garbage-client"})["tls-garbage-client"]; r.Status != Fail {
			t.Errorf("%s: %s", r.Status, r.Note)
		}
	})
}

// A client that waits for ever, since the proxy does not tell that there is no backend.
func TestUntoldClientIsSeen(t *testing.T) {
	backend := freeAddress(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{listener: l, backend: backend}
	p.serve = flawed{}.serve
	p.all.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			p.keep(c)
			p.all.Go(func() {
				if s, err := net.Dial("tcp", backend); err == nil { // and otherwise nothing
					p.keep(s)
					p.serve(c, s)
				}
			})
		}
	})
	t.Cleanup(p.stop)
	c := small(p)
	c.Limit = 2 * time.Second
	if r := runOnly(t, c, []string{"refused"})["refused"]; r.Status != Fail {
		t.Errorf("%s: %s", r.Status, r.Note)
	}
}

func TestNoProxy(t *testing.T) {
	s, err := New(Config{Target: freeAddress(t), Backend: freeAddress(t), Limit: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if r := s.Run(t.Context(), s.Cases()[0]); r.Status != Fail || !strings.Contains(r.Note, "connection refused") {
		t.Errorf("%+v", r)
	}
}

func TestAddresses(t *testing.T) {
	for _, c := range []Config{
		{Target: "here", Backend: "127.0.0.1:1"},
		{Target: "127.0.0.1:", Backend: "127.0.0.1:1"},
		{Target: "127.0.0.1:1", Backend: "unix:"},
	} {
		if s, err := New(c); err == nil {
			s.Close()
			t.Errorf("%+v is taken", c)
		}
	}
}

func TestEveryCaseIsNamedOnce(t *testing.T) {
	seen := map[string]bool{}
	for _, c := range Cases() {
		if seen[c.Name] || c.Name == "" || c.Title == "" || c.test == nil {
			t.Errorf("case %q", c.Name)
		}
		seen[c.Name] = true
	}
}

// The counts are those of this process.
func TestProcess(t *testing.T) {
	me := []int{os.Getpid()}
	before, err := sockets(me)
	if err != nil {
		t.Skip(err) // no Linux
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if now, err := sockets(me); err != nil || now <= before {
		t.Errorf("%d sockets and then %d: %v", before, now, err)
	}
	if n, err := memory(me); err != nil || n < 1<<20 {
		t.Errorf("%d bytes: %v", n, err)
	}
	if _, err := memory([]int{-1}); err == nil {
		t.Error("the memory of no process")
	}
}

func TestLeftoversAreSeen(t *testing.T) {
	p := startProxy(t, nil, nil, flawed{}.serve)
	c := small(p)
	c.Pids, c.Limit = []int{os.Getpid()}, time.Second
	s, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	byName := func(name string) Case {
		return s.Cases()[slices.IndexFunc(s.Cases(), func(c Case) bool { return c.Name == name })]
	}
	s.Run(t.Context(), byName("exchange"))
	for range 2 * spareSockets {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
	}
	if r := s.Run(context.Background(), byName("leftovers")); r.Status != Fail {
		t.Errorf("%s: %s", r.Status, r.Note)
	}
}
