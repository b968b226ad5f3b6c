package relaytest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"syscall"
	"testing"
	"time"

	"argosy/agent/outcome"
	"argosy/agent/relay"
)

func same(t *testing.T, what string, got, want []byte) {
	t.Helper()
	if !bytes.Equal(got, want) {
		t.Errorf("%s: got %d bytes that differ from the %d sent", what, len(got), len(want))
	}
}

func unequal(t *testing.T, e *env) {
	w := e.join(nil)
	for i := range 20 {
		question, answer := payload(uint64(i), 3+i), payload(uint64(100+i), 1000*i)
		write(t, w.client, question)
		same(t, "question", read(t, w.server, len(question)), question)
		write(t, w.server, answer)
		same(t, "answer", read(t, w.client, len(answer)), answer)
	}
	closeWrite(t, w.client)
	readEnd(t, w.server)
	closeWrite(t, w.server)
	readEnd(t, w.client)
	w.expect(outcome.OK, relay.Client, 20*3+190, 190*1000)
}

func clientHalfClose(t *testing.T, e *env) {
	w := e.join(nil)
	question, answer := payload(1, 70_000), payload(2, 300_001)
	write(t, w.client, question)
	closeWrite(t, w.client)
	same(t, "question", readEnd(t, w.server), question)
	write(t, w.server, answer) // long after the client has ended its side
	closeWrite(t, w.server)
	same(t, "answer", readEnd(t, w.client), answer)
	w.expect(outcome.OK, relay.Client, 70_000, 300_001)
}

func serverHalfClose(t *testing.T, e *env) {
	w := e.join(nil)
	greeting, rest := payload(1, 50_000), payload(2, 90_001)
	write(t, w.server, greeting)
	closeWrite(t, w.server)
	same(t, "greeting", readEnd(t, w.client), greeting)
	write(t, w.client, rest)
	closeWrite(t, w.client)
	same(t, "rest", readEnd(t, w.server), rest)
	w.expect(outcome.OK, relay.Server, 90_001, 50_000)
}

func bothHalfClose(t *testing.T, e *env) {
	w := e.join(nil)
	closeWrite(t, w.client)
	closeWrite(t, w.server)
	readEnd(t, w.client)
	readEnd(t, w.server)
	w.expect(outcome.OK, relay.Neither, 0, 0)
}

// bulk moves different amounts both ways at once, enough for whatever fast path there is.
func bulk(t *testing.T, e *env) {
	w := e.join(nil)
	up, down := payload(1, 12<<20), payload(2, 9<<20+1)
	var all sync.WaitGroup
	all.Go(func() {
		w.client.Write(up)
		w.client.(interface{ CloseWrite() error }).CloseWrite()
	})
	all.Go(func() {
		w.server.Write(down)
		w.server.(interface{ CloseWrite() error }).CloseWrite()
	})
	var gotUp, gotDown []byte
	all.Go(func() { gotUp, _ = io.ReadAll(w.server) })
	all.Go(func() { gotDown, _ = io.ReadAll(w.client) })
	all.Wait()
	same(t, "up", gotUp, up)
	same(t, "down", gotDown, down)
	w.expect(outcome.OK, relay.Neither, int64(len(up)), int64(len(down)))
}

// bulkPauses goes from bulk to single bytes and back.
func bulkPauses(t *testing.T, e *env) {
	w := e.join(nil)
	sent := 0
	for i := range 3 {
		lump := payload(uint64(i), 3<<20)
		go w.client.Write(lump)
		same(t, "lump", read(t, w.server, len(lump)), lump)
		sent += len(lump)
		for range 5 {
			write(t, w.client, []byte{byte(i)})
			read(t, w.server, 1)
			sent++
		}
	}
	w.client.Close()
	readEnd(t, w.server)
	w.server.Close()
	w.expect(outcome.OK, relay.Client, int64(sent), 0)
}

func clientReset(t *testing.T, e *env) {
	w := e.join(nil)
	write(t, w.client, []byte("hello"))
	read(t, w.server, 5)
	relay.Abort(w.client)
	readReset(t, w.server)
	w.expect(outcome.Reset, relay.Client, 5, 0)
}

func serverReset(t *testing.T, e *env) {
	w := e.join(nil)
	write(t, w.server, []byte("hello, you"))
	read(t, w.client, 10)
	relay.Abort(w.server)
	readReset(t, w.client)
	w.expect(outcome.Reset, relay.Server, 0, 10)
}

func resetDuringBulk(t *testing.T, e *env) {
	w := e.join(nil)
	var sending sync.WaitGroup
	sending.Go(func() {
		lump := payload(1, 1<<20)
		for {
			if _, err := w.client.Write(lump); err != nil {
				return
			}
		}
	})
	read(t, w.server, 5<<20)
	relay.Abort(w.server)
	sending.Wait() // the client's writing fails, instead of hanging
	w.expect(outcome.Reset, relay.Server, -1, 0)
}

// lastWords: what a server says before it breaks off reaches a client that is just writing, and so does the reset.
func lastWords(t *testing.T, e *env) {
	for range 15 {
		w := e.join(nil)
		words := payload(1, 9_000)
		var writing sync.WaitGroup
		var failed error
		writing.Go(func() {
			for failed == nil {
				_, failed = w.client.Write([]byte("anybody there?"))
			}
		})
		read(t, w.server, 100)
		write(t, w.server, words)
		relay.Abort(w.server)
		got, err := io.ReadAll(w.client)
		writing.Wait()
		same(t, "last words", got, words)
		if !errors.Is(err, syscall.ECONNRESET) && !errors.Is(failed, syscall.ECONNRESET) {
			t.Errorf("reading ended with %v and writing with %v: nowhere a reset", err, failed)
		}
		w.expect(outcome.Reset, relay.Server, -1, 9_000)
		if t.Failed() {
			return
		}
	}
}

