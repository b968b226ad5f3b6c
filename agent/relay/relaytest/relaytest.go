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
	"os"
	"path/filepath"
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
		name string
		env  env
	}{
		{"plain-plain", env{}},
		{"tls-plain", env{tlsClient: true}},
		{"plain-tls", env{tlsServer: true}},
		{"tls-tls", env{tlsClient: true, tlsServer: true}},
		{"unix-plain", env{unixClient: true}},
		{"plain-unix", env{unixServer: true}},
		{"unix-unix", env{unixClient: true, unixServer: true}},
		{"unix-tls", env{unixClient: true, tlsServer: true}},
	}
	for _, k := range kinds {
		t.Run(k.name, func(t *testing.T) {
			for _, c := range cases() {
				if c.needs&^k.env.has() != 0 {
					continue
				}
				t.Run(c.name, func(t *testing.T) {
					if !c.alone {
						t.Parallel()
					}
					e := k.env
					e.t, e.relay = t, make(t)
					c.run(t, &e)
				})
			}
		})
	}
}

// What a case needs of a kind of pairs.
const (
	tcp       = 1 << iota // on both sides: Unix sockets know no resets, and time is the same for them
	secured               // TLS on some side
	tlsServer             // TLS on that side
	plain                 // no TLS
)

func (e *env) has() (has int) {
	for _, h := range []struct {
		ok  bool
		has int
	}{
		{!e.unixClient && !e.unixServer, tcp}, {e.tlsClient || e.tlsServer, secured}, {e.tlsServer, tlsServer},
		{!e.tlsClient && !e.tlsServer, plain},
	} {
		if h.ok {
			has |= h.has
		}
	}
	return has
}

type testCase struct {
	name  string
	run   func(t *testing.T, e *env)
	needs int
	alone bool // nothing else may run beside
}

func cases() []testCase {
	return []testCase{
		{name: "memory", run: memory, alone: true},
		{name: "churn", run: churn, needs: tcp, alone: true},
		{name: "echo with unequal amounts", run: unequal},
		{name: "segments of one byte", run: segments},
		{name: "half-close by the client", run: clientHalfClose},
		{name: "half-close by the server", run: serverHalfClose},
		{name: "half-close of both at once", run: bothHalfClose},
		{name: "half-closed and active", run: halfCloseActive, needs: tcp},
		{name: "half-closed and silent", run: halfCloseSilent},
		{name: "half-closed and stuck", run: halfCloseUntaken},
		{name: "half-closed without a limit", run: halfCloseForever, needs: tcp},
		{name: "bulk both ways at once", run: bulk},
		{name: "bulk that pauses", run: bulkPauses},
		{name: "much both ways at once", run: much, needs: plain},
		{name: "reset by the client", run: clientReset, needs: tcp},
		{name: "reset by the server", run: serverReset, needs: tcp},
		{name: "reset at once", run: resetAtOnce, needs: tcp},
		{name: "reset during bulk", run: resetDuringBulk, needs: tcp},
		{name: "reset after the other's end", run: resetAfterEnd, needs: tcp},
		{name: "reset by who does not read", run: resetPressed, needs: tcp},
		{name: "reset by who is not read", run: resetPressing, needs: tcp},
		{name: "last words before a reset", run: lastWords, needs: tcp},
		{name: "slow reader", run: slowReader},
		{name: "early bytes", run: early},
		{name: "many early bytes", run: earlyMuch},
		{name: "idle", run: idle, needs: tcp},
		{name: "idle is not slow", run: idleNotSlow, needs: tcp},
		{name: "lifetime", run: lifetime, needs: tcp},
		{name: "no first byte", run: firstByte},
		{name: "a first byte", run: firstByteCame, needs: tcp},
		{name: "answered", run: answered, needs: tcp},
		{name: "quiet", run: quiet, needs: tcp},
		{name: "cut", run: cut},
		{name: "cut at once", run: cutAtOnce},
		{name: "cut under pressure", run: cutPressed, needs: tcp},
		{name: "cut as denied", run: cutDenied, needs: tcp},
		{name: "live counts", run: liveCounts},
		{name: "TLS cut off", run: tlsCut, needs: tcp | secured},
		{name: "TLS cut off as an answer", run: tlsCutAnswer, needs: tcp | secured},
		{name: "TLS ended and reset", run: tlsEndAndReset, needs: tcp | secured},
		{name: "garbage in TLS", run: tlsGarbage, needs: tcp | secured},
		{name: "denied by an alert", run: tlsDenied, needs: tcp | tlsServer},
		{name: "denied while bytes are on their way", run: tlsDeniedAndGone, needs: tcp | tlsServer},
		{name: "tickets", run: tlsTickets, needs: tcp | tlsServer},
	}
}

