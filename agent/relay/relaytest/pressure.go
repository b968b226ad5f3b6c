package relaytest

import (
	"bytes"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"argosy/agent/outcome"
	"argosy/agent/relay"
)

// fill writes to c, which nobody reads at the other end, until it stands still. The channel is closed when the writing has
// failed, or everything has been taken after all.
func (w *world) fill(c net.Conn) (over <-chan struct{}) {
	w.t.Helper()
	const most = 64 << 20
	var sent atomic.Int64
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		lump := make([]byte, 64<<10)
		for sent.Load() < most {
			n, err := c.Write(lump)
			sent.Add(int64(n))
			if err != nil {
				return
			}
		}
	}()
	for last := int64(-1); last != sent.Load() || last == 0; time.Sleep(200 * time.Millisecond) {
		last = sent.Load()
	}
	if n := sent.Load(); n >= most {
		w.t.Errorf("all of the %d bytes went away while nobody read", n)
	}
	return ended
}

func waitFor(t *testing.T, c <-chan struct{}, what string) {
	t.Helper()
	select {
	case <-c:
	case <-time.After(patience):
		t.Fatal(what)
	}
}

// drainToEnd reads to the end, whatever it is.
func drainToEnd(c net.Conn) { io.Copy(io.Discard, c) }

// memory: peers that never read cost no more than what is bounded.
func memory(t *testing.T, e *env) {
	const pairs = 20
	each := int64(512 << 10)
	if e.tlsClient || e.tlsServer { // the peers' buffers count, too
		each *= 2
	}
	heap := func() int64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	var worlds []*world
	for range pairs {
		worlds = append(worlds, e.join(nil))
	}
	before := heap()
	var filled sync.WaitGroup
	for _, w := range worlds {
		filled.Go(func() { w.fill(w.client) })
		filled.Go(func() { w.fill(w.server) })
	}
	filled.Wait()
	grown := heap() - before
	t.Logf("%d KB for each pair of which neither side reads", grown/pairs>>10)
	if grown > pairs*each {
		t.Errorf("the heap has grown by %d KB for each pair", grown/pairs>>10)
	}
	for _, w := range worlds {
		w.link.Cut(outcome.Drained)
		w.client.Close()
		w.server.Close()
		w.end()
	}
}

// churn: many pairs, ended in all ways, leave neither goroutines nor descriptors.
func churn(t *testing.T, e *env) {
	descriptors := func() int {
		all, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Skip("descriptors cannot be counted here")
		}
		return len(all)
	}
	round := func(n int) {
		for i := range n {
			w := e.join(func(p *relay.Pair) { p.Idle, p.Lifetime = time.Hour, time.Hour })
			write(t, w.client, []byte("hello"))
			read(t, w.server, 5)
			switch i % 3 {
			case 0:
				w.client.Close()
				readEnd(t, w.server)
			case 1:
				relay.Abort(w.server)
			case 2:
				w.link.Cut(outcome.Drained)
			}
			w.client.Close()
			w.server.Close()
			w.end()
		}
	}
	round(10) // what is made once
	goroutines, open := runtime.NumGoroutine(), descriptors()
	round(300)
	until := time.Now().Add(patience)
	for runtime.NumGoroutine() > goroutines || descriptors() > open {
		if time.Now().After(until) {
			t.Fatalf("%d goroutines and %d descriptors, %d and %d before", runtime.NumGoroutine(), descriptors(), goroutines, open)
		}
		runtime.GC()
		time.Sleep(20 * time.Millisecond)
	}
}

// much moves much both ways at once, unequal amounts, and compares sums.
func much(t *testing.T, e *env) {
	up, down := int64(72<<20+1), int64(64<<20)
	if testing.Short() {
		up, down = up/16, down/16
	}
	w := e.join(nil)
	w.client.SetDeadline(time.Time{})
	w.server.SetDeadline(time.Time{})
	table := crc32.MakeTable(crc32.Castagnoli)
	send := func(c net.Conn, seed byte, n int64) (sum uint32) {
		source, b := rand.NewChaCha8([32]byte{seed}), make([]byte, 100_000)
		for n > 0 {
			b = b[:min(int64(len(b)), n)]
			source.Read(b)
			sum = crc32.Update(sum, table, b)
			if _, err := c.Write(b); err != nil {
				t.Errorf("write: %v", err)
				return sum
			}
			n -= int64(len(b))
		}
		if err := c.(interface{ CloseWrite() error }).CloseWrite(); err != nil {
			t.Errorf("half-close: %v", err)
		}
		return sum
	}
	receive := func(c net.Conn) uint32 {
		h := crc32.New(table)
		if _, err := io.Copy(h, c); err != nil {
			t.Errorf("read: %v", err)
		}
		return h.Sum32()
	}
	var sentUp, sentDown, gotUp, gotDown uint32
	var all sync.WaitGroup
	all.Go(func() { sentUp = send(w.client, 1, up) })
	all.Go(func() { sentDown = send(w.server, 2, down) })
	all.Go(func() { gotUp = receive(w.server) })
	all.Go(func() { gotDown = receive(w.client) })
	all.Wait()
	if sentUp != gotUp || sentDown != gotDown {
		t.Errorf("up %x arrived as %x, down %x as %x", sentUp, gotUp, sentDown, gotDown)
	}
	w.expect(outcome.OK, relay.Neither, up, down)
}

// earlyMuch: more early bytes than any socket takes at once, in front of what comes later.
func earlyMuch(t *testing.T, e *env) {
	first, second := payload(1, 16<<20), payload(2, 5<<20)
	w := e.join(func(p *relay.Pair) { p.Early = bytes.Clone(first) })
	write(t, w.server, []byte("unasked")) // the other direction does not wait for that
	read(t, w.client, 7)
	var sent sync.WaitGroup
	sent.Go(func() {
		w.client.Write(second)
		w.client.(interface{ CloseWrite() error }).CloseWrite()
	})
	time.Sleep(100 * time.Millisecond) // as much as possible is held up
	got := readEnd(t, w.server)
	sent.Wait()
	same(t, "early", got, append(first, second...))
	w.server.Close()
	w.expect(outcome.OK, relay.Client, int64(len(got)), 7)
}

// segments: every byte on its own, also those of TLS.
func segments(t *testing.T, e *env) {
	e.drip = true
	w := e.join(nil)
	question, answer := payload(1, 300), payload(2, 200)
	var writing sync.WaitGroup
	writing.Go(func() { w.client.Write(question) })
	writing.Go(func() { w.server.Write(answer) })
	same(t, "question", read(t, w.server, len(question)), question)
	same(t, "answer", read(t, w.client, len(answer)), answer)
	writing.Wait()
	closeWrite(t, w.client)
	readEnd(t, w.server)
	closeWrite(t, w.server)
	readEnd(t, w.client)
	w.expect(outcome.OK, relay.Client, 300, 200)
}

// drip sends every byte on its own.
type drip struct{ net.Conn }

// NetConn is the connection below.
func (d drip) NetConn() net.Conn { return d.Conn }

func (d drip) CloseWrite() error { return bare(d.Conn).CloseWrite() }

func (d drip) SetLinger(sec int) error { return d.Conn.(*net.TCPConn).SetLinger(sec) }

func (d drip) Write(b []byte) (int, error) {
	for i := range b {
		if _, err := d.Conn.Write(b[i : i+1]); err != nil {
			return i, err
		}
		if i%16 == 0 {
			time.Sleep(100 * time.Microsecond)
		}
	}
	return len(b), nil
}
