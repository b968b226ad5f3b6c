// Package relaytest is the contract of a relay as tests: whatever moves the bytes of connections has to pass Run.
//
// All tests use real loopback sockets, and amounts that differ between the two directions, so that a mixed-up direction
// is seen.
package relaytest

import (
	"crypto/tls"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"syscall"
	"testing"
	"time"

	"argosy/agent/outcome"
	"argosy/agent/relay"
)

// patience is how long a test waits for what must happen. It is only used up by a failing test.
const patience = 20 * time.Second

// Run runs the contract over all combinations of plain and TLS sides.
func Run(t *testing.T, make func(t *testing.T) relay.Relay) {
	kinds := []struct {
		name                 string
		tlsClient, tlsServer bool
	}{
		{"plain-plain", false, false},
		{"tls-plain", true, false},
		{"plain-tls", false, true},
		{"tls-tls", true, true},
	}
	cases := []struct {
		name string
		run  func(t *testing.T, e *env)
	}{
		{"echo with unequal amounts", unequal},
		{"half-close by the client", clientHalfClose},
		{"half-close by the server", serverHalfClose},
		{"half-close of both at once", bothHalfClose},
		{"bulk both ways at once", bulk},
		{"bulk that pauses", bulkPauses},
		{"reset by the client", clientReset},
		{"reset by the server", serverReset},
		{"reset during bulk", resetDuringBulk},
		{"last words before a reset", lastWords},
		{"slow reader", slowReader},
		{"early bytes", early},
		{"idle", idle},
		{"idle is not slow", idleNotSlow},
		{"cut", cut},
		{"live counts", liveCounts},
	}
	for _, k := range kinds {
		t.Run(k.name, func(t *testing.T) {
			for _, c := range cases {
				t.Run(c.name, func(t *testing.T) {
					t.Parallel()
					c.run(t, &env{t: t, relay: make(t), tlsClient: k.tlsClient, tlsServer: k.tlsServer})
				})
			}
		})
	}
}

// env makes pairs of one kind.
type env struct {
	t                    *testing.T
	relay                relay.Relay
	tlsClient, tlsServer bool
}

// world is a joined pair as its two peers see it.
type world struct {
	t              *testing.T
	client, server net.Conn // the far ends
	meter          *relay.Meter
	link           relay.Link
	results        chan relay.Result
}

// join makes a pair and joins it.
func (e *env) join(edit func(*relay.Pair)) *world {
	e.t.Helper()
	w := &world{t: e.t, meter: &relay.Meter{Parent: &relay.Meter{}}, results: make(chan relay.Result, 2)}
	p := relay.Pair{Meter: w.meter}
	w.client, p.Client = Pipe(e.t, e.tlsClient, false)
	w.server, p.Server = Pipe(e.t, e.tlsServer, true)
	if edit != nil {
		edit(&p)
	}
	w.link = e.relay.Join(p, func(r relay.Result) { w.results <- r })
	e.t.Cleanup(func() {
		w.client.Close()
		w.server.Close()
		e.relay.Wait()
		if len(w.results) > 0 {
			e.t.Error("done was called more often than once")
		}
	})
	deadline := time.Now().Add(patience)
	w.client.SetDeadline(deadline)
	w.server.SetDeadline(deadline)
	return w
}

// end waits for the result.
func (w *world) end() relay.Result {
	w.t.Helper()
	select {
	case r := <-w.results:
		return r
	case <-time.After(patience):
		w.t.Fatal("the pair has not ended")
		return relay.Result{}
	}
}

// expect checks the result and what the meters say; a negative count is not checked.
func (w *world) expect(o outcome.Outcome, first relay.Side, in, out int64) {
	w.t.Helper()
	r := w.end()
	if r.Outcome != o || first != relay.Neither && r.First != first {
		w.t.Errorf("ended as %s, %s first (%v), want %s, %s", r.Outcome, r.First, r.Err, o, first)
	}
	for _, m := range []*relay.Meter{w.meter, w.meter.Parent} {
		if got := m.In.Load(); in >= 0 && got != in {
			w.t.Errorf("counted %d bytes in, want %d", got, in)
		}
		if got := m.Out.Load(); out >= 0 && got != out {
			w.t.Errorf("counted %d bytes out, want %d", got, out)
		}
	}
}

// Pipe returns the two ends of a TCP connection over loopback, with TLS on it if asked for. far is the peer's end; near
// is what a relay gets. nearDials says which of them opened the connection and is the TLS client.
func Pipe(t testing.TB, withTLS, nearDials bool) (far, near net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	dialled, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	accepted, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	if withTLS {
		server, client := Certificate(t)
		if nearDials {
			dialled = relay.Carry(dialled)
		} else {
			accepted = relay.Carry(accepted)
		}
		s, c := tls.Server(accepted, server), tls.Client(dialled, client)
		var shaking sync.WaitGroup
		shaking.Go(func() {
			if err := s.Handshake(); err != nil {
				t.Errorf("handshake: %v", err)
			}
		})
		if err := c.Handshake(); err != nil {
			t.Errorf("handshake: %v", err)
		}
		shaking.Wait()
		accepted, dialled = s, c
	}
	if nearDials {
		return accepted, dialled
	}
	return dialled, accepted
}

// payload is n bytes that differ from those of another seed.
func payload(seed uint64, n int) []byte {
	b := make([]byte, n)
	r := rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8)})
	r.Read(b)
	return b
}

func closeWrite(t *testing.T, c net.Conn) {
	t.Helper()
	if err := c.(interface{ CloseWrite() error }).CloseWrite(); err != nil {
		t.Fatalf("half-close: %v", err)
	}
	if s, ok := c.(*tls.Conn); ok {
		if err := s.NetConn().(*net.TCPConn).CloseWrite(); err != nil {
			t.Fatalf("half-close: %v", err)
		}
	}
}

func write(t *testing.T, c net.Conn, b []byte) {
	t.Helper()
	if _, err := c.Write(b); err != nil {
		t.Fatalf("write: %v", err)
	}
}

func read(t *testing.T, c net.Conn, n int) []byte {
	t.Helper()
	b := make([]byte, n)
	if m, err := io.ReadFull(c, b); err != nil {
		t.Fatalf("read %d of %d bytes: %v", m, n, err)
	}
	return b
}

// readEnd reads to an orderly end.
func readEnd(t *testing.T, c net.Conn) []byte {
	t.Helper()
	b, err := io.ReadAll(c)
	if err != nil {
		t.Fatalf("read to the end: %v after %d bytes", err, len(b))
	}
	return b
}

// readReset reads to a reset and returns what came before it.
func readReset(t *testing.T, c net.Conn) []byte {
	t.Helper()
	b, err := io.ReadAll(c)
	if !errors.Is(err, syscall.ECONNRESET) {
		t.Fatalf("after %d bytes: %v, want a reset", len(b), err)
	}
	return b
}