// env makes pairs of one kind.
type env struct {
	t                      *testing.T
	relay                  relay.Relay
	tlsClient, tlsServer   bool
	unixClient, unixServer bool
	drip                   bool // the peers send every byte on its own
}

// world is a joined pair as its two peers see it.
type world struct {
	t              *testing.T
	client, server net.Conn // the far ends
	meter          *relay.Meter
	link           relay.Link
	results        chan relay.Result
	ended          bool // the result has been received
}

// join makes a pair and joins it.
func (e *env) join(edit func(*relay.Pair)) *world {
	e.t.Helper()
	w := &world{t: e.t, meter: &relay.Meter{Parent: &relay.Meter{}}, results: make(chan relay.Result, 2)}
	p := relay.Pair{Meter: w.meter}
	w.client, p.Client = e.pipe(e.unixClient, e.tlsClient, false)
	w.server, p.Server = e.pipe(e.unixServer, e.tlsServer, true)
	if edit != nil {
		edit(&p)
	}
	w.link = e.relay.Join(p, func(r relay.Result) { w.results <- r })
	e.t.Cleanup(func() {
		w.client.Close()
		w.server.Close()
		e.relay.Wait()
		if n := len(w.results); n > 1 || n > 0 && w.ended {
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
		w.ended = true
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
	far, near = sockets(t, false, nearDials)
	if withTLS {
		return secure(t, far, near, nearDials)
	}
	return far, near
}

func (e *env) pipe(unix, withTLS, nearDials bool) (far, near net.Conn) {
	e.t.Helper()
	far, near = sockets(e.t, unix, nearDials)
	if e.drip {
		far = drip{far}
	}
	if withTLS {
		return secure(e.t, far, near, nearDials)
	}
	return far, near
}

// sockets makes a connection, by TCP over loopback or between Unix sockets; nearDials says which end opened it.
func sockets(t testing.TB, unix, nearDials bool) (far, near net.Conn) {
	t.Helper()
	network, address := "tcp", "127.0.0.1:0"
	if unix {
		dir, err := os.MkdirTemp("", "relay") // t.TempDir is too long for the address of a socket
		if err != nil {
			t.Fatal(err)
		}
		defer os.RemoveAll(dir)
		network, address = "unix", filepath.Join(dir, "s")
	}
	l, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	dialled, err := net.Dial(network, l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	accepted, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	if nearDials {
		return accepted, dialled
	}
	return dialled, accepted
}

// secure puts TLS on both ends.
func secure(t testing.TB, far, near net.Conn, nearDials bool) (farTLS, nearTLS net.Conn) {
	t.Helper()
	server, client := Certificate(t)
	near = relay.Carry(near)
	f, n := tls.Client(far, client), tls.Server(near, server)
	if nearDials {
		f, n = tls.Server(far, server), tls.Client(near, client)
	}
	var shaking sync.WaitGroup
	shaking.Go(func() {
		if err := f.Handshake(); err != nil {
			t.Errorf("handshake: %v", err)
		}
	})
	if err := n.Handshake(); err != nil {
		t.Errorf("handshake: %v", err)
	}
	shaking.Wait()
	return f, n
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
	if _, ok := c.(*tls.Conn); ok {
		if err := bare(c).CloseWrite(); err != nil {
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