// slowReader: a peer that does not read stops the other one, and loses nothing.
func slowReader(t *testing.T, e *env) {
	w := e.join(nil)
	const total = 64 << 20
	var sent sync.WaitGroup
	var progress relay.Meter
	sent.Go(func() {
		lump := make([]byte, 64<<10)
		for n := 0; n < total; n += len(lump) {
			if _, err := w.server.Write(lump); err != nil {
				t.Errorf("write: %v", err)
				return
			}
			progress.In.Add(int64(len(lump)))
		}
		w.server.(interface{ CloseWrite() error }).CloseWrite()
	})
	for last := int64(-1); last != progress.In.Load(); { // until the sender stands still
		last = progress.In.Load()
		time.Sleep(300 * time.Millisecond)
	}
	if n := progress.In.Load(); n >= total {
		t.Errorf("all of the %d bytes went away while nobody read", n)
	}
	// The opposite direction is not held up.
	write(t, w.client, []byte("meanwhile"))
	read(t, w.server, 9)
	n, err := io.Copy(io.Discard, w.client)
	if n != total || err != nil {
		t.Errorf("read %d bytes, %v", n, err)
	}
	sent.Wait()
	w.client.Close()
	w.expect(outcome.OK, relay.Server, 9, total)
}

func early(t *testing.T, e *env) {
	first, second, answer := payload(1, 1500), payload(2, 700), payload(3, 10)
	w := e.join(func(p *relay.Pair) { p.Early = first })
	write(t, w.client, second)
	same(t, "early", read(t, w.server, 2200), append(first, second...))
	write(t, w.server, answer)
	same(t, "answer", read(t, w.client, 10), answer)
	w.client.Close()
	readEnd(t, w.server)
	w.server.Close()
	w.expect(outcome.OK, relay.Client, 2200, 10)
}

func idle(t *testing.T, e *env) {
	unhurried(t, time.Second, func(limit time.Duration, p *pace) error {
		w := e.join(func(p *relay.Pair) { p.Idle = limit })
		var last time.Time
		for range 20 { // longer than the timeout in all, never idle
			p.step()
			last = time.Now()
			if err := exchange(w.client, w.server); err != nil {
				return err
			}
			time.Sleep(limit / 15)
		}
		w.limited(outcome.Idle, relay.Neither, last, limit)
		return nil
	})
}

// idleNotSlow: a peer that reads slowly is not idle, even if the bytes in hand take longer than the timeout.
func idleNotSlow(t *testing.T, e *env) {
	unhurried(t, 400*time.Millisecond, func(limit time.Duration, p *pace) error {
		w := e.join(func(p *relay.Pair) {
			p.Idle = limit
			bare(p.Client).SetWriteBuffer(64 << 10)
		})
		bare(w.client).SetReadBuffer(64 << 10) // so that all that is read is soon noticed by the sender
		var sending sync.WaitGroup
		sending.Go(func() {
			lump := make([]byte, 64<<10)
			for {
				if _, err := w.server.Write(lump); err != nil {
					return
				}
			}
		})
		defer func() {
			w.client.Close()
			w.server.Close()
			sending.Wait()
			w.end()
		}()
		piece := make([]byte, 32<<10)
		for range 40 { // five times the limit in all; a bulk transfer may count less often than that
			p.step()
			if _, err := io.ReadFull(w.client, piece); err != nil {
				return fmt.Errorf("cut although bytes were moving: %w", err)
			}
			time.Sleep(limit / 8)
		}
		return nil
	})
}

// socket is what TCP connections and Unix sockets have in common.
type socket interface {
	net.Conn
	CloseWrite() error
	SetReadBuffer(bytes int) error
	SetWriteBuffer(bytes int) error
}

// bare is the connection below c.
func bare(c net.Conn) socket {
	for {
		below, ok := c.(interface{ NetConn() net.Conn })
		if !ok {
			return c.(socket)
		}
		c = below.NetConn()
	}
}

func cut(t *testing.T, e *env) {
	w := e.join(nil)
	write(t, w.client, []byte("abc"))
	read(t, w.server, 3)
	w.link.Cut(outcome.Drained)
	w.link.Cut(outcome.Lifetime) // too late to count
	readEnd(t, w.client)
	readEnd(t, w.server)
	w.expect(outcome.Drained, relay.Neither, 3, 0)
	w.link.Cut(outcome.Drained)
}

// liveCounts: a connection's bytes are counted while it lives, also after a bulk transfer that has paused.
func liveCounts(t *testing.T, e *env) {
	w := e.join(nil)
	const lump = 3<<20 + 12_345
	go w.client.Write(payload(1, lump))
	read(t, w.server, lump)
	write(t, w.server, []byte("ten bytes."))
	read(t, w.client, 10)
	until := time.Now().Add(patience)
	for w.meter.In.Load() != lump || w.meter.Out.Load() != 10 {
		if time.Now().After(until) {
			t.Fatalf("counted %d in and %d out, want %d and 10", w.meter.In.Load(), w.meter.Out.Load(), lump)
		}
		time.Sleep(10 * time.Millisecond)
	}
	w.client.Close()
	readEnd(t, w.server)
	w.server.Close()
	w.expect(outcome.OK, relay.Client, lump, 10)
}
